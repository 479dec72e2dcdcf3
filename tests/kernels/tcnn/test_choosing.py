"""``kernels.backend=tcnn``: asked for by name, never needed, and what it refuses."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from neural_render.core.errors import KernelError
from neural_render.kernels import dispatch, tcnn
from neural_render.kernels.settings import KernelSettings, chosen_device, start_kernels
from neural_render.kernels.specs import HashGridSpec, MlpSpec
from neural_render.kernels.tcnn import library
from neural_render.kernels.tcnn.modules import emptied
from tests.kernels.problems import small_grid
from tests.kernels.tcnn.standing_in import Module

REPOSITORY = Path(__file__).resolve().parents[3]
XOR = small_grid(hash="xor")


def encode_nothing(spec: HashGridSpec) -> None:
    table = torch.zeros(spec.num_rows, spec.features)
    tcnn.hash_encode(torch.zeros(0, spec.dims), table, spec, torch.zeros(0))


def test_importing_the_package_never_imports_the_library() -> None:
    """Nor does asking what can run here, or ``auto``."""
    code = """
import sys
from neural_render.kernels import dispatch, tcnn
dispatch.select("auto")
assert "tinycudann" not in sys.modules, "imported"
sys.modules["tinycudann"] = None
assert dispatch.available()["tcnn"]
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr


def test_without_the_library_one_sentence_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tinycudann", None)
    with pytest.raises(
        KernelError,
        match=r"^kernels\.backend=tcnn cannot run here: tinycudann is not installed; .* `pip"
        r" install [^`]*tiny-cuda-nn[^`]*`\.$",
    ):
        start_kernels(KernelSettings(backend="tcnn"))


def pretend_installed(monkeypatch: pytest.MonkeyPatch, gpu: bool) -> None:
    monkeypatch.setattr(library, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)


def test_without_a_gpu_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(monkeypatch, gpu=False)
    with pytest.raises(KernelError, match=r"backend=tcnn cannot run here: tinycudann needs a GPU"):
        dispatch.resolve("tcnn")


@pytest.mark.parametrize("error", [ImportError("undefined symbol"), OSError("no 90")])
def test_a_library_built_for_another_torch_or_gpu_is_said(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> ModuleType:
        raise error

    pretend_installed(monkeypatch, gpu=True)
    monkeypatch.setattr(library, "library", fail)
    with pytest.raises(KernelError, match=rf"cannot be imported \({error}\); build it again"):
        dispatch.resolve("tcnn")


def test_auto_takes_what_opens_every_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the library could run: the default grid is ``linear``."""
    monkeypatch.setattr(tcnn, "unavailable_reason", lambda: "")
    assert dispatch.resolve("tcnn") == "tcnn"
    assert dispatch.resolve("auto") != "tcnn"


def test_a_linear_grid_is_refused_by_name() -> None:
    with pytest.raises(
        KernelError,
        match=r"tcnn opens grids of field\.grid\.hash=xor only, and this one is linear: train with",
    ):
        encode_nothing(small_grid(hash="linear"))


def test_a_number_of_features_that_it_has_not_is_refused() -> None:
    with pytest.raises(KernelError, match=r"field\.grid\.features of 1, 2, 4, 8, not 3; choose"):
        encode_nothing(small_grid(hash="xor", features=3))


def test_tensors_on_the_cpu_are_refused() -> None:
    spec = MlpSpec(inputs=3, width=16, hidden_layers=1, outputs=1)
    for refused in (
        lambda: encode_nothing(XOR),
        lambda: tcnn.mlp(torch.zeros(1, 3), torch.zeros(spec.num_weights), spec),
    ):
        with pytest.raises(KernelError, match=r"computes on the GPU, and its tensors lie on cpu"):
            refused()


def test_its_device_is_the_gpu() -> None:
    assert chosen_device("auto", "tcnn") == chosen_device("cuda", "tcnn") == "cuda"
    with pytest.raises(KernelError, match=r"kernels\.device=cpu does not go with .*=tcnn"):
        chosen_device("cpu", "tcnn")


def test_its_precision_is_what_it_was_built_for(device: str) -> None:
    """Any other is refused."""
    built = tcnn.precision()
    assert built in ("float16", "float32")
    tcnn.set_precision("auto")
    tcnn.set_precision(built)
    other = {"float16": "float32", "float32": "bfloat16"}[built]
    with pytest.raises(KernelError, match=rf"precision={other} does not go with .* in {built}"):
        tcnn.set_precision(other)


def test_a_version_that_lays_parameters_out_otherwise_is_refused() -> None:
    with pytest.raises(KernelError, match=r"out in 24 parameters where 16 are known.*reference"):
        emptied(lambda: Module(3, 1, 24, torch.float16), 16, XOR)


def test_what_the_library_cannot_build_is_said() -> None:
    def fail() -> Module:
        raise RuntimeError("not compiled with networks")

    with pytest.raises(KernelError, match=r"cannot build HashGridSpec.*not compiled with networks"):
        emptied(fail, 16, XOR)
