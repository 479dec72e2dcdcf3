"""What photos are trained with unless something else is asked for."""

from dataclasses import replace
from pathlib import Path

import pytest

from neural_render.captures.photos import PhotoSource
from neural_render.captures.sparse_distances import SurveyedPhotos
from neural_render.training.settings import TrainingSettings
from neural_render.training.sources.photographed import photographed
from neural_render.training.step import loss_spec
from tests.captures.placement.test_sparse_distances import points_on_ball
from tests.rendering.test_projected import PROJECTION
from tests.training.cameras.photographs import open_tiny


@pytest.mark.parametrize(
    ("points", "stated", "used"),
    [(True, -1.0, 1.0), (True, 0.0, 0.0), (True, 3.0, 3.0), (False, -1.0, 0.0)],
)
def test_points_count_where_there_are_some(
    points: bool, stated: float, used: float, tmp_path: Path
) -> None:
    capture = open_tiny(tmp_path)
    if points:
        capture = replace(capture, points=points_on_ball(capture))
    source = PhotoSource(capture)
    found, settings = photographed(source, capture, TrainingSettings(distance_weight=stated))
    assert (settings.distance_weight, settings.distance_fade) == (used, 0.0)
    assert isinstance(found, SurveyedPhotos) == (used > 0)
    assert used > 0 or found is source


@pytest.mark.parametrize(
    ("forward", "stated", "used"),
    [(False, -1.0, 0.0), (True, -1.0, 0.02), (False, 0.5, 0.5), (True, 0.0, 0.0)],
)
def test_what_is_seen_from_one_side_is_drawn_together(
    forward: bool, stated: float, used: float, tmp_path: Path
) -> None:
    capture = open_tiny(tmp_path)
    if forward:
        capture = replace(capture, frame=replace(capture.frame, projection=PROJECTION))
    given = TrainingSettings(distortion_weight=stated)
    _, settings = photographed(PhotoSource(capture), capture, given)
    assert settings.distortion_weight == used


@pytest.mark.parametrize("side", [1.0, 0.25])
def test_distances_count_in_sides_of_the_cube_of_interest(side: float) -> None:
    """Twice as many world units a side: the same loss."""
    spec = loss_spec(TrainingSettings(distortion_weight=0.02, near_fade=0.5), "srgb", side=side)
    assert (spec.distortion_weight, spec.near_fade) == (0.02 / side, 0.5 * side)
    assert loss_spec(TrainingSettings(), "linear", side=side).distortion_weight == 0
