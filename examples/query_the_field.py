"""Asks the field itself what is along a ray, and adds up by hand what a pixel shows.

The renderer leaves out what training found empty, so that both agree where the field is clear: of
an object more than of a foggy room.

python train.py                                    # once: trains outputs/latest for a minute
python examples/query_the_field.py [RUN or PACKAGE]
"""

import sys

import numpy as np

import neural_render

scene = neural_render.load(sys.argv[1] if len(sys.argv) > 1 else "outputs/latest")
camera = scene.cameras.train[0].resized(100, 100)
picture = scene.render(camera, background="black")
solid = np.argwhere(picture.opacity >= 0.99 * picture.opacity.max())
pixel = tuple(solid[len(solid) // 2])  # one that shows something

# Points along the ray through that pixel, and what the field is there: density per unit of length,
# and the colour that each point shows in this direction.
low, high = scene.bounds
longest = np.linalg.norm(camera.position - (low + high) / 2) + np.linalg.norm(high - low) / 2
edges = np.linspace(0, longest, 5001)
middle, step = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
direction = camera.directions[pixel]
samples = scene.query(camera.position + middle[:, None] * direction, direction)

# Volume rendering: what reaches the eye of each point is its opacity times the light that all
# points before it let through.
opacity = 1 - np.exp(-samples.density * step)
weights = opacity * np.cumprod(np.concatenate([[1], 1 - opacity[:-1]]))
distance = weights @ middle / max(weights.sum(), 1e-6)
hand, shown = weights @ samples.radiance, picture.color[pixel]
print("by hand:        ", hand.round(3), f"opacity {weights.sum():.3f} distance {distance:.3f}")
seen = f"opacity {picture.opacity[pixel]:.3f} distance {picture.distance[pixel]:.3f}"
print("by the renderer:", shown.round(3), seen)
