"""What shines of glTF's surfaces: where they are there, and where their pictures are bright."""

from pathlib import Path

import numpy as np
import pytest

from neural_render.scenes.readers.building import MeshData
from neural_render.scenes.readers.gltf.meshes import lit_faces
from tests.scenes.readers.gltf.test_appearance import SQUARE, SUN, UV, lit, quarters, seen
from tests.scenes.readers.scenes import Gltf


@pytest.mark.parametrize("glowing", [False, True])
def test_holes_of_what_emits_are_dark(tmp_path: Path, glowing: bool) -> None:
    """Mitsuba's emitters shine through them: a sign would be the rectangle that it is cut from."""
    made = Gltf()
    made.mesh(SQUARE, {}, TEXCOORD_0=UV)
    pixels = np.full((8, 8, 4), 255, np.uint8)
    pixels[:, :4, 3] = 0
    material = {
        "pbrMetallicRoughness": {
            "baseColorFactor": [0, 0, 0, 1],
            "baseColorTexture": {"index": made.texture(pixels, magFilter=9728)},
        },
        "emissiveFactor": [1, 0.5, 0.25],
        "alphaMode": "MASK",
    }
    if glowing:
        white = np.full((2, 2, 3), 255, np.uint8)
        material["emissiveTexture"] = {"index": made.texture(white, magFilter=9728)}
    made.content["materials"][0] = material
    lit(made, SUN)  # else it would stand in a studio
    found = quarters(seen(made, tmp_path))
    assert found[:, 0].max() < 1e-3
    dark = {key: value for key, value in material.items() if not key.startswith("emissive")}
    made.content["materials"][0] = dark
    glow = found[:, 1] - quarters(seen(made, tmp_path))[:, 1]
    np.testing.assert_allclose(glow, [[1, 0.5, 0.25]] * 2, rtol=0.02)
    half = {"pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 0.5]}, "alphaMode": "BLEND"}
    made.content["materials"][0] = half
    plain = seen(made, tmp_path).mean((0, 1))
    made.content["materials"][0] = half | {"emissiveFactor": [1, 0.5, 0.25]}
    np.testing.assert_allclose(
        seen(made, tmp_path).mean((0, 1)) - plain, [0.5, 0.25, 0.125], rtol=0.02
    )


@pytest.mark.parametrize(
    ("wrap", "low", "high", "expected"),
    [
        ("repeat", 0.1, 0.2, True),
        ("repeat", 1.5, 1.7, False),
        ("mirror", 1.6, 1.9, True),
        ("mirror", 1.1, 1.3, False),
        ("mirror", 2.1, 2.2, True),
        ("clamp", 1.1, 1.4, False),
        ("clamp", -0.4, -0.1, True),
    ],
)
def test_lit_faces_are_found_beyond_the_picture(
    wrap: str, low: float, high: float, expected: bool
) -> None:
    """Of a texture whose left three eighths are bright."""
    pixels = np.zeros((8, 8), np.float32)
    pixels[:, :3] = 1
    uv = np.array([[low, 0.1], [high, 0.1], [high, 0.9]], np.float32)
    mesh = MeshData(
        positions=np.eye(3, dtype=np.float32),
        faces=np.array([[0, 1, 2]], np.uint32),
        texcoords=uv,
    )
    assert lit_faces(mesh, pixels, np.eye(3), wrap).tolist() == [expected]
