"""What a number means: the protocol that is written beside every measured figure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from neural_render.core.errors import EvaluationError, SettingError
from neural_render.evaluation.metrics import METRIC_DEFINITIONS
from neural_render.rendering.settings import PICTURE_MIN_TRANSMITTANCE, PICTURE_MIN_WEIGHT

_BACKGROUNDS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0)}


@dataclass(frozen=True, kw_only=True)
class EvaluationProtocol:
    """How the test views were chosen and what was allowed; the rest ``evaluate`` sees itself."""

    split: str  # how training and test views were told apart
    background: str  # white or black
    colour_space: str  # of the run's radiance: "srgb" or "linear"
    pose: str = "given by the capture, not optimised"
    appearance: str = "none, not fitted to test views"
    region: str = "whole views"  # what of them is measured

    def __post_init__(self) -> None:
        """Check what later code would only notice by wrong colours."""
        background_color(self.background)
        if self.colour_space not in ("srgb", "linear"):
            raise SettingError(
                f"colour space {self.colour_space!r} is not known; give srgb or linear."
            )

    def as_dict(self, *, resolution: str, views: str, masked: bool) -> dict[str, object]:
        """All of the protocol as JSON, with what was seen while measuring."""
        masks = (
            "masked pixels count in no metric; SSIM and FLIP see the photo's values there"
            if masked
            else "none"
        )
        return {
            **asdict(self),
            "resolution": resolution,
            "quantisation": "photo and render rounded to 8 bits per channel, sRGB",
            "rays": f"a colour for every {PICTURE_MIN_WEIGHT:g} of weight; they end where"
            f" {PICTURE_MIN_TRANSMITTANCE:g} of the light is left",
            "alpha": "test views composited on the background in sRGB",
            "views": views,
            "masks": masks,
            "metrics": METRIC_DEFINITIONS,
        }


def check_comparable(records: Mapping[str, Mapping[str, Any]]) -> None:
    """Nothing if all records (by name) were measured alike; EvaluationError saying what differs.

    Numbers of unequal protocol say nothing about each other, however close they are.
    """
    (first, reference), *others = records.items()
    for name, record in others:
        for key in sorted({*reference["protocol"], *record["protocol"]}):
            here, there = (x["protocol"].get(key, "not stated") for x in (reference, record))
            if here != there:
                raise EvaluationError(
                    f"{name} cannot be compared with {first}: {key} is {there!r} there and"
                    f" {here!r} here; evaluate both alike, such as with scripts/evaluate.py"
                )


def check_same_views(records: Mapping[str, Mapping[str, Any]]) -> None:
    """Nothing if all records (by name) are of the same test views, else EvaluationError."""
    (first, reference), *others = records.items()
    wanted = {view["name"] for view in reference["views"]}
    for name, record in others:
        found = {view["name"] for view in record["views"]}
        if odd := sorted(wanted ^ found):
            raise EvaluationError(
                f"{name} cannot be compared with {first}: {len(found)} test views were measured"
                f" there and {len(wanted)} here, and {odd[0]} is only in one of them; compare runs"
                " of one capture, measured on the same views"
            )


def background_name(setting: str, *, trained: str, has_opacity: bool) -> str:
    """The background that ``evaluation.background`` means.

    ``auto`` is the one that training used, if it was fixed: a field shows what is empty in no other
    way. Else it is the convention of the data: white for photos with opacity, black without.
    """
    if setting != "auto":
        return setting
    if trained in _BACKGROUNDS:
        return trained
    return "white" if has_opacity else "black"


def background_color(name: str) -> tuple[float, float, float]:
    """The colour of a background, the same in sRGB and linear."""
    if name not in _BACKGROUNDS:
        raise SettingError(
            f"evaluation.background={name} is not known; give auto, {' or '.join(_BACKGROUNDS)}."
        )
    return _BACKGROUNDS[name]


def views_text(chosen: int, *, available: int, left_out: int = 0) -> str:
    """``all 9`` or ``3 of 9, spread evenly``, and how many of these are masked as a whole."""
    views = f"all {available}" if chosen == available else f"{chosen} of {available}, spread evenly"
    if not left_out:
        return views
    verb = "is" if left_out == 1 else "are"
    return f"{views}, of which {left_out} {verb} masked as a whole and left out"


def resolution_text(sizes: Iterable[tuple[int, int]]) -> str:
    """``800x800``, or the smallest to the largest of several (width, height)."""
    distinct = sorted(set(sizes), key=lambda size: size[0] * size[1])
    if not distinct:
        return "none"
    ends = [f"{width}x{height}" for width, height in (distinct[0], distinct[-1])]
    return ends[0] if len(distinct) == 1 else f"{len(distinct)} sizes, {ends[0]} to {ends[1]}"
