"""Training rays from a path tracer: fresh random rays, drawn from a ring that it keeps filled."""

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from neural_render.core.lights import LightGroup, Lighting, MovingLight
from neural_render.core.protocols import SceneFrame
from neural_render.core.rays import RayBatch, Rays
from neural_render.core.transforms import Similarity
from neural_render.scenes.settings import TracerSettings
from neural_render.scenes.tracing.process import TracerProcess
from neural_render.scenes.tracing.ring import (
    DIRECTION,
    DISTANCE,
    KEPT_OFF,
    NORMAL,
    ORIGIN,
    PICK,
    PICKS,
    PLACE,
    RADIANCE,
    WEIGHT,
    Ring,
)

MARGIN = 1.02  # of what is baked: surfaces do not lie on the cube's sides
WIDER = 0.1  # by how much what is seen may reach beyond what a few rays found
MOST_CASCADES = 8
WAIT_SECONDS = 0.002
CHECK_SECONDS = 0.5
MIN_BLOCKS = 4
EVEN = 0.5  # of the batches: all light groups alike, however little light they give
# Scenes whose mean lit radiance lies within are shown as they are.
EXPOSED = (0.05, 1.0)
MIDDLE = 0.25


@dataclass(frozen=True, kw_only=True)
class TracedFigures:
    """What the tracer did for a training."""

    fresh: int  # rays
    drawn: int
    seconds: float  # since the tracer began to fill the ring
    waited: float  # of those, what training waited for rays, the first ones not counted

    @classmethod
    def recorded(cls, record: dict[str, Any]) -> "TracedFigures":
        """The figures of which ``record`` was made."""
        fresh = int(record["fresh_rays"])
        seconds = fresh / max(1e-9, record["fresh_rays_per_second"])
        return cls(
            fresh=fresh,
            drawn=round(record["reuse"] * fresh),
            seconds=seconds,
            waited=record["waited_share"] * seconds,
        )

    def __add__(self, other: "TracedFigures") -> "TracedFigures":
        """Those of two sittings."""
        return TracedFigures(
            fresh=self.fresh + other.fresh,
            drawn=self.drawn + other.drawn,
            seconds=self.seconds + other.seconds,
            waited=self.waited + other.waited,
        )

    @property
    def reuse(self) -> float:
        """How often a ray was drawn on average."""
        return self.drawn / max(1, self.fresh)

    def record(self) -> dict[str, float | int]:
        """For ``metrics.json``."""
        return {
            "fresh_rays": self.fresh,
            "fresh_rays_per_second": self.fresh / max(1e-9, self.seconds),
            "reuse": self.reuse,
            "waited_share": self.waited / max(1e-9, self.seconds),
        }


def scene_frame(scene: dict[str, Any], pilot: dict[str, Any]) -> SceneFrame:
    """The field's cube around a scene.

    Where that is far larger than most of what cameras see (a wide floor), the region of interest
    is around the latter, and cascades around it reach the rest of what is seen.
    """
    low, high = (torch.tensor(scene[corner]).double() for corner in ("low", "high"))
    most_low, most_high = torch.tensor(pilot["mostly_seen"]).double()
    center, cascades = (low + high) / 2, 1
    half = float((high - low).max()) / 2
    region = float((most_high - most_low).max()) / 2
    if half > 2 * region > 0:
        seen_low, seen_high = torch.tensor(pilot["seen"]).double()
        beyond = WIDER * (seen_high - seen_low).max()
        low, high = torch.maximum(low, seen_low - beyond), torch.minimum(high, seen_high + beyond)
        center = (most_low + most_high) / 2
        half = float(torch.maximum(high - center, center - low).max())
        half = min(half, region * 2**MOST_CASCADES)
        cascades = max(1, math.ceil(math.log2(half / region)))
    side = 2 * MARGIN * half
    x, y, z = (center - side / 2).tolist()
    return SceneFrame(
        world_from_field=Similarity(scale=side, translation=(x, y, z)),
        cascades=cascades,
        near=0.0,
    )


