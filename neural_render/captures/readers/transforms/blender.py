"""The NeRF-synthetic format: ``transforms_train.json`` and ``transforms_test.json``."""

from pathlib import Path

from neural_render.captures.readers.image_files import is_file
from neural_render.captures.readers.json_values import read_json
from neural_render.captures.readers.listing import Listing
from neural_render.captures.readers.transforms.frames import read_photos, read_placement

NAME = "blender"
TRAIN_FILE = "transforms_train.json"
TEST_FILE = "transforms_test.json"


def missing_in(folder: Path) -> str:
    """What the folder lacks to be in this format; nothing where it is."""
    return "" if is_file(folder / TRAIN_FILE) else TRAIN_FILE


def read(folder: Path) -> Listing:
    """The photos that the two files list; ``transforms_val.json`` is not used."""
    train = read_json(folder / TRAIN_FILE)
    if not is_file(folder / TEST_FILE):
        return Listing(
            train=read_photos(train),
            placement=read_placement([train]),
            warnings=(
                f"{folder / TEST_FILE} is missing: some of the training photos are held out"
                " as test views instead",
            ),
        )
    test = read_json(folder / TEST_FILE)
    return Listing(
        train=read_photos(train),
        test=read_photos(test),
        split=f"{TRAIN_FILE} and {TEST_FILE}",
        placement=read_placement([train, test]),
    )
