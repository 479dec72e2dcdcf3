"""One renderer for every field: rays in, colour, opacity and distance out."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neural_render.core.cameras import Cameras
from neural_render.core.projection import IDENTITY_PROJECTION, Projection
from neural_render.core.protocols import Field, SceneFrame, knows_far
from neural_render.core.rays import Rays
from neural_render.kernels import ops
from neural_render.kernels.records import (
    ColorTargets,
    FactoredGradient,
    FieldParameters,
    InputGradients,
    RenderGradients,
    RenderInputs,
    RenderLoss,
    RenderOutput,
)
from neural_render.kernels.specs import FieldSpec, LossSpec, MarchSpec, RenderSpec
from neural_render.rendering.composed import render_composed
from neural_render.rendering.emptiness.carving import cells_around
from neural_render.rendering.occupancy import OccupancyGrid
from neural_render.rendering.settings import (
    PICTURE_MIN_TRANSMITTANCE,
    PICTURE_MIN_WEIGHT,
    RenderingSettings,
    march_spec,
)

LEAST_POINTS = 200  # that a scene is begun around


class Renderer:
    """Integrates any field along rays through occupied space.

    It holds no parameters: a field, its rays and an occupancy grid determine what comes out.
    """

    def __init__(
        self,
        march: MarchSpec,
        occupancy: OccupancyGrid,
        *,
        antialias: bool = False,
        min_weight: float = 0.0,
        projection: Projection = IDENTITY_PROJECTION,
        blur: float = 0.0,
    ) -> None:
        """A renderer; without ``antialias`` the rays' footprints are taken for zero.

        ``min_weight``: see ``RenderSpec``. ``projection``: see ``SceneFrame``; steps, cells and
        the field are those of its cube, where there is no anti-aliasing. ``blur`` is a footprint
        that all rays have beside their own: levels of the grid that are finer fade out.
        """
        assert march.cascades == occupancy.cascades, "march and occupancy differ in cascades"
        self.march, self.occupancy, self.antialias = march, occupancy, antialias
        self.min_weight, self.projection, self.blur = min_weight, projection, blur

    def in_cube(self) -> "Renderer":
        """A renderer of the same scene whose rays are images under the projection already."""
        return Renderer(self.march, self.occupancy, antialias=self.antialias, blur=self.blur)

    def blurred(self, blur: float) -> "Renderer":
        """A renderer of the same scene whose rays are wider by ``blur`` per unit of distance."""
        return Renderer(
            self.march,
            self.occupancy,
            antialias=self.antialias,
            projection=self.projection,
            blur=blur,
        )

    def for_pictures(self) -> "Renderer":
        """A renderer of the same scene that asks for fewer colours, of which no eye sees anything.

        Where a field has no fused view its pictures are exact.
        """
        return Renderer(
            self.march,
            self.occupancy,
            antialias=self.antialias,
            min_weight=PICTURE_MIN_WEIGHT,
            projection=self.projection,
        )

    def render(
        self,
        field: Field,
        rays: Rays,
        *,
        background: Float[Tensor, "rays channels"],
        jitter: Float[Tensor, " rays"],
        conditions: Float[Tensor, "rays conditions"] | None = None,
        sink: ops.TableGradientSink | None = None,
        step_scale: float = 1.0,
    ) -> RenderOutput:
        """What ``rays`` (field frame) see; differentiable as ``ops.render_rays`` says.

        Behind a field that knows what is far is that, and not ``background``. ``step_scale``
        multiplies the march step. ``sink`` receives the table's factored gradient
        where the field has a fused view; other fields leave it empty and get dense gradients.
        """
        far = far_behind(field, rays)
        if len(far):
            assert self.projection.is_identity, "nothing is farther than a projection's cube"
            background = far
        if self.projection.is_identity:
            inputs, march = self._problem(rays, jitter, background, conditions, step_scale)
            return self._render(field, inputs, march, sink)
        image = self.projection.apply_to_rays(rays)
        inputs, march = self._problem(image.rays, jitter, background, conditions, step_scale)
        seen = self._render(field, inputs, march, sink)
        return replace(seen, distance=image.ray_distance(seen.distance))

    def _render(
        self,
        field: Field,
        inputs: RenderInputs,
        march: MarchSpec,
        sink: ops.TableGradientSink | None,
    ) -> RenderOutput:
        """What rays in the cube of the field see."""
        view = field.fused_view()
        if view is None:
            return render_composed(field, inputs, march)
        spec, parameters = view
        assert isinstance(spec, FieldSpec) and isinstance(parameters, FieldParameters)
        if self.min_weight:
            light = max(march.min_transmittance, PICTURE_MIN_TRANSMITTANCE)
            march = replace(march, min_transmittance=light)
        problem = RenderSpec(field=spec, march=march, min_weight=self.min_weight)
        return ops.render_rays(inputs, parameters, problem, sink)

    def loss_gradients(
        self,
        field: Field,
        rays: Rays,
        *,
        targets: ColorTargets,
        loss: LossSpec,
        jitter: Float[Tensor, " rays"],
        conditions: Float[Tensor, "rays conditions"] | None = None,
        step_scale: float = 1.0,
    ) -> tuple[RenderLoss, dict[str, Tensor | FactoredGradient], InputGradients]:
        """``ops.render_loss`` of what ``render`` gives in front of the targets' background, and
        its gradients: to the field's parameters by name, and to what else requires one.

        Where the targets are some of the field's channels nothing is spent on the others. Where
        the field has a fused view that of its table is factored and all of it is found
        without autograd. Behind a projection nothing fades: its cube begins where the nearest
        things are.
        """
        if not self.projection.is_identity:
            return self._projected_gradients(
                field, rays, targets, loss, jitter, conditions, step_scale
            )
        far = far_behind(field, rays)
        if len(far):
            targets = replace(targets, background=far.detach())
        inputs, march = self._problem(rays, jitter, targets.background, conditions, step_scale)
        view = field.fused_view()
        if view is None:
            return _composed_gradients(field, inputs, march, targets, loss)
        spec, parameters = view
        assert isinstance(spec, FieldSpec) and isinstance(parameters, FieldParameters)
        specs = RenderSpec(field=spec, march=march), loss
        rays_too = rays.origins.requires_grad or rays.directions.requires_grad
        seen, found = ops.render_loss_gradients(inputs, targets, parameters, specs, rays_too)
        to_field: dict[str, Tensor | FactoredGradient] = {
            "table": found.table,
            "density_weights": found.density_weights,
            "color_weights": found.color_weights,
        }
        to_inputs = _input_gradients(found)
        if len(far):
            assert knows_far(field)
            leaves = field.far_parameters() | {"directions": rays.directions}
            to_far = _pulled_back(far, leaves, found.background)
            turning = to_inputs.directions + to_far.pop("directions")
            to_inputs = replace(to_inputs, directions=turning) if rays_too else to_inputs
            to_field |= to_far
        return seen, to_field, to_inputs

    def _projected_gradients(
        self,
        field: Field,
        rays: Rays,
        targets: ColorTargets,
        loss: LossSpec,
        jitter: Float[Tensor, " rays"],
        conditions: Float[Tensor, "rays conditions"] | None,
        step_scale: float,
    ) -> tuple[RenderLoss, dict[str, Tensor | FactoredGradient], InputGradients]:
        """``loss_gradients`` of the rays' images in the cube."""
        image = self.projection.apply_to_rays(rays)
        targets = replace(targets, distance=image.image_distance(targets.distance).detach())
        seen, to_field, to_inputs = self.in_cube().loss_gradients(
            field,
            image.rays,
            targets=targets,
            loss=replace(loss, near_fade=0.0),
            jitter=jitter,
            conditions=conditions,
            step_scale=step_scale,
        )
        return seen, to_field, _before_projection(rays, image.rays, to_inputs)

    def _problem(
        self,
        rays: Rays,
        jitter: Float[Tensor, " rays"],
        background: Float[Tensor, "rays channels"],
        conditions: Float[Tensor, "rays conditions"] | None,
        step_scale: float,
    ) -> tuple[RenderInputs, MarchSpec]:
        """What the kernels take: footprints only if they count, and steps of the scale."""
        if not self.antialias:
            rays = replace(rays, footprint=torch.zeros_like(rays.footprint))
        if self.blur:
            wide = rays.footprint.new_full((), self.blur)
            rays = replace(rays, footprint=torch.hypot(rays.footprint, wide))
        inputs = RenderInputs(
            rays=rays,
            jitter=jitter,
            background=background,
            conditions=background.new_zeros((len(rays), 0)) if conditions is None else conditions,
            occupancy=self.occupancy.bits,
        )
        march = self.march
        if step_scale != 1.0:
            step = march.step * step_scale
            march = replace(march, step=step, max_step=max(step, march.max_step))
        return inputs, march

    def mark_unseen(self, cameras: Cameras, near: float) -> None:
        """Empties for good what none of ``cameras`` (field frame) sees beyond ``near``."""
        self.occupancy.mark_unseen(cameras, near, self.projection)

    def begin_around(self, points: Float[Tensor, "points 3"]) -> None:
        """Holds all cells that are not around ``points`` (field frame) until they are released.

        Few points say too little: then nothing is held. Before the first update.
        """
        images = self.projection.apply(points)
        images = images[images.isfinite().all(1)]
        if len(images) >= LEAST_POINTS:
            sides = [self.occupancy.side(cascade) for cascade in range(self.occupancy.cascades)]
            self.occupancy.hold(~cells_around(images, sides).to(self.occupancy.values.device))

    def update_occupancy(
        self,
        field: Field,
        *,
        generator: torch.Generator,
        full: bool,
        decay: float | None = None,
    ) -> None:
        """Refreshes the grid with this renderer's steps (see ``OccupancyGrid.update``)."""
        self.occupancy.update(
            field,
            step=self.march.step,
            cone_angle=self.march.cone_angle,
            generator=generator,
            full=full,
            decay=decay,
        )

    def settle_occupancy(self, field: Field, *, generator: torch.Generator) -> None:
        """Completes the grid for a field that stays as it is (see ``OccupancyGrid.settle``)."""
        self.occupancy.settle(
            field,
            step=self.march.step,
            cone_angle=self.march.cone_angle,
            generator=generator,
        )