def scene_lights(scene: dict[str, Any]) -> Lighting:
    """The light groups of a scene as its file has them."""
    groups = [
        LightGroup(name=group["name"], color=tuple(group["color"])) for group in scene["groups"]
    ]
    moving = [
        MovingLight(**{key: _tuple(value) for key, value in light.items()})
        for light in scene["moving"]
    ]
    return Lighting(groups=tuple(groups), moving=tuple(moving), environment=scene["environment"])


def scene_lighting(scene: dict[str, Any], pilot: dict[str, Any]) -> Lighting:
    """The same, scaled so that the mean of what the field learns is 1, and exposed."""
    lights = scene_lights(scene)
    groups = [
        replace(group, scale=max(sum(mean) / 3, 1e-8))
        for group, mean in zip(lights.groups, pilot["means"], strict=True)
    ]
    lit = sum(pilot["lit"]) / 3
    exposure = 1.0 if EXPOSED[0] <= lit <= EXPOSED[1] or lit <= 0 else MIDDLE / lit
    return replace(lights, groups=tuple(groups), exposure=exposure)


def group_shares(lighting: Lighting) -> list[float]:
    """How often each light group is learned: half of the time as much as it gives to the file's
    light, for its errors are seen as much, and half of the time as often as any other."""
    given = [group.scale * sum(group.color) for group in lighting.groups]
    total = sum(given)
    even = 1 / len(given)
    return [even if total <= 0 else EVEN * even + (1 - EVEN) * part / total for part in given]


