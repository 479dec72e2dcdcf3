"""H.264 videos that every player opens: MP4, 4:2:0, BT.709, index at the front."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from neural_render.core.errors import OutputError
from neural_render.core.files import whole_file

_log = logging.getLogger("neural_render")
_BT709 = 1  # primaries, transfer and matrix alike (ITU-T H.273)
_LIMITED_RANGE = 1  # FFmpeg's AVCOL_RANGE_MPEG


def write_video(
    path: Path,
    frames: Iterable[UInt8[Tensor, "height width 3"]],
    *,
    frames_per_second: float = 30.0,
    crf: int = 18,
    codec: str = "libx264",
) -> int:
    """The number of sRGB frames written; they are taken one at a time and none is kept.

    The file appears under its name when it is complete. Odd sizes are padded by their last row or
    column, since 4:2:0 knows none. ``crf`` is x264's quality: lower is better, 18 hardly differs
    from the source. Raises ``OutputError`` on a full disk, in a forbidden folder or where the
    encoder is missing.
    """
    import av

    _require_encoder(codec, path)
    count = 0
    with whole_file(path) as temporary, _ffmpeg_errors_as_os_errors():
        options = {"movflags": "+faststart"}
        with av.open(str(temporary), "w", format="mp4", options=options) as container:
            stream: Any = None
            for frame in frames:
                pixels = _even(frame)
                if stream is None:
                    _report_padding(frame, pixels, path)
                    stream = container.add_stream(
                        codec,
                        rate=Fraction(frames_per_second).limit_denominator(1001),
                        options={"crf": str(crf), "preset": "medium"},
                    )
                    _configure(stream.codec_context, width=pixels.shape[1], height=pixels.shape[0])
                container.mux(stream.encode(_limited_yuv(pixels)))
                count += 1
            if stream is None:
                raise OutputError(f"{path} would be a video without frames; give at least one.")
            container.mux(stream.encode(None))
    return count


def _configure(context: Any, *, width: int, height: int) -> None:
    context.width, context.height = width, height
    context.pix_fmt = "yuv420p"
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.color_range = _LIMITED_RANGE


def _limited_yuv(pixels: np.ndarray) -> Any:
    """The frame in BT.709 (FFmpeg's own choice would be BT.601, and greens would turn)."""
    from av import VideoFrame

    return VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
        format="yuv420p",
        src_color_range="JPEG",
        dst_color_range="MPEG",
        dst_colorspace="ITU709",
        interpolation="LANCZOS",
    )


def _even(frame: UInt8[Tensor, "height width 3"]) -> np.ndarray:
    height, width = frame.shape[:2]
    return np.pad(frame.numpy(force=True), ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _report_padding(frame: Tensor, pixels: np.ndarray, path: Path) -> None:
    if pixels.shape != tuple(frame.shape):
        _log.info(
            "%s is %dx%d: H.264 takes only even sizes, so %dx%d was padded",
            path,
            pixels.shape[1],
            pixels.shape[0],
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
