"""Films as files: what each file holds, what is rendered again, what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import OpenImageIO as oiio
import PIL.Image
import pytest
import torch

from neural_render.core.cameras import Cameras, image_rays
from neural_render.core.color import film_from_linear, linear_from_srgb
from neural_render.core.errors import OutputError
from neural_render.export.developing import PlainDevelopment
from neural_render.export.frames import Film, write_film, z_depth
from neural_render.export.images import EMPTY_DEPTH
from neural_render.rendering.images import Image
from tests.small_disk import FULL, small_disk

WIDTH, HEIGHT = 24, 16
SCALE = 5.0  # world units per field unit
WALL_DEPTH = 8.0  # world units before the camera
COLOR = (0.2, 0.6, 0.8)
BACKGROUND = (1.0, 1.0, 1.0)
COLORS = [f"color_{index:04d}.png" for index in range(4)]


def make_cameras(count: int) -> Cameras:
    """Cameras of the same wide view, each a step further to the right."""
    poses = torch.eye(4)[:3].repeat(count, 1, 1)
    poses[:, 0, 3] = torch.arange(count)
    return Cameras(
        world_from_camera=poses,
        focal_px=torch.full((count, 2), 12.0),
        center_px=torch.tensor([WIDTH / 2, HEIGHT / 2]).repeat(count, 1),
        distortion=torch.zeros(count, 6),
        lens=torch.zeros(count, dtype=torch.int64),
        width=torch.full((count,), WIDTH),
        height=torch.full((count,), HEIGHT),
    )


class Wall:
    """A half-transparent wall facing the cameras, nothing to its right; remembers what it drew."""

    def __init__(self, cameras: Cameras) -> None:
        self.cameras, self.drawn = cameras, list[int]()

    def __call__(self, index: int) -> Image:
        self.drawn.append(index)
        forward = image_rays(self.cameras, index).directions[:, 2].view(HEIGHT, WIDTH)
        opacity = torch.full((HEIGHT, WIDTH), 0.75)
        opacity[:, WIDTH - 6 :] = 0.0
        covered = opacity[..., None]
        return Image(
            color=covered * torch.tensor(COLOR) + (1 - covered) * torch.tensor(BACKGROUND),
            opacity=opacity,
            distance=WALL_DEPTH / forward / SCALE * (opacity > 0),
        )


def make_film(count: int = 4, colour_space: str = "srgb", **description: Any) -> tuple[Film, Wall]:
    cameras = make_cameras(count)
    wall = Wall(cameras)
    film = Film(
        cameras=cameras,
        render_one=wall,
        development=PlainDevelopment(background=BACKGROUND, colour_space=colour_space),
        world_from_field_scale=SCALE,
        description={"step": 100, **description},
    )
    return film, wall


def write(film: Film, folder: Path, *outputs: str, **options: Any) -> tuple[Path, ...]:
    return write_film(film, folder, outputs=outputs, progress=False, **options)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def stop_at(index: int, render: Callable[[int], Image]) -> Callable[[int], Image]:
    """The same renders until somebody presses Ctrl-C in frame ``index``."""

    def stopped(asked: int) -> Image:
        if asked == index:
            raise KeyboardInterrupt
        return render(asked)

    return stopped


def test_depth_is_measured_along_the_axis() -> None:
    cameras = make_cameras(1)
    distance = Wall(cameras)(0).distance[:, :8] * SCALE
    depth = z_depth(Wall(cameras)(0).distance * SCALE, cameras, 0)[:, :8]
    torch.testing.assert_close(depth, torch.full((HEIGHT, 8), WALL_DEPTH))
    assert float(distance.max()) > 1.2 * WALL_DEPTH, "the view is wide enough to tell them apart"


def test_frames_hold_colour_depth_and_opacity(tmp_path: Path) -> None:
    film, _ = make_film(2)
    written = write(film, tmp_path, "frames")
    assert written == (tmp_path / "color_0000.png",)
    assert names(tmp_path) == {"frames.json"} | {
        f"{kind}_{index:04d}.png" for kind in ("color", "depth", "opacity") for index in range(2)
    }
    opacity = np.asarray(PIL.Image.open(tmp_path / "opacity_0001.png"))
    assert opacity.shape == (HEIGHT, WIDTH) and set(opacity.flatten()) == {0, 191}
    depth = np.asarray(PIL.Image.open(tmp_path / "depth_0000.png"))
    assert (depth[:, WIDTH - 6 :] == 128).all(), "grey where nothing is"
    assert np.ptp(depth[:, : WIDTH - 6].reshape(-1, 3), axis=0).max() == 0, "a wall is flat"
    record = json.loads((tmp_path / "frames.json").read_text())
    near, far = record["depth_limits"]
    assert near < WALL_DEPTH < far and record["film"] == {"step": 100}


@pytest.mark.parametrize("colour_space", ["srgb", "linear"])
def test_pictures_are_srgb_and_exr_is_linear(tmp_path: Path, colour_space: str) -> None:
    film, wall = make_film(1, colour_space)
    write(film, tmp_path, "frames", "exr", exr="float")
    color = wall(0).color
    expected = color if colour_space == "srgb" else film_from_linear(color)
    picture = torch.tensor(np.array(PIL.Image.open(tmp_path / "color_0000.png"))) / 255
    torch.testing.assert_close(picture, expected, atol=0.5 / 255 + 1e-6, rtol=0)

    source = oiio.ImageInput.open(str(tmp_path / "frame_0000.exr"))
    layers = dict(zip(source.spec().channelnames, np.moveaxis(source.read_image(), -1, 0),
                      strict=True))  # fmt: skip
    assert set(layers) == {"R", "G", "B", "A", "Z", "distance"}
    surface = torch.tensor(COLOR)
    surface = linear_from_srgb(surface) if colour_space == "srgb" else surface
    for name, value in zip("RGB", (0.75 * surface).tolist(), strict=True):
        np.testing.assert_allclose(layers[name][:, :8], value, rtol=1e-5)
        assert np.abs(layers[name][:, WIDTH - 6 :]).max() < 1e-6
    np.testing.assert_allclose(layers["Z"][:, :8], WALL_DEPTH, rtol=1e-5)
    np.testing.assert_allclose(layers["distance"], np.where(
        layers["A"] > 0, wall(0).distance.numpy() * SCALE, EMPTY_DEPTH), rtol=1e-6)  # fmt: skip


def test_all_outputs_come_from_one_render_each(tmp_path: Path) -> None:
    film, wall = make_film(3)
    written = write(film, tmp_path, "exr", "video", "frames")
    assert wall.drawn == [0, 1, 2]
    assert [path.name for path in written] == ["video.mp4", "color_0000.png", "frame_0000.exr"]
    with av.open(str(tmp_path / "video.mp4")) as container:
        assert len(list(container.decode(video=0))) == 3


def test_a_video_alone_leaves_nothing_else(tmp_path: Path) -> None:
    film, _ = make_film(2)
    (tmp_path / "color_0007.png").write_text("somebody's")
    assert write(film, tmp_path, "video") == (tmp_path / "video.mp4",)
    assert names(tmp_path) == {"video.mp4", "color_0007.png"}


@pytest.mark.parametrize("outputs", [("frames",), ("exr",), ("frames", "exr", "video")])
def test_an_interrupted_film_is_resumed(tmp_path: Path, outputs: tuple[str, ...]) -> None:
    film, wall = make_film(4)
    with pytest.raises(KeyboardInterrupt):
        write(replace(film, render_one=stop_at(2, wall)), tmp_path / "a", *outputs)
    assert wall.drawn == [0, 1]
    write(film, tmp_path / "a", *outputs, resume=True)
    assert wall.drawn == [0, 1, 2, 3], "no frame was rendered twice"
    write(film, tmp_path / "b", *outputs)
    assert names(tmp_path / "a") == names(tmp_path / "b")
    for path in (tmp_path / "b").glob("*.png"):
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()
    if "video" in outputs:
        assert (tmp_path / "a/video.mp4").read_bytes() == (tmp_path / "b/video.mp4").read_bytes()


def test_a_frame_of_which_one_file_is_missing_is_rendered_again(tmp_path: Path) -> None:
    film, wall = make_film(3)
    write(film, tmp_path, "frames")
    (tmp_path / "opacity_0001.png").unlink()
    wall.drawn.clear()
    write(film, tmp_path, "frames", resume=True)
    assert wall.drawn == [1]
    assert (tmp_path / "opacity_0001.png").is_file()


def test_a_video_of_exr_frames_has_to_be_rendered_again(tmp_path: Path) -> None:
    film, wall = make_film(2)
    write(film, tmp_path, "exr")
    write(film, tmp_path, "exr", "video", resume=True)
    assert wall.drawn == [0, 1, 0, 1]


def test_resuming_another_film_is_refused(tmp_path: Path) -> None:
    write(make_film(2)[0], tmp_path, "frames")
    film, wall = make_film(2, step=200)
    with pytest.raises(OutputError, match=r"frames of another film \(step: 100 there, 200 now\)"):
        write(film, tmp_path, "frames", resume=True)
    assert wall.drawn == []


def test_without_resuming_an_earlier_film_goes(tmp_path: Path) -> None:
    """Else a shorter film would end in frames of the longer one before."""
    write(make_film(4)[0], tmp_path, "frames", "exr")
    film, wall = make_film(2, step=200)
    write(film, tmp_path, "frames")
    assert wall.drawn == [0, 1]
    assert {name for name in names(tmp_path) if name.startswith("color")} == set(COLORS[:2])
    assert not list(tmp_path.glob("*.exr"))


def test_frames_of_somebody_else_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / COLORS[3]).write_text("somebody's")
    film, wall = make_film(2)
    with pytest.raises(OutputError, match=r"holds color_0003\.png and no frames\.json"):
        write(film, tmp_path, "frames")
    assert names(tmp_path) == {COLORS[3]} and wall.drawn == []


def test_other_files_stay(tmp_path: Path) -> None:
    film, _ = make_film(1)
    write(film, tmp_path, "frames")
    (tmp_path / "notes.txt").write_text("mine")
    write(film, tmp_path, "frames")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_views_of_nothing_have_depth_pictures_too(tmp_path: Path) -> None:
    film, wall = make_film(1)

    def nothing(index: int) -> Image:
        image = wall(index)
        zero = torch.zeros_like(image.opacity)
        return replace(image, opacity=zero, distance=zero)

    write(replace(film, render_one=nothing), tmp_path, "frames")
    assert (np.asarray(PIL.Image.open(tmp_path / "depth_0000.png")) == 128).all()


@pytest.mark.parametrize("output", ["frames", "exr", "video"])
def test_a_full_disk_is_one_sentence(tmp_path: Path, output: str) -> None:
    film, wall = make_film(40)
    generator = torch.Generator().manual_seed(0)

    def noise(index: int) -> Image:
        color = torch.rand(HEIGHT, WIDTH, 3, generator=generator)
        return replace(wall(index), color=color)

    with pytest.raises(OutputError, match=FULL), small_disk(900):
        write(replace(film, render_one=noise), tmp_path, output)
    assert names(tmp_path) <= {"frames.json"}
