"""Photos of a transforms JSON file: what the Blender and the instant-ngp/nerfstudio formats share.

Keys and their meaning: instant-ngp, docs/nerf_dataset_tips.md and src/nerf_loader.cu; nerfstudio,
docs/quickstart/data_conventions.md. Poses are OpenGL's camera axes in a world without convention.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from neural_render.captures.readers.image_files import display_name, is_file
from neural_render.captures.readers.json_values import JsonTable
from neural_render.captures.readers.listing import Calibration, Photo, Placement
from neural_render.captures.readers.poses import from_opengl_axes, rigid_pose
from neural_render.core.cameras import Lens
from neural_render.core.errors import CaptureError

# Tried in this order where file_path has no ending, as NeRF-synthetic's has not.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".PNG", ".JPG", ".JPEG")
LENSES = {
    "SIMPLE_PINHOLE": Lens.PERSPECTIVE,
    "PINHOLE": Lens.PERSPECTIVE,
    "SIMPLE_RADIAL": Lens.PERSPECTIVE,
    "RADIAL": Lens.PERSPECTIVE,
    "OPENCV": Lens.PERSPECTIVE,
    "SIMPLE_RADIAL_FISHEYE": Lens.FISHEYE,
    "RADIAL_FISHEYE": Lens.FISHEYE,
    "OPENCV_FISHEYE": Lens.FISHEYE,
    "EQUIRECTANGULAR": Lens.EQUIRECTANGULAR,
}
# Lens models that instant-ngp selects by keys of their own. What it calls latlong is everybody
# else's equirectangular; its equirectangular has rows of equal area, not of equal angle.
LENS_KEYS = {
    "is_fisheye": Lens.FISHEYE,
    "is_equirectangular": Lens.EQUIRECTANGULAR,
    "latlong": Lens.EQUIRECTANGULAR,
}
FOREIGN_LENS_KEYS = {
    "ftheta_p0": "F-theta",
    "equirectangular": "of equal areas that instant-ngp calls equirectangular",
}
# Where instant-ngp puts a capture that states its extent but not these (its NERF_SCALE and 0.5).
DEFAULT_SCALE = 0.33
DEFAULT_OFFSET = 0.5
LARGEST_AABB_SCALE = 128


def read_photos(table: JsonTable) -> tuple[Photo, ...]:
    """The photos of the file's ``frames``, in its order; whether images exist is not asked."""
    folder = table.file.parent
    photos: list[Photo] = []
    first_use: dict[Path, int] = {}
    for index, frame in enumerate(table.objects("frames", "frame")):
        stated = frame.text("file_path", "")
        if not stated:
            raise CaptureError(f"{frame.where} has no file_path: name its image file there")
        where = f"frame {index} ({stated}) of {table.file}"
        image = find_file(folder, stated)
        if image in first_use:
            raise CaptureError(
                f"frames {first_use[image]} and {index} of {table.file} both name {stated}, but"
                " each photo has one camera: remove one of them"
            )
        first_use[image] = index
        mask = frame.text("mask_path", "")
        pose = rigid_pose(frame.matrix("transform_matrix"), where)
        photos.append(
            Photo(
                name=display_name(image, folder),
                where=where,
                image=image,
                mask=find_file(folder, mask) if mask else None,
                world_from_camera=from_opengl_axes(pose),
                calibration=read_calibration(frame),
            )
        )
    return tuple(photos)


def find_file(folder: Path, stated: str) -> Path:
    """The file that ``stated`` means: with an ending added, or Windows separators turned, where
    only that exists; else the path as stated."""
    plain = folder / stated
    for path in dict.fromkeys([plain, folder / stated.replace("\\", "/")]):
        for suffix in ("", *IMAGE_SUFFIXES):
            candidate = path.with_name(path.name + suffix) if path.name else path
            if is_file(candidate):
                return candidate
    return plain


