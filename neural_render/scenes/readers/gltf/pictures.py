"""Textures of a glTF file as Mitsuba's."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neural_render.scenes.readers.building import decoded, linear, rgb, texture
from neural_render.scenes.readers.gltf.document import Document, Values, uri_bytes

_WRAPS = {10497: "repeat", 33071: "clamp", 33648: "mirror"}
_NEAREST = 9728
TRANSFORM = "KHR_texture_transform"


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Decodes each picture of a document once."""

    document: Document
    _pixels: dict[int, NDArray[np.uint8]] = field(default_factory=dict)

    def pixels(self, info: Values) -> NDArray[np.uint8]:
        """The pixels ``[rows columns 4]`` of what a texture info points to."""
        source = self._texture(info)
        webp = source.get("extensions", {}).get("EXT_texture_webp", {})
        index = source.get("source", webp.get("source"))
        if index is None:
            self.document.lose(f"the texture {info['index']}, in a format of its own")
            return np.full((1, 1, 4), 255, np.uint8)
        if index not in self._pixels:
            image = self.document.all("images")[index]
            where = f"{self.document.path}: the texture {image.get('uri') or image.get('name')}"
            if "bufferView" in image:
                content = bytes(self.document.view(image["bufferView"])[0])
                where = f"{self.document.path}: the texture {image.get('name', index)}"
            else:
                content = uri_bytes(self.document.path, image["uri"])
                if image["uri"].startswith("data:"):
                    where = f"{self.document.path}: the texture {image.get('name', index)}"
            self._pixels[index] = decoded(content, where)
        return self._pixels[index]

    def _texture(self, info: Values) -> Values:
        return self.document.all("textures")[info["index"]]

    def options(self, info: Values) -> Values:
        """How Mitsuba is to look up a texture: wrapping, filter, transform."""
        found: Values = {}
        texture_ = self._texture(info)
        sampler = (
            self.document.all("samplers")[texture_["sampler"]] if "sampler" in texture_ else {}
        )
        wrap = [sampler.get(key, 10497) for key in ("wrapS", "wrapT")]
        found["wrap_mode"] = _WRAPS[wrap[0]]
        if wrap[0] != wrap[1]:
            self.document.lose(f"different wrapping along u and v of the texture {info['index']}")
        if sampler.get("magFilter") == _NEAREST:
            found["filter_type"] = "nearest"
        transform = info.get("extensions", {}).get(TRANSFORM)
        if transform:
            found["to_uv"] = _to_uv(transform)
        return found

    def color(self, info: Values | None, factor: Any) -> Values:
        """sRGB pixels times a linear factor, as a description of a texture."""
        if not info:
            return rgb(factor)
        pixels = self.pixels(info)[..., :3]
        if np.allclose(factor, 1):
            return texture(pixels, raw=False, **self.options(info))
        scaled = linear(pixels) * np.asarray(factor, np.float32)
        return texture(scaled, raw=True, **self.options(info))

    def values(self, info: Values | None, channel: int, factor: float | int) -> float | Values:
        """One channel of raw pixels times a factor, as a description of a texture or a number."""
        if not info:
            return float(factor)
        pixels = self.pixels(info)[..., channel : channel + 1]
        if factor == 1:
            return texture(pixels, raw=True, **self.options(info))
        scaled = pixels.astype(np.float32) * np.float32(factor / 255)
        return texture(scaled, raw=True, **self.options(info))

    def thresholded(self, info: Values, channel: int, cutoff: float) -> Values:
        """1 where one channel of raw pixels reaches ``cutoff``, else 0."""
        there = self.pixels(info)[..., channel : channel + 1] >= 255 * cutoff
        return texture(there.astype(np.uint8) * 255, raw=True, **self.options(info))

    def normals(self, info: Values, *, mirrored: bool) -> Values:
        """A normal map as Mitsuba's, whose second axis is the first times the normal."""
        pixels = self.pixels(info)[..., :3]
        scale = float(info.get("scale", 1.0))
        if scale == 1 and not mirrored:
            return texture(pixels, raw=True, **self.options(info))
        normals = pixels.astype(np.float32) * np.float32(2 / 255) - 1
        normals[..., :2] *= np.array([scale, -scale if mirrored else scale], np.float32)
        normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
        return texture((normals + 1) / 2, raw=True, **self.options(info))


def _to_uv(transform: Values) -> Any:
    """KHR_texture_transform's matrix: offset, rotation (clockwise with v down) and scale."""
    import mitsuba

    return mitsuba.ScalarTransform3f(uv_matrix(transform).tolist())


def uv_matrix(transform: Values) -> NDArray[np.float64]:
    """The 3x3 matrix of KHR_texture_transform."""
    x, y = transform.get("offset", (0, 0))
    along_u, along_v = transform.get("scale", (1, 1))
    cosine = math.cos(transform.get("rotation", 0))
    sine = math.sin(transform.get("rotation", 0))
    return np.array(
        [
            [cosine * along_u, sine * along_v, x],
            [-sine * along_u, cosine * along_v, y],
            [0, 0, 1],
        ]
    )


def set_of(info: Values) -> int:
    """The set of texture coordinates that a texture uses."""
    own = info.get("extensions", {}).get(TRANSFORM, {})
    return int(own.get("texCoord", info.get("texCoord", 0)))
