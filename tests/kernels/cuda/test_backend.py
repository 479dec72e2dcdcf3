"""What the cuda backend has of its own: narrow numbers, order, what it says of machines."""

import re
import subprocess
from collections.abc import Iterator

import pytest

pytest.importorskip("triton", reason="Triton is not installed here")

import torch
import triton

from neural_render.core.errors import KernelError
from neural_render.kernels import cuda, dispatch, ops
from neural_render.kernels.cuda import device
from neural_render.kernels.cuda.networks import gradient_factor
from neural_render.kernels.cuda.stepping import optimizer
from neural_render.kernels.cuda.stepping.optimizer import LARGEST_GRADIENT, together
from neural_render.kernels.records import FactoredGradient, RenderGradients
from neural_render.kernels.settings import KernelSettings, chosen_device, start_kernels
from neural_render.kernels.specs import AdamSpec, HashGridSpec, MlpSpec
from tests.kernels.comparison import assert_parity, differentiate
from tests.kernels.cuda import on_device
from tests.kernels.problems import (
    generator,
    near_a_kink,
    parameters_of,
    points_away_from_borders,
    small_field,
    small_grid,
)
from tests.kernels.test_parity import query

SPEC = MlpSpec(inputs=32, width=64, hidden_layers=2, outputs=16)


@pytest.fixture
def float16() -> Iterator[None]:
    """Products of float16 numbers, float32 sums and parameters, as on a GPU."""
    before = device.precision()
    cuda.set_precision("float16")
    yield
    cuda.set_precision(before)


@pytest.mark.parametrize("name", ["plain", "conditions"])
def test_half_precision_is_close(float16: None, name: str) -> None:
    fields = {"plain": small_field(), "conditions": small_field(num_conditions=5, radiance="exp")}
    assert_parity("cuda", lambda: query(fields[name], 300), precision="float16", parts=300)


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e6])
def test_gradients_of_any_size_survive_half_precision(float16: None, size: float) -> None:
    """A mean over many rays has gradients that float16 alone would round to nothing."""
    weights = torch.randn(SPEC.num_weights, generator=generator(2)) / 8
    inputs = torch.randn(400, SPEC.inputs, generator=generator(1))
    inputs = inputs[~near_a_kink(inputs, weights, SPEC)]
    found = {}
    for name in ("cuda", "reference"):
        with dispatch.using(name):
            leaves = {"inputs": inputs.clone(), "weights": weights.clone()}
            leaves = {key: leaf.requires_grad_() for key, leaf in leaves.items()}
            outputs = {"outputs": ops.mlp(leaves["inputs"], leaves["weights"], SPEC) * size}
            found[name] = differentiate(outputs, leaves)
    for name, expected in found["reference"].items():
        error = (found["cuda"][name] - expected).norm() / expected.norm()
        # Units within 1e-3 of their kink fall to its other side.
        assert error < 0.04, f"{name}: {error}"


def test_the_factor_is_a_power_of_two_whatever_the_gradient() -> None:
    for largest in (0.0, 1e-30, 3e-7, 1.0, 5e4, torch.inf, torch.nan):
        factor = float(gradient_factor(torch.tensor([0.0, largest])))
        assert factor > 0 and torch.frexp(torch.tensor(factor))[0] == 0.5
        if 1e-7 < largest < 1e6:
            assert 0.5 <= largest * factor <= 1
    assert float(gradient_factor(torch.zeros(0))) == 1


def test_sums_are_made_in_order_where_pytorch_is_told_so() -> None:
    grid = small_grid(features=2)
    points = torch.rand(500, 3, generator=generator(1))
    features = torch.randn(grid.num_outputs, 500, generator=generator(2))
    table = torch.zeros(grid.num_rows, 2)
    factored = FactoredGradient(points=points, features=features)
    expected = dispatch.load("reference").scatter_table_gradient(factored, table, grid)
    torch.use_deterministic_algorithms(True)
    try:
        found = on_device.scatter_table_gradient(factored, table, grid)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.allclose(found, expected, atol=1e-5)


