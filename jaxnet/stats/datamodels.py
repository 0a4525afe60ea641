"""Datamodels: linear models of what a network outputs, given which examples it was trained on.

The functions take which examples each network was trained on, and what it outputs. They know no
network.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jaxnet.stats.halves import in_first_half, mean_where

PENALTIES = np.logspace(-2.5, 2.5, 16)  # beside the mean eigenvalue of the memberships
MOSTLY_NOISE = 0.5  # agreement of two halves of the networks below which a ranking is mostly noise


class Memberships(NamedTuple):
    """Which examples each network was trained on, as far as it differs from the other networks.

    Attributes:
        centered: (networks, examples) memberships minus the share of the networks that each example
            trained.
        powers: (networks,) eigenvalues of centered @ centered.T.
        vectors: (networks, networks) the eigenvectors, in columns.
    """

    centered: Float[np.ndarray, "networks examples"]
    powers: Float[np.ndarray, " networks"]
    vectors: Float[np.ndarray, "networks networks"]

    @property
    def power(self) -> float:
        """The mean eigenvalue."""
        return float(self.powers.mean())

    @classmethod
    def of(cls, halves: Shaped[np.ndarray, "networks examples"]) -> "Memberships":
        """Compute them from which examples each network was trained on, as 0 and 1."""
        centered = halves - halves.mean(0)
        powers, vectors = np.linalg.eigh(centered @ centered.T)
        return cls(centered, np.maximum(powers, 0.0), vectors)


def through_own_outputs(
    halves: Bool[np.ndarray, "networks examples"],
    own: Shaped[np.ndarray, "networks examples"],
    outputs: Shaped[np.ndarray, "networks outputs"],
) -> Float[np.ndarray, "examples outputs"]:
    """Compute the effect that an example would have on each output if it acted only by what the
    networks output for itself.

    To train on an example raises its own output, by as much as networks that were trained on it
    differ from the others. Where an output follows that of the example among networks that have not
    seen it, it is raised too, by the slope of its regression on that of the example: functions that
    a network can learn move together where it holds examples to be alike. With the covariance of a
    Gaussian process in place of that of the networks, this is its posterior mean after one example
    (Rasmussen & Williams 2006, eq. 2.25).

    Args:
        halves: (networks, examples) which examples each network was trained on.
        own: (networks, examples) what each network outputs for each example, such as the log-odds
            of its label.
        outputs: (networks, outputs) other outputs, such as log-odds for test examples.

    Returns:
        The effects; 0 for examples that all networks or none were trained on.
    """
    unseen = ~halves
    count, others = unseen.sum(0), halves.sum(0)
    center = mean_where(own, unseen)
    raised = mean_where(own, halves) - center
    moved = np.where(unseen, own - center, 0.0)
    slopes = moved.T @ (outputs - outputs.mean(0, dtype=np.float64))
    power = np.einsum("mi,mi->i", moved, moved)
    known = (count > 1) & (others > 0) & (power > 0)
    factor = np.where(known, raised / np.where(power > 0, power, 1.0), 0.0)
    return np.where(known[:, None], slopes, 0.0) * np.nan_to_num(factor)[:, None]


class Datamodels(NamedTuple):
    """One linear model for each output.

    Attributes:
        coefficients: (examples, outputs) how much the output is higher for networks that were
            trained on the example.
        penalty: of the ridge regression, which is the same for all outputs.
        explained: share of the variance between networks that the models predict for networks that
            they were not fitted to.
    """

    coefficients: Float[np.ndarray, "examples outputs"]
    penalty: float
    explained: float


def datamodels(
    halves: Bool[np.ndarray, "networks examples"],
    outputs: Shaped[np.ndarray, "networks outputs"],
    pair_of: Int[np.ndarray, " networks"],
    own: Shaped[np.ndarray, "networks examples"] | None = None,
    penalty: float | None = None,
) -> Datamodels:
    """Fit a ridge regression of each output on which examples a network was trained on.

    Args:
        halves: (networks, examples) which examples each network was trained on.
        outputs: (networks, outputs) numbers that each network outputs, such as log-odds of a label.
        pair_of: (networks,) the pair of each network; the halves of a pair complete each other, so
            they are left out together.
        own: (networks, examples) what each network outputs for each of these examples. The
            coefficients are then shrunk towards a multiple of `through_own_outputs` instead of 0,
            by a factor from 0 to 1 that fits all outputs best.
        penalty: of the coefficients; by default the one of 16 that predicts the outputs of networks
            that are left out with the smallest squared error, relative to the variance of each
            output.

    Returns:
        The models.

    References:
        Ilyas et al. 2022 (datamodels); Hoerl & Kennard 1970 (ridge regression); Allen 1974 (leaving
        out without fitting again).
    """
    given = Memberships.of(halves)
    center = outputs.mean(0, dtype=np.float64)
    moved = outputs - center
    spread = np.sqrt(np.mean(moved**2, axis=0))
    scale = np.where(spread > 0, spread, 1.0)
    moved = moved / scale
    expected = np.zeros((halves.shape[1], outputs.shape[1]))
    if own is not None:
        expected = through_own_outputs(halves, own, outputs) / scale
        fitted = given.centered @ expected
        power = float((fitted**2).sum())
        factor = float((fitted * moved).sum()) / power if power > 0 else 0.0
        factor = min(max(factor, 0.0), 1.0)
        expected, moved = factor * expected, moved - factor * fitted
    rotated = given.vectors.T @ moved
    penalties = given.power * PENALTIES if penalty is None else np.array([penalty])
    errors = [_left_out(given, rotated, each, pair_of) for each in penalties]
    best = int(np.argmin(errors))
    shrunk = rotated / (given.powers + penalties[best])[:, None]
    varying = max(1, int((spread > 0).sum()))
    return Datamodels(
        (expected + given.centered.T @ (given.vectors @ shrunk)) * scale,
        float(penalties[best]),
        1 - errors[best] / (len(outputs) * varying),
    )


def agreement(
    halves: Bool[np.ndarray, "networks examples"],
    output: Shaped[np.ndarray, " networks"],
    pair_of: Int[np.ndarray, " networks"],
    own: Shaped[np.ndarray, "networks examples"] | None = None,
    penalty: float | None = None,
) -> float:
    """Compute how well the coefficients of all networks would agree with those of as many others.

    Args:
        halves: as in `datamodels`.
        output: (networks,) one number of each network.
        pair_of: as in `datamodels`.
        own: as in `datamodels`.
        penalty: as in `datamodels`.

    Returns:
        The correlation of the coefficients of two halves of the networks, stepped up; NaN where one
        half has no coefficients.

    References:
        Spearman 1910; Brown 1910.
    """
    first = in_first_half(pair_of)
    one, other = (
        datamodels(
            halves[of], output[of, None], pair_of[of], None if own is None else own[of], penalty
        ).coefficients[:, 0]
        for of in (first, ~first)
    )
    return stepped_up(one, other)


def stepped_up(one: Float[np.ndarray, " values"], other: Float[np.ndarray, " values"]) -> float:
    """Compute the reliability of the mean of two measurements from their correlation; a negative
    correlation stays as it is. NaN where one of them does not vary.

    References:
        Spearman 1910; Brown 1910.
    """
    if not (np.ptp(one) > 0 and np.ptp(other) > 0):
        return float("nan")
    r = float(np.corrcoef(one, other)[0, 1])
    return 2 * r / (1 + r) if r > 0 else r


def _left_out(
    given: Memberships,
    rotated: Float[np.ndarray, "networks outputs"],
    penalty: float,
    pair_of: Int[np.ndarray, " networks"],
) -> float:
    """The summed squared error on networks whose pair is left out."""
    shrink = given.powers / (given.powers + penalty)
    residuals = given.vectors @ ((1 - shrink)[:, None] * rotated)
    order = np.argsort(pair_of, kind="stable")
    _, begins, sizes = np.unique(pair_of[order], return_index=True, return_counts=True)
    total = 0.0
    for size in np.unique(sizes):
        rows = order[begins[sizes == size][:, None] + np.arange(size)]
        own = given.vectors[rows]
        smoother = (own * shrink) @ own.transpose(0, 2, 1) + 1 / len(pair_of)  # with the mean
        total += float((np.linalg.solve(np.eye(size) - smoother, residuals[rows]) ** 2).sum())
    return total
