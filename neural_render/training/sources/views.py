"""The cameras of a bake, in its run folder: what films and held-out views are taken from."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from neural_render.captures.doctor.examination import open_checked
from neural_render.captures.opening import open_capture
from neural_render.captures.readers.listing import no_points
from neural_render.captures.records import Capture, Views
from neural_render.captures.settings import CaptureSettings
from neural_render.core.cameras import Cameras, Lens
from neural_render.core.errors import CheckpointError, SettingError, reason_of
from neural_render.core.files import read_json
from neural_render.core.processes import group
from neural_render.core.protocols import SceneFrame
from neural_render.evaluation.records import write_json
from neural_render.scenes.contents import changed_contents
from neural_render.scenes.settings import SceneSettings
from neural_render.training.runs.checkpoint import open_checkpoint
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import TrainedScene
from neural_render.training.sources.remembered import check_photos, has_photos

VIEWS_FILE = "views.json"
GO_ON = {
    "photos": "was trained on photos: python train.py {word} continues it",
    "a scene": "was baked from a scene: python scripts/bake.py {word} continues it and measures"
    " it anew",
    "rays": "was trained on rays that a program of its own made: only that one continues it",
}
UNKNOWN: Mapping[str, str] = MappingProxyType({})
_NUMBERS = {"world_from_camera": (3, 4), "focal_px": (2,), "center_px": (2,)}


def save_views(
    folder: Path, train: Cameras, test: Cameras, split: str, scene: Mapping[str, str] = UNKNOWN
) -> None:
    """Writes the cameras of training (some of them) and the held-out ones, and of what the scene
    consisted (``scene_contents``), where that is known."""
    record = {"split": split, "train": _stored(train), "test": _stored(test)}
    write_json(folder / VIEWS_FILE, record | ({"scene": dict(scene)} if scene else {}))


def baked_scene(folder: Path) -> dict[str, str]:
    """Of what the scene of a bake consisted (``scene_contents``); empty where that is not known, as
    in runs of earlier versions. CheckpointError if that is broken."""
    try:
        found = read_json(folder / VIEWS_FILE).get("scene", {})
        return {str(name): str(digest) for name, digest in found.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise _broken(folder / VIEWS_FILE, error) from error


def check_scene(folder: Path, path: str, settings: SceneSettings) -> None:
    """CheckpointError, which names what differs, where the scene whose file is ``path`` is not what
    it was when the bake in ``folder`` began."""
    before = baked_scene(folder)
    if before and (changed := changed_contents(before, Path(path), settings)):
        raise CheckpointError(
            f"the scene {path} is not what it was when {folder} was begun"
            f" ({', '.join(changed[:5])}{', ...' if len(changed) > 5 else ''} changed): restore it,"
            " give scene.path= and scene.environment= where it is, or bake anew without run=."
        )


def has_views(folder: Path) -> bool:
    """Whether a run was baked from a scene, not trained on photos."""
    return (folder / VIEWS_FILE).is_file()


def check_made_from(source: str, run: str) -> None:
    """SettingError where ``run``, a folder ("" for a new one), was made from another source.

    ``source``: "photos", "a scene" or "rays". A run that was killed before its first checkpoint
    may be of photos or of rays.
    """
    if not run:
        return
    folder = RunFolder.open(Path(run))
    found = "a scene" if has_views(folder.path) else "photos"
    if found == "photos" and (checkpoints := folder.checkpoints()):
        found = "photos" if open_checkpoint(checkpoints[-1]).record.capture else "rays"
    if found != source:
        raise SettingError(f"run={run} {GO_ON[found].format(word=shlex.quote(f'run={run}'))}.")


def load_views(folder: Path, frame: SceneFrame) -> Capture:
    """The cameras of a baked run as a capture without photos; CheckpointError if broken."""
    path = folder / VIEWS_FILE
    try:
        record = read_json(path)
        train, test = (_views(record[part], part) for part in ("train", "test"))
        split = str(record["split"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise _broken(path, error) from error
    return Capture(
        name=folder.parent.name,
        path=folder,
        format="scene",
        train=train,
        test=test,
        frame=frame,
        points=no_points(),
        has_opacity=True,
        split=split,
        warnings=(),
    )


def views_of(
    folder: Path,
    scene: TrainedScene,
    settings: CaptureSettings,
    *,
    images: bool = False,
    progress: bool = False,
) -> Capture:
    """What a run was trained on: the cameras of its bake, or its capture, which ``settings`` name.

    Photos are there only if ``images``. Of several processes the first one looks first.
    SettingError for a run on rays, which has neither; CheckpointError where the photos or their
    cameras are not those of training (``check_photos``).
    """
    if has_views(folder):
        return load_views(folder, scene.frame)
    if not scene.record.capture:
        raise SettingError(
            f"run={folder} was trained on rays that a program of its own made, and has no cameras:"
            " render it from Python, with cameras of your own (neural_render.load)."
        )
    finds = not has_photos(folder)
    capture = group.after_first(
        lambda: open_capture(settings, progress=progress, images=images, finds=finds)
    )
    check_photos(folder, capture, settings)
    return capture


def photos_of(run: str, settings: CaptureSettings, *, progress: bool) -> Capture:
    """What ``run``, a folder ("" for a new one), is trained on: the capture that ``settings`` name.

    A new run's is examined. A run with a checkpoint stays in the place that its field lies in, and
    CheckpointError is raised where photos or cameras are not those of before (``check_photos``).
    """
    folder = RunFolder.open(Path(run)) if run else None
    checkpoints = folder.checkpoints() if folder else []
    if folder is None or not checkpoints or not has_photos(folder.path):
        return open_checked(settings, progress=progress, check=not run)
    capture = open_checked(settings, progress=progress, check=False, finds=False)
    check_photos(folder.path, capture, settings)
    return replace(capture, frame=open_checkpoint(checkpoints[-1]).record.frame)


def _broken(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} is broken ({reason_of(error)}): bake the scene again, or restore that file."
    )


def _stored(cameras: Cameras) -> dict[str, Any]:
    names = (*_NUMBERS, "width", "height")
    return {name: getattr(cameras, name).tolist() for name in names}


def _views(stored: dict[str, Any], part: str) -> Views:
    sizes = {name: torch.tensor(stored[name], dtype=torch.long) for name in ("width", "height")}
    num = len(sizes["width"])
    numbers = {
        name: torch.tensor(stored[name], dtype=torch.float32).reshape(num, *shape)
        for name, shape in _NUMBERS.items()
    }
    cameras = Cameras(
        **numbers,
        **sizes,
        distortion=torch.zeros(num, 6),
        lens=torch.full((num,), int(Lens.PERSPECTIVE)),
    )
    return Views(
        cameras=cameras,
        names=tuple(f"{part}_{index:03d}" for index in range(num)),
        pixels=torch.empty((0, 4), dtype=torch.uint8),
        offsets=torch.zeros(num, dtype=torch.long),
        masks=torch.empty(0, dtype=torch.uint8),
    )
