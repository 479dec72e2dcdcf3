"""Opening captures: splits, what is left out, what is told, the embedded capture, no images."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from neural_render.captures.loading import memory
from neural_render.captures.opening import find_embedded, find_folder, open_capture
from neural_render.captures.readers.image_files import compact_names
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import CaptureError, SettingError
from tests.captures.formats import (
    HEIGHT,
    INTRINSICS,
    NAMES,
    POSES,
    WIDTH,
    make_frames,
    noise_image,
    save_image,
    write_blender,
    write_json,
    write_side_by_side,
    write_transforms,
)
from tests.tiny_capture import write_blender_capture


def open_folder(folder: Path | str, **settings: object) -> Capture:
    return open_capture(CaptureSettings(path=str(folder), **settings), progress=False)


def test_every_so_many_th_photo_by_name_is_a_test_view(tmp_path: Path) -> None:
    frames = make_frames()
    capture = open_folder(write_transforms(tmp_path, frames[::-1]), test_every=3)
    assert capture.test.names == (NAMES[0], NAMES[3])
    assert capture.train.names == (NAMES[1], NAMES[2], NAMES[4])
    assert capture.split == (
        "of 5 photos with files, sorted by name, index % 3 == 0 are test views"
    )
    # Missing files do not count: the last photo by name is the fourth that is there.
    (tmp_path / NAMES[1]).unlink()
    assert open_folder(tmp_path, test_every=4).test.names == (NAMES[0],)
    everything = open_folder(tmp_path, test_every=0)
    assert len(everything.train) == 4 and len(everything.test) == 0
    assert everything.test.pixels.shape == (0, 3)


def test_training_photos_are_held_out_in_place_of_the_test_views(tmp_path: Path) -> None:
    write_blender_capture(tmp_path, num_train=7, num_test=3, size=8)
    capture = open_folder(tmp_path, holdout_every=3)
    assert capture.test.names == ("train/r_0.png", "train/r_3.png", "train/r_6.png")
    assert capture.train.names == tuple(f"train/r_{index}.png" for index in (1, 2, 4, 5))
    assert capture.split == (
        "transforms_train.json and transforms_test.json; not the test views are evaluated, but"
        " photos held out of training: of 7 training photos, sorted by name, index % 3 == 0"
    )
    assert torch.equal(capture.test.image(1), open_folder(tmp_path).train.image(3))


def test_photos_are_held_out_of_what_the_split_left(tmp_path: Path) -> None:
    capture = open_folder(write_transforms(tmp_path), test_every=5, holdout_every=4)
    assert capture.test.names == (NAMES[1],)
    assert capture.train.names == (NAMES[2], NAMES[3], NAMES[4])


def test_holding_out_too_many_is_refused(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path)
    for every, left in ((1, 0), (2, 2)):
        message = rf"capture\.holdout_every={every} leaves {left} of 4 .* at least 3 .* give 0"
        with pytest.raises(SettingError, match=message):
            open_folder(folder, holdout_every=every)


def test_a_split_that_leaves_too_few_is_refused(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path)
    message = r"capture\.test_every={} leaves {} of {} photos .* at least 3 .* give 0"
    for every, left in ((1, 0), (2, 2)):
        with pytest.raises(SettingError, match=message.format(every, left, 5)):
            open_folder(folder, test_every=every)
    for name in NAMES[:2]:
        (folder / name).unlink()
    with pytest.raises(SettingError, match=message.format(8, 2, 3) + r" \(no test views\)$"):
        open_folder(folder)
    assert len(open_folder(folder, test_every=0).train) == 3


def test_a_formats_own_split_is_kept(tmp_path: Path) -> None:
    capture = open_folder(write_blender_capture(tmp_path, num_train=4, num_test=3, size=8))
    assert capture.train.names == tuple(f"train/r_{index}.png" for index in range(4))
    assert capture.test.names == tuple(f"test/r_{index}.png" for index in range(3))
    assert capture.split == "transforms_train.json and transforms_test.json"
    assert capture.warnings == ()
    assert capture.has_opacity


def test_a_split_by_lists_of_names_is_kept(tmp_path: Path) -> None:
    lists = {"train_filenames": ["./" + name for name in NAMES[1:]], "val_filenames": NAMES[:1]}
    capture = open_folder(write_transforms(tmp_path, **INTRINSICS, **lists))
    assert capture.test.names == (NAMES[0],) and len(capture.train) == 4
    assert capture.split == "train_filenames and val_filenames of transforms.json"


def test_a_missing_test_file_is_told(tmp_path: Path) -> None:
    capture = open_folder(write_blender(tmp_path))
    assert len(capture.test) == 1 and len(capture.train) == 4
    (warning,) = capture.warnings
    assert "transforms_test.json is missing" in warning and "held out" in warning


def test_test_views_without_files_are_told_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_blender_capture(tmp_path, num_train=4, num_test=3, size=8)
    (tmp_path / "test/r_1.png").unlink()
    with caplog.at_level(logging.INFO, logger="neural_render"):
        capture = open_folder(tmp_path)
    assert capture.test.names == ("test/r_0.png", "test/r_2.png")
    assert "1 of the 3 photos" in capture.warnings[0] and "test/r_1" in capture.warnings[0]
    assert "format blender, 4 training and 2 test photos, 8x8 pixels, with opacity" in caplog.text
    assert capture.warnings[0] in caplog.text
    for index in (0, 2):
        (tmp_path / f"test/r_{index}.png").unlink()
    capture = open_folder(tmp_path)
    assert capture.test.names == ("train/r_0.png",)
    assert "3 of the 3 photos" in capture.warnings[0]
    assert "index % 8 == 0" in capture.split


def test_photos_in_both_sets_are_told(tmp_path: Path) -> None:
    write_blender_capture(tmp_path, num_train=4, num_test=3, size=8)
    train = (tmp_path / "transforms_train.json").read_text()
    (tmp_path / "transforms_test.json").write_text(train)
    (warning,) = open_folder(tmp_path).warnings
    assert "4 photos are both for training and for testing" in warning
    assert "too good" in warning


def test_a_downscaled_capture_keeps_its_views(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path)
    whole, half = open_folder(folder), open_folder(folder, max_side=8)
    assert half.train.cameras.width.tolist() == [8] * 4
    assert half.train.cameras.height.tolist() == [6] * 4
    assert torch.allclose(half.train.cameras.focal_px, whole.train.cameras.focal_px / 2)
    assert torch.allclose(half.train.cameras.center_px, whole.train.cameras.center_px / 2)
    assert half.frame == whole.frame
    image = whole.train.image(0).double()
    averaged = image.view(6, 2, 8, 2, 3).mean(dim=(1, 3))
    largest = float((half.train.image(0).double() - averaged).abs().max())
    assert largest <= 0.5


def test_photos_of_several_sizes(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path, camera_angle_x=1.0)
    save_image(folder / NAMES[2], noise_image(7, scale=3))
    capture = open_folder(folder, test_every=0)
    assert capture.train.image(2).shape == (3 * HEIGHT, 3 * WIDTH, 3)
    for index in (1, 3):
        assert np.array_equal(capture.train.image(index).numpy(), noise_image(index))
    assert np.array_equal(capture.train.image(2).numpy(), noise_image(7, scale=3))
    assert int(capture.train.cameras.width[2]) == 3 * WIDTH


def test_images_smaller_than_their_intrinsics_are_told(tmp_path: Path) -> None:
    twice = {"fl_x": 40, "w": 2 * WIDTH, "h": 2 * HEIGHT}
    (warning,) = open_folder(write_transforms(tmp_path, **twice)).warnings
    assert "5 of 5 images have another size" in warning
    assert "16x12 instead of 32x24" in warning


def exif(orientation: int) -> bytes:
    from PIL import Image

    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


@pytest.mark.parametrize("ending", [".jpg", ".tiff"])
def test_exif_orientation_counts_only_where_it_explains_the_size(
    tmp_path: Path, ending: str
) -> None:
    frames = make_frames()
    for frame in frames:
        frame["file_path"] = frame["file_path"].replace(".png", ending)
    folder = write_transforms(tmp_path, frames)
    images = [noise_image(index).repeat(8, 0).repeat(8, 1) for index in range(5)]
    # Stored lying, with the order to turn it: rotating the stored image by 90 degrees mends it.
    for frame, image in zip(frames, images, strict=True):
        stored = np.rot90(image, 1)
        save_image(folder / frame["file_path"], stored, quality=95, exif=exif(6))
    capture = open_folder(folder, test_every=0)
    assert any("turned by their EXIF orientation" in warning for warning in capture.warnings)
    assert capture.train.image(0).shape == (8 * HEIGHT, 8 * WIDTH, 3)
    difference = capture.train.image(0).numpy().astype(float) - images[0]
    assert np.abs(difference).mean() < 20

    # Stored as the intrinsics say: the order to turn is not followed.
    for frame, image in zip(frames, images, strict=True):
        save_image(folder / frame["file_path"], image, quality=95, exif=exif(6))
    capture = open_folder(folder, test_every=0)
    assert any("EXIF orientation, which is ignored" in warning for warning in capture.warnings)
    difference = capture.train.image(0).numpy().astype(float) - images[0]
    assert np.abs(difference).mean() < 20


def test_masks_are_read_with_the_photos(tmp_path: Path) -> None:
    frames = make_frames()
    frames[1]["mask_path"] = "masks/1.png"
    folder = write_transforms(tmp_path, frames)
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[:, :4] = 0
    save_image(folder / "masks/1.png", mask)
    views = open_folder(folder, test_every=0).train
    assert len(views.masks) == len(views.pixels)
    assert np.array_equal(views.mask(1).numpy(), mask)
    assert (views.mask(0) == 255).all()
    without = open_folder(write_transforms(tmp_path / "other"), test_every=0).train
    assert len(without.masks) == 0 and (without.mask(1) == 255).all()


def test_opaque_alpha_is_no_opacity(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path, channels=4)
    assert open_folder(folder).has_opacity
    for index, name in enumerate(NAMES):
        image = noise_image(index, 4)
        image[..., 3] = 255
        save_image(folder / name, image)
    capture = open_folder(folder)
    assert capture.train.pixels.shape[1] == 4 and not capture.has_opacity


def test_colour_and_alpha_photos_mix(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path)
    save_image(folder / NAMES[1], noise_image(1, 4))
    views = open_folder(folder, test_every=0).train
    assert np.array_equal(views.image(1).numpy(), noise_image(1, 4))
    assert (views.image(0)[..., 3] == 255).all()


def test_opening_without_images(tmp_path: Path) -> None:
    folder = write_blender_capture(tmp_path, size=8)
    settings = CaptureSettings(path=str(folder), memory_limit_gb=1e-9)
    bare = open_capture(settings, progress=False, images=False)
    whole = open_folder(folder)
    assert bare.train.pixels.shape == (0, 4) and bare.has_opacity
    assert bare.frame == whole.frame
    assert torch.equal(bare.test.cameras.world_from_camera, whole.test.cameras.world_from_camera)


@pytest.mark.parametrize("scene", ["auto", "forward"])
def test_without_images_nothing_is_said_of_the_place(
    scene: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be another than that of a run, which points found in the photos told."""
    folder = write_transforms(tmp_path / "outward", make_frames(POSES @ np.diag([-1, 1, -1, 1])))
    settings = CaptureSettings(path=str(folder), test_every=0, scene=scene)
    with caplog.at_level(logging.INFO):
        bare = open_capture(settings, progress=False, images=False)
    assert bare.warnings == () and "scene:" not in caplog.text
    if scene == "auto":
        (warning,) = open_folder(folder, test_every=0).warnings
        assert "look away from each other" in warning


