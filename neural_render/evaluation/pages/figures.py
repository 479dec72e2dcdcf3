"""The figures of ``metrics.json``: what they are called, how they are written and compared."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SMALL = 1e-9  # a difference below this is none


@dataclass(frozen=True, kw_only=True)
class Figure:
    """An entry of ``metrics.json``, or of one of its views."""

    key: str
    label: str
    form: str  # of ``format``
    unit: str = ""
    better: int = 0  # 1: higher is better, -1: lower is, 0: neither
    in_percent: bool = False  # differences are shares of the first one's

    def of(self, record: Mapping[str, Any]) -> float:
        """The number; NaN where it was not measured."""
        value = record.get(self.key)
        return float(value) if isinstance(value, int | float) else math.nan

    def text(self, record: Mapping[str, Any]) -> str:
        """The number in digits; empty where it was not measured."""
        value = self.of(record)
        return format(value, self.form) if math.isfinite(value) else ""

    def difference(self, record: Mapping[str, Any], first: Mapping[str, Any]) -> str:
        """How far it lies above that of ``first``, with a sign; empty where one is missing."""
        here, there = self.of(record), self.of(first)
        if not (math.isfinite(here) and math.isfinite(there)):
            return ""
        if self.in_percent:
            return f"{100 * (here / there - 1):+.0f} %" if there else ""
        return format(here - there, "+" + self.form.removeprefix(","))

    def verdict(self, record: Mapping[str, Any], first: Mapping[str, Any]) -> str:
        """``good`` or ``fault`` where it is better or worse than that of ``first``, else empty."""
        gain = self.better * (self.of(record) - self.of(first))
        return "good" if gain > _SMALL else "fault" if gain < -_SMALL else ""


PSNR = Figure(key="psnr", label="PSNR", form=".2f", unit="dB", better=1)
QUALITY = (
    PSNR,
    Figure(key="psnr_display", label="PSNR as shown", form=".2f", unit="dB", better=1),
    Figure(key="ssim", label="SSIM", form=".4f", better=1),
    Figure(key="flip", label="FLIP", form=".4f", better=-1),
    Figure(key="relative_mse", label="relative MSE", form=".4f", better=-1),
    Figure(key="mean_ratio", label="mean light", form=".4f"),
    Figure(key="psnr_reference", label="reference's halves", form=".2f", unit="dB"),
)
RENDERING = Figure(
    key="render_seconds", label="one view", form=".2f", unit="s", better=-1, in_percent=True
)
COSTS = (
    Figure(key="train_seconds", label="training", form=",.1f", unit="s", in_percent=True),
    Figure(
        key="train_cpu_seconds",
        label="CPU of a thread",
        form=",.1f",
        unit="s",
        in_percent=True,
    ),
    Figure(key="num_steps", label="steps", form=",.0f", in_percent=True),
    Figure(key="num_rays", label="rays", form=",.0f", in_percent=True),
    Figure(key="num_samples_marched", label="marched samples", form=",.0f", in_percent=True),
    Figure(key="num_samples", label="surviving samples", form=",.0f", in_percent=True),
    RENDERING,
)


def measured(figures: tuple[Figure, ...], *records: Mapping[str, Any]) -> tuple[Figure, ...]:
    """Those of ``figures`` that at least one of the records holds."""
    return tuple(
        figure for figure in figures if any(math.isfinite(figure.of(record)) for record in records)
    )


def duration(seconds: float) -> str:
    """A time as a person says it: ``51.0 s``, ``20 min 3 s``, ``2 h 5 min``."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
