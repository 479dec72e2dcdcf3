"""A camera path as files: numbered pictures, layers, depths, a video; one exposure per frame.

    frames   color_0000.png, depth_0000.png (depth as colours), opacity_0000.png, of 8 bits
    png16    picture_0000.png: the colours in 16 bits
    exr      frame_0000.exr: see ``layers``
    depth    depth_0000.npy: 32-bit floats [height width], depth along the camera's axis in the
             capture's own units (fisheyes, panoramas: the distance), infinite where nothing is
    video    video.mp4, .mov or .webm: see ``video.codecs``

Pictures that keep their opacity have it as a fourth channel, not multiplied into the colours.
``frames.json`` beside the files says what was rendered, and which depths the colours mean.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from neural_render.core.processes import group
from neural_render.export.developing import Development
from neural_render.export.folder import OUTPUTS, PARTS, FrameFolder
from neural_render.export.images import (
    Attribute,
    depth_limits,
    depth_picture,
    levels_of,
    read_levels,
    write_array,
    write_exr,
    write_levels,
    write_png,
)
from neural_render.export.layers import DATA, Exposed, exr_channels, is_empty
from neural_render.export.video.writing import VideoStyle, write_video

FRAMES_AHEAD = 1  # that were exposed and wait until their files are written
_COLOR, _DEPTH, _OPACITY = PARTS["frames"]
(_PICTURE,) = PARTS["png16"]
(_LAYERS,) = PARTS["exr"]
(_ARRAY,) = PARTS["depth"]
_PICTURES = {8: _COLOR, 16: _PICTURE}  # what holds the pictures of a video, by its bits

_log = logging.getLogger("neural_render")


@dataclass(frozen=True, kw_only=True)
class Film:
    """What is filmed: a function that exposes a frame, and what becomes of it.

    ``attributes`` are those of a frame's EXR. ``description`` (JSON) tells this film from others:
    run, step, path, settings. ``unit_of_depth`` stands in for depths where nothing is seen.
    """

    num_frames: int
    expose: Callable[[int], Exposed]
    development: Development
    attributes: Callable[[int], Mapping[str, Attribute]]
    description: Mapping[str, Any]
    unit_of_depth: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Which files are wanted; ``exr`` (half or float) is the precision of an EXR's colours."""

    outputs: tuple[str, ...]
    exr: str = "half"
    video: VideoStyle = field(default_factory=VideoStyle)

    @property
    def numbered(self) -> tuple[str, ...]:
        """The outputs that are files for each frame."""
        return tuple(output for output in OUTPUTS if output in self.outputs and output in PARTS)

    @property
    def layers(self) -> bool:
        """Whether colours are wanted layer by layer."""
        return "exr" in self.outputs

    @property
    def data(self) -> tuple[str, ...]:
        """What is to be known of the surfaces, by the names of its channels."""
        if self.layers:
            return DATA
        return ("Z", "distance") if {"frames", "depth"} & set(self.outputs) else ()


def write_film(
    film: Film, folder: Path, delivery: Delivery, *, resume: bool = False, progress: bool = True
) -> tuple[Path, ...]:
    """The paths to look at: the video, and the first file of each other kind that was asked for.

    With ``resume``, frames that an interrupted film of the same description left complete are not
    rendered again; without, the frames of any earlier film in ``folder`` are removed first.
    Several processes share the frames; the first one makes the video. Raises ``OutputError`` where
    nothing can be written or the frames in ``folder`` are another's.
    """
    assert delivery.outputs and set(delivery.outputs) <= set(OUTPUTS), delivery
    # The others find what the first one left of an earlier film.
    frames = group.after_first(
        lambda: FrameFolder(
            folder, film.description, delivery.numbered, resume=resume or not group.is_first()
        )
    )
    everything = list(range(film.num_frames))
    missing = group.of_first(lambda: frames.missing(len(everything)))
    made = _Pictures(film, frames, delivery)
    paths = tuple(frames.file(PARTS[output][0], 0) for output in delivery.numbered)
    if "video" not in delivery.outputs:
        for _ in made.of(missing, missing, progress):
            continue
        return paths
    kept = _PICTURES[delivery.video.codec.bits] in frames.parts
    # Where no pictures of the codec's bits are left behind, all are made again.
    pictures = _in_turn(made.of(everything, missing if kept else everything, progress), everything)
    video = folder / delivery.video.codec.file
    if group.is_first():
        with _said_if_begun_anew(video, kept):
            write_video(video, pictures, delivery.video)
    for _ in pictures:  # of the others, which send theirs
        continue
    return (video, *paths)


