"""The conditions that ``conftest.py`` promises to every test hold, seen from a test."""

import os
from pathlib import Path

import hypothesis
import pytest
import torch

from neural_render.captures.video.decoding import is_video
from neural_render.core.color import srgb_from_linear
from neural_render.core.rays import Rays
from neural_render.evaluation.metrics import psnr
from tests import conftest


def test_a_wrong_shape_in_a_record_is_an_error() -> None:
    """The import hook fires: records check their tensors against each other."""
    with pytest.raises(Exception, match=r"origins|directions") as caught:
        Rays(origins=torch.zeros(3, 3), directions=torch.zeros(2, 3), footprint=torch.zeros(3))
    assert "TypeCheckError" in type(caught.value).__name__


def test_a_wrong_dtype_in_a_call_is_an_error() -> None:
    """The import hook fires: functions check what they are given."""
    with pytest.raises(Exception, match="linear") as caught:
        srgb_from_linear(torch.zeros(3, dtype=torch.int64))
    assert "BeartypeCallHint" in type(caught.value).__name__
    assert not isinstance(caught.value, TypeError), "the package takes some for bad input"


def test_sizes_in_a_call_that_differ_are_an_error() -> None:
    picture = torch.zeros(2, 4, 3, dtype=torch.uint8)
    with pytest.raises(Exception, match="kept") as caught:
        psnr(picture, picture, torch.ones(3, 4, dtype=torch.bool))
    assert "BeartypeCallHint" in type(caught.value).__name__


def test_a_wrong_type_in_a_call_without_arrays_is_an_error() -> None:
    with pytest.raises(Exception, match="path") as caught:
        is_video("film.mp4")
    assert "BeartypeCallHint" in type(caught.value).__name__


def test_random_cases_repeat_and_have_no_deadline() -> None:
    profile = hypothesis.settings()
    assert profile.derandomize
    assert profile.deadline is None


def test_openmp_threads_sleep_when_idle_and_are_few() -> None:
    assert os.environ["OMP_WAIT_POLICY"] == "passive"
    assert torch.get_num_threads() <= 2


def test_real_data_is_skipped_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(conftest.DATA_VARIABLE, raising=False)
    with pytest.raises(pytest.skip.Exception, match="NEURAL_RENDER_DATA is not set"):
        conftest.find_real_data()


def test_real_data_that_is_not_there_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(conftest.DATA_VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(pytest.fail.Exception, match="gone is not a folder"):
        conftest.find_real_data()


def test_real_data_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(conftest.DATA_VARIABLE, str(tmp_path))
    assert conftest.find_real_data() == tmp_path
