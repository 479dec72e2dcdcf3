"""Imports a package twice and prints, as JSON, what the second import did beside defining names.

Run as a script in a fresh process: ``import_probe.py ROOT MODULES BLOCKED`` (names separated by
commas). The first import lets third-party libraries do whatever they do when they are loaded; the
second, with those loaded already, must do nothing.
"""

import importlib
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

READ_BY_IMPORTS = (".py", ".pyc", ".so", ".pyd")
ACTIONS = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.")
CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.putenv", "os.chdir", "ctypes.")


def describe(event: str, arguments: tuple[object, ...]) -> str:
    """What an audit event says, or "" for what an import may do."""
    if event == "open":
        path = str(arguments[0])
        return "" if path.endswith(READ_BY_IMPORTS) else f"opened {path}"
    return f"{event} {arguments}" if event.startswith(ACTIONS + CHANGES) else ""


def state_of_the_process() -> dict[str, object]:
    """What an import must not change."""
    import numpy
    import torch

    tasks = Path("/proc/self/task")
    return {
        "threads": len(list(tasks.iterdir())) if tasks.is_dir() else 0,
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "torch threads": torch.get_num_threads(),
        "default dtype": str(torch.get_default_dtype()),
        "gradients enabled": torch.is_grad_enabled(),
        "cuda": torch.cuda.is_initialized(),
        "random state": random.getstate(),
        "numpy's random state": numpy.random.get_state(legacy=True)[1].tolist(),  # type: ignore[index]
        "torch's random state": torch.get_rng_state().tolist(),
    }


def forget(package: str) -> None:
    """Drops the package's Python modules, so that the next import runs them again."""
    for name, module in list(sys.modules.items()):
        origin = str(getattr(module, "__file__", None) or "")
        if name.split(".")[0] == package and (origin.endswith(".py") or not origin):
            del sys.modules[name]


def main(root: str, modules: list[str], blocked: list[str]) -> None:
    """Prints the list of everything that importing ``modules`` from ``root`` did."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, root)
    for name in blocked:
        sys.modules[name] = None  # type: ignore[assignment]
    import torch

    for name in modules:
        importlib.import_module(name)
    forget(modules[0].split(".")[0])

    done: list[str] = []
    before = state_of_the_process()
    listening = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if listening and (said := describe(event, arguments)):
            done.append(said)

    sys.addaudithook(hook)
    ask: Callable[[], bool] = torch.cuda.is_available
    torch.cuda.is_available = lambda: done.append("asked for a GPU") or ask()
    for name in modules:
        importlib.import_module(name)
    listening = False
    after = state_of_the_process()
    done += [f"changed the {key}" for key in before if before[key] != after[key]]
    print(json.dumps(done))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2].split(","), sys.argv[3].split(","))
