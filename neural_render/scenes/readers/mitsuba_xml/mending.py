"""What Mitsuba's own upgrade of scenes of version 0.x leaves broken."""

import re
from xml.etree.ElementTree import Element

import numpy as np

from neural_render.scenes.readers.building import linear_from_srgb

# Films of version 0.x that Mitsuba 3 lacks; only their size matters here.
_OLD_FILMS = {"ldrfilm", "mfilm", "tiledhdrfilm"}
_FILM_NUMBERS = {"width", "height", "cropWidth", "cropHeight", "cropOffsetX", "cropOffsetY"}
# What Mitsuba 3 can integrate with, apart from which only the depth of an integrator matters here.
_INTEGRATORS = {"path", "direct", "volpath", "volpathmis", "aov", "moment"}
_SAMPLERS = {"independent", "stratified", "multijitter", "orthogonal", "ldsampler"}
_NUMBER = re.compile(r"[\s,]+")


def mend(tree: Element) -> None:
    """Changes a tree of version 0.x in place into one that Mitsuba's upgrade can finish."""
    for element in tree.iter():
        if element.tag == "lookAt":
            element.tag = "lookat"
        elif element.tag == "spectrum":
            _mend_spectrum(element)
        elif element.tag == "srgb":
            _mend_srgb(element)
        elif element.tag == "film":
            _mend_film(element)
        elif element.get("name") == "filterType" and element.get("value") != "nearest":
            element.set("value", "bilinear")  # Mitsuba 3 has no other
        for child in list(element):
            unknown_sampler = child.tag == "sampler" and child.get("type") not in _SAMPLERS
            if unknown_sampler or (
                child.tag == "integrator" and child.get("type") not in _INTEGRATORS
            ):
                element.remove(child)


def _mend_spectrum(element: Element) -> None:
    """One or three numbers without wavelengths are a colour, not a spectrum."""
    value = element.get("value", "").strip()
    if not value or ":" in value:
        return
    numbers = _NUMBER.split(value)
    if len(numbers) == 1 and not value.startswith("#"):
        numbers = numbers * 3
    if len(numbers) == 3 or value.startswith("#"):
        element.tag = "rgb"
        element.set("value", " ".join(numbers))


def _mend_srgb(element: Element) -> None:
    """A colour as displayed becomes the linear one."""
    element.tag = "rgb"
    value = element.get("value", "").strip()
    if value.startswith("#") and len(value) == 7:
        shown = [int(value[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    else:
        shown = [float(number) for number in _NUMBER.split(value)]
    linear = linear_from_srgb(np.array(shown))
    element.set("value", " ".join(f"{number:.9g}" for number in linear))


def _mend_film(element: Element) -> None:
    """Tone mapping, banners and file formats of old films mean nothing to rays."""
    if element.get("type") in _OLD_FILMS:
        element.set("type", "hdrfilm")
        for child in list(element):
            if child.get("name") not in _FILM_NUMBERS:
                element.remove(child)
