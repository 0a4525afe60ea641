"""The rounds of an advice: each begins with what the one before adopted."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from jaxnet.population.result import Population
from jaxnet.population.scheduler import Progress
from jaxnet.runtime.processes import once
from jaxnet.stats.estimate import LEVEL, Estimate
from jaxnet.stats.gains import FOLDS, RUNGS, Gains
from jaxnet.stats.target_gains import target_gains
from jaxnet.studies.advice_round import Decided, Part, fold_networks, groups_of, one_round
from jaxnet.studies.networks import Networks
from jaxnet.studies.timetable import Limit, spent

MOST_ROUNDS = 5
ONE_SIDED = 0.9  # level of an interval whose upper limit holds in 95%
COMPARISON = 0.25  # time of the comparison of the last recipe with the first, in rounds
AFTER = 0.1  # share of the time for what comes after the networks, such as test set and report


class Course(NamedTuple):
    """The rounds of an advice, and what they gained together.

    Attributes:
        rounds: the rounds, in order.
        gain: error of the first recipe minus that of the last one, on folds that are new to both;
            after a single round the gain of its best candidate.
        fold_networks: the cross-fitted networks of the last recipe.
        trainings: number of networks.
        why: why there was no further round.
    """

    rounds: tuple[Decided, ...]
    gain: Estimate
    fold_networks: Population
    trainings: int
    why: str


def run_rounds(
    networks: Networks,
    count: int,
    *,
    tolerance: float,
    seeds: int,
    seconds: float | None,
    progress: Callable[[Progress], None] | None,
) -> Course:
    """Adopt what helps, and try again from there, until the error is good enough or nothing helps.

    Each round has its own folds and random keys, and its share of the 5% of advices that may be
    wrong.

    Args:
        networks: those of the current recipe.
        count: the number of rounds, at most.
        tolerance: the smallest gain that is worth a longer training; an error below it is good
            enough.
        seeds: networks of each finalist for each fold.
        seconds: as in `advise`.
        progress: as in `fit_population`.
    """
    began, level = time.monotonic() - once(lambda: spent(networks.out)), 1 - (1 - LEVEL) / count
    steps = _steps(progress, count * (1 + len(RUNGS) + (seconds is not None)) + (count > 1))
    now, rounds, why = networks, list[Decided](), ""
    for number in range(count):
        limit = None
        if seconds is not None:
            left = began + (1 - AFTER) * seconds - time.monotonic()
            parts = count - number + COMPARISON * (count > 1)
            until = time.monotonic() + left / parts
            limit = Limit(seconds, count, began, until, number == 0)
        found = one_round(
            now, level=level, tolerance=tolerance, seeds=seeds, limit=limit, steps=steps
        )
        if found is None:
            why = f"there is no time for round {number + 1} within {seconds:g} s"
            break
        rounds.append(found)
        if why := _enough(found, tolerance):
            break
        now = found.networks.again(found.used, number + 1)
    trainings, last = sum(each.trainings for each in rounds), rounds[-1]
    if len(rounds) == 1:
        return Course(
            tuple(rounds), last.gains[last.best], last.fold_networks, trainings, why * (count > 1)
        )
    gain, kept = _compared(rounds, next(steps))
    return Course(tuple(rounds), gain, kept, trainings + 2 * len(kept), why)


def _enough(found: Decided, tolerance: float) -> str:
    """Say why there is no round after this one; empty where there may be one."""
    if found.adopted is None:
        return "no change is adopted"
    high = found.error(found.used, ONE_SIDED).high
    if high <= tolerance:
        unit = found.networks.measure.unit
        return (
            f"the {unit.noun} is good enough: at most {unit.size(high)}, and the tolerance is "
            f"{unit.size(tolerance)}"
        )
    return ""


def _compared(
    rounds: Sequence[Decided], progress: Callable[[Progress], None] | None
) -> tuple[Estimate, Population]:
    """Compare the last recipe with the first one, on folds that are new to both.

    Args:
        rounds: the rounds.
        progress: as in `fit_population`.

    Returns:
        (what the last recipe gains, its networks).
    """
    first, last = rounds[0].networks, rounds[-1]
    own = last.networks.again(last.used, len(rounds))
    networks = replace(own, recipes=(first.recipes[0], own.recipes[0]), judge=1)
    cells = tuple((fold, seed) for seed in range(last.seeds) for fold in range(FOLDS))
    both, train = np.arange(2), networks.splits.train
    population = networks.trained(both, cells, progress)
    found, how = networks.losses(both, population), networks.measure.losses_of
    if networks.target is not None:
        chooses, group_of = networks.target[1:]
        gains = target_gains(found, ~chooses, group_of, how)
    else:
        losses = np.full((2, last.seeds, len(train)), np.nan)
        for place, (fold, seed) in enumerate(cells):
            rows = np.flatnonzero(networks.fold_of == fold)
            losses[:, seed, rows] = found[:, place, rows]
        gains = Gains.of(losses, networks.fold_of, groups_of(train), **how)
    asked = sum(len(each.gains) for each in rounds)
    return gains.of_last(asked), fold_networks(
        [Part(both, population, networks.votes(both))], 1, own.recipes[0].recipe
    )


def _steps(
    progress: Callable[[Progress], None] | None, count: int
) -> Iterator[Callable[[Progress], None] | None]:
    """Tell the progress of each of several populations as that of a part of the whole."""

    def part(number: int) -> Callable[[Progress], None] | None:
        if progress is None:
            return None
        return lambda now: progress(now._replace(share=(number + now.share) / count))

    return map(part, range(count))
