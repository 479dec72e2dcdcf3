"""A headless Chromium and the viewer's page in it: pressed, dragged and looked at as by a user."""

import base64
import io
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from neural_render.core.errors import UserError

PROGRAMS = ("chromium", "chromedriver")
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    # WebGL without a graphics card.
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
PATIENCE = 150.0  # seconds
# A page's controls share one message each 50 ms: of several that wait, the last alone is sent. A
# timer that is set later, and for longer, ends later, however busy the page is.
SENT = "setTimeout(arguments[0], 60)"
CALM = 0.5  # seconds without a change after which a picture is taken for the last
CALM_LOOKS = 10  # and so many looks: where others keep this machine busy, seconds are short
# Notes when each picture came, when the first one could be seen, and when the page last said where
# its camera is, in milliseconds since the page was asked for. Pictures are blobs before they are
# textures, and so are their depths, which are PNG whatever their blobs say.
NOTES = """
window.pictures = []; window.firstSeen = 0; window.cameraSaid = 0;
const post = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (data, ...rest) {
  if (data?.message?.type === 'ViewerCameraMessage') window.cameraSaid = performance.now();
  return post.call(this, data, ...rest);
};
const make = URL.createObjectURL.bind(URL);
URL.createObjectURL = (thing) => {
  if (thing.type === 'image/jpeg') window.pictures.push([performance.now(), thing]);
  return make(thing);
};
const small = document.createElement('canvas'); small.width = small.height = 16;
const look = () => {
  const canvas = [...document.querySelectorAll('canvas')].find((c) => c.width > 0);
  if (canvas && window.pictures.length) {
    const drawn = small.getContext('2d', {willReadFrequently: true});
    drawn.clearRect(0, 0, 16, 16);
    drawn.drawImage(canvas, 0, 0, 16, 16);
    const seen = drawn.getImageData(0, 0, 16, 16).data;
    if (seen.some((value, i) => i % 4 < 3 && Math.abs(value - seen[i % 4]) > 8)) {
      window.firstSeen = performance.now();
      return;
    }
  }
  requestAnimationFrame(look);
};
document.addEventListener('DOMContentLoaded', look);
"""
SIZES = """
const [first, done] = arguments;
Promise.all(window.pictures.slice(first).map(async ([at, blob]) => {
  const [begin] = new Uint8Array(await blob.slice(0, 1).arrayBuffer());
  if (begin !== 0xff) return null;
  const picture = await createImageBitmap(blob);
  return [at, picture.width, picture.height];
})).then((found) => {
  done([found.filter((entry) => entry), window.pictures.length, window.cameraSaid]);
});
"""


def missing_programs() -> list[str]:
    """Which of Chromium's two programs are not installed."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


@contextmanager
def open_page(address: str, size: tuple[int, int]) -> Iterator["Page"]:
    """The viewer's page in a window of a size; UserError where no browser can be had."""
    if missing := missing_programs():
        raise UserError(
            f"{' and '.join(missing)} cannot be found: install Chromium and its driver (on Debian:"
            " apt install chromium chromium-driver)."
        )
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ARGUMENTS:
        options.add_argument(argument)
    # With the path stated, selenium looks for no browser elsewhere.
    driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
    try:
        window = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": NOTES})
        page = Page(driver, f"{address}/?fixedDpr=1")
        page.load()
        yield page
    finally:
        driver.quit()


