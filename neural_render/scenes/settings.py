"""What the user says of an artist's scene: the file, its lights, its views, the path tracer."""

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class SceneSettings:
    """The scene that is baked and how it is lit."""

    path: str = field(
        default="",
        metadata={
            "help": "the scene's file: .xml (Mitsuba), .gltf, .glb, .obj, .ply, .stl, or, through"
            " Blender, .blend, .usd, .fbx; empty: the scene that comes with the program"
        },
    )
    environment: str = field(
        default="",
        metadata={"help": "an HDR picture (latitude-longitude) that lights the scene, added to it"},
    )
    up: str = field(
        default="",
        metadata={
            "help": "the axis that points up: x, y or z; empty: the format's own (glTF: y), or the"
            " cameras'",
            "choices": ("", "x", "y", "z"),
        },
    )
    max_depth: int = field(
        default=0,
        metadata={
            "help": "the longest light path, in segments from the camera; 0: the file's, else 8",
            "minimum": 0,
            "maximum": 1000,
        },
    )
    groups: list[str] = field(
        default_factory=list,
        metadata={
            "help": "light groups, such as [room=lamp1+lamp2,window=sun]; lights that are not named"
            " are a group each; [all=*] puts all in one"
        },
    )
    moving: str = field(
        default="",
        metadata={
            "help": "the directional or point light that may move afterwards; empty: none does"
        },
    )
