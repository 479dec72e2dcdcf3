"""nerfstudio's and instant-ngp's ``transforms.json``, with points beside it.

Keys: nerfstudio, docs/quickstart/data_conventions.md. Poses have OpenGL's camera axes (x right,
y up, z back) in the capture's own world; nothing is applied to it.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from neural_render.core.files import whole_file
from neural_render.export.cameras.lenses import transforms_lens
from neural_render.export.cameras.photographs import Photographs
from neural_render.export.cameras.place import TRANSFORMS


def write_transforms(
    folder: Path, photos: Photographs, way: str, points_file: str
) -> tuple[Path, ...]:
    """The file in ``folder``, written.

    ``way`` leads from there to the photos' root, ``points_file`` is the PLY beside it, or empty.
    """
    lenses = [transforms_lens(photos.cameras, index) for index in range(len(photos.files))]
    common = Counter(json.dumps(lens) for lens in lenses).most_common(1)[0][0]
    shared: dict[str, Any] = json.loads(common)
    names = [f"{way}/{file}" for file in photos.files]
    frames = []
    for index, (name, lens) in enumerate(zip(names, lenses, strict=True)):
        own = {key: value for key, value in lens.items() if shared.get(key) != value}
        frames.append({"file_path": name, "transform_matrix": _matrix(photos, index), **own})
    document: dict[str, Any] = {**shared}
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


def _matrix(photos: Photographs, index: int) -> list[list[float]]:
    pose = photos.cameras.world_from_camera[index].double().clone()
    pose[:, 1:3] *= -1
    return [*pose.tolist(), [0.0, 0.0, 0.0, 1.0]]
