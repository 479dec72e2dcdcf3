"""What a user chooses about the kernels, and the choice put into effect."""

import logging
from dataclasses import dataclass, field

from neural_render.kernels import dispatch


@dataclass(kw_only=True)
class KernelSettings:
    """Who computes, with which numbers, on how many threads."""

    backend: str = field(
        default="auto",
        metadata={
            "help": "auto (the fastest that runs here), cpu (C++), reference (plain PyTorch, slow)"
        },
    )
    precision: str = field(
        default="float32",
        metadata={
            "help": "the numbers computed with; today's backends know float32 only",
            "choices": ("float32",),
        },
    )
    threads: int = field(
        default=0, metadata={"help": "CPU threads; 0: all usable cores", "minimum": 0}
    )


def start_kernels(settings: KernelSettings) -> tuple[str, int]:
    """The active backend's name and its threads, said in one line of the log.

    KernelError if the backend that was asked for by name cannot run here.
    """
    backend = dispatch.select(settings.backend, settings.threads)
    threads = settings.threads or dispatch.usable_cores()
    log = logging.getLogger("neural_render")
    log.info("kernels: %s, %d %s", backend, threads, "thread" if threads == 1 else "threads")
    if settings.backend == "auto" and backend == "reference":
        reason = dispatch.available()["cpu"]
        log.warning("this is the slow PyTorch reference, because %s", reason)
    return backend, threads
