"""What is changed of the settings that are for photographs, one at a time, and how it is judged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.captures.sparse_distances import is_surveyed
from neural_render.core.errors import SettingError
from neural_render.evaluation.settings import EvaluationSettings
from neural_render.fields import FieldSettings
from neural_render.rendering.settings import RenderingSettings
from neural_render.training.settings import TrainingSettings

PLAIN = ("none",)
COLOR = ("none", "exposure")  # what evaluation.fit is, for both sides of a comparison
POSE = ("none", "pose")
EVERY_FIT = ("none", "exposure", "pose")
ADJUSTED = "capture.adjust."
LARGEST_AABB = 128
CLEARER, LEAST_CLEAR = 1.5, 0.1
LITTLE_DISTORTION = 0.005


@dataclass(frozen=True, kw_only=True)
class Change:
    """Settings that are changed together, as words that depend on the capture.

    No words: there is nothing to change, as the capture lacks what the setting is about.
    """

    name: str
    words: Callable[[Capture], tuple[str, ...]]
    fits: tuple[str, ...] = PLAIN


def default_of(key: str) -> Any:
    """The default of a setting of photos, field, training, rendering or evaluation."""
    value: Any = {
        "capture": CaptureSettings(),
        "field": FieldSettings(),
        "training": TrainingSettings(),
        "rendering": RenderingSettings(),
        "evaluation": EvaluationSettings(),
    }
    first, *rest = key.split(".")
    value = value[first]
    for part in rest:
        value = getattr(value, part)
    return value


def switched(key: str, value: bool | int | float) -> str:
    """The word that sets ``key`` to ``value``; where that is the default, that switches it off."""
    chosen = type(value)(0) if default_of(key) == value else value
    return f"{key}={str(chosen).lower()}"


def changes(chosen: Sequence[str]) -> tuple[Change, ...]:
    """The changes of these names, all if there are none; ``key=value+key=value`` is one too."""
    known = {change.name: change for change in CHANGES}
    found = []
    for name in chosen or known:
        if "=" in name and all("." in word.partition("=")[0] for word in name.split("+")):
            words = tuple(name.split("+"))
            adjusts = any(word.startswith(ADJUSTED) for word in words)
            found.append(_always(name, words, EVERY_FIT if adjusts else PLAIN))
        elif name in known:
            found.append(known[name])
        else:
            raise SettingError(
                f"settings={name} is none of {', '.join(known)}, and not written as"
                " section.name=value."
            )
    return tuple(found)


def _always(name: str, words: tuple[str, ...], fits: tuple[str, ...] = PLAIN) -> Change:
    return Change(name=name, words=lambda _: words, fits=fits)


def _switch(
    name: str, key: str, value: bool | int | float, fits: tuple[str, ...] = PLAIN
) -> Change:
    return _always(name, (switched(key, value),), fits)


def _where(applies: Callable[[Capture], bool], change: Change) -> Change:
    """The change, for captures to which it applies."""

    def words(capture: Capture) -> tuple[str, ...]:
        return change.words(capture) if applies(capture) else ()

    return Change(name=change.name, words=words, fits=change.fits)


def _has_points(capture: Capture) -> bool:
    return len(capture.points.positions) > 0


def _has_found_points(capture: Capture) -> bool:
    return capture.points.found


def _is_forward(capture: Capture) -> bool:
    return not capture.frame.projection.is_identity


def _in_cubes(capture: Capture) -> bool:
    return not _is_forward(capture)


def _nested(capture: Capture) -> bool:
    return _in_cubes(capture) and capture.frame.cascades > 1


def _open_behind(capture: Capture) -> bool:
    """Whether something farther than all cubes may be seen."""
    return _in_cubes(capture) and not capture.has_opacity


def _distortion(capture: Capture) -> tuple[str, ...]:
    """None where photos have it by default, else a little."""
    return (f"training.distortion_weight={0 if _is_forward(capture) else LITTLE_DISTORTION}",)


def _whole_cube(name: str, factor: float) -> Change:
    """Of nested cubes the outermost is larger or smaller, that of interest stays."""

    def words(capture: Capture) -> tuple[str, ...]:
        scale = int(2 ** (capture.frame.cascades - 1) * factor)
        fits = _in_cubes(capture) and 1 <= scale <= LARGEST_AABB
        return (f"capture.aabb_scale={scale}",) if fits else ()

    return Change(name=name, words=words)


def _clearer(capture: Capture) -> tuple[str, ...]:
    """More empty space before lenses than the capture's own, which is in field units."""
    if _is_forward(capture):
        return ()
    sides = capture.frame.near * 2 ** (capture.frame.cascades - 1)
    return (f"rendering.clear_near={min(1.0, CLEARER * sides or LEAST_CLEAR):.2g}",)


CHANGES = (
    _switch("exposure", "capture.adjust.exposure", True, COLOR),
    _switch("white_balance", "capture.adjust.white_balance", True, COLOR),
    _switch("vignetting", "capture.adjust.vignetting", True, COLOR),
    _switch("appearance", "capture.adjust.appearance", 4, COLOR),
    _switch("poses", "capture.adjust.poses", True, POSE),
    _always("poses_sharp", ("capture.adjust.poses=true", "capture.adjust.blur=0"), POSE),
    _switch("intrinsics", "capture.adjust.intrinsics", True, POSE),
    _where(_has_found_points, _always("find_points", ("capture.find_points=false",))),
    _where(is_surveyed, _always("distance", ("training.distance_weight=0",))),
    _where(_has_points, _switch("points_first", "training.points_first", 0.25)),
    Change(name="distortion", words=_distortion),
    Change(name="clear_near", words=_clearer),
    _where(_nested, _switch("near_fade", "training.near_fade", 1.0)),
    _where(_open_behind, _switch("far", "field.far_rows", 128)),
    _always("sh_degree", ("field.sh_degree=2",)),
    _switch("transients", "training.transients", True),
    _switch("antialias", "rendering.antialias", True),
    _where(_nested, _always("even_steps", ("rendering.cone_angle=0",))),
    _where(_is_forward, _always("plain_cubes", ("capture.scene=unbounded",))),
    _whole_cube("smaller_scene", 0.5),
    _whole_cube("larger_scene", 2.0),
)
# Records of other defaults are of other runs.
WATCHED = (
    *("capture.adjust." + name for name in ("exposure", "white_balance", "vignetting")),
    *("capture.adjust." + name for name in ("appearance", "poses", "intrinsics")),
    *("capture.adjust." + name for name in ("pose_rate", "blur", "blur_until")),
    *("training." + name for name in ("distance_weight", "distance_fade", "points_first")),
    *("training." + name for name in ("distortion_weight", "transients", "error_sampling")),
    *("capture.find_points", "training.near_fade", "field.far_rows", "field.sh_degree"),
    *("rendering." + name for name in ("clear_near", "antialias", "cone_angle")),
    *("capture." + name for name in ("scene", "aabb_scale", "test_every")),
    *("evaluation." + name for name in ("fit_steps", "fit_blur")),
)
