"""What a visitor is shown next: coarse while moving, then finer, then nothing until something
changes."""

import math
from dataclasses import replace

import pytest
import torch

from neural_render.rendering import Image
from neural_render.viewer.pictures.drawing import Drawing
from neural_render.viewer.pictures.resolution import Costs
from neural_render.viewer.pictures.visitors import RENEWED, STILL, Job, Visitor
from neural_render.viewer.requests import COLOUR, DEPTH, NORMALS, Look, View

HERE = View(
    position=(0.0, 0.0, 0.0), quat_wxyz=(1.0, 0.0, 0.0, 0.0), fov_rad=0.7, width=800, height=600
)
THERE = replace(HERE, position=(1.0, 0.0, 0.0))
EMPTY = Drawing(
    cameras=HERE.camera(100.0),
    image=Image(color=torch.zeros(1, 1, 3), opacity=torch.zeros(1, 1), distance=torch.zeros(1, 1)),
    extra=torch.zeros(1, 1, 0),
)


def next_of(visitor: Visitor, now: float, version: int = 0) -> Job:
    job = visitor.next_job(now, version)
    assert job is not None
    return job


def finished(visitor: Visitor, now: float, version: int = 0) -> list[Job]:
    """The jobs until nothing is wanted any more."""
    jobs = []
    while job := visitor.next_job(now, version):
        jobs.append(job)
        visitor.got(job, EMPTY, version, now)
    return jobs


def arrived() -> Visitor:
    visitor = Visitor(0.1, Costs())
    visitor.pace.took(1, 1e-5)
    visitor.pace.took(1, 1e-5)
    visitor.moved(HERE, 0.0)
    return visitor


def test_before_the_first_message_there_is_nothing_to_show():
    assert Visitor(0.1, Costs()).next_job(0.0, 0) is None
    assert Visitor(0.1, Costs()).seconds_until_job(0.0, 0) == math.inf


def test_while_somebody_moves_pictures_are_coarse_and_made_whole():
    visitor = arrived()
    for step in range(5):
        visitor.moved(replace(HERE, position=(float(step), 0.0, 0.0)), 0.05 * step)
        job = next_of(visitor, 0.05 * step)
        assert job.factor > 1 and job.renders and not job.waits and not job.final
        visitor.got(job, EMPTY, 0, 0.05 * step)
        assert visitor.next_job(0.05 * step, 0) is None  # the same picture is not made twice


def test_when_somebody_stands_still_pictures_get_finer_until_they_are_whole():
    visitor = arrived()
    visitor.got(next_of(visitor, 0.0), EMPTY, 0, 0.0)
    assert visitor.next_job(0.9 * STILL, 0) is None
    assert visitor.seconds_until_job(0.0, 0) == STILL
    jobs = finished(visitor, STILL)
    factors = [job.factor for job in jobs]
    assert factors == sorted(factors, reverse=True) and factors[-1] == 1
    assert len(factors) >= 2
    assert [job.final for job in jobs] == [False] * (len(jobs) - 1) + [True]
    assert all(job.waits for job in jobs)
    assert visitor.seconds_until_job(STILL, 0) == math.inf


def test_a_machine_that_is_fast_enough_makes_one_better_picture_of_who_stands_still():
    visitor = Visitor(0.1, Costs())
    for _ in range(20):
        visitor.pace.took(10**6, 1e-3)
        visitor.pace.moving_factor(100)
    visitor.moved(replace(HERE, width=10, height=10), 0.0)
    visitor.got(next_of(visitor, 0.0), EMPTY, 0, 0.0)
    (job,) = finished(visitor, STILL)
    assert job.final and job.renders and job.waits and job.factor == 1


def test_a_picture_is_given_up_when_its_visitor_moves_on():
    visitor = arrived()
    visitor.got(next_of(visitor, 0.0), EMPTY, 0, 0.0)
    job = next_of(visitor, STILL)
    assert job.waits and not visitor.is_outdated(job)
    visitor.moved(THERE, STILL)
    assert visitor.is_outdated(job)
    assert next_of(visitor, STILL).view == THERE


def test_light_and_exposure_change_at_once_and_without_rays():
    visitor = arrived()
    finished(visitor, 0.0)
    finished(visitor, STILL)
    visitor.wants(Look(mode=COLOUR, stops=1.0), 10.0)
    job = next_of(visitor, 10.0)
    assert not job.renders and job.factor == 1 and job.final
    visitor.got(job, EMPTY, 0, 10.0)
    visitor.wants(Look(mode=DEPTH, stops=1.0), 10.0)
    assert not next_of(visitor, 10.0).renders
    visitor.wants(Look(mode=NORMALS), 10.0)
    assert next_of(visitor, 10.0).renders


def test_kinds_of_pictures_have_paces_of_their_own():
    visitor = arrived()
    usual = visitor.pace
    visitor.wants(Look(mode=NORMALS), 0.0)
    assert visitor.pace is not usual
    visitor.wants(Look(mode=DEPTH), 0.0)
    assert visitor.pace is usual


def test_what_trains_is_drawn_anew_now_and_then_and_at_once_whole():
    visitor = arrived()
    finished(visitor, 0.0)
    finished(visitor, STILL)
    assert visitor.next_job(STILL + 0.9 * RENEWED, 5) is None
    assert visitor.seconds_until_job(STILL, 5) == RENEWED
    job = next_of(visitor, STILL + RENEWED, 5)
    assert job.factor == 1 and job.final and job.renders and job.waits
    assert visitor.next_job(STILL + RENEWED, 0) is None  # what has not changed is not


def test_other_colours_do_not_make_old_rays_new():
    """Training is paused at another version: what is shown is still of the old one."""
    visitor = arrived()
    finished(visitor, 0.0)
    finished(visitor, STILL)
    visitor.wants(Look(mode=DEPTH), 2 * STILL)
    job = next_of(visitor, 2 * STILL, 5)
    assert not job.renders
    visitor.got(job, EMPTY, 5, 2 * STILL)
    assert visitor.next_job(2 * STILL, 5) is None
    assert visitor.seconds_until_job(2 * STILL, 5) == pytest.approx(RENEWED - STILL)
    job = next_of(visitor, STILL + RENEWED, 5)
    assert job.renders and job.look.mode == DEPTH
    visitor.got(job, EMPTY, 5, STILL + RENEWED)
    assert visitor.next_job(9 * RENEWED, 5) is None
