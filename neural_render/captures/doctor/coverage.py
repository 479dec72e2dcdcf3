"""Where the cameras stand around the scene, and what of it they see."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from neural_render.captures.doctor.findings import Finding, Severity, few_names
from neural_render.captures.doctor.subject import Subject
from neural_render.captures.records import Capture
from neural_render.core.cameras import is_before, project
from neural_render.core.flight.paths import up_of
from neural_render.core.protocols import SceneFrame

SECTORS = 24
BANDS = 6  # of elevation, from straight below to straight above
LINE = 12  # points along each side of the cube
ENOUGH = 3  # photos that see a place, for its depth to be known
# Of the view of scenes from one side, in disparity: four times as far as the nearest things.
SHOWN_DEPTH = 0.75
WIDE_GAP_DEG = 90
CORNERS = [[float(index >> axis & 1) for axis in range(3)] for index in range(8)]
ODD_FOCAL, USUAL_FOCAL = 0.05, 0.01  # relative differences
NARROW = 0.03


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Figures of a capture's training cameras around its region of interest, in world units.

    The region is a cube, or for scenes from one side the view that the cameras share. Elevation
    counts from the plane across the cameras' mean up direction.
    """

    center: tuple[float, float, float]
    corners: Float64[np.ndarray, "8 3"]  # of the region: bit i of an index is the side along axis i
    side: float
    from_one_side: bool
    up: tuple[float, float, float]
    azimuth_deg: Float64[np.ndarray, " cameras"]
    elevation_deg: Float64[np.ndarray, " cameras"]
    largest_gap_deg: float
    seen_by: Int64[np.ndarray, " places"]  # the number of photos that show each part of the region

    @property
    def histogram(self) -> Int64[np.ndarray, "bands sectors"]:
        """The number of cameras per band of elevation (lowest first) and sector of azimuth."""
        bands = ((self.elevation_deg + 90) / 180 * BANDS).astype(np.int64).clip(0, BANDS - 1)
        sectors = (self.azimuth_deg / 360 * SECTORS).astype(np.int64) % SECTORS
        counts = np.zeros((BANDS, SECTORS), dtype=np.int64)
        np.add.at(counts, (bands, sectors), 1)
        return counts


def cover(capture: Capture) -> Coverage:
    """Where the training cameras stand."""
    corners = region_points(capture.frame, torch.tensor(CORNERS, dtype=torch.float64)).numpy()
    center = region_points(capture.frame, torch.full((1, 3), 0.5, dtype=torch.float64))[0].numpy()
    poses = capture.train.cameras.world_from_camera.double().cpu().numpy()
    up = up_of(capture.train.cameras).double().cpu().numpy()
    across = np.linalg.svd(up[None])[2][1:]
    offset = poses[:, :, 3] - center
    azimuth = np.degrees(np.arctan2(offset @ across[1], offset @ across[0])) % 360
    elevation = np.degrees(
        np.arcsin((offset @ up / np.linalg.norm(offset, axis=1).clip(1e-30)).clip(-1, 1))
    )
    x, y, z = center.tolist()
    return Coverage(
        center=(x, y, z),
        corners=corners,
        side=float(np.linalg.norm(corners[7] - corners[0]) / math.sqrt(3)),
        from_one_side=not capture.frame.projection.is_identity,
        up=(float(up[0]), float(up[1]), float(up[2])),
        azimuth_deg=azimuth,
        elevation_deg=elevation,
        largest_gap_deg=largest_gap(azimuth),
        seen_by=_photos_per_place(capture),
    )


def region_points(
    frame: SceneFrame, points: Float64[Tensor, "points 3"]
) -> Float64[Tensor, "points 3"]:
    """Points of the region of interest, each coordinate from 0 to 1, in the world."""
    if frame.projection.is_identity:
        return frame.world_from_field.apply(0.5 + (points - 0.5) / 2 ** (frame.cascades - 1))
    ahead = points * points.new_tensor([1.0, 1.0, SHOWN_DEPTH])
    return frame.world_from_field.apply(frame.projection.inverse().apply(ahead))


def largest_gap(azimuth_deg: Float64[np.ndarray, " cameras"]) -> float:
    """The widest sector, in degrees, in which no camera stands."""
    around = np.sort(azimuth_deg)
    return float(np.diff(np.append(around, around[0] + 360)).max())


