"""Mitsuba's XML: what is refused, what of old versions is mended, cameras, lights and depth."""

import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from neural_render.core.errors import SceneError
from neural_render.scenes.readers.mitsuba_xml.mending import mend
from neural_render.scenes.readers.mitsuba_xml.reading import read
from neural_render.scenes.readers.mitsuba_xml.text import plain_name, read_tree
from tests.scenes.readers.scenes import load, mitsuba, picture, write_xml

BOMB = '<!DOCTYPE s [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
SHAPE = '<shape type="sphere"/>'


def refusal(path: Path, text: str | bytes) -> str:
    """The sentence with which reading ends, before Mitsuba is even imported."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SceneError) as raised:
        read(path)
    sentence = str(raised.value)
    assert "\n" not in sentence and sentence[-1] not in ".:" and path.name in sentence
    return sentence


REFUSED = {
    "entities": (
        f'{BOMB}<scene version="3.0.0"><string name="x" value="&b;"/></scene>',
        ["<!DOCTYPE", "remove it"],
    ),
    "another file as an entity": (
        '<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><scene version="3.0.0">&x;</scene>',
        ["<!DOCTYPE"],
    ),
    "another file as a document type": (
        '<!DOCTYPE scene SYSTEM "other.dtd"><scene version="3.0.0"/>',
        ["<!DOCTYPE"],
    ),
    "an include": (
        f'<scene version="3.0.0">{SHAPE}<include filename="other.xml"/></scene>',
        ["<include>", "one file"],
    ),
    "a library elsewhere": (
        '<scene version="3.0.0"><shape type="../../tmp/evil"/></scene>',
        ['type "../../tmp/evil"', "<shape type=...>"],
    ),
    "a search path": (f'<scene version="3.0.0">{SHAPE}<path value=".."/></scene>', ["<path>"]),
    "no XML": ("v 0 0 0", ["no valid XML"]),
    "cut short": ('<scene version="3.0.0"><shape', ["no valid XML"]),
    "an unknown encoding": (b'<?xml version="1.0" encoding="nonsense"?><scene/>', ["no valid XML"]),
    "another document": ("<html/>", ["<html>", "no Mitsuba scene"]),
    "no version": (f"<scene>{SHAPE}</scene>", ["no version"]),
    "no geometry": ('<scene version="3.0.0"><emitter type="constant"/></scene>', ["no geometry"]),
    "a parameter without a value": (
        '<scene version="3.0.0"><shape type="$kind"/></scene>',
        ["$kind", "<default"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_plain_scene_is_refused(tmp_path: Path, case: str) -> None:
    text, words = REFUSED[case]
    sentence = refusal(tmp_path / "scene.xml", text)
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../secret.obj", "meshes/../../secret.obj", "..\\secret.obj"]
)
@pytest.mark.parametrize("through_default", [False, True])
def test_files_outside_the_folder_are_refused(
    tmp_path: Path, name: str, through_default: bool
) -> None:
    (tmp_path / "secret.obj").write_text("v 0 0 0\n")
    folder = tmp_path / "scene"
    folder.mkdir()
    written = "$place" if through_default else name
    default = f'<default name="place" value="{name}"/>' if through_default else ""
    sentence = refusal(
        folder / "scene.xml",
        f'<scene version="3.0.0">{default}<shape type="obj">'
        f'<string name="filename" value="{written}"/></shape></scene>',
    )
    assert name in sentence and "outside its own folder" in sentence


def test_missing_and_empty_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    shape = '<shape type="{}"><string name="filename" value="{}"/></shape>'
    missing = refusal(
        tmp_path / "scene.xml",
        '<scene version="3.0.0"><texture type="bitmap"><string name="filename" value="no.png"/>'
        f"</texture>{shape.format('obj', 'no.obj')}</scene>",
    )
    assert "the mesh no.obj, the texture no.png" in missing
    empty = refusal(
        tmp_path / "scene.xml",
        f'<scene version="0.6.0">{SHAPE}<texture type="bitmap">'
        '<string name="filename" value="empty.png"/></texture></scene>',
    )
    assert "the texture empty.png, of 0 bytes" in empty


def test_defaults_are_filled_in_and_paths_are_absolute(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("v 0 0 0\n")
    (tmp_path / "scene.xml").write_text(
        '<scene version="3.0.0"><default name="f" value="wrong"/><default name="file" value="a"/>'
        '<shape type="obj"><string name="filename" value="$file.obj"/></shape></scene>'
    )
    tree = read_tree(tmp_path / "scene.xml")
    string = tree.find("shape/string")
    assert string is not None and string.get("value") == str(tmp_path / "a.obj")
    assert tree.find("default") is None


def test_what_old_versions_wrote_is_mended() -> None:
    tree = ElementTree.fromstring(
        '<scene version="0.5.0"><integrator type="irrcache"/><sampler type="sobol"/>'
        '<spectrum name="a" value="1, 2 3"/><spectrum name="b" value="4"/>'
        '<spectrum name="c" value="400:1, 700:2"/><srgb name="d" value="#ff8000"/>'
        '<transform><lookAt origin="0,0,0"/></transform>'
        '<string name="filterType" value="trilinear"/>'
        '<film type="ldrfilm"><integer name="width" value="4"/><float name="gamma" value="2"/>'
        "</film></scene>"
    )
    mend(tree)
    found = {
        element.get("name"): (element.tag, element.get("value"))
        for element in tree
        if "name" in element.attrib
    }
    assert found["a"] == ("rgb", "1 2 3") and found["b"] == ("rgb", "4 4 4")
    assert found["c"] == ("spectrum", "400:1, 700:2")
    kind, value = found["d"]
    assert kind == "rgb"
    np.testing.assert_allclose(
        [float(number) for number in str(value).split()], [1, 0.2158605, 0], atol=1e-6
    )
    assert found["filterType"][1] == "bilinear"
    assert tree.find("transform/lookat") is not None
    assert tree.find("integrator") is None and tree.find("sampler") is None
    film = tree.find("film")
    assert film is not None and film.get("type") == "hdrfilm"
    assert [child.get("name") for child in film] == ["width"]
    assert plain_name("maxDepth") == plain_name("max_depth") == "max_depth"


def old_scene(folder: Path) -> Path:
    """The scene of ``write_xml`` as version 0.5 wrote it."""
    text = write_xml(folder).read_text()
    text = text.replace("3.0.0", "0.5.0").replace("<rgb", "<spectrum").replace(", ", " ")
    return Path(str((folder / "old.xml").write_text(text) and folder / "old.xml"))


def test_an_old_scene_is_the_new_one(tmp_path: Path) -> None:
    new, old = load(write_xml(tmp_path)), load(old_scene(tmp_path))
    assert old.lights == new.lights
    np.testing.assert_allclose(picture(old, 16), picture(new, 16), rtol=1e-3, atol=1e-5)


DEPTHS = {
    '<integrator type="path"><integer name="max_depth" value="5"/></integrator>': 5,
    '<integrator type="path"><integer name="max_depth" value="-1"/></integrator>': -1,
    '<integrator type="path"/>': 8,
    '<integrator type="direct"/>': 2,
    '<integrator type="aov"><string name="aovs" value="dd:depth"/><integrator type="path">'
    '<integer name="max_depth" value="3"/></integrator></integrator>': 3,
    "": 8,
}


@pytest.mark.parametrize("integrator", DEPTHS)
def test_the_depth_is_the_files(tmp_path: Path, integrator: str) -> None:
    path = write_xml(tmp_path, integrator)
    assert load(path).max_depth == DEPTHS[integrator]
    assert load(path, max_depth=4).max_depth == 4


LIGHTS = """
<emitter type="point"><rgb name="intensity" value="1 2 3"/></emitter>
<emitter type="directional" id="sun_emitter"><rgb name="irradiance" value="3 2 1"/></emitter>
<emitter type="spot" id="a spot!"><rgb name="intensity" value="1 1 0"/></emitter>
<emitter type="constant" id="anything"><rgb name="radiance" value="0.1 0.2 0.3"/></emitter>
<shape type="sphere" id="lamp_mesh"><emitter type="area"><rgb name="radiance" value="9"/></emitter>
</shape>
"""


def test_lights_have_plain_unique_names_and_are_found_under_their_prefix(tmp_path: Path) -> None:
    scene = load(write_xml(tmp_path, LIGHTS))
    found = {light.name: (light.kind, light.color) for light in scene.lights}
    assert found == {
        "environment": ("environment", pytest.approx((0.1, 0.2, 0.3))),
        "a_spot": ("spot", (1, 1, 0)),
        "lamp": ("area", (6, 8, 10)),
        "lamp_2": ("area", (9, 9, 9)),
        "light": ("point", (1, 2, 3)),
        "sun": ("directional", (3, 2, 1)),
    }
    parameters = mitsuba().traverse(scene.scene)
    for light in scene.lights:
        assert f"{light.emitter}.sampling_weight" in parameters
        name = {"point": "intensity", "spot": "intensity", "directional": "irradiance"}
        color = parameters[f"{light.emitter}.{name.get(light.kind, 'radiance')}.value"]
        np.testing.assert_allclose(np.array(color), light.color)


def test_the_order_of_lights_is_the_same_each_time(tmp_path: Path) -> None:
    body = "".join(
        f'<shape type="sphere" id="bulb_{number}"><emitter type="area">'
        f'<rgb name="radiance" value="{number + 1}"/></emitter></shape>'
        for number in range(12)
    )
    path = write_xml(tmp_path, body)
    names = [light.name for light in load(path).lights]
    assert names == [*(f"bulb_{number}" for number in range(12)), "lamp"]
    assert [light.name for light in load(path).lights] == names


CAMERAS = [
    ("x", 50, 24, 16),
    ("y", 50, 24, 16),
    ("smaller", 35, 12, 16),
    ("larger", 35, 12, 16),
    ("diagonal", 60, 24, 16),
]


@pytest.mark.parametrize(("axis", "fov", "width", "height"), CAMERAS)
def test_cameras_see_through_the_pixels_that_mitsubas_see_through(
    tmp_path: Path, axis: str, fov: float, width: int, height: int
) -> None:
    sensor = (
        f'<sensor type="perspective" id="my view"><string name="fov_axis" value="{axis}"/>'
        f'<float name="fov" value="{fov}"/><transform name="to_world">'
        '<lookat origin="4, 3, 6" target="0.5, 0, -1" up="0.1, 1, 0.2"/></transform>'
        f'<film type="hdrfilm"><integer name="width" value="{width}"/>'
        f'<integer name="height" value="{height}"/></film></sensor>'
    )
    scene = load(write_xml(tmp_path, sensor))
    (camera,) = scene.cameras
    assert (camera.name, camera.width, camera.height) == ("my_view", width, height)
    assert scene.warnings == ()
    pose = np.array(camera.world_from_camera)
    np.testing.assert_allclose(np.linalg.det(pose[:, :3]), 1, rtol=1e-5)
    focal = width / 2 / math.tan(camera.fov_x_rad / 2)
    (theirs,) = scene.scene.sensors()
    for at in [(0.1, 0.2), (0.5, 0.5), (0.9, 0.3), (0.4, 0.95)]:
        ray, _ = theirs.sample_ray(0, 0.5, at, (0.5, 0.5))
        local = pose[:, :3].T @ np.array(ray.d)
        x, y = local[:2] / local[2] * focal + [width / 2, height / 2]
        np.testing.assert_allclose([x / width, y / height], at, atol=1e-4)
        np.testing.assert_allclose(pose[:, 3], [4, 3, 6], atol=1e-5)


def test_walls_of_one_material_count_for_the_scenes_size(tmp_path: Path) -> None:
    """Mitsuba merges squares of one material into a mesh that it takes to be nowhere."""
    walls = "".join(
        f'<shape type="rectangle"><transform name="to_world"><translate z="{z}"/></transform>'
        '<bsdf type="diffuse"/></shape>'
        for z in (-3, 4)
    )
    path = tmp_path / "walls.xml"
    lamp = '<emitter type="point"/>'
    path.write_text(f'<scene version="3.0.0">{walls}{SHAPE}{lamp}</scene>', encoding="utf-8")
    scene = load(path)
    assert (scene.low, scene.high) == ((-1, -1, -3), (1, 1, 4))
    # Environments shine from outside of what Mitsuba takes to be the scene.
    assert scene.scene.bbox().min[2] == -3


def test_what_cannot_be_expressed_is_named_in_one_warning(tmp_path: Path) -> None:
    body = (
        '<integrator type="volpath"><boolean name="strict_normals" value="true"/></integrator>'
        '<sensor type="orthographic" id="flat"/>'
        '<sensor type="thinlens"><float name="aperture_radius" value="0.1"/>'
        '<float name="focus_distance" value="3"/></sensor><sensor type="perspective" id="off">'
        '<float name="principal_point_offset_x" value="0.1"/></sensor>'
        '<shape type="sphere"><medium name="interior" type="homogeneous"/></shape>'
    )
    (warning,) = load(write_xml(tmp_path, body)).warnings
    for words in [
        "strict_normals of the integrator volpath",
        "1 participating media",
        "the camera flat (OrthographicCamera)",
        "the aperture of the camera camera",
        "the shift of the principal point of the camera off",
    ]:
        assert words in warning


def test_what_lies_in_a_medium_is_read_without_it(tmp_path: Path) -> None:
    body = (
        '<medium type="homogeneous" id="fog"/><sensor type="perspective"><ref id="fog"/></sensor>'
        '<shape type="sphere"><ref name="exterior" id="fog"/></shape>'
    )
    (warning,) = load(write_xml(tmp_path, body)).warnings
    assert "participating media" in warning


def test_mitsubas_own_complaints_are_one_sentence(tmp_path: Path) -> None:
    path = write_xml(tmp_path, '<bsdf type="coating" id="x"/>')
    with pytest.raises(SceneError, match=r'scene.xml cannot be loaded by Mitsuba.*"coating"'):
        load(path)
    (tmp_path / "cube.obj").write_text("v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(SceneError, match=r"cube.obj.*invalid vertex position"):
        load(write_xml_again(tmp_path))


def write_xml_again(folder: Path) -> Path:
    """The scene's XML beside the meshes that are there."""
    broken = (folder / "cube.obj").read_text()
    path = write_xml(folder)
    (folder / "cube.obj").write_text(broken)
    return path
