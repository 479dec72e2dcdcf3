"""nerfstudio's and instant-ngp's ``transforms.json``, with points beside it.

Keys: nerfstudio, docs/quickstart/data_conventions.md. Poses have OpenGL's camera axes (x right,
y up, z back) in the capture's own world; nothing is applied to it.
"""

import json
from pathlib import Path
from typing import Any

from neural_render.core.files import whole_file
from neural_render.export.cameras.lenses import transforms_lens, transforms_model
from neural_render.export.cameras.photographs import Photographs
from neural_render.export.cameras.place import TRANSFORMS


def write_transforms(
    folder: Path, photos: Photographs, ways: tuple[str, str], points_file: str
) -> tuple[Path, ...]:
    """The file in ``folder``, written; OutputError where it has no words for the lenses.

    ``ways`` lead from there to the photos' root and to that of their masks, ``points_file`` is the
    PLY beside it, or empty.
    """
    model = transforms_model(photos.cameras)
    lenses = [transforms_lens(photos.cameras, index) for index in range(len(photos.files))]
    alike = all(lens == lenses[0] for lens in lenses)
    names = [f"{ways[0]}/{file}" for file in photos.files]
    frames = []
    for index, (name, lens) in enumerate(zip(names, lenses, strict=True)):
        frame: dict[str, Any] = {"file_path": name}
        if all(photos.masks):  # nerfstudio wants them for all frames or for none
            frame["mask_path"] = f"{ways[1]}/{photos.masks[index]}"
        frame["transform_matrix"] = _matrix(photos, index)
        frames.append(frame if alike else {**frame, **_own(model, lens)})
    # To nerfstudio, what stands here outranks what a frame says.
    document: dict[str, Any] = {**model, **(lenses[0] if alike else {})}
    if points_file:
        document["ply_file_path"] = points_file
    test = names[photos.num_train :]
    if test:  # nerfstudio wants all three lists or none
        document["train_filenames"] = names[: photos.num_train]
        document["val_filenames"] = document["test_filenames"] = test
    document["frames"] = frames
    with whole_file(folder / TRANSFORMS) as temporary:
        temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
    return (folder / TRANSFORMS,)


def _own(model: dict[str, str | bool], lens: dict[str, float | int]) -> dict[str, Any]:
    """What a frame says of its lens: instant-ngp takes one without a flag for perspective."""
    return {**{key: value for key, value in model.items() if value is True}, **lens}


def _matrix(photos: Photographs, index: int) -> list[list[float]]:
    pose = photos.cameras.world_from_camera[index].double().clone()
    pose[:, 1:3] *= -1
    return [*pose.tolist(), [0.0, 0.0, 0.0, 1.0]]
