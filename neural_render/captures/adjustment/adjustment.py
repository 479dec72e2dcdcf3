"""Cameras that are learnt along with the field: what rays become, and what light they show.

A photo shows ``gain * light``, the gain being ``2^(stops / 2.2)``: photos are display-referred, and
so many stops of scene-linear light are about that factor there. The stops are the photo's exposure,
its white balance in each channel, and what its lens loses towards the corners. Poses move by a
rotation about the camera's own centre (applied from the left) and a translation, in pixels (see
`preconditioning`). What all photos have in common belongs to the field: exposures, white balances
and appearances count from their mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neural_render.captures.adjustment.preconditioning import preconditioners, sample_points
from neural_render.captures.adjustment.settings import AdjustmentSettings
from neural_render.captures.pixel_directions import distinct_lenses
from neural_render.core.cameras import Cameras, Lens, one_lens, project, rays_through_pixels
from neural_render.core.rays import RayBatch, Rays
from neural_render.core.transforms import rotation_from_vector
from neural_render.kernels import ops
from neural_render.kernels.records import InputGradients
from neural_render.kernels.specs import AdamSpec

DISPLAY_POWER = 1 / 2.2  # of scene-linear light
VIGNETTING_TERMS = 3  # r^2, r^4, r^6; r is 1 in the corners
# Adam's learning rates at first: stops, and units of what the colour network is told.
RATES = {"exposure": 0.03, "white_balance": 0.01, "vignetting": 0.005, "appearance": 0.005}
LAST_RATE = 0.01  # of the first one, at the end of the budget
WARM_UP = 0.02  # of the budget, in which rates rise: at first the field shows nothing to go by
APPEARANCE_START = 0.1

Leaves = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class AdjustedBatch:
    """A batch's rays as they are now thought to be, and the parameters that they depend on."""

    rays: Rays
    gain: Float[Tensor, "gained gain_channels"]  # of no length: 1
    conditions: Float[Tensor, "rays conditions"]
    leaves: Leaves


