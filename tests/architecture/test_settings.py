"""Every setting says what it means, stands in the one tree, and has a default that is allowed."""

import dataclasses
import importlib
import inspect
from dataclasses import dataclass, field

import pytest

from neural_render.config.settings import Settings, check_ranges, list_settings
from tests.architecture.sources import PACKAGE, REPOSITORY, python
from tests.flows.programs import run_here

# The names that are promised to users and to later issues.
CANONICAL = {
    "": ["outputs", "name", "run", "seed"],
    "capture": ["path", "max_side", "test_every"],
    "field.grid": ["levels", "features", "log2_rows", "coarsest", "finest", "hash"],
    "training": ["num_steps", "max_seconds", "clock", "samples_per_step", "checkpoint_every"],
    "kernels": ["backend", "precision", "threads"],
    "render": ["path", "output", "size"],
}
PRESETS = sorted(path.stem for path in (REPOSITORY / "configs/preset").glob("*.yaml"))


def sections(root: type) -> set[type]:
    """All settings dataclasses in a tree, its root included."""
    found = {root}
    for entry in dataclasses.fields(root):
        if dataclasses.is_dataclass(entry.default_factory):
            found |= sections(entry.default_factory)
    return found


def settings_classes() -> set[type]:
    """All classes of the package that are called settings."""
    found = set()
    for source in python():
        if source.module.split(".")[0] == PACKAGE:
            module = importlib.import_module(source.module)
            found |= {
                member
                for name, member in inspect.getmembers(module, inspect.isclass)
                if name.endswith("Settings") and member.__module__ == source.module
            }
    return found


def complaints(root: type) -> list[str]:
    """What is wrong with the settings classes of a tree."""
    problems = []
    for section in sections(root):
        if section.__dataclass_params__.frozen:
            problems.append(f"{section.__name__} is frozen: Hydra cannot merge into it")
        for entry in dataclasses.fields(section):
            where = f"{section.__name__}.{entry.name}"
            if not entry.kw_only:
                problems.append(f"{where} is not keyword-only")
            if entry.default is entry.default_factory is dataclasses.MISSING:
                problems.append(f"{where} has no default")
            is_section = dataclasses.is_dataclass(entry.default_factory)
            if not is_section and not entry.metadata.get("help", "").strip():
                problems.append(f"{where} has no help")
    return sorted(problems)


def test_every_setting_has_help_and_a_default() -> None:
    assert complaints(Settings) == []


def test_every_settings_class_stands_in_the_tree() -> None:
    assert {found.__qualname__ for found in settings_classes() - sections(Settings)} == set()


def test_the_defaults_are_allowed() -> None:
    check_ranges(Settings())


def test_the_promised_names_exist() -> None:
    names = {setting.key for setting in list_settings(Settings)}
    promised = {f"{group}.{leaf}".lstrip(".") for group, own in CANONICAL.items() for leaf in own}
    assert sorted(promised - names) == []


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_composes(
    preset: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (f"preset={preset}", "--cfg", "job")
    done = run_here("train.py", *words, monkeypatch=monkeypatch, capsys=capsys)
    assert (done.code, done.errors) == (0, "")
    assert "training:" in done.output


def test_careless_settings_are_found() -> None:
    @dataclass(frozen=True)
    class Careless:
        silent: int = 1
        blank: int = field(default=1, metadata={"help": " "})

    @dataclass(kw_only=True)
    class Root:
        careless: Careless = field(default_factory=Careless)
        missing: int = field(metadata={"help": "a number"})

    assert complaints(Root) == [
        "Careless is frozen: Hydra cannot merge into it",
        "Careless.blank has no help",
        "Careless.blank is not keyword-only",
        "Careless.silent has no help",
        "Careless.silent is not keyword-only",
        "Root.missing has no default",
    ]
