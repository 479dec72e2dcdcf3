"""``tinycudann`` where it is, and what stands in for it everywhere."""

from collections.abc import Iterator

import pytest
import torch

from neural_render.kernels import dispatch, tcnn
from neural_render.kernels.tcnn import library, modules
from tests.kernels.tcnn.standing_in import Library

CACHES = (modules.grid_module, modules.network_module, library.precision)


@pytest.fixture(params=["standing in, float32", "standing in, float16", "tinycudann"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the tensors of ``tcnn`` lie, which can run: as it is, or with a library standing in."""
    if request.param == "tinycudann":
        if reason := dispatch.unavailable_reason("tcnn"):
            pytest.skip(f"kernels.backend=tcnn cannot run here: {reason}")
        yield "cuda"
        return
    stand_in = Library(getattr(torch, request.param.split()[-1]))
    monkeypatch.setattr(tcnn, "unavailable_reason", lambda: "")
    monkeypatch.setattr(library, "library", lambda: stand_in)
    monkeypatch.setattr(modules, "library", lambda: stand_in)
    monkeypatch.setattr(modules, "check_device", lambda tensor: None)
    for cache in CACHES:
        cache.cache_clear()
    yield "cpu"
    for cache in CACHES:
        cache.cache_clear()
