"""The environment of a run as a file: ``environment.exr``, its rotation beside its pixels."""

import json
import math
from pathlib import Path

import torch

from neural_render.core.errors import CheckpointError
from neural_render.export.images import write_exr
from neural_render.rendering.environment import EnvironmentMap

ENVIRONMENT_FILE = "environment.exr"
_ROTATION = "worldFromEnvironment"  # nine numbers as JSON, row by row


def save_environment(folder: Path, environment: EnvironmentMap) -> Path:
    """The file in ``folder``, written; OutputError where it cannot be."""
    path = folder / ENVIRONMENT_FILE
    layers = dict(zip("RGB", environment.picture.unbind(-1), strict=True))
    rotation = json.dumps(environment.world_from_environment.flatten().tolist())
    write_exr(path, layers, attributes={_ROTATION: rotation})
    return path


def load_environment(folder: Path) -> EnvironmentMap:
    """The environment in ``folder``; CheckpointError in one sentence if it is missing or broken."""
    path = folder / ENVIRONMENT_FILE
    try:
        import OpenImageIO as oiio
    except ImportError as error:
        raise CheckpointError(
            f"{path} cannot be read without OpenImageIO; run pip install OpenImageIO."
        ) from error
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: bake the scene again, or restore that file.")
    source = oiio.ImageInput.open(str(path))
    if source is None:
        raise _broken(path, f"it is no picture ({oiio.geterror().strip().splitlines()[0]})")
    spec = source.spec()
    pixels = source.read_image("float") if spec.nchannels == 3 else None
    reason = source.geterror().strip()
    source.close()
    if pixels is None or pixels.size != spec.width * spec.height * 3:
        raise _broken(path, reason or f"it has {spec.nchannels} channels and not 3")
    picture = torch.from_numpy(pixels).view(spec.height, spec.width, 3)
    if not bool((picture.isfinite() & (picture >= 0)).all()):
        raise _broken(path, "it holds radiance that is negative or not finite")
    return EnvironmentMap(
        picture=picture,
        world_from_environment=_rotation(path, spec.getattribute(_ROTATION)),
    )


def _rotation(path: Path, text: object) -> torch.Tensor:
    """Nine numbers of a rotation; the file is not trusted."""
    try:
        numbers = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        numbers = None
    if (
        not isinstance(numbers, list)
        or len(numbers) != 9
        or not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers)
    ):
        raise _broken(path, f"its {_ROTATION} is not a list of nine numbers")
    rotation = torch.tensor(numbers, dtype=torch.float64).view(3, 3)
    if not torch.allclose(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=1e-4):
        raise _broken(path, f"its {_ROTATION} is no rotation")
    return rotation.float()


def _broken(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{path} is not the environment of a run: {reason}; bake it again.")
