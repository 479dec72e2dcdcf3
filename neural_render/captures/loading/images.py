"""Image files: what their headers say, and their pixels as 8-bit arrays of a wanted size."""

import contextlib
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageCms, UnidentifiedImageError

from neural_render.core.errors import CaptureError
from neural_render.core.files import LARGEST_PICTURE, PICTURE_KINDS, large_pictures

Size = tuple[int, int]
_EXIF_ORIENTATION, _TIFF_WIDTH, _TIFF_HEIGHT = 0x0112, 0x0100, 0x0101
_TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
_BACK = {6: 8, 8: 6}  # what undoes a turn; all others undo themselves
_MEND = "replace it or remove its frame"
_PROFILED = ("RGB", "RGBA", "P")  # modes whose ICC profile can be one of red, green and blue
_ALIKE = 3  # of 255: what differs less is sRGB as somebody else rounded it

_log = logging.getLogger("neural_render")


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says before its pixels are decoded."""

    size: Size  # as stored
    oriented_size: Size  # after its EXIF orientation is applied
    orientation: int  # EXIF's: 1 is upright, 2 to 8 ask for a turn or a mirror
    has_alpha: bool
    deep: bool  # 16 bits per channel


def read_header(path: Path, where: str) -> Header:
    """The header of an image file; CaptureError if it is empty or no image."""
    with told_of_image(path, where), Image.open(path, formats=PICTURE_KINDS) as image:
        if image.mode == "F":
            raise CaptureError(
                f"{path} of {where} has floating-point pixels: save it with 8 or 16 bits"
            )
        orientation = _orientation(image)
        width, height = _stored_size(image)
        return Header(
            size=(width, height),
            oriented_size=(height, width) if orientation in _SIDEWAYS else (width, height),
            orientation=orientation,
            has_alpha=image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info,
            deep=_is_deep(image),
        )


def read_image(
    path: Path, header: Header, size: Size, *, channels: int, rotated: bool, where: str
) -> UInt8[np.ndarray, "height width channels"]:
    """Pixels scaled to ``size``: 3 channels, or 4 with straight alpha (opaque where there is none).

    Scaling averages areas, weighted by opacity; ``rotated`` applies the EXIF orientation first.
    Colours are sRGB's, as an ICC profile in the file says what it holds; without one, as it is.
    """
    mode = "RGBA" if channels == 4 else "RGB"
    with told_of_image(path, where):
        if header.deep:
            image = Image.fromarray(_read_deep(path))
            with Image.open(path, formats=PICTURE_KINDS) as stored:
                profile = _profile(stored)
        else:
            image = decoded(path, rotated, size)
            profile = _profile(image)
        if image.mode != mode:
            image = image.convert("RGBA" if header.has_alpha else "RGB").convert(mode)
        return np.asarray(_in_srgb(_scaled(image, size), profile))


def decoded(path: Path, rotated: bool, size: Size = (0, 0)) -> Image.Image:
    """All pixels of a file, JPEG at a coarser scale of its own where that is far above ``size``.

    Without a size, as fine as it is: what is coarse is an average already. ``rotated`` applies the
    EXIF orientation; else they are as stored. Errors are Pillow's: see `told_of_image`.
    """
    with Image.open(path, formats=PICTURE_KINDS) as image:
        if any(size) and not rotated:
            # A JPEG halves its size while decoding, at no loss if twice what is needed remains.
            image.draft(None, (2 * size[0], 2 * size[1]))
        turn = _orientation(image)
        image.load()
        if image.format == "TIFF":  # which Pillow turns by itself
            return image if rotated else upright(image, _BACK.get(turn, turn))
        return upright(image, turn) if rotated else image


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """An image turned and mirrored as an EXIF orientation asks for."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def read_mask(
    path: Path, size: Size, *, rotated: bool, where: str, orientation: int = 1
) -> UInt8[np.ndarray, "height width"]:
    """255 where a pixel counts; 0 (ignored) where any part of it is black in the file.

    ``orientation``: the photo's, for a mask that lies on its side as its photo is stored.
    """
    with told_of_image(path, where):
        mask = decoded(path, rotated)
        lies = abs(mask.width * size[0] - mask.height * size[1]) < max(mask.size) + max(size)
        if rotated and lies and (mask.width > mask.height) != (size[0] > size[1]):
            mask = upright(mask, orientation)
        ratio = (mask.width / size[0], mask.height / size[1])
        if abs(ratio[0] * size[1] - mask.height) >= max(1.0, ratio[0]):
            raise CaptureError(
                f"the mask {path} of {where} has {mask.width}x{mask.height} pixels, which is not"
                f" the shape of its photo ({size[0]}x{size[1]}): make it as large as the photo"
            )
        return _wholly(np.asarray(mask.convert("L")) > 0, size)


def read_alpha_mask(
    path: Path, header: Header, size: Size, *, rotated: bool, where: str
) -> UInt8[np.ndarray, "height width"]:
    """255 where a pixel counts; 0 (ignored) where any part of it is less than half opaque."""
    with told_of_image(path, where):
        image = Image.fromarray(_read_deep(path)) if header.deep else decoded(path, rotated)
        return _wholly(np.asarray(image.convert("RGBA"))[..., 3] >= 128, size)


def fitting_size(size: Size, max_side: int) -> Size:
    """``size`` scaled down as a whole until no side is longer than ``max_side`` (0: as it is)."""
    longest = max(size)
    if max_side == 0 or longest <= max_side:
        return size
    width, height = (max(1, round(side * max_side / longest)) for side in size)
    return width, height


