"""Photographs of a Mitsuba scene as straight-alpha sRGB images, by `pip install -e ".[bake]"`."""

import importlib

import numpy as np
import torch

from neural_render.core.color import srgb_from_linear
from neural_render.core.errors import SceneError
from neural_render.scenes.tracing.variants import VARIANTS, chosen_variant

PASS_SAMPLES = 36
"""Paths per pixel and pass, a square number (they are stratified)."""


class CaptureError(Exception):
    """What stops the capture, in one sentence for the user."""


def load_mitsuba():
    """The mitsuba module with the fastest variant set that runs here."""
    try:
        variant = chosen_variant("auto")
    except SceneError as error:
        raise CaptureError(str(error)) from error
    mitsuba = importlib.import_module("mitsuba")
    mitsuba.set_variant(VARIANTS[variant])
    return mitsuba


def pinhole(mi, matrix: np.ndarray, fov_deg: float, size: int):
    """A Mitsuba sensor for a camera-to-world matrix in OpenGL/Blender axes."""
    # Mitsuba's camera looks along +z with x to the left.
    pose = matrix @ np.diag([-1.0, 1.0, -1.0, 1.0])
    film = {
        "type": "hdrfilm",
        "width": size,
        "height": size,
        "pixel_format": "rgba",
        "component_format": "float32",
        "rfilter": {"type": "box"},
    }
    return mi.load_dict(
        {
            "type": "perspective",
            "fov": fov_deg,
            "fov_axis": "x",
            "to_world": mi.ScalarTransform4f(pose.tolist()),
            "sampler": {"type": "multijitter", "sample_count": PASS_SAMPLES},
            "film": film,
        }
    )


def photograph(mi, scene, sensor, num_samples: int, seed: int) -> np.ndarray:
    """Premultiplied scene-linear RGB and alpha `[rows columns 4]`, the mean over the passes.

    Alpha counts the camera rays that meet the scene; where they go on to does not matter, so glass
    is covered. A pass whose pixel is far brighter than the passes' median is a firefly (a caustic's
    rare path) and is scaled down. Samples are rounded up to whole passes.
    """
    passes = np.stack(
        [
            np.array(mi.render(scene, sensor=sensor, spp=PASS_SAMPLES, seed=seed + k))
            for k in range(-(-num_samples // PASS_SAMPLES))
        ]
    )
    brightness = passes[..., :3].max(axis=-1)
    typical = np.median(brightness, axis=0)
    cap = np.maximum(1.5 * typical, typical + 0.1)
    passes[..., :3] *= np.minimum(1.0, cap / np.maximum(brightness, 1e-9))[..., None]
    return passes.mean(axis=0)


def display_rgba(premultiplied: np.ndarray) -> np.ndarray:
    """8-bit straight-alpha sRGB `[rows columns 4]` from premultiplied scene-linear RGBA."""
    alpha = np.clip(premultiplied[..., 3:], 0.0, 1.0)
    linear = np.clip(premultiplied[..., :3] / np.maximum(alpha, 1e-6), 0.0, 1.0)
    srgb = srgb_from_linear(torch.from_numpy(linear)).numpy()
    return np.round(255 * np.concatenate([srgb * (alpha > 0), alpha], axis=-1)).astype(np.uint8)
