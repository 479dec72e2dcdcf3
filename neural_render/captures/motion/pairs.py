"""Which pairs of photos are matched: all, or neighbours in a sequence and a few across it."""

from itertools import combinations

# Up to so many photos all pairs are matched (11,175 pairs), of a video's frames less.
MOST_EXHAUSTIVE, MOST_EXHAUSTIVE_IN_VIDEO = 150, 30
NEIGHBOURS = 6  # in a sequence, each photo with so many that follow; beyond, with powers of two
ACROSS = 24  # photos spread over the sequence, of which all pairs are matched: they close loops


def chosen_matching(stated: str, count: int, *, is_video: bool) -> str:
    """``exhaustive`` or ``sequential``."""
    if stated != "auto":
        return stated
    most = MOST_EXHAUSTIVE_IN_VIDEO if is_video else MOST_EXHAUSTIVE
    return "exhaustive" if count <= most else "sequential"


def chosen_pairs(matching: str, count: int) -> list[tuple[int, int]]:
    """Pairs of photos' places in the order of their names, the first always the smaller one."""
    if matching == "exhaustive":
        return list(combinations(range(count), 2))
    apart = {*range(1, NEIGHBOURS + 1), *(2**power for power in range(3, count.bit_length()))}
    pairs = {
        (first, first + step) for first in range(count) for step in apart if first + step < count
    }
    spread = sorted({round(index * (count - 1) / (ACROSS - 1)) for index in range(ACROSS)})
    return sorted(pairs | set(combinations(spread, 2)))
