"""The processes that share a job: which one this is, and the few words that they exchange.

Every function here is to be called by all of them, in the same order. One process alone exchanges
nothing. Small things and pictures go through gloo, tensors on a GPU through NCCL.
"""

import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import UInt8
from torch import Tensor

from neural_render.core.errors import ProcessError

ALIGNMENT = 8  # bytes, of what is exchanged together

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A process among all, and among those of its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    fault: str = ""  # why nothing on a GPU can be exchanged, in a sentence


ALONE = Place()
_here: list[Place] = []  # what `launch.joined` made of this process


def place() -> Place:
    """Which of the processes this is."""
    return _here[0] if _here else ALONE


def size() -> int:
    """The number of processes."""
    return place().size


def is_first() -> bool:
    """Whether this is the process that writes, decides and speaks for all."""
    return place().rank == 0


def shows_progress() -> bool:
    """Whether this process's progress bars can be seen: on a terminal, once for all."""
    return is_first() and sys.stderr.isatty()


def share(items: Sequence[T]) -> Sequence[T]:
    """This process's part of a job's items: every ``size``-th, so that neighbours are spread."""
    return items[own_slice()]


def own_slice() -> slice:
    """Which of them these are."""
    return slice(place().rank, None, size())


def check_exchange(device: torch.device) -> None:
    """ProcessError where tensors of this device cannot be exchanged: a GPU of two processes."""
    if device.type == "cuda" and place().fault:
        raise ProcessError(place().fault)


def gathered(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Each tensor of all processes, stacked in their order; shapes are the same everywhere.

    What is on one device goes in one message, bit for bit.
    """
    if size() == 1:
        return tuple(tensor[None] for tensor in tensors)
    own = torch.cat([_bytes(tensor) for tensor in tensors])
    check_exchange(own.device)
    everything = own.new_empty(size(), len(own))
    with _exchanging():
        dist.all_gather(list(everything.unbind()), own)
    found, start = [], 0
    for tensor in tensors:
        part = everything[:, start : start + tensor.nbytes].contiguous()
        found.append(part.view(tensor.dtype).view(size(), *tensor.shape))
        start += tensor.nbytes + -tensor.nbytes % ALIGNMENT
    return tuple(found)


def _bytes(tensor: Tensor) -> UInt8[Tensor, " bytes"]:
    flat = tensor.detach().contiguous().view(-1).view(torch.uint8)
    return torch.nn.functional.pad(flat, (0, -len(flat) % ALIGNMENT))


def gathered_objects(value: T) -> list[T]:
    """The value of every process, in their order."""
    if size() == 1:
        return [value]
    found: list[Any] = [None] * size()
    with _exchanging():
        dist.all_gather_object(found, value)
    return found


def of_first(make: Callable[[], T]) -> T:
    """What ``make`` gives to the first process, the only one that calls it.

    Where it raises there, all others raise ProcessError.
    """
    if size() == 1:
        return make()
    told: list[Any] = [None, True]  # and whether it failed
    if is_first():
        try:
            told = [make(), False]
        finally:
            _broadcast(told)
    else:
        _broadcast(told)
        if told[1]:
            raise ProcessError("the first process of this job failed; it says why.")
    return told[0]


def after_first(make: Callable[[], T]) -> T:
    """What ``make`` gives here; the others begin when the first is done, and find what it left."""
    made: list[T] = []
    of_first(lambda: made.append(make()))
    return made[0] if made else make()


def tensor_of_first(tensor: Tensor) -> Tensor:
    """The first process's tensor, a copy on the others."""
    if size() == 1:
        return tensor
    check_exchange(tensor.device)
    found = tensor.detach().clone(memory_format=torch.contiguous_format)
    with _exchanging():
        dist.broadcast(found, src=0)
    return tensor if is_first() else found


def in_turn(
    made: Iterator[UInt8[Tensor, "height width values"]], total: int
) -> Iterator[UInt8[Tensor, "height width values"]]:
    """All ``total`` pictures in order, on the first process; nothing on the others, which send.

    Each makes its ``share``, and may be one picture ahead of what was taken from it.
    """
    if size() == 1:
        yield from made
    elif is_first():
        for number in range(total):
            sender = number % size()
            yield _received(sender) if sender else next(made)
    else:
        _send(made)


def _send(pictures: Iterator[Tensor]) -> None:
    """Sends pictures to the first process, each while the next is made."""
    under_way: list[Any] = []
    for picture in pictures:
        with _exchanging():
            for work in under_way:
                work.wait()
            message = torch.tensor(picture.shape), picture.contiguous()
            under_way = [dist.isend(part, dst=0) for part in message]
    with _exchanging():
        for work in under_way:
            work.wait()


def _received(sender: int) -> Tensor:
    shape = torch.empty(3, dtype=torch.long)
    with _exchanging():
        dist.recv(shape, src=sender)
        picture = torch.empty(shape.tolist(), dtype=torch.uint8)
        dist.recv(picture, src=sender)
    return picture


def _broadcast(told: list[Any]) -> None:
    with _exchanging():
        dist.broadcast_object_list(told, src=0)


@contextmanager
def _exchanging() -> Iterator[None]:
    """Inside, a process that is gone becomes one sentence."""
    try:
        yield
    except (RuntimeError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise ProcessError(
            f"another process of this job is gone or cannot be reached ({reason}); the one that"
            " ended first says why, and training goes on from its last checkpoint with run=FOLDER."
        ) from error