def _scaled(image: Image.Image, size: Size) -> Image.Image:
    """The image at another size, each new pixel the average of the area that it covers."""
    if image.size == size:
        return image
    if image.width % size[0] == 0 and image.height % size[1] == 0:
        return image.reduce((image.width // size[0], image.height // size[1]))
    # Box weights would jump from pixel to pixel; these fall off smoothly over the same area.
    return image.resize(size, Image.Resampling.HAMMING)


def _profile(image: Image.Image) -> bytes:
    """The ICC profile of a file's colours; nothing where there is none, or no colours."""
    return image.info.get("icc_profile") or b"" if image.mode in _PROFILED else b""


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """RGB or RGBA whose colours are as ``profile`` has them, in sRGB; opacity stays."""
    transform = _srgb_from(profile) if profile else None
    if transform is None:
        return image
    found = transform.apply(image.convert("RGB"))
    if image.mode == "RGBA":
        found.putalpha(image.getchannel("A"))
    return found


@lru_cache(maxsize=8)
def _srgb_from(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """What takes a profile's colours to sRGB; None where they are sRGB's, or it cannot be read.

    Which they are is told by what becomes of them: names and primaries are written in many ways.
    """
    try:
        stated = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        found = ImageCms.buildTransform(
            stated,
            ImageCms.createProfile("sRGB"),
            "RGB",
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
        name = ImageCms.getProfileDescription(stated).strip() or "a space of their own"
    except (ImageCms.PyCMSError, OSError, ValueError):  # it may be one of inks, too
        return None
    levels = np.linspace(0, 255, 6).astype(np.uint8)
    colors = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    after = np.asarray(found.apply(Image.fromarray(colors)))
    if np.abs(after.astype(int) - colors).max() <= _ALIKE:
        return None
    _log.info("photos whose colours are in %s are converted to sRGB", name)
    return found


def _wholly(counted: Bool[np.ndarray, "rows columns"], size: Size) -> np.ndarray:
    """255 for each pixel of an image of ``size`` all parts of which count, 0 for the others."""
    share = Image.fromarray(counted.astype(np.float32))
    if share.size != size:
        share = share.resize(size, Image.Resampling.BOX)
    return np.where(np.asarray(share) > 1 - 1e-5, 255, 0).astype(np.uint8)


def _is_deep(image: Image.Image) -> bool:
    """Whether a file holds 16 bits per channel, which Pillow would cut to the upper 8."""
    return image.mode.startswith("I") or ";16" in str(getattr(image, "tile", ""))


def _stored_size(image: Image.Image) -> Size:
    """Width and height before any turn; Pillow from version 11 on states a TIFF's after it."""
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    width, height = image.size
    return int(tags.get(_TIFF_WIDTH, width)), int(tags.get(_TIFF_HEIGHT, height))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none, or no such one."""
    if _is_deep(image) or (image.format == "PNG" and "exif" not in image.info):
        return 1  # looking further would decode the whole PNG; 16-bit files are read without it
    stated = image.getexif().get(_EXIF_ORIENTATION, 1)
    return stated if isinstance(stated, int) and stated in _TURNS else 1


def _read_deep(path: Path) -> UInt8[np.ndarray, "height width channels"]:
    """A 16-bit image rounded to 8 bits, with straight alpha, grey as three equal channels."""
    import OpenImageIO as oiio  # only such files need it, and it is slow to load

    hints = oiio.ImageSpec()
    hints["oiio:UnassociatedAlpha"] = 1
    source = oiio.ImageInput.open(str(path), hints)
    if source is None:
        raise OSError(oiio.geterror())
    pixels = source.read_image("uint16")
    if pixels is None:
        raise OSError(source.geterror())
    layout = source.spec()
    # The hint keeps straight alpha as it is; that of other files stays in their colours.
    multiplied = layout.alpha_channel >= 0 and source.format_name() == "tiff"
    multiplied &= layout.get_int_attribute("oiio:UnassociatedAlpha", 0) == 0
    source.close()
    num_colors = pixels.shape[2] - 1 + pixels.shape[2] % 2
    wide = pixels.astype(np.uint32)
    if multiplied:
        alpha = wide[..., num_colors:]
        straight = wide[..., :num_colors] * 65535 // np.maximum(alpha, 1)
        wide[..., :num_colors] = np.minimum(straight, 65535)
    rounded = ((wide + 128) // 257).astype(np.uint8)
    color, alpha = np.split(rounded, [num_colors], axis=2)
    return np.concatenate([np.broadcast_to(color, (*color.shape[:2], 3)), alpha], axis=2)


@contextlib.contextmanager
def told_of_image(path: Path, where: str) -> Iterator[None]:
    """Turns whatever goes wrong with an image file into one sentence."""
    try:
        with large_pictures():
            yield
    except CaptureError:
        raise
    except PermissionError as error:
        raise CaptureError(
            f"{path} of {where} cannot be read (permission denied): allow reading it"
        ) from error
    except MemoryError as error:
        raise CaptureError(
            f"there is not enough memory to decode {path} of {where}: free memory or use smaller"
            " images"
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise CaptureError(f"{path} of {where} {_complaint(path, error)}") from error


def _complaint(path: Path, error: BaseException) -> str:
    """What is wrong with an image file and how to mend it."""
    with contextlib.suppress(OSError):
        if path.stat().st_size == 0:
            return f"is an empty file: {_MEND}"
    if isinstance(error, FileNotFoundError):
        return "is not there: restore it or remove it from that file"
    if isinstance(error, Image.DecompressionBombError):
        most = LARGEST_PICTURE // 10**6
        return f"has more than {most} megapixels, the most that are read: make it smaller"
    if isinstance(error, UnidentifiedImageError):
        return f"is no image of a known kind (PNG, JPEG, WebP, ...): {_MEND}"
    return f"is truncated or damaged ({str(error).strip('.')}): {_MEND}"
