"""How processes that torchrun starts find each other, and how they part."""

import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
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
    given = [environment.get(variable, "") for variable in VARIABLES.values()]
    if not all(value.isdecimal() for value in given):
        return ALONE
    rank, size, local_rank, local_size = map(int, given)
    return Place(rank=rank, size=size, local_rank=local_rank, local_size=local_size)


@contextmanager
def joined(patience: timedelta = FINDING) -> Iterator[None]:
    """Inside, this process is one of those that torchrun started, as ``group`` says.

    Each takes a GPU of its own where there are any; where there are too few, training on them is
    refused when it begins (see `group.check_exchange`). Nothing happens to a process alone.
    ProcessError where they do not all find each other within ``patience``.
    """
    here = assigned_place()
    if here.size == 1:
        yield
        return
    backends, gpu = _backends(here), _own_gpu()
    try:
        store, _, _ = next(iter(rendezvous("env://", timeout=patience)))
        store.set(f"here/{here.rank}", gpu)
        keys = [f"here/{rank}" for rank in range(here.size)]
        store.wait(keys, patience)
        fault = shared_gpu([store.get(key).decode() for key in keys])
        dist.init_process_group(
            backends, store=store, rank=here.rank, world_size=here.size, timeout=WAITING
        )
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise ProcessError(
            f"process {here.rank} of {here.size} did not find the others ({reason}): start all of"
            " them with torchrun, with one --rdzv-endpoint=HOST:PORT that every machine reaches."
        ) from error
    group._here[:] = [replace(here, fault=fault)]
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


def _own_gpu() -> str:
    """The GPU of this process as its machine calls it, and no other one; empty without any."""
    if not torch.cuda.is_available():
        return ""
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return f"{properties.uuid} of {socket.gethostname()}"


def shared_gpu(gpus: Sequence[str]) -> str:
    """What is wrong with the GPUs of all processes, in their order, in a sentence.

    Empty where no two of them are the same one; empty names are no GPUs.
    """
    for rank, gpu in enumerate(gpus):
        if gpu and gpu in gpus[:rank]:
            return (
                f"processes {gpus.index(gpu)} and {rank} of this job have one GPU between them"
                f" ({gpu}), and each needs its own: start as many on a machine as it has GPUs, with"
                " torchrun --nproc-per-node, or add kernels.device=cpu."
            )
    return ""
