"""Averaged weights against the sum that they stand for."""

import pytest
import torch
from torch import nn

from neural_render.training.ema import AveragedWeights


class Constant(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor([float(value)], dtype=torch.float64))


def test_average_weighs_the_past_by_the_decay():
    decay = 0.5
    field = Constant(1000.0)
    average = AveragedWeights(field, decay)
    assert average.interval == 1
    average.update(field, 20)
    values = [1000.0, 3.0, -1.0, 4.0]
    for step, value in enumerate(values[1:], start=21):
        field.value.data.fill_(value)
        average.update(field, step)
    wanted = 4 / 2 - 1 / 4 + 3 / 8 + 1000 / 8
    assert average.average["value"].item() == pytest.approx(wanted, rel=1e-12)


def test_early_average_forgets_the_beginning():
    field = Constant(1000.0)
    average = AveragedWeights(field, 0.999)
    field.value.data.fill_(1.0)
    average.update(field, 1)
    assert average.average["value"].item() == 1.0
    field.value.data.fill_(0.0)
    for step in range(2, 101):
        average.update(field, step)
    # Its reach is a tenth of the run: after 100 steps next to nothing of step 1 is left.
    assert average.average["value"].item() < 1e-4


def test_rare_updates_forget_as_fast_as_frequent_ones():
    often, seldom = AveragedWeights(Constant(1), 0.99), AveragedWeights(Constant(1), 0.99)
    often.last_step = seldom.last_step = 2000
    field = Constant(0)
    for step in range(2001, 2101):
        often.update(field, step)
        if step % 10 == 0:
            seldom.update(field, step)
    assert often.average["value"].item() == pytest.approx(0.99**100)
    assert seldom.average["value"].item() == pytest.approx(0.99**100)


def test_first_steps_are_all_averaged_then_one_in_ten():
    average = AveragedWeights(Constant(0), 0.99)
    assert [step for step in range(1, 41) if average.due(step)] == [*range(1, 11), 20, 30, 40]


def test_without_decay_the_average_is_the_last_value():
    field = Constant(7)
    average = AveragedWeights(field, 0.0)
    for step in (1, 2, 3):
        field.value.data.fill_(step)
        average.update(field, step)
    assert average.average["value"].item() == 3


def test_an_update_of_the_same_step_changes_nothing():
    field = Constant(1)
    average = AveragedWeights(field, 0.9)
    average.update(field, 4)
    field.value.data.fill_(100)
    average.update(field, 4)
    assert average.average["value"].item() == 1
