"""One program of the command line, from its words to its exit code."""

import errno
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import neural_render
from neural_render.config.arguments import Vocabulary, is_sweep, prepare
from neural_render.config.composition import check_grammar, run_job
from neural_render.config.manual import manual
from neural_render.config.processes import listen_here, told_by, working_together
from neural_render.config.settings import Setting, Settings, list_settings
from neural_render.config.sweep import Program, run_sweep
from neural_render.core.errors import UserError, reason_of
from neural_render.core.processes.signals import Terminated, listening
from neural_render.training.stopping import TrainingInterrupted

USER_ERROR, INTERRUPTED, BROKEN_PIPE, TERMINATED = 2, 130, 141, 143  # exit codes
LESS_MEMORY = (
    "halve training.samples_per_step and, for what photos take, capture.max_side; one less of"
    " field.grid.log2_rows halves the field. What training saved is kept: go on with run=FOLDER."
)
CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
# Of paths that the user gave, wherever they are looked at first.
CANNOT_USE = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR)
CANNOT_USE += (errno.EACCES, errno.EPERM)
LONG_WORD = re.compile(r"(\S{60})\S{180,}(\S{60})")


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program: what it is called, says of itself and can be told."""

    program: str
    summary: str
    examples: tuple[str, ...]
    sections: tuple[str, ...]  # the settings it uses: names of Settings' fields
    short: dict[str, str]  # short form -> full name; "" for a word that is a value alone
    configs: Path
    needs_run: bool  # works on an existing run; without `run=` on the latest one
    shares: bool = False  # its work among the processes that torchrun starts
    without: tuple[str, ...] = ()  # settings of its sections that it has no use for
    # The setting that says where it writes, in which jobs of a sweep differ. Of `run` all is
    # written; for any other, which may be left out, a job writes into `sweeps.own_folder`.
    place: str = "run"

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The settings that this program uses."""
        return tuple(
            setting
            for setting in list_settings(Settings)
            if setting.key.partition(".")[0] in self.sections and setting.key not in self.without
        )

    @property
    def presets(self) -> tuple[Path, ...]:
        """The files of the presets, which are for programs that train something."""
        if self.needs_run or "training" not in self.sections:
            return ()
        return tuple(sorted((self.configs / "preset").glob("*.yaml")))

    @property
    def launchers(self) -> tuple[Path, ...]:
        """The files of the ways to run the jobs of a sweep."""
        return tuple(sorted((self.configs / "launcher").glob("*.yaml")))

    @property
    def vocabulary(self) -> Vocabulary:
        """What its arguments are checked against."""
        own = {setting.key: setting for setting in self.settings}
        everything = frozenset(setting.key for setting in list_settings(Settings))
        return Vocabulary(
            program=self.program,
            settings=own,
            short=self.short,
            foreign=everything.difference(own),
            presets=tuple(path.stem for path in self.presets),
            launchers=tuple(path.stem for path in self.launchers),
        )


def main(command: Command, task: Callable[[Settings], None]) -> int:
    """The exit code after the task ran with the settings of ``sys.argv``, once per job of a sweep.

    A UserError becomes one line on stderr and exit code 2; Ctrl-C ends with 130, SIGTERM with 143,
    a reader that closed the pipe with 141. Other exceptions are bugs and pass.
    """
    with listening():
        return _ended(command, task)


def _ended(command: Command, task: Callable[[Settings], None]) -> int:
    """The exit code, with errors told."""
    try:
        _run(command, task, sys.argv[1:])
        sys.stdout.flush()
        return 0
    except UserError as error:
        return _complain(str(error))
    except TrainingInterrupted as interruption:
        if not told_by():
            print(interruption, file=sys.stderr)
        return interruption.exit_code
    except KeyboardInterrupt as interruption:
        terminated = isinstance(interruption, Terminated)
        print("terminated" if terminated else "interrupted", file=sys.stderr)
        return TERMINATED if terminated else INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more at exit, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (MemoryError, RuntimeError, OSError) as error:
        if sentence := sentence_of(error):
            return _complain(sentence)
        raise


def sentence_of(error: BaseException) -> str:
    """What a user is told of an error; "" for one that is a bug."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in CANNOT_WRITE:
        place = error.filename or "The output"
        return f"{place} cannot be written: {os.strerror(error.errno)}."
    if isinstance(error, OSError) and error.errno in CANNOT_USE and error.filename:
        return f"{error.filename} cannot be used: {reason_of(error)}; give another path."
    return out_of_memory(error)


def out_of_memory(error: BaseException) -> str:
    """The sentence for an allocation that failed, whoever made it; "" for any other error."""
    if isinstance(error, torch.OutOfMemoryError):
        place, asked = (
            "The GPU's memory is full",
            re.search(r"[Tt]ried to allocate (.*?B)", str(error)),
        )
    elif isinstance(error, MemoryError):
        place, asked = "Out of memory", re.fullmatch(r"(.+)", str(error))
    elif "DefaultCPUAllocator" in str(error):
        place, asked = "Out of memory", re.search(r"tried to allocate (\d+ bytes)", str(error))
    else:
        return ""
    return f"{place}{f' ({asked[1]})' if asked else ''}: {LESS_MEMORY}"


def _complain(sentence: str) -> int:
    brief = LONG_WORD.sub(r"\1...\2", " ".join(sentence.split()))
    print(f"error: {told_by()}{brief}", file=sys.stderr)
    return USER_ERROR


def _run(command: Command, task: Callable[[Settings], None], words: Sequence[str]) -> None:
    if "--version" in words:
        print(f"neural_render {neural_render.__version__}")
    elif "--help" in words or "-h" in words:
        print(
            manual(
                program=command.program,
                summary=command.summary,
                examples=command.examples,
                settings=command.settings,
                short=command.short,
                presets=command.presets,
                launchers=command.launchers,
            )
        )
    else:
        listen_here()
        sys.argv[1:] = prepare(words, command.vocabulary)
        check_grammar(sys.argv[1:])
        sweeps = is_sweep(words)
        program = f"{command.program} -m" if sweeps else command.program
        with working_together(program, command.shares and not sweeps):
            if sweeps:
                run_sweep(_program(command, task), sys.argv[1:])
            else:
                run_job(task, configs=command.configs, needs_run=command.needs_run)


def _program(command: Command, task: Callable[[Settings], None]) -> Program:
    """The command as a sweep sees it."""
    return Program(
        task=task,
        path=command.configs.parent / command.program,
        configs=command.configs,
        needs_run=command.needs_run,
        place=command.place,
        explain=sentence_of,
    )
