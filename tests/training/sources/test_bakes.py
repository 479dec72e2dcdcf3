"""What a bake is measured by: held-out views under the file's lights and under other dials."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from neural_render.core.cameras import Cameras
from neural_render.core.lights import Lighting
from neural_render.evaluation.records import write_json
from neural_render.evaluation.settings import EvaluationSettings
from neural_render.rendering.lit import set_dials
from neural_render.scenes.references import References
from neural_render.scenes.source import TracedFigures
from neural_render.training.films.shooting import scene_renders
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import TrainedScene
from neural_render.training.sources.bakes import (
    NUM_DIALS,
    BakeMeasures,
    LitReferences,
    counted_tracing,
    other_emission,
    traced_so_far,
)
from tests.rendering.test_images import camera
from tests.training.films.test_shooting import LIGHTING, lit_scene

CAMERA = camera(21, 14)
PLACES = torch.tensor([[0.0, 0.0, -1.0], [0.6, 0.0, -0.8]])
FIGURES = TracedFigures(fresh=1000, drawn=5000, seconds=4.0, waited=1.0)


def two_cameras() -> Cameras:
    return CAMERA[torch.tensor([0, 0])]


def references_of(scene: TrainedScene, places: torch.Tensor, noise: float) -> References:
    """What the scene itself shows: halves that differ from it by as much, up and down."""
    groups = scene.lighting.groups
    pictures = np.zeros((len(groups), 2, len(places), 14, 21, 3), np.float32)
    for view, place in enumerate(places):
        conditions = set_dials(scene.lighting, {}, place.tolist()).conditions
        black = (0.0,) * scene.field.num_channels
        image = scene_renders(scene, CAMERA, black, conditions)(0)
        for index, group in enumerate(groups):
            seen = image.color[..., 3 * index : 3 * index + 3] * group.scale
            for half, sign in enumerate((1 + noise, 1 - noise)):
                pictures[index, half, view] = seen * sign
    return References(names=("a", "b"), cameras=two_cameras(), pictures=pictures, places=places)


def measured(
    folder: Path, scene: TrainedScene, references: References, *, of_today: bool = True
) -> dict:
    """What a run measures; of one that is not ``of_today``, its last measures know the tracing."""
    run = RunFolder.create(folder, "ball")
    measures = BakeMeasures(
        run=run, scene=scene, references=references, samples=16, supersampling=1
    )
    settings = EvaluationSettings(images=False)
    if of_today:
        write_json(run.tracing_path, FIGURES.record())
    else:
        write_json(run.evaluation_path / "metrics.json", {"tracer": FIGURES.record()})
    found = measures.measure(settings, split="two", progress=False)
    stored = json.loads((run.evaluation_path / "metrics.json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(found))
    return stored


def test_a_field_that_is_its_reference_is_found_so(tmp_path: Path) -> None:
    """Whatever the dials, and wherever the view has the light that moves."""
    scene = lit_scene()
    found = measured(tmp_path, scene, references_of(scene, PLACES, 0.0))
    assert found["psnr"] > 60 and abs(found["mean_ratio"] - 1) < 1e-3
    assert found["num_views"] == 2 and found["num_steps"] == 7
    assert len(found["relit"]) == NUM_DIALS
    for row in found["relit"]:
        assert row["psnr"] > 60 and set(row["lights"]) == {"key", "environment"}
    assert found["tracer"] == {
        "fresh_rays": 1000,
        "fresh_rays_per_second": 250,
        "reuse": 5,
        "waited_share": 0.25,
    }
    protocol = found["protocol"]
    assert protocol["split"] == "two" and "16 paths per pixel" in protocol["reference"]


def test_what_was_traced_adds_up(tmp_path: Path) -> None:
    """However a sitting ended; of those before that was kept, the last one counts."""
    run, once = RunFolder.create(tmp_path, "ball"), FIGURES.record()
    assert traced_so_far(run).fresh == 0
    write_json(run.evaluation_path / "metrics.json", {"tracer": once})
    assert traced_so_far(run) == FIGURES
    with pytest.raises(KeyboardInterrupt), counted_tracing(run, lambda: FIGURES):
        raise KeyboardInterrupt
    assert traced_so_far(run) == FIGURES + FIGURES
    assert traced_so_far(run).record() == once | {"fresh_rays": 2000}
    before = run.tracing_path.read_bytes()
    with counted_tracing(run, lambda: replace(FIGURES, drawn=0)):
        pass
    assert run.tracing_path.read_bytes() == before


def test_what_was_traced_in_a_run_of_before_stays(tmp_path: Path) -> None:
    scene = lit_scene()
    found = measured(tmp_path, scene, references_of(scene, PLACES, 0.0), of_today=False)
    assert found["tracer"]["fresh_rays"] == 1000


def test_a_light_that_stood_elsewhere_is_seen(tmp_path: Path) -> None:
    scene = lit_scene()
    truth = references_of(scene, PLACES, 0.0)
    wrong = replace(truth, places=PLACES.flip(0))
    assert measured(tmp_path, scene, wrong)["psnr"] < measured(tmp_path, scene, truth)["psnr"] - 10


def test_noise_of_references_is_told(tmp_path: Path) -> None:
    """Halves that differ by as much up and down: their mean is the truth, their own PSNR is low."""
    scene = lit_scene()
    found = measured(tmp_path, scene, references_of(scene, PLACES, 0.2))
    assert found["psnr"] > 60 and found["psnr_reference"] < 40
    assert all(row["psnr"] > 60 > 40 > row["psnr_reference"] for row in found["relit"])


def test_one_light_is_measured_under_no_other(tmp_path: Path) -> None:
    lighting = Lighting(groups=LIGHTING.groups[:1])
    scene = lit_scene(lighting)
    places = torch.zeros(2, 0)
    assert measured(tmp_path, scene, references_of(scene, places, 0.0))["relit"] == []


def test_halves_are_lit_by_the_emission() -> None:
    scene = lit_scene(replace(LIGHTING, moving=()))
    references = references_of(scene, torch.zeros(2, 0), 0.1)
    black, white = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    key, sky, both = (
        LitReferences(references=references, emission=emission).half(1, 0)
        for emission in ((white, black), (black, white), ((2.0, 2.0, 2.0), (3.0, 3.0, 3.0)))
    )
    torch.testing.assert_close(both, 2 * key + 3 * sky)
    assert LitReferences(references=references, emission=(white, white)).names == ("a", "b")


@pytest.mark.parametrize("color", [(4.0, 2.0, 1.0), (1.0, 0.0, 0.0)])
def test_other_emissions_are_other_colours_around_the_files(
    color: tuple[float, float, float],
) -> None:
    generator = torch.Generator().manual_seed(4)
    found = [other_emission((color, color), generator) for _ in range(100)]
    values = torch.tensor(found)
    brightness = values.mean(dim=-1) / (sum(color) / 3)
    assert brightness.min() >= 0.5 and brightness.max() <= 2
    assert brightness.min() < 0.6 and brightness.max() > 1.8
    assert values.min() > 0 and len(set(found)) == 100
    tint = values / values.mean(dim=-1, keepdim=True)
    assert (tint.amax(-1) / tint.amin(-1)).median() > 1.5
