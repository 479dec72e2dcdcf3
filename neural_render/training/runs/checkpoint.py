"""Checkpoints: a training state to a folder and back. Opening one executes nothing."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from neural_render.core.errors import CheckpointError, DivergenceError, reason_of
from neural_render.core.files import checked_file, read_json
from neural_render.core.lights import Lighting
from neural_render.core.projection import IDENTITY
from neural_render.fields.radiance import far_sizes
from neural_render.kernels.specs import FieldSpec
from neural_render.rendering import OccupancyGrid
from neural_render.training.runs import records
from neural_render.training.runs.atomic import write_folder
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.state import Progress, RunRecord, TrainingState

FORMAT = "neural_render checkpoint"
ENVIRONMENT = "environment"  # the light group that shone from far around, up to version 7
VERSION = 8
LARGEST_WEIGHT = 1e6  # sound weights stay below 100
# Beyond these a state.json is broken or hostile: nothing is computed from its numbers.
LIMITS = {"levels": 64, "features": 16, "log2_rows": 28, "coarsest": 1 << 20, "finest": 1 << 24}
LIMITS |= {"width": 4096, "latent": 4096, "density_layers": 64, "color_layers": 64}
LIMITS |= {
    "sh_degree": 16,
    "reflection_degree": 16,
    "far_rows": 4096,
    "num_channels": 4096,
    "num_conditions": 4096,
    "cascades": 16,
}
SHORTEST_STEP = 1e-6  # of rays through a cube of side 1
MOST_SAMPLES = 1 << 20  # on a ray
MAY_BE_ZERO = ("density_layers", "color_layers", "num_conditions", "reflection_degree", "far_rows")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """An opened checkpoint: its records, checked; its tensors are read when asked for."""

    path: Path
    record: RunRecord
    progress: Progress

    def tensors(self, group: str) -> dict[str, Tensor]:
        """The tensors of a group of `TrainingState.tensors` (field, average, ...) by name."""
        with _reading(self.path), safe_open(self.path / "weights.safetensors", "pt") as file:
            names = [name for name in file.keys() if name.startswith(group + ".")]  # noqa: SIM118
            return {name.removeprefix(group + "."): file.get_tensor(name) for name in names}


def save_checkpoint(run: RunFolder, record: RunRecord, state: TrainingState) -> Path:
    """The folder of a new checkpoint of ``state``; the last two are kept.

    Raises OutputError if it cannot be written and DivergenceError if the state is not finite: in
    both cases earlier checkpoints are untouched.
    """
    tensors = state.tensors()
    check_finite(run, state.progress.step, tensors)
    document = {
        "format": FORMAT,
        "version": VERSION,
        "run": records.to_json(record),
        "progress": records.to_json(state.progress),
    }
    path = run.checkpoint_path(state.progress.step)
    write_folder(path, tensors, document)
    run.prune_checkpoints()
    return path


def check_finite(run: RunFolder, step: int, tensors: dict[str, Tensor]) -> None:
    """Nothing if the state is sound; DivergenceError naming the first tensor that is not."""
    for name, tensor in tensors.items():
        # A sum is finite only if all of its terms are, and it is the cheapest pass over memory.
        if tensor.is_floating_point() and not torch.isfinite(tensor.sum()):
            raise diverged(run, step, f"{name} holds values that are not finite")
        if name.startswith("field.") and tensor.abs().max() > LARGEST_WEIGHT:
            raise diverged(run, step, f"{name} holds values beyond {LARGEST_WEIGHT:g}")


def diverged(run: RunFolder, step: int, what: str) -> DivergenceError:
    """The error that says where training went wrong, why, and where to go on from."""
    saved = run.checkpoints()
    rest = f"the last good checkpoint is {saved[-1]}" if saved else "no checkpoint was saved yet"
    return DivergenceError(
        f"Training diverged at step {step}: {what}; most likely the learning rate is too high for"
        f" this capture: lower training.learning_rate; {rest}."
    )


def open_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in ``path``, its records and the shapes of its weights checked.

    Raises CheckpointError in one sentence if it is missing, truncated, not ours or too new.
    """
    with _reading(path):
        document = _document(path)
        check_numbers(document["run"], "its record")
        record = records.from_json(RunRecord, document["run"], "run")
        check_numbers(document["progress"], "its progress")
        progress = records.from_json(Progress, document["progress"], "progress")
        _check_progress(progress)
        check_limits(record)
        check_lighting(record.lighting, record.field)
        shapes = _shapes(path)
        for group in ("field", "average", "moment1", "moment2"):
            _check_shapes(group, record.field, shapes, document["version"])
    return Checkpoint(path=path, record=record, progress=progress)


