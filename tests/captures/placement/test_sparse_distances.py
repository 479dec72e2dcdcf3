"""Distances from sparse points: the right pixels, the nearest point, and nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from neural_render.captures.photos import PhotoSource
from neural_render.captures.readers.listing import SparsePoints, no_points
from neural_render.captures.records import Capture
from neural_render.captures.sparse_distances import SurveyedPhotos
from neural_render.core.cameras import project
from neural_render.core.errors import CaptureError
from neural_render.core.protocols import RegionSource
from neural_render.core.transforms import rotation_from_vector
from tests.kernels.cuda.waiting import no_waiting
from tests.training.cameras.photographs import open_tiny


def points_on_ball(capture: Capture, num: int = 200, num_photos: int = 5) -> SparsePoints:
    """Points on the ball of radius 1, each said to be seen by the photos on its side."""
    rand = np.random.default_rng(0)
    positions = rand.standard_normal((num, 3))
    positions /= np.linalg.norm(positions, axis=1, keepdims=True)
    places = capture.train.cameras.world_from_camera[..., 3].numpy()
    facing = positions @ (places / np.linalg.norm(places, axis=1, keepdims=True)).T > 0.5
    facing[:, num_photos:] = False
    point, photo = np.nonzero(facing)
    cameras = capture.train.cameras
    places = torch.from_numpy(positions[point]).float()
    pixels, _ = project(cameras, torch.from_numpy(photo), places)
    size = torch.stack([cameras.width, cameras.height], dim=-1)[torch.from_numpy(photo)]
    return SparsePoints(
        positions=positions,
        colors=np.zeros((num, 3), dtype=np.uint8),
        names=capture.train.names,
        point=point,
        photo=photo,
        place=(pixels / size).double().numpy(),
    )


def test_rays_at_points_know_how_far_the_surface_is(tmp_path: Path) -> None:
    capture = open_tiny(tmp_path)
    capture = replace(capture, points=points_on_ball(capture, num_photos=12))
    plain = PhotoSource(capture)
    source = SurveyedPhotos(plain, capture)
    assert isinstance(source, RegionSource)
    batch = source.sample(20_000, torch.Generator().manual_seed(0))
    same = plain.sample(20_000, torch.Generator().manual_seed(0))
    assert torch.equal(batch.rays.directions, same.rays.directions)
    known = batch.distance > 0
    assert 0.02 < float(known.float().mean()) < 0.5
    # The ball is solid and its points lie on it: the true first surface is there.
    similarity = capture.frame.world_from_field
    ends = batch.rays.origins + batch.rays.directions * batch.distance[:, None]
    radius = similarity.apply(ends[known]).norm(dim=1)
    assert (radius - 1).abs().median() < 0.03 and (radius - 1).abs().max() < 0.5
    # And every known ray is within two pixels of a point that its photo shows.
    world = torch.from_numpy(capture.points.positions).float()
    for view in batch.view[known].unique().tolist():
        shown = torch.from_numpy(capture.points.point[capture.points.photo == view])
        index = torch.full((len(shown),), view)
        pixels, _ = project(capture.train.cameras, index, world[shown])
        mine = known & (batch.view == view)
        aim = similarity.apply(ends[mine])
        here, _ = project(capture.train.cameras, torch.full((len(aim),), view), aim)
        assert (torch.cdist(here, pixels).amin(dim=1) < 2.2).all()


def test_points_stay_where_photos_show_them_if_cameras_are_imprecise(tmp_path: Path) -> None:
    """Of cameras turned by three degrees the same pixels know the same distances."""
    capture = open_tiny(tmp_path)
    capture = replace(capture, points=points_on_ball(capture, num_photos=12))
    cameras = capture.train.cameras
    turn = rotation_from_vector(torch.tensor([[0.05, 0.0, 0.0]]).expand(len(cameras), 3))
    poses = torch.cat(
        [turn @ cameras.world_from_camera[..., :3], cameras.world_from_camera[..., 3:]], -1
    )
    turned = replace(cameras, world_from_camera=poses)
    other = replace(capture, train=replace(capture.train, cameras=turned))
    seen = [
        SurveyedPhotos(PhotoSource(one), one).sample(20_000, torch.Generator().manual_seed(0))
        for one in (capture, other)
    ]
    assert torch.equal(seen[0].targets, seen[1].targets)
    same = (seen[0].distance > 0) == (seen[1].distance > 0)
    assert same.float().mean() > 0.999 and (seen[0].distance > 0).any()
    torch.testing.assert_close(seen[0].distance[same], seen[1].distance[same], rtol=1e-3, atol=0)


def test_regions_are_the_sources_own(tmp_path: Path) -> None:
    capture = open_tiny(tmp_path)
    capture = replace(capture, points=points_on_ball(capture, num_photos=12))
    plain, source = PhotoSource(capture), SurveyedPhotos(PhotoSource(capture), capture)
    asked = torch.arange(50)
    some = plain.sample_regions(200, asked, torch.Generator().manual_seed(0))
    other = source.sample_regions(200, asked, torch.Generator().manual_seed(0))
    assert torch.equal(some[1], other[1]) and torch.equal(some[0].targets, other[0].targets)
    assert torch.equal(source.region_sizes, plain.region_sizes)


def test_a_batch_waits_for_no_device(tmp_path: Path) -> None:
    capture = open_tiny(tmp_path)
    capture = replace(capture, points=points_on_ball(capture, num_photos=12))
    source = SurveyedPhotos(PhotoSource(capture), capture)
    with no_waiting():
        batch, _ = source.sample_regions(50, torch.zeros(20).long(), torch.Generator())
    assert len(batch.rays) == 50
    with pytest.raises(AssertionError, match="a host waits for"), no_waiting():
        project(capture.train.cameras, batch.view, batch.rays.origins)


def test_points_that_too_few_photos_show_are_none(tmp_path: Path) -> None:
    capture = open_tiny(tmp_path)
    for points in (no_points(), points_on_ball(capture, num_photos=2)):
        given = replace(capture, points=points)
        with pytest.raises(CaptureError, match="has none that 3 training photos show: leave it"):
            SurveyedPhotos(PhotoSource(given), given)
