"""What goes into the kernels and what comes out: records of tensors."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Float64, Int, UInt8
from torch import Tensor

from neural_render.core.rays import Rays


@dataclass(frozen=True, kw_only=True)
class FieldParameters:
    """All parameters of a fused field; networks as flat vectors (see ``MlpSpec``)."""

    table: Float[Tensor, "rows features"]
    density_weights: Float[Tensor, " density_weights"]
    color_weights: Float[Tensor, " color_weights"]


@dataclass(frozen=True, kw_only=True)
class FieldInputs:
    """Where a field is asked. No conditions: a tensor with zero columns. No footprint: zeros."""

    points: Float[Tensor, "samples 3"]  # in [0, 1]
    directions: Float[Tensor, "samples 3"]  # unit length
    conditions: Float[Tensor, "rays conditions"]
    ray_index: Int[Tensor, " samples"]  # the row of `conditions` of each sample
    footprint: Float[Tensor, " samples"]  # standard deviation in field units


@dataclass(frozen=True, kw_only=True)
class FieldGradients:
    """The gradient of a loss to everything that ``query_field`` takes."""

    points: Float[Tensor, "samples 3"]
    directions: Float[Tensor, "samples 3"]
    conditions: Float[Tensor, "rays conditions"]
    parameters: FieldParameters


@dataclass(frozen=True, kw_only=True)
class FactoredGradient:
    """A table's gradient before it is scattered: the points and the gradient to their features.

    ``features`` is feature-major (row ``level * features_per_level + feature``), because the
    scatter goes level by level; the footprint's weights are already in it.
    """

    points: Float[Tensor, "samples 3"]
    features: Float[Tensor, "level_features samples"]


@dataclass(frozen=True, kw_only=True)
class PackedSamples:
    """The samples of all rays, ray after ray, in buffers of fixed capacity.

    The first ``count`` entries are samples; ray i owns ``[offsets[i], offsets[i + 1])``. Where the
    capacity is too small the last rays lose samples from their far end, and ``num_wanted`` says how
    many there would have been.
    """

    t_near: Float[Tensor, " capacity"]
    t_far: Float[Tensor, " capacity"]
    ray_index: Int[Tensor, " capacity"]
    offsets: Int[Tensor, " rays_plus_one"]
    count: Int[Tensor, ""]
    num_wanted: Int[Tensor, ""]


@dataclass(frozen=True, kw_only=True)
class Composited:
    """What a ray sees (Max 1995): weights ``w_i = T_i (1 - exp(-density_i d_i))``.

    ``values = sum w_i radiance_i + (1 - opacity) background``; ``opacity = sum w_i``; ``distance``
    is the mean of the interval midpoints under w, normalised by opacity (0 where opacity is 0);
    ``distortion = sum_ij w_i w_j |m_i - m_j| + 1/3 sum w_i^2 d_i`` (Barron et al. 2022, eq. 15).
    """

    values: Float[Tensor, "rays channels"]
    opacity: Float[Tensor, " rays"]
    distance: Float[Tensor, " rays"]
    distortion: Float[Tensor, " rays"]
    weights: Float[Tensor, " capacity"]


@dataclass(frozen=True, kw_only=True)
class RenderInputs:
    """Rays and all else that a render depends on beside the field.

    ``occupancy`` holds one bit per cell, cells in Morton order (x in the lowest bit), bit i of byte
    j is cell ``8 j + i``. ``jitter`` in [0, 1) shifts each ray's lattice by a fraction of a step.
    """

    rays: Rays
    jitter: Float[Tensor, " rays"]
    background: Float[Tensor, "rays channels"]
    conditions: Float[Tensor, "rays conditions"]
    occupancy: UInt8[Tensor, "cascades bytes"]


@dataclass(frozen=True, kw_only=True)
class RenderOutput:
    """What the rays see (see ``Composited``) and what it cost.

    ``num_marched`` samples were asked for their density, ``num_survived`` for their colour.
    """

    values: Float[Tensor, "rays channels"]
    opacity: Float[Tensor, " rays"]
    distance: Float[Tensor, " rays"]
    distortion: Float[Tensor, " rays"]
    num_marched: Int[Tensor, ""]
    num_survived: Int[Tensor, ""]


@dataclass(frozen=True, kw_only=True)
class ColorTargets:
    """What rays should see: straight colours in front of a background, and how much each counts.

    The colours are those channels of the field that begin with ``first_channel``. ``distance`` is
    where the first surface lies, 0 (or infinity) where that is not known, ``normals`` its unit
    normals, 0 likewise.

    ``gain`` is what the camera multiplies each ray's light by, whatever it comes from: the
    background of both sides too. Of no length it is 1 everywhere.
    """

    colors: Float[Tensor, "rays channels"]
    opacity: Float[Tensor, " rays"]
    background: Float[Tensor, "rays channels"]
    weights: Float[Tensor, " rays"]  # 1 on average
    distance: Float[Tensor, " rays"]
    normals: Float[Tensor, "rays 3"]
    first_channel: int = 0
    gain: Float[Tensor, "gained gain_channels"] = field(default_factory=lambda: torch.zeros(0, 0))


@dataclass(frozen=True, kw_only=True)
class RenderLoss:
    """The loss of a batch of rays, each ray's squared error, and the counts of `RenderOutput`.

    ``num_fitting`` rays found room for their samples (see `LossSpec`); None: all did, or nobody
    counted.
    """

    loss: Float[Tensor, ""]
    squared: Float[Tensor, " rays"]
    num_marched: Int[Tensor, ""]
    num_survived: Int[Tensor, ""]
    num_fitting: Int[Tensor, ""] | None = None


@dataclass(frozen=True, kw_only=True)
class RenderGradients:
    """The gradient of a loss to everything that ``render_rays`` takes; the table's is factored.

    Where the loss is that of `ColorTargets`, also to their gain, if they have one; that to the
    background then takes the targets before it as given.
    """

    origins: Float[Tensor, "rays 3"]
    directions: Float[Tensor, "rays 3"]
    background: Float[Tensor, "rays channels"]
    conditions: Float[Tensor, "rays conditions"]
    table: FactoredGradient
    density_weights: Float[Tensor, " density_weights"]
    color_weights: Float[Tensor, " color_weights"]
    gain: Float[Tensor, "gained gain_channels"] = field(default_factory=lambda: torch.zeros(0, 0))

    def scaled(self, scale: Tensor) -> "RenderGradients":
        """The gradient of the loss times ``scale``."""
        return RenderGradients(
            origins=self.origins * scale,
            directions=self.directions * scale,
            background=self.background * scale,
            conditions=self.conditions * scale,
            table=FactoredGradient(points=self.table.points, features=self.table.features * scale),
            density_weights=self.density_weights * scale,
            color_weights=self.color_weights * scale,
            gain=self.gain * scale if len(self.gain) else self.gain,
        )


@dataclass(frozen=True, kw_only=True)
class InputGradients:
    """The gradient of a loss to what a batch is beside its field: to cameras, in the end.

    Those to rays are zero unless these require them. That to the gain has no length where the
    targets have none.
    """

    origins: Float[Tensor, "rays 3"]
    directions: Float[Tensor, "rays 3"]
    conditions: Float[Tensor, "rays conditions"]
    gain: Float[Tensor, "gained gain_channels"]


@dataclass(frozen=True, kw_only=True)
class OccupancyState:
    """Nested grids of cells (Morton order), the finest first, and what follows from their values.

    ``values`` are opacities of a march step; -1 marks a cell that nobody sees. ``rows`` holds the
    sum and the number of the seen cells of each 512 (a block of 8^3): a sum of NaN says that the
    row was written to from outside. ``limits`` is what ``bits`` were made with; NaN: not known.
    """

    values: Float[Tensor, "cascades cells"]
    bits: UInt8[Tensor, "cascades bytes"]
    rows: Float64[Tensor, "cascades rows 2"]
    limits: Float[Tensor, " cascades"]


@dataclass(frozen=True, kw_only=True)
class PixelLayout:
    """Where the pixels of photos lie: one photo after another, row by row.

    Each photo is cut into square blocks of ``2 ** block_shift`` pixels a side, those at its right
    and bottom edge being smaller; they are numbered row by row, photo after photo.
    """

    offsets: Int[Tensor, " views"]  # the index of each photo's first pixel
    sizes: Int[Tensor, "views 2"]  # width and height
    first_blocks: Int[Tensor, " views"]
    num_pixels: int
    num_blocks: int
    block_shift: int


@dataclass(frozen=True, kw_only=True)
class PixelViews:
    """Photos, 8-bit with straight alpha where there are 4 channels, and how rays leave them.

    A row of ``poses`` holds the columns of the camera's rotation, one after another, and its
    position; a row of ``intrinsics`` fx, fy, cx, cy (pixels) and the footprint on the axis. Where
    ``table`` has rows, those from ``table_starts`` on are the directions in camera axes and the
    footprints of a view's pixels; else they are a pinhole's.
    """

    layout: PixelLayout
    pixels: UInt8[Tensor, "pixels channels"]
    poses: Float[Tensor, "views 12"]
    intrinsics: Float[Tensor, "lenses 5"]  # a row for each view, or one for all
    table: Float[Tensor, "entries 4"]
    table_starts: Int[Tensor, " views"]


@dataclass(frozen=True, kw_only=True)
class PixelRays:
    """Rays through pixel centres, with what the photos hold there."""

    rays: Rays
    colors: Float[Tensor, "rays 3"]  # straight, in [0, 1]
    opacity: Float[Tensor, " rays"]  # 1 where the photos have no alpha
    view: Int[Tensor, " rays"]
    block: Int[Tensor, " rays"]
