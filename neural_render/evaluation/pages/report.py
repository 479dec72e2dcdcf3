"""``report.html``: one page with all of a run inside it, which asks no server for anything."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neural_render.core.pages.rendering import page_text, write_page
from neural_render.evaluation.metrics import HEAT_ENDS
from neural_render.evaluation.pages.charts import charts_of
from neural_render.evaluation.pages.curves import read_curve
from neural_render.evaluation.pages.figures import (
    COSTS,
    PSNR,
    QUALITY,
    RENDERING,
    duration,
    measured,
)
from neural_render.evaluation.pages.plan import Plan
from neural_render.evaluation.pages.strips import (
    MAX_STRIPS,
    Strip,
    error_of,
    layer,
    spread_ranks,
    strips_within,
)
from neural_render.evaluation.pictures import read_panel

MAX_CHARACTERS = 8_000_000  # of a page; what is left of them is for pictures
TEMPLATES = Path(__file__).with_name("templates")
LEVELS = 5  # colours of test views on the plan, from the worst to the best


def write_report(
    path: Path,
    *,
    title: str,
    record: Mapping[str, Any],
    curve: Path,
    changed_settings: Mapping[str, str],
    plan: Plan,
) -> None:
    """Write the page: figures, pictures, curves, timings, views, protocol, settings, machine.

    ``record`` is what ``evaluate`` returned, its pictures in ``evaluation/`` beside ``path``;
    ``curve`` is the run's ``metrics.jsonl`` (which may be missing); ``changed_settings`` are those
    that differ from their defaults. Raises ``OutputError`` where the page cannot be written.
    """
    content = {
        "title": title,
        "folder": path.parent.name,
        "record": record,
        "headline": measured(QUALITY, record),
        "charts": charts_of([read_curve(curve)]),
        "training_time": duration(record["train_seconds"]),
        "times": times(record),
        "costs": measured(COSTS, record),
        "columns": measured((*QUALITY, RENDERING), *record["views"]),
        "heat_ends": HEAT_ENDS,
        "flat_protocol": flat(record["protocol"]),
        "machine": record.get("machine", {}),
        "settings": changed_settings,
        "plan": plan,
        "levels": levels(record),
    }
    template = TEMPLATES / "report.html"
    left = MAX_CHARACTERS - len(page_text(template, **content, strips=[]))
    write_page(path, template, **content, strips=strips(record, path.parent / "evaluation", left))


def write_unmeasured_report(path: Path, *, title: str, why: str, curve: Path) -> None:
    """Write the page of a run that ended before it was measured: why, and its curves."""
    charts = charts_of([read_curve(curve)])
    content = {"title": title, "folder": path.parent.name, "why": why, "charts": charts}
    write_page(path, TEMPLATES / "unmeasured.html", **content)


def times(record: Mapping[str, Any]) -> list[tuple[str, float, str]]:
    """Where the time went: what, its seconds, and these in words."""
    rendering = sum(RENDERING.of(view) for view in record["views"])
    whole = record.get("evaluation_seconds", rendering)
    rendering = min(rendering, whole)  # several processes may have shared the views
    spent = {
        "training": record["train_seconds"],
        "rendering the test views": rendering,
        "measuring them": whole - rendering,
    }
    return [(name, seconds, duration(seconds)) for name, seconds in spent.items() if seconds > 0]


def levels(record: Mapping[str, Any]) -> dict[str, int]:
    """How good each view is among all: 0 for the worst ones to `LEVELS` - 1."""
    ordered = sorted(record["views"], key=PSNR.of)
    return {view["name"]: LEVELS * rank // len(ordered) for rank, view in enumerate(ordered)}


def strips(record: Mapping[str, Any], folder: Path, budget: int) -> list[Strip]:
    """The worst view, the best and some between, in that order."""
    drawn = sorted((view for view in record["views"] if view["image"]), key=PSNR.of)

    def strip_of(view: Mapping[str, Any]) -> Strip:
        return view_strip(view, folder)

    wanted = [drawn[rank] for rank in spread_ranks(len(drawn), MAX_STRIPS)]
    found = strips_within(budget, wanted, strip_of)
    place = {view["name"]: rank for rank, view in enumerate(drawn)}
    return sorted(found, key=lambda strip: place[strip.name])


def view_strip(view: Mapping[str, Any], folder: Path) -> Strip:
    """Photo, render and error maps of a view; ``OSError`` without its picture."""
    photo, render, heat = read_panel(folder / view["image"], (view["width"], view["height"]))
    layers = [
        layer("reference" if "psnr_reference" in view else "photo", photo),
        layer("render", render),
    ]
    if view["flip"] is not None:
        layers.append(layer("error", error_of(photo, render), is_error=True))
    label = "error" if view["flip"] is None else "FLIP"
    layers.append(layer(label, heat, is_error=True))
    brief = f"{PSNR.text(view)} {PSNR.unit}"
    return Strip(name=view["name"], caption=caption(view), brief=brief, layers=tuple(layers))


def caption(view: Mapping[str, Any]) -> str:
    """What was measured in a view, in a few words."""
    shown = measured(QUALITY[:4], view)
    return " · ".join(f"{each.label} {each.text(view)} {each.unit}".strip() for each in shown)


def flat(record: Mapping[str, Any]) -> dict[str, str]:
    """A nested record as words, without the names of its groups."""
    words: dict[str, str] = {}
    for key, value in record.items():
        words |= flat(value) if isinstance(value, Mapping) else {key.replace("_", " "): str(value)}
    return words
