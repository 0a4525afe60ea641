"""The error on examples without labels, from confidence that was calibrated on labeled examples, or
from labels of a few of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxnet import arrays, display
from jaxnet.errors import InputError
from jaxnet.stats.estimate import LEVEL, Estimate
from jaxnet.stats.label_shift import label_shift, weighted_distance
from jaxnet.stats.prediction_powered import prediction_powered_rate
from jaxnet.typing import ArrayLike

MIN_REFERENCE_ERRORS = 5  # wrong, and as many right, predictions to calibrate with
MIN_REFERENCE, MIN_NEW = 100, 100  # examples of the reference and new examples
# Log-odds by which calibration may be off: where outputs moved by the largest distance, 1, and
# where all predictions moved to other classes.
DISTANCE_ALLOWANCE = 2.5
FREQUENCY_ALLOWANCE = 0.5
MAX_DISTANCE = 0.35  # beyond this distance, confidence was seen to say nothing about the error
MAX_LOG_ODDS = 40.0  # confidence with larger log-odds counts as certain
MAX_UNCERTAINTY = 1.5  # log-odds between the errors under different assumptions
MAX_DIVIDED = 0.05  # share of new examples on which members disagree as on no reference example
# Share of new examples that may lie where they are 5 times as dense as the reference, from the
# distance of the tenth reference example, among so many examples of either sample, whose
# log-probabilities count down to the last number.
MAX_CROWDED, CROWDING, NEIGHBORS, MAX_COMPARED, MAX_CROWD_LOG_ODDS = 0.1, 5.0, 10, 1000, 20.0
ROUNDING = 1e-5  # of squared distances in float32, as a share of the mean square
NOISE_FACTORS = tuple(2 ** (i / 2) for i in range(-4, 5))  # that are tried first,
NOISE_STEPS = tuple(2 ** (i / 8) for i in (-3, -2, -1, 1, 2, 3))  # then times the best of them
MAX_NOISE_EXAMPLES = 2000  # of either sample, for the search of the noise factor
MAX_CLASSES = 10  # whose outputs are compared: the most frequent predictions on the new examples
# Distances of two equal samples, times sqrt(n m / (n + m)): of the usual size, and exceeded by 5%.
CHANCE_DISTANCE, CRITICAL_DISTANCE = 1.0, 1.36
BUMP = 2.0  # share of examples of a new kind, at most, over the distance that they cause
MIN_VARIANCE = 0.02 * 0.98  # of one label, for the width that more of them would give
SUGGESTED_LABELS = (50, 100, 200, 400)
CURE = (
    "label 50 to 200 of them, drawn at random, and give estimate_error_without_labels "
    "labeled=(rows, y)"
)
SAME_CONFIDENCE, CLASS_FREQUENCIES, NOISE = "equal confidence", "class frequencies", "noise"


@dataclass(frozen=True)
class UnlabeledError:
    """The error on new examples as confidence or a few labels tell it.

    Attributes:
        error: share predicted wrongly, with its 95% interval; refused where the assumption is seen
            to be broken, unless there are labels.
        broken: why the assumption is broken, or None.
        distance: largest Kolmogorov-Smirnov distance, 0 to 1, of the confidence and of each output.
            For outputs, the reference is reweighted to the new frequencies of predicted classes.
        frequencies: total variation distance of the frequencies of predicted classes, 0 to 1.
        reference: error on the reference.
        slope: 1 for calibrated confidence, less for overconfidence.
        disagreement: share of new examples on which the first member and another one differ,
            averaged over the others; None for a single member.
        counts: number of reference and of new examples.
        assumptions: error under each assumption that the outputs do not exclude: "equal
            confidence", "class frequencies" and "noise"; empty with labels.
        noise: factor by which outputs scatter more within each class than on the reference; NaN
            with labels.
        unexplained: Kolmogorov-Smirnov distance of the outputs that is left, beyond chance, once
            the reference has that noise and the new frequencies of predictions; NaN with labels.
        labels: number of labeled new examples that the error was estimated with.
        half_widths: (labels, half-width) pairs: how wide a 95% interval from that many labels is.
    """

    error: Estimate
    broken: str | None
    distance: float
    frequencies: float
    reference: float
    slope: float
    disagreement: float | None
    counts: tuple[int, int]
    assumptions: dict[str, float]
    noise: float
    unexplained: float
    labels: int
    half_widths: tuple[tuple[int, float], ...]

    __repr__ = display.text

    def __str__(self) -> str:
        error = self.error
        number = "not known" if math.isnan(error.estimate) else f"{error.estimate:.1%}"
        words = f"error {number}" + (
            f" ({error.low:.1%} to {error.high:.1%})" if error.refused is None else ", no interval"
        )
        words += f", {self.reference:.1%} on the reference. "
        if self.labels:
            words += f"It is estimated from {self.labels} labels and {self.counts[1]:,} outputs. "
        elif error.refused is not None:
            words += f"No interval can be given: {error.refused}. "
        else:
            words += (
                "This assumes that examples of equal confidence are wrong about as often as "
                "before. Without labels nobody can see whether the same inputs have other labels "
                f"now, that is, a change of p(y|x); to be sure, {CURE}. "
            )
        widths = ", ".join(
            f"{labels} labels: ±{100 * half:.1f}" for labels, half in self.half_widths
        )
        return words + f"Points of a 95% interval, whatever has changed: {widths}"


class _Noise(NamedTuple):
    """The reference with more or less scatter within each class, so that it is most like the new
    examples.

    Attributes:
        factor: of the scatter.
        error: of the first member on it.
        least: smallest error among the factors that the new examples do not exclude.
        most: largest error among them.
        unexplained: Kolmogorov-Smirnov distance from the new examples, beyond chance.
    """

    factor: float
    error: float
    least: float
    most: float
    unexplained: float


def estimate_error_without_labels(
    reference_log_probabilities: ArrayLike,
    reference_labels: ArrayLike,
    new_log_probabilities: ArrayLike,
    level: float = LEVEL,
    *,
    labeled: Sequence[ArrayLike] | None = None,
) -> UnlabeledError:
    """Estimate the error of a network on more examples like the new ones, from its confidence on
    them, or from labels of a few of them.

    Without labels, the probability of an error is modeled as logistic in the log-odds of the
    confidence, fitted on the reference, and averaged over the new examples (confidence-based
    performance estimation). Where inputs change, examples of equal confidence are no longer wrong
    equally often. So the error is computed under two more assumptions: the examples of each class
    look as before and only class frequencies changed (`label_shift`, where its test does not
    exclude that), and the outputs of each class scatter more or less around their mean, as they do
    where inputs become noisier. The interval goes from the smallest of these errors to the largest,
    for every amount of noise that the outputs do not exclude. On the logit scale it adds the
    sampling of the new examples, the sampling of the reference through the fit (sandwich), and an
    allowance of 2.5 log-odds times `distance` beyond chance plus 0.5 times `frequencies`. Finally,
    rows of a new kind may be wrong, or right: they are at most twice the share `unexplained`, and a
    cluster in one of K classes may pass for other frequencies, which adds `frequencies` / K to the
    upper limit. These numbers were measured (experiments/benchmarks/unlabeled_error.py and
    unlabeled_tables.py) and are no law. A change of the labels that go with the same inputs,
    p(y|x), cannot be seen without labels.

    With labels of examples drawn at random nothing is assumed: the error among them is corrected by
    what the confidence says of the others (prediction-powered inference).

    Args:
        reference_log_probabilities: (examples, classes), in nats, or (members, examples, classes):
            the error is then the first member's, and the confidence is what all members together
            give to its prediction.
        reference_labels: (examples,) class numbers; neither the training of a member nor the choice
            of it may have used these examples.
        new_log_probabilities: log-probabilities of the new examples, of the same members and
            classes.
        level: confidence level of the interval.
        labeled: (rows, y): row numbers of new examples that were drawn at random, and their class
            numbers. 50 to 200 are useful.

    Returns:
        The error. Without labels, its interval is refused for too few examples or errors; beyond a
        `distance` of 0.35; where the assumptions differ by more than 1.5 log-odds; where members
        disagree on more than 5% of the new examples more than on any reference example; and where
        more than 10% of them have outputs that are at least 5 times as dense as on the reference.

    Raises:
        InputError: for arrays that do not fit each other.

    References:
        Platt 1999 (the logistic fit); White 1982 (the sandwich); Lipton, Wang & Smola 2018 (class
        frequencies); Angelopoulos, Bates, Fannjiang, Jordan & Zrnic 2023 (a few labels).
    """
    old, labels, new = _checked(
        reference_log_probabilities, reference_labels, new_log_probabilities, level
    )
    before, now = doubt(old), doubt(new)
    frequencies, distance = _distances(old, new, before, now)
    found = UnlabeledError(
        error=Estimate(math.nan),
        broken=None,
        distance=distance,
        frequencies=frequencies,
        reference=float(arrays.wrong(old[0], labels).mean()),
        slope=math.nan,
        disagreement=None if len(new) == 1 else _disagreement(new),
        counts=(old.shape[1], new.shape[1]),
        assumptions={},
        noise=math.nan,
        unexplained=math.nan,
        labels=0,
        half_widths=_half_widths(0.25, level),
    )
    if labeled is not None:
        return _with_labels(found, old, labels, new, level, *_checked_labeled(labeled, new))
    return _without_labels(found, old, labels, new, level)


def _with_labels(
    found: UnlabeledError,
    old: np.ndarray,
    labels: np.ndarray,
    new: np.ndarray,
    level: float,
    rows: np.ndarray,
    y: np.ndarray,
) -> UnlabeledError:
    """Estimate the error from labels of some rows, and what confidence says of all."""
    share, wrong = _logit_inverse(doubt(new)), arrays.wrong(old[0], labels)
    if _too_few(wrong, new.shape[1]) is None:
        fit, _ = logistic_regression(doubt(old), wrong)
        share = _logit_inverse(fit[0] + fit[1] * doubt(new))
    error, variance = prediction_powered_rate(
        arrays.wrong(new[0, rows], y), share[rows], np.delete(share, rows), level
    )
    widths = _half_widths(max(variance, MIN_VARIANCE), level)
    return replace(found, error=error, labels=len(rows), half_widths=widths)


def _without_labels(
    found: UnlabeledError, old: np.ndarray, labels: np.ndarray, new: np.ndarray, level: float
) -> UnlabeledError:
    """Estimate the error from confidence alone."""
    (n, m), wrong = found.counts, arrays.wrong(old[0], labels)
    few = _too_few(wrong, m)
    if few is not None:
        return replace(found, error=Estimate(math.nan, refused=f"{few}; or {CURE}"))
    before, now = doubt(old), doubt(new)
    fit, covariance = logistic_regression(before, wrong)
    share = _logit_inverse(fit[0] + fit[1] * now)
    mean = float(share.mean())
    gradient = ((share * (1 - share))[:, None] * np.stack([np.ones(m), now], 1)).mean(0)
    variance = float(share.var(ddof=1)) / m + float(gradient @ covariance @ gradient)
    noise = _noise(old[0], labels, new[0])
    assumptions = {SAME_CONFIDENCE: mean, NOISE: noise.error}
    by_class = _error_by_class_frequencies(old[0], labels, new[0])
    if by_class is not None:
        assumptions[CLASS_FREQUENCIES] = by_class
    moved = max(0.0, found.distance - CHANCE_DISTANCE * math.sqrt(1 / n + 1 / m))
    reach = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(variance) / (mean * (1 - mean))
    reach += DISTANCE_ALLOWANCE * moved + FREQUENCY_ALLOWANCE * found.frequencies
    least = _log_odds(min(noise.least, *assumptions.values())) - reach
    most = _log_odds(max(noise.most, *assumptions.values())) + reach
    low, high = _logit_inverse(np.array([least, most])).tolist()
    unknown = BUMP * noise.unexplained
    low = min(mean, max(0.0, low - unknown))
    high = max(mean, min(1.0, high + unknown + found.frequencies / new.shape[2]))
    found = replace(
        found,
        error=Estimate(mean, low, high),
        slope=float(fit[1]),
        assumptions=assumptions,
        noise=noise.factor,
        unexplained=noise.unexplained,
    )
    broken = _why_broken(found, old, new)
    if broken is not None:
        refused = f"{broken}; {CURE}"
        return replace(found, error=Estimate(mean, refused=refused), broken=refused)
    likely = min(max(0.5, low), high)
    return replace(found, half_widths=_half_widths(likely * (1 - likely), level))


def _error_by_class_frequencies(
    old: np.ndarray, labels: np.ndarray, new: np.ndarray
) -> float | None:
    """Compute the error if only class frequencies changed; None where the outputs exclude that."""
    found = label_shift(old, labels, new)
    if found.refused is not None or found.broken is not None:
        return None
    wrong_of = np.bincount(labels, arrays.wrong(old, labels)) / np.bincount(labels)
    return float(wrong_of @ [each.estimate for each in found.frequencies])


def _too_few(wrong: Bool[np.ndarray, " examples"], new: int) -> str | None:
    """Say why confidence cannot be calibrated, if it cannot."""
    n, errors = len(wrong), int(wrong.sum())
    if n < MIN_REFERENCE or new < MIN_NEW:
        return (
            f"{n} reference and {new} new examples are too few; at least {MIN_REFERENCE} and "
            f"{MIN_NEW} are needed"
        )
    if min(errors, n - errors) < MIN_REFERENCE_ERRORS:
        return (
            f"{errors} of {n} reference examples are wrong; at least {MIN_REFERENCE_ERRORS} wrong "
            f"and {MIN_REFERENCE_ERRORS} right ones are needed"
        )
    return None


def _why_broken(found: UnlabeledError, old: np.ndarray, new: np.ndarray) -> str | None:
    """Say what the outputs exclude, if they do."""
    high, errors = found.error.high, found.assumptions.values()
    if found.slope <= 0:
        return "on the reference, confident predictions are not more often right"
    if found.distance > MAX_DISTANCE:
        return (
            f"outputs moved by {found.distance:.2f} of 1, and beyond {MAX_DISTANCE} confidence "
            "says nothing about the error on the new examples"
        )
    if (divided := _divided(old, new)) > MAX_DIVIDED:
        return (
            f"on {divided:.1%} of the new examples the networks disagree more than on any "
            "reference example, so confidence was not calibrated for such examples"
        )
    if (crowded := _crowded(old, new)) > MAX_CROWDED:
        return (
            f"{crowded:.1%} of the new examples have outputs that few reference examples have, so "
            "they may be of a new kind, for which confidence was not calibrated"
        )
    if found.disagreement is not None and found.disagreement / 2 > high:
        return (
            f"members differ on {found.disagreement:.1%} of the new examples, so one of two is "
            f"wrong on more than {high:.1%} of the new examples"
        )
    if _log_odds(max(errors)) - _log_odds(min(errors)) > MAX_UNCERTAINTY:
        less = "less" if found.noise < 1 else "more"
        return (
            f"outputs moved as if inputs had {less} noise, by a factor of {found.noise:.2g}: then "
            f"the error is {found.assumptions[NOISE]:.1%}, but it is "
            f"{found.assumptions[SAME_CONFIDENCE]:.1%} if confidence means what it meant, and "
            "without labels nobody can see which one holds"
        )
    return None


def _half_widths(variance: float, level: float) -> tuple[tuple[int, float], ...]:
    """Compute half-widths of intervals from labels, from the variance of one label."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    return tuple((count, z * math.sqrt(variance / count)) for count in SUGGESTED_LABELS)


