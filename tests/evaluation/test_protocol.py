"""The protocol says what was done, and refuses what it does not know."""

from dataclasses import replace

import pytest

from neural_render.core.errors import EvaluationError, SettingError
from neural_render.evaluation.protocol import (
    EvaluationProtocol,
    background_color,
    background_name,
    check_comparable,
    resolution_text,
    views_text,
)


@pytest.mark.parametrize(
    ("setting", "trained", "has_opacity", "expected"),
    [
        ("black", "white", True, "black"),
        ("auto", "black", True, "black"),
        ("auto", "random", True, "white"),
        ("auto", "random", False, "black"),
        ("white", "random", False, "white"),
    ],
)
def test_the_background_follows_setting_then_training_then_data(
    setting: str, trained: str, has_opacity: bool, expected: str
) -> None:
    assert background_name(setting, trained=trained, has_opacity=has_opacity) == expected


def test_backgrounds_have_colours() -> None:
    assert background_color("white") == (1.0, 1.0, 1.0)
    assert background_color("black") == (0.0, 0.0, 0.0)


def test_an_unknown_background_is_refused() -> None:
    with pytest.raises(SettingError, match=r"evaluation\.background=pink is not known; give auto"):
        EvaluationProtocol(split="s", background="pink", colour_space="srgb")


def test_an_unknown_colour_space_is_refused() -> None:
    with pytest.raises(SettingError, match="'acescg' is not known; give srgb or linear"):
        EvaluationProtocol(split="s", background="white", colour_space="acescg")


def test_the_record_is_complete() -> None:
    protocol = EvaluationProtocol(split="every 8th", background="white", colour_space="srgb")
    record = protocol.as_dict(resolution="8x8", views="all 9", masked=True)
    assert record["split"] == "every 8th"
    assert record["background"] == "white"
    assert record["views"] == "all 9"
    assert "count in no metric" in str(record["masks"])
    assert {"colour_space", "resolution", "quantisation", "rays", "pose", "appearance"} <= set(
        record
    )
    assert set(record["metrics"]) == {"psnr", "ssim", "flip"}  # type: ignore[call-overload]


def test_views_are_those_that_were_chosen() -> None:
    assert views_text(9, available=9) == "all 9"
    assert views_text(3, available=9) == "3 of 9, spread evenly"
    assert (
        views_text(3, available=9, left_out=2)
        == "3 of 9, spread evenly, of which 2 are masked as a whole and left out"
    )


def test_resolutions_are_one_or_a_range() -> None:
    assert resolution_text([]) == "none"
    assert resolution_text([(800, 600), (800, 600)]) == "800x600"
    assert resolution_text([(80, 60), (8, 6), (10, 6)]) == "3 sizes, 8x6 to 80x60"


def test_records_of_unequal_protocol_are_not_compared() -> None:
    protocol = EvaluationProtocol(split="every 8th", background="white", colour_space="srgb")
    given = {"resolution": "8x8", "views": "all 9", "masked": False}
    plain = {"psnr": 20.0, "protocol": protocol.as_dict(**given)}
    fitted = replace(protocol, pose="fitted", region="the right half of each view")
    other = {"psnr": 25.0, "protocol": fitted.as_dict(**given)}
    check_comparable({"one": plain, "two": dict(plain)})
    with pytest.raises(EvaluationError, match=r"two cannot be compared with one: pose is 'fitted'"):
        check_comparable({"one": plain, "two": other})
    older = {"protocol": {k: v for k, v in plain["protocol"].items() if k != "region"}}
    with pytest.raises(EvaluationError, match="region is 'whole views' there and 'not stated'"):
        check_comparable({"older": older, "newer": plain})
