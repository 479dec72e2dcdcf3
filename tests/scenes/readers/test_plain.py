"""OBJ's materials, colours of vertices, and polygons."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neural_render.core.errors import SceneError
from neural_render.scenes.readers.building import decoded
from neural_render.scenes.readers.plain.mtl import libraries, read_materials, split_map
from tests.scenes.readers.scenes import load, mitsuba, picture, pixels_file, sky
from tests.scenes.readers.test_formats import write_ply

QUAD = "v -1 -1 0\nv 1 -1 0\nv 1 1 0\nv -1 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
AHEAD = (0, 0, 6)


def quad(folder: Path, materials: str) -> Path:
    """A textured square of the material ``paint`` that looks at the camera."""
    (folder / "a.mtl").write_text(f"newmtl paint\n{materials}\n")
    faces = "usemtl paint\nf 1/1 2/2 3/3 4/4\n"
    (folder / "a.obj").write_text(f"mtllib a.mtl\n{QUAD}{faces}")
    return folder / "a.obj"


def seen(folder: Path, materials: str) -> np.ndarray:
    """The square's inside, 6x6 pixels, under a sky."""
    mitsuba()
    scene = load(quad(folder, materials), environment=sky(folder))
    return picture(scene, 64, AHEAD, "volpath")[5:11, 5:11]


def test_libraries_and_maps_are_parsed() -> None:
    text = b"mtllib my materials.mtl\r\n  mtllib b.mtl\nv 0 0 0\n# mtllib no.mtl\n"
    assert libraries(text) == ["my materials.mtl", "b.mtl"]
    words = ["-s", "2", "3", "1", "-o", "0.5", "-clamp", "on", "-mm", "0", "1", "my", "wood.png"]
    name, options = split_map(words)
    assert name == "my wood.png"
    assert options == {
        "-s": ["2", "3", "1"],
        "-o": ["0.5"],
        "-clamp": ["on"],
        "-mm": ["0", "1"],
    }


def test_statements_are_read_as_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.mtl").write_text("# x\nnewmtl a b\nKd 0.5\nNs 3 # y\nd -halo 0.5\nnewmtl c\n")
    found = read_materials(tmp_path / "a.mtl")
    assert list(found) == ["a b", "c"]
    np.testing.assert_array_equal(found["a b"].numbers("kd", (1.0, 1.0, 1.0)), [0.5] * 3)
    np.testing.assert_array_equal(found["a b"].numbers("ns", (1.0,)), [3])
    np.testing.assert_array_equal(found["c"].numbers("ks", (0.1, 0.2, 0.3)), [0.1, 0.2, 0.3])


def test_textures_of_hundreds_of_megapixels_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow takes them for an attack: here, all that have twice this many pixels."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7)
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(decoded((tmp_path / "a.png").read_bytes(), "it")[..., :3], pixels)


def test_a_texture_is_the_right_way_up_and_tinted(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3))
    pixels[:4, :4, 0], pixels[:4, 4:, 1], pixels[4:, :, 2] = 255, 255, 255
    pixels_file(tmp_path / "a.png", pixels)
    image = seen(tmp_path, "map_Kd a.png")
    quarters = image.reshape(2, 3, 2, 3, 3).mean((1, 3))
    assert quarters[0, 0].argmax() == 0 and quarters[0, 1].argmax() == 1
    assert quarters[1, 0].argmax() == quarters[1, 1].argmax() == 2
    half = seen(tmp_path, "Kd 0.5 0.5 0.5\nmap_Kd a.png")
    assert float(half.mean()) == pytest.approx(0.5 * float(image.mean()), rel=0.05)
    moved = seen(tmp_path, "map_Kd -o 0.5 0 0 a.png")
    swapped = moved.reshape(2, 3, 2, 3, 3).mean((1, 3))
    assert swapped[0, 0].argmax() == 1 and swapped[0, 1].argmax() == 0


def test_materials_reach_mitsubas_models(tmp_path: Path) -> None:
    white = float(seen(tmp_path, "Kd 1 1 1").mean())
    assert float(seen(tmp_path, "Kd 0.25 0.25 0.25").mean()) == pytest.approx(white / 4, rel=0.03)
    behind = float(seen(tmp_path, "Kd 0 0 0\nd 0").mean())
    half = float(seen(tmp_path, "Kd 0 0 0\nTr 0.5").mean())
    assert half == pytest.approx(behind / 2, rel=0.03)
    glow = seen(tmp_path, "Kd 0 0 0\nKe 1 2 3").mean((0, 1))
    np.testing.assert_allclose(glow, [1, 2, 3], rtol=1e-3)
    for materials, model in {
        "Kd 1 1 1": "SmoothDiffuse",
        "Kd 1 1 1\nKs 0.2 0.2 0.2\nNs 50": "Principled",
        "bsdf pbr\nKs 0 0.2 1": "Principled",
        "Pr 0.3\nPm 1": "Principled",
        "illum 7\nd 0.1\nNi 1.4": "Principled",
    }.items():
        (shape,) = load(quad(tmp_path, materials), environment=sky(tmp_path)).scene.shapes()
        assert model in str(shape.bsdf()), materials


