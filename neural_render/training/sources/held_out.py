"""Test views as a run may be measured on them: where they are, how they were exposed, what counts.

Where training refined its cameras, test views are moved along. What is fitted to test views, if
anything, is fitted to their left halves and measured on their right ones, with the field as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import UInt8
from torch import Tensor

from neural_render.captures.adjustment.adjustment import CameraAdjustment
from neural_render.captures.adjustment.held_out import for_views, restored
from neural_render.captures.adjustment.settings import AdjustmentSettings
from neural_render.captures.records import Capture, Views
from neural_render.captures.streaming import photo_source
from neural_render.core.cameras import Cameras, pixel_centers
from neural_render.core.errors import CheckpointError
from neural_render.core.waiting.patience import told_if_slow
from neural_render.evaluation.settings import EvaluationSettings
from neural_render.kernels.records import ColorTargets
from neural_render.kernels.specs import LossSpec
from neural_render.rendering import Image
from neural_render.training.randomness import generator_for
from neural_render.training.runs.restore import TrainedScene

FIT_RAYS = 1024  # of all views together, at each step
FIT_LOSS = LossSpec(delta=0.1, roulette=0.5)
# How far a fit can reach in all, whatever the number of its steps.
REACH_PX, REACH_STOPS = 20.0, 2.0
RATE_OF_REACH = 4.6  # log(100): rates fall to a hundredth


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Test views with the masks that count, their cameras, and what their photos show."""

    views: Views
    cameras: Cameras  # in the world
    adjustment: CameraAdjustment  # on the scene's device
    protocol: dict[str, str]  # entries of `EvaluationProtocol`

    def shown(
        self, render_one: Callable[[int], Image], background: tuple[float, float, float]
    ) -> Callable[[int], Image]:
        """``render_one`` as the photos show it: light times the camera's gain."""
        if not self.adjustment.parameters:
            return render_one
        cameras = self.adjustment.cameras()

        def show(index: int) -> Image:
            image = render_one(index)
            pixels = pixel_centers(cameras, index)
            gain = self.adjustment.gain(index, pixels).view(*image.color.shape).to(image.color)
            behind = image.color.new_tensor(background) * (1 - image.opacity[..., None])
            return replace(image, color=gain * (image.color - behind) + behind)

        return show


def held_out(scene: TrainedScene, capture: Capture, settings: EvaluationSettings) -> HeldOut:
    """The test views of ``capture``, fitted as ``settings`` say.

    CheckpointError where its photos are not those whose cameras training learnt.
    """
    frame, device = scene.frame.world_from_field, scene.background.device
    stated, cameras = (
        part.cameras.in_frame(frame.inverse()).to(device) for part in (capture.train, capture.test)
    )
    trained = _learnt(scene, capture, stated)
    color, pose = settings.fit in ("exposure", "both"), settings.fit in ("pose", "both")
    wanted = AdjustmentSettings(
        exposure=color, white_balance=color, poses=pose, blur=settings.fit_blur
    )
    adjustment = for_views(cameras, trained, stated, wanted) if len(cameras) else trained
    views, found = capture.test, capture.test.cameras
    here = found.lens.device
    if settings.fit != "none" and len(views):
        begun = replace(views, cameras=adjustment.cameras().in_frame(frame).to(here))
        seen = replace(capture, frame=scene.frame, train=half(begun, left=True))
        fit(scene, seen, adjustment, settings.fit_steps)
        views = half(views, left=False)
    if len(cameras) and (trained.settings.moves_cameras or pose):
        found = adjustment.cameras().in_frame(frame).to(here)
    return HeldOut(
        views=views,
        cameras=found,
        adjustment=adjustment,
        protocol=described(trained.settings, settings, masked=len(capture.test.masks) > 0),
    )


