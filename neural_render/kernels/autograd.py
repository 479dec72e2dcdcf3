"""Thin joints between a backend's forward/backward pairs and autograd; first derivatives only."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from neural_render.core.errors import KernelError
from neural_render.kernels import dispatch
from neural_render.kernels.records import (
    Composited,
    FieldInputs,
    FieldParameters,
    RenderOutput,
)


def _first_derivative_only(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Refuses to be differentiated again: the second derivative would be silently zero."""

    @wraps(backward)
    def checked(ctx: Any, *gradients: Any) -> Any:
        if torch.is_grad_enabled():
            raise KernelError(
                "create_graph=True asks for second derivatives of kernels.ops, which have first "
                "ones only; leave it out, or compose the function from PyTorch's own."
            )
        return backward(ctx, *gradients)

    return checked


class HashEncode(torch.autograd.Function):
    """``ops.hash_encode``."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, spec: Any, footprint: Tensor) -> Tensor:
        """Features; keeps the inputs, the backward pass recomputes the rest."""
        ctx.backend, ctx.spec = dispatch.active(), spec
        ctx.save_for_backward(points, table, footprint)
        return ctx.backend.hash_encode(points, table, spec, footprint)

    @staticmethod
    @_first_derivative_only
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Gradients to points and table."""
        points, table, footprint = ctx.saved_tensors
        to_points, to_table = ctx.backend.hash_encode_backward(
            gradients[0].contiguous(), points, table, ctx.spec, footprint
        )
        return to_points, to_table, None, None


class Mlp(torch.autograd.Function):
    """``ops.mlp``."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weights: Tensor, spec: Any) -> Tensor:
        """Outputs; activations are recomputed in the backward pass."""
        ctx.backend, ctx.spec = dispatch.active(), spec
        ctx.save_for_backward(inputs, weights)
        return ctx.backend.mlp(inputs, weights, spec)

    @staticmethod
    @_first_derivative_only
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Gradients to inputs and weights."""
        inputs, weights = ctx.saved_tensors
        to_inputs, to_weights = ctx.backend.mlp_backward(
            gradients[0].contiguous(), inputs, weights, ctx.spec
        )
        return to_inputs, to_weights, None


class QueryField(torch.autograd.Function):
    """``ops.query_field``."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Any:
        """Density and radiance; everything else is recomputed in the backward pass."""
        ray_index, footprint, spec = arguments[6]
        ctx.backend, ctx.spec = dispatch.active(), spec
        tensors = (*arguments[:6], ray_index, footprint)
        ctx.save_for_backward(*tensors)
        return ctx.backend.query_field(*QueryField.records(tensors), spec)

    @staticmethod
    def records(tensors: Any) -> tuple[FieldInputs, FieldParameters]:
        """The saved tensors as the records that they came from."""
        points, directions, conditions, table, density, color, ray_index, footprint = tensors
        inputs = FieldInputs(
            points=points,
            directions=directions,
            conditions=conditions,
            ray_index=ray_index,
            footprint=footprint,
        )
        parameters = FieldParameters(table=table, density_weights=density, color_weights=color)
        return inputs, parameters

    @staticmethod
    @_first_derivative_only
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Gradients to points, directions, conditions and all parameters."""
        inputs, parameters = QueryField.records(ctx.saved_tensors)
        result = ctx.backend.query_field_backward(
            gradients[0].contiguous(), gradients[1].contiguous(), inputs, parameters, ctx.spec
        )
        weights = result.parameters
        return (
            result.points,
            result.directions,
            result.conditions,
            weights.table,
            weights.density_weights,
            weights.color_weights,
            None,
        )


class QueryDensity(torch.autograd.Function):
    """``ops.query_density``."""

    @staticmethod
    def forward(
        ctx: Any, points: Tensor, table: Tensor, weights: Tensor, spec: Any, footprint: Tensor
    ) -> Tensor:
        """Density; everything else is recomputed in the backward pass."""
        ctx.backend, ctx.spec = dispatch.active(), spec
        ctx.save_for_backward(points, table, weights, footprint)
        return ctx.backend.query_density(points, table, weights, spec, footprint)

    @staticmethod
    @_first_derivative_only
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Gradients to points, table and density weights."""
        points, table, weights, footprint = ctx.saved_tensors
        to_points, to_table, to_weights = ctx.backend.query_density_backward(
            gradients[0].contiguous(), points, table, weights, ctx.spec, footprint
        )
        return to_points, to_table, to_weights, None, None


class Composite(torch.autograd.Function):
    """``ops.composite``."""

    @staticmethod
    def forward(
        ctx: Any, density: Tensor, radiance: Tensor, background: Tensor, samples: Any
    ) -> Any:
        """Values, opacity, distance, distortion and weights."""
        ctx.backend, ctx.samples = dispatch.active(), samples
        seen: Composited = ctx.backend.composite(density, radiance, samples, background)
        ctx.save_for_backward(density, radiance, background)
        return seen.values, seen.opacity, seen.distance, seen.distortion, seen.weights

    @staticmethod
    @_first_derivative_only
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Gradients to density, radiance and background."""
        density, radiance, background = ctx.saved_tensors
        given = [gradient.contiguous() for gradient in gradients]
        names = ("values", "opacity", "distance", "distortion", "weights")
        to_outputs = Composited(**dict(zip(names, given, strict=True)))
        to_density, to_radiance, to_background = ctx.backend.composite_backward(
            to_outputs, density, radiance, ctx.samples, background
        )
        return to_density, to_radiance, to_background, None


