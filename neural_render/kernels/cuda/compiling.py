"""Compiling kernels ahead of time, for GPUs that are not there."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.compiler import compile as compile_source

TYPES = {
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.int64: "*i64",
    torch.int32: "*i32",
    torch.int8: "*i8",
    torch.uint8: "*u8",
}
WARP = 32
# What a launch finds of the addresses that PyTorch gives.
ALIGNED = [["tt.divisibility", 16]]
# Whoever installs a newer Triton keeps what it is tested with.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")


def cuda_target(capability: int) -> Any:
    """An NVIDIA architecture by its number: 80, 90, 100."""
    return GPUTarget("cuda", capability, WARP)


def compile_for(
    kernel: Any, arguments: Sequence[Any], options: Mapping[str, Any], targets: Sequence[Any]
) -> None:
    """Compiles a kernel, as it would be launched with these arguments, for each target.

    Raises what Triton raises where it cannot.
    """
    names, constants = kernel.arg_names, dict(options)
    num_warps = constants.pop("num_warps")
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
        compile_source(source, target=target, options={"num_warps": num_warps})


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
