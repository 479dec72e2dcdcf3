"""The forms by their names, each a function that writes its files.

A new form is one more line in ``FORMS`` and in ``FORMATS`` of ``export.formats``.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from neural_render.core.color import quantised
from neural_render.export.cameras.export import export_cameras
from neural_render.export.cameras.photographs import photographs
from neural_render.export.cameras.place import adopt, check_free
from neural_render.export.geometry.clouds import export_points, surface_points
from neural_render.export.geometry.mesh import export_mesh
from neural_render.export.geometry.volumes import export_volume
from neural_render.training.exporting.job import ExportJob
from neural_render.training.splats.fitting import export_splats

Form = Callable[[ExportJob], tuple[Path, ...]]


def mesh(job: ExportJob) -> tuple[Path, ...]:
    """A textured mesh."""
    settings = job.settings.mesh
    path = job.path(f"mesh.{settings.file}")
    return export_mesh(job.subject, job.space(inner=True), settings, path, progress=job.progress)


def points(job: ExportJob) -> tuple[Path, ...]:
    """A coloured point cloud."""
    path, space = job.path("points.ply"), job.space(inner=False)
    return export_points(job.subject, space, job.settings.points, path, progress=job.progress)


def volume(job: ExportJob) -> tuple[Path, ...]:
    """Density as an array."""
    path, space = job.path("volume.npz"), job.space(inner=True)
    return export_volume(job.subject, space, job.settings.volume, path, progress=job.progress)


def splats(job: ExportJob) -> tuple[Path, ...]:
    """Gaussian splats, fitted to the field's own renders."""
    path = job.path("splats.ply")
    settings, lights = job.settings, job.lights
    return (
        export_splats(
            job.scene, job.capture, settings, lights, path, seed=job.seed, progress=job.progress
        ),
    )


def cameras(job: ExportJob) -> tuple[Path, ...]:
    """COLMAP's model and transforms.json, with points to begin with."""
    settings, folder = job.settings.cameras, job.path("cameras")
    photos = photographs(job.refined_capture)
    if not job.settings.output:
        adopt(folder)
    check_free(folder, photos.root, photos.mask_root)  # before points are looked for
    places, colors = np.zeros((0, 3)), np.zeros((0, 3), dtype=np.uint8)
    if settings.points and not len(photos.points):
        space = job.space(inner=False)
        cloud = surface_points(job.subject, space, settings.points, 0.5, progress=job.progress)
        places = job.subject.to_world(cloud.points.double()).numpy()
        colors = quantised(cloud.colors).numpy()
    return export_cameras(folder, photos, (places, colors), settings)


FORMS: Mapping[str, Form] = {
    "mesh": mesh,
    "points": points,
    "volume": volume,
    "splats": splats,
    "cameras": cameras,
}
