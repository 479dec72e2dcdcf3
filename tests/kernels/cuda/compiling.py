"""Compiling kernels ahead of time, for GPUs that are not there."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.compiler import compile as compile_source
from triton.runtime.jit import JITFunction

from neural_render.kernels.cuda import device
from neural_render.kernels.cuda.stepping import optimizer

TYPES = {
    torch.float64: "*fp64",
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.int64: "*i64",
    torch.int32: "*i32",
    torch.int8: "*i8",
    torch.uint8: "*u8",
}
WARP = 32
# Bytes of fast memory that a program may take, by the GPU's number; 86, 89 and 120 have less than
# others of their kind.
FAST_MEMORY = {75: 64 << 10, 80: 99 << 10, 90: 227 << 10, 100: 99 << 10}
# What a launch finds of the addresses that PyTorch gives.
ALIGNED = [["tt.divisibility", 16]]


def cuda_target(capability: int) -> Any:
    """An NVIDIA architecture by its number: 75, 80, 90, 100."""
    return GPUTarget("cuda", capability, WARP)


@contextmanager
def only_compiling(targets: Sequence[Any], once: bool) -> Iterator[set[str]]:
    """Inside, kernels are compiled for ``targets`` and not run: what ops give is meaningless.

    Tensors may lie on the CPU there. ``once``: each as it is launched first, and not for other
    constants. Gives the names of those that were, which grow.
    """
    compiled: set[str] = set()

    def launched(kernel: Any, grid: tuple[int, ...]) -> Any:
        def compiling(*arguments: Any, **options: Any) -> None:
            if not (once and kernel.__name__ in compiled):
                compile_for(kernel, arguments, options, targets)
            compiled.add(kernel.__name__)

        return compiling

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JITFunction, "__getitem__", launched)
        for module in (device, optimizer):
            patch.setattr(module, "is_on_cpu", lambda: True)
        yield compiled


def compile_for(
    kernel: Any, arguments: Sequence[Any], options: Mapping[str, Any], targets: Sequence[Any]
) -> None:
    """Compiles a kernel, as it would be launched with these arguments, for each target.

    Raises what Triton raises where it cannot.
    """
    names = kernel.arg_names
    constants = {name: value for name, value in options.items() if name in names}
    settings = {name: value for name, value in options.items() if name not in names}
    signature: dict[str, Any] = {}
    known: tuple[dict[Any, Any], dict[Any, Any]] = {}, {}
    for place, name in enumerate(names):
        argument = constants[name] if name in constants else arguments[place]
        if name in constants and not isinstance(argument, tl.constexpr):
            argument = tl.constexpr(argument)
        if isinstance(argument, int):
            assert name in kernel.do_not_specialize, f"{name}: a variant for each kind of number"
        signature[name] = _type_of(argument, (place,), known)
    for target in targets:
        source = ASTSource(fn=kernel, signature=signature, constexprs=known[0], attrs=known[1])
        found = compile_source(source, target=target, options=settings)
        # Hopper's asynchronous products read beyond their memory here (see ``networks.BLOCK``).
        code = found.asm["ptx"]
        assert "wgmma" not in code, f"{kernel.__name__} has asynchronous products"
        taken = found.metadata.shared
        assert taken <= FAST_MEMORY[target.arch], f"{kernel.__name__} takes {taken} bytes"


def _type_of(
    argument: Any, path: tuple[int, ...], known: tuple[dict[Any, Any], dict[Any, Any]]
) -> Any:
    """The type of an argument, tuples as tuples.

    Constants, and what is known of addresses at a launch, go to ``known`` by their path.
    """
    if isinstance(argument, tuple):
        parts = [_type_of(part, (*path, place), known) for place, part in enumerate(argument)]
        return type(argument)(*parts) if hasattr(argument, "_fields") else tuple(parts)
    if isinstance(argument, tl.constexpr):
        known[0][path] = argument.value
        return "constexpr"
    if isinstance(argument, torch.Tensor):
        known[1][path] = ALIGNED
        return TYPES[argument.dtype]
    if isinstance(argument, float):
        return "fp32"
    assert isinstance(argument, int), f"{argument!r} is no argument of a kernel"
    # Triton would make a constant of 1 there, and a variant for the multiples of 16.
    assert len(path) == 1, "whole numbers are arguments of their own, or constants"
    return "i32"
