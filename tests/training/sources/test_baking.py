"""What a bake chooses where its settings say nothing."""

import pytest

from neural_render.training.settings import TrainingSettings
from neural_render.training.sources.baking import bake_training


@pytest.mark.parametrize(
    ("budget", "weight"),
    [
        ({"max_seconds": 30.0}, 1.0),
        ({"max_seconds": 450.0}, 10.0),
        ({"max_seconds": 900.0}, 20.0),
        ({"max_seconds": 9000.0}, 20.0),
        ({"num_steps": 45000}, 10.0),
        ({"max_seconds": 900.0, "normal_weight": 3.0}, 3.0),
        ({"max_seconds": 900.0, "normal_weight": 0.0}, 0.0),
    ],
)
def test_normals_count_for_more_in_long_bakes(budget: dict[str, float], weight: float) -> None:
    assert bake_training(TrainingSettings(**budget)).normal_weight == pytest.approx(weight)
