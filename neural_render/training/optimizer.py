"""Adam for a field: the table through its factored gradient, everything else densely."""

from dataclasses import replace

import torch
from torch import Tensor

from neural_render.fields import RadianceField
from neural_render.kernels import ops
from neural_render.kernels.specs import AdamSpec

Moments = dict[str, tuple[Tensor, Tensor]]


def new_moments(field: RadianceField) -> Moments:
    """Adam's first and second moments of each parameter by name, all zero."""
    return {
        name: (torch.zeros_like(parameter.detach()), torch.zeros_like(parameter.detach()))
        for name, parameter in field.named_parameters()
    }


def optimizer_step(
    field: RadianceField,
    moments: Moments,
    sink: ops.TableGradientSink,
    adam: AdamSpec,
    weight_decay: float,
) -> None:
    """One step of Adam on all parameters, in place; their gradients are consumed.

    The table takes its gradient from ``sink``, or where that is empty (a field without a fused
    view) from ``table.grad``; its rows without gradient are not touched and never decay. The
    networks decay by ``weight_decay``.
    """
    for name, parameter in field.named_parameters():
        gradient, parameter.grad = parameter.grad, None
        if name == "table" and sink.gradient is not None:
            grid = field.spec.grid
            ops.table_adam_step(parameter, moments[name], sink.gradient, grid, adam)
        elif gradient is not None:
            is_table = name == "table"
            spec = adam if is_table else replace(adam, weight_decay=weight_decay)
            ops.adam_step(parameter, moments[name], gradient, spec, skip_zeros=is_table)
