"""Which capture is opened and how its photos are used."""

from dataclasses import dataclass, field

from neural_render.captures.adjustment.settings import AdjustmentSettings

MEMORIES = ("auto", "ram", "disk")
ALPHAS = ("opacity", "mask")


@dataclass(kw_only=True)
class CaptureSettings:
    """Where the photos are, how large they may be, which are held out, how large the scene is."""

    path: str = field(
        default="",
        metadata={
            "help": "the capture's folder, or a video; empty: that of the run, where one is given,"
            " else the capture that comes with the program"
        },
    )
    max_side: int = field(
        default=0,
        metadata={
            "help": "photos are scaled down until no side is longer, in pixels; 0: as they are",
            "minimum": 0,
        },
    )
    test_every: int = field(
        default=8,
        metadata={
            "help": "where the format has no split, every so many-th photo by name, the first"
            " included, is a test view; 0: none",
            "minimum": 0,
        },
    )
    holdout_every: int = field(
        default=0,
        metadata={
            "help": "every so many-th training photo by name, the first included, is held out of"
            " training and evaluated instead of the test views, to tune settings on; 0: none",
            "minimum": 0,
        },
    )
    alpha: str = field(
        default="opacity",
        metadata={
            "help": "what the photos' alpha means: opacity (of things that end there), or mask"
            " (pixels under a half are ignored, the others are opaque)",
            "choices": ALPHAS,
        },
    )
    scene: str = field(
        default="auto",
        metadata={
            "help": "bounded (one cube), unbounded (nested cubes for a background), forward (photos"
            " from one side: space is divided by disparity), or auto: from the cameras and points",
            "choices": ("auto", "bounded", "unbounded", "forward"),
        },
    )
    scale: float = field(
        default=0.0,
        metadata={
            "help": "the cube of interest has sides of 1 / scale world units (instant-ngp's scale);"
            " 0: as the file says, else from the cameras",
            "minimum": 0.0,
        },
    )
    aabb_scale: int = field(
        default=0,
        metadata={
            "help": "the whole scene's cube is so many times as large as the cube of interest, a"
            " power of two up to 128; 0: as the file says, else from the cameras",
            "choices": (0, 1, 2, 4, 8, 16, 32, 64, 128),
        },
    )
    memory: str = field(
        default="auto",
        metadata={
            "help": "where decoded photos are kept: ram; disk, in a cache of their folder, from"
            " where parts come into memory in turn; auto: ram if they fit",
            "choices": MEMORIES,
        },
    )
    check: str = field(
        default="short",
        metadata={
            "help": "how photos and cameras are examined before training: short, full (as by"
            " scripts/inspect_capture.py) or off (not at all)",
            "choices": ("off", "short", "full"),
        },
    )
    find_points: bool = field(
        default=True,
        metadata={
            "help": "look for points that photos with stated poses agree on, where the capture has"
            " none: they tell how far things are (once for a capture; photos with opacity do"
            " without)"
        },
    )
    memory_limit_gb: float = field(
        default=0.0,
        metadata={
            "help": "the memory that the photos may take, in GB; 0: four fifths of what is free",
            "minimum": 0.0,
        },
    )
    adjust: AdjustmentSettings = field(default_factory=AdjustmentSettings)
    frames: int = field(
        default=0,
        metadata={
            "help": "how many frames of a video become photos: sharp ones, evenly spaced in motion;"
            " 0: those chosen before, else 100",
            "minimum": 0,
        },
    )
    matching: str = field(
        default="auto",
        metadata={
            "help": "which pairs of photos without poses are matched: exhaustive (all), sequential"
            " (neighbours in the order of their names and a few across) or auto (all up to 150"
            " photos, not of a video)",
            "choices": ("auto", "exhaustive", "sequential"),
        },
    )
    mapper: str = field(
        default="auto",
        metadata={
            "help": "how COLMAP places photos without poses: incremental (one after the other),"
            " global (all together) or auto (incremental up to 500 photos)",
            "choices": ("auto", "incremental", "global"),
        },
    )
    camera_model: str = field(
        default="auto",
        metadata={
            "help": "COLMAP's lens model for photos without poses: SIMPLE_PINHOLE, PINHOLE,"
            " SIMPLE_RADIAL, RADIAL, OPENCV, OPENCV_FISHEYE, or auto (OPENCV where one camera took"
            " 30 photos or more, else SIMPLE_RADIAL)",
            "choices": (
                "auto",
                "SIMPLE_PINHOLE",
                "PINHOLE",
                "SIMPLE_RADIAL",
                "RADIAL",
                "OPENCV",
                "OPENCV_FISHEYE",
            ),
        },
    )
