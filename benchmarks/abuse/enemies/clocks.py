"""Clocks that jump: a library between a program and the system tells it another time of day.

The machine's clock is never set. Where there is no C compiler, this is left out.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.abuse.enemies.couples import together
from benchmarks.abuse.enemies.material import STEPS, Material
from benchmarks.abuse.enemies.programs import Case, finished, start
from benchmarks.abuse.enemies.trainings import metrics_faults, run_faults, weights

# CLOCK_SHIFT: seconds to add; CLOCK_JUMPS: a day forth and back, each second; CLOCK_STANDS: there.
LIBRARY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
typedef int (*getter)(clockid_t, struct timespec *);
int clock_gettime(clockid_t clock, struct timespec *now) {
  static getter real = 0;
  if (!real) real = (getter)dlsym(RTLD_NEXT, "clock_gettime");
  int code = real(clock, now);
  if (code || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return code;
  const char *shift = getenv("CLOCK_SHIFT"), *stands = getenv("CLOCK_STANDS");
  if (shift) now->tv_sec += atol(shift);
  if (getenv("CLOCK_JUMPS")) now->tv_sec += now->tv_nsec < 500000000 ? 86400 : -86400;
  if (stands) { now->tv_sec = atol(stands); now->tv_nsec = 0; }
  return 0;
}
time_t time(time_t *to) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (to) *to = now.tv_sec;
  return now.tv_sec;
}
int gettimeofday(struct timeval *now, void *zone) {
  struct timespec fine;
  clock_gettime(CLOCK_REALTIME, &fine);
  now->tv_sec = fine.tv_sec;
  now->tv_usec = fine.tv_nsec / 1000;
  return 0;
}
"""


def cases(material: Material) -> list[Callable[[], Case]]:
    """All of it; nothing where the library cannot be built, which is said."""
    compiler = shutil.which("cc")
    if compiler is None:
        print("clocks: left out, since there is no C compiler")
        return []
    source, library = material.place / "clock.c", material.place / "clock.so"
    source.write_text(LIBRARY)
    build = [compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(build, check=True)
    preloaded = {"LD_PRELOAD": str(library)}
    return [
        lambda: _steps(material, preloaded),
        lambda: _seconds(material, preloaded),
        lambda: _backwards(material, preloaded),
        lambda: _at_once(material, preloaded),
    ]


def _steps(material: Material, preloaded: dict[str, str]) -> Case:
    reference, _ = material.trained
    folder = material.folder("clock_steps")
    done = finished(material.training, folder=folder, environment={**preloaded, "CLOCK_JUMPS": "1"})
    run, faults = folder / done.last_line, done.faults(0)
    faults += run_faults(run, reference, STEPS)
    if not faults and weights(run, STEPS) != weights(reference, STEPS):
        faults.append("the weights are not those of an undisturbed run")
    return Case(part="clocks", name="jumps while steps are counted", faults=tuple(faults))


def _seconds(material: Material, preloaded: dict[str, str]) -> Case:
    """A budget in seconds is spent as if the clock went right, and its totals only grow."""
    folder, budget = material.folder("clock_seconds"), 2.0
    given = ("training.num_steps=0", f"training.max_seconds={budget}", "render.output=none")
    words = (*material.training, *given)
    program = start(words, folder=folder, environment={**preloaded, "CLOCK_JUMPS": "1"})
    done = program.ended()
    run, faults = folder / done.last_line, done.faults(0)
    again = ("train.py", f"run={run}", f"training.max_seconds={2 * budget}")
    shifted = {**preloaded, "CLOCK_SHIFT": "-90000"}
    faults += finished(again, folder=folder, environment=shifted).faults(0)
    record = json.loads((run / "evaluation/metrics.json").read_text())
    if not 2 * budget <= record["train_seconds"] < 4 * budget:
        faults.append(f"{2 * budget} seconds of training were {record['train_seconds']}")
    faults += metrics_faults(run / "metrics.jsonl", record["num_steps"])
    return Case(part="clocks", name="jumps while seconds are counted", faults=tuple(faults))


def _backwards(material: Material, preloaded: dict[str, str]) -> Case:
    """A run that begins an hour before the one before it is the latest all the same."""
    folder, runs, faults = material.folder("clock_backwards"), [], []
    short = (*material.training, "training.num_steps=20", "render.output=none")
    for shift in ("0", "-3600"):
        environment = {**preloaded, "CLOCK_SHIFT": shift}
        done = finished(short, folder=folder, environment=environment)
        faults += done.faults(0)
        runs.append((folder / done.last_line).resolve())
    if not runs[1].name < runs[0].name:
        faults.append("the clock was not set back")
    if (folder / "outputs/latest").resolve() != runs[1]:
        faults.append("latest is not the run that began last")
    return Case(part="clocks", name="an hour back", faults=tuple(faults))


def _at_once(material: Material, preloaded: dict[str, str]) -> Case:
    """Runs that begin in the same second, one beside the other and one after."""
    folder = material.folder("clock_at_once")
    environment = {**preloaded, "CLOCK_STANDS": str(int(time.time()))}
    short = (*material.training, "training.num_steps=20", "render.output=none")
    ended = together(folder, short, short, environment=environment)
    ended.append(finished(short, folder=folder, environment=environment))
    faults = [fault for done in ended for fault in done.faults(0)]
    runs = {Path(done.last_line).name for done in ended}
    if len(runs) != len(ended):
        faults.append(f"{len(ended)} runs share {len(runs)} folders")
    if (folder / "outputs/latest").resolve().name != Path(ended[-1].last_line).name:
        faults.append("latest is not the run that began last")
    return Case(part="clocks", name="the same second", faults=tuple(faults))
