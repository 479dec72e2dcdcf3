"""What a package says of itself: the document in its header, and how both are checked.

A package is one safetensors file. Its ``__metadata__`` has ``format``, ``version``, ``document``
(JSON, the record `Document`) and ``sha256``, of the document and all tensors. The tensors are named
in `contents`. ``docs/package_format.md`` is the whole description.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from neural_render.kernels.specs import FieldSpec, MarchSpec
from neural_render.training.runs import records
from neural_render.training.runs.checkpoint import check_lighting, check_limits
from neural_render.training.runs.state import Progress, RunRecord

FORMAT = "neural_render package"
VERSION = 1
SUFFIX = ".nrpack"
MOST_ENTRIES = 1 << 29  # of a table: 2 GiB as it is used
SHORTEST_STEP = 1e-6  # of rays through a cube of side 1
MOST_SAMPLES = 1 << 20  # on a ray


@dataclass(frozen=True, kw_only=True)
class PackedLevel:
    """How a level's entries are stored: whole numbers, times ``step``, in planes of bytes."""

    step: float
    planes: int


@dataclass(frozen=True, kw_only=True)
class PackedCapture:
    """What is kept of a capture beside its cameras."""

    name: str
    format: str
    split: str
    has_opacity: bool
    train: tuple[str, ...]  # names of the views
    test: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What quantisation cost, and how that was measured.

    ``compared_with`` is ``photos``, and then the two PSNRs are those of the views' photos, or
    ``renders``: where there are none, the run's figure, and what is left of it by how far renders
    of the package are from the run's own.
    """

    views: str  # such as: 25 test views
    compared_with: str
    psnr_run: float
    psnr_package: float
    psnr_between: float  # of the package's renders against the run's own, on training views

    @property
    def loss_db(self) -> float:
        """What of the PSNR is lost."""
        return self.psnr_run - self.psnr_package


@dataclass(frozen=True, kw_only=True)
class Document:
    """Everything in a package that is no tensor."""

    name: str
    run: RunRecord
    progress: Progress
    capture: PackedCapture
    table: tuple[PackedLevel, ...]
    quality: Quality


def metadata_of(document: Document, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The ``__metadata__`` of a package."""
    text = json.dumps(records.to_json(document), ensure_ascii=False)
    return {
        "format": FORMAT,
        "version": str(VERSION),
        "document": text,
        "sha256": checksum(text, tensors),
    }


def checksum(document: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the document and of all tensors' names and bytes, sorted by name."""
    digest = sha256(document.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def document_of(metadata: Mapping[str, str]) -> Document:
    """The document of a package of this version, checked; ValueError where it cannot be used."""
    try:
        content = json.loads(metadata.get("document", ""))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its document is not JSON ({error})") from error
    _check_numbers(content, "document")
    document = records.from_json(Document, content, "document")
    check_limits(document.run)
    check_lighting(document.run.lighting, document.run.field)
    _check_field(document.run.field, len(document.table))
    _check_march(document.run.march)
    frame = document.run.frame
    if not (frame.world_from_field.scale > 0 and frame.near >= 0):
        raise ValueError("its frame has no size, or its near distance is below 0")
    if frame.cascades != document.run.march.cascades:
        raise ValueError("its frame and its march differ in cascades")
    if len(frame.projection.matrix) != 16:
        raise ValueError("its projection is no matrix of 16 numbers")
    for level in document.table:
        if not (level.step > 0 and level.planes in (1, 2)):
            raise ValueError(f"a level has a step of {level.step:g} in {level.planes} planes")
    return document


def num_entries(spec: FieldSpec) -> int:
    """How many numbers a field's table has."""
    return spec.grid.num_rows * spec.grid.features


def _check_field(spec: FieldSpec, levels: int) -> None:
    grid = spec.grid
    if grid.dims != 3 or grid.finest < grid.coarsest or grid.coarsest < 2:
        raise ValueError("its grid is none of three dimensions that grows finer")
    if not all(0 < multiplier < 1 << 32 for multiplier in grid.multipliers):
        raise ValueError("its grid's multipliers are not of 32 bits")
    if levels != grid.levels:
        raise ValueError(f"it describes {levels} levels of a grid that has {grid.levels}")
    if num_entries(spec) > MOST_ENTRIES:
        raise ValueError(
            f"its table would have {num_entries(spec)} entries; at most {MOST_ENTRIES} are opened"
        )


def _check_march(march: MarchSpec) -> None:
    steps = SHORTEST_STEP <= march.step <= march.max_step
    ends = march.near >= 0 and march.cone_angle >= 0 and 0 <= march.min_transmittance < 1
    if not (steps and ends and 0 < march.max_samples_per_ray <= MOST_SAMPLES):
        raise ValueError("its march is none that ends")


def _check_numbers(value: Any, name: str) -> None:
    """ValueError for the first number that is not finite; JSON as Python reads it has them."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} holds a number that is not finite")
    if isinstance(value, dict):
        for key, entry in value.items():
            _check_numbers(entry, f"{name}.{key}")
    if isinstance(value, list):
        for entry in value:
            _check_numbers(entry, name)
