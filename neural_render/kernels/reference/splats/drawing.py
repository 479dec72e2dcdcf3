"""The definition of splatted pictures in plain PyTorch: any device, float32 and float64.

Legend: m mean, p the same in camera axes; R, s rotation and scales; W camera_from_world's rotation;
J the projection's derivative at p; A the covariance in the picture; q = A^-1 (xx, xy, yy); x, y a
pixel's offset from the splat's centre; a its alpha there, o exp(-(x, y) q (x, y)^T / 2); w weight.

Source: Zwicker et al. 2001, "EWA splatting", eq. 24-31; Kerbl et al. 2023, "3D Gaussian splatting
for real-time radiance field rendering", eq. 3-6 and appendices A and C.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neural_render.kernels.gradients import pullback
from neural_render.kernels.reference.networks import spherical_harmonics
from neural_render.kernels.splats.records import (
    DILATION,
    LEAST_ALPHA,
    LEAST_LIGHT,
    MOST_ALPHA,
    SplatCamera,
    Splats,
)

BLOCK = 32  # pixels along a side that are drawn at once, with the splats that reach them


@dataclass(frozen=True, kw_only=True)
class Projected:
    """Splats in a picture: centres, how far they reach, and q, in pixels; their depths."""

    centers: Float[Tensor, "splats 2"]
    reach: Float[Tensor, "splats 2"]
    inverse: Float[Tensor, "splats 3"]
    depth: Float[Tensor, " splats"]
    opacity: Float[Tensor, " splats"]
    color: Float[Tensor, "splats 3"]

    def __getitem__(self, index: Tensor) -> "Projected":
        """The splats at ``index``."""
        parts = {entry.name: getattr(self, entry.name)[index] for entry in fields(self)}
        return Projected(**parts)


def draw_splats(
    splats: Splats, camera: SplatCamera, keep: bool
) -> tuple[Float[Tensor, "height width 4"], None]:
    """See ``ops.draw_splats``; nothing is kept."""
    return _picture(splats, camera), None


def draw_splats_backward(
    to_picture: Float[Tensor, "height width 4"], splats: Splats, camera: SplatCamera, kept: None
) -> tuple[Splats, Float[Tensor, " splats"]]:
    """The gradient to the splats, and the sum of each one's weights."""
    names = list(splats.tensors())

    def forward(*tensors: Tensor) -> Tensor:
        return _picture(Splats(**dict(zip(names, tensors, strict=True))), camera)

    found = pullback(forward, list(splats.tensors().values()), (to_picture,))
    weights = splats.means.new_zeros(len(splats))
    with torch.no_grad():
        for _, _, index, w in _blocks(*_projected(splats, camera), camera):
            weights.index_add_(0, index, w.sum(0))
    return Splats(**dict(zip(names, found, strict=True))), weights


def _picture(splats: Splats, camera: SplatCamera) -> Float[Tensor, "height width 4"]:
    seen, index = _projected(splats, camera)
    values = torch.cat([seen.color, torch.ones_like(seen.color[:, :1])], dim=1)
    whole = values.new_zeros(len(splats), 4).index_copy(0, index, values)
    rows: dict[int, list[Tensor]] = {}
    for top, shape, here, w in _blocks(seen, index, camera):
        rows.setdefault(top, []).append((w @ whole[here]).view(*shape, 4))
    return torch.cat([torch.cat(row, dim=1) for row in rows.values()])


