"""Trains a field on photos for some steps and puts a photo beside what was learnt of it.

    python examples/train_from_python.py [STEPS] [CAPTURE]

Without a capture it takes the embedded one, at half its size. 300 steps take some seconds.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before PyTorch, whose threads else spin

import numpy as np
from PIL import Image

import neural_render
from neural_render.captures.opening import open_capture
from neural_render.captures.settings import CaptureSettings
from neural_render.fields import FieldSettings, GridSettings

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
photos = CaptureSettings(path=sys.argv[2] if len(sys.argv) > 2 else "", max_side=200)
folder = Path("outputs/examples")

# What has settings on the command line has the same ones here: `python train.py --help`.
small = FieldSettings(grid=GridSettings(log2_rows=15))
scene = neural_render.fit(photos, folder, steps=steps, name="from_python", field=small)
print(scene)

photo = open_capture(photos, progress=False).test.image(0).numpy() / 255
if photo.shape[-1] == 4:  # on white, as it was trained
    photo = photo[..., :3] * photo[..., 3:] + 1 - photo[..., 3:]
picture = scene.render(scene.cameras.test[0], background="white")
error = np.mean((picture.color - photo) ** 2)
print(f"a view that training never saw: {-10 * np.log10(error):.1f} dB")
both = np.concatenate([photo, picture.color], axis=1)
Image.fromarray(np.uint8(255 * both.clip(0, 1))).save(folder / "photo_and_render.png")
print("photo and render:", folder / "photo_and_render.png")
