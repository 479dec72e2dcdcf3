"""Every camera model of COLMAP: its rays and pixels are pycolmap's, both ways and by formula."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from neural_render.captures.loading.intrinsics import match_intrinsics
from neural_render.captures.readers.colmap import binary, text
from neural_render.captures.readers.colmap.lenses import (
    CAMERA_MODELS,
    calibration,
    model_name,
)
from neural_render.captures.readers.colmap.model import ModelCamera
from neural_render.captures.readers.listing import Photo
from neural_render.core.cameras import (
    Cameras,
    directions_in_camera,
    pixel_centers,
    project,
    rays_through_pixels,
)
from neural_render.core.errors import CaptureError

SIZE = (640, 480)
CENTER = (330.5, 231.25)
ONE, TWO = (400.0, *CENTER), (400.0, 380.0, *CENTER)
WIDE_ONE, WIDE_TWO = (260.0, *CENTER), (260.0, 250.0, *CENTER)
# Rows as real lenses have them; the sixteen numbers are those of an Aria's fisheye.
ARIA = (0.3836, -0.3474, -0.0855, 0.7243, -0.6954, 0.2042)
ARIA_SKEW = (6.48e-4, -2.94e-4, -5.95e-4, -5.6e-5, 4.65e-4, 3.4e-5)
PARAMETERS = {
    "SIMPLE_PINHOLE": ONE,
    "PINHOLE": TWO,
    "SIMPLE_RADIAL": (*ONE, -0.12),
    "RADIAL": (*ONE, -0.21, 0.05),
    "OPENCV": (*TWO, -0.28, 0.07, 0.001, -0.0007),
    "OPENCV_FISHEYE": (*WIDE_TWO, 0.03, -0.005, 0.002, -0.0004),
    "FULL_OPENCV": (*TWO, 1.2, 0.4, 0.0012, -0.0009, 0.02, 1.5, 0.7, 0.08),
    "FOV": (*WIDE_TWO, 0.92),
    "SIMPLE_RADIAL_FISHEYE": (*WIDE_ONE, 0.02),
    "RADIAL_FISHEYE": (*WIDE_ONE, 0.02, -0.004),
    "THIN_PRISM_FISHEYE": (*WIDE_TWO, 0.02, -0.01, 1e-3, -2e-3, 3e-3, -5e-4, 2e-3, -1e-3),
    "RAD_TAN_THIN_PRISM_FISHEYE": (*WIDE_TWO, *ARIA, *ARIA_SKEW),
    "SIMPLE_DIVISION": (*ONE, -0.25),
    "DIVISION": (*TWO, 0.15),
    "SIMPLE_FISHEYE": WIDE_ONE,
    "FISHEYE": WIDE_TWO,
    "EUCM": (*WIDE_TWO, 0.62, 1.1),
    "EQUIRECTANGULAR": (640.0, 480.0),
}


def make_camera(name: str, parameters: tuple[float, ...] = ()) -> Cameras:
    """A camera in the world's origin, as the reader and the loader make it, in double precision."""
    row = ModelCamera(
        model=name,
        size=SIZE,
        parameters=parameters or PARAMETERS[name],
        where="camera 1 of cameras.bin",
    )
    pose = np.eye(4)[:3]
    stated = calibration(row)
    photo = Photo(
        name="0",
        where="image 0",
        image=Path("0.png"),
        mask=None,
        world_from_camera=pose,
        calibration=stated,
    )
    found = match_intrinsics(photo, SIZE, SIZE)
    return Cameras(
        world_from_camera=torch.from_numpy(pose)[None],
        focal_px=torch.tensor([found.focal_px], dtype=torch.float64),
        center_px=torch.tensor([found.center_px], dtype=torch.float64),
        distortion=torch.tensor([stated.distortion], dtype=torch.float64),
        lens=torch.tensor([int(stated.lens)]),
        width=torch.tensor([SIZE[0]]),
        height=torch.tensor([SIZE[1]]),
    )


def index_of(rows: Tensor) -> Tensor:
    return torch.zeros(len(rows), dtype=torch.long)


def test_the_models_are_pycolmaps() -> None:
    pycolmap = pytest.importorskip("pycolmap")
    known = {name: int(model) for name, model in pycolmap.CameraModelId.__members__.items()}
    known.pop("INVALID", None)
    ours = {name: model.number for name, model in CAMERA_MODELS.items()}
    assert set(ours) == set(PARAMETERS)
    assert {name: ours.get(name) for name in known} == known


