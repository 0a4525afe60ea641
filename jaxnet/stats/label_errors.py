"""Which labels are likely wrong, and how many, from networks that did not learn from these labels.

A network that has seen an example may have memorized its label. So on a training set, an example is
judged only by members that have not seen it (out of bag).
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxnet import arrays
from jaxnet.errors import InputError
from jaxnet.stats.bias_variance import normalized
from jaxnet.stats.estimate import LEVEL, Estimate, exact
from jaxnet.typing import ArrayLike

MIN_UNSEEN_MEMBERS = 3  # members that must not have seen an example, for its label to be judged
MIN_LABELED_EXAMPLES = 200  # for a share of wrong labels
EASY, EASIEST = 0.5, 0.75  # ranks above which examples are easy, and are the easiest
PLATEAU = 0.375  # from this rank on, contradictions should not become rarer
MAX_FALL = 0.03  # a smaller decrease of contradictions is accepted
# Significance level of that decrease: refusing a share too often does less harm than a wrong share.
TREND_LEVEL = 0.1
FAR = 3.5  # robust standard deviations
NORMAL_MEDIAN = 0.6745  # median of the distances of a normal distribution, in standard deviations


@dataclass(frozen=True)
class HardExample:
    """An example whose label the members doubt.

    Attributes:
        index: row of the example.
        label: class number of its label.
        prediction: class number of the largest mean probability.
        confidence: that probability.
        contradicted: share of the members whose own prediction is not the label.
    """

    index: int
    label: int
    prediction: int
    confidence: float
    contradicted: float


class Opinion(NamedTuple):
    """What the members that have not seen an example predict together.

    Attributes:
        probability: (examples, classes) mean probability.
        members: (examples,) number of members that have not seen the example.
        contradicted: (examples,) share of them that contradicts the label.
    """

    probability: Float[np.ndarray, "examples classes"]
    members: Int[np.ndarray, " examples"]
    contradicted: Float[np.ndarray, " examples"]


def hard_examples(
    log_probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    seen: ArrayLike | None = None,
    most: int | None = None,
) -> tuple[HardExample, ...]:
    """Rank the examples by doubt about their labels, those most likely mislabeled first.

    The doubt is max_{c != label} log p(c) - log p(label), where p is the members' mean probability:
    the margin of Northcutt, Jiang & Chuang 2021 (section 3.2) on the logarithmic scale, which ranks
    better where many predictions are confident.

    Args:
        log_probabilities: (members, examples, classes), in nats. Members without a finite
            prediction, because they diverged, are left out.
        labels: (examples,) class numbers.
        seen: (members, examples) booleans, whether the member trained on the example. Such a
            prediction is ignored and may be NaN; an example that all members have seen is left out.
        most: the largest number of examples to return; by default all.

    Returns:
        The examples, the most doubtful first.

    Raises:
        InputError: for arguments that cannot be log-probabilities, labels, seen or a number.

    References:
        Northcutt, Jiang & Chuang 2021, section 3.2.
    """
    if most is not None and (not isinstance(most, int | np.integer) or most < 1):
        raise InputError(
            f"most is {most!r}; give a whole number of at least 1, or None for all examples"
        )
    said, y = combine_members(log_probabilities, labels, seen)
    rows = np.arange(len(y))
    others = said.probability.copy()
    others[rows, y] = 0
    tiny = np.finfo(np.float64).tiny
    doubt = np.log(np.maximum(others.max(1), tiny)) - np.log(
        np.maximum(said.probability[rows, y], tiny)
    )
    order = np.argsort(-doubt, kind="stable")
    return tuple(
        HardExample(
            int(i),
            int(y[i]),
            int(said.probability[i].argmax()),
            float(said.probability[i].max()),
            float(said.contradicted[i]),
        )
        for i in order[said.members[order] > 0][:most]
    )


def wrong_labels(
    log_probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    seen: ArrayLike | None = None,
    level: float = LEVEL,
) -> Estimate:
    """Estimate how large the share of wrong labels is at least, from the easy examples.

    It assumes that most labels of each class are right. Where hard examples are mislabeled as often
    as easy ones, it is the share of all wrong labels; usually they are mislabeled more often, and
    more labels are wrong than this says. Where no example is beyond doubt, fewer are.

    Args:
        log_probabilities: as in `hard_examples`.
        labels: as in `hard_examples`.
        seen: as in `hard_examples`.
        level: confidence level of the interval.

    Returns:
        The share of contradicted labels among easy examples. The interval is exact, and extended to
        that of the easiest quarter, so that it does not depend on where easy begins. It is refused
        with fewer than 200 examples that 3 members have not seen; where contradictions become rarer
        up to the easiest examples, so that wrong labels cannot be told from mistakes; and where
        half of the labels could be wrong.

    Raises:
        InputError: for arguments that cannot be log-probabilities, labels and seen.

    References:
        Northcutt, Jiang & Chuang 2021, section 3.1; Clopper & Pearson 1934.
    """
    # Members together err on hard examples, but hardly on easy ones: where they contradict the
    # label of an easy example, the label is wrong. Easy are, in each predicted class, the half of
    # the examples with the larger margin between first and second class. Confident learning too
    # takes a class to be known by its confident examples (Northcutt, Jiang & Chuang 2021, section
    # 3.1); its count of hard but right examples is left out here. Ranks within a class stay the
    # same whatever noise the members learned, so nothing needs to be calibrated.
    said, y = combine_members(log_probabilities, labels, seen)
    kept = said.members >= MIN_UNSEEN_MEMBERS
    n = int(kept.sum())
    if n < MIN_LABELED_EXAMPLES:
        words = (
            f"{n} examples that {MIN_UNSEEN_MEMBERS} members have not seen are too few to tell "
            "how many "
            "labels are wrong"
        )
        return Estimate(math.nan, refused=f"{words}; at least {MIN_LABELED_EXAMPLES} are needed")
    probability = said.probability[kept]
    contradicted = arrays.wrong(probability, y[kept])
    rank = rank_of_margin(probability)
    found, inner = (
        exact(int(some.sum()), len(some), level)
        for some in (contradicted[rank > EASY], contradicted[rank > EASIEST])
    )
    low, high = min(found.low, inner.low), max(found.high, inner.high)
    if _becomes_rarer(contradicted[rank > PLATEAU], rank[rank > PLATEAU]):
        words = (
            "the easier the examples, the rarer are labels contradicted, to the end: wrong "
            "labels cannot be told from hard examples"
        )
        return Estimate(
            found.estimate, refused=words + "; train better networks, or have some labels checked"
        )
    if high > 0.5:
        words = (
            f"labels of easy examples are contradicted in {found.estimate:.0%}: wrong labels "
            "cannot be told from wrong networks"
        )
        return Estimate(
            found.estimate, refused=words + "; train better networks, or have some labels checked"
        )
    return Estimate(found.estimate, low, high)


def likely_wrong(
    probability: Float[np.ndarray, "examples classes"], labels: Int[np.ndarray, " examples"]
) -> tuple[Bool[np.ndarray, " examples"], Int[np.ndarray, " examples"]]:
    """Find the labels that are likely wrong, and the class that each example then has.

    A network is confident of a class where its probability is at least the mean one over the
    examples with this label. The examples of which it is confident say what share of each label is
    wrong; so many examples of each label are found, those whose label is least probable.

    Args:
        probability: (examples, classes) by networks that did not train on the example.
        labels: (examples,) class numbers.

    Returns:
        (which labels are likely wrong, the most probable other class of each example).

    References:
        Northcutt, Jiang & Chuang 2021, sections 3.1 and 3.2, "prune by class".
    """
    classes, rows = probability.shape[1], np.arange(len(labels))
    own = probability[rows, labels]
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, own, classes)
    confident = probability >= np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    best = np.where(confident, probability, -1.0).argmax(1)
    known = np.flatnonzero(confident.any(1))
    found = np.zeros(len(labels), bool)
    for label in np.flatnonzero(counts):
        own_rows = np.flatnonzero(labels == label)
        sure = np.intersect1d(own_rows, known)
        if len(sure):
            many = len(own_rows) * int((best[sure] != label).sum()) // len(sure)
            found[own_rows[np.argsort(own[own_rows], kind="stable")[:many]]] = True
    others = probability.copy()
    others[rows, labels] = -1.0
    return found, others.argmax(1)


def far_values(
    predictions: Float[np.ndarray, " examples"], values: Float[np.ndarray, " examples"]
) -> Bool[np.ndarray, " examples"]:
    """Find the values that are far from what networks predict of them: those whose residual is more
    than 3.5 robust standard deviations from the median one.

    Args:
        predictions: (examples,) by networks that did not train on the example.
        values: (examples,) values.

    Returns:
        (examples,) which ones are far; none where more than half of the residuals are equal.

    References:
        Iglewicz & Hoaglin 1993, section 3.3 (modified z-scores).
    """
    residuals = values - predictions
    distances = np.abs(residuals - np.median(residuals))
    deviation = float(np.median(distances)) / NORMAL_MEDIAN
    if not deviation > 0:
        return np.zeros(len(values), bool)
    return distances > FAR * deviation


def rank_of_margin(
    probability: Float[np.ndarray, "examples classes"],
) -> Float[np.ndarray, " examples"]:
    """Rank the margin between the first and the second class among the examples with the same first
    class.

    Args:
        probability: (examples, classes) probabilities.

    Returns:
        (examples,) ranks within (0, 1); those of easy examples are high.
    """
    best = probability.argmax(1)
    first, second = (
        np.sort(probability, axis=1)[:, :-3:-1].T
        if probability.shape[1] > 1
        else (probability[:, 0], 0 * probability[:, 0])
    )
    margin = np.log(np.maximum(first, 1e-300)) - np.log(np.maximum(second, 1e-300))
    order = np.lexsort((margin, best))
    count = np.bincount(best)
    count = count[count > 0]
    rank = np.empty(len(best))
    rank[order] = np.concatenate([(np.arange(size) + 0.5) / size for size in count])
    return rank


def _becomes_rarer(
    contradicted: Bool[np.ndarray, " examples"], rank: Float[np.ndarray, " examples"]
) -> bool:
    """Test whether contradictions become rarer with the rank: the one-sided test for trend.

    References:
        Cochran 1954; Armitage 1955.
    """
    share, off = float(contradicted.mean()), rank - rank.mean()
    squares = float((off**2).sum())
    slope, error = float(off @ contradicted) / squares, math.sqrt(share * (1 - share) / squares)
    return (
        slope < NormalDist().inv_cdf(TREND_LEVEL) * error
        and -slope * float(np.ptp(rank)) > MAX_FALL
    )


def combine_members(
    log_probabilities: ArrayLike, labels: ArrayLike, seen: ArrayLike | None
) -> tuple[Opinion, Int[np.ndarray, " examples"]]:
    """Combine the predictions of the members that have not seen an example, and check the labels.

    It reads one member at a time, since all together may not fit in memory.

    Args:
        log_probabilities: as in `hard_examples`.
        labels: as in `hard_examples`.
        seen: as in `hard_examples`.

    Returns:
        (what the members predict together, the labels).

    Raises:
        InputError: as `hard_examples`.
    """
    f = arrays.array("log_probabilities", log_probabilities, arrays.MEMBER_AXES)
    if f.ndim != 3 or 0 in f.shape or f.dtype.kind != "f":
        raise InputError(
            f"log_probabilities have shape {f.shape} and type {f.dtype}; give floats, (members, "
            "examples, classes)"
        )
    y = arrays.labels("labels", labels, *f.shape[1:])
    known = (
        np.zeros(f.shape[:2], bool) if seen is None else arrays.booleans("seen", seen, f.shape[:2])
    )
    total, count, against = np.zeros(f.shape[1:]), np.zeros(len(y), int), np.zeros(len(y))
    for member, (each, known_) in enumerate(zip(f, known, strict=True)):
        rows = np.flatnonzero(~known_)
        own = np.asarray(each[rows], np.float32)
        if not np.isfinite(own).any():  # the member diverged, or has seen all examples
            continue
        arrays.check_sums(
            "log_probabilities", np.asarray(each, np.float32), arrays.MEMBER_AXES, (member,), known_
        )
        total[rows] += np.exp(normalized(own[None])[0][0])
        count[rows] += 1
        against[rows] += arrays.wrong(own, y[rows])
    if not count.any():
        raise InputError(
            "no member predicts anything finite on an example that it has not seen; give seen as "
            "it is, and members that learned"
        )
    return Opinion(total / np.maximum(count, 1)[:, None], count, against / np.maximum(count, 1)), y
