"""neural_render: neural radiance fields, trained and rendered anywhere.

    import neural_render

    scene = neural_render.load("outputs/latest")       # or a package: "lego.nrpack"
    picture = scene.render(scene.cameras.test[0])
    picture.save("view.png")

``examples/`` has more. Importing this is light: PyTorch is loaded when a scene is.
"""

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from neural_render.captures.settings import CaptureSettings
    from neural_render.core.protocols import RaySource
    from neural_render.fields import FieldSettings
    from neural_render.training.scripting.answers import Picture, Samples
    from neural_render.training.scripting.camera import Camera
    from neural_render.training.scripting.scene import Scene
    from neural_render.training.settings import TrainingSettings

__version__ = "0.1.0"
__all__ = ["Camera", "Picture", "Samples", "Scene", "fit", "load"]

_LATER = {"Camera": "camera", "Picture": "answers", "Samples": "answers", "Scene": "scene"}


def load(path: str | Path, device: "str | torch.device | None" = None) -> "Scene":
    """The trained scene in a run's folder (``outputs/latest``) or in a package.

    ``device`` is ``cpu``, ``cuda`` or, of several GPUs, one such as ``cuda:1``; None takes the
    fastest kernels that run here. An error a user can mend is a ``ValueError`` of one sentence
    (``neural_render.core.errors.UserError``).

    On CPUs, threads of PyTorch that wait should not spin, or they take the cores from the kernels:
    ``OMP_WAIT_POLICY=passive`` must be in the environment before PyTorch is imported. Where it has
    not been imported yet, this sets it; programs that import it first set it themselves.
    """
    _let_threads_wait()
    from neural_render.training.scripting.scene import open_for_python

    return open_for_python(path, device, _capture_settings)


def fit(
    source: "RaySource | CaptureSettings",
    outputs: str | Path = "outputs",
    *,
    steps: int | None = None,
    name: str = "python",
    field: "FieldSettings | None" = None,
    training: "TrainingSettings | None" = None,
) -> "Scene":
    """The scene of a new run ``outputs/name/time``, trained for some steps (2000, or the budget of
    ``training`` where that states one).

    ``source`` says where the photos are (``CaptureSettings(path="photos/fox")``; an empty path: the
    embedded capture), or is a source of rays of your own (``neural_render.core.protocols``). What
    ``field`` and ``training`` leave out is as on the command line, but for TensorBoard's files.
    SettingError for what is out of range there, and for two budgets.
    """
    _let_threads_wait()
    from neural_render.core.files import expanded
    from neural_render.fields import FieldSettings
    from neural_render.training.scripting.fitting import fit_from_python
    from neural_render.training.settings import TrainingSettings

    folder = expanded(outputs)
    _check(source, field, training)
    run = fit_from_python(
        source,
        folder,
        steps=steps,
        name=name,
        field=field or FieldSettings(),
        training=training or TrainingSettings(tensorboard=False),
        config_of=partial(_config_of, str(folder), name),
    )
    return load(run.path)


def _check(*given: Any) -> None:
    """SettingError for settings out of the range that the command line has for them."""
    from neural_render.config.settings import Settings, check

    known = {type(value): name for name, value in vars(Settings()).items()}
    check(Settings(**{known[type(value)]: value for value in given if type(value) in known}))


def _let_threads_wait() -> None:
    """Keeps idle threads of PyTorch from spinning, if it is not too late."""
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def _config_of(
    outputs: str,
    name: str,
    capture: "CaptureSettings",
    field: "FieldSettings",
    training: "TrainingSettings",
) -> str:
    """The settings of a run, so that it can be had again, and its photos are found."""
    from neural_render.config import Settings, yaml_of

    return yaml_of(
        Settings(outputs=outputs, name=name, capture=capture, field=field, training=training)
    )


def _capture_settings(config: Path) -> Any:
    """Where the photos of a run are: read when its cameras are asked for."""
    from neural_render.config.composition import load_settings

    return load_settings(config).capture


def __getattr__(name: str) -> Any:
    """What needs PyTorch, when it is asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.training.scripting.{_LATER[name]}"), name)
