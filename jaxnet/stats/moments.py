"""What higher moments of values say about the interval of their mean: skewness, kurtosis and the
index of the tail.

Squared errors are skewed, and a few large ones make most of their variance. Where the largest fall
off too slowly, no variance exists, and no interval of the mean holds.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

TAIL_LEVEL = 0.95  # of each one-sided limit of a tail index
LEAST_INDEX = 2.0  # below, values have no variance
TAIL_SHARE = 0.05  # share of the values that show the tail, where they are few
FEWEST_LARGEST = 2
LIGHT_LARGEST = 10  # fewer cannot show that rare, larger values are ruled out
UNLESS = "unless rare, larger errors exist"


class Tail(NamedTuple):
    """How fast the largest of some values fall off.

    Attributes:
        index: estimated tail index: moments of a lower order exist, others do not.
        low: lower one-sided 95% limit of the index.
        high: upper one-sided 95% limit of the index.
        largest: number of values that were used.
        examples: number of all values.
    """

    index: float
    low: float
    high: float
    largest: int
    examples: int

    @property
    def refused(self) -> str | None:
        """Why a mean of such values has no interval; None where it has one."""
        if not self.high < LEAST_INDEX:
            return None
        return (
            f"the {self.largest:,} largest of {self.examples:,} errors have tail index "
            f"{self.index:.1f} (at most {self.high:.2f}), and below {LEAST_INDEX:.0f} rare, larger "
            "errors can move a mean by any amount; the median absolute error has an interval"
        )

    @property
    def caution(self) -> str | None:
        """What the interval of the mean presupposes; None where the values show it."""
        light = self.low > LEAST_INDEX and self.largest >= LIGHT_LARGEST
        return None if light else UNLESS


def tail(values: Float[np.ndarray, " values"]) -> Tail:
    """Compute the tail index of values of at least 0, such as squared errors.

    It is Hill's estimator of the largest 5%, and of fewer from 1,000 values on: at most n^(2/3) /
    log(log(n)), so that a distribution whose tail falls off faster in the end is not taken for a
    heavy one. What is added to all values, as the variance of several networks is to their mean
    squared error, does not matter: the smallest value is subtracted. Of k exact Pareto values,
    2 k index / estimate is distributed as chi-square with 2 k degrees of freedom, which gives the
    limits.

    Args:
        values: (values,) finite numbers of at least 0.

    Returns:
        The index with its limits; limits of 0 and infinity where the largest show nothing.

    References:
        Hill 1975, eq. 3.3; Gabaix 2016 (the largest 5%); Loretan & Phillips 1994 (n^(2/3) /
        log(log(n))); Araújo Santos, Fraga Alves & Gomes 2006 (the smallest value).
    """
    n = len(values)
    if n <= FEWEST_LARGEST:
        return Tail(math.nan, 0.0, math.inf, n, n)
    most = n ** (2 / 3) / math.log(math.log(n))
    k = max(FEWEST_LARGEST, round(min(TAIL_SHARE * n, most)))
    top = np.partition(values, n - k - 1)[n - k - 1 :].astype(np.float64) - float(values.min())
    if not top[0] > 0:
        return Tail(math.nan, 0.0, math.inf, k, n)
    slope = float(np.log(top[1:] / top[0]).mean())
    if slope <= 0:
        return Tail(math.inf, math.inf, math.inf, k, n)
    from scipy.special import chdtri

    low, high = (float(chdtri(2 * k, p)) / (2 * k) / slope for p in (TAIL_LEVEL, 1 - TAIL_LEVEL))
    return Tail(1 / slope, low, high, k, n)


def degrees_of_freedom(values: Float[np.ndarray, " values"]) -> float:
    """Compute the degrees of freedom of a variance from the kurtosis of the values.

    This inverts 2 Var(s^2) / s^4 (Cramér 1946, eq. 27.4.2); for normal values it is n - 1.
    """
    n = len(values)
    squares = (values - values.mean()) ** 2
    variance = float(squares.mean())
    if n < 4 or variance == 0:
        return max(1.0, n - 1.0)
    kurtosis = float((squares**2).mean()) / variance**2
    return max(1.0, min(n - 1.0, 2 * n / (kurtosis - (n - 3) / (n - 1))))


def third_cumulant(deviations: Float[np.ndarray, " units"], examples: int) -> float:
    """Compute the third cumulant of a mean over examples from the deviations of independent units.

    Args:
        deviations: (units,) sums over each unit of (value - mean).
        examples: number of examples.
    """
    return float(np.dot(deviations * deviations, deviations)) / examples**3


def reaches(variance: float, freedom: float, third: float, level: float) -> tuple[float, float]:
    """Compute how far the limits of a mean lie below and above it, corrected for its skewness.

    Args:
        variance: variance of the mean.
        freedom: degrees of freedom of the variance.
        third: third cumulant of the mean.
        level: confidence level of the interval.

    Returns:
        The distances, both at least 0.

    References:
        Hall 1992 (removal of skewness by transformation; the inverse of its cubic).
    """
    if not variance > 0:
        return 0.0, 0.0
    spread, t = math.sqrt(variance), t_quantile(freedom, level)
    skewness = third / spread**3
    if abs(skewness) < 1e-6:
        return t * spread, t * spread
    below, above = (
        sign * 3 / skewness * (float(np.cbrt(1 + skewness * (sign * t - skewness / 6))) - 1)
        for sign in (1, -1)
    )
    return spread * max(0.0, below), spread * max(0.0, above)


def t_quantile(freedom: float, level: float) -> float:
    """Compute the quantile of Student's t distribution for a two-sided level."""
    from scipy.special import stdtrit

    return float(stdtrit(min(freedom, 1e7), (1 + level) / 2))
