"""How many trainings it takes to tell a difference from luck."""

import math

from jaxnet.errors import InputError
from jaxnet.stats.estimate import Estimate

MAX_TRAININGS = 1_000_000


def seeds_needed(
    deviation: Estimate, difference: float, *, level: float = 0.05, power: float = 0.8
) -> Estimate:
    """Trainings of each of two recipes with which Student's two-sided t test finds a difference of
    their errors that often.

    deviation: of the error over trainings; the limits are those for its limits. The power is that
    of the noncentral t distribution (Cohen 1988, section 2.3). A whole number, or infinity above a
    million.
    """
    if not difference > 0:
        raise InputError(f"difference is {difference}; give a positive number")
    if deviation.refused is not None:
        return Estimate(math.nan, refused=deviation.refused)
    if math.isnan(deviation.estimate):
        raise InputError(f"deviation is {deviation.estimate}; give that of errors that are numbers")
    count, low, high = (
        float(_needed(s, difference, level, power))
        for s in (deviation.estimate, deviation.low, deviation.high)
    )
    return Estimate(count, low, high)


def _needed(spread: float, difference: float, level: float, power: float) -> float | int:
    from scipy.special import nctdtr, stdtrit

    def found(n: int) -> bool:
        freedom, shift = 2 * n - 2, difference / spread * math.sqrt(n / 2)
        if shift > 30:  # beyond the function's range, and certain
            return True
        critical = stdtrit(freedom, 1 - level / 2)
        return bool(
            1 - nctdtr(freedom, shift, critical) + nctdtr(freedom, shift, -critical) >= power
        )

    if spread == 0:
        return 2
    high = 2
    while not found(high):
        high *= 2
        if high > MAX_TRAININGS:
            return math.inf
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if middle >= 2 and found(middle) else (middle, high)
    return high
