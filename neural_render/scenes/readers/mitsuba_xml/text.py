"""The safe part of an XML scene: its tree without entities, defaults filled in, files checked."""

import re
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

from neural_render.core.errors import SceneError
from neural_render.scenes.readers.files import Reference, checked_paths

MAX_BYTES = 64 << 20
# Elements that name places outside the file itself.
_OUTWARD = {
    "include": "includes another file",
    "path": "adds a search path",
    "alias": "uses an alias",
}
_PLUGIN = re.compile(r"\w+", re.ASCII)
_TEXTURE_PARENTS = {"texture", "emitter", "bsdf", "volume"}


def read_tree(path: Path) -> Element:
    """The scene element of an XML file, with absolute paths of files that are there.

    SceneError for what is no XML, no scene, declares entities or leaves the scene's folder.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SceneError(
            f"{path} cannot be read ({error.strerror}): check the file's permissions"
        ) from error
    if len(content) > MAX_BYTES:
        raise SceneError(
            f"{path} is larger than {MAX_BYTES >> 20} MB, too large for a description of a scene:"
            " keep meshes in files of their own"
        )
    _refuse_declarations(path, content)
    tree = _parsed(path, content)
    if tree.tag != "scene":
        raise SceneError(
            f"{path} is XML but no Mitsuba scene: its first element is <{tree.tag}>, not <scene>"
        )
    _fill_in_defaults(path, tree)
    for element in tree.iter():
        if element.tag in _OUTWARD:
            raise SceneError(
                f"{path} {_OUTWARD[element.tag]} (<{element.tag}>), which is not followed: put"
                " everything into the one file and its folder"
            )
        # Mitsuba loads the library of that name, from wherever it leads.
        if not _PLUGIN.fullmatch(kind := element.get("type", "none")):
            raise SceneError(
                f'{path} asks for a plugin of the type "{kind:.40}", which is no name: correct'
                f" <{element.tag} type=...>"
            )
    _make_paths_absolute(path, tree)
    return tree


def _refuse_declarations(path: Path, content: bytes) -> None:
    """SceneError for a document type: entities in it can grow endlessly or read other files."""

    def refuse(*_: object) -> None:
        raise SceneError(
            f"{path} declares a document type (<!DOCTYPE ...>), which a scene does not need and"
            " which is not read: remove it"
        )

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        if isinstance(error, SceneError):
            raise
        raise _broken(path, error) from error


def _parsed(path: Path, content: bytes) -> Element:
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> SceneError:
    return SceneError(f"{path} is no valid XML ({error}): correct that place or export it again")


def _fill_in_defaults(path: Path, tree: Element) -> None:
    """Puts the values of ``<default>`` where ``$name`` stands, as Mitsuba would."""
    values: dict[str, str] = {}
    for parent in list(tree.iter()):
        for child in list(parent):
            if child.tag == "default":
                name, value = child.get("name", ""), child.get("value", "")
                values.setdefault(name, _filled_in(path, value, values))
                parent.remove(child)
    for element in tree.iter():
        for key, text in element.attrib.items():
            element.set(key, _filled_in(path, text, values))


def _filled_in(path: Path, text: str, values: dict[str, str]) -> str:
    if "$" not in text:
        return text
    for name in sorted(values, key=len, reverse=True):
        text = text.replace(f"${name}", values[name])
    if "$" in text:
        raise SceneError(
            f"{path} uses the parameter {text} without a value: add <default name=... value=.../>"
        )
    return text


def _make_paths_absolute(path: Path, tree: Element) -> None:
    """Writes absolute paths for all files, after checking them."""
    found: list[tuple[Element, str, Reference]] = []
    for parent in tree.iter():
        if "filename" in parent.attrib:
            reference = Reference(what="file", written=parent.get("filename", ""))
            found.append((parent, "filename", reference))
        for child in parent:
            if child.tag == "string" and is_file_name(child.get("name", "")):
                what = _kind_of(parent)
                found.append((child, "value", Reference(what=what, written=child.get("value", ""))))
    paths = checked_paths(path, [reference for *_, reference in found])
    for (element, key, _), absolute in zip(found, paths, strict=True):
        element.set(key, str(absolute))


def is_file_name(name: str) -> bool:
    """Whether a text property of that name is the name of a file."""
    plain = name.lower().replace("_", "")
    return plain == "filename" or plain.endswith(("filename", "filepath"))


def _kind_of(element: Element) -> str:
    if element.tag == "shape":
        return "mesh"
    return "texture" if element.tag in _TEXTURE_PARENTS else "file"


def plain_name(text: str) -> str:
    """A property's name as Mitsuba 3 writes it: ``maxDepth`` is ``max_depth``."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f"_{found.group(1).lower()}", text)
