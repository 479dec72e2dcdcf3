"""Materials of an OBJ file (MTL), on Mitsuba's models.

A material with PBR terms (Pr, Pm, or ``bsdf pbr`` with Ks = unused, roughness, metallic), or with
highlights (Ks, Ns), is ``principled``; one without is ``diffuse``. Both sides are shown.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neural_render.scenes.readers.building import Floats, decoded, linear, rgb, texture
from neural_render.scenes.readers.files import Reference, checked_paths

Values = dict[str, Any]
_READ_MAPS = ("map_kd", "map_d", "map_ke", "norm", "map_pr", "map_pm")
_LOST_MAPS = ("map_ks", "map_ns", "map_bump", "bump", "disp", "decal", "refl")
# How many words follow an option of a map.
_OPTION_WORDS = {"-mm": 2, "-s": 3, "-o": 3, "-t": 3}
_GLASS = {4, 6, 7, 9}
_CHANNELS, _MATTE = "rgbm", "m"  # of -imfchan, whose others are taken for l, the luminance
_LUMINANCE = (0.2126, 0.7152, 0.0722)
_REFERENCE = re.compile(rb"^\s*mtllib\s+(.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Material:
    """The statements of a material, lower case, as words, and the file that they stand in."""

    name: str
    file: Path
    stated: dict[str, list[str]] = field(default_factory=dict)

    def numbers(self, key: str, default: tuple[float, ...]) -> NDArray[np.float64]:
        """The numbers of a statement; one stands for three where three are wanted."""
        try:
            found = [float(word) for word in self.stated[key][: len(default)]]
        except (KeyError, ValueError):
            found = []
        if len(found) == 1 and len(default) == 3:
            found *= 3
        return np.array(found if len(found) == len(default) else default)


def libraries(content: bytes) -> list[str]:
    """The names of the material files that an OBJ file refers to."""
    return [line.decode("utf-8", "replace") for line in _REFERENCE.findall(content)]


def read_materials(path: Path) -> dict[str, Material]:
    """The materials in an MTL file, whose pictures are all there."""
    found: dict[str, Material] = {}
    material: Material | None = None
    for line in path.read_bytes().decode("utf-8", "replace").splitlines():
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        key = words[0].lower()
        if key == "newmtl":
            material = Material(name=" ".join(words[1:]) or "material", file=path)
            found[material.name] = material
        elif material is not None:
            material.stated[key] = words[1:]
    checked_paths(
        path,
        [
            Reference(what="texture", written=split_map(part.stated[key])[0])
            for part in found.values()
            for key in _READ_MAPS
            if key in part.stated
        ],
    )
    return found


def split_map(words: list[str]) -> tuple[str, dict[str, list[str]]]:
    """The file of a map and its options."""
    options: dict[str, list[str]] = {}
    rest = list(words)
    while len(rest) > 1 and rest[0].startswith("-"):
        key = rest.pop(0)
        options[key] = []
        for _ in range(_OPTION_WORDS.get(key, 1)):
            # Of -s, -o and -t all but the first number may be left out.
            if len(rest) < 2 or (options[key] and not _is_number(rest[0])):
                break
            options[key].append(rest.pop(0))
    return " ".join(rest), options


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def without_maps(material: Material, lose: Callable[[str], None]) -> Material:
    """The material as it is on faces without texture coordinates; ``lose`` is told of its maps."""
    plain = {key: words for key, words in material.stated.items() if key not in _READ_MAPS}
    if len(plain) < len(material.stated):
        lose(f"the textures of the material {material.name} on faces without coordinates for them")
    return replace(material, stated=plain)


def bsdf(material: Material, lose: Callable[[str], None]) -> Values:
    """The description of a material's BSDF; ``lose`` is told what it cannot express."""
    for key in _LOST_MAPS:
        if key in material.stated:
            lose(f"{key} of the material {material.name}")
    described = _surface(material)
    if "norm" in material.stated:
        normals = _texture(material, "norm", raw=True)
        described = {"type": "normalmap", "normalmap": normals, "bsdf": described}
    if not _refraction(material):
        described = {"type": "twosided", "bsdf": described}
    opacity = _opacity(material)
    if opacity is not None:
        described = {"type": "mask", "opacity": opacity, "bsdf": described}
    return described


def _surface(material: Material) -> Values:
    color = _color(material, "kd", "map_kd", 1.0 if "map_kd" in material.stated else 0.8)
    specular = material.numbers("ks", (0.0, 0.0, 0.0))
    pbr = material.stated.get("bsdf") == ["pbr"]
    if pbr or not {"pr", "pm", "map_pr", "map_pm"}.isdisjoint(material.stated):
        roughness, metallic = (specular[1], specular[2]) if pbr else (0.5, 0.0)
        return {
            "type": "principled",
            "base_color": color,
            "roughness": _value(material, "pr", float(roughness)),
            "metallic": _value(material, "pm", float(metallic)),
            **_refraction(material),
        }
    if glass := _refraction(material):
        return {
            "type": "principled",
            "base_color": rgb(np.clip(material.numbers("tf", (1.0, 1.0, 1.0)), 0, 1)),
            "roughness": _roughness(material),
            **glass,
        }
    if specular.max() <= 0:
        return {"type": "diffuse", "reflectance": color}
    root = math.sqrt(min(float(specular.mean()), 0.9))
    return {
        "type": "principled",
        "base_color": color,
        "roughness": _roughness(material),
        "eta": max((1 + root) / (1 - root), 1.001),
    }