def _projected(splats: Splats, camera: SplatCamera) -> tuple[Projected, Int[Tensor, " seen"]]:
    """The splats that can be seen, front to back, and which ones these are."""
    pose = splats.means.new_tensor(camera.camera_from_world).view(3, 4)
    p = splats.means @ pose[:, :3].T + pose[:, 3]
    opacity = splats.opacities.sigmoid()
    index = ((p[:, 2] > camera.near) & (opacity >= LEAST_ALPHA)).nonzero()[:, 0]
    index = index[p[index, 2].detach().argsort(stable=True)]
    splats, p, opacity = splats[index], p[index], opacity[index]
    focal, center = p.new_tensor(camera.focal_px), p.new_tensor(camera.center_px)
    xx, xy, yy = _picture_covariance(splats, p, pose[:, :3], camera)
    determinant = xx * yy - xy * xy
    # Where a is less than LEAST_ALPHA nothing is drawn.
    cut = 2 * (opacity.detach() / LEAST_ALPHA).log()
    eye = -pose[:, :3].T @ pose[:, 3]
    toward = torch.nn.functional.normalize(splats.means - eye, dim=1)
    harmonics = spherical_harmonics(toward, splats.degree)
    color = 0.5 + (harmonics[:, :, None] * splats.colors).sum(1)
    seen = Projected(
        centers=p[:, :2] / p[:, 2:] * focal + center,
        reach=(cut[:, None] * torch.stack([xx, yy], dim=1).detach()).sqrt(),
        inverse=torch.stack([yy, -xy, xx], dim=1) / determinant[:, None],
        depth=p[:, 2],
        opacity=opacity,
        color=color.clamp(min=0),
    )
    return seen, index


def _picture_covariance(
    splats: Splats, p: Float[Tensor, "splats 3"], W: Float[Tensor, "3 3"], camera: SplatCamera
) -> tuple[Float[Tensor, " splats"], ...]:
    """A's xx, xy and yy."""
    low_x, high_x, low_y, high_y = camera.reach
    slope_x = (p[:, 0] / p[:, 2]).clamp(low_x, high_x)
    slope_y = (p[:, 1] / p[:, 2]).clamp(low_y, high_y)
    zero, one = torch.zeros_like(slope_x), torch.ones_like(slope_x)
    rows = torch.stack([one, zero, -slope_x, zero, one, -slope_y], dim=1).view(-1, 2, 3)
    J = rows * p.new_tensor(camera.focal_px)[:, None] / p[:, 2, None, None]
    axes = W @ _rotations(splats.rotations) * splats.scales.exp()[:, None, :]
    x, y = (J @ axes).unbind(1)
    return (x * x).sum(1) + DILATION, (x * y).sum(1), (y * y).sum(1) + DILATION


def _rotations(quat_wxyz: Float[Tensor, "splats 4"]) -> Float[Tensor, "splats 3 3"]:
    w, x, y, z = torch.nn.functional.normalize(quat_wxyz, dim=1).unbind(1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def _blocks(
    seen: Projected, index: Int[Tensor, " seen"], camera: SplatCamera
) -> Iterator[tuple[int, tuple[int, int], Int[Tensor, " here"], Float[Tensor, "pixels here"]]]:
    """For each block its first row, its size, the splats in it and their weights there."""
    for top in range(0, camera.height, BLOCK):
        for left in range(0, camera.width, BLOCK):
            size = min(BLOCK, camera.height - top), min(BLOCK, camera.width - left)
            here = _reaching(seen, left, top, size)
            y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
            pixels = torch.stack([x + left, y + top], dim=-1).view(-1, 2).to(seen.centers) + 0.5
            yield top, size, index[here], _weights(seen[here], pixels)


@torch.no_grad()
def _reaching(seen: Projected, left: int, top: int, size: tuple[int, int]) -> Bool[Tensor, " seen"]:
    low, high = seen.centers - seen.reach, seen.centers + seen.reach
    across = (high[:, 0] >= left) & (low[:, 0] <= left + size[1])
    return across & (high[:, 1] >= top) & (low[:, 1] <= top + size[0])


def _weights(seen: Projected, pixels: Float[Tensor, "pixels 2"]) -> Float[Tensor, "pixels splats"]:
    """w of splats front to back: their alphas times the light that those before leave."""
    x, y = (pixels[:, None] - seen.centers).unbind(-1)
    xx, xy, yy = seen.inverse.unbind(1)
    a = seen.opacity * torch.exp(-0.5 * (xx * x * x + yy * y * y) - xy * x * y)
    a = a.clamp(max=MOST_ALPHA)
    a = a.where(a >= LEAST_ALPHA, 0.0)
    left = (1 - a).cumprod(1)
    before = torch.cat([torch.ones_like(left[:, :1]), left[:, :-1]], dim=1)
    return (a * before).where(left >= LEAST_LIGHT, 0.0)
