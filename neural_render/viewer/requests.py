"""What browsers ask for, checked: whatever a message holds, what comes out can be drawn.

Legend: q = (w, x, y, z) a unit quaternion, the camera's rotation (x right, y down, z forward).
"""

import math
import re
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.cameras import Cameras, Lens
from neural_render.core.errors import UserError
from neural_render.core.lights import Color, LightGroup
from neural_render.core.transforms import quat_wxyz_from_rotation

COLOUR, DEPTH, NORMALS, OPACITY, SAMPLES = MODES = (
    "Colour",
    "Depth",
    "Normals",
    "Opacity",
    "Samples per ray",
)
LEAST_FOV, MOST_FOV = math.radians(1.0), math.radians(160.0)
FARTHEST = 1e6  # from the origin, along each axis, in units of the page
WIDEST = 1e6  # pixels of a window that is believed
MOST_STOPS = 16.0
BRIGHTEST = 1e6
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,63}")

Vector = tuple[float, float, float]
Box = tuple[Vector, Vector]  # lowest and highest corner


@dataclass(frozen=True, kw_only=True)
class View:
    """Where somebody looks from, in the world, and how large their window is in pixels."""

    position: Vector
    quat_wxyz: tuple[float, float, float, float]
    fov_rad: float  # from top to bottom
    width: int
    height: int

    @property
    def pose(self) -> Float[Tensor, "3 4"]:
        """World from camera, in double precision."""
        w, x, y, z = self.quat_wxyz
        rotation = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
        rows = [[*row, at] for row, at in zip(rotation, self.position, strict=True)]
        return torch.tensor(rows, dtype=torch.float64)

    def size(self, factor: float) -> tuple[int, int]:
        """Width and height of a picture that is coarser by a factor."""
        return max(1, round(self.width / factor)), max(1, round(self.height / factor))

    def camera(self, factor: float) -> Cameras:
        """The camera that makes this picture: the same view whatever the factor."""
        width, height = self.size(factor)
        tangent = math.tan(self.fov_rad / 2)
        # Rounded sizes: each axis keeps its own angle.
        focal = [width * self.height / self.width, height]
        return Cameras(
            world_from_camera=self.pose.float()[None],
            focal_px=torch.tensor([focal]) / (2 * tangent),
            center_px=torch.tensor([[width / 2, height / 2]]),
            distortion=torch.zeros(1, 6),
            lens=torch.tensor([int(Lens.PERSPECTIVE)]),
            width=torch.tensor([width]),
            height=torch.tensor([height]),
        )


@dataclass(frozen=True, kw_only=True)
class Look:
    """What of the scene somebody wants to see, and in which light."""

    mode: str = COLOUR
    crop: tuple[Box, ...] = ()  # none or one, in the world
    light_at: tuple[float, ...] = ()  # of the moving light; none: as in the scene's file
    emission: tuple[Color, ...] = ()  # of each light group
    stops: float = 0.0  # of exposure
    overlaid: bool = False  # things are drawn into the scene, and the scene hides some of them

    @property
    def kind(self) -> str:
        """What pictures of it need beside colours, so that they cost about the same."""
        return self.mode if self.mode in (NORMALS, SAMPLES) else ""

    @property
    def of_rays(self) -> tuple[Any, ...]:
        """The part that a change of needs new rays; the rest develops what they brought."""
        return self.kind, self.crop, self.light_at


def pose_view(pose: Float[Tensor, "3 4"], fov_rad: float, width: int = 1, height: int = 1) -> View:
    """The view of a camera in the world."""
    w, x, y, z = quat_wxyz_from_rotation(pose[:, :3].double()).tolist()
    x_at, y_at, z_at = pose[:, 3].tolist()
    return View(
        position=(x_at, y_at, z_at),
        quat_wxyz=(w, x, y, z),
        fov_rad=fov_rad,
        width=width,
        height=height,
    )


def checked_view(
    position: Any, quat_wxyz: Any, fov_rad: Any, size: Any, *, unit: float, max_side: int
) -> View | None:
    """The view that a browser's numbers mean; None where they mean none.

    ``unit``: of its positions, in the world's. Windows are taken for no larger than pictures may
    be, of the same format.
    """
    place, turn = _numbers(position, 3), _numbers(quat_wxyz, 4)
    (fov,) = _numbers((fov_rad,), 1) or (0.0,)
    width, height = _numbers(size, 2) or (0.0, 0.0)
    length = math.hypot(*turn)
    if not place or max(map(abs, place)) > FARTHEST or not 1e-3 < length < 1e3:
        return None
    if not (1 <= width <= WIDEST and 1 <= height <= WIDEST and fov > 0):
        return None
    shrink = max(1.0, max(width, height) / max_side)
    x, y, z = (unit * value for value in place)
    q = [value / length for value in turn]
    return View(
        position=(x, y, z),
        quat_wxyz=(q[0], q[1], q[2], q[3]),
        fov_rad=clamped(fov, LEAST_FOV, MOST_FOV),
        width=max(1, round(width / shrink)),
        height=max(1, round(height / shrink)),
    )


def clamped(value: Any, low: float, high: float) -> float:
    """The number nearest to ``value`` in a range; its lower end for what is no number."""
    (number,) = _numbers((value,), 1) or (low,)
    return min(max(number, low), high)


def checked_mode(value: Any) -> str:
    """A way to look; the first one for what is none."""
    return value if value in MODES else COLOUR


def checked_color(value: Any) -> Color:
    """Display-referred red, green and blue in [0, 1], of three 8-bit values; white for others."""
    red, green, blue = (clamped(v, 0.0, 255.0) / 255 for v in (_numbers(value, 3) or (255.0,) * 3))
    return red, green, blue


def checked_box(ranges: Any) -> tuple[Box, ...]:
    """The box of three ranges, ends in any order; none where a value is no number."""
    ends = [sorted(_numbers(ends, 2)) for ends in ranges]
    if len(ends) != 3 or not all(ends):
        return ()
    (x0, x1), (y0, y1), (z0, z1) = ends
    return (((x0, y0, z0), (x1, y1, z1)),)


def checked_point(value: Any, low: Vector, high: Vector) -> tuple[float, ...]:
    """The point nearest to ``value`` between two corners; none where it is no point."""
    point = _numbers(value, 3)
    return (
        tuple(clamped(v, a, b) for v, a, b in zip(point, low, high, strict=True)) if point else ()
    )


def checked_name(value: Any) -> str:
    """A name for a file; UserError for one that could lead out of its folder."""
    if not isinstance(value, str) or not NAME.fullmatch(value.strip()):
        shown = str(value)[:40]
        raise UserError(
            f"{shown!r} is no name for a path: give letters, digits, spaces, - and _, beginning"
            " with a letter or a digit, at most 64."
        )
    return value.strip()


def dialled(group: LightGroup, strength: Any, tint: Color, untouched: bool) -> Color:
    """A light's emission at a multiple of its own strength, in another tint unless ``untouched``.

    ``tint`` is scene-linear; the strongest of the light's channels is kept.
    """
    times = clamped(strength, 0.0, BRIGHTEST)
    peak = max(group.color)
    red, green, blue = group.color if untouched else tuple(peak * value for value in tint)
    return times * red, times * green, times * blue


def _numbers(values: Any, count: int) -> tuple[float, ...]:
    """So many finite numbers; none where they are not."""
    try:
        found = tuple(float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        return ()
    return found if len(found) == count and all(map(math.isfinite, found)) else ()
