"""Makes a package of a run: quantises its field, measures what that costs, writes one file."""

import copy
import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from neural_render.captures.records import Capture, Views
from neural_render.core.errors import CheckpointError, PackageError, SettingError
from neural_render.core.files import check_place, expanded
from neural_render.core.processes.sweeps import own_folder
from neural_render.evaluation.evaluate import evaluate, spread
from neural_render.evaluation.protocol import (
    EvaluationProtocol,
    background_color,
    background_name,
)
from neural_render.evaluation.settings import EvaluationSettings
from neural_render.training.films.shooting import scene_renders
from neural_render.training.packages.contents import (
    packed_bits,
    packed_environment,
    packed_networks,
    packed_table,
    packed_views,
)
from neural_render.training.packages.file import PackageFile
from neural_render.training.packages.format import (
    MOST_ENTRIES,
    SUFFIX,
    Document,
    PackedCapture,
    Quality,
    num_entries,
)
from neural_render.training.packages.quantising.choosing import QuantisedTable, TableChooser
from neural_render.training.packages.quantising.witness import Witness
from neural_render.training.packages.settings import PackageSettings
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import TrainedScene
from neural_render.training.sources.held_out import held_out, refined

ASSUMED_PSNR = 40.0  # of a run that was measured on nothing
MOST_VIEWS = 25  # of training views, where there are no test views


@dataclass(frozen=True, kw_only=True)
class MadePackage:
    """A package that was written, and what it costs and saves."""

    file: PackageFile
    num_bytes: int
    checkpoint_bytes: int
    num_entries: int
    quality: Quality

    @property
    def ratio(self) -> float:
        """How many times smaller than the checkpoint it is."""
        return self.checkpoint_bytes / self.num_bytes

    @property
    def bits_per_entry(self) -> float:
        """Bits of the whole file per entry of the field's table."""
        return 8 * self.num_bytes / self.num_entries


@dataclass(frozen=True, kw_only=True)
class Original:
    """A run to be packaged, its scene, and the capture that it was made from."""

    run: RunFolder
    scene: TrainedScene
    capture: Capture  # with its photos, if there are any
    background: str  # white, black or auto

    @property
    def background_name(self) -> str:
        """White or black."""
        return background_name(
            self.background,
            trained=self.scene.record.background,
            has_opacity=self.capture.has_opacity,
        )

    @property
    def has_photos(self) -> bool:
        """Whether there is something to compare renders with."""
        return len(self.capture.train.pixels) > 0

    @property
    def judged(self) -> tuple[Views, str]:
        """The views that the loss is measured on, and what they are called."""
        if len(self.capture.test):
            return self.capture.test, f"{len(self.capture.test)} test views"
        num = len(spread(len(self.capture.train), MOST_VIEWS))
        return self.capture.train, f"{num} training views"


def make_package(
    original: Original, settings: PackageSettings, *, progress: bool = False
) -> MadePackage:
    """Writes the package; SettingError, PackageError or OutputError where that cannot be done."""
    scene, capture = original.scene, original.capture
    file = PackageFile(path=_output(original.run, settings))
    if num_entries(scene.field.spec) > MOST_ENTRIES:
        raise PackageError(
            f"The field of {original.run.path} has {num_entries(scene.field.spec)} entries, and"
            f" packages hold {MOST_ENTRIES} at most: train with a smaller field.grid.log2_rows."
        )
    views = refined(scene, capture)
    chosen_from = views.train.cameras[torch.tensor(spread(len(views.train), settings.views))]
    witness = Witness(scene, chosen_from, original.background_name)
    psnr = _psnr_of_run(original, progress)
    rounded = with_half_networks(scene)
    allowed = 10 ** (-psnr / 10) * (10 ** (settings.max_loss_db / 10) - 1)
    table = TableChooser(rounded, witness).chosen(allowed)
    quality = _quality(original, table, table.shown_by(rounded), psnr, progress)
    tensors, levels = packed_table(table.numbers, table.steps)
    document = Document(
        name=original.run.path.parent.name,
        run=replace(scene.record, capture=capture.name),
        progress=scene.progress,
        capture=PackedCapture(
            name=capture.name,
            format=capture.format,
            split=capture.split,
            has_opacity=capture.has_opacity,
            train=capture.train.names,
            test=capture.test.names,
        ),
        table=levels,
        quality=quality,
    )
    num_bytes = file.write(document, tensors | _other_tensors(scene, views))
    return MadePackage(
        file=file,
        num_bytes=num_bytes,
        checkpoint_bytes=_size(original.run.last_checkpoint()),
        num_entries=num_entries(scene.field.spec),
        quality=quality,
    )


