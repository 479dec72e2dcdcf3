"""A render that needs more memory than there is: an error, and renders go on behind it."""

import subprocess
import sys
from pathlib import Path

import pytest

from neural_render.kernels import dispatch

ROOT = Path(__file__).parents[3]
STATM = Path("/proc/self/statm")
# In a process of its own, whose address space ends not far above what it has by now.
SCRIPT = """
import dataclasses
import os
import resource
import torch
from neural_render.kernels import dispatch, ops
from neural_render.kernels.specs import AdamSpec, LossSpec, RenderSpec
from tests.kernels.problems import (
    STEP, full_occupancy, march, parameters_of, rays_through_cube, render_inputs, small_field,
    small_grid, targets_of,
)

FIELD = small_field(grid=small_grid(levels=16, features=4))
PARAMETERS = parameters_of(FIELD)
PARAMETERS.table.requires_grad_()

def seen(num_rays):
    inputs = render_inputs(rays_through_cube(num_rays), full_occupancy())
    spec = RenderSpec(field=FIELD, march=march(step=STEP))
    return ops.render_rays(inputs, PARAMETERS, spec).values.detach()

def fitted(num_rays, field=FIELD):
    inputs = render_inputs(rays_through_cube(num_rays), full_occupancy())
    specs = RenderSpec(field=field, march=march(step=STEP)), LossSpec(delta=0.1)
    loss, found = ops.render_loss_gradients(inputs, targets_of(num_rays), PARAMETERS, specs)
    return torch.cat([loss.loss[None], found.color_weights.flatten()])

def leave(num_bytes):
    pages = int(open("/proc/self/statm").read().split()[0])
    most = pages * resource.getpagesize() + num_bytes if num_bytes else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))

def without_room(call, num_rays, num_bytes):
    leave(num_bytes)
    try:
        print("done", len(call(num_rays)))
    except MemoryError as error:
        print("MemoryError", error)
    leave(0)

dispatch.select("cpu", threads=2)
before = seen(100)
without_room(seen, 20_000, 16 << 20)
print("after it", torch.equal(seen(100), before))

fitted(16)
without_room(fitted, 1024, 2 << 20)
# Nearly the same field, of which there are no buffers yet.
other = dataclasses.replace(FIELD, density_bias=FIELD.density_bias + 1e-6)
print("after it", torch.allclose(fitted(1024), fitted(1024, other), rtol=1e-2, atol=1e-5))

weights = torch.ones(4, 1 << 18).unbind()
dispatch.select("cpu", threads=1000)
leave(256 << 20)  # for the stacks of 32 threads
ops.adam_step(weights[0], weights[1:3], weights[3], AdamSpec(learning_rate=0.1, step=1))
leave(0)
print("on few threads", len(os.listdir("/proc/self/task")) < 100, torch.equal(seen(100), before))
"""


@pytest.mark.skipif(
    bool(dispatch.unavailable_reason("cpu")), reason="the native kernels are not installed here"
)
@pytest.mark.skipif(not STATM.exists(), reason="this system does not tell how much memory is used")
def test_no_memory_is_an_error_and_no_thread_is_none() -> None:
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    said = 2 * ["MemoryError std::bad_alloc", "after it True"] + ["on few threads True True"]
    assert (found.returncode, found.stdout.splitlines()) == (0, said), found.stderr
