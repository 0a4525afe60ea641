"""The error on examples without labels, from confidences that were calibrated where there are
labels.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float

from jaxnet import arrays, display
from jaxnet.errors import InputError
from jaxnet.stats.estimate import LEVEL, Estimate
from jaxnet.typing import ArrayLike

MIN_REFERENCE_ERRORS = 5  # and as many right: the fewest to calibrate with
MIN_REFERENCE, MIN_NEW = 100, 100  # the fewest examples
DISTANCE_ALLOWANCE = (
    2.5  # log-odds by which calibration may be off where outputs moved by the whole distance of 1
)
FREQUENCY_ALLOWANCE = 0.5  # and where all predictions went to other classes
MAX_DISTANCE = 0.35  # distance beyond which confidences were seen to say nothing of the error
MAX_LOG_ODDS = 40.0  # log-odds beyond which a confidence is certainty


@dataclass(frozen=True)
class UnlabelledError:
    """What confidences say of the error on new examples, as long as examples of equal confidence
    are as often wrong.

    error: share predicted wrongly, with its 95% interval; refused where the assumption is seen to
        be broken.
    broken: why so, or None. distance: the largest Kolmogorov-Smirnov distance, 0 to 1, of the
    confidences and of each output; of outputs as if the reference had the new frequencies of
    predicted classes. frequencies: total variation of these, 0 to 1.
    reference: the error on the reference. slope: 1 of confidences that are calibrated, less of such
        as are too sure.
    disagreement: share of new examples on which the first member and another differ, a mean over
        others; None of one alone.
    counts: examples of reference and new.
    """

    error: Estimate
    broken: str | None
    distance: float
    frequencies: float
    reference: float
    slope: float
    disagreement: float | None
    counts: tuple[int, int]

    __repr__ = display.text

    def __str__(self) -> str:
        return f"error {self.error}, {self.reference:.4f} on the reference" + (
            "" if self.broken is None else f"; beware: {self.broken}"
        )


def estimate_error_without_labels(
    reference_log_probabilities: ArrayLike,
    reference_labels: ArrayLike,
    new_log_probabilities: ArrayLike,
    level: float = LEVEL,
) -> UnlabelledError:
    """The error of a network on more examples like the new ones, from its confidences on them.

    reference_log_probabilities, new_log_probabilities: (examples, classes), or (members, examples,
    classes): then the error is the first member's, and the confidence is what all of them together
    give to its prediction.
    reference_labels: (examples,) class numbers; neither a member nor its choice may have seen these
        examples.

    The probability of an error is logistic in the log-odds of the confidence (Platt 1999), fitted
    on the reference, and averaged over the new examples (confidence-based performance estimation).
    On the logit scale the interval holds the sampling of the new examples, that of the reference,
    through the fit (sandwich; White 1982), and an allowance: where inputs change, examples of equal
    confidence are no longer as often wrong, and the less so the farther outputs moved. It is 2.5
    log-odds times `distance` and 0.5 times `frequencies`; beyond a distance of 0.35 the interval is
    refused. These numbers were measured (experiments/benchmarks/unlabelled_error.py) and are no
    law: a change that leaves outputs as they were cannot be seen here. Raises InputError for arrays
        that do not fit each other.
    """
    old, labels, new = _checked(
        reference_log_probabilities, reference_labels, new_log_probabilities, level
    )
    (n, m), wrong = (old.shape[1], new.shape[1]), arrays.wrong(old[0], labels)
    before, now = doubt(old), doubt(new)
    frequencies, distance = _moved(old, new, before, now)
    disagreement = None if len(new) == 1 else float((new[0].argmax(1) != new[1:].argmax(2)).mean())
    error = float(wrong.mean())
    few = None
    if n < MIN_REFERENCE or m < MIN_NEW:
        few = (
            f"{n} reference and {m} new examples are too few; at least {MIN_REFERENCE} and "
            f"{MIN_NEW} "
            "are needed"
        )
    elif min(wrong.sum(), n - wrong.sum()) < MIN_REFERENCE_ERRORS:
        few = (
            f"{int(wrong.sum())} of {n} reference examples are wrong; at least "
            f"{MIN_REFERENCE_ERRORS} wrong "
            f"and {MIN_REFERENCE_ERRORS} right ones are needed"
        )
    if few is not None:
        return UnlabelledError(
            Estimate(math.nan, refused=few),
            None,
            distance,
            frequencies,
            error,
            math.nan,
            disagreement,
            (n, m),
        )
    fit, covariance = _logistic(before, wrong)
    share = _logit_inverse(fit[0] + fit[1] * now)
    mean = float(share.mean())
    gradient = (share * (1 - share))[:, None] * np.stack([np.ones(m), now], 1)
    variance = float(share.var(ddof=1)) / m + float(
        gradient.mean(0) @ covariance @ gradient.mean(0)
    )
    reach = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(variance) / (mean * (1 - mean))
    reach += DISTANCE_ALLOWANCE * distance + FREQUENCY_ALLOWANCE * frequencies
    centre = math.log(mean / (1 - mean))
    low, high = _logit_inverse(np.array([centre - reach, centre + reach])).tolist()
    broken = None
    if fit[1] <= 0:
        broken = "on the reference, confident predictions are not more often right"
    elif distance > MAX_DISTANCE:
        broken = (
            f"outputs moved by {distance:.2f} of 1, and beyond {MAX_DISTANCE} confidences say "
            "nothing of the error; label some examples"
        )
    elif disagreement is not None and disagreement / 2 > high:
        broken = (
            f"members differ on {disagreement:.1%} of the new examples, so one of two is "
            f"wrong on more than {high:.1%}"
        )
    estimate = Estimate(mean, low, high) if broken is None else Estimate(mean, refused=broken)
    return UnlabelledError(
        estimate, broken, distance, frequencies, error, float(fit[1]), disagreement, (n, m)
    )


def doubt(
    log_probabilities: Float[np.ndarray, "members examples classes"],
) -> Float[np.ndarray, " examples"]:
    """The log-odds that the first member's prediction is wrong, as the members together see it."""
    together = np.logaddexp.reduce(log_probabilities, 0) - math.log(len(log_probabilities))
    predicted = log_probabilities[0].argmax(1)[:, None] == np.arange(together.shape[1])
    chosen = together[predicted]
    others = np.logaddexp.reduce(np.where(predicted, -np.inf, together), 1)
    return np.clip(others - chosen, -MAX_LOG_ODDS, MAX_LOG_ODDS)


