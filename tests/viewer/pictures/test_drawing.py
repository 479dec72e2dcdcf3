"""Pictures of a ball in every mode, whole, in bands, given up, cropped, and as depths."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from neural_render.core.color import quantised, viridis
from neural_render.core.protocols import FarField, Field
from neural_render.viewer.pictures import drawing
from neural_render.viewer.pictures.drawing import (
    LONG_STEPS,
    Brush,
    depth_behind,
    developed,
    draw,
    in_long_steps,
)
from neural_render.viewer.pictures.painting import SEEN_THROUGH, Painter
from neural_render.viewer.pictures.resolution import Costs, Pace
from neural_render.viewer.pictures.visitors import Job
from neural_render.viewer.place import find_place
from neural_render.viewer.requests import MODES, Look, View, pose_view
from tests.rendering.analytic import SphereField
from tests.viewer.balls import FRAME, LIGHTS, RED, BallStage, cameras_around

STAGE = BallStage()
VIEW = pose_view(cameras_around().world_from_camera[0].double(), 0.5, 48, 32)


def never() -> bool:
    return False


def drawn(look: Look, stage: BallStage = STAGE, rows: int = 32, view: View = VIEW):
    brush = Brush(stage=stage, renderer=stage.renderer, cropped=False)
    made = draw(brush, view.camera(1.0), look, rows, never)
    assert made is not None
    return made


def shown(look: Look, stage: BallStage = STAGE) -> np.ndarray:
    return developed(stage, drawn(look, stage), look, 2.6)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_tells_the_ball_from_nothing(mode):
    picture = shown(Look(mode=mode))
    assert picture.shape == (32, 48, 3) and picture.dtype == np.uint8
    assert np.abs(picture[16, 24].astype(int) - picture[1, 1]).max() > 30


def test_modes_mean_what_they_say():
    assert shown(Look())[16, 24].tolist() == [round(255 * value) for value in RED]
    assert shown(Look(mode="Opacity"))[16, 24].tolist() == [255, 255, 255]
    # The ball's middle faces the camera, which stands in the direction (1, 0, 0.3).
    toward = np.array([1, 0, 0.3]) / math.hypot(1, 0.3)
    facing = shown(Look(mode="Normals"))[16, 24] / 127.5 - 1
    assert facing @ toward > 0.9
    assert shown(Look(mode="Normals"))[1, 1].tolist() == [0, 0, 0]


def test_bands_make_the_same_picture():
    for mode in ("Colour", "Normals", "Samples per ray"):
        whole, banded = (drawn(Look(mode=mode), rows=rows) for rows in (32, 16))
        assert torch.allclose(whole.image.color, banded.image.color, atol=1e-6)
        assert torch.allclose(whole.extra, banded.extra, atol=1e-3)


def test_a_picture_is_given_up_between_two_bands():
    asked = []

    def given_up() -> bool:
        asked.append(None)
        return len(asked) == 1

    brush = Brush(stage=STAGE, renderer=STAGE.renderer, cropped=False)
    assert draw(brush, VIEW.camera(1.0), Look(), 16, given_up) is None
    assert len(asked) == 1


def test_lights_are_dialled_without_new_rays():
    stage = BallStage(lighting=LIGHTS)
    made = drawn(Look(), stage)
    assert made.image.color.shape[-1] == 6
    dials = (0.0, 0.0, 0.0), (0.0, 0.0, 1.0)
    looks = [Look(emission=dials, stops=stops) for stops in (0.0, 0.5)]
    only_sky, brighter = (developed(stage, made, look, 1.0)[16, 24] for look in looks)
    assert only_sky[0] == only_sky[1] == 0 < only_sky[2] < brighter[2]


def test_depths_lie_along_the_axis_and_end_where_one_sees_through():
    depths = depth_behind(STAGE, drawn(Look()), 1000)
    assert depths.shape == (32, 48)
    distance = 2.5 * math.hypot(1, 0.3)
    assert depths[16, 24] == pytest.approx(distance - 0.4, abs=0.05)
    assert math.isinf(depths[1, 1])
    assert depth_behind(STAGE, drawn(Look()), 8).shape == (8, 12)


class BallUnderSky(SphereField):
    """The ball, and a grey sky that covers all behind it."""

    has_far = True

    def far_parameters(self) -> dict[str, Tensor]:
        return {}

    def far_radiance(self, directions: Tensor) -> Tensor:
        return torch.full_like(directions, 0.5)


@dataclass(kw_only=True)
class SkyStage(BallStage):
    """The ball under a sky."""

    @property
    def field(self) -> Field:
        return BallUnderSky(0.2, 5e3, RED)


def test_the_sky_lies_behind_everything():
    """Of no distance as it is, it would hide all that is drawn into the scene."""
    stage = SkyStage()
    assert isinstance(stage.field, FarField)
    made = drawn(Look(), stage)
    assert made.image.opacity.min() == 1 and not made.image.distance[1, 1]
    depths = depth_behind(stage, made, 1000)
    assert math.isinf(depths[1, 1]) and depths[16, 24] < 4
    farthest = quantised(viridis(torch.zeros(1)))[0].tolist()
    assert shown(Look(mode="Depth"), stage)[1, 1].tolist() == farthest


def job(look: Look, waits: bool = False) -> Job:
    return Job(view=VIEW, look=look, factor=1.0, final=True, renders=True, waits=waits)


def test_a_painter_crops_and_gives_depths_where_something_is_drawn_into_the_scene():
    painter = Painter(STAGE, find_place(cameras_around(), FRAME))
    plain = painter.draw(job(Look(), waits=True), Pace(0.1, Costs()), never)
    assert plain is not None and painter.depths(plain, job(Look())) is None
    half = Look(crop=(((-1.0, -1.0, -1.0), (0.0, 1.0, 1.0)),), overlaid=True)  # the far half
    part = painter.draw(job(half, waits=True), Pace(0.1, Costs()), never)
    assert part is not None
    middle = part.image.distance[16, 24] - plain.image.distance[16, 24]
    assert middle.item() == pytest.approx(0.2, abs=0.03)  # of the field: 0.4 of the world
    depths = painter.depths(part, job(half))
    assert depths is not None and depths.max() == SEEN_THROUGH
    assert depths.min() < 4
    nothing = Look(crop=(((0.9, 0.9, 0.9), (1.0, 1.0, 1.0)),))
    assert painter.draw(job(nothing), Pace(0.1, Costs()), never).image.opacity.max() == 0


def test_a_picture_that_waits_is_made_in_bands_of_a_few_rows(monkeypatch):
    sizes = []
    real = drawing.render_image

    def spied(renderer, field, cameras, *rest):
        sizes.append(int(cameras.height[0]))
        return real(renderer, field, cameras, *rest)

    monkeypatch.setattr(drawing, "render_image", spied)
    painter, pace = Painter(STAGE, find_place(cameras_around(), FRAME)), Pace(0.1, Costs())
    for _ in range(30):
        pace.took(1, 1e-4)  # 16 rows of 48 pixels take longer than a band should
    painter.draw(job(Look()), pace, never)
    painter.draw(job(Look(), waits=True), pace, never)
    assert sizes == [32, 16, 16]


def test_pictures_of_a_moment_take_longer_steps_and_the_others_do_not():
    longer = in_long_steps(STAGE.renderer)
    assert longer.march.step == LONG_STEPS * STAGE.renderer.march.step
    assert longer.occupancy is STAGE.renderer.occupancy
    assert longer.march.near == STAGE.renderer.march.near
    painter = Painter(STAGE, find_place(cameras_around(), FRAME))
    samples = Look(mode="Samples per ray")
    hasty, careful = (
        painter.draw(job(samples, waits=waits), Pace(0.1, Costs()), never)
        for waits in (False, True)
    )
    assert hasty is not None and careful is not None
    ratio = careful.extra[16, 24].item() / hasty.extra[16, 24].item()
    assert ratio == pytest.approx(LONG_STEPS, rel=0.2)
