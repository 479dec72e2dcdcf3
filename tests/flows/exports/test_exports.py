"""``scripts/export.py``: cameras that other programs read, files where they belong, refusals."""

import json
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch

from neural_render.captures.opening import open_capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.cameras import image_rays
from neural_render.export.formats import FORMATS
from neural_render.training.exporting.formats import FORMS
from tests.flows.programs import Finished, run_here


@pytest.fixture
def export(
    trained_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """``scripts/export.py`` of the trained run: words in, what it said out."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str | Path) -> Finished:
        words = (f"run={trained_run}", *words)
        return run_here("scripts/export.py", *words, monkeypatch=monkeypatch, capsys=capsys)

    return call


def test_every_form_that_can_be_asked_for_is_made() -> None:
    assert tuple(FORMS) == FORMATS


def test_cameras_are_a_capture_again(export, tiny: Path, tmp_path: Path) -> None:
    """For COLMAP and for our own readers: the same rays, in the same world."""
    folder = tmp_path / "cams_v1.0"
    done = export("format=cameras", "export.cameras.points=500", f"output={folder}")
    assert done.code == 0, done.errors
    model = pycolmap.Reconstruction(str(folder / "sparse/0"))
    assert len(model.images) == 15 and len(model.points3D) > 100
    place = np.array([point.xyz for point in model.points3D.values()])
    assert abs(np.median(np.linalg.norm(place, axis=1)) - 1) < 0.2  # the sphere's radius
    before = open_capture(CaptureSettings(path=str(tiny)), progress=False, images=False)
    after = open_capture(CaptureSettings(path=str(folder)), progress=False)
    known = {
        Path(name).name + Path(name).parent.name: (views.cameras, index)
        for views in (before.train, before.test)
        for index, name in enumerate(views.names)
    }
    for index, name in enumerate(after.train.names):
        own, theirs = known[Path(name).name + Path(name).parent.name], (after.train.cameras, index)
        for part in ("origins", "directions"):
            a, b = (getattr(image_rays(*which), part) for which in (own, theirs))
            assert torch.allclose(a, b, atol=1e-4), name
    frames = json.loads((folder / "transforms.json").read_text(encoding="utf-8"))["frames"]
    assert len(frames) == 15
    done = export("format=cameras", f"output={tiny}")  # before points are looked for
    assert done.code == 2 and "a blender capture, of which" in done.errors


def test_volume_and_points_go_to_the_runs_folder(export, trained_run: Path) -> None:
    done = export("format=volume", "export.volume.resolution=16")
    assert done.code == 0 and done.last_line == str(trained_run / "exports/volume.npz")
    assert np.load(done.last_line)["density"].max() > 0
    done = export("format=points", "export.points.count=500")
    assert done.code == 0 and done.last_line == str(trained_run / "exports/points.ply")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("format=mash",),
            "mash is not one of mesh, points, volume, splats, cameras",
        ),
        (("format=points", "output=a.obj"), "a name that ends in .ply, or an existing folder"),
        (("format=cameras", f"output={__file__}"), "give a new or an existing folder"),
        (("format=mesh", "export.exposure=1"), "export.exposure=1 exposes scene-linear light"),
        (("format=mesh", "lights.key=2"), "lights.key"),
        (("format=volume", "export.light_at=[1,2]"), "export.light_at=[1.0, 2.0]"),
    ],
)
def test_what_cannot_be_is_one_sentence(export, words: tuple[str, ...], said: str) -> None:
    done = export(*words)
    assert done.code == 2
    assert said in done.errors.strip().splitlines()[-1]
    assert "Traceback" not in done.errors
