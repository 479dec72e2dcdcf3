"""COLMAP's camera models: their numbers, names and parameters (its sensor/models.h)."""

import math
from dataclasses import dataclass, replace

from neural_render.captures.readers.colmap.model import ModelCamera
from neural_render.captures.readers.listing import Calibration
from neural_render.core.cameras import Lens
from neural_render.core.errors import CaptureError
from neural_render.core.lenses.kinds import ALL_COEFFICIENTS, COEFFICIENTS, padded


@dataclass(frozen=True, kw_only=True)
class CameraModel:
    """A lens and what a row of parameters means.

    ``f`` stands for both focal lengths, ``w h`` for the size again; all else are coefficients by
    their names here (`core.lenses`), which are not always COLMAP's.
    """

    number: int
    lens: Lens
    parameters: tuple[str, ...]


def _model(number: int, lens: Lens, parameters: str) -> CameraModel:
    return CameraModel(number=number, lens=lens, parameters=tuple(parameters.split()))


CAMERA_MODELS = {
    "SIMPLE_PINHOLE": _model(0, Lens.PERSPECTIVE, "f cx cy"),
    "PINHOLE": _model(1, Lens.PERSPECTIVE, "fx fy cx cy"),
    "SIMPLE_RADIAL": _model(2, Lens.PERSPECTIVE, "f cx cy k1"),
    "RADIAL": _model(3, Lens.PERSPECTIVE, "f cx cy k1 k2"),
    "OPENCV": _model(4, Lens.PERSPECTIVE, "fx fy cx cy k1 k2 p1 p2"),
    "OPENCV_FISHEYE": _model(5, Lens.FISHEYE, "fx fy cx cy k1 k2 k3 k4"),
    "FULL_OPENCV": _model(6, Lens.PERSPECTIVE, "fx fy cx cy k1 k2 p1 p2 k3 d1 d2 d3"),
    "FOV": _model(7, Lens.FOV, "fx fy cx cy a"),
    "SIMPLE_RADIAL_FISHEYE": _model(8, Lens.FISHEYE, "f cx cy k1"),
    "RADIAL_FISHEYE": _model(9, Lens.FISHEYE, "f cx cy k1 k2"),
    "THIN_PRISM_FISHEYE": _model(10, Lens.FISHEYE, "fx fy cx cy k1 k2 p1 p2 k3 k4 s1 s3"),
    "RAD_TAN_THIN_PRISM_FISHEYE": _model(
        11, Lens.RADIAL_FIRST_FISHEYE, "fx fy cx cy k1 k2 k3 k4 k5 k6 p2 p1 s1 s2 s3 s4"
    ),
    "SIMPLE_DIVISION": _model(12, Lens.DIVISION, "f cx cy a"),
    "DIVISION": _model(13, Lens.DIVISION, "fx fy cx cy a"),
    "SIMPLE_FISHEYE": _model(14, Lens.FISHEYE, "f cx cy"),
    "FISHEYE": _model(15, Lens.FISHEYE, "fx fy cx cy"),
    "EUCM": _model(16, Lens.EUCM, "fx fy cx cy a b"),
    "EQUIRECTANGULAR": _model(17, Lens.EQUIRECTANGULAR, "w h"),
}
LARGEST_SIDE = 1 << 24  # pixels
_NAMES = {model.number: name for name, model in CAMERA_MODELS.items()}


def model_name(number: int, where: str) -> str:
    """The name of a camera model; CaptureError for an unknown number."""
    if number not in _NAMES:
        raise CaptureError(
            f"{where} has the camera model number {number}, but those known here are 0 to"
            f" {max(_NAMES)}: undistort the images with colmap image_undistorter if a newer COLMAP"
            " has that model, else restore the file, which is damaged"
        )
    return _NAMES[number]


def find_model(name: str, where: str) -> CameraModel:
    """The camera model of that name; CaptureError for an unknown one."""
    if name not in CAMERA_MODELS:
        raise CaptureError(
            f"{where} has the camera model {name}, which is not known: undistort the images with"
            f" colmap image_undistorter, or use one of {', '.join(CAMERA_MODELS)}"
        )
    return CAMERA_MODELS[name]


def calibrations(cameras: dict[int, ModelCamera]) -> dict[int, Calibration]:
    """The intrinsics of all cameras, with as many coefficients each as any of them needs."""
    found = {number: calibration(camera) for number, camera in cameras.items()}
    length = max((len(stated.distortion) for stated in found.values()), default=0)
    return {
        number: replace(stated, distortion=padded(stated.distortion, length))
        for number, stated in found.items()
    }


def calibration(camera: ModelCamera) -> Calibration:
    """The intrinsics that a row of ``cameras`` states."""
    model = find_model(camera.model, camera.where)
    if len(camera.parameters) != len(model.parameters):
        raise CaptureError(
            f"{camera.where} has {len(camera.parameters)} parameters, but {camera.model} has"
            f" {len(model.parameters)} ({' '.join(model.parameters)}): correct the file"
        )
    sized = all(0 < side <= LARGEST_SIDE for side in camera.size)
    if not sized or not all(math.isfinite(value) for value in camera.parameters):
        raise CaptureError(
            f"{camera.where} has the size {camera.size[0]!s:.20}x{camera.size[1]!s:.20} and the"
            f" parameters {camera.parameters}, which no camera has: correct the file or remove its"
            " photos"
        )
    stated = dict(zip(model.parameters, camera.parameters, strict=True))
    focal = stated.get("f", math.nan)
    plain = set(stated) <= {"f", "fx", "fy", "cx", "cy", "w", "h", *COEFFICIENTS}
    names = COEFFICIENTS if plain else ALL_COEFFICIENTS
    return Calibration(
        lens=model.lens,
        size=camera.size,
        focal_px=(stated.get("fx", focal), stated.get("fy", focal)),
        center_px=(stated.get("cx", math.nan), stated.get("cy", math.nan)),
        distortion=tuple(stated.get(name, 0.0) for name in names),
    )
