"""The repository as text: which files belong to it and what their modules are called."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = "neural_render"

# What tools and runs leave beside the sources; hidden folders are left out too, except .ci.
IGNORED_FOLDERS = {"__pycache__", "build", "dist", "outputs", "multirun"}
CODE_SUFFIXES = {".py", ".cpp", ".h", ".hpp", ".cu", ".cuh"}
TEXT_SUFFIXES = CODE_SUFFIXES | {".md", ".toml", ".yaml", ".yml", ".txt", ".cfg", ".json", ".xml"}


@dataclass(frozen=True, kw_only=True)
class Source:
    """One file of the repository at ``root``."""

    root: Path
    path: Path

    @cached_property
    def name(self) -> str:
        """The path inside the repository, with slashes."""
        return self.path.relative_to(self.root).as_posix()

    @cached_property
    def text(self) -> str:
        """What the file says."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed module."""
        return _parsed(self.text, self.name)

    @cached_property
    def module(self) -> str:
        """The dotted name under which the file is imported from the root."""
        parts = list(self.path.relative_to(self.root).with_suffix("").parts)
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _parsed(text: str, name: str) -> ast.Module:
    """Once for all tests that look."""
    return ast.parse(text, filename=name)


def walk(root: Path = REPOSITORY) -> Iterator[Source]:
    """All files of the repository in sorted order, without what is made by tools."""
    for path in sorted(root.iterdir()):
        hidden = path.name.startswith(".") and path.name != ".ci"
        if path.is_dir():
            ours = not hidden and path.name not in IGNORED_FOLDERS
            if ours and not path.name.endswith(".egg-info"):
                yield from (Source(root=root, path=inner.path) for inner in walk(path))
        elif not hidden or path.name == ".gitignore":
            yield Source(root=root, path=path)


def code(root: Path = REPOSITORY) -> list[Source]:
    """The files of program text, in every language."""
    return [source for source in walk(root) if source.path.suffix in CODE_SUFFIXES]


def python(root: Path = REPOSITORY) -> list[Source]:
    """The Python modules."""
    return [source for source in walk(root) if source.path.suffix == ".py"]


def texts(root: Path = REPOSITORY) -> list[Source]:
    """Everything that a person wrote, scripts without a suffix included."""
    return [
        source
        for source in walk(root)
        if source.path.suffix in TEXT_SUFFIXES or not source.path.suffix
    ]


def write_tree(root: Path, files: dict[str, str]) -> Path:
    """A small repository at ``root`` made of ``files``, for tests that show a check firing."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root
