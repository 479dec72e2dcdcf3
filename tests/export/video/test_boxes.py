"""What players are told of pictures for glasses, and that they still find the pictures."""

import struct
from pathlib import Path

import av
import pytest

from neural_render.export.video.boxes import mark_for_glasses
from neural_render.export.video.writing import VideoStyle, write_video
from tests.export.video.test_writing import patches

ENTRY = {"avc1", "hvc1"}
PARENTS = {"moov", "trak", "mdia", "minf", "stbl", "sv3d", "proj"}


def boxes(content: bytes, inside: str = "") -> dict[str, bytes]:
    """The contents of all boxes by their paths; sizes have to fit into each other."""
    found: dict[str, bytes] = {}
    start = 0
    while start < len(content):
        size, name = struct.unpack_from(">I4s", content, start)
        body, path = content[start + 8 : start + size], f"{inside}/{name.decode()}"
        assert size >= 8 and start + size <= len(content), path
        found[path] = body
        skipped = {"stsd": 8} | dict.fromkeys(ENTRY, 78) | dict.fromkeys(PARENTS, 0)
        if name.decode() in skipped:
            found |= boxes(body[skipped[name.decode()] :], path)
        start += size
    return found


def decoded(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(frame.planes[0]) for frame in container.decode(video=0)]


def told(path: Path) -> list[str]:
    """What FFmpeg, which reads these boxes too, says with the first frame."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        names = [entry.type.name for entry in frame.side_data]
        return [name for name in names if name in ("SPHERICAL", "STEREO3D")]


@pytest.mark.parametrize(
    ("panorama", "layout", "mode"),
    [(True, "none", 0), (True, "top_bottom", 1), (False, "side_by_side", 2)],
)
def test_players_are_told_and_find_the_same_pictures(
    tmp_path: Path, panorama: bool, layout: str, mode: int
) -> None:
    plain, marked = tmp_path / "plain.mp4", tmp_path / "marked.mp4"
    for path, style in (
        (plain, VideoStyle()),
        (marked, VideoStyle(panorama=panorama, layout=layout)),
    ):
        write_video(path, patches(5), style)
    assert decoded(marked) == decoded(plain)
    expected = ["SPHERICAL"] * panorama + ["STEREO3D"] * (panorama or layout != "none")
    assert sorted(told(marked)) == expected and told(plain) == []
    found = boxes(marked.read_bytes())
    entry = "/moov/trak/mdia/minf/stbl/stsd/avc1"
    assert found[f"{entry}/st3d"] == bytes([0, 0, 0, 0, mode])
    assert (f"{entry}/sv3d/proj/equi" in found) is panorama
    inside = [path.removeprefix(entry) for path in found if path.startswith(f"{entry}/")]
    assert inside[:2] == ["/avcC", "/st3d"], "what is not optional comes first"
    if panorama:
        assert found[f"{entry}/sv3d/svhd"] == b"\0\0\0\0neural_render\0"
        assert found[f"{entry}/sv3d/proj/prhd"] == bytes(16)


def test_an_index_behind_the_pictures_moves_none_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 48, "yuv420p"
        for frame in patches(3):
            picture = av.VideoFrame.from_ndarray(frame.numpy(), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    assert content.find(b"mdat") < content.find(b"moov")
    before = decoded(path)
    mark_for_glasses(path, panorama=True, layout="top_bottom")
    assert decoded(path) == before and b"st3d" in path.read_bytes()


def test_plain_pictures_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, patches(2), VideoStyle())
    before = path.read_bytes()
    mark_for_glasses(path, panorama=False, layout="none")
    assert path.read_bytes() == before
