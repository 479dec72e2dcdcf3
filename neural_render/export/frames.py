"""A camera path as files: numbered PNG pictures, EXR layers, a video; one render per frame.

    frames   color_0000.png, depth_0000.png (z-depth as colours), opacity_0000.png
    exr      frame_0000.exr: R G B (scene-linear, associated), for each light group GROUP.R GROUP.G
             GROUP.B (the same at its unit emission), A, Z (z-depth), distance (along the ray), both
             in the capture's own units
    video    video.mp4

``frames.json`` beside them says what was rendered, and which depths the colours mean.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm import tqdm

from neural_render.core.cameras import Cameras, image_rays
from neural_render.core.color import quantised
from neural_render.core.processes import group
from neural_render.export.developing import Development
from neural_render.export.folder import PARTS, FrameFolder
from neural_render.export.images import (
    EMPTY_DEPTH,
    MIN_OPACITY,
    depth_limits,
    depth_picture,
    write_exr,
    write_png,
)
from neural_render.export.video import write_video
from neural_render.rendering.images import Image

OUTPUTS = ("video", "frames", "exr")
_COLOR, _DEPTH, _OPACITY = PARTS["frames"]
(_LAYERS,) = PARTS["exr"]


@dataclass(frozen=True, kw_only=True)
class Film:
    """What is filmed: cameras in the world, and a function that renders what they see.

    ``development`` makes pictures and layers of the renders. ``description`` (JSON) tells this film
    from others: run, step, path.
    """

    cameras: Cameras
    render_one: Callable[[int], Image]
    development: Development
    world_from_field_scale: float
    description: Mapping[str, Any]


def write_film(
    film: Film,
    folder: Path,
    *,
    outputs: tuple[str, ...],
    frames_per_second: float = 30.0,
    exr: str = "half",
    resume: bool = False,
    progress: bool = True,
) -> tuple[Path, ...]:
    """The paths to look at: the video, the first colour picture, the first EXR; what was asked for.

    With ``resume``, frames that an interrupted film of the same description left complete are not
    rendered again; without, the frames of any earlier film in ``folder`` are removed first.
    ``exr`` (half or float) is the precision of an EXR's colours and opacity. Several processes
    share the frames; the first one makes the video. Raises ``OutputError`` where nothing can be
    written or the frames in ``folder`` are another's.
    """
    assert outputs and set(outputs) <= set(OUTPUTS), outputs
    numbered = tuple(output for output in OUTPUTS if output in outputs and output in PARTS)
    # The others find what the first one left of an earlier film.
    frames = group.after_first(
        lambda: FrameFolder(
            folder, film.description, numbered, resume=resume or not group.is_first()
        )
    )
    everything = list(range(len(film.cameras)))
    missing = group.of_first(lambda: frames.missing(len(everything)))
    if "video" not in outputs:
        for _ in _pictures(film, frames, missing, missing, exr=exr, progress=progress):
            continue
        return tuple(frames.file(PARTS[output][0], 0) for output in numbered)
    if "frames" not in outputs:
        missing = everything  # EXR does not hold the 8-bit pictures that the video is made of
    video = folder / "video.mp4"
    made = _pictures(film, frames, everything, missing, exr=exr, progress=progress)
    pictures = group.in_turn(made, len(everything))
    if group.is_first():
        write_video(video, pictures, frames_per_second=frames_per_second)
    for _ in pictures:  # of the others, which send theirs
        continue
    return (video, *(frames.file(PARTS[output][0], 0) for output in numbered))


def z_depth(
    distance: Float[Tensor, "height width"], cameras: Cameras, index: int
) -> Float[Tensor, "height width"]:
    """Depth along the axis of camera ``index`` of distances along its rays, in the same units."""
    forward = cameras.world_from_camera[index, :, 2]
    cosine = image_rays(cameras, index).directions @ forward
    return distance * cosine.to(distance).view_as(distance)


def _pictures(
    film: Film,
    frames: FrameFolder,
    indices: list[int],
    missing: list[int],
    *,
    exr: str,
    progress: bool,
) -> Iterator[UInt8[Tensor, "height width 3"]]:
    """This process's share of the 8-bit sRGB pictures, rendered where ``missing``; their files are
    written before each."""
    own, render = group.share(indices), set(missing)
    ahead = _rendered_ahead(film, frames, [index for index in own if index in render])
    for index in tqdm(own, desc="render", unit="frame", disable=not progress):
        if index in render:
            image = ahead.pop(index, None) or _rendered(film, index)
            picture = film.development.picture(image, index)
            if frames.parts:
                _write_frame(film, frames, index, image, picture, exr)
            yield quantised(picture)
        else:
            yield _read_picture(frames.file(_COLOR, index))


def _rendered(film: Film, index: int) -> Image:
    return film.render_one(index).to(torch.device("cpu"))


def _rendered_ahead(film: Film, frames: FrameFolder, own: Sequence[int]) -> dict[int, Image]:
    """This process's first frame, where the first of all is still to say which depths the colours
    mean; afterwards ``frames`` knows them in each process."""
    if _COLOR not in frames.parts or frames.depth_limits is not None:
        return {}
    ahead = {index: _rendered(film, index) for index in own[:1]}

    def limits() -> tuple[float, float] | None:
        for index, image in ahead.items():
            depth = z_depth(image.distance * film.world_from_field_scale, film.cameras, index)
            frames.fix_depth_limits(
                depth_limits(depth, image.opacity) or (0.0, film.world_from_field_scale)
            )
        return frames.depth_limits

    frames.depth_limits = group.of_first(limits)
    return ahead


def _write_frame(
    film: Film,
    frames: FrameFolder,
    index: int,
    image: Image,
    srgb: Float[Tensor, "height width 3"],
    exr: str,
) -> None:
    """Write the files of one frame that the folder is to hold; ``srgb`` is its colour picture."""
    distance = image.distance * film.world_from_field_scale
    depth = z_depth(distance, film.cameras, index)
    if _LAYERS in frames.parts:
        layers = _layers(film, image, distance=distance, depth=depth)
        half = set(layers) - {"Z", "distance"} if exr == "half" else set()
        write_exr(frames.file(_LAYERS, index), layers, half=half)
    if _COLOR not in frames.parts:
        return
    assert frames.depth_limits is not None, "the first frame has told them"
    picture = depth_picture(depth, image.opacity, frames.depth_limits)
    write_png(frames.file(_COLOR, index), srgb)
    write_png(frames.file(_DEPTH, index), picture)
    write_png(frames.file(_OPACITY, index), image.opacity[..., None])


def _layers(
    film: Film,
    image: Image,
    *,
    distance: Float[Tensor, "height width"],
    depth: Float[Tensor, "height width"],
) -> dict[str, Float[Tensor, "height width"]]:
    """The channels of an EXR by their names."""
    empty = image.opacity < MIN_OPACITY
    return {
        **film.development.layers(image),
        "A": image.opacity,
        "Z": depth.masked_fill(empty, EMPTY_DEPTH),
        "distance": distance.masked_fill(empty, EMPTY_DEPTH),
    }


def _read_picture(path: Path) -> UInt8[Tensor, "height width 3"]:
    import PIL.Image

    return torch.from_numpy(np.array(PIL.Image.open(path).convert("RGB")))
