"""Faults of intrinsics: focal length, principal point and distortion, each searched alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float64

from neural_render.captures.doctor.findings import Finding, Severity
from neural_render.captures.doctor.poses.matching import MATCH_SIDE
from neural_render.captures.doctor.poses.residuals import (
    Evidence,
    bearings_of,
    pair_errors_px,
    turned,
)
from neural_render.captures.doctor.poses.scoring import Explanation
from neural_render.core.cameras import Cameras

FACTORS = np.geomspace(1 / 8, 8, 25)
CENTERS = np.linspace(-0.3, 0.3, 5)  # parts of the sides
RADIALS = np.linspace(-0.45, 0.45, 9)  # k1
# A search ends when its step is this small, in the same units.
FINEST = 4e-3
# Errors have to fall by so much, where a good calibration leaves some tenths. A focal length that
# is a tenth off costs a capture from one side (fern) a third of its errors only; of good captures
# none asks for another one.
CLEAR, CLEAR_FOCAL = 1.5, 1.2
LEAST_FOCAL_CHANGE, LEAST_CENTER_CHANGE, LEAST_RADIAL = 0.08, 0.03, 0.02
SIZE_TOLERANCE = 0.12  # of the binary logarithm of a focal length: then it is a size's factor


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The best value of one family of intrinsics, and how well it explains the matches."""

    values: tuple[float, ...]
    explanation: Explanation


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Errors of the pairs under other intrinsics; poses and camera axes stay."""

    evidence: Evidence
    cameras: Cameras
    poses: Float64[np.ndarray, "photos 3 4"]
    axes: Float64[np.ndarray, "3 3"]

    def explain(self, cameras: Cameras) -> Explanation:
        """How well cameras with these intrinsics explain the matches."""
        rays = turned(bearings_of(self.evidence, cameras), self.axes)
        return Explanation(errors_px=pair_errors_px(rays, self.poses))

    def with_focal(self, log_factor: float) -> Explanation:
        """With all focal lengths times a factor."""
        focal = self.cameras.focal_px * float(np.exp(log_factor))
        return self.explain(replace(self.cameras, focal_px=focal))

    def with_center(self, right: float, down: float) -> Explanation:
        """With the principal points moved by parts of the sides."""
        size = torch.stack([self.cameras.width, self.cameras.height], dim=-1)
        shift = size * torch.tensor([right, down])
        return self.explain(replace(self.cameras, center_px=self.cameras.center_px + shift))

    def with_radial(self, k1: float) -> Explanation:
        """With this much added to the first coefficient of radial distortion."""
        added = torch.zeros_like(self.cameras.distortion)
        added[:, 0] = k1
        return self.explain(replace(self.cameras, distortion=self.cameras.distortion + added))


def fit_focal(judge: Judge) -> Fit:
    """The factor on the focal lengths that explains the matches best."""
    fit = _search(judge.with_focal, [(float(np.log(factor)),) for factor in FACTORS], 0.08)
    return replace(fit, values=(float(np.exp(fit.values[0])),))


def fit_center(judge: Judge) -> Fit:
    """The shift of the principal points, in parts of the sides, that explains them best."""
    grid = [(float(right), float(down)) for right in CENTERS for down in CENTERS]
    return _search(judge.with_center, grid, 0.07)


def fit_radial(judge: Judge) -> Fit:
    """The radial distortion, beyond what is stated, that explains them best."""
    return _search(judge.with_radial, [(float(k1),) for k1 in RADIALS], 0.05)


def intrinsics_findings(judge: Judge, best: Explanation) -> list[Finding]:
    """The one family of intrinsics that has to change, if one has; ``best`` is without change."""
    families = (
        (fit_focal(judge), _focal_finding, CLEAR_FOCAL),
        (fit_center(judge), _center_finding, CLEAR),
        (fit_radial(judge), _radial_finding, CLEAR),
    )
    fit, describe, clear = min(families, key=lambda family: family[0].explanation.score)
    if not fit.explanation.beats(best, clear):
        return []
    finding = describe(judge.cameras, fit.values)
    if finding is None:
        return []
    sentence = finding.sentence + evidence_words(best, fit.explanation)
    return [replace(finding, sentence=sentence)]


def evidence_words(claimed: Explanation, best: Explanation) -> str:
    """How much better the photos are explained once a fault is mended."""
    return (
        f" (photos disagree with their cameras by {pixels(claimed.typical_px)} of {MATCH_SIDE}"
        f" pixels, and by {pixels(best.typical_px)} once that is mended)"
    )


def pixels(error_px: float) -> str:
    """An error in words, with as many digits as it deserves."""
    return f"{error_px:.1f}" if error_px < 10 else f"{error_px:.0f}"


def _focal_finding(cameras: Cameras, values: tuple[float, ...]) -> Finding | None:
    factor = values[0]
    if abs(math.log(factor)) < LEAST_FOCAL_CHANGE:
        return None
    claimed = float(cameras.focal_px.prod(-1).sqrt().median())
    stated = f"the focal length is {claimed:.5g} pixels, but the photos ask for {factor:.3g} times"
    doublings = round(math.log2(factor))
    if doublings and abs(math.log2(factor) - doublings) < SIZE_TOLERANCE:
        relation = "of the size" if factor < 1 else "times as large as those"
        times = ("1/" if factor < 1 else "") + str(2 ** abs(doublings))
        return Finding(
            name="half-resolution images" if times == "1/2" else "images of another size",
            severity=Severity.FAULT,
            sentence=f"{stated} that, as for images that are {times} {relation} that the intrinsics"
            " were made for",
            mend="state the w and h that the intrinsics belong to, or give the focal length as"
            f" {claimed * factor:.5g} pixels",
        )
    return Finding(
        name="wrong focal length",
        severity=Severity.FAULT,
        sentence=f"{stated} that",
        mend=f"give about {claimed * factor:.5g} pixels, or calibrate the camera",
    )


def _center_finding(cameras: Cameras, values: tuple[float, ...]) -> Finding | None:
    if max(map(abs, values)) < LEAST_CENTER_CHANGE:
        return None
    size = np.array([float(cameras.width[0]), float(cameras.height[0])])
    before = cameras.center_px[0].tolist()
    x, y = np.array(before) + size * np.array(values)
    return Finding(
        name="wrong principal point",
        severity=Severity.WARNING,
        sentence=f"the principal point of {size[0]:.0f}x{size[1]:.0f} images is better at"
        f" ({x:.0f}, {y:.0f}) than at ({before[0]:.0f}, {before[1]:.0f})",
        mend="correct cx and cy, or check whether the images were cropped",
    )


def _radial_finding(cameras: Cameras, values: tuple[float, ...]) -> Finding | None:
    if abs(values[0]) < LEAST_RADIAL:
        return None
    stated = bool((cameras.distortion != 0).any())
    return Finding(
        name="wrong distortion" if stated else "ignored distortion",
        severity=Severity.WARNING,
        sentence=f"the lens bends images otherwise than is stated (k1 differs by {values[0]:.2g})"
        if stated
        else f"the lens bends images, but no distortion is stated (k1 is about {values[0]:.2g})",
        mend="undistort the images, or give the calibration's k1, k2, p1, p2",
    )


def _search(explain: Callable[..., Explanation], grid: list[tuple[float, ...]], step: float) -> Fit:
    """The best of a grid, then steps along each axis, halved when none helps."""
    fits = [Fit(values=values, explanation=explain(*values)) for values in grid]
    best = min(fits, key=lambda fit: fit.explanation.score)
    while step > FINEST:
        around = []
        for axis in range(len(best.values)):
            for sign in (step, -step):
                values = tuple(v + sign * (i == axis) for i, v in enumerate(best.values))
                around.append(Fit(values=values, explanation=explain(*values)))
        nearest = min(around, key=lambda fit: fit.explanation.score)
        if nearest.explanation.score < best.explanation.score:
            best = nearest
        else:
            step /= 2
    return best
