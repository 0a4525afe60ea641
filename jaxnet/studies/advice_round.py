"""One round of advice: look at the current recipe, try changes of it, and choose."""

import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxnet.core.recipe import Recipe
from jaxnet.core.run import Run
from jaxnet.data import Dataset, Splits
from jaxnet.diagnostics.findings import Finding
from jaxnet.engine.fingerprint import describe_pool
from jaxnet.population.result import Population
from jaxnet.population.scheduler import Progress
from jaxnet.stats.cross_fitting import group_codes
from jaxnet.stats.estimate import LEVEL, Estimate
from jaxnet.stats.gains import FOLDS, Cell, Choice, Raced, Room, cells_of_rungs, race
from jaxnet.stats.target_gains import TargetRace, race_on_target
from jaxnet.stats.unseen_losses import UnseenLosses
from jaxnet.studies.advice import ADOPTED, HELPS, UNSURE, Tried
from jaxnet.studies.candidates import Candidate, candidates
from jaxnet.studies.inner import harmful_values, label_noise
from jaxnet.studies.networks import Networks
from jaxnet.studies.probes import training_findings
from jaxnet.studies.timetable import Limit, Timetable

PROBES = (1 << 20) + 1  # number of the key of networks that show the cause of a finding

WITHIN = "to keep within {:g} s, "  # begins what is said of things that there was no time for

logger = logging.getLogger("jaxnet")


class Part(NamedTuple):
    """Networks that were trained together.

    Attributes:
        recipes: (recipes,) numbers of their recipes.
        networks: those of each recipe, in this order, in equally many cells.
        votes: number of networks of each recipe in a cell.
    """

    recipes: Int[np.ndarray, " recipes"]
    networks: Population
    votes: Sequence[int]


@dataclass(frozen=True)
class Decided:
    """What a round has measured and chosen.

    Attributes:
        networks: those of the current recipe and of all that were tried.
        parts: the trained networks.
        raced: their losses.
        choice: the finalist with the largest measured gain.
        findings: what is wrong with the training of the current recipe.
        gains: gain of each candidate.
        adopted: number of the candidate to adopt; None where there is none.
        level: confidence level of the interval of its choice.
        notes: what there was no time for.
    """

    networks: Networks
    parts: tuple[Part, ...]
    raced: Raced | TargetRace
    choice: Choice
    findings: tuple[Finding, ...]
    gains: tuple[Estimate, ...]
    adopted: int | None
    level: float
    notes: tuple[str, ...]

    @property
    def best(self) -> int:
        """Number of the adopted candidate; else of the one with the largest measured gain."""
        return self.choice.leader if self.adopted is None else self.adopted

    @property
    def used(self) -> int:
        """Number of the recipe to use, of which 0 is the current one."""
        return 0 if self.adopted is None else 1 + self.adopted

    @property
    def seeds(self) -> int:
        """Networks of each finalist for each fold."""
        return self.raced.seeds

    def error(self, recipe: int = 0, level: float = LEVEL) -> Estimate:
        """Compute the error of a recipe on unseen examples, by the measure of the advice.

        Args:
            recipe: its number; it must have run all folds.
            level: confidence level of the interval.
        """
        measure, found = self.networks.measure, self.raced.gains
        if isinstance(self.raced, TargetRace):
            return measure.mean(self.raced.error(recipe, level))
        losses, pool = self.raced.losses[recipe], describe_pool(self.networks.splits.train)
        unseen = UnseenLosses(losses, found.fold_of, found.group_of, measure.shares, pool)
        return measure.mean(unseen.fit.rate("unseen", level))

    @functools.cached_property
    def fold_networks(self) -> Population:
        """The cross-fitted networks of the recipe to use."""
        return fold_networks(self.parts, self.used, self.networks.recipes[self.used].recipe)

    @property
    def trainings(self) -> int:
        """The number of networks of the race."""
        cells = self.raced.trained.sum((1, 2))
        votes = self.networks.votes(np.arange(len(cells)))
        return int(cells @ np.array(votes)) + self.networks.inner

    @functools.cached_property
    def tried(self) -> tuple[Tried, ...]:
        """What became of each candidate."""
        folds = self.raced.trained[1:].any(1).sum(1).tolist()
        costs = self.networks.relative

        def verdict(number: int) -> str:
            if not self.raced.finalists[number]:
                return f"dropped after {folds[number]} of {FOLDS} folds"
            if number == self.adopted:
                return ADOPTED
            return HELPS if self.gains[number].low > 0 else UNSURE

        return tuple(
            Tried(
                each.name,
                each.kind,
                each.recipe,
                each.model,
                self.gains[number],
                float(costs[number]),
                folds[number],
                verdict(number),
            )
            for number, each in enumerate(self.networks.recipes[1:])
        )


