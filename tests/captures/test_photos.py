"""Random rays: right pixels, right rays, every pixel equally often, never a masked one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from neural_render.captures import pixel_blocks, pixel_directions
from neural_render.captures.opening import open_capture
from neural_render.captures.photos import PhotoSource
from neural_render.captures.pixel_blocks import pixel_layout
from neural_render.captures.pixel_directions import PixelDirections
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.cameras import Cameras, image_rays, rays_through_pixels
from neural_render.core.errors import CaptureError
from neural_render.core.rays import RayBatch
from tests.captures.formats import (
    INTRINSICS,
    NAMES,
    make_frames,
    noise_image,
    save_image,
    write_transforms,
)
from tests.tiny_capture import write_blender_capture

FISHEYE = {"is_fisheye": True, "k1": 0.05}
DISTORTED = {"k1": 0.1, "k2": -0.05, "p1": 0.01, "p2": -0.02}


def open_folder(folder: Path) -> Capture:
    return open_capture(CaptureSettings(path=str(folder), test_every=0), progress=False)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def several_lenses(folder: Path) -> Capture:
    """Photos of two sizes through three lenses."""
    frames = make_frames(fl_x=20.0)
    frames[1] |= DISTORTED
    frames[3] |= FISHEYE
    write_transforms(folder, frames, unused=0)
    save_image(folder / NAMES[2], noise_image(2, scale=2))
    return open_folder(folder)


def one_lens(folder: Path) -> Capture:
    return open_folder(write_transforms(folder, **INTRINSICS, **DISTORTED))


def no_distortion(folder: Path) -> Capture:
    return open_folder(write_transforms(folder))


def two_focal_lengths(folder: Path) -> Capture:
    frames = make_frames(w=16, h=12, fl_x=20.0)
    frames[0]["fl_x"] = 25.0
    return open_folder(write_transforms(folder, frames, unused=0))


def check_rays(capture: Capture, batch: RayBatch) -> None:
    """Every ray is that of a pixel of its view which has the target's colour."""
    field = capture.train.cameras.in_frame(capture.frame.world_from_field.inverse())
    for view in range(len(capture.train)):
        mine = batch.view == view
        rays = image_rays(field, view)
        cosines = batch.rays.directions[mine] @ rays.directions.T
        pixel = cosines.argmax(-1)
        assert torch.allclose(batch.rays.directions[mine], rays.directions[pixel], atol=1e-6)
        assert torch.allclose(batch.rays.origins[mine], rays.origins[pixel], atol=1e-6)
        assert torch.allclose(batch.rays.footprint[mine], rays.footprint[pixel], rtol=1e-4)
        colors = capture.train.image(view).view(len(rays), -1)[pixel]
        assert torch.equal(batch.targets[mine], colors[:, :3].float() / 255)


@pytest.mark.parametrize("scene", [no_distortion, two_focal_lengths, one_lens, several_lenses])
@pytest.mark.parametrize("table_bytes", [pixel_directions.MAX_TABLE_BYTES, 0])
def test_rays_belong_to_their_pixels(scene, table_bytes: int, tmp_path: Path) -> None:
    capture = scene(tmp_path)
    source = PhotoSource(capture, table_bytes)
    batch = source.sample(700, seeded())
    check_rays(capture, batch)
    assert (batch.weights == 1).all() and (batch.opacity == 1).all()
    assert source.num_channels == 3
    assert source.frame == capture.frame and not source.has_opacity


def test_every_pixel_comes_equally_often(tmp_path: Path) -> None:
    capture = several_lenses(tmp_path)
    drawn = PhotoSource(capture)._draw(400_000, seeded())
    counts = torch.bincount(drawn, minlength=len(capture.train.pixels)).double()
    expected = 400_000 / len(counts)
    # Chi-squared per degree of freedom is 1 with a deviation of sqrt(2 / pixels) = 0.04.
    assert float(((counts - expected) ** 2).sum() / expected / len(counts)) == pytest.approx(
        1, abs=0.2
    )


def test_opacity_and_straight_colour(tmp_path: Path) -> None:
    capture = open_folder(write_blender_capture(tmp_path, size=12))
    source = PhotoSource(capture)
    batch = source.sample(4000, seeded())
    assert source.has_opacity
    check_rays(capture, batch)
    share = float(capture.train.pixels[:, 3].double().mean() / 255)
    assert float(batch.opacity.mean()) == pytest.approx(share, abs=0.03)
    assert float(batch.opacity.max()) == 1 and float(batch.opacity.min()) == 0


@pytest.mark.parametrize("share", [0.5, 0.05])
def test_masked_pixels_never_come(share: float, tmp_path: Path) -> None:
    capture = no_distortion(tmp_path)
    kept = torch.rand(len(capture.train.pixels), generator=seeded()) < share
    masked = replace(capture.train, masks=(kept * 255).to(torch.uint8))
    source = PhotoSource(replace(capture, train=masked))
    drawn = source._draw(30_000, seeded(1))
    assert len(drawn) == 30_000
    assert kept[drawn].all()
    assert len(drawn.unique()) == int(kept.sum())
    check_rays(capture, source.sample(100, seeded(2)))


def test_masks_that_leave_nothing_are_told(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path, make_frames(mask_path="black.png"))
    save_image(folder / "black.png", np.zeros((12, 16), np.uint8))
    with pytest.raises(CaptureError, match=r"masks of .* leave no pixel .* what counts is white"):
        PhotoSource(open_folder(folder))


