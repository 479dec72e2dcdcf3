"""Suite ``memory``: a capture larger than memory, trained under a cap on it, beside the same
capture in memory. Its photos are those of a small capture, enlarged, with noise as a camera's.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from benchmarks.options import BenchmarkOptions
from benchmarks.processes import ROOT, LeftOut, measures
from benchmarks.records import append, bar_plot, print_table, start
from neural_render.captures.opening import open_capture
from neural_render.captures.records import Views
from neural_render.captures.settings import CaptureSettings
from neural_render.core.errors import SettingError
from neural_render.evaluation.metrics import over_background

SECONDS = 60.0
ASPECT = 1.5
NOISE = 4.0  # of 255, standard deviation
QUALITY = 92
WATCH_EVERY = 0.05  # seconds between two looks at a process's memory
OPENED = ": format "  # in the line that says that all photos are there


def run(options: BenchmarkOptions) -> None:
    """Measures memory, speed and quality on disk (twice) and in memory; shows and records them."""
    if len(options.seconds) > 1:
        raise SettingError("suite=memory takes one number of seconds.")
    resolved, threads = start(options.backend, options.threads, options.precision)
    seconds = options.seconds[0] if options.seconds else SECONDS
    capture = open_capture(CaptureSettings(path=options.capture), progress=False)
    folder = Path(options.outputs) / f"photos_{capture.name}_{options.photos}x{options.width}"
    num_photos = write_photos(folder, capture.train, options)
    cap = int(options.gib * 2**30)
    words = [
        f"capture.path={folder.resolve()}",
        f"training.max_seconds={seconds:g}",
        f"kernels.backend={options.backend}",
        f"kernels.threads={threads}",
        f"kernels.precision={options.precision}",
        "evaluation.max_views=1",
    ]
    sides = {
        f"capped at {options.gib:g} GiB": (words, cap),
        "the same again": (words, cap),
        "in memory": ([*words, "capture.memory=ram"], 0),
    }
    found = {}
    for name, (given, limit) in sides.items():
        try:
            found[name] = train_watched(given, limit)
        except LeftOut as error:
            print(f"{name}: left out: {error}")
    if not found:
        return
    heads = ["", "until open", "anonymous GB", "mapped GB", "rays/s", "PSNR"]
    rows = [
        [
            name,
            f"{side['seconds_until_open']:.1f} s",
            f"{side['anonymous_gb']:.2f}",
            f"{side['mapped_gb']:.2f}",
            f"{side['rays_per_second']:.0f}",
            f"{side['psnr']:.2f}",
        ]
        for name, side in found.items()
    ]
    print_table(f"{num_photos} photos, {seconds:g} s of training", heads, rows)
    bar_plot("memory", "peak anonymous memory", _column(found, "anonymous_gb"), "GB")
    about = {"capture": capture.name, "photos": num_photos, "width": options.width}
    about |= {"gib": options.gib, "precision": options.precision, "seconds": seconds}
    print(append("memory", resolved, threads, {**about, "sides": found}))


def write_photos(folder: Path, views: Views, options: BenchmarkOptions) -> int:
    """Writes ``photos`` JPEGs, ``width`` pixels wide, to ``folder``; how many there are.

    No more than there are views. What is there stays.
    """
    width, height = options.width, round(options.width / ASPECT)
    folder.mkdir(parents=True, exist_ok=True)
    frames = []
    for index in tqdm(range(min(options.photos, len(views))), desc="photos", unit="image"):
        path = folder / f"{index:04}.jpg"
        matrix = views.cameras.world_from_camera[index].clone()
        matrix[:, 1:3] *= -1  # y up, z back
        enlarged = width / int(views.cameras.width[index])
        focal = float(views.cameras.focal_px[index, 0]) * enlarged
        frames.append(
            {"file_path": path.name, "transform_matrix": matrix.tolist(), "fl_x": focal}
            | {"w": width, "h": height, "cx": width / 2, "cy": height / 2}
        )
        if not path.exists():
            draft = path.with_suffix(".part")
            _enlarged(views, index, width, height).save(draft, "JPEG", quality=QUALITY)
            os.replace(draft, path)
    (folder / "transforms.json").write_text(json.dumps({"frames": frames}), encoding="utf-8")
    return len(frames)


def _enlarged(views: Views, index: int, width: int, height: int) -> Image.Image:
    """The middle of a photo over white, enlarged, with noise."""
    photo = Image.fromarray(over_background(views.image(index), (1.0, 1.0, 1.0)).numpy())
    rows = photo.width / ASPECT
    box = (0, (photo.height - rows) / 2, photo.width, (photo.height + rows) / 2)
    large = np.asarray(photo.resize((width, height), Image.Resampling.BICUBIC, box=box))
    tile = np.random.default_rng(index).normal(0, NOISE, (512, 512, 3)).astype(np.int16)
    noisy = np.empty_like(large)
    for top in range(0, height, 512):
        for left in range(0, width, 512):
            part = large[top : top + 512, left : left + 512]
            noise = tile[: part.shape[0], : part.shape[1]]
            noisy[top : top + 512, left : left + 512] = np.clip(part + noise, 0, 255)
    return Image.fromarray(noisy)


def train_watched(words: list[str], cap: int) -> dict[str, Any]:
    """What ``train.py`` with these settings took and reached; it may have ``cap`` bytes of data.

    The cap is the system's own on memory that no file stands behind (RLIMIT_DATA; 0: none).
    LeftOut, with its last words, if it fails.
    """
    with tempfile.TemporaryDirectory() as outputs, tempfile.TemporaryFile("w+") as errors:
        fixed = [f"outputs={outputs}", "name=memory", "render.output=none"]
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *fixed, *words, "training.tensorboard=false"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=_capped(cap) if cap else None,
        )
        peaks = {"RssAnon": 0.0, "RssFile": 0.0}
        watcher = threading.Thread(target=_watch, args=(process, peaks), daemon=True)
        watcher.start()
        assert process.stdout is not None, "it was asked for"
        lines, opened = [], 0.0
        for line in process.stdout:
            lines.append(line.strip())
            opened = opened or (time.perf_counter() - began if OPENED in line else 0.0)
        watcher.join()
        if process.wait() != 0:
            errors.seek(0)
            said = errors.read().strip().splitlines()
            raise LeftOut(said[-1] if said else f"it ended with {process.returncode}")
        record = measures(Path(lines[-1]))
    return {
        "plan": next((line for line in lines if " photos of " in line), ""),
        "seconds_until_open": opened,
        "anonymous_gb": peaks["RssAnon"] / 1e9,
        "mapped_gb": peaks["RssFile"] / 1e9,
        "rays_per_second": record["num_rays"] / record["train_seconds"],
        "psnr": record["psnr"],
    }


def _capped(cap: int) -> Callable[[], None]:
    """What a child does first: it limits itself."""
    import resource

    return lambda: resource.setrlimit(resource.RLIMIT_DATA, (cap, cap))


def _watch(process: "subprocess.Popen[str]", peaks: dict[str, float]) -> None:
    """Keeps the largest resident sizes of a process, in bytes, until it ends."""
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            for line in status.read_text().splitlines():
                name, _, rest = line.partition(":")
                if name in peaks:
                    peaks[name] = max(peaks[name], 1024.0 * float(rest.split()[0]))
        except OSError:  # it has just ended, or there is no /proc
            pass
        time.sleep(WATCH_EVERY)


def _column(found: dict[str, dict[str, Any]], name: str) -> dict[str, float]:
    return {side: values[name] for side, values in found.items()}
