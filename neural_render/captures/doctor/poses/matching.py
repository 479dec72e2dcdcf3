"""Points that two photos both show: SIFT features, matched both ways, kept if one geometry fits.

No pose enters: what is kept obeys some fundamental matrix, whatever the cameras claim. Points are
on the plane z = 1 of a camera with the claimed intrinsics, times a focal length, so that a lens
with stated distortion does not bend epipolar lines.

Source: Lowe, "Distinctive image features from scale-invariant keypoints" (ratio test).
"""

import signal
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64

from neural_render.captures.doctor.subject import Subject
from neural_render.core.cameras import Cameras, directions_in_camera

MATCH_SIDE = 640  # pixels of the longer side: what errors are measured in
SMALL_SIDE = 480  # photos smaller than this are looked at twice as closely
MAX_FEATURES = 1500
LOWES_RATIO = 0.8
MAX_ERROR_PX = 2.0  # of a match to the geometry that fits most, at MATCH_SIDE
# Seven matches fit any geometry; chance adds a few. What is kept is far from that.
MIN_MATCHES = 20
MIN_SHARE = 0.4


@dataclass(frozen=True, kw_only=True)
class Features:
    """Distinct points of a photo, in continuous pixels of the photo as it is in memory."""

    pixels: Float64[np.ndarray, "features 2"]
    descriptors: Float32[np.ndarray, "features 128"]


@dataclass(frozen=True, kw_only=True)
class Match:
    """Two photos that show the same points, and where; photos by their index in the subject."""

    photos: tuple[int, int]
    first: Float64[np.ndarray, "matches 2"]
    second: Float64[np.ndarray, "matches 2"]

    def __len__(self) -> int:
        """The number of points that both show."""
        return len(self.first)


def load_pycolmap() -> None:
    """Imports pycolmap so that it keeps quiet, and out of the way of SIGTERM.

    Its log would say of each photo that an extractor is made, and print a stack trace for a program
    that is merely asked to end. To be called in the main thread, where signals are set.
    """
    before = signal.getsignal(signal.SIGTERM)
    import pycolmap

    quiet = pycolmap.logging.WARNING.value
    pycolmap.logging.minloglevel = max(pycolmap.logging.minloglevel, quiet)
    if threading.current_thread() is threading.main_thread() and before is not None:
        signal.signal(signal.SIGTERM, before)


def find_features(subject: Subject, index: int) -> Features:
    """The features of one photo, none where it is masked or clear."""
    import pycolmap

    grey = subject.grey(index, MATCH_SIDE)
    options = pycolmap.FeatureExtractionOptions()
    options.use_gpu = False
    options.sift.first_octave = -1 if max(grey.shape) < SMALL_SIDE else 0
    options.sift.max_num_features = MAX_FEATURES
    with warnings.catch_warnings():
        # Its successor gives the same features as objects, one by one.
        warnings.simplefilter("ignore", DeprecationWarning)
        extractor = pycolmap.Sift(options=options, device=pycolmap.Device.cpu)
    keypoints, descriptors = extractor.extract((grey / 255).contiguous().numpy().astype(np.float32))
    keep = _shown(subject.counts(index, MATCH_SIDE).numpy(), keypoints)
    scale = int(subject.cameras.width[index]) / grey.shape[1]
    return Features(
        pixels=keypoints[keep, :2].astype(np.float64) * scale,
        descriptors=np.ascontiguousarray(descriptors[keep]).astype(np.float32),
    )


def _shown(
    counts: Float32[np.ndarray, "height width"], keypoints: Float32[np.ndarray, "points 4"]
) -> Bool[np.ndarray, " points"]:
    """Which points are on what is to be looked at."""
    columns = keypoints[:, 0].astype(np.int64).clip(0, counts.shape[1] - 1)
    rows = keypoints[:, 1].astype(np.int64).clip(0, counts.shape[0] - 1)
    return counts[rows, columns] > 0.99


def match_features(first: Features, second: Features) -> Int64[np.ndarray, "matches 2"]:
    """Pairs of features that are each other's nearest, and far nearer than the second nearest."""
    if min(len(first.pixels), len(second.pixels)) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    # Not by NumPy, whose threads get into each other's way when several pairs are compared.
    cosine = (torch.from_numpy(first.descriptors) @ torch.from_numpy(second.descriptors).T).numpy()
    partner = cosine.argmax(1)
    pair = np.arange(len(partner)), partner
    nearest, of_partner = cosine[pair], cosine.max(0)[partner]
    cosine[pair] = -1
    angles = np.arccos(np.stack([nearest, cosine.max(1)]).clip(-1, 1))
    kept = ((nearest == of_partner) & (angles[0] < LOWES_RATIO * angles[1])).nonzero()[0]
    return np.stack([kept, partner[kept]], axis=1)


def verified_match(
    subject: Subject, photos: tuple[int, int], features: Sequence[Features]
) -> Match | None:
    """The points of two photos that one geometry fits; nothing where there are too few."""
    import pycolmap

    pairs = match_features(features[0], features[1])
    if len(pairs) < MIN_MATCHES:
        return None
    pixels = [part.pixels[pairs[:, side]] for side, part in enumerate(features)]
    plane = [
        flattened(subject.cameras, photo, part) for photo, part in zip(photos, pixels, strict=True)
    ]
    options = pycolmap.RANSACOptions()
    options.max_error = MAX_ERROR_PX
    # It ends once it is sure: pycolmap's 1000 at least are for nothing where most matches fit.
    options.min_num_trials, options.max_num_trials = 30, 5000
    options.random_seed = 0
    found = pycolmap.estimate_fundamental_matrix(plane[0], plane[1], options)
    if found is None:
        return None
    inliers = np.asarray(found["inlier_mask"], dtype=bool)
    if inliers.sum() < max(MIN_MATCHES, MIN_SHARE * len(pairs)):
        return None
    return Match(photos=photos, first=pixels[0][inliers], second=pixels[1][inliers])


def flattened(
    cameras: Cameras, photo: int, pixels: Float64[np.ndarray, "points 2"]
) -> Float64[np.ndarray, "points 2"]:
    """Pixels of a photo of MATCH_SIDE that had the same focal length but no distortion."""
    rays = bearings(cameras, np.full(len(pixels), photo), pixels)
    depth = np.maximum(rays[:, 2:], 1e-2)
    return rays[:, :2] / depth * focal_at_match_side(cameras)[photo]


def bearings(
    cameras: Cameras, photo: Int64[np.ndarray, " points"], pixels: Float64[np.ndarray, "points 2"]
) -> Float64[np.ndarray, "points 3"]:
    """Unit directions, in camera axes, in which photos see pixels."""
    directions, _, _ = directions_in_camera(
        cameras, torch.from_numpy(photo), torch.from_numpy(pixels).float()
    )
    return directions.double().numpy()


def focal_at_match_side(cameras: Cameras) -> Float64[np.ndarray, " photos"]:
    """Focal lengths in pixels of photos whose longer side is MATCH_SIDE."""
    longer = torch.maximum(cameras.width, cameras.height).double()
    return (cameras.focal_px.double().prod(-1).sqrt() * MATCH_SIDE / longer).numpy()
