"""Tracers and sources of rays, small enough for tests."""

import os
from pathlib import Path
from typing import Any

import torch

from neural_render.scenes.settings import SceneSettings, TracerSettings, ViewSettings
from neural_render.scenes.source import TracedSource, scene_frame, scene_lighting
from neural_render.scenes.tracing.process import TracerProcess
from tests.scenes.readers.scenes import mitsuba

SMALL = TracerSettings(variant="scalar", samples_per_ray=1, ring=1024, carve=False)
CPU = torch.device("cpu")


def started(path: Path, views: ViewSettings | None = None, **settings: Any) -> TracerProcess:
    """A process that has loaded a scene under the plain variant."""
    mitsuba()  # skips where it is not installed
    wanted = SceneSettings(path=str(path), max_depth=3, **settings)
    return TracerProcess(wanted, views or ViewSettings(), SMALL)


def source_of(
    process: TracerProcess, settings: TracerSettings = SMALL, begun: int = 0
) -> TracedSource:
    """Rays that it traces from now on."""
    pilot = process.ask("pilot", command="pilot", seed=0)
    stage = scene_lighting(process.scene, pilot), scene_frame(process.scene, pilot)
    source = TracedSource(process, *stage, settings, seed=0, device=CPU, begun=begun)
    source.begin()
    return source


def alive(pid: int) -> bool:
    """Whether a process is there and more than what nobody has asked for its end."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (ProcessLookupError, FileNotFoundError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def rings(pid: int) -> int:
    """In how many places a process has memory of rays before it."""
    return Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").count("/memfd:rays")
