"""The photos that a run was trained on, in its folder: their names, places and lenses.

Photos are kept outside of runs, where other commands may find their cameras anew: in another world
than the one that the run's field lies in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neural_render.captures.records import Capture, Views
from neural_render.captures.settings import CaptureSettings
from neural_render.core.cameras import Cameras
from neural_render.core.errors import CheckpointError, reason_of
from neural_render.core.files import read_json
from neural_render.training.runs.folder import RunFolder

# What files and processors round: of axes and coefficients, and of the cameras' spread.
ROUNDING = 1e-4
SINGLE = 1e-6  # of the distance to the origin, in single precision
LENS = 1e-3  # of the picture's size, beside the pixels by which sizes are rounded
PARTS = ("train", "test")
_FLOATS = {"world_from_camera": (3, 4), "focal_px": (2,), "center_px": (2,), "distortion": (-1,)}
_WHOLE = ("lens", "width", "height")


@dataclass(frozen=True, kw_only=True)
class _Photos:
    """All photos of a capture, and which of them are seen in training."""

    names: tuple[str, ...]
    train: frozenset[str]
    cameras: Cameras
    slack: Float[Tensor, "cameras 2"]  # of the picture's size: what whole pixels leave open
    holdout_every: int

    def at(self, names: Sequence[str]) -> tuple[Cameras, Float[Tensor, "cameras 2"]]:
        """The cameras of these photos and their slack."""
        rows = {name: row for row, name in enumerate(self.names)}
        index = torch.tensor([rows[name] for name in names], dtype=torch.long)
        return self.cameras[index], self.slack[index]


def photos_record(capture: Capture, settings: CaptureSettings) -> dict[str, Any]:
    """What a run remembers of the photos that it is trained on: ``photos.json``."""
    parts = {part: _stored(getattr(capture, part)) for part in PARTS}
    return {"holdout_every": settings.holdout_every, **parts}


def has_photos(folder: Path) -> bool:
    """Whether a run remembers its photos; those of earlier versions do not."""
    return RunFolder(path=folder).photos_path.is_file()


def check_photos(folder: Path, capture: Capture, settings: CaptureSettings) -> None:
    """Nothing where the run in ``folder`` was trained on ``capture``, wherever that lies now and
    however large its photos are read, or where it remembers none.

    CheckpointError, which says what differs, for other photos, places or lenses.
    """
    if not has_photos(folder):
        return
    then, now = _read(RunFolder(path=folder).photos_path), _photos(photos_record(capture, settings))
    if told := _differences(then, now):
        raise CheckpointError(
            f"{capture.path} is not what {folder} was trained on ({', '.join(told)}): restore its"
            " photos and their cameras as they were, give capture.path= where they are, or train"
            " anew without run=."
        )


def _differences(then: _Photos, now: _Photos) -> list[str]:
    """What is not as it was, in words."""
    # Photos that were held out may be trained on later; other test views take their place.
    freed = then.holdout_every > 0 and now.holdout_every == 0
    shared = [name for name in then.names if name in set(now.names)]
    fresh = [name for name in now.names if name not in set(then.names)]
    if freed:
        fresh = [name for name in fresh if name in now.train]
    seen = [name for name in shared if name in then.train and name not in now.train]
    held = [name for name in shared if name not in then.train and name in now.train and not freed]
    moved, bent = (
        [name for name, other in zip(shared, others.tolist(), strict=True) if other]
        for others in _apart(then, now, shared)
    )
    gone = [name for name in then.names if name not in set(now.names)]
    groups = {
        "missing": gone,
        "new": fresh,
        "elsewhere": moved,
        "of another lens": bent,
        "held out that it was trained on": seen,
        "for training that it held out": held,
    }
    return [
        f"{len(names)} of {len(now.names if names is fresh else then.names)} photos"
        f" {'is' if len(names) == 1 else 'are'} {words}, such as {names[0]}"
        for words, names in groups.items()
        if names
    ]


def _apart(
    then: _Photos, now: _Photos, names: Sequence[str]
) -> tuple[Bool[Tensor, " cameras"], Bool[Tensor, " cameras"]]:
    """Which of the photos that both have stand elsewhere, and which have another lens."""
    (before, slack), (after, other) = then.at(names), now.at(names)
    places = then.cameras.world_from_camera[..., 3]
    spread = (places - places.mean(0)).norm(dim=1).max()
    reach = ROUNDING * spread + SINGLE * places.abs().max()
    change = (before.world_from_camera - after.world_from_camera).abs()
    moved = (change[..., :3] > ROUNDING).any(-1).any(-1) | (change[..., 3] > reach).any(-1)
    joined = Cameras.joined([before, after])  # as many coefficients
    old, new = joined.distortion[: len(names)], joined.distortion[len(names) :]
    bent = ((old - new).abs() > ROUNDING * (1 + old.abs())).any(-1) | (before.lens != after.lens)
    focal, center = (
        (here - there).abs()
        for here, there in zip(_of_picture(before), _of_picture(after), strict=True)
    )
    open_by = slack + other
    scale = _of_picture(before)[0].abs().clamp(min=1)
    bent |= (focal > (LENS + open_by) * scale).any(-1) | (center > LENS + open_by).any(-1)
    return moved, bent


def _of_picture(cameras: Cameras) -> tuple[Float[Tensor, "cameras 2"], Float[Tensor, "cameras 2"]]:
    """Focal length and centre as shares of the picture's width and height."""
    size = torch.stack([cameras.width, cameras.height], dim=-1)
    return cameras.focal_px / size, cameras.center_px / size


def _stored(views: Views) -> dict[str, Any]:
    cameras = {name: getattr(views.cameras, name).tolist() for name in (*_FLOATS, *_WHOLE)}
    return {"names": list(views.names), **cameras, "stride": views.stride}


def _read(path: Path) -> _Photos:
    try:
        return _photos(read_json(path))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is broken ({reason_of(error)}): restore that file, or remove it if the"
            " capture's photos and cameras are those that the run was trained on."
        ) from error


def _photos(record: Any) -> _Photos:
    """What a record holds; an error of Python's where it is broken."""
    parts = [_cameras(record[part]) for part in PARTS]
    names = [tuple(str(name) for name in record[part]["names"]) for part in PARTS]
    if [len(part) for part in names] != [len(cameras) for cameras in parts]:
        raise ValueError("it has not as many names as cameras")
    cameras = Cameras.joined(parts)
    strides = [int(record[part]["stride"]) for part in PARTS for _ in record[part]["names"]]
    size = torch.stack([cameras.width, cameras.height], dim=-1).clamp(min=1)
    return _Photos(
        names=(*names[0], *names[1]),
        train=frozenset(names[0]),
        cameras=cameras,
        slack=torch.tensor(strides, dtype=torch.float32)[:, None] / size,
        holdout_every=int(record["holdout_every"]),
    )


def _cameras(stored: Any) -> Cameras:
    whole = {name: torch.tensor(stored[name], dtype=torch.long) for name in _WHOLE}
    num = len(whole["width"])
    floats = {
        name: torch.tensor(stored[name], dtype=torch.float32).reshape(num, *shape)
        if num
        else torch.zeros(0, *(max(side, 0) for side in shape))
        for name, shape in _FLOATS.items()
    }
    return Cameras(**floats, **whole)
