"""Photos with sparse points are trained with them unless something else is asked for."""

from dataclasses import replace
from pathlib import Path

import pytest

from neural_render.captures.photos import PhotoSource
from neural_render.captures.sparse_distances import SurveyedPhotos
from neural_render.training.films.surveying import surveyed
from neural_render.training.settings import TrainingSettings
from tests.captures.test_sparse_distances import points_on_ball
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
    found, settings = surveyed(source, capture, TrainingSettings(distance_weight=stated))
    assert (settings.distance_weight, settings.distance_fade) == (used, 0.0)
    assert isinstance(found, SurveyedPhotos) == (used > 0)
    assert used > 0 or found is source
