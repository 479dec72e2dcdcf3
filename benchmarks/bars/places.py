"""Where the commands of bars find captures, runs and copies."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.options import BenchmarkOptions
from benchmarks.records import ROOT
from neural_render.core.errors import UserError

DATA = "NEURAL_RENDER_DATA"
RUN = r"RUN\((.*?)\)"


class BarError(UserError):
    """A row that cannot be measured here, and why."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """What stands for ``DATA``, ``PROTOTYPE``, ``RUN(name)`` and ``COPY(path)`` in a command."""

    data: str
    prototype: str
    runs: Mapping[str, str]  # the run folder that a row made last, or that run= names
    commits: Mapping[str, str]  # with which those were made; "" where run= names one
    outputs: Path

    @staticmethod
    def of(options: BenchmarkOptions, newest: Mapping[str, Mapping[str, Any]]) -> "Places":
        """As the options say; ``run=`` of a 20 minutes' run of lego saves making one."""
        runs = {name: line["run"] for name, line in newest.items()}
        commits = {name: line["commit"] for name, line in newest.items()}
        if options.run != BenchmarkOptions().run:
            runs["lego-1200"], commits["lego-1200"] = options.run, ""
        return Places(
            data=options.data,
            prototype=options.prototype,
            runs=runs,
            commits=commits,
            outputs=Path(options.outputs).expanduser() / "bars",
        )

    @property
    def environment(self) -> dict[str, str]:
        """What commands are told beside their words: where tests find captures."""
        return {DATA: str(self._data())} if self.data else {}

    def log(self, name: str) -> Path:
        """The file for what a row's command says."""
        path = ROOT / self.outputs / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def commit_of_run(self, command: str) -> str | None:
        """The commit with which the run of a command was made; None for one that makes its own."""
        used = re.search(RUN, command)
        return self.commits.get(used[1], "") if used else None

    def filled(self, word: str) -> str:
        """A word of a command with its places; BarError for one that is not there."""
        word = re.sub(r"COPY\((.*?)\)", lambda found: str(self._copied(found[1])), word)
        word = re.sub(RUN, lambda found: self._run(found[1]), word)
        if "DATA" in word:
            word = word.replace("DATA", str(self._data()))
        if "PROTOTYPE" in word:
            if not self.prototype:
                raise BarError("left out, it needs prototype=DIR")
            if not Path(self.prototype).expanduser().is_dir():
                raise BarError(f"left out, prototype={self.prototype} is no folder")
            word = word.replace("PROTOTYPE", self.prototype)
        return word

    def _data(self) -> Path:
        if not self.data:
            raise BarError("left out, it needs data=DIR, the folder of captures")
        if not Path(self.data).expanduser().is_dir():
            raise BarError(f"left out, data={self.data} is no folder")
        return Path(self.data).expanduser().resolve()

    def _run(self, name: str) -> str:
        folder = self.runs.get(name, "")
        if not folder or not (ROOT / folder).is_dir():
            raise BarError(f"left out, it needs the run of bars={name}, which is measured first")
        return folder

    def _copied(self, name: str) -> Path:
        """A fresh copy, because what is found about photos is kept beside them."""
        source, target = self._data() / name, ROOT / self.outputs / "copies" / name
        if not source.exists():
            raise BarError(f"left out, {source} is not there")
        if target.parent.exists():
            shutil.rmtree(target.parent)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            target.parent.mkdir(parents=True)
            shutil.copy(source, target)
        return target