def one_round(
    networks: Networks,
    *,
    level: float,
    tolerance: float,
    seeds: int,
    limit: Limit | None,
    steps: Iterator[Callable[[Progress], None] | None],
) -> Decided | None:
    """Train networks of the current recipe, look for what is wrong with their training, and race
    the changes that are worth trying.

    Args:
        networks: those of the current recipe.
        level: confidence level of the interval of its choice.
        tolerance: the smallest gain that is worth a longer training.
        seeds: networks of each finalist for each fold.
        limit: the time of this round, or None.
        steps: for each population in turn, what is called with its progress.

    Returns:
        What was chosen; None where there is no time to try anything.
    """
    cells = cells_of_rungs(seeds)[0]
    looked, pace = networks.look(cells, next(steps))
    first = np.zeros(1, int)
    parts = [Part(first, looked, networks.votes(first))]
    key = jax.random.fold_in(networks.key, PROBES)
    findings = training_findings(
        networks.problems[0], looked, key=key, tolerance=tolerance, plan=networks.plan
    )
    now, pool = networks.recipes[0], networks.splits.train
    given = (now.model, looked, pool, tolerance, networks.plan)
    doubts = () if findings else (*label_noise(*given), *harmful_values(*given))
    found = changes(now, networks.splits, (*findings, *doubts))
    networks, notes, watch = networks.beside(found), list[str](), None
    if limit is not None:
        kept = networks.within(limit, seeds, pace)
        if not kept.candidates:
            return None
        notes = left_out(found, kept, seeds, limit.seconds)
        networks, seeds = networks.only(kept.candidates), kept.seeds
        watch = networks.watch(limit, kept.pace)

    def train(recipes: Int[np.ndarray, " recipes"], cells: Sequence[Cell]) -> np.ndarray:
        now = time.monotonic()
        population = networks.trained(recipes, cells, next(steps))
        if watch is not None:
            watch.took(recipes.tolist(), cells, time.monotonic() - now)
        parts.append(Part(recipes, population, networks.votes(recipes)))
        return networks.losses(recipes, population)

    def measure(
        recipes: Int[np.ndarray, " recipes"], asked: Sequence[Cell]
    ) -> Float[np.ndarray, "recipes cells examples"]:
        if tuple(asked) != tuple(cells):
            return train(recipes, asked)
        own = networks.losses(recipes[:1], looked)
        return np.concatenate([own, train(recipes[1:], asked)])

    raced = _race(networks, measure, seeds, None if watch is None else watch.room)
    if limit is not None and watch is not None:
        early = [networks.recipes[1 + number].name for number in watch.left_out]
        notes += ended_early(early, raced.seeds, seeds, limit.seconds)
    choice, finalists = raced.choose(level), raced.finalists
    gains = list(raced.gains.each(choice.quantile))
    gains[choice.leader] = choice.gain
    if networks.target is not None:  # what it reports on was no part of the choice of the leader
        finalists = np.arange(len(finalists)) == choice.leader
    adopted = to_adopt(gains, networks.relative, choice.leader, finalists, tolerance)
    return Decided(
        networks, tuple(parts), raced, choice, findings, tuple(gains), adopted, level, tuple(notes)
    )


def _race(
    networks: Networks, measure: Callable[..., np.ndarray], seeds: int, room: Room | None
) -> Raced | TargetRace:
    """Run the race of the candidates, on the pool or on the examples that judge in its place."""
    count, target = len(networks.recipes) - 1, networks.target
    how: dict[str, Any] = {**networks.measure.losses_of, "seeds": seeds, "room": room}
    if target is not None:
        return race_on_target(measure, count, target.chooses, target.group_of, **how)
    return race(measure, count, networks.fold_of, groups_of(networks.splits.train), **how)


