"""A video's chosen frames as photos in a folder beside it."""

import contextlib
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from neural_render.captures.video import decoding
from neural_render.captures.video.choosing import Looks, MotionMeter, choose, sharpness
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

RECORD = "video.json"
OF_SYSTEMS = ("Thumbs.db", "desktop.ini", "@eaDir")  # which nobody has put there
MODEL_RECORD = "structure_from_motion.json"  # in a folder of poses that were found
DEFAULT_COUNT = 100
MIN_FRAMES = 20
# Widths of the picture: below this in all, the camera stood; above this from photo to photo, too
# little is seen twice.
MIN_MOTION, MAX_SPACING = 0.04, 0.25
# Pixels of the longer side: where sharpness is told, and how many of those are one for motion.
_LOOK_SIDE, _REDUCE = 640, 4
_JPEG_QUALITY = 95
_ADVICE = (
    "record 20 to 60 seconds while walking slowly around the subject, with the camera on it all the"
    " time"
)

_OWN_FRAME = re.compile(r"\d{6}\.jpg$|\.|Thumbs\.db$")

_log = logging.getLogger("neural_render")


def is_of_video(folder: Path) -> bool:
    """Whether the folder's photos are a video's frames, in order."""
    return (folder / RECORD).is_file()


def frames_folder(video: Path, count: int, *, progress: bool, finds: bool = True) -> Path:
    """The folder whose ``images/`` hold up to ``count`` of the video's frames, 0 for the default.

    It is ``NAME_frames`` beside the video, or in the user's cache where nothing can be written
    there; frames that were chosen before, by the same setting from the same file, are used again.
    CaptureError without ``finds`` where there are none such.
    """
    folder = place_for(video.parent) / f"{video.stem}_frames"
    made_from = fingerprints(video.parent, [video.name])
    with locked(folder.parent):
        known = read_record(folder / RECORD)
        if known.get("made_from") == made_from and count in (0, known.get("frames")):
            _log.info("the %s frames of %s in %s are used", known.get("chosen"), video, folder)
            return folder
        check_finds(finds, f"the frames of {video}", folder)
        if folder.exists() and not known:
            raise CaptureError(
                f"{folder} is where the frames of {video} belong, but it is not of our making: move"
                f" it away, or give capture.path={folder} to use it"
            )
        if added := sorted(path.name for path in _added(folder)):
            raise CaptureError(
                f"the frames of {video} have to be chosen anew, and {folder} holds"
                f" {', '.join(added)} of yours beside the earlier ones: move it away, or give"
                f" capture.path={folder} to go on with those"
            )
        looks = look(video, progress=progress)
        wanted = count or DEFAULT_COUNT
        numbers = chosen_frames(looks, wanted, video)
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        try:
            with told(part):
                (part / "images").mkdir(parents=True)
                _write(video, numbers, part / "images", progress=progress)
                content = {"made_from": made_from, "frames": wanted, "chosen": len(numbers)}
                write_record(part / RECORD, content)
            # Where poses of earlier frames are being found, these are still needed.
            with locked(folder) if folder.exists() else contextlib.nullcontext():
                put(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    _log.info("%d of %d frames of %s: %s", len(numbers), len(looks.number), video, folder)
    return folder


def _added(folder: Path) -> Iterator[Path]:
    """What somebody else has put into a folder of frames."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name == "images":
            yield from (inside for inside in path.iterdir() if not _OWN_FRAME.match(inside.name))
            continue
        is_own = path.name.startswith((".", RECORD, *OF_SYSTEMS))
        if not is_own and not (path.name == "sparse" and (path / MODEL_RECORD).is_file()):
            yield path


def look(video: Path, *, progress: bool) -> Looks:
    """Motion and sharpness of all frames."""
    meter, rows = MotionMeter(), []
    total = decoding.count_frames(video) or None
    _log.info("looking at the %s frames of %s", total or "", video)
    frames = decoding.each_frame(video)
    with contextlib.closing(frames):
        for number, frame in enumerate(
            tqdm(frames, desc="video frames", total=total, unit="frame", disable=not progress)
        ):
            image = decoding.grey(frame, _LOOK_SIDE)
            height, width = (max(1, side // _REDUCE) for side in image.shape)
            blocks = image[: height * _REDUCE, : width * _REDUCE]
            small = blocks.reshape(height, _REDUCE, width, _REDUCE).mean((1, 3)).round()
            rows.append((number, meter.add(small.astype(np.uint8)), sharpness(image)))
    table = np.array(rows)
    return Looks(number=table[:, 0].astype(np.int64), motion=table[:, 1], sharpness=table[:, 2])


def chosen_frames(looks: Looks, count: int, video: Path) -> list[int]:
    """The numbers of the frames to keep; CaptureError where they could not show any depth."""
    num_frames, motion = len(looks.number), float(looks.motion[-1])
    if num_frames < MIN_FRAMES:
        raise CaptureError(
            f"{video} has {num_frames} frames, but at least {MIN_FRAMES} are needed: {_ADVICE}"
        )
    if motion < MIN_MOTION:
        raise CaptureError(
            f"the picture of {video} moves by {motion:.0%} of its width in {num_frames} frames, as"
            f" if the camera had stood still, and then no depth can be seen: {_ADVICE}"
        )
    numbers = choose(looks, count).tolist()
    spacing = motion / len(numbers)
    if spacing > MAX_SPACING:
        wanted = min(num_frames, round(motion / MAX_SPACING) + 1)
        _log.warning(
            "the picture of %s moves by %.0f %% of its width from one chosen frame to the next, so"
            " that neighbours share little: give capture.frames=%d",
            video,
            100 * spacing,
            wanted,
        )
    return numbers


def _write(video: Path, numbers: list[int], folder: Path, *, progress: bool) -> None:
    wanted = set(numbers)
    frames = decoding.each_frame(video)
    with (
        contextlib.closing(frames),
        tqdm(total=len(wanted), desc="chosen frames", unit="frame", disable=not progress) as bar,
    ):
        for number, frame in enumerate(frames):
            if number not in wanted:
                continue
            if number == numbers[0] and decoding.is_hdr(frame):
                _log.warning(
                    "%s is a high-dynamic-range video, whose colours will look pale: record with"
                    " HDR switched off",
                    video,
                )
            image = Image.fromarray(decoding.color(frame))
            image.save(folder / f"{number:06}.jpg", quality=_JPEG_QUALITY)
            bar.update()
            if number == numbers[-1]:
                return
