"""Whether photos belong to other photos' poses, and to which.

Legend: R_i the rotation (second_from_first products along the strongest matches) of photo i in a
world of its own, Q_j the claimed rotation of pose j; photo i belongs to pose j where G R_i = Q_j
with one G for all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from neural_render.captures.doctor.poses.matching import Match, bearings
from neural_render.captures.doctor.subject import Subject
from neural_render.core.cameras import Cameras

MIN_PHOTOS = 5
TRIED_ALIGNMENTS = 6
VIRTUAL_FOCAL_PX = 500.0


@dataclass(frozen=True, kw_only=True)
class Order:
    """Which pose each photo really has, by index; -1 where nothing is known."""

    sentence: str
    mend: str
    pose: Int64[np.ndarray, " photos"]


def known_orders(names: Sequence[str]) -> Iterator[Order]:
    """The usual ways to list photos in another order than poses; names are in natural order."""
    count = len(names)
    plain = np.array(sorted(range(count), key=lambda index: names[index]))
    if not np.array_equal(plain, np.arange(count)):
        sentence = (
            "the photos were sorted as text (1, 10, 2) and their poses by number (1, 2, 10), or"
            " the reverse"
        )
        mend = "list each photo's name with its own pose"
        yield Order(sentence=sentence, mend=mend, pose=plain)
        yield Order(sentence=sentence, mend=mend, pose=np.argsort(plain))
    yield Order(
        sentence="the poses are listed in the reverse order of the photos",
        mend="reverse one of the lists",
        pose=np.arange(count)[::-1].copy(),
    )
    for shift in (1, -1, 2, -2):
        which = f"{'one' if abs(shift) == 1 else 'second'} {'after' if shift < 0 else 'before'}"
        yield Order(
            sentence=f"each photo has the pose of the {which} it",
            mend="shift one of the lists",
            pose=(np.arange(count) + shift) % count,
        )


def found_orders(
    subject: Subject, matches: Sequence[Match], poses: Float64[np.ndarray, "photos 3 4"]
) -> Iterator[Order]:
    """Orders in which the photos' rotations, as seen in the photos, are those of the poses."""
    rotations = seen_rotations(subject.cameras, matches)
    if len(rotations) < MIN_PHOTOS:
        return
    photos = np.array(sorted(rotations))
    seen = np.stack([rotations[photo] for photo in photos])
    for cosines in likely_alignments(poses[:, :, :3], seen):
        pose = np.full(len(subject), -1)
        pose[photos] = assigned(cosines)
        moved = [photo for photo in photos if pose[photo] not in (photo, -1)]
        examples = ", ".join(
            f"{subject.names[photo]} to that of {subject.names[pose[photo]]}" for photo in moved[:2]
        )
        yield Order(
            sentence=f"{len(moved)} of the {len(photos)} photos that could be placed belong to"
            f" other photos' poses ({examples})",
            mend="list each photo's name with its own pose",
            pose=pose,
        )


def likely_alignments(
    claimed: Float64[np.ndarray, "poses 3 3"], seen: Float64[np.ndarray, "photos 3 3"]
) -> Iterator[Float64[np.ndarray, "photos poses"]]:
    """How well each photo fits each pose, for those few G first that fit best altogether."""
    flat = claimed.reshape(-1, 9).T

    def cosines(pose: int) -> Float64[np.ndarray, "photos poses"]:
        # world_from_camera: G R_0^T = Q_j for the photo with the most matches and a pose j.
        return (claimed[pose] @ seen).reshape(-1, 9) @ flat

    fit = np.array([cosines(pose).max(1).mean() for pose in range(len(claimed))])
    for pose in np.argsort(-fit)[:TRIED_ALIGNMENTS].tolist():
        yield cosines(pose)


def assigned(likeness: Float64[np.ndarray, "photos poses"]) -> Int64[np.ndarray, " photos"]:
    """A different pose for each photo, the likeliest first."""
    left = likeness.copy()
    chosen = np.full(len(left), -1)
    for _ in range(min(left.shape)):
        photo, pose = np.unravel_index(int(left.argmax()), left.shape)
        chosen[photo] = pose
        left[photo, :] = -np.inf
        left[:, pose] = -np.inf
    return chosen


def seen_rotations(
    cameras: Cameras, matches: Sequence[Match]
) -> dict[int, Float64[np.ndarray, "3 3"]]:
    """First-photo_from_camera rotations of the largest group of photos that matches connect.

    The photo with the most matches is the first one; its rotation is the identity.
    """
    strength: dict[int, int] = {}
    for match in matches:
        for photo in match.photos:
            strength[photo] = strength.get(photo, 0) + len(match)
    best: dict[int, np.ndarray] = {}
    for root in sorted(strength, key=lambda photo: -strength[photo]):
        if root not in best:
            group = _grown(cameras, matches, root)
            best = group if len(group) > len(best) else best
        if 2 * len(best) > len(strength):
            break
    return best


def _grown(
    cameras: Cameras, matches: Sequence[Match], root: int
) -> dict[int, Float64[np.ndarray, "3 3"]]:
    """Rotations of all photos connected to one, along the matches with the most points."""
    rotations: dict[int, np.ndarray] = {root: np.eye(3)}
    left = sorted(matches, key=lambda match: -len(match))
    while True:
        grown = False
        for match in left:
            first, second = match.photos
            if (first in rotations) == (second in rotations):
                continue
            turn = relative_rotation(cameras, match)
            if turn is None:
                continue
            if first in rotations:
                rotations[second] = rotations[first] @ turn.T
            else:
                rotations[first] = rotations[second] @ turn
            grown = True
            break
        if not grown:
            return rotations
        left = [match for match in left if not set(match.photos) <= rotations.keys()]


def relative_rotation(cameras: Cameras, match: Match) -> Float64[np.ndarray, "3 3"] | None:
    """second_from_first as the matches say it, under the claimed intrinsics; nothing if unclear."""
    import pycolmap

    plane = []
    for photo, pixels in zip(match.photos, (match.first, match.second), strict=True):
        rays = bearings(cameras, np.full(len(pixels), photo), pixels)
        plane.append(rays[:, :2] / np.maximum(rays[:, 2:], 1e-2) * VIRTUAL_FOCAL_PX)
    camera = pycolmap.Camera(
        model="SIMPLE_PINHOLE", width=1000, height=1000, params=[VIRTUAL_FOCAL_PX, 0.0, 0.0]
    )
    options = pycolmap.RANSACOptions()
    options.max_error = 2.0
    options.min_num_trials, options.max_num_trials = 50, 500  # outliers are out already
    options.random_seed = 0
    found = pycolmap.estimate_essential_matrix(plane[0], plane[1], camera, camera, options)
    if found is None or found["num_inliers"] < 0.5 * len(match):
        return None
    pose = found["cam2_from_cam1"]
    return np.asarray(pose.rotation.matrix())


def permuted(
    poses: Float64[np.ndarray, "photos 3 4"], order: Int64[np.ndarray, " photos"]
) -> Float64[np.ndarray, "photos 3 4"]:
    """The poses as an order gives them to photos; where it says nothing, as claimed."""
    known = order >= 0
    return np.where(known[:, None, None], poses[np.where(known, order, 0)], poses)
