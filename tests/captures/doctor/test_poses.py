"""Each planted fault is named, and a good capture is not blamed."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neural_render.captures.doctor.examination import Examination, examine
from neural_render.captures.doctor.findings import Finding, Severity
from neural_render.captures.doctor.poses.choosing import Album
from neural_render.captures.doctor.poses.verdict import check_poses
from neural_render.captures.doctor.subject import subject_of
from neural_render.captures.opening import open_capture
from neural_render.captures.settings import CaptureSettings
from tests.captures.doctor.textured import FOCAL_PX, broken

Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="session")
def album(textured: Path) -> Album:
    """What its photos show, and which of them the same, which no fault of poses changes."""
    subject = subject_of(open_capture(CaptureSettings(path=str(textured)), progress=False))
    album = Album(subject=subject)
    album.prepare(range(len(subject)))
    return album


def blamed(folder: Path, **known: Any) -> list[Finding]:
    """What the doctor holds against the poses of a capture of whose photos this is known.

    It looks at no points, which would take longer to find than all else.
    """
    settings = CaptureSettings(path=str(folder), find_points=False)
    capture = open_capture(settings, progress=False)
    album = Album(subject=subject_of(capture), **known)
    check = check_poses(album, capture.frame.world_from_field.scale, num_anchors=8)
    return [finding for finding in check.findings if finding.severity > Severity.NOTE]


def blamed_like(album: Album, folder: Path) -> list[Finding]:
    """The same of a capture with the photos and lenses of the album."""
    return blamed(folder, features=album.features, compared=album.compared)


def transposed(matrices: np.ndarray) -> np.ndarray:
    """Rotations the other way round, positions kept."""
    changed = matrices.copy()
    changed[:, :3, :3] = matrices[:, :3, :3].transpose(0, 2, 1)
    return changed


def lexicographic(matrices: np.ndarray) -> np.ndarray:
    """Poses in the order 0, 1, 10, 11, ... for photos in the order 0, 1, 2, ..."""
    return matrices[sorted(range(len(matrices)), key=str)]


def shuffled(matrices: np.ndarray) -> np.ndarray:
    """Poses in no order at all."""
    return matrices[np.random.default_rng(3).permutation(len(matrices))]


FAULTS: dict[str, tuple[Change, str, str]] = {
    "OpenCV's axes": (lambda m: m * [1, -1, -1, 1], "flipped axis", "y and z axes"),
    "Mitsuba's axes": (lambda m: m * [-1, 1, -1, 1], "flipped axis", "x and z axes"),
    "upside down": (lambda m: m * [-1, -1, 1, 1], "flipped axis", "x and y axes"),
    "quarter turn": (
        lambda m: m @ np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
        "photos on their side",
        "a quarter",
    ),
    "mirrored positions": (
        lambda m: m * np.where(np.arange(16).reshape(4, 4) == 7, -1, 1),
        "flipped axis",
        "y of the positions",
    ),
    "transposed rotation": (transposed, "transposed rotation", "inverse of what it should be"),
    "world to camera": (np.linalg.inv, "inverted poses", "world to camera"),
    "COLMAP's matrices": (
        lambda m: np.linalg.inv(m @ np.diag([1.0, -1, -1, 1])),
        "inverted poses",
        "y and z axes",
    ),
    "sorted as text": (lexicographic, "shuffled names", "sorted as text"),
    "reversed": (lambda m: m[::-1], "shuffled names", "reverse order"),
    "no order": (shuffled, "shuffled names", "belong to other photos' poses"),
}


def test_no_pair_is_compared_twice(album: Album) -> None:
    """Also one that shows nothing in common."""
    pairs = [(0, 1), (0, len(album.subject) // 2)]
    first = album.match(pairs)
    assert set(pairs) <= album.compared.keys()
    assert all(a is b for a, b in zip(album.match(pairs), first, strict=True))


def test_a_good_capture_is_not_blamed(textured: Path, album: Album) -> None:
    assert blamed_like(album, textured) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named(textured: Path, album: Album, tmp_path: Path, fault: str) -> None:
    change, name, words = FAULTS[fault]
    found = blamed_like(album, broken(textured, tmp_path / "broken", change))
    assert [(finding.name, finding.severity) for finding in found] == [(name, Severity.FAULT)]
    assert words in found[0].sentence and found[0].mend


@pytest.mark.parametrize(
    ("factor", "words"), [(1.3, "0.77"), (0.75, "1.3"), (1.1, "0.91"), (0.9, "1.1")]
)
def test_a_wrong_focal_length_is_measured(
    textured: Path, album: Album, tmp_path: Path, factor: float, words: str
) -> None:
    found = blamed(
        broken(textured, tmp_path, lambda m: m, FOCAL_PX * factor), features=album.features
    )
    assert [finding.name for finding in found] == ["wrong focal length"]
    assert f"photos ask for {words}" in found[0].sentence


def test_half_resolution_images_are_named(textured: Path, tmp_path: Path) -> None:
    """The file states a focal length, but no w and h, for images of twice the size."""
    small = tmp_path / "small"
    (small / "images").mkdir(parents=True)
    (small / "transforms.json").write_bytes((textured / "transforms.json").read_bytes())
    for path in (textured / "images").iterdir():
        with Image.open(path) as image:
            image.reduce(2).save(small / "images" / path.name)
    found = blamed(small)
    assert [finding.name for finding in found] == ["half-resolution images"]
    assert "1/2 of the size" in found[0].sentence and "state the w and h" in found[0].mend


def test_two_exchanged_poses_are_found_by_name(
    textured: Path, album: Album, tmp_path: Path
) -> None:
    def exchanged(matrices: np.ndarray) -> np.ndarray:
        changed = matrices.copy()
        changed[[3, 12]] = matrices[[12, 3]]
        return changed

    found = blamed_like(album, broken(textured, tmp_path, exchanged))
    assert [finding.name for finding in found] == ["shuffled names"]
    assert re.search(r"/3.png and .*/12.png have each other's poses", found[0].sentence)


def test_a_single_wrong_pose_is_found_by_name(textured: Path, album: Album, tmp_path: Path) -> None:
    def moved(matrices: np.ndarray) -> np.ndarray:
        changed = matrices.copy()
        changed[5, :3, 3] += [0.3, -0.2, 0.4]
        return changed

    found = blamed_like(album, broken(textured, tmp_path, moved))
    assert [finding.name for finding in found] == ["single poses"]
    assert found[0].sentence.endswith("/5.png")


def test_photos_without_texture_cannot_be_checked(tmp_path: Path, textured: Path) -> None:
    flat = tmp_path / "flat"
    (flat / "images").mkdir(parents=True)
    (flat / "transforms.json").write_bytes((textured / "transforms.json").read_bytes())
    for path in (textured / "images").iterdir():
        Image.new("RGB", (240, 180), (120, 130, 140)).save(flat / "images" / path.name)
    capture = open_capture(CaptureSettings(path=str(flat)), progress=False)
    check = check_poses(Album(subject=subject_of(capture)), 1.0, num_anchors=8)
    assert [finding.severity for finding in check.findings] == [Severity.NOTE]
    assert "could not be checked" in check.findings[0].sentence


def held_against(folder: Path | str, **settings: int) -> list[Finding]:
    """Everything that is wrong with a capture, as training would say it."""
    capture = open_capture(CaptureSettings(path=str(folder), **settings), progress=False)
    examination: Examination = examine(capture, thorough=False)
    return [finding for finding in examination.findings if finding.severity > Severity.NOTE]


def test_the_embedded_capture_is_good() -> None:
    assert held_against("") == []


def test_the_fox_is_good(real_data: Path) -> None:
    assert held_against(real_data / "fox", max_side=640) == []
