"""What a step hands on of its batch: which loss, which channels, distances and conditions."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from neural_render.core.rays import RayBatch
from neural_render.fields import FieldSettings, RadianceField, field_spec
from neural_render.training.runs.restore import load_for_rendering
from neural_render.training.schedules import plan_step
from neural_render.training.settings import TrainingSettings
from neural_render.training.step import (
    StepOutcome,
    loss_spec,
    observed_survivors,
    rays_for,
)
from tests.training.problems import (
    CPU,
    GRID,
    RADIUS,
    StripedBall,
    new_run,
    settings_for,
    train_ball,
)


@pytest.mark.parametrize(
    ("loss", "color_space", "relative"),
    [
        ("auto", "srgb", 0.0),
        ("auto", "linear", 0.02),
        ("huber", "linear", 0.0),
        ("relative", "srgb", 0.02),
    ],
)
def test_the_loss_follows_from_the_colour_space(loss, color_space, relative):
    settings = TrainingSettings(loss=loss, relative_epsilon=0.02, distance_weight=0.3)
    spec = loss_spec(settings, color_space)
    assert (spec.relative, spec.distance_weight) == (relative, 0.3)
    assert (spec.delta, spec.roulette) == (settings.huber_delta, 1.0 if relative else 0.5)


@pytest.mark.parametrize(
    ("fade", "fraction", "left"),
    [(0.5, 0.0, 1.0), (0.5, 0.25, 0.5), (0.5, 0.5, 0.0), (0.5, 0.9, 0.0), (0.0, 0.9, 1.0)],
)
def test_first_surfaces_fade_from_the_loss(fade: float, fraction: float, left: float) -> None:
    settings = TrainingSettings(distance_weight=10.0, distance_fade=fade)
    assert loss_spec(settings, "linear", fraction).distance_weight == pytest.approx(10 * left)


class LitBall(StripedBall):
    """A ball under two lights, one of them in each batch.

    One is dim and steady; the other one is noisy, brighter than 1, and as bright as the rays'
    condition says.
    """

    num_channels = 6

    def sample(self, num_rays: int, generator: torch.Generator) -> RayBatch:
        batch = super().sample(num_rays, generator)
        second = bool(torch.rand((), generator=generator) < 0.5)
        conditions = 0.5 + torch.rand(num_rays, 1, generator=generator)
        bright = torch.rand(num_rays, 1, generator=generator) < 0.1
        noisy = 2 * conditions * torch.where(bright, 6.0, 0.444)
        colors = noisy if second else torch.full((num_rays, 1), 0.2)
        return replace(
            batch,
            targets=colors.expand(num_rays, 3) * batch.opacity[:, None],
            conditions=conditions,
            first_channel=3 if second else 0,
            distance=distances(batch),
        )


def distances(batch: RayBatch) -> Tensor:
    """Where rays enter the ball, 0 for those that miss it."""
    origins = batch.rays.origins - 0.5
    along = -(origins * batch.rays.directions).sum(dim=1)
    inside = along**2 - (origins**2).sum(dim=1) + RADIUS**2
    return (along - inside.clamp(min=0).sqrt()).where(inside > 0, 0.0)


def lit_field() -> RadianceField:
    spec = field_spec(
        FieldSettings(sh_degree=4, reflection_degree=0, grid=GRID, width=32),
        num_channels=6,
        cascades=1,
        radiance="exp",
        num_conditions=1,
    )
    return RadianceField(spec, torch.Generator().manual_seed(0))


def test_lights_are_learnt_one_at_a_time_and_conditions_count(tmp_path):
    """Each light's radiance is the mean of what was seen of it."""
    run = new_run(tmp_path)
    settings = settings_for(
        400, samples_per_step=4096, distance_weight=10.0, distance_fade=0.5, relative_power=2.0
    )
    train_ball(run, settings, source=LitBall(), field=lit_field())
    scene = load_for_rendering(run, CPU)
    batch = LitBall().sample(2000, torch.Generator().manual_seed(99))
    means = []
    for condition in (0.7, 1.3):
        seen = scene.renderer.render(
            scene.field,
            batch.rays,
            background=torch.zeros(2000, 6),
            jitter=torch.full((2000,), 0.5),
            conditions=torch.full((2000, 1), condition),
        )
        inside = batch.distance > 0
        assert seen.opacity[inside].mean() > 0.9
        means.append(seen.values[inside].mean(0))
    assert torch.cat([mean[:3] for mean in means]).tolist() == pytest.approx([0.2] * 6, rel=0.1)
    dim, bright = means[0][3:], means[1][3:]
    assert (0.5 * (dim + bright)).tolist() == pytest.approx([2.0] * 3, rel=0.15)
    assert (bright > 1.2 * dim).all()  # 1.3 / 0.7 in the end; by now 1.3 to 1.5


def test_distances_harden_a_surface(tmp_path):
    """A ball of one colour may be hollow or deep for all that its colour says."""
    away = []
    for weight in (0.0, 100.0):
        run = new_run(tmp_path / str(weight))
        settings = settings_for(150, distance_weight=weight, distance_fade=0.5)
        train_ball(run, settings, source=LitBall(), field=lit_field())
        scene = load_for_rendering(run, CPU)
        batch = LitBall().sample(2000, torch.Generator().manual_seed(99))
        seen = scene.renderer.render(
            scene.field,
            batch.rays,
            background=torch.zeros(2000, 6),
            jitter=torch.full((2000,), 0.5),
            conditions=batch.conditions,
        )
        inside = batch.distance > 0
        away.append((seen.distance - batch.distance)[inside].abs().mean())
    assert away[1] < 0.5 * away[0]


def test_rays_without_room_do_not_bring_more_rays() -> None:
    """Where few rays fit, as many as do are what is aimed at; else their survivors decide."""
    plan = plan_step(TrainingSettings(samples_per_step=1000), 100, 0.5, CPU)
    survivors, num_rays = 8.0, 125
    for _ in range(100):
        num_rays = rays_for(survivors, plan)
        fitting = min(num_rays, 60)
        outcome = StepOutcome(
            loss=0.0,
            squared_error=0.0,
            num_rays=num_rays,
            num_fitting=fitting,
            num_samples=4 * fitting,
            num_samples_marched=400 * fitting,
        )
        survivors = observed_survivors(survivors, outcome, plan)
    assert 55 <= num_rays <= 90
    for _ in range(100):
        num_rays = rays_for(survivors, plan)
        outcome = replace(
            outcome, num_rays=num_rays, num_fitting=num_rays, num_samples=4 * num_rays
        )
        survivors = observed_survivors(survivors, outcome, plan)
    assert num_rays == pytest.approx(1000 / 4, rel=0.02)
