"""The bookkeeping of a folder of frames: what was rendered into it, and what is still missing."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neural_render.core.errors import OutputError
from neural_render.core.files import read_json, whole_file

PARTS = {
    "frames": ("color_{}.png", "depth_{}.png", "opacity_{}.png"),
    "png16": ("picture_{}.png",),
    "exr": ("frame_{}.exr",),
    "depth": ("depth_{}.npy",),
}
OUTPUTS = ("video", *PARTS)
_FRAME_FILE = re.compile(
    r"(color|depth|opacity|picture)_\d{4,}\.png|frame_\d{4,}\.exr|depth_\d{4,}\.npy"
)
_UNITS = "z-depth in the capture's units; the colours run from the first limit to the second"


class FrameFolder:
    """A folder whose ``frames.json`` says which film its numbered files belong to.

    Files appear whole, so a frame that is there is complete; that it belongs to this film is what
    the description, compared on resuming, makes sure of.
    """

    def __init__(
        self, path: Path, description: Mapping[str, Any], outputs: tuple[str, ...], *, resume: bool
    ) -> None:
        """Take over what an equal film left (``resume``), or clear away what any film left.

        ``outputs`` are those keys of ``PARTS`` that this film has; with none of them the folder
        and what lies in it are left alone.
        """
        self.path = path
        self.parts = tuple(part for output in outputs for part in PARTS[output])
        self.description = json.loads(json.dumps(description))
        self.depth_limits: tuple[float, float] | None = None  # of all depth pictures, once known
        if not self.parts:
            return
        stored = _stored(path)
        if resume and stored is not None:
            self._require_same_film(stored["film"])
            limits = stored["depth_limits"]
            self.depth_limits = None if limits is None else (limits[0], limits[1])
            return
        self._clear(ours=stored is not None)
        self._store()

    def file(self, part: str, index: int) -> Path:
        """The path of one file of a frame; ``part`` is a name of ``PARTS``."""
        return self.path / part.format(f"{index:04d}")

    def missing(self, num_frames: int) -> list[int]:
        """The frames of which not every file is there."""
        return [
            index
            for index in range(num_frames)
            if not self.parts or not all(self.file(part, index).exists() for part in self.parts)
        ]

    def fix_depth_limits(self, limits: tuple[float, float]) -> None:
        """State the limits that all depth pictures of this folder share."""
        self.depth_limits = limits
        self._store()

    def _store(self) -> None:
        record = {"film": self.description, "depth_limits": self.depth_limits, "depth": _UNITS}
        with whole_file(self.path / "frames.json") as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    def _require_same_film(self, stored: dict[str, Any]) -> None:
        keys = sorted({*stored, *self.description})
        for key in keys:
            there, now = stored.get(key), self.description.get(key)
            if there != now:
                raise OutputError(
                    f"{self.path} holds frames of another film ({key}: {there} there, {now} now); "
                    "render into another folder, or do not resume."
                )

    def _clear(self, *, ours: bool) -> None:
        found = sorted(self.path.glob("*")) if self.path.is_dir() else []
        frames = [path for path in found if _FRAME_FILE.fullmatch(path.name)]
        if frames and not ours:
            raise OutputError(
                f"{self.path} holds {frames[0].name} and no frames.json that says of which film; "
                "render into another folder or move those files away."
            )
        for path in frames:
            path.unlink()


def holds_film(path: Path, description: Mapping[str, Any]) -> bool:
    """Whether the frames in ``path`` are of the film so described, and may be gone on with."""
    stored = _stored(path)
    return stored is not None and stored["film"] == json.loads(json.dumps(description))


def _stored(path: Path) -> dict[str, Any] | None:
    """What ``frames.json`` in ``path`` says, None where there is none that this program wrote."""
    try:
        record = read_json(path / "frames.json")
    except (OSError, ValueError):
        return None
    known = isinstance(record, dict) and {"film", "depth_limits"} <= set(record)
    return record if known else None
