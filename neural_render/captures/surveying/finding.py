"""Sparse points of a capture that has poses but none: where the rays of its photos meet.

They tell how far things are: where the scene lies, what is empty before the cameras, and the
distance of some pixels (``training.distance_weight``).
"""

import hashlib
import logging
import time
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from neural_render.captures.doctor.poses.choosing import Album, claimed_distance
from neural_render.captures.doctor.subject import Subject, subject_of_views
from neural_render.captures.readers.listing import SparsePoints, no_points
from neural_render.captures.records import Views
from neural_render.captures.surveying.triangulation import Sightings, tracked, triangulated
from neural_render.captures.workplace import fingerprints, place_for
from neural_render.core.errors import CaptureError, OutputError
from neural_render.core.files import whole_file

FORMAT = "1"  # of what is kept; another one is made anew
FILE = Path(".neural_render", "points.npz")
MIN_PHOTOS, MIN_SIDE = 5, 128  # fewer or smaller ones say too little
LEAST_POINTS = 200
# Of all other photos by how different their views claim to be: near ones share most, farther ones
# tell distances better.
NEIGHBOURS = (0, 1, 2, 3, 5, 7, 10, 14)
MOST_PAIRS = 1500

_log = logging.getLogger("neural_render")


def points_of_photos(views: Views, files: Sequence[Path], folder: Path) -> SparsePoints:
    """The points that training photos agree on; none where they say too little.

    They are kept beside the photos (``files``, in the order of the views), or in the user's cache,
    and found anew if photos or cameras have changed.
    """
    size = torch.maximum(views.cameras.width, views.cameras.height)
    if len(views) < MIN_PHOTOS or int(size.min()) < MIN_SIDE:
        return no_points()
    key = _key(views, files)
    try:
        file = place_for(folder) / FILE
    except CaptureError:  # nothing can be kept, which only costs time
        return _found(views, folder)
    if (kept := _read(file, key)) is not None:
        return kept
    points = _found(views, folder)
    with suppress(OutputError), whole_file(file) as draft:
        arrays = {"key": np.array(key), **_arrays(points)}
        np.savez(draft, allow_pickle=False, **arrays)
    return points


def _found(views: Views, folder: Path) -> SparsePoints:
    """The points, looked for in the photos; what that came to is logged."""
    began = time.monotonic()
    subject = subject_of_views(views)
    _log.info(
        "finding points that the %d training photos of %s agree on, once for this capture",
        len(subject),
        folder,
    )
    sightings = tracked(Album(subject=subject).match(chosen_pairs(subject)))
    positions, sightings = triangulated(sightings, subject.cameras)
    seconds = time.monotonic() - began
    if len(positions) < LEAST_POINTS:
        _log.info("they agree on %d points, too few to be of use (%.0f s)", len(positions), seconds)
        return no_points()
    _log.info("%d points found in %.0f s", len(positions), seconds)
    cameras = subject.cameras
    sizes = torch.stack([cameras.width, cameras.height], dim=-1).double().cpu().numpy()
    return SparsePoints(
        positions=positions,
        colors=_colors(subject, sightings, len(positions)),
        names=subject.names,
        point=sightings.point,
        photo=sightings.photo,
        place=sightings.pixel / sizes[sightings.photo],
        found=True,
    )


def chosen_pairs(subject: Subject) -> list[tuple[int, int]]:
    """Photos to be compared: each with some whose claimed views are like its own."""
    count, positions = len(subject), subject.poses[:, :, 3]
    spread = float(np.linalg.norm(positions - positions.mean(0), axis=1).mean())
    distance = claimed_distance(subject.poses, max(spread, 1e-12))
    ranks = NEIGHBOURS[: max(2, MOST_PAIRS // count)]
    order = np.argsort(distance, axis=1, kind="stable")[:, : count - 1]
    pairs = {
        (min(photo, other), max(photo, other))
        for photo in range(count)
        for other in order[photo, [rank for rank in ranks if rank < count - 1]].tolist()
    }
    return sorted(pairs)


def _colors(subject: Subject, sightings: Sightings, num_points: int) -> np.ndarray:
    """The colour of each point in the first photo that shows it."""
    colors = np.zeros((num_points, 3), dtype=np.uint8)
    _, first = np.unique(sightings.point, return_index=True)
    for photo in np.unique(sightings.photo[first]).tolist():
        rows = first[sightings.photo[first] == photo]
        views, index = subject.places[photo]
        image = views.image(index).cpu().numpy()
        column, row = sightings.pixel[rows].astype(np.int64).T
        row, column = row.clip(0, image.shape[0] - 1), column.clip(0, image.shape[1] - 1)
        colors[sightings.point[rows]] = image[row, column, :3]
    return colors


def _key(views: Views, files: Sequence[Path]) -> str:
    """A digest of all that the points follow from."""
    digest = hashlib.sha256(FORMAT.encode())
    for tensor in vars(views.cameras).values():
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    for name, file in zip(views.names, files, strict=True):
        digest.update(f"{name} {fingerprints(file.parent, [file.name])}".encode())
    return digest.hexdigest()


def _arrays(points: SparsePoints) -> dict[str, np.ndarray]:
    arrays = {name: value for name, value in vars(points).items() if name not in ("names", "found")}
    return {**arrays, "names": np.array(points.names, dtype=np.str_)}


def _read(file: Path, key: str) -> SparsePoints | None:
    """What was kept for ``key``; None where nothing was, or nothing that can be read."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            if str(kept["key"]) != key:
                return None
            arrays = {name: kept[name] for name in _arrays(no_points())}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    names = tuple(str(name) for name in arrays.pop("names"))
    return SparsePoints(**arrays, names=names, found=len(names) > 0)
