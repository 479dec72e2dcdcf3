"""What is learnt of the cameras along with the field."""

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class AdjustmentSettings:
    """Which properties of the photos are fitted, and how fast cameras move."""

    exposure: bool = field(
        default=False, metadata={"help": "fit the exposure of each photo; their mean stays"}
    )
    white_balance: bool = field(
        default=False, metadata={"help": "fit the white balance of each photo; their mean stays"}
    )
    vignetting: bool = field(
        default=False, metadata={"help": "fit how each lens darkens its photos to the corners"}
    )
    appearance: int = field(
        default=0,
        metadata={
            "help": "so many numbers for each photo tell the colour network how it differs from"
            " the others; 0: none",
            "minimum": 0,
            "maximum": 64,
        },
    )
    poses: bool = field(
        default=False, metadata={"help": "refine the pose of each photo, from where it is stated"}
    )
    intrinsics: bool = field(
        default=False,
        metadata={"help": "refine focal length, centre and first distortion of each lens"},
    )
    pose_rate: float = field(
        default=0.1,
        metadata={
            "help": "pixels by which a step moves what refined cameras see, at first; it falls to a"
            " hundredth",
            "minimum": 0.0,
        },
    )
    blur: float = field(
        default=8.0,
        metadata={
            "help": "refined cameras first see the field blurred by so many pixels, so that far"
            " errors are felt",
            "minimum": 0.0,
        },
    )
    blur_until: float = field(
        default=0.5,
        metadata={
            "help": "fraction of the budget in which that blur falls to nothing",
            "minimum": 0.0,
            "maximum": 1.0,
        },
    )

    @property
    def moves_cameras(self) -> bool:
        """Whether rays change."""
        return self.poses or self.intrinsics
