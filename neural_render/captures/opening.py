"""Opens a capture: finds its format, its photos, its split, its images and its place."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from neural_render.captures.loading.load import load_photos
from neural_render.captures.loading.masks import with_masks
from neural_render.captures.loading.photos import (
    PlannedPhoto,
    num_channels,
    plan_photos,
    plan_warnings,
    planned_cameras,
    views_without_images,
)
from neural_render.captures.loading.smaller import with_smaller_images
from neural_render.captures.motion.photos import find_photos
from neural_render.captures.motion.poses import folder_with_poses, is_ours
from neural_render.captures.placement.scene import place_scene
from neural_render.captures.placement.seen_space import seen_space
from neural_render.captures.readers.image_files import check_name, compact_names, is_file
from neural_render.captures.readers.listing import Listing, Photo, SparsePoints
from neural_render.captures.readers.registry import READERS, how_to_unpack, is_archive, recognise
from neural_render.captures.records import Capture, Views
from neural_render.captures.settings import CaptureSettings
from neural_render.captures.surveying.finding import points_of_photos
from neural_render.captures.video.decoding import is_video
from neural_render.captures.video.frames import frames_folder
from neural_render.core.errors import CaptureError, SettingError, reason_of
from neural_render.core.files import expanded
from neural_render.core.waiting.patience import told_if_slow

MIN_PHOTOS = 3
# Of the distance to the origin: below the first single precision cannot resolve a thousandth of the
# spread; above the second pictures move by less than a tenth of a pixel.
MIN_EXTENT, GOOD_EXTENT = 1e-4, 1e-2
SHIFT_PX = 4 * 3000 * 2.0**-24  # at 3000 of focal length, from a quarter of the extent away

_log = logging.getLogger("neural_render")


def open_capture(
    settings: CaptureSettings, *, progress: bool, images: bool = True, finds: bool = True
) -> Capture:
    """The capture that ``settings.path`` names, its photos in memory (or not: ``images=False``).

    CaptureError says in one sentence what is wrong with a capture; what could be mended is logged
    as a warning and kept in ``Capture.warnings``. Needed memory is checked before images are read.
    Without images the scene's place is a guess, of which nothing is said: a run has its own.
    Without ``finds`` a CaptureError is raised where a video's frames or poses of photos would have
    to be found anew.
    """
    stated = find_folder(settings.path)
    folder = with_poses(stated, settings, progress=progress, finds=finds)
    reader = recognise(folder)
    with told_if_slow(f"reading what {folder} lists"):
        listing = with_split(with_files(reader.read(folder), folder), settings.test_every)
    for photo in (*listing.train, *listing.test):
        check_name(photo.name, folder)
    listing = with_masks(with_holdout(listing, settings.holdout_every), folder)
    listing = with_smaller_images(listing, settings.max_side)
    _check_positions(listing.train, folder)
    train, test = (
        plan_photos(part, settings, progress=progress) for part in (listing.train, listing.test)
    )
    plans = (*train, *test)
    channels = num_channels(plans)
    if images:
        views, has_opacity = load_photos(train, test, folder, settings, progress=progress)
    else:
        views = tuple(views_without_images(part, channels) for part in (train, test))
        has_opacity = channels == 4
    points = listing.points
    if images and settings.find_points and not (has_opacity or len(points)):
        points = points_of_photos(views[0], train, folder, progress=progress)
    bounds = np.array([photo.bounds for photo in listing.train])
    # Whole photos place the scene, wherever they are kept: a run may go on with them elsewhere.
    cameras = planned_cameras(train)
    seen = seen_space(cameras, views[0].names, points, bounds)
    if not images and settings.scene == "forward":  # as points of the photos may have told
        settings = replace(settings, scene="auto")
    place = place_scene(cameras, listing.placement, settings, has_opacity=has_opacity, seen=seen)
    warnings = (*listing.warnings, *plan_warnings(plans, settings, ours=is_ours(folder)))
    capture = Capture(
        name=stated.stem if stated.is_file() else stated.name,
        path=folder,
        format=reader.name,
        train=views[0],
        test=views[1],
        frame=place.frame,
        points=in_cropped(points, train, views[0]),
        has_opacity=has_opacity,
        split=listing.split,
        warnings=(*warnings, *place.warnings) if images else warnings,
    )
    _report(capture)
    if images:
        _log.info("scene: %s", place.summary)
    return capture


def in_cropped(points: SparsePoints, plans: Sequence[PlannedPhoto], views: Views) -> SparsePoints:
    """The points, seen in photos as ``views`` have them: mapped ones lack some of the last rows and
    columns of what was planned."""
    if views.stride == 1:
        return points
    cameras = views.cameras
    kept = torch.stack([cameras.width, cameras.height], dim=-1).double().numpy()
    scale = {plan.photo.name: plan.size / size for plan, size in zip(plans, kept, strict=True)}
    scales = np.array([scale.get(name, np.ones(2)) for name in points.names]).reshape(-1, 2)
    return replace(points, place=points.place * scales[points.photo])


def with_poses(stated: Path, settings: CaptureSettings, *, progress: bool, finds: bool) -> Path:
    """The folder to read: the stated one, or where a video's frames are; poses that no file holds
    are found first, if ``finds`` allows it."""
    folder = stated
    if stated.is_file():
        folder = frames_folder(stated, settings.frames, progress=progress, finds=finds)
    formats = [reader.name for reader in READERS if not reader.missing_in(folder)]
    if formats and not (formats[0] == "colmap" and is_ours(folder)):
        return folder
    if not find_photos(folder).names:
        return folder
    return folder_with_poses(folder, settings, progress=progress, finds=finds)


def find_folder(stated: str) -> Path:
    """The absolute folder, or video, that ``capture.path`` means; CaptureError if it is none."""
    if not stated:
        return find_embedded(Path(__file__).resolve().parents[2] / "data")
    try:
        path = expanded(stated)
        if path.is_file():
            if is_video(path):
                return path.resolve()
            if is_archive(path):
                raise CaptureError(
                    f"capture.path={stated} is an archive, which is not read packed:"
                    f" {how_to_unpack(path)}"
                )
            raise CaptureError(
                f"capture.path={stated} is a file and no video, but a capture is a video or a"
                f" folder: give the folder of its photos, such as capture.path={path.parent}"
            )
        if not path.exists():
            raise CaptureError(
                f"capture.path={stated} is not there: give an existing folder or video"
            )
        next(path.iterdir(), None)
        return path.resolve()
    except PermissionError as error:
        raise CaptureError(
            f"capture.path={stated} cannot be read (permission denied): allow reading it"
        ) from error
    except (OSError, RuntimeError) as error:  # RuntimeError: the ~ of an unknown user
        raise CaptureError(
            f"capture.path={stated} cannot be opened ({reason_of(error)}): give an existing folder"
        ) from error


def find_embedded(data: Path) -> Path:
    """The one capture in the repository's ``data`` folder."""
    found = [
        entry
        for entry in (sorted(data.iterdir()) if data.is_dir() else ())
        if entry.is_dir() and any(not reader.missing_in(entry) for reader in READERS)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"capture.path={entry}" for entry in found)
        raise CaptureError(f"{data} holds more than one capture: give one of {names}")
    raise CaptureError(
        f"the capture that comes with the program is not in {data}: run from a checkout of the"
        " repository, or give capture.path=DIR with photos of your own"
    )


