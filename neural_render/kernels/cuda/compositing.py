"""Compositing on the GPU."""

import torch
import triton.language as tl
from torch import Tensor

from neural_render.kernels.cuda.device import launch, ray_block, ready, tiles
from neural_render.kernels.cuda.encoding import padded
from neural_render.kernels.cuda.programs.compositing import (
    Seen,
    Segments,
    composite_backward_program,
    composite_program,
    gather_program,
    sum_program,
)
from neural_render.kernels.records import Composited, PackedSamples

RAYS, SLOTS = 32, 16  # rays of a program, and how many samples of each are looked at together
GATHERED = 128  # rays of a program that looks at one sample of each after another


def segments_of(samples: PackedSamples) -> Segments:
    """The samples of rays as kernels take them."""
    capacity = len(samples.t_near)
    return Segments(
        samples.offsets.to(torch.int64).contiguous(),
        ready(samples.t_near, "t_near", capacity),
        ready(samples.t_far, "t_far", capacity),
    )


def composite(
    density: Tensor, radiance: Tensor, samples: PackedSamples, background: Tensor
) -> Composited:
    """See ``ops.composite``."""
    segments, field = segments_of(samples), _field(density, radiance, samples, background)
    count, channels = background.shape
    new = field[2].new_empty
    seen = Seen(
        new(count, channels),
        new(count),
        new(count),
        new(count),
        field[0].new_zeros(len(field[0])),
    )
    constants = {"CHANNELS": channels, "CHANNELS_TILE": padded(channels, 1).value}
    size, slots = ray_block(RAYS, SLOTS)
    given = (field, segments, seen, count, (tl.constexpr(size), tl.constexpr(slots)))
    launch(composite_program, (tiles(count, size),), *given, **constants)
    found = seen._asdict()
    return Composited(values=found.pop("colors"), **found)


def composite_backward(
    to_outputs: Composited,
    density: Tensor,
    radiance: Tensor,
    samples: PackedSamples,
    background: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients to density, radiance and background."""
    segments, field = segments_of(samples), _field(density, radiance, samples, background)
    count, channels = background.shape
    given = Seen(
        ready(to_outputs.values, "values", count, channels),
        ready(to_outputs.opacity, "opacity", count),
        ready(to_outputs.distance, "distance", count),
        ready(to_outputs.distortion, "distortion", count),
        ready(to_outputs.weights, "weights", len(density)),
    )
    to_density, to_radiance, to_background = map(torch.zeros_like, field)
    out = to_density, to_radiance, to_background
    size, slots = ray_block(RAYS, SLOTS)
    grid, tile = (tiles(count, size),), (tl.constexpr(size), tl.constexpr(slots))
    parts = (field, segments, given, out, count, tile)
    launch(composite_backward_program, grid, *parts, CHANNELS=channels)
    return out


def _field(
    density: Tensor, radiance: Tensor, samples: PackedSamples, background: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    capacity, channels = len(samples.t_near), background.shape[1]
    return (
        ready(density, "density", capacity),
        ready(radiance, "radiance", capacity, channels),
        ready(background, "background", len(samples.offsets) - 1, channels),
    )


def gathered(weights: Tensor, samples: PackedSamples, min_weight: float) -> Tensor:
    """The weights that the samples' colours get: 0 for those that are not asked for theirs."""
    count, shares = len(samples.offsets) - 1, torch.zeros_like(weights)
    given = (weights, segments_of(samples), float(min_weight), shares, count)
    launch(gather_program, (tiles(count, GATHERED),), *given, RAYS=GATHERED)
    return shares


def summed(values: Tensor, samples: PackedSamples) -> Tensor:
    """The sum of ``[samples columns]`` over each ray's samples, ``[rays columns]``."""
    count, columns = len(samples.offsets) - 1, values.shape[1]
    out = values.new_empty(count, columns)
    if columns:
        size, slots = ray_block(RAYS, SLOTS)
        constants = {"COLUMNS": columns, "RAYS": size, "SLOTS": slots}
        given = (values.contiguous(), segments_of(samples), out, count)
        launch(sum_program, (tiles(count, size),), *given, **constants)
    return out
