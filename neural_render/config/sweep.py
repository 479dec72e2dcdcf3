"""A sweep: one job for each combination of values, here one after the other or through a launcher.

A job that fails ends no other; the table at the end says of each what it was and how it ended.
"""

import importlib.util
import itertools
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from neural_render.config.arguments import chosen_launcher, retyped
from neural_render.config.composition import Escape, composing, launch, settings_of_job
from neural_render.config.jobs import JobProcess, JobRecord, read_records, stopping_jobs
from neural_render.config.log import LastLine
from neural_render.config.settings import Settings
from neural_render.core.errors import SettingError, UserError, with_extra
from neural_render.core.processes.sweeps import folder_of, told_here
from neural_render.training.runs.atomic import new_folder

# What a launcher needs beside Hydra: the plugin's module and its distribution.
JOBLIB = ("hydra_plugins.hydra_joblib_launcher", "hydra-joblib-launcher")
SUBMITIT = ("hydra_plugins.hydra_submitit_launcher", "hydra-submitit-launcher")
PLUGINS = {"joblib": JOBLIB, "slurm": SUBMITIT, "local": SUBMITIT}
PLUGINS |= {"submitit_slurm": SUBMITIT, "submitit_local": SUBMITIT}
RUN = "run"


class SweepError(UserError):
    """Some jobs of a sweep were not done; the table has said which and why."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """What a sweep needs to know of the program whose jobs it runs."""

    task: Callable[[Settings], None]
    path: Path
    configs: Path
    needs_run: bool
    place: str  # the setting that says where it writes, see `Command`
    explain: Callable[[BaseException], str]  # the user's sentence for an error, "" for a bug


def run_sweep(program: Program, words: Sequence[str]) -> None:
    """Runs the jobs of prepared ``words``, says how each ended; SweepError if one is not done."""
    launcher = chosen_launcher(words)
    check_installed(launcher)
    with composing():
        overrides = parsed_overrides(words)
        jobs, shown = list_jobs(overrides), varying(overrides)
        check_apart(program, jobs)
        folder = sweep_folder(overrides)
    folders = own_folders(program, jobs, shown)
    if launcher == "basic":
        job: Callable[[DictConfig], None] = _job_here(program, folder, jobs, folders)
    else:
        job = _job_elsewhere(program, folder, jobs, folders)
        print(f"{len(jobs)} jobs through {launcher}; what they say: {folder}", flush=True)
    trouble = ""
    try:
        with stopping_jobs(folder, jobs, launcher):
            launch(job, program.configs, sweep_folder=str(folder.resolve()))
    except SettingError:
        _discard_unbegun(folder, jobs)
        raise
    except KeyboardInterrupt:
        print(table(read_records(folder, jobs), shown, folder), flush=True)
        raise
    except (RuntimeError, OSError, ValueError) as error:  # of the launcher: jobs raise nothing
        if launcher == "basic":
            raise
        trouble = f"launcher={launcher}: {(str(error) or type(error).__name__).splitlines()[0]}"
        if _discard_unbegun(folder, jobs):
            raise SweepError(trouble) from error
    records = read_records(folder, jobs)
    print(table(records, shown, folder), flush=True)
    missed = sum(record.state != "done" for record in records)
    if trouble:
        raise SweepError(f"{trouble} (what the jobs said is in {folder})")
    if missed:
        raise SweepError(f"{missed} of {len(jobs)} jobs were not done: see the table.")


def _discard_unbegun(folder: Path, jobs: tuple[tuple[str, ...], ...]) -> bool:
    """Whether no job was begun or handed to a queue; then the folder is gone."""
    begun = any(record.state != "waiting" for record in read_records(folder, jobs))
    if begun or (folder / ".submitit").exists():
        return False
    shutil.rmtree(folder, ignore_errors=True)
    return True


def check_installed(launcher: str) -> None:
    """SettingError if the plugin of ``launcher`` is not there."""
    if launcher not in PLUGINS:
        return
    module, distribution = PLUGINS[launcher]
    try:
        found = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise SettingError(
            f"launcher={launcher} needs {distribution}, which is not installed:"
            f" {with_extra('sweeps')}."
        )


def parsed_overrides(words: Sequence[str]) -> list[Override]:
    """The settings among prepared words, without Hydra's own and the launcher."""
    settings = [
        word for word in words if not word.startswith(("-", "hydra.", "hydra/", "launcher="))
    ]
    return OverridesParser.create().parse_overrides(settings)


def list_jobs(overrides: Sequence[Override]) -> tuple[tuple[str, ...], ...]:
    """The words of each job as a user would type them, in the order of Hydra's sweeper."""
    alternatives: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if override.is_sweep_override():
            values = list(override.sweep_string_iterator())
        else:
            values = [override.get_value_element_as_str()]
        alternatives[key] = [retyped(f"{key}={value}") for value in values]
    return tuple(itertools.product(*alternatives.values()))


