"""glTF's materials, textures, lights and cameras as they are seen through Mitsuba."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neural_render.core.errors import SceneError
from neural_render.scenes.records import LoadedScene
from tests.scenes.readers.scenes import Gltf, cube, gltf_scene, load, mitsuba, picture, sky

SQUARE = (
    np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32),
    np.array([[0, 1, 2], [0, 2, 3]]),
)
UV = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)  # v points down
AHEAD = (0, 0, 6)
SUN = {"type": "directional", "intensity": 3.0}
MATT = {"metallicFactor": 0, "roughnessFactor": 1}


def lit(made: Gltf, light: dict[str, Any], node: dict[str, Any] | None = None) -> Gltf:
    """With a light on a node of its own."""
    made.content["extensions"] = {"KHR_lights_punctual": {"lights": [light]}}
    made.content["extensionsUsed"] = ["KHR_lights_punctual"]
    stated = {"extensions": {"KHR_lights_punctual": {"light": 0}}, "name": "Sun.001"}
    made.node({**stated, **(node or {})})
    return made


def square(material: dict[str, Any], light: dict[str, Any] = SUN, **attributes: Any) -> Gltf:
    """A textured square that looks at the camera, lit from there."""
    made = Gltf()
    made.mesh(SQUARE, material, TEXCOORD_0=UV, **attributes)
    return lit(made, light)


def seen(made: Gltf, folder: Path) -> np.ndarray:
    """The square's inside, 6x6 pixels, seen from ahead."""
    # "path" of Mitsuba 3.9.0 counts direct light on what is half there by its opacity twice.
    return picture(load(made.write(folder / "scene.glb")), 64, AHEAD, "volpath")[5:11, 5:11]


def quarters(image: np.ndarray) -> np.ndarray:
    """Mean colours [row column channel] of the four quarters."""
    return image.reshape(2, 3, 2, 3, 3).mean((1, 3))


def test_textures_are_the_right_way_up_and_in_srgb(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0], pixels[0, 1], pixels[1, 0] = [255, 0, 0], [0, 255, 0], [0, 0, 188]
    made = square({})
    info = {"index": made.texture(pixels, magFilter=9728)}
    made.content["materials"][0] = {"pbrMetallicRoughness": {"baseColorTexture": info, **MATT}}
    found = quarters(seen(made, tmp_path))
    assert found[0, 0].argmax() == 0 and found[0, 1].argmax() == 1 and found[1, 0].argmax() == 2
    floor = found[1, 1].mean()  # the highlight, the same all over
    ratio = (found[1, 0, 2] - floor) / (found[0, 0, 0] - floor)
    assert ratio == pytest.approx(0.5029, rel=0.05)  # 188 is half of the light


def test_a_texture_is_multiplied_transformed_and_wrapped(tmp_path: Path) -> None:
    pixels = np.full((2, 2, 3), 255, np.uint8)
    pixels[:, 1] = 0
    made = square({})
    info = {
        "index": made.texture(pixels, magFilter=9728, wrapS=33071, wrapT=33071),
        "extensions": {"KHR_texture_transform": {"offset": [0.5, 0]}},
    }
    surface = {"baseColorTexture": info, "baseColorFactor": [0, 0.5, 1, 1], **MATT}
    made.content["materials"][0] = {"pbrMetallicRoughness": surface}
    found = seen(made, tmp_path)
    assert found[..., 2].std() < 0.1 * found[..., 2].mean()  # all of it is the dark half
    info["extensions"] = {"KHR_texture_transform": {"offset": [-0.5, 0]}}
    bright = seen(made, tmp_path)
    assert bright[..., 2].mean() > 3 * found[..., 2].mean()
    np.testing.assert_array_less(bright[..., 0], bright[..., 1])
    np.testing.assert_array_less(bright[..., 1], bright[..., 2])


