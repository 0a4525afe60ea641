"""How probable it is that a label is wrong, from networks that did not learn from this label.

The model: the true class of an example is one that sharpened predictions of the networks hold
likely, and a label of class k is changed into another one with a probability of k's own, by a
pattern of k's own. Both are fitted on the easier examples, on which networks err rarely; then hard
examples, which networks often get wrong, do not pass for wrong labels. The sharpening is that with
which all labels are most likely.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxnet import display
from jaxnet.stats.estimate import LEVEL, Estimate
from jaxnet.stats.label_errors import PLATEAU, Opinion, rank_of_margin

# of the EM algorithm, and the change of the number of wrong labels at its end
STEPS, CLOSE = 200, 1e-3
STEPS_AGAIN = 10  # for resampled examples, from where the fit ended
RESAMPLED = 40  # samples of examples that show how certain the fit is
FIRST_RATE = 0.05  # of wrong labels, where the algorithm begins
# Counts that are added to those of the wrong labels of each class, spread over the other classes,
# and to its examples, with the rate of all classes.
PATTERN_COUNTS, RATE_COUNTS = 1.0, 2.0
TINY = 1e-30


class Fit(NamedTuple):
    """The parameters of the model.

    Attributes:
        sharpness: the power to which probabilities of the networks are raised.
        rate: (classes,) probability that a label of each true class is wrong.
        pattern: (classes, classes) what a wrong label of each true class is; its rows add up to 1.
    """

    sharpness: float
    rate: Float[np.ndarray, " classes"]
    pattern: Float[np.ndarray, "classes classes"]


@dataclass(frozen=True)
class LabelNoise:
    """What networks say of the labels of some examples.

    Attributes:
        probability: (examples,) probability that the label is wrong.
        suggested: (examples,) the most probable class: the label itself where that is right.
        fit: the parameters of the model.
    """

    probability: Float[np.ndarray, " examples"]
    suggested: Int[np.ndarray, " examples"]
    fit: Fit

    __repr__ = display.text


def label_noise(
    opinion: Opinion, labels: Int[np.ndarray, " examples"], fit: Fit | None = None
) -> LabelNoise:
    """Compute for each label the probability that it is wrong.

    Args:
        opinion: what the members that have not seen an example predict together.
        labels: (examples,) class numbers.
        fit: the parameters of the model; None fits them to these labels.

    Returns:
        The probabilities and the suggested labels. Examples that all members have seen have
        probability 0, and no part in the fit.

    References:
        Dempster, Laird & Rubin 1977 (EM); Natarajan et al. 2013 (noise that depends on the class).
    """
    log_p, kept = np.log(np.maximum(opinion.probability, TINY)), opinion.members > 0
    if fit is None:
        easy = rank_of_margin(opinion.probability[kept]) > PLATEAU
        fit = _fit(log_p[kept], labels[kept], easy, np.ones(int(kept.sum())), STEPS, None)
    given, _ = _posterior(fit, log_p, labels)
    rows = np.arange(len(labels))
    probability = np.where(kept, 1 - given[rows, labels], 0.0)
    return LabelNoise(probability, np.where(kept, given.argmax(1), labels), fit)


def number_of_wrong_labels(
    opinion: Opinion,
    labels: Int[np.ndarray, " examples"],
    of: slice,
    easy_share: Estimate,
    halves: tuple[float, float],
    level: float = LEVEL,
) -> Estimate:
    """Estimate how many of some labels are wrong.

    Args:
        opinion: as in `label_noise`.
        labels: as in `label_noise`.
        of: the examples whose wrong labels are counted.
        easy_share: the share of wrong labels among easy examples, of `wrong_labels`.
        halves: the numbers that two halves of the members find.
        level: confidence level of the interval.

    Returns:
        The sum of the probabilities. The interval is for these labels; it allows for what the
        probabilities leave open, for the fit (by resampling examples), and for the difference of
        the two halves of members. It is extended to that of the share among easy examples, so that
        it does not depend on whether hard examples are mislabeled as often as easy ones.

    References:
        Efron 1979 (bootstrap).
    """
    log_p, kept = np.log(np.maximum(opinion.probability, TINY)), opinion.members > 0
    log_p, y = log_p[kept], labels[kept]
    counted = np.zeros(len(labels), bool)
    counted[of] = True
    counted = counted[kept]
    easy, rows = rank_of_margin(opinion.probability[kept]) > PLATEAU, np.arange(len(y))
    fit = _fit(log_p, y, easy, np.ones(len(y)), STEPS, None)

    def wrong(fit: Fit) -> np.ndarray:
        return (1 - _posterior(fit, log_p, y)[0][rows, y])[counted]

    found = wrong(fit)
    number = float(found.sum())
    if easy_share.refused is not None:
        return Estimate(number, refused=easy_share.refused)
    rng, sums = np.random.default_rng(0), list[float]()
    for _ in range(RESAMPLED):
        counts = np.bincount(rng.integers(0, len(y), len(y)), minlength=len(y)).astype(float)
        sums.append(float(wrong(_fit(log_p, y, easy, counts, STEPS_AGAIN, fit)).sum()))
    variance = float((found * (1 - found)).sum()) + float(np.var(sums, ddof=1))
    variance += (halves[0] - halves[1]) ** 2 / 4
    reach = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(variance)
    low, high = (len(found) * limit for limit in (easy_share.low, easy_share.high))
    return Estimate(number, max(0.0, min(low, number - reach)), max(high, number + reach))


def _fit(
    log_p: Float[np.ndarray, "examples classes"],
    y: Int[np.ndarray, " examples"],
    easy: Bool[np.ndarray, " examples"],
    counts: Float[np.ndarray, " examples"],
    steps: int,
    begin: Fit | None,
) -> Fit:
    """Fit the model by the EM algorithm to examples that occur so many times, its rates and its
    pattern to the easy ones.
    """
    classes, rows = log_p.shape[1], np.arange(len(y))
    others = (1 - np.eye(classes)) / max(1, classes - 1)
    fit = begin or Fit(1.0, np.full(classes, FIRST_RATE), others)
    label = np.eye(classes)[y]
    before = math.inf
    for _ in range(steps):
        truth, sharp = _posterior(fit, log_p, y)
        truth = truth * counts[:, None]
        wrong = truth * easy[:, None]
        total = wrong.sum(0)
        wrong[rows, y] = 0
        moved = wrong.T @ label  # (true class, label)
        number = float(moved.sum())
        share = number / max(float(total.sum()), 1.0)
        rate = (moved.sum(1) + RATE_COUNTS * share) / (total + RATE_COUNTS)
        pattern = (moved + PATTERN_COUNTS * others) / (moved.sum(1) + PATTERN_COUNTS)[:, None]
        # a step of Newton's method on the likelihood of the true classes
        mean = (sharp * log_p).sum(1)
        slope = float((truth * log_p).sum() - counts @ mean)
        curve = float(counts @ ((sharp * log_p**2).sum(1) - mean**2))
        step = slope / curve if curve > 0 else 0.0
        sharpness = fit.sharpness * float(np.clip(1 + step / fit.sharpness, 0.5, 2.0))
        fit = Fit(sharpness, rate, pattern)
        if abs(number - before) < CLOSE:
            break
        before = number
    return fit


def _posterior(
    fit: Fit, log_p: Float[np.ndarray, "examples classes"], y: Int[np.ndarray, " examples"]
) -> tuple[Float[np.ndarray, "examples classes"], Float[np.ndarray, "examples classes"]]:
    """The probability of each true class, given the label and without it."""
    rows, z = np.arange(len(y)), fit.sharpness * log_p
    sharp = np.exp(z - z.max(1, keepdims=True))
    sharp /= sharp.sum(1, keepdims=True)
    joint = sharp * (fit.rate[:, None] * fit.pattern)[:, y].T
    joint[rows, y] = sharp[rows, y] * (1 - fit.rate[y])
    joint = np.maximum(joint, 0.0) + np.finfo(np.float64).tiny
    return joint / joint.sum(1, keepdims=True), sharp
