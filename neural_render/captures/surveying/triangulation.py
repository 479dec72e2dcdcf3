"""Points from what pairs of photos both show: tracks through all, and where their rays meet.

Legend: o a camera's position, d the unit direction in which its photo shows a point x; the point
minimises the sum of w |(I - d d^T) (x - o)|^2 over its photos. With w = 1 / |x - o|^2 that is the
sum of squared sines of the angles by which rays miss it; it is found by repeated reweighting,
during which photos whose rays miss it by too much are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from neural_render.captures.doctor.poses.matching import Match, bearings, focal_at_match_side
from neural_render.core.cameras import Cameras

# Pixels at MATCH_SIDE, round after round: at first one wrong match moves a point far.
ROUNDS_PX = (32.0, 16.0, 8.0, 4.0, 2.0, 2.0)
MIN_RAYS = 3  # that meet: two can by chance
MIN_ANGLE_RAD = 0.03  # between them: else the distance is a guess


@dataclass(frozen=True, kw_only=True)
class Sightings:
    """Each row: that a photo shows a point, and in which pixel; points are numbered from 0."""

    point: Int64[np.ndarray, " sightings"]
    photo: Int64[np.ndarray, " sightings"]
    pixel: Float64[np.ndarray, "sightings 2"]

    def __len__(self) -> int:
        """The number of sightings."""
        return len(self.point)

    def kept(self, keep: Bool[np.ndarray, " sightings"]) -> "Sightings":
        """Some of them, with their numbers."""
        return Sightings(point=self.point[keep], photo=self.photo[keep], pixel=self.pixel[keep])


def tracked(matches: Sequence[Match]) -> Sightings:
    """What belongs together by any chain of matches; nothing that a photo would show twice."""
    if not matches:
        return Sightings(
            point=np.zeros(0, np.int64), photo=np.zeros(0, np.int64), pixel=np.zeros((0, 2))
        )
    photos = np.concatenate([np.repeat(match.photos, len(match)) for match in matches])
    pixels = np.concatenate([part for match in matches for part in (match.first, match.second)])
    rows = np.column_stack([photos.astype(np.float64), pixels])
    nodes, node = np.unique(rows, axis=0, return_inverse=True)
    node = node.reshape(-1)
    first, second, start = [], [], 0
    for match in matches:
        middle, end = start + len(match), start + 2 * len(match)
        first.append(node[start:middle])
        second.append(node[middle:end])
        start = end
    label = connected(len(nodes), np.concatenate(first), np.concatenate(second))
    photo = nodes[:, 0].astype(np.int64)
    _, point = np.unique(label, return_inverse=True)
    point = point.reshape(-1).astype(np.int64)
    pairs = np.unique(np.column_stack([point, photo]), axis=0)
    once = np.bincount(pairs[:, 0]) == np.bincount(point)
    found = Sightings(point=point, photo=photo, pixel=nodes[:, 1:])
    return renumbered(found.kept(once[point]))


def connected(
    num_nodes: int, first: Int64[np.ndarray, " edges"], second: Int64[np.ndarray, " edges"]
) -> Int64[np.ndarray, " nodes"]:
    """A number for each node, the same for those that edges connect: the least among them."""
    label = np.arange(num_nodes)
    while True:
        least = np.minimum(label[first], label[second])
        lower = label.copy()
        np.minimum.at(lower, first, least)
        np.minimum.at(lower, second, least)
        lower = lower[lower]
        if np.array_equal(lower, label):
            return label
        label = lower


def renumbered(sightings: Sightings) -> Sightings:
    """The same with numbers of points that leave none out."""
    _, point = np.unique(sightings.point, return_inverse=True)
    return Sightings(
        point=point.reshape(-1).astype(np.int64), photo=sightings.photo, pixel=sightings.pixel
    )


def triangulated(
    sightings: Sightings, cameras: Cameras
) -> tuple[Float64[np.ndarray, "points 3"], Sightings]:
    """The points whose rays meet, in the cameras' world, and the sightings that agree with them."""
    poses = cameras.world_from_camera.double().cpu().numpy()
    origins = poses[sightings.photo][:, :, 3]
    rays = bearings(cameras, sightings.photo, sightings.pixel)
    rays = np.einsum("nij,nj->ni", poses[sightings.photo][:, :, :3], rays)
    focal = focal_at_match_side(cameras)[sightings.photo]
    weights = np.ones(len(sightings))
    positions = np.zeros((int(sightings.point.max(initial=-1)) + 1, 3))
    agrees = np.ones(len(sightings), dtype=bool)
    for limit in ROUNDS_PX:
        positions = meeting_points(sightings.point, origins, rays, weights, len(positions))
        aim = positions[sightings.point] - origins
        distance = np.maximum(np.linalg.norm(aim, axis=1), 1e-12)
        cosine = (aim * rays).sum(1) / distance
        missed = np.sqrt(np.clip(1 - cosine**2, 0, 1)) * focal
        agrees = (cosine > 0) & (missed < limit)
        weights = agrees / distance**2 + 1e-12 / distance**2
    kept = sightings.kept(agrees)
    good = np.bincount(kept.point, minlength=len(positions)) >= MIN_RAYS
    good &= _widest_angle(kept.point, rays[agrees], len(positions)) >= MIN_ANGLE_RAD
    return positions[good], renumbered(kept.kept(good[kept.point]))


def meeting_points(
    point: Int64[np.ndarray, " sightings"],
    origins: Float64[np.ndarray, "sightings 3"],
    rays: Float64[np.ndarray, "sightings 3"],
    weights: Float64[np.ndarray, " sightings"],
    num_points: int,
) -> Float64[np.ndarray, "points 3"]:
    """The points that are nearest to their rays, in weighted least squares."""
    across = np.eye(3) - rays[:, :, None] * rays[:, None, :]
    across *= weights[:, None, None]
    system, right = np.zeros((num_points, 3, 3)), np.zeros((num_points, 3))
    np.add.at(system, point, across)
    np.add.at(right, point, np.einsum("nij,nj->ni", across, origins))
    # Parallel rays meet nowhere: a little pulls such points to the origin.
    size = np.trace(system, axis1=1, axis2=2).clip(min=1e-300)
    system += 1e-12 * size[:, None, None] * np.eye(3)
    return np.linalg.solve(system, right[..., None])[..., 0]


def _widest_angle(
    point: Int64[np.ndarray, " sightings"],
    rays: Float64[np.ndarray, "sightings 3"],
    num_points: int,
) -> Float64[np.ndarray, " points"]:
    """About the largest angle between two rays of each point: twice that to their mean."""
    mean = np.zeros((num_points, 3))
    np.add.at(mean, point, rays)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True).clip(min=1e-12)
    widest = np.zeros(num_points)
    np.maximum.at(widest, point, np.arccos((rays * mean[point]).sum(1).clip(-1, 1)))
    return 2 * widest
