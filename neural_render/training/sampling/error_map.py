"""Where the field is wrong: a map of the error over a source's regions, and rays drawn by it.

Legend: n_r the rays that region r holds (its pixels), N their sum, e_r the region's mean squared
error, c_r its cards in the deck, D all cards, s the share of rays that are drawn by the map.

A ray of region r is drawn with the density ``(1 - s) / N + s c_r / (D n_r)``, c_r / D being about
``e_r n_r / sum(e n)``: in proportion to the error, over a uniform floor, so that no region is
forgotten. The importance weight ``1 / (N density)`` takes the expectation back to that of uniform
rays (Owen and Zhou 2000, "Safe and effective importance sampling", section 2).

What moved between photos cannot be learnt, and what cannot be learnt is soon what is most wrong:
with ``transients`` a region whose error is beyond the limit m, ``OUTLIER`` times that which a share
``INLIERS`` of all rays stays below, counts for ``m / e_r`` only, in the loss and in the deck. It is
RobustNeRF's idea (Sabour et al. 2023: outliers of the residual, smooth in space), a region being
its neighbourhood, without its hard cut: a region that is only hard to learn is still learnt.
"""

import logging
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from neural_render.core.errors import SettingError
from neural_render.core.protocols import RaySource, has_regions
from neural_render.core.rays import RayBatch
from neural_render.training.settings import TrainingSettings

REFRESH_EVERY = 32  # steps between two shuffles of the deck
MEMORY = 0.95  # of what was seen before, at each shuffle: half is forgotten in 430 steps
CHOSEN_SHARE = 0.5  # of the rays, where the settings leave it open
INLIERS, OUTLIER = 0.9, 2.0
TRUSTED_STEPS = 320  # of a run, in which all is taken for learnable
PRIOR_RAYS = 1.0  # of average error in every region, so that what was never seen is looked at
MIN_CARDS = 1 << 14
SMALLEST_ERROR = 1e-12  # keeps the proportions of a perfect field defined
LARGEST_ERROR = 1e12  # and those of a field that has just diverged, which the loss will tell

_ANEW = (
    "where the photos are most wrong is found out anew: they have %s, since they are kept elsewhere"
    " than before (capture.memory), or are others"
)
_log = logging.getLogger("neural_render")


