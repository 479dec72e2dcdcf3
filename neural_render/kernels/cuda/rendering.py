"""Rendering in one op on the GPU: march, densities in waves, survivors, colours, compositing.

Rays end where their light does: densities are found for a few samples of each ray, then for some
more of those that are still alive, so that what is hidden is not asked for.

Where a loss has room for a known number of samples (see ``LossSpec``) nobody waits for the device:
all counts stay there, and kernels do nothing behind them. Else buffers just hold their samples.
"""

from dataclasses import dataclass, replace

import torch
import triton.language as tl
from torch import Tensor

from neural_render.kernels.autograd import HashEncode, Mlp
from neural_render.kernels.cuda.compositing import (
    composite,
    composite_backward,
    gathered,
    summed,
)
from neural_render.kernels.cuda.encoding import all_places, encode, no_places
from neural_render.kernels.cuda.fields import (
    features_at,
    find_densities,
    new_features,
    places_on_rays,
    query_samples,
    query_samples_backward,
    samples_on_rays,
    some_of,
)
from neural_render.kernels.cuda.marching import LightFront, TooManySamples, march_whole
from neural_render.kernels.cuda.programs.fields import Asked, Features
from neural_render.kernels.cuda.programs.grids import Places
from neural_render.kernels.records import (
    ColorTargets,
    Composited,
    FieldParameters,
    PackedSamples,
    RenderGradients,
    RenderInputs,
    RenderLoss,
    RenderOutput,
)
from neural_render.kernels.reference.field import FieldParts
from neural_render.kernels.reference.rendering import (
    loss_through,
    midpoints,
    output_of,
    sample_points,
)
from neural_render.kernels.specs import MARCHED_ROOM, LossSpec, RenderSpec

PARTS = FieldParts(hash_encode=HashEncode.apply, mlp=Mlp.apply)  # of the backend in use
# Samples of a ray that have been asked for their density when light is followed again.
WAVES = (32, 128)
PICTURE_WAVES = (12, 32, 96, 256)  # where nothing but the picture is asked for
# Of a picture, whose launches cost more than its memory: where they have too many samples they are
# rendered in pieces.
RAYS_AT_ONCE = 1 << 21
MOST_MARCHED = 1 << 25  # samples that are in memory together then: about 100 bytes each
ALIGNED = 64  # rays: whatever is known of each, so many take a multiple of 16 bytes


@dataclass(frozen=True, kw_only=True)
class Lit:
    """The samples that light reaches, ``[survivors]`` each, and what is known of them."""

    samples: PackedSamples
    place: tuple[Tensor, Tensor]  # points and footprints
    features: Features
    density: Tensor
    num_marched: Tensor
    fits: Tensor  # which rays found room (see ``LossSpec``)


