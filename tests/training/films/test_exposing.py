"""Exposures of bodies whose pictures are known: blur, eyes, data, in closed form."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from neural_render.core.cameras import Cameras, image_rays, pixel_centers, project
from neural_render.core.optics.eyes import Eye, eye_pair, panoramas
from neural_render.core.protocols import SceneFrame
from neural_render.core.transforms import Similarity
from neural_render.export.developing import PlainDevelopment
from neural_render.export.layers import DATA, NORMALS, PLACES, Exposed, exr_channels
from neural_render.rendering import RenderingSettings, build_renderer
from neural_render.training.films import exposing
from neural_render.training.films.exposing import FilmCamera, Gathering, Subject, exposes
from neural_render.training.films.focusing import auto_focus
from tests.rendering.analytic import CPU, SphereField, frame
from tests.rendering.test_images import camera
from tests.rendering.test_normals import SoftBall

FOCAL_PX, DEPTH = 40.0, 1.5  # of ``camera``, which looks along -x from x = 2 at the plane x = 0.5
UP = torch.tensor([0.0, 0.0, 1.0])


class HalfPlate(SphereField):
    """A thin opaque plate that fills one half of the view, up to the plane y = 0.5."""

    def density(self, points: Tensor, footprint: Tensor | None = None) -> Tensor:
        hit = (points[:, 0] < 0.5) & (points[:, 0] > 0.48) & (points[:, 1] > 0.5)
        return torch.where(hit, self.inside, 0.0)


class UnderSky(HalfPlate):
    """The same before a far sky, which covers all that is left."""

    has_far = True

    def far_radiance(self, directions: Tensor) -> Tensor:
        return torch.full((len(directions), 3), 0.5)


PLATE = HalfPlate(0.0, 2e4, (1.0, 1.0, 1.0))


def subject(field: SphereField, place: SceneFrame | None = None) -> Subject:
    place = place or frame()
    renderer = build_renderer(RenderingSettings(step=0.008), place, CPU)
    return Subject(field=field, renderer=renderer, frame=place, over=torch.zeros(3))


def shot(
    what: Subject,
    *eyes: Eye,
    index: int = 0,
    colour_space: str = "linear",
    data: tuple[str, ...] = (),
    **camera_words: Any,
) -> Exposed:
    """A frame over black."""
    film_camera = FilmCamera(
        eyes=eyes,
        **{
            "across": True,
            "side": 1,
            "pixel_filter": "box",
            "aperture": 0.0,
            "focus": lambda _: DEPTH,
            "shutter": 0.0,
            **camera_words,
        },
    )
    development = PlainDevelopment(background=(0.0, 0.0, 0.0), colour_space=colour_space)
    gathering = Gathering(
        subject=what, development=development, layers=bool(data), data=data, seed=0
    )
    return exposes(film_camera, gathering)(index)


def moving(number: int, step: float) -> Cameras:
    """Cameras that move along y, that is along their x axis, backwards."""
    path = camera(24, 8)[torch.zeros(number, dtype=torch.long)]
    poses = path.world_from_camera.clone()
    poses[:, 1, 3] += step * torch.arange(number)
    return replace(path, world_from_camera=poses)


def profile(exposed: Exposed) -> Tensor:
    """How far the plate covers each column, from its uncovered side."""
    across = exposed.opacity.mean(dim=0)
    return across if across[0] < across[-1] else across.flip(0)


@pytest.mark.parametrize("focus", [3.0, 1.0])
def test_an_edge_out_of_focus_is_as_wide_as_its_circle_of_confusion(focus: float) -> None:
    eye, aperture = Eye(cameras=camera(24, 8)), 0.3
    sharp = shot(subject(PLATE), eye, side=6, aperture=aperture)
    assert (profile(sharp)[:11] < 0.01).all() and (profile(sharp)[13:] > 0.99).all()
    blurred = shot(subject(PLATE), eye, side=6, aperture=aperture, focus=lambda _: focus)
    radius = FOCAL_PX * aperture * abs(DEPTH - focus) / (DEPTH * focus) / 2
    assert 1.9 < radius < 2.1
    beyond = ((torch.arange(24) + 0.5 - 12) / radius).clamp(-1, 1)
    share = 0.5 + (beyond * (1 - beyond**2).sqrt() + beyond.asin()) / math.pi
    # The plate's other end begins to show in the last columns.
    assert (profile(blurred) - share)[:21].abs().max() < 0.04


def test_an_edge_that_moves_is_a_ramp_as_long_as_its_way() -> None:
    """Four pixels a frame, half of which the shutter is open."""
    path = moving(5, step=4 * DEPTH / FOCAL_PX)
    moved = shot(subject(PLATE), Eye(cameras=path), index=0, side=6, shutter=0.5)
    ramp = ((torch.arange(24) + 0.5 - 12) / 2 + 0.5).clamp(0, 1)
    assert (profile(moved) - ramp).abs().max() < 0.06
    still = shot(subject(PLATE), Eye(cameras=path), index=0, side=2)
    assert set(profile(still).tolist()) == {0.0, 1.0}


def test_blurs_are_the_same_each_time_and_other_in_each_frame() -> None:
    path = moving(3, step=0.0)
    words: dict[str, Any] = {"side": 3, "aperture": 0.3, "focus": lambda _: 3.0, "shutter": 1.0}
    one, again, other = (
        shot(subject(PLATE), Eye(cameras=path), index=i, **words) for i in (0, 0, 1)
    )
    assert torch.equal(one.light, again.light)
    assert not torch.equal(one.light, other.light), "grain moves"


@pytest.mark.parametrize("colour_space", ["linear", "srgb"])
def test_light_is_averaged_and_not_what_is_displayed(colour_space: str) -> None:
    """A white plate in half of a pixel is half the light of one in all of it."""
    half = moving(2, step=0.5 * DEPTH / FOCAL_PX)
    seen = shot(subject(PLATE), Eye(cameras=half), index=1, side=2, colour_space=colour_space)
    assert 0.5 in [pytest.approx(value, abs=1e-3) for value in profile(seen).tolist()]
    torch.testing.assert_close(seen.light[..., 0], seen.opacity, atol=1e-4, rtol=0)


def test_data_of_a_blurred_picture_is_that_of_a_still_one() -> None:
    """And where that sees nothing but others do, it is their mean."""
    eye = Eye(cameras=camera(24, 8))
    still = shot(subject(PLATE), eye, data=DATA)
    blurred = shot(subject(PLATE), eye, data=DATA, side=4, aperture=0.3, focus=lambda _: 3.0)
    for name in ("Z", *PLACES):
        both = still.opacity > 0.5
        assert torch.equal(still.data[name][both], blurred.data[name][both]), name
    further = (blurred.opacity > 0.05) & (still.opacity == 0)
    assert further.sum() > 8
    assert (blurred.data["Z"][further] - DEPTH).abs().max() < 0.03
    channels = exr_channels(blurred)
    nothing = blurred.opacity == 0
    assert (channels["Z"][nothing] == 1e10).all() and not channels["P.X"][nothing].any()


def test_a_far_sky_is_at_no_distance_and_brings_none_nearer() -> None:
    plate = UnderSky(0.0, 2e4, (1.0, 1.0, 1.0))
    eye = Eye(cameras=camera(24, 8))
    still = shot(subject(plate), eye, data=DATA)
    blurred = shot(subject(plate), eye, data=DATA, side=4, aperture=0.3, focus=lambda _: 3.0)
    assert (blurred.opacity > 0.99).all()
    further = (blurred.data["distance"] > 0) & (still.data["distance"] == 0)
    assert further.sum() > 8
    assert (blurred.data["Z"][further] - DEPTH).abs().max() < 0.03


def test_places_and_normals_of_a_ball_in_the_world() -> None:
    """The world is five times as large as the field; each place is seen in its own pixel."""
    world = Similarity(scale=5.0, translation=(1.0, -2.0, 3.0))
    place = replace(frame(), world_from_field=world)
    cameras = camera(31, 21).in_frame(world)
    ball = SoftBall(0.2, 3e5, (0.9, 0.1, 0.3))
    seen = shot(subject(ball, place), Eye(cameras=cameras), data=DATA)
    solid = seen.opacity > 0.99
    assert solid.sum() > 50
    points, normals = (
        torch.stack([seen.data[name][solid] for name in names], dim=-1)
        for names in (PLACES, NORMALS)
    )
    offset = points - torch.tensor([3.5, 0.5, 5.5])
    assert (offset.norm(dim=-1) - 1.0).abs().max() < 0.05
    facing = (torch.nn.functional.normalize(offset, dim=-1) * normals).sum(-1)
    assert facing.min() > 0.8 and facing.mean() > 0.95
    pixels, depths = project(cameras, torch.zeros(len(points), dtype=torch.long), points)
    expected = pixel_centers(cameras, 0).view(21, 31, 2)[solid]
    torch.testing.assert_close(pixels, expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(depths, seen.data["Z"][solid], atol=1e-4, rtol=0)


def columns_of(opacity: Tensor) -> float:
    """The middle column of what is seen."""
    weight = opacity.sum(dim=0)
    return float((weight * (torch.arange(len(weight)) + 0.5)).sum() / weight.sum())


def test_two_eyes_see_a_ball_apart_by_its_disparity() -> None:
    ball, distance = SphereField(0.1, 2e4, (1.0, 1.0, 1.0)), 0.15
    pair = eye_pair(camera(40, 20), distance, 0.0)
    across = shot(subject(ball), *pair, side=2).opacity
    left, right = across.split(40, dim=1)
    apart = columns_of(left) - columns_of(right)
    assert apart == pytest.approx(FOCAL_PX * distance / DEPTH, abs=0.05)
    down = shot(subject(ball), *pair, side=2, across=False).opacity
    assert torch.equal(down, torch.cat([left, right]))


def test_two_eyes_all_around() -> None:
    """A ball ahead: in the picture's middle for one eye, turned by half its parallax for two."""
    ball, distance = SphereField(0.1, 2e4, (1.0, 1.0, 1.0)), 0.3
    around = panoramas(camera(96, 48), UP)
    seen = shot(subject(ball), Eye(cameras=around), data=("Z", "distance"))
    assert columns_of(seen.opacity) == pytest.approx(48, abs=0.05)
    beside = DEPTH * math.tan(math.hypot(1, 1) * math.pi / 96)  # how the ray passes its middle
    expected = DEPTH - math.sqrt(0.1**2 - beside**2)
    assert seen.data["Z"][24, 48].item() == pytest.approx(expected, abs=0.01)
    assert torch.equal(seen.data["Z"], seen.data["distance"])
    left, right = shot(
        subject(ball), *eye_pair(around, distance, 0.0), across=False, side=2
    ).opacity.split(48)
    apart = columns_of(left) - columns_of(right)
    assert apart == pytest.approx(2 * math.asin(distance / 2 / DEPTH) / math.tau * 96, abs=0.1)


