"""An error rate from a few labels and predictions of the errors on all examples."""

import math

import numpy as np
from jaxtyping import Bool, Float

from jaxnet.stats.estimate import LEVEL, Estimate, exact

FEW = 5  # wrong, or right, labeled predictions below which only these are counted


def prediction_powered_rate(
    wrong: Bool[np.ndarray, " labeled"],
    predicted: Float[np.ndarray, " labeled"],
    others: Float[np.ndarray, " unlabeled"],
    level: float = LEVEL,
) -> tuple[Estimate, float]:
    """Compute the rate of errors from labeled examples, and from predictions for all examples.

    The rate among the labeled examples is corrected by lambda times the difference between the
    mean predictions of the unlabeled and the labeled examples. The lambda is the one of smallest
    variance, from 0 (which ignores the predictions) to 1. Predictions may be wrong in any way: the
    interval only becomes wider. It is Wilson's for the number of labels that would give the same
    variance without predictions, with a quantile of Student's t. With fewer than 5 wrong or 5 right
    labeled examples it is the exact binomial interval of the labeled examples alone.

    Args:
        wrong: (labeled,) whether each labeled example, drawn at random, was predicted wrongly.
        predicted: (labeled,) predicted probability that it is wrong. The labels must not have been
            used to make these predictions.
        others: (unlabeled,) the same for the examples without labels.
        level: confidence level of the interval.

    Returns:
        The rate, and its variance times the number of labels.

    References:
        Angelopoulos, Bates, Fannjiang, Jordan & Zrnic 2023, algorithm 1; Angelopoulos, Duchi &
        Zrnic 2023, section 6 (lambda); Wilson 1927; Clopper & Pearson 1934.
    """
    n, errors = len(wrong), int(wrong.sum())
    counted = exact(errors, n, level)
    rate = counted.estimate
    if min(errors, n - errors) < FEW:
        return counted, rate * (1 - rate)
    scatter = np.cov(np.stack([wrong.astype(np.float64), predicted]))
    weight = 0.0
    if len(others) > 1 and scatter[1, 1] > 1e-12:  # else they are equal but for rounding
        weight = float(scatter[0, 1] / scatter[1, 1]) / (1 + n / len(others))
        weight = min(1.0, max(0.0, weight))
    center = rate
    variance = float((wrong - weight * predicted).var(ddof=1 + (weight > 0)))
    if weight > 0:
        center += weight * float(others.mean() - predicted.mean())
        variance += weight**2 * n / len(others) * float(others.var(ddof=1))
    if not 0 < center < 1:
        return counted, rate * (1 - rate)
    from scipy.special import stdtrit

    z, labels = float(stdtrit(n - 1, (1 + level) / 2)), n * center * (1 - center) / variance
    middle = (center + z * z / (2 * labels)) / (1 + z * z / labels)
    half = z / (1 + z * z / labels)
    half *= math.sqrt(center * (1 - center) / labels + z * z / (4 * labels**2))
    return Estimate(center, middle - half, middle + half), variance
