"""Random problems for the cpu backend, and what its modules make of them beside the reference.

Every random case is computed once by the reference and once by each instruction set's module.
"""

from collections.abc import Callable

import torch
from hypothesis import strategies as st
from torch import Tensor

from neural_render.kernels import dispatch
from neural_render.kernels.cpu import modules
from neural_render.kernels.specs import FieldSpec, HashGridSpec, MarchSpec, MlpSpec
from tests.kernels.comparison import Outputs, instruction_set, strided
from tests.kernels.problems import STEP
from tests.kernels.tolerances import Tolerance, WholeTolerance, assert_close, parity

# None, one, one less and one more than vectors of 4, 8, 16 and tiles of 1024, 2048, 4096.
COUNTS = st.sampled_from([0, 1, 3, 5, 7, 9, 15, 16, 17, 31, 33, 1023, 1025, 2049, 4095, 4097])
SMALL_COUNTS = st.sampled_from([0, 1, 3, 5, 15, 17, 33])


def misaligned(tensor: Tensor) -> Tensor:
    """The same values four or eight bytes behind the start of their memory, where no vector is."""
    room = torch.empty(tensor.numel() + 1, dtype=tensor.dtype)
    room[1:] = tensor.detach().flatten()
    return room[1:].view(tensor.shape)


def transposed(tensor: Tensor) -> Tensor:
    """The same values, the last axis' neighbours far apart."""
    return tensor.transpose(0, -1).contiguous().transpose(0, -1) if tensor.dim() else tensor


LAYOUTS = st.sampled_from([Tensor.clone, strided, misaligned, transposed])


def expanded(tensor: Tensor) -> Tensor:
    """The first row in the place of all, without memory of their own."""
    return tensor[:1].expand_as(tensor)


@st.composite
def grids(draw: st.DrawFn, dims: int | None = None) -> HashGridSpec:
    """Grids at their limits: tables of one row, tables smaller than an axis, dense ones only."""
    coarsest = draw(st.integers(1, 9))
    return HashGridSpec(
        dims=dims or draw(st.integers(2, 4)),
        levels=draw(st.integers(1, 6)),
        features=draw(st.sampled_from([2, 2, 1, 3, 4, 5, 8])),
        log2_rows=draw(st.sampled_from([0, 1, 2, 3, 7, 11, 19])),
        coarsest=coarsest,
        finest=draw(st.integers(coarsest, 61)),
        hash=draw(st.sampled_from(["linear", "xor"])),
    )


@st.composite
def networks(draw: st.DrawFn) -> MlpSpec:
    """Networks of all shapes."""
    return MlpSpec(
        inputs=draw(st.integers(1, 40)),
        width=draw(st.sampled_from([1, 7, 8, 16, 33, 64])),
        hidden_layers=draw(st.integers(0, 3)),
        outputs=draw(st.integers(1, 17)),
    )


@st.composite
def fields(draw: st.DrawFn) -> FieldSpec:
    """Fields of all shapes, dense enough to be seen."""
    latent = draw(st.integers(1, 17))
    return FieldSpec(
        grid=draw(grids(dims=3)),
        latent=latent,
        width=draw(st.sampled_from([5, 8, 13, 16, 32, 64])),
        density_layers=draw(st.integers(0, 3)),
        color_layers=draw(st.integers(0, 3)),
        # More harmonics are larger terms: where they cancel, as in a table of one row, bfloat16 is
        # as far off as they are large. `test_parity` has many of them, on larger tables.
        sh_degree=draw(st.integers(1, 4)),
        num_conditions=draw(st.integers(0, 5)),
        num_channels=draw(st.integers(1, 9)),
        reflection_degree=draw(st.integers(0, 3)) if latent > 3 else 0,
        density_bias=draw(st.sampled_from([0.0, 3.0])),
        radiance=draw(st.sampled_from(["sigmoid", "exp"])),
    )


@st.composite
def marches(draw: st.DrawFn) -> MarchSpec:
    """One to four cascades, constant and growing steps, few samples and many."""
    step = draw(st.sampled_from([4 * STEP, 0.011]))
    return MarchSpec(
        step=step,
        near=draw(st.sampled_from([0.0, 0.05, 0.7])),
        cone_angle=draw(st.sampled_from([0.0, 1 / 256, 0.03])),
        max_step=draw(st.sampled_from([step, 0.02, 1.0])),
        cascades=draw(st.integers(1, 4)),
        max_samples_per_ray=draw(st.sampled_from([1, 7, 33, 1024])),
        min_transmittance=draw(st.sampled_from([0.0, 1e-4, 0.3])),
    )


def on_all(compute: Callable[[], Outputs]) -> tuple[dict[str, Outputs], Outputs]:
    """What each instruction set's module computes, by its name, and what the reference does."""
    actual = {}
    for name in modules.runnable():
        with instruction_set(name), dispatch.using("cpu"):
            actual[name] = compute()
    with dispatch.using("reference"):
        return actual, compute()


def allowed(name: str, kind: str, precision: str = "") -> Tolerance | WholeTolerance:
    """How far the module for an instruction set may be from the reference.

    ``precision``: what this is computed with, if not with what the module has.
    """
    return parity("cpu", kind, precision or modules.PRECISIONS[name])


def assert_all_close(
    compute: Callable[[], Outputs],
    *,
    kinds: tuple[str, str] = ("values", "gradients"),
    precision: str = "",
    floor: float = 0.0,
    parts: int = 0,
) -> None:
    """Values and gradients of every module are the reference's (see ``assert_close``)."""
    everything, expected = on_all(compute)
    for name, actual in everything.items():
        for what, value in expected.items():
            tolerance = allowed(name, kinds[what.startswith("to_")], precision)
            # A table of one row has no slope, but for the roundings of terms that cancel.
            least = 0.3 if what.startswith("to_points") else floor
            assert_close(actual[what], value, tolerance, f"{name}, {what}", least, parts)
