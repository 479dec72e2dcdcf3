"""Rays through pixels: flat indices, poses, colours and blocks, on every backend."""

from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from neural_render.core.errors import KernelError
from neural_render.kernels import dispatch, ops
from neural_render.kernels.records import PixelLayout, PixelViews
from tests.kernels.tolerances import assert_close, parity

NO_MASKS = torch.empty(0, dtype=torch.uint8)
SIZES = {"alike": [(13, 9)] * 4, "mixed": [(13, 9), (40, 33), (1, 1), (8, 8)]}


def layout_of(sizes: list[tuple[int, int]], block_shift: int = 2) -> PixelLayout:
    """Photos of these sizes, one after another."""
    edges = torch.tensor(sizes)
    blocks = ((edges + (1 << block_shift) - 1) >> block_shift).prod(-1)
    areas = edges.prod(-1)
    return PixelLayout(
        offsets=areas.cumsum(0) - areas,
        sizes=edges,
        first_blocks=blocks.cumsum(0) - blocks,
        num_pixels=int(areas.sum()),
        num_blocks=int(blocks.sum()),
        block_shift=block_shift,
    )


def make_views(layout: PixelLayout, channels: int, table: bool, shared: bool) -> PixelViews:
    """Random photos and cameras."""
    generator = torch.Generator().manual_seed(3)
    num_views = len(layout.offsets)
    rows = 1 if shared else num_views
    focal = 20 + 10 * torch.rand(rows, 2, generator=generator)
    center = 4 + 4 * torch.rand(rows, 2, generator=generator)
    directions = torch.randn(layout.num_pixels if table else 0, 4, generator=generator)
    rotations = torch.linalg.qr(torch.randn(num_views, 3, 3, generator=generator))[0]
    poses = torch.cat([rotations.flatten(1), torch.randn(num_views, 3, generator=generator)], 1)
    shape = (layout.num_pixels, channels)
    return PixelViews(
        layout=layout,
        pixels=torch.randint(256, shape, generator=generator, dtype=torch.uint8),
        poses=poses,
        intrinsics=torch.cat([focal, center, 0.3 / focal[:, :1]], 1),
        table=directions,
        table_starts=layout.offsets,
    )


def places(layout: PixelLayout) -> list[tuple[int, int, int]]:
    """View, column and row of every pixel, in their order."""
    return [
        (view, column, row)
        for view, (width, height) in enumerate(layout.sizes.tolist())
        for row in range(height)
        for column in range(width)
    ]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", dispatch.BACKENDS)
