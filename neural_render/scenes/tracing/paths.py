"""Tracing given rays through a loaded scene: radiance and the distance of the first surface.

Always the same number of paths at once, as another number would be compiled anew.
"""

import math
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from neural_render.scenes.records import LoadedScene
from neural_render.scenes.views import Viewpoints

Vectors = Float[np.ndarray, "rays 3"]
Floats = Float[np.ndarray, " rays"]
Traced = tuple[Vectors, Floats, Vectors, Vectors]  # radiance, distance, origins, directions

TILE = 64  # pixels along a side of what the scalar variant renders together
NEAR, FAR = 1e-5, 1e5  # in the scene's radius: what the scalar variant's cameras see
TILE_VIEW = 256  # pixels along a side of the picture that tiles are cut from
COVERED = 7  # the channel of such a picture that says which part of a pixel has a surface
SLIGHT = 1e-3  # of a pixel
CLEAR = 0.99  # of the light that a surface lets through unchanged where it is a hole
MOST_HOLES = 32  # that a ray passes, one behind the other


@runtime_checkable
class Tracer(Protocol):
    """Traces rays through a scene whose lights are as they were switched last."""

    @property
    def num_rays(self) -> int:
        """How many rays it traces at once."""
        ...

    def traced(self, views: Viewpoints, rng: np.random.Generator, seed: int) -> Traced:
        """``num_rays`` random rays of random cameras, with what they see."""
        ...

    def trace(self, origins: Vectors, directions: Vectors, seed: int) -> tuple[Vectors, Floats]:
        """Mean radiance along ``num_rays`` rays, and their surfaces' distance (infinite: none)."""
        ...

    def distances(self, origins: Vectors, directions: Vectors) -> Floats:
        """The distance of the first surface along any number of rays; infinite: none.

        Where a surface has a hole (a leaf's picture on a card), it is the next one behind.
        """
        ...

    def surfaces(self, origins: Vectors, directions: Vectors) -> tuple[Vectors, Floats]:
        """The first surface's shading normal along any number of rays, 0: none; and how much it
        shines itself, as the mean of its colour, which unlike radiance has no noise."""
        ...


def new_tracer(scene: LoadedScene, *, paths: int, samples_per_ray: int) -> Tracer:
    """The tracer for Mitsuba's active variant."""
    import mitsuba

    if "scalar" in str(mitsuba.variant()):
        return ScalarTracer(scene, samples_per_ray=samples_per_ray)
    return WavefrontTracer(scene, paths=paths, samples_per_ray=samples_per_ray)


def may_have_holes(scene: LoadedScene) -> bool:
    """Whether a surface may let light through unchanged; of those in instances nobody says."""
    import mitsuba

    shapes = scene.scene.shapes()
    return any(shape.class_name() == "Instance" for shape in shapes) or any(
        mitsuba.has_flag(shape.bsdf().flags(), mitsuba.BSDFFlags.Null)
        for shape in shapes
        if shape.bsdf() is not None
    )


def path_integrator(scene: LoadedScene) -> Any:
    """Mitsuba's path tracer, or its slower one where there may be holes.

    Mitsuba 3.9's ``path`` weighs direct light on such surfaces by their opacity twice.
    """
    import mitsuba

    kind = "volpath" if may_have_holes(scene) else "path"
    return mitsuba.load_dict({"type": kind, "max_depth": scene.max_depth})


def radiances(tracer: Tracer, origins: Vectors, directions: Vectors) -> Vectors:
    """Radiance along any number of rays."""
    found = [np.zeros((0, 3), np.float32)]
    size = tracer.num_rays, 3
    for first in range(0, len(origins), tracer.num_rays):
        part = slice(first, first + tracer.num_rays)
        filled = np.resize(origins[part], size), np.resize(directions[part], size)
        radiance, _ = tracer.trace(*filled, seed=first)
        found.append(radiance[: len(origins[part])])
    return np.concatenate(found)