def test_the_embedded_capture_is_the_only_one_in_data(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"run from a checkout .* or give capture\.path=DIR"):
        find_embedded(tmp_path / "data")
    (tmp_path / "scenes").mkdir()
    write_json(tmp_path / "cove" / "transforms_train.json", {})
    assert find_embedded(tmp_path) == tmp_path / "cove"
    write_json(tmp_path / "other" / "transforms_train.json", {})
    with pytest.raises(CaptureError, match=r"more than one .*cove, .*other"):
        find_embedded(tmp_path)


def test_home_is_expanded_and_dots_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_transforms(tmp_path / "fox")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_folder("~/fox") == tmp_path / "fox"
    monkeypatch.chdir(tmp_path / "fox")
    assert open_folder(".").name == "fox"


def test_names_are_told_compactly() -> None:
    names = ["a/1.png", "a/3.png", "b/x.jpg", "y.jpg"]
    assert compact_names(names) == "a/{1,3}.png b/x.jpg y.jpg"
    many = [f"a/{index}.png" for index in range(100)]
    assert compact_names(many).endswith("38,39}.png and 60 more")


def test_photos_outlive_their_device(tmp_path: Path) -> None:
    views = open_folder(write_transforms(tmp_path)).train
    assert views.to(torch.device("cpu")).image(0).equal(views.image(0))


