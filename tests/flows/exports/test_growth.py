"""Splats that nobody sees, moved to where pictures of a trained run are worst; a fit that fails."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from neural_render.core.cameras import Cameras
from neural_render.export.splats.settings import SplatSettings
from neural_render.rendering import Image
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import TrainedScene, load_for_rendering
from neural_render.training.splats.fitting import SplatFit, fit_and_save
from neural_render.training.splats.growth import MOVED_SHARE, Growth
from neural_render.training.splats.parameters import SplatParameters
from neural_render.training.splats.surfaces import Places, all_places, flat_splats, places_seen
from neural_render.training.splats.views import FieldViews, appearance, render_views
from neural_render.training.stopping import TrainingInterrupted
from tests.tiny_capture import camera_poses

VIEWS, SIDE, SPLATS = 3, 24, 100


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def scene(trained_run: Path) -> TrainedScene:
    return load_for_rendering(RunFolder.open(trained_run), torch.device("cpu"))


@pytest.fixture(scope="module")
def seen(scene: TrainedScene) -> tuple[FieldViews, Places]:
    """Small views of the sphere, and places in all of them."""
    poses = torch.tensor(camera_poses(VIEWS, 0.2)[:, :3] * [1, -1, -1, 1], dtype=torch.float32)
    cameras = Cameras(
        world_from_camera=poses,
        focal_px=torch.full((VIEWS, 2), 1.2 * SIDE),
        center_px=torch.full((VIEWS, 2), SIDE / 2),
        distortion=torch.zeros(VIEWS, 6),
        lens=torch.zeros(VIEWS, dtype=torch.int64),
        width=torch.full((VIEWS,), SIDE),
        height=torch.full((VIEWS,), SIDE),
    )
    parts: list[Places] = []

    def keep(cameras: Cameras, index: int, image: Image, picture: torch.Tensor) -> None:
        parts.append(places_seen(cameras, index, image, picture, 80, generator()))

    look = appearance(scene, {}, [], 0.0)
    views = render_views(scene, cameras, look, keep, progress=False)
    return views, all_places(parts)


def test_the_least_seen_move_to_where_pictures_are_worst(
    scene: TrainedScene, seen: tuple[FieldViews, Places]
) -> None:
    """Pictures that are wrong in their left half alone draw them there."""
    views, places = seen
    some = places[torch.arange(SPLATS)]
    start = flat_splats(scene, some, some.size, num_harmonics=4)
    parameters, growth = SplatParameters(start, some.size), Growth(places, SPLATS)
    unseen = torch.tensor([7, 30, 55])
    weights = torch.ones(SPLATS)
    weights[unseen] = 0
    growth.note(weights)

    def draw(view: int) -> torch.Tensor:
        picture = views.target(view).clone()
        picture[:, : SIDE // 2] = 1 - picture[:, : SIDE // 2]
        return picture

    moved = growth.move(scene, views, parameters, draw, generator())
    assert moved == int(MOVED_SHARE * SPLATS) == len(unseen)
    found = parameters.splats().means
    changed = (found != start.means).any(1).nonzero()[:, 0]
    assert changed.tolist() == unseen.tolist()
    taken = (~growth.free).nonzero()[:, 0]
    assert torch.equal(found[unseen].sort(0).values, places.points[taken].sort(0).values)
    assert int((places.pixel[taken] % SIDE).max()) < SIDE // 2
    # They count as seen at first, else they would be the next to go.
    growth.note(torch.zeros(SPLATS))
    assert float(growth.seen[unseen].min()) == float(growth.seen.max())


def test_where_all_places_are_taken_nothing_moves(
    scene: TrainedScene, seen: tuple[FieldViews, Places]
) -> None:
    views, places = seen
    some = places[torch.arange(SPLATS)]
    parameters = SplatParameters(flat_splats(scene, some, some.size, num_harmonics=1), some.size)
    growth = Growth(places, SPLATS)
    growth.free[:] = False
    assert growth.move(scene, views, parameters, views.target, generator()) == 0
    assert torch.equal(parameters.splats().means, some.points)


def stopped_behind_a_step(fit: SplatFit, progress: bool) -> Iterator[int]:
    """What a user does who looks at the first step."""
    yield 0
    os.kill(os.getpid(), signal.SIGINT)
    yield 1


def test_an_earlier_file_stays_until_there_is_something_better(
    scene: TrainedScene,
    seen: tuple[FieldViews, Places],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pictures of another size than their cameras' end a fit in its first step."""
    views, places = seen
    broken = replace(views, pictures=views.pictures[:, 1:])
    path = tmp_path / "splats.ply"

    def fitted(of: FieldViews, steps: int) -> None:
        settings = SplatSettings(count=SPLATS, steps=steps)
        fit_and_save(SplatFit(scene, of, places, settings, generator()), path, progress=False)

    with pytest.raises(RuntimeError):
        fitted(broken, 1)
    assert path.read_bytes().startswith(b"ply")  # it is seen early that there can be one
    path.write_text("earlier")
    with pytest.raises(RuntimeError):
        fitted(broken, 1)
    assert path.read_text() == "earlier" and list(tmp_path.iterdir()) == [path]
    monkeypatch.setattr(SplatFit, "steps", stopped_behind_a_step)
    with pytest.raises(TrainingInterrupted, match=f"at step 1 of 9; {path} is as it was"):
        fitted(views, 9)
    monkeypatch.undo()
    assert path.read_text() == "earlier"
    fitted(views, 0)
    assert path.read_bytes().startswith(b"ply")