def restore(checkpoint: Checkpoint, state: TrainingState) -> None:
    """Sets ``state`` to what the checkpoint holds, in place.

    Raises CheckpointError naming the settings in which the run's field is another one.
    """
    wanted, found = state.field.spec, checkpoint.record.field
    if wanted != found:
        changes = "; ".join(differences("field", found, wanted))
        raise CheckpointError(
            f"{checkpoint.path} holds another field than these settings ask for: {changes};"
            " drop those settings, or train anew without run=."
        )
    groups = {name: checkpoint.tensors(name) for name in ("field", "average", "moment1", "moment2")}
    rows = groups["moment2"]["table"]
    if rows.dim() > 1:  # one for each feature, as up to version 2
        groups["moment2"]["table"] = rows.mean(1)
    with torch.no_grad():
        for name, parameter in state.field.named_parameters():
            parameter.copy_(groups["field"][name])
            state.average.average[name].copy_(groups["average"][name])
        for name, moment in state.moments.items():
            group, _, parameter_name = name.partition(".")
            moment.copy_(groups[group][parameter_name])
    restore_occupancy(checkpoint, state.occupancy)
    with _reading(checkpoint.path):
        state.errors.load_state(checkpoint.tensors("errors"))
    learnt = checkpoint.tensors("cameras")
    try:
        state.adjustment.load_state(learnt)
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path} cannot be gone on from: {error}") from error
    state.average.last_step = checkpoint.progress.averaged_step
    state.progress = checkpoint.progress


def restore_occupancy(checkpoint: Checkpoint, grid: OccupancyGrid) -> None:
    """Sets ``grid`` to what the checkpoint holds; CheckpointError if that does not fit."""
    found = checkpoint.tensors("occupancy")
    with _reading(checkpoint.path):
        for name, tensor in grid.state().items():
            shape = list(found[name].shape) if name in found else None
            if shape != list(tensor.shape):
                raise ValueError(
                    f"weights.safetensors holds occupancy.{name} as {shape}, but"
                    f" {grid.cascades} cascades in its state.json ask for {list(tensor.shape)}"
                )
        grid.load_state(found)


def differences(name: str, old: Any, new: Any) -> list[str]:
    """What differs between two records of one type, as ``name.entry=old here, new asked for``."""
    found = []
    for entry in dataclasses.fields(old):
        before, after = getattr(old, entry.name), getattr(new, entry.name)
        if dataclasses.is_dataclass(before):
            found += differences(f"{name}.{entry.name}", before, after)
        elif before != after:
            found.append(f"{name}.{entry.name} is {before} there and {after} here")
    return found


