"""What a bake is measured by: held-out views under the file's light, and under other dials."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.files import read_json
from neural_render.core.lights import Color
from neural_render.evaluation.radiance import RadianceProtocol, evaluate_radiance, radiance_psnr
from neural_render.evaluation.records import mean, write_json
from neural_render.evaluation.settings import EvaluationSettings
from neural_render.rendering import Image
from neural_render.rendering.lit import Dials, set_dials
from neural_render.scenes.references import References
from neural_render.scenes.settings import ViewSettings
from neural_render.scenes.source import TracedFigures
from neural_render.training.films.shooting import scene_renders
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import TrainedScene

NUM_DIALS = 4  # sets of other intensities and colours
DIALS_SEED = 2


@dataclass(frozen=True, kw_only=True)
class LitReferences:
    """References under lights of some emission: what ``evaluate_radiance`` compares with."""

    references: References
    emission: tuple[Color, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """A name per view."""
        return self.references.names

    def half(self, index: int, which: int) -> Float[Tensor, "height width 3"]:
        """Half 0 or 1 of a view."""
        return self.references.half(index, which, self.emission)


@dataclass(frozen=True, kw_only=True)
class BakeMeasures:
    """A baked scene beside its references."""

    run: RunFolder
    scene: TrainedScene
    references: References
    samples: int  # of each half of a reference
    supersampling: int  # a pixel of a render is the mean of so many squared rays

    def measure(
        self,
        settings: EvaluationSettings,
        *,
        split: str,
        progress: bool,
    ) -> dict[str, Any]:
        """The contents of ``evaluation/metrics.json``, written with a picture of each view.

        ``relit`` are the same views under random intensities and colours of the lights, that no
        training saw; ``tracer`` says how many rays were traced and how often each was drawn,
        in all sittings.
        """
        lighting, traced = self.scene.lighting, traced_so_far(self.run)
        seen: dict[int, Image] = {}

        def render_one(index: int) -> Image:
            seen[index] = self._all_channels(index)
            return self._dials(index).mixed(seen[index])

        found = evaluate_radiance(
            LitReferences(references=self.references, emission=lighting.emission({})),
            render_one,
            protocol=RadianceProtocol(
                split=split,
                background="black",
                exposure=lighting.exposure,
                reference=f"two halves of {self.samples} paths per pixel, each of a light group;"
                f" renders have {self.supersampling**2} rays per pixel",
            ),
            figures=self.scene.figures,
            settings=settings,
            folder=self.run.evaluation_path,
            progress=progress,
        )
        found = {**found, "relit": self._relit(seen), "tracer": traced.record()}
        write_json(self.run.evaluation_path / "metrics.json", found)
        return found

    def _relit(self, seen: dict[int, Image]) -> list[dict[str, Any]]:
        """PSNR under other dials, of what was rendered once; nothing of a single light."""
        lighting, generator = self.scene.lighting, torch.Generator().manual_seed(DIALS_SEED)
        if len(lighting.groups) < 2:
            return []
        rows = []
        for _ in range(NUM_DIALS):
            emission = other_emission(lighting.emission({}), generator)
            reference = LitReferences(references=self.references, emission=emission)
            scores, noise = [], []
            for index, image in seen.items():
                halves = [reference.half(index, which) for which in (0, 1)]
                picture = lighting.mixed(image.color.cpu(), emission)
                wanted = (halves[0] + halves[1]) / 2
                scores.append(radiance_psnr(picture, wanted, lighting.exposure))
                noise.append(radiance_psnr(halves[0], halves[1], lighting.exposure))
            named = zip((group.name for group in lighting.groups), emission, strict=True)
            rows.append(
                {"psnr": mean(scores), "psnr_reference": mean(noise), "lights": dict(named)}
            )
        return rows

    @property
    def _all_channels(self) -> Callable[[int], Image]:
        """Renders all light groups of one held-out view."""
        black = (0.0,) * self.scene.field.num_channels

        def render_one(index: int) -> Image:
            conditions = self._dials(index).conditions
            render = scene_renders(
                self.scene, self.references.cameras, black, conditions, self.supersampling
            )
            return render(index)

        return render_one

    def _dials(self, index: int) -> Dials:
        """The file's lights, with the one that moves where the view has it."""
        return set_dials(self.scene.lighting, {}, self.references.places[index].tolist())


def other_emission(emission: tuple[Color, ...], generator: torch.Generator) -> tuple[Color, ...]:
    """Random intensities, from a half to twice the file's, and random colours of each light."""
    found = []
    for color in emission:
        intensity = 2 ** (2 * torch.rand(1, generator=generator) - 1) * sum(color) / 3
        tint = 0.25 + torch.rand(3, generator=generator)
        red, green, blue = (intensity * tint / tint.mean()).tolist()
        found.append((red, green, blue))
    return tuple(found)


@contextmanager
def counted_tracing(run: RunFolder, figures: Callable[[], TracedFigures]) -> Iterator[None]:
    """Adds what is traced inside, as ``figures`` say then, to the run's earlier sittings.

    However that ends, but for a program that is killed: what was traced for it is not counted.
    """
    try:
        yield
    finally:
        found = figures()
        if found.drawn:
            write_json(run.tracing_path, (traced_so_far(run) + found).record())


def traced_so_far(run: RunFolder) -> TracedFigures:
    """What the tracer did in all sittings of a run.

    Of runs from before that was kept, in the last sitting that was measured.
    """
    measures = run.evaluation_path / "metrics.json"
    for path in (run.tracing_path, measures):
        try:
            found = read_json(path)
            return TracedFigures.recorded(found["tracer"] if path == measures else found)
        except (OSError, ValueError, KeyError, TypeError, ArithmeticError):
            continue
    return TracedFigures(fresh=0, drawn=0, seconds=0.0, waited=0.0)


def bake_measures(
    run: RunFolder, scene: TrainedScene, references: References, views: ViewSettings
) -> BakeMeasures:
    """What measures a bake on the references of its held-out views, as ``views`` say."""
    return BakeMeasures(
        run=run,
        scene=scene,
        references=references,
        samples=views.reference_samples,
        supersampling=views.supersampling,
    )
