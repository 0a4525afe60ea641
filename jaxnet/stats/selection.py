"""The interval of the lowest of several errors that were measured on the same examples.

The lowest of several measured errors is too low on average, so that its own interval misses the
truth too often. Upper limits that hold for all candidates at once hold for any of them, whatever
chose it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Int, Shaped

from jaxnet.stats.cross_fitting import error_of_network, unit_means
from jaxnet.stats.estimate import LEVEL, Estimate, wilson
from jaxnet.stats.random_effects import (
    MIN_ERROR_EXAMPLES,
    POSITIVE,
    RATE,
    TwoWay,
    interval_of_few,
    table,
)

DRAWS = 4_000  # of the largest deviation among the candidates
SEED = 0  # fixed, so that the same losses give the same limits


@dataclass(frozen=True)
class Candidate:
    """The losses of one of several candidates, on the same examples for all.

    Attributes:
        losses: (networks, examples) losses of its networks, or booleans: whether a prediction is
            wrong.
        groups: (examples,) the group of each example, which is then the independent unit; None
            where every example is its own.
    """

    losses: Shaped[np.ndarray, "networks examples"]
    groups: Int[np.ndarray, " examples"] | None = None

    @cached_property
    def units(self) -> Shaped[np.ndarray, "networks units"]:
        """The losses of the examples, or of groups of them, which have the same mean."""
        if self.groups is None:
            return self.losses
        return unit_means(self.losses.astype(np.float64), self.groups)

    @cached_property
    def two_way(self) -> TwoWay:
        """The mean loss, with its variance over networks and over examples."""
        return table(self.units, RATE if self.units.dtype == bool else POSITIVE)

    @property
    def share(self) -> float:
        """Which part of the variance of the mean loss comes from the draw of examples."""
        return 1.0 if len(self.losses) == 1 else examples_share(self.two_way)

    def interval(self, level: float = LEVEL) -> Estimate:
        """Compute the mean loss with the interval of this candidate alone.

        For one network it holds for this network on new examples; for several networks it holds for
        new networks on new examples.

        Args:
            level: confidence level of the interval.
        """
        if len(self.losses) > 1:
            return interval_of_few(self.two_way, level, examples=MIN_ERROR_EXAMPLES)
        if self.losses.dtype == bool and self.groups is None:
            return wilson(int(self.losses.sum()), self.losses.shape[1], level)
        return error_of_network(self.losses[0], self.groups, level)


def interval_of_lowest(
    candidates: Sequence[Candidate], best: int, level: float = LEVEL
) -> Estimate:
    """Compute the interval of a candidate that was chosen for its low error.

    Args:
        candidates: all candidates, also those that were dropped on the way.
        best: number of the chosen one.
        level: confidence level of the interval.

    Returns:
        The mean loss of the chosen candidate, with an interval that allows for the choice.
    """
    upper = level_of_lowest(
        np.stack([each.units.mean(0) for each in candidates]),
        np.array([each.share for each in candidates]),
        level,
    )
    return lowest(candidates[best].interval, upper, level)


def level_of_lowest(
    losses: Shaped[np.ndarray, "candidates examples"],
    share: Float[np.ndarray, " candidates"] | None = None,
    level: float = LEVEL,
) -> float:
    """Compute the two-sided level at which the upper limits of all candidates hold at once (max-t).

    The upper limit at this level holds for the candidate with the lowest error, which is measured
    too low, in whatever way it was chosen. Its lower limit needs no correction: where candidates
    are so equal that the upper limit misses, the lower one does not.

    Args:
        losses: (candidates, examples) loss of each candidate on each example, or on each group of
            examples. Candidates that were dropped on the way count too.
        share: (candidates,) the part of the variance of each mean loss, from 0 to 1, that comes
            from the draw of examples; the rest is independent between candidates. By default 1.
        level: confidence level of the interval.

    Returns:
        A two-sided level, at least `level`.

    References:
        Dunnett 1955; Hothorn, Bretz & Westfall 2008 (max-t); Berk, Brown, Buja, Zhang & Zhao 2013
            (simultaneous limits hold after any choice).
    """
    normal = NormalDist()
    draws = standard_normals(correlations(losses, share))
    alone = normal.inv_cdf((1 + level) / 2)
    bonferroni = normal.inv_cdf(1 - (1 - level) / len(losses))
    quantile = min(float(np.quantile(draws.max(1), level)), bonferroni)
    return 2 * normal.cdf(max(quantile, alone)) - 1


def correlations(
    losses: Shaped[np.ndarray, "candidates examples"],
    share: Float[np.ndarray, " candidates"] | None = None,
) -> Float[np.ndarray, "candidates candidates"]:
    """Compute the correlations of the mean losses of candidates over draws of examples.

    Args:
        losses: (candidates, examples) loss of each candidate on each example or group of examples.
        share: as in `level_of_lowest`.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.atleast_2d(np.corrcoef(np.asarray(losses, np.float64)))
    # Losses that do not vary show no correlation, and independence gives the widest limits.
    root = np.ones(len(found)) if share is None else np.sqrt(np.clip(share, 0.0, 1.0))
    found = np.nan_to_num(found) * np.outer(root, root)
    np.fill_diagonal(found, 1.0)
    return found


def standard_normals(
    correlation: Float[np.ndarray, "candidates candidates"],
) -> Float[np.ndarray, "draws candidates"]:
    """Draw standard normal numbers with these correlations; the same ones at each call."""
    return np.random.default_rng(SEED).multivariate_normal(
        np.zeros(len(correlation)), correlation, DRAWS, check_valid="ignore", method="eigh"
    )


def examples_share(given: TwoWay) -> float:
    """Compute which part of the variance of a mean comes from the draw of examples.

    Args:
        given: the mean over at least 2 members and the examples.
    """
    own, (between, _) = given.parts[0].own, given.members_variance()
    return own / (own + between) if own > 0 else 0.0


def lowest(interval: Callable[[float], Estimate], upper: float, level: float = LEVEL) -> Estimate:
    """Compute the interval of the lowest of several errors.

    Args:
        interval: from a confidence level, the interval of this error alone.
        upper: the level of the upper limit, as `level_of_lowest` computes it.
        level: confidence level of the interval.
    """
    return replace(interval(level), high=interval(upper).high)