def test_levels_are_stepped_together_as_far_as_their_gradients_fit() -> None:
    grid = HashGridSpec()
    assert together(grid, LARGEST_GRADIENT) == [range(16)]
    entries = [level.rows * grid.features for level in grid.level_layout()]
    for most in (0, 2 * entries[-1], 5 * entries[-1]):
        groups = together(grid, most)
        assert [level for group in groups for level in group] == list(range(16))
        assert all(len(group) == 1 or sum(entries[i] for i in group) <= most for group in groups)
    assert len(together(grid, 0)) == 16


def test_a_table_in_parts_takes_the_same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = small_grid()
    points = torch.rand(20, 3, generator=generator(1))
    features = torch.rand(grid.num_outputs, 20, generator=generator(2))
    factored, found = FactoredGradient(points=points, features=features), []
    for most in (LARGEST_GRADIENT, 1500):
        monkeypatch.setattr(optimizer, "LARGEST_GRADIENT", most)
        table, second = torch.zeros(grid.num_rows, 2), torch.zeros(grid.num_rows)
        adam = AdamSpec(learning_rate=0.01, step=1)
        on_device.table_adam_step(table, second, factored, grid, adam)
        found.append(torch.cat([table, second[:, None]], dim=1))
    assert torch.allclose(*found, rtol=1e-5) and (found[0] != 0).any()


def test_no_gain_lies_on_no_device() -> None:
    """Cameras without exposure make it on the CPU, wherever the rays are; meta is elsewhere too."""
    there = {"device": "meta"}
    gradients = RenderGradients(
        origins=torch.zeros(2, 3, **there),
        directions=torch.zeros(2, 3, **there),
        background=torch.zeros(2, 3, **there),
        conditions=torch.zeros(2, 0, **there),
        table=FactoredGradient(
            points=torch.zeros(5, 3, **there), features=torch.zeros(4, 5, **there)
        ),
        density_weights=torch.zeros(7, **there),
        color_weights=torch.zeros(7, **there),
    )
    scaled = gradients.scaled(torch.ones((), **there))
    assert scaled.origins.is_meta and scaled.gain.shape == (0, 0)


def test_other_tensors_are_refused_by_name() -> None:
    weights = torch.zeros(SPEC.num_weights)
    with pytest.raises(KernelError, match=r"inputs is torch\.float64 on .*; convert it, or use"):
        on_device.mlp(torch.zeros(2, 32, dtype=torch.float64), weights, SPEC)
    with pytest.raises(KernelError, match=r"inputs has shape \(2, 31\), but \(-1, 32\) was wanted"):
        on_device.mlp(torch.zeros(2, 31), weights, SPEC)
    with pytest.raises(KernelError, match="log2_rows=28: the cuda backend counts entries"):
        grid = small_grid(log2_rows=28, levels=8, finest=4000, features=4)
        on_device.hash_encode(torch.zeros(1, 3), torch.zeros(1, 4), grid, torch.zeros(1))


def test_dense_fog_stays_finite_in_half_precision(float16: None) -> None:
    """Slopes of exponentials reach 3e6, and float16 ends at 65504."""
    spec = small_field(density_bias=12.0)
    parameters, points = parameters_of(spec), points_away_from_borders(120, spec.grid)
    given = (points, parameters.table, parameters.density_weights, spec, torch.zeros(120))
    for gradient in on_device.query_density_backward(torch.ones(120), *given):
        assert gradient.isfinite().all()


needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


@needs_no_gpu
def test_without_a_gpu_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert "built without CUDA; install" in cuda.unavailable_reason() or (
        "finds no GPU" in cuda.unavailable_reason()
    )
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert "finds no GPU; if nvidia-smi shows one, its driver" in cuda.unavailable_reason()