def with_half_networks(scene: TrainedScene) -> TrainedScene:
    """The scene with all parameters but the table rounded as a package has them."""
    field = copy.deepcopy(scene.field)
    for name, parameter in packed_networks(field).items():
        field.get_parameter(name).copy_(parameter.float())
    return replace(scene, field=field)


def summary(made: MadePackage) -> str:
    """What was made, a line for each figure."""
    quality = made.quality
    against = "" if quality.compared_with == "photos" else ", as far as renders tell"
    rows = {
        "package": f"{made.num_bytes / 1e6:.2f} MB, {made.ratio:.1f} times smaller than the"
        f" checkpoint ({made.checkpoint_bytes / 1e6:.1f} MB)",
        "bits": f"{made.bits_per_entry:.2f} per entry of the table",
        "PSNR": f"{quality.psnr_package:.2f} dB, {quality.psnr_run:.2f} dB before",
        "loss": f"{quality.loss_db:.3f} dB on {quality.views}{against}",
        "beside": f"{quality.psnr_between:.2f} dB between renders of the run and the package",
    }
    return "\n".join(f"{name:<12}{text}" for name, text in rows.items())


def _quality(
    original: Original,
    table: QuantisedTable,
    packed: TrainedScene,
    psnr_run: float,
    progress: bool,
) -> Quality:
    """What ``packed`` is worth beside the run."""
    views, named = original.judged
    if original.has_photos:
        psnr = measured_psnr(replace(original, scene=packed), progress=progress)
    else:
        cameras = views.cameras[torch.tensor(spread(len(views), MOST_VIEWS))]
        seen = Witness(original.scene, cameras, original.background_name)
        psnr = -10 * math.log10(10 ** (-psnr_run / 10) + seen.error(packed))
    return Quality(
        views=named,
        compared_with="photos" if original.has_photos else "renders",
        psnr_run=psnr_run,
        psnr_package=psnr,
        psnr_between=-10 * math.log10(max(table.error, 1e-10)),
    )


def _psnr_of_run(original: Original, progress: bool) -> float:
    """The run's figure: measured on its photos, or what it was measured by as it is now."""
    if original.has_photos:
        return measured_psnr(original, progress=progress)
    try:
        measures = original.run.measures()
        if behind := original.run.unmeasured(measures):
            raise PackageError(f"{original.run.path} {behind}.")
        return float(measures["psnr"])
    except (CheckpointError, KeyError, TypeError):
        return ASSUMED_PSNR


def measured_psnr(original: Original, *, progress: bool = False) -> float:
    """The mean PSNR of the judged views, by the protocol of a run's evaluation."""
    views, _ = original.judged
    capture = replace(original.capture, test=views)
    settings = EvaluationSettings(
        max_views=0 if len(original.capture.test) else MOST_VIEWS,
        ssim=False,
        flip=False,
        images=False,
    )
    seen = held_out(original.scene, capture, settings)
    name = original.background_name
    background = background_color(name)
    renders = scene_renders(original.scene, seen.cameras, background, torch.zeros(0))
    with tempfile.TemporaryDirectory() as folder:
        record = evaluate(
            seen.views,
            seen.shown(renders, background),
            protocol=EvaluationProtocol(
                split=capture.split,
                background=name,
                colour_space=original.scene.record.color_space,
                **seen.protocol,
            ),
            figures=original.scene.figures,
            settings=settings,
            folder=Path(folder),
            progress=progress,
        )
    return ASSUMED_PSNR if record["psnr"] is None else float(record["psnr"])


def _other_tensors(scene: TrainedScene, views: Capture) -> dict[str, Tensor]:
    """All but the table."""
    tensors = packed_networks(scene.field)
    tensors["occupancy"] = packed_bits(scene.renderer.occupancy.bits)
    for part, cameras in (("train", views.train), ("test", views.test)):
        tensors |= packed_views(cameras, part)
    for environment in scene.environment:
        tensors |= packed_environment(environment)
    return tensors


def _output(run: RunFolder, settings: PackageSettings) -> Path:
    if not settings.output:
        own = f"_{folder}" if (folder := own_folder()) else ""  # jobs of a sweep side by side
        return check_place(run.path / f"{run.path.parent.name}{own}{SUFFIX}")
    path = expanded(settings.output)
    if path.is_dir():
        raise SettingError(
            f"package.output={settings.output} is a folder: give a file in it, such as"
            f" package.output={path / (run.path.parent.name + SUFFIX)}"
        )
    return check_place(path.absolute())


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
