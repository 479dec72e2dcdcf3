"""Renders a view that training never saw, one of your own, and its depth as a picture.

python train.py                                    # once: trains outputs/latest for a minute
python examples/render_a_view.py [RUN or PACKAGE]
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import neural_render

run = sys.argv[1] if len(sys.argv) > 1 else "outputs/latest"
folder = Path("outputs/examples")

scene = neural_render.load(run)
print(scene)
camera = scene.cameras.test[0]
picture = scene.render(camera)
print("a test view:", picture.save(folder / "test_view.png"))

# A camera of your own: where it stands, what it looks at, how much it sees. All of it in the
# capture's world: here a third of the way to what the test view shows.
seen = picture.opacity > 0.5
way = (np.median(picture.distance[seen]) if seen.any() else 1.0) * camera.forward
closer = scene.camera(camera.position + 0.3 * way, camera.position + way, fov_deg=40)
picture = scene.render(closer, size=(320, 240))
print("a view of your own:", picture.save(folder / "own_view.png"))

# Depth is along the camera's axis, in the capture's units; 0 where nothing is seen.
seen = picture.opacity > 0.5
near, far = (picture.depth[seen].min(), picture.depth[seen].max()) if seen.any() else (0.0, 1.0)
shade = np.where(seen, 1 - 0.8 * (picture.depth - near) / max(far - near, 1e-6), 0)
Image.fromarray(np.uint8(255 * shade.clip(0, 1))).save(folder / "depth.png")
print(f"its depth, {near:.2f} to {far:.2f}:", folder / "depth.png")