def with_files(listing: Listing, folder: Path) -> Listing:
    """The listing without photos whose image is not there; CaptureError if under 3 remain."""
    warnings = list(listing.warnings)
    parts = []
    for photos in (listing.train, listing.test):
        present = tuple(photo for photo in photos if is_file(photo.image))
        missing = [photo for photo in photos if not is_file(photo.image)]
        if missing:
            source = missing[0].where.rpartition(" of ")[2]
            names = compact_names([photo.name for photo in missing])
            warnings.append(
                f"{len(missing)} of the {len(photos)} photos that {source} lists have no image"
                f" file and are left out: {names}"
            )
        parts.append(present)
    if len(parts[0]) < MIN_PHOTOS:
        reason = f" ({warnings[-1]})" if len(parts[0]) < len(listing.train) else ""
        raise CaptureError(
            f"the capture {folder} has {len(parts[0])} usable training photos{reason}, but at least"
            f" {MIN_PHOTOS} are needed: restore or add images"
        )
    return replace(listing, train=parts[0], test=parts[1], warnings=tuple(warnings))


def with_split(listing: Listing, test_every: int) -> Listing:
    """The listing with test views: its own, else every ``test_every``-th photo by name."""
    if listing.test:
        shared = {photo.image for photo in listing.train} & {photo.image for photo in listing.test}
        if not shared:
            return listing
        warning = (
            f"{len(shared)} photos are both for training and for testing, such as"
            f" {min(shared)}: figures on the test views will look too good"
        )
        return replace(listing, warnings=(*listing.warnings, warning))
    photos = sorted(listing.train, key=lambda photo: photo.name)
    if test_every == 0:
        return replace(listing, train=tuple(photos), split="all photos are training views")
    return replace(
        listing,
        train=_left_by(photos, "test_every", test_every, "no test views"),
        test=tuple(photos[::test_every]),
        split=f"of {len(photos)} photos with files, sorted by name, index % {test_every} == 0 are"
        " test views",
    )


