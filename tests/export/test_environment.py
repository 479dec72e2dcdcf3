"""``environment.exr`` comes back as it was saved; broken ones are told in one sentence."""

from pathlib import Path

import pytest
import torch

from neural_render.core.errors import CheckpointError, OutputError
from neural_render.export import images
from neural_render.export.environment import load_environment, save_environment
from neural_render.rendering.environment import EnvironmentMap
from tests.small_disk import FULL, small_disk

PICTURE = torch.rand(16, 32, 3, generator=torch.Generator().manual_seed(0)) * 1e5
TURNED = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
LAYERS = dict(zip("RGB", PICTURE.unbind(-1), strict=True))


def test_it_comes_back_exactly(tmp_path: Path) -> None:
    path = save_environment(
        tmp_path, EnvironmentMap(picture=PICTURE, world_from_environment=TURNED)
    )
    assert path == tmp_path / "environment.exr"
    found = load_environment(tmp_path)
    assert torch.equal(found.picture, PICTURE)
    assert torch.equal(found.world_from_environment, TURNED)


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=FULL), small_disk():
        save_environment(tmp_path, EnvironmentMap(picture=PICTURE, world_from_environment=TURNED))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rotation", "words"),
    [
        (None, "its worldFromEnvironment is not a list of nine numbers"),
        ("print(1)", "is not a list of nine numbers"),
        ("[1, 2]", "is not a list of nine numbers"),
        ("[NaN, 0, 0, 0, 1, 0, 0, 0, 1]", "is not a list of nine numbers"),
        ("[2, 0, 0, 0, 1, 0, 0, 0, 1]", "its worldFromEnvironment is no rotation"),
    ],
)
def test_a_broken_rotation_is_told(tmp_path: Path, rotation: str | None, words: str) -> None:
    attributes = {} if rotation is None else {"worldFromEnvironment": rotation}
    images.write_exr(tmp_path / "environment.exr", LAYERS, attributes=attributes)
    with pytest.raises(CheckpointError, match=words):
        load_environment(tmp_path)


def test_broken_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "environment.exr"
    with pytest.raises(CheckpointError, match=r"environment\.exr is missing: bake the scene again"):
        load_environment(tmp_path)
    save_environment(tmp_path, EnvironmentMap(picture=PICTURE, world_from_environment=TURNED))
    whole = path.read_bytes()
    for content in (b"", b"garbage" * 99, whole[:3000]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="is not the environment of a run: ") as caught:
            load_environment(tmp_path)
        assert "\n" not in str(caught.value)
    images.write_exr(path, {"R": PICTURE[..., 0]}, attributes={})
    with pytest.raises(CheckpointError, match="it has 1 channels and not 3"):
        load_environment(tmp_path)
    images.write_exr(path, LAYERS | {"G": -LAYERS["G"]}, attributes={})
    with pytest.raises(CheckpointError, match="radiance that is negative or not finite"):
        load_environment(tmp_path)
