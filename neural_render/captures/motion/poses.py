"""From photos without poses to a COLMAP model beside them, found once and used from then on."""

import contextlib
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neural_render.captures.loading.masks import MASK_FOLDERS
from neural_render.captures.motion.diagnosis import (
    MIN_PHOTOS,
    Outcome,
    failure,
    left_out,
    read_outcome,
)
from neural_render.captures.motion.pairs import chosen_matching, chosen_pairs
from neural_render.captures.motion.photos import (
    Device,
    FoundPhotos,
    decodable,
    find_photos,
    read_devices,
)
from neural_render.captures.motion.process import run_colmap
from neural_render.captures.settings import CaptureSettings
from neural_render.captures.video.frames import MODEL_RECORD, OF_SYSTEMS, is_of_video
from neural_render.captures.workplace import (
    check_finds,
    fingerprints,
    place_for,
    put,
    read_record,
    told,
    write_record,
)
from neural_render.core.errors import CaptureError
from neural_render.core.waiting.turns import locked
from neural_render.kernels import dispatch

RECORD = MODEL_RECORD
MODEL, WORK = "sparse", Path(".neural_render", "motion")
# Pixels of the longer side that features are looked for in. COLMAP doubles the image first, so
# that 1600 resolves what 3200 does; poses of 11 photos of 2832 pixels came out alike.
MAX_SIDE = 1600
# Features of each photo: of few photos more, since matching all pairs takes the square of them.
MAX_FEATURES, MAX_FEATURES_OF_MANY, MANY = 8192, 4096, 40
# So many photos of one camera tell tangential distortion and a second focal length, too.
PHOTOS_FOR_OPENCV = 30
# More photos than these are placed together and not one after the other.
MOST_INCREMENTAL = 500

_log = logging.getLogger("neural_render")


def is_ours(folder: Path) -> bool:
    """Whether the folder's model was found here."""
    return (folder / MODEL / RECORD).is_file()


def folder_with_poses(
    folder: Path, settings: CaptureSettings, *, progress: bool, finds: bool = True
) -> Path:
    """The folder that holds the photos and their COLMAP model, which is found now if need be.

    It is ``folder`` itself, or one in the user's cache where nothing can be written there. A model
    found before is used while the photos are the same and no setting asks for another one;
    CaptureError without ``finds`` where there is none such.
    """
    photos = find_photos(folder)
    if len(photos.names) < MIN_PHOTOS:
        raise CaptureError(
            f"{folder} holds {len(photos.names)} photo{'s' * (len(photos.names) != 1)}, but at"
            f" least {MIN_PHOTOS} are needed to find where they were taken: take 20 or more photos"
            " while walking around the subject"
        )
    made_from = fingerprints(photos.root, photos.names)
    stated = {name: getattr(settings, name) for name in ("mapper", "matching", "camera_model")}
    if _is_current(folder, made_from, stated):
        return folder
    place = place_for(folder)
    with locked(place):
        if not _is_current(place, made_from, stated):
            check_finds(finds, f"the poses of the photos of {folder}", place / MODEL)
            _check_free(place / MODEL)
            _check_same(folder, photos, made_from)
            with told(place):
                chosen = _chosen(stated, len(photos.names), is_video=is_of_video(folder))
                _reconstruct(photos, place, made_from, chosen, progress=progress)
        if place != folder:
            _link(place / "images", photos.root)
            for name in MASK_FOLDERS:
                if (folder / name).is_dir():
                    _link(place / name, folder / name)
    return place


def _check_same(folder: Path, photos: FoundPhotos, made_from: dict[str, Any]) -> None:
    """CaptureError where the photos were replaced while another run worked on them."""
    there = all((photos.root / name).is_file() for name in photos.names)
    if not there or fingerprints(photos.root, photos.names) != made_from:
        raise CaptureError(
            f"the photos of {folder} changed while their poses were to be found: another run chose"
            " other frames of the same video (capture.frames), so let one end before the other"
            " begins, or copy the video"
        )


def _check_free(model: Path) -> None:
    """CaptureError where what is not of our making would have to give way."""
    inside = model.iterdir() if model.is_dir() else ()
    there = [path for path in inside if not path.name.startswith((".", *OF_SYSTEMS))]
    if not there or (model / RECORD).is_file():
        return
    raise CaptureError(
        f"{model} holds no COLMAP model that can be read, and is where the poses of the photos that"
        " have to be found belong: move it away, or complete it (cameras, images and points3D, in"
        f" {model.name} itself or in {model.name}/0)"
    )


def _is_current(place: Path, made_from: dict[str, Any], stated: dict[str, str]) -> bool:
    """Whether a model of exactly these photos is there, as the settings want it."""
    record = read_record(place / MODEL / RECORD)
    if not record:
        return False
    if record.get("photos") != made_from:
        _log.info("the photos of %s have changed since their poses were found", place)
        return False
    known = record.get("settings", {})
    return all(value in ("auto", known.get(name)) for name, value in stated.items())


