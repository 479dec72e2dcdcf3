"""Files of Gaussian splats as all viewers read them: the PLY of Kerbl et al. 2023.

A vertex for each splat, of 62 little-endian floats: x y z, nx ny nz (0), f_dc_0..2, f_rest_0..44
(harmonics of degrees 1 to 3, all of red, then green, then blue), the logit of the opacity, the
logarithms of three standard deviations, and the rotation as a quaternion w x y z.
"""

import math
from pathlib import Path

import numpy as np
import torch

from neural_render.core.errors import OutputError
from neural_render.core.files import whole_file
from neural_render.core.transforms import Similarity
from neural_render.kernels.splats.records import MAX_DEGREE, Splats

HARMONICS = MAX_DEGREE**2
PROPERTIES = (
    *("x", "y", "z", "nx", "ny", "nz"),
    *(f"f_dc_{channel}" for channel in range(3)),
    *(f"f_rest_{number}" for number in range(3 * (HARMONICS - 1))),
    "opacity",
    *(f"scale_{axis}" for axis in range(3)),
    *(f"rot_{part}" for part in range(4)),
)


def write_splats(path: Path, splats: Splats, world_from_splats: Similarity) -> None:
    """Writes the splats, moved to the world, whole or not at all.

    Colours of fewer degrees get zeros for the rest. OutputError where a number is not finite, or
    nothing can be written.
    """
    rows = _rows(splats, world_from_splats)
    if not np.isfinite(rows).all():
        raise OutputError(
            f"{path} was not written, because {int((~np.isfinite(rows)).any(axis=1).sum())} of its"
            " splats are not finite: fit them again with fewer export.splats.steps."
        )
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    header += [f"property float {name}" for name in PROPERTIES]
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write("\n".join([*header, "end_header", ""]).encode("ascii"))
        file.write(rows.astype("<f4").tobytes())


def _rows(splats: Splats, world_from_splats: Similarity) -> np.ndarray:
    num = len(splats)
    splats = Splats(**{name: value.detach().cpu() for name, value in splats.tensors().items()})
    colors = torch.zeros(num, HARMONICS, 3)
    colors[:, : splats.colors.shape[1]] = splats.colors
    parts = (
        world_from_splats.apply(splats.means),
        torch.zeros(num, 3),
        colors[:, 0],
        colors[:, 1:].transpose(1, 2).flatten(1),
        splats.opacities[:, None],
        splats.scales + math.log(world_from_splats.scale),
        torch.nn.functional.normalize(splats.rotations, dim=1),
    )
    return torch.cat(parts, dim=1).numpy()
