"""Views of known pixels, to be measured."""

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.captures.records import Views
from neural_render.core.cameras import Cameras
from neural_render.evaluation.records import TrainingFigures
from neural_render.rendering.images import Image

FIGURES = TrainingFigures(
    train_seconds=12.5,
    train_cpu_seconds=24.0,
    num_steps=300,
    num_samples=4_000_000,
    num_samples_marched=9_000_000,
    num_rays=500_000,
    backend="cpu",
    precision="float32",
)


def make_views(
    *sizes: tuple[int, int], channels: int = 3, masked: bool = False, names: tuple[str, ...] = ()
) -> Views:
    """Random photos of (width, height) each; masks, if any, ignore every photo's left half."""
    widths, heights = (torch.tensor(column) for column in zip(*sizes, strict=True))
    pixels = widths * heights
    generator = torch.Generator().manual_seed(0)
    count = len(sizes)
    masks = []
    for width, height in sizes:
        mask = torch.full((height, width), 255, dtype=torch.uint8)
        mask[:, : width // 2] = 0
        masks.append(mask.flatten())
    return Views(
        cameras=Cameras(
            world_from_camera=torch.eye(4)[:3].repeat(count, 1, 1),
            focal_px=torch.full((count, 2), 40.0),
            center_px=torch.stack([widths, heights], dim=-1) / 2,
            distortion=torch.zeros(count, 6),
            lens=torch.zeros(count, dtype=torch.int64),
            width=widths,
            height=heights,
        ),
        names=names or tuple(f"r_{index}" for index in range(count)),
        pixels=torch.randint(
            0, 256, (int(pixels.sum()), channels), generator=generator, dtype=torch.uint8
        ),
        offsets=pixels.cumsum(0) - pixels,
        masks=torch.cat(masks) if masked else torch.zeros(0, dtype=torch.uint8),
    )


def image_of(color: Float[Tensor, "height width 3"]) -> Image:
    """A render of this colour, opaque, one unit away."""
    one = torch.ones(color.shape[:2])
    return Image(color=color, opacity=one, distance=one)