def _reconstruct(
    photos: FoundPhotos,
    place: Path,
    made_from: dict[str, Any],
    chosen: dict[str, str],
    *,
    progress: bool,
) -> None:
    """Finds the model and puts it in its place."""
    began, names = time.monotonic(), photos.names
    work = place / WORK
    job = _job(photos, chosen, work)
    _start_work(work, made_from, job)
    _log.info(
        "finding where %d photos of %s were taken (structure from motion, once for this capture):"
        " %s matching of %d pairs, %s mapper",
        len(names),
        photos.root,
        chosen["matching"],
        len(job["pairs"]),
        chosen["mapper"],
    )
    readable = decodable(photos, work / "photos")
    answer = run_colmap({**job, "images": str(readable.resolve())}, progress=progress)
    outcome = read_outcome(answer)
    if not outcome.is_usable:
        _clear(work)
        raise CaptureError(failure(outcome, photos.root, names))
    missing = left_out(outcome, names)
    write_record(
        work / "model" / RECORD,
        {
            "photos": made_from,
            "settings": chosen,
            "program": f"COLMAP {answer['version']}",
            "placed": len(outcome.models[0].photos),
            "points": outcome.models[0].num_points,
            "error_px": round(outcome.models[0].error_px, 4),
            "seconds": round(time.monotonic() - began, 1),
            "left_out": missing,
        },
    )
    put(work / "model", place / MODEL)
    _clear(work)
    _report(outcome, names, place / MODEL, time.monotonic() - began, missing)


def _chosen(stated: dict[str, str], count: int, *, is_video: bool) -> dict[str, str]:
    """The settings with nothing left open but the camera model, which each camera has its own."""
    mapper = "global" if count > MOST_INCREMENTAL else "incremental"
    return {
        "matching": chosen_matching(stated["matching"], count, is_video=is_video),
        "mapper": mapper if stated["mapper"] == "auto" else stated["mapper"],
        "camera_model": stated["camera_model"],
    }


def _job(photos: FoundPhotos, chosen: dict[str, str], work: Path) -> dict[str, Any]:
    """What COLMAP's process is asked to do."""
    devices: dict[Device, list[str]] = {}
    for name, device in read_devices(photos).items():
        devices.setdefault(device, []).append(name)
    if len(devices) > 1:
        shown = ", ".join(f"{_named(device)} ({len(own)})" for device, own in devices.items())
        _log.info("the photos are of %d cameras: %s", len(devices), shown)
    count = len(photos.names)
    return {
        "images": str(photos.root.resolve()),
        "database": str(work.resolve() / "database.db"),
        "model": str(work.resolve() / "model"),
        "names": photos.names,
        "matching": chosen["matching"],
        "pairs": chosen_pairs(chosen["matching"], count),
        "max_side": MAX_SIDE,
        "max_features": MAX_FEATURES if count <= MANY else MAX_FEATURES_OF_MANY,
        "threads": dispatch.usable_cores(),
        "mapper": chosen["mapper"],
        "cameras": [
            {
                "names": own,
                "model": _camera_model(chosen["camera_model"], len(own)),
                "width": device.size[0],
                "height": device.size[1],
                "focal_px": device.focal_px,
                "known_focal": device.known_focal,
            }
            for device, own in devices.items()
        ],
    }


def _camera_model(stated: str, count: int) -> str:
    """COLMAP's name of the lens model for a camera that took so many photos."""
    if stated != "auto":
        return stated
    return "OPENCV" if count >= PHOTOS_FOR_OPENCV else "SIMPLE_RADIAL"


def _named(device: Device) -> str:
    return f"{device.name or 'unknown'} {device.size[0]}x{device.size[1]}"


def _start_work(work: Path, made_from: dict[str, Any], job: dict[str, Any]) -> None:
    """Keeps the features and matches of an interrupted run that did the same, else begins anew."""
    key = {name: value for name, value in job.items() if name not in ("pairs", "mapper")}
    key |= {"photos": made_from, "names": list(job["names"])}
    as_written = work / "job.json"
    if read_record(as_written) != key:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        write_record(as_written, key)
    elif (work / "database.db").exists():
        _log.info("going on with the features and matches of %s", work)
    shutil.rmtree(work / "model", ignore_errors=True)


def _clear(work: Path) -> None:
    """Removes what was kept for going on."""
    shutil.rmtree(work, ignore_errors=True)
    with contextlib.suppress(OSError):  # others keep something there
        work.parent.rmdir()


def _link(link: Path, target: Path) -> None:
    """Makes the photos appear beside their model."""
    with told(link):
        if not link.is_symlink() or link.resolve() != target.resolve():
            link.unlink(missing_ok=True)
            link.symlink_to(target.resolve(), target_is_directory=True)


def _report(
    outcome: Outcome, names: Sequence[str], model: Path, seconds: float, missing: str
) -> None:
    """One line on what was found, and a warning about what is missing."""
    largest = outcome.models[0]
    _log.info(
        "%d of %d photos placed in %.0f s: %d points, %.2f pixels mean reprojection error, focal"
        " length %s pixels; %s",
        len(largest.photos),
        len(names),
        seconds,
        largest.num_points,
        largest.error_px,
        ", ".join(f"{focal:.0f}" for focal in largest.focal_px[:4]),
        model,
    )
    if missing:
        _log.warning("%s", missing)
