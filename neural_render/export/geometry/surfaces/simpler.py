"""Fewer triangles: what is nearest to a surface with so many (quadric error metrics)."""

import numpy as np

from neural_render.export.geometry.surfaces.blocks import Surface
from neural_render.export.geometry.surfaces.manifold import manifold


def simplified(surface: Surface, num_faces: int) -> Surface:
    """About ``num_faces`` triangles in place of more, a manifold where the surface is closed.

    Source: Garland and Heckbert 1997, through fast-simplification.
    """
    if len(surface.faces) <= num_faces:
        return manifold(surface)
    from fast_simplification import simplify

    middle = surface.vertices.mean(0)
    size = float(np.abs(surface.vertices - middle).max())
    points, triangles, *_ = simplify(
        ((surface.vertices - middle) / size).astype(np.float32),
        surface.faces.astype(np.int32),
        target_count=num_faces,
    )
    vertices = points.astype(np.float64) * size + middle
    return manifold(Surface(vertices=vertices, faces=triangles.astype(np.int64)))
