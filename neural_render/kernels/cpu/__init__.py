"""The CPU backend: fused C++ kernels, one module per instruction set, the best chosen at run time.

``modules`` chooses, ``native`` and ``tables`` say how tensors get there; the C++ lies in ``csrc``.
"""

from neural_render.kernels.cpu.losses import color_loss, render_loss
from neural_render.kernels.cpu.modules import (
    precision,
    set_precision,
    set_threads,
    unavailable_reason,
)
from neural_render.kernels.cpu.occupancy import (
    occupancy_cells,
    occupancy_points,
    occupancy_update,
)
from neural_render.kernels.cpu.optimizer import (
    adam_step,
    finish,
    row_adam_step,
    scatter_table_gradient,
    table_adam_step,
)
from neural_render.kernels.cpu.pixels import pick_pixels, shoot_rays
from neural_render.kernels.cpu.queries import (
    hash_encode,
    hash_encode_backward,
    mlp,
    mlp_backward,
    query_density,
    query_density_backward,
    query_field,
    query_field_backward,
)
from neural_render.kernels.cpu.rendering import (
    composite,
    composite_backward,
    march_rays,
    render_rays,
    render_rays_backward,
)
from neural_render.kernels.cpu.splats.drawing import draw_splats, draw_splats_backward
