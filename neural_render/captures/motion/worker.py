"""The process that COLMAP works in: one job on stdin, what happens as JSON lines on stdout.

A process of its own, because COLMAP's threads do not notice Ctrl-C, and its crashes are the whole
process's. The end of stdin, which is the end of the program that asked, ends it at once. Python's
``sqlite3`` must not be loaded here: two copies of SQLite in one process break each other's locks.
"""

import json
import os
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from neural_render.captures.motion.diagnosis import read_outcome

# Pairs that COLMAP matches before it saves them: what a kill loses, and how fine progress is told.
BLOCK_OF_PAIRS = 64
# From the pairs with most matches, and the points seen most often: enough for a median.
_JUDGED_PAIRS, _JUDGED_HOMOGRAPHIES, _JUDGED_POINTS = 40, 200, 500


def main() -> None:
    """Reads the job, does it, tells what was found."""
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_asker, daemon=True).start()
    import pycolmap

    pycolmap.logging.logtostderr = True
    pycolmap.logging.minloglevel = int(pycolmap.logging.Level.WARNING)
    pycolmap.set_random_seed(0)
    _write_cameras(job)
    _extract(job)
    _match(job)
    found = _statistics(job)
    # What shows no depth must not be placed for minutes, or even wrongly.
    hopeless = read_outcome({**found, "models": []}).only_turned
    models = [] if hopeless else _reconstruct(job)
    _tell(event="done", version=pycolmap.__version__, **found, models=models)


def _extract(job: dict[str, Any]) -> None:
    """Finds the features of photos that have none yet."""
    import pycolmap

    options = pycolmap.FeatureExtractionOptions()
    options.max_image_size = job["max_side"]
    options.num_threads = job["threads"]
    options.use_gpu = False
    options.sift.max_num_features = job["max_features"]
    _tell(event="progress", stage="features", done=0, of=len(job["names"]))
    for number, camera in enumerate(job["cameras"], start=1):
        reading = pycolmap.ImageReaderOptions()
        reading.existing_camera_id = number
        pycolmap.extract_features(
            job["database"],
            job["images"],
            image_names=camera["names"],
            reader_options=reading,
            extraction_options=options,
            device=pycolmap.Device.cpu,
        )


def _match(job: dict[str, Any]) -> None:
    """Matches and verifies the pairs that were not matched yet."""
    import pycolmap

    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads = job["threads"]
    matching.use_gpu = False
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = 0
    _tell(event="progress", stage="pairs", done=0, of=len(job["pairs"]))
    database, device = job["database"], pycolmap.Device.cpu
    names = job["names"]
    if any(character.isspace() for name in names for character in name):
        # COLMAP's list of pairs cannot hold such names.
        if job["matching"] == "sequential":
            sequence = pycolmap.SequentialPairingOptions()
            pycolmap.match_sequential(database, matching, sequence, verification, device)
        else:
            block = pycolmap.ExhaustivePairingOptions()
            pycolmap.match_exhaustive(database, matching, block, verification, device)
        return
    pairing = pycolmap.ImportedPairingOptions()
    pairing.block_size = BLOCK_OF_PAIRS
    pairing.match_list_path = Path(database).with_name("pairs.txt")
    lines = [f"{names[first]} {names[second]}\n" for first, second in job["pairs"]]
    pairing.match_list_path.write_text("".join(lines), encoding="utf-8")
    pycolmap.match_image_pairs(database, matching, pairing, verification, device)


