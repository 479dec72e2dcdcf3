"""The second rasteriser draws what the kernels draw; the suite measures on the run's own split."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.options import BenchmarkOptions
from benchmarks.splats import suite
from benchmarks.splats.rasteriser import Pinhole, draw, read_gaussians, rotation_matrices
from neural_render.core.transforms import Similarity, look_at, quat_wxyz_from_rotation
from neural_render.export.splats.ply import write_splats
from neural_render.kernels.splats import ops
from neural_render.kernels.splats.records import splat_camera
from tests.kernels.problems import generator
from tests.kernels.splats.clouds import cloud

WIDTH, HEIGHT, FOCAL = 70, 50, 60.0
CLOSE = 1.5 / 255  # the paper's program leaves out what is beyond three standard deviations


@pytest.mark.parametrize("degree", [0, 3])
def test_it_agrees_with_the_kernels(tmp_path: Path, degree: int) -> None:
    """Through the file, moved to a world in which it is larger and elsewhere."""
    splats = cloud(300, seed=11, degree=degree)
    splats = replace(splats, opacities=splats.opacities + 1)
    place = Similarity(scale=4.0, translation=(3.0, -1.0, 2.0))
    write_splats(tmp_path / "cloud.ply", splats, place)
    eye = torch.tensor([[1.5, -2.5, 2.0]])
    pose = look_at(eye, torch.zeros(1, 3), torch.tensor([[0.0, 0.0, 1.0]]))[0]
    center = WIDTH / 2 + 2, HEIGHT / 2 - 1
    camera = splat_camera(pose, (FOCAL, FOCAL), center, (WIDTH, HEIGHT), near=0.01)
    picture = ops.draw_splats(splats, camera)
    ours = (picture[..., :3] + 0.5 * (1 - picture[..., 3:])).numpy()
    theirs = draw(
        read_gaussians(tmp_path / "cloud.ply"),
        Pinhole(
            world_from_camera=place.apply_to_poses(pose[None])[0].double().numpy(),
            focal=(FOCAL, FOCAL),
            center=center,
            width=WIDTH,
            height=HEIGHT,
        ),
        background=0.5,
        near=0.04,
    )
    assert picture[..., 3].max() > 0.9
    assert np.abs(ours - theirs).mean() < CLOSE / 20
    assert np.abs(ours - theirs).max() < 2 * CLOSE


def test_its_rotations_are_ours() -> None:
    """By another formula."""
    turns = torch.nn.functional.normalize(torch.randn(20, 4, generator=generator(0)), dim=1)
    found = quat_wxyz_from_rotation(torch.from_numpy(rotation_matrices(turns.double().numpy())))
    assert torch.allclose((found * turns).sum(1).abs(), torch.ones(20, dtype=torch.float64))


def test_views_are_of_the_split_and_the_size_of_the_run(
    run_on_photos: Path, kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_splats(
        tmp_path / "cloud.ply", cloud(20), Similarity(scale=1.0, translation=(0.0, 0.0, 0.0))
    )
    file = str(tmp_path / "cloud.ply")
    suite.run(BenchmarkOptions(run=str(run_on_photos), file=file, threads=1))
    said = capsys.readouterr().out.splitlines()
    told = [line.split()[0] for line in said if line.startswith("  images/")]
    assert told == [f"images/000{index}.png" for index in (0, 4)]
