"""The error map: rays go where the error is, nothing is forgotten, and weights undo it all."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from neural_render.captures.opening import open_capture
from neural_render.captures.photos import PhotoSource
from neural_render.captures.settings import CaptureSettings
from neural_render.core.rays import RayBatch, Rays
from neural_render.training.sampling import error_map
from neural_render.training.sampling.error_map import REFRESH_EVERY, ErrorMap, new_error_map
from tests.tiny_capture import write_blender_capture
from tests.training.problems import settings_for

SIZES = torch.tensor([10, 20, 0, 30, 40])


class Regions:
    """A source whose rays are nothing but their regions."""

    num_channels = 3
    has_opacity = False
    frame = SimpleNamespace()
    region_sizes = SIZES

    def sample(self, num_rays: int, generator: torch.Generator) -> RayBatch:
        """Rays of no meaning."""
        ones, rows = torch.ones(num_rays), torch.zeros(num_rays, 3)
        return RayBatch(
            rays=Rays(origins=rows, directions=rows, footprint=ones),
            targets=rows,
            opacity=ones,
            weights=ones,
            view=torch.zeros(num_rays, dtype=torch.long),
            distance=torch.zeros(num_rays),
            normals=rows,
            conditions=torch.zeros(num_rays, 0),
        )

    def sample_regions(
        self, num_rays: int, regions: torch.Tensor, generator: torch.Generator
    ) -> tuple[RayBatch, torch.Tensor]:
        """The regions, then others in proportion to their sizes."""
        ends, missing = SIZES.cumsum(0), num_rays - len(regions)
        pixels = torch.randint(int(ends[-1]), (missing,), generator=generator)
        others = torch.searchsorted(ends, pixels, right=True)
        return self.sample(num_rays, generator), torch.cat([regions, others])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def show(errors: ErrorMap, of_region: list[float], rays: int = 1000) -> None:
    """Every region with rays is seen so often, its rays wrong by this much in each channel."""
    regions = torch.arange(5).repeat(rays)
    regions = regions[SIZES[regions] > 0]
    errors.observe(regions, torch.tensor(of_region)[regions])


def shares(errors: ErrorMap, num_rays: int = 200_000) -> torch.Tensor:
    """How the rays of a large batch fall on the regions."""
    _, regions = errors.draw(Regions(), num_rays, seeded(1))
    return torch.bincount(regions, minlength=5).double() / num_rays


def test_a_map_that_saw_nothing_draws_uniformly() -> None:
    assert shares(ErrorMap(SIZES, 0.5)).tolist() == pytest.approx((SIZES / 100).tolist(), abs=5e-3)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.95])
def test_a_share_of_the_rays_goes_where_the_error_is(share: float) -> None:
    errors = ErrorMap(SIZES, share)
    show(errors, [0.4, 0.0, 9.0, 0.1, 0.0])
    errors.refresh(seeded())
    by_error = torch.tensor([0.4 * 10, 0, 0, 0.1 * 30, 0]) / 7
    wanted = share * by_error + (1 - share) * SIZES / 100
    assert shares(errors).tolist() == pytest.approx(wanted.tolist(), abs=6e-3)
    assert shares(errors)[2] == 0


def test_the_mean_is_that_of_the_rays_and_the_past_fades() -> None:
    errors = ErrorMap(SIZES, 0.5)
    show(errors, [0.4, 0.2, 0.0, 0.1, 0.3])
    found = errors.mean_errors()
    assert found[[0, 1, 3, 4]].tolist() == pytest.approx([0.4, 0.2, 0.1, 0.3], rel=0.01)
    assert float(found[2]) == pytest.approx(0.25, rel=1e-5)  # never seen: the average
    errors.refresh(seeded())
    show(errors, [0.0, 0.2, 0.0, 0.1, 0.3], rays=950)
    assert float(errors.mean_errors()[0]) == pytest.approx(0.2, rel=0.01)
    for _ in range(200):
        errors.refresh(seeded())
    show(errors, [0.3, 0.0, 0.0, 0.1, 0.3])
    assert float(errors.mean_errors()[0]) == pytest.approx(0.3, rel=0.01)


@pytest.mark.parametrize("of_all", [0.0, 1e30, torch.nan, torch.inf])
def test_perfect_and_diverged_fields_are_drawn_uniformly(of_all: float) -> None:
    errors = ErrorMap(SIZES, 0.9)
    show(errors, [of_all] * 5)
    errors.refresh(seeded())
    assert shares(errors).tolist() == pytest.approx((SIZES / 100).tolist(), abs=5e-3)


def test_weights_undo_the_choice() -> None:
    """The weighted mean of any function of the region is its mean over uniform rays."""
    errors = ErrorMap(SIZES, 0.7, unbiased=True)
    show(errors, [0.4, 0.01, 0.0, 0.1, 0.02])
    errors.refresh(seeded())
    batch, regions = errors.draw(Regions(), 400_000, seeded(2))
    assert float(batch.weights.mean()) == pytest.approx(1, abs=1e-5)
    weighed = torch.zeros(5).index_add(0, regions, batch.weights) / 400_000
    assert weighed.tolist() == pytest.approx((SIZES / 100).tolist(), abs=3e-3)
    biased, again = ErrorMap(SIZES, 0.7).draw(Regions(), 1000, seeded(2))
    assert (biased.weights == 1).all() and len(again) == 1000
    assert float(batch.weights.max()) < 1 / (1 - 0.7) * 1.01


def test_regions_of_less_than_a_card_come_in_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more regions than cards, each deal takes others; over many deals all come."""
    monkeypatch.setattr(error_map, "MIN_CARDS", 16)
    sizes = torch.ones(1000, dtype=torch.long)
    errors = ErrorMap(sizes, 0.5)
    errors._deck = errors._deck[:256]
    counts = torch.zeros(1000)
    for seed in range(400):
        errors.refresh(seeded(seed))
        counts += torch.bincount(errors._deck, minlength=1000)
    assert len(errors._deck) == 256
    assert counts.mean() == pytest.approx(102.4)
    assert counts.min() > 60 and counts.max() < 150


