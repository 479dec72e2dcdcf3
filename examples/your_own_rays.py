"""Trains on rays of your own: whatever can say what rays see is a source. Here: a chequered ball.

python examples/your_own_rays.py [STEPS]
"""

import sys

import torch
from torch.nn.functional import normalize

import neural_render
from neural_render.core.protocols import SceneFrame
from neural_render.core.rays import RayBatch, Rays
from neural_render.core.transforms import Similarity


class ChequeredBall:
    """Rays are in the field's frame: a cube of side 1, here of side 2 around the world's origin."""

    num_channels, has_opacity = 3, True
    place = Similarity(scale=2.0, translation=(-1.0, -1.0, -1.0))
    frame = SceneFrame(world_from_field=place, cascades=1, near=0.0)

    def sample(self, num_rays: int, generator: torch.Generator) -> RayBatch:
        here = {"generator": generator, "device": generator.device}  # where the field is
        eyes = normalize(torch.randn(num_rays, 3, **here))
        ways = normalize(0.7 * (torch.rand(num_rays, 3, **here) - 0.5) - eyes)
        along = -(eyes * ways).sum(dim=1)
        inside = along**2 - 1 + 0.35**2  # above 0 where a ray meets the ball of radius 0.35
        hits = eyes + (along - inside.clamp(min=0).sqrt())[:, None] * ways
        odd = (8 * hits).floor().sum(dim=1, keepdim=True) % 2
        orange, blue = torch.tensor([[0.9, 0.6, 0.2], [0.1, 0.3, 0.6]], device=generator.device)
        rays = Rays(origins=eyes + 0.5, directions=ways, footprint=torch.zeros_like(along))
        return RayBatch.of_colors(rays, odd * orange + (1 - odd) * blue, (inside > 0).float())


steps = int(sys.argv[1]) if len(sys.argv) > 1 else 500
scene = neural_render.fit(ChequeredBall(), "outputs/examples", steps=steps, name="own_rays")
camera = neural_render.Camera.looking((1.6, -1.0, 0.8), (0, 0, 0), fov_deg=40, size=(300, 300))
print("learnt from rays:", scene.render(camera).save("outputs/examples/own_rays.png"))
