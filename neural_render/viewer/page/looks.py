"""The controls of what is seen, and in which light: one visitor's own."""

import math
from collections.abc import Callable
from typing import Any

import torch

from neural_render.core.color import linear_from_srgb, srgb_from_linear
from neural_render.core.lights import LightGroup
from neural_render.viewer.page.listening import Post, on_change
from neural_render.viewer.requests import (
    LEAST_FOV,
    MODES,
    MOST_FOV,
    MOST_STOPS,
    Box,
    Look,
    checked_box,
    checked_color,
    checked_mode,
    checked_point,
    clamped,
    dialled,
)
from neural_render.viewer.stage import Stage

STRONGEST = 5.0  # times the strength in the scene's file
STEPS = 200  # of a slider across the scene


class LookPanel:
    """Mode, exposure, crop and lights; gives them as a checked `Look`."""

    def __init__(
        self,
        gui: Any,
        stage: Stage,
        bounds: Box,
        post: Post,
        changed: Callable[[], None],
        *,
        has_photos: bool,
    ) -> None:
        self._stage, self._bounds = stage, bounds
        self._controls: list[Any] = []
        with gui.add_folder("View", order=1):
            self._mode = self._kept(gui.add_dropdown("Show", MODES))
            self.fov = gui.add_slider(
                "Field of view",
                math.ceil(math.degrees(LEAST_FOV)),
                math.floor(math.degrees(MOST_FOV)),
                0.5,
                45.0,
                hint="From top to bottom, in degrees",
            )
            self._stops: tuple[Any, ...] = ()
            if stage.is_linear:
                slider = gui.add_slider("Exposure", -6.0, 6.0, 0.1, 0.0, hint="In stops")
                self._stops = (self._kept(slider),)
            self.cameras = gui.add_checkbox("Cameras", False, hint="Where photos were taken")
            self.photos = gui.add_checkbox(
                "Photos", has_photos, visible=has_photos, hint="In the cameras"
            )
            self._speed = gui.add_markdown("")
        self._lights = [self._light(gui, group) for group in stage.lighting.groups]
        self._place = [self._moving(gui, light) for light in stage.lighting.moving]
        with gui.add_folder("Crop", order=3, expand_by_default=False):
            self._crops = self._kept(gui.add_checkbox("Crop", False))
            self._ranges = [self._range(gui, axis) for axis in range(3)]
        for control in self._controls:
            on_change(control, post, lambda _: changed())

    def look(self, overlaid: bool) -> Look:
        """What the controls say; ``overlaid``: whether anything is drawn into the scene."""
        crop = checked_box([r.value for r in self._ranges]) if self._crops.value else ()
        moving = self._stage.lighting.moving
        return Look(
            mode=checked_mode(self._mode.value),
            crop=crop,
            light_at=tuple(
                value
                for control, light in zip(self._place, moving, strict=True)
                for value in checked_point(control.value, light.low, light.high)
            ),
            emission=tuple(
                self._emission(group, *controls)
                for group, controls in zip(self._stage.lighting.groups, self._lights, strict=True)
            ),
            stops=sum((clamped(s.value, -MOST_STOPS, MOST_STOPS) for s in self._stops), 0.0),
            overlaid=overlaid or bool(crop),
        )

    def say_speed(self, width: int, height: int, seconds: float) -> None:
        """Says how large a picture was and how long it took."""
        self._speed.content = f"{width} x {height}, {1e3 * seconds:.0f} ms"

    def show_fov(self, fov_rad: float) -> None:
        """Moves the slider to what the camera has."""
        degrees = round(2 * math.degrees(fov_rad)) / 2
        if abs(self.fov.value - degrees) >= 0.5:
            self.fov.value = degrees

    def _emission(self, group: LightGroup, strength: Any, tint: Any) -> tuple[float, float, float]:
        untouched = tuple(tint.value) == _tint_of(group)
        red, green, blue = linear_from_srgb(torch.tensor(checked_color(tint.value))).tolist()
        return dialled(group, strength.value, (red, green, blue), untouched)

    def _light(self, gui: Any, group: LightGroup) -> tuple[Any, Any]:
        with gui.add_folder(f"Light: {group.name}", order=2):
            strength = gui.add_slider(
                "Strength", 0.0, STRONGEST, 0.05, 1.0, hint="Times that of the scene's file"
            )
            tint = gui.add_rgb("Colour", _tint_of(group))
        return self._kept(strength), self._kept(tint)

    def _moving(self, gui: Any, light: Any) -> Any:
        what = "Shines towards" if light.kind == "direction" else "Stands at"
        with gui.add_folder(f"Place of {light.group}", order=2.5):
            return self._kept(
                gui.add_vector3(what, light.at, min=light.low, max=light.high, step=0.01)
            )

    def _range(self, gui: Any, axis: int) -> Any:
        low, high = self._bounds[0][axis], self._bounds[1][axis]
        step = (high - low) / STEPS
        return self._kept(gui.add_multi_slider("XYZ"[axis], low, high, step, (low, high)))

    def _kept(self, control: Any) -> Any:
        self._controls.append(control)
        return control


def _tint_of(group: LightGroup) -> tuple[int, int, int]:
    """The 8-bit sRGB of a light's colour, its strongest channel at full."""
    peak = max(group.color) or 1.0
    red, green, blue = srgb_from_linear(torch.tensor(group.color) / peak).tolist()
    return round(255 * red), round(255 * green), round(255 * blue)
