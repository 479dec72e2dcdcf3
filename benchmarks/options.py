"""Options as they are typed, ``name=value``, made fields of a dataclass."""

import dataclasses
import math
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from neural_render.core.errors import SettingError

PRECISIONS = ("auto", "float32", "float16", "bfloat16")
# Each is a module whose ``run`` takes the options.
SUITES = {
    "kernels": "kernels",
    "train": "training",
    "curve": "curve",
    "render": "pictures.frames",
    "bake": "bakes.suite",
    "memory": "captures.memory",
    "settings": "captures.effects",
    "poses": "captures.poses",
    "processes": "captures.sharing",
    "gpu": "devices.gpu",
    "package": "files.package",
    "splats": "splats.suite",
    "mesh": "files.mesh",
    "viewer": "pictures.viewer",
    "bars": "bars.suite",
    "kills": "abuse.kills",
    "inputs": "abuse.inputs",
    "tests": "repository.suite_runs",
}
RECORDED_AS_THEY_GO = ("settings", "tests", "bars", "bake", "gpu")  # the others at their end
MEASURES = ("kernels", "steps", "quality")  # and profile, where it is asked for
BAKE_PARTS = ("materials", "triangles", "moving", "supervision")
KILL_PARTS = ("training", "baking", "writers", "disks", "couples", "places", "clocks")
# Of which photos are held out of training.
HELD_OUT = {"minimum": 2, "why": "with 0 test views would be tuned on, with 1 no photo is left"}
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What ``scripts/benchmark.py`` can be told."""

    suite: str = field(default="kernels", metadata={"choices": tuple(SUITES)})
    backend: str = "auto"
    precision: str = field(default="auto", metadata={"choices": PRECISIONS})
    threads: int = 0
    repeats: int = 7
    capture: str = ""
    max_side: int = 0
    seconds: tuple[float, ...] = ()
    prototype: str = ""
    batch: int = 1 << 14
    log2_rows: int = 17
    isa: tuple[str, ...] = ()
    rounds: int = 3
    scaling: bool = False
    peers: bool = False
    nerfstudio: str = "outputs/peers"
    holdout: bool = False
    run: str = "outputs/latest"
    views: int = 5
    file: str = ""  # of suite=splats and mesh: a file that is there already
    parts: tuple[str, ...] = ()  # of suite=bake and kills, each of its own
    scenes: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    captures: tuple[str, ...] = ()  # of suite=settings, what is changed, photos held out
    settings: tuple[str, ...] = ()
    every: int = field(default=10, metadata=HELD_OUT)
    outputs: str = "outputs/benchmark"
    photos: int = 60  # of suite=memory, and their width, and the cap in GiB
    width: int = 6000
    gib: float = 2.0
    processes: int = 2  # of suite=processes, and its steps
    steps: int = 500
    measures: tuple[str, ...] = field(
        default=MEASURES, metadata={"choices": (*MEASURES, "profile")}
    )  # of gpu
    degrees: float = 1.0  # of suite=poses, and how far cameras move, of the cube of interest
    shift: float = 0.01
    bars: tuple[str, ...] = ()  # of suite=bars: rows, and the folder of captures
    data: str = ""
    seed: int = 0  # of suite=kills and inputs
    trainings: int = 30  # of suite=kills, that are ended, as are bakes
    bakes: int = 10
    count: int = 200  # of suite=inputs, and at which doors
    only: tuple[str, ...] = ()
    runs: int = 20  # of suite=tests

    def parts_of(self, known: tuple[str, ...]) -> tuple[str, ...]:
        """The wanted ``parts`` of a suite, all without any; SettingError for one it has not."""
        if unknown := [part for part in self.parts if part not in known]:
            raise SettingError(f"parts={unknown[0]} is not one of {', '.join(known)}.")
        return self.parts or known


def parsed(kind: type[T], arguments: Iterable[str]) -> T:
    """A ``kind`` from ``name=value`` words; SettingError for the first that is wrong."""
    fields = {entry.name: entry for entry in dataclasses.fields(typing.cast(Any, kind))}
    types = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals or name not in fields:
            known = ", ".join(fields)
            raise SettingError(f"{argument} is not a setting; write name=value with one of {known}")
        values[name] = _value(types[name], argument, text)
        given = values[name] if isinstance(values[name], tuple) else (values[name],)
        choices = fields[name].metadata.get("choices", given)
        if not set(given) <= set(choices):
            raise SettingError(f"{argument} is not one of {', '.join(choices)}.")
        if values[name] < fields[name].metadata.get("minimum", values[name]):
            least, why = (fields[name].metadata[key] for key in ("minimum", "why"))
            raise SettingError(f"{argument} is less than {least}: {why}.")
    return kind(**values)


def split_values(text: str) -> list[str]:
    """The values between commas; commas inside brackets do not count."""
    values, depth = [""], 0
    for letter in text:
        depth += (letter in "[({") - (letter in "])}")
        if letter == "," and depth == 0:
            values.append("")
        else:
            values[-1] += letter
    return [value for value in values if value]


def _value(kind: Any, argument: str, text: str) -> Any:
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        if text.startswith("[") and text.endswith("]") and split_values(text) == [text]:
            text = text[1:-1]
        return tuple(_value(inner, argument, value) for value in split_values(text))
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise SettingError(f"{argument} is not true or false.")
        return text.lower() == "true"
    return text if kind is str else _number(kind, argument, text)


def _number(kind: Any, argument: str, text: str) -> Any:
    """A finite number from 0 on; ``2^14`` is one too."""
    mantissa, power, exponent = text.partition("^")
    try:
        number = kind(mantissa) ** int(exponent) if power else kind(mantissa)
    except (ValueError, OverflowError):
        number = -1
    if not 0 <= number < math.inf:
        whole = "a whole number" if kind is int else "a number"
        raise SettingError(f"{argument} is not {whole} from 0 on.")
    return number
