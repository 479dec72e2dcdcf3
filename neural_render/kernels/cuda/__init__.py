"""The CUDA backend: Triton kernels; what is no hot loop there stays the reference's PyTorch.

Upkeep of the occupancy grid and the colour loss are a few passes over little data.
"""

from neural_render.kernels.cuda.compositing import composite, composite_backward
from neural_render.kernels.cuda.device import (
    finish,
    is_interpreted,
    precision,
    set_precision,
    set_threads,
    unavailable_reason,
)
from neural_render.kernels.cuda.encoding import (
    hash_encode,
    hash_encode_backward,
    scatter_table_gradient,
)
from neural_render.kernels.cuda.fields import (
    query_density,
    query_density_backward,
    query_field,
    query_field_backward,
)
from neural_render.kernels.cuda.marching import march_rays
from neural_render.kernels.cuda.networks import mlp, mlp_backward
from neural_render.kernels.cuda.pixels import pick_pixels, shoot_rays
from neural_render.kernels.cuda.rendering import (
    RAYS_AT_ONCE,
    render_loss,
    render_rays,
    render_rays_backward,
)
from neural_render.kernels.cuda.stepping.graphs import Recorded, new_pool
from neural_render.kernels.cuda.stepping.optimizer import adam_step, row_adam_step, table_adam_step
from neural_render.kernels.reference.compositing import color_loss
from neural_render.kernels.reference.occupancy import (
    occupancy_cells,
    occupancy_points,
    occupancy_update,
)
from neural_render.kernels.reference.splats.drawing import draw_splats, draw_splats_backward
