"""Meshes of balls: where they lie in the world, closed, textured, and what is left out."""

import logging
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from neural_render.core.errors import OutputError, SettingError
from neural_render.export.formats import MeshSettings
from neural_render.export.geometry import mesh as meshes
from neural_render.export.geometry.files import check_beside
from neural_render.export.geometry.mesh import export_mesh
from neural_render.export.geometry.surfaces import blocks, witnesses
from neural_render.export.geometry.surfaces.pieces import without_strays
from tests.export.geometry.balls import SCALE, Ball, space, subject, world

RADIUS = 0.25 * SCALE
NEAR = 0.03  # the ball is soft: its surface is where a ray is half stopped, not where it begins


@pytest.fixture(scope="module", autouse=True)
def small_pictures() -> Iterator[None]:
    """What is hidden is told from smaller pictures than those of a real scene."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(witnesses, "AROUND_SIDE", 48)
        yield


def exported(path: Path, of=None, **settings: object) -> trimesh.Trimesh:
    of = of or subject()
    wanted = MeshSettings(resolution=48, texture=256, **settings)  # type: ignore[arg-type]
    (file, *_) = export_mesh(of, space(of), wanted, path, progress=False)
    loaded = trimesh.load(file, force="mesh", process=False)
    assert isinstance(loaded, trimesh.Trimesh)
    return loaded


def merged(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """The same without the seams of its texture."""
    bare = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    bare.merge_vertices(merge_tex=True, merge_norm=True)
    return bare


@pytest.fixture(scope="module")
def ball(tmp_path_factory: pytest.TempPathFactory) -> trimesh.Trimesh:
    """A ball, of which a speck lies far away."""
    speck = Ball(center=(0.9, 0.9, 0.9), radius=0.012)
    of = subject([Ball(), speck])
    return exported(tmp_path_factory.mktemp("ball") / "mesh.glb", of, faces=3000)


def test_a_ball_is_a_closed_sphere_in_the_world(ball: trimesh.Trimesh) -> None:
    away = np.linalg.norm(ball.vertices - world().numpy(), axis=1)
    assert abs(away.mean() - RADIUS) < NEAR * RADIUS and away.std() < NEAR * RADIUS
    whole = merged(ball)
    assert whole.is_watertight and whole.is_winding_consistent
    assert whole.volume == pytest.approx(4 / 3 * math.pi * RADIUS**3, rel=3 * NEAR)
    assert len(whole.faces) <= 3000


def test_its_normals_lead_outwards(ball: trimesh.Trimesh) -> None:
    out = ball.vertices - world().numpy()
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    assert (ball.vertex_normals * out).sum(1).mean() > 0.98


def test_its_texture_has_the_fields_colours(ball: trimesh.Trimesh) -> None:
    """Red where x is small, blue where it is large."""
    uv = np.asarray(ball.visual.uv)
    assert uv.min() >= 0 and uv.max() <= 1
    colors = np.asarray(ball.visual.to_color().vertex_colors)[:, :3]
    x = ball.vertices[:, 0] - world().numpy()[0]
    left, right = x < -0.3 * RADIUS, x > 0.3 * RADIUS
    assert (colors[left][:, 0] > 200).mean() > 0.95 and (colors[left][:, 2] < 60).mean() > 0.95
    assert (colors[right][:, 2] > 200).mean() > 0.95 and (colors[right][:, 0] < 60).mean() > 0.95


def test_specks_are_left_out(ball: trimesh.Trimesh) -> None:
    assert len(merged(ball).split(only_watertight=False)) == 1


@pytest.mark.parametrize("ending", ["ply", "obj"])
def test_other_forms_hold_the_same_sphere_and_say_that_it_is_closed(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found = exported(tmp_path / f"mesh.{ending}", file=ending, faces=2000)
    away = np.linalg.norm(found.vertices - world().numpy(), axis=1)
    assert abs(away.mean() - RADIUS) < NEAR * RADIUS
    assert "1 pieces, closed" in caplog.text
    if ending == "obj":
        check_beside(tmp_path / "mesh.obj")  # its own files may be replaced
        picture = found.visual.material.image
        assert picture is not None and np.asarray(picture.convert("RGB")).std() > 30


def test_nothing_is_no_mesh(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="mesh"):
        exported(tmp_path / "mesh.glb", subject([]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["photo.png", "photo.mtl"])
def test_what_lies_beside_an_obj_is_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match=f"{name} is there and belongs to no photo.obj"):
        exported(tmp_path / "photo.obj", file="obj")
    assert (tmp_path / name).read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
    check_beside(tmp_path / "photo.glb")


@pytest.mark.parametrize("ending", ["glb", "ply"])
def test_too_few_triangles_are_refused(tmp_path: Path, ending: str) -> None:
    with pytest.raises(SettingError, match=r"^export\.mesh\.faces=2 leaves nothing .* give more"):
        exported(tmp_path / f"mesh.{ending}", file=ending, faces=2)
    assert list(tmp_path.iterdir()) == []


def test_a_surface_of_which_no_face_is_left_is_no_mesh() -> None:
    none = blocks.Surface(vertices=np.zeros((0, 3)), faces=np.zeros((0, 3), dtype=np.int64))
    of, no_points = subject(), torch.zeros(0, 3)
    own = witnesses.witnesses(of, of.cameras, 16, progress=False, name="distances")
    with pytest.raises(OutputError, match="nothing to make a mesh of"):
        without_strays(none, no_points, torch.zeros(0), 0.01, own)


def test_too_many_triangles_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MOST_FACES", 100)
    wanted = r"52x\d+x\d+ cells has more .* give a smaller export\.mesh\.resolution"
    with pytest.raises(SettingError, match=wanted):
        exported(tmp_path / "mesh.glb")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(meshes.NEEDED, "not_there_at_all", "not-there")
    with pytest.raises(OutputError, match=r"needs not-there, .* pip install -e"):
        meshes.check_libraries()
