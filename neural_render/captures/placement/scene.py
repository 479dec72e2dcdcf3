"""Where the scene lies in the world: the field's unit cube, as stated or as photos suggest."""

import math
from dataclasses import dataclass, replace

import torch

from neural_render.captures.placement.forward import forward_frame
from neural_render.captures.placement.regions import Region, region_of_interest
from neural_render.captures.placement.seen_space import SeenSpace
from neural_render.captures.readers.listing import Placement
from neural_render.captures.settings import CaptureSettings
from neural_render.core.cameras import Cameras
from neural_render.core.errors import SettingError
from neural_render.core.protocols import SceneFrame
from neural_render.core.transforms import Similarity

# instant-ngp's nearest sample, in sides of the cube of interest: in front of a lens lies nothing.
NEAR = 0.1
# Of the distance of the nearest things, where points say it: sparse points miss what is plain.
NEAR_MARGIN = 0.6
# Behind what photos look at is a background: the cube around it reaches at least this far.
MIN_PHOTO_AABB = 4
LARGEST_AABB = 128
# Of what photos are known to show: so much lies in the whole cube, ...
REACHED_SHARE = 0.99
# ... and if less than this lies where the cameras' axes meet, the scene is not there;
LEAST_FOCUSED_SHARE = 0.25
# so much of it is then taken for the cube of interest.
INTEREST_SHARE = 0.75


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a scene lies, why, and what to warn of."""

    frame: SceneFrame
    kind: str  # bounded, unbounded or forward
    reason: str  # why it is taken for that
    warnings: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One line for the log."""
        side, near = self.frame.world_from_field.scale, self.frame.near
        if self.kind == "forward":
            return f"forward ({self.reason})"
        cubes = f", {self.frame.cascades} nested cubes" if self.frame.cascades > 1 else ""
        nearest = f", nothing within {near * side:.3g} of a camera" if near else ""
        return f"{self.kind} ({self.reason}): a cube {side:.4g} world units wide{cubes}{nearest}"


def place_scene(
    cameras: Cameras,
    placement: Placement,
    settings: CaptureSettings,
    *,
    has_opacity: bool,
    seen: SeenSpace,
) -> Place:
    """The field's frame for (training) cameras in the world.

    A setting outranks the file's statement, which outranks what points and cameras suggest. Photos
    with opacity show a bounded object; others have a background, for which the cube is larger, and
    seen from one side it is divided by disparity.
    """
    sized = settings.scale > 0 or settings.aabb_scale > 0
    stated = sized or not math.isnan(placement.half_extent)
    if settings.scene == "forward" or (settings.scene == "auto" and not (has_opacity or stated)):
        frame, reason = forward_frame(cameras, seen)
        if frame is not None:
            return Place(frame=frame, kind="forward", reason=reason, warnings=())
        if settings.scene == "forward":
            raise SettingError(
                f"capture.scene=forward wants photos taken from one side, but {reason}: give auto"
                " or unbounded"
            )
    return _place_cubes(cameras, placement, settings, has_opacity=has_opacity, seen=seen)


def _place_cubes(
    cameras: Cameras,
    placement: Placement,
    settings: CaptureSettings,
    *,
    has_opacity: bool,
    seen: SeenSpace,
) -> Place:
    """The frame of a bounded scene, or of one in nested cubes."""
    if math.isnan(placement.half_extent):
        region = _region(cameras, seen)
        bounded, reason = has_opacity and not region.outward, "the photos have opacity"
    else:
        region = Region(
            center=torch.tensor(placement.center, dtype=torch.float64),
            half_extent=placement.half_extent,
            outward=False,
            warnings=(),
        )
        bounded, reason = True, "the file states its place"
    if settings.scale > 0:
        region = replace(region, half_extent=0.5 / settings.scale, warnings=())
    aabb_scale = settings.aabb_scale or _stated_aabb(placement, settings)
    if settings.aabb_scale:
        reason = "capture.aabb_scale says so"
    elif settings.scene != "auto":
        bounded, reason = settings.scene == "bounded", "capture.scene says so"
    elif aabb_scale:
        reason = "its size is stated"
    elif not bounded:
        reason = "the photos have a background"
    if not aabb_scale:
        aabb_scale = 1 if bounded else _enclosing_aabb(cameras, region, seen)
    kind = "bounded" if aabb_scale == 1 else "unbounded"
    frame = _scene_frame(cameras, region, aabb_scale, seen)
    return Place(frame=frame, kind=kind, reason=reason, warnings=region.warnings)


def _stated_aabb(placement: Placement, settings: CaptureSettings) -> int:
    """How large the file says that the whole is; 0 where it says nothing, or ``capture.scene``
    says something else."""
    kind = "bounded" if placement.aabb_scale == 1 else "unbounded"
    return placement.aabb_scale if settings.scene in ("auto", kind) else 0


def _region(cameras: Cameras, seen: SeenSpace) -> Region:
    """The cube of interest: where the cameras' axes meet, or where most of what they see lies."""
    region = region_of_interest(cameras)
    if not seen.is_known:
        return region
    reach = (seen.places - region.center).abs().amax(-1)
    focused = float((reach < region.half_extent).double().mean())
    if not region.outward and focused >= LEAST_FOCUSED_SHARE:
        return region
    center = seen.places.median(0).values
    reach = (seen.places - center).abs().amax(-1)
    half_extent = float(reach.quantile(INTEREST_SHARE))
    return Region(center=center, half_extent=half_extent, outward=region.outward, warnings=())


def _enclosing_aabb(cameras: Cameras, region: Region, seen: SeenSpace) -> int:
    """How many times larger than the cube of interest the whole has to be for a background.

    A power of two: all cameras and nearly all that they are known to see are inside. Where nothing
    is known the background may be as far behind the focus as twice the farthest camera is in front
    of it.
    """
    positions = cameras.world_from_camera[:, :, 3].double()
    farthest = float((positions - region.center).abs().max())
    reached = 2 * farthest
    if seen.is_known:
        reach = (seen.places - region.center).abs().amax(-1)
        reached = max(farthest, float(reach.quantile(REACHED_SHARE)))
    wanted = max(MIN_PHOTO_AABB, reached / region.half_extent)
    return min(LARGEST_AABB, 2 ** math.ceil(math.log2(wanted)))


def _scene_frame(cameras: Cameras, region: Region, aabb_scale: int, seen: SeenSpace) -> SceneFrame:
    """The frame whose cascade 0 is the cube of interest; ``near`` only if a camera is inside."""
    side = 2 * region.half_extent * aabb_scale
    x, y, z = (region.center - 0.5 * side).tolist()
    world_from_field = Similarity(scale=side, translation=(x, y, z))
    positions = cameras.in_frame(world_from_field.inverse()).world_from_camera[:, :, 3]
    inside = bool(((positions > 0) & (positions < 1)).all(-1).any())
    near = NEAR / aabb_scale if inside else 0.0
    if seen.is_known and inside:
        near = NEAR_MARGIN * seen.nearest(cameras) / side
    return SceneFrame(
        world_from_field=world_from_field, cascades=1 + round(math.log2(aabb_scale)), near=near
    )
