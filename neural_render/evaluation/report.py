"""``report.html``: one page with all of a run inside it, which asks no server for anything."""

import base64
import io
import json
import os
import platform
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import torch

from neural_render.core.files import whole_file
from neural_render.evaluation.chart import line_chart

_MAX_STRIPS = 8
_STRIP_WIDTH = 1200
_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --paper: #fff; --soft: #6b7280; --line: #d9dce1;
  --mark: #2563eb }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --paper: #15171a; --soft: #9aa3ad;
  --line: #33383f; --mark: #6ea0ff } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1000px; margin: 32px auto; padding: 0 20px }
h1 { font-size: 26px; margin: 0 } h2 { font-size: 17px; margin: 36px 0 8px }
.soft { color: var(--soft) } .row { display: flex; flex-wrap: wrap; gap: 12px 40px }
.figure b { display: block; font-size: 30px; font-weight: 600; line-height: 1.2 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }
th, td { text-align: left; padding: 4px 14px 4px 0; border-bottom: 1px solid var(--line);
  vertical-align: top } th { font-weight: 500; color: var(--soft); white-space: nowrap }
td.number, th.number { text-align: right } img { width: 100%; display: block; margin: 4px 0 14px }
svg { flex: 1 1 400px; max-width: 100% } svg text { font-size: 11px; fill: var(--soft);
  text-anchor: middle } svg text.end { text-anchor: end } svg text.start { text-anchor: start }
svg .grid { stroke: var(--line) }
svg polyline { fill: none; stroke: var(--mark); stroke-width: 1.6 }
code { font-size: 13px } .scroll { overflow-x: auto }
"""


def write_report(
    path: Path,
    *,
    title: str,
    record: Mapping[str, Any],
    curve: Path,
    changed_settings: Mapping[str, Any],
    machine: Mapping[str, str],
) -> None:
    """Write the page: figures, curves, pictures, protocol, settings, machine.

    ``record`` is what ``evaluate`` returned, its pictures in ``evaluation/`` beside ``path``;
    ``curve`` is the run's ``metrics.jsonl`` (which may be missing); ``changed_settings`` are those
    that differ from their defaults. Raises ``OutputError`` where the page cannot be written.
    """
    settings = [f"{key}={value}" for key, value in changed_settings.items()]
    sections = [
        f"<h1>{escape(title)}</h1>",
        _headline(record),
        _curves(read_curve(curve)),
        _strips(record["views"], path.parent / "evaluation"),
        _section("Protocol", _pairs(_flat(record["protocol"]))),
        _section("Training", _pairs(_costs(record))),
        _section("Settings that differ from their defaults", _listing(settings)),
        _section("Machine", _pairs(machine)),
        _section("Test views", _views_table(record["views"])),
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(sections)}</body></html>\n"
    )
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def read_curve(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``; one cut off by a killed run is left out."""
    rows = []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return rows
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def machine_description() -> dict[str, str]:
    """What the numbers were measured on: processor, cores, system, versions."""
    model = platform.processor() or platform.machine()
    try:
        described = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        described = ""
    for line in described.splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = {
        "processor": f"{model}, {cores} cores",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
    }
    if torch.cuda.is_available():
        machine["accelerator"] = torch.cuda.get_device_name()
    return machine


def _headline(record: Mapping[str, Any]) -> str:
    shown = [
        ("PSNR", record["psnr"], "{:.2f} dB"),
        ("PSNR as shown", record.get("psnr_display"), "{:.2f} dB"),
        ("SSIM", record["ssim"], "{:.4f}"),
        ("FLIP", record["flip"], "{:.4f}"),
        ("relative MSE", record.get("relative_mse"), "{:.4f}"),
        ("mean light", record.get("mean_ratio"), "{:.4f}"),
        ("training", record["train_seconds"], "{:.0f} s"),
        ("a view", record["render_seconds"], "{:.2f} s"),
    ]
    figures = [
        f'<div class="figure"><b>{form.format(value)}</b><span class="soft">{label}</span></div>'
        for label, value, form in shown
        if value is not None
    ]
    views = f"mean over {record['num_views']} test views, {record['protocol']['resolution']}"
    return f'<p class="soft">{escape(views)}</p><div class="row">{"".join(figures)}</div>'