def test_pixels_that_belong_to_no_ray_never_come(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frames = make_frames()
    frames[1] |= {"k1": -2.0}
    capture = open_folder(write_transforms(tmp_path, frames))
    source = PhotoSource(capture)
    assert "the lens of 1 views (first images/0001.png)" in caplog.text
    assert "check k1 to k4" in caplog.text
    batch = source.sample(5000, seeded())
    mine = batch.view == 1
    pose = capture.train.cameras.world_from_camera[1, :, :3]
    local = batch.rays.directions[mine] @ pose
    radius = (local[:, :2] / local[:, 2:]).norm(dim=-1)
    assert 0.3 < float(radius.max()) < (1 / 6) ** 0.5  # r - 2 r^3 turns back at sqrt(1/6)
    assert 0 < int(mine.sum()) < int((batch.view == 0).sum())


def test_the_same_generator_gives_the_same_rays(tmp_path: Path) -> None:
    source = PhotoSource(several_lenses(tmp_path))
    threads = torch.get_num_threads()
    batches = []
    for count in (1, 2):
        torch.set_num_threads(count)
        batches.append(source.sample(40_077, seeded(3)))
    torch.set_num_threads(threads)
    first, second = batches
    assert len(first.rays) == 40_077
    for name in ("targets", "opacity", "weights", "view"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    for name in ("origins", "directions", "footprint"):
        assert torch.equal(getattr(first.rays, name), getattr(second.rays, name))
    other = source.sample(40_077, seeded(4))
    assert not torch.equal(first.view, other.view)


def test_few_rays(tmp_path: Path) -> None:
    source = PhotoSource(one_lens(tmp_path))
    for count in (0, 1):
        batch = source.sample(count, seeded())
        assert len(batch.rays) == count and batch.targets.shape == (count, 3)


def test_tables_are_shared_by_equal_lenses(tmp_path: Path) -> None:
    directions = PixelDirections(several_lenses(tmp_path).train.cameras)
    # Lenses: plain 16x12, distorted 16x12, plain 32x24, fisheye 16x12.
    assert len(directions.table) == 3 * 16 * 12 + 32 * 24
    shared = PixelDirections(one_lens(tmp_path / "one").train.cameras)
    assert len(shared.table) == 16 * 12


def test_solved_directions_are_those_of_core(tmp_path: Path) -> None:
    cameras: Cameras = several_lenses(tmp_path).train.cameras
    identity = torch.eye(3, 4).expand(5, 3, 4)
    view = torch.tensor([0, 1, 2, 3, 4, 1])
    column, row = torch.tensor([0, 15, 31, 8, 3, 2]), torch.tensor([0, 11, 23, 6, 2, 9])
    pixels = torch.stack([column, row], dim=-1) + 0.5
    wanted = rays_through_pixels(replace(cameras, world_from_camera=identity), view, pixels)
    directions = PixelDirections(cameras, 0)
    assert directions.must_be_solved
    found, footprint = directions.solve(view, row * cameras.width[view] + column)
    assert torch.allclose(found, wanted.directions, atol=1e-6)
    assert torch.allclose(footprint, wanted.footprint, rtol=1e-5)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.05])
def test_regions_are_blocks_of_pixels(share: float, tmp_path: Path) -> None:
    """Their sizes count what is usable, and a ray that is asked of one comes from it."""
    capture = several_lenses(tmp_path)
    kept = torch.rand(len(capture.train.pixels), generator=seeded()) < share
    masks = (kept * 255).to(torch.uint8) if share < 1 else capture.train.masks
    source = PhotoSource(replace(capture, train=replace(capture.train, masks=masks)))
    sizes = source.region_sizes
    _, own = source.sample_regions(200_000, torch.empty(0, dtype=torch.long), seeded())
    assert int(sizes.sum()) == (int(kept.sum()) if share < 1 else len(kept))
    assert torch.equal(torch.bincount(own, minlength=len(sizes)) > 0, sizes > 0)
    asked = sizes.nonzero()[:, 0].repeat(3)
    batch, regions = source.sample_regions(len(asked) + 50, asked, seeded(1))
    assert torch.equal(regions[: len(asked)], asked)
    assert len(batch.rays) == len(regions) == len(asked) + 50
    check_rays(capture, batch)
    again, _ = source.sample_regions(len(asked) + 50, asked, seeded(1))
    assert torch.equal(batch.rays.directions, again.rays.directions)


def test_blocks_of_many_photos_are_larger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    views = no_distortion(tmp_path).train  # 5 of 16 x 12
    for limit, shift, blocks in ((960, 0, 960), (959, 1, 240), (59, 3, 20), (5, 4, 5), (1, 4, 5)):
        monkeypatch.setattr(pixel_blocks, "MAX_BLOCKS", limit)
        layout = pixel_layout(views)
        assert (layout.block_shift, layout.num_blocks) == (shift, blocks)


def test_no_photo_has_more_than_64_blocks_a_side(tmp_path: Path) -> None:
    views = no_distortion(tmp_path).train
    for width, height, shift in ((16, 12, 0), (64, 64, 0), (65, 10, 1), (800, 800, 4), (1, 1, 0)):
        sizes = {"width": torch.full((5,), width), "height": torch.full((5,), height)}
        layout = pixel_layout(replace(views, cameras=replace(views.cameras, **sizes)))
        assert layout.block_shift == shift
        blocks = -(-width // (1 << shift)) * -(-height // (1 << shift))
        assert layout.num_blocks == 5 * blocks
        assert layout.first_blocks.tolist() == [view * blocks for view in range(5)]
