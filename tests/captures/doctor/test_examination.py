"""The whole examination: its table, its page and picture, its lines in the log of a training."""

import json
import logging
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from neural_render.captures.doctor.coverage import cover, focal_findings, largest_gap
from neural_render.captures.doctor.examination import (
    check_capture,
    examine,
    open_checked,
    suggestion,
    write_examination,
)
from neural_render.captures.doctor.findings import Finding, Severity, table
from neural_render.captures.doctor.poses.verdict import PoseCheck
from neural_render.captures.doctor.reprojection import reprojection_findings
from neural_render.captures.doctor.subject import Subject, subject_of
from neural_render.captures.opening import open_capture
from neural_render.captures.readers.listing import SparsePoints
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.cameras import Lens, project
from tests.captures.doctor.textured import NUM_PHOTOS, broken


def opened(folder: Path) -> Capture:
    return open_capture(CaptureSettings(path=str(folder)), progress=False)


def with_points(capture: Capture, subject: Subject) -> SparsePoints:
    """Points around the origin, observed by each photo."""
    numbers = np.random.default_rng(0)
    positions = numbers.uniform(-0.3, 0.3, (20, 3))
    photo = np.repeat(np.arange(len(subject)), len(positions))
    point = np.tile(np.arange(len(positions)), len(subject))
    places = torch.from_numpy(positions[point]).float()
    pixels, _ = project(subject.cameras, torch.from_numpy(photo), places)
    size = torch.stack([subject.cameras.width, subject.cameras.height], dim=-1)
    return SparsePoints(
        positions=positions,
        colors=np.full((20, 3), 200, dtype=np.uint8),
        names=subject.names,
        point=point,
        photo=photo,
        place=(pixels / size[torch.from_numpy(photo)]).double().numpy(),
    )


