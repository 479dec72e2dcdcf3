"""The C++ kernels of splats against the reference, for each instruction set."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from neural_render.core.errors import KernelError
from neural_render.kernels import dispatch
from neural_render.kernels.cpu import modules
from neural_render.kernels.splats import ops
from neural_render.kernels.splats.records import SplatCamera, Splats
from tests.kernels.comparison import Outputs, instruction_set, on_both
from tests.kernels.problems import generator
from tests.kernels.splats.clouds import camera, cloud, one
from tests.kernels.tolerances import FLOAT32, assert_close

RUNNABLE = () if dispatch.unavailable_reason("cpu") else modules.runnable()
native_only = pytest.mark.skipif(not RUNNABLE, reason="the native kernels are not installed here")


@pytest.fixture(params=modules.INSTRUCTION_SETS)
def native(request: pytest.FixtureRequest) -> Iterator[None]:
    """The cpu backend, with each instruction set in turn."""
    if request.param not in RUNNABLE:
        pytest.skip(f"the native kernels for {request.param} cannot run here")
    with instruction_set(request.param), dispatch.using("cpu"):
        yield


def drawn(splats: Splats, seen: SplatCamera) -> Outputs:
    """The picture, the gradient of a random mixture of it, and the weights."""
    picture = ops.draw_splats(splats, seen)
    mixture = torch.randn(picture.shape, generator=generator(9))
    found = ops.splat_slopes(splats, seen, lambda _: mixture)
    gradients = {f"to_{name}": part for name, part in found.gradient.tensors().items()}
    return {"picture": picture, "weights": found.weights, **gradients}


def assert_parity(splats: Splats, seen: SplatCamera, *, as_a_whole: bool = False) -> None:
    """Values and gradients of the cpu backend are the reference's."""
    actual, expected = on_both("cpu", lambda: drawn(splats, seen))
    for name, value in expected.items():
        tolerance = FLOAT32["gradients" if name.startswith("to_") else "values"]
        tolerance = tolerance.of_whole() if as_a_whole else tolerance
        assert_close(actual[name], value, tolerance, name, floor=1e-6)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("num", [0, 1, 19, 400])
def test_clouds(native: None, num: int, degree: int) -> None:
    """None, one, not a whole vector, and many, with colours of all degrees."""
    assert_parity(cloud(num, seed=num, degree=degree), camera())


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 33), (64, 3)])
def test_pictures_of_any_size(native: None, size: tuple[int, int]) -> None:
    assert_parity(cloud(80, seed=3), camera(*size))


def test_walls_that_end_pixels(native: None) -> None:
    """Large, opaque splats: most are behind what has ended."""
    splats = cloud(200, seed=5)
    wall = replace(splats, scales=splats.scales + 1.5, opacities=splats.opacities + 3)
    assert_parity(wall, camera())


def test_needles_and_discs(native: None) -> None:
    """Thin ones in all directions: tiles that a box around them would count are not theirs.

    The reference's determinant is the difference of two large numbers: a few pixels are off by it.
    """
    splats = cloud(150, seed=7)
    shapes = torch.tensor([1.5, -4.0, -4.0]), torch.tensor([0.5, 0.5, -6.0])
    for shape in shapes:
        thin_ones = replace(splats, scales=splats.scales + shape)
        assert_parity(thin_ones, camera(), as_a_whole=True)


def test_tensors_need_not_be_contiguous(native: None) -> None:
    splats = cloud(30)
    spread = {
        name: torch.stack([part, part + 1], dim=-1)[..., 0]
        for name, part in splats.tensors().items()
    }
    assert_close(
        ops.draw_splats(Splats(**spread), camera()),
        ops.draw_splats(splats, camera()),
        FLOAT32["values"],
    )


def test_what_is_no_number_is_not_drawn_and_has_no_gradient(native: None) -> None:
    """Nor does it disturb the others, beside it in the same vector."""
    splats = cloud(20, seed=2)
    broken = {name: part.clone() for name, part in splats.tensors().items()}
    broken["means"][3] = torch.nan
    broken["scales"][4] = torch.nan
    broken["scales"][5] = 60.0
    broken["means"][6] = torch.inf
    bad = torch.tensor([3, 4, 5, 6])
    good = torch.ones(20, dtype=torch.bool).index_fill(0, bad, False)
    found, alone = drawn(Splats(**broken), camera()), drawn(splats[good], camera())
    assert_close(found["picture"], alone["picture"], FLOAT32["values"])
    for name, value in alone.items():
        if name.startswith("to_"):
            assert not found[name][bad].any()
            assert_close(found[name][good], value, FLOAT32["gradients"], name)


@native_only
def test_results_do_not_depend_on_threads() -> None:
    """Bit for bit."""
    splats = cloud(5000, seed=8)
    found = []
    with dispatch.using("cpu"):
        for threads in (1, 2, 3):
            modules.set_threads(threads)
            found.append(drawn(splats, camera(130, 90)))
        modules.set_threads(dispatch.usable_cores())
    for other in found[1:]:
        assert all(torch.equal(found[0][name], value) for name, value in other.items())


@native_only
def test_a_picture_may_wait_for_its_way_back_while_others_are_drawn() -> None:
    """Each keeps what is its own."""
    first, second = cloud(50, seed=1), cloud(70, seed=2)

    def leaves(splats: Splats) -> Splats:
        return Splats(**{n: x.clone().requires_grad_() for n, x in splats.tensors().items()})

    with dispatch.using("cpu"):
        a, b = leaves(first), leaves(second)
        pictures = ops.draw_splats(a, camera()), ops.draw_splats(b, camera())
        ops.draw_splats(cloud(90, seed=4), camera())
        (pictures[0].sum() + pictures[1].sum()).backward()
        for splats, given in ((a, first), (b, second)):
            alone = ops.splat_slopes(given, camera(), torch.ones_like)
            assert torch.equal(_gradient(splats.means), alone.gradient.means)


def _gradient(leaf: Tensor) -> Tensor:
    assert leaf.grad is not None
    return leaf.grad


@native_only
def test_what_the_kernels_cannot_take_is_refused() -> None:
    splats = one()
    with dispatch.using("cpu"):
        wrong = replace(splats, colors=torch.zeros(1, 5, 3))
        with pytest.raises(KernelError, match="5 harmonics were given, but 1, 4, 9 or 16"):
            ops.draw_splats(wrong, camera())
        doubles = Splats(**{name: x.double() for name, x in splats.tensors().items()})
        with pytest.raises(KernelError, match=r"means is torch\.float64"):
            ops.draw_splats(doubles, camera())


@pytest.mark.parametrize("name", dispatch.BACKENDS)
def test_every_backend_draws_splats(name: str) -> None:
    if "Triton is not installed" in dispatch.unavailable_reason(name):
        pytest.skip(dispatch.unavailable_reason(name))
    module = dispatch.load(name)
    assert callable(module.draw_splats) and callable(module.draw_splats_backward)
