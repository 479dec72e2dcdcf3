"""``suite=inputs``: broken inputs, by hand and by chance, at every door of the program.

Each must end in one sentence and exit code 2, and leave everything as it was. What turns out to be
no harm (exit code 0) is no broken input: the next one takes its place.
"""

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from random import Random

from benchmarks import records
from benchmarks.abuse import damage, serving
from benchmarks.abuse.cases import (
    WELL,
    Broken,
    Case,
    Entry,
    Verdict,
    differences,
    faults_of,
    inventory,
)
from benchmarks.abuse.doors import captures, runs, scenes, settings, visitors
from benchmarks.options import BenchmarkOptions
from neural_render.core.errors import SettingError, UserError

GROUPS = ("captures", "runs", "packages", "camera paths", "scenes", "settings", "viewer")
SHARE_BY_HAND = 0.6


def run(options: BenchmarkOptions) -> None:
    """Breaks inputs, judges, prints the table and the bad, appends a line."""
    wanted = options.only or GROUPS
    if unknown := set(wanted).difference(GROUPS):
        raise SettingError(f"only={','.join(unknown)}: give some of {', '.join(GROUPS)}.")
    with tempfile.TemporaryDirectory(prefix="broken_inputs_") as scratch:
        verdicts = judged_all(Path(scratch).resolve(), wanted, options.seed, options.count)
    show(verdicts)
    if options.file:
        _write(Path(options.file), verdicts)
    groups = {name: [v for v in verdicts if v.case.entry.group == name] for name in wanted}
    values = {
        "seed": options.seed,
        "cases": len(verdicts),
        "good": sum(not verdict.faults for verdict in verdicts),
        "by_hand": sum(not verdict.case.generated for verdict in verdicts),
        "groups": {
            name: {"cases": len(found), "good": sum(not verdict.faults for verdict in found)}
            for name, found in groups.items()
        },
        "bad": [f"{v.case.entry.name}: {v.case.what}" for v in verdicts if v.faults],
    }
    records.append("inputs", "-", 1, values)


