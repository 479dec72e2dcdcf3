"""How much memory is free, and whether a set of photos fits into it before it is loaded."""

import math
import os
from collections.abc import Callable
from pathlib import Path

from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import CaptureError

GIGABYTE = 1e9
# What photos may take of the free memory: the field, its optimizer and the images of an
# evaluation need the rest.
USABLE_FRACTION = 0.8


def check_memory(
    settings: CaptureSettings, num_bytes: Callable[[int], int], num_photos: int, longest_side: int
) -> None:
    """CaptureError, naming a ``capture.max_side`` that fits, if the photos need too much memory.

    ``num_bytes(max_side)`` is the need with photos scaled down to ``max_side`` (0: not scaled).
    """
    if settings.memory_limit_gb > 0:
        allowed = settings.memory_limit_gb * GIGABYTE
        reason = f"capture.memory_limit_gb={settings.memory_limit_gb:g} allows no more"
    else:
        free = available_bytes()
        allowed = USABLE_FRACTION * free
        reason = f"{free / GIGABYTE:.2f} GB are free, of which photos may take four fifths"
    needed = num_bytes(settings.max_side)
    if needed <= allowed:
        return
    side = _largest_fitting(num_bytes, allowed, longest_side)
    mend = (
        f"set capture.max_side={side}"
        if side
        else "free memory or use fewer photos, since no capture.max_side is small enough"
    )
    raise CaptureError(
        f"the {num_photos} photos need {needed / GIGABYTE:.2f} GB of memory, but {reason}: {mend}"
    )


def available_bytes() -> float:
    """Memory that can be taken without pushing anything out; infinite where nobody tells."""
    return min(_system_bytes(), _group_bytes(Path("/sys/fs/cgroup")))


def _system_bytes() -> float:
    """What the whole machine has free."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def _group_bytes(root: Path) -> float:
    """What the limit on this container or job leaves, whichever version of cgroups sets it."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            allowed = float((root / limit).read_text())
            taken = float((root / used).read_text())
            statistics = (root / limit).with_name("memory.stat").read_text().split()
        except (OSError, ValueError):  # the word "max" means no limit
            continue
        # Cached files count as taken but are given up on demand.
        cached = dict(zip(statistics[::2], statistics[1::2], strict=False))
        return allowed - taken + float(cached.get("inactive_file", 0))
    return math.inf


def _largest_fitting(num_bytes: Callable[[int], int], allowed: float, longest_side: int) -> int:
    """The largest fitting ``max_side``, rounded down to two digits; 0 if not even 16 fits."""
    low, high = 16, max(longest_side, 17)
    if num_bytes(low) > allowed:
        return 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if num_bytes(middle) <= allowed else (low, middle)
    digits = 10 ** max(0, len(str(low)) - 2)
    return low // digits * digits
