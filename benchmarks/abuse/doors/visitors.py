"""Visitors of the viewer who send what no page would: it stays, and everybody else sees it."""

import contextlib
import io
import math
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.abuse import serving
from benchmarks.abuse.cases import (
    REFUSED,
    WELL,
    Answer,
    Broken,
    Case,
    Entry,
    Verdict,
    differences,
    inventory,
)
from benchmarks.abuse.damage import VALUES
from benchmarks.abuse.doors.captures import copied
from neural_render.core.errors import UserError

PATIENCE = 20.0  # seconds for a picture
CAMERA = {
    "type": "ViewerCameraMessage",
    "wxyz": (0.5, -0.5, -0.5, 0.5),
    "position": (2.5, 0.0, 0.0),
    "fov": 0.5,
    "near": 0.1,
    "far": 100.0,
    "image_height": 24,
    "image_width": 32,
    "look_at": (0.0, 0.0, 0.0),
    "up_direction": (0.0, 0.0, 1.0),
}
TYPES = ("GuiUpdateMessage", "ScenePointerMessage", "FileTransferStartUpload", "NoSuchMessage")
TYPES += ("TransformControlsUpdateMessage", "GetRenderResponseMessage", "GuiCloseModalMessage")
LONG = b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n"
BYTES: dict[str, bytes] = {
    "chance bytes in place of HTTP": bytes(range(256)) * 8,
    "a header without an end": b"GET / HTTP/1.1\r\nHost: x\r\n",
    "a header of 200,000 letters": LONG,
    "a file out of the page's folder": b"GET /../../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method that is none": b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n",
    "nothing": b"",
}
FRAMES: dict[str, Any] = {
    "bytes that are no message": [b"\xc1\xff\x00garbage"],
    "an empty message": [b""],
    "text in place of bytes": ["hello"],
    "four megabytes of zeros": [bytes(4 << 20)],
    "a number in place of a message": [7],
    "a list in place of a message": [[1, 2, 3]],
    "a message without a type": [{"position": 1}],
    "lists 2000 deep": [b"\x91" * 2000 + b"\xc0"],
    "a camera of NaN": [CAMERA | {"position": (math.nan,) * 3}],
    "a camera of text": [CAMERA | {"fov": "wide", "wxyz": None}],
    "a window of 10^9 pixels": [CAMERA | {"image_width": 10**9, "image_height": 10**9}],
    "a window below zero": [CAMERA | {"image_width": -5}],
    "a control that is not there": [
        {"type": "GuiUpdateMessage", "uuid": "x" * 9999, "updates": {"value": 1}}
    ],
    "an upload to nobody": [
        {
            "type": "FileTransferStartUpload",
            "component_uuid": "x",
            "transfer_uuid": "../../x",
            "filename": "../../owned",
            "mime_type": "x",
            "part_count": 10**9,
            "size_bytes": 2**62,
        }
    ],
    "1000 cameras at once": [CAMERA | {"position": (2.5, n * 1e-3, 0.0)} for n in range(1000)],
}


def judged_visits(base: Path, scratch: Path, seed: int, count: int) -> list[Verdict]:
    """The verdicts on so many visits of one viewer."""
    place = scratch / "visits"
    here = place / "here"
    here.mkdir(parents=True)
    copied(base / "run", place / "run")
    words = (f"run={place / 'run'}", "kernels.threads=1")
    entry = Entry(
        name="messages", group="viewer", program="scripts/view.py", words=words, make=lambda _: None
    )
    found = []
    with serving.serving(entry.program, words, here) as viewer:
        port = _port(viewer)
        before = inventory(place / "run")
        for number, (what, visit) in enumerate(_visits(seed, count)):
            case = Case(
                entry=entry, what=what, broken=Broken(), seed=number, generated=what == "by chance"
            )
            told = len(viewer.errors())
            answer = serving.forked(partial(_visited, visit, port), _place(place, number))
            said = viewer.errors()[told:]
            faults = list(_faults(answer, said, viewer.alive()))
            faults += [f"changed: {it}" for it in differences(before, inventory(place / "run"))]
            met = Answer(
                code=REFUSED,
                output="",
                errors=said + answer.errors,
                seconds=answer.seconds,
                late=answer.late,
                left=answer.left,
            )
            command = f"(a visitor of port {port})"
            found.append(Verdict(case=case, command=command, answer=met, faults=tuple(faults)))
        if not viewer.ended() and found:
            *found, last = found
            found.append(replace(last, faults=(*last.faults, "the viewer does not end")))
    return found


