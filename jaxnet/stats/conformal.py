"""Prediction sets and limits that hold the label with a given probability, from what networks
predict for examples that they were not trained on.

One rule serves all of them: a label belongs to the set of a new example unless it fits the new
example worse than nearly all known labels fit theirs. Each known example is compared with the
networks that were not trained on it, on both sides. Networks that were trained on other examples
altogether make this split conformal prediction, folds make it cross-conformal prediction or CV+,
and random samples the jackknife+ after bootstrap.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from jaxnet.errors import InputError, check_number
from jaxnet.stats.cross_fitting import group_codes
from jaxnet.stats.halves import mean_where

CELLS = 1 << 23  # numbers in a block of new examples
ROUNDING = 1e-9  # of sums of weights


class Calibration(NamedTuple):
    """What networks predict for examples whose labels are known.

    Attributes:
        predictions: (networks, examples) the probability that a network gives to the label of an
            example, or the value that it predicts.
        judged: (networks, examples) which networks were not trained on an example; at least one
            for each.
        y: (examples,) class numbers, or values.
        groups: (examples,) the group of each example, which was left out as a whole; None where
            each stands for itself.
    """

    predictions: Float[np.ndarray, "networks examples"]
    judged: Bool[np.ndarray, "networks examples"]
    y: Num[np.ndarray, " examples"]
    groups: Int[np.ndarray, " examples"] | None = None


def check_coverage(coverage: float) -> float:
    """Check a probability with which sets hold the label.

    Args:
        coverage: a number between 0 and 1.

    Raises:
        InputError: for anything else.
    """
    if not 0 < check_number("coverage", coverage) < 1:
        raise InputError(
            f"coverage is {coverage}; give a number between 0 and 1, such as 0.95 for 95%"
        )
    return float(coverage)


def prediction_sets(
    calibration: Calibration,
    new: Float[np.ndarray, "networks new classes"],
    coverage: float,
    *,
    by_class: bool = False,
) -> Bool[np.ndarray, "new classes"]:
    """Compute sets of classes that hold the label of a new example with a given probability.

    The fit of a class is the mean of the probabilities that the networks give to it. A set is empty
    where every class fits worse than the known labels of nearly all examples.

    Args:
        calibration: what the networks predict for examples with known labels.
        new: (networks, new, classes) probabilities for the new examples.
        coverage: the probability, on average over new examples; with groups, over examples of new
            groups, where each group counts the same.
        by_class: whether it is the probability for the examples of each class. A class of which too
            few examples are known is then in every set.

    Returns:
        (new, classes) which classes each set holds.

    References:
        Vovk 2015, eq. 7 (cross-conformal prediction); Kim, Xu & Barber 2020 (random samples);
        Sadinle, Lei & Wasserman 2019 (the smallest sets, and sets by class); Lee, Barber & Willett
        2023 (groups).
    """
    fits = mean_where(calibration.predictions, calibration.judged)
    patterns = _patterns(calibration.judged)
    sets = np.empty(new.shape[1:], bool)
    every = np.ones(len(fits), bool)
    for rows, left_out in _left_out(patterns, new, new.shape[2] * len(patterns.examples)):
        for label in range(new.shape[2]):
            known = calibration.y == label if by_class else every
            weights, rest = _weights(calibration, known)
            p = rest + _share_up_to(left_out[..., label], patterns, fits, weights)
            sets[rows, label] = p > 1 - coverage + ROUNDING
    return sets


def prediction_limits(
    calibration: Calibration, new: Float[np.ndarray, "networks new"], coverage: float
) -> Float[np.ndarray, "new 2"]:
    """Compute limits between which the value of a new example lies with a given probability.

    Args:
        calibration: what the networks predict for examples with known values.
        new: (networks, new) values that they predict for the new examples.
        coverage: the probability, as in `prediction_sets`.

    Returns:
        (new, 2) lower and upper limits, infinite where too few examples are known.

    References:
        Barber, Candès, Ramdas & Tibshirani 2021, eq. 1.2 (jackknife+) and section 2 (CV+); Kim, Xu
        & Barber 2020 (random samples); Lee, Barber & Willett 2023 (groups).
    """
    off = np.abs(calibration.y - mean_where(calibration.predictions, calibration.judged))
    weights, _ = _weights(calibration, np.ones(len(off), bool))
    patterns, limits = _patterns(calibration.judged), np.empty((new.shape[1], 2))
    order = np.concatenate(patterns.examples)
    off, weights = off[order, None], weights[order]
    sizes = [len(own) for own in patterns.examples]
    for rows, left_out in _left_out(patterns, new[..., None], len(off)):
        if len(sizes) == 1:  # all distances are from the same value
            reach = _upper(off, weights, coverage)
            limits[rows] = left_out[0] + np.stack([-reach, reach], axis=-1)
            continue
        centers = np.repeat(left_out[..., 0], sizes, axis=0)
        limits[rows, 0] = -_upper(off - centers, weights, coverage)
        limits[rows, 1] = _upper(off + centers, weights, coverage)
    return limits


def examples_needed(coverage: float) -> int:
    """Compute how many examples, or groups, must be known for sets that leave anything out.

    Args:
        coverage: the probability with which sets hold the label.
    """
    return int(np.ceil(coverage / (1 - coverage) - ROUNDING))


def remarks(
    sets: Bool[np.ndarray, "new classes"],
    calibration: Calibration,
    coverage: float,
    by_class: tuple[str, ...] = (),
) -> list[str]:
    """Say which sets are empty, and which hold a class only because too little is known of it.

    Args:
        sets: the sets.
        calibration: what they were computed from.
        coverage: the probability with which they hold the label.
        by_class: the names of the classes, where it is the probability for each class.
    """
    found = []
    if empty := int((~sets.any(1)).sum()):
        found.append(
            f"{empty:,} of {len(sets):,} prediction sets are empty, since every class fits these "
            f"examples worse than labels usually fit at {100 * coverage:.4g}% coverage; where the "
            "most probable class is right more often than that, ask for a higher coverage"
        )
    needed = examples_needed(coverage)
    if not by_class:
        return found + _too_few(calibration, coverage, "so every set holds all classes")
    known = [_units(calibration, calibration.y == label) for label in range(len(by_class))]
    few = [f"{by_class[i]} ({count})" for i, count in enumerate(known) if count < needed]
    if few:
        found.append(
            f"classes of which fewer than {needed} {_units_in_words(calibration)} with labels are "
            f"known, as {100 * coverage:.4g}% coverage takes, are in every set: {', '.join(few)}"
        )
    return found


def remarks_on_limits(calibration: Calibration, coverage: float) -> list[str]:
    """Say where limits are infinite because too little is known.

    Args:
        calibration: what the limits were computed from.
        coverage: the probability with which the values lie between them.
    """
    return _too_few(calibration, coverage, "so the limits are infinite")


def _too_few(calibration: Calibration, coverage: float, so: str) -> list[str]:
    count = _units(calibration, np.ones(len(calibration.y), bool))
    if count >= (needed := examples_needed(coverage)):
        return []
    return [
        f"{count} {_units_in_words(calibration)} with labels are too few for "
        f"{100 * coverage:.4g}% coverage, {so}; give at least {needed}"
    ]


def _units(calibration: Calibration, rows: Bool[np.ndarray, " examples"]) -> int:
    """The number of independent units among some rows."""
    if calibration.groups is None:
        return int(rows.sum())
    return len(np.unique(calibration.groups[rows]))


def _units_in_words(calibration: Calibration) -> str:
    return "examples" if calibration.groups is None else "groups"


def _weights(
    calibration: Calibration, rows: Bool[np.ndarray, " examples"]
) -> tuple[Float[np.ndarray, " examples"], float]:
    """The weight of each example, 0 outside of the rows, and that of the new one. Groups weigh the
    same, and so do the examples of a group.
    """
    if calibration.groups is None:
        each = 1 / (1 + rows.sum())
        return rows * each, float(each)
    weights, own = np.zeros(len(rows)), calibration.groups[rows]
    codes = group_codes(own, len(own)) if len(own) else np.zeros(0, int)
    sizes = np.bincount(codes)
    each = 1 / (1 + len(sizes))
    weights[rows] = each / sizes[codes]
    return weights, each


class _Patterns(NamedTuple):
    """Examples that the same networks were not trained on.

    Attributes:
        share: (patterns, networks) the weight of each network in the mean of those.
        examples: the examples of each pattern.
    """

    share: Float[np.ndarray, "patterns networks"]
    examples: list[Int[np.ndarray, " some"]]


def _patterns(judged: Bool[np.ndarray, "networks examples"]) -> _Patterns:
    packed = np.packbits(judged, axis=0).T
    _, first, pattern = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(pattern.reshape(-1), kind="stable")
    borders = np.cumsum(np.bincount(pattern.reshape(-1)))[:-1]
    share = judged[:, first].T / judged[:, first].sum(0)[:, None]
    return _Patterns(share, np.split(order, borders))


def _left_out(
    patterns: _Patterns, new: Float[np.ndarray, "networks new outputs"], cells: int
) -> Iterator[tuple[slice, Float[np.ndarray, "patterns rows outputs"]]]:
    """Yield blocks of new examples, which take so many cells each, and what the networks of each
    pattern predict for them in the mean.
    """
    networks, count, outputs = new.shape
    width = max(1, CELLS // cells)
    for begin in range(0, count, width):
        rows = slice(begin, min(begin + width, count))
        flat = np.asarray(new[:, rows], np.float64).reshape(networks, -1)
        yield rows, (patterns.share @ flat).reshape(len(patterns.share), -1, outputs)


def _share_up_to(
    left_out: Float[np.ndarray, "patterns new"],
    patterns: _Patterns,
    fits: Float[np.ndarray, " examples"],
    weights: Float[np.ndarray, " examples"],
) -> Float[np.ndarray, " new"]:
    """The weight of the known labels that fit at most as well as a class fits each new example."""
    if len(patterns.examples) == len(fits):  # each example has a pattern of its own
        order = np.concatenate(patterns.examples)
        return weights[order] @ (fits[order, None] <= left_out)
    share = np.zeros(left_out.shape[1])
    for own, fit in zip(patterns.examples, left_out, strict=True):
        order = own[np.argsort(fits[own])]
        reached = np.concatenate([[0.0], np.cumsum(weights[order])])
        share += reached[np.searchsorted(fits[order], fit, side="right")]
    return share


def _upper(
    values: Float[np.ndarray, "examples new"],
    weights: Float[np.ndarray, " examples"],
    coverage: float,
) -> Float[np.ndarray, " new"]:
    """The smallest value of each column below or at which the weights reach the coverage; infinite
    where all of them do not.
    """
    order = np.argsort(values, axis=0)
    reached = np.cumsum(weights[order], axis=0) >= coverage - ROUNDING
    at = np.take_along_axis(order, reached.argmax(0)[None], axis=0)
    found = np.take_along_axis(values, at, axis=0)[0]
    return np.where(reached[-1], found, np.inf)
