"""Videos that the programs they are for open: see ``codecs``; the index of MP4 and MOV in front."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8, UInt16
from torch import Tensor

from neural_render.core.errors import OutputError
from neural_render.core.files import whole_file
from neural_render.export.video.boxes import mark_for_glasses
from neural_render.export.video.codecs import CODECS, Codec
from neural_render.export.video.planes import planes_10bit

_log = logging.getLogger("neural_render")
_BT709 = 1  # primaries, transfer and matrix alike (ITU-T H.273)
_LIMITED_RANGE = 1  # FFmpeg's AVCOL_RANGE_MPEG
_WITH_INDEX = ("mp4", "mov")


@dataclass(frozen=True, kw_only=True)
class VideoStyle:
    """How a video is encoded; ``crf`` below 0 is the codec's own quality.

    ``panorama`` and ``layout`` (none, side_by_side, top_bottom) are what players are told of
    pictures of all around and of two eyes, in MP4 and MOV files.
    """

    codec: Codec = CODECS["h264"]
    crf: int = -1
    frames_per_second: float = 30.0
    panorama: bool = False
    layout: str = "none"


DEFAULT_STYLE = VideoStyle()


def write_video(
    path: Path,
    frames: Iterable[UInt8[Tensor, "height width channels"] | UInt16[Tensor, "_ _ _"]],
    style: VideoStyle = DEFAULT_STYLE,
) -> int:
    """The number of sRGB frames written; they are taken one at a time and none is kept.

    They have the bits that the codec is made of; a fourth channel is opacity. The file appears
    under its name when it is complete. Odd sizes are padded by their last row or column, since
    halved chroma knows none. Raises ``OutputError`` on a full disk, in a forbidden folder or where
    the encoder is missing.
    """
    import av

    codec, count = style.codec, 0
    _require_encoder(codec.encoder, path)
    with whole_file(path) as temporary, _ffmpeg_errors_as_os_errors():
        options = {"movflags": "+faststart"} if codec.container in _WITH_INDEX else {}
        with av.open(str(temporary), "w", format=codec.container, options=options) as container:
            stream: Any = None
            for frame in frames:
                pixels = _even(frame)
                if stream is None:
                    _report_padding(frame, pixels, path, codec)
                    stream = _stream(container, style, pixels)
                container.mux(stream.encode(_video_frame(pixels, stream.codec_context.pix_fmt)))
                count += 1
            if stream is None:
                raise OutputError(f"{path} would be a video without frames; give at least one.")
            container.mux(stream.encode(None))
        if codec.container in _WITH_INDEX:
            mark_for_glasses(temporary, panorama=style.panorama, layout=style.layout)
    return count


def _stream(container: Any, style: VideoStyle, pixels: np.ndarray) -> Any:
    """The video's track, for pictures such as ``pixels``."""
    codec, options = style.codec, dict(style.codec.options)
    opaque = pixels.shape[2] == 3
    assert opaque or codec.keeps_opacity, f"{codec.title} keeps no opacity"
    if opaque:
        options.pop("alpha_bits", None)
    if codec.crf:
        options["crf"] = str(codec.crf if style.crf < 0 else style.crf)
    rate = Fraction(style.frames_per_second).limit_denominator(1001)
    stream = container.add_stream(codec.encoder, rate=rate, options=options)
    context = stream.codec_context
    context.width, context.height = pixels.shape[1], pixels.shape[0]
    context.pix_fmt = codec.pixels if opaque else codec.with_opacity
    if codec.tag:
        context.codec_tag = codec.tag
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.color_range = _LIMITED_RANGE
    return stream


def _video_frame(pixels: np.ndarray, stored: str) -> Any:
    """The frame in BT.709 (FFmpeg's own choice would be BT.601, and greens would turn)."""
    from av import VideoFrame

    if pixels.dtype == np.uint8:
        kind = "rgb24" if pixels.shape[2] == 3 else "rgba"
        frame = VideoFrame.from_ndarray(pixels, format=kind).reformat(
            format=stored,
            src_color_range="JPEG",
            dst_color_range="MPEG",
            dst_colorspace="ITU709",
            interpolation="LANCZOS",
            threads=1,  # several can write over each other's rows (FFmpeg 8)
        )
    else:
        frame = VideoFrame(pixels.shape[1], pixels.shape[0], stored)
        values = pixels.astype(np.float32) / np.float32(65535)
        for plane, levels in zip(frame.planes, planes_10bit(values, stored), strict=True):
            rows = np.zeros((plane.height, plane.line_size // 2), dtype=np.uint16)
            rows[:, : levels.shape[1]] = levels
            plane.update(rows.tobytes())
    frame.color_primaries = frame.color_trc = frame.colorspace = _BT709
    frame.color_range = _LIMITED_RANGE
    return frame


def _even(frame: Tensor) -> np.ndarray:
    height, width = frame.shape[:2]
    return np.pad(frame.numpy(force=True), ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _report_padding(frame: Tensor, pixels: np.ndarray, path: Path, codec: Codec) -> None:
    if pixels.shape != tuple(frame.shape):
        _log.info(
            "%s is %dx%d: %s takes only even sizes, so %dx%d was padded",
            path,
            pixels.shape[1],
            pixels.shape[0],
            codec.title,
            frame.shape[1],
            frame.shape[0],
        )


def _require_encoder(codec: str, path: Path) -> None:
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    try:
        Codec(codec, "w")
    except UnknownCodecError as error:
        raise OutputError(
            f"{path} cannot be encoded, since this PyAV has no {codec}; reinstall it with "
            "pip install --force-reinstall av, or use render.output=frames."
        ) from error


@contextmanager
def _ffmpeg_errors_as_os_errors() -> Iterator[None]:
    from av.error import FFmpegError

    try:
        yield
    except FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise OSError(str(error)) from error
