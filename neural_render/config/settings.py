"""The whole settings tree, and the list of its leaves that help, checks and parsing go through."""

import dataclasses
import difflib
import math
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import SettingError
from neural_render.core.lights import check_dials
from neural_render.evaluation.settings import ComparisonSettings, EvaluationSettings
from neural_render.export.formats import ExportSettings, check_export
from neural_render.export.settings import RenderSettings, check_film
from neural_render.fields.settings import FieldSettings
from neural_render.kernels.settings import KernelSettings
from neural_render.rendering.settings import RenderingSettings, check_steps
from neural_render.scenes.settings import SceneSettings, TracerSettings, ViewSettings
from neural_render.training.packages.settings import PackageSettings
from neural_render.training.settings import TrainingSettings
from neural_render.training.settings import check_settings as check_training
from neural_render.viewer.settings import ViewerSettings

LARGEST = 1 << 53  # of whole numbers without a maximum of their own: doubles hold no larger ones
NAMING = ("outputs", "name", "run", "runs")  # settings that say which run is meant


AFTERWARDS = ("runs", "comparison", "export", "package")  # what is done with runs that are there


@dataclass(kw_only=True)
class Settings:
    """Everything that a command can be told; each section stands beside what it configures."""

    outputs: str = dataclasses.field(
        default="outputs", metadata={"help": "the folder that holds all runs"}
    )
    name: str = dataclasses.field(
        default="", metadata={"help": "the run's name; empty: the capture's name"}
    )
    run: str = dataclasses.field(
        default="",
        metadata={
            "help": "an existing run folder: resume it, continue it, render it; or, to look at, a"
            " package of one"
        },
    )
    runs: list[str] = dataclasses.field(
        default_factory=list,
        metadata={"help": "[DIR,DIR,...]: the run folders to put side by side"},
    )
    seed: int = dataclasses.field(
        default=0, metadata={"help": "seed of everything that is random", "minimum": 0}
    )
    capture: CaptureSettings = dataclasses.field(default_factory=CaptureSettings)
    scene: SceneSettings = dataclasses.field(default_factory=SceneSettings)
    views: ViewSettings = dataclasses.field(default_factory=ViewSettings)
    tracer: TracerSettings = dataclasses.field(default_factory=TracerSettings)
    field: FieldSettings = dataclasses.field(default_factory=FieldSettings)
    rendering: RenderingSettings = dataclasses.field(default_factory=RenderingSettings)
    training: TrainingSettings = dataclasses.field(default_factory=TrainingSettings)
    kernels: KernelSettings = dataclasses.field(default_factory=KernelSettings)
    evaluation: EvaluationSettings = dataclasses.field(default_factory=EvaluationSettings)
    comparison: ComparisonSettings = dataclasses.field(default_factory=ComparisonSettings)
    render: RenderSettings = dataclasses.field(default_factory=RenderSettings)
    package: PackageSettings = dataclasses.field(default_factory=PackageSettings)
    export: ExportSettings = dataclasses.field(default_factory=ExportSettings)
    viewer: ViewerSettings = dataclasses.field(default_factory=ViewerSettings)
    lights: dict[str, Any] = dataclasses.field(
        default_factory=dict,
        metadata={
            "help": "the light group NAME of a baked scene: a number times the file's emission, or"
            " a list [red,green,blue] instead of it"
        },
    )


def sections_of_training(*without: str) -> tuple[str, ...]:
    """The names of the tree's sections that a program which makes runs takes, but some."""
    left_out = (*AFTERWARDS, *without)
    return tuple(entry.name for entry in dataclasses.fields(Settings) if entry.name not in left_out)


def settings_below(*names: str) -> tuple[str, ...]:
    """The full names of the settings of some groups, or of a setting itself."""
    known = [setting.key for setting in list_settings(Settings)]
    return tuple(
        key for key in known if key in names or key.startswith(tuple(f"{n}." for n in names))
    )


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One leaf of the tree: its full name, type, default and what its metadata says."""

    key: str
    kind: Any
    default: Any
    metadata: Mapping[str, Any]

    @property
    def is_free(self) -> bool:
        """Whether it is a group of settings whose names are the user's."""
        return typing.get_origin(self.kind) is dict

    @property
    def wanted(self) -> str:
        """What a value must be, in words."""
        if "choices" in self.metadata:
            return "one of " + ", ".join(str(choice) or "''" for choice in self.metadata["choices"])
        if self.is_free:
            return "a number or a list like [1,0.9,0.8]"
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
        return words.get(self.kind, f"a list like {_plain(self.default)}")


