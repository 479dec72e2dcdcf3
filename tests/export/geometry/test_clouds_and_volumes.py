"""Points and volumes of a ball: where they lie in the world, and what they say of it."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from plyfile import PlyData
from torch import Tensor

from neural_render.core.errors import OutputError
from neural_render.core.projection import forward_projection
from neural_render.export.formats import PointSettings, VolumeSettings
from neural_render.export.geometry.clouds import export_points
from neural_render.export.geometry.volumes import export_volume
from tests.export.geometry.balls import LEVEL, SCALE, Ball, Balls, frame, space, subject, world

RADIUS = 0.25 * SCALE


def test_points_lie_on_the_sphere_with_its_normals_and_colours(tmp_path: Path) -> None:
    of = subject()
    path = tmp_path / "points.ply"
    export_points(of, space(of), PointSettings(count=2000), path, progress=False)
    rows = PlyData.read(path)["vertex"].data
    places = np.stack([rows[name] for name in "xyz"], axis=1)
    out = places - world().numpy()
    away = np.linalg.norm(out, axis=1, keepdims=True)
    assert 1000 < len(rows) < 4000
    assert abs(np.median(away) - RADIUS) < 0.03 * RADIUS
    normals = np.stack([rows[name] for name in ("nx", "ny", "nz")], axis=1)
    assert (normals * out / away).sum(1).mean() > 0.98
    left = out[:, 0] < -0.3 * RADIUS
    assert (rows["red"][left] > 200).mean() > 0.95 and (rows["blue"][left] < 60).mean() > 0.95


def test_a_volume_is_density_per_unit_of_the_world(tmp_path: Path) -> None:
    of = subject()
    path = tmp_path / "volume.npz"
    wanted = VolumeSettings(resolution=32, color=True)
    export_volume(of, space(of), wanted, path, progress=False)
    held = np.load(path, allow_pickle=False)
    density, matrix = held["density"], held["world_from_index"]
    assert density.dtype == np.float32 and max(density.shape) == 32
    assert held["color"].shape == (*density.shape, 3) and held["color"].dtype == np.uint8
    index = np.stack(np.meshgrid(*map(np.arange, density.shape), indexing="ij"), axis=-1)
    places = index @ matrix[:3, :3].T + matrix[:3, 3]
    away = np.linalg.norm(places - world().numpy(), axis=-1)
    # The field's density there, per field unit, over the world's size of that.
    deep = away < 0.9 * RADIUS
    expected = LEVEL * math.exp(4.0) / SCALE  # where it grows no more
    assert np.median(density[deep]) == pytest.approx(expected, rel=0.01)
    assert density[away > 1.2 * RADIUS].max(initial=0.0) < 1e-3 * expected
    assert (held["low"] < world().numpy() - 0.9 * RADIUS).all()
    assert (held["high"] > world().numpy() + 0.9 * RADIUS).all()


class Backed(Balls):
    """Green is what is seen against the direction of photos from one side, along z."""

    def query(self, points: Tensor, directions: Tensor, *more: object) -> tuple[Tensor, Tensor]:
        density, color = super().query(points, directions, *more)
        color[:, 1] = 1.0 * (directions[:, 2] <= 0)
        return density, color


def test_a_scene_seen_from_one_side_is_asked_along_no_other_ways(tmp_path: Path) -> None:
    """What a field says of the others was never fitted."""
    projection = forward_projection(
        rotation=torch.eye(3),
        position=torch.tensor([0.5, 0.5, -1.0]),
        slopes=((-0.5, 0.5), (-0.5, 0.5)),
        near=0.8,
    )
    green = {}
    for name, placed in {"all": frame(), "one": replace(frame(), projection=projection)}.items():
        of = subject(placed=placed)
        of = replace(of, field=Backed([Ball()], placed))
        wanted = VolumeSettings(resolution=24, color=True)
        export_volume(of, space(of), wanted, tmp_path / "volume.npz", progress=False)
        color = np.load(tmp_path / "volume.npz", allow_pickle=False)["color"]
        assert color[..., 0].max() == 255
        green[name] = color[..., 1].max()
    assert (green["all"], green["one"]) == (round(255 * 9 / 14), 0)


def test_nothing_gives_no_points_and_no_volume(tmp_path: Path) -> None:
    of = subject([])
    with pytest.raises(OutputError, match="points"):
        export_points(of, space(of), PointSettings(), tmp_path / "a.ply", progress=False)
    with pytest.raises(OutputError, match="nothing to make a volume of"):
        export_volume(of, space(of), VolumeSettings(), tmp_path / "a.npz", progress=False)
    assert list(tmp_path.iterdir()) == []
