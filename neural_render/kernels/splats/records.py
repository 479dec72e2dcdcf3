"""Gaussian splats, the camera that draws them, and the constants that all viewers share."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

# Of Kerbl et al. 2023 and every viewer since: what a file looks like depends on them.
DILATION = 0.3  # square pixels, added to the variances in the picture
LEAST_ALPHA = 1 / 255  # what covers less of a pixel is not drawn there
MOST_ALPHA = 0.99
LEAST_LIGHT = 1e-4  # a pixel ends before the splat that would leave less light than this
SPARE_REACH = 0.3  # of half the picture: beyond, a splat is as stretched as there
MAX_DEGREE = 4  # harmonics of degrees 0 to 3, 16 of them


@dataclass(frozen=True, kw_only=True)
class Splats:
    """Gaussians that glow, their numbers as files hold them; also the gradient to them.

    The covariance is ``R diag(exp(scales))^2 R^T``, the opacity ``sigmoid(opacities)``, the colour
    seen in a direction ``max(0, 1/2 + sum of harmonics * colors)``.
    """

    means: Float[Tensor, "splats 3"]
    scales: Float[Tensor, "splats 3"]
    rotations: Float[Tensor, "splats 4"]  # quaternions wxyz of any length but 0
    opacities: Float[Tensor, " splats"]
    colors: Float[Tensor, "splats harmonics 3"]

    def __len__(self) -> int:
        """The number of splats."""
        return self.means.shape[0]

    def __getitem__(self, index: slice | Tensor) -> "Splats":
        """The splats at ``index`` (a slice, or an integer or boolean tensor)."""
        return Splats(**{name: tensor[index] for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """All numbers by name, in the order of the fields."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @property
    def degree(self) -> int:
        """How many degrees of harmonics the colours have: 1 to `MAX_DEGREE`."""
        return round(self.colors.shape[1] ** 0.5)


@dataclass(frozen=True, kw_only=True)
class SplatSlopes:
    """The gradient to splats, and the sum over pixels of the weight that each one's colour has."""

    gradient: Splats
    weights: Float[Tensor, " splats"]


@dataclass(frozen=True, kw_only=True)
class SplatCamera:
    """A pinhole camera in the splats' frame (axes x right, y down, z forward).

    ``reach`` are the lowest and highest x/z and y/z at which a splat's stretching still grows.
    """

    camera_from_world: tuple[float, ...]  # [3 4], row by row
    focal_px: tuple[float, float]
    center_px: tuple[float, float]
    width: int
    height: int
    near: float  # what is not farther in depth is not drawn
    reach: tuple[float, float, float, float]

    def window(self, left: int, top: int, width: int, height: int) -> "SplatCamera":
        """The camera of a part of the picture, with the very same pixels."""
        x, y = self.center_px
        return SplatCamera(
            camera_from_world=self.camera_from_world,
            focal_px=self.focal_px,
            center_px=(x - left, y - top),
            width=width,
            height=height,
            near=self.near,
            reach=self.reach,
        )


def splat_camera(
    world_from_camera: Float[Tensor, "3 4"],
    focal_px: tuple[float, float],
    center_px: tuple[float, float],
    size: tuple[int, int],
    near: float,
) -> SplatCamera:
    """The camera of a whole picture of ``size`` (width, height)."""
    pose = world_from_camera.detach().double().cpu()
    rotation = pose[:, :3].T
    inverse = torch.cat([rotation, -rotation @ pose[:, 3:]], dim=1)
    reach = []
    for axis in range(2):
        spare = SPARE_REACH * size[axis] / (2 * focal_px[axis])
        reach.append(-center_px[axis] / focal_px[axis] - spare)
        reach.append((size[axis] - center_px[axis]) / focal_px[axis] + spare)
    return SplatCamera(
        camera_from_world=tuple(inverse.flatten().tolist()),
        focal_px=focal_px,
        center_px=center_px,
        width=size[0],
        height=size[1],
        near=near,
        reach=(reach[0], reach[1], reach[2], reach[3]),
    )
