"""What a user chooses about the kernels, and the choice put into effect."""

import logging
from dataclasses import dataclass, field

import torch

from neural_render.core.errors import KernelError
from neural_render.core.processes.sweeps import own_threads
from neural_render.kernels import dispatch


@dataclass(kw_only=True)
class KernelSettings:
    """Who computes, with which numbers, on how many threads."""

    backend: str = field(
        default="auto",
        metadata={
            "help": "auto (the fastest that runs here), cuda (Triton), cpu (C++), reference (plain"
            " PyTorch, slow), tcnn (tiny-cuda-nn, where it is installed, for field.grid.hash=xor)"
        },
    )
    precision: str = field(
        default="auto",
        metadata={
            "help": "numbers that table entries and network weights are computed with: auto"
            " (float16 on a GPU, bfloat16 where the processor has it, else float32), float32,"
            " float16, bfloat16; the weights that are trained and stored are float32 always",
            "choices": ("auto", "float32", "float16", "bfloat16"),
        },
    )
    device: str = field(
        default="auto",
        metadata={
            "help": "auto (cuda where torch finds a GPU and the backend can use it, else cpu), cpu,"
            " cuda",
            "choices": ("auto", "cpu", "cuda"),
        },
    )
    threads: int = field(
        default=0,
        metadata={"help": "CPU threads; 0: all usable cores", "minimum": 0, "maximum": 1024},
    )


def start_kernels(settings: KernelSettings) -> tuple[str, int, torch.device]:
    """The active backend's name, its threads and its device, said in one line of the log.

    KernelError if the backend or device that was asked for by name cannot run here.
    """
    wanted = settings.backend
    if wanted == "auto":
        if settings.device == "cuda":
            check_gpu()
        wanted = dispatch.fastest(without_gpu=settings.device == "cpu")
    device = torch.device(chosen_device(settings.device, dispatch.resolve(wanted)))
    own = settings.threads or own_threads()  # of a sweep's job
    backend = dispatch.select(wanted, own, settings.precision)
    threads = own or dispatch.usable_cores()
    log = logging.getLogger("neural_render")
    counted = f"{threads} {'thread' if threads == 1 else 'threads'}"
    where = counted if device.type == "cpu" else f"on {torch.cuda.get_device_name(device)}"
    plain = ", ".join(dispatch.borrowed(backend))
    where += f"; in plain PyTorch: {plain}" if plain else ""
    log.info("kernels: %s, %s, %s", backend, dispatch.precision(), where)
    if settings.backend == "auto" and backend == "reference":
        reason = dispatch.available()["cpu"]
        log.warning("this is the slow PyTorch reference, because %s", reason)
    if settings.backend == "auto" and torch.cuda.is_available() and backend not in dispatch.ON_GPU:
        reason = dispatch.unavailable_reason("cuda") or "kernels.device=cpu was asked for."
        log.warning("the GPU is not used, because %s", reason)
    return backend, threads, device


def chosen_device(wanted: str, backend: str) -> str:
    """What ``kernels.device`` means beside ``backend``: cpu or cuda."""
    if backend in dispatch.ON_GPU:
        if wanted == "cpu":
            raise KernelError(
                f"kernels.device=cpu does not go with kernels.backend={backend}, which computes on"
                " the GPU; leave kernels.device out."
            )
        return "cpu" if backend == "cuda" and dispatch.load(backend).is_interpreted() else "cuda"
    if wanted == "auto":
        return "cuda" if backend == "reference" and torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and backend == "cpu":
        raise KernelError(
            "kernels.device=cuda does not go with kernels.backend=cpu, whose tensors lie on the"
            " CPU; add kernels.backend=reference, or leave kernels.device out."
        )
    if wanted == "cuda":
        check_gpu()
    return wanted


def check_gpu() -> None:
    """KernelError where ``kernels.device=cuda`` finds none."""
    if not torch.cuda.is_available():
        raise KernelError(
            f"kernels.device=cuda: torch {torch.__version__} finds no GPU here; install a CUDA"
            " build of torch and the GPU's driver, or leave kernels.device out."
        )
