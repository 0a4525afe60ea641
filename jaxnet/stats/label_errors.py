"""Which labels are likely wrong, and how many, from networks that did not learn from them.

A network that has seen an example may have learned its label by heart, so that on a training set
only members count that have not seen it (out of bag).
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxnet import arrays
from jaxnet.errors import InputError
from jaxnet.stats.bias_variance import normalised
from jaxnet.stats.estimate import LEVEL, Estimate, exact
from jaxnet.typing import ArrayLike

MIN_UNSEEN_MEMBERS = (
    3  # the fewest that have not seen an example, for it to count among wrong labels
)
MIN_LABELED_EXAMPLES = 200  # the fewest for a share of wrong labels
EASY, EASIEST = 0.5, 0.75  # ranks above which examples are so
PLATEAU = 0.375  # the rank from which contradictions should not become rarer
MAX_FALL = 0.03  # by which they may all the same
# the level at which they are found to: a share refused too often does less harm than a wrong one
TREND_LEVEL = 0.1


@dataclass(frozen=True)
class HardExample:
    """An example whose label the members doubt.

    index: its row. label, prediction: class numbers, the second that of the largest mean
    probability. confidence: that probability. contradicted: share of the members whose own
    prediction is not the label.
    """

    index: int
    label: int
    prediction: int
    confidence: float
    contradicted: float


class Opinion(NamedTuple):
    """What members say together: their mean probability, how many they are, and what share of them
    contradict the label.
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
    """The examples in the order of doubt about their labels: first those which are likely
    mislabelled.

    log_probabilities: (members, examples, classes), nats. labels: (examples,) class numbers. seen:
    (members, examples), whether the member trained on the example; what it says of it is not looked
    at, may be NaN, and an example that all have seen is left out. most: how many; by default all.
    Doubt is max_{c != label} log p(c) - log p(label), p the members' mean probability: the margin
    of Northcutt, Jiang & Chuang 2021 (section 3.2) on the logarithm's scale, which ranks better
    where many are confident. Members that predict nothing finite, since they diverged, are left
    out. Raises InputError for what cannot be log-probabilities, labels and seen.
    """
    if most is not None and (not isinstance(most, int | np.integer) or most < 1):
        raise InputError(
            f"most is {most!r}; give a whole number of at least 1, or None for all examples"
        )
    said, y = _opinion(log_probabilities, labels, seen)
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
    """The share of the labels that are wrong; times the number of examples, how many.

    The arguments are those of `hard_examples`. Members together err on hard examples, but hardly on
    the easy ones: where they contradict the label of an easy example, it is the label that is
    wrong. Easy are those of each predicted class with the larger margin between its first and
    second class, one half of them. The estimate is the share of contradicted labels among these;
    the interval is exact (Clopper & Pearson 1934), and reaches over that of the easiest quarter, so
    that it does not hinge on where easy begins. This is confident learning's idea that a class is
    known by its confident examples (Northcutt, Jiang & Chuang 2021, section 3.1), without its count
    of hard but right ones; ranks within a class stay the same whatever noise the members learned,
    so that nothing need be calibrated.
    Assumed: most labels of each class are right, and easy examples are mislabelled as often as hard
    ones. Where hard ones are mislabelled more often, more labels are wrong than this says; where no
    example is beyond doubt, fewer are. Refused with fewer than 200 examples that 3 members have not
    seen; where contradictions become rarer up to the easiest examples, so that wrong labels cannot
    be told from mistakes; and where half of the labels could be wrong. Raises InputError for what
    cannot be log-probabilities, labels and seen.
    """
    said, y = _opinion(log_probabilities, labels, seen)
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
    rank = _rank(probability)
    found, inner = (
        exact(int(some.sum()), len(some), level)
        for some in (contradicted[rank > EASY], contradicted[rank > EASIEST])
    )
    low, high = min(found.low, inner.low), max(found.high, inner.high)
    if _falls(contradicted[rank > PLATEAU], rank[rank > PLATEAU]):
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


def _rank(probability: Float[np.ndarray, "examples classes"]) -> Float[np.ndarray, " examples"]:
    """Of the margin between the first and the second class, among the examples with the same first,
    within (0, 1).
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


def _falls(
    contradicted: Bool[np.ndarray, " examples"], rank: Float[np.ndarray, " examples"]
) -> bool:
    """Whether contradictions become rarer with the rank: the test for trend of Cochran 1954 and
    Armitage 1955, one-sided.
    """
    share, off = float(contradicted.mean()), rank - rank.mean()
    squares = float((off**2).sum())
    slope, error = float(off @ contradicted) / squares, math.sqrt(share * (1 - share) / squares)
    return (
        slope < NormalDist().inv_cdf(TREND_LEVEL) * error
        and -slope * float(np.ptp(rank)) > MAX_FALL
    )


def _opinion(
    log_probabilities: ArrayLike, labels: ArrayLike, seen: ArrayLike | None
) -> tuple[Opinion, Int[np.ndarray, " examples"]]:
    """(that of the members that have not seen an example, a member at a time, since all together
    may not fit in memory; the labels).
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
        if not np.isfinite(own).any():  # it diverged, or has seen all
            continue
        arrays.check_sums(
            "log_probabilities", np.asarray(each, np.float32), arrays.MEMBER_AXES, (member,), known_
        )
        total[rows] += np.exp(normalised(own[None])[0][0])
        count[rows] += 1
        against[rows] += arrays.wrong(own, y[rows])
    if not count.any():
        raise InputError(
            "no member predicts anything finite on an example that it has not seen; give seen as "
            "it is, and members that learned"
        )
    return Opinion(total / np.maximum(count, 1)[:, None], count, against / np.maximum(count, 1)), y
