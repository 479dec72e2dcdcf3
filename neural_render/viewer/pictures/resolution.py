"""How coarse a picture is: as fast as wanted while the camera moves, then finer step by step."""

# By how much a picture has fewer pixels along a side. Few values, so that sizes seldom change.
FACTORS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
FIRST_GUESS = 1e-6  # seconds for a pixel
MEMORY = 0.6  # of the running estimate, per picture
# A size is kept while its time is between these multiples of what is wanted.
TOO_SLOW, FAST_ENOUGH = 1.2, 0.8
STEP = 2.0  # along a side, from one picture of a still camera to the next


class Costs:
    """What pixels of each kind of picture cost, learnt from all pictures of all visitors."""

    def __init__(self) -> None:
        self._per_pixel: dict[str, float] = {}

    def took(self, kind: str, num_pixels: int, seconds: float) -> None:
        """Takes in that a picture of so many pixels took so long."""
        measured = seconds / max(1, num_pixels)
        before = self._per_pixel.get(kind, measured)
        self._per_pixel[kind] = MEMORY * before + (1 - MEMORY) * measured

    def expected(self, kind: str, num_pixels: int) -> float:
        """The seconds that so many pixels should take; of a kind never made, as long as of any."""
        known = max(self._per_pixel.values(), default=FIRST_GUESS)
        return self._per_pixel.get(kind, known) * num_pixels


class Pace:
    """Chooses the size of one visitor's pictures of one kind while that visitor moves."""

    def __init__(self, seconds: float, costs: Costs, kind: str = "") -> None:
        """``seconds`` a picture may take."""
        self.seconds = seconds
        self._costs, self._kind = costs, kind
        self._factor = FACTORS[-1]

    def took(self, num_pixels: int, seconds: float) -> None:
        """Takes in that a picture of so many pixels took so long."""
        self._costs.took(self._kind, num_pixels, seconds)

    def expected(self, num_pixels: int) -> float:
        """The seconds that so many pixels should take."""
        return self._costs.expected(self._kind, num_pixels)

    def moving_factor(self, num_pixels: int) -> float:
        """The factor for a moving camera whose window has so many pixels."""

        def ratio(factor: float) -> float:
            return self.expected(round(num_pixels / factor**2)) / self.seconds

        if ratio(self._factor) > TOO_SLOW:
            fits = [factor for factor in FACTORS if ratio(factor) <= 1]
            self._factor = fits[0] if fits else FACTORS[-1]
        else:
            finer = [f for f in FACTORS if f < self._factor and ratio(f) <= FAST_ENOUGH]
            self._factor = finer[0] if finer else self._factor
        return self._factor


def sharper(factor: float) -> float:
    """The factor of the next picture of a camera that stands still: 1 in the end."""
    return max((finer for finer in FACTORS if finer <= factor / STEP), default=1.0)
