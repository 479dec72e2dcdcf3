"""The path tracer's process: reads commands, a line of JSON each, and answers likewise.

Its threads and Python's lock, or a wrong LLVM, may stop or kill it: nothing else lives here. It
ends with its parent, whose end of the pipe closes. Torch is not imported.
"""

import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TextIO

import numpy as np

from neural_render.core.errors import SceneError, UserError
from neural_render.core.files import output_error
from neural_render.scenes.lights import (
    LightSwitch,
    SceneGroup,
    file_emission,
    light_groups,
    neutral_emission,
)
from neural_render.scenes.moving import MovingPlaces, moving_places
from neural_render.scenes.readers.opening import load_scene
from neural_render.scenes.records import LoadedScene, triple
from neural_render.scenes.settings import SceneSettings, TracerSettings, ViewSettings
from neural_render.scenes.tracing.paths import Tracer, new_tracer, radiances
from neural_render.scenes.tracing.ring import (
    COLUMNS,
    DIRECTION,
    DISTANCE,
    NORMAL,
    ORIGIN,
    PICK,
    PLACE,
    RADIANCE,
    WEIGHT,
    Ring,
    bright_picks,
    without_broken,
)
from neural_render.scenes.tracing.variants import VARIANTS
from neural_render.scenes.views import Poses, Viewpoints, in_the_light, viewpoints

PILOT_WAVES = 4
MOVING_WAVES = 16  # of a light that moves, each with the light elsewhere
LOOKING_RAYS = 1 << 14  # of as many cameras, by which the scene's extent is judged
MARGINAL = 0.05  # of what is seen, at each end of an axis
REST_SECONDS = 0.005
# For a group's number: nothing was switched yet; all lights are as in the file.
UNLIT, FILE_LIGHT = -2, -1


