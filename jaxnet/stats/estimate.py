"""Reported numbers with their confidence intervals, or with the reason why there is no interval.

The functions here compute intervals of proportions, means, sums and standard deviations from plain
numbers. They never give an interval that does not hold: they refuse it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from jaxnet import arrays, display
from jaxnet.errors import InputError
from jaxnet.stats.moments import degrees_of_freedom, reaches, t_quantile, tail, third_cumulant
from jaxnet.typing import ArrayLike

LEVEL = 0.95
MIN_MEAN_EXAMPLES = 30  # from here on a mean is treated as normally distributed


@dataclass(frozen=True)
class Estimate:
    """A reported number with its 95% confidence interval; `float()` gives the number.

    Attributes:
        estimate: the number, in the unit of what was measured.
        low: lower limit of the interval; NaN where no interval can be given honestly.
        high: upper limit of the interval; NaN likewise.
        refused: why there is no interval, and what it would take; None where there is one.
        caution: what the interval presupposes and these examples do not show, in words that can
            follow it; None where there is nothing.
    """

    estimate: float
    low: float = math.nan
    high: float = math.nan
    refused: str | None = None
    caution: str | None = None

    __repr__ = display.text

    def __float__(self) -> float:
        return self.estimate

    def __str__(self) -> str:
        if self.refused is not None:
            return f"{self.estimate:.4f}"
        caution = f", {self.caution}" if self.caution else ""
        return f"{self.estimate:.4f} ({self.low:.4f} to {self.high:.4f}{caution})"

    @property
    def cut_at_zero(self) -> bool:
        """Whether a number below 0 counts as 0, since what is less than nothing is nothing: then
        the limits say no more.
        """
        return self.estimate == self.high == 0 > self.low

    def complement(self) -> "Estimate":
        """Return 1 minus this estimate, such as an error from an accuracy."""
        return Estimate(1 - self.estimate, 1 - self.high, 1 - self.low, self.refused, self.caution)


def wilson(successes: int, trials: int, level: float = LEVEL) -> Estimate:
    """Compute a proportion with its two-sided score interval.

    The interval is for this one network on new examples, not for the recipe that made it.

    Args:
        successes: number of successes, at most `trials`.
        trials: number of independent trials; with none the interval is refused.
        level: confidence level of the interval, between 0 and 1.

    Returns:
        The share of successes, with its interval.

    References:
        Wilson 1927; Brown, Cai & DasGupta 2001, eq. 4.
    """
    if trials == 0:
        return Estimate(math.nan, refused="no examples; at least 1 is needed")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, spread = successes / trials, z * z / trials
    center = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    low = 0.0 if successes == 0 else max(0.0, center - half)
    high = 1.0 if successes == trials else min(1.0, center + half)
    return Estimate(share, low, high)


def exact(successes: int, trials: int, level: float = LEVEL) -> Estimate:
    """Compute a proportion with the exact binomial interval: each limit errs with probability at
    most (1 - level) / 2.

    Use it for claims: as a one-sided limit, the score interval misses small proportions too often
    (Cai 2005, section 2).

    Args:
        successes: number of successes, at most `trials`.
        trials: number of independent trials; with none the interval is refused.
        level: confidence level of the interval, between 0 and 1.

    Returns:
        The share of successes, with its interval.

    References:
        Clopper & Pearson 1934; Cai 2005, section 2.
    """
    if trials == 0:
        return Estimate(math.nan, refused="no examples; at least 1 is needed")
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, tail))
    high = (
        1.0
        if successes == trials
        else float(betaincinv(successes + 1, trials - successes, 1 - tail))
    )
    return Estimate(successes / trials, low, high)


def mean(values: ArrayLike, level: float = LEVEL, *, heavy_tails: bool = True) -> Estimate:
    """Compute the mean of independent values of at least 0, such as losses, with its interval.

    Degrees of freedom follow from the kurtosis of the values. The limits are corrected for their
    skewness; for values without heavy tails they lie on a logarithmic scale.

    Args:
        values: (values,) numbers of at least 0.
        level: confidence level of the interval, between 0 and 1.
        heavy_tails: whether rare values may be much larger than these, as squared errors may; then
            the interval is refused where the largest values show that no variance exists. False for
            losses such as a cross-entropy.

    Returns:
        The mean. Its interval is refused for fewer than 30 values, for a mean that is 0 or not
        finite, and for heavy tails.

    Raises:
        InputError: for values that are not one axis of numbers.

    References:
        Cramér 1946, eq. 27.4.2 (degrees of freedom); Hall 1992 (skewness); Hill 1975 (tails).
    """
    values = _one_axis(values, infinite=True)
    n = len(values)
    if n == 0:
        return Estimate(math.nan, refused="no examples; at least 1 is needed")
    values = values.astype(np.float64)
    center = float(values.mean())
    if n < MIN_MEAN_EXAMPLES:
        return Estimate(
            center,
            refused=(
                f"{n} examples are too few for an interval of a mean; at least "
                f"{MIN_MEAN_EXAMPLES} are needed"
            ),
        )
    if not math.isfinite(center) or center <= 0:
        return Estimate(center, refused=f"a mean of {center} has no interval")
    variance, freedom = float(np.var(values, ddof=1)) / n, degrees_of_freedom(values)
    if heavy_tails:
        largest = tail(values)
        if largest.refused:
            return Estimate(center, refused=largest.refused)
        below, above = reaches(variance, freedom, third_cumulant(values - center, n), level)
        return Estimate(center, max(0.0, center - below), center + above, caution=largest.caution)
    exponent = t_quantile(freedom, level) * math.sqrt(variance) / center
    # A factor above e^700 overflows a float; such an interval says nothing anyway.
    factor = math.exp(min(exponent, 700.0))
    return Estimate(center, center / factor, center * factor)


def combination(
    coefficients: Sequence[float], parts: Sequence[Estimate], constant: float = 0.0
) -> Estimate:
    """Compute sum_i c_i part_i + constant of independent parts whose intervals have the same level.

    The variance of each part is recovered from its own limits (MOVER). For the difference of two
    Wilson intervals this is Newcombe's method 10 (1998).

    Args:
        coefficients: c_i, one for each part.
        parts: independent estimates.
        constant: a number that is added.

    Returns:
        The sum with its interval; it is refused where a part with a coefficient other than 0 has no
        interval.

    References:
        Zou & Donner 2008, eq. 5 and 6; Newcombe 1998.
    """
    center = constant + sum(c * part.estimate for c, part in zip(coefficients, parts, strict=True))
    refused = next(
        (part.refused for c, part in zip(coefficients, parts, strict=True) if c and part.refused),
        None,
    )
    if refused is not None:
        return Estimate(center, refused=refused)
    below = above = 0.0
    for c, part in zip(coefficients, parts, strict=True):
        low, high = sorted((c * part.low, c * part.high))
        below += (c * part.estimate - low) ** 2
        above += (high - c * part.estimate) ** 2
    caution = next(
        (part.caution for c, part in zip(coefficients, parts, strict=True) if c and part.caution),
        None,
    )
    return Estimate(center, center - math.sqrt(below), center + math.sqrt(above), caution=caution)


def repeated(values: ArrayLike, level: float = LEVEL) -> Estimate:
    """Compute the mean over repeated trainings with Student's interval.

    The interval is for the recipe, on these same test examples.

    Args:
        values: (trainings,) one number per training.
        level: confidence level of the interval, between 0 and 1.

    Returns:
        The mean; its interval is refused for fewer than 2 trainings.

    Raises:
        InputError: for values that are not one axis of finite numbers.

    References:
        Student 1908.
    """
    values = _one_axis(values)
    n = len(values)
    center = float(np.mean(values, dtype=np.float64)) if n else math.nan
    if n < 2:
        return Estimate(
            center,
            refused=(
                f"{n} training{'s' * (n != 1)} cannot show how much trainings differ; at "
                "least 2 are needed"
            ),
        )
    from scipy.special import stdtrit

    half = (
        float(stdtrit(n - 1, (1 + level) / 2))
        * float(np.std(values, ddof=1, dtype=np.float64))
        / math.sqrt(n)
    )
    return Estimate(center, center - half, center + half)


def deviation(values: ArrayLike, level: float = LEVEL) -> Estimate:
    """Compute the standard deviation of normally distributed values, with its chi-square interval.

    Args:
        values: (values,) numbers.
        level: confidence level of the interval, between 0 and 1.

    Returns:
        The standard deviation, in the unit of the values; it is refused for fewer than 2 values.

    Raises:
        InputError: for values that are not one axis of finite numbers.
    """
    values = _one_axis(values)
    n = len(values)
    if n < 2:
        return Estimate(
            math.nan,
            refused=f"{n} value{'s' * (n != 1)} cannot show a spread; at least 2 are needed",
        )
    from scipy.special import chdtri

    spread = float(np.std(values, ddof=1, dtype=np.float64))
    tails = (1 - level) / 2, (1 + level) / 2  # probabilities above the limit
    low, high = (spread * math.sqrt((n - 1) / float(chdtri(n - 1, tail))) for tail in tails)
    return Estimate(spread, low, high)


def _one_axis(values: ArrayLike, *, infinite: bool = False) -> np.ndarray:
    """Check that values are numbers along one axis; `infinite` allows infinity, which a loss may
    be.
    """
    found = arrays.numbers("values", values, ("value",), infinite=infinite)
    if found.ndim != 1:
        raise InputError(
            f"values have shape {found.shape}; give one axis of them: values.reshape(-1)"
        )
    return found
