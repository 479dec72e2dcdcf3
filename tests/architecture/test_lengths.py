"""Modules, functions, argument lists and folders stay short."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import REPOSITORY, Source, code, python, write_tree

MODULE_LINES = 400
SCRIPT_LINES = 100  # train.py, render.py and scripts/: they compose settings and call the package
FUNCTION_LINES = 60
ARGUMENTS = 7
FOLDER_FILES = 10

# What is longer, with its exact size. The list may only shrink: a larger size fails, and so does an
# entry whose size is no longer true, so that nothing grows back to it.
EXCEPTIONS: dict[str, int] = {}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(node: ast.AST, inside: str = "") -> Iterator[tuple[str, Function, bool]]:
    """Qualified name, node and whether it is a method, of every function below ``node``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            name = f"{inside}{child.name}"
            yield name, child, isinstance(node, ast.ClassDef)
            yield from functions(child, f"{name}.")
        elif isinstance(child, ast.ClassDef):
            yield from functions(child, f"{inside}{child.name}.")
        else:
            yield from functions(child, inside)


def num_arguments(function: Function, method: bool) -> int:
    """The named arguments, without the instance or class that a method is called on."""
    given = function.args
    static = any(getattr(mark, "id", "") == "staticmethod" for mark in function.decorator_list)
    named = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs)
    return named - (1 if method and not static else 0)


def is_script(source: Source) -> bool:
    """Whether a file is an entry point of floor 7."""
    return source.name.startswith("scripts/") or "/" not in source.name


def sizes(root: Path) -> Iterator[tuple[str, int, int]]:
    """What is measured, its size and its limit, for everything in the repository."""
    for source in code(root):
        limit = SCRIPT_LINES if is_script(source) else MODULE_LINES
        yield f"{source.name} (lines)", len(source.text.splitlines()), limit
    for source in python(root):
        for name, function, method in functions(source.tree):
            where = f"{source.name}:{name}"
            lines = (function.end_lineno or 0) - function.lineno + 1
            yield f"{where} (lines)", lines, FUNCTION_LINES
            yield f"{where} (arguments)", num_arguments(function, method), ARGUMENTS
    for folder, files in Counter(str(Path(source.name).parent) for source in code(root)).items():
        yield f"{folder} (files)", files, FOLDER_FILES


def violations(root: Path, exceptions: dict[str, int]) -> list[str]:
    """Everything over its limit and not excepted, and every exception that is not exact."""
    too_large = {what: size for what, size, limit in sizes(root) if size > limit}
    return [
        f"{what}: {too_large.get(what, 'within its limit')}, excepted: {exceptions.get(what, 'no')}"
        for what in sorted(too_large.keys() | exceptions.keys())
        if too_large.get(what) != exceptions.get(what)
    ]


def test_everything_is_short() -> None:
    assert violations(REPOSITORY, EXCEPTIONS) == []


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("neural_render/core/a.py", "x = 1\n" * 401, "neural_render/core/a.py (lines): 401"),
        ("neural_render/csrc/a.cpp", "int x;\n" * 401, "neural_render/csrc/a.cpp (lines): 401"),
        ("train.py", "x = 1\n" * 101, "train.py (lines): 101"),
        ("a/b.py", "def f():\n" + "    x = 1\n" * 60, "a/b.py:f (lines): 61"),
        (
            "a/b.py",
            "class C:\n    def f(self, a, b, c, d, *, e, g, h, i): ...\n",
            "a/b.py:C.f (arguments): 8",
        ),
    ],
)
def test_what_is_too_long_is_found(tmp_path: Path, name: str, text: str, found: str) -> None:
    write_tree(tmp_path, {name: text})
    assert violations(tmp_path, {}) == [f"{found}, excepted: no"]


def test_a_crowded_folder_is_found(tmp_path: Path) -> None:
    write_tree(tmp_path, {f"a/m{index}.py": "" for index in range(11)})
    assert violations(tmp_path, {}) == ["a (files): 11, excepted: no"]


def test_what_is_just_within_its_limit_passes(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {
            "a/b.py": "x = 1\n" * 400,
            "a/c.py": "class C:\n    def f(self, a, b, c, d, e, g, h): ...\n",
            "a/d.py": "def f():\n" + "    x = 1\n" * 59,
        },
    )
    assert violations(tmp_path, {}) == []


def test_exceptions_can_only_shrink(tmp_path: Path) -> None:
    """An excepted size must be exact: growth, improvement and cure all have to be written down."""
    write_tree(tmp_path, {"a/b.py": "x = 1\n" * 410})
    what = "a/b.py (lines)"
    assert violations(tmp_path, {what: 410}) == []
    assert violations(tmp_path, {what: 405}) == [f"{what}: 410, excepted: 405"]
    assert violations(tmp_path, {what: 420}) == [f"{what}: 410, excepted: 420"]
    gone = "gone.py (lines)"
    assert violations(tmp_path, {what: 410, gone: 500}) == [
        f"{gone}: within its limit, excepted: 500"
    ]
