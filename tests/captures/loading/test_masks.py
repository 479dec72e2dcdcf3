"""Masks: by folder for every format, and by the photos' alpha."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neural_render.captures.opening import open_capture
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import CaptureError
from tests.captures.formats import (
    HEIGHT,
    NAMES,
    WIDTH,
    make_frames,
    noise_image,
    save_image,
    write_blender,
    write_colmap,
    write_llff,
    write_transforms,
)

STEMS = [Path(name).stem for name in NAMES]


def open_folder(folder: Path, **settings: object) -> Capture:
    stated = {"path": str(folder), "test_every": 0, **settings}
    return open_capture(CaptureSettings(**stated), progress=False)


def mask_image(index: int) -> np.ndarray:
    """255 but for a column that is another one in each photo."""
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[:, index] = 0
    return mask


def assert_masked(capture: Capture) -> None:
    for index in range(len(NAMES)):
        assert np.array_equal(capture.train.mask(index).numpy(), mask_image(index))
    assert not any("mask" in warning.replace(str(capture.path), "") for warning in capture.warnings)


@pytest.mark.parametrize("pattern", ["masks/{}.png", "mask/{}.png.png", "masks/images/{}.png"])
@pytest.mark.parametrize(
    "write",
    [
        write_transforms,
        write_blender,
        lambda at: write_colmap(at, ".bin"),
        lambda at: write_llff(at, "images"),
    ],
)
def test_a_folder_of_masks(write: Callable[[Path], Path], pattern: str, tmp_path: Path) -> None:
    folder = write(tmp_path)
    for index, stem in enumerate(STEMS):
        save_image(folder / pattern.format(stem), mask_image(index))
    assert_masked(open_folder(folder))


def test_masks_lie_in_folders_as_photos_do(tmp_path: Path) -> None:
    frames = make_frames()
    for index, frame in enumerate(frames):
        frame["file_path"] = f"images/cam{index}/x.png"
    folder = write_transforms(tmp_path, frames)
    for index in range(len(NAMES)):
        save_image(folder / f"images/cam{index}/x.png", noise_image(index))
        save_image(folder / f"masks/cam{index}/x.png", mask_image(index))
    assert_masked(open_folder(folder))


def test_photos_of_another_place_have_their_masks_beside_them(tmp_path: Path) -> None:
    frames = make_frames()
    for index, frame in enumerate(frames):
        frame["file_path"] = str(tmp_path / "far" / frame["file_path"])
        save_image(Path(frame["file_path"]), noise_image(index))
        save_image(tmp_path / "far" / "masks" / f"{STEMS[index]}.png", mask_image(index))
    assert_masked(open_folder(write_transforms(tmp_path / "here", frames)))


def test_stated_masks_come_first(tmp_path: Path) -> None:
    frames = make_frames()
    frames[2]["mask_path"] = "other.png"
    folder = write_transforms(tmp_path, frames)
    save_image(folder / "other.png", mask_image(7))
    for index, stem in enumerate(STEMS):
        save_image(folder / f"masks/{stem}.png", mask_image(index))
    views = open_folder(folder).train
    assert np.array_equal(views.mask(2).numpy(), mask_image(7))
    assert np.array_equal(views.mask(3).numpy(), mask_image(3))


@pytest.mark.parametrize("memory", ["ram", "disk"])
def test_a_stated_mask_that_is_not_there(memory: str, tmp_path: Path) -> None:
    folder = write_transforms(tmp_path, make_frames(mask_path="masks/2.png"))
    with pytest.raises(CaptureError, match=r"2\.png of frame 0 .* is not there: restore it or"):
        open_folder(folder, memory=memory)


def test_photos_without_a_mask_are_told_and_used_whole(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path)
    save_image(folder / "masks/0001.png", mask_image(1))
    capture = open_folder(folder)
    (warning,) = capture.warnings
    assert re.search(r"4 photos have no mask and are used whole.*images/\{0000,0002,", warning)
    assert (capture.train.mask(0) == 255).all()


def test_masks_of_other_names_are_told(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path)
    save_image(folder / "masks/left.png", mask_image(1))
    (warning,) = open_folder(folder).warnings
    assert re.search(r"masks holds no mask by the name of a photo .* such as 0000\.png", warning)


def test_nobody_shares_a_mask(tmp_path: Path) -> None:
    frames = make_frames()
    for index, frame in enumerate(frames):
        frame["file_path"] = f"cam{index}/x.png"
    folder = write_transforms(tmp_path, frames)
    for index in range(len(NAMES)):
        save_image(folder / f"cam{index}/x.png", noise_image(index))
    save_image(folder / "masks/x.png", mask_image(0))
    capture = open_folder(folder)
    assert len(capture.train.masks) == 0
    (warning,) = capture.warnings
    assert re.search(r"1 masks such as .*x\.png belong to more than one photo", warning)


@pytest.mark.parametrize("memory", ["ram", "disk"])
def test_alpha_may_mean_what_counts(memory: str, tmp_path: Path) -> None:
    folder = write_transforms(tmp_path, channels=4)
    found = open_folder(folder, memory=memory, alpha="mask")
    assert found.train.pixels.shape[1] == 3 and not found.has_opacity
    for index in range(len(NAMES)):
        image = noise_image(index, 4)
        assert np.array_equal(found.train.image(index).numpy(), image[..., :3])
        assert np.array_equal(found.train.mask(index).numpy() > 0, image[..., 3] >= 128)
    assert open_folder(folder, memory=memory).has_opacity


def test_alpha_and_a_file_both_mask(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path, channels=4)
    for index, stem in enumerate(STEMS):
        save_image(folder / f"masks/{stem}.png", mask_image(index))
    found = open_folder(folder, alpha="mask").train
    wanted = (noise_image(1, 4)[..., 3] >= 128) & (mask_image(1) > 0)
    assert np.array_equal(found.mask(1).numpy() > 0, wanted)


def test_small_pixels_count_where_all_parts_do(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path, channels=4)
    found = open_folder(folder, alpha="mask", max_side=WIDTH // 2).train
    parts = noise_image(0, 4)[..., 3].reshape(HEIGHT // 2, 2, WIDTH // 2, 2) >= 128
    assert np.array_equal(found.mask(0).numpy() > 0, parts.all(axis=(1, 3)))


def test_alpha_that_no_photo_has_is_told(tmp_path: Path) -> None:
    (warning,) = open_folder(write_transforms(tmp_path), alpha="mask").warnings
    assert "capture.alpha=mask ignores nothing: no photo has an alpha channel" in warning
