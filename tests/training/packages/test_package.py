"""A package shows what its run shows, says what it cost, and a broken one says so in a sentence."""

import errno
import json
import math
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import OutputError, PackageError, SettingError
from neural_render.core.projection import IDENTITY
from neural_render.kernels import dispatch
from neural_render.training.films.shooting import scene_renders
from neural_render.training.packages import making
from neural_render.training.packages.contents import bytes_tensor
from neural_render.training.packages.file import PackageFile, is_package
from neural_render.training.packages.format import checksum
from neural_render.training.packages.making import make_package, measured_psnr, summary
from neural_render.training.packages.opening import open_scene
from neural_render.training.packages.settings import PackageSettings
from neural_render.training.runs.atomic import write_tensors
from neural_render.training.watching.surroundings import opened_surroundings
from tests.small_disk import refusing_to_sync
from tests.training.packages.balls import photographed, written
from tests.training.problems import CPU


@pytest.fixture(scope="module")
def package(ball, tmp_path_factory) -> Path:
    """The package of the ball."""
    return written(tmp_path_factory.mktemp("package"), ball)


@pytest.fixture(scope="module")
def lit_package(lit, tmp_path_factory) -> Path:
    """The package of the ball with lights."""
    return written(tmp_path_factory.mktemp("package"), lit)


def shown(scene, cameras, index=0):
    channels = scene.field.num_channels
    conditions = torch.zeros(scene.num_conditions)
    return scene_renders(scene, cameras, (1.0,) * channels, conditions)(index)


def test_it_shows_what_the_run_shows(ball, package):
    opened = open_scene(package, CPU)
    capture = opened.views(CaptureSettings())
    assert opened.name == "ball"
    assert (len(capture.train), len(capture.test)) == (6, 2)
    for views, own in ((capture.train, ball.capture.train), (capture.test, ball.capture.test)):
        assert views.names == own.names
        for name, tensor in vars(own.cameras).items():
            assert torch.equal(getattr(views.cameras, name), tensor), name
    assert opened.scene.record == replace(ball.scene.record, capture="ball")
    assert opened.scene.progress == ball.scene.progress
    assert torch.equal(opened.scene.renderer.occupancy.bits, ball.scene.renderer.occupancy.bits)
    for index in range(2):
        own, packed = (
            shown(scene, capture.test.cameras, index) for scene in (ball.scene, opened.scene)
        )
        assert (own.color - packed.color).abs().mean() < 0.005
        assert (own.opacity - packed.opacity).abs().mean() < 0.005


def test_every_backend_shows_the_same(package):
    """The table is float32 when it is opened: no backend's own numbers are in it."""
    opened = open_scene(package, CPU)
    cameras = opened.views(CaptureSettings()).test.cameras.resized(8, 8)
    with dispatch.using("reference"):
        reference = shown(opened.scene, cameras).color
    assert (shown(opened.scene, cameras).color - reference).abs().mean() < 0.01


def test_it_is_small_and_says_what_it_cost(ball, tmp_path):
    asked = PackageSettings(output=str(tmp_path / "a.nrpack"))
    made = make_package(ball, asked)
    assert made.num_bytes == (tmp_path / "a.nrpack").stat().st_size
    assert made.ratio > 20
    assert made.quality.compared_with == "renders"
    assert made.quality.psnr_run == making.ASSUMED_PSNR  # it was measured on nothing
    assert 0 < made.quality.loss_db < 0.1
    assert open_scene(made.file.path, CPU).quality == (made.quality,)
    said = summary(made)
    assert f"{made.quality.loss_db:.3f} dB on 2 test views, as far as renders tell" in said
    assert f"{made.num_bytes / 1e6:.2f} MB" in said
    smaller = make_package(ball, replace(asked, max_loss_db=1.0))
    assert smaller.num_bytes < made.num_bytes
    assert smaller.quality.loss_db > made.quality.loss_db