def render_rays(
    inputs: RenderInputs, parameters: FieldParameters, spec: RenderSpec, keep: bool
) -> tuple[RenderOutput, PackedSamples | None]:
    """See ``ops.render_rays``; keeps the surviving samples for the backward pass if ``keep``."""
    try:
        most = 0 if keep else MOST_MARCHED
        lit = _surviving(inputs, parameters, spec, most=most)
    except TooManySamples as error:
        return _in_pieces(inputs, parameters, spec, 1 + error.count // MOST_MARCHED), None
    survivors = lit.samples
    min_weight = 0.0 if keep else spec.min_weight
    if min_weight > 0.0:
        density = _stopped(lit.density, survivors, spec.march.min_transmittance)
        lit = replace(lit, density=density)
        seen, num_asked = _gathered_colors(inputs, parameters, spec, lit)
    else:
        density, radiance = _colors(inputs, parameters, spec, lit)
        seen = composite(density, radiance, survivors, inputs.background)
        num_asked = survivors.count
    return output_of(seen, lit.num_marched, num_asked), survivors if keep else None


def _in_pieces(
    inputs: RenderInputs, parameters: FieldParameters, spec: RenderSpec, pieces: int
) -> RenderOutput:
    """What rays see, some of them at a time."""
    found: list[RenderOutput] = []
    for here in slices_of(len(inputs.rays), max(2, pieces)):
        part = RenderInputs(
            rays=inputs.rays[here],
            jitter=inputs.jitter[here],
            background=inputs.background[here],
            conditions=inputs.conditions[here],
            occupancy=inputs.occupancy,
        )
        found.append(render_rays(part, parameters, spec, False)[0])
    return RenderOutput(
        values=torch.cat([each.values for each in found]),
        opacity=torch.cat([each.opacity for each in found]),
        distance=torch.cat([each.distance for each in found]),
        distortion=torch.cat([each.distortion for each in found]),
        num_marched=torch.stack([each.num_marched for each in found]).sum(),
        num_survived=torch.stack([each.num_survived for each in found]).sum(),
    )


def slices_of(count: int, pieces: int) -> list[slice]:
    """At most so many pieces (2 or more) of alike many rays, where there are two rays or more.

    Large ones begin where Triton takes their addresses for aligned: it would compile all kernels
    once more for those that are not.
    """
    size = -(-count // pieces)
    if size > ALIGNED:
        size += -size % ALIGNED
    return [slice(start, start + size) for start in range(0, count, size)]


def _colors(
    inputs: RenderInputs, parameters: FieldParameters, spec: RenderSpec, lit: Lit
) -> tuple[Tensor, Tensor]:
    """The density and the radiance of all that is lit."""
    samples = samples_on_rays(lit.place, lit.samples.ray_index, inputs, spec.field)
    return query_samples(Asked(samples, lit.features), parameters, spec.field, lit.samples.count)


def _surviving(
    inputs: RenderInputs,
    parameters: FieldParameters,
    spec: RenderSpec,
    room: int = 0,
    most: int = 0,
) -> Lit:
    """The samples before which enough light is left; ``room``: see ``LossSpec``, ``most``:
    ``march_whole``."""
    marched, fits = march_whole(
        inputs.rays, inputs.jitter, inputs.occupancy, spec.march, MARCHED_ROOM * room, most
    )
    field, density = spec.field, torch.zeros_like(marched.t_near)
    asked = torch.zeros_like(marched.count)
    points, footprint = places_on_rays(marched, inputs)
    features = new_features(len(points), parameters, field)
    front, first = LightFront(marched, spec.march.min_transmittance), 0
    for last in (*(PICTURE_WAVES if most else WAVES), spec.march.max_samples_per_ray):
        if last <= first:
            break
        index, count = front.next_samples(first, last, wait=not room)
        if not len(index):
            break
        wave = Places(points, footprint, index, tl.constexpr(True))
        encode(wave, parameters.table, field.grid, count, features.stored)
        find_densities(some_of(features, index), count, parameters, field, density)
        front.advance(density, first, last)
        asked, first = asked + count, last
    survivors, index, kept = front.survivors(room)
    return Lit(
        samples=survivors,
        place=(points[index], footprint[index]),
        features=some_of(features, index),
        density=density[index],
        num_marched=asked,
        fits=fits & kept,
    )


def _stopped(density: Tensor, survivors: PackedSamples, min_transmittance: float) -> Tensor:
    """The density, infinite at the last survivor of a ray that leaves too little light."""
    front = LightFront(survivors, min_transmittance)
    longest = int(front.numbers.max()) if len(front.numbers) else 0
    front.advance(density, 0, longest)
    left = torch.exp(-front.light.depth)
    ended = (left < min_transmittance) & (front.numbers > 0)
    last = (survivors.offsets[1:] - 1)[ended]
    return density.index_fill(0, last, torch.inf)


def _gathered_colors(
    inputs: RenderInputs, parameters: FieldParameters, spec: RenderSpec, lit: Lit
) -> tuple[Composited, Tensor]:
    """What rays see with a colour for every ``min_weight``, and how many colours that takes."""
    survivors, density = lit.samples, lit.density
    no_radiance = density.new_zeros(len(density), inputs.background.shape[1])
    seen = composite(density, no_radiance, survivors, inputs.background)
    shares = gathered(seen.weights, survivors, spec.min_weight)
    asked = shares.nonzero()[:, 0]
    points, footprint = lit.place
    place = points[asked], footprint[asked]
    samples = samples_on_rays(place, survivors.ray_index[asked], inputs, spec.field)
    features = some_of(lit.features, lit.features.place[asked])
    _, radiance = query_samples(Asked(samples, features), parameters, spec.field)
    # Behind the composited background, which stands in ``values`` already; in the order of samples.
    given = torch.zeros_like(no_radiance)
    given[asked] = shares[asked, None] * radiance
    values = seen.values + summed(given, survivors)
    count = torch.full_like(survivors.count, len(asked))
    return Composited(**{**vars(seen), "values": values}), count


def render_rays_backward(
    to_output: RenderOutput,
    inputs: RenderInputs,
    parameters: FieldParameters,
    spec: RenderSpec,
    saved: PackedSamples | None,
    rays_too: bool,
) -> RenderGradients:
    """Gradients to all inputs and parameters, the table's factored, the rays' only if wanted."""
    if saved is None:
        lit = _surviving(inputs, parameters, spec)
    else:
        lit = _lit_again(inputs, parameters, spec, saved)
    outputs = _colors(inputs, parameters, spec, lit)
    return _gradients((inputs, parameters, spec), lit, outputs, to_output, rays_too)


def _lit_again(
    inputs: RenderInputs, parameters: FieldParameters, spec: RenderSpec, survivors: PackedSamples
) -> Lit:
    """Samples that are known to be lit."""
    place = sample_points(inputs, survivors)
    return Lit(
        samples=survivors,
        place=place,
        features=features_at(all_places(*place), parameters, spec.field),
        density=torch.zeros_like(survivors.t_near),
        num_marched=survivors.count,
        fits=no_places(survivors.t_near),
    )


def _gradients(
    problem: tuple[RenderInputs, FieldParameters, RenderSpec],
    lit: Lit,
    outputs: tuple[Tensor, Tensor],
    to_output: RenderOutput,
    rays_too: bool,
    near_fade: float = 0.0,
) -> RenderGradients:
    """As ``render_rays_backward`` gives them, given the density and the radiance of what is lit;
    ``near_fade``: see ``LossSpec``."""
    (inputs, parameters, spec), survivors = problem, lit.samples
    samples = samples_on_rays(lit.place, survivors.ray_index, inputs, spec.field)
    to_seen = Composited(
        values=to_output.values,
        opacity=to_output.opacity,
        distance=to_output.distance,
        distortion=to_output.distortion,
        weights=torch.zeros_like(outputs[0]),
    )
    to_density, to_radiance, to_background = composite_backward(
        to_seen, *outputs, survivors, inputs.background
    )
    distance = midpoints(survivors)
    if near_fade > 0.0:
        flowing = (distance / near_fade).clamp(max=1.0).square()
        to_density, to_radiance = to_density * flowing, to_radiance * flowing[:, None]
    inputs_too = rays_too or spec.field.num_conditions > 0
    to_points, to_directions, to_conditions, factored, *to_weights = query_samples_backward(
        Asked(samples, lit.features),
        parameters,
        spec.field,
        (to_density, to_radiance),
        outputs,
        inputs_too,
        survivors.count,
    )
    to_rays = [torch.zeros_like(inputs.rays.origins)] * 2
    if rays_too:
        turned = to_directions + to_points * distance[:, None]
        to_rays = [summed(to_points, survivors), summed(turned, survivors)]
    return RenderGradients(
        origins=to_rays[0],
        directions=to_rays[1],
        background=to_background,
        conditions=_of_conditions(to_conditions, survivors, inputs.conditions),
        table=factored,
        density_weights=to_weights[0],
        color_weights=to_weights[1],
    )


def _of_conditions(of_samples: Tensor, survivors: PackedSamples, like: Tensor) -> Tensor:
    return summed(of_samples, survivors) if like.shape[1] else torch.zeros_like(like)


@torch.no_grad()
def render_loss(
    inputs: RenderInputs,
    targets: ColorTargets,
    parameters: FieldParameters,
    specs: tuple[RenderSpec, LossSpec],
    rays_too: bool,
) -> tuple[RenderLoss, RenderGradients]:
    """See ``ops.render_loss``; also all gradients, to rays only if ``rays_too``."""
    problem, room = (inputs, parameters, specs[0]), specs[1].room
    lit = _surviving(*problem, room)
    outputs = _colors(*problem, lit)
    seen = composite(*outputs, lit.samples, inputs.background)

    def back(to_output: RenderOutput) -> RenderGradients:
        return _gradients(problem, lit, outputs, to_output, rays_too, specs[1].near_fade)

    passes = (seen, lit.samples, lit.num_marched), back
    fits = lit.fits
    if not room:
        return loss_through(passes, inputs, targets, parameters, specs, rays_too, PARTS)
    num_fitting = fits.sum()
    share = len(fits) / num_fitting.clamp(min=1)
    counted = replace(targets, weights=targets.weights * fits * share)
    found, gradients = loss_through(passes, inputs, counted, parameters, specs, rays_too, PARTS)
    # What is not known is average.
    mean = (found.squared * fits).sum() / num_fitting.clamp(min=1)
    squared = found.squared.where(fits, mean)
    return replace(found, squared=squared, num_fitting=num_fitting), gradients
