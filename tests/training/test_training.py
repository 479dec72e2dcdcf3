"""The loop: it learns, follows its budget, stops when told and goes on as if it never had."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from neural_render.core.errors import DivergenceError, OutputError, SettingError
from neural_render.fields import GridSettings, RadianceField
from neural_render.kernels import dispatch
from neural_render.rendering import occupancy
from neural_render.training import loop
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.reporter import psnr_of
from neural_render.training.runs.restore import load_for_rendering
from neural_render.training.stopping import TrainingInterrupted
from tests.training.problems import (
    CPU,
    DividedBall,
    StripedBall,
    new_run,
    settings_for,
    tiny_field,
    tiny_renderer,
    train_ball,
)
from tests.training.runs.test_run_folder import largest_file


def weights_of(run: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(run.last_checkpoint() / "weights.safetensors")


def assert_same_weights(run: RunFolder, other: RunFolder) -> None:
    mine, theirs = weights_of(run), weights_of(other)
    assert set(mine) == set(theirs)
    different = [name for name in mine if not torch.equal(mine[name], theirs[name])]
    assert not different


def rendered_psnr(run: RunFolder) -> float:
    scene = load_for_rendering(run, CPU)
    batch = StripedBall().sample(1000, torch.Generator().manual_seed(99))
    background = scene.background.expand(1000, 3)
    output = scene.renderer.render(
        scene.field, batch.rays, background=background, jitter=torch.full((1000,), 0.5)
    )
    wanted = torch.lerp(background, batch.targets, batch.opacity[:, None])
    return psnr_of(torch.nn.functional.mse_loss(output.values, wanted).item())


def test_a_ball_is_learnt_and_rendered_from_its_run_folder(tmp_path):
    run = new_run(tmp_path)
    progress, field = train_ball(run, settings_for(400, samples_per_step=4096))
    assert progress.step == 400
    assert rendered_psnr(run) > 21
    scene = load_for_rendering(run, CPU)
    assert scene.frame == StripedBall.frame
    assert scene.record.capture == "ball"
    assert scene.background.tolist() == [1, 1, 1]
    assert not torch.equal(scene.field.table, field.table)  # the average, not the last weights
    lines = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    assert lines[-1]["step"] == 400
    assert lines[-1]["psnr"] > 20
    assert lines[-1]["samples"] == progress.num_samples


def test_the_number_of_rays_follows_the_surviving_samples(tmp_path):
    run = new_run(tmp_path)
    progress, _ = train_ball(
        run, settings_for(150, samples_per_step=4096, report_every=0.0, coarse_start=False)
    )
    # Space empties: many more rays at last than at first, for the same number of samples a step.
    assert progress.num_samples == pytest.approx(150 * 4096, rel=0.2)
    lines = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    rays = [line["samples"] / line["samples_per_ray"] for line in lines[:1]]
    rays += [later["rays"] - line["rays"] for line, later in itertools.pairwise(lines)]
    assert rays[0] == 64
    assert sum(rays[-10:]) > 1.5 * sum(rays[10:20])


@pytest.fixture(params=["auto", "float32"])
def precision(request):
    """What the fastest backend here computes with, each choice in turn."""
    kernels = dispatch.load(dispatch.resolve("auto"))
    kernels.set_precision(request.param)
    yield kernels.precision()
    kernels.set_precision("auto")


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, precision):
    """On one, two or three threads; what is derived from the weights is derived again."""
    settings = settings_for(40)
    whole, stopped = new_run(tmp_path), new_run(tmp_path)
    train_ball(whole, settings)
    # The batch of a step is drawn beside the step before it.
    stops = ((19, signal.SIGINT, 130, 2), (10, signal.SIGTERM, 143, 3))
    for stop_after, number, code, threads in stops:
        source = StripedBall(stop_after, number)
        with pytest.raises(TrainingInterrupted, match=r"Stopped by .* at step \d+") as stop:
            train_ball(stopped, settings, source=source, kernels=("auto", threads))
        assert stop.value.exit_code == code
    assert [path.name for path in stopped.checkpoints()] == ["18", "27"]
    train_ball(stopped, settings, kernels=("auto", 1))
    assert_same_weights(whole, stopped)
    assert load_for_rendering(stopped, CPU).record.precision == precision


@pytest.mark.parametrize("unbiased", [False, True])
def test_a_stopped_run_goes_on_with_its_error_map_bit_for_bit(tmp_path, unbiased):
    """Stopped between two deals of the deck and just after one; on one thread and on two."""
    settings = settings_for(75, error_sampling=0.5, error_sampling_unbiased=unbiased)
    whole, stopped, uniform = new_run(tmp_path), new_run(tmp_path), new_run(tmp_path)
    train_ball(whole, settings, source=DividedBall())
    for stop_after in (21, 13, 36):
        with pytest.raises(TrainingInterrupted):
            train_ball(stopped, settings, source=DividedBall(stop_after))
    assert [path.name for path in stopped.checkpoints()] == ["32", "67"]
    train_ball(stopped, settings, source=DividedBall(), kernels=("auto", 1))
    assert_same_weights(whole, stopped)
    assert {"errors.squared", "errors.seen", "errors.deck"} <= set(weights_of(whole))
    train_ball(uniform, settings_for(75, error_sampling=0.0), source=DividedBall())
    assert not torch.equal(weights_of(uniform)["field.table"], weights_of(whole)["field.table"])


def test_without_error_sampling_nothing_is_different(tmp_path):
    """A source with regions is asked for the rays that one without would give."""
    plain, divided = new_run(tmp_path), new_run(tmp_path)
    train_ball(plain, settings_for(40))
    none = settings_for(40, error_sampling=0.0, error_sampling_unbiased=True)
    train_ball(divided, none, source=DividedBall())
    assert_same_weights(plain, divided)
    assert not any(name.startswith("errors.") for name in weights_of(divided))


def test_error_sampling_begins_and_ends_with_its_setting(tmp_path):
    run = new_run(tmp_path)
    for steps, share, stored in ((3, 0.0, False), (6, 0.5, True), (9, 0.0, False)):
        settings = settings_for(steps, error_sampling=share)
        progress, _ = train_ball(run, settings, source=DividedBall())
        assert progress.step == steps
        assert ("errors.deck" in weights_of(run)) == stored


def test_sources_with_regions_are_sampled_by_error_unless_told_otherwise(tmp_path):
    by_default, by_setting = new_run(tmp_path), new_run(tmp_path)
    train_ball(by_default, settings_for(5), source=DividedBall())
    train_ball(by_setting, settings_for(5, error_sampling=0.5), source=DividedBall())
    assert_same_weights(by_default, by_setting)


def test_error_sampling_needs_regions(tmp_path):
    with pytest.raises(SettingError, match=r"training\.error_sampling=0\.5 needs a source .* 0\."):
        train_ball(new_run(tmp_path), settings_for(3, error_sampling=0.5))


def test_a_stopped_run_goes_on_bit_for_bit_with_the_reference_kernels(tmp_path, monkeypatch):
    # Of so short a run all cells are looked at in the end: one point of each will do.
    monkeypatch.setattr(occupancy, "SETTLE_ROUNDS", 1)

    def train(run, source=None):
        field = tiny_field(grid=GridSettings(levels=2, log2_rows=10, finest=32))
        settings = settings_for(6, samples_per_step=512)
        train_ball(run, settings, source=source, field=field, kernels=("reference", 2))

    whole, stopped = new_run(tmp_path), new_run(tmp_path)
    train(whole)
    with pytest.raises(TrainingInterrupted, match="Stopped by Ctrl-C at step 3"):
        train(stopped, StripedBall(4))
    train(stopped)
    assert_same_weights(whole, stopped)


def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    settings = "settings_for(60, checkpoint_steps=7)"
    whole, killed = new_run(tmp_path), new_run(tmp_path)
    train_ball(whole, settings_for(60, checkpoint_steps=7))
    code = (
        "import sys; from pathlib import Path\n"
        "from neural_render.training.runs.folder import RunFolder\n"
        "from tests.training.problems import settings_for, train_ball\n"
        f"train_ball(RunFolder.open(Path(sys.argv[1])), {settings})\n"
    )
    killed.checkpoints_path.mkdir()
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code, str(killed.path)], cwd=root) as process:
        while not killed.checkpoints() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.05)
        process.kill()
        process.wait()
    assert killed.checkpoints(), "it was to be killed after its first checkpoint"
    train_ball(killed, settings_for(60, checkpoint_steps=7))
    assert_same_weights(whole, killed)


@pytest.mark.parametrize("stopped", ["killed before it settles", "told to stop in its last step"])
def test_what_is_stopped_at_its_very_end_is_settled_all_the_same(tmp_path, monkeypatch, stopped):
    whole, run = new_run(tmp_path), new_run(tmp_path)
    settings = settings_for(40, checkpoint_steps=10)
    train_ball(whole, settings)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    def told(problem, state, step: int) -> None:
        if step == 40:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        if stopped.startswith("killed"):
            patch.setattr(loop, "settle", killed)
        else:
            patch.setattr(loop, "refresh_errors", told)
        with pytest.raises(KeyboardInterrupt):
            train_ball(run, settings)
    train_ball(run, settings)
    assert_same_weights(run, whole)


def test_a_finished_run_returns_at_once_and_goes_on_with_a_larger_budget(tmp_path):
    run = new_run(tmp_path)
    first, _ = train_ball(run, settings_for(5))
    source = StripedBall()
    again, _ = train_ball(run, settings_for(5), source=source)
    assert again == first
    assert source.num_batches == 0
    more, _ = train_ball(run, settings_for(8), source=source)
    assert source.num_batches == 3
    assert more.train_seconds > first.train_seconds
    assert [path.name for path in run.checkpoints()] == ["5", "8"]


def test_a_field_without_a_fused_view_learns_the_same(tmp_path):
    class Unfused(RadianceField):
        def fused_view(self):
            return None

    fused = tiny_field()
    composed = Unfused(fused.spec, torch.Generator().manual_seed(0))
    assert torch.equal(fused.table, composed.table)
    settings = settings_for(4, coarse_start=False, roulette=0.0)
    for field in (fused, composed):
        train_ball(new_run(tmp_path), settings, field=field)
    before, after = dict(tiny_field().named_parameters()), dict(composed.named_parameters())
    for name, parameter in fused.named_parameters():
        learnt, other = parameter - before[name], after[name] - before[name]
        assert learnt.norm() > 0
        # Adam makes a whole step of what cancels to nothing in one way and nearly in the other.
        assert (learnt - other).norm() < 0.03 * learnt.norm(), name


def test_divergence_is_told_with_the_last_good_checkpoint(tmp_path):
    run = new_run(tmp_path)
    with pytest.raises(
        DivergenceError,
        match=r"diverged at step \d+: .*lower training\.learning_rate; no checkpoint was saved",
    ):
        train_ball(run, settings_for(40, learning_rate=1e30))
    train_ball(run, settings_for(3))
    good = weights_of(run)
    with pytest.raises(DivergenceError, match=r"the last good checkpoint is .*/checkpoints/3\."):
        train_ball(run, settings_for(40, learning_rate=1e30, checkpoint_steps=1))
    assert [path.name for path in run.checkpoints()][-1] == "3"
    assert all(torch.equal(tensor, good[name]) for name, tensor in weights_of(run).items())


def test_a_full_disk_stops_training_with_the_earlier_checkpoint_intact(tmp_path):
    run = new_run(tmp_path)
    train_ball(run, settings_for(2))
    with (
        largest_file(100_000),
        pytest.raises(OutputError, match=r"checkpoints/4 cannot be written .*free some space"),
    ):
        train_ball(run, settings_for(4))
    assert [path.name for path in run.checkpoints_path.iterdir()] == ["2"]
    progress, _ = train_ball(run, settings_for(4))
    assert progress.step == 4


def test_space_far_from_the_points_is_looked_at_after_points_first(tmp_path):
    seen = {}
    for share in (0.5, 0.9):
        renderer = tiny_renderer()
        renderer.begin_around(torch.full((300, 3), 0.5))
        settings = settings_for(20, points_first=share)
        source = StripedBall(stop_after=14)  # in the middle of both runs
        with pytest.raises(TrainingInterrupted):
            train_ball(new_run(tmp_path / str(share)), settings, source=source, renderer=renderer)
        seen[share] = renderer.occupancy.holds
    assert seen == {0.5: False, 0.9: True}


class BallBeforeTheSky(StripedBall):
    """The ball in photos without opacity; behind it is the sky, brighter upwards."""

    has_opacity = False

    def look(self, origins, aims):
        batch = super().look(origins, aims)
        sky = 0.5 + 0.4 * batch.rays.directions[:, 1:2].expand(-1, 3)
        shown = torch.lerp(sky, batch.targets, batch.opacity[:, None])
        return replace(batch, targets=shown, opacity=torch.ones_like(batch.opacity))


def test_the_sky_is_learnt_behind_the_ball_and_goes_on_bit_for_bit(tmp_path):
    def sky_field():
        spec = replace(tiny_field().spec, far_rows=16)
        return RadianceField(spec, torch.Generator().manual_seed(0))

    whole, stopped = new_run(tmp_path), new_run(tmp_path)
    settings = settings_for(300, samples_per_step=4096)
    train_ball(whole, settings, source=BallBeforeTheSky(), field=sky_field())
    with pytest.raises(TrainingInterrupted):
        train_ball(stopped, settings, source=BallBeforeTheSky(100), field=sky_field())
    train_ball(stopped, settings, source=BallBeforeTheSky(), field=sky_field())
    assert_same_weights(whole, stopped)
    scene = load_for_rendering(whole, CPU)
    batch = BallBeforeTheSky().sample(1000, torch.Generator().manual_seed(9))
    seen = scene.renderer.render(
        scene.field, batch.rays, background=torch.zeros(1000, 3), jitter=torch.full((1000,), 0.5)
    )
    beside = StripedBall().sample(1000, torch.Generator().manual_seed(9)).opacity == 0
    assert psnr_of(torch.nn.functional.mse_loss(seen.values, batch.targets).item()) > 21
    # Fog shows a part of it: where the background is known that costs nothing.
    assert seen.opacity[beside].mean() < 0.8 * seen.opacity[~beside].mean()
    far = scene.field.far_radiance(batch.rays.directions)
    assert torch.corrcoef(torch.stack([far[beside, 0], batch.targets[beside, 0]]))[0, 1] > 0.5