_INPUTS = ("origins", "directions", "conditions", "gain")


def _input_tensors(inputs: RenderInputs, targets: ColorTargets) -> tuple[Tensor, ...]:
    """The tensors that `InputGradients` are about."""
    return inputs.rays.origins, inputs.rays.directions, inputs.conditions, targets.gain


def _composed_gradients(
    field: Field, inputs: RenderInputs, march: MarchSpec, targets: ColorTargets, loss: LossSpec
) -> tuple[RenderLoss, dict[str, Tensor | FactoredGradient], InputGradients]:
    """``Renderer.loss_gradients`` of a field without a fused view, by autograd."""
    inputs, targets = _requiring_gradients(inputs, targets)
    far = far_behind(field, inputs.rays)
    if len(far):
        inputs = replace(inputs, background=far)
    rendered = render_composed(field, inputs, march, targets.first_channel, loss.near_fade)
    value, squared = ops.output_loss(rendered, targets, loss)
    assert isinstance(field, nn.Module), "a field without a fused view is a module"
    named = dict(field.named_parameters())
    leaves = [*named.values(), *_input_tensors(inputs, targets)]
    found = torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True)
    seen = RenderLoss(
        loss=value.detach(),
        squared=squared,
        num_marched=rendered.num_marched,
        num_survived=rendered.num_survived,
    )
    to_inputs = dict(zip(_INPUTS, found[len(named) :], strict=True))
    return seen, dict(zip(named, found, strict=False)), InputGradients(**to_inputs)


