"""Difference of two recipes whose networks were cross-fitted on the same folds of one pool."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from jaxnet import display
from jaxnet.errors import InputError
from jaxnet.stats.cross_fitting import Contrast, CrossFit, mean_over_units, t_interval
from jaxnet.stats.estimate import LEVEL, Estimate
from jaxnet.stats.random_effects import (
    MIN_CARRYING_EXAMPLES,
    MIN_RATE_EXAMPLES,
    POSITIVE,
    RATE,
    SIGNED,
    exact_limits,
)


@dataclass(frozen=True)
class UnseenLosses:
    """Losses of cross-fitted networks on the examples that each of them left out.

    Attributes:
        losses: (seeds, examples) losses of the networks that left out the fold of an example, one
            network per row; NaN in the last rows of a fold that fewer networks left out.
        fold_of: (examples,) fold of each example.
        group_of: (examples,) group of each example; None where every example is its own.
        counted: whether each loss is 0 or 1.
        pool: what tells the examples of this pool from others.
    """

    losses: Float[np.ndarray, "seeds examples"]
    fold_of: Int[np.ndarray, " examples"]
    group_of: Int[np.ndarray, " examples"] | None
    counted: bool
    pool: str

    __repr__ = display.text

    @classmethod
    def of(cls, fit: CrossFit, pool: str) -> "UnseenLosses":
        """Take from the losses of networks on their pool those on the examples they left out."""
        found = np.full((int(fit.networks_of_folds.max()), len(fit.fold_of)), np.nan)
        for fold in range(fit.folds):
            networks, own = fit.fold_of_network == fold, fit.fold_of == fold
            found[: int(networks.sum()), own] = fit.losses[networks][:, own]
        return cls(found, fit.fold_of, fit.group_of, fit.counted, pool)

    @property
    def folds(self) -> int:
        """The number of folds."""
        return int(self.fold_of.max()) + 1

    @property
    def networks(self) -> int:
        """The number of networks."""
        return len(self.fit.losses)

    @cached_property
    def fit(self) -> CrossFit:
        """The networks as a table; losses on examples that a network was trained on are 0."""
        one_of_fold = np.unique(self.fold_of, return_index=True)[1]
        seeds, folds = np.nonzero(np.isfinite(self.losses[:, one_of_fold]))
        order = np.lexsort((seeds, folds))
        seeds, folds = seeds[order], folds[order]
        return CrossFit(
            np.where(self.fold_of == folds[:, None], self.losses[seeds], 0.0),
            folds,
            self.fold_of,
            self.group_of,
            RATE if self.counted else POSITIVE,
            self.counted,
        )


def recipe_difference(a: UnseenLosses, b: UnseenLosses, level: float = LEVEL) -> Estimate:
    """Compute the mean loss of recipe a minus that of recipe b on unseen examples.

    The interval is for other pools of as many examples, and for other networks. Differences are
    paired by example, and networks by their number where both recipes have the same number of them
    for each fold; else the networks of one recipe are taken to be independent of the others. Where
    the recipes differ on fewer than 5 examples, the limits are at least as far away as exact
    binomial ones: those from which so few differences can have come.

    Args:
        a: losses of recipe a.
        b: losses of recipe b, on the same folds of the same examples.
        level: confidence level of the interval.

    Returns:
        The difference; refused with a reason, such as fewer than 2 networks for most folds.

    Raises:
        InputError: where pools or folds are not the same.
    """
    if reason := not_the_same(a, b):
        raise InputError(f"{reason}; give losses on the same folds of the same pool")
    one, other = a.fit, b.fit
    if (
        np.isfinite(a.losses).all()
        and np.isfinite(b.losses).all()
        and len(one.losses) == len(other.losses)
    ):
        both = replace(one, losses=one.losses - other.losses, within=SIGNED, counted=False)
        given = both.contrast(1.0, 0.0)
    else:
        given = _independent(one, other)
    reasons = (each.refusal(given, signed=True) for each in (one, other))
    if reason := next(filter(None, reasons), None):
        return Estimate(given.estimate, refused=reason)
    size = float(np.abs(given.values).sum())
    if not (a.counted and b.counted):
        if size > 0 and given.carried < MIN_CARRYING_EXAMPLES:
            return Estimate(
                given.estimate,
                refused=f"{max(1, round(given.carried))} of {len(given.values)} examples carry "
                f"nearly all of it; at least {MIN_CARRYING_EXAMPLES} should",
            )
        return t_interval(given, level)
    found = t_interval(given, level)
    if size < MIN_RATE_EXAMPLES:
        reach = exact_limits(size / given.examples, len(given.values), RATE, level)[1]
        return replace(found, low=min(found.low, -reach), high=max(found.high, reach))
    return found


def not_the_same(a: UnseenLosses, b: UnseenLosses) -> str | None:
    """Say why two recipes do not share pool and folds; None where they do."""
    if a.pool != b.pool:
        sizes = [f"{len(each.fold_of):,}" for each in (a, b)]
        other = ", or not in the same order"
        if sizes[0] != sizes[1]:
            other = f" ({' and '.join(sizes)})"
        return f"the examples of their pools are not the same{other}"
    if a.folds != b.folds:
        return f"they have {a.folds} and {b.folds} folds"
    if not np.array_equal(a.fold_of, b.fold_of):
        return "their folds are not the same"
    return None


def _independent(one: CrossFit, other: CrossFit) -> Contrast:
    """Compute the difference of the unseen errors of networks that do not come in pairs.

    References:
        Satterthwaite 1946.
    """
    parts = one.contrast(1.0, 0.0), other.contrast(1.0, 0.0)

    def freedom(variances: Sequence[float], freedoms: Sequence[float]) -> float:
        scatter = sum(v**2 / max(1.0, f) for v, f in zip(variances, freedoms, strict=True))
        return sum(variances) ** 2 / scatter if scatter > 0 else sum(freedoms)

    networks, both = [part.networks for part in parts], [part.both for part in parts]
    return replace(
        mean_over_units(one.unseen - other.unseen, one.group_of),
        networks=sum(networks),
        networks_freedom=freedom(networks, [part.networks_freedom for part in parts]),
        both=sum(both),
        both_freedom=freedom(both, [part.both_freedom for part in parts]),
        folds=one.folds,
    )
