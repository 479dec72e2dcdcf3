"""Photos without poses: from JPEG files to a COLMAP model, and what is said where there is none."""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neural_render.captures import workplace
from neural_render.captures.motion import poses, process
from neural_render.captures.motion.diagnosis import Model, Outcome, Pair, failure, left_out
from neural_render.captures.motion.pairs import chosen_matching, chosen_pairs
from neural_render.captures.motion.photos import Device, decodable, find_photos, read_devices
from neural_render.captures.motion.poses import folder_with_poses
from neural_render.captures.opening import open_capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import CaptureError
from tests.captures.formats import save_image
from tests.captures.motion.textured_room import (
    FOCAL_PX,
    HEIGHT,
    WIDTH,
    photo,
    turn,
    walk,
    write_photos,
)

pycolmap = pytest.importorskip("pycolmap", reason="structure from motion needs pycolmap")

POSES = walk(7)


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture whose poses were found."""
    folder = write_photos(tmp_path_factory.mktemp("room"), POSES)
    assert find_poses(folder) == folder
    return folder


@pytest.fixture
def no_colmap(monkeypatch: pytest.MonkeyPatch) -> None:
    """COLMAP must not run."""

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("COLMAP was started")

    monkeypatch.setattr(poses, "run_colmap", fail)


def find_poses(folder: Path, **settings: str) -> Path:
    return folder_with_poses(folder, CaptureSettings(**settings), progress=False)


def complaint(folder: Path) -> str:
    """The one sentence in which finding the poses ends, after which nothing is left behind."""
    before = sorted(folder.iterdir())
    with pytest.raises(CaptureError) as raised:
        find_poses(folder)
    assert sorted(folder.iterdir()) == before
    sentence = str(raised.value)
    assert "\n" not in sentence and sentence[-1] not in ".:"
    return sentence


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def test_webp_photos_are_converted_for_colmap_alone(tmp_path: Path) -> None:
    folder = write_photos(tmp_path, POSES[:1])
    for index, pose in enumerate(POSES[1:5], start=1):
        save_image(folder / "images" / f"{index:03}.webp", photo(pose), quality=95)
    assert find_poses(folder) == folder
    model = pycolmap.Reconstruction(folder / "sparse" / "0")
    ours = sorted(path.name for path in (folder / "images").iterdir())
    assert sorted(image.name for image in model.images.values()) == ours
    assert sorted(path.name for path in folder.iterdir()) == ["images", "sparse"]
    capture = open_capture(CaptureSettings(path=str(folder), test_every=0), progress=False)
    assert len(capture.train) == 5


def test_a_broken_webp_photo_is_left_to_colmap(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/0.webp").write_bytes(b"RIFF")
    photos = find_photos(tmp_path)
    place = decodable(photos, tmp_path / "work")
    assert (place / "0.webp").read_bytes() == b"RIFF"


def test_poses_are_those_of_the_walk(placed: Path) -> None:
    model = pycolmap.Reconstruction(placed / "sparse" / "0")
    images = sorted(model.images.values(), key=lambda image: image.name)
    assert [image.name for image in images] == [f"{index:03}.jpg" for index in range(7)]
    found = np.array([image.projection_center() for image in images])
    true = np.array([pose[:, 3] for pose in POSES])
    found, true = found - found.mean(0), true - true.mean(0)
    # A similarity is free: only ratios of distances mean anything.
    ratio = np.linalg.norm(found, axis=1) / np.linalg.norm(true, axis=1).clip(1e-9)
    assert ratio[[0, 1, 5, 6]] == pytest.approx(ratio[0], rel=0.05)
    (camera,) = model.cameras.values()
    assert (camera.width, camera.height) == (WIDTH, HEIGHT)
    assert camera.mean_focal_length() == pytest.approx(FOCAL_PX, rel=0.05)
    assert model.compute_mean_reprojection_error() < 0.5
    assert not (placed / ".neural_render").exists()


@pytest.mark.usefixtures("no_colmap")
def test_a_second_run_starts_at_once(placed: Path, tmp_path: Path) -> None:
    assert find_poses(placed) == placed
    assert find_poses(copied(placed, tmp_path / "moved")) == tmp_path / "moved"
    record = json.loads((placed / "sparse" / poses.RECORD).read_text())
    assert (record["placed"], record["left_out"]) == (7, "")
    assert record["settings"]["matching"] == "exhaustive"
    assert find_poses(placed, matching="exhaustive", mapper="incremental") == placed


@pytest.mark.usefixtures("no_colmap")
@pytest.mark.parametrize("change", ["photo", "setting"])
def test_changes_are_noticed(
    placed: Path, tmp_path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder, settings = copied(placed, tmp_path / "room"), {}
    if change == "photo":
        save_image(folder / "images" / "003.jpg", photo(POSES[2]))
    else:
        settings = {"camera_model": "PINHOLE"}
    with caplog.at_level(logging.INFO), pytest.raises(AssertionError, match="was started"):
        find_poses(folder, **settings)
    assert (change == "photo") == ("have changed since" in caplog.text)
    assert (folder / "sparse" / "0" / "images.bin").exists()  # until the new one is whole


def test_an_interrupted_run_leaves_no_model_and_goes_on(
    placed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copied(placed, tmp_path / "room")
    shutil.rmtree(folder / "sparse")
    tables = []

    def interrupt(job: dict[str, Any], *, progress: bool) -> dict[str, Any]:
        """As Ctrl-C after the work, before the model is put in place."""
        tables.append(process.run_colmap(job, progress=progress)["features"])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(poses, "run_colmap", interrupt)
        find_poses(folder)
    assert sorted(path.name for path in folder.iterdir()) == [".neural_render", "images"]
    with caplog.at_level(logging.INFO):
        find_poses(folder, mapper="global")
    assert "going on with the features and matches" in caplog.text
    assert len(tables[0]) == 7
    assert sorted(path.name for path in folder.iterdir()) == ["images", "sparse"]
    assert pycolmap.Reconstruction(folder / "sparse" / "0").num_reg_images() == 7


def test_where_nothing_can_be_written_the_cache_is_used(
    placed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    folder = copied(placed, tmp_path / "room")
    made = folder / "sparse"
    monkeypatch.setattr(workplace.tempfile, "TemporaryDirectory", refuse)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert find_poses(folder) == folder  # what is there needs no place

    def reuse(job: dict[str, Any], **_: Any) -> dict[str, Any]:
        shutil.copytree(tmp_path / "made" / "0", Path(job["model"]) / "0")
        model = {"photos": list(job["names"]), "points": 9, "error_px": 0.5, "angle_deg": 9.0}
        features = dict.fromkeys(job["names"], 900)
        models = [{**model, "focal_px": [300.0]}]
        return {"version": "4", "features": features, "pairs": [], "models": models}

    made.rename(tmp_path / "made")
    monkeypatch.setattr(poses, "run_colmap", reuse)
    place = find_poses(folder)
    assert place.parent == tmp_path / "cache" / "neural_render"
    assert (place / "images" / "000.jpg").samefile(folder / "images" / "000.jpg")
    assert (place / "sparse" / "0" / "images.bin").exists()
    monkeypatch.setattr(poses, "run_colmap", None)
    assert find_poses(folder) == place


def test_where_there_is_no_home_either_a_place_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o555)
    monkeypatch.setenv("XDG_CACHE_HOME", "~no_such_user/.cache")
    with pytest.raises(CaptureError, match=r"nor ~no_such_user.* set XDG_CACHE_HOME to a folder"):
        workplace.place_for(tmp_path)


def test_a_camera_that_only_turns(tmp_path: Path) -> None:
    sentence = complaint(write_photos(tmp_path, turn(6)))
    assert "15 of 15 pairs of photos fit upon each other without any parallax" in sentence
    assert "take every photo from another place" in sentence


def test_photos_of_nothing(tmp_path: Path) -> None:
    for index in range(4):
        shade = np.full((HEIGHT, WIDTH, 3), 100 + index, dtype=np.uint8)
        save_image(tmp_path / f"{index}.png", shade)
    assert "at most 0 features, so they show little that can be recognised" in complaint(tmp_path)


def test_names_with_spaces(tmp_path: Path) -> None:
    write_photos(tmp_path, POSES[1:6])
    for path in sorted((tmp_path / "images").iterdir()):
        path.rename(path.with_name(f"photo ({path.stem}).jpg"))
    model = pycolmap.Reconstruction(find_poses(tmp_path, matching="exhaustive") / "sparse" / "0")
    assert sorted(image.name for image in model.images.values())[0] == "photo (000).jpg"
    assert model.num_reg_images() == 5


def test_photos_of_different_things(tmp_path: Path) -> None:
    for index in range(4):
        numbers = np.random.default_rng(index)
        small = numbers.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
        large = Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        save_image(tmp_path / f"{index}.jpg", np.asarray(large))
    sentence = complaint(tmp_path)
    assert "too few pairs match, 0, and 4 photos match no other: take 20 or more" in sentence


def test_one_photo(tmp_path: Path) -> None:
    write_photos(tmp_path, POSES[:1])
    assert "holds 1 photo, but at least 3 are needed" in complaint(tmp_path)
    with pytest.raises(CaptureError, match="holds 1 photo, but at least 3"):
        open_capture(CaptureSettings(path=str(tmp_path)), progress=False)


@pytest.mark.parametrize(
    ("ending", "advice"),
    [
        (".HEIC", r"4 photos .* HEIC files, such as 0.HEIC, .*`magick mogrify -format jpg"),
        (".dng", r"4 photos .* RAW files, such as 0.dng, .*darktable"),
    ],
)
def test_photos_that_have_to_be_converted(tmp_path: Path, ending: str, advice: str) -> None:
    for index in range(4):
        (tmp_path / f"{index}{ending}").write_bytes(b"whatever")
    with pytest.raises(CaptureError, match=advice):
        open_capture(CaptureSettings(path=str(tmp_path)), progress=False)


def test_raw_files_beside_photos_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_photos(tmp_path, POSES[:3])
    (tmp_path / "images" / "000.nef").write_bytes(b"whatever")
    assert find_photos(tmp_path).names == ("000.jpg", "001.jpg", "002.jpg")
    assert "1 HEIC or RAW files" in caplog.text


def with_exif(path: Path, size: tuple[int, int], **tags: float | str) -> None:
    """Writes a black photo; tags are ``maker``, ``model``, ``focal_mm`` and ``equivalent_mm``."""
    exif = Image.Exif()
    for number, name in ((0x010F, "maker"), (0x0110, "model")):
        if name in tags:
            exif[number] = tags[name]
    inner = exif.get_ifd(0x8769)
    for number, name in ((0x920A, "focal_mm"), (0xA405, "equivalent_mm")):
        if name in tags:
            inner[number] = tags[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path, exif=exif)


def test_one_camera_for_each_device(tmp_path: Path) -> None:
    phone = {"maker": "Apple", "model": "iPhone", "focal_mm": 5.7, "equivalent_mm": 26}
    with_exif(tmp_path / "a.jpg", (400, 300), **phone)
    with_exif(tmp_path / "b.jpg", (400, 300), **phone)
    with_exif(tmp_path / "c.jpg", (300, 400), **phone)
    with_exif(tmp_path / "d.jpg", (400, 300), **{**phone, "equivalent_mm": 13, "focal_mm": 2.2})
    with_exif(tmp_path / "e.jpg", (640, 480), maker="Kodak", model="Z612", equivalent_mm=0)
    with_exif(tmp_path / "f.jpg", (640, 480))
    with_exif(tmp_path / "g.jpg", (100, 80), equivalent_mm=65535)
    found = read_devices(find_photos(tmp_path))
    assert found["a.jpg"] == found["b.jpg"]
    assert found["a.jpg"].name == "Apple iPhone 5.7 mm" and found["a.jpg"].known_focal
    assert found["a.jpg"].focal_px == pytest.approx(26 / 43.2666 * 500, rel=1e-4)
    assert found["a.jpg"] != found["c.jpg"] != found["d.jpg"] != found["a.jpg"]
    assert found["e.jpg"] == found["f.jpg"]  # it lost its EXIF, but has the size
    assert found["f.jpg"].name == "Kodak Z612" and not found["f.jpg"].known_focal
    assert found["g.jpg"] == Device(name="", size=(100, 80), focal_px=120.0, known_focal=False)


def test_damaged_exif_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with_exif(tmp_path / "a.jpg", (40, 30), maker="Apple", model="iPhone", equivalent_mm=26)
    content = bytearray((tmp_path / "a.jpg").read_bytes())
    start = content.index(b"Exif\0\0") + 6
    content[start : start + 8] = b"\xff" * 8
    (tmp_path / "a.jpg").write_bytes(content)
    (device,) = read_devices(find_photos(tmp_path)).values()
    assert (device.name, device.known_focal) == ("", False)
    assert "EXIF data of 1 photos, such as a.jpg, are damaged and ignored" in caplog.text


def test_neighbours_by_number_are_compared(tmp_path: Path) -> None:
    """Also where numbers have no leading zeros."""
    for number in range(1, 201):
        (tmp_path / f"IMG_{number}.jpg").touch()
    names = find_photos(tmp_path).names
    assert names[:3] == ("IMG_1.jpg", "IMG_2.jpg", "IMG_3.jpg")
    assert {(i, i + 1) for i in range(199)} <= set(chosen_pairs("sequential", 200))


def test_pairs() -> None:
    assert len(chosen_pairs("exhaustive", 11)) == 55
    pairs = chosen_pairs("sequential", 100)
    assert len(pairs) == len(set(pairs)) < 1500
    assert {(0, 1), (93, 99), (0, 8), (0, 64), (0, 99)} <= set(pairs)
    assert all(0 <= first < second < 100 for first, second in pairs)
    assert chosen_pairs("sequential", 3) == [(0, 1), (0, 2), (1, 2)]
    assert chosen_matching("auto", 150, is_video=False) == "exhaustive"
    assert chosen_matching("auto", 151, is_video=False) == "sequential"
    assert chosen_matching("auto", 70, is_video=True) == "sequential"
    assert chosen_matching("exhaustive", 900, is_video=True) == "exhaustive"


def model_of(photos: list[str], angle_deg: float = 20.0) -> Model:
    return Model(
        photos=tuple(photos), num_points=9, error_px=0.5, angle_deg=angle_deg, focal_px=(1.0,)
    )


def test_what_fell_out_is_named() -> None:
    names = [f"{index}.jpg" for index in range(12)]
    features = dict.fromkeys(names[:-1], 900)
    whole = Outcome(features=features, pairs=(), models=(model_of(names),))
    assert left_out(whole, names) == ""
    most = Outcome(features=features, pairs=(), models=(model_of(names[:9]), model_of(names[9:11])))
    sentence = left_out(most, names)
    assert sentence.startswith("3 of 12 photos fell out of the largest model (1 cannot be decoded)")
    assert sentence.partition(": ")[2].startswith("10.jpg, 11.jpg, 9.jpg; to connect them, take")


def test_why_it_failed() -> None:
    names, folder = ["a", "b", "c", "d"], Path("photos")
    features = dict.fromkeys(names, 900)
    pair = Pair(photos=("a", "b"), kind="CALIBRATED", angle_deg=0.2, homography=())
    narrow = Outcome(features=features, pairs=(pair,), models=())
    assert "at angles of 0.2 degrees, as if the camera turned" in failure(narrow, folder, names)
    flat = Outcome(features=features, pairs=(), models=(model_of(names, 0.3),))
    assert not flat.is_usable
    assert "at angles of 0.3 degrees" in failure(flat, folder, names)
    unread = Outcome(features={"a": 900}, pairs=(), models=())
    assert "3 of them cannot be decoded, such as b" in failure(unread, folder, names)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What COLMAP's process is asked, about photos that are not there."""
    yield {
        "images": str(tmp_path),
        "database": str(tmp_path / "nowhere" / "database.db"),
        "names": [],
        "cameras": [],
    }


def test_a_worker_that_breaks_down_is_told(job: dict[str, Any]) -> None:
    with pytest.raises(CaptureError, match=r"COLMAP's process ended with code 1: .*start again"):
        process.run_colmap(job, progress=False)
    assert "SIGKILL (the system may be out of memory" in str(process._broken(-9, ""))


def test_the_worker_never_outlives_the_program(
    job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def interrupt(worker: subprocess.Popen[bytes], _: Any) -> None:
        started.append(worker)
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "_listen", interrupt)
    with pytest.raises(KeyboardInterrupt):
        process.run_colmap(job, progress=False)
    assert started[0].returncode == -9
    # Killed, the program cannot end it: then the end of stdin does.
    command = "import neural_render.captures.motion.worker as w; w._end_with_the_asker()"
    lonely = subprocess.run([sys.executable, "-c", command], stdin=subprocess.DEVNULL, check=False)
    assert lonely.returncode == 1


def test_without_pycolmap(job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CaptureError, match="pip install pycolmap"):
        process.run_colmap(job, progress=False)
