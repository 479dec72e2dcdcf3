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
from neural_render.export.developing import Development, PlainDevelopment, Render
from neural_render.export.frames import Delivery, Film, write_film
from neural_render.export.images import EMPTY_DEPTH, read_levels
from neural_render.export.layers import DATA, NORMALS, PLACES, Exposed
from neural_render.export.video.codecs import CODECS
from neural_render.export.video.writing import VideoStyle
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

    def __init__(self, cameras: Cameras, development: Development) -> None:
        self.cameras, self.development, self.drawn = cameras, development, list[int]()

    def image(self, index: int) -> Image:
        """The render of it."""
        forward = image_rays(self.cameras, index).directions[:, 2].view(HEIGHT, WIDTH)
        opacity = torch.full((HEIGHT, WIDTH), 0.75)
        opacity[:, WIDTH - 6 :] = 0.0
        covered = opacity[..., None]
        return Image(
            color=covered * torch.tensor(COLOR) + (1 - covered) * torch.tensor(BACKGROUND),
            opacity=opacity,
            distance=WALL_DEPTH / forward / SCALE * (opacity > 0),
        )

    def __call__(self, index: int) -> Exposed:
        self.drawn.append(index)
        image = self.image(index)
        distance, depth = image.distance * SCALE, WALL_DEPTH * (image.opacity > 0)
        render = Render(image=image, directions=torch.ones(HEIGHT, WIDTH, 3))
        places = {name: depth for name in PLACES + NORMALS}
        return Exposed(
            light=self.development.light(render),
            opacity=image.opacity,
            layers=self.development.layers(image),
            data={"Z": depth, "distance": distance, **places},
        )


def make_film(
    count: int = 4, colour_space: str = "srgb", transparent: bool = False, **description: Any
) -> tuple[Film, Wall]:
    development = PlainDevelopment(
        background=BACKGROUND, colour_space=colour_space, transparent=transparent
    )
    wall = Wall(make_cameras(count), development)
    film = Film(
        num_frames=count,
        expose=wall,
        development=development,
        attributes=lambda index: {"Software": f"frame {index}"},
        description={"step": 100, **description},
        unit_of_depth=SCALE,
    )
    return film, wall


def write(
    film: Film, folder: Path, *outputs: str, resume: bool = False, **style: Any
) -> tuple[Path, ...]:
    """What ``write_film`` gives; ``exr`` is the delivery's, all other ``style`` the video's."""
    exr = style.pop("exr", "half")
    delivery = Delivery(outputs=outputs, exr=exr, video=VideoStyle(**style))
    return write_film(film, folder, delivery, resume=resume, progress=False)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def stop_at(index: int, render: Callable[[int], Exposed]) -> Callable[[int], Exposed]:
    """The same frames until somebody presses Ctrl-C in frame ``index``."""

    def stopped(asked: int) -> Exposed:
        if asked == index:
            raise KeyboardInterrupt
        return render(asked)

    return stopped


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
    color = wall.image(0).color
    expected = color if colour_space == "srgb" else film_from_linear(color)
    picture = torch.tensor(np.array(PIL.Image.open(tmp_path / "color_0000.png"))) / 255
    torch.testing.assert_close(picture, expected, atol=0.5 / 255 + 1e-6, rtol=0)

    source = oiio.ImageInput.open(str(tmp_path / "frame_0000.exr"))
    layers = dict(zip(source.spec().channelnames, np.moveaxis(source.read_image(), -1, 0),
                      strict=True))  # fmt: skip
    assert set(layers) == {*"RGBA", *DATA}
    surface = torch.tensor(COLOR)
    surface = linear_from_srgb(surface) if colour_space == "srgb" else surface
    for name, value in zip("RGB", (0.75 * surface).tolist(), strict=True):
        np.testing.assert_allclose(layers[name][:, :8], value, rtol=1e-5)
        assert np.abs(layers[name][:, WIDTH - 6 :]).max() < 1e-6
    np.testing.assert_allclose(layers["Z"][:, :8], WALL_DEPTH, rtol=1e-5)
    distance = np.where(layers["A"] > 0, wall.image(0).distance.numpy() * SCALE, EMPTY_DEPTH)
    np.testing.assert_allclose(layers["distance"], distance, rtol=1e-6)


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


