"""Everything that a resumed run needs: what a checkpoint holds."""

import dataclasses
from dataclasses import dataclass

from torch import Tensor

from neural_render.captures.adjustment.adjustment import CameraAdjustment, fixed_cameras
from neural_render.core.lights import Lighting
from neural_render.core.protocols import SceneFrame
from neural_render.fields import RadianceField
from neural_render.kernels.specs import FieldSpec, MarchSpec
from neural_render.rendering import OccupancyGrid
from neural_render.training.ema import AveragedWeights
from neural_render.training.sampling.error_map import ErrorMap
from neural_render.training.stepping.optimizer import Moments


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a run is about: enough to rebuild its field and renderer and to place them."""

    field: FieldSpec
    march: MarchSpec
    antialias: bool
    frame: SceneFrame
    num_channels: int
    background: str  # behind everything in evaluation: white or black
    color_space: str  # of the radiance: srgb (display-referred) or linear
    backend: str
    precision: str  # of the kernels in the last sitting: float32, bfloat16 or float16
    capture: str  # where the training views came from; "" for rays that a program made
    seed: int
    lighting: Lighting  # what the channels are, group by group; none for photographs


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far training is and what it took; the counts are totals since step 1."""

    step: int = 0
    train_seconds: float = 0.0  # wall, training alone
    train_cpu_seconds: float = 0.0  # process CPU seconds / threads, training alone
    survivors_per_ray: float = 256.0  # running estimate at a march step of scale 1
    num_rays: int = 0
    num_samples: int = 0  # survivors: what entered the colour network
    num_samples_marched: int = 0
    averaged_step: int = 0  # the last step that the averaged weights saw


@dataclass(kw_only=True)
class TrainingState:
    """The live objects that training changes in place, and its progress."""

    field: RadianceField
    occupancy: OccupancyGrid
    moments: Moments
    average: AveragedWeights
    errors: ErrorMap
    progress: Progress
    adjustment: CameraAdjustment = dataclasses.field(default_factory=fixed_cameras)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state under the name that it has in a checkpoint (no copies)."""
        found = {f"field.{name}": tensor.detach() for name, tensor in self.field.named_parameters()}
        found |= {f"average.{name}": tensor for name, tensor in self.average.average.items()}
        found |= self.moments
        found |= {f"occupancy.{name}": t for name, t in self.occupancy.state().items()}
        found |= {f"errors.{name}": tensor for name, tensor in self.errors.state().items()}
        return found | {f"cameras.{name}": t for name, t in self.adjustment.state().items()}