def _disagreement(new: np.ndarray) -> float:
    """Compute the share of examples on which the first member and another one differ."""
    return float((new[0].argmax(1) != new[1:].argmax(2)).mean())


def _divided(old: np.ndarray, new: np.ndarray) -> float:
    """Compute the share of new examples on which members disagree more than on any reference
    example: the mean total variation distance from their mean probabilities.
    """
    there, here = (np.abs(p - p.mean(0)).sum(2).mean(0) for p in (np.exp(old), np.exp(new)))
    return float((here > there.max()).mean())


def _crowded(old: np.ndarray, new: np.ndarray) -> float:
    """Compute the share of new examples whose outputs lie where new examples are at least
    CROWDING times as dense as the reference, reweighted to the new frequencies of predicted
    classes.

    The density of the reference is that of the nearest reference examples, in the centered
    log-probabilities of the most frequent classes according to all members.

    References:
        Loftsgaarden & Quesenberry 1965 (density from nearest neighbors).
    """
    rng, often = np.random.default_rng(0), _most_frequent(new[0])
    kept = rng.permutation(old.shape[1])[:MAX_COMPARED]
    weights = _weights(old[0], new[0])[kept]
    if not weights.any():
        return 1.0
    there = _joint(old[:, kept], often)
    here = _joint(new[:, rng.permutation(new.shape[1])[:MAX_COMPARED]], often)
    apart = _squared_distances(here, there)
    reach = np.partition(apart, NEIGHBORS - 1, 1)[:, NEIGHBORS - 1 : NEIGHBORS]
    reach = reach + ROUNDING * (here * here).sum(1).mean()  # outputs may be equal
    near = (_squared_distances(here, here) <= reach).sum(1) - 1
    expected = np.maximum((apart <= reach) @ weights, 0.5) / weights.sum()
    return float((near / (len(here) - 1) >= CROWDING * expected).mean())


