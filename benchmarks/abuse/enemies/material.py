"""What the enemies work on: a small capture, a small scene, few photos, and one trained run."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import TypeVar

from benchmarks.abuse.enemies.programs import Ended, finished
from neural_render.core.errors import UserError
from tests.captures.motion.textured_room import walk, write_photos
from tests.flows.programs import SMALL
from tests.scenes.small_scenes import write_scene
from tests.tiny_capture import write_blender_capture

STEPS, BAKE_STEPS = 200, 150
WORDS = (
    *SMALL,
    "name=tiny",
    "kernels.backend=cpu",
    "kernels.threads=1",
    f"training.num_steps={STEPS}",
    "training.checkpoint_steps=20",
    "training.report_every=0.02",
)
BAKE_WORDS = (
    *SMALL,
    "name=ball",
    "kernels.threads=1",
    "tracer.variant=scalar",
    "tracer.ring=65536",
    "scene.max_depth=3",
    "views.test=2",
    "views.test_size=24",
    "views.reference_samples=16",
    f"training.num_steps={BAKE_STEPS}",
    "training.checkpoint_steps=20",
    "training.report_every=0.02",
)
T = TypeVar("T")
_making = RLock()  # what is made may ask for more


class made_once(cached_property[T]):
    """A property for several threads: who asks while it is made waits for it."""

    def __get__(self, instance: object, owner: type | None = None) -> T:
        """The value, which is made when it is first asked for."""
        with _making:
            return super().__get__(instance, owner)


class Unprepared(UserError):
    """What the enemies were to work on could not be made."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """A folder with all of it, made when it is first asked for."""

    place: Path
    seed: int = 0

    @made_once
    def capture(self) -> Path:
        """Photos with poses of a striped ball."""
        return write_blender_capture(self.place / "capture", num_train=12, num_test=3, size=40)

    @made_once
    def scene(self) -> Path:
        """A ball under a lamp and a bulb."""
        folder = self.place / "scene"
        folder.mkdir()
        return write_scene(folder, "lamp", "bulb")

    @property
    def training(self) -> tuple[str | Path, ...]:
        """The words of a training."""
        return ("train.py", f"capture.path={self.capture}", *WORDS)

    @property
    def baking(self) -> tuple[str | Path, ...]:
        """The words of a bake."""
        return ("scripts/bake.py", f"scene.path={self.scene}", *BAKE_WORDS)

    @made_once
    def trained(self) -> tuple[Path, Ended]:
        """A training that nobody disturbed: its run folder, and how it went."""
        return self._undisturbed("trained", self.training)

    @made_once
    def baked(self) -> tuple[Path, Ended]:
        """A bake that nobody disturbed."""
        return self._undisturbed("baked", self.baking)

    def _undisturbed(self, name: str, words: Sequence[str | Path]) -> tuple[Path, Ended]:
        folder = self.folder(name)
        done = finished(words, folder=folder)
        if faults := done.faults(0):
            raise Unprepared(f"{words[0]} failed before anybody disturbed it: {faults[0]}")
        return folder / done.last_line, done

    def photos(self, folder: Path) -> Path:
        """A folder of a few photos without poses."""
        return write_photos(folder, walk(7))

    def folder(self, name: str) -> Path:
        """A new folder of this name."""
        path = self.place / name
        path.mkdir(parents=True)
        return path

    def copied_run(self, folder: Path) -> Path:
        """A copy of the trained run, to be worked on in ``folder``."""
        return shutil.copytree(self.trained[0], folder / "outputs/tiny/run", symlinks=True)
