"""The interface of ``tinycudann`` on the CPU, so that all around it runs where it is not.

As its ``bindings/torch/tinycudann/modules.py``: batches filled up to 256, points and inputs in
float32, parameters and outputs in the library's precision, and gradients too, times ``loss_scale``.
What a module computes is the reference's; that the layouts are tiny-cuda-nn's is tested elsewhere.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from neural_render.kernels.reference.encoding import hash_encode
from neural_render.kernels.reference.networks import mlp
from neural_render.kernels.specs import HashGridSpec, MlpSpec

GRANULARITY = 256


class Module(torch.nn.Module):
    """Parameters in float32, and a function of inputs and rounded parameters."""

    def __init__(self, n_input_dims: int, n_output_dims: int, num: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.n_input_dims, self.n_output_dims, self.dtype = n_input_dims, n_output_dims, dtype
        self.params = torch.nn.Parameter(torch.zeros(num))
        self.loss_scale = 128.0

    def compute(self, inputs: Tensor, parameters: Tensor) -> Tensor:
        """The outputs, from what is given in the library's precision."""
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Tensor:
        """As there; an empty batch is an error."""
        assert len(inputs) and inputs.shape[1] == self.n_input_dims and self.loss_scale == 1
        filled = pad(inputs, (0, 0, 0, -len(inputs) % GRANULARITY)).to(torch.float32)
        parameters = self.params.to(self.dtype).float()
        outputs = self.compute(filled, parameters).to(self.dtype)
        return outputs[: len(inputs), : self.n_output_dims]


class Grid(Module):
    """``tinycudann.Encoding`` of a grid."""

    def __init__(self, n_input_dims: int, config: dict[str, Any], dtype: torch.dtype) -> None:
        levels, base = config["n_levels"], config["base_resolution"]
        self.spec = HashGridSpec(
            hash="xor",
            dims=n_input_dims,
            levels=levels,
            features=config["n_features_per_level"],
            log2_rows=config["log2_hashmap_size"],
            coarsest=base,
            finest=round(base * config["per_level_scale"] ** (levels - 1)),
        )
        num = self.spec.num_rows * self.spec.features
        super().__init__(n_input_dims, self.spec.num_outputs, num, dtype)

    def compute(self, inputs: Tensor, parameters: Tensor) -> Tensor:
        """The features."""
        table = parameters.reshape(self.spec.num_rows, self.spec.features)
        return hash_encode(inputs, table, self.spec, inputs.new_zeros(len(inputs)))


class Network(Module):
    """``tinycudann.Network``."""

    def __init__(
        self, n_input_dims: int, n_output_dims: int, config: dict[str, Any], dtype: torch.dtype
    ) -> None:
        self.spec = MlpSpec(
            inputs=n_input_dims + -n_input_dims % 16,
            width=config["n_neurons"],
            hidden_layers=config["n_hidden_layers"],
            outputs=n_output_dims + -n_output_dims % 16,
        )
        super().__init__(n_input_dims, n_output_dims, self.spec.num_weights, dtype)

    def compute(self, inputs: Tensor, parameters: Tensor) -> Tensor:
        """The outputs; ones where inputs are filled up."""
        given = pad(inputs, (0, self.spec.inputs - self.n_input_dims), value=1.0)
        return mlp(given.to(self.dtype).float(), parameters, self.spec)


class Library:
    """``tinycudann``, built for one precision."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def Encoding(self, n_input_dims: int, config: dict[str, Any]) -> Module:
        """A grid, or what is only asked for its dtype."""
        if config["otype"] == "Identity":
            return Module(n_input_dims, n_input_dims, 0, self.dtype)
        return Grid(n_input_dims, config, self.dtype)

    def Network(self, n_input_dims: int, n_output_dims: int, config: dict[str, Any]) -> Module:
        """A network."""
        return Network(n_input_dims, n_output_dims, config, self.dtype)