def changes(now: Candidate, splits: Splits, findings: Sequence[Finding]) -> tuple[Candidate, ...]:
    """List the changes of a way to train that keep what was adopted before.

    Args:
        now: the current way to train.
        splits: the data.
        findings: what is wrong with its training.
    """
    found = candidates(now.model, now.recipe, splits, findings, balance=now.balance, loss=now.loss)
    # a rule does not take the place of another one
    found = [each for each in found if each.rule is None or now.rule in (None, each.rule)]
    kept = (
        replace(
            each,
            standardized=each.standardized or now.standardized,
            rule=each.rule or now.rule,
            votes=max(each.votes, now.votes),
        )
        for each in found
    )
    # what was adopted before is no change
    return tuple(each for each in kept if replace(each, name=now.name, kind=now.kind) != now)


def fold_networks(parts: Sequence[Part], number: int, recipe: Recipe) -> Population:
    """Gather the networks of a recipe.

    Args:
        parts: networks that were trained together.
        number: of the recipe.
        recipe: the recipe.
    """
    found = list[Run]()
    for recipes, networks, votes in parts:
        counts = len(networks) // sum(votes) * np.array(votes)
        places = np.flatnonzero(np.repeat(recipes, counts) == number)
        found += [networks[place] for place in places.tolist()]
    # signals are measured in some of them, and numbers of recipes may be filled with 0
    own = jax.tree.map(np.asarray, recipe)
    plain = [
        replace(
            run, history=run.history._replace(signals=None), recipe=own, layers=(), failure=None
        )
        for run in found
    ]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *plain)
    return Population((stacked,), (np.arange(len(found)),))


def groups_of(pool: Dataset) -> Int[np.ndarray, " examples"] | None:
    """Number the groups of the examples; None where every example is its own."""
    return None if pool.groups is None else group_codes(pool.groups, len(pool))


def to_adopt(
    gains: Sequence[Estimate],
    costs: Sequence[float] | Float[np.ndarray, " candidates"],
    leader: int,
    finalists: Bool[np.ndarray, " candidates"],
    tolerance: float,
) -> int | None:
    """Choose the candidate to adopt.

    It is the leader if its gain is shown to be above 0 and is worth its training. Else it is the
    finalist with the largest gain of which this holds, since the lower limits of all candidates
    hold at once.

    Args:
        gains: gain of each candidate.
        costs: training time of each relative to the current recipe.
        leader: number of the finalist with the largest measured gain.
        finalists: (candidates,) which candidates ran all folds.
        tolerance: the smallest gain that is worth a longer training.

    Returns:
        Its number; None where there is none.
    """
    others = sorted(np.flatnonzero(finalists).tolist(), key=lambda number: -gains[number].estimate)

    def worthwhile(number: int) -> bool:
        gain = gains[number]
        return gain.low > 0 and (gain.estimate >= tolerance or costs[number] <= 1)

    return next(filter(worthwhile, (leader, *others)), None)


def left_out(found: Sequence[Candidate], kept: Timetable, seeds: int, seconds: float) -> list[str]:
    """Say what there is no time for, and tell the logger what there is time for.

    Args:
        found: all candidates.
        kept: what there is time for.
        seeds: networks of each finalist for each fold that were asked for.
        seconds: the time.
    """
    logger.info(
        "Within %g s, %d of %d changes are tried, with %d network%s per fold for those "
        "that are not dropped early; this takes at most about %.0f s more",
        seconds,
        len(kept.candidates),
        len(found),
        kept.seeds,
        "s" * (kept.seeds > 1),
        kept.takes,
    )
    notes, without = list[str](), WITHIN.format(seconds)
    if kept.seeds < seeds:
        notes.append(f"{without}{kept.seeds} network per fold was trained instead of {seeds}")
    missing = [each.name for number, each in enumerate(found) if number not in kept.candidates]
    if missing:
        notes.append(f"{without}these changes were not tried: {'; '.join(missing)}")
    return notes


def ended_early(early: Sequence[str], trained: int, seeds: int, seconds: float) -> list[str]:
    """Say what there was no time for in the end, since the machine was slower than planned.

    Args:
        early: names of the changes that left the race for lack of time.
        trained: networks of each finalist for each fold.
        seeds: how many of them were planned.
        seconds: the time.
    """
    notes, without = list[str](), WITHIN.format(seconds)
    if early:
        notes.append(
            f"{without}these changes were dropped early: {'; '.join(early)}. In simulations, the "
            "gain was then overestimated by up to 0.6 points on average"
        )
    if trained < seeds:
        notes.append(f"{without}{trained} network per fold was trained instead of {seeds}")
    return notes
