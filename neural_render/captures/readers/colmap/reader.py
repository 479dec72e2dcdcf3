"""COLMAP's format: photos beside a model in ``sparse/0``, ``sparse``, ``colmap/sparse/0`` or here.

Also what Gaussian splatting, hloc and COLMAP's own undistorter write.
"""

from pathlib import Path

import numpy as np

from neural_render.captures.readers.colmap import binary, text
from neural_render.captures.readers.colmap.lenses import calibrations
from neural_render.captures.readers.colmap.model import Model, ModelImage, ModelPoints
from neural_render.captures.readers.colmap.points import sparse_points
from neural_render.captures.readers.image_files import (
    IMAGE_FOLDERS,
    FoundImages,
    compact_names,
    find_images,
    is_file,
)
from neural_render.captures.readers.listing import Calibration, Listing, Photo
from neural_render.captures.readers.poses import rigid_pose
from neural_render.core.errors import CaptureError

NAME = "colmap"
_MODEL_FOLDERS = ("sparse", "colmap/sparse", "")
_KINDS = {".bin": binary, ".txt": text}


def missing_in(folder: Path) -> str:
    """What the folder lacks to be in this format; nothing where it is."""
    return "" if find_models(folder) else "sparse/0/{cameras,images}.bin or .txt"


def read(folder: Path) -> Listing:
    """The photos of the largest model, with its points; warnings say what is left out."""
    models = find_models(folder)
    counts = [_count_images(model) if len(models) > 1 else 0 for model in models]
    largest = counts.index(max(counts))
    model = read_model(models[largest])
    if not model.images:
        raise CaptureError(
            f"{model.file} lists no image: run the reconstruction again with photos that overlap"
        )
    found = find_images([image.name for image in model.images], _image_folders(folder))
    warnings = list(_image_warnings(found, model.file))
    others = [
        f"{_shown(path, folder)} ({count} photos)"
        for path, count in zip(models, counts, strict=True)
        if path != models[largest]
    ]
    if others:
        warnings.insert(
            0,
            f"of {len(models)} models the one with most photos is used,"
            f" {_shown(models[largest], folder)} ({max(counts)} photos), and {', '.join(others)}"
            " left out: each has coordinates of its own",
        )
    intrinsics = calibrations({image.camera: model.cameras[image.camera] for image in model.images})
    photos = tuple(
        _photo(image, intrinsics[image.camera], found.files[image.name]) for image in model.images
    )
    cameras = np.array([photo.world_from_camera[:, 3] for photo in photos])
    return Listing(
        train=photos,
        points=sparse_points(model, cameras),
        warnings=tuple(warnings),
    )


def find_models(folder: Path) -> tuple[Path, ...]:
    """The folders of all models of the first place that has any, by name."""
    for place in _MODEL_FOLDERS:
        root = folder / place
        inside = sorted(root.iterdir()) if place and root.is_dir() else ()
        found = tuple(path for path in (root, *inside) if _kind(path))
        if found:
            return found
    return ()


def read_model(path: Path) -> Model:
    """The reconstruction in a folder; CaptureError where a file is broken."""
    kind = _kind(path)
    module = _KINDS[kind]
    points = path / f"points3D{kind}"
    images = path / f"images{kind}"
    model = Model(
        cameras=module.read_cameras(path / f"cameras{kind}"),
        images=module.read_images(images),
        points=module.read_points(points) if is_file(points) else _no_points(),
        file=images,
    )
    first_use: dict[str, ModelImage] = {}
    for image in model.images:
        if image.camera not in model.cameras:
            raise CaptureError(
                f"{image.where} has the camera {image.camera}, which"
                f" {path / f'cameras{kind}'} does not list: take both files from one reconstruction"
            )
        if image.name in first_use:
            raise CaptureError(
                f"{image.where} has the name of {first_use[image.name].where}, but each photo has"
                " one camera: remove one of them"
            )
        first_use[image.name] = image
    return model


def _no_points() -> ModelPoints:
    """What a model without a file of points has."""
    return ModelPoints(
        numbers=np.zeros(0, dtype=np.int64),
        positions=np.zeros((0, 3)),
        colors=np.zeros((0, 3), dtype=np.uint8),
    )


def _kind(path: Path) -> str:
    """The ending of a model's files; nothing where there is no model."""
    for kind in _KINDS:
        if is_file(path / f"cameras{kind}") and is_file(path / f"images{kind}"):
            return kind
    return ""


def _count_images(path: Path) -> int:
    kind = _kind(path)
    return _KINDS[kind].count_images(path / f"images{kind}")


def _photo(image: ModelImage, intrinsics: Calibration, file: Path) -> Photo:
    return Photo(
        name=image.name,
        where=image.where,
        image=file,
        mask=None,
        world_from_camera=world_from_camera(image),
        calibration=intrinsics,
    )


def world_from_camera(image: ModelImage) -> np.ndarray:
    """The inverse of the pose that the file states."""
    length = float(np.linalg.norm(image.quat_wxyz))
    if not 1e-6 < length < 1e6 or not np.isfinite(image.translation).all():
        raise CaptureError(
            f"{image.where} has the pose {(*image.quat_wxyz, *image.translation)}, which is none:"
            " correct the file or run the reconstruction again"
        )
    w, x, y, z = image.quat_wxyz / length
    camera_from_world = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    rotation = camera_from_world.T
    position = -rotation @ image.translation
    return rigid_pose(np.concatenate([rotation, position[:, None]], axis=1), image.where)


def _image_folders(folder: Path) -> list[Path]:
    """Where the photos may be, the likeliest place first."""
    folders = [folder / name for name in (*IMAGE_FOLDERS, "input", "")]
    if _kind(folder):  # the model itself was given, such as .../sparse/0
        above = (folder.parent, folder.parent.parent)
        folders += [root / name for root in above for name in IMAGE_FOLDERS]
    return folders


def _image_warnings(found: FoundImages, file: Path) -> tuple[str, ...]:
    warnings = []
    if found.in_order:
        warnings.append(
            f"{found.folder} has as many images as {file} lists but none by their names: both were"
            " sorted by name and taken in order"
        )
    if found.unnamed:
        warnings.append(
            f"{len(found.unnamed)} of the {len(found.unnamed) + len(found.files)} photos in"
            f" {found.folder} have no pose in {file} and are not used:"
            f" {compact_names(found.unnamed)}"
        )
    return tuple(warnings)


def _shown(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
