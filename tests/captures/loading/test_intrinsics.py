"""Intrinsics that no lens has are told, with the place where they stand."""

from pathlib import Path

import pytest

from neural_render.captures.opening import open_capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import CaptureError
from tests.captures.formats import HEIGHT, WIDTH, write_transforms


@pytest.mark.parametrize("focal", [1e-300, 1e-5, 1e7, 1e300])
def test_a_focal_length_that_no_lens_has(tmp_path: Path, focal: float) -> None:
    folder = write_transforms(tmp_path, fl_x=focal, w=WIDTH, h=HEIGHT)
    with pytest.raises(CaptureError, match=r"fl_x=1e.* for 16 pixels, which no lens has: correct"):
        open_capture(CaptureSettings(path=str(folder)), progress=False)
