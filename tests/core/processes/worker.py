"""What two processes tell each other; each leaves what it heard in FOLDER/RANK.json."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from neural_render.core.errors import ProcessError
from neural_render.core.processes import group
from neural_render.core.processes.launch import joined


def hear(folder: Path) -> dict[str, Any]:
    """What this process hears of the other."""
    rank = group.place().rank
    heard: dict[str, Any] = {"rank": rank, "share": group.share([0, 1, 2, 3, 4])}
    mixed = torch.tensor([rank + 0.1], dtype=torch.double), torch.tensor([True, rank == 1, False])
    shaped = torch.full((2, 3), rank, dtype=torch.int32).T
    gathered = group.gathered(*mixed, torch.zeros(0), shaped, torch.tensor(rank))
    heard["gathered"] = [tensor.tolist() for tensor in gathered]
    heard["objects"] = group.gathered_objects({"name": f"process {rank}"})
    heard["of_first"] = group.of_first(lambda: f"made by {rank}")
    heard["tensor_of_first"] = group.tensor_of_first(torch.full((2, 2), rank).T).tolist()
    left = folder / "left"
    heard["after_first"] = group.after_first(lambda: left.exists() or left.write_text("found"))
    heard["pictures"] = [picture.flatten().tolist() for picture in group.in_turn(made(rank), 5)]
    try:
        group.of_first(fail)
    except (ProcessError, KeyError) as error:
        heard["failure"] = f"{type(error).__name__}: {error}"
    return heard


def fail() -> None:
    raise KeyError("a bug")


def made(rank: int) -> Iterator[torch.Tensor]:
    """Pictures of different sizes, with their numbers in them."""
    for number in group.share(range(5)):
        yield torch.full((1, 1 + number, 1), number, dtype=torch.uint8).expand(-1, -1, 3)


def main(folder: Path) -> None:
    """The second process ends without a word; the first one notices."""
    with joined():
        heard = hear(folder)
        path = folder / f"{group.place().rank}.json"
        path.write_text(json.dumps(heard))
        if not group.is_first():
            os.kill(os.getpid(), signal.SIGKILL)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, which would be quicker
        try:
            group.gathered_objects("anybody?")
        except ProcessError as error:
            path.write_text(json.dumps({**heard, "gone": str(error)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