def judged_all(scratch: Path, groups: tuple[str, ...], seed: int, count: int) -> list[Verdict]:
    """The verdicts on ``count`` broken inputs at the doors of some groups."""
    templates = _Templates(scratch)
    entries = [entry for entry in templates.entries() if entry.group in groups]
    found: list[Verdict] = []
    if "viewer" in groups:
        share = count if len(groups) == 1 else max(1, count // 10)
        found += visitors.judged_visits(templates.base(), scratch, seed, share)
        for verdict in filter(_is_bad, found):
            _show_bad(verdict)
    for case in _cases(entries, seed, count - len(found)):
        verdict = judged(case, templates.of(case.entry), scratch)
        if verdict.counts:
            found.append(verdict)
        if verdict.faults:
            _show_bad(verdict)
        if len(found) >= count:
            break
    return found


def judged(case: Case, template: Path, scratch: Path) -> Verdict:
    """Breaks a copy of a template and starts the program on it."""
    place = scratch / f"case_{case.seed}"
    folder, here = place / "in", place / "here"
    captures.copied(template, folder)
    here.mkdir()
    case.broken.damage(folder, Random(case.seed))
    before = inventory(folder), inventory(here)
    words = case.words(folder)
    answer = serving.run_program(case.entry.program, words, here, serves=case.entry.serves)
    changes = differences(before[0], inventory(folder))
    changes += differences(before[1], inventory(here))
    about = (str(folder), *case.broken.about)
    command = " ".join(["python", case.entry.program, *(repr(word)[1:-1][:200] for word in words)])
    faults = tuple(faults_of(answer, about, changes))
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(place)
    return Verdict(case=case, command=command, answer=answer, faults=faults)


class _Templates:
    """What is to be broken, made once for each entry, at its first use."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._made: dict[str, Path] = {}
        self.base: Callable[[], Path] = cache(lambda: runs.trained(scratch))

    def entries(self) -> list[Entry]:
        return [
            *captures.entries(),
            *runs.entries(self.base),
            *scenes.entries(),
            *settings.entries(self.base),
        ]

    def of(self, entry: Entry) -> Path:
        """The folder with the unbroken input; UserError where even that is refused."""
        if entry.name in self._made:
            return self._made[entry.name]
        folder = self._scratch / "whole" / entry.name.replace(" ", "_")
        folder.mkdir(parents=True)
        if entry.needs_run:
            self.base()
        # In a fork too: what a library starts to make an input, other forks would miss.
        made = serving.forked(partial(_make, entry, folder), folder)
        if made.code:
            raise UserError(f"{entry.name} cannot be made: {made.errors}")
        self._made[entry.name] = folder
        if entry.sound:
            case = Case(entry=entry, what="nothing", broken=Broken(), seed=0, generated=False)
            whole = judged(case, folder, self._scratch)
            if whole.answer.code != WELL or whole.faults:
                raise UserError(
                    f"{entry.name} is refused before anything is broken: {whole.command}:"
                    f" {whole.faults} {whole.answer.errors}"
                )
        return folder


def _make(entry: Entry, folder: Path) -> int:
    entry.make(folder)
    return WELL


def _cases(entries: list[Entry], seed: int, count: int) -> Iterator[Case]:
    """Broken inputs of entries, without end: by hand in equal shares, then by chance in turn."""
    chance = Random(seed)
    by_hand = [case for entry in entries for case in _by_hand(entry, chance)]
    most = int(count * SHARE_BY_HAND)
    if len(by_hand) > most:
        by_hand = [by_hand[place] for place in sorted(chance.sample(range(len(by_hand)), most))]
    number = 1
    for case in by_hand:
        yield dataclasses.replace(case, seed=1000 * seed + number)
        number += 1
    while entries:
        for entry in entries:
            for place in range(1 + len(entry.victims)):
                yield _by_chance(entry, place, 1000 * seed + number)
                number += 1


def _by_hand(entry: Entry, chance: Random) -> Iterator[Case]:
    """All that was thought of for an entry; and some of the general ways for each of its files."""
    for what, broken in entry.by_hand.items():
        yield Case(entry=entry, what=what, broken=broken, seed=0, generated=False)
    for victim in entry.victims:
        for what in chance.sample(sorted(damage.WHOLE), 4):
            broken = Broken(damage=_aimed(damage.WHOLE[what], victim))
            yield Case(
                entry=entry, what=f"{victim}: {what}", broken=broken, seed=0, generated=False
            )


def _by_chance(entry: Entry, place: int, seed: int) -> Case:
    """A file of an entry broken by chance, or a wrong value of a setting."""
    if not entry.victims:
        broken = settings.wrong_value(entry.program, Random(seed))
        what = broken.words[0]
    else:
        victim = entry.victims[place % len(entry.victims)]
        broken = Broken(damage=_aimed(damage.by_chance, victim))
        what = f"{victim}: by chance, {seed}"
    return Case(entry=entry, what=what, broken=broken, seed=seed, generated=True)


def _aimed(harm: Callable[[Path, Random], object], victim: str) -> Callable[[Path, Random], None]:
    def aimed(folder: Path, chance: Random) -> None:
        harm(folder / victim, chance)

    return aimed


def show(verdicts: list[Verdict]) -> None:
    """Prints how many went well at each entry."""
    rows: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        entry = verdict.case.entry
        rows.setdefault(f"{entry.group}: {entry.name}", []).append(verdict)
    table = [
        [
            name,
            str(len(found)),
            str(sum(not v.faults for v in found)),
            str(sum(map(_is_bad, found))),
        ]
        for name, found in rows.items()
    ]
    bad = sum(map(_is_bad, verdicts))
    table.append(["all", str(len(verdicts)), str(len(verdicts) - bad), str(bad)])
    records.print_table("broken inputs", ["entry", "cases", "good", "bad"], table)


def _show_bad(verdict: Verdict) -> None:
    """Prints what can be said against one, at once: the next ones may take a while."""
    print(f"\n{verdict.case.entry.name}: {verdict.case.what}: {'; '.join(verdict.faults)}")
    print(f"  {verdict.command}")
    for line in verdict.answer.errors.splitlines()[-12:]:
        print(f"    {line[:1000]}", flush=True)


def _is_bad(verdict: Verdict) -> bool:
    return bool(verdict.faults)


def _write(path: Path, verdicts: list[Verdict]) -> None:
    """Every case with what was said, for somebody who reads sentences."""
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for verdict in verdicts:
            entry, answer = verdict.case.entry, verdict.answer
            said = {
                "entry": entry.name,
                "what": verdict.case.what,
                "command": verdict.command,
                "code": answer.code,
                "seconds": round(answer.seconds, 2),
                "faults": verdict.faults,
                "errors": answer.errors,
            }
            file.write(json.dumps(said, ensure_ascii=False) + "\n")
