"""Whether a network's confidence can be believed, and the temperature that corrects it.

Confidence is the probability that a network gives to the class it predicts. It is calibrated if,
among all predictions made with confidence c, a share c is right (Guo, Pleiss, Sun & Weinberger
2017, eq. 1).
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Integer

from jaxnet import arrays, display
from jaxnet.errors import InputError
from jaxnet.random import as_key, generator
from jaxnet.stats.bias_variance import normalized
from jaxnet.stats.estimate import LEVEL, Estimate, combination, mean, wilson
from jaxnet.typing import ArrayLike

MIN_CALIBRATION_EXAMPLES = 100  # for an interval
MIN_OF_EACH_OUTCOME = 5  # with fewer wrong, or fewer right, predictions no normal interval holds
MIN_MISTAKES = 20  # wrong predictions, which the interval of a temperature hinges on
NULL_DRAWS = 1000  # draws of the labels for the null value
NULL_CELLS = 1 << 22  # random numbers that are drawn at once
LOG_TEMPERATURES = (-10.0, 10.0)  # range in which the temperature's logarithm is searched


class ReliabilityBin(NamedTuple):
    """The predictions whose confidence lies in one bin of a reliability diagram.

    Attributes:
        low: the confidence is above this.
        high: the confidence is at most this.
        count: number of predictions.
        confidence: their mean confidence.
        accuracy: share of them that is right.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: Estimate


