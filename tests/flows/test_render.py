"""``render.py``: every path, every output, from a run that is given or the latest."""

import json
import shutil
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest
from PIL import Image

from neural_render.core.waiting.turns import locked
from tests.flows.programs import Finished, run_here, succeed
from tests.tiny_capture import camera_poses, sphere_image


@pytest.fixture
def copied_run(trained_run: Path, tmp_path: Path) -> Path:
    """The trained run, as the latest one of a folder of its own."""
    shutil.copytree(trained_run, tmp_path / "outputs/tiny/run")
    shutil.rmtree(tmp_path / "outputs/tiny/run/renders")
    (tmp_path / "outputs/latest").symlink_to("tiny/run", target_is_directory=True)
    return tmp_path / "outputs/tiny/run"


@pytest.fixture
def render(
    copied_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """``render.py`` in the folder of the copied run: words in, what it said out."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str | Path) -> Finished:
        return run_here("render.py", *words, monkeypatch=monkeypatch, capsys=capsys)

    return call


def written(done: Finished, run_folder: Path) -> list[str]:
    """The files that the program named, below the run's ``renders``."""
    assert done.code == 0, done.errors
    named = [line for line in done.output.splitlines() if line.startswith(str(run_folder))]
    named = [line for line in named if Path(line).is_file()]
    return [str(Path(line).relative_to(run_folder.resolve() / "renders")) for line in named]


def test_without_arguments_the_latest_run_becomes_a_video(copied_run: Path, tmp_path: Path) -> None:
    done = succeed("render.py", folder=tmp_path)
    assert written(done, copied_run) == ["orbit_40x40/video.mp4"]
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_a_film_waits_for_another_one_in_the_same_folder(
    render, copied_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the frames of both would lie side by side."""
    folder = copied_run / "renders/orbit_32x32"
    folder.mkdir(parents=True)
    with ExitStack() as other:
        other.enter_context(locked(folder))
        monkeypatch.setattr("neural_render.core.waiting.turns.time.sleep", lambda _: other.close())
        done = render("output=frames", "frames=2", "size=32x32")
    assert done.code == 0
    assert f"waiting for another run, which works on {folder}" in done.output


def test_the_test_views_look_like_the_photos(render, copied_run: Path) -> None:
    done = render("path=test", "output=frames")
    assert written(done, copied_run) == ["test_40x40/color_0000.png"]
    folder = copied_run / "renders/test_40x40"
    for index, pose in enumerate(camera_poses(3, 0.37)):
        photo = sphere_image(pose, 40).astype(float) / 255
        opacity = np.asarray(Image.open(folder / f"opacity_{index:04d}.png")).astype(float) / 255
        assert np.abs(opacity - photo[..., 3]).mean() < 0.08
        on_white = photo[..., :3] * photo[..., 3:] + 1 - photo[..., 3:]
        color = np.asarray(Image.open(folder / f"color_{index:04d}.png")).astype(float) / 255
        assert np.abs(color - on_white).mean() < 0.08
        assert Image.open(folder / f"depth_{index:04d}.png").size == (40, 40)


def test_a_spiral_of_any_size_and_several_outputs(render, copied_run: Path) -> None:
    """Odd sizes are padded for the video and exact in the frames."""
    done = render("path=spiral", "output=video,frames", "size=31x17", "frames=2")
    assert written(done, copied_run) == ["spiral_31x17/video.mp4", "spiral_31x17/color_0000.png"]
    folder = copied_run / "renders/spiral_31x17"
    assert Image.open(folder / "color_0001.png").size == (31, 17)
    assert not (folder / "color_0002.png").exists()


def test_keyframes_become_layers(render, copied_run: Path, tmp_path: Path) -> None:
    poses = [{"transform_matrix": pose.tolist()} for pose in camera_poses(3)]
    path = tmp_path / "my flight.json"
    path.write_text(json.dumps({"keyframes": poses, "frames": 4}), encoding="utf-8")
    done = render(f"path={path}", "output=exr", "size=8x8", f"run={copied_run}")
    assert written(done, copied_run) == ["my flight_8x8/frame_0000.exr"]
    assert (copied_run / "renders/my flight_8x8/frame_0003.exr").is_file()


def test_every_kind_of_file_of_two_blurred_eyes(render, copied_run: Path) -> None:
    """Depth of field, motion blur and stereo in one film, and what it takes to go on with it."""
    words = (
        "path=orbit",
        "output=png16,depth,exr,video",
        "size=16x12",
        "frames=3",
        "render.shutter=0.5",
        "render.lens.aperture=0.2",
        "render.supersampling=2",
        "render.stereo.layout=side_by_side",
        "render.stereo.eyes=0.1",
        "render.backdrop=transparent",
        "render.video.codec=prores4444",
    )
    done = render(*words)
    folder = copied_run / "renders/orbit_stereo_16x12"
    first = ["video.mov", "picture_0000.png", "frame_0000.exr", "depth_0000.npy"]
    assert written(done, copied_run) == [f"{folder.name}/{name}" for name in first]
    assert np.load(folder / "depth_0002.npy").shape == (12, 32)
    source = oiio.ImageInput.open(str(folder / "frame_0001.exr"))
    assert {"Z", "P.X", "N.Z", "distance"} < set(source.spec().channelnames)
    kept = (folder / "frame_0000.exr").stat().st_mtime_ns
    (folder / "depth_0002.npy").unlink()
    assert render(*words).code == 0
    assert (folder / "depth_0002.npy").is_file()
    assert (folder / "frame_0000.exr").stat().st_mtime_ns == kept
    assert render(*words, "render.lens.focus=1").code == 0, "another film"
    assert (folder / "frame_0000.exr").stat().st_mtime_ns != kept


def test_all_around(render, copied_run: Path) -> None:
    done = render("path=orbit", "output=frames,video", "camera=panorama", "frames=1", "size=32x16")
    first = "orbit_panorama_32x16/video.mp4", "orbit_panorama_32x16/color_0000.png"
    assert written(done, copied_run) == list(first)
    assert b"sv3d" in (copied_run / "renders" / first[0]).read_bytes()


def light_up(run_folder: Path) -> None:
    """Makes a run of one light group of it."""
    group = {"name": "Küche 1.001", "color": [1.0, 1.0, 1.0], "scale": 1.0}
    lighting = {"groups": [group], "moving": [], "exposure": 1.0, "environment": ""}
    for path in run_folder.glob("checkpoints/*/state.json"):
        document = json.loads(path.read_text())
        document["run"] |= {"lighting": lighting, "color_space": "linear"}
        path.write_text(json.dumps(document))


def test_lights_are_dials(render, copied_run: Path) -> None:
    light_up(copied_run)
    words = ("path=orbit", "output=exr", "size=8x8", "frames=1", "render.exr=float")
    seen = []
    for dial in ("1", "[2,0,0.5]"):
        done = render(*words, f"lights.Küche 1.001={dial}")
        assert written(done, copied_run) == ["orbit_8x8/frame_0000.exr"]
        source = oiio.ImageInput.open(str(copied_run / "renders/orbit_8x8/frame_0000.exr"))
        assert "Küche 1.001.G" in source.spec().channelnames
        planes = np.moveaxis(source.read_image("float"), -1, 0)
        seen.append(dict(zip(source.spec().channelnames, planes, strict=True)))
        source.close()
    for name, factor in zip("RGB", (2, 0, 0.5), strict=True):
        np.testing.assert_allclose(seen[1][name], factor * seen[0][name], rtol=1e-5, atol=1e-7)
    assert (
        "lights.kitchen is not a light of this run: it has Küche"
        in render("lights.kitchen=2").errors
    )


def test_photos_may_stand_before_black_or_white(render, copied_run: Path) -> None:
    corners = []
    for backdrop in ("black", "white"):
        render("path=orbit", "output=frames", "size=8x8", "frames=1", f"render.backdrop={backdrop}")
        picture = np.asarray(Image.open(copied_run / "renders/orbit_8x8/color_0000.png"))
        corners.append(int(picture[0, 0].max()))
    assert corners[0] < 30 and corners[1] > 225


def test_frames_that_are_there_are_not_rendered_again(render, copied_run: Path) -> None:
    """Unless they are another film's."""
    words = ("path=orbit", "output=frames", "size=8x8", "frames=3")
    render(*words)
    folder = copied_run / "renders/orbit_8x8"
    first, second = folder / "color_0000.png", folder / "color_0001.png"
    kept = first.stat().st_mtime_ns
    second.unlink()
    render(*words)
    assert second.is_file()
    assert first.stat().st_mtime_ns == kept
    assert render(*words[:3], "frames=2").code == 0
    assert first.stat().st_mtime_ns != kept
    assert not (folder / "color_0002.png").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["path=orbti"],
            "render.path=orbti is not known: give orbit, spiral, test, train, auto or",
        ),
        (["path=gone.json"], "gone.json does not exist: give a JSON file with keyframes"),
        (["output=gif"], "render.output=gif is not known: give one or more of video, frames, png"),
        (["render.lens.aperture=-1"], "render.lens.aperture=-1 is too small; give at least 0"),
        (["render.lens.focus=2"], "render.lens.focus=2 changes nothing for a pinhole: give the"),
        (["render.video.codec=av1"], "render.video.codec=av1 is not one of h264, h265, prores"),
        (["camera=panorama", "size=9x9"], "render.size=9x9 is not that of a panorama"),
        (["size=800"], "render.size=800 is not a size: give WIDTHxHEIGHT in pixels"),
        (["size=0x9"], "render.size=0x9 is not a size"),
        (["output=none"], "render.output=none, which is said here or was said in training, asks"),
        (["frames=0"], "render.frames=0 is too small; give at least 1"),
        (["lights.key=2"], "lights.key is not a light of this run: it was made from photos"),
        (["lights.key=-1"], "lights.key=-1.0 must be finite and nowhere below 0"),
        (["render.light_at=[0,1,0]"], "render.light_at=[0.0, 1.0, 0.0] moves a light and this run"),
        (["render.exposure=1"], "render.exposure=1 exposes scene-linear light and this run was"),
        (["render.backdrop=environment"], "this run has none: give black, white or auto"),
        (["training.num_steps=9"], "training.num_steps is a setting of another command"),
        (["capture.adjust.poses=true"], "capture.adjust.poses is a setting of another command"),
        (["run=gone"], "run=gone is not there"),
        (["outputs=gone"], "gone holds no latest run: train one first"),
        (["capture.path=gone"], "gone is not there: give an existing folder"),
    ],
)
def test_a_mistake_is_one_sentence(render, words: list[str], sentence: str) -> None:
    done = render(*words)
    assert done.code == 2
    assert sentence in done.errors
    assert done.errors.startswith("error: ") and done.errors.count("\n") == 1


def test_a_folder_that_is_no_run_is_refused(render, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = render("run=empty")
    assert (done.code, done.errors.count("\n")) == (2, 1)
    assert "run=empty is not a run folder" in done.errors


def test_settings_that_are_not_ours_are_refused(render, copied_run: Path) -> None:
    for text, reason in (
        ("seed: many\n", "seed"),
        ("sede: 3\n", "sede"),
        ("]:", "expected"),
        ("- 3\n", "no group of settings"),
    ):
        (copied_run / "config.yaml").write_text(text, encoding="utf-8")
        done = render()
        assert (done.code, done.errors.count("\n")) == (2, 1)
        assert "config.yaml does not hold the settings of a run of this program" in done.errors
        assert reason in done.errors
