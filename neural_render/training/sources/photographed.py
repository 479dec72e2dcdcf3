"""Training on photos: what suits them where the settings say nothing."""

from dataclasses import replace

import torch

from neural_render.captures.records import Capture
from neural_render.captures.sparse_distances import SurveyedPhotos, is_surveyed
from neural_render.core.protocols import RaySource
from neural_render.fields import RadianceField, field_spec
from neural_render.fields.settings import FieldSettings
from neural_render.rendering import Renderer, build_renderer
from neural_render.rendering.settings import RenderingSettings, clear_distance
from neural_render.training.randomness import generator_for
from neural_render.training.settings import TrainingSettings

SPARSE_DISTANCE_WEIGHT = 1.0
# Of photos from one side, whose cube is divided by disparity. In nested cubes all that some cameras
# see may collapse onto planes before them.
FORWARD_DISTORTION_WEIGHT = 0.02


def photographed(
    source: RaySource, capture: Capture, settings: TrainingSettings
) -> tuple[RaySource, TrainingSettings]:
    """The source with the distances of sparse points, if any are wanted, and the settings with
    what suits the capture's photos where they say nothing.

    Nothing in a photo of a plain floor says how far it is: without these, fog before each camera
    shows its photo as well.
    """
    weight, distortion = settings.distance_weight, settings.distortion_weight
    if weight < 0:
        weight = SPARSE_DISTANCE_WEIGHT if is_surveyed(capture) else 0.0
    if distortion < 0:
        forward = not capture.frame.projection.is_identity
        distortion = FORWARD_DISTORTION_WEIGHT if forward else 0.0
    settings = replace(
        settings,
        distance_weight=weight,
        distance_fade=max(0.0, settings.distance_fade),
        distortion_weight=distortion,
    )
    return SurveyedPhotos(source, capture) if weight > 0 else source, settings


def photographed_field(
    settings: FieldSettings, capture: Capture, num_conditions: int, seed: int, device: torch.device
) -> RadianceField:
    """A fresh field of what the capture's photos show, told so many numbers of each photo."""
    frame = capture.frame
    spec = field_spec(
        settings,
        num_channels=3,
        cascades=frame.cascades,
        radiance="sigmoid",
        num_conditions=num_conditions,
        has_far=frame.projection.is_identity and not capture.has_opacity,
    )
    return RadianceField(spec, generator_for(seed, 0, "initialise", device))


def photographed_renderer(
    settings: RenderingSettings, capture: Capture, device: torch.device, *, points_first: bool
) -> Renderer:
    """The renderer that begins with the space that photos saw, ``points_first`` with that around
    the capture's sparse points."""
    frame = capture.frame
    renderer = build_renderer(settings, frame, device)
    cameras = capture.train.cameras.in_frame(frame.world_from_field.inverse())
    renderer.mark_unseen(cameras, clear_distance(settings, frame))
    if points_first:
        renderer.begin_around(capture.points_in_field())
    return renderer
