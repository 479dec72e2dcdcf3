"""Opens what was trained, be it the folder of a run or a package of one, to look at it."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from neural_render.captures.readers.listing import no_points
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.kernels.cells import unpack_bits
from neural_render.rendering import OccupancyGrid
from neural_render.training.packages.contents import (
    unpacked_bits,
    unpacked_environment,
    unpacked_networks,
    unpacked_table,
    unpacked_views,
)
from neural_render.training.packages.file import PackageFile, is_package
from neural_render.training.packages.format import Document, Quality
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import TrainedScene, load_for_rendering, rebuilt
from neural_render.training.sources.held_out import refined
from neural_render.training.sources.views import views_of


@dataclass(frozen=True, kw_only=True)
class OpenedScene:
    """A trained scene and where it came from."""

    home: RunFolder | PackageFile
    name: str
    scene: TrainedScene
    packed: tuple[Capture, ...]  # the cameras that a package holds; none of a run folder
    quality: tuple[Quality, ...]  # what packaging cost; none of a run folder

    def views(self, settings: CaptureSettings) -> Capture:
        """The cameras of the capture, without photos; those of a package are inside it.

        ``settings`` say where the photos of a run folder are. Of several processes the first one
        looks first.
        """
        if self.packed:
            return self.packed[0]
        return views_of(self.home.path, self.scene, settings)

    def refined_views(self, settings: CaptureSettings) -> Capture:
        """The same where training found its cameras, if it looked."""
        return refined(self.scene, self.views(settings))


def open_scene(path: Path, device: torch.device) -> OpenedScene:
    """The trained scene in a run folder, or in a package.

    CheckpointError or PackageError, in one sentence, where there is none or it is broken.
    """
    if is_package(path):
        return open_package(PackageFile(path=path.resolve()), device)
    run = RunFolder.open(path)
    return OpenedScene(
        home=run,
        name=run.path.parent.name,
        scene=load_for_rendering(run, device),
        packed=(),
        quality=(),
    )


def open_package(file: PackageFile, device: torch.device) -> OpenedScene:
    """The scene in a package; PackageError, in one sentence, where it is broken."""
    document, tensors = file.read()
    try:
        capture = _capture(file, document, tensors)
        scene = _scene(document, tensors, device)
    except ValueError as error:
        raise file.broken(error) from error
    return OpenedScene(
        home=file,
        name=document.name,
        scene=scene,
        packed=(capture,),
        quality=(document.quality,),
    )


def _scene(document: Document, tensors: dict[str, Tensor], device: torch.device) -> TrainedScene:
    record = document.run
    bits = unpacked_bits(tensors, record.march.cascades)
    occupancy = OccupancyGrid(record.march.cascades, device)
    occupied = unpack_bits(bits).float()
    occupancy.load_state({**occupancy.state(), "bits": bits, "values": occupied})
    return rebuilt(
        record,
        document.progress,
        unpacked_networks(record.field, tensors) | {"table": unpacked_table(document, tensors)},
        occupancy,
        environment=unpacked_environment(tensors),
        cameras={},
    )


def _capture(file: PackageFile, document: Document, tensors: dict[str, Tensor]) -> Capture:
    """The cameras, already where training found them."""
    kept = document.capture
    train, test = (
        unpacked_views(tensors, part, names, has_opacity=kept.has_opacity)
        for part, names in (("train", kept.train), ("test", kept.test))
    )
    if not len(train):
        raise ValueError("it holds no training cameras")
    return Capture(
        name=kept.name,
        path=file.path,
        format=kept.format,
        train=train,
        test=test,
        frame=document.run.frame,
        points=no_points(),
        has_opacity=kept.has_opacity,
        split=kept.split,
        warnings=(),
    )
