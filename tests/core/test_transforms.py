"""Transforms: inverses, round trips through vectors and quaternions, poses in between."""

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from neural_render.core.transforms import (
    Similarity,
    interpolate_poses,
    look_at,
    quat_wxyz_from_rotation,
    rotation_from_vector,
    vector_from_rotation,
)

coordinate = st.floats(-10, 10)
point = st.tuples(coordinate, coordinate, coordinate)
IDENTITY = torch.eye(3, dtype=torch.float64)


def vector(values: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@given(st.floats(0.01, 100), point, point)
def test_a_similaritys_inverse_leads_back(
    scale: float, translation: tuple[float, float, float], at: tuple[float, float, float]
) -> None:
    similarity = Similarity(scale=scale, translation=translation)
    points = vector(at)[None]
    there = similarity.apply(points)
    assert torch.allclose(there, scale * points + vector(translation))
    assert torch.allclose(similarity.inverse().apply(there), points, atol=1e-9 * (1 + 1 / scale))


def test_poses_keep_their_rotation_and_move() -> None:
    similarity = Similarity(scale=2.0, translation=(1.0, 2.0, 3.0))
    pose = torch.cat([rotation_from_vector(torch.tensor([0.1, 0.2, 0.3])), torch.ones(3, 1)], -1)
    moved = similarity.apply_to_poses(pose[None])[0]
    assert torch.equal(moved[:, :3], pose[:, :3])
    assert moved[:, 3].tolist() == [3.0, 4.0, 5.0]


@given(point, st.floats(0, math.pi - 1e-3))
def test_rotation_vectors_and_matrices_are_inverse(
    values: tuple[float, float, float], angle: float
) -> None:
    turn = angle * torch.nn.functional.normalize(vector(values), dim=0)
    rotation = rotation_from_vector(turn)
    assert torch.allclose(rotation @ rotation.T, IDENTITY, atol=1e-12)
    assert torch.linalg.det(rotation) == pytest.approx(1)
    assert torch.allclose(vector_from_rotation(rotation), turn, atol=1e-6)


@given(point)
def test_any_rotation_survives_the_way_through_its_vector(
    values: tuple[float, float, float],
) -> None:
    rotation = rotation_from_vector(vector(values))
    again = rotation_from_vector(vector_from_rotation(rotation))
    assert torch.allclose(again, rotation, atol=1e-6)


@pytest.mark.parametrize("axis", range(3))
def test_half_turns(axis: int) -> None:
    turn = torch.zeros(3, dtype=torch.float64)
    turn[axis] = math.pi
    rotation = rotation_from_vector(turn)
    expected = -IDENTITY.clone()
    expected[axis, axis] = 1
    assert torch.allclose(rotation, expected, atol=1e-12)
    assert torch.allclose(vector_from_rotation(rotation).abs(), turn, atol=1e-7)
    assert torch.allclose(rotation_from_vector(vector_from_rotation(rotation)), rotation, atol=1e-7)


def test_a_quarter_turn_by_hand() -> None:
    rotation = rotation_from_vector(torch.tensor([0.0, 0.0, math.pi / 2], dtype=torch.float64))
    assert torch.allclose(rotation @ vector((1.0, 0.0, 0.0)), vector((0.0, 1.0, 0.0)), atol=1e-12)
    half = math.sqrt(0.5)
    quaternion = quat_wxyz_from_rotation(rotation)
    assert torch.allclose(quaternion, torch.tensor([half, 0, 0, half], dtype=torch.float64))


@pytest.mark.parametrize("size", [0.0, 1e-6, 1e-3, 1.0])
def test_rotations_are_differentiable_at_and_near_zero(size: float) -> None:
    turn = (size * vector((0.6, -0.48, 0.64))).requires_grad_()
    assert torch.autograd.gradcheck(rotation_from_vector, (turn,))


@given(point, point)
def test_look_at_faces_its_target_upright(
    position: tuple[float, float, float], target: tuple[float, float, float]
) -> None:
    start, end, up = vector(position), vector(target), vector((0.0, 0.0, 1.0))
    assume(float((end - start).norm()) > 1e-3)
    pose = look_at(start, end, up)
    right, down, forward = pose[:, :3].unbind(-1)
    assert torch.equal(pose[:, 3], start)
    assert torch.allclose(forward, (end - start) / (end - start).norm())
    assert torch.allclose(pose[:, :3] @ pose[:, :3].T, IDENTITY, atol=1e-9)
    assert torch.linalg.det(pose[:, :3]) == pytest.approx(1)
    assert right[2] == pytest.approx(0, abs=1e-6) or abs(forward[2]) > 0.999999
    assert down[2] <= 1e-6


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_look_at_along_up_still_gives_a_pose(sign: float) -> None:
    for axis in torch.eye(3):
        pose = look_at(torch.zeros(3), sign * axis, axis)
        assert torch.allclose(pose[:, :3] @ pose[:, :3].T, torch.eye(3), atol=1e-6)
        assert torch.allclose(pose[:, 2], sign * axis)


@given(point, point, st.floats(0, 1))
def test_poses_in_between(
    first: tuple[float, float, float], second: tuple[float, float, float], fraction: float
) -> None:
    start = torch.cat([rotation_from_vector(vector(first) / 10), vector(first)[:, None]], -1)
    end = torch.cat([rotation_from_vector(vector(second) / 10), vector(second)[:, None]], -1)
    between = interpolate_poses(start, end, fraction)
    assert torch.allclose(between[:, :3] @ between[:, :3].T, IDENTITY, atol=1e-6)
    assert torch.allclose(between[:, 3], torch.lerp(start[:, 3], end[:, 3], fraction))
    whole = vector_from_rotation(start[:, :3].T @ end[:, :3])
    part = vector_from_rotation(start[:, :3].T @ between[:, :3])
    assert torch.allclose(part, fraction * whole, atol=1e-5)


def test_the_ends_of_an_interpolation_are_its_poses() -> None:
    start = torch.cat([IDENTITY, vector((1.0, 2.0, 3.0))[:, None]], -1)
    end = torch.cat([rotation_from_vector(vector((0.0, 2.0, 0.0))), torch.zeros(3, 1)], -1).double()
    assert torch.allclose(interpolate_poses(start, end, 0.0), start)
    assert torch.allclose(interpolate_poses(start, end, 1.0), end)
