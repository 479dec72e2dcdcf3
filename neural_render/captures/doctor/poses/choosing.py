"""Which pairs of photos are compared: neighbours by their claimed poses, neighbours by name.

If those show nothing in common, the photos themselves say which of them do.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from jaxtyping import Float64

from neural_render.captures.doctor.poses.matching import (
    Features,
    Match,
    find_features,
    load_pycolmap,
    match_features,
    verified_match,
)
from neural_render.captures.doctor.subject import MAX_THREADS, Subject
from neural_render.captures.loading.parallel import in_parallel

Item = TypeVar("Item")
Result = TypeVar("Result")
MAX_SEARCHED = 100  # photos, when all are compared with all
STRONGEST = 200  # features of each, then
NEIGHBOURS = 3  # that each photo keeps, then


@dataclass(frozen=True, kw_only=True)
class Album:
    """The photos with what was already found, so that none is searched, no pair compared twice."""

    subject: Subject
    features: dict[int, Features] = field(default_factory=dict)
    compared: dict[tuple[int, int], Match | None] = field(default_factory=dict)
    progress: bool = False  # whether a bar is shown

    def prepare(self, photos: Iterable[int]) -> None:
        """Finds the features of these photos."""
        load_pycolmap()
        missing = sorted(set(photos) - self.features.keys())

        def find(photo: int) -> Features:
            return find_features(self.subject, photo)

        found = self._of_each(find, missing, "features of photos")
        self.features.update(zip(missing, found, strict=True))

    def match(self, pairs: Iterable[tuple[int, int]]) -> list[Match]:
        """The pairs that show the same things."""
        pairs = sorted(set(pairs))
        missing = [pair for pair in pairs if pair not in self.compared]
        self.prepare(itertools.chain.from_iterable(missing))

        def verify(pair: tuple[int, int]) -> Match | None:
            return verified_match(
                self.subject, pair, [self.features[pair[0]], self.features[pair[1]]]
            )

        found = self._of_each(verify, missing, "comparing pairs of photos")
        self.compared.update(zip(missing, found, strict=True))
        matches = (self.compared[pair] for pair in pairs)
        return [match for match in matches if match is not None]

    def _of_each(
        self, work: Callable[[Item], Result], items: Sequence[Item], description: str
    ) -> list[Result]:
        return in_parallel(
            work, items, description=description, progress=self.progress, threads=MAX_THREADS
        )


def claimed_distance(
    poses: Float64[np.ndarray, "photos 3 4"], world_size: float
) -> Float64[np.ndarray, "photos photos"]:
    """How different two views claim to be: angle between axes, and distance in scene sizes."""
    return np.stack([_distance_from(photo, poses, world_size) for photo in range(len(poses))])


def nearest_views(
    photo: int, poses: Float64[np.ndarray, "photos 3 4"], world_size: float
) -> list[int]:
    """All other photos, those first that claim the likest views."""
    distance = _distance_from(photo, poses, world_size)
    return np.argsort(distance, kind="stable")[: len(poses) - 1].tolist()


def _distance_from(
    photo: int, poses: Float64[np.ndarray, "photos 3 4"], world_size: float
) -> Float64[np.ndarray, " photos"]:
    """A row of ``claimed_distance``: of thousands of photos nobody holds them all."""
    position, axis = poses[:, :, 3], poses[:, :, 2]
    apart = np.linalg.norm(position - position[photo], axis=-1) / world_size
    distance = apart + np.arccos((axis @ axis[photo]).clip(-1, 1))
    distance[photo] = np.inf
    return distance


def neighbours(
    poses: Float64[np.ndarray, "photos 3 4"], world_size: float, num_anchors: int
) -> set[tuple[int, int]]:
    """Pairs around photos that are spread evenly over the names.

    Of each such photo: its nearest by pose, one somewhat farther (which shows more), its next by
    name, and the two nearest with each other.
    """
    count = len(poses)
    anchors = np.unique(np.linspace(0, count - 1, min(num_anchors, count)).astype(np.int64))
    pairs: set[tuple[int, int]] = set()
    for anchor in anchors.tolist():
        near = nearest_views(anchor, poses, world_size)
        second = near[min(2, len(near) - 1)]
        for a, b in ((anchor, near[0]), (anchor, second), (near[0], second), (anchor, anchor + 1)):
            if a != b and max(a, b) < count:
                pairs.add((min(a, b), max(a, b)))
    return pairs


def searched_pairs(album: Album) -> list[tuple[int, int]]:
    """Pairs that likely show the same, found by comparing all photos with all."""
    count = len(album.subject)
    photos = np.unique(np.linspace(0, count - 1, min(MAX_SEARCHED, count)).astype(np.int64))
    album.prepare(photos.tolist())
    strong = {photo: _strongest(album.features[photo]) for photo in photos.tolist()}
    common: dict[tuple[int, int], int] = {
        (a, b): len(match_features(strong[a], strong[b]))
        for a, b in itertools.combinations(photos.tolist(), 2)
    }
    return _best_of_each(common, photos.tolist())


def _best_of_each(
    common: dict[tuple[int, int], int], photos: Sequence[int]
) -> list[tuple[int, int]]:
    """The pairs with the most in common, NEIGHBOURS of each photo."""
    left = {photo: NEIGHBOURS for photo in photos}
    chosen = []
    for pair in sorted(common, key=lambda pair: -common[pair]):
        if common[pair] > 0 and max(left[photo] for photo in pair) > 0:
            chosen.append(pair)
            for photo in pair:
                left[photo] -= 1
    return chosen


def _strongest(features: Features) -> Features:
    """Some of the features: SIFT's come with the coarsest, which are seen from afar, last."""
    return Features(
        pixels=features.pixels[-STRONGEST:], descriptors=features.descriptors[-STRONGEST:]
    )
