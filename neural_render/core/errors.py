"""The errors a user can cause. Each message is one sentence: what, where, how to mend it."""

import re

# What Python says of files whose values are not what a reader takes them for.
PLAINLY = {
    IndexError: "it refers to an entry that is not there",
    TypeError: "one of its values is of another kind than is wanted there",
    AttributeError: "one of its values is of another kind than is wanted there",
    RecursionError: "it is nested too deeply",
}
PLACE_IN_MEMORY = re.compile(r"\s*<[^<>]* at 0x[0-9a-f]+>")
LONGEST_REASON = 200  # letters of what a library has to say


class UserError(ValueError):
    """Something the user gave cannot be used: the command line prints one line, exit code 2."""


class SettingError(UserError):
    """A setting is unknown, of the wrong type or out of range."""


class CaptureError(UserError):
    """A capture (photos and cameras) is missing, broken or contradicts itself."""


class SceneError(UserError):
    """An artist's scene is missing, broken, unlit, or cannot be traced here."""


class CheckpointError(UserError):
    """A checkpoint or run folder is missing, truncated, of another architecture or not ours."""


class PackageError(UserError):
    """A package is missing, truncated, not ours, from a newer version or too large."""


class KernelError(UserError):
    """A kernel backend that was asked for by name cannot run here."""


class ProcessError(UserError):
    """The processes that share a job did not find each other, or one of them is gone."""


class EvaluationError(UserError):
    """Measured figures that mean different things were to be compared."""


class DivergenceError(UserError):
    """Training produced a non-finite loss or parameter."""


class OutputError(UserError):
    """Something cannot be written: full disk, read-only folder, no encoder."""


def with_extra(extra: str) -> str:
    """How libraries that are missing come to be there: what a sentence about them ends with."""
    return f'pip install -e ".[{extra}]" in the project\'s folder'


def reason_of(error: BaseException) -> str:
    """Why something failed, as part of a sentence: one line, not long, no full stop at its end."""
    text = getattr(error, "strerror", None) or str(error)
    if isinstance(error, UnicodeDecodeError):
        text = f"its byte {error.start} is not of a text in {error.encoding.upper()}"
    elif isinstance(error, KeyError):
        text = f"it lacks {text}"
    text = next((words for kind, words in PLAINLY.items() if isinstance(error, kind)), text)
    text = PLACE_IN_MEMORY.sub("", text)
    text = " ".join(text.split()).rstrip(". ") or "no reason was given"
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} ..."
