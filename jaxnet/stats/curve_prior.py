"""A prior over learning curves: it forecasts the error with more training examples from measured
errors.

The functions take arrays of sizes and errors. They know no network.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxnet import arrays
from jaxnet.errors import InputError
from jaxnet.typing import ArrayLike

# Real curves are not all power laws, nor all monotone (Viering & Loog 2021), so no family of curves
# is assumed. The logarithm of the error is a Gaussian process over the logarithm of the size: a
# mixture of four, whose slope wanders back to a mean (integrated Ornstein-Uhlenbeck process; Doob
# 1942) and to which a random walk is added. Its constants were learned by maximum conditional
# likelihood on half of the real curves of LCDB 1.0 (Mohr et al. 2022), which are of classifiers of
# scikit-learn.

MIN_SIZES = MIN_CURVE_MEMBERS = 5  # from which a curve is extrapolated
MAX_SIZE_RATIO = 11.3  # forecasts farther than this times the largest size were never validated
# The log error must fall by this much, from its highest value to the last, or the curve has not
# begun to fall.
MIN_FALL = 0.05
MAX_HALF_WIDTH = math.log(2.0)  # half-width of a useful interval, on the logarithmic scale
LIKELIHOOD_POWER = 0.03  # exponent of the likelihood in the weights of the components
OFFSET, OFFSET_VARIANCE = -1.5, 9.0  # prior mean and variance of the log error at the first size
# The factors of the measured variance that count as noise: of the mean at a size, and of a future
# measurement.
MEAN_NOISE, FUTURE_NOISE = (0.3, 2.04)
# For each component: weight, mean slope mu per doubling, its deviation tau, its length l in
# doublings, and the random walk q.
COMPONENTS = np.array(
    [
        [0.510, -0.000926, 0.00536, 4.21, 0.000302],
        [0.327, -0.0171, 0.0341, 4.26, 0.00151],
        [0.137, -0.147, 0.148, 3.82, 0.00945],
        [0.0252, -0.339, 0.345, 1.83, 0.452],
    ]
)
BISECTIONS = 50
TOGETHER_DRAWS = 20_000  # draws from which the level of intervals that hold together is computed


class Mixture(NamedTuple):
    """Mixtures of normal distributions of log(error + half an example), at some sizes of some
    curves.

    Attributes:
        weight: (curves, 4) weights of the components.
        mean: (curves, at, 4) means of the components.
        covariance: (curves, 4, at, at) covariances of the components between sizes.
    """

    weight: Float[np.ndarray, "curves 4"]
    mean: Float[np.ndarray, "curves at 4"]
    covariance: Float[np.ndarray, "curves 4 at at"]

    @property
    def deviation(self) -> Float[np.ndarray, "curves at 4"]:
        """(curves, at, 4) standard deviations of the components."""
        return np.sqrt(np.moveaxis(np.diagonal(self.covariance, axis1=-2, axis2=-1), 1, -1))


@dataclass(frozen=True)
class Curves:
    """Measured learning curves, one per row, of the same learner or of different ones.

    Rows with fewer sizes than others end in sizes of 0.

    Attributes:
        sizes: (curves, sizes) numbers of training examples.
        error: (curves, sizes) mean error over members, from 0 to 1.
        variance: (curves, sizes) variance of a member's error between members.
        members: (curves, sizes) number of members trained at each size.
        test_examples: (curves,) number of examples on which the error was measured.
    """

    sizes: Float[np.ndarray, "curves sizes"]
    error: Float[np.ndarray, "curves sizes"]
    variance: Float[np.ndarray, "curves sizes"]
    members: Float[np.ndarray, "curves sizes"]
    test_examples: Float[np.ndarray, " curves"]


def measured(sizes: ArrayLike, errors: ArrayLike, test_examples: int) -> Curves:
    """Build one curve from errors, in order of size.

    Args:
        sizes: (sizes,) growing numbers of training examples.
        errors: (sizes, members) shares of wrong predictions; NaN marks a member that was not
            trained.
        test_examples: number of examples on which the errors were measured.

    Returns:
        One curve.

    Raises:
        InputError: for arguments that are no learning curve.
    """
    n, e = (
        each.astype(np.float64)
        for each in (arrays.numbers("sizes", sizes, ("size",)), arrays.array("errors", errors))
    )
    if n.ndim != 1 or e.ndim != 2 or len(n) != len(e) or not e.size:
        raise InputError(
            f"sizes have shape {n.shape} and errors {e.shape}; give (sizes,) and (sizes, members)"
        )
    if not (np.isfinite(n).all() and (n >= 1).all() and (np.diff(n) > 0).all()):
        raise InputError(f"sizes are {n.tolist()}; give growing numbers of training examples")
    there = ~np.isnan(e)
    if not there.any(1).all() or not (0 <= e[there].min() <= e[there].max() <= 1):
        raise InputError(
            "errors are not shares from 0 to 1 of at least one member at each size; give rates of "
            "wrong predictions"
        )
    if test_examples < 1:
        raise InputError(
            f"test_examples is {test_examples}; give how many the errors were measured on"
        )
    return Curves(n[None], *summary(e[None]), np.array([float(test_examples)]))


def summary(
    errors: Float[np.ndarray, "curves sizes members"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the mean, the variance and the number of members, each (curves, sizes),
    skipping NaN.
    """
    there = ~np.isnan(errors)
    count = there.sum(-1).astype(np.float64)
    mean = np.where(there, errors, 0.0).sum(-1) / np.maximum(count, 1)
    squares = np.where(there, (errors - mean[..., None]) ** 2, 0.0).sum(-1)
    return mean, squares / np.maximum(count - 1, 1), count


