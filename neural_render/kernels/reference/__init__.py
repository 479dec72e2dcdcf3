"""The definition of every op in plain PyTorch: any device, float32 and float64; slow, readable."""

import torch

from neural_render.core.errors import KernelError
from neural_render.kernels.reference.compositing import (
    color_loss,
    composite,
    composite_backward,
)
from neural_render.kernels.reference.encoding import (
    hash_encode,
    hash_encode_backward,
    scatter_table_gradient,
)
from neural_render.kernels.reference.field import (
    query_density,
    query_density_backward,
    query_field,
    query_field_backward,
)
from neural_render.kernels.reference.marching import march_rays
from neural_render.kernels.reference.networks import mlp, mlp_backward
from neural_render.kernels.reference.occupancy import (
    occupancy_cells,
    occupancy_points,
    occupancy_update,
)
from neural_render.kernels.reference.optimizer import (
    adam_step,
    finish,
    row_adam_step,
    table_adam_step,
)
from neural_render.kernels.reference.pixels import pick_pixels, shoot_rays
from neural_render.kernels.reference.rendering import (
    render_loss,
    render_rays,
    render_rays_backward,
)
from neural_render.kernels.reference.splats.drawing import draw_splats, draw_splats_backward


def set_threads(threads: int) -> None:
    """PyTorch's own threads do the work."""
    torch.set_num_threads(threads)


def precision() -> str:
    """What runs compute with; tensors of float64 are computed with as they are."""
    return "float32"


def set_precision(precision: str) -> None:
    """Nothing to choose: KernelError for narrower numbers."""
    if precision not in ("auto", "float32"):
        raise KernelError(
            f"kernels.precision={precision} does not go with kernels.backend=reference, which"
            " computes in float32; use kernels.precision=auto."
        )


def unavailable_reason() -> str:
    """Always "": where PyTorch runs, the reference runs."""
    return ""