@pytest.mark.parametrize("kind", [".bin", ".txt"])
def test_files_that_pycolmap_wrote(kind: str, tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    names = [name for name in CAMERA_MODELS if name in pycolmap.CameraModelId.__members__]
    oracle = pycolmap.Reconstruction()
    for number, name in enumerate(names, start=1):
        width, height = SIZE
        oracle.add_camera(
            pycolmap.Camera(
                camera_id=number,
                model=name,
                width=width,
                height=height,
                params=list(PARAMETERS[name]),
            )
        )
    (oracle.write_binary if kind == ".bin" else oracle.write_text)(tmp_path)
    read_cameras = binary.read_cameras if kind == ".bin" else text.read_cameras
    found = read_cameras(tmp_path / f"cameras{kind}")
    assert [found[number].model for number in sorted(found)] == names
    for number, name in enumerate(names, start=1):
        assert found[number].parameters == pytest.approx(PARAMETERS[name], rel=1e-12)


@pytest.mark.parametrize("name", CAMERA_MODELS)
def test_rays_and_pixels_are_pycolmaps(name: str) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    if name not in pycolmap.CameraModelId.__members__:
        pytest.skip(f"pycolmap {pycolmap.__version__} does not know {name}")
    oracle = pycolmap.Camera(
        model=name, width=SIZE[0], height=SIZE[1], params=list(PARAMETERS[name])
    )
    cameras = make_camera(name)
    pixels = pixel_centers(cameras, 0)[::37]
    directions, _, valid = directions_in_camera(cameras, index_of(pixels), pixels)
    # pycolmap gives points of the plane z = 1, so nothing that is beside or behind a camera.
    front = valid & (directions[:, 2] > 0.02)
    assert front.float().mean() > 0.45
    points = 3 * directions[front]
    theirs = oracle.img_from_cam(points.numpy())
    assert np.allclose(theirs, pixels[front], atol=1e-7)
    assert np.allclose(project(cameras, index_of(points), points)[0], theirs, atol=1e-7)
    back = oracle.cam_from_img(pixels[front].numpy())
    # Their iteration is allowed to stop a little earlier, or where no solution is.
    found = np.isfinite(back).all(axis=1)
    assert found.mean() > 0.9
    plane = (directions[front, :2] / directions[front, 2:])[torch.from_numpy(found)]
    assert np.allclose(back[found], plane, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", CAMERA_MODELS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_project_inverts_rays(name: str, dtype: torch.dtype) -> None:
    double = make_camera(name)
    cameras = replace(
        double,
        world_from_camera=double.world_from_camera.to(dtype),
        focal_px=double.focal_px.to(dtype),
        center_px=double.center_px.to(dtype),
        distortion=double.distortion.to(dtype),
    )
    pixels = pixel_centers(cameras, 0)[::97]
    rays = rays_through_pixels(cameras, index_of(pixels), pixels)
    _, footprint, valid = directions_in_camera(cameras, index_of(pixels), pixels)
    assert valid.all() and bool((footprint > 0).all())
    found, _ = project(cameras, index_of(pixels), rays.origins + 2 * rays.directions)
    assert torch.allclose(found, pixels, atol=1e-7 if dtype == torch.float64 else 5e-3)


@pytest.mark.parametrize("name", CAMERA_MODELS)
def test_footprints_are_solid_angles(name: str) -> None:
    cameras = make_camera(name)
    pixels = pixel_centers(cameras, 0)[::997]
    half = 1e-3
    left, right, above, below = (
        directions_in_camera(cameras, index_of(pixels), pixels + torch.tensor(step))[0]
        for step in ((-half, 0.0), (half, 0.0), (0.0, -half), (0.0, half))
    )
    sides = (right - left) / (2 * half), (below - above) / (2 * half)
    solid_angle = torch.linalg.cross(*sides).norm(dim=-1)
    _, footprint, _ = directions_in_camera(cameras, index_of(pixels), pixels)
    assert torch.allclose(12 * footprint**2, solid_angle, rtol=1e-4)


@pytest.mark.parametrize("name", CAMERA_MODELS)
def test_rays_and_pixels_are_differentiable(name: str) -> None:
    cameras = make_camera(name)
    pixels = torch.tensor([[141.0, 97.5], [330.0, 240.0], [520.0, 381.5]], dtype=torch.float64)
    pixels[1] = cameras.center_px[0] + 1e-3

    def trace(focal: Tensor, center: Tensor, distortion: Tensor, at: Tensor) -> Tensor:
        moved = replace(cameras, focal_px=focal, center_px=center, distortion=distortion)
        return directions_in_camera(moved, index_of(at), at)[0]

    def see(focal: Tensor, center: Tensor, distortion: Tensor, at: Tensor) -> Tensor:
        moved = replace(cameras, focal_px=focal, center_px=center, distortion=distortion)
        return project(moved, index_of(at), at)[0]

    lens = (cameras.focal_px, cameras.center_px, cameras.distortion)
    for function, at in ((trace, pixels), (see, 2 * trace(*lens, pixels))):
        leaves = tuple(tensor.clone().requires_grad_() for tensor in (*lens, at))
        assert torch.autograd.gradcheck(function, leaves, eps=1e-6, atol=1e-5)
        # With coefficients that are not learnt the inverse may take a shorter way.
        leaves = (*leaves[:2], cameras.distortion, leaves[3])
        assert torch.autograd.gradcheck(function, leaves, eps=1e-6, atol=1e-5)


def test_different_lenses_in_one_set() -> None:
    alone = [make_camera(name) for name in CAMERA_MODELS]
    width = max(camera.distortion.shape[1] for camera in alone)

    def joined(name: str) -> Tensor:
        rows = [getattr(camera, name) for camera in alone]
        if name == "distortion":
            rows = [torch.nn.functional.pad(row, (0, width - row.shape[1])) for row in rows]
        return torch.cat(rows)

    together = Cameras(**{name: joined(name) for name in vars(alone[0])})
    pixels = torch.tensor([[41.0, 57.5], [602.0, 411.5]], dtype=torch.float64)
    index = torch.arange(len(alone)).repeat(2)
    at = pixels.repeat_interleave(len(alone), dim=0)
    directions, footprint, valid = directions_in_camera(together, index, at)
    seen, _ = project(together, index, 3 * directions)
    assert valid.all() and torch.allclose(seen, at, atol=1e-7)
    for row, camera in enumerate(index.tolist()):
        wanted = directions_in_camera(alone[camera], torch.tensor([0]), at[row : row + 1])
        assert torch.allclose(directions[row], wanted[0][0])
        assert torch.allclose(footprint[row], wanted[1][0])


@pytest.mark.parametrize(
    ("name", "parameters", "offset_px"),
    [
        ("FOV", (*WIDE_TWO, 0.92), 500.0),  # beyond the plane's infinity
        ("DIVISION", (*TWO, 1.0), 500.0),  # beyond the greatest angle
        ("EUCM", (*WIDE_TWO, 0.9, 1.5), 500.0),  # beyond the sphere's rim
        ("FISHEYE", WIDE_TWO, 900.0),  # beyond straight backwards
        (
            "FULL_OPENCV",
            (*TWO, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0),
            -9e4,
        ),  # beyond the denominator's zero
        ("EQUIRECTANGULAR", (640.0, 480.0), 400.0),  # beyond the sphere
    ],
)
def test_impossible_pixels_are_marked_and_finite(
    name: str, parameters: tuple[float, ...], offset_px: float
) -> None:
    cameras = make_camera(name, parameters)
    pixels = cameras.center_px + torch.tensor([[30.0, -20.0], [offset_px, 10.0]])
    directions, footprint, valid = directions_in_camera(cameras, index_of(pixels), pixels)
    assert valid.tolist() == [True, False]
    assert directions.isfinite().all() and footprint.isfinite().all()


@pytest.mark.parametrize("name", ["DIVISION", "EUCM", "FISHEYE", "EQUIRECTANGULAR"])
def test_what_lies_behind_a_camera_is_seen(name: str) -> None:
    wide = {"DIVISION": (200.0, 200.0, *CENTER, -0.6), "EUCM": (150.0, 150.0, *CENTER, 0.55, 1.1)}
    cameras = make_camera(name, wide.get(name, ()))
    pixels = torch.tensor([[1.5, 3.5]], dtype=torch.float64)
    if name == "FISHEYE":
        pixels -= 200
    directions, _, valid = directions_in_camera(cameras, index_of(pixels), pixels)
    seen, depth = project(cameras, index_of(pixels), 2 * directions)
    assert valid.all() and bool(depth < 0)
    assert torch.allclose(seen, pixels)


def test_an_equirectangular_image_by_hand() -> None:
    cameras = make_camera("EQUIRECTANGULAR")
    pixels = torch.tensor([[320.0, 240.0], [480.0, 240.0], [320.0, 0.0]], dtype=torch.float64)
    directions, _, _ = directions_in_camera(cameras, index_of(pixels), pixels)
    assert torch.allclose(directions, torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]).double())
    seen, _ = project(cameras, index_of(pixels), 5 * directions)
    assert torch.allclose(seen, pixels)


def test_a_number_of_a_newer_colmap() -> None:
    with pytest.raises(CaptureError) as caught:
        model_name(23, "camera 1 of cameras.bin")
    assert re.search("number 23, but those known here are 0 to 17: undistort", str(caught.value))
