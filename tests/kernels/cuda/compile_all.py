"""Compiles every kernel of the cuda backend for GPUs by their numbers: 75, 80, 90, 100.

The field has fewer levels and harmonics than the default one: the same programs in shorter loops.
For the first GPU each kernel is compiled for all constants that it is launched with; for the others
once, with those that ask the most of it. In a process of its own: Triton's interpreter, under which
the tests run, leaves nothing to compile. What Triton's cache holds from these very sources has
compiled already.
"""

import sys
from collections.abc import Sequence

import torch

from neural_render.kernels import cuda
from neural_render.kernels.cuda.compositing import summed
from neural_render.kernels.cuda.programs import (
    compositing,
    fields,
    grids,
    marching,
    networks,
    pixels,
    steps,
)
from neural_render.kernels.records import (
    FactoredGradient,
    FieldInputs,
    FieldParameters,
    PixelLayout,
    PixelViews,
)
from neural_render.kernels.specs import (
    AdamSpec,
    FieldSpec,
    HashGridSpec,
    LossSpec,
    MarchSpec,
    RenderSpec,
)
from tests.kernels.cuda.compiling import cuda_target, only_compiling
from tests.kernels.problems import (
    full_occupancy,
    parameters_of,
    rays_through_cube,
    render_inputs,
    targets_of,
)

COUNT = 8
ADAM = AdamSpec(learning_rate=0.01, step=1)
FIELD = FieldSpec(grid=HashGridSpec(log2_rows=12, levels=8), sh_degree=2)
MARCH = MarchSpec(step=0.01, cone_angle=0.01, cascades=2)


def every_kernel() -> set[str]:
    """The names of all kernels."""
    modules = (compositing, fields, grids, marching, networks, pixels, steps)
    return {name for module in modules for name in vars(module) if name.endswith("_program")}


def ask_everywhere(parameters: FieldParameters, field: FieldSpec) -> None:
    """All ops that take points, which get gradients too: no launch of the kernels asks more."""
    points, footprint = torch.rand(COUNT, 3), torch.zeros(COUNT)
    table, grid, network = parameters.table, field.grid, field.color_network
    features = cuda.hash_encode(points, table, grid, footprint)
    cuda.hash_encode_backward(features, points, table, grid, footprint)
    inputs = torch.zeros(COUNT, network.inputs)
    outputs = cuda.mlp(inputs, parameters.color_weights, network)
    cuda.mlp_backward(outputs, inputs, parameters.color_weights, network)
    cuda.query_density(points, table, parameters.density_weights, field, footprint)
    samples = FieldInputs(
        points=points,
        directions=points,
        conditions=torch.zeros(1, 0),
        ray_index=torch.zeros(COUNT, dtype=torch.int64),
        footprint=footprint,
    )
    cuda.query_field_backward(
        *cuda.query_field(samples, parameters, field), samples, parameters, field
    )


def render(parameters: FieldParameters, field: FieldSpec) -> None:
    """All ops that take rays; the way back through the field is compiled by now."""
    inputs = render_inputs(rays_through_cube(4), full_occupancy(MARCH.cascades))
    spec = RenderSpec(field=field, march=MARCH, min_weight=0.1)
    _, samples = cuda.render_rays(inputs, parameters, spec, True)
    loss = LossSpec(delta=0.1, room=64)
    cuda.render_loss(inputs, targets_of(4), parameters, (spec, loss), False)
    cuda.render_rays(inputs, parameters, spec, False)
    density, radiance = torch.zeros(0), torch.zeros(0, field.num_channels)
    seen = cuda.composite(density, radiance, samples, inputs.background)
    cuda.composite_backward(seen, density, radiance, samples, inputs.background)
    summed(radiance, samples)


def shoot() -> None:
    """All ops on photos."""
    layout = PixelLayout(
        offsets=torch.zeros(1, dtype=torch.int64),
        sizes=torch.full((1, 2), 16),
        first_blocks=torch.zeros(1, dtype=torch.int64),
        num_pixels=256,
        num_blocks=1,
        block_shift=4,
    )
    index = torch.zeros(COUNT, dtype=torch.int64)
    for channels, lenses, entries in ((3, 1, 0), (4, 2, 0), (4, 1, 256)):
        views = PixelViews(
            layout=layout,
            pixels=torch.zeros(256, channels, dtype=torch.uint8),
            poses=torch.zeros(1, 12),
            intrinsics=torch.ones(lenses, 5),
            table=torch.zeros(entries, 4),
            table_starts=torch.zeros(1, dtype=torch.int64),
        )
        cuda.shoot_rays(index, views)
    cuda.pick_pixels(index, torch.zeros(COUNT, dtype=torch.double), layout, torch.zeros(0))


def step(parameters: FieldParameters, field: FieldSpec) -> None:
    """All ops that change parameters."""
    gradient = FactoredGradient(
        points=torch.rand(COUNT, 3), features=torch.zeros(field.grid.num_outputs, COUNT)
    )
    second = torch.zeros(len(parameters.table))
    cuda.table_adam_step(parameters.table, second, gradient, field.grid, ADAM)
    weights = parameters.color_weights
    cuda.adam_step(weights, (weights.clone(), weights.clone()), weights.clone(), ADAM)


def compile_for(capabilities: Sequence[int], once: bool) -> None:
    """Compiles, and says which kernels."""
    parameters = parameters_of(FIELD)
    with only_compiling(list(map(cuda_target, capabilities)), once) as compiled:
        ask_everywhere(parameters, FIELD)
        render(parameters, FIELD)
        step(parameters, FIELD)
        shoot()
    missing = every_kernel() - compiled
    assert not missing, f"{missing} were not compiled"
    for capability in capabilities:
        print(f"sm_{capability}: {len(compiled)} kernels compiled: {', '.join(sorted(compiled))}")


def main(first: int, *others: int) -> None:
    """Compiles for all."""
    cuda.set_precision("float16")
    compile_for([first], once=False)
    compile_for(others, once=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
