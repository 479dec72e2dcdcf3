"""Suite ``kernels``: each op forward and backward, in million samples per CPU second, beside the
reference.

Points lie on short rays through the unit cube, as samples do; the field is Instant-NGP's with a
table of 2^17 rows. Rays for marching cross a ball of occupied cells.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from benchmarks.options import BenchmarkOptions
from benchmarks.records import append, bar_plot, print_table, start, timed
from neural_render.core.rays import Rays
from neural_render.fields import RadianceField
from neural_render.kernels import ops
from neural_render.kernels.morton import morton_decode
from neural_render.kernels.records import FactoredGradient, FieldInputs, RenderInputs
from neural_render.kernels.specs import AdamSpec, FieldSpec, HashGridSpec, MarchSpec, RenderSpec

SAMPLES = {"cpu": 1 << 17, "reference": 1 << 13}
REFERENCE_REPEATS = 3
SAMPLES_PER_RAY = 128
STEP = 3**0.5 / 1024
CPU = torch.device("cpu")
RADIUS = 0.0625 * 3**0.5  # of the ball: a ray through its middle has SAMPLES_PER_RAY samples
UNIT = "million samples per CPU second (process CPU time / threads)"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One op on samples: ``forward()`` gives its outputs, differentiable in ``inputs``.

    Without inputs there is no backward pass to measure.
    """

    forward: Callable[[], Any]
    samples: int
    inputs: tuple[Tensor, ...] = ()

    def undifferentiated(self) -> Any:
        """The outputs, nothing kept for a backward pass."""
        with torch.no_grad():
            return self.forward()

    def graph(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Differentiable outputs and gradients to them."""
        made = self.forward()
        outputs = tuple(made) if isinstance(made, tuple) else (made,)
        return outputs, tuple(torch.ones_like(output) for output in outputs)

    def backward(self, graph: tuple[tuple[Tensor, ...], tuple[Tensor, ...]]) -> Any:
        """The gradients to the inputs."""
        return torch.autograd.grad(graph[0], self.inputs, graph[1], allow_unused=True)


class Workload:
    """A field, ``num_samples`` samples and rays that have about as many."""

    def __init__(self, num_samples: int, device: torch.device = CPU) -> None:
        self.generator = torch.Generator(device).manual_seed(0)
        self.num_samples = num_samples
        self.spec = FieldSpec(grid=HashGridSpec(log2_rows=17))
        self.field = RadianceField(self.spec, self.generator)
        self.weights = (self.field.table, self.field.density_weights, self.field.color_weights)
        self.points, self.directions = points_on_rays(num_samples, self.generator)

    @cached_property
    def field_inputs(self) -> FieldInputs:
        """The samples as ``query_field`` takes them."""
        return FieldInputs(
            points=self.points,
            directions=self.directions,
            conditions=torch.zeros(1, 0),
            ray_index=torch.zeros(self.num_samples, dtype=torch.int64),
            footprint=torch.zeros(self.num_samples),
        )

    @cached_property
    def render_inputs(self) -> RenderInputs:
        """Rays into the ball from outside."""
        num_rays = max(1, self.num_samples // SAMPLES_PER_RAY)
        shape = (num_rays, 3)
        starts = torch.nn.functional.normalize(torch.randn(shape, generator=self.generator), dim=1)
        aims = (torch.rand(shape, generator=self.generator) - 0.5) * RADIUS / 2
        rays = Rays(
            origins=0.5 + starts,
            directions=torch.nn.functional.normalize(aims - starts, dim=1),
            footprint=torch.zeros(num_rays),
        )
        return RenderInputs(
            rays=rays,
            jitter=torch.rand(num_rays, generator=self.generator),
            background=torch.ones(shape),
            conditions=torch.zeros(num_rays, 0),
            occupancy=ball_of_cells(),
        )

    def queries(self) -> dict[str, Case]:
        """The ops on single samples."""
        count, spec, parameters = self.num_samples, self.spec, self.field.parameters_record
        shape = (count, spec.color_network.inputs)
        inputs = torch.randn(shape, generator=self.generator, requires_grad=True)
        table, density, color = self.weights
        colors = spec.color_network

        def query_field() -> tuple[Tensor, Tensor]:
            return ops.query_field(self.field_inputs, parameters, spec)

        cases = {
            "hash_encode": (lambda: ops.hash_encode(self.points, table, spec.grid), (table,)),
            "mlp (colour)": (lambda: ops.mlp(inputs, color, colors), (inputs, color)),
            "query_density": (
                lambda: ops.query_density(self.points, parameters, spec),
                (table, density),
            ),
            "query_field": (query_field, self.weights),
        }
        return {
            name: Case(forward=forward, samples=count, inputs=differentiated)
            for name, (forward, differentiated) in cases.items()
        }

    def renders(self) -> dict[str, Case]:
        """The ops on rays."""
        given, march = self.render_inputs, MarchSpec(step=STEP)
        spec = RenderSpec(field=self.spec, march=march)
        parameters, capacity = self.field.parameters_record, 2 * self.num_samples
        marched = (given.rays, given.jitter, given.occupancy, march, capacity)
        samples = ops.march_rays(*marched)
        count = max(1, int(samples.count))
        density = torch.rand(capacity, generator=self.generator, requires_grad=True)
        shape = (capacity, 3)
        radiance = torch.rand(shape, generator=self.generator, requires_grad=True)

        def composite() -> Tensor:
            return ops.composite(density, radiance, samples, given.background).values

        def render_rays() -> Tensor:
            # With a sink: as in training, no dense gradient of the table is formed.
            return ops.render_rays(given, parameters, spec, ops.TableGradientSink()).values

        return {
            "march_rays": Case(forward=lambda: ops.march_rays(*marched), samples=count),
            "composite": Case(forward=composite, samples=count, inputs=(density, radiance)),
            "render_rays": Case(forward=render_rays, samples=count, inputs=self.weights),
        }

    def updates(self) -> dict[str, Case]:
        """The optimizer's op on the table."""
        table, grid = self.field.table.detach(), self.spec.grid
        shape = (grid.num_outputs, self.num_samples)
        gradient = FactoredGradient(
            points=self.points.T.contiguous().T,
            features=torch.randn(shape, generator=self.generator),
        )
        second = torch.zeros(len(table))
        adam = AdamSpec(learning_rate=1e-2, step=1)

        def step() -> None:
            ops.table_adam_step(table, second, gradient, grid, adam)

        return {"table_adam_step": Case(forward=step, samples=self.num_samples)}

    def cases(self) -> dict[str, Case]:
        """Every op by name."""
        return self.queries() | self.renders() | self.updates()


def points_on_rays(num_samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points along random rays at the march's step, and their directions."""
    rays = num_samples // SAMPLES_PER_RAY
    origins = torch.rand(rays, 1, 3, generator=generator) * 0.8 + 0.1
    directions = torch.nn.functional.normalize(torch.randn(rays, 1, 3, generator=generator), dim=-1)
    steps = torch.arange(SAMPLES_PER_RAY)[None, :, None] * STEP
    points = (origins + directions * steps).clamp(0, 1).reshape(-1, 3)
    return points, directions.expand(-1, SAMPLES_PER_RAY, -1).reshape(-1, 3).contiguous()


def ball_of_cells() -> Tensor:
    """Occupancy bits of one cascade: the cells whose middle lies in the ball."""
    cells = morton_decode(torch.arange(128**3))
    middles = (cells.float() + 0.5) / 128 - 0.5
    inside = (middles.square().sum(dim=1) < RADIUS**2).view(-1, 8)
    return (inside.long() << torch.arange(8)).sum(dim=1).to(torch.uint8)[None]


def speeds_of(cases: dict[str, Case], repeats: int, threads: int) -> dict[str, float]:
    """Million samples per CPU second per thread of every op and of its backward pass."""
    speeds = {}
    for name, case in cases.items():
        cost = timed(case.undifferentiated, repeats, threads)
        speeds[name] = case.samples / cost.cpu / 1e6
        if case.inputs:
            cost = timed(case.backward, repeats, threads, prepare=case.graph)
            speeds[f"{name} backward"] = case.samples / cost.cpu / 1e6
    return speeds


def run(options: BenchmarkOptions) -> None:
    """Measures every op on the backend and on the reference, prints, plots and records."""
    resolved, threads = start(options.backend, options.threads, options.precision)
    speeds: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys((resolved, "reference")):
        is_reference = name == "reference"
        start(name, threads, "auto" if is_reference else options.precision)
        repeats = REFERENCE_REPEATS if is_reference else max(1, options.repeats)
        speeds[name] = speeds_of(Workload(SAMPLES[name]).cases(), repeats, threads)
    reference = speeds["reference"]
    rows = [
        [op, f"{speed:.2f}", f"{reference[op]:.3f}", f"{speed / reference[op]:.0f}x"]
        for op, speed in speeds[resolved].items()
    ]
    print_table(UNIT, ["op", resolved, "reference", "ratio"], rows)
    bar_plot("kernels", f"{resolved}, precision {options.precision}", speeds[resolved], UNIT)
    values = {"precision": options.precision, "million_samples_per_cpu_second": speeds}
    print(append("kernels", resolved, threads, values))
