"""Measures kernels, training or rendering beside an alternative, and records it.

    python scripts/benchmark.py                                # suite=kernels
    python scripts/benchmark.py suite=train capture=DIR seconds=30 [prototype=DIR]
    python scripts/benchmark.py suite=render run=DIR [views=5]

Every suite takes backend=, threads= and repeats=. Lines go to benchmarks/records/<suite>.jsonl.
"""

import os

# As in train.py: before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import frames, kernels, training
from neural_render.core.errors import SettingError, UserError

DEFAULTS = {
    "suite": "kernels",
    "backend": "auto",
    "threads": "0",
    "repeats": "7",
    "capture": "",
    "seconds": "30",
    "prototype": "",
    "run": "outputs/latest",
    "views": "5",
}


def settings_of(arguments: list[str]) -> dict[str, str]:
    """The settings as typed; SettingError for an unknown one."""
    settings = dict(DEFAULTS)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or name not in DEFAULTS:
            known = ", ".join(DEFAULTS)
            raise SettingError(f"{argument} is not a setting; write name=value with one of {known}")
        settings[name] = value
    return settings


def number(settings: dict[str, str], name: str) -> float:
    """A setting as a number that is not negative."""
    try:
        value = float(settings[name])
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise SettingError(f"{name}={settings[name]} is not a number from 0 on.")
    return value


def main(arguments: list[str]) -> int:
    """Runs the suite; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        settings = settings_of(arguments)
        backend, threads = settings["backend"], int(number(settings, "threads"))
        repeats = max(1, int(number(settings, "repeats")))
        if settings["suite"] == "kernels":
            kernels.run(backend, threads, repeats)
        elif settings["suite"] == "train":
            seconds = number(settings, "seconds")
            training.run(backend, threads, settings["capture"], seconds, settings["prototype"])
        elif settings["suite"] == "render":
            views = max(1, int(number(settings, "views")))
            frames.run(backend, threads, repeats, settings["run"], views)
        else:
            raise SettingError(f"suite={settings['suite']} is not one of kernels, train, render.")
    except UserError as error:
        print(f"benchmark.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