def _in_turn(made: Iterator[Tensor], everything: list[int]) -> Iterator[Tensor]:
    """All pictures in order, as bytes between processes: not every type can be sent."""
    if group.size() == 1:
        yield from made
        return
    sent = (picture.view(torch.uint8) for picture in made)
    for picture in group.in_turn(sent, len(everything)):
        deep = picture.shape[-1] > 4
        yield picture.view(torch.uint16) if deep else picture


@contextmanager
def _said_if_begun_anew(video: Path, kept: bool) -> Iterator[None]:
    """Inside, an interruption says what is lost."""
    try:
        yield
    except KeyboardInterrupt:
        if not kept:
            _log.warning(
                "%s was not finished and will begin anew: with render.output=video,frames (h264,"
                " vp9) or render.output=video,png16 (others), frames that are done are kept",
                video,
            )
        raise


@dataclass(frozen=True)
class _Pictures:
    """Makes the frames of a film: exposes one while the files of the one before are written."""

    film: Film
    frames: FrameFolder
    delivery: Delivery

    def of(self, indices: list[int], missing: list[int], progress: bool) -> Iterator[Tensor]:
        """This process's share of the pictures as the video wants them, exposed where ``missing``;
        their files are written before each. Errors of writing come as soon as they are known."""
        own, render = group.share(indices), set(missing)
        ahead = self._exposed_ahead([index for index in own if index in render])
        waiting: deque[Future[Tensor]] = deque()
        # What is exposed is written even if somebody presses Ctrl-C: leaving `with` waits for it.
        with ThreadPoolExecutor(1) as writer:
            for index in tqdm(own, desc="render", unit="frame", disable=not progress):
                if index in render:
                    exposed = ahead.pop(index, None) or self.film.expose(index)
                    waiting.append(writer.submit(self._finish, index, exposed))
                else:
                    waiting.append(writer.submit(self._read, index))
                if len(waiting) > FRAMES_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _exposed_ahead(self, own: Sequence[int]) -> dict[int, Exposed]:
        """This process's first frame, where the first of all is still to say which depths the
        colours mean; afterwards ``frames`` knows them in each process."""
        frames = self.frames
        if _COLOR not in frames.parts or frames.depth_limits is not None:
            return {}
        ahead = {index: self.film.expose(index) for index in own[:1]}

        def limits() -> tuple[float, float] | None:
            for exposed in ahead.values():
                seen = exposed.opacity.masked_fill(is_empty(exposed), 0.0)
                found = depth_limits(exposed.data["Z"], seen)
                frames.fix_depth_limits(found or (0.0, self.film.unit_of_depth))
            return frames.depth_limits

        frames.depth_limits = group.of_first(limits)
        return ahead

    def _finish(self, index: int, exposed: Exposed) -> Tensor:
        """The picture as the video wants it, after the frame's files are written."""
        parts, picture = self.frames.parts, torch.empty(0, 0, 3)
        if {_COLOR, _PICTURE} & set(parts) or "video" in self.delivery.outputs:
            picture = self.film.development.picture(exposed.light, exposed.opacity)
        if _LAYERS in parts:
            half = {*exposed.layers, "A"} if self.delivery.exr == "half" else ()
            path, attributes = self.frames.file(_LAYERS, index), self.film.attributes(index)
            write_exr(path, exr_channels(exposed), half=half, attributes=attributes)
        if _ARRAY in parts:
            depth = exposed.data["Z"].masked_fill(is_empty(exposed), torch.inf)
            write_array(self.frames.file(_ARRAY, index), depth)
        if _PICTURE in parts:
            write_levels(self.frames.file(_PICTURE, index), levels_of(picture, 16))
        if _COLOR in parts:
            self._write_views(index, exposed, picture)
        return levels_of(picture, self.delivery.video.codec.bits)

    def _write_views(
        self, index: int, exposed: Exposed, picture: Float[Tensor, "height width channels"]
    ) -> None:
        """The 8-bit pictures of colour, depth and opacity."""
        limits = self.frames.depth_limits
        assert limits is not None, "the first frame has told them"
        seen = exposed.opacity.masked_fill(is_empty(exposed), 0.0)
        write_png(self.frames.file(_COLOR, index), picture)
        write_png(self.frames.file(_DEPTH, index), depth_picture(exposed.data["Z"], seen, limits))
        write_png(self.frames.file(_OPACITY, index), exposed.opacity[..., None])

    def _read(self, index: int) -> Tensor:
        """A picture that an earlier film left."""
        bits = self.delivery.video.codec.bits
        return read_levels(self.frames.file(_PICTURES[bits], index), bits)
