"""Blurred, wrongly exposed and doubled photos are named; ordinary ones are not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from neural_render.captures.doctor.findings import Finding
from neural_render.captures.doctor.photographs import measure_photos, photo_findings
from neural_render.captures.doctor.subject import natural_order, subject_of
from neural_render.captures.opening import open_capture
from neural_render.captures.settings import CaptureSettings

Change = Callable[[Image.Image], Image.Image]


def with_changed(textured: Path, folder: Path, index: int, change: Change) -> list[Finding]:
    """What is said of the capture once one of its photos was changed."""
    (folder / "images").mkdir(parents=True)
    (folder / "transforms.json").write_bytes((textured / "transforms.json").read_bytes())
    for path in (textured / "images").iterdir():
        with Image.open(path) as image:
            changed = change(image) if path.stem == str(index) else image
            changed.save(folder / "images" / path.name)
    settings = CaptureSettings(path=str(folder), find_points=False)
    subject = subject_of(open_capture(settings, progress=False))
    return photo_findings(subject, measure_photos(subject, 100))


def test_ordinary_photos_are_not_blamed(textured: Path, tmp_path: Path) -> None:
    assert with_changed(textured, tmp_path / "same", 0, lambda image: image) == []


def test_photos_of_a_pixel_can_be_looked_at(textured: Path, tmp_path: Path) -> None:
    with_changed(textured, tmp_path / "small", 0, lambda image: image.resize((4, 1)))


def test_photos_on_disk_and_in_memory_are_looked_at_alike(textured: Path, tmp_path: Path) -> None:
    """Of training photos on disk every second row and column; test views are none the sharper."""
    folder = tmp_path / "mapped"
    shutil.copytree(textured, folder)
    settings = CaptureSettings(path=str(folder), memory="disk", test_every=4, find_points=False)
    subject = subject_of(open_capture(settings, progress=False))
    assert photo_findings(subject, measure_photos(subject, 100)) == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("blurred photos", lambda image: image.filter(ImageFilter.GaussianBlur(2))),
        ("over-exposed photos", lambda image: image.point(lambda value: min(255, 3 * value))),
        ("under-exposed photos", lambda image: image.point(lambda value: value // 40)),
    ],
)
def test_a_spoilt_photo_is_named(textured: Path, tmp_path: Path, name: str, change: Change) -> None:
    found = with_changed(textured, tmp_path / "spoilt", 7, change)
    assert name in [finding.name for finding in found]
    finding = next(finding for finding in found if finding.name == name)
    assert "(images/7.png)" in finding.sentence and finding.mend


def test_a_doubled_photo_is_named(textured: Path, tmp_path: Path) -> None:
    twin = Image.open(textured / "images" / "3.png")
    found = with_changed(textured, tmp_path / "doubled", 11, lambda image: twin)
    assert [finding.name for finding in found] == ["duplicates"]
    assert "images/3.png and images/11.png" in found[0].sentence


def test_numbers_in_names_count_as_numbers() -> None:
    names = ["img10.png", "img2.png", "img1.png", "b1.png"]
    assert [names[index] for index in natural_order(names)] == [
        "b1.png",
        "img1.png",
        "img2.png",
        "img10.png",
    ]
    assert natural_order(["①1.jpg", "x1²2.jpg"]) == [1, 0]
