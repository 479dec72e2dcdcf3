"""Bars: what is asked, of which figure of which command."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Lines = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a command left behind."""

    # `metrics.json` of the run whose folder it printed last; else the last line that it recorded.
    record: Mapping[str, Any] = field(default_factory=dict)
    lines: Lines = ()  # all lines that it recorded
    code: int = 0  # its exit code
    wall: float = 0.0  # its seconds as a whole
    peak_gib: float = 0.0  # the most memory that one of its processes held
    commit: str = ""  # with which it began, and where
    machine: Any = None
    said: tuple[str, ...] = ()  # the lines that it printed
    earlier: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # lines of other rows


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One bar: a figure and where it has to lie."""

    what: str
    figure: Callable[[Found], float]
    at_least: float = -math.inf
    at_most: float = math.inf
    unit: str = "dB"
    digits: int = 2
    is_exit_code: bool = False  # it is known of a command that fails, too

    def met(self, value: float) -> bool:
        """Whether the bar is reached; a figure that is not known reaches none."""
        return self.at_least <= value <= self.at_most

    @property
    def wanted(self) -> str:
        """The bar as text."""
        if self.unit == PASSES:
            return "passes"
        if self.at_least > -math.inf and self.at_most < math.inf:
            return f"{self.at_least:g} to {self.at_most:g}{self._behind}"
        if self.at_least > -math.inf:
            return f">= {self.at_least:g}{self._behind}"
        return f"<= {self.at_most:g}{self._behind}" if self.at_most < math.inf else "reported"

    def told(self, value: float) -> str:
        """A figure as text, also one that is not known."""
        return "not measured" if math.isnan(value) else self.shown(value)

    def shown(self, value: float) -> str:
        """A figure as text."""
        if self.unit == PASSES:
            return "passes" if self.met(value) else "fails"
        return "none" if math.isnan(value) else f"{value:.{self.digits}f}{self._behind}"

    @property
    def _behind(self) -> str:
        return self.unit if self.unit in ("", "x", "%") else f" {self.unit}"


PASSES = "passes"  # the unit of what is so or is not


@dataclass(frozen=True, kw_only=True)
class Row:
    """A command and all the bars that it measures."""

    name: str
    # As a shell would read it; DATA is the folder of captures, RUN(name) the run that a row made.
    command: str
    asked: tuple[Asked, ...]
    protocol: str = ""
    missed: str = ""  # why a bar of it is missed, and what would close the gap
    device: str = ""  # "cuda": only where there is one


def value_at(path: str) -> Callable[[Found], float]:
    """The figure of a record that stands at ``a/b/0/c``; NaN where there is none."""

    def figure(found: Found) -> float:
        return number_at(found.record, path)

    return figure


def number_at(record: Any, path: str) -> float:
    """The number at ``a/b/0/c`` of something read from JSON; NaN where there is none."""
    for key in path.split("/"):
        try:
            record = record[int(key)] if isinstance(record, list) else record[key]
        except (KeyError, IndexError, TypeError, ValueError):
            return math.nan
    return float(record) if isinstance(record, int | float) else math.nan


def figure_of(line: Mapping[str, Any], what: str) -> float:
    """The figure of one bar in a row's line; NaN where it was not measured."""
    value = line.get("figures", {}).get(what)
    return math.nan if value is None else float(value)


def passes(what: str) -> Asked:
    """The bar of a command that only has to end well."""
    return _ends_well(what, lambda found: found.code)


def passes_tests(what: str) -> tuple[Asked, Asked]:
    """The bars of a command that runs pytest: its tests pass, one at least; how many it skipped."""

    def ended(found: Found) -> float:
        return found.code if found.code or num_tests(found, "passed") > 0 else math.nan

    def skipped(found: Found) -> float:
        return num_tests(found, "skipped")

    return (
        _ends_well(what, ended),
        Asked(what="skipped", figure=skipped, unit="", digits=0),
    )


def num_tests(found: Found, how: str) -> float:
    """How many tests ended in a way (``passed``), as pytest's last line says; NaN without one."""
    last = found.said[-1] if found.said else ""
    counts = {word: int(count) for count, word in re.findall(r"(\d+) ([a-z]+)", last)}
    return counts.get(how, 0) if re.search(r" in [\d.]+s\b", last) else math.nan


def _ends_well(what: str, figure: Callable[[Found], float]) -> Asked:
    return Asked(what=what, figure=figure, at_most=0, unit=PASSES, is_exit_code=True)
