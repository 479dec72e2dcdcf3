"""The tensors of a package: what each is called, made of a scene, and made a scene again.

table.0, table.1, ...        a stream for each level (see `streams`), uint8
occupancy                    a stream of the grid's bits, uint8
density_weights, ...         the field's other parameters, float16
train.*, test.*              the cameras: poses, intrinsics, lenses (`CAMERA_TYPES`)
environment.picture          radiance over environment.scale, float16, where there is one
environment.scale, .rotation float32
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int32
from torch import Tensor

from neural_render.captures.records import Views
from neural_render.core.cameras import Cameras
from neural_render.core.lenses.kinds import ALL_COEFFICIENTS, NUM_PLAIN, Lens
from neural_render.fields import RadianceField
from neural_render.fields.radiance import far_sizes
from neural_render.kernels.cells import NUM_CELLS
from neural_render.kernels.specs import FieldSpec
from neural_render.rendering.environment import EnvironmentMap
from neural_render.training.packages.format import Document, PackedLevel
from neural_render.training.packages.streams import (
    packed_numbers,
    smallest_stream,
    unpacked,
    unpacked_numbers,
)

LARGEST_HALF = 60_000.0  # what radiance is scaled to, where float16 would overflow
LARGEST_SIDE = 1 << 20  # pixels
CAMERA_TYPES = {
    "world_from_camera": torch.float32,
    "focal_px": torch.float32,
    "center_px": torch.float32,
    "distortion": torch.float32,
    "lens": torch.int32,
    "width": torch.int32,
    "height": torch.int32,
}


def packed_table(
    levels: list[Int32[np.ndarray, "_ features"]], steps: list[float]
) -> tuple[dict[str, Tensor], tuple[PackedLevel, ...]]:
    """The levels' streams, and how each is to be read."""
    tensors, described = {}, []
    for index, (numbers, step) in enumerate(zip(levels, steps, strict=True)):
        stream, planes = packed_numbers(numbers.reshape(-1))
        tensors[f"table.{index}"] = bytes_tensor(stream)
        described.append(PackedLevel(step=step, planes=planes))
    return tensors, tuple(described)


def unpacked_table(
    document: Document, tensors: Mapping[str, Tensor]
) -> Float[Tensor, "rows features"]:
    """The table that the streams stand for; ValueError where they do not fit the document."""
    grid = document.run.field.grid
    parts = []
    for index, (layout, level) in enumerate(zip(grid.level_layout(), document.table, strict=True)):
        stream = bytes_of(tensors, f"table.{index}")
        numbers = unpacked_numbers(stream, layout.rows * grid.features, level.planes)
        parts.append(dequantised(numbers, level.step).view(-1, grid.features))
    return torch.cat(parts)


def dequantised(numbers: Int32[np.ndarray, "*shape"], step: float) -> Float[Tensor, "*shape"]:
    """The entries that whole numbers stand for: float32 products."""
    return torch.from_numpy(numbers.astype(np.float32) * np.float32(step))


def packed_networks(field: RadianceField) -> dict[str, Tensor]:
    """All parameters but the table, in half precision."""
    return {
        name: parameter.detach().cpu().half()
        for name, parameter in field.named_parameters()
        if name != "table"
    }


