"""What the path tracer spends on a scene, at equal noise: seconds of a path times its variance."""

import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from jaxtyping import Float

from neural_render.scenes.settings import SceneSettings, TracerSettings, ViewSettings
from neural_render.scenes.tracing.process import TracerProcess

SIDE = 128  # pixels of the pictures whose noise is measured
SAMPLES = 32  # paths per pixel of each
PICTURES = 8
CAMERA_SEED = 1
VARIANT = "auto"  # of Mitsuba


@dataclass(frozen=True, kw_only=True)
class TracerCost:
    """Of one path: seconds (see ``process_seconds``), and the variance of its radiance, relative.

    ``variance``: mean over pixels, over the mean of the squared picture; rare bright paths count
    in full. ``median_variance``: the median over pixels of each one's over its own square.
    """

    seconds: float
    variance: float
    median_variance: float

    @property
    def at_equal_noise(self) -> float:
        """Seconds that a pixel takes until its relative variance is 1: they are comparable."""
        return self.seconds * self.variance

    @property
    def at_equal_median_noise(self) -> float:
        """The same by the median pixel."""
        return self.seconds * self.median_variance


def tracer_costs(scenes: Mapping[str, Path], threads: int) -> dict[str, TracerCost]:
    """The cost of each scene file, by name. Scenes take turns, picture by picture."""
    found: dict[str, list[tuple[np.ndarray, float]]] = {name: [] for name in scenes}
    views, tracer = ViewSettings(), TracerSettings(variant=VARIANT, threads=threads)
    with ExitStack() as stack, tempfile.TemporaryDirectory() as scratch:
        processes = {
            name: stack.enter_context(
                closing(TracerProcess(SceneSettings(path=str(path)), views, tracer))
            )
            for name, path in scenes.items()
        }
        for seed in range(PICTURES + 1):  # the first one warms up
            for name, process in processes.items():
                found[name].append(_picture(process, seed, Path(scratch) / "picture.npy"))
    costs = {}
    for name, pictures in found.items():
        variance, middle = relative_variance(np.stack([seen for seen, _ in pictures[1:]]), SAMPLES)
        costs[name] = TracerCost(
            seconds=median(seconds for _, seconds in pictures[1:]) / (SAMPLES * SIDE * SIDE),
            variance=variance,
            median_variance=middle,
        )
    return costs


def relative_variance(
    pictures: Float[np.ndarray, "pictures height width channels"], samples: int
) -> tuple[float, float]:
    """The variance of one path, of independent pictures of ``samples`` paths per pixel each.

    First that of all pixels over the mean square of what is seen, then the median over pixels that
    see light of each one's own.
    """
    exact = pictures.astype(np.float64)
    spread = exact.var(axis=0, ddof=1)
    # The square of a mean that is noisy itself is too large by the mean's variance.
    square = exact.mean(axis=0) ** 2 - spread / len(exact)
    own, seen = spread.mean(axis=-1), (exact.mean(axis=0) ** 2).mean(axis=-1)
    middle = np.median(own[seen > 0] / seen[seen > 0])
    return samples * float(spread.mean() / square.mean()), samples * float(middle)


def process_seconds(pid: int) -> float:
    """CPU seconds that a process has spent so far; where the system does not tell, wall seconds."""
    try:
        # Behind the program's name, which may hold spaces: user and system time are 14th and 15th.
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return time.perf_counter()


def _picture(process: TracerProcess, seed: int, path: Path) -> tuple[np.ndarray, float]:
    """One picture under the first light alone and what it took in seconds."""
    camera = process.ask("poses", command="poses", num=1, seed=CAMERA_SEED)
    pose = {name: camera[name] for name in ("world_from_camera", "half_width", "half_height")}
    began = process_seconds(process.pid)
    process.ask(
        "rendered",
        command="render",
        pose=pose,
        size=[SIDE, SIDE],
        group=0,
        samples=SAMPLES,
        seed=seed,
        place=[],
        path=str(path),
    )
    picture = np.fromfile(path, np.float32).reshape(SIDE, SIDE, 3)
    return picture, process_seconds(process.pid) - began
