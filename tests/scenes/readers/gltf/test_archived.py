"""Materials of the archived specular-glossiness model, as old exports have them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.scenes.readers.gltf.test_appearance import MATT, seen, square


def archived(**model: Any) -> dict[str, Any]:
    """A material of the specular-glossiness model."""
    return {"extensions": {"KHR_materials_pbrSpecularGlossiness": model}}


def test_archived_materials_are_seen_like_others(tmp_path: Path) -> None:
    old = archived(diffuseFactor=[0.8, 0.4, 0.2, 1], specularFactor=[0.04] * 3, glossinessFactor=0)
    new = {"pbrMetallicRoughness": {"baseColorFactor": [0.768, 0.384, 0.192, 1], **MATT}}
    one, other = (seen(square(material), tmp_path) for material in (old, new))
    np.testing.assert_allclose(one, other, rtol=0.03)
    gold = archived(diffuseFactor=[0, 0, 0, 1], specularFactor=[1, 0.7, 0.3], glossinessFactor=0.5)
    metal = {"baseColorFactor": [1, 0.7, 0.3, 1], "metallicFactor": 1, "roughnessFactor": 0.5}
    one, other = (
        seen(square(material), tmp_path) for material in (gold, {"pbrMetallicRoughness": metal})
    )
    np.testing.assert_allclose(one, other, rtol=0.03)
    colors = np.tile(np.array([1, 0, 0], np.float32), (4, 1))
    matt = archived(specularFactor=[0, 0, 0], glossinessFactor=0)
    found = seen(square(matt, COLOR_0=colors), tmp_path).mean((0, 1))
    assert found[0] > 0.3 and found[1] < 0.05


@pytest.mark.parametrize(("mode", "share"), [("MASK", 0), ("BLEND", 0.25)])
def test_the_alpha_of_archived_materials_counts(tmp_path: Path, mode: str, share: float) -> None:
    model = {"specularFactor": [0, 0, 0], "glossinessFactor": 0}
    whole = seen(square(archived(diffuseFactor=[1, 1, 1, 1], **model)), tmp_path)
    thin = {**archived(diffuseFactor=[1, 1, 1, 0.25], **model), "alphaMode": mode}
    assert float(seen(square(thin), tmp_path).mean()) == pytest.approx(
        share * float(whole.mean()), abs=0.02
    )