def test_the_page_and_the_picture_show_the_capture(textured: Path, tmp_path: Path) -> None:
    capture = opened(textured)
    capture = replace(capture, points=with_points(capture, subject_of(capture)))
    write_examination(examine(capture, thorough=True), tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|__[A-Z]+__|src=", page)
    found = re.search(r"^const data = (.*);$", page, re.MULTILINE)
    assert found is not None
    scene = json.loads(found[1])
    assert len(scene["cameras"]) == NUM_PHOTOS and len(scene["region"]) == 12
    assert len(scene["points"]) == len(scene["colors"]) == 20
    assert not any(camera["bad"] for camera in scene["cameras"])
    assert "agree with their cameras" in page and "sparse points" in page
    with Image.open(tmp_path / "out" / "views.png") as picture:
        assert picture.size == (1280, 640)
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 10


def test_points_that_are_not_where_photos_show_them_are_found(textured: Path) -> None:
    capture = opened(textured)
    subject = subject_of(capture)
    good = reprojection_findings(subject, with_points(capture, subject))
    assert [finding.severity for finding in good] == [Severity.GOOD]
    poses = subject.cameras.world_from_camera.roll(1, 0)
    moved = replace(subject, cameras=replace(subject.cameras, world_from_camera=poses))
    bad = reprojection_findings(moved, with_points(capture, subject))
    assert [finding.severity for finding in bad] == [Severity.FAULT]
    assert reprojection_findings(subject, capture.points) == []


def test_a_panorama_sees_what_lies_behind_it(textured: Path) -> None:
    subject = subject_of(opened(textured))
    count = len(subject)
    lens = torch.full((count,), int(Lens.EQUIRECTANGULAR))
    subject = replace(subject, cameras=replace(subject.cameras, lens=lens))
    positions = np.random.default_rng(0).normal(size=(20, 3)) * 9  # all around
    photo, point = (np.repeat(np.arange(count), 20), np.tile(np.arange(20), count))
    places = torch.from_numpy(positions[point]).float()
    pixels, depth = project(subject.cameras, torch.from_numpy(photo), places)
    sizes = torch.stack([subject.cameras.width, subject.cameras.height], -1)[photo]
    assert 0.2 < (depth < 0).float().mean() < 0.8
    points = SparsePoints(
        positions=positions,
        colors=np.zeros((20, 3), np.uint8),
        names=subject.names,
        point=point,
        photo=photo,
        place=(pixels / sizes).double().numpy(),
    )
    assert [finding.severity for finding in reprojection_findings(subject, points)] == [
        Severity.GOOD
    ]


def test_odd_focal_lengths_and_stretched_pixels_are_named(textured: Path) -> None:
    subject = subject_of(opened(textured))
    assert focal_findings(subject) == []
    focal = subject.cameras.focal_px.clone()
    focal[4] *= 1.2
    odd = replace(subject, cameras=replace(subject.cameras, focal_px=focal))
    assert [finding.name for finding in focal_findings(odd)] == ["focal lengths"]
    assert "(images/4.png)" in focal_findings(odd)[0].sentence
    stretched = subject.cameras.focal_px * torch.tensor([1.0, 1.33])
    tall = replace(subject, cameras=replace(subject.cameras, focal_px=stretched))
    assert [finding.name for finding in focal_findings(tall)] == ["pixel shape"]


def test_coverage_of_an_arc(textured: Path) -> None:
    coverage = cover(opened(textured))
    assert 200 < coverage.largest_gap_deg < 280
    assert coverage.histogram.sum() == len(coverage.azimuth_deg)
    assert 5 < coverage.elevation_deg.min() < coverage.elevation_deg.max() < 60
    assert not coverage.from_one_side
    assert largest_gap(np.array([10.0, 350.0, 180.0])) == 170


def test_a_good_capture_gets_one_line(textured: Path, caplog: pytest.LogCaptureFixture) -> None:
    capture = opened(textured)
    with caplog.at_level(logging.INFO, "neural_render"):
        caplog.clear()
        check_capture(capture, CaptureSettings())
    assert [record.levelname for record in caplog.records if record.module != "patience"] == [
        "INFO"
    ]
    assert "agree with their cameras" in caplog.text


def test_a_fault_is_a_warning_and_training_goes_on(
    textured: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    capture = opened(broken(textured, tmp_path, lambda m: m * [1, -1, -1, 1]))
    with caplog.at_level(logging.INFO, "neural_render"):
        caplog.clear()
        check_capture(capture, CaptureSettings(check="off"))
        assert caplog.records == []
        check_capture(capture, CaptureSettings())
    warnings = [record for record in caplog.records if record.module != "patience"]
    assert {record.levelname for record in warnings} == {"WARNING"}
    assert warnings[0].message.startswith("flipped axis: ") and "inspect_capture.py" in caplog.text


def test_a_run_that_goes_on_is_not_examined_again(
    textured: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = CaptureSettings(path=str(textured))
    with caplog.at_level(logging.INFO, "neural_render"):
        open_checked(settings, progress=False, check=False)
        assert "agree with their cameras" not in caplog.text
        open_checked(settings, progress=False, check=True)
    assert "agree with their cameras" in caplog.text


def test_imprecise_poses_are_to_be_refined(textured: Path) -> None:
    capture = opened(textured)
    for error_px, wanted in ((0.3, False), (2.5, True)):
        poses = PoseCheck(findings=(), photos=((0, 1),), errors_px=np.array([error_px]))
        sentence = suggestion(capture, poses).sentence
        assert ("capture.adjust.poses=true" in sentence) == wanted


def test_the_table_begins_with_the_worst() -> None:
    findings = [
        Finding(name=severity.name, severity=severity, sentence="word " * 40, mend="mend it")
        for severity in Severity
    ]
    lines = table(findings).splitlines()
    assert lines[0].startswith("fault    FAULT ") and max(map(len, lines)) <= 100
    assert table([]) == ""


def test_pycolmap_leaves_signals_alone() -> None:
    program = (
        "import os, signal\n"
        "from neural_render.captures.doctor.poses.matching import load_pycolmap\n"
        "load_pycolmap()\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")
