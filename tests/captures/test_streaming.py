"""Rays of photos on disk: the same as of photos in memory, every pixel in its turn."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from neural_render.captures import pixel_directions, streaming
from neural_render.captures.opening import open_capture
from neural_render.captures.photos import PhotoSource
from neural_render.captures.pixel_blocks import pixel_layout
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.captures.streaming import StreamedPhotos, photo_source, window_at
from neural_render.core.errors import CaptureError
from neural_render.core.protocols import RegionSource, SteppedSource, has_regions, is_stepped
from neural_render.core.waiting import patience
from tests.captures.formats import NAMES, make_frames, noise_image, save_image, write_transforms
from tests.captures.readers.test_transforms_points import write_ply
from tests.captures.test_photos import DISTORTED, FISHEYE, check_rays, seeded
from tests.small_disk import refusing_to_sync
from tests.tiny_capture import write_blender_capture


def both(folder: Path) -> tuple[Capture, Capture]:
    """A capture on disk, in windows of every second row and column, and in memory."""
    settings = CaptureSettings(path=str(folder), test_every=0)
    found = open_capture(replace(settings, memory="disk"), progress=False)
    assert found.train.stride == 2
    return found, open_capture(settings, progress=False)


def plain(folder: Path) -> Path:
    return write_transforms(folder)


def distorted(folder: Path) -> Path:
    return write_transforms(folder, fl_x=20.0, w=16, h=12, **DISTORTED)


def mixed(folder: Path) -> Path:
    """Photos of three sizes, one of them odd, through three lenses."""
    frames = make_frames(fl_x=20.0)
    frames[1] |= DISTORTED
    frames[3] |= FISHEYE
    write_transforms(folder, frames, unused=0)
    save_image(folder / NAMES[2], noise_image(2, scale=2))
    save_image(folder / NAMES[4], noise_image(4)[:11, :13])
    return folder


def of_cycle(source: StreamedPhotos, num_windows: int) -> list[int]:
    """A step in the middle of each window of the first cycle."""
    return [(2 * place + 1) * streaming.STEPS_PER_WINDOW // 2 for place in range(num_windows)]


@pytest.mark.parametrize("scene", [plain, distorted, mixed])
@pytest.mark.parametrize("table_bytes", [pixel_directions.MAX_TABLE_BYTES, 0])
def test_rays_belong_to_their_pixels(scene, table_bytes: int, tmp_path: Path) -> None:
    capture, _ = both(scene(tmp_path))
    source = StreamedPhotos(capture, table_bytes)
    seen = []
    for step in of_cycle(source, 4):
        source.turn_to(step)
        batch = source.sample(600, seeded())
        check_rays(capture, batch)
        seen.append(batch.rays.directions)
    rays = torch.cat(seen).unique(dim=0)
    # Nearly every pixel came: 600 draws of 240 pixels or so leave a twelfth out.
    assert len(rays) > 0.85 * len(capture.train.pixels) / (1 + (scene is mixed))


def test_photos_are_put_together_again(tmp_path: Path) -> None:
    capture, whole = both(mixed(tmp_path))
    for view in range(len(whole.train)):
        photo = whole.train.image(view)
        height, width = (side // 2 * 2 for side in photo.shape[:2])
        assert torch.equal(capture.train.image(view), photo[:height, :width])
        assert capture.train.cameras.width[view] == width
        assert capture.train.mask(view).shape == (height, width)
    assert capture.frame == whole.frame and capture.train.names == whole.train.names


@pytest.mark.parametrize("points", [False, True])
def test_the_scene_lies_where_it_does_for_photos_in_memory(points: bool, tmp_path: Path) -> None:
    """Though of photos with odd sides the last row and column are not on disk."""
    named = {"ply_file_path": "points.ply"} if points else {}
    folder = write_transforms(tmp_path, fl_x=50.0, **named)
    for index, name in enumerate(NAMES):
        save_image(folder / name, noise_image(index, scale=4)[:33, :41])
    if points:
        write_ply(folder / "points.ply")
    capture, whole = both(folder)
    assert capture.train.cameras.width.tolist() == [40] * 5
    assert capture.frame == whole.frame


def test_a_window_is_a_thinned_photo(tmp_path: Path) -> None:
    capture, whole = both(mixed(tmp_path))
    window, thin = capture.train.window(0), whole.train.thinned(capture.train.stride)
    for index in range(len(thin)):
        assert torch.equal(window.image(index), thin.image(index))
        assert torch.equal(window.mask(index), thin.mask(index))
    assert torch.equal(window.cameras.center_px, thin.cameras.center_px)


def test_each_window_comes_once_in_a_cycle() -> None:
    orders = [[window_at(16 * cycle + place, 16) for place in range(16)] for cycle in range(3)]
    assert all(sorted(order) == list(range(16)) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_rays_depend_on_the_step_not_on_the_way_there(tmp_path: Path) -> None:
    capture, _ = both(plain(tmp_path))
    after = StreamedPhotos(capture)
    last = 5 * streaming.STEPS_PER_WINDOW + 1
    for step in range(1, last + 1):
        after.turn_to(step)
    for step in (last, 2 * streaming.STEPS_PER_WINDOW, 1, last):
        fresh = StreamedPhotos(capture)
        fresh.turn_to(step)
        after.turn_to(step)
        drawn = [source.sample(50, seeded(step)) for source in (fresh, after)]
        assert torch.equal(drawn[0].rays.directions, drawn[1].rays.directions)
        assert torch.equal(drawn[0].targets, drawn[1].targets)


def test_regions_are_those_of_photos_in_memory(tmp_path: Path) -> None:
    folder = write_transforms(tmp_path)
    for index, name in enumerate(NAMES):
        save_image(folder / name, noise_image(index, scale=20))
    capture, whole = both(folder)
    inside, streamed = PhotoSource(whole), StreamedPhotos(capture)
    assert isinstance(streamed, RegionSource) and isinstance(streamed, SteppedSource)
    assert not isinstance(inside, SteppedSource)
    assert has_regions(streamed) and is_stepped(streamed)
    assert has_regions(inside) and not is_stepped(inside)
    assert pixel_layout(capture.train.window(0), 2).block_shift == 2
    assert torch.equal(4 * streamed.region_sizes, inside.region_sizes)
    regions = torch.arange(0, len(inside.region_sizes), 7)
    streamed.turn_to(streaming.STEPS_PER_WINDOW + 1)
    batch, found = streamed.sample_regions(len(regions) + 9, regions, seeded())
    assert torch.equal(found[: len(regions)], regions)
    field = whole.train.cameras.in_frame(whole.frame.world_from_field.inverse())
    same = inside.sample_regions(len(regions), regions, seeded())[0]
    near = (batch.rays.directions[: len(regions)] * same.rays.directions).sum(-1)
    assert (near > 1 - 2 * (8 / float(field.focal_px.min())) ** 2).all()


def test_masked_pixels_never_come(tmp_path: Path) -> None:
    """Of one region a single window holds all that counts."""
    frames = make_frames()
    for frame, name in zip(frames, NAMES, strict=True):
        frame["mask_path"] = f"masks/{Path(name).name}"
    folder = write_transforms(tmp_path, frames)
    for name in NAMES:
        mask = noise_image(7)[..., 0] // 128 * 255
        mask[:2, :2] = 0
        mask[0, 0] = 255
        save_image(folder / "masks" / Path(name).name, mask)
    capture, whole = both(folder)
    assert torch.equal(capture.train.mask(1), whole.train.mask(1))
    shown = whole.train.pixels[whole.train.masks > 0].unique(dim=0)
    source = StreamedPhotos(capture)
    for step in of_cycle(source, 4):
        source.turn_to(step)
        regions = torch.arange(len(source.region_sizes))
        batch, found = source.sample_regions(300, regions, seeded())
        assert len(batch.rays) == len(found) == 300
        colors = (batch.targets * 255).round().to(torch.uint8)
        assert len(torch.cat([shown, colors]).unique(dim=0)) == len(shown)


def test_regions_that_a_lens_leaves_empty_in_a_window_are_left_out(tmp_path: Path) -> None:
    """Where a lens bends back, some blocks have a pixel in one window and none in another."""
    folder = write_transforms(tmp_path, fl_x=135.0, w=256, h=192, k1=-0.42)
    for index, name in enumerate(NAMES):
        save_image(folder / name, noise_image(index, scale=16))
    capture, _ = both(folder)
    source = StreamedPhotos(capture)
    regions = source.region_sizes.nonzero()[:, 0]
    fewer = 0
    for step in of_cycle(source, 4):
        source.turn_to(step)
        here = source._current.region_sizes
        fewer += int((here[regions] == 0).sum())
        batch, found = source.sample_regions(len(regions) + 50, regions, seeded())
        assert len(batch.rays) == len(found) and (here[found] > 0).all()
    assert fewer > 0


def test_the_source_is_chosen_by_where_the_photos_are(tmp_path: Path) -> None:
    capture, whole = both(write_blender_capture(tmp_path, size=12))
    sources = [photo_source(found, torch.device("cpu")) for found in (capture, whole)]
    assert isinstance(sources[0], StreamedPhotos) and isinstance(sources[1], PhotoSource)
    for source in sources:
        assert source.has_opacity and source.frame == whole.frame
        assert source.num_channels == 3


def test_a_slow_disk_is_waited_for_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = StreamedPhotos(both(plain(tmp_path))[0])
    monkeypatch.setattr(patience, "FIRST", 0.0)
    with caplog.at_level("INFO", logger="neural_render"):
        source.turn_to(streaming.STEPS_PER_WINDOW + 1)
    assert "waiting for the disk" in caplog.text


def test_what_the_disk_does_not_keep_is_no_cache(tmp_path: Path) -> None:
    """After a power cut, space that was taken and never written reads as zeros, and is as long."""
    settings = CaptureSettings(path=str(plain(tmp_path)), test_every=0, memory="disk")
    with (
        refusing_to_sync(errno.EIO, folders=False),
        pytest.raises(CaptureError, match=r"cannot be written to .* \(Input/output error\)"),
    ):
        open_capture(settings, progress=False)
    assert not list((tmp_path / ".neural_render").glob("pixels_*"))
    open_capture(settings, progress=False)
