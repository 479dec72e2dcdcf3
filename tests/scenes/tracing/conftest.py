"""One path tracer's process for all tests that only ask it: starting one takes seconds."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from neural_render.scenes.tracing.process import TracerProcess
from tests.scenes.small_scenes import write_scene
from tests.scenes.tracing.tracers import started


@pytest.fixture(scope="package")
def tracer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TracerProcess]:
    """The plain variant with a ball under a lamp and a bulb, which may move."""
    path = write_scene(tmp_path_factory.mktemp("scene"), "lamp", "bulb")
    with closing(started(path, moving="bulb")) as process:
        yield process
