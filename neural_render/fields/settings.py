"""What a field is made of, as the user states it and as the kernels read it."""

from dataclasses import dataclass, field
from typing import Literal

from neural_render.core.errors import SettingError
from neural_render.kernels.specs import MAX_SH_DEGREE, FieldSpec, HashGridSpec

DEFAULT_LOG2_ROWS = 19
SH_DEGREES = {"sigmoid": 4, "exp": 8}  # by what the radiance is: of photos, of scenes
REFLECTION_DEGREES = {"sigmoid": 0, "exp": 8}  # no photo tells its normals
MAX_FAR_ROWS = 4096
MIRROR_LATENT = 4  # latent values, of which three are the normal
FINEST_OF_REGION = 2048  # cells of the finest level along the region of interest (cascade 0)


@dataclass(kw_only=True)
class GridSettings:
    """The multi-resolution hash grid."""

    levels: int = field(
        default=16, metadata={"help": "resolutions of the grid", "minimum": 1, "maximum": 32}
    )
    features: int = field(
        default=2, metadata={"help": "features per level", "minimum": 1, "maximum": 8}
    )
    log2_rows: int = field(
        default=0,
        metadata={
            "help": "log2 of the rows of a level; 0: chosen from the training budget",
            "minimum": 0,
            "maximum": 28,
        },
    )
    coarsest: int = field(
        default=16,
        metadata={
            "help": "cells of the coarsest level along a side",
            "minimum": 2,
            "maximum": 4096,
        },
    )
    finest: int = field(
        default=0,
        metadata={
            "help": "cells of the finest level along a side; 0: 2048 along the region of interest",
            "minimum": 0,
            "maximum": 1 << 20,
        },
    )
    hash: str = field(
        default="linear",
        metadata={
            "help": "linear (fast on CPUs) or xor (tiny-cuda-nn's layout)",
            "choices": ("linear", "xor"),
        },
    )


@dataclass(kw_only=True)
class FieldSettings:
    """The radiance field: hash grid, density network, colour network."""

    grid: GridSettings = field(default_factory=GridSettings)
    width: int = field(
        default=64, metadata={"help": "neurons of a hidden layer", "minimum": 1, "maximum": 1024}
    )
    density_layers: int = field(
        default=1, metadata={"help": "hidden layers for density", "minimum": 0, "maximum": 8}
    )
    color_layers: int = field(
        default=2, metadata={"help": "hidden layers for colour", "minimum": 0, "maximum": 8}
    )
    latent: int = field(
        default=16,
        metadata={"help": "outputs of the density network", "minimum": 1, "maximum": 256},
    )
    sh_degree: int = field(
        default=0,
        metadata={
            "help": "bands of spherical harmonics of the view direction; 0: 4 for photos, 8 for"
            " scenes, whose reflections are seen from all around",
            "minimum": 0,
            "maximum": MAX_SH_DEGREE,
        },
    )
    reflection_degree: int = field(
        default=-1,
        metadata={
            "help": "bands of spherical harmonics of the view direction reflected about learnt"
            " normals, for mirrors and gloss; 0: none; -1: 8 for scenes, whose geometry shows the"
            " normals, 0 for photos",
            "minimum": -1,
            "maximum": MAX_SH_DEGREE,
        },
    )
    far_rows: int = field(
        default=0,
        metadata={
            "help": "rows of a picture, learnt too, of what is farther than the outermost cube (sky"
            " and horizon; twice as many columns, all around); 0: none, the cube's walls show it;"
            " not for photos with opacity or from one side, and not in bakes",
            "minimum": 0,
            "maximum": MAX_FAR_ROWS,
        },
    )


def field_spec(
    settings: FieldSettings,
    *,
    num_channels: int,
    cascades: int,
    radiance: Literal["sigmoid", "exp"],
    num_conditions: int = 0,
    has_far: bool = False,
) -> FieldSpec:
    """The field that ``settings`` ask for, in a unit cube of ``cascades`` nested cubes.

    ``has_far``: more may be seen behind them, of which photos without opacity show something.

    A fresh field has density 1 per field unit for any number of cascades: what is behind shows
    through the whole scene from the start. Denser, unbounded scenes stay foggy for long.
    """
    grid = settings.grid
    finest = grid.finest or max(grid.coarsest, FINEST_OF_REGION << (cascades - 1))
    if finest < grid.coarsest:
        raise SettingError(
            f"field.grid.finest={finest} is less than field.grid.coarsest={grid.coarsest}: give at"
            " least as much, or 0 to have it chosen."
        )
    reflection = settings.reflection_degree
    if reflection < 0:
        reflection = REFLECTION_DEGREES[radiance]
    if reflection and settings.latent < MIRROR_LATENT:
        raise SettingError(
            f"field.reflection_degree={reflection} wants normals, three of"
            f" at least {MIRROR_LATENT} latent values, but field.latent={settings.latent}: give"
            " more, or field.reflection_degree=0."
        )
    return FieldSpec(
        grid=HashGridSpec(
            levels=grid.levels,
            features=grid.features,
            log2_rows=grid.log2_rows or DEFAULT_LOG2_ROWS,
            coarsest=grid.coarsest,
            finest=finest,
            hash="xor" if grid.hash == "xor" else "linear",
        ),
        latent=settings.latent,
        width=settings.width,
        density_layers=settings.density_layers,
        color_layers=settings.color_layers,
        sh_degree=settings.sh_degree or SH_DEGREES[radiance],
        num_conditions=num_conditions,
        num_channels=num_channels,
        reflection_degree=reflection,
        far_rows=settings.far_rows if has_far else 0,
        radiance=radiance,
    )
