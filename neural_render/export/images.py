"""Image files: PNG of 8 or 16 bits, OpenEXR layers, and pictures of depth and opacity.

Nothing here is differentiable. Values are display-referred sRGB for PNG and scene-linear for EXR;
``display_color`` and ``associated_linear`` are the only places where one becomes the other.
"""

import io
import struct
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8, UInt16
from torch import Tensor

from neural_render.core.color import film_from_linear, linear_from_srgb, viridis
from neural_render.core.errors import OutputError, SettingError
from neural_render.core.files import large_pictures, whole_file

COLOUR_SPACES = ("srgb", "linear")
EMPTY_DEPTH = 1e10  # where nothing is seen; what Blender writes too
MIN_OPACITY = 1e-3  # below it neither colour nor depth is worth the name
LARGEST_HALF = 65504.0
# Of an EXR's header; the last kind: the name of a type, and values.
Attribute = str | float | tuple[str, tuple[float | int, ...]]
LINEAR_PRIMARIES = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)  # Rec. 709, as EXR wants them
_EMPTY_GREY = 0.5
_PNG_KINDS = {1: 0, 3: 2, 4: 6}  # PNG's colour type by the number of channels
_PNG_FILTER_UP = 2


def display_color(
    color: Float[Tensor, "*pixels 3"], colour_space: str, exposure: float = 1.0
) -> Float[Tensor, "*pixels 3"]:
    """Display-referred sRGB of a render in the run's colour space (``srgb`` or ``linear``).

    Scene-linear colour is multiplied by ``exposure`` and rolled off as ``film_from_linear`` says.
    """
    _check_colour_space(colour_space)
    return film_from_linear(color * exposure) if colour_space == "linear" else color


def associated_linear(
    color: Float[Tensor, "*pixels 3"],
    opacity: Float[Tensor, "*pixels"],
    *,
    background: tuple[float, float, float],
    colour_space: str,
) -> Float[Tensor, "*pixels 3"]:
    """Scene-linear colour times opacity, as EXR wants it, of a render over ``background``.

    Color and background are in the run's colour space. An sRGB run composites curved values, so
    its colour is freed of its opacity before the curve is undone.
    """
    _check_colour_space(colour_space)
    covered = opacity[..., None]
    associated = color - (1 - covered) * color.new_tensor(background)
    if colour_space == "linear":
        return associated
    return linear_from_srgb(associated / covered.clamp(min=MIN_OPACITY)) * covered


def depth_picture(
    depth: Float[Tensor, "*pixels"],
    opacity: Float[Tensor, "*pixels"],
    limits: tuple[float, float],
) -> Float[Tensor, "*pixels 3"]:
    """sRGB of depths: violet at the first limit, yellow at the second, grey where nothing is."""
    near, far = limits
    color = viridis((depth - near) / max(far - near, torch.finfo(depth.dtype).tiny))
    covered = opacity.clamp(0, 1)[..., None]
    return torch.lerp(torch.full_like(color, _EMPTY_GREY), color, covered)


def depth_limits(
    depth: Float[Tensor, "*pixels"], opacity: Float[Tensor, "*pixels"]
) -> tuple[float, float] | None:
    """The 1st and 99th percentile of the depths that are more seen than not, widened by a tenth
    of their distance; None where nothing is seen."""
    seen = depth[opacity > 0.5].double().cpu().numpy()
    if seen.size == 0:
        return None
    near, far = np.quantile(seen, (0.01, 0.99)).tolist()
    margin = max(0.1 * (far - near), 1e-3 * abs(far))
    return max(near - margin, 0.0), far + margin


def write_png(path: Path, srgb: Float[Tensor, "height width channels"], *, bits: int = 8) -> None:
    """Write sRGB (1 grey, 3 or straight 4 channels) in [0, 1], rounded, in 8 or 16 bits."""
    assert srgb.shape[-1] in _PNG_KINDS and bits in (8, 16), f"{tuple(srgb.shape)}, {bits} bits"
    write_levels(path, levels_of(srgb, bits))


def levels_of(
    values: Float[Tensor, "height width channels"], bits: int
) -> UInt8[Tensor, "height width channels"] | UInt16[Tensor, "height width channels"]:
    """Values of [0, 1] in 8 or 16 bits: clamped and rounded, what is no number as 0."""
    known = values.detach().cpu().float().nan_to_num(0.0).clamp(0, 1)
    levels = (known * (2**bits - 1)).round().numpy()
    return torch.from_numpy(levels.astype(np.uint8 if bits == 8 else np.uint16))


def write_levels(
    path: Path,
    levels: UInt8[Tensor, "height width channels"] | UInt16[Tensor, "height width channels"],
) -> None:
    """Write the PNG of such levels: sRGB, 1 grey, 3 or straight 4 channels."""
    encoded = png_bytes(levels.numpy())
    with whole_file(path, durable=False) as temporary:
        temporary.write_bytes(encoded)


def write_array(path: Path, values: Float[Tensor, "height width"]) -> None:
    """Write 32-bit floats in NumPy's own format (``.npy``)."""
    encoded = io.BytesIO()  # NumPy does not notice that a disk is full
    np.save(encoded, values.detach().cpu().float().numpy())
    with whole_file(path, durable=False) as temporary:
        temporary.write_bytes(encoded.getvalue())


