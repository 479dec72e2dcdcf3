"""The page in a real browser: it shows the scene, obeys the mouse and its controls, keeps paths."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.pictures.chromium import Page, missing_programs, open_page
from benchmarks.pictures.viewer import served
from tests.flows.programs import SMALL, command, succeed
from tests.tiny_capture import write_blender_capture

SIZE = (640, 480)
MIDDLE = (slice(200, 280), slice(280, 360))
FREE = (80.0, 400.0)  # a place of the page where no control is
BUSY = """
const timer = window.setTimeout;
window.setTimeout = (done, ms, ...more) => timer(done, ms < 100 ? 12 * ms : ms, ...more);
"""


def check_browser() -> None:
    """A skip that says why, where there is no Chromium."""
    if missing := missing_programs():
        pytest.skip(f"{' and '.join(missing)} not installed: the page is tested without a browser")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A striped ball on white, trained for a moment, with a page that nobody visited."""
    check_browser()
    folder = tmp_path_factory.mktemp("viewed")
    capture = write_blender_capture(folder / "ball", num_train=12, num_test=1, size=40)
    words = (f"capture.path={capture}", "training.num_steps=100", *SMALL, "render.output=none")
    done = succeed("train.py", *words, "viewer=on", "viewer.port=28350", folder=folder)
    assert re.search(r"^viewer: http://127\.0\.0\.1:283\d\d$", done.output, re.MULTILINE)
    return folder / done.last_line


@pytest.fixture(scope="module")
def page(run: Path) -> Iterator[Page]:
    """The page of that run in a browser."""
    with (
        served([f"run={run}", "port=28400"]) as address,
        open_page(address, SIZE) as opened,
    ):
        opened.settled()
        yield opened


def difference(first: np.ndarray, second: np.ndarray) -> float:
    return np.abs(first.astype(float) - second.astype(float)).mean()


def corner_of(picture: np.ndarray) -> np.ndarray:
    return picture[440:470, 5:35].astype(float)


def test_the_page_shows_the_scene(page: Page) -> None:
    picture = page.settled()
    assert picture.shape == (480, 640, 3)
    assert corner_of(picture).min() > 240  # white
    assert picture[MIDDLE].mean() < 200
    _, width, height = page.received()[-1]
    assert (width, height) == SIZE


def test_the_mouse_turns_the_camera(page: Page) -> None:
    before = page.settled()
    page.drag(FREE, (160, 0))
    after = page.settled()
    assert difference(before[MIDDLE], after[MIDDLE]) > 10  # other stripes
    assert corner_of(after).min() > 240 and after[MIDDLE].mean() < 200


def test_the_wheel_goes_nearer(page: Page) -> None:
    before = page.settled()
    wheel = {"type": "mouseWheel", "x": FREE[0], "y": FREE[1], "deltaX": 0, "deltaY": -240}
    page.driver.execute_cdp_cmd("Input.dispatchMouseEvent", wheel)
    after = page.settled()
    larger, smaller = ((shown.mean(axis=2) < 235).mean() for shown in (after, before))
    assert larger > 1.1 * smaller


def test_a_control_changes_the_picture(page: Page) -> None:
    page.choose("Show", "Opacity")
    picture = page.settled()
    assert picture[MIDDLE].min() > 180 and corner_of(picture).max() < 60
    page.choose("Show", "Colour")
    assert corner_of(page.settled()).min() > 240


def test_a_path_made_on_the_page_is_rendered(page: Page, run: Path) -> None:
    """The frames are what the page showed where its keyframes were made."""
    page.press("Camera path")
    seen = []
    for _ in range(2):
        page.settled()  # a camera that still moves is added where it is by then
        page.press("Add this view")
        seen.append(page.settled())
        page.drag(FREE, (120, 15))
        page.settled()  # the camera swings on for a while
    page.driver.execute_script(BUSY)  # what is typed is sent late
    page.type("Seconds", "0.3")
    page.type("Frames a second", "10")
    page.type("Name", "round the ball")
    page.press("Save")
    path = run / "paths" / "round the ball.json"
    page.wait(path.is_file, "the path's file")
    words = (f"run={run}", f"path={path}", "output=frames", "size=160x120")
    succeed("render.py", *words, folder=run.parent)
    frames = sorted((run / "renders" / "round the ball_160x120").glob("color_*.png"))
    assert len(frames) == 3
    assert difference(seen[0], seen[1]) > 3
    for frame, shown in zip((frames[0], frames[-1]), seen, strict=True):
        small = np.asarray(Image.fromarray(shown).reduce(4))
        rendered = np.asarray(Image.open(frame).convert("RGB"))
        # The pyramid of the other keyframe stands on the page alone.
        assert difference(small, rendered) < 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_program_cleanly(run: Path, number: signal.Signals) -> None:
    """Also one that is ignored where the program is started, as shells do in the background."""
    program = command("scripts/view.py", f"run={run}", "port=28450")
    with subprocess.Popen(
        program,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        lines = iter(process.stdout.readline, "")
        address = next(line for line in lines if line.startswith("viewer: "))
        time.sleep(1)
        assert re.fullmatch(r"viewer: http://127\.0\.0\.1:\d+\n", address)
        process.send_signal(number)
        try:
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()  # nothing, where it has ended
        assert (output, errors) == ("viewer: closed\n", "")
    assert process.returncode == 0


def test_without_a_browser_the_tests_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent / "nowhere"))
    with pytest.raises(pytest.skip.Exception, match="chromium and chromedriver not installed"):
        check_browser()