def test_roughness_is_green_and_metal_is_blue(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = 255, 128
    pixels[:, 1, 2] = 255
    made = square({})
    info = {"index": made.texture(pixels, magFilter=9728)}
    made.content["materials"][0] = {"pbrMetallicRoughness": {"metallicRoughnessTexture": info}}
    scene = load(made.write(tmp_path / "scene.glb"))
    parameters = mitsuba().traverse(scene.scene)
    for name, expected in [("roughness", [128] * 4), ("metallic", [0, 255, 0, 255])]:
        ending = f"{name}.data"
        key = next(key for key in parameters.keys() if key.endswith(ending))  # noqa: SIM118
        np.testing.assert_allclose(np.array(parameters[key]).ravel(), expected)


@pytest.mark.parametrize("mirrored", [False, True])
def test_normal_maps_lean_as_gltf_says(tmp_path: Path, mirrored: bool) -> None:
    """Red is along +u, green up in the picture, also where the picture is mirrored."""
    lean = {"right": [230, 128, 204], "up": [128, 230, 204]}
    brightness = {}
    for name, color in lean.items():
        for place in ("right", "up", "left", "down"):
            made = Gltf()
            uv = UV * [-1, 1] + [1, 0] if mirrored else UV
            made.mesh(SQUARE, {}, TEXCOORD_0=uv.astype(np.float32))
            map_ = {"index": made.texture(np.tile(np.uint8(color), (2, 2, 1)))}
            made.content["materials"][0] = {
                "pbrMetallicRoughness": MATT,
                "normalTexture": map_,
            }
            x, y = {"right": (1, 0), "up": (0, 1), "left": (-1, 0), "down": (0, -1)}[place]
            # A light at a point far away in that direction, 45 degrees off the square's normal.
            lit(made, {"type": "point", "intensity": 1e4}, {"translation": [50 * x, 50 * y, 50]})
            brightness[name, place] = seen(made, tmp_path).mean()
    toward, away = ("left", "right") if mirrored else ("right", "left")
    assert brightness["right", toward] > 1.5 * brightness["right", away]
    assert brightness["up", "up"] > 1.5 * brightness["up", "down"]
    for name, sides in (("right", ("up", "down")), ("up", ("left", "right"))):
        assert brightness[name, sides[0]] == pytest.approx(brightness[name, sides[1]], rel=0.1)


@pytest.mark.parametrize(("mode", "alpha", "share"), [("MASK", 200, 1), ("MASK", 60, 0)])
def test_alpha_hides_what_is_behind_it(tmp_path: Path, mode: str, alpha: int, share: float) -> None:
    made = square({})
    info = {"index": made.texture(np.full((2, 2, 4), [255, 255, 255, alpha], np.uint8))}
    surface = {"baseColorTexture": info, **MATT}
    made.content["materials"][0] = {"pbrMetallicRoughness": surface, "alphaMode": "OPAQUE"}
    opaque = float(seen(made, tmp_path).mean())
    made.content["materials"][0]["alphaMode"] = mode
    assert seen(made, tmp_path).mean() == pytest.approx(share * opaque, abs=0.02 * opaque)
    made.content["materials"][0]["alphaMode"] = "BLEND"
    blended = seen(made, tmp_path).mean()
    assert blended == pytest.approx(alpha / 255 * opaque, rel=0.1)


def test_vertex_colors_are_seen_and_tinted(tmp_path: Path) -> None:
    colors = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]], np.float32)
    surface = {"baseColorFactor": [1, 0.5, 1, 1], **MATT}
    made = square({"pbrMetallicRoughness": surface}, COLOR_0=colors)
    found = quarters(seen(made, tmp_path))
    assert found[0, 0, 0] > 2 * found[0, 0, 1] and found[0, 1, 1] > found[0, 1, 0]
    assert found[0, 0, 0] > 1.5 * found[0, 1, 1]


def test_opacity_of_vertices_is_told(tmp_path: Path) -> None:
    colors = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 1, 0, 0.5], [1, 0, 0, 1]], np.float32)
    made = square({"pbrMetallicRoughness": MATT}, COLOR_0=colors)
    (warning,) = load(made.write(tmp_path / "scene.glb")).warnings
    assert "the opacity of vertices of" in warning


