"""``kernels.precision``: which module it chooses, what it cannot choose, what the log says."""

import logging
from collections.abc import Iterator

import pytest
import torch

from neural_render.core.errors import KernelError
from neural_render.kernels import dispatch, ops
from neural_render.kernels.cpu import modules
from neural_render.kernels.settings import KernelSettings, start_kernels
from tests.kernels.problems import generator, small_grid

RUNNABLE = () if dispatch.unavailable_reason("cpu") else modules.runnable()
pytestmark = pytest.mark.skipif(not RUNNABLE, reason="the native kernels are not installed here")
with_bfloat16 = pytest.mark.skipif(
    "avx512bf16" not in RUNNABLE, reason="this processor has no bfloat16"
)
FASTEST = "amx" if "amx" in RUNNABLE else "avx512bf16"


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The other tests' module and backend, back afterwards; no choice by the environment."""
    before, name = modules.instruction_set(), dispatch.active().__name__.rpartition(".")[2]
    monkeypatch.delenv("NEURAL_RENDER_ISA", raising=False)
    yield
    monkeypatch.undo()
    dispatch.select(name)
    modules.use(before)


@with_bfloat16
@pytest.mark.parametrize(
    ("precision", "chosen", "computed"),
    [
        ("auto", FASTEST, "bfloat16"),
        ("bfloat16", FASTEST, "bfloat16"),
        ("float32", "avx512", "float32"),
    ],
)
def test_the_fastest_module_of_a_precision_is_chosen(
    precision: str, chosen: str, computed: str
) -> None:
    assert dispatch.select("cpu", precision=precision) == "cpu"
    assert modules.instruction_set() == chosen and dispatch.precision() == computed


@pytest.mark.parametrize("name", [n for n in RUNNABLE if modules.PRECISIONS[n] == "float32"])
def test_bfloat16_does_not_go_with_an_older_instruction_set(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURAL_RENDER_ISA", name)
    before = modules.native()
    sentence = (
        rf"^kernels\.precision=bfloat16 does not go with NEURAL_RENDER_ISA={name}; use "
        r"kernels\.precision=auto\.$"
    )
    with pytest.raises(KernelError, match=sentence):
        start_kernels(KernelSettings(precision="bfloat16"))
    assert modules.native() is before
    for precision in ("auto", "float32"):
        dispatch.select("cpu", precision=precision)
        assert modules.instruction_set() == name and dispatch.precision() == "float32"


@with_bfloat16
def test_float32_does_not_go_with_the_module_for_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURAL_RENDER_ISA", FASTEST)
    with pytest.raises(KernelError, match=r"kernels\.precision=float32 does not go with NEURAL"):
        dispatch.select("cpu", precision="float32")


def test_a_processor_without_bfloat16_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "runnable", lambda: ("avx2", "baseline"))
    assert modules.choose("auto") == modules.choose("float32") == "avx2"
    with pytest.raises(KernelError, match="bfloat16 does not go with this processor; use"):
        modules.choose("bfloat16")


def test_the_reference_refuses_bfloat16() -> None:
    with pytest.raises(KernelError, match=r"bfloat16 does not go with kernels\.backend=reference"):
        start_kernels(KernelSettings(backend="reference", precision="bfloat16"))
    for precision in ("auto", "float32"):
        dispatch.select("reference", precision=precision)
        assert dispatch.precision() == "float32"


@pytest.mark.parametrize("precision", sorted({modules.PRECISIONS[name] for name in RUNNABLE}))
def test_the_log_says_what_is_computed_with(
    precision: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "neural_render"):
        started = start_kernels(KernelSettings(backend="cpu", precision=precision, threads=2))
    assert started == ("cpu", 2, torch.device("cpu"))
    assert caplog.messages == [f"kernels: cpu, {precision}, 2 threads"]


@with_bfloat16
def test_what_is_computed_with_is_what_is_said() -> None:
    """A number that bfloat16 does not have comes back rounded, or does not."""
    spec = small_grid(levels=1)
    table = torch.full((spec.num_rows, 2), 1 + 2**-10)
    points = torch.rand(5, 3, generator=generator(1))
    for precision, expected in (("bfloat16", 1.0), ("float32", 1 + 2**-10)):
        dispatch.select("cpu", precision=precision)
        features = ops.hash_encode(points, table, spec)
        torch.testing.assert_close(features, torch.full((5, 2), expected), atol=3e-7, rtol=0)


@with_bfloat16
def test_a_named_backend_inside_a_block_has_its_own_precision() -> None:
    dispatch.select("cpu", precision="bfloat16")
    with dispatch.using("reference"):
        assert dispatch.precision() == "float32"
    assert dispatch.precision() == "bfloat16"
