"""The path tracer's process: what it answers, and that every end is told and leaves nothing."""

import math
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from neural_render.core.errors import SceneError
from neural_render.scenes.settings import SceneSettings, ViewSettings
from neural_render.scenes.source import scene_lighting
from neural_render.scenes.tracing.process import TracerProcess
from tests.scenes.small_scenes import BOX, FRONT, SKY, write_scene
from tests.scenes.tracing.tracers import CPU, SMALL, alive, rings, source_of, started

REPOSITORY = Path(__file__).resolve().parents[3]
ORPHAN = """
import sys
from pathlib import Path
import torch
from tests.scenes.tracing.tracers import source_of, started

process = started(Path(sys.argv[1]))
source = source_of(process)
source.sample(8, torch.Generator())
print(process.pid, flush=True)
sys.stdin.read()
"""
NO_TORCH = """
import sys
import neural_render.scenes.tracing.worker

print([name for name in ("torch", "mitsuba", "hydra") if name in sys.modules])
"""
unix = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")


def test_the_worker_does_without_torch() -> None:
    """Its threads would fight with the tracer's, and its start take seconds."""
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_it_says_what_the_scene_is(tracer: TracerProcess) -> None:
    scene = tracer.scene
    assert tracer.name == "ball"
    assert [group["name"] for group in scene["groups"]] == ["bulb", "lamp"]
    assert (scene["views"], scene["up"], scene["warnings"]) == ("cameras", [0, 0, 1], [])
    assert [moving["group"] for moving in scene["moving"]] == ["bulb"]
    assert tracer.ask("pilot", command="pilot", seed=0)["hit"] > 0.3


def test_a_moving_lights_mean_is_over_its_places(tmp_path: Path) -> None:
    """The file's, from below the floor, lights nothing; the file's light is that of the others."""
    path = write_scene(tmp_path, "lamp", "sun", "environment")
    path.write_text(path.read_text().replace('y="1" z="-1"', 'y="0" z="1"'))
    with closing(started(path, moving="sun")) as process:
        scene, found = process.scene, process.ask("pilot", command="pilot", seed=0)
    given = {
        group["name"]: torch.tensor(mean) * torch.tensor(group["color"])
        for mean, group in zip(found["means"], scene["groups"], strict=True)
    }
    assert given.pop("sun").min() > 0.01
    lit = torch.tensor(found["lit"])
    torch.testing.assert_close(sum(given.values()), lit, rtol=0.3, atol=0)
    assert min(group.scale for group in scene_lighting(scene, found).groups) > 1e-4


@pytest.mark.parametrize(
    ("groups", "name"), [((), "environment"), (("room=*",), "room"), (("sky=environment",), "sky")]
)
def test_the_picture_around_is_its_groups_at_unit_emission(
    tmp_path: Path, groups: tuple[str, ...], name: str
) -> None:
    """Times the group's colour it is what the file has, whatever else is in the group."""
    path = write_scene(tmp_path, "lamp", "environment")
    with closing(started(path, groups=list(groups))) as process:
        assert process.scene["environment"] == name
        file = tmp_path / "around.npy"
        process.ask("environment", command="environment", path=str(file))
        (color,) = (g["color"] for g in process.scene["groups"] if g["name"] == name)
    np.testing.assert_allclose(np.load(file) * color, np.broadcast_to(SKY, (2, 4, 3)), rtol=1e-5)


@unix
def test_the_tracer_has_the_threads_that_are_asked_for(tmp_path: Path) -> None:
    """Without LLVM, too."""
    path, counts = write_scene(tmp_path, "lamp"), []
    for threads in (1, 6):
        settings = replace(SMALL, threads=threads)
        scene = SceneSettings(path=str(path), max_depth=3)
        with closing(TracerProcess(scene, ViewSettings(), settings)) as process:
            process.ask("pilot", command="pilot", seed=0)
            counts.append(len(list(Path(f"/proc/{process.pid}/task").iterdir())))
    assert counts[1] - counts[0] == 5


def test_surfaces_without_a_finite_colour_are_dark(tmp_path: Path) -> None:
    """A picture is looked up nowhere, so that most of what is seen is no number."""
    (tmp_path / "a.mtl").write_text("newmtl wood\nKd 1 1 1\nmap_Kd wood.png\n")
    Image.new("RGB", (2, 2), (200, 100, 50)).save(tmp_path / "wood.png")
    corners = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 0 1\nvt inf 0\n"
    faces = "f 1/1 2/1 3/1\nf 1/1 2/1 4/1\nf 2/1 3/1 4/1\nf 3/1 1/1 4/1\n"
    (tmp_path / "a.obj").write_text(f"mtllib a.mtl\n{corners}usemtl wood\n{faces}")
    with closing(started(tmp_path / "a.obj")) as tracer:
        found = tracer.ask("pilot", command="pilot", seed=0)
    assert found["hit"] > 0
    assert all(math.isfinite(value) for mean in (*found["means"], found["lit"]) for value in mean)


