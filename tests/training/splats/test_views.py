"""Which views splats are fitted to, and how what they show is developed."""

import logging
from pathlib import Path

import pytest
import torch

from neural_render.core.cameras import Cameras, Lens
from neural_render.core.color import film_from_linear
from neural_render.core.errors import SettingError
from neural_render.core.lights import Lighting
from neural_render.core.transforms import look_at
from neural_render.rendering import Image
from neural_render.rendering.lit import set_dials
from neural_render.training.runs.restore import load_for_rendering
from neural_render.training.splats import views
from neural_render.training.splats.views import Appearance, fitting_cameras
from tests.training.problems import CPU, new_run, settings_for, train_ball


def ring(num: int, width: int = 60, height: int = 40, lens: Lens = Lens.PERSPECTIVE) -> Cameras:
    """Cameras around the origin that look at it."""
    angle = torch.arange(num) * (2 * torch.pi / num)
    position = torch.stack([3 * angle.cos(), 3 * angle.sin(), torch.ones(num)], dim=1)
    poses = look_at(position, torch.zeros(num, 3), torch.tensor([[0.0, 0.0, 1.0]]))
    return Cameras(
        world_from_camera=poses,
        focal_px=torch.full((num, 2), 50.0),
        center_px=torch.tensor([[width / 2 + 1, height / 2 - 1]]).repeat(num, 1),
        distortion=torch.zeros(num, 6),
        lens=torch.full((num,), int(lens)),
        width=torch.full((num,), width),
        height=torch.full((num,), height),
    )


def chosen(cameras: Cameras, num_views: int, max_side: int = 1000) -> Cameras:
    return fitting_cameras(cameras, num_views, max_side, torch.Generator().manual_seed(0))


def test_views_are_those_of_training_and_some_between_neighbours() -> None:
    found = chosen(ring(12), 40)
    assert len(found) == 40
    assert torch.equal(found.world_from_camera[:12], ring(12).world_from_camera)
    between = found.world_from_camera[12:]
    distance = between[..., 3].norm(dim=1)
    assert bool((distance < 10**0.5 + 1e-4).all()) and bool((distance > 2).all())
    # They still look at the middle, nearly.
    toward = torch.nn.functional.normalize(-between[..., 3], dim=1)
    assert bool(((between[..., 2] * toward).sum(1) > 0.95).all())


def test_of_many_training_views_some_are_taken_evenly() -> None:
    found = chosen(ring(12), 4)
    assert torch.equal(found.world_from_camera, ring(12).world_from_camera[::3])
    assert len(chosen(ring(1), 5)) == 1


def test_pictures_are_no_larger_than_asked_and_show_the_same() -> None:
    found = chosen(ring(3), 3, max_side=30)
    assert (int(found.width[0]), int(found.height[0])) == (30, 20)
    torch.testing.assert_close(found.focal_px[0], torch.tensor([25.0, 25.0]))


def test_wide_lenses_become_pinholes() -> None:
    found = chosen(ring(3, lens=Lens.FISHEYE), 3)
    assert bool((found.lens == int(Lens.PERSPECTIVE)).all())


def test_pictures_take_bounded_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Then there are fewer, and it is said."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(views, "MOST_BYTES", 5 * 60 * 40 * 4)
    assert len(chosen(ring(12), 5)) == 5 and not caplog.text
    assert len(chosen(ring(12), 40)) == 5
    assert "to 5 views of 60x40 pixels, not to export.splats.views=40" in caplog.text


def image(value: float, opacity: float) -> Image:
    """One pixel of a surface seen through a cover, over black."""
    return Image(
        color=torch.full((1, 1, 3), value * opacity),
        opacity=torch.full((1, 1), opacity),
        distance=torch.ones(1, 1),
    )


def test_photos_colours_stay_and_light_is_developed_before_it_is_covered() -> None:
    dials = set_dials(Lighting(), {}, [])
    photo = Appearance(dials=dials, colour_space="srgb", exposure=1.0)
    assert photo.shown(image(0.6, 0.5)).flatten().tolist() == pytest.approx([0.3, 0.3, 0.3, 0.5])
    light = Appearance(dials=dials, colour_space="linear", exposure=2.0)
    developed = float(film_from_linear(torch.tensor(1.2)))
    seen = light.shown(image(0.6, 0.5)).flatten().tolist()
    assert seen == pytest.approx([0.5 * developed] * 3 + [0.5])
    assert not light.shown(image(0.0, 0.0)).any()


def test_what_a_run_cannot_do_is_told_as_settings_of_the_export(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    train_ball(run, settings_for(1))
    scene = load_for_rendering(run, CPU)
    with pytest.raises(SettingError, match=r"^export\.light_at=\[0\.0, 1\.0, 0\.0\] moves a light"):
        views.appearance(scene, {}, [0.0, 1.0, 0.0], 0.0)
    with pytest.raises(SettingError, match=r"^export\.exposure=1 exposes .*photos, which are ex"):
        views.appearance(scene, {}, [], 1.0)
