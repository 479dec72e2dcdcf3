"""The path tracer's process as the rest of the program sees it: asked, listened to, ended."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from neural_render.core.errors import SceneError
from neural_render.core.waiting.patience import told_if_slow
from neural_render.scenes.settings import SceneSettings, TracerSettings, ViewSettings
from neural_render.scenes.tracing.ring import nameless_memory
from neural_render.scenes.tracing.variants import chosen_variant

PACKAGE_ROOT = Path(__file__).resolve().parents[3]
END_SECONDS = 5.0  # that the process has to end by itself


class TracerProcess:
    """A path tracer that has loaded a scene. ``close`` ends it, and so does the end of this one."""

    def __init__(self, scene: SceneSettings, views: ViewSettings, tracer: TracerSettings) -> None:
        """Starts it and loads the scene; SceneError if that cannot be done."""
        self.views, self._tracing = views, False
        self.variant = chosen_variant(tracer.variant)
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  (see `close`)
        path = filter(None, [str(PACKAGE_ROOT), os.environ.get("PYTHONPATH", "")])
        self.memory = nameless_memory()  # for a ring that both see
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "neural_render.scenes.tracing.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            bufsize=1,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            # Ctrl-C is for the training, which ends this process after it has saved its state.
            start_new_session=True,
            pass_fds=(self.memory,),
        )
        try:
            with told_if_slow(f"opening {scene.path or 'the scene of the program'} with Mitsuba"):
                self.scene = self.ask(
                    "scene",
                    scene=asdict(scene),
                    views=asdict(views),
                    tracer=asdict(tracer),
                    variant=self.variant,
                )
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def tracing(self) -> bool:
        """Whether it fills a ring, as far as it has told."""
        return self._tracing

    @property
    def name(self) -> str:
        """What a run of this scene is called."""
        return Path(self.scene["path"]).stem

    def tell(self, **command: Any) -> None:
        """Sends a command."""
        assert self._process.stdin is not None
        assert not self._tracing, "it listens to nothing while it fills a ring"
        self._tracing = command.get("command") == "trace"
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
        except (BrokenPipeError, ValueError):
            raise self._ended() from None

    def ask(
        self, event: str, *, progress: Callable[[int, int], None] | None = None, **command: Any
    ) -> dict[str, Any]:
        """Sends a command and waits for its answer; SceneError for what goes wrong."""
        self.tell(**command)
        return self.answer(event, progress=progress)

    def answer(
        self, event: str, *, progress: Callable[[int, int], None] | None = None
    ) -> dict[str, Any]:
        """Waits for the answer to what was told last."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            found = json.loads(line)
            if found["event"] == "error":
                self._tracing = False
                raise SceneError(found["message"])
            if found["event"] == event:
                self._tracing = False
                return found
            if progress is not None and found["event"] == "progress":
                progress(found["done"], found["of"])
        raise self._ended()

    def check(self) -> None:
        """Nothing while the process works; SceneError where it has failed or ended."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if selector.select(timeout=0):
                self.answer("traced")

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()
        os.close(self.memory)

    def _ended(self) -> SceneError:
        """What to say when the process is gone."""
        code, self._tracing = self._process.wait(), False
        self._log.seek(0)
        last = ([line.strip() for line in self._log.read().splitlines() if line.strip()] or [""])[
            -1
        ]
        how = f"with code {code}"
        if code < 0:
            how = f"by {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                how += " (the system may be out of memory: give a smaller tracer.wavefront)"
        return SceneError(
            f"the path tracer's process ended {how}{': ' + last if last else ''}; tracer.variant="
            f"{self.variant} was used, scalar is slower and needs no LLVM."
        )
