"""Lenses in the words of other programs: the simplest model that says all of one, or a sentence."""

from collections.abc import Mapping

from neural_render.captures.readers.colmap.lenses import CAMERA_MODELS
from neural_render.core.cameras import Cameras
from neural_render.core.errors import OutputError
from neural_render.core.lenses.kinds import ALL_COEFFICIENTS, Lens, padded

# From few parameters to many. Those with one focal length for both axes come first.
_COLMAP = (
    *("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV"),
    *("SIMPLE_FISHEYE", "FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "OPENCV_FISHEYE"),
    *("THIN_PRISM_FISHEYE", "RAD_TAN_THIN_PRISM_FISHEYE", "FOV", "SIMPLE_DIVISION", "DIVISION"),
    *("EUCM", "EQUIRECTANGULAR"),
)
# nerfstudio's camera_model, the coefficients that it has beside it, instant-ngp's flag for it.
_TRANSFORMS = {
    Lens.PERSPECTIVE: ("OPENCV", ("k1", "k2", "k3", "k4", "p1", "p2"), ""),
    Lens.FISHEYE: ("OPENCV_FISHEYE", ("k1", "k2", "k3", "k4"), "is_fisheye"),
    Lens.EQUIRECTANGULAR: ("EQUIRECTANGULAR", (), "latlong"),
}


def coefficients(cameras: Cameras, index: int) -> dict[str, float]:
    """The coefficients of a camera that are not zero, and both parameters of its lens, by name."""
    row = dict(zip(ALL_COEFFICIENTS, padded(cameras.distortion[index].tolist()), strict=True))
    lens = Lens(int(cameras.lens[index]))
    own = {Lens.FOV: "a", Lens.DIVISION: "a", Lens.EUCM: "ab"}.get(lens, "")
    return {name: value for name, value in row.items() if value or name in own}


def colmap_lens(cameras: Cameras, index: int) -> tuple[str, tuple[float, ...]]:
    """COLMAP's model of one camera and its parameters; OutputError where it has none."""
    stated = coefficients(cameras, index)
    (fx, fy), (cx, cy) = cameras.focal_px[index].tolist(), cameras.center_px[index].tolist()
    values = {"fx": fx, "fy": fy, "cx": cx, "cy": cy}
    values |= {"w": float(cameras.width[index]), "h": float(cameras.height[index])}
    if fx == fy:
        values["f"] = fx
    values |= stated
    for name in _COLMAP:
        model = CAMERA_MODELS[name]
        if model.lens != int(cameras.lens[index]) or ("f" in model.parameters and fx != fy):
            continue
        if set(stated) <= set(model.parameters):
            return name, tuple(values.get(key, 0.0) for key in model.parameters)
    raise _inexpressible("COLMAP", cameras, index, stated)


def transforms_model(cameras: Cameras) -> dict[str, str | bool]:
    """The keys of transforms.json for the kind of all lenses; OutputError where there are more.

    nerfstudio knows ``camera_model``, at the file's top alone; instant-ngp flags.
    """
    kinds = [Lens(int(lens)) for lens in cameras.lens.unique()]
    if len(kinds) > 1:
        named = " and ".join(sorted(_words(kind) for kind in kinds))
        raise OutputError(
            f"transforms.json has one camera model for all photos, and these have {named} lenses:"
            " export the other form with export.cameras.file=colmap, or undistort the photos first."
        )
    name, _, flag = _TRANSFORMS.get(kinds[0], ("", (), ""))
    if not name:
        raise _inexpressible("transforms.json", cameras, 0, coefficients(cameras, 0))
    return {"camera_model": name, **({flag: True} if flag else {})}


def transforms_lens(cameras: Cameras, index: int) -> dict[str, float | int]:
    """The numbers of transforms.json for one camera's lens; OutputError where it has none."""
    stated, lens = coefficients(cameras, index), Lens(int(cameras.lens[index]))
    _, known, _ = _TRANSFORMS.get(lens, ("", (), ""))
    if lens not in _TRANSFORMS or not set(stated) <= set(known):
        raise _inexpressible("transforms.json", cameras, index, stated)
    (fx, fy), (cx, cy) = cameras.focal_px[index].tolist(), cameras.center_px[index].tolist()
    width, height = int(cameras.width[index]), int(cameras.height[index])
    if lens == Lens.EQUIRECTANGULAR:  # nerfstudio's, which are not pixels per radian
        fx, fy = width / 2, float(height)
    numbers = {"w": width, "h": height, "fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy}
    return numbers | {key: stated.get(key, 0.0) for key in known}


def _inexpressible(
    form: str, cameras: Cameras, index: int, stated: Mapping[str, float]
) -> OutputError:
    lens = _words(Lens(int(cameras.lens[index])))
    terms = f" with {', '.join(stated)}" if stated else ""
    return OutputError(
        f"{form} has no camera model for the lens of camera {index} ({lens}{terms}): undistort the"
        " photos first, or export the other form with export.cameras.file=colmap or transforms."
    )


def _words(lens: Lens) -> str:
    return lens.name.lower().replace("_", " ")
