"""One browser's page: its panels, its camera, and the pictures that are sent to it."""

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_render.core.errors import UserError
from neural_render.viewer.page.cameras import CameraFrusta
from neural_render.viewer.page.flights import FlightPanel
from neural_render.viewer.page.helm import Helm
from neural_render.viewer.page.listening import Action, on_change
from neural_render.viewer.page.looks import LookPanel
from neural_render.viewer.page.progress import ProgressPanel
from neural_render.viewer.pictures.drawing import Drawing
from neural_render.viewer.pictures.painting import Painter
from neural_render.viewer.pictures.visitors import Job, Visitor
from neural_render.viewer.requests import Box, Look, View, checked_view, clamped

if TYPE_CHECKING:
    import viser

    from neural_render.viewer.viewer import Viewer

MOVING_QUALITY, FINAL_QUALITY = 75, 95  # of JPEG


@dataclass(frozen=True, kw_only=True)
class Panels:
    """The controls of one page, and what it alone draws into the scene."""

    progress: tuple[ProgressPanel, ...]  # none unless the scene is training
    looks: LookPanel
    flights: FlightPanel
    frusta: CameraFrusta


class Page:
    """What the viewer keeps of one browser; every method is called in the viewer's thread.

    A page gets its panels after its first picture, which would else come later.
    """

    def __init__(self, client: "viser.ClientHandle", viewer: "Viewer") -> None:
        self.client, self._viewer = client, viewer
        self.visitor = Visitor(viewer.seconds_per_picture, viewer.costs)
        self.visitor.wants(Look(emission=viewer.stage.lighting.emission({})), time.perf_counter())
        self.helm = Helm(viewer.place.first, viewer.place.distance, time.perf_counter())
        self.panels: tuple[Panels, ...] = ()  # none before the first picture
        self.is_gone = False
        self._painter = Painter(viewer.stage, viewer.place)
        self._unit = viewer.place.unit
        self._box: Any = None

        async def moved(camera: Any) -> None:
            self.heard_camera()

        client.camera.on_update(moved)
        self.heard_camera()

    def furnish(self) -> None:
        """Adds the panels."""
        client, viewer = self.client, self._viewer
        progress = (ProgressPanel(client.gui, self.post, viewer.pause),) if viewer.trains else ()
        panels = Panels(
            progress=progress,
            looks=LookPanel(
                client.gui,
                viewer.stage,
                viewer.place.bounds,
                self.post,
                self.look_changed,
                has_photos=viewer.surroundings.has_photos,
            ),
            flights=FlightPanel(client.gui, self.post, viewer.hangar),
            frusta=CameraFrusta(
                client.scene, viewer.surroundings, viewer.place, viewer.shelf, self.post
            ),
        )
        on_change(panels.looks.fov, self.post, self._zoom)
        for switch in (panels.looks.cameras, panels.looks.photos):
            on_change(switch, self.post, lambda _: self._show_cameras(panels))
        panels.flights.listen(
            view=lambda: self.view,
            go_to=self.go_to,
            fly=self.take_off_or_land,
            changed=viewer.path_changed,
        )
        panels.flights.refresh()
        self.panels = (panels,)
        self.look_changed()
        viewer.show_progress(panels.progress)

    @property
    def view(self) -> View:
        """Where this visitor looks from; UserError before that is known."""
        if not self.visitor.view:
            raise UserError("the page has not said yet where its camera is: try again.")
        return self.visitor.view[0]

    def post(self, action: Action) -> None:
        """Leaves something to do for the viewer's thread; what the user did wrong is said here."""

        def guarded() -> None:
            try:
                action()
            except UserError as error:
                self.complain(str(error))

        self._viewer.post(guarded)

    def complain(self, sentence: str) -> None:
        """Shows what is wrong in the page's corner."""
        self.client.add_notification("That cannot be", sentence, color="red", auto_close_seconds=12)

    def heard_camera(self) -> None:
        """Takes in the browser's camera, in whichever thread: the latest one counts."""
        camera = self.client.camera
        view = checked_view(
            camera.position,
            camera.wxyz,
            camera.fov,
            (camera.image_width, camera.image_height),
            unit=self._unit,
            max_side=self._viewer.max_side,
        )
        if view is not None:
            self._viewer.post(lambda: self.helm.heard(view))

    def look_changed(self) -> None:
        """Takes in what the controls say."""
        for panels in self.panels:
            overlaid = panels.frusta.visible or self._viewer.flight_drawing.visible
            self.visitor.wants(panels.looks.look(overlaid), time.perf_counter())
        if self._box is not None:
            self._box.remove()
            self._box = None
        if self.visitor.look.crop:
            self._box = self._drawn_box(self.visitor.look.crop[0])

    def go_to(self, view: View) -> None:
        """Sends the browser's camera to a view."""
        camera = self.client.camera
        with self.client.atomic():
            camera.position = np.array(self._viewer.place.on_page(view.position))
            camera.wxyz = np.array(view.quat_wxyz)
            camera.fov = view.fov_rad

    def take_off_or_land(self) -> None:
        """Begins to fly along the path, or ends that."""
        flight = self._viewer.hangar.flight
        if self.helm.flies:
            self.helm.land()
        elif flight.can_fly:
            self.helm.take_off(time.perf_counter())
        else:
            raise UserError(f"a flight needs two keyframes, and the path has {len(flight)}.")
        for panels in self.panels:
            panels.flights.show_flying(self.helm.flies)
        self._viewer.flights_changed()

    def steer(self, now: float) -> None:
        """Moves the visitor to where the camera is now."""
        flight = self._viewer.hangar.flight
        view = self.helm.view(now, flight)
        self.visitor.moved(view, now)
        if self.helm.flies:
            self.go_to(view)
        else:
            for panels in self.panels:
                panels.looks.show_fov(view.fov_rad)
        if self.helm.is_over(now, flight):
            self.take_off_or_land()

    def make(self, job: Job, version: int) -> None:
        """Makes a picture and sends it, if it is not given up."""
        began = time.perf_counter()
        drawing: Drawing | None = self.visitor.shown[0].drawing if self.visitor.shown else None
        if job.renders:
            drawing = self._painter.draw(
                job, self.visitor.pace, lambda: self._viewer.is_called_from(self, job)
            )
        if drawing is None or self.is_gone:
            return
        self.client.scene.set_background_image(
            self._painter.picture(drawing, job),
            format="jpeg",
            jpeg_quality=FINAL_QUALITY if job.final else MOVING_QUALITY,
            depth=self._painter.depths(drawing, job),
        )
        self.client.flush()
        now = time.perf_counter()
        self.visitor.got(job, drawing, version, now)
        width, height = job.view.size(job.factor)
        if job.renders and not job.waits:
            self.visitor.pace.took(width * height, now - began)
        for panels in self.panels:
            if job.renders and job.final:
                panels.looks.say_speed(width, height, now - began)
        if not self.panels:
            self.post(self.furnish)

    def _zoom(self, degrees: Any) -> None:
        self.client.camera.fov = math.radians(clamped(degrees, 1.0, 160.0))

    def _show_cameras(self, panels: Panels) -> None:
        cameras, photos = panels.looks.cameras.value, panels.looks.photos.value
        panels.frusta.show(bool(cameras), bool(photos), self.go_to)
        self.look_changed()

    def _drawn_box(self, box: Box) -> Any:
        low, high = (np.array(corner) / self._unit for corner in box)
        return self.client.scene.add_box(
            "/crop",
            color=(200, 200, 200),
            dimensions=tuple(high - low),
            wireframe=True,
            position=tuple((low + high) / 2),
            cast_shadow=False,
            receive_shadow=False,
        )
