"""Advice: what changes of a recipe gain, and the recipe to use."""

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from textwrap import fill
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxnet import display
from jaxnet.core.recipe import Recipe, describe_recipe
from jaxnet.core.run import Run
from jaxnet.data import Splits
from jaxnet.diagnostics.findings import Finding
from jaxnet.models.model import Model
from jaxnet.population.ensemble import as_one, ensemble
from jaxnet.population.result import Population
from jaxnet.runtime.files import plain
from jaxnet.stats.estimate import LEVEL, Estimate
from jaxnet.studies.measures import Unit, unit_of

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
        cost: training time relative to the current recipe, by the number of operations.
        folds: number of the 8 folds that it ran before it was dropped.
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
class Round:
    """What one round of an advice has tried and chosen.

    Attributes:
        tried: every candidate.
        best: number in `tried` of the adopted candidate; else of the one with the largest gain.
        adopted: whether it is adopted.
        gain: the error that it saves on unseen examples.
        error: error of the recipe that the round began with, on unseen examples.
        detectable: the gain that such a round finds in 80% of cases.
        findings: what is wrong with the training of the recipe that the round began with.
        level: confidence level of the interval of the gain.
    """

    tried: tuple[Tried, ...]
    best: int
    adopted: bool
    gain: Estimate
    error: Estimate
    detectable: float
    findings: tuple[Finding, ...] = ()
    level: float = LEVEL

    __repr__ = display.text

    @property
    def leader(self) -> Tried:
        """The adopted candidate; else the one with the largest gain."""
        return self.tried[self.best]

    @property
    def shorter(self) -> Tried | None:
        """The largest gain that is surely above 0 of a candidate whose training takes at most half
        as long as that of the adopted one; None where there is none.
        """
        if not self.adopted:
            return None
        most = self.leader.cost / 2
        found = [each for each in self.tried if each.verdict == HELPS and each.cost <= most]
        return max(found, key=lambda each: each.gain.estimate, default=None)


@dataclass(frozen=True)
class MoreData:
    """How the error of the current recipe falls with more training examples.

    Attributes:
        examples: number of training examples of each network (all folds but one).
        gain: the error with half of them minus the error with all of them, on unseen examples.
        forecast: the gain of twice as many of them over the error with all of them; None for a
            regression, and where there are too few examples.
    """

    examples: int
    gain: Estimate
    forecast: Estimate | None

    __repr__ = display.text

    def gains_more_than(self, gain: float) -> bool:
        """Whether training on all examples is shown to gain more than this over training on half
        of them, and the forecast allows the same for twice as many.
        """
        forecast = self.forecast
        open_ = forecast is None or forecast.refused is not None or forecast.high > gain
        return self.gain.low > 0 and self.gain.estimate > gain and open_

    @property
    def words(self) -> str:
        """What was measured and what is predicted, with its heading."""
        return f"more data: {self.told}"

    @property
    def told(self) -> str:
        """What was measured and what is predicted."""
        told = (
            f"{self.examples:,} training examples in place of {self.examples // 2:,} gain "
            f"{_in_words(self.gain)}"
        )
        if self.forecast is None:
            return told
        if self.forecast.refused is not None:
            return f"{told}; for twice as many there is no forecast: {self.forecast.refused}"
        return f"{told}; {2 * self.examples:,} are predicted to gain {_in_words(self.forecast)}"

    def summary(self) -> dict[str, Any]:
        """The numbers and their words."""
        return {
            "examples": self.examples,
            "gain": self.gain,
            "forecast": self.forecast,
            "words": self.words,
        }


