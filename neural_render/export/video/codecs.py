"""The codecs of videos: which encoder, which pixels, in which file.

All have BT.709's matrix, primaries and curve in their tags, and its limited range: what players
take for granted of HD video, and what sRGB pictures are shown as everywhere. QuickTime wants H.265
to be called ``hvc1``. ProRes and 10-bit H.265 are made of 16-bit pictures, not of 8-bit ones.
Opacity is not associated with (multiplied into) the colours, as FFmpeg, browsers and editors take
it in these files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Codec:
    """One of the codecs; ``crf`` is its usual quality and ``worst`` the largest number for one, 0
    where it has none to choose.

    ``pixels`` is FFmpeg's name of how pixels are stored, ``with_opacity`` the same where pictures
    have opacity, "" where the codec cannot keep it. ``bits`` are those of the pictures it is made
    of.
    """

    title: str
    encoder: str
    container: str
    pixels: str
    with_opacity: str = ""
    bits: int = 8
    crf: int = 0
    worst: int = 0
    tag: str = ""
    options: tuple[tuple[str, str], ...] = ()

    @property
    def keeps_opacity(self) -> bool:
        """Whether its pictures may have opacity."""
        return bool(self.with_opacity)

    @property
    def file(self) -> str:
        """The name of the video's file."""
        return f"video.{self.container}"


CODECS: Mapping[str, Codec] = MappingProxyType(
    {
        "h264": Codec(
            title="H.264",
            encoder="libx264",
            container="mp4",
            pixels="yuv420p",
            crf=18,
            worst=51,
            options=(("preset", "medium"),),
        ),
        "h265": Codec(
            title="H.265",
            encoder="libx265",
            container="mp4",
            pixels="yuv420p10le",
            bits=16,
            crf=20,
            worst=51,
            tag="hvc1",
            options=(("preset", "medium"), ("x265-params", "log-level=error")),
        ),
        "prores": Codec(
            title="ProRes 422",
            encoder="prores_ks",
            container="mov",
            pixels="yuv422p10le",
            bits=16,
            options=(("profile", "hq"), ("vendor", "apl0")),
        ),
        "prores4444": Codec(
            title="ProRes 4444",
            encoder="prores_ks",
            container="mov",
            pixels="yuv444p10le",
            with_opacity="yuva444p10le",
            bits=16,
            options=(("profile", "4444"), ("vendor", "apl0"), ("alpha_bits", "16")),
        ),
        "vp9": Codec(
            title="VP9",
            encoder="libvpx-vp9",
            container="webm",
            pixels="yuv420p",
            with_opacity="yuva420p",
            crf=24,
            worst=63,
            options=(("b", "0"), ("row-mt", "1"), ("deadline", "good"), ("cpu-used", "3")),
        ),
    }
)
