"""Where sparse points of a reconstruction appear in photos, beside where they were seen."""

import numpy as np
import torch
from jaxtyping import Float64

from neural_render.captures.doctor.findings import Finding, Severity
from neural_render.captures.doctor.poses.matching import MATCH_SIDE
from neural_render.captures.doctor.poses.scoring import GOOD_PX
from neural_render.captures.doctor.subject import Subject
from neural_render.captures.readers.listing import SparsePoints
from neural_render.core.cameras import Lens, is_before, project

LEAST_OBSERVATIONS = 30
MOST_OBSERVATIONS = 50_000


def reprojection_findings(subject: Subject, points: SparsePoints) -> list[Finding]:
    """Whether the points of a reconstruction are where the photos showed them; none without, and
    of points that were found by the stated cameras, which cannot disagree."""
    if points.found:
        return []
    errors = reprojection_errors_px(subject, points)
    if len(errors) < LEAST_OBSERVATIONS:
        return []
    typical = float(np.median(errors))
    bad = typical > GOOD_PX
    return [
        Finding(
            name="sparse points",
            severity=Severity.FAULT if bad else Severity.GOOD,
            sentence=f"{len(points)} points of the reconstruction are"
            f" {'' if bad else 'within '}{typical:.1f} of {MATCH_SIDE} pixels"
            f" {'away from' if bad else 'of'} where the photos showed them",
            mend="the poses are not those that the points were found with: read both from the same"
            " reconstruction"
            if bad
            else "",
        )
    ]


def reprojection_errors_px(
    subject: Subject, points: SparsePoints
) -> Float64[np.ndarray, " observations"]:
    """Distances between points as projected and as observed, in pixels at MATCH_SIDE."""
    index = {name: photo for photo, name in enumerate(subject.names)}
    photo_of = np.array([index.get(name, -1) for name in points.names], dtype=np.int64)
    if not len(points.point) or not len(photo_of):
        return np.zeros(0)
    rows = np.flatnonzero(photo_of[points.photo] >= 0)
    rows = rows[:: max(1, len(rows) // MOST_OBSERVATIONS)]
    photo = torch.from_numpy(photo_of[points.photo[rows]])
    places = torch.from_numpy(points.positions[points.point[rows]]).float()
    pixels, depth = project(subject.cameras, photo, places)
    sizes = torch.stack([subject.cameras.width, subject.cameras.height], dim=-1)[photo]
    observed = torch.from_numpy(points.place[rows]) * sizes
    away = pixels.double() - observed
    # The left edge of a panorama is its right one.
    around = subject.cameras.lens[photo] == Lens.EQUIRECTANGULAR
    width = sizes[:, 0].double()
    wrapped = (away[:, 0] + width / 2) % width - width / 2
    away = torch.stack([wrapped.where(around, away[:, 0]), away[:, 1]], dim=1)
    apart = away.norm(dim=1) * MATCH_SIDE / sizes.amax(dim=1)
    before = is_before(subject.cameras, photo, depth)
    return apart.where(before, float(MATCH_SIDE)).numpy()