def unpacked_networks(spec: FieldSpec, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters but the table; ValueError where one has another shape or is not finite."""
    shapes = {
        "density_weights": [spec.density_network.num_weights],
        "color_weights": [spec.color_network.num_weights],
    }
    if spec.far_rows:
        texels = sum(height * width for height, width in far_sizes(spec.far_rows))
        shapes["far"] = [texels, spec.num_channels]
    found = {name: _tensor(tensors, name, torch.float16).float() for name in shapes}
    for name, tensor in found.items():
        _check_shape(tensor, name, shapes[name])
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} holds numbers that are not finite")
    return found


def packed_views(views: Views, part: str) -> dict[str, Tensor]:
    """The cameras of the training or the test views."""
    return {
        f"{part}.{name}": getattr(views.cameras, name).detach().cpu().to(kind)
        for name, kind in CAMERA_TYPES.items()
    }


def unpacked_views(
    tensors: Mapping[str, Tensor], part: str, names: tuple[str, ...], *, has_opacity: bool
) -> Views:
    """The views without their photos; ValueError where a camera is none."""
    num = len(names)
    found = {name: _tensor(tensors, f"{part}.{name}", kind) for name, kind in CAMERA_TYPES.items()}
    shapes = {"world_from_camera": [num, 3, 4], "focal_px": [num, 2], "center_px": [num, 2]}
    for name, tensor in found.items():
        wanted = shapes.get(name, [num])
        if name == "distortion":
            wanted = [num, len(ALL_COEFFICIENTS) if tensor.numel() > NUM_PLAIN * num else NUM_PLAIN]
        _check_shape(tensor, f"{part}.{name}", wanted)
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{part}.{name} holds numbers that are not finite")
    sides = torch.cat([found["width"], found["height"]])
    if not bool(((sides > 0) & (sides <= LARGEST_SIDE)).all()):
        raise ValueError(f"{part} has cameras whose pictures have no size")
    if not set(found["lens"].tolist()) <= {int(lens) for lens in Lens}:
        raise ValueError(f"{part} has cameras of an unknown lens")
    if not bool((found["focal_px"] > 0).all()):
        raise ValueError(f"{part} has cameras whose focal length is not above 0")
    whole = {name: tensor.long() for name, tensor in found.items() if tensor.dtype == torch.int32}
    return Views(
        cameras=Cameras(**(found | whole)),
        names=names,
        pixels=torch.empty((0, 4 if has_opacity else 3), dtype=torch.uint8),
        offsets=torch.zeros(num, dtype=torch.long),
        masks=torch.empty(0, dtype=torch.uint8),
    )


def packed_environment(environment: EnvironmentMap) -> dict[str, Tensor]:
    """The picture of all that is far around a baked scene."""
    scale = max(1.0, float(environment.picture.max()) / LARGEST_HALF)
    return {
        "environment.picture": (environment.picture.cpu() / scale).half(),
        "environment.scale": torch.tensor([scale]),
        "environment.rotation": environment.world_from_environment.cpu().float(),
    }


def unpacked_environment(tensors: Mapping[str, Tensor]) -> tuple[EnvironmentMap, ...]:
    """None or one; ValueError where it is broken."""
    if not any(name.startswith("environment.") for name in tensors):
        return ()
    picture = _tensor(tensors, "environment.picture", torch.float16).float()
    scale = _tensor(tensors, "environment.scale", torch.float32)
    rotation = _tensor(tensors, "environment.rotation", torch.float32)
    _check_shape(scale, "environment.scale", [1])
    _check_shape(rotation, "environment.rotation", [3, 3])
    if picture.dim() != 3 or picture.shape[2] != 3 or not picture.numel():
        raise ValueError(f"environment.picture has the shape {list(picture.shape)}")
    picture = picture * scale
    if not bool((picture.isfinite() & (picture >= 0)).all()):
        raise ValueError("environment.picture holds radiance that is negative or not finite")
    if not torch.allclose(rotation @ rotation.T, torch.eye(3), atol=1e-4):
        raise ValueError("environment.rotation is no rotation")
    return (EnvironmentMap(picture=picture, world_from_environment=rotation),)


def packed_bits(bits: Tensor) -> Tensor:
    """The bits of an occupancy grid as a stream."""
    return bytes_tensor(smallest_stream(bits.cpu().contiguous().numpy().tobytes()))


def unpacked_bits(tensors: Mapping[str, Tensor], cascades: int) -> Tensor:
    """The bits of an occupancy grid."""
    found = unpacked(bytes_of(tensors, "occupancy"), cascades * NUM_CELLS // 8)
    return torch.from_numpy(found.copy()).view(cascades, -1)


def bytes_tensor(stream: bytes) -> Tensor:
    """A stream as safetensors holds it."""
    return torch.frombuffer(bytearray(stream), dtype=torch.uint8)


def bytes_of(tensors: Mapping[str, Tensor], name: str) -> bytes:
    """The stream in a tensor; ValueError where it is missing."""
    return _tensor(tensors, name, torch.uint8).numpy().tobytes()


def _tensor(tensors: Mapping[str, Tensor], name: str, kind: torch.dtype) -> Tensor:
    if name not in tensors:
        raise ValueError(f"it lacks {name}")
    if tensors[name].dtype != kind:
        raise ValueError(f"{name} is of type {tensors[name].dtype} and not {kind}")
    return tensors[name]


def _check_shape(tensor: Tensor, name: str, wanted: list[int]) -> None:
    if list(tensor.shape) != wanted:
        raise ValueError(f"{name} has the shape {list(tensor.shape)} and not {wanted}")