class _reading:
    """Inside, every way in which a checkpoint can be broken becomes one sentence about it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        broken = (OSError, ValueError, KeyError, SafetensorError, RuntimeError)
        if isinstance(error, broken) and not isinstance(error, CheckpointError):
            raise CheckpointError(
                f"Checkpoint {self.path} cannot be used: {reason_of(error)}; delete that folder"
                " to go on from the one before it, or train anew."
            ) from error


def _document(path: Path) -> dict[str, Any]:
    for name in ("state.json", "weights.safetensors"):
        if not (path / name).is_file():
            raise ValueError(f"{name} is missing")
    try:
        document = read_json(path / "state.json")
    except ValueError as error:
        raise ValueError(f"state.json is truncated or not JSON ({reason_of(error)})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError("it was not written by this program (state.json names another format)")
    version = document.get("version")
    if type(version) is not int or version < 1:
        raise ValueError(f"state.json has the format version {version!r:.40}, which is none")
    if version > VERSION:
        raise CheckpointError(
            f"Checkpoint {path} was written by a newer program (format version {version}, this one"
            f" reads up to {VERSION}): update neural_render."
        )
    if missing := {"run", "progress"} - set(document):
        raise ValueError(f"state.json lacks {', '.join(sorted(missing))}")
    if version == 1 and isinstance(document["run"], dict):
        document["run"].setdefault("precision", "float32")  # all that there was
    if version <= 3 and isinstance(document["run"], dict):
        unlit = json.loads(json.dumps(records.to_json(Lighting())))  # photographs
        document["run"].setdefault("lighting", unlit)
    run = document["run"] if isinstance(document["run"], dict) else {}
    frame, field = run.get("frame"), run.get("field")
    if version <= 4 and isinstance(frame, dict):
        frame.setdefault("projection", {"matrix": list(IDENTITY)})
    if version <= 5 and isinstance(field, dict):
        field.setdefault("reflection_degree", 0)  # all that there was
    if version <= 6 and isinstance(field, dict):
        field.setdefault("far_rows", 0)
    if version <= 7:
        complete_lighting(run.get("lighting"))
    return document


def complete_lighting(lighting: Any) -> None:
    """What lights were not stored with up to version 7: which of them shines from far around."""
    if isinstance(lighting, dict):
        groups = lighting.get("groups")
        listed = groups if isinstance(groups, list) else []
        found = [group for group in listed if isinstance(group, dict)]
        is_alone = any(group.get("name") == ENVIRONMENT for group in found)
        lighting.setdefault("environment", ENVIRONMENT if is_alone else "")


def check_limits(record: RunRecord) -> None:
    """ValueError for what nothing should be computed from: sizes, grids, rays without an end."""
    for owner in (record.field, record.field.grid, record.march, record.frame):
        for entry in dataclasses.fields(owner):
            value = getattr(owner, entry.name)
            low = 0 if entry.name in MAY_BE_ZERO else 1
            if entry.name in LIMITS and not low <= value <= LIMITS[entry.name]:
                raise ValueError(f"its record says {entry.name}={value}, which is out of range")
    grid, march, frame = record.field.grid, record.march, record.frame
    if grid.dims != 3 or grid.finest < grid.coarsest or grid.coarsest < 2:
        raise ValueError("its grid is none of three dimensions that grows finer")
    if not all(0 < multiplier < 1 << 32 for multiplier in grid.multipliers):
        raise ValueError("its grid's multipliers are not of 32 bits")
    steps = SHORTEST_STEP <= march.step <= march.max_step
    ends = march.near >= 0 and march.cone_angle >= 0 and 0 <= march.min_transmittance <= 1
    if not (steps and ends and 0 < march.max_samples_per_ray <= MOST_SAMPLES):
        raise ValueError("its march is none that ends")
    if not (frame.world_from_field.scale > 0 and frame.near >= 0):
        raise ValueError("its frame has no size, or its near distance is below 0")
    if frame.cascades != march.cascades:
        raise ValueError("its frame and its march differ in cascades")
    check_projection(record)


def check_projection(record: RunRecord) -> None:
    """ValueError for a projection without an inverse, or of a scene that reaches beyond it."""
    frame = record.frame
    if len(frame.projection.matrix) != 16:
        raise ValueError("its projection is no matrix of 16 numbers")
    if frame.projection.is_identity:
        return
    matrix = torch.tensor(frame.projection.matrix, dtype=torch.float32).view(4, 4).double()
    if not matrix.isfinite().all() or torch.linalg.matrix_rank(matrix) < 4:
        raise ValueError("its projection is a matrix that has no inverse")
    if frame.cascades != 1 or record.field.far_rows:
        raise ValueError(
            f"its record says cascades={frame.cascades} and far_rows={record.field.far_rows} for a"
            " scene behind a projection, where they are 1 and 0"
        )


def _check_progress(progress: Progress) -> None:
    """ValueError for what no training has come to."""
    if min(vars(progress).values()) < 0 or progress.survivors_per_ray <= 0:
        raise ValueError("its progress holds a number that none can have")


def check_numbers(value: Any, name: str) -> None:
    """ValueError for the first number that is not finite; JSON as Python reads it has them."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} holds a number that is not finite")
    if isinstance(value, dict):
        for key, entry in value.items():
            check_numbers(entry, f"{name}.{key}")
    if isinstance(value, list):
        for entry in value:
            check_numbers(entry, name)


