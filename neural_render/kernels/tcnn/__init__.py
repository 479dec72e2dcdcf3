"""The tiny-cuda-nn backend: NVIDIA's kernels for grid and networks, where ``tinycudann`` is there.

``layouts`` says where parameters lie in its modules, ``modules`` runs them; parameters stay ours,
in float32, and are cast at the door. It opens ``xor`` grids only. All else is another backend's.
"""

from functools import partial

from neural_render.kernels.reference import (
    adam_step,
    color_loss,
    composite,
    composite_backward,
    draw_splats,
    draw_splats_backward,
    encoding,
    field,
    finish,
    march_rays,
    networks,
    occupancy_cells,
    occupancy_points,
    occupancy_update,
    pick_pixels,
    rendering,
    row_adam_step,
    scatter_table_gradient,
    shoot_rays,
    table_adam_step,
)
from neural_render.kernels.tcnn.library import (
    precision,
    set_precision,
    set_threads,
    unavailable_reason,
)
from neural_render.kernels.tcnn.modules import PARTS, hash_encode, mlp

hash_encode_backward = partial(encoding.hash_encode_backward, forward=hash_encode)
mlp_backward = partial(networks.mlp_backward, forward=mlp)
query_field = partial(field.query_field, parts=PARTS)
query_field_backward = partial(field.query_field_backward, parts=PARTS)
query_density = partial(field.query_density, parts=PARTS)
query_density_backward = partial(field.query_density_backward, parts=PARTS)
render_rays = partial(rendering.render_rays, parts=PARTS)
render_rays_backward = partial(rendering.render_rays_backward, parts=PARTS)
render_loss = partial(rendering.render_loss, parts=PARTS)
