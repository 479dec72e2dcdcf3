"""Imports go down only, siblings never import each other, hydra stays behind one door."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.sources import PACKAGE, REPOSITORY, Source, python, write_tree

COMMAND_LINE_LIBRARIES = {"hydra", "omegaconf"}
DOOR = "config"


def read_floors() -> dict[str, int]:
    """Each folder of the package with its floor, as the import-linter contract states them."""
    tables = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = tables["tool"]["importlinter"]["contracts"]
    return {
        name.strip(" ()"): floor
        for floor, names in enumerate(reversed(contract["layers"]), start=1)
        for name in names.split("|")
    }


def imports(source: Source) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything imported anywhere in a module, functions included."""
    package = source.module.split(".")
    if source.path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*above, node.module] if node.module else above)
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)


def folder_of(module: str) -> str:
    """The floor's folder in a dotted name; "" outside the package and for the package itself."""
    parts = module.split(".")
    return parts[1] if parts[0] == PACKAGE and len(parts) > 1 else ""


def upward_imports(root: Path) -> list[str]:
    """Every import in the package that does not go down, or crosses to a sibling."""
    floors = read_floors()
    problems = []
    for source in python(root):
        if source.module.split(".")[0] != PACKAGE:
            continue
        if source.module == PACKAGE:  # the roof: it may name what is below, and loads it late
            continue
        own = folder_of(source.module)
        if own not in floors:
            problems.append(f"{source.name}: {own} stands on no floor of pyproject.toml")
            continue
        for line, name in imports(source):
            other = folder_of(name)
            if other in floors and other != own and floors[other] >= floors.get(own, 0):
                problems.append(f"{source.name}:{line} imports {name}: not a lower floor")
    return problems


def stray_command_line_imports(root: Path) -> list[str]:
    """Every import of hydra or omegaconf outside ``config`` (tests may look inside)."""
    return [
        f"{source.name}:{line} imports {name}"
        for source in python(root)
        if folder_of(source.module) != DOOR and not source.name.startswith("tests/")
        for line, name in imports(source)
        if name.split(".")[0] in COMMAND_LINE_LIBRARIES
    ]


def test_the_floors_are_the_designs() -> None:
    """Seven floors are six in the package (the scripts are the seventh), core at the ground."""
    floors = read_floors()
    assert floors["core"] == 1
    assert floors["config"] == 6
    assert floors["fields"] == floors["rendering"] == floors["captures"] == 3


def test_imports_go_down_only() -> None:
    assert upward_imports(REPOSITORY) == []


def test_hydra_is_imported_behind_one_door() -> None:
    assert stray_command_line_imports(REPOSITORY) == []


def test_an_upward_and_a_sibling_import_are_found(tmp_path: Path) -> None:
    """Also inside a function, relative, and through ``from package import``."""
    write_tree(
        tmp_path,
        {
            "neural_render/core/rays.py": "def f():\n    import neural_render.kernels.ops\n",
            "neural_render/fields/grid.py": "from ..rendering import marching\n",
            "neural_render/export/png.py": "from neural_render import training, core\n",
            "neural_render/kernels/ops.py": "from neural_render.core import rays\n",
            "neural_render/attic/old.py": "",
        },
    )
    assert upward_imports(tmp_path) == [
        "neural_render/attic/old.py: attic stands on no floor of pyproject.toml",
        "neural_render/core/rays.py:2 imports neural_render.kernels.ops: not a lower floor",
        "neural_render/export/png.py:1 imports neural_render.training: not a lower floor",
        "neural_render/fields/grid.py:1 imports neural_render.rendering.marching: "
        "not a lower floor",
    ]


def test_a_stray_hydra_import_is_found(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {
            "train.py": "from omegaconf import OmegaConf\n",
            "neural_render/config/tree.py": "import hydra\n",
            "neural_render/training/loop.py": "def f():\n    from hydra.utils import call\n",
        },
    )
    assert stray_command_line_imports(tmp_path) == [
        "neural_render/training/loop.py:2 imports hydra.utils.call",
        "train.py:1 imports omegaconf.OmegaConf",
    ]
