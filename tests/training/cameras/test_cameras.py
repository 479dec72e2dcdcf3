"""Cameras that are learnt along with the field, from spoilt photos of a ball."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from neural_render.captures.adjustment.held_out import aligned
from neural_render.captures.adjustment.settings import AdjustmentSettings
from neural_render.captures.opening import open_capture
from neural_render.captures.records import Capture
from neural_render.captures.settings import CaptureSettings
from neural_render.core.cameras import Cameras, project
from neural_render.core.errors import CheckpointError
from neural_render.evaluation.settings import EvaluationSettings
from neural_render.export.film import film_cameras
from neural_render.export.settings import RenderSettings
from neural_render.kernels import dispatch
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import load_for_rendering
from neural_render.training.runs.results import Results
from neural_render.training.sources.held_out import described, held_out
from neural_render.training.sources.held_out import refined as found_cameras
from tests.tiny_capture import write_blender_capture
from tests.training.cameras.photographs import (
    BACKEND,
    exposed,
    open_tiny,
    train_photos,
    turned,
    twice,
)
from tests.training.problems import CPU, new_run, settings_for

PLAIN = EvaluationSettings(ssim=False, flip=False, images=False)


def measured(run: RunFolder, capture: Capture, **changes: object) -> dict:
    """The record of an evaluation."""
    results = Results(
        run=run, scene=load_for_rendering(run, CPU), capture=capture, background="white"
    )
    with dispatch.using(BACKEND):
        return results.measure(replace(PLAIN, **changes), progress=False)


def pixels_apart(some: Cameras, others: Cameras) -> float:
    """How far apart two sets of cameras see points in the middle of the cube (mean)."""
    points = 0.4 + 0.2 * torch.rand(200, 3, generator=torch.Generator().manual_seed(0))
    distances = []
    for view in range(len(some)):
        index = torch.full((200,), view)
        offset = project(some, index, points)[0] - project(others, index, points)[0]
        distances.append(offset.norm(dim=1).mean())
    return float(torch.stack(distances).mean())


def test_exposures_are_found_and_test_views_are_measured_with_their_own(tmp_path: Path) -> None:
    """Photos from one place tell exposures apart whatever the scene is."""
    capture = open_tiny(tmp_path, num_train=6)
    stops = 0.8 * (torch.rand(12, generator=torch.Generator().manual_seed(1)) - 0.5)
    spoilt = replace(
        capture,
        train=exposed(twice(capture.train), stops),
        test=exposed(twice(capture.test), torch.tensor([-0.4, -0.2, 0.0, 0.2, 0.4, 0.3])),
    )
    given = AdjustmentSettings(exposure=True)
    run = new_run(tmp_path)
    adjustment, _ = train_photos(run, spoilt, settings_for(250), given)
    found = adjustment.parameters["exposure"]
    found, expected = found[:6] - found[6:], stops[:6] - stops[6:]
    assert (found - expected).abs().mean() < 0.35 * expected.abs().mean()
    asked = replace(PLAIN, fit="exposure", fit_steps=60)
    with dispatch.using(BACKEND):
        own = held_out(load_for_rendering(run, CPU), spoilt, asked).adjustment.parameters
    brighter = own["exposure"][3:] - own["exposure"][:3]
    assert torch.allclose(brighter, torch.tensor([0.6, 0.6, 0.3]), atol=0.15)
    plain, fitted = measured(run, spoilt), measured(run, spoilt, fit="exposure", fit_steps=60)
    assert plain["protocol"]["region"] == "whole views"
    assert fitted["protocol"]["region"] == "the right half of each view"
    assert "fitted to the left half of each view in 60 steps" in fitted["protocol"]["appearance"]
    assert json.loads((run.evaluation_path / "metrics.json").read_text()) == fitted


def test_poses_are_found(tmp_path: Path) -> None:
    capture = open_tiny(tmp_path)
    spoilt = replace(
        capture, train=turned(capture.train, 1.5, seed=2), test=turned(capture.test, 1.5, seed=3)
    )
    true, stated = (
        x.train.cameras.in_frame(capture.frame.world_from_field.inverse())
        for x in (capture, spoilt)
    )
    run = new_run(tmp_path)
    adjustment, _ = train_photos(
        run, spoilt, settings_for(300), AdjustmentSettings(poses=True, pose_rate=0.1)
    )
    refined = adjustment.cameras()
    before = pixels_apart(stated, true)
    after = pixels_apart(aligned(refined, refined, true), true)
    assert after < 0.5 * before
    plain, fitted = measured(run, spoilt), measured(run, spoilt, fit="pose", fit_steps=60)
    assert fitted["psnr"] > plain["psnr"]
    assert "aligned with the refined training cameras" in plain["protocol"]["pose"]
    # Films follow the cameras that were found, in the capture's world.
    scene = load_for_rendering(run, CPU)
    filmed = found_cameras(scene, spoilt)
    frame = capture.frame.world_from_field
    poses = adjustment.cameras().in_frame(frame).world_from_camera
    assert torch.allclose(filmed.train.cameras.world_from_camera, poses, atol=1e-5)
    tested = held_out(scene, spoilt, PLAIN).cameras.world_from_camera
    assert torch.equal(filmed.test.cameras.world_from_camera, tested)
    name, cameras = film_cameras(RenderSettings(path="train"), filmed, max_side=0)
    assert name == "train" and torch.equal(
        cameras.world_from_camera, filmed.train.cameras.world_from_camera
    )
    fewer = replace(spoilt, train=open_tiny(tmp_path / "other", num_train=5).train)
    for look in (found_cameras, lambda scene, capture: held_out(scene, capture, PLAIN)):
        with pytest.raises(CheckpointError, match=r"the run does not fit .* restore these"):
            look(scene, fewer)
    untouched = replace(scene, cameras={})
    assert found_cameras(untouched, spoilt) is spoilt


EVERYTHING = AdjustmentSettings(
    exposure=True, white_balance=True, vignetting=True, appearance=2, poses=True, intrinsics=True
)


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    capture = open_tiny(tmp_path, num_train=5)
    run, settings = new_run(tmp_path), settings_for(6, checkpoint_steps=3)
    whole, field = train_photos(run, capture, settings, EVERYTHING)
    last = run.checkpoints()[-1]
    assert len(run.checkpoints()) == 2
    shutil.rmtree(last)
    resumed, again = train_photos(run, capture, settings, EVERYTHING)
    for name, tensor in whole.state().items():
        assert tensor.any() and torch.equal(tensor, resumed.state()[name]), name
    assert torch.equal(field.table, again.table)
    with pytest.raises(CheckpointError, match=r"asks for appearance \[5, 2\]: restore these"):
        train_photos(run, capture, settings, AdjustmentSettings(appearance=2))


def test_a_run_goes_on_where_its_photos_are_kept_elsewhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On disk the last row and column of these photos are left out, and regions are others."""
    write_blender_capture(tmp_path / "odd", num_train=5, num_test=2, size=41)
    settings = CaptureSettings(path=str(tmp_path / "odd"))
    run = new_run(tmp_path)
    for number, memory in enumerate(("disk", "ram", "disk"), start=1):
        capture = open_capture(replace(settings, memory=memory), progress=False)
        caplog.clear()
        train_photos(run, capture, settings_for(3 * number), EVERYTHING)
        assert run.checkpoints()[-1].name == str(3 * number)
        assert caplog.text.count("anew") == (number > 1)
    frame = capture.frame  # on another processor its last digits may be others
    scale = frame.world_from_field.scale * (1 + 1e-9)
    rounded = replace(frame, world_from_field=replace(frame.world_from_field, scale=scale))
    train_photos(run, replace(capture, frame=rounded), settings_for(10), EVERYTHING)
    moved = open_capture(replace(settings, scene="unbounded"), progress=False)
    with pytest.raises(CheckpointError, match=r"placed otherwise: .* capture\.scene"):
        train_photos(run, moved, settings_for(12), EVERYTHING)


def test_the_protocol_says_that_masks_count() -> None:
    whole, masked = (
        described(AdjustmentSettings(), EvaluationSettings(), masked=masked)["region"]
        for masked in (False, True)
    )
    assert (whole, masked) == ("whole views", "whole views, of it what masks leave")
