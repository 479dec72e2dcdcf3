"""A second way to draw splats, in plain numpy: reads a PLY with plyfile and follows the paper.

It shares nothing with ``kernels.splats``: what agrees with it agrees with Kerbl et al. 2023, "3D
Gaussian splatting for real-time radiance field rendering" and the program that came with it, whose
square of three standard deviations around each splat it keeps.

Legend: Sigma a covariance in space, cov in the picture; conic its inverse; T transmittance.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

TILE = 16
BLUR = 0.3
SH_0 = 0.28209479177387814
SH_1 = 0.4886025119029199
SH_2 = (1.0925484305920792, -1.0925484305920792, 0.31539156525252005)
SH_2 += (-1.0925484305920792, 0.5462742152960396)
SH_3 = (-0.5900435899266435, 2.890611442640554, -0.4570457994644658, 0.3731763325901154)
SH_3 += (-0.4570457994644658, 1.445305721320277, -0.5900435899266435)


@dataclass(frozen=True, kw_only=True)
class Gaussians:
    """A file's splats, a row each."""

    xyz: np.ndarray
    Sigma: np.ndarray
    opacity: np.ndarray
    sh: np.ndarray  # [splats 16 3]


@dataclass(frozen=True, kw_only=True)
class Pinhole:
    """A camera in the file's coordinates: axes x right, y down, z forward."""

    world_from_camera: np.ndarray  # [3 4]
    focal: tuple[float, float]
    center: tuple[float, float]
    width: int
    height: int


def read_gaussians(path: Path) -> Gaussians:
    """The splats of a PLY, by the names of its properties."""
    from plyfile import PlyData

    vertex = PlyData.read(str(path))["vertex"]

    def columns(*names: str) -> np.ndarray:
        return np.stack([np.asarray(vertex[name], dtype=np.float64) for name in names], axis=-1)

    rest = columns(*(f"f_rest_{i}" for i in range(45))).reshape(-1, 3, 15)
    dc = columns("f_dc_0", "f_dc_1", "f_dc_2")
    scale = np.exp(columns("scale_0", "scale_1", "scale_2"))
    M = rotation_matrices(columns("rot_0", "rot_1", "rot_2", "rot_3")) * scale[:, None, :]
    return Gaussians(
        xyz=columns("x", "y", "z"),
        Sigma=M @ M.transpose(0, 2, 1),
        opacity=1 / (1 + np.exp(-columns("opacity")[:, 0])),
        sh=np.concatenate([dc[:, None], rest.transpose(0, 2, 1)], axis=1),
    )


def rotation_matrices(quaternions: np.ndarray) -> np.ndarray:
    """Rotation matrices of quaternions w x y z of any length."""
    q = quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)
    w, v = q[:, :1, None], q[:, 1:]
    cross = np.zeros((len(q), 3, 3))
    for axis in range(3):
        cross[:, (axis + 2) % 3, (axis + 1) % 3] = v[:, axis]
        cross[:, (axis + 1) % 3, (axis + 2) % 3] = -v[:, axis]
    # Rodrigues: v v^T counts twice, beside the turn about it.
    outer = v[:, :, None] * v[:, None, :]
    square = (w * w) - (v * v).sum(1)[:, None, None]
    return square * np.eye(3) + 2 * outer + 2 * w * cross


def seen_colors(gaussians: Gaussians, eye: np.ndarray) -> np.ndarray:
    """The splats' colours from ``eye``, degree by degree as the paper's program has them."""
    direction = gaussians.xyz - eye
    x, y, z = (direction / np.linalg.norm(direction, axis=1, keepdims=True)).T
    xx, yy, zz = x * x, y * y, z * z
    basis = [
        np.full_like(x, SH_0),
        *(-SH_1 * y, SH_1 * z, -SH_1 * x),
        *(SH_2[0] * x * y, SH_2[1] * y * z, SH_2[2] * (2 * zz - xx - yy)),
        *(SH_2[3] * x * z, SH_2[4] * (xx - yy)),
        *(SH_3[0] * y * (3 * xx - yy), SH_3[1] * x * y * z, SH_3[2] * y * (4 * zz - xx - yy)),
        SH_3[3] * z * (2 * zz - 3 * xx - 3 * yy),
        *(SH_3[4] * x * (4 * zz - xx - yy), SH_3[5] * z * (xx - yy), SH_3[6] * x * (xx - 3 * yy)),
    ]
    return np.maximum(np.einsum("bn,nbc->nc", np.stack(basis), gaussians.sh) + 0.5, 0.0)


