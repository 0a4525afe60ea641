"""What a census predicts of training sets that no network of it was trained on."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from jaxnet import display
from jaxnet.diagnostics.findings import Code, Finding, finding, percent
from jaxnet.errors import InputError, check_whole
from jaxnet.stats.cross_fitting import group_codes
from jaxnet.stats.data_values import DataValues
from jaxnet.stats.estimate import Estimate
from jaxnet.stats.halves import in_first_half
from jaxnet.stats.memorization import memorized
from jaxnet.studies.census_verify import checked_labels, checked_rows
from jaxnet.typing import ArrayLike

if TYPE_CHECKING:
    from jaxnet.studies.census_result import Census

MIN_NETWORKS = 32  # so that each half has 16


@dataclass(frozen=True)
class Worst:
    """Training examples that harm, chosen by half of the networks and of the judging examples.

    Attributes:
        rows: their rows in the training set, those that harm most first.
        gain: the error on unseen examples that it saves to train without them, as the other half of
            the networks and of the judging examples predicts it.
    """

    rows: Int[np.ndarray, " k"]
    gain: Estimate

    __repr__ = display.text

    def __str__(self) -> str:
        return f"without the {len(self.rows)} worst examples: {self.gain}"


def data_values(census: "Census") -> DataValues:
    """The networks of a census, by which examples are valued."""
    n, groups = len(census.splits.train), census.splits.train.groups
    return DataValues(
        census.wrong,
        census.halves,
        census.pair_of,
        None if groups is None else group_codes(groups, n),
        np.zeros(n) if census.labels is None else census.labels.noise.probability,
    )


def gain_of_labels(census: "Census", rows: ArrayLike, labels: ArrayLike) -> Estimate:
    """Predict what it gains to give some rows other labels, as `Census.with_labels` says.

    Raises:
        InputError: for invalid rows or labels, and for a class that no other example
            has.
    """
    names, y = census.splits.classes, np.asarray(census.splits.train.y)
    rows = checked_rows(rows, census.training)
    labels = checked_labels(labels, len(rows), names)
    assert names is not None
    assert census.labels is not None
    right = 1 - census.labels.noise.probability
    right[rows] = 0.0
    added = np.zeros(len(y))
    for label in np.unique(labels):
        alike = right * (y == label)
        if not alike.sum() > 0:
            raise InputError(
                f"no other example has the label {names[label]}, so nothing shows "
                "what one with it is worth; leave out these rows"
            )
        added += alike / alike.sum() * (labels == label).sum()
    return census.data_values.gain(rows, added)


def worst(census: "Census", k: int) -> Worst:
    """Choose the k training examples that harm most, as `Census.worst` says.

    Raises:
        InputError: where k is not a number of training examples, and for too few networks.
    """
    check_whole("k", k, most=census.training)
    if census.members < MIN_NETWORKS:
        raise InputError(
            f"the census has {census.members} networks, and to choose with half of them takes at "
            f"least {MIN_NETWORKS}; take a census of more"
        )
    none = np.zeros(len(census.splits.train))
    doubts = (none, none) if census.labels is None else census.labels.apart
    first = in_first_half(census.pair_of)
    return Worst(*census.data_values.worst(k, census.training, first, doubts))


def memorized_examples(census: "Census") -> tuple[Int[np.ndarray, " listed"], Estimate]:
    """(rows of the training set that are memorized; the share of it that is)."""
    own = slice(census.training)
    return memorized(census.wrong[:, own], census.halves[:, own], census.pair_of)


def findings_on_examples(census: "Census", tolerance: float) -> tuple[Finding, ...]:
    """Build the findings that examples are memorized, of classes, and that examples are harmful,
    each where the list of them is not empty.

    Args:
        census: the census.
        tolerance: the smallest share, or difference of the error, that matters.
    """
    found = list[Finding]()
    if census.labels is not None:
        rows, share = memorized_examples(census)
        if len(rows):
            words = (
                f"{len(rows)} of {census.training:,} training examples are memorized: networks are "
                "more often right on them by more than 25 points if they were trained on them"
            )
            given = finding(Code.MEMORIZED, share, share.low > tolerance, words)
            found.append(replace(given, examples=tuple(map(int, rows))))
    harmful = census.harmful
    if len(harmful):
        gain = census.without(harmful)
        words = (
            f"{len(harmful)} of {census.training:,} training examples raise the error on unseen "
            f"examples; to train without them is predicted to lower it by {percent(gain)}"
        )
        given = finding(Code.HARMFUL_EXAMPLES, gain, bool(gain.low > tolerance), words)
        found.append(replace(given, examples=tuple(map(int, harmful))))
    return tuple(found)
