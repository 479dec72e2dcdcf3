"""Launches that are recorded once and replayed: a CUDA graph, with Adam's numbers on the device."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Generic, TypeVar

import torch

from neural_render.kernels.cuda.device import is_interpreted
from neural_render.kernels.cuda.stepping.optimizer import host_numbers, numbers_in
from neural_render.kernels.specs import AdamSpec

Result = TypeVar("Result")
NUMBERS = 6  # of Adam
AHEAD = 8  # replays that a host may be ahead of its device


class Recorded(Generic[Result]):
    """What ``work`` launches, to be launched again at the price of one launch.

    It reads and writes the tensors that it met when it was recorded, and no host waits for it. What
    it gives lies in the same tensors each time. All kernels that it launches have run before.
    Graphs of one ``pool`` share their memory: what one gives is good until another is replayed.
    The interpreter has no graphs: there the work is done anew.
    """

    def __init__(self, work: Callable[[], Result], device: torch.device, pool: Any) -> None:
        """Records, and does not run, the work."""
        self._work = work
        self._numbers = torch.zeros(NUMBERS, device=device)
        self._graph, self._replays = None, 0
        if is_interpreted():
            return
        self._ahead = torch.zeros(AHEAD, NUMBERS, device="cpu", pin_memory=True)
        self._graph, stream = torch.cuda.CUDAGraph(), _stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream), numbers_in(self._numbers):
            # Not `torch.cuda.graph`, which collects garbage and empties the allocator's cache.
            self._graph.capture_begin(pool=pool, capture_error_mode="thread_local")
            try:
                self._result = work()
            finally:
                self._graph.capture_end()
        torch.cuda.current_stream(device).wait_stream(stream)

    def replay(self, adam: AdamSpec) -> Result:
        """Does the work again, steps being this one of Adam."""
        if self._graph is None:
            self._numbers.copy_(host_numbers(adam))
            with numbers_in(self._numbers):
                return self._work()
        row = self._ahead[self._replays % AHEAD]
        row.copy_(host_numbers(adam))
        self._numbers.copy_(row, non_blocking=True)
        self._replays += 1
        self._graph.replay()
        return self._result

    def forget(self) -> None:
        """Gives the memory back that nothing else uses, once its device is done with it."""
        if self._graph is not None:
            torch.cuda.synchronize(self._numbers.device)
            self._graph.reset()


@lru_cache(maxsize=8)
def _stream(device: torch.device) -> Any:
    """Where graphs are recorded: they share no memory that belongs to different streams."""
    return torch.cuda.Stream(device)


def new_pool() -> Any:
    """Memory that graphs share."""
    return None if is_interpreted() else torch.cuda.graph_pool_handle()