def _photos_per_place(capture: Capture) -> Int64[np.ndarray, " places"]:
    """How many training photos show each of a grid of points in the region of interest."""
    line = (torch.arange(LINE, dtype=torch.float64) + 0.5) / LINE
    points = region_points(capture.frame, torch.cartesian_prod(line, line, line)).float()
    cameras = capture.train.cameras
    seen = torch.zeros(len(points), dtype=torch.long)
    for index in range(len(cameras)):
        which = torch.full((len(points),), index)
        pixels, depth = project(cameras, which, points)
        size = torch.stack([cameras.width[index], cameras.height[index]])
        seen += is_before(cameras, which, depth) & ((pixels >= 0) & (pixels < size)).all(-1)
    return seen.numpy()


def coverage_finding(coverage: Coverage) -> Finding:
    """What the cameras' places mean for the result."""
    enough = float((coverage.seen_by >= ENOUGH).mean())
    seen = f"{enough:.0%} of the region of interest is in {ENOUGH} photos or more"
    if coverage.from_one_side:
        where, gap = "the cameras look the same way", ""
    else:
        low, high = coverage.elevation_deg.min(), coverage.elevation_deg.max()
        where = (
            f"cameras stand {low:.0f} to {high:.0f} degrees above the scene's middle, the largest"
            f" gap around it is {coverage.largest_gap_deg:.0f} degrees wide"
        )
        gap = "from where no camera stood, the result will be guesswork"
    return Finding(
        name="coverage",
        severity=Severity.NOTE,
        sentence=f"{where}, and {seen}",
        mend=gap if coverage.largest_gap_deg > WIDE_GAP_DEG else "",
    )


def scale_finding(coverage: Coverage, capture: Capture) -> Finding:
    """How large the scene is in the capture's units."""
    places = capture.train.cameras.world_from_camera[:, :, 3].double().cpu().numpy()
    distance = float(np.median(np.linalg.norm(places - np.array(coverage.center), axis=1)))
    x, y, z = coverage.center
    cubes = f", and {capture.frame.cascades - 1} larger cubes are around it"
    return Finding(
        name="scale",
        severity=Severity.NOTE,
        sentence=f"the region of interest is {coverage.side:.3g} world units wide around"
        f" ({x:.3g}, {y:.3g}, {z:.3g}), the cameras are typically {distance:.3g} units from there"
        f"{cubes if capture.frame.cascades > 1 else ''}",
        mend="set capture.scale or capture.scene if that is not the scene",
    )


def focal_findings(subject: Subject) -> list[Finding]:
    """Photos whose focal length is unlike the others', and pixels that are not square."""
    cameras = subject.cameras
    longer = torch.maximum(cameras.width, cameras.height).double()
    focal = cameras.focal_px.double()
    relative = (focal.prod(-1).sqrt() / longer).log().numpy()
    away = np.abs(relative - np.median(relative))
    findings = []
    odd = [subject.names[index] for index in np.flatnonzero(away > ODD_FOCAL)]
    if odd and (away < USUAL_FOCAL).mean() > 0.5:
        findings.append(
            Finding(
                name="focal lengths",
                severity=Severity.WARNING,
                sentence=f"{len(odd)} photos have another focal length than most"
                f" ({few_names(odd)})",
                mend="correct it, or leave out photos with another zoom",
            )
        )
    stretch = float((focal[:, 0] / focal[:, 1]).log().abs().median())
    if stretch > NARROW:
        findings.append(
            Finding(
                name="pixel shape",
                severity=Severity.WARNING,
                sentence=f"the focal lengths along x and y differ by {math.expm1(stretch):.0%}, as"
                " for pixels that are not square",
                mend="check whether width and height were exchanged or images stretched",
            )
        )
    return findings


def size_finding(subject: Subject, capture: Capture) -> Finding:
    """The format, the number of photos and their sizes."""
    cameras = subject.cameras
    sizes: dict[tuple[int, int], int] = {}
    for size in zip(cameras.width.tolist(), cameras.height.tolist(), strict=True):
        sizes[size] = sizes.get(size, 0) + 1
    shown = [f"{count} of {w}x{h}" for (w, h), count in sorted(sizes.items(), key=lambda i: -i[1])]
    return Finding(
        name="format",
        severity=Severity.NOTE,
        sentence=f"{capture.format}, {len(capture.train)} training and {len(capture.test)} test"
        f" photos ({few_names(shown, 3)}){', with opacity' * capture.has_opacity}",
    )
