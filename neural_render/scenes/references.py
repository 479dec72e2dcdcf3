"""Held-out views of a scene, path-traced with many paths per pixel, in two independent halves.

Each light group is traced alone, at unit emission: any dials' picture is a sum of these. Halves
that differ say how much of a measured error is the reference's own noise.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.cameras import Cameras, Lens
from neural_render.core.files import NO_ARRAYS, expanded, whole_file
from neural_render.core.lights import Color
from neural_render.scenes.contents import MOST_FILES, digest, files_beside
from neural_render.scenes.settings import SceneSettings, ViewSettings
from neural_render.scenes.tracing.process import TracerProcess

HALVES = 2
VERSION = 3  # of what is cached


@dataclass(frozen=True, kw_only=True)
class References:
    """Cameras in the scene's world and what they see: scene-linear, misses are black.

    ``pictures`` are as large as the largest view, smaller ones lie in its corner. ``places`` are
    those of the moving light, a row for each view, of no columns where none moves.
    """

    names: tuple[str, ...]
    cameras: Cameras
    pictures: Float[np.ndarray, "groups halves views height width 3"]
    places: Float[Tensor, "views place"]

    def half(
        self, index: int, half: int, emission: tuple[Color, ...]
    ) -> Float[Tensor, "height width 3"]:
        """One half of a view under lights of these emissions."""
        pictures = torch.from_numpy(self._of(index)[:, half])
        return torch.einsum("ghwc,gc->hwc", pictures, pictures.new_tensor(emission))

    def _of(self, index: int) -> Float[np.ndarray, "groups halves height width 3"]:
        height, width = int(self.cameras.height[index]), int(self.cameras.width[index])
        return self.pictures[:, :, index, :height, :width]


def drawn_cameras(process: TracerProcess, num: int, seed: int, side: int) -> Cameras:
    """Cameras of the distribution that training has; the longer side of their pictures is given."""
    poses = process.ask("poses", command="poses", num=num, seed=seed)
    half = torch.tensor([poses["half_width"], poses["half_height"]]).float().T
    size = (side * half / half.amax(1, keepdim=True)).round().clamp(min=1)
    return Cameras(
        world_from_camera=torch.tensor(poses["world_from_camera"]).float().reshape(num, 3, 4),
        focal_px=size / 2 / half,
        center_px=size / 2,
        distortion=torch.zeros(num, 6),
        lens=torch.full((num,), int(Lens.PERSPECTIVE)),
        width=size[:, 0].long(),
        height=size[:, 1].long(),
    )


def trace_references(
    process: TracerProcess,
    scene: SceneSettings,
    views: ViewSettings,
    *,
    cache: Path,
    progress: Callable[[float], None],
) -> References:
    """The held-out views, from ``cache`` where the same were traced before.

    ``progress`` is told the share that is done. SceneError if the tracer fails.
    """
    cameras = drawn_cameras(process, views.test, views.seed, views.test_size)
    places = _places(process, views)
    file = cache / f"{_key(process.scene, scene, views, cache.resolve().parent)}.npz"
    pictures = _cached(file)
    if pictures is None:
        with whole_file(file) as draft:
            pictures = _traced(process, views, (cameras, places), draft, progress)
            with draft.open("wb") as stream:
                np.savez_compressed(stream, pictures=pictures)
    names = tuple(f"view_{index:03d}" for index in range(views.test))
    return References(names=names, cameras=cameras, pictures=pictures, places=places)


def _traced(
    process: TracerProcess,
    views: ViewSettings,
    seen: tuple[Cameras, Float[Tensor, "views place"]],
    file: Path,
    progress: Callable[[float], None],
) -> Float[np.ndarray, "groups halves views height width 3"]:
    """The pictures of cameras under the moving light's places; each passes through ``file``."""
    cameras, places = seen
    num_groups = len(process.scene["groups"])
    jobs = list(product(range(num_groups), range(HALVES), range(views.test)))
    height, width = (max(sides.tolist(), default=0) for sides in (cameras.height, cameras.width))
    pictures = np.zeros((num_groups, HALVES, views.test, height, width, 3), np.float32)
    for number, (group, half, view) in enumerate(jobs):
        size = torch.stack([cameras.width[view], cameras.height[view]])
        half_size = size / 2 / cameras.focal_px[view]
        process.ask(
            "rendered",
            command="render",
            progress=lambda done, of, number=number: progress((number + done / of) / len(jobs)),
            pose={
                "world_from_camera": cameras.world_from_camera[view : view + 1].tolist(),
                "half_width": half_size[:1].tolist(),
                "half_height": half_size[1:].tolist(),
            },
            size=size.tolist(),
            group=group,
            samples=views.reference_samples,
            seed=views.seed * 65537 + number,
            place=places[view].tolist(),
            path=str(file.absolute()),
        )
        found = np.fromfile(file, np.float32).reshape(*size.flip(0).tolist(), 3)
        pictures[group, half, view, : len(found), : found.shape[1]] = found
    return pictures


def _places(process: TracerProcess, views: ViewSettings) -> Float[Tensor, "views place"]:
    """Where the moving light is in each held-out view: anywhere that training saw it."""
    if not process.scene["moving"]:
        return torch.zeros(views.test, 0)
    found = process.ask("places", command="places", num=views.test, seed=views.seed)
    return torch.tensor(found["places"], dtype=torch.float32)


def _cached(file: Path) -> np.ndarray | None:
    """The pictures in a file of the cache; None where there is none, or it is broken."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            return stored["pictures"]
    except NO_ARRAYS:
        return None


def _key(found: dict[str, Any], scene: SceneSettings, views: ViewSettings, outputs: Path) -> str:
    """What tells references apart: the scene's files, its settings, its views.

    What lies in ``outputs`` is no part of the scene: it may lie beside it.
    """
    path = Path(found["path"]).resolve()
    environment = digest(expanded(scene.environment)) if scene.environment else ""
    stated = [
        VERSION,
        digest(path),
        list(islice(files_beside(path, outputs), MOST_FILES)),
        {**asdict(scene), "path": path.name, "environment": environment},
        {**asdict(views), "supersampling": 0},
        *found["moving"],  # where they may be, which the scene's file alone does not say
    ]
    if found["exported"]:  # by a program that may look anywhere for textures and other parts
        stated.append(found["exported"])
    return hashlib.sha256(json.dumps(stated).encode()).hexdigest()[:24]
