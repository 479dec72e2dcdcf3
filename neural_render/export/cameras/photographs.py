"""The photos of a capture with their cameras at full size, as other programs are to find them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from neural_render.captures.loading.images import read_header
from neural_render.captures.loading.intrinsics import Intrinsics, match_intrinsics
from neural_render.captures.loading.masks import with_masks
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
    their side in their files and have cameras of upright photos. ``masks`` lie in ``mask_root``,
    one for each photo, empty where it has none.
    """

    cameras: Cameras
    files: tuple[str, ...]
    names: tuple[str, ...]  # as the capture lists them, and its points mean them
    turned: tuple[str, ...]
    num_train: int
    root: Path | None
    masks: tuple[str, ...]
    mask_root: Path | None
    points: SparsePoints

    def is_mask_by_name(self, index: int) -> bool:
        """Whether a photo's mask is called as the photo is: ``x.png`` or ``x.jpg.png``."""
        return Path(self.masks[index]).with_suffix("").as_posix() in _mask_stems(self.files[index])


def photographs(capture: Capture) -> Photographs:
    """All photos of ``capture``, its cameras as they are (refined or not), at their files' size."""
    names = (*capture.train.names, *capture.test.names)
    cameras = Cameras.joined([capture.train.cameras, capture.test.cameras])
    turned: tuple[str, ...] = ()
    masks, mask_root = ("",) * len(names), None
    if capture.format == "scene":
        files = (*_frames("train", len(capture.train)), *_frames("test", len(capture.test)))
        root = None
    else:
        originals = _originals(capture.path, names)
        cameras = _sized(cameras, torch.tensor([its.size for _, _, its in originals]))
        # One folder above all of them: the capture's "images", or the capture itself.
        root = Path(os.path.commonpath([path.parent for path, _, _ in originals]))
        files = tuple(path.relative_to(root).as_posix() for path, _, _ in originals)
        turned = tuple(
            file for file, (_, _, its) in zip(files, originals, strict=True) if its.rotated
        )
        found = {file: mask for file, (_, mask, _) in zip(files, originals, strict=True) if mask}
        if found:
            mask_root = _mask_root(found)
            masks = tuple(
                found[file].relative_to(mask_root).as_posix() if file in found else ""
                for file in files
            )
    return Photographs(
        cameras=cameras,
        files=files,
        names=names,
        turned=turned,
        num_train=len(capture.train),
        root=root,
        masks=masks,
        mask_root=mask_root,
        points=capture.points,
    )


def _frames(path: str, count: int) -> tuple[str, ...]:
    """What render.py's ``output=frames`` calls the pictures of a path, in a folder of its name."""
    color = PARTS["frames"][0]
    return tuple(f"{path}/{color.format(f'{index:04d}')}" for index in range(count))


def _originals(folder: Path, names: tuple[str, ...]) -> list[tuple[Path, Path | None, Intrinsics]]:
    """The files of each photo and of its mask, and its size as its camera has it."""
    listing = with_masks(recognise(folder).read(folder), folder)
    photos = {photo.name: photo for photo in (*listing.train, *listing.test)}
    found = []
    for name in names:
        photo = photos[name]
        header = read_header(photo.image, photo.where)
        its = match_intrinsics(photo, header.size, header.oriented_size)
        mask = _resolved(photo.mask) if photo.mask is not None else None
        found.append((_resolved(photo.image), mask, its))
    return found


def _resolved(path: Path) -> Path:
    """A file in its real folder; one that is itself a link, as in caches, keeps its name."""
    return path.parent.resolve() / path.name


def _mask_root(masks: Mapping[str, Path]) -> Path:
    """The folder in which masks are called as their photos are, else one above all of them."""
    roots: set[Path | None] = set()
    for file, mask in masks.items():
        name = mask.with_suffix("")
        ends = [Path(stem) for stem in _mask_stems(file)]
        fits = [end for end in ends if name.parts[-len(end.parts) :] == end.parts]
        roots.add(mask.parents[len(fits[0].parts) - 1] if fits else None)
    if len(roots) == 1 and (root := roots.pop()) is not None:
        return root
    return Path(os.path.commonpath([mask.parent for mask in masks.values()]))


def _mask_stems(file: str) -> tuple[str, str]:
    """What the masks of a photo are called, without their own ending."""
    return file, Path(file).with_suffix("").as_posix()


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
