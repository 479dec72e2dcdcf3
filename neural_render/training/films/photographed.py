"""Training on photos: what suits them where the settings say nothing."""

from dataclasses import replace

from neural_render.captures.records import Capture
from neural_render.captures.sparse_distances import SurveyedPhotos, is_surveyed
from neural_render.core.protocols import RaySource
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