def forecast(curves: Curves, at: Float[np.ndarray, "curves at"]) -> Mixture:
    """Forecast what a measurement at other sizes would give, for all curves at once.

    Args:
        curves: measured curves.
        at: (curves, at) numbers of training examples.

    Returns:
        The distribution of log(error + half an example) at each size.
    """
    rows = list[tuple[np.ndarray, ...]]()
    measured = curves.sizes, curves.error, curves.variance, curves.members
    for row, tested in enumerate(curves.test_examples):
        known = slice(int((curves.sizes[row] > 0).sum()))
        n, e, s2, r = (each[row, known] for each in measured)
        rows.append(_mixture(n, e, s2, r, float(tested), at[row]))
    return Mixture(*(np.stack(each) for each in zip(*rows, strict=True)))


def quantiles(
    mixture: Mixture, probabilities: Sequence[float]
) -> Float[np.ndarray, "curves at probabilities"]:
    """Compute quantiles of log(error + half an example), by bisection.

    Args:
        mixture: the distributions.
        probabilities: probabilities of the quantiles, between 0 and 1.

    Returns:
        (curves, at, probabilities) quantiles.
    """
    mean, deviation = mixture.mean[:, :, None], mixture.deviation[:, :, None]
    reach = 10 * deviation
    p = np.asarray(probabilities, np.float64)
    low, high = (mean - reach).min(-1), (mean + reach).max(-1)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        under = _shares(middle, mixture.weight[:, None], mean, deviation) < p
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    return (low + high) / 2


def tails_together(mixture: Mixture, level: float) -> Float[np.ndarray, " curves"]:
    """Compute how much probability each interval leaves out on each side, so that the intervals at
    all sizes hold together.

    The errors of one curve at several sizes are far from independent, and the mixture has a
    component with a small weight and wide tails. So Bonferroni's intervals are half as wide again
    to twice as wide as these, and hold together more often than they should.

    Args:
        mixture: the distributions.
        level: probability with which the intervals at all sizes hold.

    Returns:
        (curves,) probabilities, at least those of Bonferroni: (1 - level) / 2 / sizes.
    """
    rng, places = np.random.default_rng(0), mixture.mean.shape[1]
    normal, uniform = rng.standard_normal((TOGETHER_DRAWS, places)), rng.random(TOGETHER_DRAWS)
    found = np.empty(len(mixture.weight))
    for row, (weight, mean, covariance) in enumerate(zip(*mixture, strict=True)):
        of = np.searchsorted(np.cumsum(weight)[:-1], uniform)  # the component of each draw
        factor = np.linalg.cholesky(covariance)
        y = mean.T[of] + np.einsum("dij,dj->di", factor[of], normal)
        share = _shares(y, weight, mean, np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)).T)
        found[row] = np.quantile(np.minimum(share, 1 - share).min(1), 1 - level)
    return np.maximum(found, (1 - level) / (2 * places))


def _shares(
    y: np.ndarray, weight: np.ndarray, mean: np.ndarray, deviation: np.ndarray
) -> np.ndarray:
    """Compute the probabilities that mixtures, whose components are the last axis, are at most
    y.
    """
    from scipy.special import ndtr

    return (weight[..., None, :] * ndtr((y[..., None] - mean) / deviation)).sum(-1)


def below(
    mixture: Mixture,
    errors: Float[np.ndarray, "curves at"],
    test_examples: Float[np.ndarray, " curves"],
) -> np.ndarray:
    """Compute the probability that the error is at most a given one.

    Args:
        mixture: the distributions.
        errors: (curves, at) errors, from 0 to 1.
        test_examples: (curves,) number of examples on which the error is measured.

    Returns:
        (curves, at) probabilities.
    """
    y = np.log(errors + 0.5 / test_examples[:, None])
    return _shares(y, mixture.weight, mixture.mean, mixture.deviation)


def as_error(y: np.ndarray, test_examples: Float[np.ndarray, " curves"]) -> np.ndarray:
    """Convert values from the scale of the mixture back to errors.

    Args:
        y: (curves, ...) values of log(error + half an example).
        test_examples: (curves,) number of examples on which the error is measured.

    Returns:
        (curves, ...) errors, from 0 to 1.
    """
    half = (0.5 / test_examples).reshape(-1, *[1] * (y.ndim - 1))
    return np.clip(np.exp(np.minimum(y, np.log1p(half))) - half, 0.0, 1.0)


