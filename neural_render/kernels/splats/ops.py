"""Pictures of splats: what is computed, for any backend. ``reference`` is the definition.

A backend has ``draw_splats``, which also gives what it wants to keep for the way back, and
``draw_splats_backward``; what stands here joins them. The C++ is the cpu backend's; on the others
the reference's PyTorch runs.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from neural_render.kernels import dispatch
from neural_render.kernels.splats.records import SplatCamera, Splats, SplatSlopes


def draw_splats(splats: Splats, camera: SplatCamera) -> Float[Tensor, "height width 4"]:
    """What the camera sees before black: colour times opacity, and opacity.

    Each splat becomes the affine image of its Gaussian (Zwicker et al. 2001, "EWA splatting"),
    widened by `DILATION`; pixels, taken at their centres, blend the splats front to back in the
    order of their centres' depths, as `records` says (Kerbl et al. 2023). Differentiable in all of
    ``splats``, but for what the constants cut off and for the order.
    """
    return _Draw.apply(*splats.tensors().values(), camera, torch.is_grad_enabled())


@torch.no_grad()
def splat_slopes(
    splats: Splats, camera: SplatCamera, slope: Callable[[Tensor], Tensor]
) -> SplatSlopes:
    """The gradient of a loss to the splats, without autograd's overhead.

    ``slope`` gives the loss's gradient to the picture that it is handed.
    """
    backend = dispatch.active()
    picture, kept = backend.draw_splats(splats, camera, True)
    to_picture = slope(picture).contiguous()
    gradient, weights = backend.draw_splats_backward(to_picture, splats, camera, kept)
    return SplatSlopes(gradient=gradient, weights=weights)


class _Draw(torch.autograd.Function):
    """``draw_splats``."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        """The picture."""
        *tensors, ctx.camera, keep = arguments
        ctx.backend = dispatch.active()
        ctx.save_for_backward(*tensors)
        picture, ctx.kept = ctx.backend.draw_splats(_splats_of(tensors), ctx.camera, keep)
        return picture

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Gradients to all tensors of the splats."""
        found, _ = ctx.backend.draw_splats_backward(
            gradients[0].contiguous(), _splats_of(ctx.saved_tensors), ctx.camera, ctx.kept
        )
        return *found.tensors().values(), None, None


def _splats_of(tensors: Any) -> Splats:
    means, scales, rotations, opacities, colors = tensors
    return Splats(
        means=means, scales=scales, rotations=rotations, opacities=opacities, colors=colors
    )
