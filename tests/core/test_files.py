"""A file is there as a whole or not at all, and an error says which file, why and what helps."""

import errno
from pathlib import Path

import pytest

from neural_render.core.errors import OutputError
from neural_render.core.files import output_error, whole_file
from tests.small_disk import FULL, small_disk


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "picture.png"
    with whole_file(path) as temporary:
        temporary.write_text("whole")
        assert temporary.suffix == ".png"
        assert not path.exists()
    assert path.read_text() == "whole"
    assert names(path.parent) == ["picture.png"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_stopped_block_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(error), whole_file(path) as temporary:
        temporary.write_text("ha")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with pytest.raises(OutputError, match=FULL) as caught, small_disk(), whole_file(path) as file:
        file.write_bytes(bytes(100_000))
    assert str(path) in str(caught.value)
    assert names(tmp_path) == []


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with (
        pytest.raises(OutputError, match=r"taken/a\.png cannot be written .*choose another place"),
        whole_file(tmp_path / "taken" / "a.png"),
    ):
        pytest.fail("the block must not be entered")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "free some space there"),
        (errno.EACCES, "choose a folder that you may write to with outputs=DIR"),
        (errno.EROFS, "choose a folder that you may write to with outputs=DIR"),
        (errno.EIO, "choose another place with outputs=DIR"),
    ],
)
def test_the_mending_fits_the_reason(number: int, words: str) -> None:
    message = str(output_error(Path("run/a.png"), OSError(number, "reason")))
    assert message.startswith("run/a.png cannot be written (reason): ")
    assert words in message
