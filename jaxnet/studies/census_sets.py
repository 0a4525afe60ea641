"""Prediction sets and limits of the vote of a census, and of one's own network beside it."""

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Num

from jaxnet.core.run import Run
from jaxnet.data.splitting import take
from jaxnet.errors import InputError
from jaxnet.population.prediction_sets import Found, calibrated, probabilities, with_coverage
from jaxnet.population.predictions import predict
from jaxnet.stats import conformal
from jaxnet.stats.conformal import Calibration
from jaxnet.typing import ArrayLike, Frame

if TYPE_CHECKING:
    from jaxnet.studies.census_result import Census

COVERAGE = 0.95


class SetsOfUnseen(NamedTuple):
    """How large prediction sets are, for the pool as if it were new.

    Attributes:
        coverage: the probability with which a set holds the label.
        size: mean number of classes, or mean distance of the limits in units of y.
        empty: share of the sets that hold no class; None for values.
    """

    coverage: float
    size: float
    empty: float | None

    @property
    def words(self) -> str:
        """One sentence for people."""
        if self.empty is None:
            return (
                f"limits that hold the value with {self.coverage:.0%} probability are "
                f"{self.size:.4g} apart on average, in the units of y; census.predict(x) gives them"
            )
        return (
            f"prediction sets that hold the label with {self.coverage:.0%} probability have "
            f"{self.size:.2f} classes on average, and {self.empty:.2%} of them are empty; "
            "census.predict(x) gives them"
        )


def of_vote(
    census: "Census", x: ArrayLike | Frame, coverage: float, *, by_class: bool = False
) -> Found:
    """Compute prediction sets or limits of the vote of the networks on halves.

    Args:
        census: the census.
        x: (examples, ...) inputs, as for `predict`.
        coverage: the probability with which a set holds the label.
        by_class: whether it is the probability for the examples of each class.
    """
    conformal.check_coverage(coverage)
    sound = np.flatnonzero(~census.population.diverged[:-1])
    new = np.asarray(predict(census.trainer.model, census.population, x))[sound]
    train = census.splits.train
    known = np.asarray(census.predictions) if census.regression else np.exp(-census.losses)
    calibration = Calibration(known, ~census.halves, np.asarray(train.y), train.groups)
    return calibrated(calibration, new, coverage, census.splits, by_class=by_class)


def of_network(
    census: "Census", run: Run, x: ArrayLike | Frame, coverage: float, *, by_class: bool = False
) -> Found:
    """Compute prediction sets or limits of one network, calibrated on the validation set.

    Args:
        census: the census.
        run: a network that was trained on the training set, without the validation set.
        x: (examples, ...) inputs, as for `predict`.
        coverage: the probability with which a set holds the label.
        by_class: whether it is the probability for the examples of each class.

    Raises:
        InputError: for the network of the census that was trained on the validation set too.
    """
    splits = census.splits
    if not len(splits.validation):
        both = splits.train
        splits = replace(splits, validation=take(both, slice(census.training, len(both))))
        if len(splits.validation) and _equal(run, census.run):
            raise InputError(
                "network is that of the census, which was trained on the validation set too, so "
                "nothing is left to calibrate it with; leave network out for the sets of the vote, "
                "or give a network that was trained on the splits that the census was given"
            )
    return with_coverage(census.trainer.model, run, x, coverage, splits, by_class=by_class)


def of_unseen(
    vote: Num[np.ndarray, " pool *classes"], y: Num[np.ndarray, " pool"], groups: np.ndarray | None
) -> SetsOfUnseen:
    """Compute how large prediction sets are on average, for examples of the pool.

    Args:
        vote: the mean probabilities or values of the networks that were not trained on an example.
        y: the labels or values.
        groups: the group of each example.
    """
    if vote.ndim == 1:
        one = Calibration(vote[None], np.ones((1, len(y)), bool), y, groups)
        low, high = conformal.prediction_limits(one, vote[None], COVERAGE).T
        return SetsOfUnseen(COVERAGE, float(np.mean(high - low)), None)
    fits = vote[np.arange(len(y)), y]
    one = Calibration(fits[None], np.ones((1, len(y)), bool), y, groups)
    sets: Bool[np.ndarray, ...] = conformal.prediction_sets(one, vote[None], COVERAGE)
    size = sets.sum(1)
    return SetsOfUnseen(COVERAGE, float(size.mean()), float((size == 0).mean()))


def unseen_vote(
    predictions: Num[np.ndarray, "networks pool *classes"],
    halves: Bool[np.ndarray, "networks pool"],
) -> Float[np.ndarray, " pool *classes"]:
    """Compute the mean probabilities, or values, of the networks that were not trained on each
    example.

    Args:
        predictions: log-probabilities or values of the networks.
        halves: which examples each network was trained on.
    """
    total = np.zeros(predictions.shape[1:])
    for own, seen in zip(predictions, halves, strict=True):
        total[~seen] += (own if own.ndim == 1 else probabilities(own))[~seen]
    count = (~halves).sum(0)
    return total / count.reshape(-1, *[1] * (total.ndim - 1))


def _equal(one: Run, other: Run) -> bool:
    a, b = (jax.tree.leaves(run.params) for run in (one, other))
    return len(a) == len(b) and all(map(np.array_equal, a, b))