class CameraAdjustment:
    """The parameters of a set of photos' cameras, and Adam's moments for them.

    What the settings leave alone has no parameters and costs nothing.
    """

    def __init__(
        self, cameras: Cameras, settings: AdjustmentSettings, *, from_mean: bool = True
    ) -> None:
        """Nothing learnt yet of ``cameras``, which are in the field's frame.

        Where the field is known already, exposures and white balances do not count ``from_mean``.
        """
        self._cameras, self.settings, self._from_mean = cameras, settings, from_mean
        num_views, device = len(cameras), cameras.focal_px.device
        # Once: at each step it would be waited for on a GPU.
        self._mean_focal_px, self._kind = float(cameras.focal_px.mean()), one_lens(cameras.lens)
        self._lens = distinct_lenses(cameras)[0] if num_views else cameras.lens
        num_lenses = int(self._lens.max()) + 1 if num_views else 0
        shapes = {
            "exposure": (num_views,) if settings.exposure else (),
            "white_balance": (num_views, 3) if settings.white_balance else (),
            "vignetting": (num_lenses, VIGNETTING_TERMS) if settings.vignetting else (),
            "appearance": (num_views, settings.appearance) if settings.appearance else (),
            "pose": (num_views, 6) if settings.poses else (),
            "lens": (num_lenses, 4) if settings.intrinsics else (),
        }
        self.parameters = {
            name: torch.zeros(shape, device=device) for name, shape in shapes.items() if shape
        }
        self.rates = RATES | {"pose": settings.pose_rate, "lens": settings.pose_rate}
        self.fixed: tuple[str, ...] = ()  # parameters that are known
        self._moments = {
            f"{order}.{name}": torch.zeros_like(value)
            for name, value in self.parameters.items()
            for order in ("moment1", "moment2")
        }
        if "appearance" in self.parameters:
            seeded = torch.Generator().manual_seed(0)
            start = torch.randn(shapes["appearance"], generator=seeded)
            self.parameters["appearance"].copy_(APPEARANCE_START * start)
        self._units = _units(cameras, self._lens) if settings.moves_cameras else {}

    def apply(self, batch: RayBatch) -> AdjustedBatch:
        """The batch as its photos show it, differentiable in what is learnt of them."""
        leaves = {
            name: value.detach().requires_grad_(name not in self.fixed)
            for name, value in self.parameters.items()
        }
        needs_pixels = "lens" in leaves or "vignetting" in leaves
        pixels = self._pixels(batch) if needs_pixels else torch.empty(0, 2)
        return AdjustedBatch(
            rays=self._rays(batch, pixels, leaves),
            gain=self._gain(batch.view, pixels, leaves),
            conditions=self._conditions(batch, leaves),
            leaves=leaves,
        )

    def step(
        self, seen: AdjustedBatch, gradients: InputGradients, step: int, fraction: float
    ) -> None:
        """One step of Adam (number ``step``) from a loss's gradients to what ``apply`` gave.

        ``fraction`` of the budget is spent.
        """
        self.descend(self.gradients(seen, gradients), step, fraction)

    def gradients(self, seen: AdjustedBatch, gradients: InputGradients) -> dict[str, Tensor]:
        """A loss's gradients to what is learnt, by name, from those to what ``apply`` gave."""
        if not any(leaf.requires_grad for leaf in seen.leaves.values()):
            return {}
        pairs = [
            (seen.rays.origins, gradients.origins),
            (seen.rays.directions, gradients.directions),
            (seen.gain, gradients.gain),
            (seen.conditions, gradients.conditions),
        ]
        pairs = [pair for pair in pairs if pair[0].requires_grad]
        leaves = {name: leaf for name, leaf in seen.leaves.items() if leaf.requires_grad}
        found = torch.autograd.grad(
            [given for given, _ in pairs],
            list(leaves.values()),
            [gradient for _, gradient in pairs],
            allow_unused=True,
            materialize_grads=True,
        )
        return dict(zip(leaves, found, strict=True))

    def descend(self, gradients: Mapping[str, Tensor], step: int, fraction: float) -> None:
        """One step of Adam (number ``step``), when ``fraction`` of the budget is spent."""
        share = LAST_RATE**fraction * min(1.0, (fraction + 0.01 * WARM_UP) / WARM_UP)
        for name, gradient in gradients.items():
            moments = self._moments[f"moment1.{name}"], self._moments[f"moment2.{name}"]
            rate = share * self.rates[name]
            adam = AdamSpec(learning_rate=rate, step=step)
            ops.adam_step(self.parameters[name], moments, gradient, adam)

    def cameras(self) -> Cameras:
        """All cameras as they are now thought to be, in the field's frame."""
        return self._refined(self.parameters)

    def gain(self, view: int, pixels: Float[Tensor, "pixels 2"]) -> Float[Tensor, "pixels 3"]:
        """What one photo multiplies the light in its pixels by."""
        index = torch.full((len(pixels),), view, device=pixels.device)
        gain = self._gain(index, pixels, self.parameters)
        return gain if len(gain) else torch.ones(len(pixels), 3, device=pixels.device)

    def take_vignetting(self, other: "CameraAdjustment", like: Int[Tensor, " cameras"]) -> None:
        """Makes that of each lens what ``other`` knows of camera ``like`` it (-1: none is)."""
        for view, match in enumerate(like.tolist()):
            if match >= 0:
                row = other.parameters["vignetting"][other._lens[match]]
                self.parameters["vignetting"][self._lens[view]] = row
        self.fixed = ("vignetting",)

    def blur(self, fraction: float) -> float:
        """The footprint, per unit of distance, that rays get while cameras are far off."""
        settings = self.settings
        if not (settings.moves_cameras and settings.blur and fraction < settings.blur_until):
            return 0.0
        left = 1 - fraction / settings.blur_until
        return settings.blur * left / self._mean_focal_px

    def described(self) -> str:
        """What was learnt, in a line; empty where nothing is."""
        found = []
        for name, what in (("pose", "poses"), ("lens", "lenses")):
            if name in self.parameters:  # of about a pixel each
                moved = self.parameters[name].norm(dim=1)
                mean, most = float(moved.mean()), float(moved.max())
                found.append(f"{what} moved by {mean:.2g} pixels on average, {most:.2g} at most")
        if "exposure" in self.parameters:
            stops = self._relative(self.parameters["exposure"])
            found.append(f"exposures from {float(stops.min()):+.2f} to {float(stops.max()):+.2f}")
        if "vignetting" in self.parameters:
            corner = float(self.parameters["vignetting"].sum(1).mean())
            found.append(f"corners darker by {-corner:.2f} stops")
        return "; ".join(found)

    def state(self) -> dict[str, Tensor]:
        """All that a resumed run needs, by name, no copies; nothing where nothing is learnt.

        With the units that moves of cameras are learnt in: they depend on how large photos are.
        """
        learnt = self._units.keys() & self.parameters.keys()
        units = {f"units.{name}": self._units[name] for name in sorted(learnt)}
        return self.parameters | self._moments | units

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from ``state``; ValueError if it is of other photos or other settings."""
        own = self.state()
        known = {name: own[name] for name in own if name in state or not name.startswith("units.")}
        if {name: t.shape for name, t in known.items()} != {n: t.shape for n, t in state.items()}:
            there, here = (
                ", ".join(f"{n} {list(t.shape)}" for n, t in x.items() if "." not in n) or "nothing"
                for x in (state, own)
            )
            raise ValueError(
                f"it learnt of its cameras {there}, and capture.adjust asks for {here}: restore"
                " these settings and the photos that it was trained on"
            )
        for name, tensor in known.items():
            tensor.copy_(state[name])

    def _pixels(self, batch: RayBatch) -> Float[Tensor, "rays 2"]:
        """Where in its photo each ray is, by the cameras that it was shot from."""
        ahead = batch.rays.origins + batch.rays.directions
        return project(self._cameras, batch.view, ahead, self._kind)[0]

    def _rays(self, batch: RayBatch, pixels: Float[Tensor, "pixels 2"], leaves: Leaves) -> Rays:
        if "lens" in leaves:
            refined = rays_through_pixels(self._refined(leaves), batch.view, pixels)
            return replace(refined, footprint=batch.rays.footprint)
        if "pose" not in leaves:
            return batch.rays
        rotations, shifts = self._moves(leaves)
        turn = rotations.index_select(0, batch.view)
        return replace(
            batch.rays,
            origins=batch.rays.origins + shifts.index_select(0, batch.view),
            directions=(turn * batch.rays.directions[:, None, :]).sum(-1),
        )

    def _moves(self, leaves: Leaves) -> tuple[Float[Tensor, "views 3 3"], Float[Tensor, "views 3"]]:
        """The rotation and the translation of each camera."""
        moves = (self._units["pose"] @ leaves["pose"][..., None])[..., 0]
        return rotation_from_vector(moves[:, :3]), moves[:, 3:]

    def _refined(self, leaves: Leaves) -> Cameras:
        cameras = self._cameras
        if "pose" in leaves:
            rotations, shifts = self._moves(leaves)
            cameras = moved(cameras, rotations, shifts)
        if "lens" in leaves:
            changes = (self._units["lens"] @ leaves["lens"][..., None])[..., 0]
            cameras = with_lenses(cameras, changes.index_select(0, self._lens))
        return cameras

    def _gain(
        self, view: Int[Tensor, " rays"], pixels: Float[Tensor, "pixels 2"], leaves: Leaves
    ) -> Float[Tensor, "gained gain_channels"]:
        stops = []
        if "exposure" in leaves:
            stops.append(self._relative(leaves["exposure"]).index_select(0, view)[:, None])
        if "white_balance" in leaves:
            balance = self._relative(leaves["white_balance"])
            balance = balance - balance.mean(1, keepdim=True)
            stops.append(balance.index_select(0, view))
        if "vignetting" in leaves:
            terms = leaves["vignetting"].index_select(0, self._lens.index_select(0, view))
            stops.append((terms * self._radius_powers(view, pixels)).sum(-1, keepdim=True))
        if not stops:
            return torch.zeros(0, 0)
        return torch.exp2(DISPLAY_POWER * sum(stops, torch.zeros(1, 3, device=view.device)))

    def _radius_powers(
        self, view: Int[Tensor, " rays"], pixels: Float[Tensor, "rays 2"]
    ) -> Float[Tensor, "rays terms"]:
        cameras = self._cameras
        size = torch.stack([cameras.width, cameras.height], -1).index_select(0, view).to(pixels)
        offset = pixels - 0.5 * size
        square = (offset * offset).sum(-1) / (0.25 * (size * size).sum(-1))
        return torch.stack([square**power for power in range(1, VIGNETTING_TERMS + 1)], dim=-1)

    def _conditions(self, batch: RayBatch, leaves: Leaves) -> Float[Tensor, "rays conditions"]:
        if "appearance" not in leaves:
            return batch.conditions
        return self._relative(leaves["appearance"]).index_select(0, batch.view)

    def _relative(self, values: Float[Tensor, "views *shape"]) -> Float[Tensor, "views *shape"]:
        return values - values.mean(0) if self._from_mean else values


def moved(
    cameras: Cameras, rotations: Float[Tensor, "cameras 3 3"], shifts: Float[Tensor, "cameras 3"]
) -> Cameras:
    """The cameras turned about their own centres, and shifted."""
    poses = cameras.world_from_camera
    turned = rotations @ poses[..., :3]
    return replace(
        cameras, world_from_camera=torch.cat([turned, (poses[..., 3] + shifts)[..., None]], dim=-1)
    )


def with_lenses(cameras: Cameras, changes: Float[Tensor, "cameras 4"]) -> Cameras:
    """The cameras with other lenses: log focal length, centre (of the picture's size), k1.

    Those that show the whole sphere have nothing to change.
    """
    changes = changes * has_intrinsics(cameras)[:, None]
    size = torch.stack([cameras.width, cameras.height], dim=-1).to(changes)
    first = torch.nn.functional.pad(changes[:, 3:], (0, cameras.distortion.shape[1] - 1))
    return replace(
        cameras,
        focal_px=cameras.focal_px * changes[:, :1].exp(),
        center_px=cameras.center_px + changes[:, 1:3] * size,
        distortion=cameras.distortion + first,
    )


def has_intrinsics(cameras: Cameras) -> Bool[Tensor, " cameras"]:
    """Which cameras have a focal length, a centre and a distortion that could be others."""
    return cameras.lens != int(Lens.EQUIRECTANGULAR)


def _units(cameras: Cameras, lens: Int[Tensor, " cameras"]) -> dict[str, Tensor]:
    """The parameters' units, in which they move what cameras see by pixels: P of each group."""
    exact = _double(cameras)
    # What they see is about as far away as the scene's middle, or as the cameras are apart.
    places = exact.world_from_camera[..., 3]
    apart = (places - places.mean(0)).norm(dim=-1).mean().clamp(min=1e-3)
    points = sample_points(exact, torch.maximum((places - 0.5).norm(dim=-1), apart))
    num_points = points.shape[1]
    index = torch.arange(len(cameras), device=lens.device).repeat_interleave(num_points)

    def seen(cameras: Cameras) -> Tensor:
        return project(cameras, index, points.view(-1, 3))[0].view(len(points), num_points, 2)

    def of_pose(move: Tensor) -> Tensor:
        return seen(moved(exact, rotation_from_vector(move[:, :3]), move[:, 3:]))

    def of_lens(change: Tensor) -> Tensor:
        return seen(with_lenses(exact, change))

    zero = exact.focal_px.new_zeros(len(cameras), 6)
    pose = preconditioners(of_pose, zero)
    each = preconditioners(of_lens, zero[:, :4])
    first = [int((lens == one).nonzero()[0, 0]) for one in range(int(lens.max()) + 1)]
    # Where nothing changes, units would be endless.
    each = (each * has_intrinsics(cameras)[:, None, None])[first]
    return {"pose": pose.to(cameras.focal_px), "lens": each.to(cameras.focal_px)}


def _double(cameras: Cameras) -> Cameras:
    return replace(
        cameras,
        world_from_camera=cameras.world_from_camera.double(),
        focal_px=cameras.focal_px.double(),
        center_px=cameras.center_px.double(),
        distortion=cameras.distortion.double(),
    )


def fixed_cameras() -> CameraAdjustment:
    """Of sources that have no cameras, or none that are to be learnt."""
    none = Cameras(
        world_from_camera=torch.zeros(0, 3, 4),
        focal_px=torch.zeros(0, 2),
        center_px=torch.zeros(0, 2),
        distortion=torch.zeros(0, 6),
        lens=torch.zeros(0, dtype=torch.long),
        width=torch.zeros(0, dtype=torch.long),
        height=torch.zeros(0, dtype=torch.long),
    )
    return CameraAdjustment(none, AdjustmentSettings())
