"""Turns around the scene and makes an animation of it.

python train.py                                    # once: trains outputs/latest for a minute
python examples/turntable_gif.py [RUN or PACKAGE] [FRAMES]
"""

import sys
from pathlib import Path

from PIL import Image
from tqdm import tqdm

import neural_render

run = sys.argv[1] if len(sys.argv) > 1 else "outputs/latest"
frames = int(sys.argv[2]) if len(sys.argv) > 2 else 36
folder = Path("outputs/examples")

scene = neural_render.load(run)
# An orbit fitted to the capture's cameras; "spiral", or a JSON file of keyframes, are others.
cameras = scene.along("orbit", frames, size=(240, 240))
pictures = [Image.fromarray(scene.render(camera).color_8bit) for camera in tqdm(cameras)]

folder.mkdir(parents=True, exist_ok=True)
path = folder / "turntable.gif"
pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=80, loop=0)
print(f"{len(pictures)} frames:", path)