def _place(place: Path, number: int) -> Path:
    folder = place / f"visitor_{number}"
    folder.mkdir()
    return folder


def _faults(answer: Answer, said: str, alive: bool) -> Iterator[str]:
    if not alive:
        yield "the viewer has ended"
    if answer.code != WELL:
        yield "nobody gets a picture afterwards"
    if "Traceback" in said:
        yield "a traceback"
    elif len(said.splitlines()) > 1:
        yield f"{len(said.splitlines())} lines on stderr"


def _port(viewer: serving.Served) -> int:
    end = time.monotonic() + serving.SECONDS
    while "viewer: http" not in viewer.output() or "\n" not in viewer.output():
        if time.monotonic() > end or not viewer.alive():
            raise UserError(f"the viewer does not start: {viewer.output()} {viewer.errors()}")
        time.sleep(0.05)
    (line,) = [line for line in viewer.output().splitlines() if line.startswith("viewer: ")]
    return int(line.rpartition(":")[2])


def _visits(seed: int, count: int) -> Iterator[tuple[str, Callable[[int], None]]]:
    visits = [(what, partial(_raw, content)) for what, content in BYTES.items()]
    visits += [(what, partial(_messages, frames)) for what, frames in FRAMES.items()]
    chance = Random(seed)
    chance.shuffle(visits)
    yield from visits[:count]
    for number in range(count - len(visits)):
        yield "by chance", partial(_by_chance, 1000 * seed + number)


def _visited(visit: Callable[[int], None], port: int) -> int:
    """In a process of its own: the visit, then one of somebody who only looks; 0: with success."""
    with contextlib.suppress(OSError, _closed()):  # the viewer may well hang up
        visit(port)
    with _connected(port) as page:
        page.send(_packed(CAMERA))
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                if _is_picture(page.recv(timeout=0.5)):
                    return WELL
    return 1


def _raw(content: bytes, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        line.sendall(content)
        line.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            answer = line.recv(65536)
            assert b"root:" not in answer, "a file of the system"


def _messages(frames: list[Any], port: int) -> None:
    with _connected(port) as page:
        page.send(_packed(CAMERA))
        for frame in frames:
            page.send(frame if isinstance(frame, bytes | str) else _packed(frame))
        time.sleep(0.3)


def _by_chance(seed: int, port: int) -> None:
    """Controls that are there take values by chance, and messages have chance fields."""
    chance = Random(seed)
    values = [value for value in VALUES if not isinstance(value, int) or abs(value) < 2**63]
    with _connected(port) as page:
        page.send(_packed(CAMERA))
        uuids = _controls(page)
        for _ in range(40):
            kind = chance.choice(TYPES) if chance.random() < 0.05 else TYPES[0]
            value = chance.choice(values)
            message = {"type": kind, "uuid": chance.choice(uuids), "updates": {"value": value}}
            if chance.random() < 0.3:
                message |= dict.fromkeys(CAMERA, value) | {"type": "ViewerCameraMessage"}
            page.send(_packed(message))
        time.sleep(0.3)


def _controls(page: Any) -> list[str]:
    """The identities of the page's controls, as they come within a second."""
    found, end = ["x"], time.monotonic() + 1.0
    while time.monotonic() < end:
        with contextlib.suppress(TimeoutError):
            found += [str(m["uuid"]) for m in _unpacked(page.recv(timeout=0.2)) if "uuid" in m]
    return found


def _connected(port: int) -> Any:
    from websockets.sync.client import connect
    from websockets.typing import Subprotocol

    protocol = Subprotocol(f"viser-v{version('viser')}")
    return connect(f"ws://127.0.0.1:{port}", subprotocols=[protocol], max_size=None)


def _closed() -> type[Exception]:
    from websockets.exceptions import WebSocketException

    return WebSocketException


def _packed(message: Any) -> bytes:
    import msgspec

    return msgspec.msgpack.encode(message)


def _unpacked(data: Any) -> list[dict[str, Any]]:
    import msgspec
    import zstandard

    size = int.from_bytes(data[8:16], "little")
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data[16 : 16 + size])) as stream:
        return msgspec.msgpack.decode(stream.read())["messages"]


def _is_picture(data: Any) -> bool:
    kinds = [m for m in _unpacked(data) if m["type"] == "BackgroundImageMessage"]
    return any(m["format"] == "jpeg" for m in kinds)
