"""A packaged bake in a Python program: its lights are dials, its sky is behind it."""

import numpy as np
import pytest
import torch

import neural_render
from neural_render.core.color import film_from_linear
from neural_render.core.errors import SettingError
from tests.training.packages.balls import written

OUT = {"key": 0, "Küche, links": 0}


@pytest.fixture(scope="module")
def scene(lit, tmp_path_factory):
    """The ball under two lights."""
    return neural_render.load(written(tmp_path_factory.mktemp("package"), lit))


def film(light: np.ndarray) -> np.ndarray:
    return film_from_linear(torch.from_numpy(light)).clamp(0, 1).numpy()


def test_lights_are_dials(scene) -> None:
    assert scene.lights == ("key", "Küche, links")
    camera = scene.cameras.test[0]
    picture = scene.render(camera, background="black")
    assert picture.linear.max() > 0
    assert np.allclose(picture.color, film(0.5 * picture.linear), atol=1e-6)  # its exposure
    brighter = scene.render(camera, lights={"key": 3}, background="black", exposure=-1)
    assert np.allclose(brighter.linear, 3 * picture.linear, rtol=1e-5)
    assert np.allclose(brighter.color, film(0.75 * picture.linear), atol=1e-6)
    both = scene.render(camera, lights={"Küche, links": [0, 2, 0]}, background="black")
    assert (both.linear - picture.linear)[..., 1].max() > 0
    assert not scene.render(camera, lights=OUT, background="black").color.any()


def test_what_lies_behind(scene) -> None:
    camera = scene.cameras.test[0]
    dark = scene.render(camera, lights=OUT, background="white")
    assert np.allclose(dark.color, 1 - dark.opacity[..., None], atol=1e-6)
    auto, sky = scene.render(camera), scene.render(camera, background="environment")
    assert np.array_equal(auto.color, sky.color)
    directions = torch.from_numpy(camera.directions[0])
    behind = scene.trained.environment[0].radiance(directions).numpy()
    through = 1 - auto.opacity[0][:, None]
    assert np.allclose(auto.color[0], film(0.5 * (auto.linear[0] + through * behind)), atol=1e-4)


def test_the_field_is_asked_under_its_lights(scene) -> None:
    point, way = np.array([[0.6, 0.0, 0.0]]), (-1, 0, 0)
    own = scene.query(point, way)
    assert own.density[0] > 0
    assert np.allclose(scene.query(point, way, lights={"key": 2}).radiance, 2 * own.radiance)
    assert not scene.query(point, way, lights=OUT).radiance.any()


def test_what_is_refused_is_called_as_it_was_given(ball, tmp_path) -> None:
    plain = neural_render.load(written(tmp_path, ball))
    camera = plain.cameras.test[0]
    for words, given in (
        (r"^light_at=\[0\.0, 0\.0, 1\.0\] moves a light", {"light_at": (0, 0, 1)}),
        ("^exposure=1 exposes scene-linear light", {"exposure": 1}),
        ("^background=environment asks for", {"background": "environment"}),
    ):
        with pytest.raises(SettingError, match=words):
            plain.render(camera, **given)
    with pytest.raises(SettingError, match=r"^light_at=.* moves a light"):
        plain.query((0, 0, 0), light_at=(0, 0, 1))


def test_lights_that_are_none_are_refused(scene) -> None:
    camera = scene.cameras.test[0]
    for words, given in (
        ("it has key, Küche, links", {"lights": {"sun": 1}}),
        ("none that moves", {"light_at": (0, 0, 1)}),
        ("is no place and no direction", {"light_at": (0, 1)}),
    ):
        with pytest.raises(SettingError, match=words):
            scene.render(camera, **given)