def _plain(value: Any) -> str:
    """A value as the user would type it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return "[" + ",".join(map(_plain, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_plain(entry)}" for key, entry in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def typed(setting: Setting) -> str:
    """``key=default`` as the user would type it."""
    if setting.is_free:
        return f"{setting.key}.NAME=VALUE"
    return f"{setting.key}={_plain(setting.default)}"


def list_settings(root: Any, prefix: str = "") -> tuple[Setting, ...]:
    """All leaves of a settings dataclass, or of an instance with its values as the defaults.

    A section's own leaves come before those of the sections inside it.
    """
    values = root() if isinstance(root, type) else root
    kinds = typing.get_type_hints(type(values))
    leaves: list[Setting] = []
    sections: list[Setting] = []
    for entry in dataclasses.fields(values):
        value = getattr(values, entry.name)
        key = prefix + entry.name
        if dataclasses.is_dataclass(value):
            sections += list_settings(value, f"{key}.")
        else:
            kind = kinds[entry.name]
            leaves.append(Setting(key=key, kind=kind, default=value, metadata=entry.metadata))
    return tuple(leaves + sections)


def completed(settings: Settings, *, name: str, log2_rows: int) -> Settings:
    """The same settings with these two where they were left open."""
    grid = settings.field.grid
    grid = dataclasses.replace(grid, log2_rows=grid.log2_rows or log2_rows)
    field = dataclasses.replace(settings.field, grid=grid)
    return dataclasses.replace(settings, name=settings.name or name, field=field)


def changed_settings(settings: Settings) -> dict[str, str]:
    """The values that differ from their defaults, as the user would type them."""
    defaults = {setting.key: setting.default for setting in list_settings(Settings)}
    return {
        setting.key: _plain(setting.default)
        for setting in list_settings(settings)
        if setting.default != defaults[setting.key]
    }


def differing_settings(settings: Sequence[Settings]) -> dict[str, list[str]]:
    """The settings in which some runs differ, with the value of each as the user would type it.

    What names a run, and is another in each, is left out.
    """
    values = [
        {setting.key: _plain(setting.default) for setting in list_settings(each)}
        for each in settings
    ]
    rows = {key: [each[key] for each in values] for key in values[0] if key not in NAMING}
    return {key: row for key, row in rows.items() if len(set(row)) > 1}


def check(settings: Settings) -> None:
    """SettingError for the first value that is wrong whatever the capture is."""
    check_ranges(settings)
    check_steps(settings.rendering)
    check_training(settings.training)
    check_film(settings.render)
    check_export(settings.export)
    check_dials(settings.lights)


def check_ranges(settings: Settings) -> None:
    """Raises SettingError for the first value outside what its metadata allows.

    Metadata: ``minimum``, ``maximum`` (both inclusive), ``choices``; numbers are always finite.
    """
    for setting in list_settings(settings):
        value, limits = setting.default, setting.metadata
        given = f"{setting.key}={_plain(value):.80}"
        if "choices" in limits and value not in limits["choices"]:
            hint = closest(value, limits["choices"]) if isinstance(value, str) else ""
            raise SettingError(f"{given} is not {setting.wanted}{hint or '.'}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if isinstance(value, float) and not math.isfinite(value):
            raise SettingError(f"{given} is not a finite number; give {setting.wanted}.")
        if value < limits.get("minimum", value):
            raise SettingError(f"{given} is too small; give at least {limits['minimum']}.")
        most = limits.get("maximum", LARGEST if isinstance(value, int) else value)
        if value > most:
            raise SettingError(f"{given} is too large; give at most {most}.")


def closest(word: str, known: Iterable[str]) -> str:
    """``"; did you mean X?"``, or nothing where nothing is similar."""
    names = list(known)
    same_leaf = [name for name in names if name.rpartition(".")[2] == word.rpartition(".")[2]]
    found = same_leaf or difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""