def test_a_run_that_was_trained_further_since_it_was_measured_is_refused(ball, tmp_path):
    """Its figure, which says how much may be lost, would be that of an earlier step."""
    asked = PackageSettings(output=str(tmp_path / "a.nrpack"))
    step, file = ball.scene.progress.step, ball.run.evaluation_path / "metrics.json"
    file.parent.mkdir(exist_ok=True)
    record = {"psnr": 31.0, "num_steps": step, "protocol": {}, "views": []}
    try:
        file.write_text(json.dumps(record))
        assert make_package(ball, asked).quality.psnr_run == 31.0
        file.write_text(json.dumps({**record, "num_steps": step - 20}))
        said = rf"was measured at step {step - 20} and trained to step {step}: .*bake\.py run="
        with pytest.raises(PackageError, match=said):
            make_package(ball, asked)
    finally:
        file.unlink()


def test_with_photos_the_loss_is_measured_on_them(ball, tmp_path):
    original = photographed(ball)
    made = make_package(original, PackageSettings(output=str(tmp_path / "a.nrpack")))
    assert made.quality.compared_with == "photos"
    assert made.quality.views == "2 test views"
    assert made.quality.psnr_run == pytest.approx(measured_psnr(original))
    packed = replace(original, scene=open_scene(made.file.path, CPU).scene)
    assert made.quality.psnr_package == pytest.approx(measured_psnr(packed), abs=1e-3)
    assert abs(made.quality.loss_db) < 0.1
    assert "as far as renders tell" not in summary(made)


def test_without_test_views_training_views_are_judged(ball, tmp_path):
    original = photographed(ball)
    none = replace(original.capture.test, names=(), cameras=original.capture.test.cameras[:0])
    original = replace(original, capture=replace(original.capture, test=none))
    made = make_package(original, PackageSettings(output=str(tmp_path / "a.nrpack")))
    assert made.quality.views == "6 training views"
    assert math.isfinite(made.quality.loss_db)
    assert len(open_scene(made.file.path, CPU).views(CaptureSettings()).test) == 0


def test_lights_and_sky_come_along(lit, lit_package):
    opened = open_scene(lit_package, CPU)
    assert opened.scene.lighting == lit.scene.lighting
    (sky,), (own,) = opened.scene.environment, lit.scene.environment
    assert torch.allclose(sky.picture, own.picture, rtol=2e-3)
    assert torch.equal(sky.world_from_environment, own.world_from_environment)
    cameras = lit.capture.test.cameras
    own, packed = (shown(scene, cameras).color for scene in (lit.scene, opened.scene))
    assert packed.shape[-1] == 6
    assert ((own - packed).abs().mean() / own.abs().mean()) < 0.05


def test_its_page_names_it_and_keeps_paths_where_renders_go(ball, package):
    settings = CaptureSettings()
    packed, own = (open_scene(path, CPU) for path in (package, ball.run.path))
    around = opened_surroundings(packed, packed.views(settings), settings)
    assert around.run == package and around.folder == package.parent / "ball_renders"
    around = opened_surroundings(own, ball.capture, settings)
    assert around.run == around.folder == ball.run.path


def test_it_goes_into_the_runs_folder_and_renders_go_beside_it(ball, package):
    assert making._output(ball.run, PackageSettings()) == ball.run.path / "ball.nrpack"
    assert PackageFile(path=package).renders_path == package.parent / "ball_renders"
    assert is_package(package)
    assert not is_package(package.parent)
    with pytest.raises(SettingError, match="is a folder: give a file in it, such as"):
        make_package(ball, PackageSettings(output=str(package.parent)))


