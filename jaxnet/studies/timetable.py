"""Which changes of a recipe a race has time for."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnet.core.training import Problem
from jaxnet.errors import InputError
from jaxnet.stats.gains import cells_of_rungs, most_recipes
from jaxnet.studies.trained import Pace


class Timetable(NamedTuple):
    """What a race has time for.

    Attributes:
        candidates: numbers of the changes that are tried.
        seeds: networks of each finalist for each fold.
        seconds: the most that the race takes.
    """

    candidates: tuple[int, ...]
    seeds: int
    seconds: float

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Timetable":
        """The timetable of the values of a JSON file."""
        return cls(tuple(values["candidates"]), values["seeds"], values["seconds"])


def timetable(
    problems: Sequence[Problem],
    costs: Sequence[float] | np.ndarray,
    pace: Pace,
    seeds: int,
    seconds: float,
) -> Timetable:
    """Choose what a race has time for: with less time, first fewer seeds, and then fewer changes,
    without those whose training takes longest.

    Args:
        problems: what the networks of each recipe minimize, first those of the current one.
        costs: operations of a training of each.
        pace: how long networks of the current recipe take.
        seeds: networks of each finalist for each fold, at most.
        seconds: the time.

    Raises:
        InputError: where there is no time for a single change.
    """
    relative = np.asarray(costs) / costs[0]
    kept, fewer = list(range(1, len(problems))), seeds

    def needed() -> float:
        each = np.array([relative[number] for number in kept])
        return _seconds(relative[0], each, _programs(problems, kept), pace, fewer)

    while (takes := needed()) > seconds:
        if fewer > 1:
            fewer -= 1
        elif len(kept) > 1:
            kept.remove(max(kept, key=lambda number: (relative[number], number)))
        else:
            raise InputError(
                f"trying a single change takes up to {takes:.0f} s here, and {seconds:.0f} s are "
                "left for it; give more seconds, or fewer epochs"
            )
    return Timetable(tuple(number - 1 for number in kept), fewer, takes)


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
