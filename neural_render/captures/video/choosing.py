"""Which frames of a video become photos: sharp ones, evenly spaced in what the picture moved.

Spacing in time would take a hundred photos where the camera rested and none where it swept by. The
picture's motion is measured in small grey frames as the mean displacement of overlapping blocks, by
phase correlation (Kuglin and Hines 1975), against the last frame that lay clearly apart: so noise
does not add up while nothing moves.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

BLOCK, STEP = 32, 16  # pixels of the frames that motion is measured in
# Displacements are told up to half a block; a frame so far from its reference becomes the next one.
APART = 4.0
# Around the evenly spaced places, in spacings: where the sharpest frame is looked for.
REACH = 0.4
# How much sharper (as a logarithm) a frame at the edge of that range must be to be preferred.
EDGE_COST = 0.1
_FLAT = 2.0  # grey values: a block that varies less shows nothing that could be followed


class MotionMeter:
    """How far the picture has moved, in widths of its longer side, frame by frame."""

    def __init__(self) -> None:
        self._reference = np.zeros((0, 0, 0), dtype=np.complex64)
        self._total, self._farthest = 0.0, 0.0

    def add(self, image: UInt8[np.ndarray, "height width"]) -> float:
        """The motion up to this frame; it never falls."""
        spectra = _spectra(image)
        if not self._reference.size:
            self._reference = spectra
            return 0.0
        if spectra.shape != self._reference.shape:  # a film of which parts have another shape
            self._reference, self._total = spectra, self._farthest
        moved = _displacement(self._reference, spectra)
        self._farthest = max(self._farthest, self._total + moved)
        if moved >= APART:
            self._reference, self._total = spectra, self._farthest
        return self._farthest / max(image.shape)


def sharpness(image: UInt8[np.ndarray, "height width"]) -> float:
    """The variance of the image's Laplacian, which blur takes away."""
    values = image.astype(np.float32)
    inner = values[1:-1, 1:-1]
    around = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:]
    return float((around - 4 * inner).var())


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What was seen of every frame that was looked at."""

    number: Int[np.ndarray, " frames"]  # in the video
    motion: Float[np.ndarray, " frames"]  # up to the frame, in widths of the picture; never falls
    sharpness: Float[np.ndarray, " frames"]


def choose(looks: Looks, count: int) -> Int[np.ndarray, " chosen"]:
    """The numbers of up to ``count`` frames, in order.

    Each is the sharpest, for what its neighbours show, near one of ``count`` places evenly spaced
    in motion; where the picture rests a place may have no frame of its own, and is left out.
    """
    spacing = looks.motion[-1] / max(1, count - 1)
    if not spacing > 0:
        return looks.number[:1]
    relative = np.log(np.maximum(looks.sharpness, 1e-6))
    chosen: list[int] = []
    for place in range(count):
        offset = (looks.motion - place * spacing) / spacing
        inside = np.flatnonzero(np.abs(offset) <= REACH)
        if len(inside) == 0:
            inside = np.abs(offset).argmin()[None]
        cost = EDGE_COST * (offset[inside] / REACH) ** 2
        chosen.append(int(inside[(relative[inside] - cost).argmax()]))
    return looks.number[np.unique(chosen)]


def _spectra(image: UInt8[np.ndarray, "height width"]) -> np.ndarray:
    """The Fourier transforms of the image's overlapping blocks; zeros for blocks without detail."""
    padded = np.pad(
        image.astype(np.float32), [(0, max(0, BLOCK - side)) for side in image.shape], mode="edge"
    )
    windows = np.lib.stride_tricks.sliding_window_view(padded, (BLOCK, BLOCK))
    blocks = windows[::STEP, ::STEP].reshape(-1, BLOCK, BLOCK)
    blocks = blocks - blocks.mean(axis=(1, 2), keepdims=True)
    taper = np.hanning(BLOCK + 2)[1:-1].astype(np.float32)
    detailed = blocks.std(axis=(1, 2), keepdims=True) > _FLAT
    return np.fft.rfft2(blocks * detailed * taper * taper[:, None]).astype(np.complex64)


def _displacement(first: np.ndarray, second: np.ndarray) -> float:
    """The mean length in pixels by which blocks moved, the surer ones counting more."""
    cross = first.conj() * second
    strength = np.abs(cross)
    known = strength.reshape(len(cross), -1).max(axis=1) > 0
    if not known.any():
        return 0.0
    cross, strength = cross[known], strength[known]
    # Frequencies that hardly occur in the block say nothing: they are not raised to full weight.
    floor = 0.05 * strength.max(axis=(1, 2), keepdims=True)
    surface = np.fft.irfft2(cross / (strength + floor), s=(BLOCK, BLOCK))
    flat = surface.reshape(len(surface), -1)
    best = flat.argmax(axis=1)
    peak = np.maximum(flat.max(axis=1), 0)
    block = np.arange(len(surface))
    y, x = np.divmod(best, BLOCK)
    down = y + _vertex(surface[block, y - 1, x], peak, surface[block, (y + 1) % BLOCK, x])
    right = x + _vertex(surface[block, y, x - 1], peak, surface[block, y, (x + 1) % BLOCK])
    half = BLOCK / 2
    length = np.hypot((down + half) % BLOCK - half, (right + half) % BLOCK - half)
    return float((length * peak).sum() / max(float(peak.sum()), 1e-12))


def _vertex(before: np.ndarray, peak: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where between its neighbours the parabola through a peak has its top."""
    bend = before - 2 * peak + after
    return np.where(bend < 0, 0.5 * (before - after) / np.minimum(bend, -1e-12), 0.0)
