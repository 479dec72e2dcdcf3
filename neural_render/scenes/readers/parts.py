"""What the reader of one format gives; ``opening`` completes it to a LoadedScene."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Axis = Literal["x", "y", "z", ""]


@dataclass(frozen=True, kw_only=True)
class SceneParts:
    """A ``mitsuba.Scene``, perhaps unlit, and what only its format's reader can know.

    ``lit`` says whether its own lights suffice to see it: glowing pictures on an object's surface
    (glTF's emissive textures) do not. ``max_depth`` is 0 and ``up`` empty where the file does not
    say. ``again`` makes the scene anew with more in it, by name; an ``environment`` takes the place
    of its own. ``lost`` names, in a few words each, what the file has and we cannot express.
    ``exported`` is the digest of what another program made of it, and empty where none did.
    """

    format: str
    scene: Any
    again: Callable[[dict[str, Any]], Any]
    lit: bool
    max_depth: int = 0
    up: Axis = ""
    lost: tuple[str, ...] = ()
    exported: str = ""
