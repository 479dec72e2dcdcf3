"""Cameras that are learnt: what rays and light become, and in which units cameras move."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from neural_render.captures.adjustment.adjustment import CameraAdjustment, fixed_cameras
from neural_render.captures.adjustment.held_out import aligned, for_views, restored
from neural_render.captures.adjustment.settings import AdjustmentSettings
from neural_render.core.cameras import Cameras, Lens, pixel_centers, project, rays_through_pixels
from neural_render.core.rays import RayBatch
from neural_render.core.transforms import look_at, rotation_from_vector
from neural_render.kernels.records import InputGradients

EVERYTHING = AdjustmentSettings(
    exposure=True,
    white_balance=True,
    vignetting=True,
    appearance=3,
    poses=True,
    intrinsics=True,
    pose_rate=0.1,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_cameras(num: int = 6, lens: Lens = Lens.PERSPECTIVE, k1: float = 0.05) -> Cameras:
    """Cameras around the middle of the unit cube; the last one has another lens."""
    places = 0.5 + 0.4 * torch.nn.functional.normalize(torch.randn(num, 3, generator=seeded()))
    focal = torch.full((num, 2), 60.0)
    focal[-1] = 80.0
    distortion = torch.zeros(num, 6)
    distortion[:, 0] = k1
    return Cameras(
        world_from_camera=look_at(places, torch.full((num, 3), 0.5), torch.tensor([0.0, 0, 1])),
        focal_px=focal,
        center_px=torch.tensor([[33.0, 23.0]]).repeat(num, 1),
        distortion=distortion,
        lens=torch.full((num,), int(lens)),
        width=torch.full((num,), 64),
        height=torch.full((num,), 48),
    )


def batch_of(cameras: Cameras, num_rays: int = 300) -> tuple[RayBatch, Tensor]:
    """Rays through random pixels, and these."""
    view = torch.randint(len(cameras), (num_rays,), generator=seeded(1))
    pixels = torch.rand(num_rays, 2, generator=seeded(2)) * torch.tensor([64.0, 48.0])
    batch = RayBatch(
        rays=rays_through_pixels(cameras, view, pixels),
        targets=torch.rand(num_rays, 3, generator=seeded(3)),
        opacity=torch.ones(num_rays),
        weights=torch.ones(num_rays),
        view=view,
        distance=torch.zeros(num_rays),
        normals=torch.zeros(num_rays, 3),
        conditions=torch.zeros(num_rays, 0),
    )
    return batch, pixels


def shaken(adjustment: CameraAdjustment, size: float = 1.0) -> CameraAdjustment:
    """With random parameters: poses and lenses by pixels, light by stops."""
    for number, value in enumerate(adjustment.parameters.values()):
        value.copy_(size * torch.randn(value.shape, generator=seeded(10 + number)))
    return adjustment


def test_what_is_left_alone_is_the_batch_itself() -> None:
    batch, _ = batch_of(some_cameras())
    for adjustment in (CameraAdjustment(some_cameras(), AdjustmentSettings()), fixed_cameras()):
        shown = adjustment.apply(batch)
        assert shown.rays is batch.rays and shown.conditions is batch.conditions
        assert len(shown.gain) == 0 and not adjustment.state() and not adjustment.blur(0.0)


@pytest.mark.parametrize(("lens", "k1"), [(Lens.PERSPECTIVE, 0.0), (Lens.FISHEYE, 0.05)])
@pytest.mark.parametrize("given", [("poses",), ("intrinsics",), ("poses", "intrinsics")])
def test_rays_are_those_of_the_refined_cameras(
    lens: Lens, k1: float, given: tuple[str, ...]
) -> None:
    cameras = some_cameras(lens=lens, k1=k1)
    wanted = AdjustmentSettings(**dict.fromkeys(given, True))
    # More would bend lenses so far that the last pixels in their corners belong to no ray.
    adjustment = shaken(CameraAdjustment(cameras, wanted), size=0.3)
    batch, pixels = batch_of(cameras)
    found = adjustment.apply(batch).rays
    expected = rays_through_pixels(adjustment.cameras(), batch.view, pixels)
    assert torch.allclose(found.origins, expected.origins, atol=1e-6)
    assert torch.allclose(found.directions, expected.directions, atol=2e-5)
    assert not torch.allclose(found.directions, batch.rays.directions, atol=1e-3)
    assert torch.equal(found.footprint, batch.rays.footprint)


def test_a_unit_of_any_parameter_is_about_a_pixel() -> None:
    """Of what is in front of the camera, whatever the parameter is and in which units."""
    cameras = some_cameras()
    given = AdjustmentSettings(poses=True, intrinsics=True)
    points = 0.5 + 0.05 * torch.randn(500, 3, generator=seeded(4))
    index = torch.zeros(500, dtype=torch.long)
    before, _ = project(cameras, index, points)
    for name, count in (("pose", 6), ("lens", 4)):
        for column in range(count):
            adjustment = CameraAdjustment(cameras, given)
            adjustment.parameters[name][:, column] = 0.1
            after, _ = project(adjustment.cameras(), index, points)
            moved = 10 * (after - before).square().sum(1).mean().sqrt()
            assert 0.1 < moved < 3, (name, column)


def test_light_is_told_in_stops_from_the_mean_of_all_photos() -> None:
    cameras = some_cameras()
    batch, pixels = batch_of(cameras)
    settings = AdjustmentSettings(exposure=True, white_balance=True, vignetting=True)
    adjustment = shaken(CameraAdjustment(cameras, settings))
    found = adjustment.parameters
    exposure = found["exposure"] - found["exposure"].mean()
    balance = found["white_balance"] - found["white_balance"].mean(0)
    balance = balance - balance.mean(1, keepdim=True)
    square = (pixels - torch.tensor([32.0, 24.0])).square().sum(1) / (32**2 + 24**2)
    other = (batch.view == len(cameras) - 1).long()
    own = adjustment._lens[batch.view]
    assert ((own == own[other == 1][0]) == (other == 1)).all()
    terms = found["vignetting"][own]
    corners = sum(terms[:, power] * square ** (power + 1) for power in range(3))
    stops = exposure[batch.view][:, None] + balance[batch.view] + corners[:, None]
    gain = adjustment.apply(batch).gain
    assert torch.allclose(gain, 2 ** (stops / 2.2), rtol=1e-4)
    centers = pixel_centers(cameras, 2)
    assert adjustment.gain(2, centers).shape == (64 * 48, 3)


def loss_gradients(shown, wanted: RayBatch) -> InputGradients:
    """Of the squared errors of the rays' ends and of a gain of 1."""
    return InputGradients(
        origins=shown.rays.origins.detach() - wanted.rays.origins,
        directions=shown.rays.directions.detach() - wanted.rays.directions,
        conditions=torch.zeros_like(shown.conditions),
        gain=shown.gain.detach() - 1 if len(shown.gain) else shown.gain,
    )


