"""The camera path: its editor on every page, and its keyframes and way in the scene."""

import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neural_render.core.cameras import Cameras
from neural_render.core.errors import UserError
from neural_render.viewer.flight import Flight, load_flight
from neural_render.viewer.page.listening import Action, Post, on_change, on_press
from neural_render.viewer.place import Place
from neural_render.viewer.requests import View, checked_name

NOTHING = "none yet"
POINTS = 200  # of the way, as it is drawn
LINE = 0.07  # the thickness of lines, of a keyframe's size
WAY, KEYFRAME, CHOSEN = (70, 160, 255), (70, 160, 255), (255, 70, 130)


@dataclass(kw_only=True)
class Hangar:
    """The one path that all pages edit, the run or package that it is of, and where it is kept."""

    flight: Flight
    run: Path
    folder: Path
    like: Cameras

    def file(self, name: str) -> Path:
        """Where a path of that name is kept; UserError for what is no name."""
        return self.folder / f"{checked_name(name)}.json"

    def save(self, name: str) -> Path:
        """Writes the path and gives its file."""
        path = self.file(name)
        self.flight.save(path)
        return path

    def load(self, name: str) -> None:
        """Takes the path from its file; UserError where there is none."""
        path = self.file(name)
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in self.folder.glob("*.json"))) or "none yet"
            raise UserError(f"{path} is not there: there are {known}.")
        self.flight = load_flight(path, self.like)


class FlightPanel:
    """The editor's controls on one page."""

    def __init__(self, gui: Any, post: Post, hangar: Hangar) -> None:
        self._post, self._hangar = post, hangar
        with gui.add_folder("Camera path", order=4, expand_by_default=False):
            self._stops = gui.add_dropdown("Keyframe", [NOTHING])
            self._add = gui.add_button("Add this view", hint="Behind the chosen keyframe")
            self._edit = gui.add_button_group("Chosen", ["Go to", "Move here", "Delete"])
            self._order = gui.add_button_group("Order", ["Earlier", "Later"])
            self._fov = gui.add_slider("Its field of view", 1.0, 160.0, 0.5, 45.0)
            self._seconds = gui.add_number("Seconds", 6.0, min=0.1, max=3600.0, step=0.1)
            self._fps = gui.add_number("Frames a second", 30.0, min=1.0, max=240.0, step=1.0)
            self._loop = gui.add_checkbox("Loop", False, hint="From the last one back to the first")
            self._preview = gui.add_button("Fly along it")
            self._name = gui.add_text("Name", "flight")
            self._files = gui.add_button_group("File", ["Save", "Load"])
            self._said = gui.add_markdown("")
        self._controls = (self._stops, self._fov, self._seconds, self._fps, self._loop)
        self._shown = [control.value for control in self._controls]

    def listen(
        self,
        *,
        view: Callable[[], View],
        go_to: Callable[[View], None],
        fly: Action,
        changed: Action,
    ) -> None:
        """Lets the controls work: on the view of this page, which can be sent to another one."""

        def act(do: Callable[[Any], None]) -> Callable[[Any], None]:
            def done(value: Any) -> None:
                do(value)
                changed()

            return done

        def typed(place: int, do: Callable[[Any], None]) -> Callable[[Any], None]:
            def done(value: Any) -> None:
                do(value)
                self._shown[place] = self._values()[place]
                changed()

            return done

        def edit(which: Any) -> None:
            flight = self._flight
            if which == "Go to" and len(flight):
                go_to(flight.stops[flight.chosen].view)
            elif which == "Move here":
                flight.update(view())
            elif which == "Delete":
                flight.delete()

        for control, do in (
            (self._add, lambda _: self._flight.add(view())),
            (self._edit, edit),
            (self._order, lambda which: self._flight.shift(-1 if which == "Earlier" else 1)),
            (self._files, self._file),
        ):
            on_press(control, self._post, act(do))
        changes: list[Callable[[Any], None]] = [
            lambda label: self._flight.choose(number_of(label)),
            lambda degrees: self._flight.set_fov(degrees),
            lambda value: self._flight.set_length(value, self._flight.fps),
            lambda value: self._flight.set_length(self._flight.seconds, value),
            lambda loop: self._flight.set_loop(loop),
        ]
        for place, (control, do) in enumerate(zip(self._controls, changes, strict=True)):
            on_change(control, self._post, typed(place, do))
        on_press(self._preview, self._post, lambda _: fly())

    def refresh(self) -> None:
        """Shows the path as it is now; what somebody types into is not written to meanwhile."""
        flight = self._flight
        labels = [str(number) for number in range(1, len(flight) + 1)] or [NOTHING]
        if list(self._stops.options) != labels:
            self._stops.options = labels
        values = self._values()
        for control, before, value in zip(self._controls, self._shown, values, strict=True):
            if before != value:
                control.value = value
        self._shown = values

    def _values(self) -> list[Any]:
        """What the controls should show."""
        flight = self._flight
        some = len(flight) > 0
        fov = math.degrees(flight.stops[flight.chosen].view.fov_rad) if some else self._fov.value
        label = str(flight.chosen + 1) if some else NOTHING
        return [label, fov, flight.seconds, flight.fps, flight.loop]

    def say(self, text: str) -> None:
        """Shows a sentence below the controls."""
        self._said.content = text

    def show_flying(self, flying: bool) -> None:
        """Lets the button say what it does."""
        self._preview.label = "Stop" if flying else "Fly along it"

    @property
    def _flight(self) -> Flight:
        return self._hangar.flight

    def _file(self, which: Any) -> None:
        if which == "Save":
            path = self._hangar.save(self._name.value)
            run, saved = (shlex.quote(str(name)) for name in (self._hangar.run, path))
            self.say(f"Saved. `python render.py run={run} path={saved}`")
        elif which == "Load":
            self._hangar.load(self._name.value)
            self.say(f"Loaded {len(self._hangar.flight)} keyframes.")


