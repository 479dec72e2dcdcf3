"""A browser without a window: it speaks the page's own language, also where that makes no sense."""

import io
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import viser
import zstandard
from PIL import Image
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from neural_render.viewer.viewer import Viewer

PATIENCE = 30.0  # seconds
CALM_ROUNDS = 15  # not seconds, which pass without any work where this machine is busy


class RawBrowser:
    """One visitor of a viewer that the same thread serves."""

    def __init__(
        self,
        viewer: Viewer,
        size: tuple[int, int] = (48, 32),
        origin: str | None = None,
        host: str | None = None,
    ) -> None:
        self._viewer, self._size = viewer, size
        address = f"ws://127.0.0.1:{viewer.port}"
        protocol = Subprotocol(f"viser-v{viser.__version__}")
        site = None if origin is None else Origin(origin)
        wanted = {"subprotocols": [protocol], "max_size": None, "origin": site}
        if host is None:
            self._socket = connect(address, **wanted)
        else:  # what the browser takes it for
            there = socket.create_connection(("127.0.0.1", viewer.port))
            self._socket = connect(f"ws://{host}", sock=there, **wanted)
        self.messages: list[dict[str, Any]] = []

    def close(self) -> None:
        self._socket.close()

    def send(self, **message: Any) -> None:
        self._socket.send(msgspec.msgpack.encode(message))

    def look_from(self, position: Any = (2.5, 0.0, 0.0), **changes: Any) -> None:
        """Says where its camera is: it looks at the origin along -x, z up."""
        width, height = self._size
        camera = {
            "wxyz": (0.5, -0.5, -0.5, 0.5),
            "position": position,
            "fov": 0.5,
            "near": 0.1,
            "far": 100.0,
            "image_height": height,
            "image_width": width,
            "look_at": (0.0, 0.0, 0.0),
            "up_direction": (0.0, 0.0, 1.0),
        }
        self.send(type="ViewerCameraMessage", **(camera | changes))

    def set(self, label: str, value: Any) -> None:
        """Changes the control of that name."""
        self.send(type="GuiUpdateMessage", uuid=self.control(label), updates={"value": value})

    def control(self, label: str) -> str:
        """The identity of the last control with a label."""
        self.serve(lambda: bool(self._named(label)))
        return self._named(label)[-1]["uuid"]

    def _named(self, label: str) -> list[dict[str, Any]]:
        return [m for m in self.messages if m.get("props", {}).get("label") == label]

    def serve(self, done: Callable[[], bool]) -> None:
        """Lets the viewer work until something has happened."""
        end = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < end, "the viewer did not answer"
            if not self._viewer.attend():
                self._viewer.wait(0.02)
            self._read()

    def hear_out(self) -> None:
        """Takes in what the server says until it ends the connection."""
        end = time.monotonic() + PATIENCE
        with suppress(ConnectionClosed):
            while True:
                self._read()
                assert time.monotonic() < end, "the server did not end the connection"

    def settle(self) -> None:
        """Lets the viewer work until it has had nothing to do for some rounds.

        A round trip first: what was sent has arrived by then, however busy this machine is.
        """
        assert self._socket.ping().wait(PATIENCE), "the server did not answer"
        calm = 0
        while calm < CALM_ROUNDS:
            calm = 0 if self._viewer.attend() else calm + 1
            self._viewer.wait(0.01)
            self._read()

    def picture(self) -> np.ndarray:
        """The picture that it shows in the end."""
        self.serve(lambda: bool(self.pictures()))
        self.settle()
        return np.asarray(Image.open(io.BytesIO(self.pictures()[-1]["rgb_data"])).convert("RGB"))

    def pictures(self) -> list[dict[str, Any]]:
        """The pictures that came, with their depths."""
        found = [m for m in self.messages if m["type"] == "BackgroundImageMessage"]
        return [m for m in found if m["format"] == "jpeg"]  # not what clears the page at first

    def notes(self) -> list[str]:
        """What it was told beside the pictures."""
        found = [m for m in self.messages if m["type"] == "NotificationShowMessage"]
        return [message["props"]["body"] for message in found]

    def heard(self, text: str) -> bool:
        """Whether any message had a text in it."""
        return any(text in str(message) for message in self.messages)

    def _read(self) -> None:
        while True:
            try:
                data = self._socket.recv(timeout=0.001)
            except TimeoutError:
                return
            assert isinstance(data, bytes)
            length = int.from_bytes(data[8:16], "little")
            inner = zstandard.ZstdDecompressor().decompress(
                data[16 : 16 + length], max_output_size=int.from_bytes(data[:8], "little")
            )
            self.messages += msgspec.msgpack.decode(inner)["messages"]
