"""A frame as it was exposed, and the channels and the header of its EXR file.

    R G B A            scene-linear, Rec. 709 primaries, associated (multiplied) with A
    GROUP.R ...        the same of each light group at its unit emission, without A
    Z                  depth along the camera's axis, 1e10 where nothing is (fisheyes, panoramas:
                       the distance)
    distance           from the lens along the ray, 1e10 where nothing is
    P.X P.Y P.Z        the place in the world, 0 where nothing is
    N.X N.Y N.Z        the surface's normal, axes of the world, 0 where nothing is

Lengths, places and axes are the capture's own. A picture that is a mean of many has the data (all
but colours and A) of the one ray through its pixel's centre and its lens's middle, in the middle
of its time: so ``P`` lies exactly at ``Z``. Where that ray sees nothing and others do, it is their
mean distance, each counting as much as it is covered.

What compositors expect: "Z" is depth to Nuke, Fusion and Blender, which writes 1e10 for nothing; a
name before a dot is a layer, X, Y, Z its vectors ("P", "N": what RenderMan and Arnold call position
and normal). Cycles has depth and position of one sample, too. ``worldToCamera`` and ``worldToNDC``
are OpenEXR's standard attributes ("Standard Attributes", openexr.com): row vectors times matrices,
the camera's y up and z ahead, pictures from (0, 0) in their upper left to (1, 1).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from neural_render.core.cameras import Cameras, Lens
from neural_render.export.images import EMPTY_DEPTH, MIN_OPACITY, Attribute

DISTANCES = ("Z", "distance")
PLACES = ("P.X", "P.Y", "P.Z")
NORMALS = ("N.X", "N.Y", "N.Z")
DATA = (*DISTANCES, *PLACES, *NORMALS)


@dataclass(frozen=True, kw_only=True)
class Exposed:
    """What the film has gathered in one frame, before it becomes a picture.

    ``layers`` are colours by their channels' names, ``data`` what is known of the surfaces; both
    hold what was asked for. Where nothing is, distances are 0.
    """

    light: Float[Tensor, "height width 3"]
    opacity: Float[Tensor, "height width"]
    layers: Mapping[str, Float[Tensor, "height width"]]
    data: Mapping[str, Float[Tensor, "height width"]]


def together(parts: list[Exposed], dim: int) -> Exposed:
    """Parts of a picture in one, put below (0) or beside (1) each other."""
    if len(parts) == 1:
        return parts[0]
    return Exposed(
        light=torch.cat([part.light for part in parts], dim),
        opacity=torch.cat([part.opacity for part in parts], dim),
        layers=_together([part.layers for part in parts], dim),
        data=_together([part.data for part in parts], dim),
    )


def exr_channels(exposed: Exposed) -> dict[str, Float[Tensor, "height width"]]:
    """The channels of an EXR by their names."""
    data = dict(exposed.data)
    if "Z" in data:
        empty = is_empty(exposed)
        for name in data:
            data[name] = data[name].masked_fill(empty, EMPTY_DEPTH if name in DISTANCES else 0.0)
    return {**exposed.layers, "A": exposed.opacity, **data}


def is_empty(exposed: Exposed) -> Tensor:
    """Where no depth is known."""
    return (exposed.opacity < MIN_OPACITY) | (exposed.data["distance"] <= 0)


def camera_attributes(cameras: Cameras, index: int) -> dict[str, Attribute]:
    """What the header says of the camera that saw frame ``index``; a picture's place in the world
    can be told of pinholes only."""
    pose = cameras.world_from_camera[index].double().cpu()
    local = torch.eye(4, dtype=torch.float64)
    local[:3, :3] = pose[:, :3].T
    local[:3, 3] = -pose[:, :3].T @ pose[:, 3]
    flipped = torch.diag(local.new_tensor([1.0, -1.0, 1.0, 1.0]))
    found = {"worldToCamera": _matrix(flipped @ local)}
    plain = not bool(cameras.distortion[index].any())
    if cameras.lens[index] == Lens.PERSPECTIVE and plain:
        size = local.new_tensor([int(cameras.width[index]), int(cameras.height[index])])
        focal, center = cameras.focal_px[index].cpu() / size, cameras.center_px[index].cpu() / size
        to_picture = local.new_zeros(4, 4)
        to_picture[0, 0], to_picture[1, 1] = focal.tolist()
        to_picture[:2, 2] = center
        # NDC's third coordinate means nothing; this one makes the matrix invertible.
        to_picture[2, 3] = to_picture[3, 2] = 1.0
        found["worldToNDC"] = _matrix(to_picture @ local)
    return found


def _matrix(columns: Float[Tensor, "4 4"]) -> Attribute:
    """A matrix for column vectors as OpenEXR has it, for row vectors."""
    return "matrix", tuple(columns.T.flatten().tolist())


def _together(
    parts: list[Mapping[str, Float[Tensor, "_ _"]]], dim: int
) -> dict[str, Float[Tensor, "_ _"]]:
    return {name: torch.cat([part[name] for part in parts], dim) for name in parts[0]}
