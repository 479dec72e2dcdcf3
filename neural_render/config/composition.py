"""From prepared words to ``Settings`` records, and to YAML and back: Hydra lives here alone.

Hydra's main configuration is made here and not in a YAML file, because the defaults stand in the
dataclasses; the folder of presets adds the group ``preset``. Hydra writes no files and no logs.
"""

import dataclasses
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import KeyValidationError, OmegaConfBaseException
from yaml import YAMLError

from neural_render.config.arguments import retyped, unspelled
from neural_render.config.settings import Settings, check, list_settings, typed
from neural_render.core.errors import CheckpointError, SettingError, reason_of
from neural_render.core.files import checked_file, expanded
from neural_render.export.film import is_file
from neural_render.kernels.settings import KernelSettings
from neural_render.training.packages.file import is_package
from neural_render.training.runs.folder import RunFolder
from neural_render.training.sources.views import baked_scene, has_views
from neural_render.viewer.settings import ViewerSettings

HYDRA_VERSION = "1.3"  # whose defaults are meant
HYDRA = {
    # No folder outputs/<date>, no .hydra folder, no log files; a sweep has one folder for all jobs.
    "run": {"dir": "."},
    "sweep": {"dir": "${outputs}/sweeps", "subdir": "."},
    "output_subdir": None,
    "job": {"chdir": False, "name": "neural_render"},
}
DEFAULTS = [
    "settings",
    {"preset": None},
    "_self_",
    {"launcher": None},
    {"override hydra/job_logging": "none"},
    {"override hydra/hydra_logging": "none"},
]

# What a run is begun with stays: the field, its place, and which photos it must not have seen.
FIXED = ("field.", "scene.", "capture.scale", "capture.aabb_scale", "capture.test_every", "seed")
FIXED += ("capture.find_points", "capture.scene", "views.")
# And how its photos were found and placed, which would be others.
FIXED += ("capture.frames", "capture.matching", "capture.mapper", "capture.camera_model")
FREE = ("views.reference_samples", "views.supersampling")  # of a bake's: how views are measured
MOVED = ("scene.path", "scene.environment")  # where a scene lies that a bake knows again
# Photos that were held out can be trained on; those that were seen cannot be held out any more.
HELD_OUT = "capture.holdout_every"
# Where the settings of a run say nothing of these, they were not there yet.
BEFORE = {"capture": {"find_points": False}}
SECONDS, STEPS = "training.max_seconds", "training.num_steps"
# How OmegaConf says which of Python's errors it met.
RAISED = re.compile(r"\b\w+ raised while resolving interpolation: ")
DEEPEST = 20  # groups in groups and lists of settings


class Escape(BaseException):
    """Carries an error past Hydra, which would print a page about any Exception of a job."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def run_job(task: Callable[[Settings], None], *, configs: Path, needs_run: bool) -> None:
    """Runs ``task`` with the settings of ``sys.argv``.

    Raises SettingError for what Hydra rejects, and whatever ``task`` raises.
    """

    def job(config: DictConfig) -> None:
        try:
            task(settings_of_job(config, configs, needs_run))
        except Exception as error:
            raise Escape(error) from error

    words = sys.argv[1:]
    if any(word.startswith(("-", "hydra")) for word in words):
        launch(job, configs)
        return
    # Without words for Hydra itself there is no need of its program, which composes twice.
    with composing():
        config = _composed(words, configs)
    task(settings_of_job(config, configs, needs_run))


def _composed(words: list[str], configs: Path) -> DictConfig:
    """What Hydra would hand to a job, which can ask for its configuration."""
    _register()
    with initialize_config_dir(str(configs), version_base=HYDRA_VERSION):
        config = compose("main", overrides=words, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    return config


def _register(own: Mapping[str, Any] = HYDRA) -> None:
    """Tells Hydra of the main configuration, whose part for itself is ``own``."""
    store = ConfigStore.instance()
    if "settings.yaml" not in store.repo:  # which takes a while
        store.store(name="settings", node=Settings)
    store.store(name="main", node={"defaults": DEFAULTS, "hydra": own})


def launch(job: Callable[[DictConfig], None], configs: Path, sweep_folder: str = "") -> None:
    """Lets Hydra call ``job`` as ``sys.argv`` says: once, or for each combination of a sweep.

    An Exception that the job sent through ``Escape`` comes out as it was.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra prints its errors itself and exits with 1
    own = {**HYDRA, "sweep": {"dir": sweep_folder, "subdir": "."}} if sweep_folder else HYDRA
    _register(own)
    program = hydra.main(config_path=str(configs), config_name="main", version_base=HYDRA_VERSION)
    try:
        with composing():
            program(job)()
    except Escape as escaped:
        raise escaped.error from None


