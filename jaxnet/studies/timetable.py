"""Which changes of a recipe a race has time for, before it begins and while it goes on."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnet.core.training import Problem
from jaxnet.runtime.files import read_json, write_json
from jaxnet.runtime.processes import once
from jaxnet.stats.gains import FOLDS, Cell, cells_of_rungs, most_recipes
from jaxnet.studies.one_program import program_of, programs
from jaxnet.studies.trained import SAFETY, Pace

WORTHWHILE = 0.02  # share of the time that a change must save to be left out


class Timetable(NamedTuple):
    """What a race has time for.

    Attributes:
        candidates: numbers of the changes that are tried; none where there is no time for a round.
        seeds: networks of each finalist for each fold.
        takes: the most seconds that the race takes.
        pace: how long networks of the current recipe take.
    """

    candidates: tuple[int, ...]
    seeds: int
    takes: float
    pace: Pace

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Timetable":
        """The timetable of the values of a JSON file."""
        pace = Pace(**values.get("pace", {"compiling": 0.0, "each": 0.0}))
        return cls(tuple(values["candidates"]), values["seeds"], values["takes"], pace)

    def summary(self) -> dict[str, Any]:
        """The values for a JSON file."""
        return {**self._asdict(), "pace": self.pace._asdict()}


class Limit(NamedTuple):
    """The time of a round.

    Attributes:
        seconds: what is given for the whole advice.
        rounds: number of its rounds, at most.
        began: when the time began, as `time.monotonic` says it.
        until: when this round should be over.
        first: whether this is the first round, which tries one change in any case.
    """

    seconds: float
    rounds: int
    began: float
    until: float
    first: bool


def timetable(
    problems: Sequence[Problem],
    costs: Sequence[float] | np.ndarray,
    pace: Pace,
    seeds: int,
    seconds: float,
    *,
    shared: bool = True,
) -> Timetable:
    """Choose what a race has time for: with less time, first fewer seeds, and then fewer changes,
    without those that take longest to compile and to train: one after the other, or all that share
    a program, whichever saves more time for each.

    A single change is tried in any case, and so are changes that add next to nothing to the time,
    such as learning rates beside a program that takes long to compile.

    Args:
        problems: what the networks of each recipe minimize, first those of the current one.
        costs: operations of a training of each.
        pace: how long networks of the current recipe take.
        seeds: networks of each finalist for each fold, at most.
        seconds: the time.
        shared: whether the networks of a recipe have the same compiled program after each rung.
    """
    relative = np.asarray(costs) / costs[0]
    kept, fewer = list(range(1, len(problems))), seeds

    def takes(numbers: Sequence[int], seeds: int) -> float:
        each = np.array([relative[number] for number in numbers])
        return _seconds(relative[0], each, programs(problems, numbers), pace, seeds, shared)

    while (now := takes(kept, fewer)) > seconds:
        if fewer > 1:
            fewer -= 1
            continue
        if len(kept) == 1:
            break
        alone = [[number] for number in kept]
        together = [
            [number for number in kept if program_of(problems[number]) == program]
            for program in dict.fromkeys(program_of(problems[number]) for number in kept)
        ]
        most, best = 0.0, kept
        for gone in reversed([*(each for each in together if len(each) < len(kept)), *alone]):
            without = [number for number in kept if number not in gone]
            saved = (now - takes(without, fewer)) / len(gone)
            if saved > most:
                most, best = saved, without
        if takes(best, fewer) > (1 - WORTHWHILE) * now:
            break
        kept = best
    return Timetable(tuple(number - 1 for number in kept), fewer, now, pace)


def _seconds(
    current: float, others: np.ndarray, programs: int, pace: Pace, seeds: int, shared: bool
) -> float:
    """The longest that a race takes: the longest trainings stay in it."""
    longest = np.sort(others)[::-1]
    trainings, compilations = max(current, longest[0]), 1.0  # of the network that is handed over
    for number, (cells, most) in enumerate(
        zip(cells_of_rungs(seeds), most_recipes(len(others)), strict=True)
    ):
        trainings += (current + longest[: most - 1].sum()) * len(cells)
        compilations += min(programs, most) * (number == 0 or not shared)
    return float(trainings * pace.each + compilations * pace.compiling)


@dataclass
class Watch:
    """Decides while a race goes on what there is time for.

    The machine may have become slower than it was when the race was planned. Then fewer candidates
    go on: the best ones that there is time for. A call that goes on in the folder follows the
    decisions that it finds there.

    Attributes:
        until: when the race should be over, as `time.monotonic` says it.
        began: when the time began.
        costs: (recipes,) training times relative to the current recipe, which comes first.
        pace: how long networks of the current recipe take.
        programs: number of compiled programs of the recipes.
        shared: as in `timetable`.
        file: keeps the decisions; None where there is no folder.
        slower: how many times as long as planned the last trainings took, at least 1.
        steps: number of decisions so far.
        left_out: numbers of the candidates for which there was no time.
    """

    until: float
    began: float
    costs: np.ndarray
    pace: Pace
    programs: int
    shared: bool
    file: Path | None
    slower: float = field(default=1.0, init=False)
    steps: int = field(default=0, init=False)
    left_out: list[int] = field(default_factory=list, init=False)

    def took(self, recipes: Sequence[int], cells: Sequence[Cell], seconds: float) -> None:
        """Take in how long trainings of some recipes took."""
        compiled = self.programs if self.shared else min(self.programs, len(recipes))
        compilations = compiled * (self.steps == 0 or not self.shared)
        planned = self.pace.each * self.costs[np.asarray(recipes)].sum() * len(cells)
        planned += self.pace.compiling * compilations
        self.slower = max(1.0, seconds / planned) if planned > 0 else 1.0

    def room(self, candidates: Sequence[int], cells: Sequence[Cell]) -> list[int]:
        """As `race` asks; a decision that the file has is followed."""
        self.steps += 1

        def decide() -> list[int]:
            known = {} if self.file is None else read_json(self.file)
            before = known.get("decisions", [])
            if len(before) >= self.steps:
                return before[self.steps - 1]
            kept = fitting(candidates, cells, self.costs[1:], self._trainings())
            if self.file is not None:
                spent = time.monotonic() - self.began
                write_json(self.file, {**known, "decisions": [*before, kept], "spent": spent})
            return kept

        found = once(decide)
        if found:
            self.left_out += [number for number in candidates if number not in found]
        return found

    def _trainings(self) -> float:
        """Trainings of the current recipe that there is time for, at the speed of the last ones."""
        left = SAFETY * (self.until - time.monotonic()) / self.slower - self.pace.compiling
        return left / self.pace.each if self.pace.each > 0 else np.inf


def fitting(
    candidates: Sequence[int],
    cells: Sequence[Cell],
    costs: Sequence[float] | np.ndarray,
    trainings: float,
) -> list[int]:
    """Choose the candidates for whose next trainings there is time, the best ones first.

    Time is kept back for what has to be trained in any case: two recipes on the folds that are left
    after these, and the network that is handed over.

    Args:
        candidates: numbers of the candidates that stay in the race, the best first.
        cells: their next trainings.
        costs: (candidates,) training times relative to the current recipe.
        trainings: how many trainings of the current recipe there is time for.

    Returns:
        Their numbers: at least one, except for further seeds.
    """
    further = cells[0][1] > 0
    later = 0 if further else FOLDS - 1 - max(fold for fold, _ in cells)
    trainings -= (1 + min(costs[number] for number in candidates)) * later
    trainings -= max(costs[number] for number in candidates) + len(cells)
    kept = list[int]()
    for number in candidates:
        if (needed := costs[number] * len(cells)) <= trainings:
            kept.append(number)
            trainings -= needed
    return kept if kept or further else [min(candidates, key=lambda number: costs[number])]


def spent(out: Path | None) -> float:
    """How many seconds earlier calls that were stopped have spent on an advice.

    Args:
        out: the folder in which it goes on, or None.
    """
    files = [] if out is None else sorted(out.glob("**/timetable.json"))
    return max((read_json(file).get("spent", 0.0) for file in files), default=0.0)
