"""Films that a run could not have in the end are refused before it is trained."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from neural_render.captures.opening import open_capture
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import UserError
from neural_render.core.lights import LightGroup, Lighting, MovingLight
from neural_render.export.settings import RenderSettings
from neural_render.training.runs.results import check_film_of_photos, check_film_of_scene
from tests.tiny_capture import write_blender_capture

LAMP = LightGroup(name="lamp", color=(1.0, 1.0, 1.0))
MOVING = MovingLight(group="lamp", kind="position", low=(0.0,) * 3, high=(1.0,) * 3, at=(0.0,) * 3)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Capture:
    """A capture of a small sphere."""
    folder = write_blender_capture(tmp_path_factory.mktemp("ball"), num_train=4, num_test=1, size=8)
    return open_capture(CaptureSettings(path=str(folder)), progress=False)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (RenderSettings(path="gone.json"), "the camera path gone.json does not exist"),
        (RenderSettings(path="orbti"), "render.path=orbti is not known"),
        (RenderSettings(path="test"), "render.path=test asks for test views"),
        (RenderSettings(exposure=1.0), "render.exposure=1 exposes scene-linear light"),
        (RenderSettings(backdrop="environment"), "this run has none: give black, white or auto"),
        (
            RenderSettings(light_at=[0.0, -1.0, 0.0]),
            "moves a light and this run was made with none",
        ),
    ],
)
def test_photos_have_no_such_film(
    capture: Capture, settings: RenderSettings, sentence: str
) -> None:
    every = torch.zeros(0, dtype=torch.long)
    without = replace(
        capture, test=replace(capture.test, cameras=capture.test.cameras[every], names=())
    )
    with pytest.raises(UserError, match=sentence):
        check_film_of_photos(settings, without)
    check_film_of_photos(replace(settings, output="none"), without)


def test_other_films_of_photos_are_none_of_these(capture: Capture, tmp_path: Path) -> None:
    check_film_of_photos(RenderSettings(), capture)
    check_film_of_photos(RenderSettings(path="test", backdrop="black"), capture)
    path = tmp_path / "flight.json"
    path.write_text(json.dumps({"keyframes": []}), encoding="utf-8")
    with pytest.raises(UserError, match=r"flight\.json"):
        check_film_of_photos(RenderSettings(path=str(path)), capture)


def test_a_bake_moves_the_light_that_it_has() -> None:
    asked = RenderSettings(light_at=[0.5, 0.5, 0.5], exposure=1.0)
    check_film_of_scene(asked, Lighting(groups=(LAMP,), moving=(MOVING,)))
    with pytest.raises(UserError, match="moves a light and this run was made with none"):
        check_film_of_scene(asked, Lighting(groups=(LAMP,)))
    with pytest.raises(UserError, match=r"the camera path gone\.json does not exist"):
        check_film_of_scene(RenderSettings(path="gone.json"), Lighting(groups=(LAMP,)))
