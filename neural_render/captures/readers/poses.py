"""Poses as files state them: checked to be rigid, then turned to the axes used inside."""

import numpy as np
from jaxtyping import Float64

from neural_render.core.errors import CaptureError

# Files hold 6 or more digits; what is further from a rotation than this was made on purpose.
ROTATION_TOLERANCE = 2e-3
# Beyond this a squared coordinate leaves the range of 32-bit floats.
LARGEST_COORDINATE = 1e18


def rigid_pose(matrix: Float64[np.ndarray, "rows 4"], where: str) -> Float64[np.ndarray, "3 4"]:
    """Rotation and translation of a 3x4 or 4x4 pose, the rotation made exact.

    CaptureError, naming ``where``, for scale, shear, reflection, a transposed matrix or zeros.
    """
    if len(matrix) == 4 and not np.allclose(matrix[3], [0, 0, 0, 1], atol=1e-6):
        transposed = np.allclose(matrix[:3, 3], 0, atol=1e-6)
        mend = "transpose it" if transposed else "make it rotation and translation only"
        row = ", ".join(f"{value:g}" for value in matrix[3])
        raise CaptureError(
            f"the pose of {where} ends in the row ({row}), but (0, 0, 0, 1) is wanted: {mend}"
        )
    if np.abs(matrix[:3, 3]).max() > LARGEST_COORDINATE:
        raise CaptureError(
            f"the pose of {where} places the camera {np.abs(matrix[:3, 3]).max():g} units away:"
            " correct its translation or remove that frame"
        )
    rotation = matrix[:3, :3]
    if np.abs(rotation).max() > LARGEST_COORDINATE:
        raise _not_rigid(where, "has enormous entries", "make it rotation and translation only")
    left, singular, right = np.linalg.svd(rotation)
    if singular[2] < 1e-6 * max(singular[0], 1e-30) or singular[0] < 1e-12:
        raise _not_rigid(
            where, "is degenerate (its axes do not span space)", "remove or correct that frame"
        )
    if singular[0] - singular[2] > ROTATION_TOLERANCE * singular[0]:
        stretch = ", ".join(f"{value:.4g}" for value in singular)
        raise _not_rigid(
            where,
            f"shears or stretches space (by {stretch})",
            "make it rotation and translation only",
        )
    if abs(singular.mean() - 1) > ROTATION_TOLERANCE:
        raise _not_rigid(
            where,
            f"scales space by {singular.mean():.4g}",
            "divide its first three columns by that factor",
        )
    if np.linalg.det(rotation) < 0:
        raise _not_rigid(where, "mirrors space (determinant -1)", "flip one of its axes")
    return np.concatenate([left @ right, matrix[:3, 3:]], axis=1)


def from_opengl_axes(pose: Float64[np.ndarray, "3 4"]) -> Float64[np.ndarray, "3 4"]:
    """The pose of a camera whose file means x right, y up, z backward (OpenGL, Blender)."""
    return pose * np.array([1.0, -1.0, -1.0, 1.0])


def _not_rigid(where: str, what: str, mend: str) -> CaptureError:
    """The sentence for a matrix that is no pose."""
    return CaptureError(
        f"the pose of {where} {what}, but a camera's pose is rotation and translation only: {mend}"
    )
