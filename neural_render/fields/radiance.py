"""The radiance field of Instant-NGP (Mueller et al. 2022): hash grid and two small networks."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neural_render.core.lenses.latlong import look_up
from neural_render.kernels import ops
from neural_render.kernels.records import FieldInputs, FieldParameters
from neural_render.kernels.specs import FieldSpec, MlpSpec

TABLE_BOUND = 1e-4  # Mueller et al. 2022, section 4
# The far picture is a sum of pictures, each with a fraction of the rows of the one before: what no
# photo shows is as it is around there.
FAR_PICTURES, FAR_SHRINK = 3, 4


class RadianceField(nn.Module):
    """Density and radiance from position, direction and conditions; owns its parameters."""

    def __init__(self, spec: FieldSpec, generator: torch.Generator) -> None:
        """A fresh field on the generator's device: small features, Xavier-uniform networks."""
        super().__init__()
        self.spec = spec
        shape = (spec.grid.num_rows, spec.grid.features)
        table = torch.rand(shape, generator=generator, device=generator.device)
        self.table = nn.Parameter(table.mul_(2).sub_(1).mul_(TABLE_BOUND))
        self.density_weights = nn.Parameter(xavier_uniform(spec.density_network, generator))
        self.color_weights = nn.Parameter(xavier_uniform(spec.color_network, generator))
        if spec.far_rows:
            texels = sum(height * width for height, width in far_sizes(spec.far_rows))
            empty = torch.zeros(texels, spec.num_channels, device=generator.device)
            self.far = nn.Parameter(empty)

    @property
    def num_channels(self) -> int:
        """The number of radiance channels."""
        return self.spec.num_channels

    @property
    def parameters_record(self) -> FieldParameters:
        """The parameters as the kernels take them."""
        return FieldParameters(
            table=self.table,
            density_weights=self.density_weights,
            color_weights=self.color_weights,
        )

    def query(
        self,
        points: Float[Tensor, "samples 3"],
        directions: Float[Tensor, "samples 3"],
        conditions: Float[Tensor, "rays conditions"] | None = None,
        ray_index: Int[Tensor, " samples"] | None = None,
        footprint: Float[Tensor, " samples"] | None = None,
    ) -> tuple[Float[Tensor, " samples"], Float[Tensor, "samples channels"]]:
        """Density and radiance; differentiable in parameters, points, directions, conditions."""
        if conditions is None:
            assert self.spec.num_conditions == 0, "this field wants conditions"
            conditions = points.new_zeros((1, 0))
            ray_index = None
        if ray_index is None:
            ray_index = torch.zeros(points.shape[0], dtype=torch.int64, device=points.device)
        inputs = FieldInputs(
            points=points,
            directions=directions,
            conditions=conditions,
            ray_index=ray_index,
            footprint=points.new_zeros(points.shape[0]) if footprint is None else footprint,
        )
        return ops.query_field(inputs, self.parameters_record, self.spec)

    def density(
        self, points: Float[Tensor, "samples 3"], footprint: Float[Tensor, " samples"] | None = None
    ) -> Float[Tensor, " samples"]:
        """Density per field unit; differentiable in parameters and points."""
        return ops.query_density(points, self.parameters_record, self.spec, footprint)

    @property
    def has_far(self) -> bool:
        """Whether it knows what is farther than all samples."""
        return self.spec.far_rows > 0

    def far_parameters(self) -> dict[str, Tensor]:
        """The parameters of ``far_radiance``."""
        return {"far": self.far}

    def far_radiance(self, directions: Float[Tensor, "rays 3"]) -> Float[Tensor, "rays channels"]:
        """What is farther than all samples; differentiable in parameters and directions."""
        sizes = far_sizes(self.spec.far_rows)
        parts = self.far.split([height * width for height, width in sizes])
        values = [
            look_up(part.view(height, width, -1), directions)
            for part, (height, width) in zip(parts, sizes, strict=True)
        ]
        assert self.spec.radiance == "sigmoid", "scenes have environments"
        return torch.stack(values).sum(0).sigmoid()

    def fused_view(self) -> tuple[FieldSpec, FieldParameters]:
        """What the fused ops of ``kernels`` need."""
        return self.spec, self.parameters_record


def far_sizes(rows: int) -> tuple[tuple[int, int], ...]:
    """Rows and columns of the pictures whose sum is the far one, finest first."""
    heights = [max(2, rows // FAR_SHRINK**i) for i in range(FAR_PICTURES)]
    return tuple((height, 2 * height) for height in heights)


def xavier_uniform(spec: MlpSpec, generator: torch.Generator) -> Float[Tensor, " weights"]:
    """Fresh weights, each layer uniform in +-sqrt(6 / (inputs + outputs)) (Glorot, Bengio 2010)."""
    layers = []
    for outputs, inputs in spec.layer_shapes:
        bound = math.sqrt(6.0 / (inputs + outputs))
        uniform = torch.rand(outputs * inputs, generator=generator, device=generator.device)
        layers.append((2 * uniform - 1) * bound)
    return torch.cat(layers)