def read_calibration(table: JsonTable) -> Calibration:
    """The intrinsics that a frame, or the file around it, states."""
    size = (table.whole_number("w", 0), table.whole_number("h", 0))
    if size != (0, 0) and min(size) <= 0:
        raise CaptureError(
            f"{table.place('w')} gives the image size as w={size[0]} and h={size[1]}:"
            " give both in pixels, or neither"
        )
    coefficients = [table.number(key, 0.0) for key in ("k1", "k2", "k3", "k4", "p1", "p2")]
    k1, k2, k3, k4, p1, p2 = coefficients
    lens = read_lens(table)
    if lens != Lens.PERSPECTIVE:  # the models of these names have no tangential terms
        p1 = p2 = 0.0
    if lens == Lens.EQUIRECTANGULAR:  # and this one has none at all
        k1 = k2 = k3 = k4 = 0.0
    return Calibration(
        lens=lens,
        size=size,
        focal_px=(table.number("fl_x", math.nan), table.number("fl_y", math.nan)),
        fov_rad=(_angle(table, "x"), _angle(table, "y")),
        center_px=(table.number("cx", math.nan), table.number("cy", math.nan)),
        distortion=(k1, k2, k3, k4, p1, p2),
    )


def read_lens(table: JsonTable) -> Lens:
    """The lens model that a frame, or the file around it, names; perspective where none is."""
    for key, name in FOREIGN_LENS_KEYS.items():
        if table.has(key) and (key == "ftheta_p0" or table.flag(key)):
            raise _unknown_lens(name, table.place(key))
    for key, lens in LENS_KEYS.items():
        if table.flag(key):
            return lens
    name = table.text("camera_model", "OPENCV").upper()
    if name not in LENSES:
        raise _unknown_lens(name, table.place("camera_model"))
    return LENSES[name]


def read_placement(tables: Iterable[JsonTable]) -> Placement:
    """The cube of interest as instant-ngp places it, if a file states any of its three keys.

    instant-ngp maps positions to ``position * scale + offset`` and its cube of interest is the unit
    cube; its axes are cycled besides, which leaves a cube as it is.
    """
    for table in tables:
        if not any(table.has(key) for key in ("scale", "offset", "aabb_scale")):
            continue
        scale = table.number("scale", DEFAULT_SCALE)
        if not 0 < scale < math.inf:
            raise CaptureError(
                f"scale in {table.file} is {scale:g}, but a positive number is wanted:"
                " correct or remove it"
            )
        offset = _offset(table)
        x, y, z = ((0.5 - value) / scale for value in offset)
        aabb_scale = table.whole_number("aabb_scale", 1)
        if aabb_scale < 1 or aabb_scale & (aabb_scale - 1) or aabb_scale > LARGEST_AABB_SCALE:
            raise CaptureError(
                f"aabb_scale in {table.file} is {aabb_scale}, but a power of two from 1 to"
                f" {LARGEST_AABB_SCALE} is wanted: correct or remove it"
            )
        return Placement(center=(x, y, z), half_extent=0.5 / scale, aabb_scale=aabb_scale)
    return Placement()


def _offset(table: JsonTable) -> Sequence[float]:
    """Three numbers, or one for all three."""
    if table.has("offset") and not table.is_number("offset"):
        return table.numbers("offset", 3)
    return (table.number("offset", DEFAULT_OFFSET),) * 3


def _angle(table: JsonTable, axis: str) -> float:
    """The angle of view along x or y in radians; NaN where none is stated."""
    degrees = table.number(f"{axis}_fov", math.nan)
    key = f"camera_angle_{axis}"
    return table.number(key, math.nan) if math.isnan(degrees) else math.radians(degrees)


def _unknown_lens(name: str, where: str) -> CaptureError:
    """The sentence for a lens model that has no rays here."""
    return CaptureError(
        f"{where} names the lens model {name}, which is not supported: undistort the images to one"
        f" of {', '.join(LENSES)}"
    )