def test_bands_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    eye, what = Eye(cameras=camera(45, 70)), subject(SoftBall(0.3, 3e5, None))
    whole = shot(what, eye, data=DATA)
    monkeypatch.setattr(exposing, "PIXELS_AT_ONCE", 45 * 33)
    bands = shot(what, eye, data=DATA)
    torch.testing.assert_close(bands.light, whole.light, atol=2e-3, rtol=0)
    torch.testing.assert_close(bands.data["Z"], whole.data["Z"], atol=2e-3, rtol=0)


def test_the_focus_is_on_what_the_middle_shows_and_follows_smoothly() -> None:
    ball = subject(SphereField(0.2, 2e4, (1.0, 1.0, 1.0)))
    near, far = camera(24, 8), camera(24, 8)
    far = replace(far, world_from_camera=far.world_from_camera + torch.tensor([[0, 0, 0, 1.0]]) * (
        torch.tensor([[1.0], [0.0], [0.0]])))  # fmt: skip
    path = replace(near[torch.tensor([0, 0])], world_from_camera=torch.cat(
        [near.world_from_camera, far.world_from_camera]))  # fmt: skip
    apart = auto_focus(ball, path, along_path=False)
    assert (apart(0), apart(1)) == (pytest.approx(1.3, abs=0.01), pytest.approx(2.3, abs=0.01))
    smooth = auto_focus(ball, path, along_path=True)
    other = math.exp(-1 / 32)
    expected = (1 + other) / (1 / apart(0) + other / apart(1))
    assert smooth(0) == pytest.approx(expected, rel=1e-5)


def test_where_the_middle_shows_nothing_the_focus_looks_further() -> None:
    ball = SphereField(0.1, 2e4, (1.0, 1.0, 1.0))
    aside = moving(2, step=0.25)  # the ball is 6.7 pixels to the side
    assert auto_focus(subject(ball), aside, along_path=False)(1) == pytest.approx(1.45, abs=0.05)
    empty = subject(SphereField(0.0, 1.0, (1.0, 1.0, 1.0)))
    assert auto_focus(empty, aside, along_path=True)(0) == 1.0


def test_rays_of_the_data_are_the_cameras() -> None:
    """A place is where the camera's own ray is at its distance."""
    seen = shot(subject(PLATE), Eye(cameras=camera(24, 8)), data=DATA)
    rays = image_rays(camera(24, 8), 0)
    points = rays.origins + seen.data["distance"].view(-1, 1) * rays.directions
    found = torch.stack([seen.data[name].flatten() for name in PLACES], dim=-1)
    torch.testing.assert_close(found, points)
