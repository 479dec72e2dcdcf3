"""Materials of a glTF file on Mitsuba's ``principled``.

Opaque materials show both sides: glTF hides back faces of a single-sided one, which no material of
Mitsuba's does, and a black back would be wrong in more scenes. Light is emitted from the front.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neural_render.scenes.readers.building import Floats, linear, rgb, texture
from neural_render.scenes.readers.gltf.document import Document, Values
from neural_render.scenes.readers.gltf.pictures import TRANSFORM, Pictures, set_of

PREFIX = "KHR_materials_"
# What is read, and what changes nothing that a path tracer could show.
_READ = {
    "transmission",
    "volume",
    "ior",
    "clearcoat",
    "sheen",
    "specular",
    "emissive_strength",
    "anisotropy",
    "pbrSpecularGlossiness",
}
WHITE = (1.0, 1.0, 1.0, 1.0)  # of factors that are not stated
DIELECTRIC = 0.04  # reflectance straight on, of an index of refraction of 1.5
BLACK = 1e-3
# The roughness of the principled model's coat at gloss 0 and 1.
_COAT_ALPHA = (0.1, 0.001)


@dataclass(frozen=True, kw_only=True)
class Emission:
    """What a material emits; if that is a texture, how bright its pixels are, and its info."""

    radiance: Values
    pixels: Floats | None = None
    info: Values | None = None


@dataclass(frozen=True, kw_only=True)
class Materials:
    """The BSDFs of a document, each made once."""

    document: Document
    pictures: Pictures
    _made: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def material(self, index: int | None) -> Values:
        """A material's JSON; the default one's is empty."""
        return {} if index is None else self.document.all("materials")[index]

    def bsdf(self, index: int | None, *, textured: bool, colored: bool, mirrored: bool) -> Any:
        """The BSDF for a mesh with or without texture coordinates and vertex colours."""
        import mitsuba

        key = (index, textured, colored, mirrored)
        if key not in self._made:
            material = self.material(index)
            if not textured:
                material = without_textures(material)
            self._made[key] = mitsuba.load_dict(self._description(material, colored, mirrored))
        return self._made[key]

    def _description(self, material: Values, colored: bool, mirrored: bool) -> Values:
        name = material.get("name", "without a name")
        described = self._surface(material, name, colored)
        normal_map = material.get("normalTexture")
        if normal_map:
            described = {
                "type": "normalmap",
                "normalmap": self.pictures.normals(normal_map, mirrored=mirrored),
                "bsdf": described,
            }
        if not _transmits(material):
            described = {"type": "twosided", "bsdf": described}
        opacity = self._opacity(material)
        if opacity is not None:
            described = {"type": "mask", "opacity": opacity, "bsdf": described}
        return described

    def _surface(self, material: Values, name: str, colored: bool) -> Values:
        """The principled model of a material."""
        extensions = self._extensions(material, name)
        if (archived := _archived(material)) is not None:
            return self._glossiness(archived, name, colored)
        roughness = material.get("pbrMetallicRoughness", {})
        both = roughness.get("metallicRoughnessTexture")
        values, channel = self.pictures.values, {"roughness": 1, "metallic": 2}
        described: Values = {
            "type": "principled",
            "base_color": self._base_color(
                roughness.get("baseColorTexture"),
                roughness.get("baseColorFactor", WHITE),
                name,
                colored,
            ),
            "roughness": values(both, channel["roughness"], roughness.get("roughnessFactor", 1.0)),
            "metallic": values(both, channel["metallic"], roughness.get("metallicFactor", 1.0)),
        }
        self._reflection(described, extensions, name)
        if _transmits(material):
            self._transmission(described, extensions, name)
        return described

    def _extensions(self, material: Values, name: str) -> Values:
        """The material's extensions by the end of their names; the unread ones are lost."""
        found = {}
        for extension, content in material.get("extensions", {}).items():
            short = extension.removeprefix(PREFIX)
            found[short] = content
            if short not in _READ:
                self.document.lose(f"{extension} of the material {name}")
        return found

    def _base_color(self, info: Any, factor: Any, name: str, colored: bool) -> Values:
        """The texture's colours times the factor's, or those of the vertices."""
        factor = np.clip(factor[:3], 0, 1)
        if not colored:
            return self.pictures.color(info, factor)
        if info:
            self.document.lose(f"vertex colours that tint the texture of the material {name}")
            return self.pictures.color(info, factor)
        return {"type": "mesh_attribute", "name": "vertex_color"}

    def _reflection(self, described: Values, extensions: Values, name: str) -> None:
        """Index of refraction, specular factor, coat, sheen and anisotropy."""
        values = self.pictures.values
        ior = float(extensions.get("ior", {}).get("ior", 1.5)) or 1.5
        specular = extensions.get("specular", {})
        reflectance = ((ior - 1) / (ior + 1)) ** 2 * min(specular.get("specularFactor", 1.0), 1.0)
        described["eta"] = _index(reflectance)
        for part in ("specularTexture", "specularColorTexture"):
            if part in specular:
                self.document.lose(f"{part} of the material {name}")
        if not np.allclose(specular.get("specularColorFactor", [1, 1, 1]), 1):
            self.document.lose(f"specularColorFactor of the material {name}")
        coat = extensions.get("clearcoat", {})
        if coat.get("clearcoatFactor", 0) > 0:
            described["clearcoat"] = values(
                coat.get("clearcoatTexture"), 0, coat["clearcoatFactor"]
            )
            alpha, (dull, bright) = coat.get("clearcoatRoughnessFactor", 0.0) ** 2, _COAT_ALPHA
            described["clearcoat_gloss"] = float(np.clip((dull - alpha) / (dull - bright), 0, 1))
            for part in ("clearcoatRoughnessTexture", "clearcoatNormalTexture"):
                if part in coat:
                    self.document.lose(f"{part} of the material {name}")
        self._sheen(described, extensions.get("sheen", {}), name)
        anisotropy = extensions.get("anisotropy", {})
        if anisotropy.get("anisotropyStrength", 0) > 0:
            described["anisotropic"] = float(anisotropy["anisotropyStrength"])
            if anisotropy.get("anisotropyRotation") or "anisotropyTexture" in anisotropy:
                self.document.lose(f"the anisotropy's direction of the material {name}")

    def _sheen(self, described: Values, sheen: Values, name: str) -> None:
        color = np.asarray(sheen.get("sheenColorFactor", [0, 0, 0]), np.float64)
        if color.max() <= 0:
            return
        described["sheen"] = float(min(color.max(), 1))
        described["sheen_tint"] = float(1 - color.min() / color.max())
        for part in ("sheenColorTexture", "sheenRoughnessTexture"):
            if part in sheen:
                self.document.lose(f"{part} of the material {name}")

    def _transmission(self, described: Values, extensions: Values, name: str) -> None:
        """Solid glass where the file says that there is a volume, else a thin pane of it."""
        transmission = extensions["transmission"]
        described["spec_trans"] = self.pictures.values(
            transmission.get("transmissionTexture"), 0, transmission["transmissionFactor"]
        )
        volume = extensions.get("volume", {})
        if volume.get("thicknessFactor", 0) > 0:
            if not np.allclose(volume.get("attenuationColor", [1, 1, 1]), 1):
                self.document.lose(f"the volume's attenuation of the material {name}")
            return
        described["type"] = "principledthin"
        lost = [key for key in ("clearcoat", "clearcoat_gloss", "metallic") if key in described]
        metallic = described["metallic"]
        for key in lost:
            del described[key]
        if "clearcoat" in lost or metallic != 0:
            self.document.lose(f"coat and metal of the thin glass of the material {name}")

    def _glossiness(self, old: Values, name: str, colored: bool) -> Values:
        """The archived specular-glossiness model.

        Its specular colour is the reflectance straight on, and what it leaves is diffuse: where
        that is nothing the surface is a metal of that colour, else a dielectric of that index.
        """
        specular = np.clip(old.get("specularFactor", WHITE)[:3], 0, 1).astype(np.float64)
        if "specularGlossinessTexture" in old:
            self.document.lose(f"specularGlossinessTexture of the material {name}")
            specular = np.full(3, DIELECTRIC)
        diffuse = np.asarray(old.get("diffuseFactor", WHITE), np.float64)[:3] * (1 - specular.max())
        described: Values = {
            "type": "principled",
            "roughness": 1 - float(old.get("glossinessFactor", 1.0)),
        }
        if diffuse.max() <= BLACK:
            return described | {"base_color": rgb(specular), "metallic": 1.0}
        if np.ptp(specular) > BLACK:
            self.document.lose(f"the specular colour of the material {name}")
        color = self._base_color(old.get("diffuseTexture"), diffuse, name, colored)
        return described | {"base_color": color, "eta": _index(specular.max())}

    def _opacity(self, material: Values) -> float | Values | None:
        """What hides parts of the surface; None where it is all there.

        Mitsuba 3.9.0's ``path`` counts direct light on what is half there by its opacity twice;
        ``volpath`` is right, in its shadows too.
        """
        mode = material.get("alphaMode", "OPAQUE")
        if mode == "OPAQUE":
            return None
        color, info = base_of(material)
        factor = float(color[3])
        if mode == "BLEND":
            return self.pictures.values(info, 3, factor)
        cutoff = float(material.get("alphaCutoff", 0.5))
        if not info:
            return 1.0 if factor >= cutoff else 0.0
        return self.pictures.thresholded(info, 3, cutoff / factor if factor > 0 else math.inf)

    def emission(self, index: int | None, *, textured: bool) -> Emission | None:
        """What a material emits where it is there, or None if it is dark.

        Mitsuba's emitters shine from the holes of a surface, too: they are dark here.
        """
        material = self.material(index)
        factor = np.asarray(material.get("emissiveFactor", [0, 0, 0]), np.float64)
        strength = material.get("extensions", {}).get(f"{PREFIX}emissive_strength", {})
        factor = factor * strength.get("emissiveStrength", 1.0)
        holes, there = self._there(material, textured=textured)
        if holes is None:
            factor = factor * float(there)
        if factor.max() <= 0:
            return None
        info = material.get("emissiveTexture") if textured else None
        if holes is not None:
            return self._emission_with_holes(material, info, factor, (holes, there))
        described = self.pictures.color(info, factor)
        if not info:
            return Emission(radiance=described)
        pixels = linear(self.pictures.pixels(info)[..., :3]).max(axis=-1)
        found = Emission(radiance=described, pixels=pixels, info=info)
        return found if pixels.max() > 0 else None

    def _there(self, material: Values, *, textured: bool) -> tuple[Values | None, Any]:
        """How much of a surface is there: a number, or a texture and pixels ``[rows columns 1]``.

        Beside a number there is no texture.
        """
        mode = material.get("alphaMode", "OPAQUE")
        if mode == "OPAQUE":
            return None, 1.0
        color, info = base_of(material)
        alpha = float(color[3])
        if info and textured:
            alpha = alpha * (self.pictures.pixels(info)[..., 3:] / np.float32(255))
        if mode == "MASK":
            alpha = (alpha >= float(material.get("alphaCutoff", 0.5))) * np.float32(1)
        return info if textured else None, alpha

    def _emission_with_holes(
        self, material: Values, info: Values | None, factor: Any, there: tuple[Values, Floats]
    ) -> Emission | None:
        holes, alpha = there
        light = np.broadcast_to(np.asarray(factor, np.float32), (*alpha.shape[:2], 3))
        if info:
            light = linear(self.pictures.pixels(info)[..., :3]) * np.asarray(factor, np.float32)
            if _placed(info) != _placed(holes):
                name = material.get("name", "without a name")
                self.document.lose(f"holes in what the material {name} emits")
                alpha = np.ones((1, 1, 1), np.float32)
            rows, columns = (
                np.arange(n) * m // n for n, m in zip(light.shape[:2], alpha.shape[:2], strict=True)
            )
            alpha = alpha[rows[:, None], columns[None, :]]
        light, info = light * alpha, info or holes
        described = texture(light.astype(np.float32), raw=True, **self.pictures.options(info))
        found = Emission(radiance=described, pixels=light.max(axis=-1), info=info)
        return found if light.max() > 0 else None

    def texcoord_set(self, index: int | None) -> int:
        """The one set of texture coordinates that a material may use here."""
        material = self.material(index)
        infos = list(_infos(material))
        sets = [set_of(info) for info in infos]
        if len(set(sets)) > 1:
            self.document.lose(
                "textures on a second set of coordinates of the material"
                f" {material.get('name', 'without a name')}"
            )
        return sets[0] if sets else 0


