"""What is exported from a run, in which form: the settings of ``scripts/export.py``."""

from dataclasses import dataclass, field

from neural_render.core.lights import check_light_at
from neural_render.export.splats.settings import SplatSettings

FORMATS = ("mesh", "points", "volume", "splats", "cameras")
MESH_FILES = ("glb", "obj", "ply")
REGIONS = ("auto", "inner", "all")


@dataclass(kw_only=True)
class MeshSettings:
    """How surfaces are found and what they are made of."""

    file: str = field(
        default="glb",
        metadata={
            "help": "glb or obj (textured, with normals) or ply (a colour for each vertex)",
            "choices": MESH_FILES,
        },
    )
    resolution: int = field(
        default=0,
        metadata={
            "help": "cells along the longest side of what is found; 0: as fine as the photos show"
            " it, at most 640",
            "minimum": 0,
            "maximum": 4096,
        },
    )
    level: float = field(
        default=0.0,
        metadata={
            "help": "density (per world unit) at which surfaces lie; 0: where the renderer sees"
            " them",
            "minimum": 0.0,
        },
    )
    faces: int = field(
        default=300_000,
        metadata={"help": "triangles at most; 0: as many as are found", "minimum": 0},
    )
    hidden: str = field(
        default="auto",
        metadata={
            "help": "what no camera sees: keep (closed surfaces), drop (cut away, which leaves"
            " holes) or auto (keep where the scene is bounded)",
            "choices": ("auto", "keep", "drop"),
        },
    )
    texture: int = field(
        default=2048,
        metadata={
            "help": "texels along the texture's longer side",
            "minimum": 16,
            "maximum": 16384,
        },
    )
    views: int = field(
        default=8,
        metadata={"help": "cameras that a point's colour is blended from", "minimum": 1},
    )
    up: str = field(
        default="as_is",
        metadata={
            "help": "as_is: the capture's own coordinates; z, -z, y, -y, x or -x: this axis of the"
            " capture turned to y, which viewers of GLB and OBJ take for up",
            "choices": ("as_is", "z", "-z", "y", "-y", "x", "-x"),
        },
    )


@dataclass(kw_only=True)
class PointSettings:
    """How many points there are, and of what."""

    count: int = field(
        default=1_000_000,
        metadata={
            "help": "about so many points, evenly over all that is seen",
            "minimum": 1,
            "maximum": 50_000_000,
        },
    )
    min_opacity: float = field(
        default=0.5,
        metadata={
            "help": "of a ray that gives a point",
            "minimum": 0.0,
            "maximum": 1.0,
        },
    )


@dataclass(kw_only=True)
class VolumeSettings:
    """How finely density is sampled, and with what beside it."""

    resolution: int = field(
        default=256,
        metadata={
            "help": "samples along the longest side",
            "minimum": 2,
            "maximum": 2048,
        },
    )
    color: bool = field(
        default=False,
        metadata={"help": "with the mean colour over directions, where there is any density"},
    )


@dataclass(kw_only=True)
class CameraSettings:
    """The forms that cameras are written in."""

    file: str = field(
        default="all",
        metadata={
            "help": "colmap, transforms (nerfstudio's transforms.json) or all",
            "choices": ("all", "colmap", "transforms"),
        },
    )
    text: bool = field(
        default=False, metadata={"help": "COLMAP's text files in place of its binary ones"}
    )
    points: int = field(
        default=100_000,
        metadata={
            "help": "points of the field beside the cameras where the capture has none of its own,"
            " for programs that begin with points; 0: none",
            "minimum": 0,
            "maximum": 5_000_000,
        },
    )


@dataclass(kw_only=True)
class ExportSettings:
    """What is taken away from a run."""

    format: str = field(
        default="mesh",
        metadata={
            "help": "what to make: mesh, points, volume, splats or cameras",
            "choices": FORMATS,
        },
    )
    output: str = field(
        default="",
        metadata={"help": "the file or folder to write; empty: in exports/ of the run"},
    )
    region: str = field(
        default="auto",
        metadata={
            "help": "of a scene with a background: inner (the cube of interest) or all of it; auto:"
            " inner for mesh and volume, all for points",
            "choices": REGIONS,
        },
    )
    exposure: float = field(
        default=0.0,
        metadata={
            "help": "stops that the colours of a scene-linear run are brighter",
            "minimum": -64.0,
            "maximum": 64.0,
        },
    )
    light_at: list[float] = field(
        default_factory=list,
        metadata={
            "help": "[x,y,z]: where the moving light of a baked scene stands, or in which direction"
            " it shines; empty: as in the scene's file"
        },
    )
    mesh: MeshSettings = field(default_factory=MeshSettings)
    points: PointSettings = field(default_factory=PointSettings)
    volume: VolumeSettings = field(default_factory=VolumeSettings)
    splats: SplatSettings = field(default_factory=SplatSettings)
    cameras: CameraSettings = field(default_factory=CameraSettings)


def check_export(settings: ExportSettings) -> None:
    """SettingError for what can be seen to be wrong without a run."""
    check_light_at(settings.light_at, "export.light_at")