@contextmanager
def composing() -> Iterator[None]:
    """Inside, what Hydra and OmegaConf have to say becomes one SettingError."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        sentences = [str(error).splitlines()[0]]
        if error.__cause__ is not None:
            sentences.append(str(error.__cause__).splitlines()[0])
        told = RAISED.sub("", ": ".join(dict.fromkeys(sentences)))
        key = getattr(error, "full_key", None)
        where = f"{key}: " if key and key not in told else ""
        raise SettingError(where + told) from error


def check_grammar(words: Sequence[str]) -> None:
    """SettingError, naming it, for the first prepared word that is not of Hydra's grammar."""
    parser = OverridesParser.create()
    for word in words:
        if "=" not in word or word.startswith("-"):
            continue
        try:
            override = parser.parse_override(word)
            if override.is_sweep_override():
                list(override.sweep_string_iterator())
        except (HydraException, OmegaConfBaseException, ValueError, AttributeError) as error:
            raise SettingError(
                f"{retyped(word)} cannot be read: give a plain value, or a list like [1,2]; what"
                " holds brackets or commas of its own goes into quotes."
            ) from error


def settings_of_job(config: DictConfig, configs: Path, needs_run: bool) -> Settings:
    """The settings of one job, checked: defaults, or those of an existing run, then overrides."""
    with composing():
        return _settings_of_job(config, configs, needs_run)


def _settings_of_job(config: DictConfig, configs: Path, needs_run: bool) -> Settings:
    """The same, with the errors of Hydra and OmegaConf as they are."""
    words = OmegaConf.to_container(HydraConfig.get().overrides.task)
    assert isinstance(words, list)
    settings = _with_absolute_paths(_record(config))
    if needs_run and settings.run and is_package(Path(settings.run)):
        # It holds no settings: those of looking at it are given, or the defaults.
        settings = dataclasses.replace(settings, run=os.path.abspath(settings.run))
    elif settings.run or needs_run:
        run = RunFolder.open(Path(settings.run)) if settings.run else latest_run(settings.outputs)
        stored = of_any_machine(_with_absolute_paths(load_settings(run.config_path)))
        settings = _overridden(stored, [str(word) for word in words], configs)
        settings = _with_absolute_paths(settings)
        _check_unchanged(stored, settings, FREE + (MOVED if _knows_its_scene(run) else ()))
        _check_stored(stored, settings, run.config_path)
        settings = dataclasses.replace(settings, run=str(run.path))
    named = {unspelled(name): value for name, value in settings.lights.items()}
    settings = dataclasses.replace(settings, lights=named)
    check(settings)
    return settings


def _record(config: DictConfig) -> Settings:
    """The one line where YAML becomes dataclasses."""
    settings = OmegaConf.to_object(config)
    assert isinstance(settings, Settings)
    return settings


def _overridden(settings: Settings, words: list[str], configs: Path) -> Settings:
    """Stored settings with the command line's words applied, presets first."""
    config = OmegaConf.structured(settings)
    overrides = OverridesParser.create().parse_overrides(words)
    given = {override.key_or_group for override in overrides}
    for override in overrides:
        if override.key_or_group == "preset" and override.value() is not None:
            preset = OmegaConf.load(configs / "preset" / f"{override.value()}.yaml")
            config.merge_with(preset)
            given |= {key for key in (SECONDS, STEPS) if OmegaConf.select(preset, key) is not None}
    if SECONDS in given and STEPS not in given:  # a budget in seconds, after one in steps
        OmegaConf.update(config, STEPS, 0)
    for override in overrides:
        if override.key_or_group == "capture.path" and not override.value():
            continue  # that of the run
        if override.key_or_group != "preset":
            OmegaConf.update(config, override.key_or_group, override.value())
    return _record(config)


def _knows_its_scene(run: RunFolder) -> bool:
    """Whether a bake tells by itself that the scene is another one, wherever that lies."""
    return has_views(run.path) and bool(baked_scene(run.path))


