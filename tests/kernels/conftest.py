"""Backends to be held against the reference."""

import pytest

from neural_render.kernels import dispatch


@pytest.fixture(params=[name for name in dispatch.BACKENDS if name != "reference"])
def backend(request: pytest.FixtureRequest) -> str:
    """The name of each backend beside the reference; skips, with its reason, what cannot run."""
    reason = dispatch.unavailable_reason(request.param)
    if reason:
        pytest.skip(f"kernels.backend={request.param} cannot run here: {reason}")
    return request.param
