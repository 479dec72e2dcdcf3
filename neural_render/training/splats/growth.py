"""Splats that hardly anybody sees move to where pictures are worst."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_render.training.runs.restore import TrainedScene
from neural_render.training.splats.parameters import SplatParameters
from neural_render.training.splats.surfaces import Places, flat_splats
from neural_render.training.splats.views import FieldViews

MOVED_EVERY = 100  # steps
MOVED_UNTIL = 0.7  # of all steps: what moved late would not find its shape
MOVED_SHARE = 0.03  # of all splats, at a time
LOOKED_AT = 16  # views in which places are looked for
MEMORY = 0.995  # of what a splat was seen as, from step to step
NEW_WIDTH = 1.4  # pixels that a moved splat's neighbours are taken to be apart


class Growth:
    """Which splats are seen, and the places that are still without one."""

    def __init__(self, places: Places, num_splats: int) -> None:
        """``places`` are those to move to."""
        self.places = places
        self.free = torch.ones(len(places), dtype=torch.bool)
        self.seen = torch.zeros(num_splats)

    def note(self, weights: Float[Tensor, " splats"]) -> None:
        """Takes in how much of a picture each splat was."""
        self.seen = torch.maximum(self.seen * MEMORY, weights)

    def move(
        self,
        scene: TrainedScene,
        views: FieldViews,
        parameters: SplatParameters,
        draw: Callable[[int], Float[Tensor, "height width 4"]],
        generator: torch.Generator,
    ) -> int:
        """Moves the least seen splats, in place; how many it were. ``draw`` draws a view."""
        to = self._worst(views, draw, int(MOVED_SHARE * len(parameters)), generator)
        if not len(to):
            return 0
        index = self.seen.argsort()[: len(to)]
        here = self.places[to]
        found = flat_splats(
            scene, here, NEW_WIDTH * here.size, num_harmonics=parameters.num_harmonics
        )
        parameters.replace(index, found, here.size)
        self.free[to] = False
        self.seen[index] = self.seen.max()  # they are given time to be seen
        return len(to)

    def _worst(
        self,
        views: FieldViews,
        draw: Callable[[int], Float[Tensor, "height width 4"]],
        count: int,
        generator: torch.Generator,
    ) -> Int[Tensor, " places"]:
        """Free places in some views, rather those whose pixels are far off."""
        chosen = torch.randperm(len(views), generator=generator)[:LOOKED_AT].tolist()
        found = []
        for view in chosen:
            here = (self.free & (self.places.view == view)).nonzero()[:, 0]
            error = (draw(view) - views.target(view)).square().sum(-1).flatten()
            likely = error[self.places.pixel[here]] + 1e-12
            number = min(len(here), -(-count // len(chosen)))
            if number:
                found.append(here[torch.multinomial(likely, number, generator=generator)])
        return torch.cat(found)[:count] if found else torch.zeros(0, dtype=torch.int64)
