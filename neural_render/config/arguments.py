"""The command line's words, checked and rewritten so that Hydra's grammar takes them as they are.

Hydra alone rejects text values with ``~ = , [ ] { }``, spaces or non-ASCII letters, and answers a
mistyped name with a page of its own words. Here text is quoted, a leading ``~`` expanded, and every
mistake becomes one SettingError.
"""

import glob
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neural_render.config.settings import Setting, closest
from neural_render.core.errors import SettingError

# Hydra's own options that are passed on; True: the next word belongs to the option.
HYDRA_OPTIONS = {
    "-m": False,
    "--multirun": False,
    "--resolve": False,
    "--hydra-help": False,
    "--cfg": True,
    "--info": True,
}
# What may follow.
HYDRA_CHOICES = {
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
SWEEP = re.compile(r"^(choice|range|glob|shuffle|sort)\(.*\)$")
QUOTED = re.compile(r"""^(?P<quote>['"]).*(?P=quote)$""", re.DOTALL)
ALTERNATIVE = re.compile(r"""(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\[[^\]]*\]|[^,])+""")
SPELLED = "hex_"
PATTERN = re.compile(r"[*?\[]")
PATHS = ("capture.path", "scene.path", "run")  # of which a sweep takes patterns
WORDS_OF_HYDRA = ("true", "false", "null", "nan", "inf")
WORDS_OF_TRUTH = {"true": "true", "yes": "true", "on": "true", "1": "true"} | {
    "false": "false",
    "no": "false",
    "off": "false",
    "0": "false",
}


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What one command understands: its settings, their short forms, and the presets' names."""

    program: str
    settings: Mapping[str, Setting]
    short: Mapping[str, str]  # short form -> full name; "" for a word that is a value alone
    foreign: frozenset[str]  # settings of the other commands
    presets: tuple[str, ...]
    launchers: tuple[str, ...]


def prepare(words: Sequence[str], vocabulary: Vocabulary) -> list[str]:
    """The words as Hydra wants them; SettingError for the first that nobody would understand."""
    sweeping = is_sweep(words)
    launcher = chosen_launcher(words)
    if sweeping and "--cfg" in words:
        raise SettingError("--cfg shows the settings of one run: leave -m out, or --cfg.")
    if launcher != "basic" and not sweeping and "--cfg" not in words:
        raise SettingError(
            f"launcher={launcher} is for the jobs of a sweep: add -m, or leave it out."
        )
    prepared: list[str] = []
    listed: list[str] = []
    belongs_to_option = False
    for option, word in itertools.pairwise([*words, ""]):
        if word not in HYDRA_CHOICES.get(option, (word,)):
            choices = ", ".join(HYDRA_CHOICES[option])
            raise SettingError(
                f"{option} {word}".rstrip() + f" is not {option} and one of {choices}."
            )
    for word in words:
        if belongs_to_option or word.startswith("-"):
            belongs_to_option = not belongs_to_option and _option_takes_word(word, vocabulary)
            prepared.append(word)
        elif _takes_list(vocabulary) and _stands_alone(word, vocabulary):
            listed.append(word)
        else:
            prepared.append(_prepare_setting(word, vocabulary, sweeping))
    return [*prepared, *_list_of(listed, prepared, vocabulary)]


def is_sweep(words: Sequence[str]) -> bool:
    """Whether words ask for one run for each combination of values."""
    return "-m" in words or "--multirun" in words


def chosen_launcher(words: Sequence[str]) -> str:
    """The name of what starts the jobs of a sweep: basic, unless the words say otherwise."""
    named = [word.partition("=") for word in words]
    return next((name[2] for name in named if name[0] in ("launcher", "hydra/launcher")), "basic")


def _option_takes_word(word: str, vocabulary: Vocabulary) -> bool:
    """Whether the option's value is the next word; SettingError for an unknown option."""
    if word not in HYDRA_OPTIONS:
        known = ["--help", "--version", *HYDRA_OPTIONS]
        raise SettingError(
            f"{word} is not an option of {vocabulary.program}{closest(word, known) or '.'} "
            f"`python {vocabulary.program} --help` lists options and settings."
        )
    return HYDRA_OPTIONS[word]


def _prepare_setting(word: str, vocabulary: Vocabulary, sweeping: bool) -> str:
    """One ``name=value`` as Hydra wants it."""
    key, equals, value = word.partition("=")
    if _stands_alone(word, vocabulary):
        key, equals, value = vocabulary.short[""], "=", word
    if not equals or not key:
        raise SettingError(
            f"{word!r} is not of the form name=value, such as capture.path=DIR; "
            f"`python {vocabulary.program} --help` lists the settings."
        )
    key = vocabulary.short.get(key, key)
    if key.startswith(("hydra.", "hydra/")):
        return word
    parts = _split(value) if sweeping and not SWEEP.match(value) else [value]
    if sweeping and key in PATHS:
        parts = [path for part in parts for path in _matches(key, part)]
    choices = {"preset": vocabulary.presets, "launcher": vocabulary.launchers}.get(key)
    if choices:
        for part in parts if key == "preset" else [value]:
            _check_choice(key, part, choices)
        return word
    setting = vocabulary.settings.get(key)
    group, _, name = key.partition(".")
    free = vocabulary.settings.get(group)
    if name and free is not None and free.is_free:
        values = ",".join(_convert_free(key, part) for part in parts)
        return f"+{group}.{spelled(name)}={values}"
    if setting is None or setting.is_free:
        raise SettingError(_unknown(key, vocabulary))
    if sweeping and SWEEP.match(value):
        return f"{key}={value}"
    return f"{key}=" + ",".join(_convert(setting, part) for part in parts)


def _stands_alone(word: str, vocabulary: Vocabulary) -> bool:
    """Whether a word is a value without a name, to a command that takes such."""
    return "" in vocabulary.short and ("=" not in word or os.path.exists(word))


def _takes_list(vocabulary: Vocabulary) -> bool:
    """Whether words alone are the entries of one list."""
    setting = vocabulary.settings.get(vocabulary.short.get("", ""))
    return setting is not None and setting.kind == list[str]


def _list_of(
    listed: Sequence[str], prepared: Sequence[str], vocabulary: Vocabulary
) -> tuple[str, ...]:
    """The setting that words alone are the entries of; none without such words."""
    if not listed:
        return ()
    key = vocabulary.short[""]
    if any(word.startswith(f"{key}=") for word in prepared):
        raise SettingError(
            f"{listed[0]} and {key}=[...] are given both: give all of them as words alone, or all"
            f" in {key}=[...]."
        )
    return (f"{key}=[{','.join(map(quote, listed))}]",)


def _check_choice(key: str, name: str, choices: Sequence[str]) -> None:
    if name not in choices:
        hint = closest(name, choices) or "."
        raise SettingError(f"{key}={name} is not one of {', '.join(choices)}{hint}")


def _matches(key: str, part: str) -> list[str]:
    """What a pattern stands for, each quoted: the folders that match, or else the files.

    What is quoted, or there by that very name, is no pattern.
    """
    pattern = os.path.expanduser(part.strip())
    if QUOTED.match(part) or not PATTERN.search(part) or os.path.exists(pattern):
        return [part]
    found = sorted(glob.glob(pattern, recursive=True))
    found = [path for path in found if os.path.isdir(path)] or found
    if not found:
        raise SettingError(
            f"{key}={part} matches nothing here: give a pattern that folders match, or their paths."
        )
    return [quote(path) for path in found]


def _unknown(key: str, vocabulary: Vocabulary) -> str:
    """The sentence for a name that is no setting of this command."""
    free = vocabulary.settings.get(key.removesuffix("."))
    if free is not None and free.is_free:
        return f"{free.key} is a group of settings; give one of them, such as {free.key}.key=2"
    inside = [name for name in vocabulary.settings if name.startswith(key + ".")]
    if inside:
        return f"{key} is a group of settings; give one of them, such as {inside[0]}=..."
    if key in vocabulary.foreign or key.partition(".")[0] in vocabulary.foreign:
        return (
            f"{key} is a setting of another command; {vocabulary.program} does not use it. "
            f"`python {vocabulary.program} --help` lists what it uses."
        )
    hint = closest(key, [*vocabulary.settings, *vocabulary.short])
    return (
        f"{key} is not a setting of {vocabulary.program}{hint or '.'} "
        f"`python {vocabulary.program} --help` lists all."
    )


def _convert(setting: Setting, value: str) -> str:
    """The value in Hydra's grammar; SettingError where it cannot be of the setting's type."""
    if "${" in value:  # an interpolation: OmegaConf checks what comes out
        return value if setting.kind is not str else quote(value)
    if setting.kind is str:
        return value if QUOTED.match(value) else quote(value)
    converted = _convert_plain(setting.kind, value)
    if converted is None:
        raise SettingError(f"{setting.key}={value} is not {setting.wanted}.")
    return converted


def _convert_free(key: str, value: str) -> str:
    """A number or a list of numbers in Hydra's grammar; SettingError for anything else."""
    text = value.strip()
    is_list = text.startswith("[") and text.endswith("]")
    try:
        numbers = [repr(float(part)) for part in (text[1:-1] if is_list else text).split(",")]
    except ValueError:
        numbers = []
    if not numbers or (len(numbers) > 1 and not is_list):
        raise SettingError(f"{key}={value} is not a number or a list like [1,0.9,0.8].")
    return f"[{','.join(numbers)}]" if is_list else numbers[0]


def spelled(name: str) -> str:
    """A free name in letters that Hydra takes for a key, to be read back by ``unspelled``."""
    plain = re.fullmatch(r"[A-Za-z_][\w-]*", name, re.ASCII)
    if plain and not name.startswith(SPELLED) and name.lower() not in WORDS_OF_HYDRA:
        return name
    return SPELLED + name.encode(errors="surrogateescape").hex()


def unspelled(name: str) -> str:
    """The name that ``spelled`` was given."""
    try:
        spelling = bytes.fromhex(name.removeprefix(SPELLED))
    except ValueError:  # somebody's own
        return name
    return spelling.decode(errors="surrogateescape") if name.startswith(SPELLED) else name


def retyped(word: str) -> str:
    """A prepared ``name=value`` as a user could have typed it, to be prepared once more."""
    key, _, value = word.partition("=")
    if key.startswith("+"):
        group, _, name = key[1:].partition(".")
        key = f"{group}.{unspelled(name)}"
    return f"{key}={value}"


def _convert_plain(kind: object, value: str) -> str | None:
    """A number, truth value or list as Hydra reads it, None if it is not of that kind."""
    if kind == list[str]:
        return _texts(value)
    if kind is bool:
        return WORDS_OF_TRUTH.get(value.lower())
    if kind not in (int, float):
        return value  # lists: OmegaConf knows their elements' types
    try:
        if kind is int and re.fullmatch(r"[-+]?[0-9_]+", value):
            return str(int(value))
        number = float(value)
    except ValueError:
        return None
    if kind is float:
        return repr(number)
    return str(int(number)) if number.is_integer() else None


def _texts(value: str) -> str | None:
    """A list of quoted texts, None if there are no brackets around it."""
    text = value.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    parts = [part.strip() for part in ALTERNATIVE.findall(text[1:-1])]
    return f"[{','.join(part if QUOTED.match(part) else quote(part) for part in parts)}]"


def quote(text: str) -> str:
    """Text as one quoted value of Hydra's grammar, a leading ``~`` expanded to the home folder."""
    if text.startswith("~"):
        text = os.path.expanduser(text)
    # Only quotes, and backslashes in front of one, need an escape.
    escaped = re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), text)
    return f"'{escaped}'"


def _split(value: str) -> list[str]:
    """The alternatives of a sweep: split at commas outside quotes and brackets."""
    return ALTERNATIVE.findall(value) or [value]
