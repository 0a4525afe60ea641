"""The networks of an advice: ways to train, on which folds, and the losses that are measured."""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxnet.core.recipe import Recipe
from jaxnet.core.training import Problem
from jaxnet.data import Splits, Standardization
from jaxnet.data.resampling import Samples, all_but, fold_of, whole
from jaxnet.diagnostics.predicted import Predicted
from jaxnet.models.combined import INPUTS
from jaxnet.models.model import Model
from jaxnet.population.fit import fit_population
from jaxnet.population.placement import plan_of_equal_waves
from jaxnet.population.predictions import member_predictions
from jaxnet.population.result import Population
from jaxnet.population.scheduler import Progress
from jaxnet.random import numbered
from jaxnet.runtime.files import write_json
from jaxnet.runtime.plan import Plan
from jaxnet.runtime.processes import once
from jaxnet.stats.gains import FOLDS, Cell
from jaxnet.studies.candidates import Candidate
from jaxnet.studies.inner import Inner, voted
from jaxnet.studies.measures import Measure, Target
from jaxnet.studies.one_program import programs, with_equal_structure
from jaxnet.studies.rules import COST, LeftOut, Lesson, applied, balanced_weights
from jaxnet.studies.timetable import Limit, Timetable, Watch, timetable
from jaxnet.studies.trained import SAFETY, Pace, decided, operations, timed, with_signals

# Numbers of random keys: of the network that is handed over, of further networks that vote with
# another one, and of inner networks.
LAST = 1 << 20
VOTE = 1 << 16
INNER = 1 << 22
ROUND = (1 << 20) + 2  # of the next round


class Whole(NamedTuple):
    """What is handed over of a recipe.

    Attributes:
        model: its model; where inputs are left out, the one that does not use them.
        networks: its networks that were trained on the whole pool; several predict together.
        lesson: what a rule has decided; None without a rule.
    """

    model: Model
    networks: Population
    lesson: Lesson | None


