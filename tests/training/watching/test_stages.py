"""What the viewer shows of runs: developed as films are, told of a light that moves."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neural_render.core.color import film_from_linear
from neural_render.core.lights import LightGroup, Lighting, MovingLight
from neural_render.fields import FieldSettings, RadianceField, field_spec
from neural_render.rendering import Image
from neural_render.rendering.environment import EnvironmentMap
from neural_render.training.runs.restore import load_for_rendering
from neural_render.training.watching.stages import FieldStage, trained_stage
from neural_render.training.watching.surroundings import small_photo
from neural_render.viewer.stage import Stage
from tests.training.problems import (
    CPU,
    GRID,
    StripedBall,
    new_run,
    settings_for,
    tiny_field,
    tiny_renderer,
    train_ball,
)
from tests.viewer.balls import cameras_around

SUN = MovingLight(
    group="sun", kind="direction", low=(-1.0,) * 3, high=(1.0,) * 3, at=(0.0, 0.0, -1.0)
)
LIGHTS = Lighting(
    groups=(
        LightGroup(name="sun", color=(2.0, 1.0, 1.0), scale=0.5),
        LightGroup(name="environment", color=(1.0, 1.0, 1.0)),
    ),
    moving=(SUN,),
    exposure=0.5,
    environment="environment",
)
IMAGE = Image(
    color=torch.full((32, 48, 6), 0.3), opacity=torch.ones(32, 48), distance=torch.ones(32, 48)
)


def lit_stage() -> FieldStage:
    spec = field_spec(
        FieldSettings(grid=GRID, width=32),
        num_channels=6,
        cascades=1,
        radiance="exp",
        num_conditions=LIGHTS.num_conditions,
    )
    return FieldStage(
        field=RadianceField(spec, torch.Generator().manual_seed(0)),
        renderer=tiny_renderer(),
        frame=StripedBall.frame,
        lighting=LIGHTS,
        color_space="linear",
        behind="black",
        environment=(),
    )


def test_photographs_stand_before_their_background(tmp_path):
    run = new_run(tmp_path)
    train_ball(run, settings_for(2))
    scene = load_for_rendering(run, CPU)
    for wanted, level in (("auto", 1), ("black", 0), ("white", 1)):
        stage = trained_stage(scene, wanted, has_opacity=True)
        assert isinstance(stage, Stage)
        assert stage.background.tolist() == [level] * 3
    assert not stage.is_linear
    assert stage.conditions(()).tolist() == []
    shown = stage.developed(replace(IMAGE, color=IMAGE.color[..., :3]), cameras_around(), (), 0.0)
    assert torch.equal(shown, IMAGE.color[..., :3])


def test_lights_are_mixed_exposed_and_rolled_off_as_in_films():
    stage = lit_stage()
    assert stage.is_linear
    assert stage.background.tolist() == [0] * 6
    emission = ((2.0, 0.0, 1.0), (0.0, 1.0, 0.0))
    shown = stage.developed(IMAGE, cameras_around(), emission, 1.0)
    wanted = film_from_linear(0.3 * torch.tensor([2.0 * 0.5, 1.0, 0.5]))  # 0.5 * 2 stops
    assert torch.allclose(shown[0, 0], wanted)


def test_what_is_far_around_is_behind_and_dialled():
    sky = EnvironmentMap(picture=torch.ones(4, 8, 3), world_from_environment=torch.eye(3))
    stage = replace(lit_stage(), environment=(sky,))
    empty = Image(
        color=torch.zeros(32, 48, 6), opacity=torch.zeros(32, 48), distance=torch.zeros(32, 48)
    )
    emission = ((0.0, 0.0, 0.0), (0.4, 0.2, 0.0))
    shown = stage.developed(empty, cameras_around(), emission, 1.0)
    assert torch.allclose(shown[3, 3], film_from_linear(torch.tensor([0.4, 0.2, 0.0])), atol=1e-6)


def test_a_moving_light_is_told_and_stays_where_it_was_for_no_direction():
    stage = lit_stage()
    (told,) = SUN.conditions(torch.tensor([[0.0, 1.0, 0.0]]))
    assert torch.equal(stage.conditions((0.0, 2.0, 0.0)), told)
    (own,) = SUN.conditions(torch.tensor([SUN.at]))
    assert torch.equal(stage.conditions(()), own)
    assert torch.equal(stage.conditions((0.0, 0.0, 0.0)), own)


def test_a_light_may_stand_in_the_middle_of_the_world():
    lamp = replace(SUN, kind="position", at=(0.5, 0.5, 0.5))
    stage = replace(lit_stage(), lighting=replace(LIGHTS, moving=(lamp,)))
    for light_at, place in (((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)), ((), lamp.at)):
        (told,) = lamp.conditions(torch.tensor([place]))
        assert torch.equal(stage.conditions(light_at), told)


def test_photos_that_differ_in_appearance_are_shown_as_their_mean():
    spec = field_spec(
        FieldSettings(grid=GRID, width=32),
        num_channels=3,
        cascades=1,
        radiance="sigmoid",
        num_conditions=4,
    )
    field = RadianceField(spec, torch.Generator().manual_seed(0))
    stage = replace(lit_stage(), field=field, lighting=Lighting())
    assert stage.conditions(()).tolist() == [0] * 4
    assert len(replace(stage, field=tiny_field()).conditions(())) == 0


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (16, 16), (257, 3)])
def test_photos_become_small_and_stand_on_white(size):
    height, width = size
    clear = np.zeros((height, width, 4), dtype=np.uint8)
    clear[: height // 2, :, :] = (200, 0, 0, 255)
    small = small_photo(clear, 16)
    assert max(small.shape[:2]) <= 16 and small.shape[2] == 3
    assert small[-1, 0].tolist() == [255, 255, 255]
    assert small[0, 0].tolist() == [200, 0, 0]
    assert (small_photo(clear[..., :3], 16)[-1, 0] == 0).all()
