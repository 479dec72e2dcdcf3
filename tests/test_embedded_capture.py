"""The embedded capture is whole and true to its scene, and its maker refuses clearly."""

import importlib
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
CAPTURE = ROOT / "data" / "cove"
SCENE = ROOT / "data" / "scenes" / "cove"
MAX_BYTES = 6 * 10**6
HIDDEN = {"key_light", "rim_light", "flame"}


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/make_capture.py as a module."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("make_capture")


def split(name: str) -> tuple[list[Path], np.ndarray, float]:
    """Image paths, camera-to-world matrices and tan of half the angle of view."""
    content = json.loads((CAPTURE / f"transforms_{name}.json").read_text(encoding="utf-8"))
    paths = [CAPTURE / frame["file_path"] for frame in content["frames"]]
    matrices = np.array([frame["transform_matrix"] for frame in content["frames"]])
    return paths, matrices, float(np.tan(content["camera_angle_x"] / 2))


def alpha_of(path: Path) -> np.ndarray:
    """Coverage in [0, 1]."""
    with Image.open(path) as image:
        assert image.mode == "RGBA"
        return np.asarray(image)[..., 3] / 255


def scene_points() -> np.ndarray:
    """All vertices of the scene's PLY meshes `[vertices 3]`."""
    meshes = []
    for path in sorted((SCENE / "meshes").glob("*.ply")):
        header, body = path.read_bytes().split(b"end_header\n", 1)
        num_vertices = int(header.split(b"element vertex ")[1].split()[0])
        meshes.append(np.frombuffer(body, "<f4", 8 * num_vertices).reshape(-1, 8)[:, :3])
    return np.concatenate(meshes).astype(float)


def test_there_is_enough_and_not_too_much() -> None:
    train, test = split("train")[0], split("test")[0]
    assert len(train) >= 64 and len(test) >= 8
    assert len(set(train + test)) == len(train) + len(test)
    assert all(path.is_file() for path in train + test)
    assert sum(p.stat().st_size for p in (ROOT / "data").rglob("*") if p.is_file()) <= MAX_BYTES


def test_cameras_are_rigid_and_above_the_horizon() -> None:
    for name in ("train", "test"):
        _, matrices, _ = split(name)
        rotation, place = matrices[:, :3, :3], matrices[:, :3, 3]
        assert np.allclose(rotation.transpose(0, 2, 1) @ rotation, np.eye(3), atol=1e-7)
        assert np.allclose(np.linalg.det(rotation), 1)
        assert (matrices[:, 3] == [0, 0, 0, 1]).all()
        elevation = np.degrees(np.arcsin(place[:, 2] / np.linalg.norm(place, axis=1)))
        assert elevation.min() > 4 and elevation.max() < 71
        # They look at the origin, along -z.
        off_axis = np.linalg.norm(np.cross(place, rotation[:, :, 2]), axis=1)
        assert off_axis.max() < 0.04 and (np.sum(place * rotation[:, :, 2], axis=1) > 0).all()


def test_test_views_are_new_but_within_reach() -> None:
    train, test = split("train")[1], split("test")[1]
    cosine = test[:, :3, 2] @ train[:, :3, 2].T
    nearest = np.degrees(np.arccos(cosine.max(axis=1)))
    assert nearest.min() > 2 and nearest.max() < 12


@pytest.mark.parametrize("name", ["train", "test"])
def test_photographs_show_the_whole_scene_where_the_cameras_say(name: str) -> None:
    """The covered pixels' box is the box of all projected vertices, in every view."""
    points = scene_points()
    paths, matrices, half = split(name)
    for path, matrix in zip(paths, matrices, strict=True):
        alpha = alpha_of(path)
        size = alpha.shape[0]
        local = (points - matrix[:3, 3]) @ matrix[:3, :3]
        projected = 0.5 * size * (1 - local[:, :2] / local[:, 2:] / half * [1, -1])
        expected = [projected.min(axis=0), projected.max(axis=0)]
        rows, columns = np.nonzero(alpha > 0.02)
        seen = [[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]]
        assert np.allclose(seen, expected, atol=1.6), path
        assert np.min(seen) >= 1 and np.max(seen) <= size - 1, path


def test_alpha_is_coverage() -> None:
    for path in split("train")[0][::6] + split("test")[0]:
        alpha = alpha_of(path)
        assert alpha.shape == (400, 400)
        assert 0.15 < alpha.mean() < 0.6
        partial = (alpha > 0) & (alpha < 1)
        assert partial.mean() < 0.03, path


def test_photographs_are_colourful_and_well_exposed() -> None:
    for path in split("test")[0]:
        with Image.open(path) as image:
            pixels = np.asarray(image).astype(float) / 255
        colours = pixels[pixels[..., 3] == 1][:, :3]
        assert 0.3 < colours.mean() < 0.6, path
        assert (colours.max(axis=1) >= 1).mean() < 0.03, path
        assert np.ptp(colours, axis=1).mean() > 0.15, path


