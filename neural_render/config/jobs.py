"""The jobs of a sweep: how each ended, and one job as a process of its own.

A sweep's folder holds of job N ``N.json`` (its words, its state and what it said last), and where
it was a process ``N.out`` and ``N.err``. Whoever asks reads the files, from whichever machine.
"""

import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from neural_render.core.processes.sweeps import own_threads, told
from neural_render.kernels.dispatch import usable_cores

STOPPED_CODES = (130, 143)  # of programs that Ctrl-C or SIGTERM ended
SECONDS_TO_SAVE = 90
STOP_FILE = "stopped"
SLURM = ("slurm", "submitit_slurm")


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """What is known of one job."""

    number: int
    words: tuple[str, ...]
    state: str  # waiting, running, done, failed, stopped
    said: str = ""  # its last line: a run folder, or the sentence that it failed with
    host: str = ""
    pid: int = 0

    def write(self, folder: Path) -> None:
        """Keeps it in the sweep's folder, whole or not at all."""
        fresh = folder / f"{self.number}.json.partial"
        fresh.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")
        fresh.replace(folder / f"{self.number}.json")

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine, as far as is known."""
        return self.state == "running" and self.host == socket.gethostname()


def read_records(folder: Path, words: tuple[tuple[str, ...], ...]) -> list[JobRecord]:
    """One record for each job, also for those that have not begun."""
    found = []
    for number, own in enumerate(words):
        record = JobRecord(number=number, words=own, state="waiting")
        path = folder / f"{number}.json"
        if path.is_file():
            stored = json.loads(path.read_text(encoding="utf-8"))
            record = JobRecord(**{**stored, "words": own})
        if record.is_here and not _is_alive(record.pid):  # and so is what waited for it
            said = last_words(folder, number, 1)
            record = dataclasses.replace(record, state="stopped", said=said)
        found.append(record)
    return found


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class JobProcess:
    """Runs a job as a process of its own, whose death ends nothing else.

    Hydra's launchers pickle it and call it where the job shall run; it never raises an Exception.
    """

    program: str
    place: str  # the working directory
    folder: str  # of the sweep
    words: tuple[tuple[str, ...], ...]  # of each job
    folders: tuple[str, ...]  # of what each makes of a run

    def __call__(self, config: DictConfig) -> None:
        """Starts the process, waits for it and keeps how it ended."""
        hydra, folder = HydraConfig.get(), Path(self.folder)
        launcher = OmegaConf.to_container(hydra.launcher)
        assert isinstance(launcher, dict)
        number = hydra.job.num
        words = self.words[number]
        record = JobRecord(number=number, words=words, state="stopped", said="never begun")
        if (folder / STOP_FILE).exists():
            record.write(folder)
            return
        signal.signal(signal.SIGINT, lambda *_: None)  # whoever started the sweep stops its jobs
        threads = threads_of_job(launcher, len(self.words), usable_cores())
        paths = [folder / f"{number}.{kind}" for kind in ("out", "err")]
        with paths[0].open("w") as output, paths[1].open("w") as errors, _unheard():
            process = subprocess.Popen(
                [sys.executable, self.program, *words],
                cwd=self.place,
                env=_environment(number, launcher, told(self.folders[number], threads)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                # Out of reach of the terminal's Ctrl-C; SLURM, which has none, looks for its own.
                start_new_session=not launcher["_target_"].endswith("SlurmLauncher"),
            )
        running = {"host": socket.gethostname(), "pid": process.pid}
        dataclasses.replace(record, state="running", said="", **running).write(folder)
        state = _wait(process, folder / STOP_FILE)
        said = last_words(folder, number, process.returncode)
        dataclasses.replace(record, state=state, said=said).write(folder)
        print(f"job {number} {state}: {said}", flush=True)


@contextmanager
def _unheard() -> Iterator[None]:
    """What is begun inside ignores SIGUSR2, with which SLURM tells all of a job of its end.

    submitit hears it, and whoever waits for the process then interrupts it.
    """
    if not hasattr(signal, "SIGUSR2"):
        yield
        return
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR2, before)


def _wait(process: subprocess.Popen, stop: Path) -> str:
    """The state that the process ended in; whatever interrupts the waiting asks it to save."""
    try:
        if stop.exists():  # since the process was begun: nobody else has told it
            process.send_signal(signal.SIGINT)
        code = process.wait()
    except BaseException as interruption:  # a time limit: submitit raises where it finds us
        process.send_signal(signal.SIGINT)
        try:
            process.wait(SECONDS_TO_SAVE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if not isinstance(interruption, Exception):
            raise
        return "stopped"
    if code and (code in STOPPED_CODES or stop.exists()):
        return "stopped"
    return "failed" if code else "done"


def last_words(folder: Path, number: int, code: int) -> str:
    """A process' last line: on stdout if all went well, else on stderr."""
    if code < 0:
        name = signal.Signals(-code).name
        reason = " (out of memory?)" if name == "SIGKILL" else ""
        return f"killed by {name}{reason}, see {folder / f'{number}.err'}"
    path = folder / f"{number}.{'err' if code else 'out'}"
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return said[-1].removeprefix("error: ") if said else "ended without a word"


