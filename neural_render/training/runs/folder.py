"""The folder of one run: where everything lies, and which checkpoints are whole."""

import logging
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from neural_render.core.errors import CheckpointError, OutputError, SettingError
from neural_render.core.files import lock, read_json, whole_file
from neural_render.core.processes import group
from neural_render.core.waiting.turns import locked
from neural_render.evaluation.records import write_json
from neural_render.export.environment import ENVIRONMENT_FILE
from neural_render.training.runs.atomic import (
    PARTIAL,
    discard,
    given_back,
    new_folder,
    writing,
)

KEPT_CHECKPOINTS = 2
OF_TRAINING = ("training", "rendering")  # settings that say nothing once it is over
LONGEST_NAME = 200  # bytes: file systems take 255
# What `measures` has of each view; a figure is null where it was not measured, or is no number.
NUMBER = (int, float, type(None))
OF_VIEW: dict[str, Any] = {"name": str, "psnr": NUMBER, "flip": NUMBER, "image": str}
OF_VIEW |= {"width": int, "height": int}


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """The paths of a run; ``create`` makes a new one, ``open`` finds an old one."""

    path: Path

    @classmethod
    def create(cls, outputs: Path, name: str) -> "RunFolder":
        """A new folder ``<outputs>/<name>/<time>``."""
        if not name or name in (".", "..", "latest") or "/" in name or "\\" in name:
            raise SettingError(
                f"name={name} cannot name a run: give a plain folder name (not latest), no slashes."
            )
        if len(name.encode(errors="surrogateescape")) > LONGEST_NAME:
            raise SettingError(
                f"name={name[:40]}... cannot name a run: give at most {LONGEST_NAME} bytes."
            )
        return cls(path=new_folder(outputs / name / time.strftime("%Y-%m-%d_%H-%M-%S")))

    @classmethod
    @contextmanager
    def begun(cls, run: str, outputs: str, name: str) -> "Iterator[RunFolder]":
        """The run in the folder ``run``; without one a new one, the same for all processes.

        A new one that has not begun (``begin``) when the block ends is removed.
        """
        if run:
            yield cls.open(Path(run))
            return
        found = group.of_first(lambda: cls.create(Path(outputs), name))
        try:
            found.check_seen()
            yield found
        finally:
            if group.is_first() and not found.config_path.is_file():
                discard(found.path)
                with suppress(OSError):  # other runs have that name
                    found.path.parent.rmdir()

    def check_seen(self) -> None:
        """OutputError where this process sees no such folder, which another one made."""
        if not self.path.is_dir():
            raise OutputError(
                f"{self.path}, where this run is kept, is not to be seen by process"
                f" {group.place().rank}: let outputs lie in a folder that all machines share."
            )

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """The run in ``path``, or that ``latest`` points to; CheckpointError if there is none."""
        if path.name == "latest" and path.is_file():
            path = path.parent / path.read_text(encoding="utf-8").strip()
        if path.is_file():
            raise CheckpointError(
                f"run={path} is a file, and what is asked for needs a run's whole folder: give that"
                " folder (render.py and neural_render.load open packages too)."
            )
        if not path.is_dir():
            raise CheckpointError(f"run={path} is not there: give the folder of an earlier run.")
        run = cls(path=path.resolve())
        if not run.config_path.is_file() and not run.checkpoints_path.is_dir():
            raise CheckpointError(
                f"run={path} is not a run folder: it has neither config.yaml nor checkpoints; give"
                " the folder that train.py printed last."
            )
        return run

    @property
    def config_path(self) -> Path:
        """The resolved settings."""
        return self.path / "config.yaml"

    @property
    def photos_path(self) -> Path:
        """Of a run on photos: their names and cameras."""
        return self.path / "photos.json"

    @property
    def checkpoints_path(self) -> Path:
        """The folder of the checkpoints, each called by its step."""
        return self.path / "checkpoints"

    @property
    def metrics_path(self) -> Path:
        """One line of JSON per report."""
        return self.path / "metrics.jsonl"

    @property
    def tensorboard_path(self) -> Path:
        """TensorBoard's events."""
        return self.path / "tensorboard"

    @property
    def environment_path(self) -> Path:
        """The picture of what lies far around a baked scene, where it has one."""
        return self.path / ENVIRONMENT_FILE

    @property
    def tracing_path(self) -> Path:
        """Of a bake: what its path tracer did."""
        return self.path / "tracing.json"

    @property
    def evaluation_path(self) -> Path:
        """The folder of test metrics and images."""
        return self.path / "evaluation"

    @property
    def renders_path(self) -> Path:
        """The folder of the films and frames that were rendered from it."""
        return self.path / "renders"

    @property
    def report_path(self) -> Path:
        """The page that shows the run."""
        return self.path / "report.html"

    def begin(self, config: str, photos: Mapping[str, Any], is_over: bool) -> None:
        """Stores the settings of the run, and what it remembers of its photos, if it is of any.

        Of a new run, ``<outputs>/latest`` points to it from now on.
        """
        is_new = not self.config_path.is_file()
        # Whenever it is killed: no run without its photos, and none that allows more than they do.
        if not is_new:
            self.write_config(config, is_over)
        if photos and not is_over:
            write_json(self.photos_path, photos)
        if is_new:
            self.write_config(config, is_over)
            self.make_latest()

    def write_config(self, text: str, is_over: bool) -> None:
        """Stores the settings of the run; where it is trained no more, those that it was trained
        with stay."""
        if is_over and self.config_path.is_file():
            stored = yaml.safe_load(self.config_path.read_text(encoding="utf-8")) or {}
            kept = {name: stored[name] for name in OF_TRAINING if name in stored}
            settings = yaml.safe_load(text) | kept
            text = yaml.dump(settings, Dumper=_QuotedText, sort_keys=False, allow_unicode=True)
        with whole_file(self.config_path) as draft:
            draft.write_text(text, encoding="utf-8")

    def measures(self) -> dict[str, Any]:
        """The contents of ``evaluation/metrics.json``; CheckpointError if there is none."""
        path = self.evaluation_path / "metrics.json"
        try:
            found = read_json(path)
            tables = {
                "protocol": dict(found["protocol"]),
                "machine": dict(found.get("machine", {})),
            }
            return {**found, **tables, "views": [_checked_view(view) for view in found["views"]]}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{path} is missing or broken: measure that run with"
                f" python scripts/evaluate.py {self.word} (a bake: scripts/bake.py)."
            ) from error

    def unmeasured(self, measures: Mapping[str, Any]) -> str:
        """What to do where it was trained further since its `measures`, as the end of a sentence;
        nothing where it was not, or nobody can tell."""
        trained = self.last_step
        seen = measures.get("num_steps", trained)
        if seen == trained or not trained:
            return ""
        return (
            f"was measured at step {seen} and trained to step {trained}: measure it with python"
            f" scripts/evaluate.py {self.word} (a bake: scripts/bake.py {self.word})"
        )

    def checkpoint_path(self, step: int) -> Path:
        """The checkpoint after ``step``."""
        return self.checkpoints_path / str(step)

    def checkpoints(self) -> list[Path]:
        """The whole checkpoints, the oldest first; what a crash left unfinished is not one."""
        if not self.checkpoints_path.is_dir():
            return []
        found = [path for path in self.checkpoints_path.iterdir() if path.name.isdecimal()]
        return sorted(found, key=lambda path: int(path.name))

    def last_checkpoint(self) -> Path:
        """The newest checkpoint; CheckpointError if there is none yet."""
        found = self.checkpoints()
        if not found:
            raise CheckpointError(
                f"{self.path} has no checkpoint: that run ended before its first one; train again."
            )
        return found[-1]

    @property
    def word(self) -> str:
        """What programs are given to take up the run, as a shell reads it."""
        return shlex.quote(f"run={self.path}")

    @property
    def last_step(self) -> int:
        """The step of the newest checkpoint; 0 if there is none yet."""
        found = self.checkpoints()
        return int(found[-1].name) if found else 0

    def prune_checkpoints(self) -> None:
        """Keeps the last two checkpoints and removes older ones and unfinished leftovers.

        One that was about to be replaced when its program was killed is taken back.
        """
        if not self.checkpoints_path.is_dir():
            return
        with writing(self.checkpoints_path):
            for leftover in list(self.checkpoints_path.glob("*" + PARTIAL)):
                if not given_back(leftover):
                    discard(leftover)
            for old in self.checkpoints()[:-KEPT_CHECKPOINTS]:
                discard(old)

    def make_latest(self) -> None:
        """Lets ``<outputs>/latest`` point to this run; says so where that cannot be done.

        Where the system has no links, it is a file with the folder's name.
        """
        outputs = self.path.parent.parent
        link, fresh = outputs / "latest", outputs / f"latest{PARTIAL}"
        target = self.path.relative_to(outputs)
        try:
            with locked(outputs):  # another run may begin at this moment
                fresh.unlink(missing_ok=True)
                try:
                    fresh.symlink_to(target, target_is_directory=True)
                except OSError:
                    fresh.write_text(target.as_posix(), encoding="utf-8")
                fresh.replace(link)
        except OSError as error:
            logging.getLogger("neural_render").warning(
                "%s does not point to this run: %s.", link, error.strerror or error
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else trains in this folder inside ``with``; OutputError if somebody does.

        Of processes that share the training, the first one locks it for all.
        """
        if not group.is_first():
            yield
            return
        with writing(self.path):
            file = (self.path / ".lock").open("w")
        with file:
            if not lock(file.fileno()):
                raise OutputError(
                    f"{self.path} is being trained by another process: wait for it or stop it."
                )
            yield


class _QuotedText(yaml.SafeDumper):
    """Quotes what does not begin with a letter: readers differ in what they take for a number."""

    def text(self, data: str) -> yaml.ScalarNode:
        """The node of a text; PyYAML alone leaves 1e5 bare, which is a number to OmegaConf."""
        style = None if data[:1].isalpha() else "'"
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_QuotedText.add_representer(str, _QuotedText.text)


def _checked_view(view: Any) -> dict[str, Any]:
    """A view's row of ``metrics.json``; TypeError where it, or a value, is of another kind."""
    for key, kind in OF_VIEW.items():
        if not isinstance(view[key], kind):
            raise TypeError(f"{key} of a view is {view[key]!r:.40}")
    return view
