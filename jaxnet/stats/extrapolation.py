"""What more training examples would gain, from errors at growing sizes, measured with any
library.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxnet import arrays
from jaxnet.errors import InputError
from jaxnet.stats.curve_prior import (
    MAX_HALF_WIDTH,
    MAX_SIZE_RATIO,
    Curves,
    as_error,
    below,
    forecast,
    measured,
    quantiles,
    refusals,
    tails_together,
)
from jaxnet.stats.estimate import LEVEL, Estimate
from jaxnet.stats.random_effects import (
    MIN_ERROR_EXAMPLES,
    MIN_PAIRED_MEMBERS,
    SIGNED,
    interval_of_few,
    table,
)
from jaxnet.typing import ArrayLike

GRID_SIZES = 200  # sizes that are tried, from the largest measured one to the horizon
FACTORS = (2, 4, 8)  # how many times as many examples are tried


def extrapolate(
    sizes: ArrayLike,
    errors: ArrayLike,
    at: float | int,
    test_examples: int,
    *,
    level: float = LEVEL,
) -> Estimate:
    """Forecast the mean error of members trained on `at` examples, with its interval, from the
    learning curve.

    The interval includes the uncertainty about the form of the curve. On held-out data sets of LCDB
    it covered 97, 96 and 95% at two, four and eight times the largest size, as an average over
    problems; this is no promise for a single problem.

    Args:
        sizes: (sizes,) growing numbers of training examples.
        errors: (sizes, members) shares of wrong predictions, from 0 to 1.
        at: number of training examples to forecast for.
        test_examples: number of examples on which the errors were measured.
        level: confidence level of the interval.

    Returns:
        The median of the forecast. Its interval is refused with fewer than 5 sizes or members,
        beyond 11.3 times the largest size, where the error has not begun to fall, and where the
        interval would be wider than a factor of 4.

    Raises:
        InputError: for arguments that are no learning curve.
    """
    if not (at >= 1 and math.isfinite(at)):
        raise InputError(f"at is {at}; give a number of training examples")
    return predicted(measured(sizes, _complete(errors), test_examples), [float(at)], level)[0]


def predicted(
    curve: Curves, at: Sequence[float | int], level: float = LEVEL
) -> tuple[Estimate, ...]:
    """Forecast the mean error at several sizes of one curve, as `extrapolate` does at one size.

    Args:
        curve: one measured curve.
        at: numbers of training examples.
        level: confidence level of the intervals.

    Returns:
        One forecast for each size.
    """
    places = np.asarray(at, np.float64)[None]
    y = quantiles(forecast(curve, places), [(1 - level) / 2, 0.5, (1 + level) / 2])
    low, center, high = as_error(y, curve.test_examples)[0].T
    reasons = refusals(curve, places, (y[..., 2] - y[..., 0]) / 2)[0]
    return tuple(
        Estimate(float(e), float(a), float(b)) if why is None else Estimate(float(e), refused=why)
        for e, a, b, why in zip(center, low, high, reasons, strict=True)
    )


def predicted_together(
    curve: Curves, factors: Sequence[int] = FACTORS, level: float = LEVEL
) -> tuple[Estimate, ...]:
    """Forecast the mean error at several multiples of the largest size, with intervals that hold
    all together.

    Args:
        curve: one measured curve.
        factors: the multiples.
        level: probability with which all intervals hold.

    Returns:
        One forecast for each multiple. Unlike those of `extrapolate`, wide intervals are not
        refused: whether they are too wide depends on what they are compared with. Refused are those
        that say nothing about a fall: wider than a factor of 4, around an error above the one at
        the largest size.
    """
    places = np.array([[factor * curve.sizes.max() for factor in factors]])
    mixture = forecast(curve, places)
    tail = float(tails_together(mixture, level)[0])
    y = quantiles(mixture, [tail, 0.5, 1 - tail])
    low, center, high = as_error(y, curve.test_examples)[0].T
    reasons = refusals(curve, places, np.zeros_like(places))[0]
    now, wide = float(curve.error[0, -1]), (y[0, :, 2] - y[0, :, 0]) / 2 > MAX_HALF_WIDTH
    for place in np.flatnonzero(wide & (center > now)):
        reasons[place] = reasons[place] or (
            f"with {places[0, place]:,.0f} examples an error between {low[place]:.2%} and "
            f"{high[place]:.2%} is predicted, which does not tell a fall from the {now:.2%} "
            "measured; measure at larger sizes, or with more members"
        )
    return tuple(
        Estimate(float(e), float(a), float(b)) if why is None else Estimate(float(e), refused=why)
        for e, a, b, why in zip(center, low, high, reasons, strict=True)
    )


class Trend(NamedTuple):
    """How the error changed over the last sizes that were measured.

    Attributes:
        sizes: the smallest and the largest of these sizes.
        errors: the mean errors there.
        fall: by how much the error fell when the number of examples doubled, with its interval for
            networks of other seeds and samples, and for other examples to judge with.
    """

    sizes: tuple[int, int]
    errors: tuple[float, float]
    fall: Estimate


def last_doubling(sizes: Int[np.ndarray, " sizes"]) -> Float[np.ndarray, " sizes"]:
    """Compute the weights with which errors add up to their fall over the last doubling.

    Args:
        sizes: (sizes,) growing numbers of training examples, at least two.

    Returns:
        (sizes,) weights w: the sum of w times the errors is minus the slope per doubling of the
        line of least squares through the errors at the sizes from about half of the largest on, or
        through the last two. The other weights are 0.
    """
    used = sizes >= min(sizes[-2], 0.49 * sizes[-1])
    x = np.where(used, np.log2(sizes), 0.0)
    centered = np.where(used, x - x[used].mean(), 0.0)
    return -centered / np.sum(centered**2)


def trend(
    sizes: Int[np.ndarray, " sizes"],
    errors: Float[np.ndarray, "sizes members"],
    falls: Float[np.ndarray, "members examples"],
    groups: np.ndarray | None = None,
) -> Trend:
    """Test whether the error still falls over the last doubling of the training set.

    Each member was trained at every size, on growing parts of one order of the examples, so falls
    are paired within members and within the examples that judge them. Members and examples are both
    random, so the interval is that of crossed random effects; where the expected error does not
    change, its lower limit is above 0 with a probability of at most 2.5%. What all members owe to
    the one training set that they share cannot be told from one training set.

    Args:
        sizes: (sizes,) growing numbers of training examples.
        errors: (sizes, members) mean errors.
        falls: (members, examples) sums of the weights of `last_doubling` times the squared errors.
        groups: (examples,) the group of each example, which is then the independent unit.

    Returns:
        The fall of the error for a doubling.

    References:
        Searle, Casella & McCulloch 1992, section 4.4.
    """
    used = np.flatnonzero(last_doubling(sizes))
    ends = used[[0, -1]]
    if groups is not None:
        _, group = np.unique(groups, return_inverse=True)
        count = int(group.max()) + 1
        sums = np.stack([np.bincount(group, each, minlength=count) for each in falls])
        falls = sums * count / falls.shape[1]
    fall = interval_of_few(
        table(falls, SIGNED), members=MIN_PAIRED_MEMBERS, examples=MIN_ERROR_EXAMPLES
    )
    first, last = (int(size) for size in sizes[ends])
    before, after = (float(each) for each in errors[ends].mean(1))
    return Trend((first, last), (before, after), fall)


@dataclass(frozen=True)
class Needed:
    """How many training examples it takes to reach an error; `str` of it says so in words.

    Only a lower bound can be given honestly: it covered 96 to 98% of real curves, while the
    two-sided intervals that could be made cover 8 to 84%.

    Attributes:
        error: the error to reach, between 0 and 1.
        reached: whether the largest measured size reaches it.
        at_least: the smallest size at which the error is reached with probability 2.5%; None where
            no size up to `horizon` does, so that more data alone will not suffice up to there.
        horizon: the largest size that can be forecast.
        probabilities: pairs of a size and the probability that the error is reached there.
        refused: why nothing can be said, or None.
    """

    error: float
    reached: bool
    at_least: int | None
    horizon: int
    probabilities: tuple[tuple[int, float], ...]
    refused: str | None = None

    def __str__(self) -> str:
        if self.refused is not None:
            return (
                f"how many examples an error of {self.error:.2%} takes cannot be said: "
                f"{self.refused}"
            )
        if self.reached:
            return f"an error of {self.error:.2%} is reached with the largest size measured"
        if self.at_least is None:
            return (
                f"more data alone will not reach an error of {self.error:.2%}, up to "
                f"{self.horizon:,} examples"
            )
        likely = ", ".join(f"{p:.0%} at {n:,}" for n, p in self.probabilities)
        return (
            f"at least {self.at_least:,} examples to reach an error of {self.error:.2%}; with "
            f"probability {likely}"
        )


def examples_needed(
    sizes: ArrayLike, errors: ArrayLike, error: float | int, test_examples: int
) -> Needed:
    """Compute how many training examples it takes until the mean error of members is at most
    `error`.

    Args:
        sizes: as in `extrapolate`.
        errors: as in `extrapolate`.
        error: the error to reach, between 0 and 1.
        test_examples: as in `extrapolate`.

    Returns:
        A lower bound of the number of examples, and probabilities at some sizes.

    Raises:
        InputError: for arguments that are no learning curve, and an error that is not between 0 and
            1.
    """
    return needed(measured(sizes, _complete(errors), test_examples), error)


def needed(curve: Curves, error: float | int) -> Needed:
    """Compute `examples_needed` for one curve.

    Args:
        curve: one measured curve.
        error: the error to reach, between 0 and 1.

    Returns:
        A lower bound of the number of examples, and probabilities at some sizes.

    Raises:
        InputError: for an error that is not between 0 and 1.
    """
    if not 0 < error < 1:
        raise InputError(f"error is {error}; give a share between 0 and 1")
    largest = curve.sizes.max()
    horizon = math.floor(MAX_SIZE_RATIO * largest)
    refused = refusals(curve, np.array([[largest]]), np.zeros((1, 1)))[0][0]
    if refused is not None:
        return Needed(error, False, None, horizon, (), refused)
    if curve.error[0, -1] <= error:
        return Needed(error, True, int(largest), horizon, ())
    places = np.concatenate(
        [np.geomspace(largest, horizon, GRID_SIZES), largest * 2.0 ** np.arange(1, 4)]
    )[None]
    found = below(forecast(curve, places), np.full_like(places, error), curve.test_examples)[0]
    enough = np.flatnonzero(found[:GRID_SIZES] >= (1 - LEVEL) / 2)
    likely = tuple(
        (int(n), float(p)) for n, p in zip(places[0, GRID_SIZES:], found[GRID_SIZES:], strict=True)
    )
    return Needed(
        error, False, math.ceil(places[0, enough[0]]) if len(enough) else None, horizon, likely
    )


def _complete(errors: ArrayLike) -> np.ndarray:
    """Check errors of which no member is missing."""
    return arrays.numbers("errors", errors, ("size", "member"))
