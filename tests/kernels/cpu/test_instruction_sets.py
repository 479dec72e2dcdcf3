"""One module per instruction set: all are chosen, tested, and free of what older machines lack."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from neural_render.core.errors import KernelError
from neural_render.kernels import dispatch
from neural_render.kernels.cpu import modules
from tests.kernels import conftest
from tests.kernels.comparison import instruction_set

ROOT = Path(__file__).parents[3]
# Registers and instructions that a module must not contain, as objdump writes them.
ABOVE_AVX2 = r"%zmm|%k[0-7]\b|%[xy]mm(?:1[6-9]|2\d|3[01])\b"
ABOVE_SSE2 = rf"%ymm|{ABOVE_AVX2}|\tv[a-z]"
FORBIDDEN = {
    "baseline": ABOVE_SSE2,
    "avx2": ABOVE_AVX2,
    "avx512": r"\tv[a-z0-9]*bf16",
    "avx512bf16": r"%tmm",
}
native_only = pytest.mark.skipif(
    bool(dispatch.unavailable_reason("cpu")), reason="the native kernels are not installed here"
)


@native_only
def test_the_best_instruction_set_is_one_of_the_list_and_the_oldest_always_runs() -> None:
    from neural_render.kernels import _native_baseline

    assert _native_baseline.best_instruction_set() in modules.INSTRUCTION_SETS
    assert modules.runnable()[-1] == "baseline"


@native_only
@pytest.mark.parametrize("name", modules.INSTRUCTION_SETS)
def test_the_module_that_was_named_computes(name: str) -> None:
    """The fixture ``backend`` stands on this."""
    if name not in modules.runnable():
        pytest.skip(f"this processor does not have {name}")
    before = modules.native()
    with instruction_set(name):
        assert modules.native().__name__ == f"neural_render.kernels._native_{name}"
    assert modules.native() is before


@native_only
def test_a_module_that_cannot_run_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "runnable", lambda: ("baseline",))
    monkeypatch.setenv("NEURAL_RENDER_ISA", "avx2")
    with pytest.raises(KernelError, match="NEURAL_RENDER_ISA=avx2 cannot run here: this processor"):
        modules.choose("auto")


def test_the_fixture_leaves_out_what_the_processor_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "runnable", lambda: ("baseline",))
    monkeypatch.setattr(dispatch, "unavailable_reason", lambda name: "")
    assert conftest.unavailable_reason("cpu", "baseline") == ""
    assert conftest.unavailable_reason("cpu", "avx2") == "this processor does not have avx2."


def test_no_build_depends_on_the_machine_that_makes_it() -> None:
    text = (ROOT / "CMakeLists.txt").read_text() + (ROOT / "pyproject.toml").read_text()
    assert not re.search(r"march=native|mtune=native", text)


@native_only
@pytest.mark.skipif(not shutil.which("objdump"), reason="objdump is not installed")
@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_module_has_no_instructions_of_a_newer_set(name: str) -> None:
    """A wheel runs on every processor that `best_instruction_set` sends to the module."""
    folder = ROOT / "neural_render" / "kernels"
    found = sorted(folder.glob(f"_native_{name}.*.so"))
    if not found:
        pytest.skip(f"there is no module for {name} in {folder}")
    text = subprocess.run(
        ["objdump", "--disassemble", "--no-show-raw-insn", found[0]],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if "x86-64" not in text[:1000]:
        pytest.skip("this machine is no x86-64")
    assert "%xmm" in text
    newer = re.search(FORBIDDEN[name], text)
    assert not newer, text[text.rindex("\n", 0, newer.start()) : text.index("\n", newer.end())]