def _check_unchanged(stored: Settings, settings: Settings, free: tuple[str, ...]) -> None:
    """SettingError for a setting that a run cannot change once it has begun."""
    for before, after in zip(list_settings(stored), list_settings(settings), strict=True):
        fixed = before.key.startswith(FIXED) and before.key not in free
        fixed |= before.key == HELD_OUT and after.default != 0
        if fixed and before.default != after.default:
            raise SettingError(
                f"{typed(after)} cannot be had in a run that was begun with {typed(before)}: leave"
                " it out, or train anew without run=."
            )


def _check_stored(stored: Settings, settings: Settings, path: Path) -> None:
    """SettingError, which names the file, where what is wrong with the settings comes from it."""
    try:
        check(settings)
    except SettingError as error:
        try:
            check(stored)
        except SettingError as before:
            if str(before) == str(error):
                raise SettingError(f"{path} holds what cannot be: {error}") from error


def of_any_machine(stored: Settings) -> Settings:
    """A run's settings without what was said of the machine, and the viewer, that it was begun on:
    whoever opens it says so anew."""
    kernels = dataclasses.replace(stored.kernels, threads=0, device=KernelSettings().device)
    return dataclasses.replace(stored, kernels=kernels, viewer=ViewerSettings())


def _with_absolute_paths(settings: Settings) -> Settings:
    """The same settings, meaning the same from any working directory."""
    capture = dataclasses.replace(settings.capture, path=_absolute(settings.capture.path))
    scene = dataclasses.replace(
        settings.scene,
        path=_absolute(settings.scene.path),
        environment=_absolute(settings.scene.environment),
    )
    film = settings.render
    if is_file(film.path):
        film = dataclasses.replace(film, path=_absolute(film.path))
    return dataclasses.replace(settings, capture=capture, scene=scene, render=film)


def _absolute(path: str) -> str:
    """A path that was given, nothing where none was."""
    return os.path.abspath(expanded(path)) if path else ""


def latest_run(outputs: str) -> RunFolder:
    """The run that ``<outputs>/latest`` points to; CheckpointError if there is none."""
    link = Path(outputs) / "latest"
    if not link.exists():
        raise CheckpointError(
            f"{outputs} holds no latest run: train one first (python train.py), or give run=DIR."
        )
    return RunFolder.open(link)


def load_settings(path: Path) -> Settings:
    """The settings that a run was made with; CheckpointError where they cannot be read."""
    try:
        config = OmegaConf.structured(Settings)
        config.merge_with(BEFORE, _stored(path, OmegaConf.to_container(config)))
        return _record(config)
    except (OSError, ValueError, TypeError, YAMLError, OmegaConfBaseException) as error:
        # Further lines of OmegaConf's are about its own nodes.
        own = isinstance(error, OmegaConfBaseException)
        reason = str(error).splitlines()[0] if own else reason_of(error)
        where = f"{key}: " if (key := getattr(error, "full_key", None)) else ""
        raise CheckpointError(
            f"{path} does not hold the settings of a run of this program: {where}{reason}"
        ) from error


def _stored(path: Path, known: Any) -> DictConfig:
    """What a ``config.yaml`` holds; ValueError where its groups and names are not those known."""
    text = checked_file(path).read_text(encoding="utf-8")
    _check_shape(text)
    try:
        found = OmegaConf.create(text)
    except KeyValidationError as error:
        raise ValueError("one of its names is null") from error
    if not found:  # as a power cut leaves files; the defaults are not what the run was made with
        raise ValueError("it is empty (restore it from a copy)")
    _check_names(OmegaConf.to_container(found), known, "")
    assert isinstance(found, DictConfig)
    return found


def _check_shape(text: str) -> None:
    """ValueError for YAML that takes time or memory without end; this program writes none such."""
    depth = 0
    for event in yaml.parse(text):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        # A few of them, each of several others, stand for more than any memory holds.
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it has aliases, which this program never writes")


def _check_names(found: Any, known: Mapping[Any, Any], group: str) -> None:
    if not isinstance(found, dict):
        raise ValueError(f"{group.rstrip('.') or 'what it holds'} is no group of settings")
    for key, value in found.items():
        if key not in known:
            raise ValueError(f"{group}{key} is none of them")
        if isinstance(known[key], dict) and known[key]:  # groups without names of ours take any
            _check_names(value, known[key], f"{group}{key}.")


def yaml_of(settings: Settings) -> str:
    """The text of a ``config.yaml`` with which ``settings`` can be had again."""
    stored = dataclasses.replace(settings, run="")
    return OmegaConf.to_yaml(OmegaConf.structured(stored))
