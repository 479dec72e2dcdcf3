"""How rays are marched: what the user states and what the kernels read."""

import math
from dataclasses import dataclass, field, replace

from neural_render.core.errors import SettingError
from neural_render.core.protocols import SceneFrame
from neural_render.kernels.specs import MORTON_RESOLUTION, MarchSpec

STEPS_ALONG_DIAGONAL = 1024  # of the region of interest, as in Instant-NGP
UNBOUNDED_CONE_ANGLE = 1 / 256
FORWARD_STEP = 1 / 256  # of all disparities
SHORTEST_STEP = 2e-6  # that is taken: of a million on a ray, which a checkpoint may ask for
DIAGONAL = math.sqrt(3.0)  # of the cube: no ray is longer inside
# Of pictures: a colour for each so much weight along a ray, and no samples where less light is left
# than this: far fewer colours and fewer samples, for next to nothing in PSNR.
PICTURE_MIN_WEIGHT = 0.02
PICTURE_MIN_TRANSMITTANCE = 0.02


@dataclass(kw_only=True)
class RenderingSettings:
    """Steps along rays and the occupancy grid."""

    step: float = field(
        default=0.0,
        metadata={
            "help": "march step in field units, at least 2e-6; 0: 1/1024 of the region's diagonal,"
            " of forward-facing scenes 1/256 of the cube",
            "minimum": 0.0,
            "maximum": 1.0,
        },
    )
    cone_angle: float = field(
        default=-1.0,
        metadata={
            "help": "growth of steps with distance; -1: 0 if the scene is bounded, else 1/256",
            "minimum": -1.0,
            "maximum": 1.0,
        },
    )
    min_transmittance: float = field(
        default=1e-4,
        metadata={
            "help": "a ray stops where less light than this is left",
            "minimum": 0.0,
            "maximum": 1.0,
        },
    )
    clear_near: float = field(
        default=0.0,
        metadata={
            "help": "space that all cameras which see it see from less than this, in sides of the"
            " cube of interest, stays empty: nothing floats before a single lens; not for photos"
            " from one side",
            "minimum": 0.0,
            "maximum": 1.0,
        },
    )
    antialias: bool = field(
        default=False,
        metadata={
            "help": "fade out grid levels finer than a pixel's cone; not for photos from one side"
        },
    )
    occupancy_threshold: float = field(
        default=0.01,
        metadata={"help": "opacity of one step below which a cell is empty", "minimum": 0.0},
    )
    occupancy_decay: float = field(
        default=0.75,
        metadata={
            "help": "what a cell keeps of its past opacity when it is looked at anew",
            "minimum": 0.0,
            "maximum": 1.0,
        },
    )


def clear_distance(settings: RenderingSettings, frame: SceneFrame) -> float:
    """The distance (field units) from beyond which some camera must see what may be occupied."""
    if not frame.projection.is_identity:
        return frame.near  # its cube begins where the nearest things are
    return max(frame.near, settings.clear_near * 2.0 ** (1 - frame.cascades))


def check_steps(settings: RenderingSettings) -> None:
    """SettingError for a step with which a run could be trained and not be opened."""
    if 0 < settings.step < SHORTEST_STEP:
        raise SettingError(
            f"rendering.step={settings.step:g} is too short: give at least {SHORTEST_STEP:g} of the"
            " cube, or 0 for what suits the scene."
        )


def march_spec(settings: RenderingSettings, frame: SceneFrame) -> MarchSpec:
    """The steps that ``settings`` ask for in ``frame``; where they state any, all that may lie on
    a ray are kept. SettingError where they are too short."""
    check_steps(settings)
    march = _march(settings, frame)
    if settings.step == 0 and settings.cone_angle < 0:
        return march
    most = max(march.max_samples_per_ray, intervals_across(march))
    return replace(march, max_samples_per_ray=most)


def intervals_across(march: MarchSpec) -> int:
    """How many of its intervals a ray has inside the cube at most: from the camera on, where they
    are shortest (the equations of ``MarchSpec``)."""
    if march.cone_angle == 0:
        return math.ceil(DIAGONAL / march.step) + 1
    end = march.near + DIAGONAL
    growing = max(march.near, march.step / march.cone_angle)
    full = max(growing, march.max_step / march.cone_angle)
    steps = (min(end, growing) - march.near) / march.step
    steps += math.log(min(max(end, growing), full) / growing) / march.cone_angle
    steps += max(0.0, end - full) / march.max_step
    return math.ceil(steps) + 1


def _march(settings: RenderingSettings, frame: SceneFrame) -> MarchSpec:
    """The same, with as many samples on a ray as usual."""
    if not frame.projection.is_identity:
        # Steps of the projection's cube are even in disparity already.
        return MarchSpec(
            step=settings.step or FORWARD_STEP,
            near=frame.near,
            cone_angle=max(0.0, settings.cone_angle),
            max_step=max(settings.step or FORWARD_STEP, 1.0 / MORTON_RESOLUTION),
            cascades=frame.cascades,
            min_transmittance=settings.min_transmittance,
        )
    region = 2.0 ** (1 - frame.cascades)  # side of cascade 0
    automatic_cone = 0.0 if frame.cascades == 1 else UNBOUNDED_CONE_ANGLE
    step = settings.step or DIAGONAL * region / STEPS_ALONG_DIAGONAL
    return MarchSpec(
        step=step,
        near=frame.near,
        cone_angle=automatic_cone if settings.cone_angle < 0 else settings.cone_angle,
        # No interval is longer than a cell of the outermost cascade: emptiness stays visible.
        max_step=max(step, 1.0 / MORTON_RESOLUTION),
        cascades=frame.cascades,
        min_transmittance=settings.min_transmittance,
    )
