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


@dataclass(kw_only=True)
class ViewSettings:
    """Where the cameras stand whose rays are traced, and the held-out views."""

    kind: str = field(
        default="auto",
        metadata={
            "help": "cameras: on discs around the file's cameras; shell: on a sphere around the"
            " objects, looking at them; interior: in the free space inside; auto: cameras if the"
            " file has any, else shell",
            "choices": ("auto", "cameras", "shell", "interior"),
        },
    )
    spread: float = field(
        default=0.2,
        metadata={
            "help": "cameras: the discs' radius as a share of the distance to what is looked at",
            "minimum": 0.0,
            "maximum": 2.0,
        },
    )
    center: list[float] = field(
        default_factory=list,
        metadata={
            "help": "shell: what the cameras look at, [x,y,z] in the scene's units; empty: the"
            " middle of what is not flat (floors, walls and area lights are)"
        },
    )
    radius: float = field(
        default=0.0,
        metadata={
            "help": "shell: of the ball that a picture frames, in the scene's units; 0: that"
            " around what is not flat",
            "minimum": 0.0,
        },
    )
    distance: float = field(
        default=1.0,
        metadata={
            "help": "shell: the cameras' distance as a multiple of that which frames the scene",
            "minimum": 0.1,
            "maximum": 10.0,
        },
    )
    hemisphere: bool = field(
        default=True, metadata={"help": "shell: only from above the horizon through the middle"}
    )
    fov: float = field(
        default=40.0,
        metadata={
            "help": "shell: the cameras' field of view, in degrees (the file's own cameras have"
            " theirs, and those inside 80)",
            "minimum": 1.0,
            "maximum": 150.0,
        },
    )
    test: int = field(
        default=8,
        metadata={"help": "held-out views; 0: none is measured", "minimum": 0, "maximum": 1000},
    )
    test_size: int = field(
        default=256,
        metadata={"help": "pixels along a side of held-out views", "minimum": 8, "maximum": 8192},
    )
    reference_samples: int = field(
        default=64,
        metadata={
            "help": "paths per pixel of each of the two halves of a held-out view's reference",
            "minimum": 1,
            "maximum": 1 << 20,
        },
    )
    supersampling: int = field(
        default=3,
        metadata={
            "help": "held-out views are rendered with so many rays along each side of a pixel, as"
            " their references are averages over pixels",
            "minimum": 1,
            "maximum": 16,
        },
    )
    seed: int = field(default=1, metadata={"help": "seed of the held-out views", "minimum": 0})


@dataclass(kw_only=True)
class TracerSettings:
    """The path tracer's process and the ring of rays that it keeps filled."""

    variant: str = field(
        default="auto",
        metadata={
            "help": "what Mitsuba runs on: llvm (fast; needs an LLVM library), scalar, cuda, or"
            " auto: the fastest that can",
            "choices": ("auto", "llvm", "scalar", "cuda"),
        },
    )
    threads: int = field(
        default=0,
        metadata={
            "help": "the tracer's threads; 0: as many as cores",
            "minimum": 0,
            "maximum": 1024,
        },
    )
    samples_per_ray: int = field(
        default=4,
        metadata={"help": "paths that are averaged along one ray", "minimum": 1, "maximum": 4096},
    )
    wavefront: int = field(
        default=1 << 17,
        metadata={"help": "paths that are traced together", "minimum": 256, "maximum": 1 << 24},
    )
    ring: int = field(
        default=1 << 20,
        metadata={"help": "rays that are kept to draw from", "minimum": 1024, "maximum": 1 << 26},
    )
    carve: bool = field(
        default=True,
        metadata={
            "help": "space that traced rays pass before their first surface is empty from the"
            " start; false: the field learns that from colours alone"
        },
    )
    fresh: float = field(
        default=2.0,
        metadata={
            "help": "the tracer rests while a ray is drawn less often than this on average",
            "minimum": 0.0,
        },
    )
    max_reuse: float = field(
        default=16.0,
        metadata={
            "help": "training waits while a ray is drawn more often than this on average",
            "minimum": 1.0,
        },
    )
