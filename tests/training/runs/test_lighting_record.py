"""What a run keeps of its lights; older runs had none, and nothing broken comes through."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from neural_render.core.errors import CheckpointError
from neural_render.core.lights import LightGroup, Lighting, MovingLight
from neural_render.core.projection import Projection
from neural_render.export.environment import save_environment
from neural_render.rendering.environment import EnvironmentMap
from neural_render.training.runs import records
from neural_render.training.runs.checkpoint import open_checkpoint
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import load_for_rendering
from tests.training.problems import CPU, new_run, settings_for, train_ball

LIGHTING = Lighting(
    groups=(LightGroup(name="Küche, links", color=(2.0, 1.0, 0.5), scale=3.0),), exposure=0.25
)
MOVING = MovingLight(
    group="key", kind="position", low=(0.0, 0.0, 0.0), high=(1.0, 2.0, 3.0), at=(0.5, 0.5, 0.5)
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = new_run(tmp_path_factory.mktemp("lit"))
    train_ball(run, settings_for(2), lighting=LIGHTING)
    return run


@pytest.fixture
def run(finished: RunFolder, tmp_path: Path) -> RunFolder:
    return RunFolder(path=Path(shutil.copytree(finished.path, tmp_path / "run")))


def edit(run: RunFolder, **changes: object) -> None:
    """Other entries in the lighting of the run's checkpoint."""
    path = run.last_checkpoint() / "state.json"
    document = json.loads(path.read_text())
    document["run"]["lighting"] |= changes
    path.write_text(json.dumps(document))


def test_the_lights_are_stored(run: RunFolder) -> None:
    assert open_checkpoint(run.last_checkpoint()).record.lighting == LIGHTING
    assert load_for_rendering(run, CPU).lighting == LIGHTING
    train_ball(run, settings_for(3), lighting=LIGHTING)
    assert open_checkpoint(run.last_checkpoint()).record.lighting == LIGHTING


def test_an_environment_in_the_folder_is_taken(run: RunFolder) -> None:
    assert load_for_rendering(run, CPU).environment == ()
    sky = EnvironmentMap(picture=torch.rand(4, 8, 3), world_from_environment=torch.eye(3))
    assert save_environment(run.path, sky) == run.environment_path
    (found,) = load_for_rendering(run, CPU).environment
    assert torch.equal(found.picture, sky.picture)
    run.environment_path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="is not the environment of a run"):
        load_for_rendering(run, CPU)


def test_moving_lights_come_back_from_json() -> None:
    lighting = Lighting(groups=(LightGroup(name="key", color=(1.0, 1.0, 1.0)),), moving=(MOVING,))
    stored = json.loads(json.dumps(records.to_json(lighting)))
    assert records.from_json(Lighting, stored, "lighting") == lighting


def test_runs_of_before_had_no_projection(run: RunFolder) -> None:
    path = run.last_checkpoint() / "state.json"
    document = json.loads(path.read_text())
    del document["run"]["frame"]["projection"]
    path.write_text(json.dumps(document | {"version": 4}))
    assert open_checkpoint(path.parent).record.frame.projection.is_identity
    path.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="frame lacks projection"):
        open_checkpoint(path.parent)


def test_projections_come_back_from_json() -> None:
    matrix = tuple(0.1 * value for value in range(16))
    stored = json.loads(json.dumps(records.to_json(Projection(matrix=matrix))))
    assert records.from_json(Projection, stored, "projection").matrix == matrix


def test_runs_of_before_had_no_lights(run: RunFolder) -> None:
    path = run.last_checkpoint() / "state.json"
    document = json.loads(path.read_text())
    del document["run"]["lighting"]
    path.write_text(json.dumps(document | {"version": 3}))
    assert open_checkpoint(path.parent).record.lighting == Lighting()
    path.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="run lacks lighting"):
        open_checkpoint(path.parent)


GROUP = {"name": "key", "color": [1, 1, 1], "scale": 1}
MOVED = {"group": "key", "kind": "position", "low": [0] * 3, "high": [1] * 3, "at": [0] * 3}
BREAKS: dict[str, tuple[dict[str, object], str]] = {
    "no list": ({"groups": {}}, r"run\.lighting\.groups must be a list, not {}"),
    "no record": ({"groups": [3]}, r"run\.lighting\.groups\[0\] must be an object, not 3"),
    "no color": ({"groups": [{"name": "key", "scale": 1}]}, r"groups\[0\] lacks color"),
    "a short color": (
        {"groups": [GROUP | {"color": [1, 1]}]},
        r"groups\[0\]\.color must be a list of 3",
    ),
    "code": ({"groups": [GROUP | {"color": ["__import__('os')"] * 3}]}, "must be of type float"),
    "darkness": ({"groups": [GROUP | {"scale": 0}]}, "a light's scale that is not above 0"),
    "no number": (
        {"exposure": float("nan")},
        r"lighting\.exposure holds a number that is not finite",
    ),
    "beyond all": ({"exposure": 10**400}, "is too large"),
    "less than dark": ({"groups": [GROUP | {"color": [-1, 1, 1]}]}, "color that is negative"),
    "twins": ({"groups": [GROUP, GROUP]}, "gives two light groups one name"),
    "nameless": ({"groups": [GROUP | {"name": ""}]}, "gives two light groups one name, or one no"),
    "too many": (
        {"groups": [GROUP, GROUP | {"name": "rim"}]},
        "has 2 light groups for a field of 3 channels",
    ),
    "another kind": (
        {"groups": [GROUP], "moving": [MOVED | {"kind": "spin"}]},
        r"moving\[0\]\.kind must be one of",
    ),
    "a stranger moves": (
        {"groups": [GROUP], "moving": [MOVED | {"group": "rim"}]},
        "one of no light group",
    ),
    "nowhere": (
        {"groups": [GROUP], "moving": [MOVED | {"at": [0, float("inf"), 0]}]},
        r"lighting\.moving\.at holds a number that is not finite",
    ),
    "unheard of": (
        {"groups": [GROUP], "moving": [MOVED]},
        "has a moving light for a field of 0 conditions",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_broken_lights_are_told_in_one_sentence(run: RunFolder, name: str) -> None:
    changes, words = BREAKS[name]
    edit(run, **changes)
    with pytest.raises(CheckpointError, match=words) as caught:
        open_checkpoint(run.last_checkpoint())
    assert "\n" not in str(caught.value)
