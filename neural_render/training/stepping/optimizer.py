"""Adam for a field: the table through its factored gradient, everything else densely."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from neural_render.fields import RadianceField
from neural_render.kernels import ops
from neural_render.kernels.records import FactoredGradient
from neural_render.kernels.specs import AdamSpec

# Adam's moments by the names that they have in a checkpoint: "moment1.color_weights".
Moments = dict[str, Tensor]


def new_moments(field: RadianceField) -> Moments:
    """All moments, zero; the table has second ones alone, one for each row."""
    moments = {"moment2.table": torch.zeros_like(field.table.detach()[:, 0]).contiguous()}
    for name, parameter in field.named_parameters():
        for order in ("moment1", "moment2"):
            if name != "table":
                moments[f"{order}.{name}"] = torch.zeros_like(parameter.detach())
    return moments


def optimizer_step(
    field: RadianceField,
    moments: Moments,
    gradients: Mapping[str, Tensor | FactoredGradient],
    adam: AdamSpec,
    weight_decay: float,
) -> None:
    """One step of Adam on all parameters, in place, with their gradients by name.

    The table takes the step of ``ops.row_adam_step``, which may go on until ``ops.finish``. The
    networks, whose names end in ``_weights``, decay by ``weight_decay``.
    """
    decaying = replace(adam, weight_decay=weight_decay)
    for name, parameter in field.named_parameters():
        gradient, second = gradients[name], moments[f"moment2.{name}"]
        if isinstance(gradient, FactoredGradient):
            ops.table_adam_step(parameter, second, gradient, field.spec.grid, adam, later=True)
        elif name == "table":
            ops.row_adam_step(parameter, second, gradient, adam)
        else:
            spec = decaying if name.endswith("_weights") else adam
            ops.adam_step(parameter, (moments[f"moment1.{name}"], second), gradient, spec)
