"""What candidates gain on examples from where networks will be used: one half of them chooses, the
other half reports.

All networks judge all these examples, since none is trained on them. The examples that report had
no part in the choice, so their luck needs no correction for it. That of the networks does, since
the same ones are chosen and reported.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxnet import display
from jaxnet.stats.cross_fitting import unit_means
from jaxnet.stats.estimate import LEVEL, Estimate
from jaxnet.stats.gains import FOLDS, POWER, Cell, Choice, Gains, Room, run_rungs
from jaxnet.stats.random_effects import POSITIVE, RATE, interval_of_few, table
from jaxnet.stats.selection import correlations, standard_normals


@dataclass(frozen=True)
class TargetRace:
    """What a race has measured on examples from where networks will be used.

    Attributes:
        losses: (recipes, networks, examples) losses, first those of the current recipe; NaN where
            no network was trained. Network S k + s has seed s of S and left out fold k.
        chooses: (examples,) which examples choose; the others report.
        group_of: (examples,) group of each example, all of it in one half; None where every example
            is its own.
        finalists: (candidates,) which candidates ran all folds.
        how: what `Gains.of` must know of the losses.
    """

    losses: Float[np.ndarray, "recipes networks examples"]
    chooses: Bool[np.ndarray, " examples"]
    group_of: Int[np.ndarray, " examples"] | None
    finalists: Bool[np.ndarray, " candidates"]
    how: Mapping[str, Any]

    __repr__ = display.text

    @cached_property
    def gains(self) -> Gains:
        """The gains on the half that reports."""
        return target_gains(self.losses, ~self.chooses, self.group_of, self.how)

    @property
    def trained(self) -> Bool[np.ndarray, "recipes seeds folds"]:
        """Which networks were trained."""
        found = np.isfinite(self.losses[:, :, 0])
        return found.reshape(len(found), FOLDS, -1).swapaxes(1, 2)

    @property
    def seeds(self) -> int:
        """Networks of each finalist for each fold."""
        return self.losses.shape[1] // FOLDS

    def choose(self, level: float = LEVEL) -> Choice:
        """Choose the finalist with the largest gain on the half that chooses, and compute what it
        gains on the other half.

        Its lower limit allows for a choice by the luck of its networks, and the squares of both
        parts add up. The quantile of the others is that of limits that hold for all candidates at
        once.

        Args:
            level: confidence level of the interval.

        References:
            Graybill & Wang 1980 (limits of a sum of variances); Dunnett 1955 (networks of many
            recipes against those of one).
        """
        normal, numbers = NormalDist(), np.flatnonzero(self.finalists)
        choosing = target_gains(self.losses, self.chooses, self.group_of, self.how)
        lead = int(numbers[choosing.means[numbers].argmax()])
        found, z = self.gains, normal.inv_cdf((1 + level) / 2)
        mean, error = float(found.means[lead]), float(found.errors[lead])
        examples = float(replace(found, of_networks=None).errors[lead])
        networks = math.sqrt(max(0.0, error**2 - examples**2))
        below = math.hypot(z * examples, _of_largest(_dunnett(len(found.means)), level) * networks)
        return Choice(
            leader=lead,
            gain=Estimate(mean, mean - below, mean + z * error),
            detectable=below + normal.inv_cdf(POWER) * error,
            quantile=_of_largest(correlations(found.units), level),
        )

    def error(self, recipe: int = 0, level: float = LEVEL) -> Estimate:
        """Compute the mean loss of the networks of a recipe, on the half that reports.

        Args:
            recipe: its number.
            level: confidence level of the interval.
        """
        losses = self.losses[recipe][:, ~self.chooses]
        losses, within = losses[np.isfinite(losses[:, 0])], POSITIVE
        if self.group_of is not None:
            losses = unit_means(losses, self.group_of[~self.chooses])
        elif self.how.get("counted", True) and self.how.get("largest", 1.0) == 1:
            within = RATE
        return interval_of_few(table(losses, within), level)


def _of_largest(correlation: Float[np.ndarray, "candidates candidates"], level: float) -> float:
    """The quantile of the largest of several normal variables; at least that of one in an interval
    with two limits.
    """
    drawn = float(np.quantile(standard_normals(correlation).max(1), level))
    return max(NormalDist().inv_cdf((1 + level) / 2), drawn)


def _dunnett(count: int) -> Float[np.ndarray, "candidates candidates"]:
    """Correlations of differences from the same reference."""
    return (np.eye(count) + 1) / 2


def target_gains(
    losses: Float[np.ndarray, "recipes networks examples"],
    half: Bool[np.ndarray, " examples"],
    group_of: Int[np.ndarray, " examples"] | None,
    how: Mapping[str, Any],
) -> Gains:
    """Compute the gains of candidates on some examples that all networks judge.

    Args:
        losses: as in `TargetRace`.
        half: (examples,) which examples.
        group_of: (examples,) group of each example, or None.
        how: what `Gains.of` must know of the losses.
    """
    own, groups = losses[:, :, half], None if group_of is None else group_of[half]
    found = Gains.of(own, np.zeros(own.shape[-1], int), groups, **how)
    means = own.mean(2)
    means = np.sqrt(means) if how.get("root") else means
    return replace(found, of_networks=means[0] - means[1:])


def race_on_target(
    measure: Callable[[Int[np.ndarray, " recipes"], Sequence[Cell]], Float[np.ndarray, "..."]],
    candidates: int,
    chooses: Bool[np.ndarray, " examples"],
    group_of: Int[np.ndarray, " examples"] | None = None,
    *,
    seeds: int = 2,
    room: Room | None = None,
    **how: Any,
) -> TargetRace:
    """Train candidates without more and more folds, and stop with those that have fallen behind on
    the half of the examples that chooses.

    Args:
        measure: from numbers of recipes, of which 0 is the current one, and from trainings, losses
            (recipes, trainings, examples) of these networks on examples that none was trained on.
        candidates: number of candidates.
        chooses: (examples,) which examples choose.
        group_of: (examples,) group of each example, or None.
        seeds: networks of each finalist for each fold.
        room: as in `race`.
        **how: what `Gains.of` must know of the losses.
    """
    losses = np.full((1 + candidates, seeds * FOLDS, len(chooses)), np.nan)

    def keep(recipes: np.ndarray, cells: Sequence[Cell]) -> Gains:
        networks = np.array([seeds * fold + seed for fold, seed in cells])
        losses[recipes[:, None], networks] = measure(recipes, cells)
        return target_gains(losses, chooses, group_of, how)

    _, finalists = run_rungs(keep, candidates, seeds, room)
    of_seeds = losses.reshape(len(losses), FOLDS, seeds, -1)
    of_seeds = of_seeds[:, :, np.isfinite(of_seeds).any((0, 1, 3))]
    losses = of_seeds.reshape(len(losses), -1, len(chooses))
    return TargetRace(losses, chooses, group_of, finalists, how)
