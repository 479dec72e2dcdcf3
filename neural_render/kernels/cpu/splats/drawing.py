"""How splats reach the native kernels, which draw them in float32 on the CPU."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.errors import KernelError
from neural_render.kernels.cpu.modules import native
from neural_render.kernels.cpu.native import addresses, ready
from neural_render.kernels.splats.records import MAX_DEGREE, SplatCamera, Splats


def draw_splats(
    splats: Splats, camera: SplatCamera, keep: bool
) -> tuple[Float[Tensor, "height width 4"], Any]:
    """See ``ops.draw_splats``; also the drawing, for the way back."""
    given = _ready(splats)
    picture = torch.empty(camera.height, camera.width, 4)
    kept = native().KeptDrawing()
    native().draw_splats(
        _numbers(camera), addresses(*given), len(splats), splats.degree, picture.data_ptr(), kept
    )
    return picture, (kept if keep else None)


def draw_splats_backward(
    to_picture: Float[Tensor, "height width 4"], splats: Splats, camera: SplatCamera, kept: Any
) -> tuple[Splats, Float[Tensor, " splats"]]:
    """The gradient to the splats, and the sum of each one's weights.

    The splats must be those of the picture, unchanged.
    """
    given = _ready(splats)
    gradient = [torch.empty_like(tensor) for tensor in given]
    weights = torch.empty(len(splats))
    wanted = ready(to_picture, "to_picture", camera.height, camera.width, 4)  # outlives the call
    native().draw_splats_backward(
        kept,
        wanted.data_ptr(),
        addresses(*given),
        len(splats),
        splats.degree,
        addresses(*gradient),
        weights.data_ptr(),
    )
    return Splats(**dict(zip(splats.tensors(), gradient, strict=True))), weights


def _ready(splats: Splats) -> list[Tensor]:
    num, harmonics = len(splats), splats.colors.shape[1]
    if not 1 <= splats.degree <= MAX_DEGREE or splats.degree**2 != harmonics:
        raise KernelError(f"{harmonics} harmonics were given, but 1, 4, 9 or 16 were wanted.")
    shapes = ((3,), (3,), (4,), (), (harmonics, 3))
    return [
        ready(tensor, name, num, *shape)
        for (name, tensor), shape in zip(splats.tensors().items(), shapes, strict=True)
    ]


def _numbers(camera: SplatCamera) -> list[float]:
    numbers = (*camera.camera_from_world, *camera.focal_px, *camera.center_px, *camera.reach)
    return [*numbers, camera.near, float(camera.width), float(camera.height)]