@unix
def test_a_scene_that_is_not_there(tmp_path: Path) -> None:
    before = children()
    with pytest.raises(SceneError, match=r"gone.xml does not exist"):
        started(tmp_path / "gone.xml")
    assert children() == before


def children() -> set[str]:
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())


def test_views_that_the_scene_has_not(tmp_path: Path) -> None:
    path = write_scene(tmp_path, more="")
    with pytest.raises(SceneError, match=r"views.kind=cameras, but .*ball.xml has no camera"):
        started(path, ViewSettings(kind="cameras"))


def test_cameras_inside_stand_in_the_room(tmp_path: Path) -> None:
    path = write_scene(tmp_path, "bulb", more=BOX)
    with closing(started(path, ViewSettings(kind="interior"))) as process:
        poses = process.ask("poses", command="poses", num=500, seed=0)
    position = torch.tensor(poses["world_from_camera"])[:, :, 3]
    assert position.abs().max() < 4
    assert (position - torch.tensor([0.0, 0.0, 1.0])).norm(dim=1).min() > 1
    assert len(position.unique(dim=0)) > 100


def test_the_inside_of_a_closed_object_is_no_room(tmp_path: Path) -> None:
    """The ball is closed all around too, but dark."""
    path = write_scene(tmp_path, "bulb", more="")
    with pytest.raises(SceneError, match=r"ball.xml has no free space inside: .* give views.kind"):
        started(path, ViewSettings(kind="interior"))


def test_an_answer_with_an_error_leaves_it_listening(tracer: TracerProcess) -> None:
    with pytest.raises(SceneError, match="the path tracer failed"):
        tracer.ask("poses", command="poses", num=-1, seed=0)
    assert len(tracer.ask("poses", command="poses", num=3, seed=0)["half_width"]) == 3


