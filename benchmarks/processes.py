"""Measurements in processes of their own: options go in as JSON, figures come out as JSON."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neural_render.core.errors import UserError

ROOT = Path(__file__).resolve().parent.parent


class LeftOut(UserError):
    """A side that could not be measured here, and why."""


def given(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The options of this process: its one argument over the defaults."""
    return {**defaults, **(json.loads(sys.argv[1]) if len(sys.argv) > 1 else {})}


def answer(figures: Mapping[str, Any]) -> None:
    """Prints the figures, as the last line that the asking process reads."""
    print(json.dumps(dict(figures)), flush=True)


def ask(
    module: str, options: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The figures that ``python -m module`` answers; LeftOut with its last words if it fails."""
    lines = _output(["-m", module, json.dumps(dict(options))], environment or {})
    return json.loads(lines[-1])


def trained(words: Sequence[str], processes: int = 1) -> dict[str, Any]:
    """``metrics.json`` of a run of ``train.py`` with these settings, which leaves nothing else."""
    return measured(words, [[]], processes)[0]


def measured(
    words: Sequence[str], manners: Sequence[Sequence[str]], processes: int = 1
) -> list[dict[str, Any]]:
    """As ``trained``, once for each manner of measuring: words such as ``evaluation.fit=pose``."""
    first, *others = manners
    program = [str(ROOT / "train.py")]
    if processes > 1:
        launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        program = [*launch, *program]
    with tempfile.TemporaryDirectory() as outputs:
        fixed = (f"outputs={outputs}", "name=benchmark", "render.output=none")
        quiet = ("training.tensorboard=false", "evaluation.images=false")
        run = Path(_output([*program, *fixed, *quiet, *words, *first], {})[-1])
        found = [measures(run)]
        for manner in others:
            again = (f"run={run}", "evaluation.images=false", *manner)
            _output([str(ROOT / "scripts/evaluate.py"), *again], {})
            found.append(measures(run))
    return found


def baked(words: Sequence[str], outputs: Path, name: str) -> Path:
    """The run folder of ``scripts/bake.py`` with these settings, without a film; it is kept."""
    fixed = (f"outputs={outputs}", f"name={name}", "render.output=none")
    quiet = ("training.tensorboard=false", "evaluation.flip=false")
    return Path(_output([str(ROOT / "scripts/bake.py"), *fixed, *quiet, *words], {})[-1])


def measures(run: Path) -> dict[str, Any]:
    """The ``metrics.json`` of a run."""
    return json.loads((run / "evaluation" / "metrics.json").read_text(encoding="utf-8"))


def _output(arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The lines that a Python process printed; LeftOut with its last words if it failed."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0 or not done.stdout.strip():
        words = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise LeftOut(words[-1])
    return done.stdout.strip().splitlines()
