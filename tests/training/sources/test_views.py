"""The cameras of a baked run: what is written is read, and what is broken is told."""

from pathlib import Path

import pytest
import torch

from neural_render.core.cameras import Cameras, Lens
from neural_render.core.errors import CheckpointError
from neural_render.scenes.contents import scene_contents
from neural_render.scenes.settings import SceneSettings
from neural_render.training.sources.views import (
    VIEWS_FILE,
    baked_scene,
    check_scene,
    has_views,
    load_views,
    save_views,
)
from tests.rendering.analytic import frame


def cameras(num: int, seed: int) -> Cameras:
    """Cameras of several sizes."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.randint(8, 90, (num, 2), generator=generator)
    return Cameras(
        world_from_camera=torch.randn((num, 3, 4), generator=generator),
        focal_px=torch.rand((num, 2), generator=generator) * 100 + 1,
        center_px=size / 2,
        distortion=torch.zeros(num, 6),
        lens=torch.full((num,), int(Lens.PERSPECTIVE)),
        width=size[:, 0].contiguous(),
        height=size[:, 1].contiguous(),
    )


def same(first: Cameras, second: Cameras) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(vars(first).values(), vars(second).values(), strict=True)
    )


@pytest.mark.parametrize("num_test", [0, 1, 3])
def test_cameras_come_back_as_they_were(tmp_path: Path, num_test: int) -> None:
    folder = tmp_path / "ball" / "now"
    folder.mkdir(parents=True)
    assert not has_views(folder)
    train, test = cameras(5, 0), cameras(num_test, 1)
    save_views(folder, train, test, "random cameras")
    assert has_views(folder)
    found = load_views(folder, frame())
    assert same(found.train.cameras, train) and same(found.test.cameras, test)
    assert (found.name, found.split, found.format) == ("ball", "random cameras", "scene")
    assert len(found.train.names) == 5 and found.test.names[:1] == ("test_000",)[:num_test]


def test_a_bake_knows_its_scene_again(tmp_path: Path) -> None:
    scene = tmp_path / "room.xml"
    scene.write_text("a chair", encoding="utf-8")
    settings = SceneSettings(path=str(scene))
    parts = cameras(5, 0), cameras(1, 1), "random cameras"
    save_views(tmp_path, *parts)
    assert baked_scene(tmp_path) == {}
    check_scene(tmp_path, str(tmp_path / "gone.xml"), settings)  # of an earlier version
    save_views(tmp_path, *parts, scene_contents(scene, settings, tmp_path / "outputs"))
    check_scene(tmp_path, str(scene), settings)
    load_views(tmp_path, frame())
    scene.write_text("a table", encoding="utf-8")
    told = r"scene .*room.xml is not what it was when .* was begun \(scene.path changed\): restore"
    with pytest.raises(CheckpointError, match=told):
        check_scene(tmp_path, str(scene), settings)
    (tmp_path / VIEWS_FILE).write_text('{"scene": 3}', encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"views.json is broken"):
        baked_scene(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"split": "a", "train": {}, "test": {}}',
        '{"split": "a", "train": {"width": [1], "height": [1], "world_from_camera": [1],'
        ' "focal_px": [[1, 1]], "center_px": [[1, 1]]}, "test": {}}',
    ],
)
def test_what_is_broken_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / VIEWS_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"views.json is broken \(.*\): bake the scene again"):
        load_views(tmp_path, frame())


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / VIEWS_FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CheckpointError, match=r"views.json is broken"):
        load_views(tmp_path, frame())


def test_an_unfinished_file_is_told(tmp_path: Path) -> None:
    save_views(tmp_path, cameras(2, 0), cameras(1, 1), "random cameras")
    path = tmp_path / VIEWS_FILE
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: len(text) // 2], encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"views.json is broken"):
        load_views(tmp_path, frame())
