"""Advice: what changes of a recipe gain, and the recipe to use."""

import json
from dataclasses import dataclass, field
from typing import Any

from jaxnet import display
from jaxnet.core.recipe import Recipe, describe_recipe
from jaxnet.core.run import Run
from jaxnet.data import Splits
from jaxnet.diagnostics.findings import Finding, percent, points
from jaxnet.models.model import Model
from jaxnet.runtime.files import plain
from jaxnet.stats.estimate import Estimate

ADOPTED, HELPS, UNSURE = "adopted", "helps", "not shown to help"  # verdicts on candidates


@dataclass(frozen=True)
class Tried:
    """A candidate that was trained.

    Attributes:
        name: what it changes, in words.
        kind: the kind of change.
        recipe: its recipe.
        model: its model.
        gain: error of the current recipe minus that of this one, on the examples of `folds` folds
            that their networks have not seen. The lower limits of all candidates hold at once.
        cost: how many times as long as one of the current recipe a training takes, by its number of
            operations.
        folds: number of folds of 8 that it ran before others were ahead.
        verdict: "adopted", "helps", "not shown to help", or after how many folds it was dropped.
    """

    name: str
    kind: str
    recipe: Recipe
    model: Model
    gain: Estimate
    cost: float
    folds: int
    verdict: str

    __repr__ = display.text


@dataclass(frozen=True)
class Advice:
    """What candidates gain over a recipe, and the recipe to use.

    Attributes:
        recipe: the recipe to use: that of the adopted candidate, or the current one.
        model: the model to use, likewise.
        splits: the data to use, as they were given.
        gain: the error that the candidate `best` saves on unseen examples. The interval allows for
            its choice among all candidates; it is of the recipe's networks on average, and not of
            one network.
        adopted: whether a candidate is adopted.
        best: number in `tried` of the adopted candidate; else of the one with the largest gain.
        tried: every candidate.
        findings: what is wrong with the training of the current recipe.
        error: error of the current recipe on unseen examples.
        detectable: the gain that such an advice finds in 80% of cases.
        tolerance: the smallest gain that is worth a longer training.
        trainings: number of networks that were trained.
        regression: whether errors are squared errors in variances of y.
        notes: what was decided, and how far the numbers can be trusted.
        run: one network of the recipe to use, trained on the pool of training and validation set.
    """

    recipe: Recipe
    model: Model
    splits: Splits
    gain: Estimate
    adopted: bool
    best: int
    tried: tuple[Tried, ...]
    findings: tuple[Finding, ...]
    error: Estimate
    detectable: float
    tolerance: float
    trainings: int
    regression: bool
    notes: tuple[str, ...]
    run: Run = field(repr=False, compare=False)

    __repr__ = display.text

    @property
    def verdict(self) -> str:
        """What is wrong with the training, and whether a change helps and by how much."""
        wrong = [each.code.words for each in self.findings if each.claimed]
        return ", ".join([*wrong, f"and {self._gained}"]) if wrong else self._gained

    @property
    def _gained(self) -> str:
        best, found = self.tried[self.best], self.gain
        size = f"{_points(found)}{' of the variance of y' * self.regression}"
        if found.low > 0:
            told = f"{best.name} lowers the error on unseen examples by {size}"
            if self.adopted:
                return f"one change helps: {told}"
            return (
                f"one change helps a little: {told}. That is below the tolerance of "
                f"{points(self.tolerance)}, and its training takes {best.cost:.1f} times as long, "
                "so it is not adopted"
            )
        return (
            f"none of them helps: the best of {len(self.tried)} changes, {best.name}, gains at "
            f"most {_one(max(0.0, found.high))}; a gain of {_one(self.detectable)} would have been "
            "found in 80% of cases"
        )

    def summary(self) -> dict[str, Any]:
        """Return the advice in the types that JSON has."""
        tried = [
            {
                "name": each.name,
                "kind": each.kind,
                "recipe": describe_recipe(each.recipe),
                "model": each.model.name,
                "gain": each.gain,
                "cost": each.cost,
                "folds": each.folds,
                "verdict": each.verdict,
            }
            for each in self.tried
        ]
        names = ("gain", "adopted", "best", "error", "detectable", "tolerance", "trainings")
        return plain(
            {
                "verdict": self.verdict,
                "recipe": describe_recipe(self.recipe),
                "model": self.model.name,
                **{name: getattr(self, name) for name in names},
                "regression": self.regression,
                "findings": self.findings,
                "tried": tried,
                "notes": self.notes,
            }
        )

    def json(self) -> str:
        """Return the summary as JSON text."""
        return json.dumps(self.summary(), indent=1, allow_nan=False)

    def __str__(self) -> str:
        width = max(len(each.name) for each in self.tried)
        head = f"{'tried':{width}}  {'gain, points':>12}  {'95% interval':>16}  {'training':>8}  "
        rows = [
            f"{each.name:{width}}  {100 * each.gain.estimate:>12.2f}  "
            f"{_limits(each.gain):>16}  {each.cost:>6.1f} x  {each.verdict}"
            for each in sorted(self.tried, key=lambda each: -each.gain.estimate)
        ]
        return "\n".join(
            [
                self.verdict,
                "",
                f"error of the current recipe on unseen examples: {percent(self.error)}",
                *(f"{each.code.words}: {each.evidence}" for each in self.findings),
                head.rstrip(),
                *rows,
                "",
                *self.notes,
            ]
        )


def _one(size: float) -> str:
    return f"{100 * size:.1f} points"


def _limits(size: Estimate) -> str:
    return f"{100 * size.low:.2f} to {100 * size.high:.2f}"


def _points(size: Estimate) -> str:
    return f"{100 * size.estimate:.2f} points (95% interval {_limits(size)})"
