"""Memorization: how much more often networks are right on an example if they were trained on it."""

import math

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxnet.stats.data_values import FALSE_DISCOVERIES
from jaxnet.stats.datamodels import stepped_up
from jaxnet.stats.estimate import Estimate
from jaxnet.stats.halves import in_first_half, mean_where

MEMORIZED = 0.25  # memorization above which an example counts as memorized (Feldman & Zhang 2020)


def memorization(
    wrong: Bool[np.ndarray, "networks examples"], halves: Bool[np.ndarray, "networks examples"]
) -> Float[np.ndarray, " examples"]:
    """Compute the share of networks that are wrong on an example without having seen it, minus that
    of networks that were trained on it.

    Args:
        wrong: (networks, examples) whether each network is wrong.
        halves: (networks, examples) which examples each network was trained on.

    References:
        Feldman & Zhang 2020, eq. 1.
    """
    return mean_where(wrong, ~halves) - mean_where(wrong, halves)


def memorization_reliability(
    wrong: Bool[np.ndarray, "networks examples"],
    halves: Bool[np.ndarray, "networks examples"],
    pair_of: Int[np.ndarray, " networks"],
) -> float:
    """Compute how well the memorization of all networks would agree with that of as many others:
    the correlation of two halves of the networks, stepped up (Spearman 1910; Brown 1910).

    Examples that all or none of the networks of one half were trained on are left out.

    Args:
        wrong: as in `memorization`.
        halves: as in `memorization`.
        pair_of: (networks,) the pair of each network.
    """
    first = in_first_half(pair_of)
    both = np.stack([memorization(wrong[of], halves[of]) for of in (first, ~first)])
    return stepped_up(*both[:, np.isfinite(both).all(0)])


def memorized(
    wrong: Bool[np.ndarray, "networks examples"],
    halves: Bool[np.ndarray, "networks examples"],
    pair_of: Int[np.ndarray, " networks"],
) -> tuple[Int[np.ndarray, " listed"], Estimate]:
    """List the examples whose memorization is above .25.

    Args:
        wrong: as in `memorization`.
        halves: as in `memorization`.
        pair_of: (networks,) the pair of each network.

    Returns:
        (rows of the examples that both halves of the networks show, the most certain first, with a
        false discovery rate of 5%; the share of examples that are memorized: those above .25, from
        those that are shown to be above it to those that are not shown to be below it).
    """
    from scipy.special import ndtr
    from scipy.stats import false_discovery_control

    unseen, seen = (mean_where(wrong, mask) for mask in (~halves, halves))
    first, found = in_first_half(pair_of), unseen - seen
    known = np.isfinite(found)  # examples that some networks, and not all, were trained on
    z = np.full(len(found), -np.inf)
    trials, others = (~halves).sum(0)[known], halves.sum(0)[known]
    z[known] = score(unseen[known], trials, seen[known], others, MEMORIZED)
    above, below = (
        false_discovery_control(np.where(known, ndtr(side), 1.0), method="by") <= FALSE_DISCOVERIES
        for side in (-z, z)
    )
    both = np.min([memorization(wrong[of], halves[of]) for of in (first, ~first)], axis=0)
    rows = np.flatnonzero(above & (both > MEMORIZED))
    shown = len(rows) / len(z), float((~below).mean())
    share = Estimate(float((found > MEMORIZED).mean()), *shown)
    return rows[np.argsort(-z[rows], kind="stable")], share


def score(
    one: Float[np.ndarray, " tests"],
    trials: Int[np.ndarray, " tests"],
    other: Float[np.ndarray, " tests"],
    others: Int[np.ndarray, " tests"],
    margin: float,
) -> Float[np.ndarray, " tests"]:
    """Compute the score statistic of whether a difference of two shares is a margin; it is standard
    normal if it is.

    Args:
        one: share of successes in the first sample.
        trials: size of the first sample.
        other: share of successes in the second sample.
        others: size of the second sample.
        margin: the difference one - other that is tested, between -1 and 1.

    References:
        Farrington & Manning 1990, eq. 2 and appendix (shares that have this difference).
    """
    ratio = others / trials
    a = 1 + ratio
    b = -(1 + ratio + one + ratio * other + margin * (ratio + 2))
    c = margin**2 + margin * (2 * one + ratio + 1) + one + ratio * other
    d = -one * margin * (1 + margin)
    v = (b / (3 * a)) ** 3 - b * c / (6 * a**2) + d / (2 * a)
    u = np.where(v < 0, -1.0, 1.0) * np.sqrt(np.maximum((b / (3 * a)) ** 2 - c / (3 * a), 0.0))
    size = np.where(u == 0, 1.0, u**3)
    angle = (math.pi + np.arccos(np.clip(v / size, -1.0, 1.0))) / 3
    first = np.clip(2 * u * np.cos(angle) - b / (3 * a), 0.0, 1.0)
    second = np.clip(first - margin, 0.0, 1.0)
    variance = first * (1 - first) / trials + second * (1 - second) / others
    return (one - other - margin) / np.sqrt(np.maximum(variance, np.finfo(float).tiny))
