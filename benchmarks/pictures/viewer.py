"""Suite ``viewer``: when a browser shows a run's first picture, and how many come while it moves.

The program and a real headless browser, which draws the page without a graphics card, share the
cores. Of several loads of the page the median counts; the first one also starts the program's
threads and fills the browser's caches.
"""

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.options import BenchmarkOptions
from benchmarks.pictures.chromium import Page, open_page
from benchmarks.records import ROOT, append, print_table
from neural_render.core.errors import UserError
from neural_render.kernels import dispatch

SIDE = 400  # pixels of the page's canvas
FREE = (60.0, 300.0)  # a place of the page where no control is
MOVING = 8.0  # seconds of a drag
EVERY = 0.02  # seconds between two movements of the mouse
SAID = "viewer: http"
PORT = 8950


def run(options: BenchmarkOptions) -> None:
    """Measures, shows and records the two."""
    resolved = dispatch.resolve(options.backend)
    threads = options.threads or dispatch.usable_cores()
    words = [
        f"run={options.run}",
        f"kernels.backend={options.backend}",
        f"kernels.threads={threads}",
        f"kernels.precision={options.precision}",
        f"port={PORT}",
    ]
    with served(words) as address, open_page(address, (SIDE, SIDE)) as page:
        firsts = [page.first_seen()]
        for _ in range(max(0, options.rounds - 1)):
            page.settled()
            page.load()
            firsts.append(page.first_seen())
        page.settled()
        values = moving(page)
    # The same with so much time for each picture that all have every pixel of the page.
    with served([*words, "viewer.rate=1"]) as address, open_page(address, (SIDE, SIDE)) as page:
        page.settled()
        whole = moving(page)
    values |= {"whole": whole, "first_seconds": firsts}
    values |= {"run": Path(options.run).resolve().name, "load": os.getloadavg()[0]}
    rows = [
        ["first picture after the page is opened", f"{median(firsts):.2f} s"],
        ["  the very first time", f"{firsts[0]:.2f} s"],
        ["pictures a second while moving", f"{values['rate']:.1f}"],
        ["  the longest wait for one", f"{values['longest']:.2f} s"],
        [f"  their size, of a canvas of {values['canvas']}", values["size"]],
        [f"the same, all of {whole['size']}", f"{whole['rate']:.1f}"],
        ["  the longest wait for one", f"{whole['longest']:.2f} s"],
    ]
    print_table("the viewer", ["", "measured"], rows)
    print(append("viewer", resolved, threads, values))


def moving(page: Page) -> dict[str, Any]:
    """Pictures that came while the mouse turned the camera on and on: rate, waits, median size."""
    before = len(page.received())
    page.mouse("mousePressed", *FREE)
    began = time.monotonic()
    while (passed := time.monotonic() - began) < MOVING:
        angle = passed * math.tau / 4
        x, y = 120 * math.sin(angle), 30 * math.sin(2 * angle)
        page.mouse("mouseMoved", FREE[0] + x, FREE[1] + y)
        time.sleep(EVERY)
    came = page.received()[before:]
    page.mouse("mouseReleased", *FREE, 0)
    if len(came) < 2:
        raise UserError(f"{len(came)} pictures came in {MOVING:g} seconds of moving: too few.")
    times = [at for at, _, _ in came]
    widths, heights = ([entry[i] for entry in came] for i in (1, 2))
    canvas = page.canvas().shape
    return {
        "rate": (len(times) - 1) / (times[-1] - times[0]),
        "longest": max(b - a for a, b in pairwise(times)),
        "size": f"{median(widths):g}x{median(heights):g}",
        "canvas": f"{canvas[1]}x{canvas[0]}",
    }


@contextmanager
def served(words: list[str]) -> Iterator[str]:
    """The address of the page that ``scripts/view.py`` serves meanwhile."""
    program = [sys.executable, str(ROOT / "scripts" / "view.py"), *words]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            said = next((line for line in process.stdout if line.startswith(SAID)), "")
            if not said:
                raise UserError("scripts/view.py ended before it served a page: see above.")
            yield said.removeprefix("viewer: ").strip()
        finally:
            process.terminate()
