"""Photos brought to where rays are drawn from: into memory, or through a cache on disk."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from neural_render.captures.loading.cache import (
    PREFIX,
    CacheRecord,
    WindowFile,
    cache_home,
    cache_key,
    find_cache,
    mapped,
    new_cache,
    write_record,
)
from neural_render.captures.loading.images import told_of_image
from neural_render.captures.loading.memory import GIGABYTE, MemoryPlan, Need, plan_memory
from neural_render.captures.loading.parallel import in_parallel, num_threads
from neural_render.captures.loading.photos import (
    PlannedPhoto,
    load_views,
    memory_need,
    num_channels,
    planned_image,
    planned_mask,
    views_without_images,
)
from neural_render.captures.records import Views
from neural_render.captures.settings import CaptureSettings
from neural_render.core.waiting.turns import locked

ROWS_AT_ONCE = 1 << 22  # bounds what looking for pixels that are not opaque takes

Plans = Sequence[PlannedPhoto]

_log = logging.getLogger("neural_render")


def load_photos(
    train: Plans, test: Plans, capture: Path, settings: CaptureSettings, *, progress: bool
) -> tuple[tuple[Views, Views], bool]:
    """Training and test photos, and whether any of their pixels is not opaque.

    Logs what they will take before any is decoded; CaptureError if there is not so much.
    """
    need, cores = memory_need(train, test), num_threads()
    plan = plan_memory(settings, need, cores)
    if plan.stride > 1:
        return _through_disk(train, test, capture, settings, progress=progress)
    _log.info("%s; nothing on disk", _plan_text(train, test, need, plan))
    channels = num_channels((*train, *test))
    views = [
        load_views(part, channels, description=name, progress=progress, threads=plan.threads)
        for part, name in ((train, "training photos"), (test, "test photos"))
    ]
    return (views[0], views[1]), any(_has_opacity(part) for part in views)


def _through_disk(
    train: Plans, test: Plans, capture: Path, settings: CaptureSettings, *, progress: bool
) -> tuple[tuple[Views, Views], bool]:
    """The same from a cache, which is written if it is not there yet."""
    home = cache_home(capture)
    key = cache_key(*(_identity(plan) for plan in (*train, *test)), len(train))
    need = memory_need(train, test)
    with locked(home):
        record = find_cache(home, key)
        plan = plan_memory(settings, need, num_threads(), record.stride if record else 0)
        done = record is not None and record.stride == plan.stride
        _log.info(
            "%s; %.2f GB on disk in %s, %s",
            _plan_text(train, test, need, plan),
            need.all_bytes(settings.max_side) / GIGABYTE,
            home / (PREFIX + key),
            "decoded before" if done else f"decoded now, {plan.threads} at a time",
        )
        if not done:
            with new_cache(home, key, need.all_bytes(settings.max_side)) as folder:
                _fill(folder, train, test, plan, progress=progress)
        record = find_cache(home, key)
        assert record is not None, "a cache that was just written is complete"
        channels = num_channels((*train, *test))
        # What is mapped stays, where another run may remove the files from now on.
        views = [
            _mapped_views(part, channels, stride, home / (PREFIX + key), name)
            for part, stride, name in ((train, record.stride, "train"), (test, 1, "test"))
        ]
    return (views[0], views[1]), record.has_opacity


def _fill(folder: Path, train: Plans, test: Plans, plan: MemoryPlan, *, progress: bool) -> None:
    """Writes all files of a cache."""
    channels, has_opacity, num_bytes = num_channels((*train, *test)), False, {}
    for part, stride, name in ((train, plan.stride, "train"), (test, 1, "test")):
        areas = _window_areas(part, stride)
        masked = any(photo.is_masked for photo in part)
        pixels = WindowFile(folder / f"{name}.pixels", areas, channels, stride)
        masks = WindowFile(folder / f"{name}.masks", areas if masked else [], 1, stride)

        def put(index: int, part=part, pixels=pixels, masks=masks, masked=masked) -> bool:
            image = planned_image(part[index], channels)
            pixels.put(index, image)
            if masked:
                masks.put(index, planned_mask(part[index])[..., None])
            return channels == 4 and int(image[..., 3].min()) < 255

        with pixels, masks:
            see_through = in_parallel(
                put,
                range(len(part)),
                description=f"decoding {name} photos",
                progress=progress,
                threads=plan.threads,
            )
        has_opacity |= any(see_through)
        num_bytes |= {f"{name}.pixels": pixels.num_bytes, f"{name}.masks": masks.num_bytes}
    write_record(
        folder, CacheRecord(stride=plan.stride, has_opacity=has_opacity, num_bytes=num_bytes)
    )


def _mapped_views(plans: Plans, channels: int, stride: int, folder: Path, name: str) -> Views:
    """The photos of one part as they lie in a cache, without what is left of the last window."""
    views = views_without_images(plans, channels)
    cameras = views.cameras
    areas = torch.tensor(_window_areas(plans, stride), dtype=torch.long)
    return replace(
        views,
        cameras=replace(
            cameras,
            width=cameras.width // stride * stride,
            height=cameras.height // stride * stride,
        ),
        pixels=mapped(folder / f"{name}.pixels", channels),
        offsets=areas.cumsum(0) - areas,
        masks=mapped(folder / f"{name}.masks", 1)[:, 0],
        stride=stride,
    )


def _window_areas(plans: Plans, stride: int) -> list[int]:
    """The pixels of each photo in a window."""
    return [(plan.size[0] // stride) * (plan.size[1] // stride) for plan in plans]


def _identity(plan: PlannedPhoto) -> list[object]:
    """All that the pixels of a photo depend on."""
    files = [file for file in (plan.photo.image, plan.photo.mask) if file is not None]
    stats = []
    for file in files:
        with told_of_image(file, plan.photo.where):
            stat = file.stat()
        stats.append((str(file), stat.st_size, stat.st_mtime_ns))
    return [plan.photo.name, stats, plan.size, plan.intrinsics.rotated, plan.masked_by_alpha]


def _plan_text(train: Plans, test: Plans, need: Need, plan: MemoryPlan) -> str:
    """What will be where, as the beginning of a sentence."""
    stored = _sizes_text([photo.header.size for photo in (*train, *test)])
    used = _sizes_text([photo.size for photo in (*train, *test)])
    resolution = stored if stored == used else f"{stored}, scaled to {used}"
    return (
        f"{need.num_photos} photos of {resolution} pixels: {plan.memory_bytes / GIGABYTE:.2f} GB in"
        f" memory, of {plan.allowed.num_bytes / GIGABYTE:.2f} GB that they may take"
    )


def _sizes_text(sizes: Sequence[tuple[int, int]]) -> str:
    """``6000x4000``, or the smallest to the largest."""
    ordered = sorted(set(sizes), key=lambda size: size[0] * size[1])
    ends = [f"{width}x{height}" for width, height in (ordered[0], ordered[-1])]
    return ends[0] if len(ordered) == 1 else " to ".join(ends)


def _has_opacity(views: Views) -> bool:
    """Whether any pixel is not opaque."""
    if views.pixels.shape[1] == 3:
        return False
    pieces = views.pixels[:, 3].split(ROWS_AT_ONCE)
    return any(len(piece) > 0 and int(piece.min()) < 255 for piece in pieces)
