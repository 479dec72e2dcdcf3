"""What a bake chooses where its settings say nothing, and which lights it goes on with."""

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from neural_render.core.errors import SceneError
from neural_render.export.settings import RenderSettings
from neural_render.fields import FieldSettings
from neural_render.rendering import RenderingSettings
from neural_render.scenes.source import TracedSource
from neural_render.scenes.tracing.process import TracerProcess
from neural_render.training.runs.folder import RunFolder
from neural_render.training.settings import TrainingSettings
from neural_render.training.sources.baking import (
    bake_training,
    begin_scene,
    lit_field,
    lit_renderer,
    warn_of_many_lights,
)
from tests.scenes.small_scenes import write_scene
from tests.scenes.tracing.tracers import SMALL, started
from tests.training.problems import CPU, GRID, new_run, settings_for, train_ball


@pytest.mark.parametrize(
    ("budget", "weight"),
    [
        ({"max_seconds": 30.0}, 1.0),
        ({"max_seconds": 450.0}, 10.0),
        ({"max_seconds": 900.0}, 20.0),
        ({"max_seconds": 9000.0}, 20.0),
        ({"num_steps": 45000}, 10.0),
        ({"max_seconds": 900.0, "normal_weight": 3.0}, 3.0),
        ({"max_seconds": 900.0, "normal_weight": 0.0}, 0.0),
    ],
)
def test_normals_count_for_more_in_long_bakes(budget: dict[str, float], weight: float) -> None:
    assert bake_training(TrainingSettings(**budget)).normal_weight == pytest.approx(weight)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TracerProcess]:
    """A ball under a lamp and under a bulb that moves."""
    path = write_scene(tmp_path_factory.mktemp("scene"), "lamp", "bulb")
    with closing(started(path, moving="bulb")) as found:
        yield found


@pytest.fixture(scope="module")
def finished(process: TracerProcess, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The run of a bake of that, a step long."""
    run, stage = (
        new_run(tmp_path_factory.mktemp("baked")),
        begin_scene(process, "", 0, RenderSettings()),
    )
    with closing(TracedSource(process, *stage, SMALL, seed=0, device=CPU)) as source:
        field = lit_field(FieldSettings(grid=GRID, width=32), source, 0)
        rendering = RenderingSettings(step=0.02)
        renderer = lit_renderer(rendering, SMALL, source, run, settings_for(1), 0)
        train_ball(
            run,
            settings_for(1),
            source=source,
            field=field,
            renderer=renderer,
            lighting=source.lighting,
        )
    return run


@pytest.fixture
def run(finished: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of it."""
    return RunFolder(path=Path(shutil.copytree(finished.path, tmp_path / "run")))


@pytest.mark.parametrize(("steps", "traces"), [(1, False), (2, True)])
def test_nothing_is_traced_for_a_budget_that_is_spent(
    process: TracerProcess, run: RunFolder, steps: int, traces: bool
) -> None:
    """And what goes on knows from its checkpoint which space is empty, and waits for all lights."""
    stage, carving = (
        begin_scene(process, str(run.path), 0, RenderSettings()),
        replace(SMALL, carve=True),
    )
    with closing(TracedSource(process, *stage, carving, seed=0, device=CPU)) as source:
        lit_renderer(RenderingSettings(), carving, source, run, settings_for(steps), 0)
        assert process.tracing is traces
        assert source.figures.drawn == 0 and (source.figures.seconds > 0) is traces
        assert (source.figures.fresh >= process.scene["block"]) is traces


def test_many_lights_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    for groups in (16, 17):
        warn_of_many_lights({"path": "a.xml", "groups": [{}] * groups})
    (told,) = caplog.messages
    assert told.startswith("a.xml has 17 light groups") and "'scene.groups=[all=*]'" in told


def test_a_bake_goes_on_with_the_lights_that_it_was_begun_with(
    process: TracerProcess, run: RunFolder
) -> None:
    again, _ = begin_scene(process, str(run.path), 1, RenderSettings())
    assert [group.name for group in again.groups] == ["bulb", "lamp"]


@pytest.mark.parametrize(
    ("part", "entry", "before", "told"),
    [
        ("groups", "name", "spot", r"now lamp=\[6,8,10\]; then spot=\[6,8,10\]"),
        ("groups", "color", [6, 8, 9], r"now lamp=\[6,8,10\]; then lamp=\[6,8,9\]"),
        (
            "moving",
            "kind",
            "direction",
            r"now bulb=\S+ \(moving, position from \S+ to \S+\); .* direction\)",
        ),
    ],
)
def test_a_bake_does_not_go_on_with_other_lights(
    process: TracerProcess, run: RunFolder, part: str, entry: str, before: object, told: str
) -> None:
    """As if the scene's file had said something else when the run was begun."""
    path = run.last_checkpoint() / "state.json"
    document = json.loads(path.read_text())
    document["run"]["lighting"][part][-1][entry] = before
    path.write_text(json.dumps(document))
    with pytest.raises(SceneError, match=rf"ball.xml has other lights .*\({told}\): change them"):
        begin_scene(process, str(run.path), 1, RenderSettings())


def test_a_bake_does_not_go_on_with_a_light_more(run: RunFolder, tmp_path: Path) -> None:
    path = write_scene(tmp_path, "lamp", "bulb", "sun")
    with (
        closing(started(path, moving="bulb")) as process,
        pytest.raises(SceneError, match=r"\(now sun=\[1,2,3\]; then none\)"),
    ):
        begin_scene(process, str(run.path), 1, RenderSettings())
