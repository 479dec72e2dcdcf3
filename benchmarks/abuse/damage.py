"""General ways to break a file: as a whole, by chance bytes, or one value of its text."""

import json
import os
import random
import re
from pathlib import Path
from typing import Any

NUMBERS = ("nan", "inf", "-1", "0", "1e308", "-1e-320", "9" * 400, "0x10", "1e", "--1", "٣")
WORDS = ("", "null", "../../../etc/passwd", "/dev/zero", "\0", "𝔘" * 300, "${name}", "%s%n", "a b")
VALUES: tuple[Any, ...] = (None, True, -1, 0, 1e308, 10**400, 2**63, float("nan"), float("inf"))
VALUES += ("", "x", "../../../etc/passwd", "/dev/zero", "\0", "𝔘" * 300, [], {}, [[]], {"a": {}})
VALUES += ([None] * 4, "1.0", -0.5, 1e-300, ["x"] * 20)
TOKEN = re.compile(r"[^\s\"'<>=,:{}\[\]]+")


def empty(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"")


def halved(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def garbled(path: Path, chance: random.Random) -> None:
    path.write_bytes(chance.randbytes(max(64, path.stat().st_size // 4)))


def zeroed(path: Path, chance: random.Random) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def talkative(path: Path, chance: random.Random) -> None:
    path.write_text("<!DOCTYPE html><p>404: not found</p>\n", encoding="utf-8")


def deep(path: Path, chance: random.Random) -> None:
    path.write_text("[" * 200_000, encoding="utf-8")


def foreign(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"\xff\xfe" + "größe".encode("utf-16-le") * 50)


def folder(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def dangling(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to("not_there")


def circular(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to(path.name)


def forbidden(path: Path, chance: random.Random) -> None:
    path.chmod(0)


def pipe(path: Path, chance: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def endless(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def gone(path: Path, chance: random.Random) -> None:
    path.unlink()


WHOLE = {
    "empty": empty,
    "half of it": halved,
    "chance bytes": garbled,
    "zeros": zeroed,
    "a page of the web": talkative,
    "200,000 brackets": deep,
    "another encoding": foreign,
    "a folder": folder,
    "a link to nothing": dangling,
    "a link to itself": circular,
    "forbidden": forbidden,
    "a pipe": pipe,
    "/dev/zero": endless,
    "gone": gone,
}


def by_chance(path: Path, chance: random.Random) -> str:
    """Breaks a file by chance; what was done to it."""
    if path.suffix == ".json" and chance.random() < 0.75:
        return _one_value(path, chance)
    content = path.read_bytes()
    is_text = b"\0" not in content and path.suffix not in (".ply", ".stl")
    if is_text and chance.random() < 0.7:
        return _one_word(path, chance)
    return _bytes(path, content, chance)


def _bytes(path: Path, content: bytes, chance: random.Random) -> str:
    damaged = bytearray(content)
    kind = chance.choice(("cut", "flipped", "doubled", "dropped"))
    # Headers are at the beginning: half of all damage is done there.
    reach = len(damaged) if chance.random() < 0.5 else min(len(damaged), 256)
    start = chance.randrange(max(reach, 1))
    if kind == "cut":
        del damaged[start:]
    elif kind == "flipped":
        for _ in range(chance.choice((1, 4, 32))):
            place = chance.randrange(max(reach, 1))
            damaged[place : place + 1] = chance.randbytes(1)
    elif kind == "doubled":
        damaged[start:start] = damaged[start : start + chance.randrange(1, 400)]
    else:
        del damaged[start : start + chance.randrange(1, 400)]
    path.write_bytes(bytes(damaged))
    return f"bytes {kind} at {start}"


def _one_value(path: Path, chance: random.Random) -> str:
    """Another value at a chance place of a JSON file, or none, or the same one twice."""
    content = json.loads(path.read_text(encoding="utf-8"))
    holder: Any = content
    key: Any = None
    where = ""
    while isinstance(holder, dict | list) and holder:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = chance.choice(keys)
        where += f".{key}"
        if not isinstance(holder[key], dict | list) or chance.random() < 0.3:
            break
        holder = holder[key]
    kind = chance.choice(("another", "another", "another", "none", "twice"))
    if not isinstance(holder, dict | list) or not holder:
        content = chance.choice(VALUES)
    elif kind == "none":
        del holder[key]
    elif kind == "twice" and isinstance(holder, list):
        holder.insert(key, holder[key])
    else:
        value = chance.choice(VALUES)
        holder[key] = value
        kind = f"{value!r:.30}"
    path.write_text(json.dumps(content), encoding="utf-8")
    return f"{where[1:]}: {kind}"


def _one_word(path: Path, chance: random.Random) -> str:
    """Another word at a chance place of a text, or a line less, or a line twice."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    lines = text.splitlines(keepends=True) or [""]
    number = chance.randrange(len(lines))
    kind = chance.choice(("word", "word", "word", "less", "twice"))
    places = list(TOKEN.finditer(lines[number]))
    if kind == "less":
        del lines[number]
    elif kind == "twice" or not places:
        lines.insert(number, lines[number])
    else:
        place = chance.choice(places)
        other = chance.choice(NUMBERS if place[0][-1].isdigit() else NUMBERS + WORDS)
        kind = f"{place[0]:.20} is {other:.20}"
        lines[number] = lines[number][: place.start()] + other + lines[number][place.end() :]
    path.write_bytes("".join(lines).encode("utf-8", "surrogateescape"))
    return f"line {number + 1}: {kind}"
