"""Views that are there already, and whether they belong to the capture that is asked for."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from studio.orbit import view_name
from studio.photograph import CaptureError


def is_done(path: Path, size: int) -> bool:
    """Whether a view is there already; refuses to mix sizes in one capture."""
    if not path.is_file():
        return False
    with Image.open(path) as image:
        if image.size != (size, size):
            raise CaptureError(
                f"{path} is {image.width}x{image.height} but --size {size} was asked for: "
                "add --redo to render every view again"
            )
    return True


def check_poses(folder: Path, split: str, matrices: np.ndarray) -> None:
    """Refuses to keep views that were rendered from other places."""
    file, num_views = folder / f"transforms_{split}.json", len(matrices)
    there = any((folder / view_name(split, index)).is_file() for index in range(num_views))
    if not there or not file.is_file():
        return
    try:
        frames = json.loads(file.read_text(encoding="utf-8"))["frames"]
        known = np.array([frame["transform_matrix"] for frame in frames], dtype=float)
    except (ValueError, KeyError, TypeError):
        known = np.zeros(0)
    if known.shape != matrices.shape or not np.allclose(known, matrices, atol=1e-6):
        raise CaptureError(
            f"{file} places the views of {folder / split} elsewhere than --{split} {num_views}"
            " does: add --redo to render every view again"
        )