class RenderRays(torch.autograd.Function):
    """``ops.render_rays``."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Any:
        """The fields of ``RenderOutput``; saves for backward only if a gradient will be asked."""
        inputs, spec, sink, grad_enabled = arguments[7]
        keep = grad_enabled and any(ctx.needs_input_grad)
        backend = dispatch.active()
        table, density_weights, color_weights = arguments[4:7]
        parameters = FieldParameters(
            table=table, density_weights=density_weights, color_weights=color_weights
        )
        output, saved = backend.render_rays(inputs, parameters, spec, keep)
        ctx.backend, ctx.saved, ctx.sink, ctx.problem = backend, saved, sink, (inputs, spec)
        ctx.save_for_backward(table, density_weights, color_weights)
        ctx.mark_non_differentiable(output.num_marched, output.num_survived)
        return (
            output.values,
            output.opacity,
            output.distance,
            output.distortion,
            output.num_marched,
            output.num_survived,
        )

    @staticmethod
    @_first_derivative_only
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Gradients to rays, background, conditions and parameters; the table's to the sink."""
        inputs, spec = ctx.problem
        table, density_weights, color_weights = ctx.saved_tensors
        parameters = FieldParameters(
            table=table, density_weights=density_weights, color_weights=color_weights
        )
        nothing = torch.zeros((), dtype=torch.int64)
        given = [gradient.contiguous() for gradient in gradients[:4]]
        to_output = RenderOutput(
            values=given[0],
            opacity=given[1],
            distance=given[2],
            distortion=given[3],
            num_marched=nothing,
            num_survived=nothing,
        )
        result = ctx.backend.render_rays_backward(
            to_output, inputs, parameters, spec, ctx.saved, any(ctx.needs_input_grad[:2])
        )
        to_table = None
        if ctx.sink is not None:
            ctx.sink.gradient = result.table
        elif ctx.needs_input_grad[4]:
            to_table = ctx.backend.scatter_table_gradient(result.table, table, spec.field.grid)
        return (
            result.origins,
            result.directions,
            result.background,
            result.conditions,
            to_table,
            result.density_weights,
            result.color_weights,
            None,
        )


class ColorLoss(torch.autograd.Function):
    """``ops.color_loss``."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, gain: Tensor, targets: Any, loss_spec: Any) -> Any:
        """Loss and squared errors; the gradients are found along with them."""
        del gain  # the targets', here for its gradient
        loss, squared, *gradients = dispatch.active().color_loss(values, targets, loss_spec)
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(squared)
        return loss, squared

    @staticmethod
    @_first_derivative_only
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Gradients to the values and to the gain."""
        to_values, to_gain = ctx.saved_tensors
        # No gain has no device of its own.
        to_gain = to_gain * gradients[0] if len(to_gain) else to_gain
        return to_values * gradients[0], to_gain, None, None


class RenderLossFunction(torch.autograd.Function):
    """``ops.render_loss``."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Any:
        """Loss, squared errors and counts; the gradients are found along with them."""
        inputs, targets, specs, sink = arguments[7]
        table, density_weights, color_weights = arguments[4:7]
        parameters = FieldParameters(
            table=table, density_weights=density_weights, color_weights=color_weights
        )
        backend = dispatch.active()
        seen, gradients = backend.render_loss(
            inputs, targets, parameters, specs, any(ctx.needs_input_grad[:2])
        )
        ctx.backend, ctx.gradients, ctx.sink = backend, gradients, sink
        ctx.grid, ctx.table = specs[0].field.grid, table.detach()
        ctx.mark_non_differentiable(seen.squared, seen.num_marched, seen.num_survived)
        return seen.loss, seen.squared, seen.num_marched, seen.num_survived

    @staticmethod
    @_first_derivative_only
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Gradients to rays, conditions, gain and parameters; the table's to the sink."""
        scale, found = gradients[0], ctx.gradients
        if float(scale) != 1:
            found = found.scaled(scale)
        to_table = None
        if ctx.sink is not None:
            ctx.sink.gradient = found.table
        elif ctx.needs_input_grad[4]:
            to_table = ctx.backend.scatter_table_gradient(found.table, ctx.table, ctx.grid)
        return (
            found.origins,
            found.directions,
            found.conditions,
            found.gain,
            to_table,
            found.density_weights,
            found.color_weights,
            None,
        )
