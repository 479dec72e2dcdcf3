"""The photos of a capture with their cameras at full size, as other programs are to find them."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from neural_render.captures.loading.images import read_header
from neural_render.captures.loading.intrinsics import Intrinsics, match_intrinsics
from neural_render.captures.readers.listing import SparsePoints
from neural_render.captures.readers.registry import recognise
from neural_render.captures.records import Capture
from neural_render.core.cameras import Cameras
from neural_render.export.folder import PARTS


@dataclass(frozen=True, kw_only=True)
class Photographs:
    """Cameras in the world, those of training first, and the files that they took.

    ``files`` lie in ``root`` and are called by their paths there; a scene that was never
    photographed has no root, and files that can be rendered. Those that are ``turned`` lie on
    their side in their files and have cameras of upright photos.
    """

    cameras: Cameras
    files: tuple[str, ...]
    names: tuple[str, ...]  # as the capture lists them, and its points mean them
    turned: tuple[str, ...]
    num_train: int
    root: Path | None
    points: SparsePoints


def photographs(capture: Capture) -> Photographs:
    """All photos of ``capture``, its cameras as they are (refined or not), at their files' size."""
    names = (*capture.train.names, *capture.test.names)
    cameras = Cameras.joined([capture.train.cameras, capture.test.cameras])
    turned: tuple[str, ...] = ()
    if capture.format == "scene":
        files = (*_frames("train", len(capture.train)), *_frames("test", len(capture.test)))
        root = None
    else:
        originals = _originals(capture.path, names)
        cameras = _sized(cameras, torch.tensor([its.size for _, its in originals]))
        # One folder above all of them: the capture's "images", or the capture itself.
        root = Path(os.path.commonpath([path.parent for path, _ in originals]))
        files = tuple(path.relative_to(root).as_posix() for path, _ in originals)
        turned = tuple(file for file, (_, its) in zip(files, originals, strict=True) if its.rotated)
    return Photographs(
        cameras=cameras,
        files=files,
        names=names,
        turned=turned,
        num_train=len(capture.train),
        root=root,
        points=capture.points,
    )


def _frames(path: str, count: int) -> tuple[str, ...]:
    """What render.py's ``output=frames`` calls the pictures of a path, in a folder of its name."""
    color = PARTS["frames"][0]
    return tuple(f"{path}/{color.format(f'{index:04d}')}" for index in range(count))


def _originals(folder: Path, names: tuple[str, ...]) -> list[tuple[Path, Intrinsics]]:
    """The file of each photo as the capture lists it, and its size as its camera has it."""
    listing = recognise(folder).read(folder)
    photos = {photo.name: photo for photo in (*listing.train, *listing.test)}
    found = []
    for name in names:
        photo = photos[name]
        header = read_header(photo.image, photo.where)
        its = match_intrinsics(photo, header.size, header.oriented_size)
        # A photo that is itself a link, as in caches and git-annex, keeps its name.
        found.append((photo.image.parent.resolve() / photo.image.name, its))
    return found


def _sized(cameras: Cameras, size: Int[Tensor, "cameras 2"]) -> Cameras:
    """The cameras with images of other sizes that show the same views."""
    own = torch.stack([cameras.width, cameras.height], dim=-1)
    ratio = (size / own).to(cameras.focal_px.dtype)
    return replace(
        cameras,
        focal_px=cameras.focal_px * ratio,
        center_px=cameras.center_px * ratio,
        width=size[:, 0],
        height=size[:, 1],
    )
