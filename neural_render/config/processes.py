"""A program in several processes: one speaks for all, and each takes its part of the machine."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace

from neural_render.config.log import listen
from neural_render.core.errors import SettingError
from neural_render.core.processes.launch import assigned_place, joined
from neural_render.kernels import dispatch
from neural_render.kernels.settings import KernelSettings


def told_by() -> str:
    """How a message begins: empty, or which process it is of where that is not the first."""
    rank = assigned_place().rank
    return f"process {rank}: " if rank else ""


def listen_here() -> None:
    """Sends the first process's log to the terminal, and warnings of one on each other machine."""
    here = assigned_place()
    of_others = logging.ERROR if here.local_rank else logging.WARNING
    listen(of_others if here.rank else logging.INFO)


@contextmanager
def working_together(program: str, shares: bool) -> Iterator[None]:
    """Inside, this is one of the processes that torchrun started, if it did; the first one prints.

    SettingError where several are started of a program that ``shares`` nothing.
    """
    here = assigned_place()
    if here.size > 1 and not shares:
        raise SettingError(
            f"{program} works in one process and torchrun started {here.size} of them: start it"
            f" with python {program}."
        )
    with joined():
        if here.rank == 0:
            yield
        else:
            with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
                yield


def own_kernels(settings: KernelSettings) -> KernelSettings:
    """The settings with this process's part of the machine's cores, where they say nothing."""
    sharers = assigned_place().local_size
    if settings.threads or sharers == 1:
        return settings
    return replace(settings, threads=max(1, dispatch.usable_cores() // sharers))