def test_indices_may_count_backwards_from_their_line(tmp_path: Path) -> None:
    text = "v 9 9 9\nvt 5 5\n"
    for left in (-1.0, 0.0):
        for x, y in ((left, -1), (left + 1, -1), (left + 1, 1), (left, 1)):
            text += f"v {x} {y} 0\nvt {x} {y}\n"
        text += "f \\\n -4/-4 -3/-3 -2/-2 -1/-1 # -7\n"
    (tmp_path / "a.obj").write_text(text)
    scene = load(tmp_path / "a.obj", environment=sky(tmp_path)).scene
    assert np.array(scene.bbox().min).ravel().tolist() == [-1, -1, 0]
    assert np.array(scene.bbox().max).ravel().tolist() == [1, 1, 0]
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nf -2 -1 -3\nv 0 1 0\n")
    with pytest.raises(SceneError, match="refers to v -3 where 2 came before"):
        load(tmp_path / "a.obj", environment=sky(tmp_path))


def test_without_coordinates_there_are_no_textures(tmp_path: Path) -> None:
    pixels_file(tmp_path / "a.png", np.full((4, 4, 3), 255))
    plain = seen(tmp_path, "Kd 0.5 0.5 0.5")
    path = quad(tmp_path, "Kd 0.5 0.5 0.5\nmap_Kd a.png\nmap_d a.png")
    path.write_text(path.read_text().replace("1/1 2/2 3/3 4/4", "1 2 3 4"))
    scene = load(path, environment=sky(tmp_path))
    np.testing.assert_allclose(picture(scene, 64, AHEAD, "volpath")[5:11, 5:11], plain, rtol=1e-3)
    (warning,) = scene.warnings
    assert "textures of the material paint on faces without coordinates" in warning


def test_holes_of_what_emits_are_dark(tmp_path: Path) -> None:
    """Mitsuba's emitters shine through them."""
    behind = seen(tmp_path, "Kd 0 0 0\nd 0")
    np.testing.assert_allclose(seen(tmp_path, "Kd 0 0 0\nKe 5 5 5\nd 0"), behind)
    leaf = np.zeros((8, 8, 4), np.uint8)
    leaf[:, :4, 3] = 255  # its left half there
    Image.fromarray(leaf).save(tmp_path / "leaf.png")
    pixels_file(tmp_path / "white.png", np.full((2, 2, 3), 255))
    for more in ("", "\nmap_Ke white.png"):
        found = seen(tmp_path, f"Kd 0 0 0\nKe 5 6 7\nmap_d leaf.png{more}")
        # Between the edges, where it is repeated, and the middle; pixels see a little of both.
        np.testing.assert_allclose(found[:, 1].mean(0), [5, 6, 7], rtol=0.15)
        assert ((found - behind)[:, 4].mean(0) < 0.15 * np.array([5, 6, 7])).all()


def test_opacity_is_a_pictures_matte_if_it_has_one(tmp_path: Path) -> None:
    behind = float(seen(tmp_path, "Kd 0 0 0\nd 0").mean())
    leaf = np.zeros((4, 4, 4), np.uint8)
    leaf[..., 1], leaf[:, :2, 3] = 255, 255  # green, its left half there
    for name, pixels in {"leaf.png": leaf, "grey.png": leaf[..., 3]}.items():
        Image.fromarray(pixels).save(tmp_path / name)
        found = seen(tmp_path, f"Kd 0 0 0\nmap_d {name}")
        # Between the edges, where the picture is repeated, and the middle.
        assert float(found[:, 1].max()) < 0.01
        assert float(found[:, 4].mean()) == pytest.approx(behind, rel=0.05)
    green = seen(tmp_path, "Kd 0 0 0\nmap_d -imfchan g leaf.png")
    assert float(green.max()) < 0.01


def test_glass_with_pbr_terms_is_glass(tmp_path: Path) -> None:
    pixels_file(tmp_path / "a.png", np.full((4, 4, 3), [128, 128, 255]))
    cases = {"illum 7\nd 0.1\nPr 0.1": 1.0, "illum 2\nPr 0.1": 0.0}
    cases["illum 7\nd 0.1\nPr 0.1\nnorm a.png\nmap_Kd -imfchan a.png"] = 1.0
    for terms, passes in cases.items():
        (shape,) = load(quad(tmp_path, terms), environment=sky(tmp_path)).scene.shapes()
        parameters = mitsuba().traverse(shape.bsdf())
        keys = [key for key in parameters.keys() if key.endswith("spec_trans.value")]  # noqa: SIM118
        assert {float(np.array(parameters[key]).ravel()[0]) for key in keys} == {passes}


def test_what_a_material_has_and_we_cannot_express_is_named(tmp_path: Path) -> None:
    path = quad(tmp_path, "map_Bump bump.png\nmap_Ns shiny.png")
    (warning,) = load(path, environment=sky(tmp_path)).warnings
    assert "map_bump of the material paint" in warning
    assert "map_ns of the material paint" in warning


def test_colors_of_vertices_are_seen(tmp_path: Path) -> None:
    text = write_ply(tmp_path).read_text()
    head, body = text.split("end_header\n")
    head = head.replace(
        "property float z\n",
        "property float z\n" + "".join(f"property uchar {c}\n" for c in ("red", "green", "blue")),
    )
    lines = body.splitlines()
    lines[:24] = [f"{line} 255 0 0" for line in lines[:24]]
    (tmp_path / "cube.ply").write_text(f"{head}end_header\n" + "\n".join(lines) + "\n")
    scene = load(tmp_path / "cube.ply", environment=sky(tmp_path))
    red, green, _ = picture(scene, 64, AHEAD)[8, 8]
    assert red > 0.3 and green < 0.01
