"""What is exported from a run, in which form: the settings of ``scripts/export.py``."""

from dataclasses import dataclass, field

from neural_render.export.splats.settings import SplatSettings

FORMATS = ("splats",)


@dataclass(kw_only=True)
class ExportSettings:
    """What is taken away from a run."""

    format: str = field(
        default="splats",
        metadata={"help": "what to make", "choices": FORMATS},
    )
    output: str = field(
        default="",
        metadata={"help": "the file or folder to write; empty: in exports/ of the run"},
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
    splats: SplatSettings = field(default_factory=SplatSettings)
