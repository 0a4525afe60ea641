"""The error on examples without labels, from confidence that was calibrated on labeled examples."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float

from jaxnet import arrays, display
from jaxnet.errors import InputError
from jaxnet.stats.estimate import LEVEL, Estimate
from jaxnet.typing import ArrayLike

MIN_REFERENCE_ERRORS = 5  # wrong, and as many right, predictions to calibrate with
MIN_REFERENCE, MIN_NEW = 100, 100  # examples of the reference and new examples
# Log-odds by which calibration may be off: where outputs moved by the largest distance, 1, and
# where all predictions moved to other classes.
DISTANCE_ALLOWANCE = 2.5
FREQUENCY_ALLOWANCE = 0.5
MAX_DISTANCE = 0.35  # beyond this distance, confidence was seen to say nothing about the error
MAX_LOG_ODDS = 40.0  # confidence with larger log-odds counts as certain


@dataclass(frozen=True)
class UnlabeledError:
    """The error on new examples as confidence tells it, if examples of equal confidence are wrong
    equally often.

    Attributes:
        error: share predicted wrongly, with its 95% interval; refused where the assumption is seen
            to be broken.
        broken: why the assumption is broken, or None.
        distance: largest Kolmogorov-Smirnov distance, 0 to 1, of the confidence and of each output.
            For outputs, the reference is reweighted to the new frequencies of predicted classes.
        frequencies: total variation distance of the frequencies of predicted classes, 0 to 1.
        reference: error on the reference.
        slope: 1 for calibrated confidence, less for overconfidence.
        disagreement: share of new examples on which the first member and another one differ,
            averaged over the others; None for a single member.
        counts: number of reference and of new examples.
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
) -> UnlabeledError:
    """Estimate the error of a network on more examples like the new ones, from its confidence on
    them.

    The probability of an error is modeled as logistic in the log-odds of the confidence, fitted on
    the reference, and averaged over the new examples (confidence-based performance estimation). On
    the logit scale the interval adds up the sampling of the new examples, the sampling of the
    reference through the fit (sandwich), and an allowance: where inputs change, examples of equal
    confidence are no longer wrong equally often, and the less so the farther outputs moved. The
    allowance is 2.5 log-odds times `distance` plus 0.5 times `frequencies`. These numbers were
    measured (experiments/benchmarks/unlabeled_error.py) and are no law: a change that leaves
    outputs as they were cannot be seen here.

    Args:
        reference_log_probabilities: (examples, classes), in nats, or (members, examples, classes):
            the error is then the first member's, and the confidence is what all members together
            give to its prediction.
        reference_labels: (examples,) class numbers; neither the training of a member nor the choice
            of it may have used these examples.
        new_log_probabilities: log-probabilities of the new examples, of the same members and
            classes.
        level: confidence level of the interval.

    Returns:
        The error. Its interval is refused beyond a `distance` of 0.35, and for too few examples or
        errors.

    Raises:
        InputError: for arrays that do not fit each other.

    References:
        Platt 1999 (the logistic fit); White 1982 (the sandwich).
    """
    old, labels, new = _checked(
        reference_log_probabilities, reference_labels, new_log_probabilities, level
    )
    (n, m), wrong = (old.shape[1], new.shape[1]), arrays.wrong(old[0], labels)
    before, now = doubt(old), doubt(new)
    frequencies, distance = _distances(old, new, before, now)
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
        return UnlabeledError(
            Estimate(math.nan, refused=few),
            None,
            distance,
            frequencies,
            error,
            math.nan,
            disagreement,
            (n, m),
        )
    fit, covariance = logistic_regression(before, wrong)
    share = _logit_inverse(fit[0] + fit[1] * now)
    mean = float(share.mean())
    gradient = (share * (1 - share))[:, None] * np.stack([np.ones(m), now], 1)
    variance = float(share.var(ddof=1)) / m + float(
        gradient.mean(0) @ covariance @ gradient.mean(0)
    )
    reach = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(variance) / (mean * (1 - mean))
    reach += DISTANCE_ALLOWANCE * distance + FREQUENCY_ALLOWANCE * frequencies
    center = math.log(mean / (1 - mean))
    low, high = _logit_inverse(np.array([center - reach, center + reach])).tolist()
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
    return UnlabeledError(
        estimate, broken, distance, frequencies, error, float(fit[1]), disagreement, (n, m)
    )


def doubt(
    log_probabilities: Float[np.ndarray, "members examples classes"],
) -> Float[np.ndarray, " examples"]:
    """Compute the log-odds, clipped to MAX_LOG_ODDS, that the first member's prediction is wrong,
    according to all members together.
    """
    together = np.logaddexp.reduce(log_probabilities, 0) - math.log(len(log_probabilities))
    predicted = log_probabilities[0].argmax(1)[:, None] == np.arange(together.shape[1])
    chosen = together[predicted]
    others = np.logaddexp.reduce(np.where(predicted, -np.inf, together), 1)
    return np.clip(others - chosen, -MAX_LOG_ODDS, MAX_LOG_ODDS)


def logistic_regression(
    x: Float[np.ndarray, " examples"], wrong: Bool[np.ndarray, " examples"]
) -> tuple[np.ndarray, np.ndarray]:
    """Fit the log-odds of an error as a line in x, by Newton's method.

    Args:
        x: (examples,) what the error depends on.
        wrong: (examples,) whether each example was predicted wrongly; some are, and some are not.

    Returns:
        Intercept and slope, and their sandwich covariance.
    """
    design, y = np.stack([np.ones(len(x)), x], 1), wrong.astype(np.float64)
    fit = np.array([math.log(y.mean() / (1 - y.mean())), 0.0])
    ridge = 1e-9 * len(x) * np.eye(2)
    for _ in range(50):
        p = _logit_inverse(design @ fit)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + ridge
        step = np.linalg.solve(hessian, design.T @ (y - p))
        # Damp steps that are too long.
        fit = fit + step * min(1.0, 2.0 / max(1e-12, float(np.abs(step).max())))
        if np.abs(step).max() < 1e-10:
            break
    scores = design * (y - p)[:, None]
    inverse = np.linalg.inv(hessian)
    return fit, inverse @ (scores.T @ scores) @ inverse


def _distances(
    old: np.ndarray, new: np.ndarray, before: np.ndarray, now: np.ndarray
) -> tuple[float, float]:
    """Compute how far the frequencies of predicted classes moved, and the largest distance of
    confidence and outputs.
    """
    predicted, classes = (old[0].argmax(1), new[0].argmax(1)), old.shape[2]
    was, are = (np.bincount(each, minlength=classes) / len(each) for each in predicted)
    # Reweight the reference to the new frequencies, so that their change is not measured again.
    weights = np.divide(are, was, out=np.zeros(classes), where=was > 0)[predicted[0]]
    if not weights.any():
        return 1.0, 1.0
    together = [np.logaddexp.reduce(each, 0) for each in (old, new)]
    outputs = (_distance(together[0][:, k], together[1][:, k], weights) for k in range(classes))
    return float(np.abs(was - are).sum()) / 2, max(
        _distance(before, now, np.ones(len(before))), *outputs
    )


def _distance(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> float:
    """Compute the Kolmogorov-Smirnov distance of two samples, where `weights` are those of the
    first.
    """
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