def _refraction(material: Material) -> Values:
    """What makes a surface of glass in the principled model; nothing where it is none."""
    if int(material.numbers("illum", (2.0,))[0]) not in _GLASS or _transparency(material) <= 0:
        return {}
    return {"spec_trans": 1.0, "eta": max(float(material.numbers("ni", (1.5,))[0]), 1.001)}


def _roughness(material: Material) -> float:
    """Phong's exponent as the principled model's roughness, whose square is the width alpha."""
    exponent = max(float(material.numbers("ns", (10.0,))[0]), 0.0)
    return math.sqrt(math.sqrt(2 / (exponent + 2)))


def _transparency(material: Material) -> float:
    if "d" in material.stated:
        words = [word for word in material.stated["d"] if word != "-halo"]
        return 1 - float(words[0]) if words and _is_number(words[0]) else 0.0
    return float(material.numbers("tr", (0.0,))[0])


def _opacity(material: Material) -> float | Values | None:
    """What hides parts of the surface; None where it is all there."""
    if "map_d" in material.stated:
        return _texture(material, "map_d", raw=True, channel=_MATTE)
    transparency = min(max(_transparency(material), 0.0), 1.0)
    return 1 - transparency if transparency > 0 and not _refraction(material) else None


def radiance(material: Material) -> Values | None:
    """The description of what a material emits where it is there; None if it is dark.

    Mitsuba's emitters shine from the holes of a surface, too: they are dark here.
    """
    textured = "map_ke" in material.stated
    factor = material.numbers("ke", (1.0, 1.0, 1.0) if textured else (0.0, 0.0, 0.0))
    holed = "map_d" in material.stated
    if not holed and isinstance(there := _opacity(material), float):
        factor = factor * there
    if factor.max() <= 0:
        return None
    if not holed:
        return _texture(material, "map_ke", raw=False, factor=factor) if textured else rgb(factor)
    return _radiance_with_holes(material, factor.astype(np.float32))


def _radiance_with_holes(material: Material, factor: Floats) -> Values:
    """Of both maps, if there are two, the one of light says where they lie."""
    pixels, options = _picture(material, "map_d")
    (wanted,) = options.get("-imfchan") or [_MATTE]
    light = _channel(pixels, wanted) / np.float32(255)
    if "map_ke" in material.stated:
        colors, options = _picture(material, "map_ke")
        rows, columns = (
            np.arange(n) * m // n for n, m in zip(colors.shape[:2], light.shape[:2], strict=True)
        )
        light = light[rows[:, None], columns[None, :]] * linear(colors[..., :3])
    return texture((light * factor).astype(np.float32), raw=True, **_looked_up(options))


def _color(material: Material, key: str, map_key: str, default: float) -> Values:
    factor = material.numbers(key, (default, default, default))
    if map_key in material.stated:
        return _texture(material, map_key, raw=False, factor=factor)
    return rgb(factor if key == "ke" else np.clip(factor, 0, 1))


def _value(material: Material, key: str, default: float) -> float | Values:
    if f"map_{key}" in material.stated:
        return _texture(material, f"map_{key}", raw=True, channel="r")
    return float(np.clip(material.numbers(key, (default,))[0], 0, 1))


def _texture(
    material: Material,
    key: str,
    *,
    raw: bool,
    channel: str = "",
    factor: NDArray[np.float64] | None = None,
) -> Values:
    """A map's picture, times a factor, with its options -s and -o.

    Of a map of numbers one ``channel`` is taken, as -imfchan calls it, where the map states none.
    """
    pixels: NDArray[Any]
    pixels, options = _picture(material, key)
    (wanted,) = options.get("-imfchan") or [channel]
    pixels = _channel(pixels, wanted) if channel else pixels[..., :3]
    if factor is not None and not np.allclose(factor, 1):
        pixels = linear(pixels) * factor.astype(np.float32)
    return texture(pixels, raw=raw, **_looked_up(options))


def _picture(material: Material, key: str) -> tuple[NDArray[np.uint8], dict[str, list[str]]]:
    """A map's pixels ``[rows columns 4]`` and its options."""
    written, options = split_map(material.stated[key])
    path = checked_paths(material.file, [Reference(what="texture", written=written)])[0]
    return decoded(path.read_bytes(), f"{material.file}: the texture {written}"), options


def _looked_up(options: dict[str, list[str]]) -> Values:
    """How Mitsuba is to look a map up."""
    import mitsuba

    more: Values = {}
    if "-s" in options or "-o" in options:
        scale = _pair(options.get("-s", []), 1.0)
        offset = _pair(options.get("-o", []), 0.0)
        # The file's v points up, Mitsuba's down: v' = 1 - (s (1 - v) + o).
        matrix = [[scale[0], 0, offset[0]], [0, scale[1], 1 - scale[1] - offset[1]], [0, 0, 1]]
        more["to_uv"] = mitsuba.ScalarTransform3f(matrix)
    if options.get("-clamp") == ["on"]:
        more["wrap_mode"] = "clamp"
    return more


def _channel(pixels: NDArray[Any], name: str) -> NDArray[Any]:
    """One channel ``[rows columns 1]`` of a picture: its colours' or matte, or its luminance."""
    if name == _MATTE and (pixels[..., 3] == 255).all():
        name = "l"  # as where a picture has no matte
    if name in _CHANNELS:
        place = _CHANNELS.index(name)
        return pixels[..., place : place + 1]
    luminance = pixels[..., :3] @ np.array(_LUMINANCE)
    return luminance.round().astype(np.uint8)[..., None]


def _pair(words: list[str], default: float) -> tuple[float, float]:
    numbers = [float(word) for word in words[:2] if _is_number(word)]
    numbers += [default] * (2 - len(numbers))
    return numbers[0], numbers[1]