def with_holdout(listing: Listing, holdout_every: int) -> Listing:
    """The listing with every so many-th training photo by name in place of the test views.

    Settings that are chosen on photos held out of training leave the test views unseen.
    """
    if holdout_every == 0:
        return listing
    photos = sorted(listing.train, key=lambda photo: photo.name)
    return replace(
        listing,
        train=_left_by(photos, "holdout_every", holdout_every, "none is held out"),
        test=tuple(photos[::holdout_every]),
        split=f"{listing.split}; not the test views are evaluated, but photos held out of training:"
        f" of {len(photos)} training photos, sorted by name, index % {holdout_every} == 0",
    )


def _left_by(photos: Sequence[Photo], setting: str, every: int, none: str) -> tuple[Photo, ...]:
    """The photos without every so many-th; SettingError if under 3 remain (0 means ``none``)."""
    left = tuple(photo for index, photo in enumerate(photos) if index % every)
    if len(left) < MIN_PHOTOS:
        larger = " or a larger number" if len(photos) > MIN_PHOTOS else ""
        raise SettingError(
            f"capture.{setting}={every} leaves {len(left)} of {len(photos)} photos to learn from,"
            f" but at least {MIN_PHOTOS} are needed: give 0 ({none}){larger}"
        )
    return left


def _check_positions(photos: Iterable[Photo], folder: Path) -> None:
    """CaptureError if all cameras stand at one point, or too far away to tell their places."""
    places = [photo.world_from_camera[:, 3].tolist() for photo in photos]
    positions = torch.tensor(places, dtype=torch.float64)
    extent, farthest = float((positions - positions[0]).abs().max()), float(positions.abs().max())
    if extent <= 1e-9 * farthest:
        place = ", ".join(f"{value:g}" for value in positions[0].tolist())
        raise CaptureError(
            f"all {len(positions)} training cameras of {folder} stand at one point ({place}), from"
            " where depth cannot be seen: give photos taken from different places, or correct the"
            " translations of their poses"
        )
    if extent < MIN_EXTENT * farthest:
        raise CaptureError(
            f"the training cameras of {folder} stand {farthest:g} units from the origin but only"
            f" {extent:g} apart, which single precision cannot resolve: subtract a common offset"
            " from the translations of their poses"
        )
    if extent < GOOD_EXTENT * farthest:
        _log.warning(
            "the training cameras of %s stand %g units from the origin and %g apart, so far that"
            " single precision moves pictures by up to %.1f pixels: subtract a common offset from"
            " the translations of their poses, and of their points",
            *(folder, farthest, extent, SHIFT_PX * farthest / extent),
        )


def _report(capture: Capture) -> None:
    """One line on what was opened, and its warnings."""
    cameras = capture.train.cameras
    sizes = sorted({*zip(cameras.width.tolist(), cameras.height.tolist(), strict=True)})
    shown = " ".join(f"{width}x{height}" for width, height in sizes[:3])
    _log.info(
        "capture %s: format %s, %d training and %d test photos, %s%s pixels%s",
        capture.path,
        capture.format,
        len(capture.train),
        len(capture.test),
        shown,
        " ..." if len(sizes) > 3 else "",
        ", with opacity" if capture.has_opacity else "",
    )
    for warning in capture.warnings:
        _log.warning("%s", warning)
