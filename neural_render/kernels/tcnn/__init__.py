"""The tiny-cuda-nn backend: NVIDIA's kernels for grid and networks, where ``tinycudann`` is there.

``layouts`` says where parameters lie in its modules, ``modules`` runs them; parameters stay ours,
in float32, and are cast at the door. It opens ``xor`` grids only. All else is another backend's.
"""

from functools import partial

from neural_render.kernels import reference as rest
from neural_render.kernels.reference import field, rendering
from neural_render.kernels.tcnn.library import (
    precision,
    set_precision,
    set_threads,
    unavailable_reason,
)
from neural_render.kernels.tcnn.modules import (
    PARTS,
    hash_encode,
    hash_encode_backward,
    mlp,
    mlp_backward,
)

query_field = partial(field.query_field, parts=PARTS)
query_field_backward = partial(field.query_field_backward, parts=PARTS)
query_density = partial(field.query_density, parts=PARTS)
query_density_backward = partial(field.query_density_backward, parts=PARTS)
render_rays = partial(rendering.render_rays, parts=PARTS)
render_rays_backward = partial(rendering.render_rays_backward, parts=PARTS)
render_loss = partial(rendering.render_loss, parts=PARTS)

adam_step = rest.adam_step
color_loss = rest.color_loss
composite = rest.composite
composite_backward = rest.composite_backward
draw_splats = rest.draw_splats
draw_splats_backward = rest.draw_splats_backward
finish = rest.finish
march_rays = rest.march_rays
occupancy_cells = rest.occupancy_cells
occupancy_points = rest.occupancy_points
occupancy_update = rest.occupancy_update
pick_pixels = rest.pick_pixels
row_adam_step = rest.row_adam_step
scatter_table_gradient = rest.scatter_table_gradient
shoot_rays = rest.shoot_rays
table_adam_step = rest.table_adam_step
