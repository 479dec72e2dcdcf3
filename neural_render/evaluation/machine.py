"""The machine that figures were measured on."""

import platform
from pathlib import Path

import torch

from neural_render.kernels import dispatch


def machine_description() -> dict[str, str]:
    """What the numbers were measured on: processor, cores, system, versions."""
    machine = {
        "processor": f"{_processor()}, {dispatch.usable_cores()} cores",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
    }
    if torch.cuda.is_available():
        machine["accelerator"] = torch.cuda.get_device_name()
    return machine


def _processor() -> str:
    """Its name and, because clouds shorten names, the numbers that tell its generation."""
    try:
        described = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        described = ""
    known: dict[str, str] = {}
    for line in described.splitlines():
        name, _, value = line.partition(":")
        known.setdefault(name.strip(), value.strip())
    name = known.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in known and "model" in known:
        return f"{name} (family {known['cpu family']}, model {known['model']})"
    return name
