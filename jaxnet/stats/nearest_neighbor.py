"""Predictions by nearest neighbors of other folds, and bounds on the smallest possible error.

The bounds hold as the number of examples grows without end. With finitely many, the nearest
neighbor lies at a distance, and how much that changes is unknown; no claim may rest on them.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from jaxnet.errors import InputError, check_number, check_whole

DISTANCES = 5_000_000  # in memory at once


def nearest(
    x: Float[np.ndarray, "examples features"],
    fold_of: Int[np.ndarray, " examples"],
    rows: Int[np.ndarray, " rows"],
    most: int,
    *,
    at_once: int = DISTANCES,
) -> Int[np.ndarray, "rows neighbors"]:
    """Find the examples of other folds with the smallest Euclidean distances.

    Args:
        x: (examples, features) inputs.
        fold_of: (examples,) fold of each example.
        rows: (rows,) numbers of the examples whose neighbors are wanted.
        most: how many neighbors; at most the number of examples outside of any fold.
        at_once: how many distances are kept in memory.

    Returns:
        (rows, most) numbers of examples, the nearest first.
    """
    squares = np.square(x).sum(1)
    found = np.empty((len(rows), most), np.int64)
    for fold in np.unique(fold_of[rows]):
        others = np.flatnonzero(fold_of != fold)
        base, lengths = x[others], squares[others]
        own = np.flatnonzero(fold_of[rows] == fold)
        for part in np.array_split(own, -(-len(own) * len(others) // at_once)):
            # the squared distance, without the length of the row itself, which all share
            distances = x[rows[part]] @ base.T
            distances *= -2
            distances += lengths
            near = np.argpartition(distances, most - 1, axis=1)[:, :most]
            order = np.argsort(np.take_along_axis(distances, near, 1), axis=1, kind="stable")
            found[part] = others[np.take_along_axis(near, order, 1)]
    return found


def predict(
    y: Num[np.ndarray, "rows neighbors"],
    allowed: Bool[np.ndarray, "rows neighbors"],
    numbers: Sequence[int],
    classes: int | None = None,
    weights: Float[np.ndarray, "rows neighbors"] | None = None,
) -> Num[np.ndarray, "rows numbers"]:
    """Predict with the k nearest neighbors, for several k: classes by vote, values by the mean.

    Args:
        y: (rows, neighbors) class numbers or values of the neighbors, the nearest first.
        allowed: (rows, neighbors) which of them count; at least one in each row.
        numbers: the k, in ascending order. Where fewer neighbors are allowed, all of them count.
        classes: number of classes; None for values.
        weights: (rows, neighbors) how much the vote or the value of each counts; by default 1.

    Returns:
        (rows, numbers) predictions. Of classes with equally many votes, the first one wins.
    """
    order = np.argsort(~allowed, axis=1, kind="stable")  # those that do not count come last
    y = np.take_along_axis(y, order, 1)
    counts = (np.arange(y.shape[1]) < allowed.sum(1)[:, None]).astype(np.float64)
    if weights is not None:
        counts *= np.take_along_axis(weights, order, 1)
    if classes is None:
        sums = np.cumsum(np.where(counts > 0, counts * y, 0.0), axis=1)
        last = np.minimum(numbers, y.shape[1]) - 1
        return sums[:, last] / np.cumsum(counts, axis=1)[:, last]
    votes, index = np.zeros((len(y), classes)), np.arange(len(y))
    predicted = np.empty((len(y), len(numbers)), np.int64)
    for column, (before, k) in enumerate(zip((0, *numbers), numbers, strict=False)):
        for each in range(before, min(k, y.shape[1])):
            votes[index, y[:, each]] += counts[:, each]
        predicted[:, column] = votes.argmax(1)
    return predicted


def bayes_error_bounds(error: float, classes: int) -> tuple[float, float]:
    """Compute between which limits the smallest possible classification error lies.

    Args:
        error: error of the nearest neighbor on examples that it has not seen, from 0 to 1.
        classes: number of classes, at least 2.

    Returns:
        The lower limit, (C - 1)/C (1 - sqrt(1 - C/(C - 1) error)), and the upper one, the error
        itself, or that of guessing where it is smaller. They hold asymptotically.

    Raises:
        InputError: for an error that is not a share, and for fewer than 2 classes.

    References:
        Cover & Hart 1967, "Nearest neighbor pattern classification".
    """
    if not 0 <= check_number("error", error) <= 1:
        raise InputError(f"error is {error}; give a share of wrong predictions, from 0 to 1")
    check_whole("classes", classes, 2)
    guessing = (classes - 1) / classes
    share = min(float(error) / guessing, 1.0)
    return guessing * (1 - math.sqrt(1 - share)), guessing * share


def residual_variance(
    values: Num[np.ndarray, " examples"], nearest: Num[np.ndarray, " examples"]
) -> float:
    """Compute half the mean squared difference between values and those of the nearest neighbors.

    It tends to the variance of the noise, the smallest possible mean squared error: the nearest
    neighbor has noise of the same variance, so that its squared error tends to twice that.

    Args:
        values: (examples,) values of a regression.
        nearest: (examples,) value of the nearest neighbor of each, which is another example.

    Returns:
        The variance, in squared units of the values; asymptotically right.

    References:
        Cover 1968, "Estimation by the nearest neighbor rule"; Devroye, Gyorfi, Lugosi & Walk 2018,
        "A nearest neighbor estimate of the residual variance".
    """
    return float(np.square(values.astype(np.float64) - nearest).mean()) / 2