class NullValue(NamedTuple):
    """The calibration error that a perfectly calibrated network with these confidences would show
    by chance.

    Attributes:
        mean: mean over draws of the labels.
        low: lower limit of the range that holds 95% of the draws.
        high: upper limit of that range.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """The calibration of one network.

    The plug-in calibration error (ECE) is biased, so no honest interval of it exists: compare it
    with `null`.

    Attributes:
        ece: sum_b (N_b / n) |accuracy_b - confidence_b|.
        null: what the ECE would be by chance alone.
        squared_error: the squared calibration error, without bias; its square root is on the scale
            of `ece`.
        overconfidence: mean confidence - accuracy.
        negative_log_likelihood: mean over examples, in nats.
        brier: squared error summed over classes, mean over examples.
        bins: the bins that hold examples, for a reliability diagram.
        examples: number of examples.
    """

    ece: float
    null: NullValue
    squared_error: Estimate
    overconfidence: Estimate
    negative_log_likelihood: Estimate
    brier: Estimate
    bins: tuple[ReliabilityBin, ...]
    examples: int

    __repr__ = display.text

    def __str__(self) -> str:
        over = self.overconfidence
        interval = "" if over.refused is not None else f" ({over.low:.2%} to {over.high:.2%})"
        rows = {
            "calibration error": (
                f"{self.ece:.2%}; expected of a perfectly calibrated network {self.null.mean:.2%} "
                f"({self.null.low:.2%} to {self.null.high:.2%})"
            ),
            "squared calibration error (unbiased)": self.squared_error,
            "confidence above accuracy": f"{over.estimate:.2%}{interval}",
            "negative log-likelihood": self.negative_log_likelihood,
            "Brier score": self.brier,
        }
        width = max(map(len, rows))
        return "\n".join(
            [
                f"confidences on {self.examples:,} examples",
                *(f"{name:<{width}}  {value}" for name, value in rows.items()),
            ]
        )


def calibration(
    log_probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    bins: int = 15,
    key: Array | np.ndarray | None = None,
    level: float = LEVEL,
) -> Calibration:
    """Measure how far the confidences of one network are from how often it is right.

    Use examples that the network did not learn from. Intervals are for new examples and this
    network only.

    Args:
        log_probabilities: (examples, classes), in nats.
        labels: (examples,) class numbers.
        bins: number of bins of equal width (Guo et al. 2017, eq. 3); 15 by default.
        key: JAX random key of the labels that are drawn from the network's own confidences for the
            null value; `jax.random.key(0)` by default.
        level: confidence level of the intervals.

    Returns:
        The calibration errors, overconfidence, scores and bins.

    Raises:
        InputError: for arguments that cannot be log-probabilities, labels or a number of bins.

    References:
        Guo, Pleiss, Sun & Weinberger 2017, eq. 3.
    """
    log_p, y = _checked(log_probabilities, labels)
    if not isinstance(bins, int | np.integer) or bins < 1:
        raise InputError(f"bins is {bins!r}; give a whole number of at least 1")
    n, rows = len(y), np.arange(len(y))
    p = np.exp(log_p)
    confidence, correct = p.max(1), ~arrays.wrong(log_p, y)
    where = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    difference = correct - confidence
    few = min(int(correct.sum()), n - int(correct.sum()))
    p[rows, y] -= 1
    return Calibration(
        ece=float(_ece(where, difference[None], bins)[0]),
        null=_null_value(where, confidence, bins, key),
        squared_error=_squared_error(where, difference, bins, few, level),
        overconfidence=_overconfidence(confidence, correct, level),
        negative_log_likelihood=mean(-log_p[rows, y], level, heavy_tails=False),
        brier=mean((p**2).sum(1), level, heavy_tails=False),
        bins=tuple(
            ReliabilityBin(
                b / bins,
                (b + 1) / bins,
                len(inside),
                float(confidence[inside].mean()),
                wilson(int(correct[inside].sum()), len(inside), level),
            )
            for b in range(bins)
            if len(inside := np.flatnonzero(where == b))
        ),
        examples=n,
    )


def temperature(
    log_probabilities: ArrayLike, labels: ArrayLike, *, level: float = LEVEL
) -> Estimate:
    """Compute the temperature T by which to divide logits so that the labels become most likely.

    Apply it with `scaled`. Above 1 the network is overconfident.

    Args:
        log_probabilities: (examples, classes), in nats; they are as good as logits, since a softmax
            does not see the difference. Take them from a validation set: on a training set
            confidences are too high, and on the test set the test error would no longer be
            independent.
        labels: (examples,) class numbers of the same validation set.
        level: confidence level of the interval.

    Returns:
        T. Its interval is the sandwich interval on log T, with Student's t and degrees of freedom
        by the kurtosis of the slopes. It is refused for fewer than 100 examples or 20 wrong
        predictions.

    Raises:
        InputError: where no finite T above 0 is most likely, because all predictions are right (T
            -> 0) or no better than chance (T -> infinity).

    References:
        Guo et al. 2017, section 4.2; White 1982, eq. 3.1.
    """
    log_p, y = _checked(log_probabilities, labels)
    logits = log_p - log_p.max(1, keepdims=True)
    own = logits[np.arange(len(y)), y]

    def slopes(log_t: float) -> tuple[np.ndarray, np.ndarray]:
        """Differentiate each example's negative log-likelihood along -log T.

        Returns:
            The first derivative, and the variance in the second derivative.
        """
        scaled_ = logits * math.exp(-log_t)
        p = np.exp(scaled_)
        p /= p.sum(1, keepdims=True)
        expected = (p * scaled_).sum(1)
        return expected - own * math.exp(-log_t), (p * scaled_**2).sum(1) - expected**2

    if not own.any():
        raise InputError(
            f"all {len(y)} predictions are right, so that the likeliest temperature is 0; give "
            "more validation examples"
        )
    if slopes(LOG_TEMPERATURES[1])[0].sum() >= 0:
        raise InputError(
            "the labels are no likelier than by chance, so that no finite temperature is the "
            "likeliest; do the labels belong here?"
        )
    if slopes(LOG_TEMPERATURES[0])[0].sum() <= 0:
        raise InputError(
            "the likeliest temperature is below 0.00005: predictions are right or tied; give more "
            "validation examples"
        )
    from scipy.optimize import brentq

    log_t = float(brentq(lambda at: slopes(at)[0].sum(), *LOG_TEMPERATURES, xtol=1e-12))  # pyrefly: ignore[bad-argument-type]
    first, second = slopes(log_t)
    t, power = math.exp(log_t), float((first**2).sum())
    if len(y) < MIN_CALIBRATION_EXAMPLES:
        return Estimate(
            t,
            refused=(
                f"{len(y)} examples are too few for an interval of a temperature; at least "
                f"{MIN_CALIBRATION_EXAMPLES} are needed"
            ),
        )
    if (wrong := int(arrays.wrong(log_p, y).sum())) < MIN_MISTAKES:
        return Estimate(
            t,
            refused=(
                f"{wrong} wrong predictions are too few for an interval of a temperature; at "
                f"least {MIN_MISTAKES} are needed"
            ),
        )
    # A few confident mistakes make most of the slope's variance, which is then known less well: the
    # degrees of freedom follow from the kurtosis, as in random_effects.
    from scipy.special import stdtrit

    freedom = max(1.0, 2 * power**2 / float((first**4).sum()) - 1)
    reach = float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(power) / float(second.sum())
    factor = math.exp(min(reach, 700.0))
    return Estimate(t, t / factor, t * factor)


def scaled(
    log_probabilities: ArrayLike, T: float | int | np.number | Estimate
) -> Float[np.ndarray, "..."]:
    """Compute log-probabilities at temperature T: log softmax(log p / T).

    The order of the classes stays the same.

    Args:
        log_probabilities: (..., classes) log-probabilities in nats, or logits.
        T: temperature, above 0.

    Returns:
        (..., classes) log-probabilities, float64.

    Raises:
        InputError: for a temperature that is not above 0, and for probabilities in place of their
            logarithms.
    """
    t, log_p = float(T), arrays.scores("log_probabilities", log_probabilities)
    if not (math.isfinite(t) and t > 0):
        raise InputError(f"the temperature is {t}; give a number above 0")
    if log_p.shape[-1] > 1 and log_p.min() >= 0 and np.abs(log_p.sum(-1) - 1).max() <= arrays.SUM:
        raise InputError(
            "log_probabilities are from 0 to 1 and add up to 1, as probabilities do; give their "
            "logarithms: np.log(p)"
        )
    logits = log_p.astype(np.float64) - log_p.max(-1, keepdims=True)
    return normalized(normalized(logits.reshape(1, -1, log_p.shape[-1]))[0] / t)[0].reshape(
        log_p.shape
    )


def _checked(
    log_probabilities: ArrayLike, labels: ArrayLike
) -> tuple[Float[np.ndarray, "examples classes"], Integer[np.ndarray, " examples"]]:
    """Check the arguments; return log-probabilities in float64 that add up to 1, and labels."""
    log_p = arrays.log_probabilities("log_probabilities", log_probabilities)
    y = arrays.labels("labels", labels, *log_p.shape)
    return normalized(log_p[None])[0][0], y


def _ece(
    where: Int[np.ndarray, " examples"], difference: Float[np.ndarray, "draws examples"], bins: int
) -> Float[np.ndarray, " draws"]:
    """Compute sum_b |sum of the differences in bin b| / n, which equals sum_b (N_b / n) |mean
    difference|.
    """
    order = np.argsort(where, kind="stable")
    starts = np.flatnonzero(np.diff(where[order], prepend=-1))
    return np.abs(np.add.reduceat(difference[:, order], starts, axis=1)).sum(1) / len(where)


def _null_value(
    where: Int[np.ndarray, " examples"],
    confidence: Float[np.ndarray, " examples"],
    bins: int,
    key: Array | np.ndarray | None,
) -> NullValue:
    """Draw the ECE of predictions that are right as often as their confidence says."""
    key = jax.random.key(0) if key is None else as_key("key", key)
    rng = generator(key, "calibration")
    order = np.argsort(where, kind="stable")
    where, confidence = where[order], confidence[order].astype(np.float32)
    at_once = max(1, NULL_CELLS // len(where))
    drawn = [
        _ece(
            where,
            (rng.random((min(at_once, NULL_DRAWS - first), len(where)), np.float32) < confidence)
            - confidence,
            bins,
        )
        for first in range(0, NULL_DRAWS, at_once)
    ]
    values = np.concatenate(drawn)
    low, high = np.quantile(values, [0.025, 0.975])
    return NullValue(float(values.mean()), float(low), float(high))


def _squared_error(
    where: Int[np.ndarray, " examples"],
    difference: Float[np.ndarray, " examples"],
    bins: int,
    few: int,
    level: float,
) -> Estimate:
    """Compute the debiased squared calibration error.

    `few` is the number of wrong predictions, or of right ones if these are fewer.
    """
    n = len(where)
    count = np.bincount(where, minlength=bins)
    total, squares = (
        np.bincount(where, weights=values, minlength=bins) for values in (difference, difference**2)
    )
    kept = count > 1
    count, total, squares = count[kept], total[kept], squares[kept]
    if not len(count):
        return Estimate(math.nan, refused="no bin holds 2 examples; give more examples")
    # sum_b w_b E[correct - confidence | b]^2 is a U-statistic within each bin: unbiased, so that it
    # can be below 0. Its interval is normal: V = sum_b [4 w^2 max(U, 0) s^2 / N + 2 w^2 s^4 /
    # (N (N - 1))] + max(0, sum_b w U^2 - (sum_b w U)^2) / n. A bin with one example says nothing
    # and is left out.
    w, pairs = count / n, count * (count - 1)
    u = (total**2 - squares) / pairs
    variance = np.maximum(squares - total**2 / count, 0) / (count - 1)
    estimate = float(w @ u)
    if n < MIN_CALIBRATION_EXAMPLES:
        return Estimate(
            estimate,
            refused=(
                f"{n} examples are too few for an interval of the calibration error; at least "
                f"{MIN_CALIBRATION_EXAMPLES} are needed"
            ),
        )
    # Unseen outcomes then decide: with 2 mistakes among 100 the interval covers in 53% of studies.
    if few < MIN_OF_EACH_OUTCOME:
        return Estimate(
            estimate,
            refused=(
                f"{few} predictions are wrong, or right; at least {MIN_OF_EACH_OUTCOME} of both "
                "kinds are "
                "needed for an interval"
            ),
        )
    within = float(
        (w**2 * (4 * np.maximum(u, 0) * variance / count + 2 * variance**2 / pairs)).sum()
    )
    half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(
        within + max(0.0, float(w @ u**2) - estimate**2) / n
    )
    return Estimate(estimate, estimate - half, estimate + half)


def _overconfidence(
    confidence: Float[np.ndarray, " examples"], correct: np.ndarray, level: float
) -> Estimate:
    """Compute the mean of confidence - correct, with a normal interval.

    Where few predictions are wrong, or few are right, the interval combines that of the mean
    confidence with Wilson's of the accuracy (MOVER).
    """
    n, right = len(correct), int(correct.sum())
    difference = confidence - correct
    center, z = float(difference.mean()), NormalDist().inv_cdf((1 + level) / 2)
    if n < MIN_CALIBRATION_EXAMPLES:
        return Estimate(
            center,
            refused=(
                f"{n} examples are too few for an interval of overconfidence; at least "
                f"{MIN_CALIBRATION_EXAMPLES} are needed"
            ),
        )
    if min(right, n - right) < MIN_OF_EACH_OUTCOME:
        half = z * float(confidence.std(ddof=1)) / math.sqrt(n)
        center_ = float(confidence.mean())
        return combination(
            [1.0, -1.0],
            [Estimate(center_, center_ - half, center_ + half), wilson(right, n, level)],
        )
    half = z * float(difference.std(ddof=1)) / math.sqrt(n)
    return Estimate(center, center - half, center + half)
