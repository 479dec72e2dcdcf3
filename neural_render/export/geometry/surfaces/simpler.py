"""Fewer triangles: what is nearest to a surface with so many (quadric error metrics)."""

import numpy as np

from neural_render.core.errors import SettingError
from neural_render.export.geometry.surfaces.blocks import Surface
from neural_render.export.geometry.surfaces.manifold import manifold


def simplified(surface: Surface, num_faces: int) -> Surface:
    """About ``num_faces`` triangles in place of more, a manifold where the surface is closed.

    SettingError where so few leave nothing of it.
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
    simpler = manifold(Surface(vertices=vertices, faces=triangles.astype(np.int64)))
    if not len(simpler.faces):
        raise SettingError(
            f"export.mesh.faces={num_faces} leaves nothing of a surface of {len(surface.faces)}"
            " triangles: give more, or 0 for as many as are found."
        )
    return simpler
