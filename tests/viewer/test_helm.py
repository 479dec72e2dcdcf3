"""Who steers a visitor's camera."""

from dataclasses import replace

import pytest

from neural_render.viewer.flight import Flight
from neural_render.viewer.page.helm import ARRIVAL, Helm
from neural_render.viewer.requests import pose_view
from tests.viewer.balls import cameras_around

VIEWS = [pose_view(pose.double(), 0.6, 40, 30) for pose in cameras_around().world_from_camera]
FIRST, OTHER = VIEWS[0], VIEWS[1]
EMPTY = Flight()


def test_cameras_that_a_page_is_about_to_leave_are_passed_over():
    helm = Helm(FIRST, 2.6, 10.0)
    helm.heard(replace(OTHER, width=80, height=50))
    assert helm.view(10.1, EMPTY) == replace(FIRST, width=80, height=50)
    helm.heard(replace(FIRST, fov_rad=FIRST.fov_rad + 1e-7))  # rounded by the browser
    assert helm.view(10.2, EMPTY) == FIRST
    helm.heard(OTHER)
    assert helm.view(10.3, EMPTY) == OTHER


def test_a_page_that_never_takes_over_the_first_camera_is_believed_after_a_while():
    helm = Helm(FIRST, 2.6, 10.0)
    helm.heard(OTHER)
    assert helm.view(10.0 + ARRIVAL + 0.01, EMPTY) == OTHER


def test_a_path_steers_until_it_ends_or_is_gone():
    flight = Flight()
    for view in VIEWS[:3]:
        flight.add(view)
    helm = Helm(FIRST, 2.6, 0.0)
    helm.heard(replace(OTHER, width=80, height=50))
    assert not helm.is_over(1e9, flight)
    helm.take_off(100.0)
    assert helm.flies
    end = helm.view(100.0 + flight.seconds + 1, flight)
    assert (end.width, end.height) == (80, 50)
    assert end.position == pytest.approx(VIEWS[2].position)
    assert not helm.is_over(100.0 + flight.seconds / 2, flight)
    assert helm.is_over(100.0 + flight.seconds + 0.1, flight)
    flight.loop = True
    assert not helm.is_over(100.0 + 9 * flight.seconds, flight)
    flight.delete()
    flight.delete()
    assert helm.is_over(100.0, flight)
    assert helm.view(200.0, flight).position == OTHER.position  # the visitor's again
    helm.land()
    assert not helm.flies
