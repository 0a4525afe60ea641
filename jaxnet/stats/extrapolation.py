"""What more training examples would gain, from errors at growing sizes, measured with any
library.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxnet import arrays
from jaxnet.errors import InputError
from jaxnet.stats.curve_prior import (
    MAX_SIZE_RATIO,
    Curves,
    as_error,
    below,
    forecast,
    measured,
    quantiles,
    refusals,
)
from jaxnet.stats.estimate import LEVEL, Estimate
from jaxnet.typing import ArrayLike

GRID_SIZES = 200  # sizes that are tried, from the largest measured one to the horizon


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
