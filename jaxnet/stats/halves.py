"""Errors of networks that were trained on random halves of the same examples: on what each of them
has seen, and on what it has not.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jaxnet.errors import InputError
from jaxnet.stats.cross_fitting import (
    MIN_GROUPS,
    error_of_units,
    mean_over_units,
    unit_means,
    unit_sums,
)
from jaxnet.stats.estimate import LEVEL, Estimate
from jaxnet.stats.random_effects import block, two_way

CELLS = 1 << 20  # numbers in a block of examples


def error_of_halves(
    losses: Shaped[np.ndarray, "members examples"],
    judged: Bool[np.ndarray, "members examples"],
    group_of: Int[np.ndarray, " examples"] | None = None,
    level: float = LEVEL,
) -> Estimate:
    """Compute the mean loss of an example, averaged over the networks that it judges and then over
    examples, for other networks on other halves and for other examples.

    Args:
        losses: (members, examples) losses, or booleans: whether a prediction is wrong.
        judged: (members, examples) which networks an example judges, such as those that did not
            train on it; at least 2 of them.
        group_of: (examples,) group of each example, which lies in a half as a whole; None where
            every example is its own.
        level: confidence level of the interval.

    Returns:
        The error with its interval.

    Raises:
        InputError: where fewer than 2 networks judge an example.

    References:
        Searle, Casella & McCulloch 1992, section 4.4 (crossed random effects).
    """
    if (few := judged.sum(0)).min() < 2:
        raise InputError(
            f"example {int(few.argmin())} judges {few.min()} networks, but at least 2 are needed; "
            "train more networks"
        )
    center = mean_over_units(mean_where(losses, judged), group_of)
    units = losses
    if group_of is not None:
        if (groups := len(center.values)) < MIN_GROUPS:
            words = f"{groups} groups are too few for an interval; at least {MIN_GROUPS} are needed"
            return Estimate(center.estimate, refused=words)
        units = unit_means(losses.astype(np.float64), group_of)
        judged = judged[:, unit_sums(group_of)[1]]
    width = max(1, CELLS // len(units))
    table = two_way(
        [
            block(units[:, of].astype(np.float64), seen=~judged[:, of])
            for of in (slice(at, at + width) for at in range(0, units.shape[1], width))
        ]
    )
    variance, freedom = table.members_variance()
    found = replace(
        center,
        networks=variance,
        networks_freedom=freedom,
        both=table.parts[0].both,
        both_freedom=float((len(units) - 1) * (units.shape[1] - 1)),
    )
    return error_of_units(found, level, counted=losses.dtype == bool)


def in_first_half(pair_of: Int[np.ndarray, " networks"]) -> Bool[np.ndarray, " networks"]:
    """Compute which networks are in the first one of two halves of them. Networks of a pair, whose
    halves of the examples complete each other, are in the same one.

    Args:
        pair_of: (networks,) the pair of each network.
    """
    return np.unique(pair_of, return_inverse=True)[1].reshape(-1) % 2 == 0


def mean_where(
    values: Shaped[np.ndarray, "members examples"], mask: Bool[np.ndarray, "members examples"]
) -> Float[np.ndarray, " examples"]:
    """Compute the mean of each example's values over the networks of a mask; NaN without any."""
    count = mask.sum(0)
    total = np.einsum("mi,mi->i", values, mask, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
