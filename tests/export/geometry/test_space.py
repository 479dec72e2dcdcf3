"""The lattice's maps: one to one, continuous, and even where photos tell even steps apart."""

import pytest
import torch

from neural_render.core.projection import IDENTITY_PROJECTION, Projection, forward_projection
from neural_render.core.protocols import SceneFrame
from neural_render.core.transforms import Similarity
from neural_render.export.geometry.space import FARTHEST, Space

STEP = 1 / 64


def space(
    cascades: int = 1, *, inner: bool = False, projection: Projection = IDENTITY_PROJECTION
) -> Space:
    """A lattice in a field that lies elsewhere in the world."""
    placed = Similarity(scale=3.0, translation=(1.0, -2.0, 0.5))
    frame = SceneFrame(world_from_field=placed, cascades=cascades, near=0.0, projection=projection)
    return Space(frame=frame, inner=inner)


def seen_from_one_side() -> Projection:
    """A camera before the cube that looks along z, and sees what is deeper than half a unit."""
    return forward_projection(
        rotation=torch.eye(3),
        position=torch.tensor([0.5, 0.5, -0.5]),
        slopes=((-0.5, 0.5), (-0.5, 0.5)),
        near=0.5,
    )


SPACES = {
    "one cube": space(),
    "nested cubes": space(4),
    "the innermost of nested cubes": space(4, inner=True),
    "seen from one side": space(projection=seen_from_one_side()),
}


@pytest.fixture(params=SPACES)
def any_space(request: pytest.FixtureRequest) -> Space:
    return SPACES[request.param]


def places(space: Space, count: int = 500) -> torch.Tensor:
    """Random ones within the limits."""
    low, high = space.limits
    return low + (high - low) * torch.rand(count, 3, generator=torch.Generator().manual_seed(0))


def test_each_place_has_one_point_of_the_field(any_space: Space) -> None:
    here = places(any_space)
    there = any_space.field(here)
    torch.testing.assert_close(any_space.of_field(there), here, rtol=0, atol=2e-4)
    back = any_space.frame.world_from_field.inverse().apply(any_space.world(here))
    torch.testing.assert_close(back, there, rtol=1e-4, atol=1e-4)


def test_a_neighbour_on_the_lattice_is_within_reach(any_space: Space) -> None:
    """And not much closer than that: it is how far a step goes along one of the axes."""
    low, high = any_space.limits
    here = low + (high - low - 2 * STEP) * places(any_space)
    there = any_space.field(here)
    ways = [any_space.field(here + STEP * axis) - there for axis in torch.eye(3)]
    farthest = torch.stack([way.norm(dim=-1) for way in ways]).amax(0)
    torch.testing.assert_close(any_space.reach(there, STEP), farthest, rtol=0.05, atol=1e-4)


def test_nested_cubes_are_drawn_together_outwards() -> None:
    """Even steps in the innermost cube, larger ones beyond it, and the outermost's wall at last."""
    nested = SPACES["nested cubes"]
    along = torch.linspace(0.5, 1, 65)
    line = torch.stack([along, torch.full_like(along, 0.5), torch.full_like(along, 0.5)], dim=1)
    x = nested.cube(line)[:, 0]
    assert x[0] == 0.5 and x[-1] == pytest.approx(1)
    steps = x.diff()
    inside = x[1:] <= 0.5 + 2.0**-4
    torch.testing.assert_close(steps[inside], steps[:1].expand(int(inside.sum())))
    assert bool((steps[~inside].diff() > 0).all())
    torch.testing.assert_close(nested.cube(torch.ones(1, 3)), torch.ones(1, 3))


def test_the_innermost_cube_alone_fills_the_lattice() -> None:
    corner = SPACES["the innermost of nested cubes"].cube(torch.ones(1, 3))
    torch.testing.assert_close(corner, torch.full((1, 3), 0.5 + 2.0**-4))


def test_what_is_infinitely_far_is_left_out() -> None:
    """The last slice of a projection's cube has no end."""
    from_one_side = SPACES["seen from one side"]
    assert from_one_side.limits[1].tolist() == [1, 1, FARTHEST]
    deepest = from_one_side.field(torch.tensor([[0.5, 0.5, FARTHEST]]))
    assert deepest[0, 2] == pytest.approx(0.5 / (1 - FARTHEST) - 0.5)