def number_of(label: Any) -> int:
    """The place in the path of the keyframe with a label; 0 for what is none."""
    text = str(label)
    return int(text) - 1 if text.isascii() and text.isdecimal() and len(text) < 6 else 0


class FlightDrawing:
    """Keyframes and the way between them, in the scene that all visitors see."""

    def __init__(self, scene: Any, place: Place) -> None:
        self._scene, self._place = scene, place
        self._things: list[Any] = []
        self._visible = True

    @property
    def visible(self) -> bool:
        """Whether anything is drawn."""
        return bool(self._things) and self._visible

    def redraw(self, flight: Flight, aspect: float) -> None:
        """Draws the path as it is now."""
        for thing in self._things:
            thing.remove()
        scale = self._place.pyramid(self._place.first.fov_rad, aspect)
        self._things = [
            self._scene.add_camera_frustum(
                f"/path/{index}",
                stop.view.fov_rad,
                aspect,
                scale=self._place.pyramid(stop.view.fov_rad, aspect),
                thickness=LINE * scale,
                color=CHOSEN if index == flight.chosen else KEYFRAME,
                wxyz=stop.view.quat_wxyz,
                position=self._place.on_page(stop.view.position),
                visible=self._visible,
                cast_shadow=False,
                receive_shadow=False,
            )
            for index, stop in enumerate(flight.stops)
        ]
        if flight.can_fly:
            way = (flight.way(POINTS) / self._place.unit).numpy().astype(np.float32)
            line = self._scene.add_line_segments(
                "/path/way",
                np.stack([way[:-1], way[1:]], axis=1),
                WAY,
                thickness=LINE * scale,
                visible=self._visible,
            )
            self._things.append(line)

    def show(self, visible: bool) -> None:
        """Shows or hides all of it, as while somebody flies along it."""
        if visible != self._visible:
            self._visible = visible
            for thing in self._things:
                thing.visible = visible
