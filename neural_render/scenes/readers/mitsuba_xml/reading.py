"""Reads a Mitsuba XML scene."""

import re
from contextlib import suppress
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from neural_render.core.errors import SceneError
from neural_render.scenes.readers.files import sentence
from neural_render.scenes.readers.found import ENVIRONMENT
from neural_render.scenes.readers.mitsuba_xml.mending import mend
from neural_render.scenes.readers.mitsuba_xml.text import plain_name, read_tree
from neural_render.scenes.readers.parts import SceneParts

NAME = "Mitsuba XML"
_ENVIRONMENTS = {"constant", "envmap", "sunsky", "timed_sunsky"}
_VERSION = re.compile(r"^\s*(\d+)\.\d+")
_UNUSED = re.compile(r'in (\w+) plugin of type "(\w+)"')
_UNUSED_NAME = re.compile(r'-\s+\w+\s+"([^"]+)"')


def read(path: Path) -> SceneParts:
    """The scene of an XML file under Mitsuba's active variant; SceneError says what is wrong."""
    tree = read_tree(path)
    version = _VERSION.match(tree.get("version", ""))
    if version is None:
        raise SceneError(
            f'{path} states no version of Mitsuba\'s format: write <scene version="3.0.0">'
        )
    if tree.find(".//shape") is None:
        raise SceneError(f"{path} has no geometry: it holds no <shape>")
    max_depth = _max_depth(tree)
    if int(version.group(1)) < 2:
        mend(tree)
    lost = _without_media(tree)
    _name_lights(tree)
    scene, unused = _instantiated(path, tree, {})
    return SceneParts(
        format=NAME,
        scene=scene,
        again=partial(_again, path, tree),
        lit=len(scene.emitters()) > 0,
        max_depth=max_depth,
        lost=(*lost, *unused),
    )


def _max_depth(tree: Element) -> int:
    """The path length that the file's integrator states; 0 if it states none."""
    for integrator in tree.iter("integrator"):
        for child in integrator.findall("integer"):
            if plain_name(child.get("name", "")) == "max_depth":
                with suppress(ValueError):  # of which Mitsuba itself complains
                    return int(child.get("value", ""))
        if integrator.get("type") == "direct":
            return 2
    return 0


def _without_media(tree: Element) -> list[str]:
    """Takes participating media out of the tree; what they are, in words."""
    num_media = 0
    names = {medium.get("id") for medium in tree.iter("medium")} - {None}
    for element in tree.iter():
        for child in list(element):
            named = child.get("name") in ("interior", "exterior") or child.get("id") in names
            is_reference = child.tag == "ref" and named
            if child.tag == "medium" or is_reference:
                element.remove(child)
                num_media += 1
    return [f"{num_media} participating media"] if num_media else []


def _name_lights(tree: Element) -> None:
    """Identifiers, in the file's order, for what emits and has none: lights ``light``, ``light_2``.

    A material may be called so too; what ends in ``_emitter`` is taken for a light's name alone.
    """
    taken = {element.get("id", "") for element in tree.iter() if element.tag != "ref"}
    emitting = [shape for shape in tree.iter("shape") if shape.find("emitter") is not None]
    number = 0
    for element in (*emitting, *tree.findall("emitter")):
        while not element.get("id"):
            number += 1
            wanted = f"light_{number}_emitter" if number > 1 else "light_emitter"
            if wanted not in taken:
                element.set("id", wanted)


def _again(path: Path, tree: Element, added: dict[str, Any]) -> Any:
    """The scene with more in it; an environment takes the place of its own."""
    if ENVIRONMENT in added:
        tree = deepcopy(tree)
        for emitter in tree.findall("emitter"):
            if emitter.get("type") in _ENVIRONMENTS:
                tree.remove(emitter)
    return _instantiated(path, tree, added)[0]


def _instantiated(path: Path, tree: Element, added: dict[str, Any]) -> tuple[Any, list[str]]:
    """The scene with what is added by name, and the properties that Mitsuba does not know."""
    import mitsuba

    class Collector(mitsuba.Appender):
        """Keeps Mitsuba's warnings instead of printing them."""

        def __init__(self) -> None:
            super().__init__()
            self.texts: list[str] = []

        def append(self, _level: Any, text: str) -> None:
            self.texts.append(text)

        def log_progress(self, *_: Any) -> None:
            """Nothing: loading is quick."""

    config = mitsuba.parser.ParserConfig(mitsuba.variant() or "")
    config.unused_properties = mitsuba.LogLevel.Warn
    # Mitsuba 3.9 forgets the bounds of squares that it merges, and so those of the scene.
    config.merge_meshes = False
    library: Any = mitsuba  # its stubs lack types
    parser, logger = library.parser, library.logger()
    collector = Collector()
    others = [logger.appender(index) for index in range(logger.appender_count())]
    logger.clear_appenders()
    logger.add_appender(collector)
    try:
        state = parser.parse_string(config, ElementTree.tostring(tree, encoding="unicode"))
        for name, part in added.items():
            part.set_id(name)
            state.root.props[name] = part
        parser.transform_all(config, state)
        scene: Any = parser.instantiate(config, state)
    except Exception as error:  # Mitsuba raises RuntimeError, but also others, for any fault
        raise SceneError(
            f"{path} cannot be loaded by Mitsuba: {sentence(error)}; correct that place or"
            " export the scene again"
        ) from error
    finally:
        logger.clear_appenders()
        for appender in others:
            logger.add_appender(appender)
    return scene, _unused(collector.texts)


def _unused(texts: list[str]) -> list[str]:
    """The properties that no plugin read, as ``strict_normals of the integrator volpath``."""
    found = []
    for text in texts:
        plugin = _UNUSED.search(text)
        if plugin and "unreferenced" in text:
            names = ", ".join(_UNUSED_NAME.findall(text))
            found.append(f"{names} of the {plugin.group(1)} {plugin.group(2)}")
    return list(dict.fromkeys(found))