class TracedSource:
    """A ``RaySource`` whose rays a tracer's process traces meanwhile.

    Each batch is lit by one light group, drawn at random (see `group_shares`). Half of its rays
    come the more often the brighter what they meet shines itself, and weights make up for it (see
    `bright_picks`). What it gives depends on how far the tracer is, so a bake is repeated in kind,
    not bit for bit.
    """

    has_opacity = True

    def __init__(
        self,
        process: TracerProcess,
        lighting: Lighting,
        frame: SceneFrame,
        settings: TracerSettings,
        *,
        seed: int,
        device: torch.device,
        begun: int = 0,
    ) -> None:
        """The tracer begins when rays are asked for first, and ``close`` ends it.

        ``begun``: steps that were made before.
        """
        self._process, self.lighting, self._settings = process, lighting, settings
        self.frame, self.device = frame, device
        block = process.scene["block"]
        blocks = max(MIN_BLOCKS, settings.ring // len(lighting.groups) // block) + KEPT_OFF
        self._ring = Ring(len(lighting.groups), blocks, block, process.memory)
        self._rays = torch.from_numpy(self._ring.rays)
        self._shares = group_shares(lighting)
        self._began, self._waited, self._checked = math.inf, 0.0, 0.0
        self._to_field = self.frame.world_from_field.inverse()
        self._seeds = {"seed": seed, "begun": begun}

    @property
    def num_channels(self) -> int:
        """Three for each light group."""
        return 3 * len(self.lighting.groups)

    @property
    def figures(self) -> TracedFigures:
        """What was traced and drawn so far."""
        return TracedFigures(
            fresh=self._ring.fresh,
            drawn=self._ring.drawn,
            seconds=max(0.0, time.perf_counter() - self._began),
            waited=self._waited,
        )

    def begin(self) -> None:
        """Lets the tracer fill the ring, if it does not yet."""
        if self._began < math.inf:
            return
        self._process.tell(
            command="trace",
            memory=self._process.memory,
            blocks=self._ring.blocks,
            shares=self._shares,
            means=[group.scale for group in self.lighting.groups],
            **self._seeds,
        )
        self._began = time.perf_counter()

    def sample(self, num_rays: int, generator: torch.Generator, picks: bool = True) -> RayBatch:
        """Rays of one random group, all drawn alike without ``picks``; waits where too few are
        fresh.

        SceneError if tracing fails.
        """
        generator = on_host(generator, self._ring.drawn)
        device, groups = generator.device, self.lighting.groups
        shares = torch.tensor(self._shares, device=device)
        group = int(torch.multinomial(shares, 1, generator=generator))
        self._wait(group)
        first, count = self._ring.readable(group)
        index = torch.randint(count, (num_rays,), generator=generator, device=device)
        index = (first + index) % self._rays.shape[1]
        if picks:
            picked = torch.rand(num_rays, generator=generator, device=device) < PICKS
            index = torch.where(picked, self._picks(group, index), index)
        rows = self._rays[group].index_select(0, index)
        if self.device.type == "cuda":
            rows = rows.pin_memory()  # then no host waits for what the device does before
        rows = rows.to(self.device, non_blocking=True)
        self._ring.count_drawn(num_rays)
        distance = rows[:, DISTANCE]
        opacity = (distance > 0).to(rows.dtype)
        conditions = rows.new_zeros((num_rays, 0))
        for light in self.lighting.moving:
            conditions = light.conditions(rows[:, PLACE])
        return RayBatch(
            rays=Rays(
                origins=self._to_field.apply(rows[:, ORIGIN]),
                directions=rows[:, DIRECTION].contiguous(),
                footprint=torch.zeros_like(opacity),
            ),
            targets=rows[:, RADIANCE] / groups[group].scale,
            opacity=opacity,
            weights=rows[:, WEIGHT].contiguous() if picks else torch.ones_like(opacity),
            view=torch.zeros(num_rays, dtype=torch.long, device=self.device),
            distance=distance / self.frame.world_from_field.scale,
            normals=rows[:, NORMAL].contiguous(),
            conditions=conditions,
            first_channel=3 * group,
        )

    def wait_for(self, num_rays: int) -> None:
        """Until so many rays are fresh, or the ring is full, and each group has some.

        SceneError if the tracer died.
        """
        self.begin()
        wanted = min(num_rays, self._rays.shape[0] * self._rays.shape[1])
        while self._ring.fresh < wanted or not self._ring.is_begun:
            time.sleep(WAIT_SECONDS)
            self._look_after()

    def close(self) -> None:
        """Ends the tracing and lets go of the ring; the process can be asked again."""
        self._ring.stop()
        try:
            if self._process.tracing:
                self._process.answer("traced")
        finally:
            del self._rays
            self._ring.close()

    def _picks(self, group: int, index: Int[Tensor, " rays"]) -> Int[Tensor, " rays"]:
        """What stands in the place of rays of the ring: see `bright_picks`."""
        picks = self._rays[group, :, PICK].index_select(0, index).long()
        return index - index % self._ring.block + picks

    def _wait(self, group: int) -> None:
        """Until there are rays of the group and none is drawn too often; looks after the tracer."""
        self.begin()
        began = time.perf_counter()
        first = self._ring.readable(group)[1] == 0
        while self._starved(group):
            time.sleep(WAIT_SECONDS)
            self._look_after()
        self._look_after()
        if not first:
            self._waited += time.perf_counter() - began

    def _look_after(self) -> None:
        now = time.perf_counter()
        if now - self._checked > CHECK_SECONDS:
            self._process.check()
            self._checked = now

    def _starved(self, group: int) -> bool:
        if self._ring.readable(group)[1] == 0:
            return True
        return self._ring.drawn > self._settings.max_reuse * self._ring.fresh


def on_host(generator: torch.Generator, drawn: int) -> torch.Generator:
    """The generator, if it is one of the host, in whose memory the rays lie; in the place of a
    device's, which a host would wait for, one that differs with what was ``drawn`` before."""
    if generator.device.type == "cpu":
        return generator
    return torch.Generator("cpu").manual_seed((generator.initial_seed() + drawn) % (1 << 63))


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
