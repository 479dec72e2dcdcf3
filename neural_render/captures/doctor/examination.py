"""The whole examination of an opened capture, in full or in short, and what is said of it."""

import logging
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from neural_render.captures.doctor.coverage import (
    Coverage,
    cover,
    coverage_finding,
    focal_findings,
    scale_finding,
    size_finding,
)
from neural_render.captures.doctor.drawing import write_views
from neural_render.captures.doctor.findings import Finding, Severity, worst
from neural_render.captures.doctor.page import write_page
from neural_render.captures.doctor.photographs import measure_photos, photo_findings
from neural_render.captures.doctor.poses.choosing import Album
from neural_render.captures.doctor.poses.scoring import GOOD_PX
from neural_render.captures.doctor.poses.strays import fits_of
from neural_render.captures.doctor.poses.verdict import PoseCheck, check_poses
from neural_render.captures.doctor.reprojection import reprojection_findings
from neural_render.captures.doctor.subject import Subject, subject_of
from neural_render.captures.opening import open_capture
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.processes import group

SHORT_ANCHORS, FULL_ANCHORS = 8, 60
SHORT_PHOTOS, FULL_PHOTOS = 48, 400
LARGE_SIDE = 1280  # pixels: more costs time and shows little in minutes of training
IMPRECISE_PX = 1.5  # poses of structure from motion agree to some tenths of a pixel at 640
PHOTO_SECONDS, OBJECT_SECONDS = 900, 300

_log = logging.getLogger("neural_render")


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What was found, and what is needed to draw it."""

    capture: Capture
    subject: Subject
    coverage: Coverage
    poses: PoseCheck
    findings: tuple[Finding, ...]

    @property
    def bad(self) -> frozenset[int]:
        """Photos most of whose compared pairs disagree with the cameras."""
        fits = fits_of(self.poses.photos, self.poses.errors_px)
        return frozenset(photo for photo, well in fits.items() if sum(well) * 2 < len(well))


def examine(capture: Capture, *, thorough: bool) -> Examination:
    """Looks at photos and cameras of a capture that was opened with its images."""
    subject = subject_of(capture)
    coverage = cover(capture)
    num_anchors = FULL_ANCHORS if thorough else SHORT_ANCHORS
    poses = check_poses(Album(subject=subject), coverage.side, num_anchors=num_anchors)
    figures = measure_photos(subject, FULL_PHOTOS if thorough else SHORT_PHOTOS)
    warnings = (
        Finding(name="files", severity=Severity.NOTE, sentence=text) for text in capture.warnings
    )
    return Examination(
        capture=capture,
        subject=subject,
        coverage=coverage,
        poses=poses,
        findings=(
            size_finding(subject, capture),
            *warnings,
            *poses.findings,
            *reprojection_findings(subject, capture.points),
            *focal_findings(subject),
            *photo_findings(subject, figures),
            coverage_finding(coverage),
            scale_finding(coverage, capture),
            suggestion(capture, poses),
        ),
    )


def open_checked(
    settings: CaptureSettings, *, progress: bool, check: bool, finds: bool = True
) -> Capture:
    """The capture that ``settings.path`` names, its photos loaded, and what is wrong with it said.

    Without ``check`` it is only opened: a run that goes on was examined when it began. Without
    ``finds`` nothing is found anew (``open_capture``). Of several processes the first one examines
    it; the others open it when that has found and stored what its files do not say, and keep its
    photos where that does.
    """
    opened: list[Capture] = []

    def open_here(memory: str) -> int:
        here = replace(settings, memory=memory)
        opened.append(open_capture(here, progress=progress, finds=finds))
        return opened[0].train.stride

    stride = group.of_first(lambda: open_here(settings.memory))
    if not opened:
        open_here("disk" if stride > 1 else "ram")
    (capture,) = opened
    if check and group.is_first():
        check_capture(capture, settings)
    return capture


def check_capture(capture: Capture, settings: CaptureSettings) -> None:
    """Examines a capture as ``capture.check`` says and logs a line if all is well, or each fault.

    Never fatal: what is wrong is said before time is spent on it.
    """
    if settings.check == "off":
        return
    findings = examine(capture, thorough=settings.check == "full").findings
    for finding in findings:
        if finding.severity >= Severity.WARNING:
            _log.warning("%s", finding.line)
    checked = next(
        (f for f in findings if f.name == "poses" and f.severity < Severity.WARNING), None
    )
    if worst(findings) == Severity.FAULT:
        _log.warning(
            "training goes on, but with such a fault the result will be poor: stop it with Ctrl-C,"
            " mend the capture, and look at `python scripts/inspect_capture.py %s`",
            shlex.quote(str(capture.path)),
        )
    elif checked is not None:
        _log.info("%s", checked.sentence)


def write_examination(examination: Examination, folder: Path) -> None:
    """``report.html`` and ``views.png`` in a folder."""
    parts = (examination.capture, examination.subject, examination.coverage)
    write_views(folder / "views.png", *parts, examination.bad)
    write_page(folder / "report.html", *parts, examination.findings, examination.bad)


def suggestion(capture: Capture, poses: PoseCheck) -> Finding:
    """Settings to begin with."""
    cameras = capture.train.cameras
    longest = int(np.maximum(cameras.width.numpy(), cameras.height.numpy()).max())
    words = [shlex.quote(f"capture.path={capture.path}")]
    if longest > LARGE_SIDE:
        words.append(f"capture.max_side={LARGE_SIDE // (2 if len(capture.train) > 200 else 1)}")
    bounded = capture.has_opacity and capture.frame.cascades == 1
    words.append(f"training.max_seconds={OBJECT_SECONDS if bounded else PHOTO_SECONDS}")
    typical = float(np.median(poses.errors_px)) if len(poses.errors_px) else 0.0
    if IMPRECISE_PX < typical < GOOD_PX:
        words.append("capture.adjust.poses=true")
    return Finding(
        name="settings",
        severity=Severity.NOTE,
        sentence=f"to begin with: python train.py {' '.join(words)}",
    )
