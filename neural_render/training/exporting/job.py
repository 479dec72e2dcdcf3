"""One export: a trained scene, its cameras and what the user wants of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from neural_render.captures.records import Capture
from neural_render.core.errors import SettingError
from neural_render.core.files import check_place, expanded
from neural_render.core.processes.sweeps import own_folder
from neural_render.export.formats import ExportSettings
from neural_render.export.geometry.space import Space
from neural_render.export.geometry.subject import Palette, Subject
from neural_render.rendering.lit import set_dials
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import TrainedScene
from neural_render.training.sources.held_out import refined


@dataclass(frozen=True, kw_only=True)
class ExportJob:
    """What each form is made of. ``lights`` are dials (``lights.NAME``)."""

    run: RunFolder
    scene: TrainedScene
    capture: Capture  # without images, as it was trained on
    settings: ExportSettings
    lights: Mapping[str, Any]
    seed: int
    progress: bool

    @cached_property
    def refined_capture(self) -> Capture:
        """The capture with its cameras where training found them, if it looked."""
        return refined(self.scene, self.capture)

    @cached_property
    def subject(self) -> Subject:
        """The field as it is exported; SettingError for lights that the run has not."""
        scene, settings = self.scene, self.settings
        exposure = scene.exposed(settings.exposure, "export.exposure")
        dials = set_dials(scene.lighting, self.lights, settings.light_at, "export.light_at")
        told = dials.conditions if len(dials.conditions) else torch.zeros(scene.num_conditions)
        frame = scene.frame.world_from_field
        return Subject(
            field=scene.field,
            renderer=scene.renderer,
            frame=scene.frame,
            cameras=self.refined_capture.train.cameras.in_frame(frame.inverse()),
            palette=Palette(
                colour_space=scene.record.color_space,
                lighting=scene.lighting,
                emission=dials.emission,
                exposure=exposure,
            ),
            conditions=told,
        )

    def space(self, *, inner: bool) -> Space:
        """The lattice of the region that is asked for; ``inner`` is what ``auto`` means."""
        frame, wanted = self.scene.frame, self.settings.region
        inner = wanted == "inner" or (wanted == "auto" and inner)
        return Space(frame=frame, inner=inner and frame.cascades > 1)

    def path(self, name: str) -> Path:
        """Where the form goes: ``name`` in the run's ``exports`` (there in a folder of its own for
        each job of a sweep), or what ``export.output`` says.

        SettingError where that ends otherwise than the form's file does, or is a file where the
        form is a folder; OutputError where nothing can be written.
        """
        if not self.settings.output:
            return check_place(self.run.path / "exports" / own_folder() / name)
        path, ending = expanded(self.settings.output), Path(name).suffix
        if path.is_dir() and ending:
            return check_place(path / name)
        if path.suffix.lower() != ending if ending else path.is_file():
            wanted = f"a name that ends in {ending}, or" if ending else "a new or"
            raise SettingError(
                f"export.output={self.settings.output} is not what export.format="
                f"{self.settings.format} writes: give {wanted} an existing folder."
            )
        return check_place(path)