def test_steps_lead_back_to_where_the_gradient_ends() -> None:
    cameras = some_cameras()
    batch, _ = batch_of(cameras, 2000)
    adjustment = CameraAdjustment(cameras, EVERYTHING)
    shaken(adjustment, 0.5)
    adjustment.rates = dict.fromkeys(adjustment.rates, 0.1)
    errors = []
    for step in range(1, 301):
        shown = adjustment.apply(batch)
        gradients = loss_gradients(shown, batch)
        off = gradients.origins.square().mean() + gradients.directions.square().mean()
        errors.append((float(off), float(gradients.gain.square().mean())))
        adjustment.step(shown, gradients, step, step / 301)
    words = adjustment.described()
    assert "poses moved by" in words and "exposures from" in words and "corners" in words
    assert errors[-1][0] < 1e-4 * errors[0][0] and errors[-1][1] < 1e-3 * errors[0][1]


def test_it_goes_on_from_its_state_and_refuses_that_of_others() -> None:
    cameras = some_cameras()
    batch, _ = batch_of(cameras)
    first = shaken(CameraAdjustment(cameras, EVERYTHING))
    shown = first.apply(batch)
    first.step(shown, loss_gradients(shown, batch), 1, 0.0)
    second = CameraAdjustment(cameras, EVERYTHING)
    second.load_state({name: tensor.clone() for name, tensor in first.state().items()})
    third = restored(cameras, first.state())
    for other in (second, third):
        assert other.state().keys() == first.state().keys()
        for name, tensor in first.state().items():
            assert torch.equal(tensor, other.state()[name]), name
    with pytest.raises(ValueError, match=r"capture\.adjust asks for pose \[6, 6\]"):
        CameraAdjustment(cameras, AdjustmentSettings(poses=True)).load_state(first.state())


def test_what_was_learnt_is_the_same_at_another_size() -> None:
    """Of photos scaled to a half, units are twice as large; moves are moves."""
    large = some_cameras()
    small = replace(
        large,
        focal_px=large.focal_px / 2,
        center_px=large.center_px / 2,
        width=large.width // 2,
        height=large.height // 2,
    )
    learnt = shaken(CameraAdjustment(large, EVERYTHING))
    found = restored(small, learnt.state())
    expected, cameras = learnt.cameras(), found.cameras()
    poses = cameras.world_from_camera, expected.world_from_camera
    torch.testing.assert_close(*poses, atol=1e-5, rtol=0)
    torch.testing.assert_close(2 * cameras.focal_px, expected.focal_px, rtol=1e-4, atol=0)
    torch.testing.assert_close(2 * cameras.center_px, expected.center_px, rtol=1e-4, atol=0)
    before = {k: v for k, v in learnt.state().items() if not k.startswith("units.")}
    torch.testing.assert_close(restored(large, before).cameras().focal_px, expected.focal_px)