def draw(
    gaussians: Gaussians, camera: Pinhole, background: float, near: float = 0.01
) -> np.ndarray:
    """``float32 [height width 3]``: what the camera sees of the splats before a grey."""
    R, eye = camera.world_from_camera[:, :3].T, camera.world_from_camera[:, 3]
    local = (gaussians.xyz - eye) @ R.T
    kept = local[:, 2] > near
    local, opacity = local[kept], gaussians.opacity[kept]
    cov = picture_covariances(gaussians.Sigma[kept], local, R, camera)
    a, b, c = cov[:, 0, 0] + BLUR, cov[:, 0, 1], cov[:, 1, 1] + BLUR
    determinant = a * c - b * b
    conic = np.stack([c, -b, a], axis=1) / determinant[:, None]
    middle = (a + c) / 2
    largest = middle + np.sqrt(np.maximum(0.1, middle * middle - determinant))
    x = local[:, 0] / local[:, 2] * camera.focal[0] + camera.center[0]
    y = local[:, 1] / local[:, 2] * camera.focal[1] + camera.center[1]
    drawn = {
        "x": x,
        "y": y,
        "radius": np.ceil(3 * np.sqrt(largest)),
        "conic": conic,
        "opacity": opacity,
        "color": seen_colors(gaussians, eye)[kept],
    }
    order = np.argsort(local[:, 2], kind="stable")
    drawn = {name: value[order].astype(np.float32) for name, value in drawn.items()}
    picture = np.full((camera.height, camera.width, 3), background, dtype=np.float32)
    for tile, members in tiles(drawn, camera):
        here = {name: value[members] for name, value in drawn.items()}
        blend(picture[tile], tile, here, background)
    return picture


def picture_covariances(
    Sigma: np.ndarray, local: np.ndarray, R: np.ndarray, camera: Pinhole
) -> np.ndarray:
    """``J R Sigma R^T J^T`` (Zwicker et al. 2001), splats far outside taken as on the border."""
    z = local[:, 2]
    J = np.zeros((len(z), 2, 3))
    sizes = (camera.width, camera.height)
    for axis in range(2):
        focal, center, size = camera.focal[axis], camera.center[axis], sizes[axis]
        spare = 0.3 * size / (2 * focal)
        ratio = np.clip(
            local[:, axis] / z, -center / focal - spare, (size - center) / focal + spare
        )
        J[:, axis, axis] = focal / z
        J[:, axis, 2] = -focal * ratio / z
    T = J @ R
    return T @ Sigma @ T.transpose(0, 2, 1)


def tiles(drawn: dict[str, np.ndarray], camera: Pinhole):
    """Each tile that something is in, as slices, and which splats are in it, front to back."""
    x, y, radius = drawn["x"], drawn["y"], drawn["radius"]
    across, down = -(-camera.width // TILE), -(-camera.height // TILE)
    left = np.clip((x - radius) // TILE, 0, across).astype(int)
    right = np.clip((x + radius + TILE - 1) // TILE, 0, across).astype(int)
    top = np.clip((y - radius) // TILE, 0, down).astype(int)
    bottom = np.clip((y + radius + TILE - 1) // TILE, 0, down).astype(int)
    for row in range(down):
        of_row = np.flatnonzero((top <= row) & (row < bottom))
        for column in range(across):
            members = of_row[(left[of_row] <= column) & (column < right[of_row])]
            if len(members):
                rows = slice(row * TILE, min((row + 1) * TILE, camera.height))
                columns = slice(column * TILE, min((column + 1) * TILE, camera.width))
                yield (rows, columns), members


def blend(
    pixels: np.ndarray, tile: tuple[slice, slice], here: dict[str, np.ndarray], background: float
) -> None:
    """Draws a tile's splats, front to back, to its ``pixels``, in place."""
    rows, columns = tile
    py = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None, None] + 0.5
    px = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :, None] + 0.5
    dx, dy = here["x"] - px, here["y"] - py
    a, b, c = here["conic"].T
    power = -0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy
    alpha = np.minimum(0.99, here["opacity"] * np.exp(np.minimum(power, 0)))
    alpha[alpha < 1 / 255] = 0
    T = np.cumprod(1 - alpha, axis=-1)
    ended = T < 1e-4  # the splat that would leave less is not drawn, nor any behind it
    before = np.concatenate([np.ones_like(T[..., :1]), T[..., :-1]], axis=-1)
    weight = np.where(ended, 0, alpha * before)
    left = 1 - weight.sum(-1, keepdims=True)
    pixels[:] = weight @ here["color"] + left * background
