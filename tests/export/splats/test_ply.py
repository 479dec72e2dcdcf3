"""What ``write_splats`` writes, as other readers read it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from plyfile import PlyData

from neural_render.core.errors import OutputError
from neural_render.core.transforms import Similarity
from neural_render.export.splats.ply import PROPERTIES, write_splats
from neural_render.kernels.splats.records import Splats

HERE = Similarity(scale=1.0, translation=(0.0, 0.0, 0.0))
WORLD = Similarity(scale=2.5, translation=(1.0, -2.0, 3.0))


def splats(num: int = 5, degree: int = 3) -> Splats:
    """Some whose every number differs."""
    random = torch.Generator().manual_seed(4)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random)

    return Splats(
        means=normal(num, 3),
        scales=normal(num, 3),
        rotations=normal(num, 4),
        opacities=normal(num),
        colors=normal(num, (degree + 1) ** 2, 3),
    )


def read(path: Path) -> dict[str, np.ndarray]:
    """The columns of a PLY's vertices by name, through plyfile."""
    vertex = PlyData.read(str(path))["vertex"]
    return {entry.name: np.asarray(vertex[entry.name]) for entry in vertex.properties}


def test_every_number_is_where_viewers_look_for_it(tmp_path: Path) -> None:
    """Harmonics go channel by channel; places and sizes are the world's."""
    given, path = splats(), tmp_path / "deep/er/splats.ply"
    write_splats(path, given, WORLD)
    columns = read(path)
    assert tuple(columns) == PROPERTIES
    assert {column.dtype.str for column in columns.values()} == {"<f4"}
    xyz = np.stack([columns[name] for name in "xyz"], axis=1)
    np.testing.assert_allclose(xyz, 2.5 * given.means + torch.tensor([1.0, -2.0, 3.0]), rtol=1e-6)
    scale = np.stack([columns[f"scale_{axis}"] for axis in range(3)], axis=1)
    np.testing.assert_allclose(np.exp(scale), 2.5 * given.scales.exp(), rtol=1e-5)
    turns = np.stack([columns[f"rot_{part}"] for part in range(4)], axis=1)
    lengths = given.rotations.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(turns, given.rotations / lengths, rtol=1e-5)
    np.testing.assert_array_equal(columns["opacity"], given.opacities)
    for channel in range(3):
        np.testing.assert_array_equal(columns[f"f_dc_{channel}"], given.colors[:, 0, channel])
        for number in range(15):
            column = columns[f"f_rest_{15 * channel + number}"]
            np.testing.assert_array_equal(column, given.colors[:, 1 + number, channel])
    assert not np.stack([columns[f"n{axis}"] for axis in "xyz"]).any()


def test_colours_of_fewer_degrees_are_filled_up(tmp_path: Path) -> None:
    """Some viewers take files of exactly 45 harmonics."""
    given, path = splats(degree=1), tmp_path / "splats.ply"
    write_splats(path, given, HERE)
    columns = read(path)
    np.testing.assert_array_equal(columns["f_rest_16"], given.colors[:, 2, 1])
    assert not columns["f_rest_3"].any() and not columns["f_rest_44"].any()


def test_trimesh_reads_the_places(tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    given, path = splats(), tmp_path / "splats.ply"
    write_splats(path, given, HERE)
    np.testing.assert_allclose(trimesh.load(path).vertices, given.means, rtol=1e-6)


def test_no_splats_are_a_file_too(tmp_path: Path) -> None:
    write_splats(tmp_path / "none.ply", splats(0), HERE)
    assert len(read(tmp_path / "none.ply")["x"]) == 0


def test_what_is_no_number_is_not_written(tmp_path: Path) -> None:
    given, path = splats(), tmp_path / "splats.ply"
    given.scales[2, 1] = torch.nan
    given.means[4, 0] = torch.inf
    wanted = r"splats\.ply was not written.* 2 of its splats .* fewer export\.splats\.steps"
    with pytest.raises(OutputError, match=wanted):
        write_splats(path, given, HERE)
    assert list(tmp_path.iterdir()) == []
