"""Renders a function of your own: whatever gives density and radiance is a field.

python examples/your_own_field.py
"""

from pathlib import Path

import torch
from torch import Tensor

from neural_render import Camera
from neural_render.export.images import write_png
from neural_render.kernels.specs import MarchSpec
from neural_render.rendering import OccupancyGrid, Renderer, render_image


class Gyroid:
    """A curved wall in a ball, in the field's frame: the cube from (0, 0, 0) to (1, 1, 1)."""

    num_channels = 3

    def query(self, points: Tensor, directions: Tensor, *_: object) -> tuple[Tensor, Tensor]:
        return self.density(points), 0.55 + 0.45 * torch.sin(9 * points)

    def density(self, points: Tensor, *_: object) -> Tensor:
        wall = ((28 * points).sin() * (28 * points).roll(1, dims=1).cos()).sum(dim=1)
        inside = (points - 0.5).norm(dim=1) < 0.42
        return torch.where(inside & (wall.abs() < 0.35), 300.0, 0.0)

    def fused_view(self) -> None:
        """No grid and network that the kernels know: they ask the functions above."""


field, renderer = Gyroid(), Renderer(MarchSpec(step=0.004), OccupancyGrid(1, torch.device("cpu")))
for seed in range(4):  # what is empty is not marched: random points of all cells tell
    renderer.update_occupancy(field, generator=torch.Generator().manual_seed(seed), full=True)
camera = Camera.looking((1.5, -0.6, 1.1), (0.5, 0.5, 0.5), fov_deg=35, size=(240, 240))
image = render_image(renderer, field, camera.record, 0, background=torch.ones(3))
write_png(path := Path("outputs/examples/own_field.png"), image.color)
print("a function of your own:", path)
