"""Pictures of a capture from above and from the side: cameras, points, the region of interest."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8

from neural_render.captures.doctor.coverage import Coverage
from neural_render.captures.doctor.subject import Subject
from neural_render.captures.records import Capture
from neural_render.core.files import whole_file

PANEL = 640  # pixels of a square panel
MARGIN = 30
MOST_POINTS = 20_000
PAPER, INK, SOFT = (250, 250, 248), (40, 44, 52), (150, 155, 165)
CAMERA, BAD_CAMERA, REGION = (37, 99, 235), (220, 38, 38), (217, 119, 6)


def thinned_points(
    capture: Capture, most: int = MOST_POINTS
) -> tuple[Float64[np.ndarray, "points 3"], UInt8[np.ndarray, "points 3"]]:
    """At most so many of the sparse points, evenly chosen, and their colours."""
    step = max(1, -(-len(capture.points) // most))
    return capture.points.positions[::step], capture.points.colors[::step]


def write_views(
    path: Path, capture: Capture, subject: Subject, coverage: Coverage, bad: frozenset[int]
) -> None:
    """A PNG: from above (left) and from the side; cameras in ``bad`` (by index) are red."""
    from PIL import Image

    axes = panel_axes(coverage)
    picture = Image.new("RGB", (2 * PANEL, PANEL), PAPER)
    for panel, (right, up, title) in enumerate(
        ((axes[0], axes[1], "from above"), (axes[0], axes[2], "from the side"))
    ):
        drawn = _panel(capture, subject, coverage, (right, up), bad)
        _label(drawn, title)
        picture.paste(drawn, (panel * PANEL, 0))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    with whole_file(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def panel_axes(coverage: Coverage) -> Float64[np.ndarray, "3 3"]:
    """Rows: two axes across the cameras' mean up direction, and that direction."""
    up = np.array(coverage.up)
    across = np.linalg.svd(up[None])[2][1:]
    return np.stack([across[0], np.cross(up, across[0]), up])


def _panel(
    capture: Capture,
    subject: Subject,
    coverage: Coverage,
    axes: tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]],
    bad: frozenset[int],
):
    """One panel, seen across two axes."""
    from PIL import Image, ImageDraw

    basis, center = np.stack(axes), np.array(coverage.center)
    places = (subject.poses[:, :, 3] - center) @ basis.T
    edges = region_edges(coverage) @ basis.T
    shown = np.concatenate([places, edges.reshape(-1, 2)])
    low, high = np.percentile(shown, [1, 99], axis=0)
    reach = 0.55 * float((high - low).max())
    scale = (0.5 * PANEL - MARGIN) / reach

    def pixels(offsets: np.ndarray) -> list[tuple[float, float]]:
        flat = (
            np.clip((offsets - 0.5 * (low + high)) * scale, -2 * PANEL, 2 * PANEL) * [1, -1]
            + 0.5 * PANEL
        )
        return [(float(x), float(y)) for x, y in flat]

    picture = Image.new("RGB", (PANEL, PANEL), PAPER)
    draw = ImageDraw.Draw(picture)
    positions, colors = thinned_points(capture)
    for place, color in zip(pixels((positions - center) @ basis.T), colors.tolist(), strict=True):
        draw.point(place, fill=(color[0], color[1], color[2]))
    for edge in edges:
        draw.line(pixels(edge), fill=REGION, width=2)
    looks = subject.poses[:, :, 2] @ basis.T * 0.08 * reach
    for index in range(len(subject)):
        color = BAD_CAMERA if index in bad else CAMERA
        ends = pixels(np.stack([places[index], places[index] + looks[index]]))
        draw.line(ends, fill=color, width=2)
        x, y = ends[0]
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=color)
    return picture


def region_edges(coverage: Coverage) -> Float64[np.ndarray, "12 2 3"]:
    """The twelve edges of the region of interest, around its middle."""
    corners = coverage.corners - np.array(coverage.center)
    pairs = [(i, i | bit) for i in range(8) for bit in (1, 2, 4) if not i & bit]
    return np.array([[corners[first], corners[second]] for first, second in pairs])


def _label(picture, title: str) -> None:
    """What a panel shows, in its corner."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN // 2, MARGIN // 2), title, fill=INK)
    legend = "cameras blue (red: disagree with their photos), region of interest orange"
    draw.text((MARGIN // 2, PANEL - MARGIN), legend, fill=SOFT)
