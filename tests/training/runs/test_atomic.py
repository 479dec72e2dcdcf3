"""Folders that appear as a whole, on disks that know more or less of it."""

import errno
from pathlib import Path

import pytest
import torch

from neural_render.core.errors import OutputError
from neural_render.training.runs.atomic import write_folder
from tests.small_disk import refusing_to_sync


def test_file_systems_that_sync_no_folders_keep_what_is_written(tmp_path: Path) -> None:
    for code in (errno.EINVAL, errno.ENOTSUP):
        with refusing_to_sync(code, folders=True):
            write_folder(tmp_path / str(code), {"x": torch.ones(2)}, {"step": 1})
        names = sorted(path.name for path in (tmp_path / str(code)).iterdir())
        assert names == ["state.json", "weights.safetensors"]


def test_a_disk_that_fails_is_one_sentence(tmp_path: Path) -> None:
    with (
        refusing_to_sync(errno.EIO, folders=True),
        pytest.raises(OutputError, match=r"step cannot be written \(Input/output error\): choose"),
    ):
        write_folder(tmp_path / "step", {"x": torch.ones(2)}, {"step": 1})
    assert list(tmp_path.iterdir()) == []
