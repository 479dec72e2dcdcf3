"""Which variant of Mitsuba runs here: found out in a process of its own, which may crash."""

import importlib.util
import subprocess
import sys

from neural_render.core.errors import SceneError, with_extra
from neural_render.core.waiting.patience import told_if_slow

VARIANTS = {"cuda": "cuda_ad_rgb", "llvm": "llvm_ad_rgb", "scalar": "scalar_rgb"}
PROBE = """
import sys
import mitsuba as mi
mi.set_variant(sys.argv[1])
mi.render(mi.load_dict({**mi.cornell_box(), "integrator": {"type": "path", "max_depth": 2}}), spp=1)
"""
PROBE_SECONDS = 300.0


def check_installed() -> None:
    """SceneError if Mitsuba is not installed."""
    if importlib.util.find_spec("mitsuba") is None:
        raise SceneError(
            f"scenes are traced with Mitsuba, which is not installed: {with_extra('bake')}."
        )


@told_if_slow("trying what Mitsuba runs on")
def chosen_variant(wanted: str) -> str:
    """The name of ``tracer.variant``; of auto the fastest that runs; SceneError if it does not."""
    check_installed()
    order = ("cuda", "llvm", "scalar") if wanted == "auto" else (wanted,)
    for name in order:
        if name == "scalar" or _runs(VARIANTS[name]):
            return name
    raise SceneError(
        f"tracer.variant={wanted} does not run here: {_needs(wanted)}; or give tracer.variant=auto."
    )


def _needs(name: str) -> str:
    if name == "cuda":
        return "it needs an NVIDIA GPU and its driver"
    return "it needs an LLVM library of version 15 or later (on Debian: apt install libllvm15)"


def _runs(variant: str) -> bool:
    if variant.startswith("cuda") and importlib.util.find_spec("torch") is not None:
        import torch

        if not torch.cuda.is_available():
            return False
    try:
        probe = subprocess.run(
            [sys.executable, "-P", "-c", PROBE, variant],
            capture_output=True,
            check=False,
            timeout=PROBE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return False
    return probe.returncode == 0