@pytest.mark.parametrize(
    "outputs",
    [("frames",), ("exr",), ("png16", "depth"), ("frames", "exr", "video")],
)
def test_an_interrupted_film_is_resumed(tmp_path: Path, outputs: tuple[str, ...]) -> None:
    film, wall = make_film(4)
    with pytest.raises(KeyboardInterrupt):
        write(replace(film, expose=stop_at(2, wall)), tmp_path / "a", *outputs)
    assert wall.drawn == [0, 1]
    write(film, tmp_path / "a", *outputs, resume=True)
    assert wall.drawn == [0, 1, 2, 3], "no frame was rendered twice"
    write(film, tmp_path / "b", *outputs)
    assert names(tmp_path / "a") == names(tmp_path / "b")
    for path in (*(tmp_path / "b").glob("*.png"), *(tmp_path / "b").glob("*.npy")):
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


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize(
    ("output", "name", "codec"),
    [("frames", "color_0001.png", "h264"), ("png16", "picture_0001.png", "prores")],
)
def test_a_damaged_frame_is_named(
    tmp_path: Path, output: str, name: str, codec: str, zeros: bool, kept: float
) -> None:
    """As a machine that goes dark may leave it: too short, or with zeros for what was not kept."""
    film, _ = make_film(2)
    write(film, tmp_path, output)
    whole = (tmp_path / name).read_bytes()
    part = whole[: int(kept * len(whole))]
    (tmp_path / name).write_bytes(part.ljust(len(whole) if zeros else 0, b"\0"))
    with pytest.raises(OutputError, match=f"{name} cannot be read back: delete it"):
        write(film, tmp_path, output, "video", resume=True, codec=CODECS[codec])
    (tmp_path / name).unlink()
    write(film, tmp_path, output, "video", resume=True, codec=CODECS[codec])
    assert (tmp_path / name).read_bytes() == whole


def test_depth_arrays_hold_depths(tmp_path: Path) -> None:
    film, _ = make_film(2)
    assert write(film, tmp_path, "depth") == (tmp_path / "depth_0000.npy",)
    found = np.load(tmp_path / "depth_0001.npy")
    assert found.dtype == np.float32 and found.shape == (HEIGHT, WIDTH)
    assert (found[:, : WIDTH - 6] == WALL_DEPTH).all() and np.isposinf(found[:, WIDTH - 6 :]).all()


def test_deep_pictures_have_sixteen_bits(tmp_path: Path) -> None:
    film, wall = make_film(1)
    assert write(film, tmp_path, "png16") == (tmp_path / "picture_0000.png",)
    levels = read_levels(tmp_path / "picture_0000.png", 16).float() / 65535
    torch.testing.assert_close(levels, wall.image(0).color, atol=1e-5, rtol=0)


def test_transparent_pictures_keep_opacity_and_straight_colours(tmp_path: Path) -> None:
    film, _ = make_film(1, transparent=True)
    write(film, tmp_path, "frames", "png16")
    for name, bits in (("color_0000.png", 8), ("picture_0000.png", 16)):
        levels = read_levels(tmp_path / name, bits).double() / (2**bits - 1)
        expected = torch.tensor([*COLOR, 0.75], dtype=torch.double)
        assert (levels[:, :8] - expected).abs().max() < 0.51 / (2**bits - 1) + 2e-6
        assert not levels[:, WIDTH - 6 :].any()


