"""The table of all bars in ``benchmarks/README.md``, made from their newest records."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bars.records import Asked, Row, figure_of
from neural_render.core.errors import UserError
from neural_render.core.files import whole_file

BEGIN, END = "<!-- bars -->", "<!-- end of bars -->"
HEADS = (
    "| bar | asked | seen | `bars=` | commit | wall | machine |\n|---|---|---|---|---|---|---|\n"
)


def into_readme(path: Path, rows: Sequence[Row], newest: Mapping[str, Mapping[str, Any]]) -> Path:
    """Puts the table between its marks in a file and gives the file's path."""
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{path} has no lines {BEGIN} and {END} for the table: put them in.")
    with whole_file(path) as whole:
        table = table_of(rows, newest)
        whole.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
    return path


def table_of(rows: Sequence[Row], newest: Mapping[str, Mapping[str, Any]]) -> str:
    """Bars with what was asked and seen; below them the commands, and why some are missed."""
    measured = {row.name: _machine(newest[row.name]) for row in rows if row.name in newest}
    machines = sorted({*measured.values()})
    numbers = {name: str(1 + machines.index(machine)) for name, machine in measured.items()}
    lines = [
        line
        for row in rows
        for line in _bars(row, newest.get(row.name, {}), numbers.get(row.name, ""))
    ]
    commands = [f"- `{row.name}`: `{row.command}`{_protocol(row)}" for row in rows]
    reasons = [f"- `{row.name}`: {row.missed}." for row in rows if row.missed]
    told = "; ".join(f"{number}: {machine}" for number, machine in enumerate(machines, start=1))
    return "\n".join(
        [
            HEADS + "\n".join(lines),
            "",
            f"Machines and backends: {told or 'none yet'}.",
            "",
            "Missed, not measured, or missed now and then:",
            *reasons,
            "",
            "Commands (`DATA`: the folder of captures, `RUN(name)`: the run that a row made,"
            " `COPY(path)`: a fresh copy, because what is found about photos is kept beside them):",
            *commands,
        ]
    )


def _bars(row: Row, line: Mapping[str, Any], machine: str) -> Iterator[str]:
    """The lines of a row, of which the first one says how it was measured."""
    wall = f"{line['wall']:.0f} s" if line else ""
    how = f"`{row.name}` | {_commit(line)} | {wall} | {machine}"
    for bar in row.asked:
        seen = _seen(bar, line)
        yield f"| {row.name}: {bar.what} | {bar.wanted} | {seen} | {how} |"
        how = " |  |  | "


def _commit(line: Mapping[str, Any]) -> str:
    """The commit of a line, and of the run that it is about where that is another one."""
    here = line.get("commit", "")
    of = line.get("of", here)
    return here if of == here else f"{here}, {f'run of {of}' if of else 'a given run'}"


def _seen(bar: Asked, line: Mapping[str, Any]) -> str:
    value = figure_of(line, bar.what)
    if math.isnan(value):
        return f"**failed (exit code {line['failed']})**" if "failed" in line else bar.told(value)
    return bar.shown(value) if bar.met(value) else f"**{bar.shown(value)}, missed**"


def _protocol(row: Row) -> str:
    return f" ({row.protocol})" if row.protocol else ""


def _machine(line: Mapping[str, Any]) -> str:
    machine = line["machine"]
    about = machine if isinstance(machine, str) else ", ".join(machine.values())
    return f"{about}, {line['threads']} threads, `{line['backend']}`"
