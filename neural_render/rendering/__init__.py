"""Integrates a field along rays: occupancy, marching, compositing, whole images."""

from neural_render.rendering.images import Image, render_image
from neural_render.rendering.occupancy import OccupancyGrid
from neural_render.rendering.renderer import Renderer, build_renderer
from neural_render.rendering.settings import RenderingSettings, march_spec

__all__ = [
    "Image",
    "OccupancyGrid",
    "Renderer",
    "RenderingSettings",
    "build_renderer",
    "march_spec",
    "render_image",
]
