"""Running one computation on two backends and holding the results together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from neural_render.kernels import dispatch
from neural_render.kernels.cpu import modules
from tests.kernels.problems import generator
from tests.kernels.tolerances import assert_close, parity

Outputs = dict[str, Tensor]
Result = TypeVar("Result")
MOST_KEPT = 1 << 27  # bytes of one result
# The test that runs, its problem (its name without the backend), the reference's results so far of
# all problems of this test, and how many of this problem have been asked for.
_test, _problem = [""], [""]
_kept: dict[tuple[str, int], Any] = {}
_asked = [0]


@contextmanager
def instruction_set(name: str) -> Iterator[None]:
    """The cpu backend computes with the module for this instruction set inside the block."""
    before = modules.instruction_set()
    modules.use(name)
    modules.set_threads(dispatch.usable_cores())
    try:
        yield
    finally:
        modules.use(before)


@contextmanager
def in_float32(backend: str) -> Iterator[None]:
    """The cuda backend computes in float32 inside the block, also on a GPU."""
    if backend != "cuda":
        yield
        return
    loaded = dispatch.load(backend)
    before = loaded.precision()
    loaded.set_precision("float32")
    try:
        yield
    finally:
        loaded.set_precision(before)


def strided(tensor: Tensor) -> Tensor:
    """The same values, not contiguous in memory."""
    return torch.stack([tensor, torch.full_like(tensor, 7)], dim=-1)[..., 0]


def differentiate(outputs: Outputs, leaves: Outputs) -> Outputs:
    """The gradient of a random mixture of all outputs to each leaf, as ``to_<leaf>``."""
    loss = torch.zeros(())
    for number, output in enumerate(outputs.values()):
        mixture = torch.randn(output.shape, generator=generator(100 + number), dtype=output.dtype)
        loss = loss + (output * mixture).sum()
    names = [name for name, leaf in leaves.items() if leaf.requires_grad]
    gradients = torch.autograd.grad(loss, [leaves[name] for name in names])
    return {f"to_{name}": gradient for name, gradient in zip(names, gradients, strict=True)}


@contextmanager
def about(test: str, problem: str) -> Iterator[None]:
    """Inside, what is ``remembered`` is this problem's; what another test asked for is dropped."""
    if test != _test[0]:
        _kept.clear()
    _test[0], _problem[0], _asked[0] = test, problem, 0
    try:
        yield
    finally:
        _problem[0] = ""


def remembered(compute: Callable[[], Result]) -> Result:
    """What the reference computes, once for all backends that a test holds against it.

    A test asks in the same order whatever the backend; results are only read.
    """
    key = _problem[0], _asked[0]
    _asked[0] += 1
    if key in _kept:
        return _kept[key]
    with dispatch.using("reference"):
        found = compute()
    parts = found.values() if isinstance(found, dict) else vars(found).values()
    if _problem[0] and sum(x.nbytes for x in parts if isinstance(x, Tensor)) < MOST_KEPT:
        _kept[key] = found
    return found


def on_both(backend: str, compute: Callable[[], Outputs]) -> tuple[Outputs, Outputs]:
    """What the backend and what the reference compute."""
    with dispatch.using(backend):
        actual = compute()
    expected = dict(remembered(compute))
    assert actual.keys() == expected.keys()
    return actual, expected


def assert_parity(
    backend: str,
    compute: Callable[[], Outputs],
    *,
    kinds: tuple[str, str] = ("values", "gradients"),
    precision: str = "",
    parts: int = 0,
) -> None:
    """Values and gradients of a backend are the reference's, within their tolerances."""
    actual, expected = on_both(backend, compute)
    for name, value in expected.items():
        tolerance = parity(backend, kinds[name.startswith("to_")], precision)
        assert_close(actual[name], value, tolerance, name, parts=parts)