def _curves(rows: Sequence[Mapping[str, Any]]) -> str:
    charts = []
    for key, label, log_y in (("psnr", "training PSNR, dB", False), ("loss", "loss", True)):
        pairs = [
            (float(row["seconds"]), float(row[key]))
            for row in rows
            if all(isinstance(row.get(name), int | float) for name in ("seconds", key))
        ]
        x, y = zip(*pairs, strict=True) if pairs else ((), ())
        charts.append(line_chart(x, y, x_label="seconds of training", y_label=label, log_y=log_y))
    return _section("Training curves", f'<div class="row">{"".join(charts)}</div>') * any(charts)


def _strips(views: Sequence[Mapping[str, Any]], folder: Path) -> str:
    """The worst view, the best and some between, as small JPEG pictures."""
    drawn = sorted(
        (view for view in views if view["image"] and (folder / view["image"]).is_file()),
        key=lambda view: view["psnr"],
    )
    count = min(len(drawn), _MAX_STRIPS)
    chosen = [drawn[index * (len(drawn) - 1) // max(count - 1, 1)] for index in range(count)]
    strips = [
        f'<div class="soft">{escape(view["name"])}</div>'
        f'<img alt="photo or reference, render and error" src="{_jpeg(folder / view["image"])}">'
        for view in chosen
    ]
    left = "Reference" if any("psnr_reference" in view for view in views) else "Photo"
    return _section(f"{left}, render, error: from the worst view to the best", "".join(strips))


def _jpeg(path: Path) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(path) as picture:
        picture = picture.convert("RGB")
        picture.thumbnail((_STRIP_WIDTH, 10 * _STRIP_WIDTH))
        picture.save(buffer, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _costs(record: Mapping[str, Any]) -> dict[str, str]:
    counts = {key: f"{record[key]:,}" for key in ("num_steps", "num_rays", "num_samples")}
    return {
        "wall seconds": f"{record['train_seconds']:.1f}",
        "CPU seconds": f"{record['train_cpu_seconds']:.1f}",
        "steps": counts["num_steps"],
        "rays": counts["num_rays"],
        "samples that survived": counts["num_samples"],
        "samples marched": f"{record['num_samples_marched']:,}",
        "backend": f"{record['backend']}, {record['precision']}",
    }


def _views_table(views: Sequence[Mapping[str, Any]]) -> str:
    forms = {"psnr": ".2f", "psnr_display": ".2f", "ssim": ".4f", "flip": ".4f"}
    forms |= {"relative_mse": ".4f", "mean_ratio": ".4f", "psnr_reference": ".2f"}
    forms |= {"render_seconds": ".2f"}
    columns = [(key, form) for key, form in forms.items() if all(key in view for view in views)]
    header = "".join(f'<th class="number">{key.replace("_", " ")}</th>' for key, _ in columns)
    rows = []
    for view in views:
        cells = ["" if view[key] is None else format(view[key], form) for key, form in columns]
        numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
        rows.append(f"<tr><td>{escape(view['name'])}</td>{numbers}</tr>")
    return f"<table><tr><th>view</th>{header}</tr>{''.join(rows)}</table>"


def _flat(record: Mapping[str, Any]) -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in record.items():
        flat |= _flat(value) if isinstance(value, Mapping) else {key.replace("_", " "): str(value)}
    return flat


def _pairs(pairs: Mapping[str, Any]) -> str:
    rows = (
        f"<tr><th>{escape(str(key))}</th><td>{escape(str(value))}</td></tr>"
        for key, value in pairs.items()
    )
    return f"<table>{''.join(rows)}</table>"


def _listing(lines: Sequence[str]) -> str:
    if not lines:
        return '<p class="soft">none</p>'
    return "".join(f"<div><code>{escape(line)}</code></div>" for line in lines)


def _section(heading: str, body: str) -> str:
    return f'<h2>{escape(heading)}</h2><div class="scroll">{body}</div>' if body else ""
