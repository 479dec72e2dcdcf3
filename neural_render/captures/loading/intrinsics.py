"""Intrinsics at the size of the image file, and whether the two can belong together."""

import math
from dataclasses import dataclass

from neural_render.captures.readers.listing import Calibration, Photo
from neural_render.core.cameras import Lens
from neural_render.core.errors import CaptureError

Size = tuple[int, int]
LONGEST = 1e5  # focal length in image sides; nor is any below its reciprocal


@dataclass(frozen=True, kw_only=True)
class Intrinsics:
    """A complete pinhole-and-distortion model for an image of ``size`` (width, height) pixels.

    ``rotated`` says that the file's EXIF orientation has to be applied to get that image, and
    ``ratio`` is the file's size relative to what the capture states (1 if it states none).
    """

    size: Size
    focal_px: tuple[float, float]
    center_px: tuple[float, float]
    rotated: bool
    ratio: float


def match_intrinsics(photo: Photo, file_size: Size, oriented_size: Size) -> Intrinsics:
    """The photo's intrinsics for its image file.

    Cameras belong to pixels as they are stored, as structure from motion sees them. Only where
    the stored size contradicts the stated one and the size after EXIF orientation
    (``oriented_size``) does not, the orientation counts. Images scaled as a whole are followed.
    """
    calibration = photo.calibration
    stated = calibration.size
    if stated == (0, 0):
        focal = _focal_px(photo, file_size)
        _check_unstated_size(photo, file_size, focal)
        center = _center_px(calibration, file_size)
        return Intrinsics(
            size=file_size, focal_px=focal, center_px=center, rotated=False, ratio=1.0
        )
    for size in (file_size, oriented_size):
        ratio = uniform_ratio(stated, size)
        if ratio > 0:
            focal, center = _focal_px(photo, stated), _center_px(calibration, stated)
            # Each axis by its own quotient: rounding to whole pixels stretched the image so.
            along_x, along_y = size[0] / stated[0], size[1] / stated[1]
            return Intrinsics(
                size=size,
                focal_px=(focal[0] * along_x, focal[1] * along_y),
                center_px=(center[0] * along_x, center[1] * along_y),
                rotated=size != file_size,
                ratio=ratio,
            )
    raise CaptureError(
        f"{photo.image} has {file_size[0]}x{file_size[1]} pixels, but the intrinsics of"
        f" {photo.where} belong to {stated[0]}x{stated[1]}: restore the image or correct w and h"
    )


def uniform_ratio(stated: Size, actual: Size) -> float:
    """The factor by which a whole image was scaled, up to rounding its sides; 0 if none fits."""
    longer = int(stated[1] > stated[0])
    ratio = actual[longer] / stated[longer]
    other = 1 - longer
    return ratio if abs(stated[other] * ratio - actual[other]) < 1 else 0.0


def _focal_px(photo: Photo, size: Size) -> tuple[float, float]:
    """Focal lengths in pixels of an image of ``size``."""
    calibration = photo.calibration
    if calibration.lens == Lens.EQUIRECTANGULAR:  # the whole sphere, in pixels per radian
        return size[0] / (2 * math.pi), size[1] / math.pi
    lengths = [_axis_focal_px(photo, axis, size[axis]) for axis in range(2)]
    if all(math.isnan(length) for length in lengths):
        perspective = calibration.lens == Lens.PERSPECTIVE
        raise CaptureError(
            f"{photo.where} states no focal length: give it"
            + (" camera_angle_x in radians or fl_x in pixels" if perspective else " fl_x in pixels")
        )
    x, y = lengths
    return (y if math.isnan(x) else x, x if math.isnan(y) else y)


def _axis_focal_px(photo: Photo, axis: int, side: int) -> float:
    """The focal length along one axis; NaN where nothing is stated."""
    focal, angle = photo.calibration.focal_px[axis], photo.calibration.fov_rad[axis]
    letter = "xy"[axis]
    if not math.isnan(focal):
        if not 0 < focal < math.inf:
            raise CaptureError(
                f"{photo.where} has fl_{letter}={focal:g}, but a positive number of pixels is"
                " wanted: correct it"
            )
        if not side / LONGEST < focal < side * LONGEST:
            raise CaptureError(
                f"{photo.where} has fl_{letter}={focal:g} for {side} pixels, which no lens has:"
                " correct it"
            )
        return focal
    if math.isnan(angle) or photo.calibration.lens != Lens.PERSPECTIVE:
        return math.nan
    if not 0 < angle < math.pi:
        raise CaptureError(
            f"{photo.where} has camera_angle_{letter}={angle:g}, but an angle of view between 0 and"
            " 3.14 radians is wanted: correct it"
        )
    return 0.5 * side / math.tan(0.5 * angle)


def _center_px(calibration: Calibration, size: Size) -> tuple[float, float]:
    """The principal point in an image of ``size``."""
    x, y = calibration.center_px
    if calibration.lens == Lens.EQUIRECTANGULAR:
        x = y = math.nan
    return (0.5 * size[0] if math.isnan(x) else x, 0.5 * size[1] if math.isnan(y) else y)


def _check_unstated_size(photo: Photo, size: Size, focal: tuple[float, float]) -> None:
    """Finds intrinsics of another image size where the capture states no size to compare with."""
    calibration = photo.calibration
    for axis, (letter, side_name) in enumerate((("x", "wide"), ("y", "high"))):
        center, angle = calibration.center_px[axis], calibration.fov_rad[axis]
        if not math.isnan(center) and not 0 < center < size[axis]:
            raise CaptureError(
                f"{photo.image} has {size[0]}x{size[1]} pixels, but c{letter}={center:g} in"
                f" {photo.where} lies outside of it: state w and h of the image that the intrinsics"
                " belong to"
            )
        both = not math.isnan(calibration.focal_px[axis]) and 0 < angle < math.pi
        if both and calibration.lens == Lens.PERSPECTIVE:
            implied = 2 * focal[axis] * math.tan(0.5 * angle)
            if abs(implied / size[axis] - 1) > 0.05:
                raise CaptureError(
                    f"{photo.image} has {size[0]}x{size[1]} pixels, but fl_{letter} and"
                    f" camera_angle_{letter} in {photo.where} belong to an image {implied:.0f}"
                    f" pixels {side_name}: state the w and h that they belong to"
                )