@dataclass(frozen=True)
class Advice:
    """What candidates gain over a recipe, and the recipe to use.

    Attributes:
        recipe: the recipe to use: that of the last adopted candidate, or the current one.
        model: the model to use, likewise.
        splits: the data to use, as they were given, except for labels that are corrected.
        weights: (examples,) factors of the losses of the training set of `splits`, 0 for examples
            that are left out; None for 1.
        votes: number of networks to train, which predict together: `jaxnet.ensemble` makes one
            network of them.
        gain: the error that the recipe to use saves on unseen examples; where none is adopted, what
            the candidate with the largest gain saves. The interval allows for the choice among all
            candidates; it is of the recipe's networks on average, and not of one network. After
            several rounds it is measured on folds that took no part in them.
        rounds: each round.
        tolerance: the smallest gain that is worth a longer training.
        trainings: number of networks that were trained.
        regression: whether labels are values.
        measure: the score in which gains are measured: "error" (for a regression a share of the
            variance of y), "balanced_error", "log_loss" or "rmse".
        notes: what was decided, and how far the numbers can be trusted.
        test: error on the test set of `network`, which takes part in no choice; None where
            there are no labeled test examples.
        more_data: how the error of the current recipe falls with more training examples; None where
            it was not measured.
        networks: the networks of the recipe to use, trained on the pool of training and validation
            set: one, or those that vote.
        fold_networks: the cross-fitted networks of the recipe to use, which the gain is of.
    """

    recipe: Recipe
    model: Model
    splits: Splits
    weights: Float[np.ndarray, " examples"] | None
    votes: int
    gain: Estimate
    rounds: tuple[Round, ...]
    tolerance: float
    trainings: int
    regression: bool
    measure: str
    notes: tuple[str, ...]
    test: Estimate | None
    more_data: MoreData | None
    networks: Population = field(repr=False, compare=False)
    fold_networks: Population = field(repr=False, compare=False)

    __repr__ = display.text

    @property
    def adopted(self) -> bool:
        """Whether a candidate is adopted."""
        return self.rounds[0].adopted

    @property
    def tried(self) -> tuple[Tried, ...]:
        """Every candidate, of all rounds."""
        return tuple(each for one in self.rounds for each in one.tried)

    @property
    def best(self) -> int:
        """Number in `tried` of the candidate that was adopted last; else of the one with the
        largest gain.
        """
        number = max(self._adopting, default=0)
        return sum(len(one.tried) for one in self.rounds[:number]) + self.rounds[number].best

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with the training of the current recipe."""
        return self.rounds[0].findings

    @property
    def error(self) -> Estimate:
        """Error of the current recipe on unseen examples."""
        return self.rounds[0].error

    @property
    def detectable(self) -> float:
        """The gain that the first round finds in 80% of cases."""
        return self.rounds[0].detectable

    @property
    def level(self) -> float:
        """Confidence level of the interval of the gain."""
        return self.rounds[0].level if len(self.rounds) == 1 else LEVEL

    @property
    def run(self) -> Run:
        """One network of the recipe to use."""
        return self.networks[0]

    @cached_property
    def network(self) -> tuple[Model, Run]:
        """What predicts: the network, or the networks that vote as one: its model and its Run."""
        return as_one(self.model, self.networks)

    @cached_property
    def vote(self) -> tuple[Model, Run]:
        """The fold networks as one network, which predicts the mean of their probabilities or
        values: its model and its Run.
        """
        return ensemble(self.model, self.fold_networks)

    @property
    def _adopting(self) -> list[int]:
        """The rounds that adopted a candidate."""
        return [number for number, each in enumerate(self.rounds) if each.adopted]

    @property
    def verdict(self) -> str:
        """What is wrong with the training, and whether a change helps and by how much."""
        wrong = [each.code.words for each in self.findings if each.claimed]
        told = ", ".join([*wrong, f"and {self._gained}"]) if wrong else self._gained
        if not self.more_data_first:
            return told
        assert self.more_data is not None
        return f"more data help most: {self.more_data.told}. {told[0].upper()}{told[1:]}"

    @property
    def more_data_first(self) -> bool:
        """Whether more data surely help, and more than the adopted changes do. Where something is
        wrong with the training, it comes first.
        """
        if self.more_data is None or any(each.claimed for each in self.findings):
            return False
        return self.more_data.gains_more_than(self.gain.estimate if self.adopted else 0.0)

    @property
    def _gained(self) -> str:
        if len(self.rounds) > 1:
            return self._gained_in_rounds
        best, found, size = self.rounds[0].leader, self.gain, self._points(self.gain)
        if found.low > 0:
            told = f"{best.name} lowers the {self.unit.noun} on unseen examples by {size}"
            if self.adopted:
                return f"one change helps: {told}"
            return (
                f"one change helps a little: {told}. That is below the tolerance of "
                f"{self.unit.plain(self.tolerance)}, and its training takes {best.cost:.1f} times "
                "as long, so it is not adopted"
            )
        return (
            f"none of them helps: the best of {len(self.tried)} changes, {best.name}, gains at "
            f"most {self.unit.size(max(0.0, found.high))}; a gain of "
            f"{self.unit.size(self.detectable)} would have been found in 80% of cases"
        )

    @property
    def _gained_in_rounds(self) -> str:
        adopted = [self.rounds[number].leader.name for number in self._adopting]
        count = "one change helps" if len(adopted) == 1 else f"{len(adopted)} changes help"
        size = self._points(self.gain)
        if self.gain.low > 0:
            told = f"The {self.unit.noun} on unseen examples falls by {size}"
            return f"{count}: {', then '.join(adopted)}. {told}"
        return (
            f"it is not shown that the changes help: {', then '.join(adopted)}. On new folds the "
            f"{self.unit.noun} on unseen examples falls by {size}"
        )

    @property
    def unit(self) -> Unit:
        """How sizes on the scale of the measure are said."""
        return unit_of(self.measure, of_values=self.regression)

    def _points(self, size: Estimate) -> str:
        return self.unit.difference(size, self.level)

    def summary(self) -> dict[str, Any]:
        """Return the advice in the types that JSON has."""
        tried = [
            {
                "round": 1 + number,
                "name": each.name,
                "kind": each.kind,
                "recipe": describe_recipe(each.recipe),
                "model": each.model.name,
                "gain": each.gain,
                "cost": each.cost,
                "folds": each.folds,
                "verdict": each.verdict,
            }
            for number, one in enumerate(self.rounds)
            for each in one.tried
        ]
        rounds = [
            {
                "adopted": each.leader.name if each.adopted else None,
                "best": each.leader.name,
                **{name: getattr(each, name) for name in ("gain", "error", "detectable", "level")},
                "findings": each.findings,
            }
            for each in self.rounds
        ]
        names = (
            *("gain", "level", "adopted", "best", "error", "detectable", "tolerance", "votes"),
            *("trainings", "test"),
        )
        return plain(
            {
                "verdict": self.verdict,
                "recipe": describe_recipe(self.recipe),
                "model": self.model.name,
                **{name: getattr(self, name) for name in names},
                "regression": self.regression,
                "measure": self.measure,
                "unit": asdict(self.unit),
                "findings": self.findings,
                "tried": tried,
                "rounds": rounds,
                "more_data": None if self.more_data is None else self.more_data.summary(),
                "notes": self.notes,
            }
        )

    def json(self) -> str:
        """Return the summary as JSON text."""
        return json.dumps(self.summary(), indent=1, allow_nan=False)

    def __str__(self) -> str:
        unit, several = self.unit, len(self.rounds) > 1
        tables = [_table(each, unit) for each in self.rounds]
        blocks = [f"round {number}\n" * several + each for number, each in enumerate(tables, 1)]
        lines = ["\n\n".join([_filled(self.verdict), *blocks]), ""]
        if self.more_data is not None and not self.more_data_first:
            lines.append(_filled(self.more_data.words))
        if self.test is not None:
            told = f"{unit.noun} of the saved network on the test set"
            lines.append(_filled(f"{told}: {unit.mean(self.test)}"))
        return "\n".join([*lines, *map(_filled, self.notes)])


def _table(found: Round, unit: Unit) -> str:
    """The candidates of a round, the largest gain first."""
    head = ("change", f"gain, {unit.words}", f"{_level(found.level)} interval", "time", "")
    rows = (
        (
            each.name,
            unit.number(each.gain.estimate),
            unit.limits(each.gain),
            f"{each.cost:.1f} x",
            each.verdict,
        )
        for each in sorted(found.tried, key=lambda each: -each.gain.estimate)
    )
    return "\n".join(
        [
            _filled(
                f"{unit.noun} of the current recipe on unseen examples: {unit.mean(found.error)}"
            ),
            *(_filled(f"{each.code.words}: {each.evidence}") for each in found.findings),
            display.aligned(head, rows, words=(0, 4)),
        ]
    )


def _filled(words: str) -> str:
    """Words as a paragraph that fits a screen."""
    return fill(words, display.ACROSS, subsequent_indent="  ")


def _level(level: float) -> str:
    """A confidence level in percent: 95%, 99% or 98.3%."""
    return f"{100 * level:.3g}%"


def _in_words(size: Estimate) -> str:
    return (
        f"{100 * size.estimate:.1f} points (95% interval {100 * size.low:.1f} to "
        f"{100 * size.high:.1f})"
    )
