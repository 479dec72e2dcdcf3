"""Suite ``mesh``: the textured mesh of a run, drawn by Mitsuba's ray casting, beside test photos.

The mesh is read back from its GLB by trimesh; a pixel is the mean of 2x2 rays, each the texture's
colour where it hits, unlit, the run's background where it does not.
"""

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from benchmarks.options import BenchmarkOptions
from benchmarks.records import append, print_table, spent, start
from neural_render.captures.opening import open_capture
from neural_render.captures.records import Capture
from neural_render.config.composition import load_settings
from neural_render.core.cameras import Cameras, image_rays
from neural_render.core.color import quantised
from neural_render.core.errors import SettingError
from neural_render.evaluation import metrics
from neural_render.evaluation.protocol import background_color, background_name
from neural_render.export.formats import ExportSettings
from neural_render.export.images import write_png
from neural_render.rendering import Image
from neural_render.training.exporting.formats import mesh
from neural_render.training.exporting.job import ExportJob
from neural_render.training.films.shooting import mean_of_blocks
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import TrainedScene, load_for_rendering

SIDE = 2  # rays of a pixel along each side
VARIANT = "llvm_ad_rgb"


def run(options: BenchmarkOptions) -> None:
    """Measures ``file``, or a mesh that is made now, on ``views`` test views; records that."""
    resolved, threads = start(options.backend, options.threads, options.precision)
    folder = RunFolder.open(Path(options.run))
    scene = load_for_rendering(folder, torch.device("cpu"))
    if scene.record.color_space != "srgb":
        raise SettingError("suite=mesh compares with photos: give the run of a capture.")
    capture = open_capture(load_settings(folder.config_path).capture, progress=False)
    cost: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(options.file or f"{scratch}/mesh.glb")
        if not options.file:
            job = _job(folder, scene, capture, path)
            cost = asdict(spent(lambda: mesh(job), threads))
        values = measured(Drawn.read(path), scene, capture, options.views)
        values |= {"bytes": path.stat().st_size, **cost}
    values |= {"capture": capture.name, "steps": scene.progress.step}
    print(append("mesh", resolved, threads, values))


def _job(folder: RunFolder, scene: TrainedScene, capture: Capture, path: Path) -> ExportJob:
    settings = ExportSettings(output=str(path))
    return ExportJob(
        run=folder,
        scene=scene,
        capture=capture,
        settings=settings,
        lights={},
        seed=0,
        progress=True,
    )


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A mesh in Mitsuba, and its texture."""

    scene: object
    texture: np.ndarray
    num_faces: int
    is_closed: bool

    @classmethod
    def read(cls, path: Path) -> "Drawn":
        """The one mesh of a GLB."""
        import mitsuba as mi
        import trimesh

        mi.set_variant(VARIANT)
        found = trimesh.load(path, force="mesh", process=False)
        bare = trimesh.Trimesh(found.vertices, found.faces, process=False)
        bare.merge_vertices(merge_tex=True, merge_norm=True)
        shape = mi.Mesh("mesh", len(found.vertices), len(found.faces), has_vertex_texcoords=True)
        numbers = mi.traverse(shape)
        numbers["vertex_positions"] = np.asarray(found.vertices, dtype=np.float32).ravel()
        numbers["faces"] = np.asarray(found.faces, dtype=np.uint32).ravel()
        numbers["vertex_texcoords"] = np.asarray(found.visual.uv, dtype=np.float32).ravel()
        numbers.update()
        picture = found.visual.material.baseColorTexture.convert("RGB")
        return cls(
            scene=mi.load_dict({"type": "scene", "mesh": shape}),
            texture=np.asarray(picture, dtype=np.float32) / 255,
            num_faces=len(found.faces),
            is_closed=bool(bare.is_watertight),
        )

    def seen(self, cameras: Cameras, index: int, behind: float) -> Tensor:
        """What a camera (in the world) sees of it, its texture between texels linear."""
        import mitsuba as mi

        rays = image_rays(cameras, index)
        place, way = (mi.Point3f, mi.Vector3f)
        origins = place(rays.origins.double().numpy().T.astype(np.float32))
        ways = way(rays.directions.double().numpy().T.astype(np.float32))
        hit = self.scene.ray_intersect(mi.Ray3f(origins, ways))  # type: ignore[attr-defined]
        uv = torch.from_numpy(np.array(hit.uv).T.copy())
        covered = torch.from_numpy(np.array(hit.is_valid()))
        grid = torch.stack([2 * uv[:, 0] - 1, 1 - 2 * uv[:, 1]], dim=1).view(1, 1, -1, 2)
        texture = torch.from_numpy(self.texture).permute(2, 0, 1)[None]
        color = torch.nn.functional.grid_sample(texture, grid, align_corners=False)[0, :, 0].T
        shape = (int(cameras.height[index]), int(cameras.width[index]))
        return color.where(covered[:, None], behind).view(*shape, 3)


def measured(
    drawn: Drawn, scene: TrainedScene, capture: Capture, num_views: int
) -> dict[str, float | int | str | bool]:
    """PSNR and SSIM of the mesh on test views, 8-bit over the run's background."""
    name = background_name("auto", trained=scene.record.background, has_opacity=capture.has_opacity)
    behind = background_color(name)
    fine = finer(capture.test.cameras)
    chosen = np.linspace(0, len(capture.test) - 1, min(num_views, len(capture.test)))
    rows, scores = [], []
    for number, index in enumerate(chosen.round().astype(int).tolist()):
        photo = metrics.over_background(capture.test.image(index), behind)
        color = drawn.seen(fine, index, behind[0])
        flat = torch.ones(color.shape[:2])
        picture = quantised(
            mean_of_blocks(Image(color=color, opacity=flat, distance=flat), SIDE).color
        )
        everywhere = torch.ones(photo.shape[:2], dtype=torch.bool)
        ssim = metrics.mean_over(metrics.ssim_map(picture, photo), everywhere)
        scores.append((metrics.psnr(picture, photo, everywhere), ssim))
        rows.append([capture.test.names[index], *(f"{score:.3f}" for score in scores[-1])])
        if number < 3:
            _keep(number, photo, picture)
    psnr, ssim = (fmean(column) for column in zip(*scores, strict=True))
    rows.append(["mean", f"{psnr:.3f}", f"{ssim:.3f}"])
    print_table(
        f"a mesh of {drawn.num_faces:,} triangles, on {name}", ["view", "PSNR", "SSIM"], rows
    )
    found = {"faces": drawn.num_faces, "closed": drawn.is_closed, "views": len(scores)}
    return {**found, "background": name, "psnr": psnr, "ssim": ssim}


def finer(cameras: Cameras) -> Cameras:
    """The cameras with `SIDE` pixels along each side of one of theirs."""
    return replace(
        cameras,
        focal_px=SIDE * cameras.focal_px,
        center_px=SIDE * cameras.center_px,
        width=SIDE * cameras.width,
        height=SIDE * cameras.height,
    )


def _keep(number: int, photo: Tensor, picture: Tensor) -> None:
    """A photo and the mesh side by side, to look at."""
    both = torch.cat([photo, picture], dim=1).float() / 255
    write_png(Path(__file__).parents[1] / "plots" / f"mesh_{number}.png", both)
