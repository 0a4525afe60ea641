"""How many trainings or examples it takes to tell a difference from chance."""

import math
from dataclasses import dataclass

from jaxnet.errors import InputError
from jaxnet.stats.estimate import Estimate

MAX_TRAININGS = 1_000_000
# Where networks add more than this share of the examples' variance, how much they differ is too
# uncertain to plan with.
MAX_LUCK = 0.5


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
        are the numbers for the limits of `deviation`. Plan with `high`: where `deviation` is
        estimated, the number for its estimate reaches the power in about half of all cases.

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


@dataclass(frozen=True)
class More:
    """What it takes to decide with a probability of 80% whether a number exceeds a tolerance.

    Attributes:
        examples: how many times as many examples to judge with.
        networks: how many times as many networks.
    """

    examples: float
    networks: float


def more_to_decide(
    size: float, tolerance: float, own: float, luck: float, limit: float
) -> More | None:
    """Compute how many times as many examples and networks decide whether a difference of errors
    exceeds a tolerance, if its size stays as measured.

    Args:
        size: the measured difference.
        tolerance: the smallest difference that matters.
        own: variance of the difference over the draw of examples.
        luck: variance that networks add to it.
        limit: the limit of its interval that must not reach the tolerance: the lower one-sided
            limit of a difference above the tolerance, else the upper one. Where few mistakes make a
            rate, it is farther away than the variance says.

    Returns:
        The numbers; None where networks differ too much to promise anything, or where there is no
        interval.

    References:
        The normal approximation of the power of a one-sided test (Cohen 1988, section 1.3); the
        factors 1.5 and 1.8 on the variance, and 0.42 standard deviations beside the limit, were
        found by simulation (experiments/benchmarks/claims.py).
    """
    if not math.isfinite(own + luck + limit) or own <= 0 or luck > MAX_LUCK * own:
        return None
    quantile, factor = (1.96, 1.5) if size > tolerance else (1.645, 1.8)
    needed = ((size - tolerance) / (quantile + 0.84)) ** 2 / factor
    if needed == 0:
        return More(math.inf, 1.0)
    networks = max(1.0, 4 * luck / needed)
    reach = (abs(limit - size) + 0.42 * math.sqrt(own)) / abs(size - tolerance)
    return More(max(1.0, own / (needed - luck / networks), reach**2), networks)