def refusals(
    curves: Curves, at: Float[np.ndarray, "curves at"], half_width: Float[np.ndarray, "curves at"]
) -> list[list[str | None]]:
    """Say for each curve and size why the extrapolation cannot be relied on, or None.

    The reasons never depend on the true error, which is unknown when a forecast is made.

    Args:
        curves: measured curves.
        at: (curves, at) numbers of training examples.
        half_width: (curves, at) half the width of the interval, on the log scale.

    Returns:
        For each curve, one reason or None per size.
    """
    there = curves.sizes > 0
    y = np.where(there, np.log(curves.error + 0.5 / curves.test_examples[:, None]), -np.inf)
    last = there.sum(1) - 1
    fall = y.max(1) - np.take_along_axis(y, last[:, None], 1)[:, 0]
    fewest = np.where(there, curves.members, np.inf).min(1)
    words = []
    for row, (count, members) in enumerate(zip(there.sum(1), fewest, strict=True)):
        smallest, largest = curves.sizes[row, 0], curves.sizes[row, last[row]]
        always = None
        if count < MIN_SIZES or members < MIN_CURVE_MEMBERS:
            always = (
                f"{members:.0f} networks at each of {count} sizes are too few to extrapolate; at "
                f"least {MIN_CURVE_MEMBERS} at each of {MIN_SIZES} sizes are needed"
            )
        elif fall[row] < MIN_FALL:
            always = (
                f"the error has not begun to fall by {largest:,.0f} examples; measure at "
                "larger sizes, or fix the training first"
            )
        words.append(
            [
                always or _far_or_wide(n, smallest, largest, width)
                for n, width in zip(at[row], half_width[row], strict=True)
            ]
        )
    return words


def _far_or_wide(n: float, smallest: float, largest: float, half_width: float) -> str | None:
    if n < smallest:
        return (
            f"{n:,.0f} examples are fewer than the smallest size, {smallest:,.0f}: curves are "
            "extrapolated to larger sizes only"
        )
    if n > MAX_SIZE_RATIO * largest:
        return (
            f"{n:,.0f} examples are farther than {MAX_SIZE_RATIO} times the largest size, "
            f"{largest:,.0f}: farther than was ever checked"
        )
    if half_width > MAX_HALF_WIDTH:
        return (
            f"at {n:,.0f} examples the interval is wider than a factor of 4; measure at larger "
            "sizes, or with more members"
        )
    return None


def _mixture(
    n: Float[np.ndarray, " sizes"],
    e: Float[np.ndarray, " sizes"],
    s2: Float[np.ndarray, " sizes"],
    r: Float[np.ndarray, " sizes"],
    t: float,
    there: Float[np.ndarray, " at"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mixture of one curve, as a row of `Mixture`, from the measurements at its sizes."""
    eps, last = 0.5 / t, len(n) - 1
    y, a = np.log(e + eps), np.log2(n / n[0])
    beside = np.arange(len(n))[:, None] + np.array([-1, 0, 1])
    average = s2[np.clip(beside, 0, last)].mean(1)
    v = (4 * average + (r - 1) * s2) / (r + 3) / (np.maximum(r, 1.0) * (e + eps) ** 2) + 1e-6
    to = np.log2(there / n[0])
    mean, covariance, fit = zip(
        *(_component(a, y, v, to, *constants) for constants in COMPONENTS[:, 1:]), strict=True
    )
    weight = np.log(COMPONENTS[:, 0]) + LIKELIHOOD_POWER * np.array(fit)
    weight = np.exp(weight - weight.max())
    return weight / weight.sum(), np.stack(mean, 1), np.stack(covariance)


def _component(
    a: Float[np.ndarray, " sizes"],
    y: Float[np.ndarray, " sizes"],
    v: Float[np.ndarray, " sizes"],
    there: Float[np.ndarray, " at"],
    mu: float,
    tau: float,
    length: float,
    walk: float,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Compute mean, covariance and log-likelihood of one Gaussian process, whose slope starts at
    the first size.
    """

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = a[:, None], b[None, :]
        m = np.minimum(a, b)
        around = np.exp(-a / length) + np.exp(-b / length) - 1 - np.exp(-np.abs(a - b) / length)
        return tau**2 * length * (2 * m + length * around) + walk**2 * m

    c = kernel(a, a) + OFFSET_VARIANCE + np.diag(MEAN_NOISE * v + walk**2 / 4)
    factor = np.linalg.cholesky(c)
    whitened_y = np.linalg.solve(factor, y - OFFSET - mu * a)
    whitened = np.linalg.solve(factor, kernel(a, there) + OFFSET_VARIANCE)
    covariance = kernel(there, there) + OFFSET_VARIANCE - whitened.T @ whitened
    # rounding may leave less than 0; the prior says nothing of sizes below the first one
    variance = np.where(there < 0, np.nan, np.maximum(np.diagonal(covariance), 0.0))
    np.fill_diagonal(covariance, variance + FUTURE_NOISE * v[-1] + walk**2 / 4)
    fit = -0.5 * np.sum(whitened_y**2) - np.sum(np.log(np.diagonal(factor)))
    return OFFSET + mu * there + whitened.T @ whitened_y, covariance, float(fit)