def _logistic(
    x: Float[np.ndarray, " examples"], wrong: Bool[np.ndarray, " examples"]
) -> tuple[np.ndarray, np.ndarray]:
    """(intercept and slope of the log-odds of an error, their covariance by the sandwich), by
    Newton's method.
    """
    design, y = np.stack([np.ones(len(x)), x], 1), wrong.astype(np.float64)
    fit = np.array([math.log(y.mean() / (1 - y.mean())), 0.0])
    ridge = 1e-9 * len(x) * np.eye(2)
    for _ in range(50):
        p = _logit_inverse(design @ fit)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + ridge
        step = np.linalg.solve(hessian, design.T @ (y - p))
        # Half steps where a whole one goes too far.
        fit = fit + step * min(1.0, 2.0 / max(1e-12, float(np.abs(step).max())))
        if np.abs(step).max() < 1e-10:
            break
    scores = design * (y - p)[:, None]
    inverse = np.linalg.inv(hessian)
    return fit, inverse @ (scores.T @ scores) @ inverse


def _moved(
    old: np.ndarray, new: np.ndarray, before: np.ndarray, now: np.ndarray
) -> tuple[float, float]:
    """(how far the frequencies of predicted classes are apart, the largest distance of confidences
    and outputs).
    """
    predicted, classes = (old[0].argmax(1), new[0].argmax(1)), old.shape[2]
    was, are = (np.bincount(each, minlength=classes) / len(each) for each in predicted)
    # As if the reference had the new frequencies: what is left is not their change.
    weights = np.divide(are, was, out=np.zeros(classes), where=was > 0)[predicted[0]]
    if not weights.any():
        return 1.0, 1.0
    together = [np.logaddexp.reduce(each, 0) for each in (old, new)]
    outputs = (_distance(together[0][:, k], together[1][:, k], weights) for k in range(classes))
    return float(np.abs(was - are).sum()) / 2, max(
        _distance(before, now, np.ones(len(before))), *outputs
    )


def _distance(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> float:
    """The Kolmogorov-Smirnov distance of two samples, the first of them weighted."""
    values, order = np.concatenate([a, b]), np.argsort(a)
    cumulative = np.concatenate([[0.0], np.cumsum(weights[order])]) / weights.sum()
    below = (
        cumulative[np.searchsorted(a[order], values, side="right")],
        np.searchsorted(np.sort(b), values, side="right") / len(b),
    )
    return float(np.abs(below[0] - below[1]).max())


def _logit_inverse(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))


def _checked(
    reference: ArrayLike, labels: ArrayLike, new: ArrayLike, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    given = {"reference_log_probabilities": reference, "new_log_probabilities": new}
    both = {name: arrays.array(name, each) for name, each in given.items()}
    axes = {
        name: arrays.MEMBER_AXES if each.ndim == 3 else arrays.EXAMPLE_AXES
        for name, each in both.items()
    }
    old, fresh = (arrays.log_probabilities(name, each, axes[name]) for name, each in both.items())
    if old.shape[-1] < 2:
        raise InputError(
            f"log-probabilities are of {old.shape[-1]} class; give those of at least 2"
        )
    if (
        old.ndim != fresh.ndim
        or old.shape[-1] != fresh.shape[-1]
        or (old.ndim == 3 and len(old) != len(fresh))
    ):
        raise InputError(
            f"log-probabilities have shapes {old.shape} and {fresh.shape}; give the same members "
            "and classes twice"
        )
    y = arrays.labels("reference_labels", labels, *old.shape[-2:])
    if not 0 < level < 1:
        raise InputError(f"level is {level!r}; give a probability between 0 and 1")
    old, fresh = (given.astype(np.float64).reshape(-1, *given.shape[-2:]) for given in (old, fresh))
    return old, y, fresh
