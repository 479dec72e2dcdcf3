"""The pages in a real browser, opened from the disk: they ask nobody, and what moves moves."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from neural_render.evaluation.pages.comparison import write_comparison
from neural_render.evaluation.pages.plan import NO_PLAN
from neural_render.evaluation.pages.report import write_report
from tests.browser import browser, complaints, missing_browser, pixels, requests, show_as
from tests.evaluation.pages.runs import HOSTILE, measured_run

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

pytestmark = pytest.mark.skipif(bool(missing_browser()), reason=missing_browser() or "-")
NAMES = (HOSTILE, "two", "three")
SIZE = (96, 64)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A browser, and the pages that it is to open."""

    driver: "Chrome"
    report: Path
    comparison: Path

    def open(self, page: Path, *, width: int = 1200, scheme: str = "light") -> None:
        """Shows a page; what was asked for before is forgotten."""
        show_as(self.driver, width=width, height=900, scheme=scheme)
        requests(self.driver)
        self.driver.get(page.as_uri())

    def one(self, selector: str) -> "WebElement":
        """The first element that a selector finds."""
        return self.driver.find_elements("css selector", selector)[0]

    def drag(self, selector: str, across: int) -> None:
        """Moves the pressed mouse from the middle of an element to the right."""
        from selenium.webdriver import ActionChains

        hand = ActionChains(self.driver, duration=20).move_to_element(self.one(selector))
        hand.click_and_hold().move_by_offset(across, 0).release().perform()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    folder = tmp_path_factory.mktemp("pages")
    runs = [
        measured_run(folder / "ball/A", [0.3, 0.2, 0.1], names=NAMES, size=SIZE),
        measured_run(folder / "ball/B", [-0.3, 0.2, 0.1], names=NAMES, size=SIZE),
    ]
    report, comparison = folder / "ball/A/report.html", folder / "comparison.html"
    write_report(
        report,
        title="ball",
        record=runs[0].record,
        curve=runs[0].curve,
        changed_settings={},
        plan=NO_PLAN,
    )
    write_comparison(comparison, runs, {"seed": ["0", "1"]})
    with browser() as driver:
        yield Opened(driver=driver, report=report, comparison=comparison)


@pytest.mark.parametrize("page", ["report", "comparison"])
def test_nothing_is_asked_for_and_nothing_complains(opened: Opened, page: str) -> None:
    opened.open(getattr(opened, page))
    asked = requests(opened.driver)
    assert asked[0].startswith("file://") and asked[0].endswith(".html")
    assert all(address.startswith("data:") for address in asked[1:]), asked
    assert complaints(opened.driver) == []
    broken = "return [...document.images].filter(image => !image.naturalWidth).length"
    assert opened.driver.execute_script(broken) == 0


@pytest.mark.parametrize("page", ["report", "comparison"])
def test_dragging_the_line_changes_the_picture(opened: Opened, page: str) -> None:
    opened.open(getattr(opened, page))
    before = pixels(opened.driver, ".stage").astype(int)
    opened.drag(".stage", 200)
    changed = np.abs(pixels(opened.driver, ".stage").astype(int) - before).sum(axis=(0, 2)) > 0
    middle = len(changed) // 2
    assert changed[middle + 20 : middle + 190].all(), "what was on the right of the line"
    assert not changed[: middle - 30].any() and not changed[middle + 230 :].any()


def test_views_and_layers_are_chosen(opened: Opened) -> None:
    from selenium.webdriver import Keys
    from selenium.webdriver.support.ui import Select

    opened.open(opened.report)
    assert opened.one(".what b").text == HOSTILE, "the worst one, and as text"
    first = pixels(opened.driver, ".stage")
    opened.one(".stage").send_keys(Keys.ARROW_RIGHT)
    assert opened.one(".what b").text == "two"
    assert (pixels(opened.driver, ".stage") != first).any()
    second = pixels(opened.driver, ".stage")
    Select(opened.one("select.right")).select_by_visible_text("error")
    assert (pixels(opened.driver, ".stage") != second).any()
    opened.driver.find_elements("css selector", ".film button")[2].click()
    assert opened.one(".what b").text == "three"


def test_a_click_shows_a_picture_in_the_whole_window(opened: Opened) -> None:
    from selenium.webdriver import Keys

    opened.open(opened.report)
    opened.driver.find_elements("css selector", ".strip img")[4].click()
    assert opened.one(".what b").text == "two"
    assert opened.one(".viewer").size == {"width": 1200, "height": 900}
    opened.one("[data-do=in]").click()
    assert opened.one("output").text.endswith("%")
    opened.one(".stage").send_keys(Keys.ESCAPE)
    assert opened.one(".viewer").size["height"] < 900


def test_charts_tell_values_under_the_pointer(opened: Opened) -> None:
    from selenium.webdriver import ActionChains

    opened.open(opened.comparison)
    chart = opened.one(".chart svg")
    ActionChains(opened.driver, duration=20).move_to_element(chart).perform()
    assert opened.one(".chart .at").get_attribute("textContent") == "2.0 s"
    values = opened.driver.find_elements("css selector", ".chart .values b")[:2]
    assert [value.text for value in values] == ["24", "24"]
    opened.one("label[for=over-step]").click()
    assert not chart.is_displayed()


def test_a_head_sorts_its_column(opened: Opened) -> None:
    opened.open(opened.report)
    heads = opened.driver.find_elements("css selector", ".tall th.number")
    for order in (-1, 1):
        heads[0].click()
        cells = opened.driver.find_elements("css selector", ".tall td:nth-child(2)")
        numbers = [float(cell.text) for cell in cells]
        assert numbers == sorted(numbers, reverse=order < 0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", ["report", "comparison"])
def test_a_phone_shows_it_whole_by_day_and_night(opened: Opened, page: str, scheme: str) -> None:
    opened.open(getattr(opened, page), width=390, scheme=scheme)
    wide = opened.driver.execute_script("return document.documentElement.scrollWidth")
    assert wide <= 390
    corner = pixels(opened.driver, "body")[2, 2]
    assert (corner > 200).all() if scheme == "light" else (corner < 60).all()
