"""Frames and poses that runs have seen: never found anew for these, nor replaced under work."""

import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from neural_render.captures.motion import poses
from neural_render.captures.opening import open_capture
from neural_render.captures.settings import CaptureSettings
from neural_render.captures.video.frames import frames_folder
from neural_render.core.errors import CaptureError
from neural_render.core.files import lock
from neural_render.core.waiting.turns import locked
from tests.captures.motion.textured_room import walk, write_photos, write_video


def video(folder: Path) -> Path:
    """A picture that goes by."""
    picture = np.random.default_rng(0).integers(0, 256, (96, 400, 3), dtype=np.uint8)
    return write_video(folder / "walk.mp4", [picture[:, 4 * i : 4 * i + 160] for i in range(40)])


def refused(settings: CaptureSettings) -> str:
    with pytest.raises(CaptureError, match="as the run found them, and found anew") as raised:
        open_capture(settings, progress=False, images=False, finds=False)
    return str(raised.value)


def test_frames_are_not_chosen_anew_for_a_run(tmp_path: Path) -> None:
    film = video(tmp_path)
    settings = CaptureSettings(path=str(film), frames=24)
    assert f"the frames of {film} are not in {tmp_path / 'walk_frames'}" in refused(settings)
    frames_folder(film, 30, progress=False)
    refused(settings)
    assert len(list((tmp_path / "walk_frames/images").iterdir())) == 30
    # Chosen they are: it is poses that they lack.
    for frames in (0, 30):
        assert "the poses of the photos" in refused(replace(settings, frames=frames))


def test_poses_are_not_found_anew_for_a_run(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "room", walk(4))
    told = refused(CaptureSettings(path=str(folder)))
    assert f"the poses of the photos of {folder} are not in {folder / 'sparse'}" in told


def in_turn(caplog: pytest.LogCaptureFixture, work: Callable[[], object]) -> Thread:
    """Another thread that does ``work``, which waits for a folder."""
    other = Thread(target=work)
    other.start()
    while "waiting for another run" not in caplog.text and other.is_alive():
        time.sleep(0.01)
    return other


def test_frames_whose_poses_are_being_found_are_not_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film = video(tmp_path)
    folder = frames_folder(film, 30, progress=False)
    with caplog.at_level(logging.INFO), locked(folder):
        other = in_turn(caplog, lambda: frames_folder(film, 24, progress=False))
        assert len(list((folder / "images").iterdir())) == 30
    other.join()
    assert len(list((folder / "images").iterdir())) == 24


def test_who_waited_for_a_folder_has_the_one_that_took_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here, old, had = tmp_path / "here", tmp_path / "old", []
    here.mkdir()

    def hold() -> None:
        with locked(here):
            had.append(here.stat().st_ino)
            handle = os.open(here, os.O_RDONLY)
            had.append(lock(handle))  # which nobody else gets
            os.close(handle)

    with caplog.at_level(logging.INFO), locked(here):
        other = in_turn(caplog, hold)
        here.rename(old)
        here.mkdir()
    other.join()
    assert had == [here.stat().st_ino, False]


def test_photos_that_were_replaced_meanwhile_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By frames that another run chose of the same video, before this one had its turn."""
    folder = write_photos(tmp_path / "room", walk(4))
    found = poses.place_for

    def replaced(place: Path) -> Any:
        shutil.rmtree(folder / "images")
        return found(place)

    monkeypatch.setattr(poses, "place_for", replaced)
    with pytest.raises(CaptureError, match="changed while their poses were to be found: another"):
        poses.folder_with_poses(folder, CaptureSettings(), progress=False)
