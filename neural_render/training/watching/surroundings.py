"""What stands around a field on the viewer's page: the cameras of its photos, and these, small."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from neural_render.captures.records import Capture, Views
from neural_render.captures.settings import CaptureSettings
from neural_render.core.protocols import SceneFrame
from neural_render.training.packages.file import PackageFile
from neural_render.training.packages.opening import OpenedScene
from neural_render.training.runs.folder import RunFolder
from neural_render.training.sources.views import has_views, load_views, views_of
from neural_render.viewer.stage import Photo, Surroundings

SMALL = 256  # pixels: the longer side that photos are read at for this


def surroundings_of(
    capture: Capture,
    title: str,
    home: RunFolder | PackageFile,
    with_photos: Callable[[], Capture],
    *,
    has_photos: bool = True,
) -> Surroundings:
    """Those of a capture's training views; ``with_photos`` gives it with its photos in memory.

    Camera paths are saved in the run's folder, or where what is rendered from a package goes.
    """
    return Surroundings(
        title=title,
        cameras=capture.train.cameras,
        names=capture.train.names,
        photos=lambda chosen, side: small_photos(with_photos().train, chosen, side),
        has_photos=has_photos,
        run=home.path,
        folder=home.renders_path if isinstance(home, PackageFile) else home.path,
    )


def opened_surroundings(
    opened: OpenedScene, capture: Capture, settings: CaptureSettings
) -> Surroundings:
    """Those of a run or a package and its cameras; ``settings`` say where the photos are."""
    home = opened.home
    photographed = isinstance(home, RunFolder) and not has_views(home.path)
    return surroundings_of(
        capture,
        opened.name,
        home,
        lambda: with_small_photos(opened, settings) if photographed else capture,
        has_photos=photographed,
    )


def photographed_surroundings(capture: Capture, run: RunFolder) -> Surroundings:
    """Those of a capture whose photos are in memory."""
    return surroundings_of(capture, run.path.parent.name, run, lambda: capture)


def baked_surroundings(run: RunFolder, frame: SceneFrame) -> Surroundings:
    """Those of a baked scene: cameras that it was looked at from, without photos."""
    views = load_views(run.path, frame)
    title = run.path.parent.name
    return surroundings_of(views, title, run, lambda: views, has_photos=False)


def with_small_photos(opened: OpenedScene, settings: CaptureSettings) -> Capture:
    """The capture of a run with its photos as small as the page shows them."""
    small = replace(settings, max_side=SMALL, find_points=False, memory="ram")
    return views_of(opened.home.path, opened.scene, small, images=True)


def small_photos(views: Views, chosen: Sequence[int], side: int) -> Sequence[Photo]:
    """Some of the photos, no side longer than ``side``; what is see-through is white."""
    return [small_photo(views.image(index).cpu().numpy(), side) for index in chosen]


def small_photo(pixels: np.ndarray, side: int) -> Photo:
    """A photo in 8 bits, with straight alpha or without, scaled down."""
    mode = "RGBA" if pixels.shape[2] == 4 else "RGB"
    image = Image.fromarray(np.ascontiguousarray(pixels), mode)
    image = image.reduce(max(1, -(-max(image.size) // side)))
    if mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    return np.asarray(image)
