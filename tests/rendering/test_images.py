from collections.abc import Callable
from typing import Any

import pytest
import torch

from neural_render.core.cameras import Cameras, Lens, image_rays
from neural_render.core.transforms import look_at
from neural_render.rendering import (
    Renderer,
    RenderingSettings,
    build_renderer,
    images,
    render_image,
)
from neural_render.rendering.images import LensNumbers, tiled_order
from tests.rendering.analytic import CPU, SphereField, frame, small_field


def camera(width: int, height: int) -> Cameras:
    pose = look_at(
        torch.tensor([2.0, 0.5, 0.5]), torch.tensor([0.5, 0.5, 0.5]), torch.tensor([0.0, 0.0, 1.0])
    )
    return Cameras(
        world_from_camera=pose[None],
        focal_px=torch.tensor([[40.0, 40.0]]),
        center_px=torch.tensor([[width / 2, height / 2]]),
        distortion=torch.zeros((1, 6)),
        lens=torch.tensor([int(Lens.PERSPECTIVE)]),
        width=torch.tensor([width]),
        height=torch.tensor([height]),
    )


@pytest.mark.parametrize(("width", "height", "tile"), [(16, 8, 4), (13, 7, 4), (1, 5, 8)])
def test_tiles_visit_each_pixel_once(width: int, height: int, tile: int) -> None:
    order, place = tiled_order(width, height, tile)
    assert torch.equal(place[order], torch.arange(width * height))
    assert order.sort().values.tolist() == list(range(width * height))
    whole = min(tile, width) * min(tile, height)
    first = order[:whole]
    assert (first % width).max() < tile and (first // width).max() < tile


def test_picture_of_a_sphere(backend: str) -> None:
    """The centre sees the ball's near side at distance 1.5 - 0.2, the corner the background."""
    renderer = build_renderer(RenderingSettings(), frame(), CPU)
    background = torch.tensor([0.2, 0.4, 0.6])
    field = SphereField(0.2, 5e3, (0.9, 0.1, 0.3))
    image = render_image(renderer, field, camera(31, 21), 0, background)
    assert image.color.shape == (21, 31, 3) and image.opacity.shape == (21, 31)
    assert image.color[10, 15].tolist() == pytest.approx([0.9, 0.1, 0.3], abs=1e-3)
    assert image.opacity[10, 15].item() == pytest.approx(1, abs=1e-3)
    assert image.distance[10, 15].item() == pytest.approx(1.3, abs=3e-3)
    assert torch.equal(image.color[0, 0], background)
    assert image.opacity[0, 0] == 0 and image.distance[0, 0] == 0
    # Upright and symmetric: the silhouette is a disc around the middle of the picture.
    mask = image.opacity > 0.5
    assert torch.equal(mask, mask.flip(0)) and torch.equal(mask, mask.flip(1))


def test_pieces_do_not_show(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any size of pieces and tiles gives the same picture, bit for bit, and the same twice."""
    renderer = build_renderer(RenderingSettings(step=0.02), frame(), CPU)
    field, background = small_field(), torch.ones(3)
    whole = render_image(renderer, field, camera(20, 14), 0, background)
    again = render_image(renderer, field, camera(20, 14), 0, background)
    monkeypatch.setattr(images, "RAYS_AT_ONCE", 17)
    monkeypatch.setattr(images, "TILE", 1)
    pieces = render_image(renderer, field, camera(20, 14), 0, background)
    assert torch.equal(whole.color, again.color)
    torch.testing.assert_close(whole.color, pieces.color, atol=1e-6, rtol=0)
    torch.testing.assert_close(whole.distance, pieces.distance, atol=1e-6, rtol=0)


def test_bands_do_not_show(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large pictures are made in bands of rows: the memory for their rays is bounded."""
    renderer = build_renderer(RenderingSettings(), frame(), CPU)
    field, background = small_field(), torch.tensor([0.2, 0.4, 0.6])
    view = camera(45, 70)
    whole = render_image(renderer, field, view, 0, background)
    monkeypatch.setattr(images, "PIXELS_AT_ONCE", 45 * 33)
    monkeypatch.setattr(images, "tiled_lens", asked := Asked(images.tiled_lens))
    bands = render_image(renderer, field, view, 0, background)
    assert [numbers.height for numbers in asked.for_numbers] == [32, 32, 6]
    # Rows are counted from elsewhere: the last bit of a direction may differ.
    torch.testing.assert_close(bands.color, whole.color, rtol=0, atol=2e-4)
    torch.testing.assert_close(bands.opacity, whole.opacity, rtol=0, atol=2e-4)
    assert bands.distance.shape == whole.distance.shape


def test_the_bands_of_a_film_share_their_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as a picture of 3840 x 2160 has, from one picture to the next."""
    renderer, view = build_renderer(RenderingSettings(), frame(), CPU), camera(9, 64)
    monkeypatch.setattr(images, "PIXELS_AT_ONCE", 9 * 16)
    images.tiled_lens.cache_clear()
    for _ in range(3):
        render_image(renderer, small_field(), view, 0, torch.ones(3))
    told = images.tiled_lens.cache_info()
    assert (told.misses, told.hits) == (4, 8)


class Asked:
    """A function that keeps what it was asked for."""

    def __init__(self, call: Callable[[LensNumbers, int, torch.device], Any]) -> None:
        self._call = call
        self.for_numbers: list[LensNumbers] = []

    def __call__(self, numbers: LensNumbers, tile: int, device: torch.device) -> Any:
        self.for_numbers.append(numbers)
        return self._call(numbers, tile, device)


def test_pictures_need_no_gradients_and_take_conditions(backend: str) -> None:
    renderer = build_renderer(RenderingSettings(step=0.02), frame(), CPU)
    field, background = small_field(num_conditions=2), torch.zeros(3)
    dark, bright = (
        render_image(renderer, field, camera(9, 9), 0, background, torch.full((2,), value))
        for value in (-3.0, 3.0)
    )
    assert not dark.color.requires_grad
    assert not torch.allclose(dark.color, bright.color)
    assert torch.equal(dark.opacity, bright.opacity)


def test_pictures_ask_for_fewer_colours(backend: str) -> None:
    """The renderer of pictures sees what the exact one sees, to less than an eye can tell."""
    renderer = build_renderer(RenderingSettings(step=0.02), frame(), CPU)
    field, background = small_field(), torch.ones(3)
    exact = Renderer(renderer.march, renderer.occupancy)
    rays = image_rays(camera(20, 14), 0)
    with torch.no_grad():
        every, fewer = (
            one.render(
                field,
                rays,
                background=background.repeat(len(rays), 1),
                jitter=torch.full((len(rays),), 0.5),
            )
            for one in (exact, exact.for_pictures())
        )
    assert fewer.num_survived < every.num_survived
    assert (fewer.values - every.values).abs().max() < 0.01
