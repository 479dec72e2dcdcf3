"""Fields whose surfaces are spheres, and what sees them: subjects of exports that are known."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neural_render.core.cameras import Cameras
from neural_render.core.projection import IDENTITY_PROJECTION
from neural_render.core.protocols import SceneFrame
from neural_render.core.transforms import Similarity
from neural_render.export.geometry.space import Space
from neural_render.export.geometry.subject import Palette, Subject
from neural_render.export.geometry.surfaces.witnesses import cameras_around
from neural_render.rendering import RenderingSettings, build_renderer

CPU = torch.device("cpu")
LEVEL = 400.0  # the balls' density on their surface, per field unit
STEEPNESS = 300.0  # of its logarithm, per field unit
SCALE, SHIFT = 4.0, (-1.0, 2.0, 0.5)  # of the world, which is not the field's
MIDDLE = (0.5, 0.5, 0.5)


@dataclass(frozen=True, kw_only=True)
class Ball:
    """A ball in the field's frame."""

    center: tuple[float, float, float] = MIDDLE
    radius: float = 0.25


class Balls:
    """Balls whose density grows inwards; red where x is small, blue where it is large.

    With ``shine`` green is how directly one looks along x. Hollow ones are empty again from half
    of their radius inwards.
    """

    num_channels = 3

    def __init__(
        self,
        balls: Sequence[Ball],
        frame: SceneFrame,
        *,
        shine: float = 0.0,
        hollow: bool = False,
    ) -> None:
        self.centers = torch.tensor([ball.center for ball in balls]).view(-1, 3)
        self.radii = torch.tensor([ball.radius for ball in balls])
        self.back, self.shine, self.hollow = frame.projection.inverse(), shine, hollow
        self.is_identity = frame.projection.is_identity

    def density(self, points: Tensor, footprint: Tensor | None = None) -> Tensor:
        if not len(self.radii):
            return torch.zeros(len(points))
        away = (self.in_field(points)[:, None] - self.centers).norm(dim=-1)
        depth = self.radii - away
        if self.hollow:
            depth = torch.minimum(depth, away - 0.5 * self.radii)
        return LEVEL * (STEEPNESS * depth.amax(1)).clamp(-60, 4).exp()

    def query(
        self,
        points: Tensor,
        directions: Tensor,
        conditions: Tensor | None = None,
        ray_index: Tensor | None = None,
        footprint: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        x = self.in_field(points)[:, 0]
        color = torch.stack([1.0 * (x < 0.5), self.shine * directions[:, 0].abs(), 1.0 * (x > 0.5)])
        return self.density(points), color.T

    def in_field(self, points: Tensor) -> Tensor:
        return points if self.is_identity else self.back.apply(points)

    def fused_view(self) -> None:
        return None


def frame(cascades: int = 1) -> SceneFrame:
    """A cube that lies elsewhere in the world, and is larger."""
    placed = Similarity(scale=SCALE, translation=SHIFT)
    return SceneFrame(
        world_from_field=placed, cascades=cascades, near=0.0, projection=IDENTITY_PROJECTION
    )


def subject(
    balls: Sequence[Ball] = (Ball(),),
    *,
    placed: SceneFrame | None = None,
    cameras: Cameras | None = None,
    shine: float = 0.0,
    hollow: bool = False,
) -> Subject:
    """Balls, seen by cameras all around the cube's middle unless others are given."""
    placed = placed or frame()
    field = Balls(balls, placed, shine=shine, hollow=hollow)
    renderer = build_renderer(RenderingSettings(step=0.004), placed, CPU)
    renderer.update_occupancy(field, generator=torch.Generator().manual_seed(0), full=True)
    renderer.settle_occupancy(field, generator=torch.Generator().manual_seed(1))
    return Subject(
        field=field,
        renderer=renderer,
        frame=placed,
        cameras=around(12) if cameras is None else cameras,
        palette=Palette(colour_space="srgb"),
        conditions=torch.zeros(0),
    )


def around(count: int, size: int = 40) -> Cameras:
    """Cameras on a sphere around the cube's middle."""
    all_cameras = cameras_around(torch.full((3,), 0.2), torch.full((3,), 0.8))
    some = all_cameras[torch.linspace(0, len(all_cameras) - 1, count).round().long()]
    return some.resized(size, size)


def space(of: Subject, *, inner: bool = False) -> Space:
    """The lattice of a subject."""
    return Space(frame=of.frame, inner=inner)


def world(center: tuple[float, float, float] = MIDDLE) -> Tensor:
    """A place of the field's frame in the world."""
    return SCALE * torch.tensor(center) + torch.tensor(SHIFT)
