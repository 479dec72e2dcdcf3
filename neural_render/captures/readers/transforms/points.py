"""Sparse points of a transforms.json capture: a COLMAP model beside it, or ``ply_file_path``.

What ns-process-data writes has both. The points of the PLY file are in the coordinates of the
file's poses (nerfstudio, process_data/colmap_utils.py, create_ply_from_colmap), those of the model
in its own: they are taken where the cameras of both see them alike.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from neural_render.captures.readers.colmap.lenses import calibrations
from neural_render.captures.readers.colmap.model import Model
from neural_render.captures.readers.colmap.points import believable, sparse_points
from neural_render.captures.readers.colmap.reader import (
    find_models,
    read_model,
    world_from_camera,
)
from neural_render.captures.readers.image_files import is_file
from neural_render.captures.readers.listing import Photo, SparsePoints, no_points
from neural_render.captures.readers.transforms.ply import read_ply
from neural_render.core.errors import CaptureError

# Of an angle: some three pixels of a photo 640 wide. Coordinates of another frame are far off.
MAX_ERROR_RAD = 0.005
MIN_OBSERVATIONS = 30
# Dense clouds say no more of where a scene is.
MAX_POINTS = 1 << 17


def points_of_model(
    folder: Path, photos: tuple[Photo, ...]
) -> tuple[SparsePoints, tuple[str, ...]]:
    """The points of the model that lies beside ``photos``; none, and why, where it is another's.

    Observations are those of photos whose file name, without its ending, the model knows.
    """
    models = find_models(folder)
    if not models:
        return no_points(), ()
    try:
        model = read_model(models[0])
        calibrations(model.cameras)  # their sizes are what points' places are shares of
        places = [world_from_camera(image) for image in model.images]
    except CaptureError as error:
        return no_points(), (f"the sparse points in {models[0]} are left out: {error}",)
    poses = np.array(places).reshape(-1, 3, 4)
    if not len(poses):
        return no_points(), ()
    points = _renamed(sparse_points(model, poses[:, :, 3]), model, photos)
    if not len(points):
        return no_points(), ()
    error = _apart_rad(points, poses, photos)
    if error <= MAX_ERROR_RAD:
        return points, ()
    why = (
        f"the poses see them {math.degrees(error):.2g} degrees away from where the model's do, so"
        " that both have coordinates of their own"
        if math.isfinite(error)
        else "its images do not have the names of the photos"
    )
    return no_points(), (f"the sparse points in {models[0]} are left out, since {why}",)


def points_of_ply(
    file: Path,
    undone: Callable[[np.ndarray], np.ndarray],
    cameras: Float64[np.ndarray, "cameras 3"],
) -> tuple[SparsePoints, tuple[str, ...]]:
    """The points of a PLY file, brought to the coordinates of ``cameras``; none without a file."""
    if not is_file(file):
        return no_points(), (f"{file}, which ply_file_path names, is not there: no sparse points",)
    positions, colors = read_ply(file)
    positions = undone(positions)
    known = np.flatnonzero(believable(positions, cameras))
    kept = known[:: max(1, -(-len(known) // MAX_POINTS))]
    return replace(no_points(), positions=positions[kept], colors=colors[kept]), ()


def _renamed(points: SparsePoints, model: Model, photos: tuple[Photo, ...]) -> SparsePoints:
    """The points with the names that the photos have in this capture; "" where none is meant."""
    names: dict[str, str] = {}
    for photo in photos:
        stem = Path(photo.name).stem
        names[stem] = "" if stem in names else photo.name
    return replace(
        points, names=tuple(names.get(Path(image.name).stem, "") for image in model.images)
    )


def _apart_rad(
    points: SparsePoints, poses: Float64[np.ndarray, "images 3 4"], photos: tuple[Photo, ...]
) -> float:
    """The median angle between a point seen by the model's camera and by the photo's.

    Infinite where there are too few observations to tell.
    """
    stated = {photo.name: photo.world_from_camera for photo in photos}
    known = np.array([name in stated for name in points.names], dtype=bool)
    ours = np.array([stated.get(name, np.eye(3, 4)) for name in points.names]).reshape(-1, 3, 4)
    rows = np.flatnonzero(known[points.photo])
    if len(rows) < MIN_OBSERVATIONS:
        return math.inf
    photo, places = points.photo[rows], points.positions[points.point[rows]]
    first, second = (_directions(frame[photo], places) for frame in (poses, ours))
    chord = np.linalg.norm(first - second, axis=1)
    return float(np.median(2 * np.arcsin(np.minimum(0.5 * chord, 1))))


def _directions(
    poses: Float64[np.ndarray, "seen 3 4"], places: Float64[np.ndarray, "seen 3"]
) -> Float64[np.ndarray, "seen 3"]:
    """Unit vectors to places, in the axes of cameras."""
    local = np.einsum("sij,si->sj", poses[:, :, :3], places - poses[:, :, 3])
    return local / np.maximum(np.linalg.norm(local, axis=1, keepdims=True), 1e-30)
