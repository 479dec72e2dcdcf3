"""How far structure from motion found what some pixels show: first surfaces, where it is known."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_render.captures.photos import OfCapture
from neural_render.captures.records import Capture
from neural_render.core.cameras import Cameras, is_before, one_lens, project
from neural_render.core.errors import CaptureError
from neural_render.core.protocols import RaySource, has_regions, is_stepped
from neural_render.core.rays import RayBatch

MIN_PHOTOS = 3  # that show a point: two can agree by chance
AROUND = 1  # pixels on each side of a point that are taken to show the same surface


def is_surveyed(capture: Capture) -> bool:
    """Whether training photos show points whose place is known well enough."""
    return len(_observations(capture)[0]) > 0


class SurveyedPhotos(OfCapture):
    """Another source's rays, with their distances where a sparse point lies in their pixel.

    Points are looked up where the photos showed them, even if the stated cameras would not see them
    there, by the pixel that a ray belongs to: it does not matter how the source draws its pixels or
    where it keeps its photos.
    """

    def __init__(self, source: RaySource, capture: Capture) -> None:
        """CaptureError where no training photo shows a point of ``capture``."""
        assert has_regions(source), "photos lie in regions"
        super().__init__(capture)
        self._source = source
        field = capture.frame.world_from_field.inverse()
        device = source.region_sizes.device
        self._cameras = capture.train.cameras.to(device).in_frame(field)
        self._kind = one_lens(capture.train.cameras.lens)
        points = torch.as_tensor(capture.points.positions, dtype=torch.float32, device=device)
        view, point, place = (tensor.to(device) for tensor in _observations(capture))
        positions = field.apply(points).index_select(0, point)
        self._keys, self._distances = _lookup(self._cameras, view, positions, place)
        if not len(self._keys):
            raise CaptureError(
                f"training.distance_weight asks for sparse points, and {capture.path} has none that"
                f" {MIN_PHOTOS} training photos show: leave it out, or give a COLMAP model with its"
                " points"
            )

    @property
    def region_sizes(self) -> Int[Tensor, " regions"]:
        """Those of the source."""
        return self._source.region_sizes

    def turn_to(self, step: int) -> None:
        """Lets the source go on, if it is one that does."""
        if is_stepped(self._source):
            self._source.turn_to(step)

    def sample(self, num_rays: int, generator: torch.Generator) -> RayBatch:
        """The source's batch, with distances."""
        return self._surveyed(self._source.sample(num_rays, generator))

    def sample_regions(
        self, num_rays: int, regions: Int[Tensor, " chosen"], generator: torch.Generator
    ) -> tuple[RayBatch, Int[Tensor, " rays"]]:
        """The source's batch, with distances."""
        batch, found = self._source.sample_regions(num_rays, regions, generator)
        return self._surveyed(batch), found

    def _surveyed(self, batch: RayBatch) -> RayBatch:
        ahead = batch.rays.origins + batch.rays.directions
        pixels, _ = project(self._cameras, batch.view, ahead, self._kind)
        keys, _ = _keys(self._cameras, batch.view, pixels.floor().long())
        place = torch.searchsorted(self._keys, keys).clamp(max=len(self._keys) - 1)
        known = self._keys.index_select(0, place) == keys
        return replace(
            batch, distance=self._distances.index_select(0, place) * known.to(self._distances)
        )


def _observations(
    capture: Capture,
) -> tuple[Int[Tensor, " seen"], Int[Tensor, " seen"], Float[Tensor, "seen 2"]]:
    """The training view, the point and the place (see `SparsePoints`) of each observation of a
    point that enough photos show."""
    found = capture.points
    place = {name: view for view, name in enumerate(capture.train.names)}
    view_of = torch.tensor([place.get(name, -1) for name in found.names], dtype=torch.long)
    point, photo = torch.from_numpy(found.point), torch.from_numpy(found.photo)
    often = torch.bincount(point, minlength=len(found)) >= MIN_PHOTOS
    view = view_of[photo]
    kept = (view >= 0) & often[point]
    return view[kept], point[kept], torch.from_numpy(found.place).float()[kept]


def _lookup(
    cameras: Cameras,
    view: Int[Tensor, " seen"],
    positions: Float[Tensor, "seen 3"],
    place: Float[Tensor, "seen 2"],
) -> tuple[Int[Tensor, " known"], Float[Tensor, " known"]]:
    """Keys of pixels, ascending, and the distance of the nearest point in each."""
    size = torch.stack([cameras.width, cameras.height], dim=-1).index_select(0, view)
    pixels = place * size
    distance = (positions - cameras.world_from_camera.index_select(0, view)[..., 3]).norm(dim=-1)
    before = is_before(cameras, view, project(cameras, view, positions)[1])
    steps = torch.arange(-AROUND, AROUND + 1, device=view.device)
    offsets = torch.cartesian_prod(steps, steps)
    around = (pixels.floor().long()[:, None] + offsets).view(-1, 2)
    view, distance, before = (x.repeat_interleave(len(offsets)) for x in (view, distance, before))
    keys, inside = _keys(cameras, view, around)
    kept = inside & before
    keys, distance = keys[kept], distance[kept]
    order = distance.argsort()
    order = order[keys[order].argsort(stable=True)]
    keys, distance = keys[order], distance[order]
    first = torch.ones_like(keys, dtype=torch.bool)
    first[1:] = keys[1:] != keys[:-1]
    return keys[first], distance[first]


def _keys(
    cameras: Cameras, view: Int[Tensor, " pixels"], pixels: Int[Tensor, "pixels 2"]
) -> tuple[Int[Tensor, " pixels"], Tensor]:
    """A number for each pixel of each photo, and whether the pixel is in its photo."""
    areas = cameras.width * cameras.height
    start = (areas.cumsum(0) - areas).index_select(0, view)
    size = torch.stack([cameras.width, cameras.height], dim=-1).index_select(0, view)
    inside = ((pixels >= 0) & (pixels < size)).all(dim=-1)
    return start + pixels[:, 1] * size[:, 0] + pixels[:, 0], inside
