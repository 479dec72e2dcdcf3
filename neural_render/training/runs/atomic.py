"""Folders that are either there as a whole or not at all, also after a crash or a power cut."""

import itertools
import json
import os
import shutil
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from neural_render.core.files import output_error, sync

PARTIAL = ".partial"
REPLACED = ".before" + PARTIAL  # what is behind the name of a folder until another has its place
# The names of the safetensors format (https://github.com/huggingface/safetensors, "Format").
DTYPES = {
    torch.float32: "F32",
    torch.float64: "F64",
    torch.float16: "F16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
PLAIN = MappingProxyType({"format": "pt"})


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Inside, an operating system error is a one-sentence OutputError about ``path``."""
    try:
        yield
    except OSError as error:
        raise output_error(path, error) from error


def new_folder(path: Path) -> Path:
    """A folder made here and now, which nobody else has: ``path``, or that with a number behind it
    where there is one already."""
    found = path
    with writing(path):
        for attempt in itertools.count(2):
            try:
                found.mkdir(parents=True)
                break
            except FileExistsError:
                found = path.with_name(f"{path.name}_{attempt}")
    return found


def write_folder(
    folder: Path, tensors: Mapping[str, Tensor], document: Mapping[str, object]
) -> None:
    """A folder with ``weights.safetensors`` and ``state.json`` that appears as a whole.

    Everything is written and synced under a temporary name beside it first, so that whoever finds
    ``folder`` finds it complete. What could not be written leaves nothing behind; what was there
    before is removed last, and given back to whoever calls `given_back` after a crash.
    """
    partial, before = (folder.with_name(folder.name + end) for end in (PARTIAL, REPLACED))
    with writing(folder):
        try:
            discard(partial)
            partial.mkdir(parents=True)
            write_tensors(partial / "weights.safetensors", tensors)
            (partial / "state.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
            sync(partial / "state.json")
            sync(partial)
            if folder.exists():
                discard(before)
                folder.rename(before)
            partial.rename(folder)
            sync(folder.parent)
            discard(before)
        except OSError:
            given_back(before)
            shutil.rmtree(partial, ignore_errors=True)
            raise


def given_back(leftover: Path) -> bool:
    """Whether this was a folder about to be replaced, which has its place again.

    It is where a killed `write_folder` left that place empty.
    """
    place = leftover.with_name(leftover.name.removesuffix(REPLACED))
    if place == leftover or place.exists() or not leftover.exists():
        return False
    leftover.rename(place)
    return True


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] = PLAIN
) -> None:
    """A safetensors file, written piece by piece: no second copy of the tensors in memory."""
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for tensor in tensors.values():
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            file.write(flat.view(torch.uint8).numpy().data)
        file.flush()
        os.fsync(file.fileno())


def discard(folder: Path) -> None:
    """Removes a folder, if it is there, so that no half of it is ever seen under its name."""
    if not folder.exists():
        return
    if not folder.name.endswith(PARTIAL):
        doomed = folder.with_name(folder.name + ".old" + PARTIAL)
        shutil.rmtree(doomed, ignore_errors=True)
        folder = folder.rename(doomed)
    shutil.rmtree(folder)
