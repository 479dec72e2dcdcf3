"""What is known of a capture's depth before anything is learned: points and bounds, view by view.

Sparse points come from structure from motion; bounds are the nearest and farthest depth of a photo,
as LLFF states them. Both say where things are that the photos show.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from neural_render.captures.readers.listing import SparsePoints
from neural_render.core.cameras import Cameras, is_before, project, rays_through_pixels

# Fewer places say nothing of where a scene ends.
MIN_PLACES = 50
# Of the distances that a photo shows: what is nearer is more often an error than a thing.
NEAREST_SHARE = 0.01
MAX_PLACES = 1 << 20  # more tell no more
BOUND_PIXELS, BOUND_DEPTHS = 8, 8  # per side of a picture, and between its bounds


@dataclass(frozen=True, kw_only=True)
class SeenSpace:
    """Places in the world that photos show: a row for each time that one of them shows one.

    So what many photos show counts more than what few do. No rows: nothing is known.
    """

    places: Float64[Tensor, "places 3"]
    view: Int64[Tensor, " places"]  # the index of the camera that sees it

    def __len__(self) -> int:
        """The number of places."""
        return len(self.places)

    @property
    def is_known(self) -> bool:
        """Whether there is enough to place a scene by."""
        return len(self) >= MIN_PLACES

    def distances(self, cameras: Cameras) -> Float64[Tensor, " places"]:
        """How far each place is from the camera that sees it."""
        positions = cameras.world_from_camera[:, :, 3].double()
        return (self.places - positions.index_select(0, self.view)).norm(dim=-1)

    def nearest(self, cameras: Cameras) -> float:
        """The distance before which none of the cameras sees anything; infinite if not known.

        It is that of the camera that stands nearest to what it sees, a few wrong points left out.
        """
        distances = self.distances(cameras)
        least = math.inf
        for view in self.view.unique().tolist():
            seen = distances[self.view == view]
            least = min(least, float(seen.quantile(NEAREST_SHARE)))
        return least


def seen_space(
    cameras: Cameras,
    names: tuple[str, ...],
    points: SparsePoints,
    bounds: Float64[np.ndarray, "cameras 2"],
) -> SeenSpace:
    """What is known of the space that ``cameras``, called ``names`` in the capture, see.

    Observed points outrank bounds (z-depths in world units, NaN where not known); points without
    observations count for every camera in whose picture they lie.
    """
    if len(points.point):
        found = _observed(names, points)
    elif len(points):
        found = _projected(cameras, torch.from_numpy(points.positions))
    else:
        found = _between(cameras, torch.from_numpy(bounds))
    usable = found.places.isfinite().all(-1)
    places, view = found.places[usable], found.view[usable]
    stride = 1 + len(places) // MAX_PLACES
    return SeenSpace(places=places[::stride], view=view[::stride])


def _observed(names: tuple[str, ...], points: SparsePoints) -> SeenSpace:
    """The points' observations by these photos."""
    index = {name: view for view, name in enumerate(names)}
    view_of_photo = np.array([index.get(name, -1) for name in points.names], dtype=np.int64)
    view = view_of_photo[points.photo]
    ours = view >= 0
    return SeenSpace(
        places=torch.from_numpy(points.positions[points.point[ours]]),
        view=torch.from_numpy(view[ours]),
    )


def _projected(cameras: Cameras, positions: Float64[Tensor, "points 3"]) -> SeenSpace:
    """The points as often as they lie in a camera's picture, hidden or not."""
    places, views = [], []
    for view in range(len(cameras)):
        index = torch.full((len(positions),), view)
        pixels, depth = project(cameras, index, positions.to(cameras.focal_px))
        size = torch.stack([cameras.width[view], cameras.height[view]])
        seen = is_before(cameras, index, depth) & ((pixels >= 0) & (pixels < size)).all(-1)
        places.append(positions[seen])
        views.append(index[seen])
    return SeenSpace(places=torch.cat(places), view=torch.cat(views))


def _between(cameras: Cameras, bounds: Float64[Tensor, "cameras 2"]) -> SeenSpace:
    """A grid of places in each camera's picture, from its nearest to its farthest depth.

    Steps are even in disparity: as far as a picture can tell, any depth is as likely.
    """
    near, far = bounds.unbind(1)
    known = ((near > 0) & (far >= near) & far.isfinite()).nonzero()[:, 0]
    steps = (torch.arange(BOUND_PIXELS) + 0.5) / BOUND_PIXELS
    across = torch.cartesian_prod(steps, steps)
    view = known.repeat_interleave(len(across))
    size = torch.stack([cameras.width, cameras.height], dim=-1).double()
    pixels = size[view] * across.repeat(len(known), 1)
    rays = rays_through_pixels(cameras, view, pixels.to(cameras.focal_px))
    cosine = (rays.directions * cameras.world_from_camera[view, :, 2]).sum(-1).clamp(min=1e-3)
    share = torch.linspace(0, 1, BOUND_DEPTHS, dtype=torch.float64)
    depth = 1 / torch.lerp(1 / near[view, None], 1 / far[view, None], share)
    along = rays.directions.double() / cosine[:, None].double()
    places = rays.origins.double()[:, None] + along[:, None] * depth[..., None]
    return SeenSpace(places=places.view(-1, 3), view=view.repeat_interleave(BOUND_DEPTHS))