def test_emission_is_texture_times_factor_times_strength(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:2] = 255
    made = Gltf()
    made.mesh(SQUARE, {}, {"name": "Screen"}, TEXCOORD_0=UV)
    strength = {"KHR_materials_emissive_strength": {"emissiveStrength": 10}}
    made.content["materials"][0] = {
        "pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]},
        "emissiveFactor": [0.1, 0.2, 0.3],
        "emissiveTexture": {"index": made.texture(pixels, magFilter=9728)},
        "extensions": strength,
    }
    scene = load(made.write(tmp_path / "scene.glb"), environment=sky(tmp_path))
    assert [(light.name, light.color) for light in scene.lights] == [
        ("environment", (1, 1, 1)),
        ("Screen", (1, 1, 1)),
    ]
    image = picture(scene, 16, AHEAD)[4:12, 4:12]
    np.testing.assert_allclose(image[1, 4], [1, 2, 3], rtol=0.1)
    assert image[6, 4].max() < 0.9


def test_only_faces_that_glow_are_lights(tmp_path: Path) -> None:
    """The lower of two squares is dark, and no part of the light."""
    made = Gltf()
    vertices, faces = SQUARE
    both = (np.concatenate([vertices, vertices - [0, 3, 0]]), np.concatenate([faces, faces + 4]))
    uv = np.concatenate([UV * 0.4, UV * 0.4 + 0.45])
    made.mesh(both, {}, {"name": "Lamp"}, TEXCOORD_0=uv.astype(np.float32))
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:6, :6] = 255
    made.content["materials"][0] = {
        "emissiveFactor": [1, 1, 1],
        "emissiveTexture": {"index": made.texture(pixels)},
    }
    scene = load(made.write(tmp_path / "scene.glb"), environment=sky(tmp_path)).scene
    areas = {shape.is_emitter(): shape.surface_area() for shape in scene.shapes()}
    assert areas == {True: pytest.approx(4), False: pytest.approx(4)}


@pytest.mark.parametrize("textured", [False, True])
@pytest.mark.parametrize("double", [False, True])
def test_a_double_sided_sheet_shines_to_both_sides(
    tmp_path: Path, textured: bool, double: bool
) -> None:
    made = Gltf()
    coordinates = {"TEXCOORD_0": UV} if textured else {}
    made.mesh(SQUARE, {}, **coordinates)
    material: dict[str, Any] = {"emissiveFactor": [1, 1, 1], "doubleSided": double}
    material["pbrMetallicRoughness"] = {"baseColorFactor": [0, 0, 0, 1]}
    if textured:
        white = np.full((2, 2, 3), 255, np.uint8)
        material["emissiveTexture"] = {"index": made.texture(white)}
    made.content["materials"][0] = material
    lit(made, {"type": "point", "intensity": 1e-6})
    scene = load(made.write(tmp_path / "scene.glb"))
    assert len(scene.lights) == 2
    front = picture(scene, 16, AHEAD)[6:10, 6:10]
    back = picture(scene, 16, (0, 0, -6))[6:10, 6:10]
    np.testing.assert_allclose(front, 1, rtol=1e-2)
    np.testing.assert_allclose(back, 1 if double else 0, atol=1e-2)


def test_a_closed_lamp_is_not_lined_with_light(tmp_path: Path) -> None:
    made = Gltf()
    made.mesh(cube(), {"emissiveFactor": [1, 1, 1], "doubleSided": True})
    (shape,) = load(made.write(tmp_path / "scene.glb")).scene.shapes()
    assert float(shape.surface_area()) == pytest.approx(24)


def test_an_object_that_only_glows_gets_the_studio(tmp_path: Path) -> None:
    made = Gltf()
    made.mesh(SQUARE, {}, {"name": "key"}, TEXCOORD_0=UV)
    pixels = np.full((2, 2, 3), 200, np.uint8)
    made.content["materials"][0] = {
        "emissiveFactor": [1, 1, 1],
        "emissiveTexture": {"index": made.texture(pixels)},
    }
    scene = load(made.write(tmp_path / "scene.glb"))
    assert [light.name for light in scene.lights] == ["environment", "key", "key_2"]
    assert any("studio" in warning for warning in scene.warnings)


LIGHTS = [
    ({"type": "point", "color": [1, 0.5, 0], "intensity": 4}, "point", (4, 2, 0)),
    ({"type": "directional", "intensity": 2}, "directional", (2, 2, 2)),
    ({"type": "spot", "intensity": 3, "spot": {"outerConeAngle": 0.3}}, "spot", (3, 3, 3)),
]


