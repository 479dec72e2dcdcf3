"""A real browser without a window, that says what it asked for."""

import base64
import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PROGRAMS = ("chromium", "chromedriver")


def missing_browser() -> str:
    """Why no browser can be started here; empty where one can."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"{' and '.join(absent)} not installed" if absent else ""


@contextmanager
def browser(width: int = 1200, height: int = 900) -> Iterator["Chrome"]:
    """Chromium, of which nothing is downloaded and which asks nobody by itself."""
    from selenium import webdriver

    chromium, driver = (shutil.which(name) for name in PROGRAMS)
    assert chromium is not None and driver is not None, "see missing_browser"
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync")
    size = f"--window-size={width},{height}"
    for word in ("--headless=new", "--no-sandbox", "--no-first-run", "--disable-gpu", size, *quiet):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        started.set_page_load_timeout(60)
        yield started
    finally:
        started.quit()


def requests(driver: "Chrome") -> list[str]:
    """The addresses that pages asked for since this was asked last."""
    messages = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


def complaints(driver: "Chrome") -> list[str]:
    """What pages said that is an error or a warning."""
    return [entry["message"] for entry in driver.get_log("browser")]


def pixels(driver: "Chrome", selector: str) -> UInt8[np.ndarray, "height width 3"]:
    """What an element looks like now."""
    (element,) = driver.find_elements("css selector", selector)
    picture = Image.open(io.BytesIO(base64.b64decode(element.screenshot_as_base64)))
    return np.array(picture.convert("RGB"))


def show_as(driver: "Chrome", *, width: int, height: int, scheme: str) -> None:
    """Lets pages believe in a screen of this size, by day (``light``) or by night (``dark``)."""
    size: dict[str, Any] = {"width": width, "height": height, "deviceScaleFactor": 1}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**size, "mobile": width < 700})
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