def test_a_share_of_0_is_the_source_itself() -> None:
    errors = ErrorMap(SIZES, 0.0)
    batch, regions = errors.draw(Regions(), 100, seeded())
    assert len(batch.rays) == 100 and not len(regions)
    show(errors, [1.0] * 5)
    assert errors.num_chosen(100) == 0 and errors.state() == {}
    assert not any(errors.due(step) for step in range(1, 100))


def test_no_regions_lie_where_the_rays_lie() -> None:
    """Processes exchange both in one message."""

    class Elsewhere(Regions):
        def sample(self, num_rays: int, generator: torch.Generator) -> RayBatch:
            batch = super().sample(num_rays, generator)
            return replace(batch, view=batch.view.to("meta"))

    errors = new_error_map(Elsewhere(), settings_for(5, error_sampling=0.0))
    _, regions = errors.draw(Elsewhere(), 10, seeded())
    assert regions.device.type == "meta" and regions.shape == (0,)


def test_a_map_goes_on_from_its_state_exactly() -> None:
    first, second = ErrorMap(SIZES, 0.6, unbiased=True), ErrorMap(SIZES, 0.6, unbiased=True)
    show(first, [0.4, 0.2, 0.0, 0.1, 0.3])
    first.refresh(seeded(5))
    show(first, [0.3, 0.1, 0.0, 0.1, 0.3], rays=7)
    second.load_state({name: tensor.clone() for name, tensor in first.state().items()})
    for seed in (6, 7):
        (mine, my_regions), (theirs, their_regions) = (
            errors.draw(Regions(), 500, seeded(seed)) for errors in (first, second)
        )
        assert torch.equal(my_regions, their_regions)
        assert torch.equal(mine.weights, theirs.weights)
        for errors in (first, second):
            errors.refresh(seeded(seed))
    assert torch.equal(first.mean_errors(), second.mean_errors())
    assert [step for step in range(1, 100) if first.due(step)] == [
        REFRESH_EVERY,
        2 * REFRESH_EVERY,
        3 * REFRESH_EVERY,
    ]


def test_the_number_of_threads_changes_nothing() -> None:
    sizes = torch.randint(0, 300, (90_000,), generator=seeded())
    regions = torch.randint(90_000, (20_000,), generator=seeded(1))
    squared = torch.rand(20_000, generator=seeded(2))
    before, decks = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        errors = ErrorMap(sizes, 0.5)
        errors.observe(regions, squared)
        errors.refresh(seeded(3))
        decks.append(errors._deck)
    torch.set_num_threads(before)
    assert torch.equal(*decks)
    assert (sizes[decks[0].long()] > 0).all()