def refined(scene: TrainedScene, capture: Capture) -> Capture:
    """The capture with its cameras where training found them, if it looked: what films are shot by.

    Test views are moved along. CheckpointError where the photos are not those of training.
    """
    if not scene.cameras.keys() & {"pose", "lens"}:
        return capture
    frame = scene.frame.world_from_field
    stated, test = (
        part.cameras.in_frame(frame.inverse()) for part in (capture.train, capture.test)
    )
    trained = _learnt(scene, capture, stated)
    if len(test):
        test = for_views(test, trained, stated, AdjustmentSettings()).cameras()
    train, test = (cameras.in_frame(frame) for cameras in (trained.cameras(), test))
    return replace(
        capture,
        train=replace(capture.train, cameras=train),
        test=replace(capture.test, cameras=test),
    )


def _learnt(scene: TrainedScene, capture: Capture, stated: Cameras) -> CameraAdjustment:
    """What training learnt of the ``stated`` cameras of ``capture``, in the field's frame."""
    try:
        return restored(stated, scene.cameras)
    except ValueError as error:
        raise CheckpointError(f"the run does not fit {capture.path}: {error}") from error


@told_if_slow("fitting to the left halves of the test views")
def fit(
    scene: TrainedScene, capture: Capture, adjustment: CameraAdjustment, num_steps: int
) -> None:
    """Fits the adjustment to the training views of ``capture``, the field staying as it is."""
    device = scene.background.device
    source = photo_source(capture, device)
    per_step = RATE_OF_REACH / num_steps
    for name in adjustment.rates:
        reach = REACH_PX if name in ("pose", "lens") else REACH_STOPS
        adjustment.rates[name] = reach * per_step
    for step in range(1, num_steps + 1):
        generator = generator_for(scene.record.seed, step, "fit", device)
        batch = source.sample(FIT_RAYS, generator)
        shown = adjustment.apply(batch)
        done = (step - 1) / num_steps
        _, _, to_inputs = scene.renderer.blurred(adjustment.blur(done)).loss_gradients(
            scene.field,
            shown.rays,
            targets=ColorTargets(
                colors=batch.targets,
                opacity=batch.opacity,
                background=scene.background.expand(len(batch.rays), -1),
                weights=batch.weights,
                distance=batch.distance,
                normals=batch.normals,
                gain=shown.gain,
            ),
            loss=FIT_LOSS,
            jitter=torch.rand(len(batch.rays), generator=generator, device=device),
            conditions=scene.background.new_zeros(len(batch.rays), scene.num_conditions),
        )
        adjustment.step(shown, to_inputs, step, done)


def half(views: Views, *, left: bool) -> Views:
    """The views of which only the left, or the right, half counts."""
    masks: list[UInt8[Tensor, " pixels"]] = []
    for index in range(len(views)):
        mask = views.mask(index).clone()
        middle = mask.shape[1] // 2
        mask[:, middle:] *= left
        mask[:, :middle] *= not left
        masks.append(mask.flatten())
    return replace(views, masks=torch.cat(masks))


def described(
    trained: AdjustmentSettings, settings: EvaluationSettings, *, masked: bool
) -> dict[str, str]:
    """How poses, lenses and appearance were found, and what is measured, for the protocol."""
    pose = "given by the capture, not optimised"
    if trained.moves_cameras:
        lens = " with the refined lenses" if trained.intrinsics else ""
        pose = f"given by the capture, aligned with the refined training cameras{lens}"
    color = "none"
    if trained.vignetting:
        color = "vignetting as learnt in training"
    if trained.exposure or trained.white_balance or trained.appearance:
        color = f"mean of the training photos{', ' + color if trained.vignetting else ''}"
    fitted = f"fitted to the left half of each view in {settings.fit_steps} steps"
    if settings.fit in ("pose", "both"):
        pose = f"{pose}; then {fitted}"
    tail = fitted if settings.fit in ("exposure", "both") else "not fitted to test views"
    region = "whole views" if settings.fit == "none" else "the right half of each view"
    if masked:
        region += ", of it what masks leave"
    return {"pose": pose, "appearance": f"{color}, {tail}", "region": region}