class ErrorMap:
    """The running mean of the squared error of every region, and a deck of regions drawn by it.

    The deck is dealt anew every ``REFRESH_EVERY`` steps: at a step, a random card is a random
    region at the price of one look-up, however many regions there are. Everything depends on what
    was observed alone, not on the number of threads.
    """

    def __init__(
        self,
        sizes: Int[Tensor, " regions"],
        share: float,
        unbiased: bool = False,
        transients: bool = False,
    ) -> None:
        """A map that has seen nothing; with ``share`` 0 it stays empty and draws uniformly.

        Batches that are to be ``unbiased`` carry the importance weights in their own. With
        ``transients`` they carry the regions' trust in theirs.
        """
        assert share == 0 or int(sizes.sum()) > 0, "no region holds a ray"
        self._share, self._unbiased = share, unbiased
        self._trust = torch.ones(len(sizes) if share > 0 and transients else 0, device=sizes.device)
        self._sizes = sizes if share > 0 else sizes[:0]
        self._errors, self._seen = torch.zeros(2, len(self._sizes), device=sizes.device).unbind()
        num_cards = max(MIN_CARDS, 1 << len(self._sizes).bit_length()) if share > 0 else 0
        self._deck = torch.zeros(num_cards, dtype=torch.int32, device=sizes.device)
        # n_r, and N / (D n_r), as floats: integers of every region are slow to convert each time.
        self._rays = self._sizes.float()
        self._per_card = float(sizes.sum()) / max(1, num_cards) / self._rays.clamp(min=1)
        if share > 0:
            self._deal(0.5)

    def num_chosen(self, num_rays: int) -> int:
        """How many of so many rays are drawn by the map; the rest is uniform."""
        return round(self._share * num_rays)

    def draw(
        self, source: RaySource, num_rays: int, generator: torch.Generator
    ) -> tuple[RayBatch, Int[Tensor, " known"]]:
        """A batch whose first ``num_chosen`` rays are drawn by the map, and the rays' regions.

        With a share of 0 it is the source's own batch, of no known regions.
        """
        if self._share == 0:
            batch = source.sample(num_rays, generator)
            return batch, batch.view[:0]
        assert has_regions(source)
        shape, device = (self.num_chosen(num_rays),), self._deck.device
        cards = torch.randint(len(self._deck), shape, generator=generator, device=device)
        regions = self._deck.index_select(0, cards).long()
        batch, regions = source.sample_regions(num_rays, regions, generator)
        if self._unbiased:
            batch = replace(batch, weights=batch.weights * self._importance(regions))
        if len(self._trust):
            trust = self._trust.index_select(0, regions)
            batch = replace(batch, weights=batch.weights * trust)
        return batch, regions

    def observe(self, regions: Int[Tensor, " known"], squared: Float[Tensor, " rays"]) -> None:
        """Takes in the squared errors of a batch's rays, if there is a map."""
        if self._share == 0:
            return
        squared = squared.nan_to_num(nan=LARGEST_ERROR).clamp(max=LARGEST_ERROR)
        self._errors.index_add_(0, regions, squared)
        self._seen.index_add_(0, regions, torch.ones_like(squared))

    def due(self, step: int) -> bool:
        """Whether the map is to be refreshed after ``step``."""
        return self._share > 0 and step % REFRESH_EVERY == 0

    def refresh(self, generator: torch.Generator, step: int = 0) -> None:
        """Deals a new deck by what was seen, and begins to forget that."""
        if len(self._trust) and step > TRUSTED_STEPS:
            self._trust = self._trusted()
        self._deal(float(torch.rand((), generator=generator, device=self._deck.device)))
        self._errors *= MEMORY
        self._seen *= MEMORY

    def mean_errors(self) -> Float[Tensor, " regions"]:
        """The running mean of each region's squared error; never 0."""
        errors, seen = (float(x.sum(dtype=torch.double)) for x in (self._errors, self._seen))
        overall = max(errors / seen, SMALLEST_ERROR) if seen > 0 else 1.0
        return (self._errors + PRIOR_RAYS * overall).div_(self._seen + PRIOR_RAYS)

    def state(self) -> dict[str, Tensor]:
        """All that a resumed run needs, by name, no copies; nothing where there is no map."""
        if self._share == 0:
            return {}
        trust = {"trust": self._trust} if len(self._trust) else {}
        return {"squared": self._errors, "seen": self._seen, "deck": self._deck} | trust

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Goes on from ``state``; from nothing if that is empty, or of other regions, as photos
        have that are kept elsewhere (in memory or on disk). ValueError if it is broken."""
        own = self.state()
        if not own or not state:
            return
        if "trust" not in state:  # the setting is new: all is trusted, as in a run that begins
            own.pop("trust", None)
        num_regions = len(self._sizes)
        if "squared" in state and (before := state["squared"].numel()) != num_regions:
            _log.warning(_ANEW, f"{num_regions} regions, not {before}")
            return
        for name, tensor in own.items():
            shape = list(state[name].shape) if name in state else None
            if shape != list(tensor.shape):
                raise ValueError(
                    f"it holds errors.{name} as {shape}, but {num_regions} regions ask for"
                    f" {list(tensor.shape)}"
                )
        deck = state["deck"].to(self._deck.device).long()
        if int(deck.min()) < 0 or int(deck.max()) >= num_regions:
            raise ValueError("errors.deck names regions that do not exist")
        if not bool((self._sizes[deck] > 0).all()):
            _log.warning(_ANEW, "regions of which nothing counts that did")
            return
        for name, tensor in own.items():
            tensor.copy_(state[name])
        self._weigh(torch.bincount(deck, minlength=num_regions))

    def _trusted(self) -> Float[Tensor, " regions"]:
        """How much each region counts."""
        errors = self.mean_errors()
        order = errors.argsort()
        below = self._rays[order].cumsum(0, dtype=torch.double)
        place = int((below <= INLIERS * below[-1]).sum())
        limit = OUTLIER * errors[order[min(place, len(order) - 1)]]
        return (limit / errors).clamp(max=1.0)

    def _importance(self, regions: Int[Tensor, " rays"]) -> Float[Tensor, " rays"]:
        """``1 / (N density)`` of a batch's rays, scaled to a mean of 1."""
        share = self.num_chosen(len(regions)) / max(1, len(regions))
        weights = 1 / (1 - share + share * self._density.index_select(0, regions))
        return weights / weights.mean()

    def _deal(self, offset: float) -> None:
        """Fills the deck: a systematic sample of the regions by their error, from ``offset``."""
        errors = self.mean_errors()
        if len(self._trust):
            errors = errors * self._trust
        shares = errors.mul_(self._rays).cumsum(0, dtype=torch.double)
        # The last is D exactly, because D is a power of two: the deck is always full.
        shares.div_(shares[-1].clone()).mul_(len(self._deck)).add_(min(offset, 0.999))
        counts = shares.long().diff(prepend=self._sizes.new_zeros(1))
        regions = torch.arange(len(counts), dtype=torch.int32, device=counts.device)
        self._deck = regions.repeat_interleave(counts, output_size=len(self._deck))
        self._weigh(counts)

    def _weigh(self, counts: Int[Tensor, " regions"]) -> None:
        """Sets N times the density of the map's rays, from the number of each region's cards."""
        self._density = counts.float().mul_(self._per_card)


def new_error_map(source: RaySource, settings: TrainingSettings) -> ErrorMap:
    """The map of a run that begins; SettingError if its source has no regions to tell apart."""
    share = settings.error_sampling
    if share < 0:
        share = CHOSEN_SHARE if has_regions(source) else 0.0
    if settings.transients and share == 0:
        raise SettingError(
            "training.transients=true finds what moved by the errors of regions, which"
            " training.error_sampling=0 does not keep: give it a share, such as 0.5."
        )
    if share == 0:
        return ErrorMap(torch.zeros(0, dtype=torch.long), 0.0)
    if not has_regions(source):
        raise SettingError(
            f"training.error_sampling={share} needs a source whose rays lie in regions, as those of"
            " photos do, and this one has none: set it to 0."
        )
    unbiased, transients = settings.error_sampling_unbiased, settings.transients
    return ErrorMap(source.region_sizes, share, unbiased, transients)
