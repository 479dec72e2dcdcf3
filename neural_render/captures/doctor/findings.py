"""What the doctor has to say, one record per thing, and as a table."""

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

WIDTH, NARROWEST = 100, 60  # columns


class Severity(IntEnum):
    """How much a finding matters."""

    GOOD = 0  # looked at, nothing wrong
    NOTE = 1  # worth knowing
    WARNING = 2  # costs quality
    FAULT = 3  # nothing good can come of it


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was found: a short name, one sentence, and how to mend it ("" if nothing)."""

    name: str
    severity: Severity
    sentence: str
    mend: str = ""

    @property
    def line(self) -> str:
        """All of it in one line."""
        return f"{self.name}: {self.sentence}" + (f": {self.mend}" if self.mend else "")


def table(findings: Sequence[Finding]) -> str:
    """The findings, worst first, as lines of text."""
    rows = []
    width = max(min(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH), NARROWEST)
    ordered = sorted(findings, key=lambda finding: -finding.severity)
    left = max((len(finding.name) for finding in findings), default=0) + 2
    for finding in ordered:
        text = finding.sentence + (f" -> {finding.mend}" if finding.mend else "")
        mark = f"{finding.severity.name.lower():<9}{finding.name:<{left}}"
        lines = textwrap.wrap(  # a path that is too long stays whole: it is copied
            text, width - len(mark), break_on_hyphens=False, break_long_words=False
        )
        rows += [mark + lines[0], *(" " * len(mark) + line for line in lines[1:])]
    return "\n".join(rows)


def worst(findings: Sequence[Finding]) -> Severity:
    """The severity of the worst finding."""
    return max((finding.severity for finding in findings), default=Severity.GOOD)


def few_names(names: Sequence[str], shown: int = 6) -> str:
    """The first names, and how many more there are."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")
