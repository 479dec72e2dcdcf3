"""Opens an artist's scene: finds its format, loads it, lights it if need be, and checks it.

Runs in the path tracer's process, without torch, after ``mitsuba.set_variant``.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neural_render.core.errors import SceneError, with_extra
from neural_render.core.files import expanded
from neural_render.scenes.readers import found, lighting
from neural_render.scenes.readers.blender import reading as blender
from neural_render.scenes.readers.files import sentence
from neural_render.scenes.readers.gltf import reading as gltf
from neural_render.scenes.readers.mitsuba_xml import reading as mitsuba_xml
from neural_render.scenes.readers.parts import SceneParts
from neural_render.scenes.readers.plain import reading as plain
from neural_render.scenes.records import LoadedScene, SceneCamera, SceneLight, Triple
from neural_render.scenes.settings import SceneSettings

PLAIN_MESHES = {".obj", ".ply", ".stl"}

DEFAULT_DEPTH = 8
MAX_EXTENT, MIN_EXTENT = 1e6, 1e-6

UP: dict[str, Triple] = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}

# A new format is one more line here.
READERS: dict[str, Callable[[Path], SceneParts]] = {
    ".xml": mitsuba_xml.read,
    ".gltf": gltf.read,
    ".glb": gltf.read,
    ".obj": plain.read_obj,
    ".ply": plain.read_ply,
    ".stl": plain.read_stl,
    **dict.fromkeys((".blend", ".usd", ".usda", ".usdc", ".usdz", ".fbx", ".abc"), blender.read),
}


def load_scene(settings: SceneSettings) -> LoadedScene:
    """The scene that ``settings.path`` names; SceneError says in one sentence what is wrong."""
    path = find_scene(settings.path)
    try:
        return _loaded(path, settings)
    except SceneError:
        raise
    except ModuleNotFoundError as error:
        library = (error.name or "a library").split(".")[0]
        raise SceneError(
            f"{path} cannot be read without {library}: {with_extra('bake')}"
        ) from error
    except OSError as error:
        raise SceneError(
            f"{error.filename or path} cannot be read ({error.strerror or error}): check the file"
            " and who may read it"
        ) from error
    except MemoryError as error:  # of numbers of values that the file only claims to have
        raise SceneError(
            f"{path} holds more than the memory does ({sentence(error)}): export it anew, or"
            " smaller"
        ) from error
    except RuntimeError as error:  # Mitsuba's, for whatever no reader has foreseen
        raise SceneError(
            f"{path} cannot be loaded by Mitsuba ({sentence(error)}): export it anew"
        ) from error


def _loaded(path: Path, settings: SceneSettings) -> LoadedScene:
    parts = READERS[path.suffix.lower()](path)
    cameras, lost = found.cameras_of(parts.scene)
    low, high = found.bounds_of(parts.scene)
    check_bounds(path, low, high)
    scene, more, warnings = _lit(path, settings, parts, cameras)
    lights = found.lights_of(scene)
    _check_lights(path, lights)
    lost = list(dict.fromkeys((*parts.lost, *lost, *more)))
    if lost:
        warnings.append(
            f"{path.name} has what cannot be expressed here and is left out: {'; '.join(lost)}."
        )
    return LoadedScene(
        path=path,
        format=parts.format,
        scene=scene,
        lights=lights,
        cameras=cameras,
        low=low,
        high=high,
        objects=found.objects_of(scene),
        up=UP[lighting.up_axis(settings.up, parts.up, cameras)],
        max_depth=settings.max_depth or parts.max_depth or DEFAULT_DEPTH,
        warnings=tuple(warnings),
        exported=parts.exported,
    )


def find_scene(stated: str) -> Path:
    """The absolute path of the scene file that ``scene.path`` means."""
    if not stated:
        path = Path(__file__).resolve().parents[3] / "data" / "scenes" / "cove" / "scene.xml"
        if not path.is_file():
            raise SceneError(
                "scene.path is empty and the scene that comes with the program is not beside it:"
                " give scene.path=FILE"
            )
        return path
    try:
        path = expanded(stated).absolute()
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise SceneError(
            f"scene.path={stated!r} is no path that can be opened ({error}): give a scene's file"
        ) from error
    if is_folder:
        return _only_scene(path, stated)
    if not exists:
        raise SceneError(f"scene.path={stated} does not exist: give a scene's file or its folder")
    if path.suffix.lower() not in READERS:
        ending = path.suffix or "without an ending"
        raise SceneError(
            f"scene.path={stated} is in no known format ({ending}): give one of"
            f" {', '.join(READERS)}"
        )
    if path.stat().st_size == 0:
        raise SceneError(f"scene.path={stated} is empty (0 bytes): copy or export it anew")
    return path


def _only_scene(folder: Path, stated: str) -> Path:
    """The one scene file in a folder; plain meshes count only where there is nothing better."""
    known = [
        entry
        for entry in sorted(folder.iterdir())
        if entry.suffix.lower() in READERS and entry.is_file()
    ]
    if not known:
        raise SceneError(
            f"scene.path={stated} is a folder without a scene file: give one of"
            f" {', '.join(READERS)}"
        )
    scenes = [entry for entry in known if entry.suffix.lower() not in PLAIN_MESHES] or known
    if len(scenes) == 1:
        return find_scene(str(scenes[0]))
    names = ", ".join(scene.name for scene in scenes[:5]) + (", ..." if len(scenes) > 5 else "")
    raise SceneError(
        f"scene.path={stated} is a folder with {len(scenes)} scene files ({names}): name one of"
        f" them, scene.path={scenes[0]}"
    )


def _lit(
    path: Path, settings: SceneSettings, parts: SceneParts, cameras: tuple[SceneCamera, ...]
) -> tuple[Any, list[str], list[str]]:
    """The scene with the environment that was asked for, or with the studio if it has no light.

    Also what that replaced, in words, and warnings.
    """
    up = lighting.up_axis(settings.up, parts.up, cameras)
    if settings.environment:
        picture = expanded(settings.environment).absolute()
        return *lighting.with_environment(parts, picture, up), []
    if parts.lit:
        return parts.scene, [], []
    low, high = found.bounds_of(parts.scene)
    warning = (
        f"{path.name} has no light of its own and is lit as in a studio: by a soft environment"
        ' ("environment") and a large area light from above ("key"), with'
        f" scene.up={up}; scene.environment=FILE.exr takes their place."
    )
    return lighting.with_studio(parts, low, high, up), [], [warning]


def check_bounds(path: Path, low: Triple, high: Triple) -> None:
    """SceneError for a scene of no size, of an absurd one, or of one that is no number."""
    extent = max(top - bottom for bottom, top in zip(low, high, strict=True))
    if math.inf in high and -math.inf in high:
        extent = -1.0
    values = (*low, *high)
    if extent < 0 and all(math.isinf(value) for value in values):
        raise SceneError(f"{path} has no geometry: it holds no surface to trace")
    if not all(math.isfinite(value) for value in values):
        raise SceneError(
            f"{path} has vertices that are no finite numbers (NaN or infinite): repair the mesh"
        )
    if extent < MIN_EXTENT or max(abs(value) for value in values) > MAX_EXTENT:
        raise SceneError(
            f"{path} has an absurd scale (its box is from {_shown(low)} to {_shown(high)}): scale"
            f" it so that it is between {MIN_EXTENT:g} and {MAX_EXTENT:g} units large"
        )


def _shown(corner: Triple) -> str:
    return "(" + ", ".join(f"{value:.3g}" for value in corner) + ")"


def _check_lights(path: Path, lights: tuple[SceneLight, ...]) -> None:
    """SceneError for a scene whose lights are all dark or are no numbers."""
    for light in lights:
        if not all(math.isfinite(value) and value >= 0 for value in light.color):
            raise SceneError(
                f"{path} has a light whose emission is no colour ({light.name}: {light.color}):"
                " give it finite numbers that are not negative"
            )
    if not any(max(light.color) > 0 for light in lights):
        names = ", ".join(light.name for light in lights)
        raise SceneError(
            f"{path} has no light: the emission of all its lights is zero ({names}); give one a"
            " colour, or remove them for a studio set-up"
        )