def _reconstruct(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Writes the largest model; what all of them hold, the largest first."""
    import pycolmap

    folder, total = Path(job["model"]), len(job["names"])
    folder.mkdir(parents=True, exist_ok=True)
    if job["mapper"] == "global":
        _tell(event="progress", stage="placed", done=0, of=total)
        options = pycolmap.GlobalPipelineOptions()
        options.num_threads, options.random_seed, options.min_model_size = job["threads"], 0, 3
        pycolmap.calibrate_view_graph(job["database"])
        found = pycolmap.global_mapping(job["database"], job["images"], folder, options)
    else:
        found = _map_incrementally(job, folder, total)
    models = sorted(found.values(), key=lambda model: -model.num_reg_images())
    if models:
        (folder / "0").mkdir(exist_ok=True)
        models[0].write_binary(folder / "0")
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "0":
            for file in entry.iterdir():
                file.unlink()
            entry.rmdir()
    return [_facts(model) for model in models]


def _map_incrementally(job: dict[str, Any], folder: Path, total: int) -> dict[int, Any]:
    """COLMAP's models, photo by photo."""
    import pycolmap

    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads, options.random_seed, options.min_model_size = job["threads"], 0, 3
    options.mapper.random_seed = options.triangulation.random_seed = 0
    placed = 0

    def tell(more: int) -> None:
        nonlocal placed
        placed = min(total, placed + more)
        _tell(event="progress", stage="placed", done=placed, of=total)

    tell(0)
    return pycolmap.incremental_mapping(
        job["database"],
        job["images"],
        folder,
        options,
        initial_image_pair_callback=lambda: tell(2),
        next_image_callback=lambda: tell(1),
    )


def _facts(model: Any) -> dict[str, Any]:
    """What is said of a model."""
    return {
        "photos": sorted(model.image(number).name for number in model.reg_image_ids()),
        "points": model.num_points3D(),
        "error_px": model.compute_mean_reprojection_error(),
        "angle_deg": _median_angle(model),
        "focal_px": [camera.mean_focal_length() for camera in model.cameras.values()],
    }


def _median_angle(model: Any) -> float:
    """The median over points of the largest angle between the rays that show them, in degrees."""
    centers = {n: model.image(n).projection_center() for n in model.reg_image_ids()}
    points = sorted(model.points3D.items(), key=lambda item: (-item[1].track.length(), item[0]))
    angles = []
    for _, point in points[:_JUDGED_POINTS]:
        rays = np.array([point.xyz - centers[e.image_id] for e in point.track.elements])
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        angles.append(np.degrees(np.arccos(np.clip(rays @ rays.T, -1, 1).min())))
    return float(np.median(angles)) if angles else 0.0


def _write_cameras(job: dict[str, Any]) -> None:
    """Numbers the cameras from 1, those that are not there yet."""
    import pycolmap

    with closing(pycolmap.Database.open(job["database"])) as database:
        for number, stated in enumerate(job["cameras"], start=1):
            if database.exists_camera(number):
                continue
            camera = pycolmap.Camera.create_from_model_name(
                number, stated["model"], stated["focal_px"], stated["width"], stated["height"]
            )
            camera.has_prior_focal_length = stated["known_focal"]
            database.write_camera(camera, use_camera_id=True)


def _statistics(job: dict[str, Any]) -> dict[str, Any]:
    """Features of each photo, and of each verified pair its kind and angle."""
    import pycolmap

    with closing(pycolmap.Database.open(job["database"])) as database:
        images = {image.image_id: image for image in database.read_all_images()}
        features = {
            image.name: database.num_keypoints_for_image(number) for number, image in images.items()
        }
        ids, geometries = database.read_two_view_geometries()
        found = sorted(
            zip(ids, geometries, strict=True), key=lambda item: -len(item[1].inlier_matches)
        )
        verified = [(pair, geometry) for pair, geometry in found if len(geometry.inlier_matches)]
        every = 1 + len(verified) // _JUDGED_HOMOGRAPHIES
        pairs = [
            {
                "photos": [images[n].name for n in pycolmap.pair_id_to_image_pair(pair)],
                "kind": pycolmap.TwoViewGeometryConfiguration(int(geometry.config)).name,
                "homography": [] if rank % every else _homography(database, images, pair, geometry),
                "angle_deg": _angle(database, images, pair, geometry)
                if rank < _JUDGED_PAIRS
                else None,
            }
            for rank, (pair, geometry) in enumerate(verified)
        ]
    return {"features": features, "pairs": pairs}


def _homography(
    database: Any, images: dict[int, Any], pair: int, geometry: Any
) -> list[list[float]]:
    """The map of a pair that one homography explains, between coordinates whose origin is the
    middle of the image and whose unit its longer side; nothing for other pairs."""
    import pycolmap

    if geometry.H is None or geometry.config not in map(int, _flat_kinds()):
        return []
    from_pixels = []
    for number in pycolmap.pair_id_to_image_pair(pair):
        camera = database.read_camera(images[number].camera_id)
        side, x, y = max(camera.width, camera.height), camera.width / 2, camera.height / 2
        from_pixels.append(np.array([[1, 0, -x], [0, 1, -y], [0, 0, side]]) / side)
    return (from_pixels[1] @ geometry.H @ np.linalg.inv(from_pixels[0])).tolist()


def _flat_kinds() -> list[Any]:
    """COLMAP's kinds of pairs that one homography explains."""
    import pycolmap

    kinds = pycolmap.TwoViewGeometryConfiguration
    return [kinds.PLANAR, kinds.PANORAMIC, kinds.PLANAR_OR_PANORAMIC]


def _angle(database: Any, images: dict[int, Any], pair: int, geometry: Any) -> float | None:
    """The median angle in degrees at which a pair's photos see what both show."""
    import pycolmap

    sides: list[Any] = []
    for number in pycolmap.pair_id_to_image_pair(pair):
        camera = database.read_camera(images[number].camera_id)
        sides += [camera, database.read_keypoints(number)[:, :2].astype(np.float64)]
    if not pycolmap.estimate_two_view_geometry_pose(
        sides[0], sides[1], sides[2], sides[3], geometry
    ):
        return None
    return float(np.degrees(geometry.tri_angle))


def _tell(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _end_with_the_asker() -> None:
    """Ends this process when nobody listens any more, in whatever COLMAP is."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
