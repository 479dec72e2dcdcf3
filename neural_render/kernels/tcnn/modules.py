"""Grid and networks by tiny-cuda-nn's modules, differentiable in all tensors."""

from collections.abc import Callable
from functools import lru_cache
from threading import Lock

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from neural_render.core.errors import KernelError
from neural_render.kernels.reference.encoding import footprint_weights
from neural_render.kernels.reference.field import FieldParts
from neural_render.kernels.specs import HashGridSpec, MlpSpec
from neural_render.kernels.tcnn.half import with_grown_gradient
from neural_render.kernels.tcnn.layouts import (
    check_grid,
    grid_config,
    network_config,
    table_to_tcnn,
    weights_to_tcnn,
)
from neural_render.kernels.tcnn.library import library

# A module's parameters are swapped for the length of a call, and threads may share it.
_swapping = Lock()


def hash_encode(
    points: Float[Tensor, "samples dims"],
    table: Float[Tensor, "rows features"],
    spec: HashGridSpec,
    footprint: Float[Tensor, " samples"],
) -> Float[Tensor, "samples level_features"]:
    """See ``ops.hash_encode``; the footprint's weights are PyTorch's."""
    check_grid(spec)
    check_device(points)
    if not len(points):
        return points.new_zeros(0, spec.num_outputs)
    features = evaluate(grid_module(spec), points, table_to_tcnn(table))
    return features * footprint_weights(footprint, spec)


def mlp(
    inputs: Float[Tensor, "samples inputs"], weights: Float[Tensor, " weights"], spec: MlpSpec
) -> Float[Tensor, "samples outputs"]:
    """See ``ops.mlp``."""
    check_device(inputs)
    if not len(inputs):
        return inputs.new_zeros(0, spec.outputs)
    return evaluate(network_module(spec), inputs, weights_to_tcnn(weights, spec))


def evaluate(
    module: torch.nn.Module,
    inputs: Float[Tensor, "samples inputs"],
    parameters: Float[Tensor, " parameters"],
) -> Float[Tensor, "samples outputs"]:
    """What a module gives with these parameters, in the inputs' dtype; differentiable in both."""

    def forward(inputs: Tensor, parameters: Tensor) -> Tensor:
        with _swapping:
            return functional_call(module, {"params": parameters}, (inputs,))

    return with_grown_gradient(forward, inputs, parameters)


@lru_cache(maxsize=32)
def grid_module(spec: HashGridSpec) -> torch.nn.Module:
    """The module that encodes with a grid."""
    wanted = spec.num_rows * spec.features
    return emptied(lambda: library().Encoding(spec.dims, grid_config(spec)), wanted, spec)


@lru_cache(maxsize=32)
def network_module(spec: MlpSpec) -> torch.nn.Module:
    """The module that is a network."""
    wanted = len(weights_to_tcnn(torch.zeros(spec.num_weights), spec))
    config = network_config(spec)
    return emptied(lambda: library().Network(spec.inputs, spec.outputs, config), wanted, spec)


def emptied(
    build: Callable[[], torch.nn.Module], num_parameters: int, spec: HashGridSpec | MlpSpec
) -> torch.nn.Module:
    """What ``build`` gives, without its parameters and loss scale: ours take their place.

    KernelError if it cannot be built, or has not as many parameters as we would give it.
    """
    advice = "use kernels.backend=reference kernels.device=cuda instead."
    try:
        module = build()
    except RuntimeError as error:
        raise KernelError(f"tinycudann cannot build {spec} ({error}); {advice}") from error
    found = sum(parameter.numel() for parameter in module.parameters())
    if found != num_parameters:
        raise KernelError(
            f"tinycudann lays {spec} out in {found} parameters where {num_parameters} are known,"
            f" so this version cannot be used; {advice}"
        )
    module.params = torch.nn.Parameter(torch.empty(0))
    module.loss_scale = 1.0  # type: ignore[assignment]
    return module


def check_device(tensor: Tensor) -> None:
    """KernelError if a tensor does not lie on the GPU."""
    if not tensor.is_cuda:
        raise KernelError(
            f"kernels.backend=tcnn computes on the GPU, and its tensors lie on {tensor.device};"
            " leave kernels.device out, or convert them."
        )


PARTS = FieldParts(hash_encode=hash_encode, mlp=mlp)
