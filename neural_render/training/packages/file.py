"""The package as a file: written as a whole, and read without being trusted."""

import os
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from neural_render.core.errors import PackageError, reason_of
from neural_render.core.files import checked_file, sync, whole_file
from neural_render.training.packages.format import (
    FORMAT,
    READ,
    VERSION,
    Document,
    checksum,
    document_of,
    metadata_of,
)
from neural_render.training.runs.atomic import write_tensors, writing


@dataclass(frozen=True, kw_only=True)
class PackageFile:
    """Where a package is, and where what is rendered from it belongs."""

    path: Path

    @property
    def renders_path(self) -> Path:
        """The folder of the films and frames that were rendered from it: beside it."""
        return self.path.with_name(f"{self.path.stem}_renders")

    @property
    def stamp(self) -> str:
        """What tells it from another package under its name, so that no old frames are kept."""
        status = self.path.stat()
        return f"{status.st_size} bytes of {status.st_mtime_ns}"

    def write(self, document: Document, tensors: dict[str, Tensor]) -> int:
        """The size in bytes of the file, which is there as a whole or not at all.

        OutputError where it could not be written, or the disk failed to keep its name.
        """
        with whole_file(self.path) as temporary:
            write_tensors(temporary, tensors, metadata_of(document, tensors))
            size = temporary.stat().st_size
        with writing(self.path):
            sync(self.path.parent)
        return size

    def read(self) -> tuple[Document, dict[str, Tensor]]:
        """What the package says of itself, checked, and its tensors, which nobody has touched.

        PackageError in one sentence if it is missing, damaged, not ours or too new.
        """
        try:
            # A mapped file that another program makes shorter would end this one.
            metadata, tensors = _loaded(self.path)
            if metadata.get("format") != FORMAT:
                raise ValueError("it is no package of this program")
            version = metadata.get("version", "")
            if version not in map(str, READ):
                raise PackageError(
                    f"Package {self.path} is of format version {version[:20]}, and this program"
                    f" reads versions up to {VERSION}: update neural_render, or package the run"
                    " again."
                )
            if metadata.get("sha256") != checksum(metadata.get("document", ""), tensors):
                raise ValueError("its checksum is another: it was damaged on its way")
            return document_of(metadata), tensors
        except (OSError, ValueError, SafetensorError, RuntimeError) as error:
            if isinstance(error, PackageError):
                raise
            raise self.broken(error) from error

    def broken(self, error: Exception) -> PackageError:
        """The sentence about a package that cannot be used."""
        return PackageError(
            f"Package {self.path} cannot be used: {reason_of(error)}; copy it once more, or make"
            " it anew with scripts/package.py."
        )


def is_package(path: Path) -> bool:
    """Whether a path that may be a run is a file; ``latest`` may be one that names a run."""
    return path.is_file() and path.name != "latest"


def _loaded(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and copies of the tensors; the library checks header, names and extents."""
    if os.path.getsize(path) < 8:
        raise ValueError("it is too short to be a package")
    with safe_open(checked_file(path), "pt") as file:
        metadata = file.metadata() or {}
        return metadata, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
