"""The tree of nodes: where each stands, the cameras and the lights on them.

glTF's cameras and lights look along -z with x right and y up; Mitsuba's look along +z, x left.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neural_render.scenes.readers.building import rgb
from neural_render.scenes.readers.gltf.document import Document, Values

CAMERA_ROWS = 720
LIGHTS = "KHR_lights_punctual"
_Matrix = NDArray[np.float64]


def placed_nodes(document: Document) -> Iterator[tuple[int, Values, _Matrix]]:
    """Every node of the file's scene, and its matrix ``world_from_node``."""
    nodes = document.all("nodes")
    scenes = document.all("scenes")
    if scenes:
        roots = scenes[document.content.get("scene", 0)].get("nodes", [])
    else:
        children = {child for node in nodes for child in node.get("children", [])}
        roots = [index for index in range(len(nodes)) if index not in children]
    waiting, seen = [(index, np.eye(4)) for index in reversed(roots)], set()
    while waiting:
        index, parent = waiting.pop()
        if index in seen:
            raise ValueError(f"node {index} is reached twice")
        seen.add(index)
        node = nodes[index]
        matrix = parent @ matrix_of(node)
        yield index, node, matrix
        waiting += [(child, matrix) for child in reversed(node.get("children", []))]


def matrix_of(node: Values) -> _Matrix:
    """A node's own transform."""
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    matrix = np.eye(4)
    x, y, z, w = np.array(node.get("rotation", [0, 0, 0, 1]), dtype=np.float64)
    length = math.sqrt(x * x + y * y + z * z + w * w) or 1.0
    x, y, z, w = x / length, y / length, z / length, w / length
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] *= np.array(node.get("scale", [1, 1, 1]), dtype=np.float64)
    matrix[:3, 3] = node.get("translation", [0, 0, 0])
    return matrix


def _looking(world_from_node: _Matrix) -> Any:
    """Mitsuba's ``to_world`` of what looks along a node's -z; scales fall away."""
    import mitsuba

    rotation = world_from_node[:3, :3]
    rotation = rotation / np.maximum(np.linalg.norm(rotation, axis=0), 1e-30)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * [-1, 1, -1]
    matrix[:3, 3] = world_from_node[:3, 3]
    return mitsuba.ScalarTransform4f(matrix.tolist())


def camera_of(document: Document, node: Values, world_from_node: _Matrix) -> Values | None:
    """The description of a node's camera; None if it has none that can be expressed."""
    if "camera" not in node:
        return None
    camera = document.all("cameras")[node["camera"]]
    name = node.get("name") or camera.get("name") or "camera"
    if camera["type"] != "perspective":
        document.lose(f"the camera {name} ({camera['type']})")
        return None
    lens = camera["perspective"]
    width = max(round(CAMERA_ROWS * lens.get("aspectRatio", 1.0)), 1)
    return {
        "type": "perspective",
        "fov_axis": "y",
        "fov": math.degrees(lens["yfov"]),
        "to_world": _looking(world_from_node),
        "film": {"type": "hdrfilm", "width": width, "height": CAMERA_ROWS},
    }


def light_of(
    document: Document, node: Values, world_from_node: _Matrix
) -> tuple[str, Values] | None:
    """The name and the description of a node's light; None if it has none.

    Candela and lux are taken for radiometric numbers as they are.
    """
    stated = node.get("extensions", {}).get(LIGHTS)
    if stated is None:
        return None
    light = document.content["extensions"][LIGHTS]["lights"][stated["light"]]
    name = node.get("name") or light.get("name") or "light"
    emission = rgb(np.asarray(light.get("color", [1, 1, 1])) * light.get("intensity", 1.0))
    if "range" in light:
        document.lose(f"the range of the light {name}")
    kind = light["type"]
    if kind == "point":
        position = [float(value) for value in world_from_node[:3, 3]]
        return name, {"type": "point", "position": position, "intensity": emission}
    if kind == "directional":
        direction = [float(value) for value in -world_from_node[:3, 2]]
        return name, {"type": "directional", "direction": direction, "irradiance": emission}
    if kind == "spot":
        cone = light.get("spot", {})
        outer = math.degrees(cone.get("outerConeAngle", math.pi / 4))
        inner = math.degrees(cone.get("innerConeAngle", 0.0))
        return name, {
            "type": "spot",
            "to_world": _looking(world_from_node),
            "intensity": emission,
            "cutoff_angle": outer,
            "beam_width": min(inner, outer * 0.999),
        }
    document.lose(f"the light {name} ({kind})")
    return None