@pytest.mark.parametrize("codec", ["prores4444", "vp9"])
def test_transparent_videos_keep_opacity(tmp_path: Path, codec: str) -> None:
    film, _ = make_film(2, transparent=True)
    (video,) = write(film, tmp_path, "video", codec=CODECS[codec])
    assert video.name == CODECS[codec].file
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        # The usual decoder of VP9 leaves the opacity out.
        decoder = av.CodecContext.create("libvpx-vp9", "r") if codec == "vp9" else None
        packets = [packet for packet in container.demux(stream) if packet.size]
        (frame, *_) = (decoder or stream.codec_context).decode(packets[0]) or (
            stream.codec_context.decode(None)
        )
    opacity = frame.to_ndarray(format="rgba", threads=1)[..., 3].astype(float) / 255
    assert np.abs(opacity[:, :14] - 0.75).max() < 0.01 and opacity[:, WIDTH - 4 :].max() < 0.01


def test_deep_videos_are_resumed_from_deep_pictures_and_from_no_others(tmp_path: Path) -> None:
    film, wall = make_film(3)
    write(film, tmp_path / "a", "png16")
    write(film, tmp_path / "a", "png16", "video", resume=True, codec=CODECS["prores"])
    assert wall.drawn == [0, 1, 2]
    fresh, _ = make_film(3)
    write(fresh, tmp_path / "b", "video", codec=CODECS["prores"])
    found, expected = (read_planes(tmp_path / name / "video.mov") for name in ("a", "b"))
    assert found == expected and len(found) == 3
    wall.drawn.clear()
    write(film, tmp_path / "c", "frames")
    write(film, tmp_path / "c", "frames", "video", resume=True, codec=CODECS["prores"])
    assert wall.drawn == [0, 1, 2] * 2, "8 bits are not enough"


def read_planes(path: Path) -> list[bytes]:
    """The planes of each frame, one after another."""
    with av.open(str(path)) as container:
        return [b"".join(map(bytes, frame.planes)) for frame in container.decode(video=0)]


def test_a_video_that_will_begin_anew_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film, wall = make_film(5)
    stopped = replace(film, expose=stop_at(4, wall))
    with pytest.raises(KeyboardInterrupt):
        write(stopped, tmp_path / "a", "video", "frames")
    assert caplog.text == "", "its frames are kept"
    with pytest.raises(KeyboardInterrupt):
        write(stopped, tmp_path / "b", "video")
    assert (
        "b/video.mp4 was not finished and will begin anew: with render.output=video" in caplog.text
    )


def test_a_writer_that_fails_ends_the_film(tmp_path: Path) -> None:
    """Files are written while the next frames are exposed: the error comes a little later."""
    film, wall = make_film(30)

    def fails(index: int) -> dict[str, str]:
        if index == 3:
            raise OutputError("no room for frame 3")
        return {}

    with pytest.raises(OutputError, match="no room for frame 3"):
        write(replace(film, attributes=fails), tmp_path, "exr")
    assert wall.drawn[-1] <= 5


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

    def nothing(index: int) -> Exposed:
        exposed = wall(index)
        zero = torch.zeros_like(exposed.opacity)
        return replace(exposed, opacity=zero, data=dict.fromkeys(exposed.data, zero))

    write(replace(film, expose=nothing), tmp_path, "frames")
    assert (np.asarray(PIL.Image.open(tmp_path / "depth_0000.png")) == 128).all()


@pytest.mark.parametrize("output", ["frames", "exr", "video", "png16", "depth"])
def test_a_full_disk_is_one_sentence(tmp_path: Path, output: str) -> None:
    film, wall = make_film(40)
    generator = torch.Generator().manual_seed(0)

    def noise(index: int) -> Exposed:
        light = torch.rand(HEIGHT, WIDTH, 3, generator=generator)
        return replace(wall(index), light=light)

    with pytest.raises(OutputError, match=FULL), small_disk(900):
        write(replace(film, expose=noise), tmp_path, output)
    assert names(tmp_path) <= {"frames.json"}
