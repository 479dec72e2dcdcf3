"""The sparse points of a COLMAP model that are worth keeping, and where photos show them."""

import numpy as np
from jaxtyping import Bool, Float64

from neural_render.captures.readers.colmap.model import Model
from neural_render.captures.readers.listing import SparsePoints
from neural_render.captures.readers.poses import LARGEST_COORDINATE

# A point seen once has no depth; one so many times farther off than the cameras are spread, either.
MIN_TRACK = 2
FARTHEST = 1e4


def sparse_points(model: Model, cameras: Float64[np.ndarray, "cameras 3"]) -> SparsePoints:
    """The points that at least two photos show, at positions that ``cameras`` (where the images
    were taken) can tell."""
    points = model.points
    order = np.argsort(points.numbers, kind="stable")
    numbers, positions = points.numbers[order], points.positions[order]
    seen = np.concatenate([np.zeros(0, np.int64), *(image.points for image in model.images)])
    places = (image.pixels / model.cameras[image.camera].size for image in model.images)
    place = np.concatenate([np.zeros((0, 2)), *places])
    photo = np.repeat(np.arange(len(model.images)), [len(image.points) for image in model.images])
    row = np.searchsorted(numbers, seen).clip(max=max(0, len(numbers) - 1))
    known: np.ndarray = np.isfinite(place.sum(axis=-1)) & (len(numbers) > 0)
    known[known] = numbers[row[known]] == seen[known]
    row, photo, place = row[known], photo[known], place[known]
    pairs = np.unique(np.stack([row, photo], axis=-1), axis=0)
    kept = np.bincount(pairs[:, 0], minlength=len(numbers)) >= MIN_TRACK
    kept &= believable(positions, cameras)
    rank = np.cumsum(kept) - 1
    of_kept = kept[row]
    return SparsePoints(
        positions=positions[kept],
        colors=points.colors[order][kept],
        names=tuple(image.name for image in model.images),
        point=rank[row[of_kept]].astype(np.int64),
        photo=photo[of_kept].astype(np.int64),
        place=place[of_kept],
    )


def believable(
    positions: Float64[np.ndarray, "points 3"], cameras: Float64[np.ndarray, "cameras 3"]
) -> Bool[np.ndarray, " points"]:
    """Which positions are finite and not absurdly far away from the cameras."""
    middle = np.median(cameras, axis=0)
    reach = float(np.abs(cameras - middle).max())
    farthest = FARTHEST * reach if reach > 0 else LARGEST_COORDINATE
    finite: np.ndarray = np.isfinite(positions.sum(axis=-1))
    return finite & (np.abs(np.where(finite[..., None], positions, 0) - middle).max(-1) < farthest)
