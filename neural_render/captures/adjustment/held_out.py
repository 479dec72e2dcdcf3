"""What training learnt of its photos' cameras, for other photos of the same place.

Legend: s, R, t the similarity ``x -> s R x + t`` from where cameras were stated to where they are
now thought to be.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_render.captures.adjustment.adjustment import CameraAdjustment
from neural_render.captures.adjustment.settings import AdjustmentSettings
from neural_render.core.cameras import Cameras

TINY = 1e-18  # of squared field units: places that are one


def restored(cameras: Cameras, state: Mapping[str, Tensor]) -> CameraAdjustment:
    """The adjustment of the training ``cameras`` (in the field's frame) that a run has stored."""
    appearance = state["appearance"].shape[1] if "appearance" in state else 0
    settings = AdjustmentSettings(
        exposure="exposure" in state,
        white_balance="white_balance" in state,
        vignetting="vignetting" in state,
        appearance=appearance,
        poses="pose" in state,
        intrinsics="lens" in state,
    )
    found = CameraAdjustment(cameras, settings)
    found.load_state(state)
    return found


def aligned(cameras: Cameras, stated: Cameras, refined: Cameras) -> Cameras:
    """Cameras moved by the similarity that takes all ``stated`` ones to ``refined`` ones best.

    The rotation is that of places and axes together, so that cameras in a row, or at one point,
    say enough; scale and translation are those of the places (Umeyama 1991).
    """
    scale, rotation, shift = similarity(stated.world_from_camera, refined.world_from_camera)
    poses = cameras.world_from_camera
    places = scale * (poses[..., 3] @ rotation.T) + shift
    turned = rotation @ poses[..., :3]
    return replace(cameras, world_from_camera=torch.cat([turned, places[..., None]], dim=-1))


def similarity(
    poses: Float[Tensor, "cameras 3 4"], wanted: Float[Tensor, "cameras 3 4"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "3 3"], Float[Tensor, " 3"]]:
    """s, R and t that take poses to where they are wanted, in least squares."""
    exact, target = poses.double(), wanted.double()
    middle, other = exact[..., 3].mean(0), target[..., 3].mean(0)
    places, goals = exact[..., 3] - middle, target[..., 3] - other
    spread = places.square().sum().clamp(min=TINY)
    axes = (target[..., :3] @ exact[..., :3].mT).mean(0)
    u, _, v = torch.linalg.svd(axes + goals.T @ places / spread)
    sign = torch.ones_like(middle)
    sign[2] = torch.det(u @ v).sign()
    rotation = u @ (sign[:, None] * v)
    scale = ((places @ rotation.T) * goals).sum() / spread if spread > TINY else spread.new_ones(())
    shift = other - scale * (rotation @ middle)
    return scale.to(poses), rotation.to(poses), shift.to(poses)


def with_refined_lenses(cameras: Cameras, stated: Cameras, refined: Cameras) -> Cameras:
    """Cameras with the refined lens of those training cameras that had the same one as they."""
    found = same_lens(cameras, stated)
    known, like = found >= 0, found.clamp(min=0)

    def taken(own: Tensor, new: Tensor) -> Tensor:
        return torch.where(known[:, None], new.index_select(0, like), own)

    return replace(
        cameras,
        focal_px=taken(cameras.focal_px, refined.focal_px),
        center_px=taken(cameras.center_px, refined.center_px),
        distortion=taken(cameras.distortion, refined.distortion),
    )


def same_lens(cameras: Cameras, others: Cameras) -> Int[Tensor, " cameras"]:
    """For each camera the first of the ``others`` that has its lens; -1: none has."""
    own, theirs = _lens_rows(cameras), _lens_rows(others)
    equal = (own[:, None] == theirs[None]).all(dim=-1)
    return torch.where(equal.any(1), equal.long().argmax(1), -1)


def _lens_rows(cameras: Cameras) -> Float[Tensor, "cameras numbers"]:
    """What a lens is: not sizes, since photos on disk may lack their last rows and columns."""
    kind = cameras.lens[:, None].to(cameras.focal_px)
    return torch.cat([cameras.focal_px, cameras.center_px, cameras.distortion, kind], dim=-1)


def for_views(
    cameras: Cameras, trained: CameraAdjustment, stated: Cameras, fitted: AdjustmentSettings
) -> CameraAdjustment:
    """The adjustment of other views than the training ones, to be fitted as ``fitted`` says.

    All cameras are in the field's frame. Poses are aligned, lenses and their vignetting are those
    of training, and what is fitted begins from there.
    """
    refined = trained.cameras()
    if trained.settings.moves_cameras:
        lenses = with_refined_lenses(cameras, stated, refined)
        lenses = aligned(lenses, stated, refined)
    else:
        lenses = cameras
    vignetting = trained.settings.vignetting
    found = CameraAdjustment(lenses, replace(fitted, vignetting=vignetting), from_mean=False)
    if vignetting:
        found.take_vignetting(trained, same_lens(cameras, stated))
    return found