def _joint(outputs: np.ndarray, often: np.ndarray) -> np.ndarray:
    """Put the centered log-probabilities of all members side by side: (examples, outputs)."""
    logits = np.maximum(outputs, -MAX_CROWD_LOG_ODDS)
    logits = (logits - logits.mean(2, keepdims=True))[..., often]
    return logits.transpose(1, 0, 2).reshape(logits.shape[1], -1).astype(np.float32)


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T


def _noise(old: np.ndarray, labels: np.ndarray, new: np.ndarray) -> _Noise:
    """Find the factor of the scatter of the reference's outputs around the mean of their class,
    with which they are most like the new outputs.

    Args:
        old: (examples, classes) log-probabilities of the reference.
        labels: (examples,) their classes.
        new: (examples, classes) log-probabilities of the new examples.
    """
    rng = np.random.default_rng(0)
    kept = rng.permutation(len(old))[:MAX_NOISE_EXAMPLES]
    old, labels = np.maximum(old[kept], -MAX_LOG_ODDS), labels[kept]
    new = np.maximum(new[rng.permutation(len(new))[:MAX_NOISE_EXAMPLES]], -MAX_LOG_ODDS)
    sums = np.zeros((old.shape[1], old.shape[1]))
    np.add.at(sums, labels, old)
    counts = np.bincount(labels, minlength=len(sums))
    centers = (sums / np.maximum(counts, 1)[:, None])[labels]
    often = _most_frequent(new)
    now = doubt(new[None])

    def like(factor: float) -> tuple[float, float, float]:
        """Scatter the reference by a factor; return (distance, factor, error)."""
        moved = centers + factor * (old - centers)
        moved -= np.logaddexp.reduce(moved, 1)[:, None]
        weights = _weights(moved, new)
        if not weights.any():
            return 1.0, factor, 0.5
        there = np.maximum(moved, -MAX_LOG_ODDS)
        outputs = (weighted_distance(there[:, k], new[:, k], weights) for k in often)
        distance = max(weighted_distance(doubt(moved[None]), now, weights), *outputs)
        return distance, factor, float(weights @ arrays.wrong(moved, labels) / weights.sum())

    tried = [like(factor) for factor in NOISE_FACTORS]
    tried += [like(min(tried)[1] * step) for step in NOISE_STEPS]
    distance, factor, error = min(tried)
    scale = math.sqrt(1 / len(old) + 1 / len(new))
    errors = [each[2] for each in tried if each[0] <= max(distance, CRITICAL_DISTANCE * scale)]
    unexplained = max(0.0, distance - CHANCE_DISTANCE * scale)
    return _Noise(factor, error, min(errors), max(errors), unexplained)


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
    was, are = (_frequencies(each[0]) for each in (old, new))
    # Reweight the reference to the new frequencies, so that their change is not measured again.
    weights = _weights(old[0], new[0])
    if not weights.any():
        return 1.0, 1.0
    together = [np.logaddexp.reduce(each, 0).T for each in (old, new)]
    outputs = (weighted_distance(a, b, weights) for a, b in zip(*together, strict=True))
    return float(np.abs(was - are).sum()) / 2, max(
        weighted_distance(before, now, np.ones(len(before))), *outputs
    )


