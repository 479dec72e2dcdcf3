"""Known faults of poses, each as the change of the claimed cameras that undoes it.

A turn, a shift or a scaling of the whole world changes no picture, so no such change is a fault.

Legend: R, t the claimed world_from_camera; C signed axes of the camera (truth: R C), W signed axes
of the world for positions alone (truth: W t), D = diag(1, -1, -1) between OpenCV's axes and
OpenGL's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import permutations, product

import numpy as np
from jaxtyping import Float64

Poses = Float64[np.ndarray, "photos 3 4"]
Axes = Float64[np.ndarray, "3 3"]

IDENTITY = np.eye(3)
OPENGL = np.diag([1.0, -1, -1])
FILE_AXES = "x right, y up, z backward (OpenGL)"


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """A fault: what it is called, how to mend it, and the true cameras if it is one.

    The true poses are ``poses(claimed)``, seen with bearings in ``axes`` (which may mirror).
    """

    name: str
    sentence: str
    mend: str
    poses: Callable[[Poses], Poses]
    axes: Axes


def pose_hypotheses() -> Iterator[Hypothesis]:
    """All of them, the likelier ones first: of two that explain as much, the first is meant."""
    for axes in sorted(signed_axes(), key=_rarity):
        if not np.array_equal(axes, IDENTITY):
            yield _wrong_camera_axes(axes)
    yield from _inverted()
    worlds = sorted(signed_axes(), key=lambda world: (_rarity(world)[0], -np.trace(world)))
    for axes, world in product((IDENTITY, OPENGL, -IDENTITY, -OPENGL), worlds):
        if not np.array_equal(world, IDENTITY):
            yield _wrong_world_axes(world, axes)


def signed_axes() -> list[Axes]:
    """All 48 ways to exchange and negate three axes."""
    found = []
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        axes = np.zeros((3, 3))
        axes[range(3), order] = signs
        found.append(axes)
    return found


def _rarity(axes: Axes) -> tuple[bool, bool, float]:
    """What sorts axes from the usual confusions to the odd ones."""
    mirrored = float(np.linalg.det(axes)) < 0
    exchanged = not np.array_equal(np.abs(axes), IDENTITY)
    return exchanged, mirrored, -float(np.trace(axes))


def _wrong_camera_axes(axes: Axes) -> Hypothesis:
    name, sentence, mend = _words_for_axes(axes)
    return Hypothesis(name=name, sentence=sentence, mend=mend, poses=_same, axes=axes)


def _words_for_axes(axes: Axes) -> tuple[str, str, str]:
    """Name, sentence and cure of camera axes that are not what the format says."""
    x, y, z = (int(value) for value in np.diag(axes))
    signs = (x, y, z)
    columns = {
        (1, -1, -1): ("y and z", "second and third", "they are likely OpenCV's or COLMAP's"),
        (-1, 1, -1): ("x and z", "first and third", "they are likely Mitsuba's or PyTorch3D's"),
        (-1, -1, 1): ("x and y", "first and second", "or the photos are upside down"),
    }
    if signs in columns:
        which, column, origin = columns[signs]
        return (
            "flipped axis",
            f"the {which} axes of all cameras point the wrong way ({origin})",
            f"negate the {column} column of every pose",
        )
    if np.array_equal(axes, -IDENTITY):
        return "negated positions", "all positions have the wrong sign", "negate the positions"
    if np.linalg.det(axes) < 0:
        mirror = {(-1, 1, 1): "left to right", (1, -1, 1): "top to bottom"}
        how = mirror.get(signs, "")
        return (
            "mirrored photos",
            f"photos and poses are mirror images of each other{how and ', ' + how}",
            "mirror the photos back, or convert the poses from their left-handed coordinates",
        )
    if axes[2, 2] == 1:
        return (
            "photos on their side",
            "the photos are turned by a quarter against their cameras",
            "turn the photos (an EXIF orientation was likely applied or lost)",
        )
    letters = [("" if row.sum() > 0 else "-") + "xyz"[int(np.abs(row).argmax())] for row in axes.T]
    return (
        "exchanged axes",
        "the axes of all cameras are exchanged: what is given as x, y, z is really"
        f" {', '.join(letters)}",
        f"give camera axes as the format means them, such as {FILE_AXES} in transforms.json",
    )


def _wrong_world_axes(world: Axes, axes: Axes) -> Hypothesis:
    """Positions are in other world axes than rotations."""
    signs = np.diag(world)
    if np.array_equal(np.abs(world), IDENTITY):
        flipped = [letter for letter, sign in zip("xyz", signs, strict=True) if sign < 0]
        how = f"{' and '.join(flipped)} of the positions {'has' if len(flipped) == 1 else 'have'}"
        sentence = f"{how} the wrong sign beside the rotations"
        mend = "negate it in the positions alone, or convert rotations and positions together"
    else:
        sentence = "positions and rotations are in differently ordered world axes"
        mend = "exchange the axes of rotations and positions together"
    more = "" if np.array_equal(axes, IDENTITY) else ", and the cameras' axes are flipped besides"
    return Hypothesis(
        name="flipped axis",
        sentence=sentence + more,
        mend=mend,
        poses=partial(_moved, world=world),
        axes=axes,
    )


def _inverted() -> Iterator[Hypothesis]:
    """Rotations transposed, or whole poses inverted, in either convention of camera axes."""
    words = {
        "kept": (
            "transposed rotation",
            "the rotation of every pose is the inverse of what it should be",
            "transpose the 3x3 rotation part of every pose and leave its position",
        ),
        "inverted": (
            "inverted poses",
            "the poses map world to camera, but camera to world is wanted",
            "invert the 4x4 matrix of every pose",
        ),
        "rotated": (
            "inverted poses",
            "the positions are the translations of world-to-camera matrices",
            "use -R^T t in place of the translation t of every pose",
        ),
    }
    for position, (name, sentence, mend) in words.items():
        for before, after in product((OPENGL, IDENTITY), repeat=2):
            mixed = not np.array_equal(before, after)
            yield Hypothesis(
                name=name,
                sentence=sentence + ", and the y and z axes of all cameras are flipped" * mixed,
                mend=mend + ", and negate the second and third column" * mixed,
                poses=partial(_inverse, position=position, before=before),
                axes=after,
            )


def _same(poses: Poses) -> Poses:
    return poses


def _moved(poses: Poses, *, world: Axes) -> Poses:
    """The same rotations at positions in other axes."""
    return np.concatenate([poses[:, :, :3], world @ poses[:, :, 3:]], axis=2)


def _inverse(poses: Poses, *, position: str, before: Axes) -> Poses:
    """Poses that were transposed or inverted as the file has them, in axes R ``before``."""
    rotation = poses[:, :, :3] @ before
    place = poses[:, :, 3:]
    transposed = rotation.transpose(0, 2, 1)
    if position == "kept":
        return np.concatenate([transposed, place], axis=2)
    if position == "inverted":
        return np.concatenate([transposed, -transposed @ place], axis=2)
    return np.concatenate([rotation, -transposed @ place], axis=2)