def base_of(material: Values) -> tuple[Any, Values | None]:
    """The factor and the texture of a material's colour and alpha."""
    if (archived := _archived(material)) is not None:
        return archived.get("diffuseFactor", WHITE), archived.get("diffuseTexture")
    roughness = material.get("pbrMetallicRoughness", {})
    return roughness.get("baseColorFactor", WHITE), roughness.get("baseColorTexture")


def _placed(info: Values) -> tuple[Any, ...]:
    """What says where a texture lies on a surface."""
    return set_of(info), info.get("extensions", {}).get(TRANSFORM)


def _archived(material: Values) -> Values | None:
    """Its specular-glossiness model, where it has no other."""
    if "pbrMetallicRoughness" in material:
        return None
    return material.get("extensions", {}).get(f"{PREFIX}pbrSpecularGlossiness")


def _index(reflectance: float) -> float:
    """The index of refraction of what reflects so much straight on."""
    root = math.sqrt(min(reflectance, 0.9))
    return max((1 + root) / (1 - root), 1.001)


def _transmits(material: Values) -> bool:
    extension = material.get("extensions", {}).get(f"{PREFIX}transmission", {})
    return extension.get("transmissionFactor", 0) > 0


def _infos(values: Values) -> Any:
    """The texture infos in a material, the base colour's first; occlusion means nothing here."""
    for key, value in sorted(values.items(), key=lambda item: item[0] != "pbrMetallicRoughness"):
        if key == "occlusionTexture" or not isinstance(value, dict):
            continue
        if key.endswith("Texture") and "index" in value:
            yield value
        elif key != "extras":
            yield from _infos(value)


def without_textures(values: Values) -> Values:
    """A material as it is on a mesh without texture coordinates."""
    if "specularGlossinessTexture" in values:  # which alone tells what it reflects
        values = {**values, "specularFactor": [DIELECTRIC] * 3}
    return {
        key: without_textures(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if not key.endswith("Texture")
    }
