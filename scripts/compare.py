"""Puts measured runs side by side: a table, and a page with pictures to drag between."""

from neural_render.core.processes import signals

signals.begin()  # before PyTorch is loaded

import sys
import time
from pathlib import Path

from neural_render import config
from neural_render.evaluation.pages.comparison import table, write_comparison
from neural_render.training.reports.comparing import measured_runs, opened_runs

COMMAND = config.Command(
    program="scripts/compare.py",
    summary=str(__doc__),
    examples=(
        "python scripts/compare.py outputs/fox/A outputs/fox/B   # differences are to A",
        "python scripts/compare.py outputs/fox/* output=fox.html",
    ),
    sections=("outputs", "runs", "comparison"),
    short={"": "runs", "output": "comparison.output"},
    configs=Path(__file__).resolve().parents[1] / "configs",
    needs_run=False,
)


def main(settings: config.Settings) -> None:
    """Opens the runs, checks that they were measured alike, prints the table, writes the page."""
    runs = opened_runs(settings.runs)
    measured = measured_runs(runs)
    stored = [config.load_settings(run.config_path) for run in runs]
    folder = Path(settings.outputs) / "comparisons"
    page = folder / time.strftime("%Y-%m-%d_%H-%M-%S.html")
    if settings.comparison.output:
        page = Path(settings.comparison.output)
    print(table(measured))
    write_comparison(page, measured, config.differing_settings(stored))
    print(page)


if __name__ == "__main__":
    sys.exit(config.main(COMMAND, main))