def test_every_pixel_is_found_at_its_place(name: str, sizes: str) -> None:
    layout = layout_of(SIZES[sizes])
    views = make_views(layout, channels=4, table=False, shared=True)
    focal_x, focal_y, center_x, center_y, factor = views.intrinsics[0].tolist()
    with using(name):
        found = ops.shoot_rays(torch.arange(layout.num_pixels), views)
    assert torch.equal(found.colors, views.pixels[:, :3].float() / 255)
    assert torch.equal(found.opacity, views.pixels[:, 3].float() / 255)
    view, column, row = torch.tensor(places(layout)).T
    assert torch.equal(found.view, view)
    local = torch.stack([(column + 0.5 - center_x) / focal_x, (row + 0.5 - center_y) / focal_y], -1)
    local = torch.nn.functional.pad(local, (0, 1), value=1.0)
    rotation = views.poses[:, :9].view(-1, 3, 3)[view].mT
    wanted = torch.nn.functional.normalize((rotation @ local[:, :, None])[:, :, 0], dim=-1)
    torch.testing.assert_close(found.rays.directions, wanted, atol=1e-6, rtol=1e-5)
    assert torch.equal(found.rays.origins, views.poses[view, 9:])
    torch.testing.assert_close(found.rays.footprint, factor * local.norm(dim=-1) ** -1.5)
    across = ((layout.sizes[:, 0] + 3) // 4)[view]
    assert torch.equal(found.block, layout.first_blocks[view] + row // 4 * across + column // 4)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(("table", "shared"), [(False, True), (False, False), (True, True)])
@pytest.mark.parametrize("channels", [3, 4])
def test_backends_shoot_the_same_rays(
    backend: str, sizes: str, table: bool, shared: bool, channels: int
) -> None:
    layout = layout_of(SIZES[sizes])
    views = make_views(layout, channels, table, shared)
    for count in (0, 1, 2500):
        pixel = torch.randint(layout.num_pixels, (count,), generator=torch.Generator())
        results = []
        for name in ("reference", backend):
            with using(name):
                results.append(ops.shoot_rays(pixel, views))
        expected, found = results
        for entry in ("colors", "opacity", "view", "block"):
            assert torch.equal(getattr(found, entry), getattr(expected, entry)), entry
        for entry in ("origins", "directions", "footprint"):
            pair = getattr(found.rays, entry), getattr(expected.rays, entry)
            assert_close(*pair, parity(backend, "values", "float32"), entry)


@pytest.mark.parametrize("name", dispatch.BACKENDS)
def test_places_are_exact_far_into_a_huge_capture(name: str) -> None:
    """Two thousand photos of 24 megapixels, but for their pixels, which are one byte."""
    layout = layout_of([(6001, 3999)] * 2000, block_shift=7)
    blocks = torch.cat([torch.arange(5000), layout.num_blocks - 1 - torch.arange(5000)])
    first = torch.zeros(10_000, dtype=torch.double)
    last = first + (1 - 1e-12)
    with using(name):
        corner = ops.pick_pixels(blocks, first, layout, NO_MASKS)
        end = ops.pick_pixels(blocks, last, layout, NO_MASKS)
    view, local = blocks // (47 * 32), blocks % (47 * 32)
    x, y = local % 47 * 128, local // 47 * 128
    start = view * 6001 * 3999
    assert torch.equal(corner, start + y * 6001 + x)
    right, bottom = (x + 127).clamp(max=6000), (y + 127).clamp(max=3998)
    assert torch.equal(end, start + bottom * 6001 + right)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", dispatch.BACKENDS)
def test_each_usable_pixel_of_a_block_comes_equally_often(
    name: str, sizes: str, masked: bool
) -> None:
    layout = layout_of(SIZES[sizes], block_shift=3)
    generator = torch.Generator().manual_seed(7)
    masks = torch.rand(layout.num_pixels, generator=generator) < 0.3 if masked else NO_MASKS
    usable = masks if masked else torch.ones(layout.num_pixels, dtype=torch.bool)
    views = make_views(layout, channels=3, table=False, shared=True)
    steps = (torch.arange(960, dtype=torch.double) + 0.5) / 960
    with using(name):
        block_of = ops.shoot_rays(torch.arange(layout.num_pixels), views).block
        for block in block_of[usable].unique().tolist():
            asked = torch.full((960,), block)
            picked = ops.pick_pixels(asked, steps, layout, masks.to(torch.uint8))
            wanted = (usable & (block_of == block)).nonzero()[:, 0]
            assert torch.equal(picked.unique(), wanted)
            counts = picked.unique(return_counts=True)[1]
            assert counts.max() - counts.min() <= 1
            assert torch.equal(picked, picked.sort()[0])  # row by row


class _Largest(TorchDispatchMode):
    """The most entries of a tensor that was made inside."""

    found = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        self.found = max(self.found, made.numel() if isinstance(made, torch.Tensor) else 0)
        return made


@pytest.mark.parametrize("name", ["reference", "cuda"])
def test_masked_blocks_of_any_number_and_side_take_little_memory(name: str) -> None:
    """Two photos of six megapixels, whose blocks have 256 pixels a side, and 200 rays."""
    layout, rays = layout_of([(3000, 2000)] * 2, block_shift=8), 200
    generator = torch.Generator().manual_seed(5)
    masks = (torch.rand(layout.num_pixels, generator=generator) < 0.3).to(torch.uint8)
    block = torch.randint(layout.num_blocks, (rays,), generator=generator)
    place = torch.rand(rays, generator=generator, dtype=torch.double)
    with using(name), _Largest() as largest:
        found = ops.pick_pixels(block, place, layout, masks)
        nothing = ops.pick_pixels(block[:0], place[:0], layout, masks)
    assert largest.found <= 1 << 22 and len(nothing) == 0
    with using("reference"):
        one_by_one = [
            ops.pick_pixels(block[ray : ray + 1], place[ray : ray + 1], layout, masks)
            for ray in range(rays)
        ]
    assert torch.equal(found, torch.cat(one_by_one))
    assert masks[found].all()


def test_what_does_not_exist_is_refused() -> None:
    if dispatch.unavailable_reason("cpu"):
        pytest.skip("the cpu backend cannot run here")
    layout = layout_of(SIZES["mixed"])
    views = make_views(layout, channels=3, table=False, shared=True)
    middle = torch.full((1,), 0.5, dtype=torch.double)
    with dispatch.using("cpu"):
        for index in (-1, layout.num_pixels):
            with pytest.raises(KernelError, match=r"index lies outside \[0, 1502\)"):
                ops.shoot_rays(torch.tensor([0, index]), views)
        nothing = torch.zeros(layout.num_pixels, dtype=torch.uint8)
        for block, masks in ((-1, NO_MASKS), (layout.num_blocks, NO_MASKS), (0, nothing)):
            with pytest.raises(KernelError, match="does not exist or has no usable pixel"):
                ops.pick_pixels(torch.tensor([block]), middle, layout, masks)
        with pytest.raises(KernelError, match="uint8 with 1502 rows"):
            ops.pick_pixels(torch.tensor([0]), middle, layout, nothing[:-1])


def using(name: str) -> AbstractContextManager[ModuleType]:
    """The backend inside, or a skip that says why it cannot run here."""
    reason = dispatch.unavailable_reason(name)
    if reason:
        pytest.skip(f"kernels.backend={name} cannot run here: {reason}")
    return dispatch.using(name)