@pytest.mark.parametrize(("light", "kind", "color"), LIGHTS)
def test_lights_stand_and_shine_where_their_nodes_do(
    tmp_path: Path, light: dict[str, Any], kind: str, color: tuple[float, ...]
) -> None:
    """From above, turned down: only the cube's top is lit."""
    made = Gltf()
    made.mesh(cube(), {"pbrMetallicRoughness": MATT})
    half = np.sqrt(0.5)
    lit(made, light, {"translation": [0, 5, 0], "rotation": [-half, 0, 0, half]})
    scene = load(made.write(tmp_path / "scene.glb"))
    assert [(found.name, found.kind) for found in scene.lights] == [("Sun_001", kind)]
    np.testing.assert_allclose(scene.lights[0].color, color, rtol=1e-6)
    assert scene.warnings == ()
    above, below = (picture(scene, 16, origin) for origin in [(0.1, 6, 0), (0.1, -6, 0)])
    assert above[8, 8].max() > 0.03 and below[8, 8].max() < 1e-3


def test_cameras_stand_where_their_nodes_do(tmp_path: Path) -> None:
    made = gltf_scene()
    made.content["cameras"] = [
        {"type": "perspective", "perspective": {"yfov": 0.8, "aspectRatio": 1.5, "znear": 0.1}},
        {"type": "orthographic", "orthographic": {"xmag": 1, "ymag": 1, "zfar": 9, "znear": 0.1}},
    ]
    half = np.sqrt(0.5)  # turned left: it looks along -x
    made.node({"camera": 0, "translation": [5, 1, 0], "rotation": [0, half, 0, half], "name": "A"})
    made.node({"camera": 1, "name": "B"})
    scene = load(made.write(tmp_path / "scene.glb"))
    (camera,) = scene.cameras
    assert (camera.name, camera.width, camera.height) == ("A", 1080, 720)
    assert np.tan(camera.fov_x_rad / 2) == pytest.approx(1.5 * np.tan(0.4), rel=1e-4)
    expected = [[0, 0, -1, 5], [0, -1, 0, 1], [-1, 0, 0, 0]]
    np.testing.assert_allclose(camera.world_from_camera, expected, atol=1e-6)
    assert "the camera B (orthographic)" in scene.warnings[0]


def test_a_mirrored_node_keeps_its_outside(tmp_path: Path) -> None:
    made, plain = gltf_scene(), gltf_scene()
    made.content["nodes"][1]["scale"] = [-1, 1, 1]
    expected = picture(load(plain.write(tmp_path / "a.glb")))
    found = picture(load(made.write(tmp_path / "b.glb")))
    np.testing.assert_allclose(found.mean(), expected.mean(), rtol=0.03)


EXTENSIONS = {
    "transmission": ({"transmissionFactor": 0.9}, "spec_trans.value", 0.9),
    "ior": ({"ior": 1.8}, "eta", 1.8),
    "clearcoat": ({"clearcoatFactor": 0.7}, "clearcoat.value", 0.7),
    "sheen": ({"sheenColorFactor": [0.5, 0.5, 0.5]}, "sheen.value", 0.5),
    "specular": ({"specularFactor": 0.25}, "eta", 1.222),
    "anisotropy": ({"anisotropyStrength": 0.6}, "anisotropic.value", 0.6),
}


@pytest.mark.parametrize("name", EXTENSIONS)
def test_material_extensions_reach_the_principled_model(tmp_path: Path, name: str) -> None:
    content, ending, value = EXTENSIONS[name]
    extensions = {f"KHR_materials_{name}": content}
    if name == "transmission":
        extensions["KHR_materials_volume"] = {"thicknessFactor": 1}
    made = square({"extensions": extensions})
    scene = load(made.write(tmp_path / "scene.glb"))
    parameters = mitsuba().traverse(scene.scene)
    keys = [key for key in parameters.keys() if key.endswith(ending)]  # noqa: SIM118
    found = [float(np.array(parameters[key]).ravel()[0]) for key in keys]
    assert found and all(number == pytest.approx(value, rel=1e-3) for number in found)
    assert scene.warnings == ()