def test_cameras_depend_on_the_seed_alone(tracer: TracerProcess) -> None:
    first, again, other = (
        tracer.ask("poses", command="poses", num=2, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again and first != other


def test_rays_are_drawn_and_counted(tracer: TracerProcess) -> None:
    with closing(source_of(tracer)) as source:
        assert source.num_channels == 6
        generator = torch.Generator().manual_seed(3)
        source.wait_for(10_000)
        batches = [source.sample(1000, generator) for _ in range(8)]
        figures = source.figures
        assert figures.drawn == 8000 and figures.fresh >= 10_000
    assert {batch.first_channel for batch in batches} == {0, 3}
    for batch in batches:
        points = batch.rays.origins + batch.rays.directions * batch.distance[:, None]
        hit = batch.distance > 0
        assert (batch.weights * hit).mean() > 0.25
        assert points[hit].min() > 0 and points[hit].max() < 1
        assert torch.equal(batch.opacity, hit.float())
        assert batch.conditions.shape == (1000, 15)
        assert batch.targets.min() >= 0 and batch.targets[hit].max() > 0
        assert batch.weights.min() > 0 and float(batch.weights.mean()) == pytest.approx(1, abs=0.1)
    assert tracer.ask("poses", command="poses", num=1, seed=0), "it can be asked again"


SIGN = (
    '<shape type="rectangle" id="sign"><transform name="to_world"><scale value="0.2"/>'
    '<rotate x="1" angle="90"/><translate y="-2" z="1"/></transform>'
    '<emitter type="area"><rgb name="radiance" value="50"/></emitter></shape>'
)


def test_what_shines_is_seen_more_often(tmp_path: Path) -> None:
    """And nothing else: neither the sky, of which nothing is learnt, nor what is lit."""
    path = write_scene(tmp_path, "environment", more=FRONT + SIGN)
    with closing(started(path)) as process, closing(source_of(process)) as source:
        source.wait_for(20_000)
        generator = torch.Generator().manual_seed(3)
        batches = [source.sample(4000, generator) for _ in range(8)]
        names = [group.name for group in source.lighting.groups]
        to_world = source.frame.world_from_field
    seen = {name: [b for b in batches if b.first_channel == 3 * i] for i, name in enumerate(names)}
    assert all(seen.values()) and sorted(names) == ["environment", "sign"]
    for name, found in seen.items():
        for batch in found:
            points = to_world.apply(
                batch.rays.origins + batch.rays.directions * batch.distance[:, None]
            )
            on_sign = (batch.distance > 0) & ((points[:, 1] + 2).abs() < 1e-3)
            others = batch.weights[~on_sign]
            assert on_sign.any() and others.min() > 0.99
            if name == "sign":
                assert batch.weights[on_sign].max() < 0.5
            else:
                assert others.max() < 1.01


def test_a_bake_that_goes_on_sees_other_rays(tracer: TracerProcess) -> None:
    seen = []
    for begun in (0, 0, 100):
        with closing(source_of(tracer, begun=begun)) as source:
            rays = source.sample(1000, torch.Generator().manual_seed(3)).rays
        seen.append({tuple(direction) for direction in rays.directions.tolist()})
    assert seen[0] & seen[1] and not seen[0] & seen[2]


def test_programs_beside_a_scene_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python would look for modules in the folder in which it is started."""
    for name in ("mitsuba", "numpy", "json"):
        (tmp_path / f"{name}.py").write_text(f"open('{tmp_path}/was_run', 'w')")
    path = write_scene(tmp_path)
    monkeypatch.chdir(tmp_path)
    started(path).close()
    assert not (tmp_path / "was_run").exists()


def test_while_it_traces_it_is_asked_nothing(tracer: TracerProcess) -> None:
    with (
        closing(source_of(tracer)),
        pytest.raises(AssertionError, match="listens to nothing"),
    ):
        tracer.ask("poses", command="poses", num=1, seed=0)


def test_training_never_waits_for_a_tracer_that_rests(tmp_path: Path) -> None:
    """Whatever the settings; the ring goes around several times."""
    settings = replace(SMALL, fresh=50.0, max_reuse=1.0)
    path = write_scene(tmp_path)
    with (
        closing(TracerProcess(SceneSettings(path=str(path)), ViewSettings(), settings)) as process,
        closing(source_of(process, settings)) as source,
    ):
        generator = torch.Generator().manual_seed(3)
        for _ in range(12):
            source.sample(4096, generator)
        assert source.figures.reuse <= 2


@unix
def test_a_tracer_that_fails_is_told_and_waited_for_no_more(tmp_path: Path) -> None:
    """It goes on listening after an error: nobody must wait for the end of its tracing."""
    with closing(started(write_scene(tmp_path))) as process:
        process.tell(
            command="trace", memory=12345, blocks=3, shares=[1.0], means=[1.0], seed=0, begun=0
        )
        with pytest.raises(SceneError, match="the path tracer failed"):
            wait_for_an_end(process)
        assert not process.tracing
        with closing(source_of(process)) as source:
            assert len(source.sample(8, torch.Generator()).rays) == 8


@unix
def test_a_killed_tracer_ends_in_one_sentence(tmp_path: Path) -> None:
    process = started(write_scene(tmp_path))
    with pytest.raises(SceneError) as raised, closing(process), closing(source_of(process)) as rays:
        generator = torch.Generator(CPU)
        rays.sample(8, generator)
        assert rings(process.pid) == rings(os.getpid()) == 1
        os.kill(process.pid, signal.SIGKILL)
        while True:
            rays.sample(1024, generator)
    sentence = str(raised.value)
    assert sentence.startswith("the path tracer's process ended by SIGKILL (the system may be out")
    assert "\n" not in sentence and "tracer.variant=scalar" in sentence
    assert rings(os.getpid()) == 0
    assert not alive(process.pid)


@unix
def test_closing_leaves_nothing(tmp_path: Path) -> None:
    family = children()
    process = started(write_scene(tmp_path))
    source = source_of(process)
    source.sample(8, torch.Generator())
    assert alive(process.pid) and rings(process.pid) == rings(os.getpid()) == 1
    source.close()
    assert rings(process.pid) == rings(os.getpid()) == 0
    process.close()
    assert not alive(process.pid)
    assert children() == family


@unix
def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    """Killed in mid-tracing, where it listens to nobody."""
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, write_scene(tmp_path)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None and parent.stdin is not None
    pid = int(parent.stdout.readline())
    assert alive(pid) and rings(pid) == 1
    parent.kill()
    parent.wait()
    parent.stdout.close()
    parent.stdin.close()
    end = time.monotonic() + 60
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    assert not alive(pid)


def wait_for_an_end(process: TracerProcess) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        process.check()
        time.sleep(0.01)
