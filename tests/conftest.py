"""What every test runs under: checked shapes, few threads, repeatable random cases, real data."""

import gc
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# OpenMP reads this once, when torch loads it: an idle pool must not spin on its neighbours' cores.
os.environ["OMP_WAIT_POLICY"] = "passive"

import hypothesis
import jaxtyping
import pytest
import torch

PACKAGE = Path(__file__).resolve().parents[1] / "neural_render"
# Triton reads the source of what lies here, and would read the checks' decorators too.
UNCHECKED = "neural_render.kernels.cuda.programs"
MOST_CHECKED = 30
_calls: Counter[int] = Counter()  # in the test that runs, by code: functions may hold tensors


def checked_modules() -> list[str]:
    """Every module of the package but `UNCHECKED`; a package stands for all that is in it."""
    parents = {UNCHECKED.rpartition(".")[0], "neural_render", "neural_render.kernels"}
    names = []
    for parent in parents:
        folder = PACKAGE.parent.joinpath(*parent.split("."))
        names += [f"{parent}.{entry.stem}" for entry in folder.iterdir() if entry.stem[0] != "_"]
    return [name for name in names if name not in parents and name != UNCHECKED]


def checked(*, typechecker: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What the import hook decorates with: what `jaxtyping.jaxtyped` finds, in less time a call.

    Arguments are checked once, not again with what is returned, and sizes are compared where arrays
    are annotated. What is found is no TypeError, which the package might take for bad input. A test
    has the first ``MOST_CHECKED`` calls of each function checked: most are of a few in a loop.
    """
    slowly = jaxtyped(typechecker=typechecker)

    def decorated(item: Any) -> Any:
        hints = getattr(item, "__annotations__", {}).values()
        # What is named in quotes may not be there: jaxtyped looks, the type checker would fail.
        if isinstance(item, type) or any(isinstance(hint, str) for hint in hints):
            return slowly(item)
        call = typechecker(item)
        if any("jaxtyping" in str(hint) for hint in hints):
            call = jaxtyped(typechecker=None)(call)
        code = id(item.__code__)

        @wraps(call)
        def counted(*arguments: Any, **named: Any) -> Any:
            _calls[code] += 1
            return (call if _calls[code] <= MOST_CHECKED else item)(*arguments, **named)

        return counted

    return decorated


# From here on every module of the package is imported with its annotations checked at each call.
assert "neural_render" not in sys.modules, "the package was imported before its annotations' checks"
# On a GPU machine there may be no beartype: the kernels' tests run without the checks.
if find_spec("beartype"):
    jaxtyped, jaxtyping.jaxtyped = jaxtyping.jaxtyped, checked
    jaxtyping.install_import_hook(checked_modules(), "beartype.beartype")
# Where there is no GPU, Triton's interpreter stands in for it: read when a kernel is decorated.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

DATA_VARIABLE = "NEURAL_RENDER_DATA"
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
torch.set_num_threads(max(1, min(2, (os.cpu_count() or 1) // WORKERS)))

hypothesis.settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    database=None,  # the failing example is printed; nothing is left in the checkout
    max_examples=50,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    """Lets each worker keep to its part of the tests until it is done, and then help another.

    So what a folder's tests share, such as a trained run, is made once, not once for each worker.
    Where xdist is not installed there are no workers.
    """
    if config.getoption("dist", "no") == "load":
        config.option.dist = "worksteal"


def pytest_collection_finish() -> None:
    """Takes modules and tests, a million objects, out of every search for garbage that follows."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Lets a test draw the same numbers whichever tests ran before it in its worker."""
    # torch.manual_seed writes down, in a millisecond, who asked for GPUs that may yet be found.
    torch.default_generator.manual_seed(0)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(0)
    _calls.clear()


def pytest_unconfigure() -> None:
    """Lets them be found again: native modules tell of what is left when Python ends."""
    gc.unfreeze()


def find_real_data() -> Path:
    """The folder of real captures that ``NEURAL_RENDER_DATA`` names; skips the test without it."""
    stated = os.environ.get(DATA_VARIABLE, "")
    if not stated:
        pytest.skip(f"{DATA_VARIABLE} is not set: no real captures to test on")
    folder = Path(stated).expanduser()
    if not folder.is_dir():
        pytest.fail(f"{DATA_VARIABLE}={stated} is not a folder")
    return folder


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    """Takes the package's log from the programs that ran before, which take it for themselves."""
    logger = logging.getLogger("neural_render")
    logger.handlers[:], logger.level, logger.propagate = [], logging.NOTSET, True
    yield
    logger.handlers[:], logger.level, logger.propagate = [], logging.NOTSET, True


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real captures, or a skip that says why."""
    return find_real_data()