class WavefrontTracer:
    """Traces fixed numbers of rays under a vectorised variant (llvm, cuda)."""

    def __init__(self, scene: LoadedScene, *, paths: int, samples_per_ray: int) -> None:
        """``paths`` at once, ``samples_per_ray`` of them along each ray."""
        import drjit
        import mitsuba

        self._dr, self._mi = drjit, mitsuba
        self._scene = scene.scene
        self._integrator, self._holed = path_integrator(scene), may_have_holes(scene)
        self._sampler = mitsuba.load_dict({"type": "independent"})
        self.num_rays = max(1, paths // samples_per_ray)
        self._samples = samples_per_ray

    def traced(self, views: Viewpoints, rng: np.random.Generator, seed: int) -> Traced:
        """See ``Tracer``: each ray has a camera of its own."""
        origins, directions = views.draw(self.num_rays, rng).rays(rng)
        return *self.trace(origins, directions, seed), origins, directions

    def trace(self, origins: Vectors, directions: Vectors, seed: int) -> tuple[Vectors, Floats]:
        """See ``Tracer``."""
        dr, mi = self._dr, self._mi
        assert len(origins) == self.num_rays, "a wavefront has a fixed size"
        ray = self._rays(origins, directions)
        surface = self._distance(ray)
        paths = self.num_rays * self._samples
        place = dr.arange(mi.UInt32, paths) // self._samples
        many = mi.RayDifferential3f(
            dr.gather(mi.Point3f, ray.o, place), dr.gather(mi.Vector3f, ray.d, place)
        )
        self._sampler.seed(seed & 0xFFFFFFFF, paths)
        radiance, _, _ = self._integrator.sample(self._scene, self._sampler, many)
        means = [
            dr.block_reduce(dr.ReduceOp.Add, channel, self._samples) / self._samples
            for channel in radiance
        ]
        dr.eval(means, surface)
        found = np.stack([np.asarray(channel.numpy()) for channel in means], axis=1)
        return found, np.asarray(surface.numpy())

    def distances(self, origins: Vectors, directions: Vectors) -> Floats:
        """See ``Tracer``."""
        return np.asarray(self._distance(self._rays(origins, directions)).numpy())

    def surfaces(self, origins: Vectors, directions: Vectors) -> tuple[Vectors, Floats]:
        """See ``Tracer``."""
        dr, mi = self._dr, self._mi
        surface = self._surface(self._rays(origins, directions))
        there = surface.is_valid()
        normal = dr.select(there, surface.sh_frame.n, mi.Normal3f(0))
        shining = dr.mean(surface.emitter(self._scene, there).eval(surface, there))
        shining = dr.select(there, shining, 0)
        dr.eval(normal, shining)
        normals = np.stack([np.asarray(channel.numpy()) for channel in normal], axis=1)
        return normals, np.asarray(shining.numpy())

    def _rays(self, origins: Vectors, directions: Vectors) -> Any:
        mi = self._mi
        return mi.Ray3f(mi.Point3f(*_columns(mi, origins)), mi.Vector3f(*_columns(mi, directions)))

    def _distance(self, ray: Any) -> Any:
        dr = self._dr
        if not self._holed:
            return self._scene.ray_intersect_preliminary(ray).t
        surface = self._surface(ray)
        return dr.select(surface.is_valid(), dr.dot(surface.p - ray.o, ray.d), dr.inf)

    def _surface(self, ray: Any) -> Any:
        """What rays meet behind all holes."""
        dr = self._dr
        found = self._scene.ray_intersect(ray)
        for _ in range(MOST_HOLES if self._holed else 0):
            valid = found.is_valid()
            through = dr.mean(found.bsdf().eval_null_transmission(found, valid))
            clear = valid & (through > CLEAR)
            if not dr.any(clear):
                break
            behind = self._scene.ray_intersect(found.spawn_ray(ray.d), clear)
            found = dr.select(clear, behind, found)
        return found


class ScalarTracer:
    """Traces under the scalar variant: tiles of pictures, as a ray at a time would crawl."""

    num_rays = TILE * TILE

    def __init__(self, scene: LoadedScene, *, samples_per_ray: int) -> None:
        """``samples_per_ray`` paths for each ray, or for each pixel of a tile."""
        import mitsuba

        self._mi = mitsuba
        self._scene = scene.scene
        self._integrator, self._holed = path_integrator(scene), may_have_holes(scene)
        # A picture of what paths see, then one of which part of a pixel has a surface.
        parts = {"seen": self._integrator, "surface": {"type": "depth"}}
        self._pictures = mitsuba.load_dict({"type": "aov", "aovs": "depth:depth", **parts})
        self._samples = samples_per_ray

    def traced(self, views: Viewpoints, rng: np.random.Generator, seed: int) -> Traced:
        """See ``Tracer``: the rays through the pixels of a tile of one camera.

        What a ray sees is its pixel's mean, unless only a part of that has a surface, or lacks one.
        """
        mi, camera = self._mi, views.draw(1, rng)
        height = TILE_VIEW * float(camera.half_height[0] / camera.half_width[0])
        size = TILE_VIEW, max(TILE, round(height))
        # The picture is a whole number of pixels high.
        camera = replace(camera, half_height=camera.half_width * size[1] / size[0])
        corner = [int(rng.integers(0, side - TILE + 1)) for side in size]
        rows, columns = np.meshgrid(np.arange(TILE), np.arange(TILE), indexing="ij")
        place = np.stack([columns, rows], axis=-1).reshape(-1, 2) + np.asarray(corner) + 0.5
        origins, directions = camera.through(2 * place / size - 1)
        pose = np.eye(4)
        # Mitsuba's camera looks along z with x to the left and y up.
        pose[:3] = camera.world_from_camera[0] * [-1, -1, 1, 1]
        sensor = mi.load_dict(
            {
                "type": "perspective",
                "fov": 2 * math.degrees(math.atan(camera.half_width[0])),
                "fov_axis": "x",
                "near_clip": NEAR * views.radius,
                "far_clip": FAR * views.radius,
                "to_world": mi.ScalarTransform4f(pose.tolist()),
                "sampler": {"type": "independent", "sample_count": self._samples},
                "film": {
                    "type": "hdrfilm",
                    "width": size[0],
                    "height": size[1],
                    "crop_offset_x": corner[0],
                    "crop_offset_y": corner[1],
                    "crop_width": TILE,
                    "crop_height": TILE,
                    "pixel_format": "rgba",
                    "component_format": "float32",
                    "rfilter": {"type": "box"},
                },
            }
        )
        picture = mi.render(
            self._scene, sensor=sensor, integrator=self._pictures, seed=seed & 0xFFFFFFFF
        )
        found = np.array(picture, np.float32).reshape(len(origins), -1)
        radiance, covered = found[:, :3].copy(), found[:, COVERED]
        distance = self.distances(origins, directions)
        torn = np.abs(covered - np.isfinite(distance)) > SLIGHT
        radiance[torn] = self._radiance(origins[torn], directions[torn], seed)
        return radiance, distance, origins, directions

    def trace(self, origins: Vectors, directions: Vectors, seed: int) -> tuple[Vectors, Floats]:
        """See ``Tracer``; slow."""
        return self._radiance(origins, directions, seed), self.distances(origins, directions)

    def _radiance(self, origins: Vectors, directions: Vectors, seed: int) -> Vectors:
        mi = self._mi
        sampler = mi.load_dict({"type": "independent"})
        sampler.seed(seed & 0xFFFFFFFF)
        radiance = np.zeros((len(origins), 3), np.float32)
        for index, (origin, direction) in enumerate(
            zip(origins.tolist(), directions.tolist(), strict=True)
        ):
            ray = mi.RayDifferential3f(mi.Point3f(origin), mi.Vector3f(direction))
            for _ in range(self._samples):
                found, _, _ = self._integrator.sample(self._scene, sampler, ray)
                radiance[index] += np.array(found, np.float32) / self._samples
        return radiance

    def distances(self, origins: Vectors, directions: Vectors) -> Floats:
        """See ``Tracer``."""
        mi = self._mi
        found = np.empty(len(origins), np.float32)
        for index, (origin, direction) in enumerate(
            zip(origins.tolist(), directions.tolist(), strict=True)
        ):
            ray = mi.Ray3f(mi.Point3f(origin), mi.Vector3f(direction))
            if not self._holed:
                found[index] = self._scene.ray_intersect_preliminary(ray).t
                continue
            surface, away = self._surface(ray), np.inf
            if surface.is_valid():
                away = float(np.dot(np.array(surface.p - ray.o), np.array(ray.d)))
            found[index] = away
        return found

    def surfaces(self, origins: Vectors, directions: Vectors) -> tuple[Vectors, Floats]:
        """See ``Tracer``."""
        mi = self._mi
        normals = np.zeros((len(origins), 3), np.float32)
        shining = np.zeros(len(origins), np.float32)
        for index, (origin, direction) in enumerate(
            zip(origins.tolist(), directions.tolist(), strict=True)
        ):
            surface = self._surface(mi.Ray3f(mi.Point3f(origin), mi.Vector3f(direction)))
            if surface.is_valid():
                normals[index] = np.array(surface.sh_frame.n)
                if (emitter := surface.emitter(self._scene)) is not None:
                    shining[index] = np.mean(np.array(emitter.eval(surface)))
        return normals, shining

    def _surface(self, ray: Any) -> Any:
        """What a ray meets behind all holes."""
        found = self._scene.ray_intersect(ray)
        for _ in range(MOST_HOLES if self._holed else 0):
            if not found.is_valid():
                break
            through = np.mean(np.array(found.bsdf().eval_null_transmission(found)))
            if through <= CLEAR:
                break
            found = self._scene.ray_intersect(found.spawn_ray(ray.d))
        return found


def _columns(mi: Any, vectors: Vectors) -> list[Any]:
    return [mi.Float(np.ascontiguousarray(column, np.float32)) for column in vectors.T]
