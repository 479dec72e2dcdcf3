"""How processes that torchrun starts find each other, and how they part."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from neural_render.core.errors import ProcessError
from neural_render.core.processes import group
from neural_render.core.processes.group import ALONE, Place

FINDING = timedelta(minutes=5)
# Others wait for the first one while it finds cameras or writes; who is gone is noticed at once.
WAITING = timedelta(hours=6)
VARIABLES = {
    "rank": "RANK",
    "size": "WORLD_SIZE",
    "local_rank": "LOCAL_RANK",
    "local_size": "LOCAL_WORLD_SIZE",
}

_log = logging.getLogger("neural_render")


def assigned_place(environment: Mapping[str, str] = os.environ) -> Place:
    """The place that torchrun gives this process; alone where it did not start it."""
    given = {name: environment.get(variable, "") for name, variable in VARIABLES.items()}
    if not all(value.isdecimal() for value in given.values()):
        return ALONE
    return Place(**{name: int(value) for name, value in given.items()})


@contextmanager
def joined(patience: timedelta = FINDING) -> Iterator[None]:
    """Inside, this process is one of those that torchrun started, as ``group`` says.

    Each takes a GPU of its own where there are any. Nothing happens to a process alone.
    ProcessError where they do not all find each other within ``patience``.
    """
    here = assigned_place()
    if here.size == 1:
        yield
        return
    backends = _backends(here)
    try:
        store, _, _ = next(iter(rendezvous("env://", timeout=patience)))
        store.set(f"here/{here.rank}", "yes")
        store.wait([f"here/{rank}" for rank in range(here.size)], patience)
        dist.init_process_group(
            backends, store=store, rank=here.rank, world_size=here.size, timeout=WAITING
        )
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise ProcessError(
            f"process {here.rank} of {here.size} did not find the others ({reason}): start all of"
            " them with torchrun, with one --rdzv-endpoint=HOST:PORT that every machine reaches."
        ) from error
    group._here[:] = [here]
    names = ", ".join(part.rpartition(":")[2] for part in backends.split(","))
    _log.info("processes: %d (%s), this is rank %d", here.size, names, here.rank)
    try:
        yield
        # Not after an error: others may still wait for a word, and the end of this one tells them.
        group.of_first(lambda: None)
        dist.destroy_process_group()
    finally:
        group._here.clear()


def _backends(here: Place) -> str:
    """What carries tensors of each device."""
    if not (torch.cuda.is_available() and dist.is_nccl_available()):
        return "gloo"
    torch.cuda.set_device(here.local_rank % torch.cuda.device_count())
    return "cpu:gloo,cuda:nccl"
