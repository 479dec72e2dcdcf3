"""What is exported: a trained field as its cameras see it, shown in display-referred colours."""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neural_render.core.cameras import Cameras
from neural_render.core.errors import OutputError
from neural_render.core.lights import Color, Lighting
from neural_render.core.protocols import Field, SceneFrame
from neural_render.core.rays import Rays
from neural_render.export.images import MIN_OPACITY, display_color
from neural_render.kernels.cells import NUM_CELLS, unpack_bits
from neural_render.rendering import Renderer
from neural_render.rendering.emptiness.carving import cells_of
from neural_render.rendering.images import RAYS_AT_ONCE, SAMPLED_AT_ONCE
from neural_render.rendering.renderer import far_behind

POINTS_AT_ONCE = 1 << 18


@dataclass(frozen=True, kw_only=True)
class Palette:
    """How radiance becomes the colours of a file: of photos as it is, of lights as dialled."""

    colour_space: str  # of a field without light groups: srgb or linear
    lighting: Lighting = field(default_factory=Lighting)
    emission: tuple[Color, ...] = ()  # of each light group
    exposure: float = 1.0  # what scene-linear radiance is multiplied by

    def shown(self, radiance: Float[Tensor, "points channels"]) -> Float[Tensor, "points 3"]:
        """Display-referred sRGB in [0, 1]."""
        if not self.lighting.groups:
            return display_color(radiance, self.colour_space, self.exposure).clamp(0, 1)
        mixed = self.lighting.mixed(radiance, self.emission)
        return display_color(mixed, "linear", self.exposure)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What rays see of the subject alone, without anything behind it."""

    color: Float[Tensor, "rays 3"]  # straight, display-referred; black where nothing is
    opacity: Float[Tensor, " rays"]
    distance: Float[Tensor, " rays"]  # mean, in field units; 0 where nothing is
    spread: Float[Tensor, " rays"]  # how far it is in depth, in field units


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A field, its renderer and place, and the cameras (field frame) that it was learnt from."""

    field: Field
    renderer: Renderer
    frame: SceneFrame
    cameras: Cameras
    palette: Palette
    conditions: Float[Tensor, " conditions"]

    @property
    def device(self) -> torch.device:
        """Where the field computes."""
        return self.renderer.occupancy.values.device

    @property
    def scale(self) -> float:
        """World units in a unit of the field."""
        return self.frame.world_from_field.scale

    @cached_property
    def _occupied(self) -> Bool[Tensor, "cascades cells_and_none"]:
        """Which cells are occupied; the last one of each cascade is all that lies outside."""
        return torch.nn.functional.pad(unpack_bits(self.renderer.occupancy.bits), (0, 1))

    def occupied(self, points: Float[Tensor, "points 3"]) -> Bool[Tensor, " points"]:
        """Whether points in the field's cube lie in cells that are occupied."""
        return looked_up(self._occupied, points)

    @torch.no_grad()
    def density(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, " points"]:
        """Density per unit of the field's cube, in which the points lie; 0 in empty cells, as the
        renderer has it."""
        found = torch.zeros(len(points), device=self.device)
        for start in range(0, len(points), POINTS_AT_ONCE):
            here = points[start : start + POINTS_AT_ONCE].to(self.device)
            kept = self.occupied(here).nonzero()[:, 0]
            if len(kept):
                density = self.field.density(here[kept]).nan_to_num(0.0)
                found[start : start + POINTS_AT_ONCE][kept] = density
        return found.to(points.device)

    def told(self, num_rays: int) -> Float[Tensor, "rays conditions"] | None:
        """What the field is told beside places and directions."""
        if not len(self.conditions):
            return None
        return self.conditions.to(self.device).expand(num_rays, -1).contiguous()

    @torch.inference_mode()
    def look(self, rays: Rays) -> Seen:
        """What rays (field frame) see; colours as pictures have them."""
        sparing = self.renderer.for_pictures()
        fused = self.field.fused_view() is not None
        size = RAYS_AT_ONCE if fused else SAMPLED_AT_ONCE
        parts = []
        for start in range(0, len(rays), size):
            here = rays[start : start + size].to(self.device)
            empty = torch.zeros(len(here), self.field.num_channels, device=self.device)
            seen = sparing.render(
                self.field,
                here,
                background=empty,
                jitter=torch.full((len(here),), 0.5, device=self.device),
                conditions=self.told(len(here)),
            )
            behind = far_behind(self.field, here)
            values, covered = seen.values, seen.opacity[:, None]
            if len(behind):
                values = values - (1 - covered) * behind
            color = self.palette.shown((values / covered.clamp(min=MIN_OPACITY)).clamp(min=0))
            spread = seen.distortion / seen.opacity.square().clamp(min=MIN_OPACITY**2)
            parts.append(
                Seen(
                    color=color.where(covered > MIN_OPACITY, 0.0).to(rays.origins.device),
                    opacity=seen.opacity.to(rays.origins.device),
                    distance=seen.distance.to(rays.origins.device),
                    spread=spread.to(rays.origins.device),
                )
            )
        return _joined(parts)

    def to_world(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        """Points of the field's frame in the capture's coordinates."""
        return self.frame.world_from_field.apply(points)


def looked_up(
    cells: Bool[Tensor, "cascades cells_and_none"], points: Float[Tensor, "points 3"]
) -> Bool[Tensor, " points"]:
    """What ``cells`` (Morton order, and one for all outside) say of the smallest cascade's cell
    that holds each point of the field's cube."""
    cascades = len(cells)
    if cascades == 1:
        return cells[0][cells_of(points)]
    extent = (points - 0.5).abs().amax(-1)
    cascade = torch.zeros_like(extent, dtype=torch.int64)
    for inner in range(cascades - 1):
        cascade += extent >= 2.0 ** (inner - cascades)
    local = (points - 0.5) * 2.0 ** (cascades - 1 - cascade)[:, None].to(points) + 0.5
    flat = cascade * (NUM_CELLS + 1) + cells_of(local)
    return cells.view(-1)[flat]


def _joined(parts: list[Seen]) -> Seen:
    """One after the other."""
    names = ("color", "opacity", "distance", "spread")
    if not parts:
        none = torch.zeros(0)
        return Seen(color=torch.zeros(0, 3), opacity=none, distance=none, spread=none)
    return Seen(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def nothing_to_export(what: str) -> OutputError:
    """The sentence for a field in which there is nothing opaque."""
    return OutputError(
        f"there is nothing to make {what} of: the run's field is empty or clear as glass where its"
        " cameras look; train it longer, or look at it with render.py first."
    )
