"""What the kernels compute: the records that describe grids, networks, fields, marching and Adam.

They are stored with every checkpoint, so that each backend opens the same parameters.
"""

import math
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from neural_render.core.errors import KernelError

XOR_PRIMES = (1, 2654435761, 805459861, 3674653429)
MORTON_RESOLUTION = 128
MAX_SH_DEGREE = 8  # bands of spherical harmonics that backends need know
MARCHED_ROOM = 8  # samples that are marched, for each that survives (see ``LossSpec.room``)


def _float32(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


@dataclass(frozen=True, kw_only=True)
class GridLevel:
    """One level of a hash grid: its cells and its rows of the table."""

    scale: float  # cell coordinates are `x * scale + 0.5`; a float32
    resolution: int  # lattice points along one axis
    offset: int  # the level's first row in the table
    rows: int
    dense: bool  # one row per lattice point, no hashing


@dataclass(frozen=True, kw_only=True)
class HashGridSpec:
    """A multi-resolution hash grid (Mueller et al. 2022, section 3) over the unit cube.

    ``hash="xor"`` is tiny-cuda-nn's layout bit for bit; ``hash="linear"`` is
    ``(x + y*P1 + z*P2) mod rows``, so that both x corners are neighbours in memory.
    """

    dims: int = 3
    levels: int = 16
    features: int = 2
    log2_rows: int = 19
    coarsest: int = 16
    finest: int = 2048
    hash: Literal["linear", "xor"] = "linear"
    multipliers: tuple[int, int, int] = (2654435761, 805459861, 3674653429)

    @property
    def growth(self) -> float:
        """The ratio b of the scales of neighbouring levels."""
        if self.levels == 1:
            return 1.0
        return math.exp(math.log(self.finest / self.coarsest) / (self.levels - 1))

    def level_scale(self, level: int) -> float:
        """``coarsest * b^level - 1``, rounded to float32 where tiny-cuda-nn rounds.

        The roundings matter: where the scale is an integer they decide the level's resolution.
        """
        log2_growth = _float32(math.log2(_float32(self.growth)))
        power = _float32(2.0 ** _float32(level * log2_growth))
        return _float32(_float32(power * self.coarsest) - 1.0)

    def level_layout(self) -> tuple[GridLevel, ...]:
        """The levels in order, coarsest first, with their rows in the table."""
        limit = 1 << self.log2_rows
        layout: list[GridLevel] = []
        offset = 0
        for level in range(self.levels):
            scale = self.level_scale(level)
            resolution = math.ceil(scale) + (1 if self.hash == "xor" else 2)
            points = resolution**self.dims
            wanted = (points + 7) // 8 * 8 if self.hash == "xor" else points
            rows = min(wanted, limit)
            layout.append(
                GridLevel(
                    scale=scale,
                    resolution=resolution,
                    offset=offset,
                    rows=rows,
                    dense=points <= rows,
                )
            )
            offset += rows
        return tuple(layout)

    @cached_property
    def num_rows(self) -> int:
        """The rows of the whole table."""
        last = self.level_layout()[-1]
        return last.offset + last.rows

    @property
    def num_outputs(self) -> int:
        """The number of features of a point: levels times features."""
        return self.levels * self.features


@dataclass(frozen=True, kw_only=True)
class MlpSpec:
    """A network without biases: ``hidden_layers`` ReLU layers of ``width``, a linear output layer.

    Its weights are one flat vector: layer after layer, each row-major ``[outputs inputs]``.
    """

    inputs: int
    width: int
    hidden_layers: int
    outputs: int

    @property
    def layer_shapes(self) -> tuple[tuple[int, int], ...]:
        """``(outputs, inputs)`` of each layer."""
        sizes = [self.inputs] + [self.width] * self.hidden_layers + [self.outputs]
        return tuple((sizes[i + 1], sizes[i]) for i in range(len(sizes) - 1))

    @property
    def num_weights(self) -> int:
        """The length of the flat weight vector."""
        return sum(outputs * inputs for outputs, inputs in self.layer_shapes)


@dataclass(frozen=True, kw_only=True)
class FieldSpec:
    """Hash grid, density network, spherical harmonics and colour network, as in Instant-NGP.

    The density network maps the grid's features to ``latent`` values; value 0 is the log-density,
    all of them feed the colour network, followed by the spherical harmonics of the direction
    (``sh_degree`` squared values) and the ray's conditions. Where ``reflection_degree`` > 0, what
    follows the latent values are the harmonics of the direction r reflected about the normal n that
    values 1 to 3 stand for, and its cosine (Verbin et al. 2022, "Ref-NeRF"): ``n = v / sqrt(v.v +
    1e-4)``, ``r = d - 2 (d.n) n`` (the direction itself where there is no normal), ``d.n``. Their
    gradient takes n as given: normals learn from what draws them (``LossSpec.normal_weight``).

    ``far_rows`` > 0: a picture of so many rows shows what is farther than all samples; no kernel
    knows of it, to them it is the background.

    density = exp(value 0 + density_bias), the argument clamped to at most 15 in the backward pass;
    radiance = sigmoid or exp of the colour network's outputs (exp: argument clamped likewise).
    """

    grid: HashGridSpec
    latent: int = 16
    width: int = 64
    density_layers: int = 1
    color_layers: int = 2
    sh_degree: int = 4
    num_conditions: int = 0
    num_channels: int = 3
    reflection_degree: int = 0
    far_rows: int = 0
    density_bias: float = 0.0
    radiance: Literal["sigmoid", "exp"] = "sigmoid"

    @property
    def density_network(self) -> MlpSpec:
        """From grid features to latent values."""
        return MlpSpec(
            inputs=self.grid.num_outputs,
            width=self.width,
            hidden_layers=self.density_layers,
            outputs=self.latent,
        )

    @property
    def color_network(self) -> MlpSpec:
        """From latent values, spherical harmonics and conditions to radiance before activation."""
        return MlpSpec(
            inputs=self.latent + self.num_reflected + self.sh_degree**2 + self.num_conditions,
            width=self.width,
            hidden_layers=self.color_layers,
            outputs=self.num_channels,
        )

    @property
    def num_reflected(self) -> int:
        """Inputs of the colour network that follow from the reflected direction."""
        return self.reflection_degree**2 + 1 if self.reflection_degree else 0

    def check_degrees(self) -> None:
        """KernelError for harmonics that fused backends do not know, or without a normal."""
        if not 1 <= self.sh_degree <= MAX_SH_DEGREE:
            raise KernelError(
                f"field.sh_degree={self.sh_degree} is not between 1 and {MAX_SH_DEGREE}."
            )
        if self.reflection_degree and not (
            self.latent >= 4 and 1 <= self.reflection_degree <= MAX_SH_DEGREE
        ):
            raise KernelError(
                f"field.reflection_degree={self.reflection_degree} with field.latent={self.latent}:"
                f" the degree must be 0 to {MAX_SH_DEGREE}, and normals take latent values 1 to 3."
            )

    def color_rows(self, first_channel: int, num_channels: int) -> tuple[slice, slice]:
        """Where in ``color_weights`` the hidden layers and the rows of some channels lie."""
        last = first_channel + num_channels
        assert 0 <= first_channel <= last <= self.num_channels, "the field has no such channels"
        network = self.color_network
        _, inputs = network.layer_shapes[-1]
        hidden = network.num_weights - self.num_channels * inputs
        return slice(0, hidden), slice(hidden + first_channel * inputs, hidden + last * inputs)


@dataclass(frozen=True, kw_only=True)
class MarchSpec:
    """Where samples lie along a ray.

    Interval k >= 0 of a ray is ``[T(k + jitter), T(k + 1 + jitter)]``, represented by its midpoint
    m. T solves ``dT/ds = clamp(cone_angle * T, step, max_step)``, ``T(0) = near`` (``step`` alone
    where ``cone_angle == 0``), that is, with ``t1 = max(near, step / cone_angle)``,
    ``t2 = max(t1, max_step / cone_angle)``, ``s1 = (t1 - near) / step`` and
    ``s2 = s1 + log(t2 / t1) / cone_angle``::

        T(s) = near + s * step                       up to s1: constant steps
               t1 * exp(cone_angle * (s - s1))       from s1 to s2: steps grow in proportion to t
               t2 + max_step * (s - s2)              from s2: constant again (max_step >= step)

    An interval is a sample if its midpoint p lies in ``[0, 1)^3`` and in an occupied cell of
    cascade ``c = min(max(c_contains, c_step), cascades - 1)``: ``c_contains`` is the smallest c
    with ``max |p - 0.5| < 2^(c - cascades)`` (p is inside), ``c_step`` the smallest c whose cells,
    of side ``2^(c - cascades + 1) / 128``, are not smaller than the interval's length.
    The cell is ``floor(128 * ((p - 0.5) * 2^(cascades - 1 - c) + 0.5))``, clipped to 0..127.
    A ray keeps its first ``max_samples_per_ray`` samples.

    ``min_transmittance``: a sample survives while the transmittance before it is not less than
    this; the light that the dropped ones would have stopped goes to the background.

    All of it is computed in the rays' dtype; t1, t2, s1 and s2 in float64.
    """

    step: float
    near: float = 0.0
    cone_angle: float = 0.0
    max_step: float = 1.0
    cascades: int = 1
    max_samples_per_ray: int = 1024
    min_transmittance: float = 1e-4


@dataclass(frozen=True, kw_only=True)
class RenderSpec:
    """A field, how rays are marched through it, and which samples are asked for their colour.

    ``min_weight`` > 0 makes pictures cheaper; where a gradient is kept it is taken for 0. A sample
    behind which less light than ``march.min_transmittance`` is left counts as opaque. The weights
    of a ray's samples are gathered from near to far, and a sample is asked for its colour as soon
    as ``min_weight`` is reached: its colour then stands for all that is gathered. What is left
    behind a ray's last colour counts for that one; a ray that never gathers so much has none. This
    gathering changes the values alone.
    """

    field: FieldSpec
    march: MarchSpec
    min_weight: float = 0.0


@dataclass(frozen=True, kw_only=True)
class OccupancySpec:
    """How the values of an occupancy grid follow densities, and its bits the values.

    A value is ``max(decay * value, density * step length of its cascade)``. A cell is occupied if
    its value exceeds ``threshold``, or the step's opacity at the mean density of all seen cells
    where that is less.
    """

    step_lengths: tuple[float, ...]  # of each cascade, field units
    threshold: float
    decay: float


@dataclass(frozen=True, kw_only=True)
class LossSpec:
    """What ``render_loss`` sums: ``color_loss``, ``distance_loss`` and the rays' mean distortion.

    ``relative`` and ``power``: what is added to the squared denominator of relative errors, and
    what power of it they are divided by (see ``color_loss``); ``relative`` 0: errors are absolute,
    squared below ``delta`` and linear above.

    ``normal_weight``: of how far the vectors that a field's normals are made of are from the unit
    normals of first surfaces, squared, where both are there: averaged along each ray over what is
    seen of its samples, which is taken as given, times the target's opacity, and averaged over rays
    with their weights.

    ``roulette``: samples that count for less in the gradient than this share of a sample's mean may
    be left out at random, the others counting for more, so that the expected gradient stays (Arvo
    and Kirk 1990, "Particle transport and image synthesis"). Of radiance that is an exponential the
    mean is that of square roots, squared: a few samples of rare bright light must not outweigh all
    others. What draws normals does not count in it, but where they are drawn a sample stays with a
    quarter of its weight in its ray for a chance at least: none draws more than four times as
    strongly as a whole ray. 0: the gradient is exact. A backend may always be exact.

    ``near_fade``: what flows back to a sample whose midpoint lies less than this far along its ray
    is scaled by the square of their ratio, and so is all that follows from it, to the parameters
    and to the rays: many more samples of a camera lie in a piece of space just before it than in
    one that others see too, so that fog grows there (Philip and Deschaintre 2023, "Floaters No
    More"). The loss stays as it is. 0: everything counts in full.

    ``room``: so many samples may survive, and ``MARCHED_ROOM`` times as many may be marched, in a
    backend that keeps them where they need not be counted first. The last rays, if they find none,
    count for nothing but in the mean of the distortion, and the others for more. 0: there is room
    for all. A backend may always have it.
    """

    delta: float
    relative: float = 0.0
    power: float = 2.0
    distortion_weight: float = 0.0
    distance_weight: float = 0.0
    normal_weight: float = 0.0
    roulette: float = 0.0
    near_fade: float = 0.0
    room: int = 0


@dataclass(frozen=True, kw_only=True)
class AdamSpec:
    """One step of Adam (Kingma and Ba 2015): L2 ``weight_decay`` is added to the gradient.

    ``step`` counts from 1, for the whole parameter: it alone drives the bias correction. The steps
    of rows know neither ``beta1`` nor ``weight_decay``.
    """

    learning_rate: float
    step: int
    beta1: float = 0.9
    beta2: float = 0.99
    epsilon: float = 1e-15
    weight_decay: float = 0.0
