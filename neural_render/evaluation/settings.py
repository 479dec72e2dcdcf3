"""The settings of an evaluation, and of a comparison."""

from dataclasses import dataclass, field

FITS = ("none", "exposure", "pose", "both")


@dataclass(kw_only=True)
class EvaluationSettings:
    """What is measured on the test views, and what is drawn."""

    max_views: int = field(
        default=0,
        metadata={
            "help": "test views to measure, spread evenly over the split; 0: all",
            "minimum": 0,
        },
    )
    background: str = field(
        default="auto",
        metadata={
            "help": "what lies behind renders and transparent photos: white, black, or auto (the "
            "one trained with; else white if the photos have opacity, black if not)",
            "choices": ("auto", "white", "black"),
        },
    )
    fit: str = field(
        default="none",
        metadata={
            "help": "what is fitted to the left half of each test view, which is then measured on"
            " its right half: none (whole views are measured), exposure (and white balance), pose,"
            " or both",
            "choices": FITS,
        },
    )
    fit_steps: int = field(
        default=150, metadata={"help": "steps in which that is fitted", "minimum": 1}
    )
    fit_blur: float = field(
        default=0.0,
        metadata={
            "help": "poses are fitted to a field that is blurred by so many pixels at first",
            "minimum": 0.0,
        },
    )
    ssim: bool = field(default=True, metadata={"help": "measure SSIM"})
    flip: bool = field(
        default=True, metadata={"help": "measure FLIP and draw its error map (1 s a megapixel)"}
    )
    images: bool = field(
        default=True, metadata={"help": "write photo | render | error of every measured view"}
    )


@dataclass(kw_only=True)
class ComparisonSettings:
    """Where runs stand side by side."""

    output: str = field(
        default="",
        metadata={"help": "the page to write; empty: a new one in outputs/comparisons"},
    )
