"""Indices of an OBJ file that count backwards, as those that count from its beginning.

trimesh takes -1 for the last vertex of the whole file; it is the last one before that line.
"""

import re

_BACKWARDS = re.compile(r"^[ \t]*f[ \t][^#\n]*-\d", re.MULTILINE)
_COUNTED = ("v", "vt", "vn")  # in the order in which a corner names them


def counted_from_first(text: str) -> str:
    """The text of an OBJ file with its faces' negative indices made positive.

    ValueError for one that reaches back before the first.
    """
    if "\\" in text:  # lines that go on in the next one
        text = text.replace("\\\r\n", " ").replace("\\\n", " ")
    if not _BACKWARDS.search(text):
        return text
    counts: dict[str, int] = dict.fromkeys(_COUNTED, 0)
    lines = text.split("\n")
    for number, line in enumerate(lines):
        words = line.partition("#")[0].split()
        if words and words[0] in counts:
            counts[words[0]] += 1
        elif words and words[0] == "f":
            lines[number] = " ".join(["f", *(_corner(word, counts) for word in words[1:])])
    return "\n".join(lines)


def _corner(word: str, counts: dict[str, int]) -> str:
    """A face's corner, as ``-3/-3/-1``."""
    parts = word.split("/")
    for place, (part, name) in enumerate(zip(parts, _COUNTED, strict=False)):
        if re.fullmatch(r"-\d+", part):
            index = counts[name] + 1 + int(part)
            if index < 1:
                raise ValueError(f"a face refers to {name} {part} where {counts[name]} came before")
            parts[place] = str(index)
    return "/".join(parts)
