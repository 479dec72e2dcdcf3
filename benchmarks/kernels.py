"""Suite ``kernels``: each op alone, in million samples per CPU second, beside the reference.

Points lie on short rays through the unit cube, as samples do; the field is Instant-NGP's with a
table of 2^17 rows.
"""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.records import append, print_table, start, timed
from neural_render.fields import RadianceField
from neural_render.kernels import dispatch, ops
from neural_render.kernels.records import FactoredGradient, FieldInputs
from neural_render.kernels.specs import AdamSpec, FieldSpec, HashGridSpec

SAMPLES = {"cpu": 1 << 17, "reference": 1 << 13}
SAMPLES_PER_RAY = 128


def points_on_rays(num_samples: int, generator: torch.Generator) -> tuple[Any, Any]:
    """Points along random rays at the march's step, and their directions."""
    rays = num_samples // SAMPLES_PER_RAY
    origins = torch.rand(rays, 1, 3, generator=generator) * 0.8 + 0.1
    directions = torch.nn.functional.normalize(torch.randn(rays, 1, 3, generator=generator), dim=-1)
    steps = torch.arange(SAMPLES_PER_RAY)[None, :, None] * (3**0.5 / 1024)
    points = (origins + directions * steps).clamp(0, 1).reshape(-1, 3)
    return points, directions.expand(-1, SAMPLES_PER_RAY, -1).reshape(-1, 3).contiguous()


def calls(num_samples: int) -> dict[str, Callable[[], Any]]:
    """Each op as a call on ``num_samples`` samples."""
    generator = torch.Generator().manual_seed(0)
    spec = FieldSpec(grid=HashGridSpec(log2_rows=17))
    field = RadianceField(spec, generator).requires_grad_(False)
    points, directions = points_on_rays(num_samples, generator)
    zeros = torch.zeros(num_samples)
    inputs = FieldInputs(
        points=points,
        directions=directions,
        conditions=torch.zeros(1, 0),
        ray_index=torch.zeros(num_samples, dtype=torch.int64),
        footprint=zeros,
    )
    parameters = field.parameters_record
    backend = dispatch.active()
    features = torch.randn(spec.grid.num_outputs, num_samples, generator=generator)
    gradient = FactoredGradient(points=points.T.contiguous().T, features=features)
    colors = torch.randn(num_samples, 3, generator=generator)
    moments = (torch.zeros_like(field.table), torch.zeros_like(field.table))
    adam = AdamSpec(learning_rate=1e-2, step=1)
    color = spec.color_network
    return {
        "hash_encode": lambda: ops.hash_encode(points, field.table, spec.grid),
        "mlp (colour)": lambda: ops.mlp(features.T, field.color_weights, color),
        "mlp backward": lambda: backend.mlp_backward(
            colors, features.T, field.color_weights, color
        ),
        "query_density": lambda: ops.query_density(points, parameters, spec),
        "query_field": lambda: ops.query_field(inputs, parameters, spec),
        "query_field backward": lambda: backend.query_field_backward(
            zeros, colors, inputs, parameters, spec
        ),
        "table_adam_step": lambda: ops.table_adam_step(
            field.table, moments, gradient, spec.grid, adam
        ),
    }


def run(backend: str, threads: int, repeats: int) -> None:
    """Measures every op on ``backend`` and on the reference, prints and records the ratios."""
    speeds: dict[str, dict[str, float]] = {}
    resolved, threads = start(backend, threads)
    for name in dict.fromkeys((resolved, "reference")):
        start(name, threads)
        samples = SAMPLES[name]
        speeds[name] = {
            op: samples / timed(call, repeats if name != "reference" else 3, threads).cpu / 1e6
            for op, call in calls(samples).items()
        }
    rows = [
        [
            op,
            f"{speed:.2f}",
            f"{speeds['reference'][op]:.3f}",
            f"{speed / speeds['reference'][op]:.0f}x",
        ]
        for op, speed in speeds[resolved].items()
    ]
    print_table("million samples per CPU second", ["op", resolved, "reference", "ratio"], rows)
    print(append("kernels", resolved, threads, {"million_samples_per_cpu_second": speeds}))
