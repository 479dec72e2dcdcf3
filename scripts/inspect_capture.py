"""Says what is wrong with a capture: its format, its photos, cameras that do not belong to them."""

from neural_render.core.processes import signals

signals.begin()  # before PyTorch is loaded

import sys
from pathlib import Path

from neural_render import config
from neural_render.captures.doctor.examination import examine, write_examination
from neural_render.captures.doctor.findings import table
from neural_render.captures.opening import open_capture

COMMAND = config.Command(
    program="scripts/inspect_capture.py",
    summary=str(__doc__),
    examples=(
        "python scripts/inspect_capture.py                      # the program's own capture",
        "python scripts/inspect_capture.py photos/fox",
        "python scripts/inspect_capture.py photos/fox capture.max_side=960 outputs=reports",
    ),
    sections=("outputs", "name", "capture"),
    short={"": "capture.path"},
    configs=Path(__file__).resolve().parents[1] / "configs",
    needs_run=False,
    without=config.settings_below("capture.adjust", "capture.check"),
)


def main(settings: config.Settings) -> None:
    """Opens the capture, examines it in full, prints the findings and draws the cameras."""
    capture = open_capture(settings.capture, progress=sys.stderr.isatty())
    examination = examine(capture, thorough=True)
    folder = Path(settings.outputs) / f"inspect_{settings.name or capture.name}"
    write_examination(examination, folder)
    print(table(examination.findings))
    print(folder / "report.html")


if __name__ == "__main__":
    sys.exit(config.main(COMMAND, main))