def check_lighting(lighting: Lighting, spec: FieldSpec) -> None:
    """ValueError for lights that do not fit the field, or whose numbers nothing can be lit with."""
    names = [group.name for group in lighting.groups]
    if len(set(names)) < len(names) or "" in names:
        raise ValueError("its record gives two light groups one name, or one no name")
    if names and 3 * len(names) != spec.num_channels:
        raise ValueError(
            f"its record has {len(names)} light groups for a field of {spec.num_channels} channels"
        )
    numbers = [lighting.exposure, *(group.scale for group in lighting.groups)]
    if not all(0 < number < math.inf for number in numbers):
        raise ValueError("its record says an exposure or a light's scale that is not above 0")
    colors = [value for group in lighting.groups for value in group.color]
    if not all(0 <= value < math.inf for value in colors):
        raise ValueError("its record says a light's color that is negative or not finite")
    places = [value for light in lighting.moving for value in (*light.low, *light.high, *light.at)]
    if not all(map(math.isfinite, places)):
        raise ValueError("its record says places of a moving light that are not finite")
    if lighting.environment not in ("", *names):
        raise ValueError("its record says that a light shines from far around that it has not")
    if len(lighting.moving) > 1 or any(light.group not in names for light in lighting.moving):
        raise ValueError("its record says several moving lights, or one of no light group")
    if lighting.num_conditions not in (0, spec.num_conditions):
        raise ValueError(
            f"its record has a moving light for a field of {spec.num_conditions} conditions"
        )


def _shapes(path: Path) -> dict[str, list[int]]:
    try:
        with safe_open(checked_file(path / "weights.safetensors"), "pt") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"weights.safetensors is truncated or broken ({reason_of(error)})"
        ) from error


def _check_shapes(group: str, spec: FieldSpec, shapes: dict[str, list[int]], version: int) -> None:
    grid = spec.grid
    networks = "field.{grid.levels,grid.features,width,latent,density_layers,color_layers}"
    expected = {
        "table": ([grid.num_rows, grid.features], "field.grid"),
        "density_weights": ([spec.density_network.num_weights], networks),
        "color_weights": ([spec.color_network.num_weights], networks),
    }
    if spec.far_rows:
        texels = sum(height * width for height, width in far_sizes(spec.far_rows))
        expected["far"] = [texels, spec.num_channels], "field.far_rows"
    if version > 2 and group == "moment1":
        del expected["table"]
    if version > 2 and group == "moment2":
        expected["table"] = [grid.num_rows], "field.grid"
    for name, (shape, settings) in expected.items():
        found = shapes.get(f"{group}.{name}")
        if found != shape:
            raise ValueError(
                f"weights.safetensors holds {group}.{name} as {found}, but {settings} in its"
                f" state.json asks for {shape}"
            )