def varying(overrides: Sequence[Override]) -> frozenset[str]:
    """The settings that differ between jobs."""
    swept = [override for override in overrides if override.is_sweep_override()]
    return frozenset(retyped(f"{entry.get_key_element()}=").removesuffix("=") for entry in swept)


def check_apart(program: Program, jobs: Sequence[tuple[str, ...]]) -> None:
    """SettingError, before any job begins, where several would write to one place."""
    places = [_value(words, program.place) for words in jobs]
    if len(set(places)) == len(jobs):
        return
    if program.place == RUN and (program.needs_run or all(places)):
        shared = places[0] or "the latest run"
        raise SettingError(
            f"{len(jobs)} jobs of {program.path.name} would write into {shared} one over the"
            f" other: give each a run of its own (run=DIR,DIR), or start one after the other."
        )
    if program.place != RUN and any(places):
        raise SettingError(
            f"{len(jobs)} jobs would write to {program.place}={places[0]} one over the other:"
            " leave it out, and each has a folder of its own in the run, or give each its own."
        )


def own_folders(
    program: Program, jobs: Sequence[tuple[str, ...]], shown: frozenset[str]
) -> tuple[str, ...]:
    """Of each job, where in a run it writes what others of the sweep might replace; empty where
    each has a run of its own."""
    telling = shown - {RUN} if program.place != RUN else frozenset[str]()
    return tuple(
        folder_of(number, tuple(word for word in words if word.partition("=")[0] in telling))
        for number, words in enumerate(jobs)
    )


def _value(words: Sequence[str], key: str) -> str:
    """What a job's words say of a setting; empty where they do not."""
    return next((word.partition("=")[2] for word in words if word.startswith(f"{key}=")), "")


def sweep_folder(overrides: Sequence[Override]) -> Path:
    """A new folder ``<outputs>/sweeps/<time>``."""
    outputs: Any = Settings().outputs
    for override in overrides:
        if override.key_or_group == "outputs" and not override.is_sweep_override():
            outputs = OmegaConf.create({"outputs": override.value()}).outputs
    return new_folder(Path(outputs) / "sweeps" / time.strftime("%Y-%m-%d_%H-%M-%S"))


def table(records: Sequence[JobRecord], shown: frozenset[str], folder: Path) -> str:
    """A row for each job: number, state, what tells it from the others, and what it said last."""
    counts = {state: 0 for state in ("done", "failed", "stopped", "running", "waiting")}
    rows = []
    for record in records:
        counts[record.state] += 1
        told = " ".join(word for word in record.words if word.partition("=")[0] in shown)
        said = record.said or (f"see {folder}" if record.state == "running" else "")
        rows.append((str(record.number), record.state, told, said))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join((*map(str.ljust, row[:3], widths), row[3])).rstrip() for row in rows]
    ended = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return "\n".join([f"sweep: {ended} ({folder})", *(f"  {line}" for line in lines)])


def _job_here(
    program: Program, folder: Path, jobs: Sequence[tuple[str, ...]], folders: Sequence[str]
) -> Callable[[DictConfig], None]:
    """A job in this process, which keeps how it ended and lets only what ends all jobs pass."""

    def job(config: DictConfig) -> None:
        number = HydraConfig.get().job.num
        state, output = "stopped", LastLine(sys.stdout)
        said = "interrupted"
        try:
            with redirect_stdout(output), told_here(folders[number]):
                program.task(settings_of_job(config, program.configs, program.needs_run))
            state, said = "done", output.last
        except BrokenPipeError as error:
            raise Escape(error) from error
        except KeyboardInterrupt as interruption:
            said = str(interruption) or said
            raise
        except Exception as error:
            state, said = "failed", _sentence(error, program.explain)
            print(f"error: job {number} failed: {said}", file=sys.stderr)
        finally:
            JobRecord(number=number, words=jobs[number], state=state, said=said).write(folder)

    return job


def _job_elsewhere(
    program: Program, folder: Path, jobs: tuple[tuple[str, ...], ...], folders: tuple[str, ...]
) -> JobProcess:
    """A job for Hydra's launchers, whose processes will find this very package."""
    root = Path(__file__).resolve().parents[2]
    if root.name not in ("site-packages", "dist-packages"):
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = f"{root}{os.pathsep}{before}" if before else str(root)
    return JobProcess(
        program=str(program.path.resolve()),
        place=os.getcwd(),
        folder=str(folder.resolve()),
        words=jobs,
        folders=folders,
    )


def _sentence(error: Exception, explain: Callable[[BaseException], str]) -> str:
    """What went wrong; of a bug the traceback is printed."""
    sentence = explain(error)
    if not sentence:
        traceback.print_exception(error)
        sentence = f"{type(error).__name__}: {error}"
    return " ".join(sentence.split())
