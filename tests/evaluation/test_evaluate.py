"""An evaluation writes numbers that can be computed again from its own pictures."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from neural_render.captures.records import Views
from neural_render.core.color import linear_from_srgb
from neural_render.core.errors import DivergenceError, OutputError
from neural_render.evaluation.evaluate import evaluate, spread
from neural_render.evaluation.pictures import HEADER_ROWS
from neural_render.evaluation.protocol import EvaluationProtocol
from neural_render.evaluation.settings import EvaluationSettings
from neural_render.rendering.images import Image
from tests.evaluation.photos import FIGURES, image_of, make_views
from tests.small_disk import FULL, small_disk


def measure(
    views: Views, render_one: Any, folder: Path, *, colour_space: str = "srgb", **settings: Any
) -> dict[str, Any]:
    protocol = EvaluationProtocol(
        split="every 8th view", background="white", colour_space=colour_space
    )
    return evaluate(
        views,
        render_one,
        protocol=protocol,
        figures=FIGURES,
        settings=EvaluationSettings(**settings),
        folder=folder,
        progress=False,
    )


def brighter(views: Views, levels: int) -> Any:
    """Renders each photo ``levels`` brighter, without quantising."""

    def render(index: int) -> Image:
        photo = views.image(index)[..., :3].float()
        return image_of((torch.where(photo < 128, photo + levels, photo - levels) + 0.3) / 255)

    return render


def test_the_record_and_the_file_say_the_same(tmp_path: Path) -> None:
    views = make_views((30, 20), (16, 40))
    record = measure(views, brighter(views, 2), tmp_path / "evaluation")
    stored = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert stored == record
    assert record["psnr"] == pytest.approx(20 * math.log10(255 / 2))
    assert record["num_views"] == 2 and record["num_steps"] == 300 and record["backend"] == "cpu"
    assert record["protocol"]["resolution"] == "2 sizes, 30x20 to 16x40"
    assert [view["name"] for view in record["views"]] == ["r_0", "r_1"]
    for key in ("psnr", "ssim", "flip", "render_seconds"):
        values = [view[key] for view in record["views"]]
        assert record[key] == pytest.approx(sum(values) / 2)
    for key in ("train_seconds", "train_cpu_seconds", "num_samples", "num_samples_marched"):
        assert record[key] == getattr(FIGURES, key)


def test_pictures_hold_photo_and_render_exactly(tmp_path: Path) -> None:
    views = make_views((30, 20))
    record = measure(views, brighter(views, 3), tmp_path)
    panel = np.asarray(PIL.Image.open(tmp_path / record["views"][0]["image"])).astype(int)
    assert panel.shape == (20 + HEADER_ROWS, 90, 3)
    photo, render = panel[HEADER_ROWS:, :30], panel[HEADER_ROWS:, 30:60]
    assert np.array_equal(photo, views.image(0).numpy())
    assert set(np.abs(render - photo).flatten()) == {3}


def test_wide_pictures_carry_a_scale(tmp_path: Path) -> None:
    views = make_views((300, 12))
    measure(views, brighter(views, 3), tmp_path)
    header = np.asarray(PIL.Image.open(tmp_path / "r_0.png"))[:HEADER_ROWS]
    # The captions are dark on white; only the scale of the error map has colours.
    colored = (np.ptp(header.astype(int), axis=-1) > 60).any(axis=0)
    assert not colored[:600].any()
    assert colored[600:].sum() > 40


def test_switched_off_metrics_are_null_and_leave_an_error_map(tmp_path: Path) -> None:
    views = make_views((30, 20))
    record = measure(views, brighter(views, 2), tmp_path, ssim=False, flip=False)
    assert record["ssim"] is None and record["flip"] is None
    assert record["views"][0]["flip"] is None
    assert (tmp_path / "r_0.png").is_file()


def test_without_pictures_only_numbers_are_written(tmp_path: Path) -> None:
    views = make_views((30, 20))
    record = measure(views, brighter(views, 2), tmp_path, images=False)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]
    assert record["views"][0]["image"] == ""


def test_linear_runs_are_measured_in_srgb(tmp_path: Path) -> None:
    views = make_views((30, 20))

    def render(index: int) -> Image:
        return image_of(linear_from_srgb(views.image(index).float() / 255))

    record = measure(views, render, tmp_path, colour_space="linear")
    assert record["psnr"] == 100.0
    assert record["protocol"]["colour_space"] == "linear"


def test_transparent_photos_are_seen_on_the_background(tmp_path: Path) -> None:
    views = make_views((30, 20), channels=4)

    def render(index: int) -> Image:
        photo = views.image(index).float() / 255
        return image_of(photo[..., :3] * photo[..., 3:] + 1 - photo[..., 3:])

    assert measure(views, render, tmp_path)["psnr"] == 100.0


def test_masked_pixels_count_in_no_metric(tmp_path: Path) -> None:
    views = make_views((30, 20), masked=True)

    def render(index: int) -> Image:
        color = views.image(index).float() / 255
        color[:, :15] = 0.5
        return image_of(color)

    record = measure(views, render, tmp_path)
    assert (record["psnr"], record["ssim"], record["flip"]) == (100.0, pytest.approx(1.0), 0.0)
    assert "count in no metric" in record["protocol"]["masks"]


def test_a_view_without_any_pixel_is_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    views = make_views((30, 20), (1, 20), masked=True)
    views.masks[600:] = 0
    record = measure(views, brighter(views, 2), tmp_path)
    assert "test view r_1 is masked as a whole and was left out" in caplog.text
    assert record["num_views"] == 1
    assert record["protocol"]["views"] == "all 2, of which 1 is masked as a whole and left out"
    record = measure(views, brighter(views, 2), tmp_path, max_views=1)
    assert record["protocol"]["views"] == "1 of 2, spread evenly"


def test_fewer_views_are_spread_over_all(tmp_path: Path) -> None:
    assert spread(10, 3) == [0, 3, 6]
    assert spread(4, 0) == spread(4, 9) == [0, 1, 2, 3]
    views = make_views(*[(12, 8)] * 5)
    record = measure(views, brighter(views, 1), tmp_path, max_views=2)
    assert [view["name"] for view in record["views"]] == ["r_0", "r_2"]
    assert record["protocol"]["views"] == "2 of 5, spread evenly"


def test_names_that_clash_get_pictures_of_their_own(tmp_path: Path) -> None:
    views = make_views((12, 8), (12, 8), names=("a/b.png", "a:b.jpg"))
    record = measure(views, brighter(views, 1), tmp_path)
    assert [view["image"] for view in record["views"]] == ["a_b.png", "a_b_2.png"]
    assert (tmp_path / "a_b_2.png").is_file()


def test_a_render_that_is_not_finite_is_divergence(tmp_path: Path) -> None:
    views = make_views((12, 8))

    def render(index: int) -> Image:
        color = views.image(index).float() / 255
        color[2, 3, 1] = math.nan
        color[0, 0] = math.inf
        return image_of(color)

    with pytest.raises(DivergenceError, match="render of test view r_0 has 2 pixels that are not"):
        measure(views, render, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    views = make_views((64, 64))
    with pytest.raises(OutputError, match=FULL), small_disk():
        measure(views, brighter(views, 1), tmp_path)
    assert list(tmp_path.iterdir()) == []
