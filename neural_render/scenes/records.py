"""What a reader makes of a scene file. Nothing here needs torch: the tracer imports it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

Triple = tuple[float, float, float]
# What of an emitter's parameters is its emission: a colour, or a factor on a picture.
EMISSIONS = ("radiance.value", "intensity.value", "irradiance.value", "scale")


def triple(values: np.ndarray) -> Triple:
    """Three numbers of an array, as Python's own."""
    x, y, z = values.tolist()
    return x, y, z


@dataclass(frozen=True, kw_only=True)
class SceneLight:
    """An emitter as Mitsuba's ``traverse`` names it: its parameters begin with ``emitter.``.

    ``color`` is the file's emission: at the emission parameters times 1 / ``color`` it is neutral.
    A light with a texture is neutral as it is: its colour is white.
    """

    name: str
    kind: Literal["area", "environment", "point", "spot", "directional"]
    emitter: str
    color: Triple
    at: Triple = (0.0, 0.0, 0.0)  # a point's position, the direction that a directional one shines


@dataclass(frozen=True, kw_only=True)
class SceneCamera:
    """A pinhole camera of the file; axes inside: x right, y down, z forward."""

    name: str
    world_from_camera: tuple[tuple[float, float, float, float], ...]  # 3 rows
    width: int
    height: int
    fov_x_rad: float


@dataclass(frozen=True, kw_only=True)
class LoadedScene:
    """A scene as the path tracer wants it, loaded under Mitsuba's active variant.

    ``scene`` is a ``mitsuba.Scene`` with all its lights. ``low`` and ``high`` bound its geometry in
    world units, ``objects`` (low, high) what of it is not flat, as floors and walls are.
    ``warnings`` are whole sentences: what the file has and we cannot express. ``exported`` is the
    digest of what another program made of the file, empty where it was read as it is.
    """

    path: Path
    format: str
    scene: Any
    lights: tuple[SceneLight, ...]
    cameras: tuple[SceneCamera, ...]
    low: Triple
    high: Triple
    objects: tuple[Triple, Triple]
    up: Triple
    max_depth: int  # path segments from the camera, as Mitsuba counts them; -1: no limit
    warnings: tuple[str, ...]
    exported: str = ""