def test_the_scene_file_names_what_is_there() -> None:
    scene = ElementTree.parse(SCENE / "scene.xml").getroot()
    strings = scene.iter("string")
    named = {node.get("value", "") for node in strings if node.get("name") == "filename"}
    assets = [path for path in SCENE.rglob("*.*") if path.suffix in {".ply", ".jpg", ".exr"}]
    assert named == {path.relative_to(SCENE).as_posix() for path in assets}


def test_the_scene_renders() -> None:
    mitsuba = pytest.importorskip("mitsuba", reason="no mitsuba: pip install '.[bake]'")
    mitsuba.set_variant("scalar_rgb")
    scene = mitsuba.load_file(str(SCENE / "scene.xml"), spp=4, res=24)
    pixels = np.array(mitsuba.render(scene))
    assert pixels.shape == (24, 24, 4) and np.isfinite(pixels).all()
    assert 0.15 < pixels[..., 3].mean() < 0.6 and pixels[..., 3].max() <= 1.001
    assert {shape.id() for shape in scene.shapes()} >= HIDDEN


def test_the_model_makes_the_committed_meshes() -> None:
    compare = (
        "import build, shapes, numpy, pathlib, tempfile\n"
        "for name, mesh in build.model().items():\n"
        "    kept = (build.FOLDER / 'meshes' / f'{name}.ply').read_bytes()\n"
        "    path = pathlib.Path(tempfile.mkdtemp()) / 'again.ply'\n"
        "    shapes.write_ply(path, mesh)\n"
        "    header = kept.split(b'end_header')[0]\n"
        "    assert path.read_bytes().split(b'end_header')[0] == header, name\n"
        "    numbers = numpy.frombuffer(kept[len(header) + 11:], '<f4', 8 * len(mesh.points))\n"
        "    assert numpy.allclose(numbers.reshape(-1, 8)[:, :3], mesh.points, atol=1e-5), name\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", compare], cwd=SCENE / "model", capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


def test_display_colours_are_straight_srgb(maker: ModuleType) -> None:
    premultiplied = np.array([[[0.5, 0.25, 0.0, 0.5], [0, 0, 0, 0], [0.216, 9, 0.001, 1]]])
    expected = [[[255, 188, 0, 128], [0, 0, 0, 0], [128, 255, 3, 255]]]
    assert maker.display_rgba(premultiplied).tolist() == expected


def test_a_missing_mitsuba_is_said(
    maker: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert maker.main(["--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "Mitsuba, which is not installed" in error and 'pip install -e ".[bake]"' in error
    assert error.count("\n") == 1


def test_finished_views_are_kept_and_sizes_not_mixed(
    maker: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # nothing can be rendered
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        Image.new("RGBA", (16, 16)).save(tmp_path / name / "000.webp")
    arguments = ["--output", str(tmp_path), "--train", "1", "--test", "1"]
    assert maker.main([*arguments, "--size", "16"]) == 0
    assert len(json.loads((tmp_path / "transforms_train.json").read_text())["frames"]) == 1
    assert maker.main([*arguments, "--size", "32"]) == 2
    assert "is 16x16 but --size 32 was asked for: add --redo" in capsys.readouterr().err
    assert maker.main([*arguments, "--size", "16", "--redo"]) == 2


def test_views_from_other_places_are_not_kept(
    maker: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # nothing can be rendered
    for index in range(3):
        for name in ("train", "test"):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.new("RGBA", (16, 16)).save(tmp_path / name / f"00{index}.webp")
    arguments = ["--output", str(tmp_path), "--size", "16"]
    assert maker.main([*arguments, "--train", "3", "--test", "3"]) == 0
    before = (tmp_path / "transforms_train.json").read_bytes()
    assert maker.main([*arguments, "--train", "3", "--test", "3"]) == 0
    assert maker.main([*arguments, "--train", "3", "--test", "2"]) == 2
    assert "elsewhere than --test 2 does: add --redo" in capsys.readouterr().err
    assert maker.main([*arguments, "--train", "2", "--test", "3"]) == 2
    assert (tmp_path / "transforms_train.json").read_bytes() == before
    assert maker.main([*arguments, "--train", "2", "--test", "2", "--redo"]) == 2
    assert "Mitsuba" in capsys.readouterr().err
    assert (tmp_path / "transforms_train.json").read_bytes() == before


@pytest.mark.parametrize("given", ["0", "-3", "many"])
def test_counts_are_positive(maker: ModuleType, capsys: pytest.CaptureFixture, given: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        maker.main([f"--size={given}"])
    assert f"{given} is not a whole number above zero" in capsys.readouterr().err
