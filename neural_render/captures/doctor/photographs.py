"""What can be said of photos without their cameras: blur, exposure, duplicates.

A photo is compared with the others of its capture: what is sharp or bright depends on the scene.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from neural_render.captures.doctor.findings import Finding, Severity, few_names
from neural_render.captures.doctor.subject import MAX_THREADS, Subject, grey_of
from neural_render.captures.loading.parallel import in_parallel
from neural_render.core.waiting.patience import told_if_slow

LOOKED_AT = 400  # pixels: the side of what sharpness is measured on, unscaled
THUMBNAIL = 48
LEAST_COMPARED = 8  # photos: fewer do not say what is usual
# Beyond so many robust standard deviations, and by so large a factor, a photo is an exception.
OUTLIER = 4.0
LEAST_BLUR = 3.0
CLIPPED_SHARE = 0.25
OVEREXPOSED, UNDEREXPOSED = 253, 4
LEAST_CLIPPED = 0.1  # more than usual for the set
SAME = 1.0  # grey levels of 255 between photos that show nothing different
STOPS = 1.0


@dataclass(frozen=True, kw_only=True)
class PhotoFigures:
    """What was measured of each photo that was looked at."""

    photos: tuple[int, ...]
    sharpness: Float64[np.ndarray, " looked"]  # fine detail over coarse detail, as a logarithm
    over: Float64[np.ndarray, " looked"]  # the share of its pixels that are white
    under: Float64[np.ndarray, " looked"]  # black
    brightness: Float64[np.ndarray, " looked"]  # the mean's binary logarithm
    thumbnails: Float[np.ndarray, "looked pixels"]


@told_if_slow("looking for blurred, doubled and badly exposed photos")
def measure_photos(subject: Subject, most: int) -> PhotoFigures:
    """Figures of the photos, at most so many of them, evenly chosen."""
    count = min(most, len(subject))
    photos = np.unique(np.linspace(0, len(subject) - 1, count).astype(np.int64)).tolist()

    def measure(photo: int) -> tuple[list[float], np.ndarray]:
        return _figures(subject, photo), _thumbnail(subject, photo)

    measured = in_parallel(measure, photos, description="", progress=False, threads=MAX_THREADS)
    sharpness, over, under, brightness = np.array([row for row, _ in measured]).T
    return PhotoFigures(
        photos=tuple(photos),
        sharpness=sharpness,
        over=over,
        under=under,
        brightness=brightness,
        thumbnails=np.stack([thumbnail for _, thumbnail in measured]),
    )


def photo_findings(subject: Subject, figures: PhotoFigures) -> list[Finding]:
    """Photos that are blurred, wrongly exposed or there twice."""
    names = np.array([subject.names[photo] for photo in figures.photos])
    findings = []
    blurred = names[_low(figures.sharpness, math.log(LEAST_BLUR))]
    if len(blurred):
        findings.append(
            Finding(
                name="blurred photos",
                severity=Severity.WARNING,
                sentence=f"{len(blurred)} photos are far less sharp than the others"
                f" ({few_names(blurred.tolist())})",
                mend="remove them if others show the same, and hold the camera still",
            )
        )
    for share, name, mend in (
        (figures.over, "over-exposed", "lower the exposure, or lock it on the brightest part"),
        (figures.under, "under-exposed", "give more light or a longer exposure"),
    ):
        clipped = names[(share > CLIPPED_SHARE) & _high(share, LEAST_CLIPPED)]
        if len(clipped):
            findings.append(
                Finding(
                    name=f"{name} photos",
                    severity=Severity.WARNING,
                    sentence=f"{len(clipped)} photos are {name} beside the others"
                    f" ({few_names(clipped.tolist())})",
                    mend=mend,
                )
            )
    return [*findings, *_same_photos(names.tolist(), figures), *_uneven_exposure(figures)]


def _figures(subject: Subject, photo: int) -> list[float]:
    """Sharpness, white share, black share, brightness."""
    views, place = subject.places[photo]
    image = views.image(place)
    height, width = image.shape[:2]
    top, left = max(height - LOOKED_AT, 0) // 2, max(width - LOOKED_AT, 0) // 2
    crop = slice(top, top + LOOKED_AT), slice(left, left + LOOKED_AT)
    grey = grey_of(image[crop])
    shown = views.mask(place)[crop].cpu().float() / 255
    if image.shape[-1] == 4:
        shown = shown * image[crop][..., 3].cpu().float() / 255
    small, counted = subject.grey(photo, LOOKED_AT), subject.counts(photo, LOOKED_AT) > 0.99
    seen = small[counted] if bool(counted.any()) else small.flatten()
    over = float((seen >= OVEREXPOSED).double().mean())
    under = float((seen <= UNDEREXPOSED).double().mean())
    return [_sharpness(grey, shown), over, under, math.log2(float(seen.mean()) + 1)]


def _sharpness(grey: Float[Tensor, "height width"], shown: Float[Tensor, "height width"]) -> float:
    """The logarithm of detail at the pixel's scale over detail at four times that.

    What is in the picture cancels largely: blur removes the fine and leaves the coarse.
    """
    pooled = [grey[None, None], shown[None, None]]
    energies = []
    for level in range(3):
        if min(pooled[0].shape[-2:]) < (6 if level else 3):  # nothing lies around a pixel
            energies.append(0.0)
            continue
        if level:
            pooled = [torch.nn.functional.avg_pool2d(part, 2) for part in pooled]
        image, weight = pooled
        inside = -torch.nn.functional.max_pool2d(-weight, 3, stride=1)[0, 0] > 0.99
        laplacian = 4 * image[..., 1:-1, 1:-1] - (
            image[..., :-2, 1:-1]
            + image[..., 2:, 1:-1]
            + image[..., 1:-1, :-2]
            + image[..., 1:-1, 2:]
        )
        inner = laplacian[0, 0][inside]
        energies.append(float(inner.square().mean()) if len(inner) else 0.0)
    # The added levels are an 8-bit camera's noise, so that a plain wall is not called blurred.
    return 0.5 * math.log((energies[0] + 4) / (energies[2] + 4))


def _thumbnail(subject: Subject, photo: int) -> Float[np.ndarray, " pixels"]:
    """A small square picture, its mean taken away."""
    small = subject.grey(photo, 4 * THUMBNAIL)[None, None]
    square = torch.nn.functional.adaptive_avg_pool2d(small, THUMBNAIL).flatten()
    return (square - square.mean()).numpy()


def _low(values: Float64[np.ndarray, " looked"], least: float) -> np.ndarray:
    """Which values are exceptionally low, by ``least`` at least."""
    return _high(-values, least)


def _high(values: Float64[np.ndarray, " looked"], least: float) -> np.ndarray:
    """Which values are exceptionally high: beyond OUTLIER deviations (from the median one)."""
    if len(values) < LEAST_COMPARED:
        return np.zeros(len(values), dtype=bool)
    middle = np.median(values)
    deviation = 1.4826 * float(np.median(np.abs(values - middle)))
    return values - middle > max(OUTLIER * deviation, least)


def _same_photos(names: list[str], figures: PhotoFigures) -> list[Finding]:
    """Photos that are there twice, whatever their names."""
    flat = figures.thumbnails.astype(np.float64)
    squares = (flat**2).sum(1)
    distance = squares[:, None] + squares[None] - 2 * flat @ flat.T
    rms = np.sqrt(np.maximum(distance, 0) / flat.shape[1])
    textured = np.sqrt(squares / flat.shape[1]) > 4 * SAME
    first, second = np.nonzero(np.triu(rms < SAME, 1) & textured[:, None])
    if not len(first):
        return []
    pairs = [f"{names[a]} and {names[b]}" for a, b in zip(first, second, strict=True)]
    return [
        Finding(
            name="duplicates",
            severity=Severity.WARNING,
            sentence=f"{len(pairs)} pairs of photos show the same ({few_names(pairs, 3)})",
            mend="remove one of each: a pose of its own is wrong, the same pose adds nothing",
        )
    ]


def _uneven_exposure(figures: PhotoFigures) -> list[Finding]:
    """Whether the camera changed its exposure on the way, as far as brightness says."""
    low, high = np.percentile(figures.brightness, [5, 95])
    # 8-bit sRGB: twice the light is about 2 ** (1 / 2.2) times the value.
    stops = 2.2 * float(high - low)
    if stops < STOPS:
        return []
    return [
        Finding(
            name="brightness",
            severity=Severity.NOTE,
            sentence=f"photos differ in brightness by {stops:.1f} stops",
            mend="lock exposure and white balance if you capture again",
        )
    ]