def threads_of_job(launcher: Mapping[Any, Any], num_jobs: int, cores: int) -> int:
    """CPU threads of one job, so that those side by side do not fight; 0: as many as it finds."""
    if launcher.get("cpus_per_task"):
        return launcher["cpus_per_task"]
    at_once = launcher.get("n_jobs") or 0
    if at_once < 0:  # joblib counts from all cores downwards
        at_once = max(1, cores + 1 + at_once)
    if launcher["_target_"].endswith("LocalLauncher"):
        at_once = num_jobs
    return max(1, cores // min(at_once, num_jobs)) if at_once else 0


def device_of_job(number: int, visible: str, num_devices: int) -> str:
    """The GPU of one job among several side by side: those that are visible, in turn."""
    names = visible.split(",") if visible else [str(index) for index in range(num_devices)]
    return names[number % len(names)] if len(names) > 1 else visible


def _environment(
    number: int, launcher: Mapping[Any, Any], own: Mapping[str, str]
) -> dict[str, str]:
    """The process' environment; ``own`` is what the sweep tells it."""
    environment = {**os.environ, **own, "PYTHONUNBUFFERED": "1"}
    if threads := own_threads(own):
        environment.setdefault("OMP_NUM_THREADS", str(threads))
    if launcher.get("n_jobs", 1) != 1:
        visible = environment.get("CUDA_VISIBLE_DEVICES", "")
        if device := device_of_job(number, visible, torch.cuda.device_count()):
            environment["CUDA_VISIBLE_DEVICES"] = device
    return environment


@contextmanager
def stopping_jobs(folder: Path, jobs: tuple[tuple[str, ...], ...], launcher: str) -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM end the jobs that a launcher began, each after it saved."""
    if launcher == "basic":  # jobs hear signals themselves
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if (folder / STOP_FILE).exists():  # a second time: at once
            raise KeyboardInterrupt
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STOP_FILE).touch()
        print("stopping: jobs that train save first; once more aborts", file=sys.stderr)
        if launcher in SLURM:
            cancel_slurm_jobs(folder)
        else:
            for record in read_records(folder, jobs):
                if record.is_here:
                    os.kill(record.pid, signal.SIGINT)
        _await_jobs(folder, jobs)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _await_jobs(folder: Path, jobs: tuple[tuple[str, ...], ...]) -> None:
    """Returns when no job runs, or when they had the time to save."""
    deadline = time.monotonic() + SECONDS_TO_SAVE
    while any(record.state == "running" for record in read_records(folder, jobs)):
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)


def cancel_slurm_jobs(folder: Path) -> None:
    """Takes the sweep's jobs from SLURM's queue; those that run are told to end."""
    found = (path.name for path in (folder / ".submitit").glob("*"))
    if names := [name for name in found if re.fullmatch(r"\d+(_\d+)?", name)]:
        subprocess.run(["scancel", *sorted(names)], check=False)
