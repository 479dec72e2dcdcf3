"""``report.html``: the findings and a view to turn with the mouse, all inside one file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neural_render.captures.doctor.coverage import BANDS, Coverage
from neural_render.captures.doctor.drawing import panel_axes, region_edges, thinned_points
from neural_render.captures.doctor.findings import Finding
from neural_render.captures.doctor.subject import Subject
from neural_render.captures.records import Capture
from neural_render.core.pages import rendering

TEMPLATE = Path(__file__).with_name("page.html")
DIGITS = 4


def write_page(
    path: Path,
    capture: Capture,
    subject: Subject,
    coverage: Coverage,
    findings: Sequence[Finding],
    bad: frozenset[int],
) -> None:
    """The page; cameras in ``bad`` (by index) are red."""
    rendering.write_page(
        path,
        TEMPLATE,
        title=f"Capture {capture.name}",
        capture=capture,
        findings=sorted(findings, key=lambda finding: -finding.severity),
        bands=_bands(coverage),
        scene=scene_of(capture, subject, coverage, bad),
    )


def scene_of(
    capture: Capture, subject: Subject, coverage: Coverage, bad: frozenset[int]
) -> dict[str, Any]:
    """What the page draws, around the middle of the region of interest."""
    center = np.array(coverage.center)
    places = subject.poses[:, :, 3] - center
    reach = max(float(np.percentile(np.linalg.norm(places, axis=1), 95)), coverage.side)
    positions, colors = thinned_points(capture)
    digits = DIGITS - int(np.floor(np.log10(reach)))
    return {
        "reach": reach,
        "axes": panel_axes(coverage).tolist(),
        "region": region_edges(coverage).round(digits).tolist(),
        "cameras": [
            {
                "name": subject.names[index],
                "bad": index in bad,
                "corners": (_frustum(subject, index, 0.06 * reach) - center).round(digits).tolist(),
            }
            for index in range(len(subject))
        ],
        "points": (positions - center).round(digits).tolist(),
        "colors": [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colors.tolist()],
    }


def _frustum(subject: Subject, index: int, depth: float) -> np.ndarray:
    """The camera's place and the corners of its image at a depth, in the world."""
    cameras, pose = subject.cameras, subject.poses[index]
    size = np.array([float(cameras.width[index]), float(cameras.height[index])])
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size
    plane = (corners - cameras.center_px[index].numpy()) / cameras.focal_px[index].numpy()
    local = np.concatenate([plane, np.ones((4, 1))], axis=1) * depth
    return np.concatenate([pose[None, :, 3], local @ pose[:, :3].T + pose[:, 3]])


def _bands(coverage: Coverage) -> list[tuple[int, int, list[tuple[int, str]]]]:
    """Of each band of elevation, the highest first: its ends in degrees, and by azimuth the number
    of cameras and how strongly its field is coloured."""
    counts = coverage.histogram
    most, height = max(int(counts.max()), 1), 180 // BANDS
    bands = []
    for band in reversed(range(BANDS)):
        low = height * band - 90
        fields = [
            (count, f"{min(1.0, 0.15 + 0.85 * count / most) if count else 0.05:.2f}")
            for count in counts[band].tolist()
        ]
        bands.append((low, low + height, fields))
    return bands