def test_memory_limits_of_containers_are_seen(tmp_path: Path) -> None:
    assert memory._group_bytes(tmp_path) == float("inf")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("5\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 300\n")
    assert memory._group_bytes(tmp_path) == float("inf")
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    assert memory._group_bytes(tmp_path) == 600
    assert 0 < memory.available_bytes() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_bounds_of_photos_say_how_near_the_scene_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_side_by_side(tmp_path)
    with caplog.at_level(logging.INFO):
        capture = open_folder(tmp_path, test_every=5)
    assert not capture.frame.projection.is_identity
    # The first photo, with the nearest bound, is a test view.
    assert 0.89 * 5.0 < capture.frame.world_from_field.scale < 0.91 * 5.1
    assert "scene: forward (the cameras look the same way" in caplog.text
    capture = open_folder(tmp_path, test_every=5, scene="unbounded")
    assert capture.frame.projection.is_identity


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "scan.r3d").write_bytes(b"PK")
    for given in (tmp_path / "scan.r3d", tmp_path):
        with pytest.raises(CaptureError) as told:
            open_folder(given)
        mend = f"unpack it (unzip scan.r3d -d scan) and give capture.path={tmp_path / 'scan'}"
        assert str(told.value).endswith(mend)


@pytest.mark.parametrize(("away", "told"), [(3000.0, True), (30.0, False)])
def test_cameras_far_from_the_origin_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, away: float, told: bool
) -> None:
    """Where single precision moves pictures by parts of a pixel; farther still they are refused."""
    frames = make_frames()
    for frame in frames:
        frame["transform_matrix"][1][3] += away
    open_folder(write_transforms(tmp_path, frames))
    assert ("subtract a common offset from the translations" in caplog.text) == told