def test_what_cannot_be_written_leaves_nothing(ball, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        written(tmp_path / "file", ball)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_synced(package, tmp_path):
    """Its package is complete where no folder can be; where the disk fails, that is said."""
    document, tensors = PackageFile(path=package).read()
    file = PackageFile(path=tmp_path / "ball.nrpack")
    with refusing_to_sync(errno.EINVAL, folders=True):
        assert file.write(document, tensors) == file.path.stat().st_size
    assert torch.equal(file.read()[1]["occupancy"], tensors["occupancy"])
    with (
        refusing_to_sync(errno.EIO, folders=True),
        pytest.raises(OutputError, match=r"ball\.nrpack cannot be written \(Input/output error\)"),
    ):
        file.write(document, tensors)
    assert torch.equal(file.read()[1]["occupancy"], tensors["occupancy"])


def test_too_large_a_table_is_refused(ball, tmp_path, monkeypatch):
    monkeypatch.setattr(making, "MOST_ENTRIES", 100)
    with pytest.raises(PackageError, match=r"packages hold 100 at most: train with a smaller"):
        written(tmp_path, ball)


def refused(path: Path) -> str:
    """The one sentence with which a package is refused."""
    with pytest.raises(PackageError) as caught:
        open_scene(path, CPU)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert len(message) < 600
    return message


def test_a_part_of_it_is_refused(package, tmp_path):
    content = package.read_bytes()
    path = tmp_path / "part.nrpack"
    for length in (0, 7, 8, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        refused(path)
    path.write_bytes(content + b"x")
    refused(path)


def test_wherever_a_byte_is_another_it_is_refused(package, tmp_path):
    content = package.read_bytes()
    path = tmp_path / "flipped.nrpack"
    header = int.from_bytes(content[:8], "little")
    places = [*range(8), *range(8, 8 + header, 61), *range(8 + header, len(content), 997)]
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 0x15
        path.write_bytes(flipped)
        refused(path)


Change = Callable[[dict[str, Any], dict[str, torch.Tensor]], None]


def rewritten(package: Path, path: Path, change: Change, **metadata: str) -> Path:
    """A package with another content and a checksum that is right."""
    with safe_open(package, "pt") as file:
        stored = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    document = json.loads(stored["document"])
    change(document, tensors)
    text = json.dumps(document)
    write_tensors(
        path,
        tensors,
        {**stored, "document": text, "sha256": checksum(text, tensors), **metadata},
    )
    return path


def set_in(*keys: str | int, value: object) -> Change:
    def change(document, tensors):
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return change


def behind_a_projection(*, cascades: int = 1, far_rows: int = 0) -> Change:
    def change(document, tensors):
        run = document["run"]
        run["frame"].update(projection={"matrix": [2.0, *IDENTITY[1:]]}, cascades=cascades)
        run["march"]["cascades"] = cascades
        run["field"]["far_rows"] = far_rows

    return change


def tensor(name: str, value: torch.Tensor | None) -> Change:
    def change(document, tensors):
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value

    return change


BOMB = bytes_tensor(zlib.compress(bytes(20_000_000)))
GRID = ("run", "field", "grid")
HOSTILE: dict[str, tuple[Change, str]] = {
    "a bomb": (tensor("table.1", BOMB), "a compressed part does not hold the"),
    "bits that are a bomb": (tensor("occupancy", BOMB), "does not hold the 262144 bytes"),
    "more than there is": (set_in(*GRID, "log2_rows", value=26), "a compressed part does not hold"),
    "a table beyond all": (
        lambda document, tensors: document["run"]["field"]["grid"].update(
            log2_rows=28, coarsest=2000, finest=1 << 24
        ),
        "entries; at most 536870912 are opened",
    ),
    "levels of nothing": (set_in(*GRID, "levels", value=63), "6 levels of a grid that has 63"),
    "endless levels": (set_in(*GRID, "levels", value=10**9), "levels=1000000000"),
    "a hypercube": (set_in(*GRID, "dims", value=40), "none of three dimensions"),
    "wild multipliers": (set_in(*GRID, "multipliers", value=[-1, 1, 1]), "not of 32 bits"),
    "a step of nothing": (set_in("table", 0, "step", value=0), "has a step of 0 in"),
    "a step without end": (set_in("table", 0, "step", value=1e300), "has a step of 1e+300 in"),
    "a step of no number": (set_in("table", 0, "step", value=float("nan")), "not finite"),
    "a step beyond all": (set_in("run", "march", "step", value=1e-30), "none that ends"),
    "endless rays": (
        set_in("run", "march", "max_samples_per_ray", value=1 << 40),
        "none that ends",
    ),
    "three planes": (set_in("table", 0, "planes", value=3), "in 3 planes"),
    "code": (set_in("name", value={"__reduce__": "os.system"}), "must be of type str"),
    "no run": (set_in("run", value=None), "document.run must be an object"),
    "a scale of nothing": (
        set_in("run", "frame", "world_from_field", "scale", value=0.0),
        "its frame has no size",
    ),
    "no projection": (set_in("run", "frame", "projection", value={"matrix": [1.0]}), "no matrix"),
    "no way back": (
        set_in("run", "frame", "projection", value={"matrix": [0.0] * 16}),
        "its projection is a matrix that has no inverse",
    ),
    "more than all": (behind_a_projection(far_rows=4), "cascades=1 and far_rows=4 for a scene"),
    "more than that": (behind_a_projection(cascades=2), "cascades=2 and far_rows=0 for a scene"),
    "other cascades": (set_in("run", "frame", "cascades", value=2), "differ in cascades"),
    "a part left out": (tensor("color_weights", None), "it lacks color_weights"),
    "weights of another size": (tensor("color_weights", torch.zeros(3).half()), "has the shape"),
    "weights that are none": (tensor("density_weights", torch.zeros(3)), "of type torch.float32"),
    "endless weights": (
        lambda document, tensors: tensors["density_weights"].fill_(torch.inf),
        "density_weights holds numbers that are not finite",
    ),
    "fewer names": (set_in("capture", "train", value=["a"]), "train.world_from_camera has the"),
    "no cameras": (set_in("capture", "train", value=[]), "has the shape"),
    "a lens of none": (lambda document, tensors: tensors["test.lens"].fill_(99), "unknown lens"),
    "no focal length": (lambda document, tensors: tensors["test.focal_px"].fill_(0), "focal"),
    "a pose of no number": (
        lambda document, tensors: tensors["train.world_from_camera"].fill_(torch.nan),
        "not finite",
    ),
    "pictures of no size": (lambda document, tensors: tensors["test.width"].fill_(0), "no size"),
    "half a sky": (tensor("environment.scale", torch.ones(1)), "lacks environment.picture"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_is_refused(package, tmp_path, name):
    """Its checksum is right: whoever made it meant it."""
    change, words = HOSTILE[name]
    assert words in refused(rewritten(package, tmp_path / "hostile.nrpack", change))


def test_broken_skies_are_refused(lit_package, tmp_path):
    for name, value, words in (
        ("environment.rotation", torch.ones(3, 3), "is no rotation"),
        ("environment.picture", torch.full((2, 4, 3), -1.0).half(), "negative or not finite"),
        ("environment.picture", torch.zeros(2, 4).half(), "has the shape"),
    ):
        assert words in refused(
            rewritten(lit_package, tmp_path / "sky.nrpack", tensor(name, value))
        )


def test_version_1_named_no_light_that_shines_from_far_around(lit_package, tmp_path):
    def older(document, tensors):
        del document["run"]["lighting"]["environment"]

    path = rewritten(lit_package, tmp_path / "older.nrpack", older, version="1")
    before, after = (PackageFile(path=file).read()[0] for file in (lit_package, path))
    assert after.run.lighting.groups == before.run.lighting.groups
    names = [group.name for group in after.run.lighting.groups]
    assert after.run.lighting.environment == ("environment" if "environment" in names else "")


def test_other_files_and_newer_packages_are_told_apart(package, tmp_path):
    path = tmp_path / "other.nrpack"
    path.write_text("not a package at all")
    refused(path)
    write_tensors(path, {"a": torch.zeros(3)})
    assert "it is no package of this program" in refused(path)
    newer = rewritten(package, path, lambda document, tensors: None, version="3")
    wanted = "is of format version 3, and this program reads versions up to 2: update"
    assert wanted in refused(newer)
    deep = rewritten(package, path, lambda document, tensors: None, document="[" * 100_000)
    assert "checksum" in refused(deep)
    write_tensors(
        path,
        {},
        {
            "format": "neural_render package",
            "version": "1",
            "document": "[" * 100_000,
            "sha256": checksum("[" * 100_000, {}),
        },
    )
    assert "its document is not JSON" in refused(path)