def _frequencies(outputs: np.ndarray) -> np.ndarray:
    """Compute the frequencies of predicted classes."""
    return np.bincount(outputs.argmax(1), minlength=outputs.shape[1]) / len(outputs)


def _most_frequent(outputs: np.ndarray) -> np.ndarray:
    """Find the most frequent predicted classes."""
    return np.argsort(-_frequencies(outputs), kind="stable")[:MAX_CLASSES]


def _weights(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Compute weights of examples with which predicted classes are as frequent as in `new`."""
    was, are = _frequencies(old), _frequencies(new)
    return np.divide(are, was, out=np.zeros(len(was)), where=was > 0)[old.argmax(1)]


def _logit_inverse(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))


def _log_odds(p: float) -> float:
    p = min(max(p, 1e-9), 1 - 1e-9)
    return math.log(p / (1 - p))


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


def _checked_labeled(
    labeled: Sequence[ArrayLike], new: np.ndarray
) -> tuple[Int[np.ndarray, " labeled"], Int[np.ndarray, " labeled"]]:
    """Check row numbers and class numbers of labeled new examples."""
    if len(labeled) != 2:
        raise InputError(
            f"labeled has {len(labeled)} parts; give two: row numbers of new examples, and their "
            "class numbers"
        )
    count = np.size(labeled[0])
    if not count:
        raise InputError("labeled has no rows; give those of at least 1 new example")
    rows = arrays.labels("rows of labeled", labeled[0], count, new.shape[1])
    twice = np.flatnonzero(np.bincount(rows) > 1)
    if len(twice):
        raise InputError(
            f"rows of labeled hold {twice[0]} more than once; give every row once, with its label"
        )
    return rows, arrays.labels("y of labeled", labeled[1], count, new.shape[2])
