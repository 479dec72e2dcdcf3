"""Measures kernels, training, quality or rendering beside alternatives, and records it.

    python scripts/benchmark.py                                # suite=kernels
    python scripts/benchmark.py suite=train capture=DIR seconds=30 [prototype=DIR] [peers=true]
    python scripts/benchmark.py suite=train capture=DIR isa=avx512,avx2,baseline
    python scripts/benchmark.py suite=train capture=DIR scaling=true
    python scripts/benchmark.py suite=curve capture=DIR seconds=15,30,60,300 [prototype=DIR]
    python scripts/benchmark.py suite=curve capture=DIR holdout=true
    python scripts/benchmark.py suite=render run=DIR [views=5]
    python scripts/benchmark.py suite=mesh run=DIR [file=FILE.glb] [views=25]
    python scripts/benchmark.py suite=splats run=DIR [file=FILE.ply] [views=25]
    python scripts/benchmark.py suite=viewer run=DIR [rounds=3]
    python scripts/benchmark.py suite=bake [parts=materials,triangles,moving,supervision]
    python scripts/benchmark.py suite=memory [seconds=60] [photos=60] [width=6000] [gib=2]
    python scripts/benchmark.py suite=settings captures=DIR,DIR [seconds=40] [max_side=480]
    python scripts/benchmark.py suite=poses capture=DIR [seconds=600] [degrees=1] [shift=0.01]
    python scripts/benchmark.py suite=processes [capture=DIR] [processes=2] [steps=500] [seeds=0]
    python scripts/benchmark.py suite=gpu capture=DIR [seconds=10,60,300] [measures=kernels,steps]
    python scripts/benchmark.py suite=package run=DIR
    python scripts/benchmark.py suite=bars data=DIR [bars=cove,curve] [prototype=DIR] [run=DIR]
    python scripts/benchmark.py suite=kills [seed=0] [trainings=30] [bakes=10] [parts=disks]
    python scripts/benchmark.py suite=inputs [seed=0] [count=200] [only=captures,scenes]
    python scripts/benchmark.py suite=tests [runs=20]

Every suite but bars takes backend=, threads= and precision=auto|float32|bfloat16; kernels, render
and bake repeats=; train rounds= (3), batch= and log2_rows=, and with peers=true nerfstudio=DIR,
where it is installed; settings seeds=0, every=10 and
settings=exposure,poses,training.huber_delta=1; bake seconds=60 (of each bake), views=, log2_rows=
and outputs=outputs/benchmark, and its supervision scenes=FILE,FILE+ENVIRONMENT.exr and seeds=0. See
benchmarks/README.md. Lines go to benchmarks/records/, plots to benchmarks/plots/.
"""

import os

# As in train.py: before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import importlib
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import records
from benchmarks.options import RECORDED_AS_THEY_GO, SUITES, BenchmarkOptions, parsed
from neural_render.core.errors import UserError


def main(arguments: list[str]) -> int:
    """Runs the suite; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    kept = "nothing of it is recorded"
    try:
        options = parsed(BenchmarkOptions, arguments)
        if options.suite in RECORDED_AS_THEY_GO:
            kept = "what was measured to its end is recorded"
        records.begin()
        importlib.import_module(f"benchmarks.{SUITES[options.suite]}").run(options)
    except UserError as error:
        print(f"benchmark.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"benchmark.py: stopped; {kept}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
