"""How much memory is free, and where decoded photos go: into it, or into a file on disk."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import CaptureError
from neural_render.core.processes import group

GIGABYTE = 1e9
# What photos may take of the free memory: the field, its optimizer and the images of an
# evaluation need the rest.
USABLE_FRACTION = 0.8
# What two windows may take of that: training begins where decoding has ended.
WINDOWS_FRACTION = 0.5
STRIDES = (2, 4, 8, 16)
DECODING_BYTES = 8  # per pixel of a file: as decoded and as converted
CACHING_BYTES = 12  # and as cut into windows


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a set of photos takes; sizes are functions of ``max_side`` (0: not scaled)."""

    num_photos: int
    longest_side: int
    shortest_side: int
    largest_file: int  # the pixels of the largest image file
    train_bytes: Callable[[int], int]  # of training photos in memory
    test_bytes: Callable[[int], int]

    def all_bytes(self, max_side: int) -> int:
        """What all photos take."""
        return self.train_bytes(max_side) + self.test_bytes(max_side)


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """The memory that photos may take, and why no more, as part of a sentence."""

    num_bytes: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Where photos are kept: in memory (stride 1) or on disk, in windows of that stride."""

    stride: int
    threads: int  # that decode
    memory_bytes: int  # while training
    allowed: Allowance


def plan_memory(settings: CaptureSettings, need: Need, cores: int, cached: int = 0) -> MemoryPlan:
    """What ``capture.memory`` means for these photos; CaptureError, with advice, if they never fit.

    ``cached`` is the stride of the decoded photos that lie on disk already, 0 if there are none:
    they are taken if they fit, so that a run goes on as it began.
    """
    allowed = allowance(settings)
    held = need.all_bytes(settings.max_side)
    decoding = DECODING_BYTES * need.largest_file
    if settings.memory != "disk" and held + decoding <= allowed.num_bytes:
        threads = _threads(cores, allowed.num_bytes - held, decoding)
        return MemoryPlan(stride=1, threads=threads, memory_bytes=held, allowed=allowed)
    if settings.memory == "ram":
        raise _too_much(settings, need, allowed, "set capture.memory=disk, or ")
    decoding = CACHING_BYTES * need.largest_file
    in_windows = need.train_bytes(settings.max_side)
    for stride in sorted(STRIDES, key=lambda stride: (stride != cached, stride)):
        resident = 2 * -(-in_windows // stride**2)
        fits = resident <= WINDOWS_FRACTION * allowed.num_bytes
        if fits and decoding <= allowed.num_bytes and stride <= need.shortest_side:
            threads = _threads(cores, allowed.num_bytes, decoding)
            return MemoryPlan(
                stride=stride, threads=threads, memory_bytes=resident, allowed=allowed
            )
    raise _too_much(settings, need, allowed, "")


def allowance(settings: CaptureSettings) -> Allowance:
    """What photos may take by the settings, else of what is free."""
    if settings.memory_limit_gb > 0:
        return Allowance(
            num_bytes=settings.memory_limit_gb * GIGABYTE,
            reason=f"capture.memory_limit_gb={settings.memory_limit_gb:g} allows no more",
        )
    free = available_bytes()
    takers = num_takers()
    among = f", in {takers} processes" if takers > 1 else ""
    return Allowance(
        num_bytes=USABLE_FRACTION * free / takers,
        reason=f"{free / GIGABYTE:.2f} GB are free, of which photos may take four fifths{among}",
    )


def num_takers() -> int:
    """The processes of this machine that take memory for photos from now on, this one included.

    The first process of all opens them before the others do (see ``open_checked``): what fits it
    leaves enough for these.
    """
    here = group.place()
    return here.local_size - (0 < here.rank < here.local_size)


def available_bytes() -> float:
    """Memory that can be taken without pushing anything out; infinite where nobody tells."""
    return max(0.0, min(_system_bytes(), _group_bytes(Path("/sys/fs/cgroup")), _own_bytes()))


def _threads(cores: int, left: float, each: int) -> int:
    """How many threads may decode at a time, each holding a photo."""
    return max(1, min(cores, int(min(left, 1e18) // max(1, each))))


def _too_much(
    settings: CaptureSettings, need: Need, allowed: Allowance, alternative: str
) -> CaptureError:
    """The sentence for photos that do not fit, with a ``capture.max_side`` that does."""
    decoding = DECODING_BYTES * need.largest_file

    def in_all(max_side: int) -> int:
        return need.all_bytes(max_side) + decoding

    side = _largest_fitting(in_all, allowed.num_bytes, need.longest_side)
    mend = (
        f"set capture.max_side={side}"
        if side
        else "free memory or use fewer photos, since no capture.max_side is small enough"
    )
    return CaptureError(
        f"the {need.num_photos} photos need {in_all(settings.max_side) / GIGABYTE:.2f} GB of"
        f" memory, but {allowed.reason}: {alternative}{mend}"
    )


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


def _own_bytes() -> float:
    """What this process's own limit on its data (``ulimit -d``) leaves."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
        if limit == resource.RLIM_INFINITY:
            return math.inf
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return float(limit) - float(line.split()[1]) * 1024
    except (ImportError, OSError):  # Windows, or no /proc
        pass
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
