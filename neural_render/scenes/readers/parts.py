"""What the reader of one format gives; ``opening`` completes it to a LoadedScene."""

from dataclasses import dataclass
from typing import Any, Literal

Axis = Literal["x", "y", "z", ""]


@dataclass(frozen=True, kw_only=True)
class SceneParts:
    """A ``mitsuba.Scene``, perhaps unlit, and what only its format's reader can know.

    ``lit`` says whether its own lights suffice to see it: glowing pictures on an object's surface
    (glTF's emissive textures) do not. ``max_depth`` is 0 and ``up`` empty where the file does not
    say. ``lost`` names, in a few words each, what the file has and we cannot express.
    """

    format: str
    scene: Any
    lit: bool
    max_depth: int = 0
    up: Axis = ""
    lost: tuple[str, ...] = ()
