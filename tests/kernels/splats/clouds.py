"""Small clouds of splats and cameras that look at them."""

import torch

from neural_render.kernels.splats.records import SplatCamera, Splats, splat_camera
from tests.kernels.problems import generator

LOGIT_HALF = 0.0


def cloud(num: int, seed: int = 0, degree: int = 3, dtype: torch.dtype = torch.float32) -> Splats:
    """Splats of many sizes, shapes and opacities around the origin, some behind the camera."""
    random = generator(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    parts = {
        "means": 0.8 * normal(num, 3),
        "scales": -2.2 + 0.6 * normal(num, 3),
        "rotations": normal(num, 4),
        "opacities": 1.5 * normal(num),
        "colors": 0.3 * normal(num, (degree + 1) ** 2, 3),
    }
    parts["means"][::17, 2] -= 4
    return Splats(**{name: part.to(dtype) for name, part in parts.items()})


def one(
    *, depth: float = 2.0, size: float = 0.1, logit: float = LOGIT_HALF, grey: float = 0.8
) -> Splats:
    """A round grey splat on the axis of ``camera_at_origin``."""
    return Splats(
        means=torch.tensor([[0.0, 0.0, depth]]),
        scales=torch.full((1, 3), size).log(),
        rotations=torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        opacities=torch.tensor([logit]),
        colors=torch.full((1, 1, 3), (grey - 0.5) * (4 * torch.pi) ** 0.5),
    )


def joined(*parts: Splats) -> Splats:
    """All splats of the parts, in their order."""
    names = parts[0].tensors()
    return Splats(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def camera(width: int = 45, height: int = 37) -> SplatCamera:
    """One that looks at the cloud from a little aside, its axis off the middle."""
    pose = torch.eye(4)[:3]
    pose[:, 3] = torch.tensor([0.1, -0.05, -3.0])
    center = width / 2 + 1.5, height / 2 - 0.7
    return splat_camera(pose, (48.0, 50.0), center, (width, height), near=0.2)


def camera_at_origin(side: int = 21, focal: float = 40.0) -> SplatCamera:
    """One that looks along z, with a pixel in the very middle."""
    center = side / 2, side / 2
    return splat_camera(torch.eye(4)[:3], (focal, focal), center, (side, side), near=0.2)
