"""Small problems for the kernels' tests: grids, fields, points, rays, occupied cells."""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from math import sqrt

import torch
from torch import Tensor

from neural_render.core.rays import Rays
from neural_render.kernels.morton import morton_decode
from neural_render.kernels.records import (
    ColorTargets,
    FieldInputs,
    FieldParameters,
    PackedSamples,
    RenderInputs,
)
from neural_render.kernels.reference.encoding import hash_encode
from neural_render.kernels.reference.field import reflected_inputs
from neural_render.kernels.reference.networks import mlp, spherical_harmonics
from neural_render.kernels.specs import (
    MORTON_RESOLUTION,
    FieldSpec,
    HashGridSpec,
    MarchSpec,
    MlpSpec,
)

STEP = sqrt(3) / 1024


def generator(seed: int) -> torch.Generator:
    """Randomness that repeats."""
    return torch.Generator().manual_seed(seed)


def small_grid(**changes: object) -> HashGridSpec:
    """A grid with dense and hashed levels, none of its numbers a multiple of anything."""
    numbers = {"levels": 5, "features": 2, "log2_rows": 10, "coarsest": 5, "finest": 61}
    return HashGridSpec(**{**numbers, **changes})


def small_field(**changes: object) -> FieldSpec:
    """A field that is quick to ask and dense enough to be seen."""
    numbers = {"grid": small_grid(), "latent": 6, "width": 16, "density_bias": 3.0}
    return FieldSpec(**{**numbers, **changes})


def parameters_of(spec: FieldSpec, dtype: torch.dtype = torch.float32) -> FieldParameters:
    """Random parameters, large enough for features and kinks to matter."""
    shape = spec.grid.num_rows, spec.grid.features
    table = torch.rand(shape, generator=generator(1), dtype=torch.float64) * 2 - 1

    def weights(count: int, seed: int) -> Tensor:
        return torch.randn(count, generator=generator(seed), dtype=torch.float64) / 4

    return FieldParameters(
        table=table.to(dtype),
        density_weights=weights(spec.density_network.num_weights, 2).to(dtype),
        color_weights=weights(spec.color_network.num_weights, 3).to(dtype),
    )


