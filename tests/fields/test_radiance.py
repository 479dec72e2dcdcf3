import math

import pytest
import torch

from neural_render.core.protocols import Field
from neural_render.fields import FieldSettings, GridSettings, RadianceField, field_spec
from neural_render.fields.radiance import xavier_uniform
from neural_render.kernels import dispatch
from neural_render.kernels.specs import FieldSpec, MlpSpec


def small_spec(num_conditions: int = 0) -> FieldSpec:
    grid = GridSettings(levels=3, log2_rows=8, coarsest=4, finest=16)
    return field_spec(
        FieldSettings(grid=grid, width=16, sh_degree=2),
        num_channels=3,
        cascades=1,
        radiance="sigmoid",
        num_conditions=num_conditions,
    )


def small_field(num_conditions: int = 0, seed: int = 0) -> RadianceField:
    return RadianceField(small_spec(num_conditions), torch.Generator().manual_seed(seed))


def samples(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(9)
    points = torch.rand((number, 3), generator=generator)
    directions = torch.randn((number, 3), generator=generator)
    return points, torch.nn.functional.normalize(directions, dim=-1)


def test_one_seed_gives_one_field() -> None:
    one, same, other = small_field(), small_field(), small_field(seed=1)
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter, same.get_parameter(name))
        assert not torch.equal(parameter, other.get_parameter(name))


def test_table_starts_small_and_uniform() -> None:
    table = small_field().table.detach()
    assert table.abs().max() <= 1e-4 and table.abs().max() > 0.99e-4
    assert table.std().item() == pytest.approx(1e-4 / math.sqrt(3), rel=0.05)
    assert table.mean().abs() < 1e-5


def test_networks_start_xavier_uniform_layer_by_layer() -> None:
    spec = MlpSpec(inputs=32, width=64, hidden_layers=2, outputs=3)
    weights = xavier_uniform(spec, torch.Generator().manual_seed(0))
    assert len(weights) == spec.num_weights
    for (outputs, inputs), layer in zip(
        spec.layer_shapes,
        weights.split([outputs * inputs for outputs, inputs in spec.layer_shapes]),
        strict=True,
    ):
        bound = math.sqrt(6 / (inputs + outputs))
        assert 0.97 * bound < layer.abs().max() <= bound
        assert layer.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_fresh_fields_are_equally_thin_for_any_number_of_cascades() -> None:
    points, _ = samples(100)
    for cascades in (1, 3):
        spec = field_spec(
            FieldSettings(grid=GridSettings(log2_rows=8)),
            num_channels=3,
            cascades=cascades,
            radiance="sigmoid",
        )
        field = RadianceField(spec, torch.Generator().manual_seed(0))
        torch.testing.assert_close(field.density(points), torch.ones(100), atol=0.01, rtol=0)


def test_automatic_grid_grows_with_the_scene() -> None:
    def finest(cascades: int, **grid: int) -> int:
        settings = FieldSettings(grid=GridSettings(**grid))
        spec = field_spec(settings, num_channels=3, cascades=cascades, radiance="exp")
        return spec.grid.finest

    assert (finest(1), finest(4)) == (2048, 16384)
    assert finest(4, finest=512) == 512
    assert finest(1, coarsest=4096) == 4096


def test_settings_become_the_spec() -> None:
    settings = FieldSettings(grid=GridSettings(hash="xor", log2_rows=15, features=4), width=32)
    spec = field_spec(settings, num_channels=6, cascades=1, radiance="exp")
    assert (spec.grid.hash, spec.grid.log2_rows, spec.grid.features) == ("xor", 15, 4)
    assert (spec.width, spec.num_channels, spec.radiance) == (32, 6, "exp")
    unstated = field_spec(FieldSettings(), num_channels=3, cascades=1, radiance="exp")
    assert unstated.grid.log2_rows == 19


def test_a_finest_level_below_the_coarsest_is_refused() -> None:
    settings = FieldSettings(grid=GridSettings(coarsest=64, finest=32))
    with pytest.raises(ValueError, match=r"finest=32 is less than field\.grid\.coarsest=64: give"):
        field_spec(settings, num_channels=3, cascades=1, radiance="exp")


def test_normals_want_latent_values() -> None:
    """Three of them, beside the density."""
    fitting = FieldSettings(latent=4, reflection_degree=2)
    spec = field_spec(fitting, num_channels=3, cascades=1, radiance="exp")
    assert (spec.reflection_degree, spec.num_reflected) == (2, 5)
    with pytest.raises(ValueError, match=r"field\.latent=3: give more, or field"):
        field_spec(
            FieldSettings(latent=3, reflection_degree=2),
            num_channels=3,
            cascades=1,
            radiance="exp",
        )


def test_density_is_that_of_the_query() -> None:
    field = small_field()
    points, directions = samples(50)
    density, radiance = field.query(points, directions)
    torch.testing.assert_close(density, field.density(points))
    assert radiance.shape == (50, field.num_channels)
    assert (radiance > 0).all() and (radiance < 1).all()


def test_everything_is_differentiable() -> None:
    with dispatch.using("reference"):
        field = small_field(num_conditions=2)
        points, directions = (tensor.requires_grad_() for tensor in samples(20))
        conditions = torch.rand((4, 2), requires_grad=True)
        density, radiance = field.query(points, directions, conditions, torch.arange(20) % 4)
        (density.sum() + radiance.square().sum()).backward()
    for tensor in (points, directions, conditions, *field.parameters()):
        assert tensor.grad is not None and tensor.grad.abs().max() > 0


def test_conditions_change_the_colour_and_not_the_density() -> None:
    field = small_field(num_conditions=2)
    points, directions = samples(10)
    dark, bright = (
        field.query(points, directions, torch.full((1, 2), value), torch.zeros(10).long())
        for value in (-2.0, 2.0)
    )
    assert torch.equal(dark[0], bright[0])
    assert not torch.allclose(dark[1], bright[1])


def test_wanted_conditions_are_missed() -> None:
    with pytest.raises(AssertionError, match="this field wants conditions"):
        small_field(num_conditions=2).query(*samples(3))


def test_fused_view_shares_the_parameters() -> None:
    field = small_field()
    spec, parameters = field.fused_view()
    assert spec is field.spec and parameters.table is field.table
    described: Field = field
    assert described.num_channels == 3


def test_state_dict_restores_the_field() -> None:
    one, other = small_field(), small_field(seed=1)
    other.load_state_dict(one.state_dict())
    points, directions = samples(10)
    torch.testing.assert_close(other.query(points, directions), one.query(points, directions))
