"""Videos as captures: which frames become photos, how these stand, what is said of bad videos."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neural_render.captures.motion import poses
from neural_render.captures.opening import open_capture
from neural_render.captures.settings import CaptureSettings
from neural_render.captures.video import frames
from neural_render.captures.video.choosing import Looks, MotionMeter, choose, sharpness
from neural_render.captures.video.decoding import color, count_frames, each_frame
from neural_render.captures.video.frames import MODEL_RECORD, chosen_frames, frames_folder, look
from neural_render.core.errors import CaptureError
from tests.captures.motion.textured_room import photo, walk, write_video


def spots(width: int, height: int, cell: int = 3) -> np.ndarray:
    """A smooth random picture."""
    small = np.random.default_rng(0).integers(
        0, 256, (height // cell, width // cell, 3), dtype=np.uint8
    )
    large = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(large)


def pan(steps: list[float], size: tuple[int, int] = (160, 96)) -> list[np.ndarray]:
    """Frames of a picture that goes by, so many pixels to the left from one to the next."""
    width, height = size
    places = np.concatenate([[0.0], np.cumsum(steps)])
    picture = Image.fromarray(spots(int(places[-1]) + width + 16, height))
    corners = [(place, 0.0, place + width, float(height)) for place in places]
    return [
        np.asarray(picture.resize(size, Image.Resampling.BILINEAR, box=corner))
        for corner in corners
    ]


def grey(image: np.ndarray) -> np.ndarray:
    return image.mean(axis=-1).round().astype(np.uint8)


def frames_of(video: Path, count: int = 0) -> Path:
    return frames_folder(video, count, progress=False)


def test_motion_is_measured_in_widths() -> None:
    steps = [0.0] * 5 + [0.5] * 20 + [3.0] * 10 + [9.0] * 6
    meter = MotionMeter()
    moved = np.array([meter.add(grey(image)) for image in pan(steps)]) * 160
    true = np.concatenate([[0.0], np.cumsum(steps)])
    assert np.abs(moved - true).max() < 0.1 * true[-1]
    assert (np.diff(moved) >= 0).all()


def test_a_picture_that_changes_its_shape_is_measured_on() -> None:
    meter = MotionMeter()
    wide, tall = (pan([9.0] * 4, size) for size in ((160, 96), (96, 160)))
    moved = [meter.add(grey(image)) for image in (*wide, *tall)]
    assert moved[-1] > moved[3] > 0


def test_noise_is_no_motion() -> None:
    numbers, meter = np.random.default_rng(1), MotionMeter()
    still = grey(spots(160, 96)).astype(float)
    for _ in range(60):
        noisy = still + numbers.normal(0, 6, still.shape)
        moved = meter.add(noisy.clip(0, 255).astype(np.uint8))
    assert moved * 160 < 1


def test_blur_is_told() -> None:
    image = Image.fromarray(grey(spots(160, 96)))
    blurred = image.reduce(4).resize(image.size, Image.Resampling.BICUBIC)
    assert sharpness(np.asarray(blurred)) < 0.5 * sharpness(np.asarray(image))


def looks(motion: np.ndarray, sharp: np.ndarray | None = None) -> Looks:
    sharp = np.ones(len(motion)) if sharp is None else sharp
    return Looks(number=np.arange(len(motion)), motion=motion, sharpness=sharp)


def test_frames_are_evenly_spaced_in_motion() -> None:
    motion = np.concatenate([np.zeros(50), np.linspace(0, 1, 101)[1:], np.ones(80)])
    chosen = choose(looks(motion), 11)
    assert np.allclose(motion[chosen], np.linspace(0, 1, 11), atol=0.011)
    assert len(choose(looks(motion), 1000)) == 101  # a place has a frame of its own or none
    assert choose(looks(np.zeros(9)), 5).tolist() == [0]


def test_the_sharpest_frame_near_a_place_is_taken() -> None:
    motion, sharp = np.linspace(0, 1, 101), np.ones(101)
    sharp[[12, 28, 50, 53]] = [2.0, 2.0, 0.3, 1.5]
    assert choose(looks(motion, sharp), 11).tolist()[:7] == [0, 12, 20, 28, 40, 53, 60]


def test_photos_are_written_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    video = write_video(tmp_path / "walk.mp4", pan([0.0] * 10 + [4.0] * 40))
    assert count_frames(video) == 51
    folder = frames_of(video, 10)
    assert folder == tmp_path / "walk_frames"
    first = sorted((folder / "images").iterdir())
    assert 8 <= len(first) <= 10 and first[1].name in ("000014.jpg", "000015.jpg")
    assert Image.open(first[0]).size == (160, 96)
    times = [path.stat().st_mtime_ns for path in first]
    with caplog.at_level(logging.INFO):
        assert frames_of(video, 10) == frames_of(video) == folder
    assert caplog.text.count("are used") == 2
    assert [path.stat().st_mtime_ns for path in first] == times
    frames_of(video, 5)
    assert len(list((folder / "images").iterdir())) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["walk.mp4", "walk_frames"]


def test_an_interrupted_choice_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = write_video(tmp_path / "walk.mp4", pan([4.0] * 40))

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("neural_render.captures.video.frames.write_record", interrupt)
    with pytest.raises(KeyboardInterrupt):
        frames_of(video)
    assert [path.name for path in tmp_path.iterdir()] == ["walk.mp4"]
    (tmp_path / ".walk_frames.part").mkdir()  # what a kill leaves does not stand in the way
    monkeypatch.undo()
    assert (frames_of(video) / "images").is_dir()


@pytest.mark.parametrize("turned", [90, 180, -90])
def test_frames_stand_as_players_show_them(tmp_path: Path, turned: int) -> None:
    images = pan([4.0] * 30)
    folder = frames_of(write_video(tmp_path / "phone.mov", images, turned=turned), 5)
    found = grey(np.asarray(Image.open(min((folder / "images").iterdir()))))
    # Display matrices turn counter-clockwise, as numpy does.
    wanted = grey(np.rot90(images[0], turned // 90))
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).mean() < 6


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("no video at all")


def short(path: Path) -> None:
    write_video(path, pan([4.0] * 9))


def still(path: Path) -> None:
    write_video(path, pan([0.0] * 40))


def headless(path: Path) -> None:
    write_video(path, pan([4.0] * 40))
    path.write_bytes(path.read_bytes()[:-600])


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (empty, "is an empty file: play it"),
        (text, "is no video that can be decoded (Invalid data"),
        (short, "has 10 frames, but at least 20 are needed: record 20 to 60 seconds"),
        (still, "moves by 0% of its width in 41 frames, as if the camera had stood still"),
        (headless, "is no video that can be decoded"),
    ],
)
def test_bad_videos(tmp_path: Path, make: Callable[[Path], None], found: str) -> None:
    make(tmp_path / "bad.mp4")
    with pytest.raises(CaptureError) as raised:
        open_capture(CaptureSettings(path=str(tmp_path / "bad.mp4")), progress=False)
    assert found in str(raised.value) and str(tmp_path / "bad.mp4") in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.mp4"]


def test_a_damaged_end_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    video = write_video(tmp_path / "walk.mkv", pan([4.0] * 60))
    content = video.read_bytes()
    video.write_bytes(content[: len(content) * 2 // 3])
    looked = look(video, progress=False)
    assert 20 < len(looked.number) < 61
    assert len(list(each_frame(video))) == len(looked.number)


def test_too_few_frames_for_the_motion_are_told(caplog: pytest.LogCaptureFixture) -> None:
    chosen_frames(looks(np.linspace(0, 6, 200)), 10, Path("walk.mp4"))
    assert "moves by 60 % of its width from one chosen frame to the next" in caplog.text
    assert "capture.frames=25" in caplog.text


def test_a_folder_of_somebody_else_stays(tmp_path: Path) -> None:
    video = write_video(tmp_path / "walk.mp4", pan([4.0] * 30))
    (tmp_path / "walk_frames").mkdir()
    with pytest.raises(CaptureError, match=r"not of our making: .*capture\.path=.*walk_frames"):
        frames_of(video)


def test_what_somebody_put_beside_frames_stays(tmp_path: Path) -> None:
    """Masks of frames, say, which others would not fit."""
    video = write_video(tmp_path / "walk.mp4", pan([4.0] * 40))
    folder = frames_of(video, 24)
    (folder / "masks").mkdir()
    assert frames_of(video, 24) == folder
    with pytest.raises(CaptureError, match="holds masks of yours beside the earlier ones: move"):
        frames_of(video, 30)
    (folder / "masks").rename(folder / "images" / "masks")
    with pytest.raises(CaptureError, match="holds masks of yours"):
        frames_of(video, 30)
    (folder / "images" / "masks").rmdir()
    (folder / ".DS_Store").write_text("of a system")
    (folder / "sparse").mkdir()
    (folder / "sparse" / MODEL_RECORD).write_text("{}")
    frames_of(video, 30)
    assert not (folder / "sparse").exists()


def test_a_video_is_a_capture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("pycolmap", reason="structure from motion needs pycolmap")
    images = [photo(pose) for pose in walk(32, 0.04)]
    video = write_video(tmp_path / "room.mp4", images)
    settings = CaptureSettings(path=str(video), frames=8, test_every=4)
    with caplog.at_level(logging.INFO):
        capture = open_capture(settings, progress=False)
    assert (capture.name, capture.format) == ("room", "colmap")
    assert (len(capture.train), len(capture.test)) == (6, 2)
    assert len(capture.points) > 100
    assert "8 of 8 photos placed" in caplog.text
    assert capture.train.pixels.shape == (6 * 320 * 240, 3)
    shutil.rmtree(tmp_path / "room_frames" / "images")
    assert poses.is_ours(tmp_path / "room_frames")


def test_real_video(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A phone's walk around a can that speeds up, rests and shakes."""
    video = Path(shutil.copy(real_data / "can" / "Beer.mp4", tmp_path / "Beer.mp4"))
    looked = look(video, progress=False)
    monkeypatch.setattr(frames, "look", lambda *_, **__: looked)
    photos = sorted((frames_of(video, 71) / "images").iterdir())
    numbers = np.array([int(path.stem) for path in photos])
    assert 68 <= len(numbers) <= 71  # as many as were asked for
    for path in photos:
        with Image.open(path) as image:
            assert image.size == (720, 1280)  # upright
    # All of the walk, without leaps and without photos that are all but the same: frames evenly
    # spaced in time leap 1.5 times as far, and rest a tenth as long.
    spacing = np.diff(looked.motion[numbers])
    even = np.linspace(0, len(looked.number) - 1, len(numbers)).round().astype(int)
    in_time = np.diff(looked.motion[even])
    mean = looked.motion[-1] / (len(numbers) - 1)
    assert (
        looked.motion[numbers[0]] < mean and looked.motion[numbers[-1]] > looked.motion[-1] - mean
    )
    assert spacing.max() < 2 * mean < 0.8 * in_time.max()
    assert spacing.min() > 0.3 * mean > 3 * in_time.min()
    assert spacing.std() < 0.7 * in_time.std()
    # Hardly one is more blurred than what was to be had around it.
    near = [np.median(looked.sharpness[max(0, n - 5) : n + 6]) for n in numbers]
    sharper = looked.sharpness[numbers] / near
    assert sharper.mean() > 1.07 and (sharper > 0.9).mean() > 0.93 and sharper.min() > 0.6


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("matrix", ["SMPTE170M", "ITU601", "ITU709"])
def test_colours_are_those_of_the_matrix_that_is_stated(
    tmp_path: Path, width: int, matrix: str
) -> None:
    """Whatever the size, by which players guess where nothing is."""
    colors = np.array([[[220, 40, 30], [30, 200, 60], [40, 60, 210]]], np.uint8)
    image = np.ascontiguousarray(colors.repeat(width // 4, 1).repeat(64, 0)[:, : width // 2])
    image = np.concatenate([image, image[:, ::-1]], axis=1)
    video = write_video(tmp_path / "a.mp4", [image] * 2, matrix=matrix)
    found = color(next(iter(each_frame(video))))
    middle = np.arange(width // 8, width // 2, width // 4)
    difference = found[32, middle].astype(int) - image[32, middle]
    assert np.abs(difference).max() <= 6
