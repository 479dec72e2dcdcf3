"""Who steers a visitor's camera: the visitor, the camera path, or, at first, the place itself."""

from dataclasses import replace

from neural_render.viewer.flight import Flight
from neural_render.viewer.requests import View

ARRIVAL = 0.6  # seconds in which a page that opens may speak of cameras that it is about to leave
ALIKE = 1e-5  # of a typical distance, and of a turn


class Helm:
    """The camera of one page.

    A page that opens speaks of one or two cameras of its own before it takes over the one that it
    is given; they are passed over, so that the first picture is of the first view.
    """

    def __init__(self, first: View, distance: float, now: float) -> None:
        """Begins at ``first``; ``distance``: a typical one in the scene."""
        self._first, self._distance = first, distance
        self._heard = first
        self._arrives_until = now + ARRIVAL
        self._took_off: tuple[float, ...] = ()  # none, or when

    @property
    def flies(self) -> bool:
        """Whether the path steers."""
        return bool(self._took_off)

    def heard(self, view: View) -> None:
        """Takes in what the browser says."""
        self._heard = view

    def take_off(self, now: float) -> None:
        """Lets the path steer from its beginning."""
        self._took_off = (now,)

    def land(self) -> None:
        """Lets the visitor steer."""
        self._took_off = ()

    def is_over(self, now: float, flight: Flight) -> bool:
        """Whether a flight has come to its end, or has lost its path."""
        if not self._took_off:
            return False
        return not flight.can_fly or (not flight.loop and now - self._took_off[0] > flight.seconds)

    def view(self, now: float, flight: Flight) -> View:
        """Where the camera is, in a window as large as the browser says."""
        if self._took_off and flight.can_fly:
            return self._sized(flight.view_at(now - self._took_off[0]))
        first = self._sized(self._first)
        if self._is_alike(first):
            self._arrives_until = 0.0
            return first
        return first if now < self._arrives_until else self._heard

    def _sized(self, view: View) -> View:
        return replace(view, width=self._heard.width, height=self._heard.height)

    def _is_alike(self, view: View) -> bool:
        """Whether what was heard is a view but for rounding."""
        moved = max(abs(a - b) for a, b in zip(self._heard.position, view.position, strict=True))
        turned = sum(a * b for a, b in zip(self._heard.quat_wxyz, view.quat_wxyz, strict=True))
        zoomed = abs(self._heard.fov_rad - view.fov_rad)
        return moved <= ALIKE * self._distance and 1 - abs(turned) <= ALIKE and zoomed <= ALIKE
