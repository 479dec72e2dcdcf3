"""The photos of a listing in memory: cameras that fit the images, then the images themselves."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from tqdm import tqdm

from neural_render.captures.loading.images import (
    Header,
    Size,
    fitting_size,
    read_header,
    read_image,
    read_mask,
)
from neural_render.captures.loading.intrinsics import Intrinsics, match_intrinsics
from neural_render.captures.loading.memory import check_memory
from neural_render.captures.readers.listing import Photo
from neural_render.captures.records import Views
from neural_render.captures.settings import CaptureSettings
from neural_render.core.cameras import Cameras

MAX_THREADS = 16

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class PlannedPhoto:
    """A photo whose header was read: what it is, and what it will be in memory."""

    photo: Photo
    header: Header
    intrinsics: Intrinsics
    size: Size  # in memory


def plan_photos(photos: Sequence[Photo], settings: CaptureSettings) -> tuple[PlannedPhoto, ...]:
    """Headers of all photos, checked against intrinsics; CaptureError for the first misfit."""

    def plan(photo: Photo) -> PlannedPhoto:
        header = read_header(photo.image, photo.where)
        intrinsics = match_intrinsics(photo, header.size, header.oriented_size)
        size = fitting_size(intrinsics.size, settings.max_side)
        return PlannedPhoto(photo=photo, header=header, intrinsics=intrinsics, size=size)

    return tuple(in_parallel(plan, photos, description="", progress=False))


def plan_warnings(plans: Sequence[PlannedPhoto]) -> tuple[str, ...]:
    """What the user should know about how images and intrinsics were brought together."""
    warnings = []
    scaled = [plan for plan in plans if plan.intrinsics.ratio != 1]
    if scaled:
        stated, actual = scaled[0].photo.calibration.size, scaled[0].intrinsics.size
        warnings.append(
            f"{len(scaled)} of {len(plans)} images have another size than their intrinsics, which"
            f" were scaled with them ({scaled[0].photo.name}: {actual[0]}x{actual[1]} instead of"
            f" {stated[0]}x{stated[1]})"
        )
    turned = [plan for plan in plans if plan.intrinsics.rotated]
    if turned:
        warnings.append(
            f"{len(turned)} of {len(plans)} images were turned by their EXIF orientation, since"
            f" only so they fit w and h ({turned[0].photo.name})"
        )
    ignored = [plan for plan in plans if plan.header.oriented and not plan.intrinsics.rotated]
    if ignored:
        warnings.append(
            f"{len(ignored)} of {len(plans)} images have an EXIF orientation, which is ignored:"
            f" their cameras belong to the pixels as stored ({ignored[0].photo.name})"
        )
    return tuple(warnings)


def planned_cameras(plans: Sequence[PlannedPhoto]) -> Cameras:
    """The cameras of the photos, for their sizes in memory, in the capture's world."""
    sizes = torch.tensor([plan.size for plan in plans], dtype=torch.long).reshape(-1, 2)
    stated = torch.tensor([plan.intrinsics.size for plan in plans]).reshape(-1, 2)
    ratio = sizes.double() / stated.double()
    focal = torch.tensor([plan.intrinsics.focal_px for plan in plans], dtype=torch.float64)
    center = torch.tensor([plan.intrinsics.center_px for plan in plans], dtype=torch.float64)
    poses = np.array([plan.photo.world_from_camera for plan in plans]).reshape(-1, 3, 4)
    distortion = [plan.photo.calibration.distortion for plan in plans]
    return Cameras(
        world_from_camera=torch.from_numpy(poses).float(),
        focal_px=(focal.reshape(-1, 2) * ratio).float(),
        center_px=(center.reshape(-1, 2) * ratio).float(),
        distortion=torch.tensor(distortion, dtype=torch.float32).reshape(-1, 6),
        lens=torch.tensor([int(plan.photo.calibration.lens) for plan in plans], dtype=torch.long),
        width=sizes[:, 0].clone(),
        height=sizes[:, 1].clone(),
    )


def check_photo_memory(plans: Sequence[PlannedPhoto], settings: CaptureSettings) -> None:
    """CaptureError if the photos will not fit into memory; nothing is loaded yet."""
    channels = num_channels(plans) + any(plan.photo.mask for plan in plans)
    # Each thread holds one photo as decoded and as converted.
    decoding = num_threads() * max(8 * plan.header.size[0] * plan.header.size[1] for plan in plans)

    def num_bytes(max_side: int) -> int:
        sizes = (fitting_size(plan.intrinsics.size, max_side) for plan in plans)
        return channels * sum(width * height for width, height in sizes) + decoding

    longest = max(max(plan.size) for plan in plans)
    check_memory(settings, num_bytes, len(plans), longest)


def load_views(
    plans: Sequence[PlannedPhoto], channels: int, *, description: str, progress: bool
) -> Views:
    """All images, scaled and decoded in parallel into one flat tensor."""
    areas = torch.tensor([plan.size[0] * plan.size[1] for plan in plans], dtype=torch.long)
    offsets = areas.cumsum(0) - areas
    pixels = torch.empty(int(areas.sum()), channels, dtype=torch.uint8)
    has_masks = any(plan.photo.mask for plan in plans)
    masks = torch.full((len(pixels) if has_masks else 0,), 255, dtype=torch.uint8)

    def load(index: int) -> None:
        plan = plans[index]
        where, rotated = plan.photo.where, plan.intrinsics.rotated
        place = slice(int(offsets[index]), int(offsets[index] + areas[index]))
        image = read_image(
            plan.photo.image,
            plan.header,
            plan.size,
            channels=channels,
            rotated=rotated,
            where=where,
        )
        pixels[place] = _flat(image)
        if plan.photo.mask:
            mask = read_mask(plan.photo.mask, plan.size, rotated=rotated, where=where)
            masks[place] = _flat(mask)

    in_parallel(load, range(len(plans)), description=description, progress=progress)
    return Views(
        cameras=planned_cameras(plans),
        names=tuple(plan.photo.name for plan in plans),
        pixels=pixels,
        offsets=offsets,
        masks=masks,
    )


def views_without_images(plans: Sequence[PlannedPhoto], channels: int) -> Views:
    """The same views, but no pixels and no masks."""
    areas = torch.tensor([plan.size[0] * plan.size[1] for plan in plans], dtype=torch.long)
    return Views(
        cameras=planned_cameras(plans),
        names=tuple(plan.photo.name for plan in plans),
        pixels=torch.empty(0, channels, dtype=torch.uint8),
        offsets=areas.cumsum(0) - areas,
        masks=torch.empty(0, dtype=torch.uint8),
    )


def num_channels(plans: Sequence[PlannedPhoto]) -> int:
    """4 if any photo has an alpha channel, else 3."""
    return 4 if any(plan.header.has_alpha for plan in plans) else 3


def num_threads() -> int:
    """How many images are decoded at a time."""
    return min(
        MAX_THREADS,
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    )


def in_parallel(
    work: Callable[..., Result], items: Sequence[object], *, description: str, progress: bool
) -> list[Result]:
    """``work`` of every item, in order; the error of the first item that fails, if one does."""
    with ThreadPoolExecutor(num_threads()) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            with tqdm(futures, desc=description, unit="image", disable=not progress) as bar:
                return [future.result() for future in bar]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _flat(image: UInt8[np.ndarray, "height width *channels"]) -> UInt8[Tensor, "pixels *channels"]:
    """The pixels of an image in one row."""
    return torch.from_numpy(image.copy().reshape(-1, *image.shape[2:]))
