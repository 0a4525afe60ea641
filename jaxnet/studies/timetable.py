"""Which changes of a recipe a race has time for."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnet.core.training import Problem
from jaxnet.stats.gains import cells_of_rungs, most_recipes
from jaxnet.studies.trained import Pace

WORTHWHILE = 0.02  # share of the time that a change must save to be left out


class Timetable(NamedTuple):
    """What a race has time for.

    Attributes:
        candidates: numbers of the changes that are tried; none where there is no time for a round.
        seeds: networks of each finalist for each fold.
        takes: the most seconds that the race takes.
    """

    candidates: tuple[int, ...]
    seeds: int
    takes: float

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Timetable":
        """The timetable of the values of a JSON file."""
        return cls(tuple(values["candidates"]), values["seeds"], values["takes"])


class Limit(NamedTuple):
    """The time of a round.

    Attributes:
        seconds: what is given for the whole advice.
        rounds: number of its rounds, at most.
        until: when this round should be over, as `time.monotonic` says it.
        first: whether this is the first round, which tries one change in any case.
    """

    seconds: float
    rounds: int
    until: float
    first: bool


def timetable(
    problems: Sequence[Problem],
    costs: Sequence[float] | np.ndarray,
    pace: Pace,
    seeds: int,
    seconds: float,
) -> Timetable:
    """Choose what a race has time for: with less time, first fewer seeds, and then fewer changes,
    without those that take longest to compile and to train.

    A single change is tried in any case, and so are changes that add next to nothing to the time,
    such as learning rates beside a program that takes long to compile.

    Args:
        problems: what the networks of each recipe minimize, first those of the current one.
        costs: operations of a training of each.
        pace: how long networks of the current recipe take.
        seeds: networks of each finalist for each fold, at most.
        seconds: the time.
    """
    relative = np.asarray(costs) / costs[0]
    kept, fewer = list(range(1, len(problems))), seeds

    def takes(numbers: Sequence[int], seeds: int) -> float:
        each = np.array([relative[number] for number in numbers])
        return _seconds(relative[0], each, _programs(problems, numbers), pace, seeds)

    while (now := takes(kept, fewer)) > seconds:
        if fewer > 1:
            fewer -= 1
            continue
        if len(kept) == 1:
            break
        without = [[each for each in kept if each != number] for number in kept]
        best = min(reversed(without), key=lambda numbers: takes(numbers, fewer))
        if takes(best, fewer) > (1 - WORTHWHILE) * now:
            break
        kept = best
    return Timetable(tuple(number - 1 for number in kept), fewer, now)


def _programs(problems: Sequence[Problem], kept: Sequence[int]) -> int:
    """The number of compiled programs of the current recipe and those that are kept."""
    return len(
        {
            (problems[number].model, jax.tree.structure(problems[number].recipe))
            for number in (0, *kept)
        }
    )


def _seconds(current: float, others: np.ndarray, programs: int, pace: Pace, seeds: int) -> float:
    """The longest that a race takes: the longest trainings stay in it."""
    longest = np.sort(others)[::-1]
    trainings, compilations = max(current, longest[0]), 1.0  # of the network that is handed over
    for cells, most in zip(cells_of_rungs(seeds), most_recipes(len(others)), strict=True):
        trainings += (current + longest[: most - 1].sum()) * len(cells)
        compilations += min(programs, most)
    return float(trainings * pace.each + compilations * pace.compiling)
