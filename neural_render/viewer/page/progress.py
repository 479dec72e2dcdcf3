"""How training goes, on one page: numbers, a curve, and the button that makes it stand still."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from neural_render.viewer.page.listening import Action, Post, on_press
from neural_render.viewer.stage import Report

HEIGHT = 150  # pixels of the curve
COLOR = "#46a0ff"


class ProgressPanel:
    """The folder ``Training``."""

    def __init__(self, gui: Any, post: Post, pause: Action) -> None:
        self._gui = gui
        self._folder = gui.add_folder("Training", order=0)
        with self._folder:
            self._bar = gui.add_progress_bar(0.0)
            self._text = gui.add_markdown("Training begins.")
            self._button = gui.add_button("Pause")
        self._curve: Any = None
        on_press(self._button, post, lambda _: pause())

    def show(self, report: Report, curve: Sequence[tuple[float, float]]) -> None:
        """Shows the latest numbers, and the curve of quality over seconds of training."""
        self._bar.value = 100 * min(1.0, max(0.0, report.fraction))
        self._text.content = text_of(report)
        if len(curve) >= 2:
            self._draw(curve, "Loss" if math.isnan(report.psnr) else "PSNR, dB")

    def show_paused(self, paused: bool) -> None:
        """Lets the button say what it does."""
        self._button.label = "Go on" if paused else "Pause"

    def end(self, sentence: str) -> None:
        """Says that training is over."""
        self._text.content = sentence
        self._button.visible = False

    def _draw(self, curve: Sequence[tuple[float, float]], label: str) -> None:
        x, y = np.array(curve, dtype=np.float64).T
        if self._curve is not None:
            self._curve.data = (x, y)
            return
        with self._folder:
            self._curve = self._gui.add_uplot(
                (x, y),
                ({"label": "seconds"}, {"label": label, "stroke": COLOR, "width": 2}),
                scales={"x": {"time": False}, "y": {}},
                axes=({"stroke": "#999"}, {"stroke": "#999", "size": 44}),
                legend={"show": False},
                title=label,
                height=HEIGHT,
            )


def text_of(report: Report) -> str:
    """Step, quality and what is left, in Markdown."""
    quality = f"{report.psnr:.2f} dB, " if math.isfinite(report.psnr) else ""
    left = f"{duration(report.seconds_left)} left" if math.isfinite(report.seconds_left) else "..."
    return f"Step **{report.step:,}**, {left}  \n{quality}loss {report.loss:.3g}"


def duration(seconds: float) -> str:
    """Like 1:02:03, or 2:03."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
