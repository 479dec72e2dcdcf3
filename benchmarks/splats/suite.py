"""Suite ``splats``: a run's splats, drawn by a second rasteriser, beside its test photos."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from benchmarks import records
from benchmarks.options import BenchmarkOptions
from benchmarks.records import append, print_table, spent, start
from benchmarks.splats.rasteriser import Pinhole, draw, read_gaussians
from neural_render.captures.opening import open_capture
from neural_render.captures.records import Capture
from neural_render.config.composition import load_settings
from neural_render.core.cameras import Cameras, Lens
from neural_render.core.color import quantised
from neural_render.core.errors import SettingError
from neural_render.evaluation import metrics
from neural_render.evaluation.evaluate import spread
from neural_render.evaluation.pictures import write_panel
from neural_render.evaluation.protocol import background_color, background_name
from neural_render.export.formats import ExportSettings
from neural_render.training.films.shooting import scene_renders
from neural_render.training.runs.folder import RunFolder
from neural_render.training.runs.restore import TrainedScene, load_for_rendering
from neural_render.training.splats.fitting import export_splats

PANELS = 3  # pictures that are kept, of views spread over the split


def run(options: BenchmarkOptions) -> None:
    """Measures ``file``, or splats that are fitted now, on ``views`` test views; records that."""
    resolved, threads = start(options.backend, options.threads, options.precision)
    folder = RunFolder.open(Path(options.run))
    scene = load_for_rendering(folder, torch.device("cpu"))
    if scene.record.color_space != "srgb":
        raise SettingError("suite=splats compares with photos: give the run of a capture.")
    capture = open_capture(load_settings(folder.config_path).capture, progress=False)
    cost: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(options.file)
        if not options.file:
            path = Path(scratch) / "splats.ply"
            cost = fitted(scene, capture, path, threads)
        figures = measured(scene, capture, path, options)
        size = path.stat().st_size
    values = {"capture": capture.name, "steps": scene.progress.step, **figures, **cost}
    print(append("splats", resolved, threads, {**values, "bytes": size}))


def fitted(scene: TrainedScene, capture: Capture, path: Path, threads: int) -> dict[str, float]:
    """The seconds that a fit with the default settings took; its file is at ``path``."""

    def fit() -> None:
        export_splats(scene, capture, ExportSettings(), {}, path, progress=True)

    cost = asdict(spent(fit, threads))
    print(f"fitted in {cost['wall']:.0f} s ({cost['cpu']:.0f} s of CPU / threads)")
    return cost


def measured(
    scene: TrainedScene, capture: Capture, path: Path, options: BenchmarkOptions
) -> dict[str, float | int | str]:
    """PSNR and SSIM of splats and field on test views, 8-bit over the run's background."""
    gaussians = read_gaussians(path)
    name = background_name("auto", trained=scene.record.background, has_opacity=capture.has_opacity)
    behind = background_color(name)
    cameras, views = capture.test.cameras, spread(len(capture.test), options.views)
    render = scene_renders(scene, cameras, behind, torch.zeros(0))
    rows, scores = [], []
    for number, index in enumerate(views):
        photo = metrics.over_background(capture.test.image(index), behind)
        drawn = quantised(torch.from_numpy(draw(gaussians, pinhole(cameras, index), behind[0])))
        field = quantised(render(index).color)
        scores.append([*compared(drawn, photo), *compared(field, photo), compared(drawn, field)[0]])
        label = capture.test.names[index]
        rows.append([label, *(f"{score:.3f}" for score in scores[-1])])
        if number % max(1, len(views) // PANELS) == 0:
            keep_panel(label, photo, drawn, scores[-1][0])
    means = [fmean(column) for column in zip(*scores, strict=True)]
    heads = ["view", "splats", "SSIM", "field", "SSIM", "splats to field"]
    rows.append(["mean", *(f"{mean:.3f}" for mean in means)])
    print_table(f"PSNR of {len(gaussians.xyz):,} splats, on {name}", heads, rows)
    keys = ("psnr", "ssim", "field_psnr", "field_ssim", "psnr_to_field")
    found = {"splats": len(gaussians.xyz), "views": len(views), "background": name}
    return {**found, **dict(zip(keys, means, strict=True))}


def pinhole(cameras: Cameras, index: int) -> Pinhole:
    """A test camera as the second rasteriser takes it; SettingError for a lens that bends."""
    bent = bool(cameras.distortion[index].any()) or int(cameras.lens[index]) != Lens.PERSPECTIVE
    if bent:
        raise SettingError("suite=splats draws pinhole cameras: this capture's lens is none.")
    focal, center = cameras.focal_px[index].tolist(), cameras.center_px[index].tolist()
    return Pinhole(
        world_from_camera=cameras.world_from_camera[index].double().numpy(),
        focal=(focal[0], focal[1]),
        center=(center[0], center[1]),
        width=int(cameras.width[index]),
        height=int(cameras.height[index]),
    )


def compared(
    render: UInt8[Tensor, "height width 3"], photo: UInt8[Tensor, "height width 3"]
) -> tuple[float, float]:
    """PSNR and SSIM."""
    everywhere = torch.ones(photo.shape[:2], dtype=torch.bool)
    ssim = metrics.mean_over(metrics.ssim_map(render, photo), everywhere)
    return metrics.psnr(render, photo, everywhere), ssim


def keep_panel(
    name: str,
    photo: UInt8[Tensor, "height width 3"],
    drawn: UInt8[Tensor, "height width 3"],
    psnr: float,
) -> None:
    """Writes the photo, the splats and where they differ into ``plots/``."""
    error: Float[Tensor, "height width"] = metrics.flip_map(drawn, photo)
    path = (
        records.ROOT
        / "benchmarks"
        / "plots"
        / f"splats_{name.replace('/', '_').removesuffix('.png')}.png"
    )
    captions = ("photo", f"splats  {psnr:.2f} dB", f"FLIP  {float(error.mean()):.3f}")
    write_panel(path, photo, drawn, error, captions=captions, error_scale=0.5)
    print(path)