def read_levels(
    path: Path, bits: int
) -> UInt8[Tensor, "height width channels"] | UInt16[Tensor, "height width channels"]:
    """The levels of a PNG that ``write_levels`` wrote with so many bits; OutputError if damaged."""
    again = f"{path} cannot be read back: delete it, and its frame is made anew."
    if bits == 8:
        import PIL.Image

        damaged = (OSError, ValueError, SyntaxError, EOFError, PIL.Image.DecompressionBombError)
        try:
            with large_pictures(), PIL.Image.open(path) as picture:
                return torch.from_numpy(np.array(picture))
        except damaged as error:
            raise OutputError(again) from error
    import OpenImageIO as oiio  # Pillow reads no more than 8 bits of colours

    straight = oiio.ImageSpec()
    straight.attribute("oiio:UnassociatedAlpha", 1)
    source = oiio.ImageInput.open(str(path), straight)
    pixels = None if source is None else source.read_image("uint16")
    if source is None or pixels is None:
        raise OutputError(again)
    source.close()
    return torch.from_numpy(pixels)


def png_bytes(
    pixels: UInt8[np.ndarray, "height width channels"]
    | UInt16[np.ndarray, "height width channels"],
) -> bytes:
    """The PNG file (W3C, PNG specification, third edition) of 8- or 16-bit sRGB pixels.

    Written here because OpenImageIO's PNG writer reports success on a full disk.
    """
    height, width, channels = pixels.shape
    bits = 8 * pixels.itemsize
    rows = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder(">"))).view(np.uint8)
    rows = rows.reshape(height, -1)
    filtered = np.full((height, rows.shape[1] + 1), _PNG_FILTER_UP, dtype=np.uint8)
    filtered[:, 1:] = rows
    filtered[1:, 1:] -= rows[:-1]
    header = struct.pack(">IIBBBBB", width, height, bits, _PNG_KINDS[channels], 0, 0, 0)
    data = zlib.compress(filtered.tobytes(), level=6)
    chunks = ((b"IHDR", header), (b"sRGB", b"\0"), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(*chunk) for chunk in chunks)


def write_exr(
    path: Path,
    layers: Mapping[str, Float[Tensor, "height width"]],
    *,
    half: Collection[str] = (),
    attributes: Mapping[str, Attribute] | None = None,
) -> None:
    """Write one OpenEXR, losslessly compressed, whose channels are named by ``layers``.

    Channels are 32-bit floats, those named in ``half`` of 16 bits: there, what is above the largest
    half (65504) becomes that. R, G, B are scene-linear (Rec. 709 primaries) and associated with A.
    """
    planes = []
    for name, layer in layers.items():
        plane = layer.detach().cpu().float()
        planes.append(plane.clamp(-LARGEST_HALF, LARGEST_HALF) if name in half else plane)
    pixels = torch.stack(planes, dim=-1)
    kinds = {name: "half" if name in half else "float" for name in layers}
    stated: dict[str, Attribute] = {
        "compression": "zip",
        "oiio:ColorSpace": "lin_rec709",
        "chromaticities": ("float[8]", LINEAR_PRIMARIES),
        **(attributes or {}),
    }
    _write_openimageio(path, pixels.numpy(), kinds, stated)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _write_openimageio(
    path: Path,
    pixels: Float[np.ndarray, "height width channels"],
    kinds: Mapping[str, str],
    attributes: Mapping[str, Attribute],
) -> None:
    try:
        import OpenImageIO as oiio
    except ImportError as error:
        raise OutputError(
            f"{path} cannot be written without OpenImageIO; run pip install OpenImageIO."
        ) from error
    height, width, channels = pixels.shape
    spec = oiio.ImageSpec(width, height, channels, "float")
    spec.channelnames = list(kinds)
    if "half" in kinds.values():
        spec.channelformats = tuple(oiio.TypeDesc(kind) for kind in kinds.values())
    for key, value in attributes.items():
        spec.attribute(key, *(value if isinstance(value, tuple) else (value,)))
    with whole_file(path, durable=False) as temporary:
        output = oiio.ImageOutput.create(str(temporary))
        assert output is not None, oiio.geterror()
        # Nothing is flushed before `close`: a full disk may speak up as late as there.
        written = output.open(str(temporary), spec) and output.write_image(pixels)
        # Not even `close` tells that the last four thousand bytes were not taken: the reader does.
        if not (output.close() and written and _has_last_row(temporary, height)):
            # The library does not say why; the system does.
            temporary.write_bytes(bytes(2 * pixels.nbytes + (1 << 16)))
            raise OSError(output.geterror())


def _has_last_row(path: Path, height: int) -> bool:
    """Whether the last row of a picture that was written from top to bottom can be read."""
    import OpenImageIO as oiio

    source = oiio.ImageInput.open(str(path))
    if source is None:
        return False
    row = source.read_scanline(height - 1, 0, "float")
    source.geterror()  # or the library prints it at the end
    source.close()
    return row is not None


def _check_colour_space(colour_space: str) -> None:
    if colour_space not in COLOUR_SPACES:
        raise SettingError(f"colour space {colour_space!r} is not known; give srgb or linear.")
