"""Images in smaller sizes beside the large ones: which are read, and when none are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neural_render.captures.opening import open_capture
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.cameras import image_rays
from tests.captures.formats import (
    HEIGHT,
    NAMES,
    WIDTH,
    noise_image,
    save_image,
    tiny_model,
    write_llff,
    write_transforms,
)
from tests.captures.readers.colmap_files import write_model

SCALE = 8  # of the large images


def large_colmap(folder: Path) -> Path:
    for index, name in enumerate(NAMES):
        save_image(folder / name, noise_image(index + 50, scale=SCALE))
    write_model(folder / "sparse/0", ".bin", tiny_model(SCALE))
    return folder


def large_transforms(folder: Path) -> Path:
    write_transforms(folder, fl_x=20.0 * SCALE, w=WIDTH * SCALE, h=HEIGHT * SCALE)
    return large_colmap(folder)


def large_llff(folder: Path) -> Path:
    write_llff(folder, "images", SCALE)
    for index, name in enumerate(NAMES):
        save_image(folder / name, noise_image(index + 50, scale=SCALE))
    return folder


def add_smaller(folder: Path, factor: int, pattern: str = "{:04}.png") -> None:
    for index in range(len(NAMES)):
        image = noise_image(index, scale=SCALE // factor)
        save_image(folder / f"images_{factor}" / pattern.format(index), image)


def open_folder(folder: Path, max_side: int = 0) -> Capture:
    settings = CaptureSettings(path=str(folder), max_side=max_side, test_every=4)
    return open_capture(settings, progress=False)


def is_small(capture: Capture) -> bool:
    """Whether the pixels are those of a smaller file: they show something else here."""
    image = capture.train.image(0).numpy()
    stride = image.shape[1] // WIDTH
    return np.array_equal(image[::stride, ::stride], noise_image(1))


@pytest.mark.parametrize("write", [large_colmap, large_transforms, large_llff])
def test_the_smallest_files_that_need_no_enlarging(
    write: Callable[[Path], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tmp_path)
    for factor in (2, 4, 8):
        add_smaller(folder, factor)
    whole = open_folder(folder)
    assert whole.train.image(0).shape[1] == SCALE * WIDTH and not is_small(whole)
    for max_side, factor in ((WIDTH, 8), (2 * WIDTH, 4), (3 * WIDTH, 2), (5 * WIDTH, 1)):
        caplog.clear()
        with caplog.at_level("INFO"):
            capture = open_folder(folder, max_side)
        assert capture.warnings == ()
        assert capture.train.names == whole.train.names
        assert (f"images_{factor}, as capture.max_side={max_side}" in caplog.text) == (factor > 1)
        assert int(capture.train.cameras.width[0]) == max_side
        if max_side * factor == SCALE * WIDTH:
            assert is_small(capture)
            wanted = image_rays(whole.train.cameras.resized(max_side, max_side * 3 // 4), 0)
            assert np.allclose(image_rays(capture.train.cameras, 0).directions, wanted.directions)


def test_files_that_are_numbered_anew(tmp_path: Path) -> None:
    folder = large_llff(tmp_path)
    add_smaller(folder, 8, "image{:03}.png")
    assert is_small(open_folder(folder, WIDTH))


def one_missing(folder: Path) -> None:
    (folder / "images_8/0002.png").unlink()


def another_shape(folder: Path) -> None:
    save_image(folder / "images_8/0002.png", noise_image(2).transpose(1, 0, 2).copy())


@pytest.mark.parametrize("spoil", [one_missing, another_shape])
def test_other_files_are_left_alone(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    folder = large_colmap(tmp_path)
    add_smaller(folder, 8)
    spoil(folder)
    capture = open_folder(folder, WIDTH)
    assert not is_small(capture) and int(capture.train.cameras.width[0]) == WIDTH


def test_intrinsics_must_say_their_size(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path, fl_x=20.0 * SCALE)
    for index, name in enumerate(NAMES):
        save_image(folder / name, noise_image(index + 50, scale=SCALE))
    add_smaller(folder, 8)
    assert not is_small(open_folder(folder, WIDTH))


def test_a_folder_that_names_its_scale_is_no_cause_for_a_warning(tmp_path: Path) -> None:
    write_model(tmp_path / "sparse/0", ".bin", tiny_model(SCALE))
    add_smaller(tmp_path, 8)
    assert open_folder(tmp_path).warnings == ()
    for index in range(len(NAMES)):
        save_image(tmp_path / f"images_8/{index:04}.png", noise_image(index, scale=2))
    (warning,) = open_folder(tmp_path).warnings
    assert "another size than their intrinsics" in warning
