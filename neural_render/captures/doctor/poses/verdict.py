"""The check itself: from photos and claimed cameras to findings."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from neural_render.captures.doctor.findings import Finding, Severity
from neural_render.captures.doctor.poses.choosing import Album, neighbours, searched_pairs
from neural_render.captures.doctor.poses.hypotheses import (
    IDENTITY,
    Hypothesis,
    pose_hypotheses,
)
from neural_render.captures.doctor.poses.intrinsics import (
    Judge,
    evidence_words,
    intrinsics_findings,
)
from neural_render.captures.doctor.poses.matching import MATCH_SIDE, Match
from neural_render.captures.doctor.poses.ordering import (
    Order,
    found_orders,
    known_orders,
    permuted,
)
from neural_render.captures.doctor.poses.residuals import (
    Evidence,
    bearings_of,
    gather,
    pair_errors_px,
    turned,
)
from neural_render.captures.doctor.poses.scoring import Explanation
from neural_render.captures.doctor.poses.strays import stray_findings, suspect_pairs
from neural_render.captures.doctor.subject import Subject
from neural_render.core.waiting.patience import told_if_slow

LEAST_MATCHED = 5  # pairs: fewer say nothing
MOSTLY, HARDLY = 0.7, 0.5  # shares of explained pairs
MANY_MATCHES = 40
CLEAR = 3.0  # a change of poses has to lower errors by so much to be a fault's name


@dataclass(frozen=True, kw_only=True)
class PoseCheck:
    """What the matches say: findings, and how each compared pair of photos fits."""

    findings: tuple[Finding, ...]
    photos: tuple[tuple[int, int], ...]
    errors_px: Float64[np.ndarray, " pairs"]  # under the cameras as claimed, at MATCH_SIDE


@told_if_slow("comparing photos with their cameras")
def check_poses(album: Album, world_size: float, *, num_anchors: int) -> PoseCheck:
    """Compares what neighbouring photos show with what their cameras allow.

    ``world_size`` is the size of the scene in the units of the poses; photos around ``num_anchors``
    ones are compared.
    """
    subject = album.subject
    tried = neighbours(subject.poses, world_size, num_anchors)
    matches = album.match(tried)
    claimed = explain(subject, matches)
    if len(matches) < LEAST_MATCHED or claimed.share_good < MOSTLY:
        tried |= set(searched_pairs(album))
    else:
        tried |= suspect_pairs(_photos(matches), claimed.errors_px, subject.poses, world_size)
    matches += album.match(tried - set(_photos(matches)))
    claimed = explain(subject, matches)
    if len(matches) < LEAST_MATCHED:
        findings = (_not_checked(len(matches), len(tried)),)
    else:
        findings = tuple(Judgement(subject, matches, claimed).findings())
    return PoseCheck(findings=findings, photos=_photos(matches), errors_px=claimed.errors_px)


def _photos(matches: list[Match]) -> tuple[tuple[int, int], ...]:
    return tuple(match.photos for match in matches)


def explain(subject: Subject, matches: list[Match]) -> Explanation:
    """How well the cameras as claimed explain the matches."""
    if not matches:
        return Explanation(errors_px=np.zeros(0))
    rays = bearings_of(gather(matches), subject.cameras)
    return Explanation(errors_px=pair_errors_px(rays, subject.poses))


class Judgement:
    """The search for the fault that explains the matches."""

    def __init__(self, subject: Subject, matches: list[Match], claimed: Explanation) -> None:
        self._subject = subject
        self._matches = matches
        self._claimed = claimed
        self._evidence: Evidence = gather(matches)
        self._rays = bearings_of(self._evidence, subject.cameras)

    def findings(self) -> Iterator[Finding]:
        """The faults found; if there is none, that."""
        best, axes, poses = self._claimed, IDENTITY, self._subject.poses
        found = False
        if self._claimed.share_good < MOSTLY:
            hypothesis, explained = self._best_hypothesis()
            order, sorted_out = self._best_order(thorough=explained.share_good < MOSTLY)
            if explained.beats(best, CLEAR) and explained.score <= sorted_out.score:
                best, axes, poses = explained, hypothesis.axes, hypothesis.poses(poses)
                found = True
                yield _fault(hypothesis.name, hypothesis.sentence, hypothesis.mend, self, best)
            elif sorted_out.beats(best, CLEAR) and sorted_out.share_good > HARDLY:
                best, poses, found = sorted_out, permuted(poses, order.pose), True
                yield _fault("shuffled names", order.sentence, order.mend, self, best)
        judge = Judge(
            evidence=self._evidence, cameras=self._subject.cameras, poses=poses, axes=axes
        )
        wrong = intrinsics_findings(judge, best)
        yield from wrong
        if found or wrong:
            return
        yield from self._remaining()

    @property
    def claimed(self) -> Explanation:
        """The cameras as they are given."""
        return self._claimed

    def _best_hypothesis(self) -> tuple[Hypothesis, Explanation]:
        """The change of all poses that explains the matches best; of equals the likeliest."""
        best: tuple[Hypothesis, Explanation] | None = None
        for hypothesis in pose_hypotheses():
            rays = turned(self._rays, hypothesis.axes)
            errors = pair_errors_px(rays, hypothesis.poses(self._subject.poses))
            explanation = Explanation(errors_px=errors)
            if best is None or explanation.score < best[1].score - 0.05:
                best = hypothesis, explanation
        assert best is not None
        return best

    def _best_order(self, *, thorough: bool) -> tuple[Order, Explanation]:
        """The order of photos that explains the matches best; of equals the first."""
        subject = self._subject
        best: tuple[Order, Explanation] | None = None
        orders = [*known_orders(subject.names)]
        if thorough:
            orders += found_orders(subject, self._matches, subject.poses)
        for order in orders:
            errors = pair_errors_px(self._rays, permuted(subject.poses, order.pose))
            explanation = Explanation(errors_px=errors)
            if best is None or explanation.score < best[1].score - 0.05:
                best = order, explanation
        assert best is not None
        return best

    def _remaining(self) -> Iterator[Finding]:
        """Single photos that fit no other, poses that no known fault explains, or nothing."""
        claimed, count = self._claimed, len(self._matches)
        if claimed.share_good < HARDLY:
            # Few matches may come from things that look alike.
            sure = np.median([len(match) for match in self._matches]) >= MANY_MATCHES
            yield Finding(
                name="poses",
                severity=Severity.FAULT if sure else Severity.WARNING,
                sentence=f"only {claimed.share_good:.0%} of {count} pairs of photos that show the"
                f" same agree with their poses (typical error {claimed.typical_px:.0f} of"
                f" {MATCH_SIDE} pixels), and no known fault explains it",
                mend="check that each photo has its own pose, or let structure from motion find"
                " the poses anew from the photos alone",
            )
            return
        yield from stray_findings(
            self._rays, self._subject.poses, claimed.errors_px, self._subject.names
        )
        yield Finding(
            name="poses",
            severity=Severity.GOOD,
            sentence=f"{count} pairs of neighbouring photos agree with their cameras to"
            f" {claimed.typical_px:.1f} of {MATCH_SIDE} pixels",
        )


def _fault(name: str, sentence: str, mend: str, judgement: Judgement, best: Explanation) -> Finding:
    """A named fault of the poses, with what it explains."""
    return Finding(
        name=name,
        severity=Severity.FAULT,
        sentence=f"{sentence}{evidence_words(judgement.claimed, best)}",
        mend=mend,
    )


def _not_checked(num_matched: int, num_tried: int) -> Finding:
    return Finding(
        name="poses",
        severity=Severity.NOTE,
        sentence=f"poses could not be checked against the photos: only {num_matched} of"
        f" {num_tried} pairs of neighbouring photos show the same distinct points",
        mend="where the scene has texture, take photos closer to each other",
    )