def far_behind(field: Field, rays: Rays) -> Float[Tensor, "seen channels"]:
    """What rays (field frame) see behind everything that is sampled; of no length: nothing is known
    of it."""
    if knows_far(field):
        return field.far_radiance(rays.directions)
    return rays.directions.new_zeros(0, field.num_channels)


def _pulled_back(
    output: Tensor, leaves: Mapping[str, Tensor], to_output: Tensor
) -> dict[str, Tensor]:
    """The gradient to each leaf; zero to those that require none."""
    wanted = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    found = dict.fromkeys(leaves, torch.zeros(()))
    if wanted:
        to_wanted = torch.autograd.grad(output, list(wanted.values()), to_output, retain_graph=True)
        found |= dict(zip(wanted, to_wanted, strict=True))
    return found


def _requiring_gradients(
    inputs: RenderInputs, targets: ColorTargets
) -> tuple[RenderInputs, ColorTargets]:
    """The same as leaves of a graph."""
    origins, directions, conditions, gain = (
        tensor.detach().requires_grad_() for tensor in _input_tensors(inputs, targets)
    )
    rays = replace(inputs.rays, origins=origins, directions=directions)
    return replace(inputs, rays=rays, conditions=conditions), replace(targets, gain=gain)


def _before_projection(rays: Rays, image: Rays, gradients: InputGradients) -> InputGradients:
    """The gradient to rays, from that to their images."""
    given = [rays.origins, rays.directions]
    wanted = [tensor for tensor in given if tensor.requires_grad]
    if not wanted:
        return gradients
    found = torch.autograd.grad(
        [image.origins, image.directions],
        wanted,
        [gradients.origins, gradients.directions],
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )
    of = {id(tensor): gradient for tensor, gradient in zip(wanted, found, strict=True)}
    origins, directions = (of.get(id(x), torch.zeros_like(x)) for x in given)
    return replace(gradients, origins=origins, directions=directions)


def _input_gradients(found: RenderGradients) -> InputGradients:
    return InputGradients(
        origins=found.origins,
        directions=found.directions,
        conditions=found.conditions,
        gain=found.gain,
    )


def build_renderer(
    settings: RenderingSettings, frame: SceneFrame, device: torch.device
) -> Renderer:
    """The renderer that ``settings`` ask for in ``frame``, all space taken for occupied."""
    occupancy = OccupancyGrid(
        frame.cascades,
        device,
        threshold=settings.occupancy_threshold,
        decay=settings.occupancy_decay,
    )
    return Renderer(
        march_spec(settings, frame),
        occupancy,
        antialias=settings.antialias,
        projection=frame.projection,
    )
