"""Successive halving: members train to a rung, the best of them go on to the next, and the others
stop.

Pure functions on the host decide which members go on, from the validation errors of all members at
the rung. Nothing here trains.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxnet.core.training import Problem, ended
from jaxnet.errors import InputError, check_kind, check_number, check_whole
from jaxnet.population.checkpoint import Part


@dataclass(frozen=True)
class Halving:
    """When members of a population stop before the end of their recipe (successive halving).

    Attributes:
        rungs: numbers of epochs after which trials are ranked and the worst of them stop.
        keep: share of the trials that goes on, rounded to the nearest whole number, at least one.
        together: number of consecutive members that are one trial, such as its seeds: they are
            ranked by their mean and stop together.

    References:
        Jamieson & Talwalkar 2016, fig. 3.
    """

    rungs: tuple[int, ...]
    keep: float = 1 / 3
    together: int = 1

    @classmethod
    def geometric(cls, epochs: int, *, factor: int = 4, first: int = 1) -> "Halving":
        """Make rungs first, first * factor, ... below `epochs`, at each of which one trial in
        `factor` goes on.

        Args:
            epochs: number of epochs of the recipes.
            factor: ratio of consecutive rungs, at least 2.
            first: first rung, in epochs.

        Returns:
            The halving.

        Raises:
            InputError: where there is no such rung.

        References:
            Li et al. 2018, alg. 1.
        """
        for name, number in (("epochs", epochs), ("factor", factor), ("first", first)):
            check_whole(name, number)
        if factor < 2 or not 1 <= first < epochs:
            raise InputError(
                f"factor is {factor}, and the first rung {first} of {epochs} epochs; give at "
                "least 2, and a rung below"
            )
        count = next(count for count in range(1, epochs) if first * factor**count >= epochs)
        return cls(tuple(first * factor**i for i in range(count)), keep=1 / factor)


class Stage(NamedTuple):
    """The epochs that the running members train from one rung to the next.

    Attributes:
        number: number of the stage.
        begin: first rung, in epochs.
        until: next rung, in epochs; None is the end of the recipes.
        running: (members,) which members train.
    """

    number: int
    begin: int
    until: int | None
    running: Bool[np.ndarray, " members"]

    def share(
        self,
        halving: Halving | None,
        epochs: Int[np.ndarray, " members"],
        reached: Int[np.ndarray, " members"],
    ) -> float:
        """Compute the share of all planned epochs that are trained once members have reached these
        epochs.
        """
        ends = epochs if self.until is None else np.full_like(epochs, self.until)
        lengths = np.where(self.running, ends - self.begin, 0)
        within = np.clip(reached - self.begin, 0, lengths).sum() / lengths.sum()
        planned = _planned(halving, epochs)
        sums = np.cumsum([0.0, *planned])
        return float((sums[self.number] + planned[self.number] * within) / sums[-1])


class Standings(NamedTuple):
    """What a rung knows of each member.

    Attributes:
        measure: (members, measures) what members are ranked by: the validation loss, preceded for
            classes by the number of mistakes; infinite for a diverged member.
        settled: (members,) -1 where the member has gone on before, 1 where it has been stopped
            before, so that a decision is made only once.
        over: (members,) whether the member has ended by early stopping or divergence.
    """

    measure: Float[np.ndarray, "members measures"]
    settled: Int[np.ndarray, " members"]
    over: Bool[np.ndarray, " members"]


def check(halving: Halving, *, members: int, epochs: int, has_validation: bool) -> None:
    """Check a halving.

    Args:
        halving: the halving.
        members: how many members there are.
        epochs: the fewest epochs of a recipe.
        has_validation: whether there is a validation set.

    Raises:
        InputError: for one that does not fit such members.
    """
    rungs = halving.rungs
    check_kind("rungs of halving", rungs, tuple | list, "numbers of epochs, such as (1, 4)")
    for rung in rungs:
        check_whole("a rung of halving", rung, 0)
    check_number("keep of halving", halving.keep)
    check_whole("together of halving", halving.together, 0)
    if not has_validation:
        raise InputError(
            "halving ranks members on the validation set, which is empty; hold some examples out, "
            "or give halving=None"
        )
    if not rungs or any(b <= a for a, b in zip((0, *rungs), rungs, strict=False)):
        raise InputError(
            f"the rungs of halving are {rungs}; give at least one, each a larger number of epochs "
            "than the one before"
        )
    if not 0 < halving.keep < 1:
        raise InputError(
            f"halving keeps a share of {halving.keep}; give a number between 0 and 1, such as 1/4"
        )
    if halving.together < 1 or members % halving.together:
        raise InputError(
            f"halving takes {halving.together} members together, of {members}; give a number "
            "that divides them"
        )
    if epochs <= rungs[-1]:
        raise InputError(
            f"the last rung of halving is {rungs[-1]}, and a recipe has {epochs} epochs; give "
            "rungs below it, or more epochs"
        )


def standings(problem: Problem, part: Part, rung: int) -> Standings:
    """What a rung knows of members of one job that have reached it.

    Args:
        problem: what the members minimize.
        part: the members, with their states and histories.
        rung: the number of epochs.

    Returns:
        Their standings, in the order of the part.
    """
    recipe, state, history = problem.recipe, part.state, part.history
    assert state is not None
    assert history is not None
    assert state.best is not None
    assert history.validation_loss is not None
    losses = np.asarray(history.validation_loss, float)[:, :rung]
    # With early stopping a member stands for its best epoch, as in `Run.chosen`.
    place = (
        rung - 1
        if recipe.patience is None
        else np.where(np.isnan(losses), np.inf, losses).argmin(1)
    )
    row = (np.arange(len(losses)), place)
    measures = [losses[row]]
    if history.validation_accuracy is not None:
        measures = [
            np.round(
                (1 - np.asarray(history.validation_accuracy, float)[row])
                * len(problem.splits.validation)
            ),
            *measures,
        ]
    lost = (state.diverged_at >= 0) | ~np.isfinite(losses[row])
    done = np.asarray(state.epoch)
    over = np.asarray(ended(recipe, state.diverged_at, done, state.best.epoch))
    return Standings(
        measure=np.where(lost[:, None], np.inf, np.stack(measures, 1)),
        settled=np.where(done > rung, -1, np.where(part.finished & ~over, 1, 0)),
        over=over,
    )


def survivors(
    halving: Halving, found: Standings, running: Bool[np.ndarray, " members"]
) -> Bool[np.ndarray, " members"]:
    """Decide which members go on: those of the best of the running trials.

    Args:
        halving: the halving.
        found: what the rung knows of each member.
        running: (members,) which members train.

    Returns:
        (members,) whether the member goes on. Equal trials rank in order of their numbers.
    """
    trials = int(running[:: halving.together].sum())
    means = found.measure.reshape(-1, halving.together, found.measure.shape[1]).mean(1)
    settled = found.settled.reshape(-1, halving.together).sum(1)
    order = np.lexsort((*means.T[::-1], settled, ~running[:: halving.together]))
    goes_on = np.zeros(len(means), bool)
    goes_on[order[: _kept(halving, trials)]] = True
    return np.repeat(goes_on, halving.together)


def _kept(halving: Halving, trials: int) -> int:
    return max(1, math.floor(halving.keep * trials + 0.5))


def _planned(halving: Halving | None, epochs: Int[np.ndarray, " members"]) -> list[float]:
    """Compute the epochs to train in each stage, if no member ends early; after the last rung,
    recipes count with their mean number of epochs.
    """
    if halving is None:
        return [float(epochs.sum())]
    trials, planned = len(epochs) // halving.together, list[float]()
    for begin, until in zip((0, *halving.rungs), (*halving.rungs, epochs.mean()), strict=True):
        planned.append(float(trials * halving.together * (until - begin)))
        trials = _kept(halving, trials)
    return planned
