"""How Gaussian splats are fitted: what the user states."""

from dataclasses import dataclass, field

from neural_render.kernels.splats.records import MAX_DEGREE


@dataclass(kw_only=True)
class SplatSettings:
    """How many splats there are, and how long and to what they are fitted."""

    count: int = field(
        default=150_000,
        metadata={"help": "how many Gaussians there are", "minimum": 1, "maximum": 20_000_000},
    )
    degree: int = field(
        default=3,
        metadata={
            "help": "how much a colour changes with direction: the degree of its spherical"
            " harmonics; 0: not at all",
            "minimum": 0,
            "maximum": MAX_DEGREE - 1,
        },
    )
    steps: int = field(
        default=2000,
        metadata={"help": "how many pictures they are fitted to", "minimum": 0},
    )
    views: int = field(
        default=160,
        metadata={
            "help": "how many views of the field are rendered to be imitated: those of training"
            " (of panoramas and wide fisheyes several each), and ways between them where these are"
            " fewer; at most what 512 MB hold",
            "minimum": 1,
            "maximum": 100_000,
        },
    )
    max_side: int = field(
        default=1024,
        metadata={
            "help": "the longer side of these views, in pixels, where photos are larger",
            "minimum": 16,
            "maximum": 4096,
        },
    )