def points_away_from_borders(
    num: int, spec: HashGridSpec, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Random points, none near a face of a cell, where the gradient to the points jumps."""
    points = torch.rand(20 * num + 20, spec.dims, generator=generator(4), dtype=torch.float64)
    keep = torch.ones(len(points), dtype=torch.bool)
    for level in spec.level_layout():
        fraction = (points * level.scale + 0.5) % 1
        keep &= (torch.minimum(fraction, 1 - fraction) > 2e-3).all(-1)
    found = points[keep][:num]
    assert len(found) == num
    return found.to(dtype)


def near_a_kink(inputs: Tensor, weights: Tensor, spec: MlpSpec) -> Tensor:
    """Which samples have a hidden unit so near to zero that its slope is a matter of rounding.

    Exactly zero is a unit only behind a layer that is dead, where no slope matters.
    """
    near = torch.zeros(len(inputs), dtype=torch.bool)
    values, start = inputs.double(), 0
    for outputs, columns in spec.layer_shapes[:-1]:
        layer = weights[start : start + outputs * columns].view(outputs, columns).double()
        start += outputs * columns
        values = values @ layer.T
        near |= ((values.abs() < 1e-5) & (values != 0)).any(-1)
        values = values.relu()
    return near


def field_inputs(
    num: int, parameters: FieldParameters, spec: FieldSpec, dtype: torch.dtype = torch.float32
) -> FieldInputs:
    """Samples of seven rays with footprints; none where the gradients jump."""
    more = num + num // 4 + 8
    points = points_away_from_borders(more, spec.grid, dtype)
    directions = unit_vectors(more, dtype=dtype)
    conditions = torch.rand(7, spec.num_conditions, generator=generator(1), dtype=torch.float64)
    conditions = conditions.to(dtype)
    ray_index = torch.arange(more) % 7
    footprint = torch.linspace(0, 0.05, more, dtype=torch.float64).to(dtype)
    features = hash_encode(points, parameters.table, spec.grid, footprint)
    latent = mlp(features, parameters.density_weights, spec.density_network)
    harmonics = spherical_harmonics(directions, spec.sh_degree)
    reflected = reflected_inputs(latent, directions, spec.reflection_degree)
    together = torch.cat([latent, reflected, harmonics, conditions[ray_index]], dim=1)
    kinks = near_a_kink(features, parameters.density_weights, spec.density_network)
    kinks |= near_a_kink(together, parameters.color_weights, spec.color_network)
    keep = (~kinks).nonzero()[:num, 0]
    assert len(keep) == num
    return FieldInputs(
        points=points[keep],
        directions=directions[keep],
        conditions=conditions,
        ray_index=ray_index[keep],
        footprint=footprint[keep],
    )


def unit_vectors(num: int, seed: int = 5, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random directions."""
    vectors = torch.randn(num, 3, generator=generator(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(vectors, dim=-1).to(dtype)


def rays_through_cube(num: int, dtype: torch.dtype = torch.float32) -> Rays:
    """Rays from around the cube to points inside it; some start inside."""
    targets = torch.rand(num, 3, generator=generator(6), dtype=torch.float64) * 0.8 + 0.1
    directions = unit_vectors(num, 7, torch.float64)
    distances = torch.rand(num, 1, generator=generator(8), dtype=torch.float64) * 1.5
    return Rays(
        origins=(targets - directions * distances).to(dtype),
        directions=directions.to(dtype),
        footprint=torch.zeros(num, dtype=dtype),
    )


def one_ray(
    origin: Sequence[float], direction: Sequence[float], dtype: torch.dtype = torch.float64
) -> Rays:
    """A single ray; the direction is normalised."""
    vector = torch.tensor([direction], dtype=dtype)
    return Rays(
        origins=torch.tensor([origin], dtype=dtype),
        directions=vector / vector.norm(),
        footprint=torch.zeros(1, dtype=dtype),
    )


@cache
def cell_centers() -> Tensor:
    """The centres of all cells of the last cascade, in Morton order."""
    return (morton_decode(torch.arange(MORTON_RESOLUTION**3)) + 0.5) / MORTON_RESOLUTION


def occupancy_of(inside: Callable[[Tensor], Tensor], cascades: int = 1) -> Tensor:
    """Occupancy bits: a cell is occupied if its centre is ``inside``, a function of points."""
    return _occupancy(inside, cascades).clone()


@lru_cache(maxsize=32)
def _occupancy(inside: Callable[[Tensor], Tensor], cascades: int) -> Tensor:
    bits = []
    for cascade in range(cascades):
        centers = (cell_centers() - 0.5) * 2.0 ** (cascade - cascades + 1) + 0.5
        powers = 2 ** torch.arange(8)
        bits.append((inside(centers).view(-1, 8) * powers).sum(1).to(torch.uint8))
    return torch.stack(bits)


def full_occupancy(cascades: int = 1) -> Tensor:
    """All cells occupied."""
    return torch.full((cascades, MORTON_RESOLUTION**3 // 8), 255, dtype=torch.uint8)


def empty_occupancy(cascades: int = 1) -> Tensor:
    """No cell occupied."""
    return torch.zeros(cascades, MORTON_RESOLUTION**3 // 8, dtype=torch.uint8)


@cache
def ball(radius: float) -> Callable[[Tensor], Tensor]:
    """The inside of a sphere around the centre of the cube."""
    return lambda points: (points - 0.5).norm(dim=-1) < radius


def render_inputs(
    rays: Rays, occupancy: Tensor, num_channels: int = 3, num_conditions: int = 0
) -> RenderInputs:
    """Random jitter, backgrounds and conditions for some rays."""
    num, dtype = len(rays), rays.origins.dtype

    def rand(*shape: int, seed: int) -> Tensor:
        return torch.rand(shape, generator=generator(seed), dtype=torch.float64).to(dtype)

    return RenderInputs(
        rays=rays,
        jitter=rand(num, seed=9) * 0.999,
        background=rand(num, num_channels, seed=10),
        conditions=rand(num, num_conditions, seed=11),
        occupancy=occupancy,
    )


def targets_of(num_rays: int, channels: int = 3) -> ColorTargets:
    """Random colours that some rays should see."""
    rand = generator(5)
    return ColorTargets(
        colors=torch.rand(num_rays, channels, generator=rand),
        opacity=torch.rand(num_rays, generator=rand),
        background=torch.rand(num_rays, channels, generator=rand),
        weights=2 * torch.rand(num_rays, generator=rand),
        distance=(2 * torch.rand(num_rays, generator=rand) - 0.4).clamp(min=0),
        normals=unit_vectors(num_rays) * (torch.rand(num_rays, 1, generator=rand) > 0.3),
    )


def packed_samples(
    counts: Sequence[int], capacity: int, dtype: torch.dtype = torch.float32
) -> PackedSamples:
    """Samples with random intervals, ``counts[i]`` of them on ray i; junk beyond the last one."""
    total = sum(counts)
    number = torch.tensor(counts, dtype=torch.int64)
    ray_index = torch.arange(len(counts)).repeat_interleave(number)
    gaps = torch.rand(2 * capacity + 2, generator=generator(12), dtype=torch.float64) * 0.02 + 1e-3
    edges = gaps.cumsum(0)
    offsets = torch.cat([number.new_zeros(1), number.cumsum(0)])
    start = edges[2 * offsets[ray_index]] if total else edges[:0]
    t_near, t_far = torch.full((2, capacity), 777.0, dtype=torch.float64)
    t_near[:total] = edges[0 : 2 * total : 2] - start + 0.1
    t_far[:total] = edges[1 : 2 * total + 1 : 2] - start + 0.1
    padded = torch.zeros(capacity, dtype=torch.int64)
    padded[:total] = ray_index
    return PackedSamples(
        t_near=t_near.to(dtype),
        t_far=t_far.to(dtype),
        ray_index=padded,
        offsets=offsets,
        count=torch.tensor(total),
        num_wanted=torch.tensor(total),
    )


def march(**changes: object) -> MarchSpec:
    """Marching with a coarse step."""
    return MarchSpec(**{"step": 4 * STEP, **changes})
