"""Every rendering test that touches a kernel runs on each backend that this machine has."""

from collections.abc import Iterator

import pytest

from neural_render.kernels import dispatch


# What computes on a GPU is left to the kernels' tests.
@pytest.fixture(params=sorted(dispatch.BACKENDS.keys() - set(dispatch.ON_GPU)))
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of the active backend; a skip with the reason where it cannot run."""
    try:
        reason = dispatch.load(request.param).unavailable_reason()
    except ModuleNotFoundError as error:
        reason = str(error)
    if reason:
        pytest.skip(f"kernels.backend={request.param}: {reason}")
    with dispatch.using(request.param):
        yield request.param
