"""Films of a field with light groups: what dials do to pictures and to layers."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import PIL.Image
import pytest
import torch

from neural_render.core.cameras import Cameras
from neural_render.core.color import film_from_linear, quantised
from neural_render.core.errors import SettingError
from neural_render.core.lights import LightGroup, Lighting, MovingLight
from neural_render.export.frames import Delivery, write_film
from neural_render.export.layers import DATA
from neural_render.export.settings import LensSettings, RenderSettings, StereoSettings
from neural_render.fields import FieldSettings, GridSettings, RadianceField, field_spec
from neural_render.rendering import RenderingSettings, build_renderer
from neural_render.rendering.environment import EnvironmentMap
from neural_render.rendering.lit import set_dials
from neural_render.training.films.shooting import scene_film, scene_renders
from neural_render.training.runs.restore import TrainedScene
from neural_render.training.runs.state import Progress, RunRecord
from tests.rendering.analytic import CPU, frame
from tests.rendering.test_images import camera

MOVING = MovingLight(
    group="key", kind="direction", low=(-1.0, -1.0, -1.0), high=(1.0, 1.0, 0.0), at=(0.0, 0.0, -1.0)
)
LIGHTING = Lighting(
    groups=(
        LightGroup(name="key", color=(4.0, 2.0, 1.0), scale=0.5),
        LightGroup(name="environment", color=(1.0, 1.0, 1.0), scale=2.0),
    ),
    moving=(MOVING,),
    exposure=0.5,
    environment="environment",
)
SKY = EnvironmentMap(picture=torch.full((4, 8, 3), 3.0), world_from_environment=torch.eye(3))
CAMERA = camera(21, 14)
FILE: dict[str, Any] = {}  # the lights as the scene's file has them


def lit_scene(
    lighting: Lighting = LIGHTING, environment: tuple[EnvironmentMap, ...] = ()
) -> TrainedScene:
    """A small field of random light, a group for each three channels."""
    grid = GridSettings(levels=4, features=2, log2_rows=9, coarsest=4, finest=32)
    spec = field_spec(
        FieldSettings(grid=grid, width=16, sh_degree=2, latent=16),
        num_channels=3 * len(lighting.groups),
        cascades=1,
        radiance="exp",
        num_conditions=lighting.num_conditions,
    )
    field = RadianceField(spec, torch.Generator().manual_seed(5))
    with torch.no_grad():
        field.table.mul_(4e4)
        for weights in field.parameters():
            weights.requires_grad_(False)
    place = frame()
    renderer = build_renderer(RenderingSettings(step=0.02), place, CPU)
    return TrainedScene(
        field=field,
        renderer=renderer,
        frame=place,
        background=torch.zeros(spec.num_channels),
        lighting=lighting,
        environment=environment,
        record=RunRecord(
            field=spec,
            march=renderer.march,
            antialias=False,
            frame=place,
            num_channels=spec.num_channels,
            background="black",
            color_space="linear",
            backend="cpu",
            precision="float32",
            capture="scene.xml",
            seed=0,
            lighting=lighting,
        ),
        progress=Progress(step=7),
        cameras={},
    )


def shoot(
    folder: Path, scene: TrainedScene, lights: Mapping[str, Any] = FILE, **words: Any
) -> tuple[dict[str, np.ndarray], torch.Tensor]:
    """The layers of the EXR and the 8-bit picture of a film of one frame."""
    settings = RenderSettings(output="frames,exr", **words)
    film = scene_film(scene, CAMERA, settings, lights=lights, background="white")
    write_film(film, folder, Delivery(outputs=("frames", "exr"), exr="float"), progress=False)
    source = oiio.ImageInput.open(str(folder / "frame_0000.exr"))
    planes = np.moveaxis(source.read_image("float"), -1, 0)
    layers = dict(zip(source.spec().channelnames, planes, strict=True))
    source.close()
    picture = np.array(PIL.Image.open(folder / "color_0000.png"))
    return layers, torch.from_numpy(picture)


def rgb(layers: Mapping[str, np.ndarray], group: str = "") -> torch.Tensor:
    names = [f"{group}.{c}" if group else c for c in "RGB"]
    return torch.stack([torch.tensor(layers[name]) for name in names], dim=-1)


def test_layers_are_the_lights_and_their_sum(tmp_path: Path) -> None:
    layers, _ = shoot(tmp_path, lit_scene())
    groups = {f"{name}.{c}" for name in ("key", "environment") for c in "RGB"}
    assert set(layers) == {*"RGBA", *DATA} | groups
    expected = rgb(layers, "key") * torch.tensor([4.0, 2.0, 1.0]) + rgb(layers, "environment")
    torch.testing.assert_close(rgb(layers), expected, atol=1e-6, rtol=1e-5)
    assert rgb(layers).max() > 0.1


def test_layers_do_not_depend_on_dials_and_their_sum_does(tmp_path: Path) -> None:
    scene = lit_scene()
    before, _ = shoot(tmp_path / "a", scene)
    after, _ = shoot(tmp_path / "b", scene, {"key": 0.0, "environment": [0.0, 5.0, 0.0]})
    for name in set(before) - set("RGB"):
        assert np.array_equal(before[name], after[name]), name
    torch.testing.assert_close(
        rgb(after), rgb(before, "environment") * torch.tensor([0.0, 5.0, 0.0])
    )


def test_light_is_linear_in_the_dials(tmp_path: Path) -> None:
    scene = lit_scene()
    one, _ = shoot(tmp_path / "a", scene, {"key": 1.0, "environment": 0.0})
    two, _ = shoot(tmp_path / "b", scene, {"key": 0.0, "environment": 1.0})
    both, _ = shoot(tmp_path / "c", scene, {"key": 3.0, "environment": 2.0})
    torch.testing.assert_close(rgb(both), 3 * rgb(one) + 2 * rgb(two), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("exposure", "factor"), [(0.0, 0.5), (1.0, 1.0), (-2.0, 0.125)])
def test_pictures_are_exposed_and_rolled_off(
    tmp_path: Path, exposure: float, factor: float
) -> None:
    layers, picture = shoot(tmp_path, lit_scene(), exposure=exposure)
    expected = quantised(film_from_linear(rgb(layers) * factor))
    assert (picture.int() - expected.int()).abs().max() <= 1


def test_the_environment_is_behind_and_follows_its_dial(tmp_path: Path) -> None:
    scene = lit_scene(environment=(SKY,))
    layers, picture = shoot(tmp_path / "a", scene, {"environment": [2.0, 1.0, 0.0]})
    behind = (1 - torch.tensor(layers["A"])[..., None]) * torch.tensor([6.0, 3.0, 0.0])
    expected = quantised(film_from_linear(0.5 * (rgb(layers) + behind)))
    assert (picture.int() - expected.int()).abs().max() <= 1
    black, dark = shoot(tmp_path / "b", scene, {"environment": [2.0, 1.0, 0.0]}, backdrop="black")
    assert all(np.array_equal(layers[name], black[name]) for name in layers), "EXR is without it"
    assert dark[0, 0].max() < picture[0, 0].max()


def test_white_is_the_screens(tmp_path: Path) -> None:
    layers, picture = shoot(tmp_path, lit_scene(), backdrop="white", exposure=-9.0)
    opacity = torch.tensor(layers["A"])[..., None]
    shown = film_from_linear(rgb(layers) / opacity.clamp(min=1e-3) * 0.5 * 2**-9)
    expected = quantised(shown * opacity + 1 - opacity)
    assert (picture.int() - expected.int()).abs().max() <= 1


def test_the_light_moves(tmp_path: Path) -> None:
    scene = lit_scene()
    there, _ = shoot(tmp_path / "a", scene)
    same, _ = shoot(tmp_path / "b", scene, light_at=[0.0, 0.0, -8.0])
    other, _ = shoot(tmp_path / "c", scene, light_at=[1.0, 0.0, -1.0])
    assert np.array_equal(there["R"], same["R"]), "a direction has no length"
    assert not np.array_equal(there["R"], other["R"])
    assert np.array_equal(there["A"], other["A"])


def test_a_film_of_sub_frames_is_the_mean_of_blocks(tmp_path: Path) -> None:
    scene = lit_scene()
    layers, _ = shoot(tmp_path, scene, supersampling=3)
    dials = set_dials(LIGHTING, {}, [])
    expected = dials.mixed(scene_renders(scene, CAMERA, (0.0,) * 6, dials.conditions, 3)(0))
    torch.testing.assert_close(rgb(layers), expected.color, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(torch.tensor(layers["A"]), expected.opacity, atol=1e-4, rtol=0)


@pytest.mark.parametrize("backdrop", ["environment", "white", "transparent"])
def test_sub_frames_have_the_backdrop_of_one(tmp_path: Path, backdrop: str) -> None:
    scene = lit_scene(environment=(SKY,))
    words: dict[str, Any] = {"backdrop": backdrop, "exposure": -2.0}
    _, one = shoot(tmp_path / "a", scene, **words)
    _, many = shoot(tmp_path / "b", scene, supersampling=2, **words)
    assert one.shape == many.shape == (14, 21, 4 if backdrop == "transparent" else 3)
    assert (one.float() - many.float()).abs().mean() < 12


def test_transparent_pictures_show_what_covers_their_pixels(tmp_path: Path) -> None:
    layers, picture = shoot(tmp_path, lit_scene(), backdrop="transparent")
    opacity = torch.tensor(layers["A"])[..., None]
    shown = film_from_linear(rgb(layers) / opacity.clamp(min=1e-3) * 0.5)
    expected = quantised(torch.cat([shown, opacity], dim=-1))
    assert (picture.int() - expected.int()).abs().max() <= 1


def test_films_under_other_lights_are_other_films() -> None:
    scene = lit_scene()
    films = [
        scene_film(scene, CAMERA, RenderSettings(**words), lights=dials, background="white")
        for dials, words in (
            ({}, {}),
            ({"key": 2.0}, {}),
            ({}, {"exposure": 1.0}),
            ({}, {"supersampling": 2}),
            ({}, {"lens": LensSettings(aperture=0.1)}),
            ({}, {"lens": LensSettings(aperture=0.1, focus="2")}),
            ({}, {"backdrop": "transparent"}),
            ({}, {"stereo": StereoSettings(layout="top_bottom", eyes=0.1)}),
        )
    ]
    assert len({str(film.description) for film in films}) == len(films)


def test_files_make_no_other_film() -> None:
    """Of one film there may be first pictures, then a video."""
    scene = lit_scene()
    one, other = (
        scene_film(scene, CAMERA, settings, lights={}, background="white")
        for settings in (RenderSettings(), RenderSettings(output="exr", fps=24.0))
    )
    assert one.description == other.description


def test_what_the_run_has_not_is_told() -> None:
    still = replace(LIGHTING, moving=())

    def film(lighting: Lighting, lights: Mapping[str, Any], **words: Any) -> None:
        settings = RenderSettings(**words)
        scene_film(lit_scene(lighting), CAMERA, settings, lights=lights, background="white")

    with pytest.raises(SettingError, match="not a light of this run: it has key, environment"):
        film(LIGHTING, {"rim": 1.0})
    with pytest.raises(SettingError, match="this run was made with none that moves"):
        film(still, {}, light_at=[0.0, 1.0, 0.0])
    with pytest.raises(SettingError, match="is no direction: give the one in which"):
        film(LIGHTING, {}, light_at=[0.0, 0.0, 0.0])
    with pytest.raises(SettingError, match="this run has none: give black, white or auto"):
        film(LIGHTING, {}, backdrop="environment")


def test_a_light_where_none_was_baked_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        set_dials(LIGHTING, {}, [0.0, 1.0, -1.0])
        assert caplog.text == ""
        set_dials(LIGHTING, {}, [0.0, 0.0, 1.0])
    assert "outside of what was seen in baking" in caplog.text


def test_pixels_are_means_of_rays_in_views_of_any_format() -> None:
    scene = lit_scene(replace(LIGHTING, moving=()))
    wide, tall = camera(12, 8), camera(6, 10)
    parts = {name: torch.cat([getattr(wide, name), getattr(tall, name)]) for name in vars(wide)}
    black, none = (0.0,) * 6, torch.zeros(0)
    render = scene_renders(scene, Cameras(**parts), black, none, 3)
    for index, alone in enumerate((wide, tall)):
        width, height = int(alone.width[0]), int(alone.height[0])
        fine = scene_renders(scene, alone.resized(3 * width, 3 * height), black, none)(0)
        found = render(index)
        assert found.opacity.shape == (height, width)
        expected = fine.color.view(height, 3, width, 3, 6).mean(dim=(1, 3))
        torch.testing.assert_close(found.color, expected, atol=1e-4, rtol=1e-3)
        seen = found.opacity > 0
        assert (found.distance[~seen] == 0).all() and (found.distance[seen] > 0).all()
        assert found.distance.max() <= fine.distance.max()