def test_photos_are_looked_at_where_they_are_wrong(tmp_path: Path) -> None:
    """A field that is empty is wrong on the ball alone: there the rays go, evenly, and no less
    than before to where it is right than the floor says."""
    folder = write_blender_capture(tmp_path, num_train=4, num_test=1, size=32)
    capture = open_capture(CaptureSettings(path=str(folder)), progress=False)
    source = PhotoSource(capture)
    errors = ErrorMap(source.region_sizes, 0.5)
    before, _ = errors.draw(source, 20_000, seeded())
    for step in range(1, REFRESH_EVERY + 1):
        batch, regions = errors.draw(source, 2000, seeded(step))
        targets = batch.targets * batch.opacity[:, None]
        errors.observe(regions, targets.square().mean(1))
    errors.refresh(seeded())
    after, regions = errors.draw(source, 20_000, seeded())
    share_before = float((before.opacity > 0).double().mean())
    share_after = float((after.opacity > 0).double().mean())
    assert share_after == pytest.approx(0.5 + 0.5 * share_before, abs=0.02)
    assert share_after > share_before + 0.2
    # Of the blocks (here pixels) on the ball those with the larger error get more.
    mean = errors.mean_errors()
    counts = torch.bincount(regions, minlength=len(mean))
    wrong = mean > mean[mean > mean.mean()].median()
    right = (mean > mean.mean() * 0.1) & ~wrong
    assert counts[wrong].double().mean() > 1.5 * counts[right].double().mean()


def test_a_broken_state_is_refused() -> None:
    state = ErrorMap(SIZES, 0.5).state()
    with pytest.raises(ValueError, match=r"errors\.deck as None, .* ask for \[16384\]"):
        ErrorMap(SIZES, 0.5).load_state({name: state[name] for name in ("squared", "seen")})
    with pytest.raises(ValueError, match=r"errors\.squared as None"):
        ErrorMap(SIZES, 0.5).load_state({"deck": state["deck"]})
    with pytest.raises(ValueError, match=r"errors\.seen as \[4\]"):
        ErrorMap(SIZES, 0.5).load_state(state | {"seen": state["seen"][:4]})
    with pytest.raises(ValueError, match="regions that do not exist"):
        ErrorMap(SIZES, 0.5).load_state(state | {"deck": state["deck"] + 1})


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        (SIZES[:4], "4 regions, not 5"),
        (torch.tensor([10, 0, 0, 30, 40]), "of which nothing counts"),
    ],
)
def test_where_photos_lie_in_other_regions_a_map_begins_anew(
    sizes: torch.Tensor, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Kept elsewhere, photos are cut otherwise; of a window masks hide other regions."""
    before = ErrorMap(SIZES, 0.5)
    show(before, [0.4, 0.2, 0.0, 0.1, 0.3])
    before.refresh(seeded())
    fresh, loaded = ErrorMap(sizes, 0.5), ErrorMap(sizes, 0.5)
    loaded.load_state(before.state())
    for name, tensor in fresh.state().items():
        assert torch.equal(tensor, loaded.state()[name]), name
    assert caplog.text.count("anew") == 1 and reason in caplog.text


def test_what_stays_most_wrong_counts_for_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the loss and in the deck; by no more than it is beyond the others, and not at first."""
    monkeypatch.setattr(error_map, "INLIERS", 0.8)
    plain, robust = (ErrorMap(SIZES, 0.5, transients=moving) for moving in (False, True))
    for errors in (plain, robust):
        show(errors, [0.5, 0.01, 9.0, 0.01, 0.02])
        errors.refresh(seeded(1), step=32)
    first, _ = robust.draw(Regions(), 2000, seeded())
    assert (first.weights == 1).all() and "trust" not in plain.state()
    for errors in (plain, robust):
        errors.refresh(seeded(1), step=640)
    batch, regions = robust.draw(Regions(), 2000, seeded())
    expected = torch.where(regions == 0, 2 * 0.02 / 0.5, 1.0)
    assert torch.allclose(batch.weights, expected, rtol=1e-2)
    shares = [
        float((errors.draw(Regions(), 2000, seeded())[1][:1000] == 0).float().mean())
        for errors in (plain, robust)
    ]
    assert shares[0] > 0.7 and shares[1] < 0.35
    again = ErrorMap(SIZES, 0.5, transients=True)
    again.load_state({name: tensor.clone() for name, tensor in robust.state().items()})
    assert torch.equal(again.draw(Regions(), 2000, seeded())[0].weights, batch.weights)
    again.load_state({name: tensor.clone() for name, tensor in plain.state().items()})
