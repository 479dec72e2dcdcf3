"""Videos decode to what was put in."""

import logging
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from jaxtyping import UInt8
from torch import Tensor

from neural_render.core.errors import OutputError
from neural_render.export.video.codecs import CODECS
from neural_render.export.video.writing import VideoStyle, write_video
from tests.small_disk import FULL, small_disk

PATCHES = [(230, 20, 30), (0, 200, 40), (20, 30, 220), (128, 128, 128), (255, 255, 255), (0, 0, 0)]


def patches(count: int, height: int = 48, width: int = 96) -> Iterator[UInt8[Tensor, "h w 3"]]:
    """Frames of six flat patches whose order turns by one each frame."""
    side = width // 6
    for turn in range(count):
        frame = torch.zeros(height, width, 3, dtype=torch.uint8)
        for place in range(6):
            color = torch.tensor(PATCHES[(place + turn) % 6], dtype=torch.uint8)
            frame[:, place * side : (place + 1) * side] = color
        frame[:, 6 * side :] = color
        yield frame


def decode(path: Path) -> list[np.ndarray]:
    """The frames as sRGB levels, by ITU-R BT.709's own equations: PyAV's have changed with time."""
    with av.open(str(path)) as container:
        return [srgb_levels(frame) for frame in container.decode(video=0)]


def srgb_levels(frame: av.VideoFrame) -> np.ndarray:
    height, width = frame.height, frame.width
    planes = frame.to_ndarray(format="yuv420p").astype(float).reshape(-1)
    sizes = [height * width, height * width // 4, height * width // 4]
    luma, blue, red = np.split(planes, np.cumsum(sizes)[:-1])
    luma = (luma.reshape(height, width) - 16) / 219
    blue, red = (
        ((plane.reshape(height // 2, width // 2) - 128) / 224).repeat(2, axis=0).repeat(2, axis=1)
        for plane in (blue, red)
    )
    levels = [luma + 1.5748 * red, luma - 0.1873 * blue - 0.4681 * red, luma + 1.8556 * blue]
    return 255 * np.stack(levels, axis=-1)


def test_frames_sizes_and_colours_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    assert write_video(path, patches(14), VideoStyle(frames_per_second=25.0)) == 14
    frames = decode(path)
    assert len(frames) == 14
    for turn, frame in enumerate(frames):
        assert frame.shape == (48, 96, 3)
        for place in range(6):
            middle = frame[24, place * 16 + 8]
            assert np.abs(middle - PATCHES[(place + turn) % 6]).max() <= 6, (turn, place)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_players_are_told_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, patches(3), VideoStyle(frames_per_second=24.0))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 24)
        assert (context.color_primaries, context.color_trc, context.colorspace) == (1, 1, 1)
        assert context.color_range == 1
    content = path.read_bytes()
    assert 0 < content.find(b"moov") < content.find(b"mdat"), "the index comes first"


def test_odd_sizes_are_padded_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.mp4"
    with caplog.at_level(logging.INFO, logger="neural_render"):
        write_video(path, patches(2, height=47, width=97))
    assert "a.mp4 is 98x48: H.264 takes only even sizes, so 97x47 was padded" in caplog.text
    assert decode(path)[0].shape == (48, 98, 3)


@pytest.mark.parametrize(
    ("name", "encoded", "pixels", "tag"),
    [
        ("h265", "hevc", "yuv420p10le", "hvc1"),
        ("prores", "prores", "yuv422p10le", "apch"),
        ("prores4444", "prores", "yuv444p12le", "ap4h"),
        ("vp9", "vp9", "yuv420p", ""),
    ],
)
def test_every_codec_says_what_it_is_and_keeps_colours(
    tmp_path: Path, name: str, encoded: str, pixels: str, tag: str
) -> None:
    """ProRes 4444 is decoded to 12 bits, whatever it was made of."""
    codec = CODECS[name]
    path = tmp_path / codec.file
    frames = patches(3)
    if codec.bits == 16:
        frames = (torch.from_numpy(frame.numpy().astype(np.uint16) * 257) for frame in frames)
    write_video(path, frames, VideoStyle(codec=codec, frames_per_second=24.0))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, stream.average_rate) == (encoded, pixels, 24)
        assert context.codec_tag.strip("\0") == tag
        seen = list(container.decode(video=0))
    assert len(seen) == 3
    tags = seen[0].color_primaries, seen[0].color_trc, seen[0].colorspace, seen[0].color_range
    assert tags == (1, 1, 1, 1)
    luma = np.frombuffer(seen[1].planes[0], dtype=np.uint8 if name == "vp9" else np.uint16)
    luma = luma.reshape(48, -1)[24].astype(float)
    top = {"yuv444p12le": 16.0, "yuv420p": 1.0}.get(pixels, 4.0)
    for place in range(6):
        red, green, blue = (level / 255 for level in PATCHES[(place + 1) % 6])
        expected = 16 + 219 * (0.2126 * red + 0.7152 * green + 0.0722 * blue)
        assert abs(luma[place * 16 + 8] / top - expected) < 1.5, place


def test_quality_is_chosen(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (64, 64, 3), generator=generator, dtype=torch.uint8)
    sizes = []
    for crf in (10, 40):
        write_video(tmp_path / "a.mp4", [noise] * 3, VideoStyle(crf=crf))
        sizes.append((tmp_path / "a.mp4").stat().st_size)
    assert sizes[0] > 3 * sizes[1]


def test_frames_are_taken_one_at_a_time(tmp_path: Path) -> None:
    """A long film does not fit into memory: no frame is kept until the last."""
    handed_out: list[weakref.ref[Tensor]] = []
    most_alive = 0

    def frames() -> Iterator[UInt8[Tensor, "h w 3"]]:
        nonlocal most_alive
        for shade in range(12):
            most_alive = max(most_alive, sum(entry() is not None for entry in handed_out))
            frame = torch.full((16, 16, 3), shade, dtype=torch.uint8)
            handed_out.append(weakref.ref(frame))
            yield frame

    assert write_video(tmp_path / "a.mp4", frames()) == 12
    assert 1 <= most_alive <= 2


def test_no_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.mp4 would be a video without frames"):
        write_video(tmp_path / "a.mp4", iter(()))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"this PyAV has no libx999; .*render\.output=frames"):
        unknown = replace(CODECS["h264"], encoder="libx999")
        write_video(tmp_path / "a.mp4", patches(1), VideoStyle(codec=unknown))


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    noise = torch.Generator().manual_seed(0)
    frames = (
        torch.randint(0, 256, (96, 96, 3), generator=noise, dtype=torch.uint8) for _ in range(30)
    )
    with pytest.raises(OutputError, match=FULL), small_disk():
        write_video(tmp_path / "a.mp4", frames)
    assert list(tmp_path.iterdir()) == []


def test_a_forbidden_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/a\.mp4 cannot be written"):
        write_video(tmp_path / "file" / "a.mp4", patches(1))


def test_a_stopped_film_leaves_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, patches(3))

    def interrupted() -> Iterator[UInt8[Tensor, "h w 3"]]:
        yield from patches(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(path, interrupted())
    assert len(decode(path)) == 3
    assert [found.name for found in tmp_path.iterdir()] == ["a.mp4"]
