"""How many trainings it takes to tell a difference between two recipes from chance."""

import math

from jaxnet.errors import InputError
from jaxnet.stats.estimate import Estimate

MAX_TRAININGS = 1_000_000


def seeds_needed(
    deviation: Estimate, difference: float, *, level: float = 0.05, power: float = 0.8
) -> Estimate:
    """Compute how many trainings of each of two recipes a two-sided t test needs to find a
    difference.

    The power is that of Student's test under the noncentral t distribution.

    Args:
        deviation: standard deviation of the error over trainings of one recipe.
        difference: the difference of mean errors to be found, above 0, in the unit of `deviation`.
        level: significance level of the test; 0.05 by default.
        power: probability with which the test finds the difference; 0.8 by default.

    Returns:
        The number of trainings per recipe: a whole number, or infinity above a million. Its limits
        are the numbers for the limits of `deviation`.

    Raises:
        InputError: for a difference that is not above 0, and for a deviation that is NaN.

    References:
        Cohen 1988, section 2.3.
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
        if shift > 30:  # out of range for nctdtr; the difference is found for certain
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
