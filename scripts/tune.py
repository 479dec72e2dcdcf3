"""Tries settings against the defaults on photos held out of training, and records every run.

    python scripts/tune.py capture=DIR seconds=30 seeds=0,1 training.learning_rate_end=0.05,0.1
    python scripts/tune.py capture=DIR,DIR training.huber_delta=0.03 training.ema_decay=0.9,0.95
    python scripts/tune.py capture=DIR grid=true fixed="capture.max_side=400" ...

One setting differs from the defaults at a time; grid=true tries every combination. Every tenth
training photo is held out (every=10); seconds= are CPU seconds per thread (steps= instead: a number
of steps); fixed= holds for all runs. Lines go to benchmarks/records/tuning.jsonl.
"""

import os

# As in train.py: before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import tuning
from neural_render.core.errors import UserError


def main(arguments: list[str]) -> int:
    """Runs what is asked for; the exit code."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        plan = tuning.planned(arguments)
        tuning.show(plan, tuning.run(plan))
    except UserError as error:
        print(f"tune.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tune.py: stopped; runs that ended are recorded", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
