"""What every step does alike, recorded as CUDA graphs that are replayed: loss, gradients, Adam.

A GPU is done with a kernel sooner than Python has launched the next one. A graph is one launch. It
knows the number of its rays, so that steps of so many share it; see ``step.rung``.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from neural_render.kernels import dispatch
from neural_render.kernels.specs import AdamSpec

MOST_GRAPHS = 128  # that are kept: numbers of rays that steps may come back to
_ONE_BY_ONE = "kernels: steps are launched kernel by kernel, slower than as CUDA graphs: %s"
_log = logging.getLogger("neural_render")
Given = tuple[Tensor, ...]
Work = Callable[[Given, AdamSpec], Any]


class Replays:
    """The graphs of a run, by what they were recorded for."""

    def __init__(self) -> None:
        """None yet."""
        self._graphs: OrderedDict[Hashable, tuple[list[Tensor], Any]] = OrderedDict()
        self._known: set[Hashable] = set()
        self._pool: Any = None
        self._fails = False

    def do(self, kind: Hashable, given: Given, work: Work, adam: AdamSpec) -> Any:
        """What ``work`` gives, in tensors that are good until the next call.

        Work of a ``kind`` on tensors of the same shapes differs in their values and in Adam's step
        alone, and no host waits in it. Of each kind it is done as usual once: what is compiled, or
        moved to the device for good, is so then. Backends without graphs always do it as usual.
        """
        backend = dispatch.active()
        if self._fails or not hasattr(backend, "Recorded"):
            return work(given, adam)
        if kind not in self._known:
            self._known.add(kind)
            return work(given, adam)
        key = kind, tuple((tensor.shape, tensor.requires_grad) for tensor in given)
        if key in self._graphs:
            self._graphs.move_to_end(key)
        else:
            made, fault = self._recorded(backend, given, work, adam)
            if made is None:
                self._give_up(fault)
                return work(given, adam)
            self._graphs[key] = made
            if len(self._graphs) > MOST_GRAPHS:
                _, (_, oldest) = self._graphs.popitem(last=False)
                oldest.forget()
        kept, recorded = self._graphs[key]
        _copy(kept, given)
        return recorded.replay(adam)

    def _recorded(
        self, backend: Any, given: Given, work: Work, adam: AdamSpec
    ) -> tuple[tuple[list[Tensor], Any] | None, str]:
        """See ``_record``; None, and why, where that fails."""
        fault = ""
        for _ in range(2):
            try:
                return self._record(backend, given, work, adam), ""
            except RuntimeError as error:
                fault, again = _first_line(error), isinstance(error, torch.OutOfMemoryError)
            # Only here does nothing hold on to what was begun.
            if not again:
                break
            torch.cuda.empty_cache()  # graphs have memory of their own
        return None, fault

    def _give_up(self, fault: str) -> None:
        """Leaves no graphs behind."""
        self._fails = True
        for _, recorded in self._graphs.values():
            recorded.forget()
        self._graphs.clear()
        self._pool = None
        torch.cuda.empty_cache()
        _log.warning(_ONE_BY_ONE, fault)

    def _record(
        self, backend: Any, given: Given, work: Work, adam: AdamSpec
    ) -> tuple[list[Tensor], Any]:
        """Tensors of its own, and the work on them."""
        if self._pool is None:
            self._pool = backend.new_pool()
        kept = [tensor.detach().clone().requires_grad_(tensor.requires_grad) for tensor in given]
        device = given[0].device
        return kept, backend.Recorded(lambda: work(tuple(kept), adam), device, self._pool)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


@torch.no_grad()
def _copy(to: Sequence[Tensor], given: Given) -> None:
    """Copies all tensors, those of one type at the price of one launch."""
    pairs: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for own, tensor in zip(to, given, strict=True):
        if tensor.numel():
            targets, sources = pairs.setdefault(tensor.dtype, ([], []))
            targets.append(own)
            sources.append(tensor)
    for targets, sources in pairs.values():
        torch.ops.aten._foreach_copy_(targets, sources)