def test_a_thin_pane_lets_light_straight_through(tmp_path: Path) -> None:
    extensions = {"KHR_materials_transmission": {"transmissionFactor": 1.0}}
    surface = {"metallicFactor": 0, "roughnessFactor": 0.02}
    made = Gltf()
    made.mesh(SQUARE, {"extensions": extensions, "pbrMetallicRoughness": surface})
    scene = load(made.write(tmp_path / "scene.glb"), environment=sky(tmp_path))
    inside = picture(scene, 256, AHEAD)[6:10, 6:10]
    made.content["nodes"][0]["translation"] = [0, 50, 0]
    behind = picture(
        load(made.write(tmp_path / "scene.glb"), environment=sky(tmp_path)), 64, AHEAD
    )[6:10, 6:10]
    np.testing.assert_allclose(inside.mean((0, 1)), behind.mean((0, 1)), rtol=0.15)


def test_what_cannot_be_expressed_is_named_in_one_warning(tmp_path: Path) -> None:
    extensions = {"KHR_materials_iridescence": {}, "KHR_materials_clearcoat": {}}
    made = square({"name": "Soap", "extensions": extensions})
    made.content["animations"] = [{}, {}]
    made.content["extensionsUsed"] += ["MSFT_lod", "KHR_materials_iridescence"]
    made.content["meshes"][0]["primitives"][0]["targets"] = [{}]
    made.content["nodes"][0] |= {"skin": 0, "name": "Bubble"}
    points = {**made.content["meshes"][0]["primitives"][0], "mode": 0}
    made.content["meshes"][0]["primitives"].append(points)
    (warning,) = load(made.write(tmp_path / "scene.glb")).warnings
    for words in [
        "KHR_materials_iridescence of the material Soap",
        "2 animations",
        "MSFT_lod",
        "morph targets of Bubble",
        "the skin of Bubble",
        "points or lines of Bubble",
    ]:
        assert words in warning


def test_strips_and_fans_are_triangles(tmp_path: Path) -> None:
    boxes: list[LoadedScene] = []
    for mode, corners in [(5, [0, 1, 3, 2]), (6, [0, 1, 2, 3])]:
        made = square({"pbrMetallicRoughness": MATT})
        indices = made.accessor(np.array(corners))
        made.content["meshes"][0]["primitives"][0] |= {"mode": mode, "indices": indices}
        boxes.append(load(made.write(tmp_path / "scene.glb")))
    for scene in boxes:
        (shape,) = scene.scene.shapes()
        assert shape.surface_area() == pytest.approx(4)
        assert picture(scene, 16, AHEAD)[8, 8].max() > 0.1


BROKEN: dict[str, tuple[Any, str]] = {
    "no geometry": (lambda c: c["scenes"][0].update(nodes=[]), "has no geometry"),
    "a node that is not there": (lambda c: c["scenes"][0].update(nodes=[7]), "is broken glTF"),
    "a number for a list": (lambda c: c.update(nodes=3), "is broken glTF"),
    "faces past the vertices": (lambda c: c["accessors"][0].update(count=3), "does not have"),
    "nodes in a circle": (lambda c: c["nodes"][0].update(children=[0]), "reached twice"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_scene_ends_in_a_sentence(tmp_path: Path, case: str) -> None:
    change, words = BROKEN[case]
    made = gltf_scene()
    change(made.content)
    with pytest.raises(SceneError) as raised:
        load(made.write(tmp_path / "scene.glb"))
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_pictures_that_are_none_and_bad_vertices_are_named(tmp_path: Path) -> None:
    path = gltf_scene().write(tmp_path / "scene.gltf")
    content = json.loads(path.read_text())
    (tmp_path / "wood.png").write_bytes(b"no picture")
    content |= {"images": [{"uri": "wood.png"}], "textures": [{"source": 0}]}
    content["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
    for mesh in content["meshes"]:
        attributes = mesh["primitives"][0]["attributes"]
        attributes["TEXCOORD_0"] = attributes["POSITION"]
    path.write_text(json.dumps(content))
    with pytest.raises(SceneError, match=r"the texture wood.png is no picture"):
        load(path)
    made = Gltf()
    bad = SQUARE[0].copy()
    bad[1, 2] = np.nan
    made.mesh((bad, SQUARE[1]), {}, {"name": "Cloth"})
    with pytest.raises(SceneError, match="the mesh Cloth has 1 vertices that are no finite"):
        load(made.write(tmp_path / "scene.glb"))
