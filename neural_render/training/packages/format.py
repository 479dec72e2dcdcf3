"""What a package says of itself: the document in its header, and how both are checked.

A package is one safetensors file. Its ``__metadata__`` has ``format``, ``version``, ``document``
(JSON, the record `Document`) and ``sha256``, of the document and all tensors. The tensors are named
in `contents`. ``docs/package_format.md`` is the whole description.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

import torch
from torch import Tensor

from neural_render.kernels.specs import FieldSpec
from neural_render.training.runs import records
from neural_render.training.runs.checkpoint import (
    check_lighting,
    check_limits,
    check_numbers,
    complete_lighting,
)
from neural_render.training.runs.state import Progress, RunRecord

FORMAT = "neural_render package"
VERSION = 2
READ = (1, 2)  # versions
SUFFIX = ".nrpack"
MOST_ENTRIES = 1 << 29  # of a table: 2 GiB as it is used
LARGEST_STEP = torch.finfo(torch.float32).max / 32767  # of a level: its entries are finite


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
    check_numbers(content, "document")
    run = content.get("run") if isinstance(content, dict) else None
    if metadata.get("version") == "1" and isinstance(run, dict):
        complete_lighting(run.get("lighting"))
    document = records.from_json(Document, content, "document")
    check_limits(document.run)
    check_lighting(document.run.lighting, document.run.field)
    _check_table(document.run.field, len(document.table))
    for level in document.table:
        if not (0 < level.step <= LARGEST_STEP and level.planes in (1, 2)):
            raise ValueError(f"a level has a step of {level.step:g} in {level.planes} planes")
    return document


def num_entries(spec: FieldSpec) -> int:
    """How many numbers a field's table has."""
    return spec.grid.num_rows * spec.grid.features


def _check_table(spec: FieldSpec, levels: int) -> None:
    if levels != spec.grid.levels:
        raise ValueError(f"it describes {levels} levels of a grid that has {spec.grid.levels}")
    if num_entries(spec) > MOST_ENTRIES:
        raise ValueError(
            f"its table would have {num_entries(spec)} entries; at most {MOST_ENTRIES} are opened"
        )