class Triton:
    """A kernel, and Triton's drivers, on a machine where this is raised; None: nothing is."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def __getitem__(self, grid: tuple[int, ...]) -> "Triton":
        return self

    def __call__(self, *arguments: object, **constants: object) -> None:
        assert self.error
        raise self.error

    @property
    def active(self) -> object:
        if self.error:
            raise self.error
        return self

    utils = None


def described(monkeypatch: pytest.MonkeyPatch, name: str, capability: tuple[int, int]) -> None:
    """The machine, not the code: what torch and Triton would say of another GPU."""
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *place: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *place: capability)
    monkeypatch.setattr(triton.runtime, "driver", Triton(None))


def test_old_gpus_are_told_what_they_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    described(monkeypatch, "Tesla T4", (7, 5))
    assert cuda.unavailable_reason() == ""
    with pytest.raises(KernelError, match=r"bfloat16: Tesla T4 \(compute capability 7\.5\) has no"):
        cuda.set_precision("bfloat16")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *place: (6, 1))
    assert "has compute capability 6.1, and Triton needs 7.5" in cuda.unavailable_reason()


COMPILING = ["gcc", "driver.c", "-O3", "-shared", "-fPIC"]
MISSING: list[tuple[Exception, str]] = [
    (
        RuntimeError("Failed to find C compiler. Please specify via CC environment var"),
        r"needs a C compiler at its first use.*apt install gcc",
    ),
    (subprocess.CalledProcessError(1, COMPILING), r"gcc fails, .* Python\.h; .* python3-dev"),
    (AssertionError("libcuda.so cannot found!\n"), r"no libcuda\.so\.1.*TRITON_LIBCUDA_PATH"),
    (
        FileNotFoundError(2, "No such file or directory", "/sbin/ldconfig"),
        r"/sbin/ldconfig, which is not there; .* libc-bin",
    ),
]


@pytest.mark.parametrize(("error", "words"), MISSING)
def test_what_triton_misses_is_named(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It builds its launcher at the first use; ``auto`` knows before."""
    with pytest.raises(KernelError, match=r"kernels\.backend=cuda: Triton .*" + words):
        device.launch(Triton(error), (1,))
    described(monkeypatch, "NVIDIA A10", (8, 6))
    monkeypatch.setattr(triton.runtime, "driver", Triton(error))
    assert re.search(words, cuda.unavailable_reason())


def test_other_errors_of_triton_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (RuntimeError("a bug"), AssertionError("another"), KeyError("a third")):
        with pytest.raises(type(error)):
            device.launch(Triton(error), (1,))
    described(monkeypatch, "NVIDIA A10", (8, 6))
    fault = RuntimeError("0 active drivers ([]). There should only be one.")
    monkeypatch.setattr(triton.runtime, "driver", Triton(fault))
    assert "cannot use the GPU (0 active drivers" in cuda.unavailable_reason()


def test_auto_takes_a_gpu_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the interpreter stands in for it: nobody wants to train with that."""
    if not torch.cuda.is_available():
        assert dispatch.fastest() == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert dispatch.fastest() == "cuda"
    assert dispatch.fastest(without_gpu=True) in ("cpu", "reference")


def test_tensors_lie_where_the_backend_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dispatch.BACKENDS, "cuda", "neural_render.kernels.cuda")
    expected = "cpu" if cuda.is_interpreted() else "cuda"
    assert chosen_device("auto", "cuda") == expected
    with pytest.raises(KernelError, match=r"kernels\.device=cpu does not go with"):
        chosen_device("cpu", "cuda")


@needs_no_gpu
def test_it_starts_by_name_and_tells_what_it_borrows(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(dispatch.BACKENDS, "cuda", "neural_render.kernels.cuda")
    before = dispatch.active()
    try:
        with caplog.at_level("INFO", logger="neural_render"):
            started = start_kernels(KernelSettings(backend="cuda", threads=1))
    finally:
        dispatch.select(before.__name__.rpartition(".")[2])
    assert started == ("cuda", 1, torch.device("cpu"))
    told = "kernels: cuda, float32, 1 thread; in plain PyTorch: "
    assert caplog.messages[0].startswith(told)