class Worker:
    """A loaded scene and what is asked of it."""

    def __init__(self, answer: Callable[..., None], open_command: dict[str, Any]) -> None:
        """Loads the scene that the first command names, and answers with what it is."""
        import mitsuba

        self._answer = answer
        settings = SceneSettings(**open_command["scene"])
        self._tracer_settings = TracerSettings(**open_command["tracer"])
        variant = VARIANTS[open_command["variant"]]
        mitsuba.set_variant(variant)
        mitsuba.set_log_level(mitsuba.LogLevel.Error)
        if self._tracer_settings.threads:
            import drjit

            drjit.set_thread_count(self._tracer_settings.threads)
        self.scene: LoadedScene = load_scene(settings)
        self.groups: tuple[SceneGroup, ...] = light_groups(self.scene, settings.groups)
        self._switch = LightSwitch(self.scene)
        self._lit = UNLIT
        self._tracers: dict[int, Tracer] = {}
        tracer = self._tracer(self._tracer_settings.samples_per_ray)
        views = ViewSettings(**open_command["views"])
        self.views: Viewpoints = viewpoints(views, self.scene, self.scene.up, tracer.distances)
        if len(self.views.places):
            self.views = in_the_light(self.views, self.scene, partial(radiances, tracer))
        self.moving: tuple[MovingPlaces, ...] = moving_places(self.scene, self.groups, settings)
        answer(
            "scene",
            format=self.scene.format,
            path=str(self.scene.path),
            low=self.scene.low,
            high=self.scene.high,
            up=self.scene.up,
            warnings=self.scene.warnings,
            exported=self.scene.exported,
            groups=[{"name": group.name, "color": group.color} for group in self.groups],
            environment="".join(group.name for group in self.groups if group.is_around),
            views=self.views.kind,
            moving=[places.description for places in self.moving],
            block=tracer.num_rays,
        )

    def _tracer(self, samples_per_ray: int) -> Tracer:
        if samples_per_ray not in self._tracers:
            paths = self._tracer_settings.wavefront
            self._tracers[samples_per_ray] = new_tracer(
                self.scene, paths=paths, samples_per_ray=samples_per_ray
            )
        return self._tracers[samples_per_ray]

    def _light(self, group: int) -> None:
        """Switches a group on, at unit emission, and all else off."""
        if group == self._lit:
            return
        self._lit = group
        if group == FILE_LIGHT:
            self._switch.set(file_emission(self.scene))
        else:
            self._switch.set(neutral_emission(self.groups[group]))

    def _lights(self, group: int, places: MovingPlaces) -> bool:
        """Whether the light that has these places is what shines in a group."""
        return group != FILE_LIGHT and self.groups[group].name == places.group

    def pilot(self, *, seed: int) -> None:
        """Mean radiance of what surfaces show, of each group at unit emission, then of the file's
        light; and where surfaces are seen: bounds (low, high), and bounds of most of them.

        That of a light that moves is a mean over its places, of which the file's may be a dark one.
        """
        tracer, rng = self._tracer(self._tracer_settings.samples_per_ray), _rng(seed, 0)
        means, hit = [], []
        for group in (*range(len(self.groups)), FILE_LIGHT):
            self._light(group)
            roaming = [places for places in self.moving if self._lights(group, places)]
            for places in self.moving:
                self._switch.place(places.light, places.at)
            found = []
            for wave in range(MOVING_WAVES if roaming else PILOT_WAVES):
                for places in roaming:
                    self._switch.place(places.light, triple(places.draw(1, rng)[0]))
                radiance, distance, _, _ = tracer.traced(self.views, rng, seed + wave)
                found.append(radiance[np.isfinite(distance)])
                hit.append(np.isfinite(distance).mean())
            seen = np.concatenate(found)
            known = seen[np.isfinite(seen).all(axis=1)].astype(float)  # see `without_broken`
            means.append(known.mean(axis=0).tolist() if len(known) else [0.0] * 3)
        origins, directions = self.views.draw(LOOKING_RAYS, rng).rays(rng)
        distance = tracer.distances(origins, directions)
        met = np.isfinite(distance)
        points = origins[met] + distance[met, None] * directions[met]
        if not (np.mean(hit) > 0 and len(points)):
            raise SceneError(
                f"{self.scene.path}: no ray of the cameras meets the scene; see views.kind,"
                " views.distance and views.fov."
            )
        shares = (0, MARGINAL, 1 - MARGINAL, 1)
        low, most_low, most_high, high = np.quantile(points, shares, axis=0).tolist()
        self._answer(
            "pilot",
            means=means[:-1],
            lit=means[-1],
            hit=float(np.mean(hit)),
            seen=(low, high),
            mostly_seen=(most_low, most_high),
        )

    def environment(self, *, path: str) -> None:
        """The picture of what lies far around, at unit emission, saved at ``path``; and its turn.

        Nothing is saved, and the turn is empty, where nothing lies there.
        """
        turn: list[list[float]] = []
        for light in self.scene.lights:
            if light.kind == "environment":
                picture, turn = self._switch.environment(light)
                share = self._around().neutral(light)  # of its group's emission
                picture = picture * np.array(share, np.float32)
                self._lit = UNLIT  # whatever is switched on to look at it
                np.save(path, picture)
        self._answer("environment", world_from_environment=turn)

    def _around(self) -> SceneGroup:
        """The group of the light that shines from far around."""
        (group,) = [group for group in self.groups if group.is_around]
        return group

    def poses(self, *, num: int, seed: int) -> None:
        """Random cameras of the distribution that training has."""
        drawn = self.views.draw(num, _rng(seed, 1))
        self._answer(
            "poses",
            world_from_camera=drawn.world_from_camera.tolist(),
            half_width=drawn.half_width.tolist(),
            half_height=drawn.half_height.tolist(),
        )

    def places(self, *, num: int, seed: int) -> None:
        """Random places of the light that moves."""
        drawn = self.moving[0].draw(num, _rng(seed, 4))
        self._answer("places", places=drawn.tolist())

    def render(
        self,
        *,
        pose: dict[str, Any],
        size: list[int],
        group: int,
        samples: int,
        seed: int,
        place: list[float],
        path: str,
    ) -> None:
        """A picture [height width 3] of radiance, black where nothing is: floats, in ``path``.

        Paths of no finite radiance are left out; a pixel of no other ones is black. ``place``: of
        the moving light, if there is one.
        """
        width, height = size
        for moving in self.moving:
            self._switch.place(moving.light, triple(np.asarray(place)))
        self._light(group)
        tracer, pixels = self._tracer(1), width * height
        total, count = np.zeros((pixels, 3)), np.zeros(pixels)
        rng = _rng(seed, 2)
        # Each wave goes on where the last one stopped, so that all pixels get as many paths.
        waves = -(-pixels * samples // tracer.num_rays)
        for wave in range(waves):
            index = (wave * tracer.num_rays + np.arange(tracer.num_rays)) % pixels
            corner = np.stack([index % width, index // width], axis=1)
            across = 2 * (corner + rng.uniform(size=corner.shape)) / [width, height] - 1
            camera = Poses(**{key: np.asarray(value) for key, value in pose.items()})
            radiance, distance = tracer.trace(*camera.through(across), seed * 1_000_003 + wave)
            values = np.where(np.isfinite(distance)[:, None], radiance, 0.0)
            known = np.isfinite(values).all(axis=1)  # see `without_broken`
            for channel in range(3):
                total[:, channel] += np.bincount(index[known], values[known, channel], pixels)
            count += np.bincount(index[known], minlength=pixels)
            self._answer("progress", done=wave + 1, of=waves)
        picture = (total / np.maximum(count, 1)[:, None]).reshape(height, width, 3)
        Path(path).write_bytes(picture.astype(np.float32).tobytes())
        self._answer("rendered")

    def trace(
        self,
        *,
        memory: int,
        blocks: int,
        shares: list[float],
        means: list[float],
        seed: int,
        begun: int,
    ) -> None:
        """Fills the ring until its reader stops it; light groups have ``shares`` of it and
        ``means`` of radiance.

        ``begun``: the steps that training has made already; after others the rays are others.
        """
        tracer = self._tracer(self._tracer_settings.samples_per_ray)
        ring = Ring(len(self.groups), blocks, tracer.num_rays, memory, begins=False)
        busy, wave = 0.0, 0
        try:
            while not ring.stopped:
                if wave >= ring.groups * ring.blocks and self._ahead(ring):
                    time.sleep(REST_SECONDS)
                    continue
                began = time.perf_counter()
                group = ring.most_wanting(shares)
                rng = _rng(seed, 3, begun, wave)
                block, shining = self._block(tracer, group, rng)
                picked = bright_picks(shining, means[group], rng.uniform())
                block[:, PICK], block[:, WEIGHT] = picked
                ring.write(group, block)
                busy += time.perf_counter() - began
                wave += 1
            fresh = ring.fresh
        finally:
            ring.close()
        self._answer("traced", busy_seconds=busy, fresh=fresh)

    def _ahead(self, ring: Ring) -> bool:
        settings = self._tracer_settings
        # It must not rest while the reader waits.
        return ring.drawn < min(settings.fresh, settings.max_reuse) * ring.fresh

    def _block(
        self, tracer: Tracer, group: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """One block of fresh rays of a group, and how much shines what they meet."""
        block = np.zeros((tracer.num_rays, COLUMNS), np.float32)
        for places in self.moving:
            # Where the light shines, it stands still for a wavefront; elsewhere its place must not
            # matter, so each ray has another.
            block[:, PLACE] = places.draw(tracer.num_rays, rng)
            if self._lights(group, places):
                block[:, PLACE] = block[0, PLACE]
                self._switch.place(places.light, triple(block[0, PLACE]))
        self._light(group)
        seed = int(rng.integers(1 << 31))
        radiance, distance, origins, directions = tracer.traced(self.views, rng, seed)
        block[:, ORIGIN], block[:, DIRECTION], block[:, RADIANCE] = origins, directions, radiance
        block[:, DISTANCE] = np.where(np.isfinite(distance), distance, 0.0)
        block[:, NORMAL], shining = tracer.surfaces(origins, directions)
        return block, np.where(without_broken(block), 0.0, shining)


def _rng(*seeds: int) -> np.random.Generator:
    return np.random.default_rng(seeds)


def _commands(stream: TextIO) -> Iterator[dict[str, Any]]:
    """The commands in their order; at the stream's end the whole process ends at once."""
    lines: SimpleQueue[str] = SimpleQueue()

    def listen() -> None:
        for line in stream:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        yield json.loads(lines.get())


def main() -> None:
    """Answers the commands of standard input until that ends."""
    # What libraries print must not mix with the answers.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)

    def answer(event: str, **fields: Any) -> None:
        out.write(json.dumps({"event": event, **fields}) + "\n")

    worker: Worker | None = None
    for command in _commands(sys.stdin):
        try:
            if worker is None:
                worker = Worker(answer, command)
            else:
                name = command.pop("command")
                getattr(worker, name)(**command)
        except UserError as error:
            answer("error", message=str(error))
        except Exception as error:  # said by the parent; the whole of it is in its log
            traceback.print_exc()
            message = f"the path tracer failed: {error}".splitlines()[0]
            if isinstance(error, OSError) and "path" in command:  # to which it writes
                message = str(output_error(Path(command["path"]), error))
            answer("error", message=message)


if __name__ == "__main__":
    main()
