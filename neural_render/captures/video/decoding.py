"""A video file's frames, one after the other, upright, in grey for looking or in colour to keep."""

import contextlib
import logging
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from neural_render.core.errors import CaptureError

if TYPE_CHECKING:
    from av import VideoFrame

ENDINGS = frozenset(
    {".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mts", ".m2ts", ".3gp", ".mpg", ".mpeg"}
    | {".wmv", ".ogv", ".insv"}
)
# Transfer characteristics (ITU-T H.273) of high dynamic range: PQ and HLG.
_HDR = (16, 18)
# In several the last row of one's part can run over into the first row of another's, which may be
# there already (FFmpeg 8, rows that vectors do not fill).
_CONVERTING_THREADS = 1
# PyAV's names of the matrices that a file may state, by FFmpeg's numbers (AVColorSpace), which are
# not those of PyAV's own enumeration.
_MATRICES = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M"}
_RECODE = "play it to see where it breaks, copy it again from the camera, or record it again"

_log = logging.getLogger("neural_render")


def is_video(path: Path) -> bool:
    """Whether a file's name ends as videos' names do."""
    return path.suffix.lower() in ENDINGS


def count_frames(path: Path) -> int:
    """How many frames the file's header announces; 0 where it is silent."""
    with _opened(path) as container:
        stream = container.streams.video[0]
        if stream.frames:
            return int(stream.frames)
        rate, duration = stream.average_rate, container.duration
        return int(float(rate) * duration / 1e6) if rate and duration else 0


def each_frame(path: Path) -> Generator["VideoFrame", None, None]:
    """The frames in the order of display; a damaged end is left out with a warning.

    CaptureError where not a single frame can be decoded.
    """
    from av.error import FFmpegError

    count = 0
    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        try:
            for frame in container.decode(stream):
                count += 1
                yield frame
        except FFmpegError as error:
            if not count:
                raise _damaged(path, error) from error
            _log.warning(
                "%s is damaged after frame %d (%s): what comes before is used", path, count, error
            )
    if not count:
        raise CaptureError(f"{path} holds no frame that can be decoded: {_RECODE}")


def grey(frame: "VideoFrame", max_side: int) -> UInt8[np.ndarray, "height width"]:
    """A small look at a frame, as stored: its brightness, each pixel the average of an area."""
    scale = min(1.0, max_side / max(frame.width, frame.height))
    width, height = (max(2, round(side * scale)) for side in (frame.width, frame.height))
    small = frame.reformat(
        width=width, height=height, format="gray", interpolation="AREA", threads=_CONVERTING_THREADS
    )
    return small.to_ndarray()


def color(frame: "VideoFrame") -> UInt8[np.ndarray, "height width 3"]:
    """A frame's sRGB pixels, turned as the file says that it is to be shown."""
    from av.video.reformatter import Colorspace

    is_large = max(frame.width, frame.height) >= 1280
    # Where a file is silent, or of wide gamut: what players assume by the size.
    assumed = "ITU709" if is_large else "ITU601"
    space = Colorspace[_MATRICES.get(int(frame.colorspace), assumed)]
    pixels = frame.reformat(
        format="rgb24",
        src_colorspace=space,
        dst_color_range="JPEG",
        interpolation="BICUBIC",
        threads=_CONVERTING_THREADS,
    ).to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, quarter_turns(frame)))


def quarter_turns(frame: "VideoFrame") -> int:
    """How often a frame has to be turned by 90 degrees, counter-clockwise, to stand upright."""
    return round(int(getattr(frame, "rotation", 0)) / 90) % 4


def is_hdr(frame: "VideoFrame") -> bool:
    """Whether a frame's brightness is coded for high dynamic range."""
    return int(getattr(frame, "color_trc", 0) or 0) in _HDR


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The open file, which has a video stream; CaptureError if it cannot be opened or has none."""
    import av
    from av.error import FFmpegError

    try:
        container = av.open(str(path))
    except PermissionError as error:
        raise CaptureError(
            f"{path} cannot be read (permission denied): allow reading it"
        ) from error
    except (FFmpegError, OSError, ValueError) as error:
        raise _damaged(path, error) from error
    with container:
        if not container.streams.video:
            raise CaptureError(
                f"{path} holds no picture, only sound or data: give a video of the scene"
            )
        yield container


def _damaged(path: Path, error: BaseException) -> CaptureError:
    if path.stat().st_size == 0:
        return CaptureError(f"{path} is an empty file: {_RECODE}")
    reason = getattr(error, "strerror", "") or str(error)
    return CaptureError(f"{path} is no video that can be decoded ({reason}): {_RECODE}")
