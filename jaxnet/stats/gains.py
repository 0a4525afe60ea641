"""What candidates gain over the current recipe: which ones stay in a race, which one is best, and
an interval of its gain that allows for the choice.

Networks of all recipes are cross-fitted on the same folds, so gains are paired by example. The gain
that is measured for the best of several candidates is too large on average; the interval and the
point that are reported hold in spite of that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxnet import display
from jaxnet.stats.cross_fitting import unit_sums
from jaxnet.stats.estimate import LEVEL, Estimate
from jaxnet.stats.selection import SEED, correlations, standard_normals

FOLDS = 8
RUNGS = (2, 4, FOLDS)  # folds after which candidates leave the race, and at which it ends
NEAR = 2.0  # standard errors behind the leader within which a candidate stays in the race
POWER = 0.8  # probability with which a gain of `Choice.detectable` is found


# A training: the fold that the network leaves out, and the number of its seed.
Cell = tuple[int, int]
# As in `race`.
Room = Callable[[Sequence[int], Sequence[Cell]], Sequence[int]]


@dataclass(frozen=True)
class Gains:
    """Losses of the current recipe minus those of candidates on unseen examples, positive where the
    candidate is better.

    Attributes:
        values: (candidates, examples) mean over seeds; NaN on examples of folds that no network of
            the candidate has left out yet.
        fold_of: (examples,) fold of each example.
        group_of: (examples,) group of each example, all of it in one fold; None where every
            example is its own.
        counted: whether the loss of an example is 0, or else its weight.
        seeds: the most networks that left out the same fold.
        largest: the largest weight of an example, where losses are counted; 1 where all count the
            same.
        of_networks: (candidates, networks) mean gain of each network, where all networks judge all
            examples; NaN where none was trained. None where they are judged on their folds.
    """

    values: Float[np.ndarray, "candidates examples"]
    fold_of: Int[np.ndarray, " examples"]
    group_of: Int[np.ndarray, " examples"] | None = None
    counted: bool = True
    seeds: int = 1
    largest: float = 1.0
    of_networks: Float[np.ndarray, "candidates networks"] | None = None

    __repr__ = display.text

    @classmethod
    def of(
        cls,
        losses: Float[np.ndarray, "recipes seeds examples"],
        fold_of: Int[np.ndarray, " examples"],
        group_of: Int[np.ndarray, " examples"] | None = None,
        *,
        counted: bool = True,
        largest: float = 1.0,
        root: bool = False,
    ) -> "Gains":
        """Compute the gains of candidates from losses.

        The values of root mean losses are linear around the measured roots (delta method), so that
        their mean is the difference of the roots, and their variance that of this difference.

        Args:
            losses: (recipes, seeds, examples) losses of networks that left out the fold of an
                example, first those of the current recipe; NaN where none was trained.
            fold_of: (examples,) fold of each example.
            group_of: (examples,) group of each example, or None.
            counted: whether the loss of an example is 0, or else its weight; it may also be a share
                of wrong answers, for which intervals are a little too wide.
            largest: the largest weight of an example, where losses are counted.
            root: whether gains are differences of root mean losses, such as those of squared
                errors.
        """
        trained = np.isfinite(losses[0] - losses[1:])
        count = trained.sum(1)

        def means(losses: np.ndarray) -> np.ndarray:
            sums = np.where(trained, losses, 0.0).sum(1)
            found = np.where(count > 0, sums / np.maximum(count, 1), np.nan)
            return _linear_roots(found) if root else found

        values = means(losses[0]) - means(losses[1:])
        return cls(values, fold_of, group_of, counted, losses.shape[1], largest)

    def only(self, candidates: Int[np.ndarray, " some"]) -> "Gains":
        """Select candidates, on the examples that all of them were measured on."""
        values = self.values[candidates]
        rows = np.isfinite(values).all(0)
        group_of = None if self.group_of is None else self.group_of[rows]
        networks = None if self.of_networks is None else self.of_networks[candidates]
        return replace(
            self,
            values=values[:, rows],
            fold_of=self.fold_of[rows],
            group_of=group_of,
            of_networks=networks,
        )

    @property
    def means(self) -> Float[np.ndarray, " candidates"]:
        """The mean gains; all examples must be measured."""
        return self.values.mean(1)

    @cached_property
    def units(self) -> Float[np.ndarray, "candidates units"]:
        """Deviations from the mean gains, summed over the examples of a group."""
        sums, _ = unit_sums(self.group_of)
        return sums(self.values - self.means[:, None])

    @cached_property
    def errors(self) -> Float[np.ndarray, " candidates"]:
        """Standard errors of the mean gains.

        Of counted losses one unit more is won and one more is lost than were measured, of the
        largest weight where weights differ: one example of the rarest class decides as much. Where
        the means of folds vary more than their examples do, since networks differ, all standard
        errors are larger by the same factor. Where all networks judge all examples, the variance of
        the mean over networks is added, in the same proportion for all.

        References:
            Bonett & Price 2012 (two more units).
        """
        examples, units = self.values.shape[1], self.units.shape[1]
        squares, count = (self.units**2).sum(1), units - 1
        if self.counted:
            squares, count = squares + 2 * self.largest**2 * examples / units, units + 1
        own = units / count * squares / examples**2
        if self.of_networks is not None:
            return np.sqrt(own * (1 + _between_networks(self.of_networks, own)))
        folds, fold_of = np.unique(self.fold_of, return_inverse=True)
        if len(folds) < 2:
            return np.sqrt(own)
        sizes = np.bincount(fold_of)
        of_folds = np.stack([np.bincount(fold_of, each) / sizes for each in self.values])
        between = of_folds.var(1, ddof=1) / len(folds)
        varies = own > 0
        factor = float((between[varies] / own[varies]).mean()) if varies.any() else 1.0
        return np.sqrt(own * max(1.0, factor))

    def staying(self, running: Bool[np.ndarray, " candidates"]) -> Bool[np.ndarray, " candidates"]:
        """Decide which candidates stay in the race.

        The better half stays, and of it the leader and whoever is within two standard errors of the
        leader and may still gain something.

        Args:
            running: (candidates,) which candidates were measured on the same folds so far.

        Returns:
            (candidates,) which of them are to be measured on further folds.
        """
        numbers = np.flatnonzero(running)
        found = self.only(numbers)
        means = found.means
        order = np.argsort(-means, kind="stable")
        lead = order[0]
        apart = replace(found, values=found.values[lead] - found.values).errors
        stays = (means[lead] - means <= NEAR * apart) & (means + NEAR * found.errors > 0)
        stays[order[(len(order) + 1) // 2 :]] = False
        stays[lead] = True
        kept = np.zeros_like(running)
        kept[numbers[stays]] = True
        return kept

    def best_first(self, running: Bool[np.ndarray, " candidates"]) -> list[int]:
        """List candidates from the largest to the smallest mean gain.

        Args:
            running: (candidates,) which candidates were measured on the same folds so far.
        """
        numbers = np.flatnonzero(running)
        return numbers[np.argsort(-self.only(numbers).means, kind="stable")].tolist()

    def choose(self, finalists: Bool[np.ndarray, " candidates"], level: float = LEVEL) -> "Choice":
        """Choose the finalist with the largest gain, and compute what it gains.

        Its lower limit holds for all candidates at once (max-t), those that left the race included.
        Its upper limit needs no correction, since a winner is measured too high. The point is the
        measured gain without what a winner is measured too high, within the limits.

        Args:
            finalists: (candidates,) which candidates were measured on all folds.
            level: confidence level of the interval.

        References:
            Dunnett 1955 (lower limit).
        """
        numbers, normal = np.flatnonzero(finalists), NormalDist()
        found, every = self.only(numbers), self.only(np.arange(len(self.values)))
        draws = standard_normals(correlations(every.units))
        z = normal.inv_cdf((1 + level) / 2)
        q = max(z, float(np.quantile(draws.max(1), level)))
        # means of counted losses tie, and a point needs a winner
        half = 0.5 / (found.values.shape[1] * self.seeds) if self.counted else 0.0
        means = found.means + half * np.random.default_rng(SEED).uniform(-1, 1, len(numbers))
        lead = int(means.argmax())
        mean, error = float(found.means[lead]), float(found.errors[lead])
        low, high = mean - q * error, mean + z * error
        point = mean - overstated(means, found.errors, correlations(found.units))
        return Choice(
            leader=int(numbers[lead]),
            gain=Estimate(min(max(point, low), high), low, high),
            detectable=(q + normal.inv_cdf(POWER)) * error,
            quantile=q,
        )

    def each(self, quantile: float) -> tuple[Estimate, ...]:
        """Compute the gain of each candidate on the folds that it ran.

        Args:
            quantile: how many standard errors the limits are away; with that of `choose`, the lower
                limits of all candidates hold at once.
        """
        found = [self.only(np.array([number])) for number in range(len(self.values))]
        sizes = [(float(each.means[0]), quantile * float(each.errors[0])) for each in found]
        return tuple(Estimate(mean, mean - half, mean + half) for mean, half in sizes)

    def of_last(self, asked: int, level: float = LEVEL) -> Estimate:
        """Compute the gain of a single candidate that several rounds of choices have led to, on
        folds that took no part in them.

        The lower limit allows for a choice among all candidates of all rounds, since these were
        measured on the same examples.

        Args:
            asked: number of candidates of all rounds.
            level: confidence level of the interval.

        References:
            Bonferroni, as in Dunn 1961 (lower limit).
        """
        normal = NormalDist()
        mean, error = float(self.means[0]), float(self.errors[0])
        q, z = normal.inv_cdf(1 - (1 - level) / asked), normal.inv_cdf((1 + level) / 2)
        return Estimate(mean, mean - max(q, z) * error, mean + z * error)


@dataclass(frozen=True)
class Choice:
    """The finalist with the largest gain.

    Attributes:
        leader: number of the candidate.
        gain: its gain; the interval allows for the choice.
        detectable: the gain that a study like this one finds in 80% of cases.
        quantile: standard errors between each mean gain and a lower limit, for these limits to hold
            for all candidates at once.
    """

    leader: int
    gain: Estimate
    detectable: float
    quantile: float

    __repr__ = display.text


class Raced(NamedTuple):
    """What a race has measured.

    Attributes:
        losses: (recipes, seeds, examples) losses on unseen examples, first those of the current
            recipe; NaN where no network was trained.
        gains: the gains of the candidates.
        finalists: (candidates,) which candidates ran all folds.
    """

    losses: Float[np.ndarray, "recipes seeds examples"]
    gains: Gains
    finalists: Bool[np.ndarray, " candidates"]

    @property
    def trained(self) -> Bool[np.ndarray, "recipes seeds folds"]:
        """Which networks were trained."""
        one_of_fold = np.unique(self.gains.fold_of, return_index=True)[1]
        return np.isfinite(self.losses[:, :, one_of_fold])

    @property
    def seeds(self) -> int:
        """Networks of each finalist for each fold."""
        return self.losses.shape[1]

    def choose(self, level: float = LEVEL) -> Choice:
        """As `Gains.choose`, among the finalists."""
        return self.gains.choose(self.finalists, level)


def most_recipes(candidates: int) -> tuple[int, ...]:
    """How many recipes run at most between each two rungs, the current one included."""
    counts = [candidates]
    while len(counts) < len(RUNGS):
        counts.append((counts[-1] + 1) // 2)
    return tuple(1 + count for count in counts)


def cells_of_rungs(seeds: int, *, apart: bool = False) -> tuple[tuple[Cell, ...], ...]:
    """List the trainings of each recipe up to each rung: one network for each fold, and those of
    the further seeds once the finalists are known.

    Args:
        seeds: networks of each finalist for each fold.
        apart: whether the further seeds come after the last rung, and not together with its folds.
    """
    starts = (0, *RUNGS[:-1])
    rungs = [[(k, 0) for k in range(*ends)] for ends in zip(starts, RUNGS, strict=True)]
    further = [(k, seed) for seed in range(1, seeds) for k in range(FOLDS)]
    if apart and further:
        rungs.append(further)
    else:
        rungs[-1] += further
    return tuple(map(tuple, rungs))


def race(
    measure: Callable[[Int[np.ndarray, " recipes"], Sequence[Cell]], Float[np.ndarray, "..."]],
    candidates: int,
    fold_of: Int[np.ndarray, " examples"],
    group_of: Int[np.ndarray, " examples"] | None = None,
    *,
    seeds: int = 2,
    counted: bool = True,
    largest: float = 1.0,
    root: bool = False,
    room: Room | None = None,
) -> "Raced":
    """Measure candidates on more and more folds, and stop with those that have fallen behind.

    Args:
        measure: from numbers of recipes, of which 0 is the current one, and from trainings, losses
            (recipes, trainings, examples) of these networks; only those on the fold that a network
            left out are used.
        candidates: number of candidates.
        fold_of: (examples,) fold of each example.
        group_of: (examples,) group of each example, or None.
        seeds: networks of each finalist for each fold.
        counted: as in `Gains.of`.
        largest: as in `Gains.of`.
        root: as in `Gains.of`.
        room: from numbers of candidates that stay in the race, the best first, and from their next
            trainings, those that there is time for: at least one, except for further seeds, which
            are then left out for all. None where time does not matter.

    Returns:
        What was measured, and which candidates ran all folds.

    References:
        Maron & Moore 1994 (racing of models by their losses on the same examples).
    """
    losses = np.full((1 + candidates, seeds, len(fold_of)), np.nan)
    gains = partial(
        Gains.of, fold_of=fold_of, group_of=group_of, counted=counted, largest=largest, root=root
    )

    def keep(recipes: np.ndarray, cells: Sequence[Cell]) -> Gains:
        found = measure(recipes, cells)
        for place, (fold, seed) in enumerate(cells):
            own = np.flatnonzero(fold_of == fold)
            losses[recipes[:, None], seed, own] = found[:, place, own]
        return gains(losses)

    _, finalists = run_rungs(keep, candidates, seeds, room)
    losses = losses[:, np.isfinite(losses).any((0, 2))]
    return Raced(losses, gains(losses), finalists)


def run_rungs(
    keep: Callable[[Int[np.ndarray, " recipes"], Sequence[Cell]], Gains],
    candidates: int,
    seeds: int,
    room: Room | None = None,
) -> tuple[Gains, Bool[np.ndarray, " candidates"]]:
    """Train recipes rung by rung, without those that have fallen behind.

    Args:
        keep: trains networks of some recipes, and returns what is gained so far.
        candidates: number of candidates.
        seeds: networks of each finalist for each fold.
        room: as in `race`.

    Returns:
        (the gains at the end, which candidates are finalists).
    """
    running, gains = np.ones(candidates, bool), None
    for number, cells in enumerate(cells_of_rungs(seeds, apart=room is not None)):
        if gains is not None and number < len(RUNGS):
            running = gains.staying(running)
        if gains is not None and room is not None:
            kept = room(gains.best_first(running), cells)
            if not kept:
                break
            running = np.isin(np.arange(candidates), kept)
        gains = keep(np.r_[0, 1 + np.flatnonzero(running)], cells)
    assert gains is not None
    return gains, running


def _between_networks(
    means: Float[np.ndarray, "candidates networks"], own: Float[np.ndarray, " candidates"]
) -> float:
    """The variance of mean gains over networks, on average in variances over examples."""
    count = np.isfinite(means).sum(1)
    varies = (own > 0) & (count > 1)
    if not varies.any():
        return 0.0
    between = np.nanvar(means[varies], axis=1, ddof=1) / count[varies]
    return float((between / own[varies]).mean())


def _linear_roots(
    losses: Float[np.ndarray, "candidates examples"],
) -> Float[np.ndarray, "candidates examples"]:
    """Values whose mean is the root of the mean loss, and which are linear in the losses; NaN where
    these are.
    """
    roots = np.sqrt(np.nanmean(losses, axis=1, keepdims=True))
    return roots / 2 + losses / (2 * np.where(roots > 0, roots, 1.0))


def overstated(
    means: Float[np.ndarray, " candidates"],
    errors: Float[np.ndarray, " candidates"],
    correlation: Float[np.ndarray, "candidates candidates"],
) -> float:
    """Estimate by how much the largest of several normal means is measured too high.

    It is twice what the parametric bootstrap finds. Measured means lie farther apart than true
    ones, so that draws around them have a clearer winner: where all means are equal, the bootstrap
    finds two thirds. A race adds to it, since it goes on with those that were lucky so far. Twice
    is close to the truth in the simulations of experiments/benchmarks/advice.py.

    Args:
        means: (candidates,) measured means.
        errors: (candidates,) their standard errors.
        correlation: (candidates, candidates) of the means.

    Returns:
        The mean of what the largest has too much; near 0 where one mean is far above the others.

    References:
        Efron & Tibshirani 1993, chapter 10 (bootstrap estimates of bias).
    """
    deviations = errors * standard_normals(correlation)
    winners = (means + deviations).argmax(1)
    return 2 * float(deviations[np.arange(len(deviations)), winners].mean())
