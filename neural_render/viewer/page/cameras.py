"""The photos' cameras in the scene, with the photos in them: one visitor's own."""

import logging
import math
import threading
from collections.abc import Callable
from typing import Any

from neural_render.core.cameras import half_angles_rad
from neural_render.core.errors import UserError
from neural_render.viewer.page.listening import Post, on_pick
from neural_render.viewer.place import Place
from neural_render.viewer.requests import LEAST_FOV, MOST_FOV, View, clamped, pose_view
from neural_render.viewer.stage import Photo, Surroundings

MOST_CAMERAS = 200  # are drawn, evenly chosen
PHOTO_SIDE = 128  # pixels
LINE = 0.04  # the thickness of its lines, of a pyramid's size
COLOR = (240, 170, 60)

_log = logging.getLogger("neural_render")


class PhotoShelf:
    """The small photos, fetched once, when somebody first asks, by a thread of its own."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.chosen = chosen_cameras(len(surroundings.names))
        self._surroundings = surroundings
        self._photos: list[Photo] = []
        self._waiting: list[Callable[[], None]] = []
        self._state = "not asked for"
        self._lock = threading.Lock()

    def ask(self, then: Callable[[], None]) -> list[Photo]:
        """The photos if they are there; else none, and ``then`` is called once they are."""
        with self._lock:
            if self._state != "there":
                self._waiting.append(then)
            if self._state == "not asked for":
                self._state = "coming"
                threading.Thread(target=self._fetch, name="photos", daemon=True).start()
            return self._photos

    def _fetch(self) -> None:
        try:
            photos = list(self._surroundings.photos(self.chosen, PHOTO_SIDE))
        except (UserError, OSError) as error:
            _log.warning("the photos cannot be shown: %s", error)
            photos = []
        with self._lock:
            self._photos, self._state = photos, "there"
            waiting, self._waiting = self._waiting, []
        for then in waiting:
            then()


class CameraFrusta:
    """Pyramids at the photos' places; a click on one goes there."""

    def __init__(
        self,
        scene: Any,
        surroundings: Surroundings,
        place: Place,
        shelf: PhotoShelf,
        post: Post,
    ) -> None:
        self._scene, self._place, self._shelf, self._post = scene, place, shelf, post
        self._cameras = surroundings.cameras
        self._frusta: list[Any] = []
        self._photos_wanted = False

    @property
    def visible(self) -> bool:
        """Whether they are drawn."""
        return bool(self._frusta)

    def show(self, cameras: bool, photos: bool, go_to: Callable[[View], None]) -> None:
        """Draws them or takes them away, and the photos in them."""
        if cameras and not self._frusta:
            self._frusta = [self._frustum(index, go_to) for index in self._shelf.chosen]
            self._photos_wanted = False
        elif not cameras:
            for frustum in self._frusta:
                frustum.remove()
            self._frusta = []
        if self._frusta and photos != self._photos_wanted:
            self._photos_wanted = photos
            self._fill()

    def _fill(self) -> None:
        """Puts the photos into the cameras as soon as they are there, or takes them out."""
        if not self._photos_wanted:
            for frustum in self._frusta:
                frustum.image = None
            return
        photos = self._shelf.ask(lambda: self._post(self._fill))
        for frustum, photo in zip(self._frusta, photos, strict=False):
            frustum.image = photo

    def _frustum(self, index: int, go_to: Callable[[View], None]) -> Any:
        camera = self._cameras[index : index + 1]
        fov = 2 * half_angles_rad(camera)[0, 1].item()
        view = pose_view(camera.world_from_camera[0].double(), clamped(fov, LEAST_FOV, MOST_FOV))
        aspect = camera.width[0].item() / camera.height[0].item()
        scale = self._place.pyramid(fov, aspect)
        frustum = self._scene.add_camera_frustum(
            f"/cameras/{index}",
            min(fov, MOST_FOV),
            aspect,
            scale=scale,
            thickness=LINE * scale,
            color=COLOR,
            format="jpeg",
            jpeg_quality=80,
            wxyz=view.quat_wxyz,
            position=self._place.on_page(view.position),
            cast_shadow=False,
            receive_shadow=False,
        )
        on_pick(frustum, self._post, lambda: go_to(view))
        return frustum


def chosen_cameras(count: int) -> list[int]:
    """All of so many cameras, or some in even steps where there are too many to draw."""
    every = math.ceil(count / MOST_CAMERAS)
    return list(range(0, count, max(1, every)))
