"""What a trained scene has to show: its numbers on the test views, and films."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from neural_render.captures.records import Capture
from neural_render.core.lights import Lighting
from neural_render.core.processes import group
from neural_render.core.processes.sweeps import own_folder
from neural_render.core.waiting.patience import told_if_slow
from neural_render.core.waiting.turns import locked
from neural_render.evaluation.evaluate import evaluate
from neural_render.evaluation.pages.plan import plan_of
from neural_render.evaluation.pages.report import write_report
from neural_render.evaluation.protocol import (
    EvaluationProtocol,
    background_color,
    background_name,
)
from neural_render.evaluation.settings import EvaluationSettings
from neural_render.export.film import check_path, film_cameras, film_eyes
from neural_render.export.folder import holds_film
from neural_render.export.frames import write_film
from neural_render.export.settings import RenderSettings, outputs_of
from neural_render.rendering.lit import set_dials
from neural_render.training.films.shooting import (
    check_backdrop,
    delivery_of,
    scene_film,
    scene_renders,
)
from neural_render.training.packages.file import PackageFile
from neural_render.training.runs.atomic import writing
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import TrainedScene, check_exposure
from neural_render.training.sources.held_out import held_out, refined

NO_DIALS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Results:
    """A trained scene, the photos it was made from, and where what it has to show belongs."""

    run: RunFolder | PackageFile  # a package is only filmed
    scene: TrainedScene
    capture: Capture
    background: str  # white, black or auto

    def measure(self, settings: EvaluationSettings, *, progress: bool) -> dict[str, Any]:
        """The contents of ``evaluation/metrics.json``, written with a picture of each test view."""
        with told_if_slow("measuring on the test views"):
            return self._measured(settings, progress)

    def _measured(self, settings: EvaluationSettings, progress: bool) -> dict[str, Any]:
        assert isinstance(self.run, RunFolder)
        background = background_color(self._background_name)
        seen = held_out(self.scene, self.capture, settings)
        return evaluate(
            seen.views,
            seen.shown(
                scene_renders(self.scene, seen.cameras, background, torch.zeros(0)), background
            ),
            protocol=EvaluationProtocol(
                split=self.capture.split,
                background=self._background_name,
                colour_space=self.scene.record.color_space,
                **seen.protocol,
            ),
            figures=self.scene.figures,
            settings=settings,
            folder=self.run.evaluation_path,
            progress=progress,
        )

    def report(self, record: Mapping[str, Any], changed_settings: Mapping[str, Any]) -> None:
        """Writes ``report.html`` about what ``measure`` returned."""
        assert isinstance(self.run, RunFolder)
        if group.is_first():
            write_report(
                self.run.report_path,
                title=f"{self.run.path.parent.name}, {self.scene.progress.step:,} steps",
                record=record,
                curve=self.run.metrics_path,
                changed_settings=changed_settings,
                plan=plan_of(self.capture),
            )

    def film(
        self,
        settings: RenderSettings,
        lights: Mapping[str, Any] = NO_DIALS,
        *,
        max_side: int = 0,
        progress: bool,
    ) -> tuple[Path, ...]:
        """The paths of the film that ``settings`` ask for, in ``renders_path``; none for ``none``.

        Frames that an interrupted film of the same views left are not rendered again; those of
        other views in their place are replaced. ``lights`` are dials (``lights.NAME``).
        Where training refined its cameras, the film follows them. ``max_side`` bounds the frames
        where no size is stated; 0: they are as large as the photos.
        """
        if not outputs_of(settings):
            return ()
        capture = refined(self.scene, self.capture)
        name, cameras = film_cameras(settings, capture, max_side=max_side)
        film = scene_film(
            self.scene, cameras, settings, lights=lights, background=self._background_name
        )
        if isinstance(self.run, PackageFile):
            film = replace(film, description={**film.description, "package": self.run.stamp})
        eyes = "" if settings.stereo.layout == "none" else "_stereo"
        folder = self._films_path / f"{name}{eyes}_{film.description['size']}"
        delivery = delivery_of(settings, cameras)
        with _alone_in(folder), told_if_slow(f"rendering the film {name}"):
            return write_film(
                film,
                folder,
                delivery,
                resume=group.of_first(lambda: holds_film(folder, film.description)),
                progress=progress,
            )

    @property
    def _films_path(self) -> Path:
        """Where films lie: jobs of a sweep that film one run replace none of each other's."""
        return self.run.renders_path / own_folder()

    @property
    def _background_name(self) -> str:
        trained = self.scene.record.background
        return background_name(
            self.background, trained=trained, has_opacity=self.capture.has_opacity
        )


def check_film_of_photos(settings: RenderSettings, capture: Capture) -> None:
    """SettingError, or UserError for a broken path, before training, for a film that a run on such
    photos cannot have after it."""
    if outputs_of(settings):
        set_dials(Lighting(), NO_DIALS, settings.light_at)
        check_exposure(settings.exposure, "srgb", "render.exposure")
        check_backdrop(settings.backdrop, "render.backdrop", has_environment=False)
        _, cameras = film_cameras(settings, capture, max_side=0)
        film_eyes(settings, cameras)


def check_film_of_scene(settings: RenderSettings, lighting: Lighting) -> None:
    """The same before a bake of a scene with such lights; its views are not known yet."""
    if outputs_of(settings):
        set_dials(lighting, NO_DIALS, settings.light_at)
        check_path(settings)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Inside, no other film is written into the folder; the first process holds it for all."""
    if not group.is_first():
        yield
        return
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        yield


def summary(record: Mapping[str, Any], report: Path, films: Iterable[Path]) -> str:
    """What ``measure`` returned and where the report and the films are, a line each."""
    shown = {
        "PSNR": ("{:.2f} dB", record["psnr"]),
        "as shown": ("{:.2f} dB", record.get("psnr_display")),
        "reference": ("{:.2f} dB, its halves", record.get("psnr_reference")),
        "SSIM": ("{:.4f}", record["ssim"]),
        "FLIP": ("{:.4f}", record["flip"]),
        "rel. MSE": ("{:.4f}", record.get("relative_mse")),
        "mean light": ("{:.4f} of the reference's", record.get("mean_ratio")),
        "test views": ("{}, on " + record["protocol"]["background"], record["num_views"]),
        "training": ("{:.1f} s", record["train_seconds"]),
        "CPU time": ("{:.1f} s per thread", record["train_cpu_seconds"]),
        "steps": ("{:,}", record["num_steps"]),
        "one view": ("{:.2f} s", record["render_seconds"]),
    }
    rows = {name: form.format(value) for name, (form, value) in shown.items() if value is not None}
    files = (("report", report), *(("film", path) for path in films))
    return "\n".join(f"{name:<12}{text}" for name, text in (*rows.items(), *files))