def test_cameras_follow_those_that_were_refined_alike() -> None:
    """All turned, scaled and shifted together: so is one that was not among them."""
    cameras = some_cameras(7)
    turn = rotation_from_vector(torch.tensor([0.1, -0.2, 0.3]))
    poses = cameras.world_from_camera
    places = 1.1 * poses[..., 3] @ turn.T + torch.tensor([0.3, -0.1, 0.2])
    all_moved = torch.cat([turn @ poses[..., :3], places[..., None]], dim=-1)
    refined = replace(cameras, world_from_camera=all_moved)
    found = aligned(cameras[5:], cameras[:5], refined[:5])
    assert torch.allclose(found.world_from_camera, all_moved[5:], atol=1e-5)
    in_a_row = replace(cameras, world_from_camera=poses[:1].repeat(7, 1, 1))
    same = aligned(cameras, in_a_row, in_a_row)
    assert torch.allclose(same.world_from_camera, poses, atol=1e-5)


def test_other_views_take_over_their_lens_and_its_vignetting() -> None:
    cameras = some_cameras(7)
    settings = AdjustmentSettings(vignetting=True, intrinsics=True)
    trained = shaken(CameraAdjustment(cameras[1:], settings))
    fitted = for_views(cameras[:1], trained, cameras[1:], AdjustmentSettings(exposure=True))
    assert torch.equal(fitted.cameras().focal_px, trained.cameras().focal_px[:1])
    assert torch.equal(fitted.cameras().distortion, trained.cameras().distortion[:1])
    centers = pixel_centers(cameras, 0)
    index = torch.zeros(len(centers), dtype=torch.long)
    assert torch.allclose(
        fitted.gain(0, centers), trained._gain(index, centers, trained.parameters), rtol=1e-5
    )
    fitted.parameters["exposure"].fill_(1.0)  # not from the mean of the views
    assert torch.allclose(
        fitted.gain(0, centers), 2 ** (1 / 2.2) * trained.gain(0, centers), rtol=1e-5
    )


def test_a_lens_is_the_same_where_photos_on_disk_lack_their_last_columns() -> None:
    cameras = some_cameras(7)
    cropped = replace(cameras, width=cameras.width - 1, height=cameras.height - 3)[1:]
    settings = AdjustmentSettings(vignetting=True, intrinsics=True)
    trained = shaken(CameraAdjustment(cropped, settings))
    found = for_views(cameras[:1], trained, cropped, AdjustmentSettings())
    assert torch.equal(found.cameras().focal_px, trained.cameras().focal_px[:1])
    darker = trained.parameters["vignetting"][trained._lens[0]]
    assert darker.any() and torch.equal(found.parameters["vignetting"][0], darker)


def test_what_shows_the_whole_sphere_keeps_its_lens() -> None:
    cameras = some_cameras()
    sphere = torch.arange(len(cameras)) < 2
    whole = torch.tensor([64 / (2 * torch.pi), 48 / torch.pi])
    cameras = replace(
        cameras,
        lens=torch.where(sphere, int(Lens.EQUIRECTANGULAR), cameras.lens),
        focal_px=torch.where(sphere[:, None], whole, cameras.focal_px),
        center_px=torch.where(sphere[:, None], torch.tensor([32.0, 24.0]), cameras.center_px),
        distortion=cameras.distortion * ~sphere[:, None],
    )
    settings = AdjustmentSettings(poses=True, intrinsics=True)
    found = shaken(CameraAdjustment(cameras, settings)).cameras()
    for name in ("focal_px", "center_px", "distortion"):
        changed = (getattr(found, name) != getattr(cameras, name)).any(dim=1)
        assert changed.tolist() == (~sphere).tolist(), name
    moves = (found.world_from_camera != cameras.world_from_camera).flatten(1).any(dim=1)
    assert moves.all()
    batch, _ = batch_of(cameras)
    adjustment = CameraAdjustment(cameras, settings)
    shown = adjustment.apply(batch)
    ones = InputGradients(
        origins=torch.ones_like(batch.rays.origins),
        directions=torch.ones_like(batch.rays.directions),
        conditions=torch.zeros(len(batch.rays), 0),
        gain=torch.zeros(0, 0),
    )
    adjustment.step(shown, ones, 1, 0.5)
    moved = adjustment.parameters["lens"].norm(dim=1)
    assert moved.isfinite().all() and (moved == 0).sum() == 1
