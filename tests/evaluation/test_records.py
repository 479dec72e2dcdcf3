"""What is written down: JSON that any parser reads, file names that every system takes."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neural_render.core.errors import OutputError
from neural_render.evaluation.records import file_names, write_json


def test_file_names_lose_folders_endings_and_odd_signs() -> None:
    names = ("test/r_0.png", "a b:c?.JPG", "ok.name", "../../etc/passwd", "", "日本.webp")
    assert file_names(names) == ("test_r_0", "a_b_c", "ok.name", "etc_passwd", "view", "view_2")


def test_equal_names_get_numbers_also_where_case_is_ignored() -> None:
    assert file_names(("a.png", "A.jpg", "a", "a_2")) == ("a", "A_2", "a_3", "a_2_2")


@given(st.lists(st.text(max_size=150), max_size=8))
def test_file_names_are_safe_and_unlike(names: list[str]) -> None:
    found = file_names(names)
    assert len({name.lower() for name in found}) == len(names)
    for name in found:
        assert name and len(name) < 120 and name.isascii()
        assert not set(name) & set('/\\:*?"<>| \n\0') and not name.startswith(".")


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": math.nan, "b": [math.inf, {"c": 1.5}], "d": (1, "é")})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"a": None, "b": [None, {"c": 1.5}], "d": [1, "é"]}


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/a\.json cannot be written"):
        write_json(tmp_path / "file" / "a.json", {})
