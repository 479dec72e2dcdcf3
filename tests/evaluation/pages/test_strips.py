"""Which views are drawn, and how their pictures are read again."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from neural_render.evaluation.pages.strips import (
    MAX_SIDE,
    error_of,
    layer,
    same_picture,
    spread_ranks,
)
from neural_render.evaluation.pictures import HEADER_ROWS, read_panel, write_panel


def picture(width: int, height: int, level: int = 0) -> Image.Image:
    return Image.new("RGB", (width, height), (level, level, level))


@pytest.mark.parametrize(
    ("available", "most", "expected"),
    [
        (0, 4, []),
        (1, 4, [0]),
        (2, 4, [0, 1]),
        (5, 8, [0, 4, 2, 1, 3]),
        (101, 5, [0, 100, 50, 25, 75]),
    ],
)
def test_ranks_begin_with_the_ends_and_are_spread(
    available: int, most: int, expected: list[int]
) -> None:
    assert spread_ranks(available, most) == expected


@pytest.mark.parametrize("count", range(20))
def test_every_rank_comes_once(count: int) -> None:
    assert sorted(spread_ranks(count, 100)) == list(range(count))


def test_a_panel_is_read_as_it_was_written(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    photo, render = (
        torch.randint(0, 256, (6, 9, 3), generator=generator, dtype=torch.uint8) for _ in range(2)
    )
    path = tmp_path / "a.png"
    write_panel(path, photo, render, torch.zeros(6, 9), captions=("", "", ""), error_scale=1.0)
    found = read_panel(path, (9, 6))
    assert found[0].tobytes() == photo.numpy().tobytes()
    assert found[1].tobytes() == render.numpy().tobytes()
    assert len(found) == 3
    with pytest.raises(OSError, match="is not the picture of a view of 9x7"):
        read_panel(path, (9, 7))


def test_captions_grow_with_the_view_and_older_ones_are_read(tmp_path: Path) -> None:
    path, photo = tmp_path / "a.png", torch.full((2, 2000, 3), 7, dtype=torch.uint8)
    write_panel(path, photo, photo, photo[..., 0] / 7, captions=("a", "b", "c"), error_scale=1.0)
    panel = Image.open(path)
    assert panel.height == 2 + 3 * HEADER_ROWS
    assert panel.crop((0, 0, 50, 3 * HEADER_ROWS)).getextrema()[0][0] < 50, "letters are dark"
    shown = read_panel(path, (2000, 2))[0].tobytes()
    panel.crop((0, 2 * HEADER_ROWS, *panel.size)).save(path)
    assert read_panel(path, (2000, 2))[0].tobytes() == shown == photo.numpy().tobytes()


def test_large_pictures_are_made_smaller_and_small_ones_kept() -> None:
    large, small = layer("a", picture(4 * MAX_SIDE, 2 * MAX_SIDE)), layer("b", picture(3, 2))
    assert (large.width, large.height) == (MAX_SIDE, MAX_SIDE // 2)
    assert (small.width, small.height) == (3, 2)
    assert large.uri.startswith("data:image/webp;base64,")


def test_errors_are_dark_where_there_is_none() -> None:
    photo = picture(4, 2, 100)
    photo.putpixel((3, 1), (255, 255, 255))
    heat = error_of(photo, picture(4, 2, 100))
    assert max(heat.getpixel((0, 0))) < 20 and min(heat.getpixel((3, 1))[:2]) > 200


def test_other_photos_are_told_apart_from_noisy_ones() -> None:
    assert same_picture(picture(4, 4, 100), picture(4, 4, 104))
    assert not same_picture(picture(4, 4, 100), picture(4, 4, 120))
    assert not same_picture(picture(4, 4), picture(4, 5))
