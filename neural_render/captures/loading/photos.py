"""The photos of a listing in memory: cameras that fit the images, then the images themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8

from neural_render.captures.loading.images import (
    Header,
    Size,
    fitting_size,
    read_alpha_mask,
    read_header,
    read_image,
    read_mask,
)
from neural_render.captures.loading.intrinsics import Intrinsics, match_intrinsics
from neural_render.captures.loading.memory import Need
from neural_render.captures.loading.parallel import in_parallel
from neural_render.captures.loading.smaller import is_known_reduction
from neural_render.captures.readers.listing import Photo
from neural_render.captures.records import Views
from neural_render.captures.settings import CaptureSettings
from neural_render.core.cameras import Cameras
from neural_render.core.lenses.kinds import NUM_PLAIN, padded


@dataclass(frozen=True, kw_only=True)
class PlannedPhoto:
    """A photo whose header was read: what it is, and what it will be in memory."""

    photo: Photo
    header: Header
    intrinsics: Intrinsics
    size: Size  # in memory
    masked_by_alpha: bool  # its alpha says which pixels count, not what is opaque

    @property
    def is_masked(self) -> bool:
        """Whether some of its pixels may be ignored."""
        return self.masked_by_alpha or self.photo.mask is not None


def plan_photos(
    photos: Sequence[Photo], settings: CaptureSettings, *, progress: bool = False
) -> tuple[PlannedPhoto, ...]:
    """Headers of all photos, checked against intrinsics; CaptureError for the first misfit."""

    def plan(photo: Photo) -> PlannedPhoto:
        header = read_header(photo.image, photo.where)
        intrinsics = match_intrinsics(photo, header.size, header.oriented_size)
        size = fitting_size(intrinsics.size, settings.max_side)
        return PlannedPhoto(
            photo=photo,
            header=header,
            intrinsics=intrinsics,
            size=size,
            masked_by_alpha=header.has_alpha and settings.alpha == "mask",
        )

    return tuple(in_parallel(plan, photos, description="image headers", progress=progress))


def plan_warnings(
    plans: Sequence[PlannedPhoto], settings: CaptureSettings, *, ours: bool = False
) -> tuple[str, ...]:
    """What the user should know about how images and intrinsics were brought together.

    ``ours``: their cameras were found here, upright.
    """
    warnings = []
    if settings.alpha == "mask" and not any(plan.masked_by_alpha for plan in plans):
        warnings.append("capture.alpha=mask ignores nothing: no photo has an alpha channel")
    scaled = [
        plan
        for plan in plans
        if plan.intrinsics.ratio != 1 and not is_known_reduction(plan.photo, plan.intrinsics.ratio)
    ]
    if scaled:
        stated, actual = scaled[0].photo.calibration.size, scaled[0].intrinsics.size
        warnings.append(
            f"{len(scaled)} of {len(plans)} images have another size than their intrinsics, which"
            f" were scaled with them ({scaled[0].photo.name}: {actual[0]}x{actual[1]} instead of"
            f" {stated[0]}x{stated[1]})"
        )
    turned = [plan for plan in plans if plan.intrinsics.rotated]
    if turned and not ours:
        warnings.append(
            f"{len(turned)} of {len(plans)} images were turned by their EXIF orientation, since"
            f" only so they fit w and h ({turned[0].photo.name})"
        )
    ignored = [
        plan for plan in plans if plan.header.orientation > 1 and not plan.intrinsics.rotated
    ]
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
    num_coefficients = max(map(len, distortion), default=NUM_PLAIN)
    distortion = [padded(row, num_coefficients) for row in distortion]
    return Cameras(
        world_from_camera=torch.from_numpy(poses).float(),
        focal_px=(focal.reshape(-1, 2) * ratio).float(),
        center_px=(center.reshape(-1, 2) * ratio).float(),
        distortion=torch.tensor(distortion, dtype=torch.float32).reshape(-1, num_coefficients),
        lens=torch.tensor([int(plan.photo.calibration.lens) for plan in plans], dtype=torch.long),
        width=sizes[:, 0].clone(),
        height=sizes[:, 1].clone(),
    )


def memory_need(train: Sequence[PlannedPhoto], test: Sequence[PlannedPhoto]) -> Need:
    """What the photos will take, whatever their scale; nothing is loaded yet."""
    plans = (*train, *test)
    per_pixel = num_channels(plans) + any(plan.is_masked for plan in plans)

    def num_bytes(part: Sequence[PlannedPhoto], max_side: int) -> int:
        sizes = (fitting_size(plan.intrinsics.size, max_side) for plan in part)
        return per_pixel * sum(width * height for width, height in sizes)

    return Need(
        num_photos=len(plans),
        longest_side=max(max(plan.size) for plan in plans),
        shortest_side=min(min(plan.size) for plan in plans),
        largest_file=max(plan.header.size[0] * plan.header.size[1] for plan in plans),
        train_bytes=lambda max_side: num_bytes(train, max_side),
        test_bytes=lambda max_side: num_bytes(test, max_side),
    )


def load_views(
    plans: Sequence[PlannedPhoto],
    channels: int,
    *,
    description: str,
    progress: bool,
    threads: int = 0,
) -> Views:
    """All images, scaled and decoded in parallel into one flat tensor."""
    areas = torch.tensor([plan.size[0] * plan.size[1] for plan in plans], dtype=torch.long)
    offsets = areas.cumsum(0) - areas
    pixels = torch.empty(int(areas.sum()), channels, dtype=torch.uint8)
    has_masks = any(plan.is_masked for plan in plans)
    masks = torch.full((len(pixels) if has_masks else 0,), 255, dtype=torch.uint8)

    def load(index: int) -> None:
        plan = plans[index]
        place = slice(int(offsets[index]), int(offsets[index] + areas[index]))
        image = planned_image(plan, channels)
        # Not by torch: that would want a copy of the array, which may not be written to.
        pixels.numpy()[place] = image.reshape(-1, channels)
        if plan.is_masked:
            masks.numpy()[place] = planned_mask(plan).reshape(-1)

    in_parallel(
        load, range(len(plans)), description=description, progress=progress, threads=threads
    )
    return Views(
        cameras=planned_cameras(plans),
        names=tuple(plan.photo.name for plan in plans),
        pixels=pixels,
        offsets=offsets,
        masks=masks,
    )


def planned_image(plan: PlannedPhoto, channels: int) -> UInt8[np.ndarray, "height width channels"]:
    """The pixels of a photo in the size that it will have."""
    return read_image(
        plan.photo.image,
        plan.header,
        plan.size,
        channels=channels,
        rotated=plan.intrinsics.rotated,
        where=plan.photo.where,
    )


def planned_mask(plan: PlannedPhoto) -> UInt8[np.ndarray, "height width"]:
    """What of a photo counts, in the size that it will have."""
    rotated, where = plan.intrinsics.rotated, plan.photo.where
    mask = np.full(plan.size[::-1], 255, dtype=np.uint8)
    if plan.photo.mask is not None:
        turn = plan.header.orientation
        mask = read_mask(plan.photo.mask, plan.size, rotated=rotated, where=where, orientation=turn)
    if plan.masked_by_alpha:
        image, header = plan.photo.image, plan.header
        mask &= read_alpha_mask(image, header, plan.size, rotated=rotated, where=where)
    return mask


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
    """4 if any photo has an alpha channel that means opacity, else 3."""
    see_through = (plan.header.has_alpha and not plan.masked_by_alpha for plan in plans)
    return 4 if any(see_through) else 3
