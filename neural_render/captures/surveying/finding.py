"""Sparse points of a capture that has poses but none: where the rays of its photos meet.

They tell how far things are: where the scene lies, what is empty before the cameras, and the
distance of some pixels (``training.distance_weight``).
"""

import hashlib
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neural_render.captures.doctor.poses.choosing import Album, claimed_distance
from neural_render.captures.doctor.subject import Subject, subject_of_views
from neural_render.captures.loading.photos import PlannedPhoto, planned_cameras
from neural_render.captures.readers.listing import SparsePoints, no_points
from neural_render.captures.records import Views
from neural_render.captures.surveying.triangulation import Sightings, tracked, triangulated
from neural_render.captures.workplace import fingerprints, place_for
from neural_render.core.cameras import Cameras, Lens
from neural_render.core.errors import CaptureError, OutputError
from neural_render.core.files import NO_ARRAYS, whole_file
from neural_render.core.waiting.turns import locked

FORMAT = "1 1"  # of what is kept; another one is made anew
FOLDER = Path(".neural_render", "points")
MIN_PHOTOS, MIN_SIDE = 5, 128  # fewer or smaller ones say too little
MOST_PHOTOS = 400  # of more, some are compared
LEAST_POINTS = 200
# Of all other photos by how different their views claim to be: near ones share most, farther ones
# tell distances better.
NEIGHBOURS = (0, 1, 2, 3, 5, 7, 10, 14)

_log = logging.getLogger("neural_render")


def points_of_photos(
    views: Views, plans: Sequence[PlannedPhoto], folder: Path, *, progress: bool
) -> SparsePoints:
    """The points that training photos agree on; none where they say too little.

    They are kept beside the photos (``plans``, in the order of the views), or in the user's cache,
    for the next time that the same photos are opened with the same cameras, masks and sizes,
    whether in memory or on disk: a run that goes on elsewhere has the points that it began with.
    Their places are those in whole photos, of which ``views`` on disk may lack rows and columns.
    """
    cameras = planned_cameras(plans)
    sides = torch.minimum(cameras.width, cameras.height)
    too_small = len(plans) < MIN_PHOTOS or int(sides.min()) < MIN_SIDE
    # What such a lens shows behind itself no plane holds, on which matches are verified.
    if too_small or bool((cameras.lens == int(Lens.EQUIRECTANGULAR)).any()):
        return no_points()
    key = _key(cameras, plans)
    try:
        place = place_for(folder)
    except CaptureError:  # nothing can be kept, which only costs time
        return _found(views, plans, folder, progress=progress)
    file = place / FOLDER / f"{key[:16]}.npz"
    with locked(place):
        if (kept := _read(file, key)) is not None:
            return kept
        points = _found(views, plans, folder, progress=progress)
        with suppress(OutputError), whole_file(file) as draft:
            arrays: dict[str, Any] = {"key": np.array(key), **_arrays(points)}
            np.savez(draft, **arrays)
    return points


def _found(
    views: Views, plans: Sequence[PlannedPhoto], folder: Path, *, progress: bool
) -> SparsePoints:
    """The points, looked for in the photos; what that came to is logged."""
    began = time.monotonic()
    shown = views.window(0) if views.stride > 1 else views
    subject = subject_of_views(shown)
    _log.info(
        "finding points that the %d training photos of %s agree on, once for these photos and"
        " cameras",
        len(subject),
        folder,
    )
    album = Album(subject=subject, progress=progress)
    sightings = tracked(album.match(chosen_pairs(subject)))
    positions, sightings = triangulated(sightings, subject.cameras)
    seconds = time.monotonic() - began
    if len(positions) < LEAST_POINTS:
        _log.info("they agree on %d points, too few to be of use (%.0f s)", len(positions), seconds)
        return no_points()
    _log.info("%d points found in %.0f s", len(positions), seconds)
    sizes = np.array([plans[index].size for _, index in subject.places]) / views.stride
    # A pixel of a window is one of every so many, the first of them.
    pixel = (sightings.pixel - 0.5) + 0.5 / views.stride
    return SparsePoints(
        positions=positions,
        colors=_colors(subject, sightings, len(positions)),
        names=subject.names,
        point=sightings.point,
        photo=sightings.photo,
        place=pixel / sizes[sightings.photo],
        found=True,
    )


def chosen_pairs(subject: Subject) -> list[tuple[int, int]]:
    """Photos to be compared: each with some whose claimed views are like its own."""
    chosen = np.arange(0, len(subject), 1 + (len(subject) - 1) // MOST_PHOTOS)
    poses = subject.poses[chosen]
    count, positions = len(chosen), poses[:, :, 3]
    spread = float(np.linalg.norm(positions - positions.mean(0), axis=1).mean())
    distance = claimed_distance(poses, max(spread, 1e-12))
    order = np.argsort(distance, axis=1, kind="stable")[:, : count - 1]
    ranks = [rank for rank in NEIGHBOURS if rank < count - 1]
    pairs = {
        (min(photo, other), max(photo, other))
        for photo, others in enumerate(order[:, ranks].tolist())
        for other in others
    }
    return [(int(chosen[a]), int(chosen[b])) for a, b in sorted(pairs)]


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


def _key(cameras: Cameras, plans: Sequence[PlannedPhoto]) -> str:
    """A digest of what points are to be found in: of photos and cameras, not of memory."""
    digest = hashlib.sha256(FORMAT.encode())
    for tensor in vars(cameras).values():
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    for plan in plans:
        files = [file for file in (plan.photo.image, plan.photo.mask) if file is not None]
        marks = [fingerprints(file.parent, [file.name]) for file in files]
        digest.update(f"{plan.photo.name} {marks} {plan.masked_by_alpha}".encode())
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
    except NO_ARRAYS:
        return None
    names = tuple(str(name) for name in arrays.pop("names"))
    return SparsePoints(**arrays, names=names, found=len(names) > 0)