@dataclass(frozen=True)
class Networks:
    """The networks of an advice.

    Attributes:
        recipes: the ways to train, first the current one.
        splits: the data, whose training set is the pool that is divided into folds.
        fold_of: (examples,) fold of each example of the pool.
        key: a random key.
        plan: as in `fit_population`.
        out: folder of checkpoints, or None.
        judge: number of the recipe whose networks decide where a rule does.
        measure: what wrong predictions cost.
        target: the examples that judge in place of the pool; None where the pool does.
    """

    recipes: tuple[Candidate, ...]
    splits: Splits
    fold_of: Int[np.ndarray, " examples"]
    key: Key[Array, ""]
    plan: Plan | None
    out: Path | None
    judge: int = 0
    measure: Measure = Measure()
    target: Target | None = None

    @functools.cached_property
    def problems(self) -> tuple[Problem, ...]:
        """What the networks of each recipe minimize, in as few programs as that takes."""
        alike = with_equal_structure(self.recipes)
        return tuple(map(self._problem, self.recipes, alike))

    def _problem(self, way: Candidate, recipe: Recipe) -> Problem:
        splits = self._standardized if way.standardized else self.splits
        return Problem(way.model, splits, recipe, way.loss)

    @functools.cached_property
    def _standardized(self) -> Splits:
        return standardized_anew(self.splits)

    @property
    def _stopped(self) -> Bool[np.ndarray, " recipes"]:
        """Whether examples of the pool stop the training of each recipe: it has patience, and there
        is no validation set.
        """
        stopped = np.array([each.recipe.patience is not None for each in self.recipes])
        return stopped & (len(self.splits.validation) == 0)

    @functools.cached_property
    def costs(self) -> Float[np.ndarray, " recipes"]:
        """The operations of a network of each recipe in the race, with those of the inner networks
        that decide what it is trained on; its steps where they cannot be counted.
        """
        return self._operations * [1 if each.rule is None else COST for each in self.recipes]

    @functools.cached_property
    def _operations(self) -> Float[np.ndarray, " recipes"]:
        """The operations of a training of each recipe, its steps where they cannot be counted."""
        found = np.array([operations(problem) for problem in self.problems])
        if not (found > 0).all():
            steps = [problem.recipe.epochs * problem.steps for problem in self.problems]
            found = np.array(steps, float)
        return found * [each.votes for each in self.recipes]

    @functools.cached_property
    def _waves(self) -> Plan | None:
        """The plan that was given, or one with which all folds share the programs of a recipe."""
        return plan_of_equal_waves(self.problems[0]) if self.plan is None else self.plan

    @property
    def relative(self) -> Float[np.ndarray, " candidates"]:
        """Training time of each candidate relative to the current recipe, by its number of
        operations, once a rule has decided what it is trained on.
        """
        return self._operations[1:] / self._operations[0]

    def beside(self, found: Sequence[Candidate]) -> "Networks":
        """Those of the current recipe and of these candidates."""
        return replace(self, recipes=(self.recipes[0], *found))

    def only(self, candidates: Sequence[int]) -> "Networks":
        """Those of the current recipe and of some candidates."""
        return self.beside([self.recipes[1 + number] for number in candidates])

    def again(self, recipe: int, number: int) -> "Networks":
        """Those of a recipe, as the current one of another round, on other folds and with other
        random keys.

        Args:
            recipe: number of the recipe.
            number: number of the round; the first one is 0.
        """
        top = self.out if self.out is None or number == 1 else self.out.parent
        return replace(
            self,
            recipes=(self.recipes[recipe],),
            fold_of=fold_of(self.splits.train, FOLDS, seed=number),
            key=jax.random.fold_in(self.key, ROUND),
            out=None if top is None else top / f"round-{number + 1}",
        )

    def look(
        self, cells: Sequence[Cell], progress: Callable[[Progress], None] | None
    ) -> tuple[Population, Pace | None]:
        """Train networks of the current recipe with signals.

        Args:
            cells: as in `trained`.
            progress: as in `fit_population`.

        Returns:
            The networks, and how long they take; None where a folder held them, or some of them.
        """
        new = self.out is None or not once((self.out / "current").exists)

        def train(listen: Callable[[Progress], None] | None) -> Population:
            signals = with_signals(self.problems[0]).signals
            return self.trained(np.zeros(1, int), cells, listen, "current", signals)

        population, pace = timed(train, len(cells), progress)
        return population, pace if new else None

    def within(self, limit: Limit, seeds: int, pace: Pace | None) -> Timetable:
        """Choose what there is time for; a choice that is kept in `out` stays.

        Args:
            limit: the time.
            seeds: networks of each finalist for each fold, at most.
            pace: how long networks of the current recipe take; None where some are to be trained
                that show it.
        """
        file = self._timetable
        asked = {"seconds": limit.seconds, "seeds": seeds}
        if limit.rounds > 1:
            asked["rounds"] = limit.rounds
        if (kept := decided(file, asked)) is not None:
            return Timetable.read(kept)
        known = timed(self._pilot, 2, None)[1] if pace is None else pace

        def chosen() -> dict[str, Any]:
            left = SAFETY * (limit.until - time.monotonic())
            found = timetable(
                self.problems, self.costs, known, seeds, left, shared=self._one_by_one
            )
            if found.takes > left and not limit.first:
                found = found._replace(candidates=())
            if file is not None:
                write_json(file, {"asked": asked, **found.summary()})
            return found.summary()

        return Timetable.read(once(chosen))

    def watch(self, limit: Limit, pace: Pace) -> Watch:
        """What decides while these networks race what there is time for.

        Args:
            limit: the time.
            pace: how long networks of the current recipe take.
        """
        every = np.arange(len(self.problems)).tolist()
        return Watch(
            limit.until,
            limit.began,
            self.costs / self.costs[0],
            pace,
            programs(self.problems, every[1:]),
            self._one_by_one,
            self._timetable,
        )

    @property
    def _timetable(self) -> Path | None:
        return None if self.out is None else self.out / "timetable.json"

    @property
    def _one_by_one(self) -> bool:
        """Whether each device trains one network at a time, so that any number of them has the same
        program.
        """
        return jax.default_backend() == "cpu" and (self._waves or Plan()).chunk == 1

    def _pilot(self, progress: Callable[[Progress], None]) -> Population:
        """Train two networks of the current recipe, which show how long it takes."""
        samples = all_but(self.fold_of, [0, 1], int(self._stopped[0]))
        return self._trained(np.zeros(2, int), np.arange(2), samples, None, progress)

    def trained(
        self,
        recipes: Int[np.ndarray, " recipes"],
        cells: Sequence[Cell],
        progress: Callable[[Progress], None] | None,
        folder: str | None = None,
        signals: int | None = None,
    ) -> Population:
        """Train networks of some recipes: those of the first recipe, then those of the next.

        Args:
            recipes: numbers of the recipes.
            cells: fold and seed of each network of a recipe; they decide its random key.
            progress: as in `fit_population`.
            folder: name of the folder of checkpoints; by default that of the number of folds.
            signals: as in `fit_population`.
        """
        votes = np.repeat(self.votes(recipes), len(cells)).tolist()
        folds, seeds = np.repeat(np.tile(np.array(cells), (len(recipes), 1)), votes, axis=0).T
        members = np.repeat(np.repeat(recipes, len(cells)), votes)
        name = folder or f"folds-{max(fold for fold, _ in cells) + 1}"
        rules = [self.recipes[member].rule for member in members]
        sets = self._inner.missing(rules, folds.tolist())
        share = len(sets) / (len(sets) + len(members))  # of inner networks
        self._judge(sets, "inputs" in rules, name, _part_of(progress, 0.0, share))
        return self._trained(
            members,
            FOLDS * seeds + folds + VOTE * _count_within(votes),
            all_but(self.fold_of, folds, self._stopped[members].astype(int)),
            name,
            _part_of(progress, share, 1 - share),
            signals,
            self._inner.lessons(rules, folds.tolist()),
        )

    def votes(self, recipes: Int[np.ndarray, " recipes"]) -> list[int]:
        """How many networks predict together in each cell of these recipes.

        Args:
            recipes: numbers of the recipes.
        """
        return [self.recipes[recipe].votes for recipe in recipes]

    def losses(
        self, recipes: Int[np.ndarray, " recipes"], population: Population
    ) -> Float[np.ndarray, "recipes cells examples"]:
        """Measure the losses of networks on the whole pool, or on the examples that judge in its
        place.

        Args:
            recipes: numbers of the recipes.
            population: networks of equally many cells of each of them, in order.
        """
        cells = len(population) // sum(self.votes(recipes))
        data = self.splits.train if self.target is None else self.target.data
        votes = np.repeat(self.votes(recipes), cells).tolist()
        members = np.repeat(np.repeat(recipes, cells), votes)
        y, found = np.asarray(data.y), np.empty((len(votes), len(data)))
        models = [self.recipes[members[each[0]]].model for each in population.members]
        waves = member_predictions(models, population, np.asarray(data.x), self._waves)
        for vote, outputs in voted(waves, votes, population.diverged, data.counted):
            found[vote] = self.measure.losses(Predicted(outputs, y))
        found[~np.isfinite(found).all(1)] = self.measure.of_diverged(y, data.outputs)
        return found.reshape(len(recipes), cells, len(y))

    def on(
        self,
        folds: Int[np.ndarray, " networks"],
        samples: Samples,
        folder: str,
        progress: Callable[[Progress], None] | None,
    ) -> Population:
        """Train networks of the current recipe on parts of the examples that its networks have.

        Args:
            folds: (networks,) fold that each of them leaves out; it decides its random key.
            samples: what each of them trains on.
            folder: name of the folder of checkpoints.
            progress: as in `fit_population`.
        """
        return self._trained(np.zeros(len(folds), int), folds, samples, folder, progress)

    def whole(self, recipe: int) -> Whole:
        """Train the networks of a recipe on the whole pool, or on all folds but one, where that one
        stops their training.
        """
        way, votes = self.recipes[recipe], self.recipes[recipe].votes
        self._judge(self._inner.missing([way.rule], [None]), way.rule == "inputs", "network", None)
        (taught,) = self._inner.lessons([way.rule], [None])
        if taught is not None:
            way = replace(way, model=applied(way.model, taught))
        alone = replace(self, recipes=(way,))
        samples = whole(votes, len(self.fold_of))
        if self._stopped[recipe]:
            samples = all_but(self.fold_of, np.zeros(votes, int))
        networks = alone._trained(
            np.zeros(votes, int),
            LAST + VOTE * np.arange(votes),
            samples,
            "network",
            None,
            lessons=[None if taught is None else taught._replace(used=None)] * votes,
        )
        return Whole(way.model, networks, taught)

    @property
    def inner(self) -> int:
        """The number of inner networks that were trained so far."""
        return len(self._inner.said)

    @functools.cached_property
    def _inner(self) -> Inner:
        judge = self.recipes[self.judge].model
        return Inner(judge, self.fold_of, self.splits.train, self.key, self._waves)

    def _judge(
        self,
        sets: Sequence[LeftOut],
        columns: bool,
        folder: str,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        """Train inner networks that leave out these folds, if there are any,
        and keep what they say.
        """
        if not sets:
            return
        networks = self._trained(
            np.full(len(sets), self.judge),
            INNER + np.array([FOLDS * folds[0] + folds[-1] for folds in sets]),
            self._inner.samples(sets),
            f"{folder}-inner",
            progress,
        )
        self._inner.take_in(networks, sets, columns=columns)

    def _trained(
        self,
        recipes: Int[np.ndarray, " members"],
        numbers: Int[np.ndarray, " members"],
        samples: Samples,
        folder: str | None,
        progress: Callable[[Progress], None] | None,
        signals: int | None = None,
        lessons: Sequence[Lesson | None] | None = None,
    ) -> Population:
        """Train networks of these recipes, whose random keys have these numbers.

        Recipes that do not share data and loss are trained one after the other, and so are those
        that training examples stop.
        """
        taught = [None] * len(recipes) if lessons is None else lessons
        rows = {i: each.rows for i, each in enumerate(taught) if each is not None}
        labels = [None if each is None else each.labels for each in taught]
        states = [
            None if each is None or each.used is None else {INPUTS: each.used} for each in taught
        ]
        samples = self._balanced(recipes, samples.with_rows(rows), labels)
        stopped = self._stopped[recipes]
        keys = numbered(self.key, numbers)
        alike = dict[Any, list[int]]()
        for member, recipe in enumerate(recipes):
            problem = self.problems[recipe]
            shared = id(problem.splits), problem.loss, bool(stopped[member])
            alike.setdefault(shared, []).append(member)
        done, parts, smallest = 0, list[Population](), int(np.bincount(self.fold_of).min())
        for number, places in enumerate(map(np.array, alike.values())):
            problems = [self.problems[recipe] for recipe in recipes[places]]
            share = done / len(recipes), len(places) / len(recipes)
            name = f"{folder}-{number}" if number else str(folder)
            parts.append(
                fit_population(
                    [each.model for each in problems],
                    without_test_rows(problems[0].splits),
                    [each.recipe for each in problems],
                    keys[places],
                    resample=samples.only(places),
                    left_out=smallest if stopped[places[0]] else 0,
                    loss=problems[0].loss,
                    plan=self._waves,
                    out=None if self.out is None or folder is None else self.out / name,
                    progress=_part_of(progress, *share),
                    signals=signals,
                    labels=[labels[place] for place in places],
                    model_states=[states[place] for place in places],
                    unseen=False,
                )
            )
            done += len(places)
        return Population(
            tuple(run for part in parts for run in part.runs),
            tuple(
                np.array(places)[members]
                for part, places in zip(parts, alike.values(), strict=True)
                for members in part.members
            ),
            samples,
        )

    def _balanced(
        self,
        recipes: Int[np.ndarray, " members"],
        samples: Samples,
        labels: Sequence[Int[np.ndarray, " examples"] | None],
    ) -> Samples:
        """The samples with the class weights of the recipes that have them."""
        if not any(each.balance for each in self.recipes):
            return samples
        y = np.asarray(self.splits.train.y)
        ones = np.ones(len(y), np.float32)
        factors = [
            balanced_weights(y if own is None else own, samples.seen(member))
            if self.recipes[recipe].balance
            else ones
            for member, (recipe, own) in enumerate(zip(recipes, labels, strict=True))
        ]
        return samples.reweighted(np.stack(factors))


def without_test_rows(splits: Splits) -> Splits:
    """The data with an empty test set: no network of an advice predicts on it.

    Args:
        splits: the data.
    """
    test = splits.test
    return replace(splits, test=replace(test, x=test.x[:0], y=test.y[:0], groups=None))


def _count_within(sizes: Sequence[int]) -> Int[np.ndarray, " items"]:
    """Number the items of each of several groups of these sizes, from 0."""
    return np.concatenate([np.arange(size) for size in sizes])


def standardized_anew(splits: Splits) -> Splits:
    """The data with the inputs that mean and scale of their training set give.

    Args:
        splits: the data.
    """
    own, now = splits.standardization, Standardization.of(splits.train)
    return replace(splits, standardization=own._replace(mean=now.mean, scale=now.scale))


def _part_of(
    progress: Callable[[Progress], None] | None, before: float, share: float
) -> Callable[[Progress], None] | None:
    """Tell the progress of a population as that of a part of several."""
    if progress is None or share == 1:
        return progress
    return lambda now: progress(now._replace(share=before + share * now.share))
