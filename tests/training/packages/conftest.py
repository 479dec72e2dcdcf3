"""Two runs that all tests of packages share: a ball, and one with two lights and a sky."""

import pytest
import torch

from neural_render.core.lights import LightGroup, Lighting
from neural_render.export.environment import save_environment
from neural_render.fields import FieldSettings, GridSettings, RadianceField, field_spec
from neural_render.rendering.environment import EnvironmentMap
from neural_render.training.packages.making import Original
from tests.training.packages.balls import near_the_ball, with_cameras
from tests.training.problems import StripedBall, new_run, settings_for, tiny_field, train_ball

LIGHTING = Lighting(
    groups=(
        LightGroup(name="key", color=(2.0, 1.0, 0.5), scale=0.5),
        LightGroup(name="Küche, links", color=(0.0, 0.0, 0.0), scale=2.0),
    ),
    exposure=0.5,
)


class LitBall(StripedBall):
    """Rays that show one of two lights at a time."""

    num_channels = 6

    def look(self, origins, aims):
        from dataclasses import replace

        batch = super().look(origins, aims)
        return replace(batch, targets=torch.cat([batch.targets, batch.targets.flip(1)], dim=1))


@pytest.fixture(scope="session")
def ball(tmp_path_factory: pytest.TempPathFactory) -> Original:
    """A trained ball."""
    run = new_run(tmp_path_factory.mktemp("ball"))
    field = tiny_field(grid=GridSettings(levels=6, log2_rows=12, finest=100))
    train_ball(run, settings_for(60), field=field, renderer=near_the_ball())
    return with_cameras(run)


@pytest.fixture(scope="session")
def lit(tmp_path_factory: pytest.TempPathFactory) -> Original:
    """A ball under two lights, of which one is out, before a sky that is too bright for float16."""
    run = new_run(tmp_path_factory.mktemp("lit"))
    settings = FieldSettings(grid=GridSettings(levels=4, log2_rows=10, finest=64), width=32)
    spec = field_spec(settings, num_channels=6, cascades=1, radiance="exp")
    field = RadianceField(spec, torch.Generator().manual_seed(0))
    asked = settings_for(20)
    train_ball(
        run, asked, source=LitBall(), field=field, lighting=LIGHTING, renderer=near_the_ball()
    )
    sky = EnvironmentMap(picture=1e5 * torch.rand(4, 8, 3), world_from_environment=torch.eye(3))
    save_environment(run.path, sky)
    return with_cameras(run)