class Page:
    """The page, once it is open."""

    def __init__(self, driver: Any, address: str) -> None:
        self.driver, self._address = driver, address

    def load(self) -> None:
        """Asks for the page, anew if it is there."""
        self.driver.get(self._address)

    def wait(self, done: Callable[[], Any], what: str) -> Any:
        """What ``done`` gives, once that is something; AssertionError after a minute."""
        end = time.monotonic() + PATIENCE
        while not (found := done()):
            if time.monotonic() > end:
                says = self.driver.execute_script("return document.body.innerText")
                raise AssertionError(f"{what} did not come, and the page says {says!r}")
            time.sleep(0.05)
        return found

    def first_seen(self) -> float:
        """Seconds from asking for the page to its first picture."""
        seen = self.wait(lambda: self.driver.execute_script("return window.firstSeen"), "a picture")
        return seen / 1e3

    def received(self) -> list[tuple[float, int, int]]:
        """When each picture came, in seconds since the page was asked for, and its size."""
        found, *_ = self.driver.execute_async_script(SIZES, 0)
        return [(at / 1e3, width, height) for at, width, height in found]

    def canvas(self) -> UInt8[np.ndarray, "height width 3"]:
        """What is drawn on the page behind its controls."""
        data = self.driver.execute_script(
            "return [...document.querySelectorAll('canvas')].find((c) => c.width > 0)"
            ".toDataURL('image/png')"
        )
        content = base64.b64decode(data.partition(",")[2])
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))

    def settled(self) -> UInt8[np.ndarray, "height width 3"]:
        """The same, once pictures have become as fine as the page and no more come.

        The last one came after the page said where its camera is.
        """
        self.first_seen()
        count, last, since, looks = 0, [0.0, 0, 0], time.monotonic(), 0
        end = since + PATIENCE
        height, width, _ = self.canvas().shape
        while time.monotonic() < since + CALM or looks < CALM_LOOKS:
            new, count, said = self.driver.execute_async_script(SIZES, count)
            last = new[-1] if new else last
            looks += 1
            if new or last[1:] != [width, height] or last[0] < said:
                since, looks = time.monotonic(), 0
            assert time.monotonic() < end, "the page's last picture did not come"
            time.sleep(0.05)
        return self.canvas()

    def mouse(self, kind: str, x: float, y: float, buttons: int = 1) -> None:
        """A movement, a press or a release of the mouse at a place of the page."""
        event = {"type": kind, "x": x, "y": y, "button": "left", "buttons": buttons}
        self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", event | {"clickCount": 1})

    def drag(self, start: tuple[float, float], way: tuple[float, float], steps: int = 8) -> None:
        """Presses the mouse at a place, moves it on and lets go."""
        self.mouse("mousePressed", *start)
        for step in range(1, steps + 1):
            part = step / steps
            self.mouse("mouseMoved", start[0] + part * way[0], start[1] + part * way[1])
            time.sleep(0.02)
        self.mouse("mouseReleased", start[0] + way[0], start[1] + way[1], 0)

    def press(self, text: str) -> None:
        """Clicks the button, or opens the folder, with a text."""
        self._click(self._found(f"//*[normalize-space(text())='{text}']"))

    def choose(self, label: str, option: str) -> None:
        """Opens a list and clicks one of its options."""
        self._click(self.field(label))
        self._click(self._found(f"//*[@role='option'][normalize-space(.)='{option}']"))

    def type(self, label: str, text: str) -> None:
        """Types a text into a field, in place of what it holds."""
        from selenium.webdriver.common.keys import Keys

        def typed() -> bool:
            field = self.field(label)
            field.send_keys(Keys.CONTROL + "a")
            field.send_keys(text, Keys.ENTER)
            self.driver.execute_async_script(SENT)
            return field.get_attribute("value") == text

        self.wait(typed, f"{text} in {label}")  # a busy page may put an older value back meanwhile

    def field(self, label: str) -> Any:
        """The field beside a label."""
        named = f"//label[normalize-space(.)='{label}']"
        return self._found(f"{named}/ancestor::*[.//input][1]//input[not(@type='hidden')]")

    def _found(self, path: str) -> Any:
        """The first element on a path that can be seen."""
        from selenium.webdriver.common.by import By

        def look() -> Any:
            elements = self.driver.find_elements(By.XPATH, path)
            return next((element for element in elements if element.is_displayed()), None)

        return self.wait(look, path)

    def _click(self, element: Any) -> None:
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()
        self.driver.execute_async_script(SENT)
