"""Makes the embedded capture: photographs of our own scene, path-traced with Mitsuba.

    python scripts/make_capture.py                       # what is missing in data/cove
    python scripts/make_capture.py --redo                # all of it again
    python scripts/make_capture.py --size 160 --samples 36 --output draft

Writes the Blender/NeRF-synthetic layout: `transforms_train.json`, `transforms_test.json` and RGBA
WebP images (alpha is the diorama's coverage, colour is straight sRGB). Views that are already
there are kept, so a stopped run continues. Needs `pip install -e ".[bake]"`.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from PIL import Image
from studio.kept import check_poses, is_done
from studio.orbit import ORBITS, orbit_cameras, transforms, view_name
from studio.photograph import CaptureError, display_rgba, load_mitsuba, photograph, pinhole
from tqdm import tqdm

DATA = Path(__file__).resolve().parent.parent / "data"
SCENE = DATA / "scenes" / "cove"
FOV_DEG = 35.0
WEBP = {"format": "WEBP", "quality": 92, "method": 6, "alpha_quality": 100, "use_sharp_yuv": True}


def positive(text: str) -> int:
    """A whole number above zero."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above zero")
    return int(text)


def make_capture(args: argparse.Namespace) -> None:
    """Writes the two transforms files and renders what is missing."""
    counts, views = {"train": args.train, "test": args.test}, []
    orbits = {split: orbit_cameras(ORBITS[split], count) for split, count in counts.items()}
    for place, (split, matrices) in enumerate(orbits.items()):
        if not args.redo:
            check_poses(args.output, split, matrices)
        for index, matrix in enumerate(matrices):
            path = args.output / view_name(split, index)
            if args.redo or not is_done(path, args.size):
                views.append((path, matrix, 100_000 * place + 1_000 * index))
    mi = load_mitsuba() if views else None
    for path, _, _ in views:  # which a run that is stopped would keep under poses of others
        path.unlink(missing_ok=True)
    for split, matrices in orbits.items():
        (args.output / split).mkdir(parents=True, exist_ok=True)
        text = json.dumps(transforms(split, matrices, FOV_DEG), indent=1)
        (args.output / f"transforms_{split}.json").write_text(text + "\n", encoding="utf-8")
    if args.model:
        subprocess.run([sys.executable, str(SCENE / "model" / "build.py")], check=True)
    if mi is None:
        return
    scene = mi.load_file(str(SCENE / "scene.xml"))
    for path, matrix, seed in tqdm(views, desc="photographs", unit="view"):
        sensor = pinhole(mi, matrix, FOV_DEG, args.size)
        pixels = display_rgba(photograph(mi, scene, sensor, args.samples, seed))
        # A view is there whole or not at all, so that a stopped run continues.
        unfinished = path.with_suffix(".part")
        Image.fromarray(pixels).save(unfinished, **WEBP)
        os.replace(unfinished, path)


def main(arguments: list[str]) -> int:
    """Exit code 0, or 2 with one sentence on stderr."""
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--output", type=Path, default=DATA / "cove", help="folder to fill")
    parser.add_argument("--size", type=positive, default=400, help="pixels per side (400)")
    parser.add_argument("--samples", type=positive, default=180, help="paths per pixel (180)")
    parser.add_argument("--train", type=positive, default=72, help="number of training views (72)")
    parser.add_argument("--test", type=positive, default=10, help="number of test views (10)")
    parser.add_argument("--redo", action="store_true", help="render views that are there already")
    parser.add_argument("--model", action="store_true", help="model and paint the scene first")
    try:
        make_capture(parser.parse_args(arguments))
    except (CaptureError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
