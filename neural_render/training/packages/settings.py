"""What a user chooses about a package."""

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class PackageSettings:
    """Where a package goes and how much of the picture it may cost."""

    output: str = field(
        default="",
        metadata={"help": "the package's file; empty: NAME.nrpack in the run's folder"},
    )
    max_loss_db: float = field(
        default=0.05,
        metadata={
            "help": "the PSNR that quantisation may cost: bits are chosen on training views, as few"
            " as keep to it; what is lost on test views is then measured and stated",
            "minimum": 0.001,
            "maximum": 6.0,
        },
    )
    views: int = field(
        default=4,
        metadata={
            "help": "training views, evenly spread, on which bits are chosen",
            "minimum": 1,
            "maximum": 1000,
        },
    )
