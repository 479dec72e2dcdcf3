"""A file is there as a whole or not at all, and an error says which file, why and what helps."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest

from neural_render.core.errors import OutputError
from neural_render.core.files import (
    LARGEST_PICTURE,
    check_draft,
    check_place,
    checked_file,
    expanded,
    large_pictures,
    lock,
    output_error,
    read_json,
    sync,
    whole_file,
)
from tests.small_disk import FULL, refusing_to_sync, small_disk


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
        (errno.ENOSPC, "free some space there, or choose another disk with outputs=DIR"),
        (errno.EACCES, "choose a folder that you may write to with outputs=DIR"),
        (errno.EROFS, "choose a folder that you may write to with outputs=DIR"),
        (errno.EIO, "choose another place with outputs=DIR"),
    ],
)
def test_the_mending_fits_the_reason(number: int, words: str) -> None:
    message = str(output_error(Path("run/a.png"), OSError(number, "reason")))
    assert message.startswith("run/a.png cannot be written (reason): ")
    assert words in message
    assert message.endswith("with outputs=DIR (an export or a package: output=FILE).")


def test_what_a_killed_program_left_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    code = (
        "import os, pathlib, sys\n"
        "from neural_render.core.files import whole_file\n"
        "with whole_file(pathlib.Path(sys.argv[1])) as draft:\n"
        "    draft.write_text('half of it')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    (left,) = names(tmp_path)
    assert left.startswith(".") and left.endswith(".png")
    with whole_file(path) as temporary:
        assert temporary.name == left
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert names(tmp_path) == ["a.png"]


def test_two_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole_file(path) as later, pytest.raises(ValueError), whole_file(path) as failing:
        assert failing != later
        raise ValueError
    with whole_file(path) as later:
        later.write_text("later")
        with whole_file(path) as sooner:
            sooner.write_text("sooner")
        assert path.read_text() == "sooner"
    assert path.read_text() == "later"
    assert names(tmp_path) == ["a.txt"]


def test_a_home_that_nobody_knows_stays_in_the_path() -> None:
    assert expanded("~no_such_user/a") == Path("~no_such_user/a")
    assert expanded("~/a").is_absolute()


def test_where_the_disk_knows_no_locks_nothing_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    pytest.importorskip("fcntl", reason="not on Windows")
    monkeypatch.setattr("fcntl.flock", unknown)
    assert lock(0)


def test_only_files_are_read(tmp_path: Path) -> None:
    """Nobody waits for a pipe, or for the end of a device that has none."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name, kind in {"pipe": "a pipe", "endless": "a device", ".": "a folder"}.items():
        with pytest.raises(OSError, match=f"it is {kind} and no file"):
            read_json(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        checked_file(tmp_path / "gone")
    (tmp_path / "a.txt").touch()
    assert checked_file(tmp_path / "a.txt") == tmp_path / "a.txt"


@pytest.mark.parametrize("content", [b"", b"[" * 200_000, b"\xff\xfe{}", b'{"a": }'])
def test_what_is_no_json_is_a_wrong_value(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        read_json(tmp_path / "a.json")


def test_a_place_is_looked_at_before_what_takes_long(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert check_place(tmp_path / "new/mesh.glb") == tmp_path / "new/mesh.glb"
    assert not (tmp_path / "new").exists()
    with pytest.raises(OutputError, match=r"file/mesh\.glb cannot be written"):
        check_place(tmp_path / "file/mesh.glb")
    (tmp_path / "closed").mkdir(mode=0o500)
    if not os.access(tmp_path / "closed", os.W_OK):  # root may do everything
        with pytest.raises(OutputError, match="choose a folder that you may write to"):
            check_place(tmp_path / "closed/mesh.glb")


def test_a_draft_that_can_be_made_leaves_all_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mesh.glb").write_text("earlier")
    check_draft(tmp_path / "mesh.glb")
    assert names(tmp_path) == ["mesh.glb"] and (tmp_path / "mesh.glb").read_text() == "earlier"
    with pytest.raises(OutputError, match=r"glb/more\.glb cannot be written"):
        check_draft(tmp_path / "mesh.glb/more.glb")


@pytest.mark.parametrize("limit", [50, LARGEST_PICTURE, None])
def test_large_pictures_are_opened_as_long_as_anybody_wants_to(
    monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    """Threads begin and end in any order, and who allows more is not restrained."""
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", limit)
    allowed = max(LARGEST_PICTURE // 2, limit) if limit else None
    first, second = large_pictures(), large_pictures()
    for block, entered in ((first, True), (second, True), (first, False)):
        block.__enter__() if entered else block.__exit__(None, None, None)
        assert allowed == PIL.Image.MAX_IMAGE_PIXELS
    second.__exit__(None, None, None)
    assert limit == PIL.Image.MAX_IMAGE_PIXELS


def test_files_must_be_synced(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with refusing_to_sync(errno.EINVAL, folders=False), pytest.raises(OSError, match="Invalid"):
        sync(tmp_path / "file")


def test_what_the_disk_does_not_keep_is_not_put_in_place(tmp_path: Path) -> None:
    """After a power cut, a file that was renamed before it was written is empty."""
    path = tmp_path / "config.yaml"
    path.write_text("before")
    with (
        refusing_to_sync(errno.EIO, folders=False),
        pytest.raises(OutputError, match=r"config\.yaml cannot be written \(Input/output error\)"),
        whole_file(path) as temporary,
    ):
        temporary.write_text("now")
    assert path.read_text() == "before" and names(tmp_path) == ["config.yaml"]
