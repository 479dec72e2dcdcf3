"""Several runs side by side, all measured alike: a table for the terminal, and a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from neural_render.core.errors import EvaluationError
from neural_render.core.pages.rendering import page_text, write_page
from neural_render.evaluation.metrics import HEAT_ENDS
from neural_render.evaluation.pages.charts import charts_of
from neural_render.evaluation.pages.curves import read_curve
from neural_render.evaluation.pages.figures import COSTS, PSNR, QUALITY, measured
from neural_render.evaluation.pages.report import MAX_CHARACTERS, TEMPLATES, flat
from neural_render.evaluation.pages.strips import (
    Strip,
    layer,
    same_picture,
    strips_within,
)
from neural_render.evaluation.pictures import read_panel
from neural_render.evaluation.protocol import check_comparable, check_same_views

LETTERS = ascii_uppercase
COLUMNS = ("psnr", "ssim", "flip", "train_seconds", "num_steps")  # on the terminal
SHOWN = ("psnr", "ssim", "flip")  # of each view


@dataclass(frozen=True, kw_only=True)
class MeasuredRun:
    """A run that was measured, and where what it left lies."""

    name: str  # no two alike
    record: Mapping[str, Any]  # the contents of its metrics.json
    curve: Path  # its metrics.jsonl, which may be missing
    pictures: Path  # the folder of its views' pictures

    def view(self, name: str) -> Mapping[str, Any]:
        """The row of a test view."""
        return next(view for view in self.record["views"] if view["name"] == name)

    def panel(self, name: str) -> Sequence[Any]:
        """Photo, render and error of a view; ``OSError`` where there is no such picture."""
        view = self.view(name)
        if not view["image"]:
            raise FileNotFoundError(f"no picture of {name} was written")
        return read_panel(self.pictures / view["image"], (view["width"], view["height"]))


def check_alike(runs: Sequence[MeasuredRun]) -> None:
    """Nothing if the figures of all runs mean the same, else EvaluationError saying what differs.

    That is: of one protocol, on the same views, of the same photos (where pictures were written).
    """
    records = {run.name: run.record for run in runs}
    check_comparable(records)
    check_same_views(records)
    first, *others = runs
    for view in by_difference(runs)[:1]:
        for run in others:
            try:
                photos = first.panel(view)[0], run.panel(view)[0]
            except OSError:
                continue
            if not same_picture(*photos):
                raise EvaluationError(
                    f"{run.name} cannot be compared with {first.name}: the photo of {view} is"
                    " another one there; compare runs of one capture"
                )


def table(runs: Sequence[MeasuredRun]) -> str:
    """The figures of all runs and how the others' differ from the first one's, as plain text."""
    first = runs[0].record
    figures = {figure.key: figure for figure in (*QUALITY, *COSTS)}
    chosen = measured(tuple(figures[key] for key in COLUMNS), *(run.record for run in runs))
    rows = [["", "run"]]
    for figure in chosen:
        rows[0] += [f"{figure.label} {figure.unit}".strip(), "to A"]
    for letter, run in zip(LETTERS, runs, strict=False):
        row = [letter, run.name]
        for figure in chosen:
            beside = "" if run is runs[0] else figure.difference(run.record, first)
            row += [figure.text(run.record), beside]
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def write_comparison(
    path: Path, runs: Sequence[MeasuredRun], settings: Mapping[str, Sequence[str]]
) -> None:
    """Write the page: figures, pictures to drag between, curves, what differs, views.

    ``settings`` are those in which the runs differ, with the value of each run. Raises
    ``OutputError`` where the page cannot be written.
    """
    records = [run.record for run in runs]
    kinds = {run.name.partition("/")[0] for run in runs}
    ordered = by_difference(runs)
    content = {
        "title": f"{kinds.pop() if len(kinds) == 1 else 'Comparison'}: {len(runs)} runs",
        "runs": list(zip(LETTERS, runs, strict=False)),
        "first": records[0],
        "quality": measured(QUALITY, *records),
        "costs": measured(COSTS, *records),
        "settings": settings,
        "others": unlike(records),
        "charts": charts_of([read_curve(run.curve) for run in runs]),
        "columns": measured(
            tuple(figure for figure in QUALITY if figure.key in SHOWN), *records[0]["views"]
        ),
        "views": [(name, [run.view(name) for run in runs]) for name in ordered],
        "heat_ends": HEAT_ENDS,
        "flat_protocol": flat(records[0]["protocol"]),
    }
    template = TEMPLATES / "comparison.html"
    left = MAX_CHARACTERS - len(page_text(template, **content, strips=[]))

    def strip_of(name: str) -> Strip:
        return compared_strip(name, runs)

    write_page(path, template, **content, strips=strips_within(left, ordered, strip_of))


def by_difference(runs: Sequence[MeasuredRun]) -> list[str]:
    """The names of the views, those first in which PSNR differs most from the first run's."""
    first, *others = runs

    def gap(name: str) -> float:
        here = PSNR.of(first.view(name))
        return max((abs(PSNR.of(run.view(name)) - here) for run in others), default=0.0)

    return sorted((view["name"] for view in first.record["views"]), key=gap, reverse=True)


def compared_strip(name: str, runs: Sequence[MeasuredRun]) -> Strip:
    """Photo, renders and errors of a view; ``OSError`` where a picture is missing."""
    panels = [run.panel(name) for run in runs]
    views = [run.view(name) for run in runs]
    layers = [layer("reference" if "psnr_reference" in views[0] else "photo", panels[0][0])]
    layers += [layer(letter, panel[1]) for letter, panel in zip(LETTERS, panels, strict=False)]
    for letter, panel, view in zip(LETTERS, panels, views, strict=False):
        error = "error" if view["flip"] is None else "FLIP"
        layers.append(layer(f"{error} {letter}", panel[2], is_error=True))
    texts = [f"{letter} {PSNR.text(view)}" for letter, view in zip(LETTERS, views, strict=False)]
    apart = [abs(PSNR.of(view) - PSNR.of(views[0])) for view in views]
    furthest = max(range(1, len(views)), key=lambda place: apart[place])
    return Strip(
        name=name,
        caption="PSNR " + " · ".join(texts),
        brief=f"{LETTERS[furthest]} {PSNR.difference(views[furthest], views[0])} dB",
        layers=tuple(layers),
    )


def unlike(records: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Where runs were trained or measured otherwise than by their settings: backend, machine."""
    told = [
        {
            "backend": f"{record.get('backend', '')}, {record.get('precision', '')}",
            **{str(key): str(value) for key, value in record.get("machine", {}).items()},
        }
        for record in records
    ]
    keys = dict.fromkeys(key for each in told for key in each)
    rows = {key: [each.get(key, "not stated") for each in told] for key in keys}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}
