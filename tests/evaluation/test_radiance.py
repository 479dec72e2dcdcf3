"""Scene-linear measures on images whose numbers are known."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

from neural_render.core.color import film_from_linear, linear_from_srgb, quantised
from neural_render.core.errors import DivergenceError
from neural_render.evaluation.pages.plan import NO_PLAN
from neural_render.evaluation.pages.report import write_report
from neural_render.evaluation.pictures import HEADER_ROWS
from neural_render.evaluation.radiance import (
    RadianceProtocol,
    evaluate_radiance,
    radiance_psnr,
    relative_mse,
)
from neural_render.evaluation.settings import EvaluationSettings
from tests.evaluation.photos import FIGURES, image_of


@dataclass(frozen=True, kw_only=True)
class Halves:
    """References of (first half, second half)."""

    pairs: tuple[tuple[Tensor, Tensor], ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"view {index}" for index in range(len(self.pairs)))

    def half(self, index: int, which: int) -> Tensor:
        return self.pairs[index][which]


def flat(value: float, width: int = 24, height: int = 16) -> Tensor:
    return torch.full((height, width, 3), value)


def measure(views: Halves, renders: list[Tensor], folder: Path, **changes: Any) -> dict[str, Any]:
    exposure = changes.pop("exposure", 1.0)
    return evaluate_radiance(
        views,
        lambda index: image_of(renders[index]),
        protocol=RadianceProtocol(
            split="a disc", background="black", exposure=exposure, reference="2 x 512 samples"
        ),
        figures=FIGURES,
        settings=EvaluationSettings(**changes),
        folder=folder,
        progress=False,
    )


def test_equal_images_are_perfect(tmp_path: Path) -> None:
    one = torch.rand(16, 24, 3, generator=torch.Generator().manual_seed(0)) * 4
    record = measure(Halves(pairs=((one, one),)), [one], tmp_path)
    assert (record["psnr"], record["psnr_display"], record["psnr_reference"]) == (100, 100, 100)
    assert record["ssim"] == pytest.approx(1) and record["flip"] == 0
    assert record["relative_mse"] == 0 and record["mean_ratio"] == pytest.approx(1)
    assert json.loads((tmp_path / "metrics.json").read_text()) == record


def test_the_reference_is_the_mean_of_both_halves(tmp_path: Path) -> None:
    views = Halves(pairs=((flat(0.1), flat(0.3)),))
    assert measure(views, [flat(0.2)], tmp_path)["psnr"] == 100


def test_psnr_is_of_clipped_srgb_without_rounding() -> None:
    """A thousandth apart in sRGB: 60 dB, which 8 bits could not tell from nothing."""
    first, second = (linear_from_srgb(flat(value).double()) for value in (0.5, 0.501))
    assert radiance_psnr(first, second, 1.0) == pytest.approx(60, abs=1e-3)
    assert radiance_psnr(first / 8, second / 8, 8.0) == pytest.approx(60, abs=1e-3)
    assert radiance_psnr(flat(1.0), flat(50.0), 1.0) == 100, "both are clipped to white"
    assert radiance_psnr(flat(1.0), flat(50.0), 0.1) < 20


def test_the_halves_bound_what_can_be_measured(tmp_path: Path) -> None:
    halves = (linear_from_srgb(flat(0.5).double()), linear_from_srgb(flat(0.6).double()))
    record = measure(Halves(pairs=(halves,)), [flat(0.2)], tmp_path)
    assert record["psnr_reference"] == pytest.approx(20, abs=1e-4)


def test_relative_error_has_a_floor() -> None:
    assert relative_mse(flat(0.3), flat(0.2), 1.0) == pytest.approx(0.01 / 0.05, rel=1e-5)
    assert relative_mse(flat(0.1), flat(0.0), 1.0) == pytest.approx(1, rel=1e-5)
    assert relative_mse(flat(220.0), flat(200.0), 1.0) == pytest.approx(0.01, rel=1e-4)
    assert relative_mse(flat(0.2), flat(0.1), 3.0) == pytest.approx(0.09 / 0.10, rel=1e-5)


def test_the_mean_ratio_of_all_views_is_that_of_all_light(tmp_path: Path) -> None:
    views = Halves(pairs=((flat(3.0), flat(3.0)), (flat(1.0), flat(1.0))))
    record = measure(views, [flat(3.3), flat(0.8)], tmp_path)
    assert [view["mean_ratio"] for view in record["views"]] == pytest.approx([1.1, 0.8])
    assert record["mean_ratio"] == pytest.approx(4.1 / 4)
    for key in ("psnr", "psnr_display", "relative_mse", "ssim", "flip"):
        values = [view[key] for view in record["views"]]
        assert record[key] == pytest.approx(sum(values) / 2)


def test_a_black_view_has_no_ratio(tmp_path: Path) -> None:
    record = measure(Halves(pairs=((flat(0.0), flat(0.0)),)), [flat(0.5)], tmp_path)
    assert record["mean_ratio"] is None and record["views"][0]["mean_ratio"] is None


def test_pictures_are_as_the_screen_shows_them(tmp_path: Path) -> None:
    record = measure(Halves(pairs=((flat(2.0), flat(4.0)),)), [flat(20.0)], tmp_path, exposure=0.5)
    panel = np.asarray(PIL.Image.open(tmp_path / record["views"][0]["image"]))[HEADER_ROWS:]
    for columns, value in ((slice(0, 24), 1.5), (slice(24, 48), 10.0)):
        level = int(quantised(film_from_linear(torch.tensor(value))))
        assert (panel[:, columns] == level).all()
    levels = [int(quantised(film_from_linear(torch.tensor(value)))) for value in (1.5, 10.0)]
    expected = 20 * math.log10(255 / (levels[1] - levels[0]))
    assert record["psnr_display"] == pytest.approx(expected)


def test_metrics_can_be_switched_off(tmp_path: Path) -> None:
    views = Halves(pairs=((flat(1.0), flat(1.0)),) * 3)
    record = measure(
        views, [flat(1.0)] * 3, tmp_path, ssim=False, flip=False, images=False, max_views=2
    )
    assert record["ssim"] is None and record["flip"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]
    assert record["protocol"]["views"] == "2 of 3, spread evenly"


def test_the_protocol_says_what_was_measured(tmp_path: Path) -> None:
    record = measure(Halves(pairs=((flat(1.0), flat(1.0)),)), [flat(1.0)], tmp_path, exposure=0.25)
    protocol = record["protocol"]
    assert (protocol["exposure"], protocol["split"], protocol["background"]) == (
        0.25,
        "a disc",
        "black",
    )
    assert protocol["reference"] == "2 x 512 samples" and protocol["resolution"] == "24x16"
    assert set(protocol["metrics"]) <= set(record) and "clip(sRGB" in protocol["metrics"]["psnr"]
    for key in ("train_seconds", "num_samples", "backend"):
        assert record[key] == getattr(FIGURES, key)


def test_a_render_that_is_not_finite_is_divergence(tmp_path: Path) -> None:
    broken = flat(1.0)
    broken[2, 3, 1] = math.inf
    with pytest.raises(DivergenceError, match="held-out view view 0 has 1 pixels that are not"):
        measure(Halves(pairs=((flat(1.0), flat(1.0)),)), [broken], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_report_shows_it(tmp_path: Path) -> None:
    views = Halves(pairs=((flat(1.0), flat(1.1)),))
    record = measure(views, [flat(1.2)], tmp_path / "evaluation")
    write_report(
        tmp_path / "report.html",
        title="baked",
        record=record,
        curve=tmp_path / "metrics.jsonl",
        changed_settings={},
        plan=NO_PLAN,
    )
    page = (tmp_path / "report.html").read_text()
    for words in (
        "relative MSE",
        "mean light",
        "PSNR as shown",
        "reference&#39;s halves",
        ">reference<",
    ):
        assert words in page
