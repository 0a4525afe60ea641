"""sweep: one network or more for each trial, all as one population; the validation set chooses, the
test set is looked at once.
"""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Key, Shaped

from jaxnet import display
from jaxnet.core.recipe import FORMER_NUMBERS, Recipe, resolved, with_epochs
from jaxnet.core.run import Run
from jaxnet.core.training import Problem
from jaxnet.data import Augmentation, Splits, augmentation
from jaxnet.diagnostics.findings import Finding, edge_of_sweep
from jaxnet.diagnostics.predicted import Predicted
from jaxnet.engine import arguments
from jaxnet.engine.prediction import Metrics, evaluate
from jaxnet.errors import InputError, check_whole, current_names, near, renamed, shown
from jaxnet.models.losses import Loss
from jaxnet.models.model import Model
from jaxnet.population.fit import fit_population
from jaxnet.population.halving import Halving
from jaxnet.population.predictions import member_predictions
from jaxnet.population.result import Population
from jaxnet.population.scheduler import Progress
from jaxnet.progress import of_population, showing
from jaxnet.random import AnyKey, as_key
from jaxnet.runtime.plan import Plan
from jaxnet.stats.selection import Candidate, interval_of_lowest
from jaxnet.studies.one_program import programs
from jaxnet.studies.space import Trial, at_edge
from jaxnet.studies.trained import check_seconds, networks_within, operations

ONE_TRIAL, NO_INTERVAL = "one trial", "none"  # what the interval of a row holds for


@dataclass(frozen=True)
class Sweep:
    """The errors of the trials of a sweep, and the best one.

    Attributes:
        table: columns by name, one row per trial: first the values of the trial, then its measures;
            NaN where all its networks diverged. `error` is the mean over seeds of the validation
            error, a fraction of wrong predictions or a squared error divided by the variance of y.
            `low` and `high` are its 95% interval: for one seed of this network on new examples
            (Wilson's for classes), for several seeds of new networks on new examples (two-way).
            `interval_for` says what the interval holds for: "best of 64" allows for the choice of
            this row among 64 trials, "one trial" holds only for a trial that is named before its
            error is known, and "none" has no interval. `trained_epochs`, with halving, is the
            number of epochs when a trial was measured.
        best: the row with the lowest error among the trials that halving did not stop.
        model: the network of that row.
        recipe: its hyperparameters.
        run: its network of the first seed.
        test: the measures of that network on the test set.
        words: notes on how far the result can be trusted.
        population: all networks, trial after trial.
    """

    table: dict[str, np.ndarray]
    best: int
    model: Model
    recipe: Recipe
    run: Run
    test: Metrics
    words: tuple[str, ...]
    population: Population

    __repr__ = display.text

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The hyperparameters whose best value lies at the edge of what was tried."""
        names = list(self.table)[: list(self.table).index("error")]
        edges = [name for name in names if at_edge(self.table[name].tolist(), self.best)]
        return tuple(edge_of_sweep(name, float(self.table[name][self.best])) for name in edges)

    def csv(self) -> str:
        """The table as text."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["trial", *self.table])
        for row in range(len(self.table["error"])):
            writer.writerow(
                [
                    row,
                    *(
                        f"{v[row]:.7g}" if v.dtype.kind == "f" else v[row]
                        for v in self.table.values()
                    ),
                ]
            )
        return text.getvalue()


@renamed(watch="progress")
@showing(of_population)
def sweep(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    trials: Sequence[Trial],
    key: AnyKey,
    *,
    seeds: int = 1,
    seconds: float | None = None,
    loss: Loss | None = None,
    halving: Halving | None = None,
    plan: Plan | None = None,
    out: str | Path | None = None,
    progress: Callable[[Progress], None] | Literal[False] | None = None,
) -> Sweep:
    """Trains networks for each trial, and chooses the trial with the lowest validation error.

    The lowest of many errors is too low on average. Its upper limit is one that holds for all
    trials at once (max-t), those that halving stopped included. With patience, the validation set
    chooses the epoch of each network too, and the errors have no interval. The error of the chosen
    network on the test set takes no part in any choice.

    Args:
        model: the network of trials that name none.
        splits: the data, with a validation set. The test set judges only the chosen network.
        recipe: the hyperparameters that a trial does not name.
        trials: a dict of values per trial, as `jaxnet.space.grid` makes them. A value belongs to a
            field of Recipe or of Augmentation, or is a "model".
        key: its first `seeds` splits are the keys of the networks of every trial, so trials differ
            in their values only.
        seeds: number of networks per trial.
        seconds: time to keep within on this machine, by training fewer seeds and then fewer trials,
            spread evenly over the list. A few networks that are trained first show how long they
            take, and a call that goes on in `out` trains as many.
        loss: as in `fit_population`.
        halving: after which epochs the worst trials stop, each with all its networks; its
            `together` is set to `seeds`.
        plan: as in `fit_population`.
        out: as in `fit_population`.
        progress: as in `fit_population`.

    Returns:
        A table of errors with 95% intervals, one row per trial, and the best trial with its model,
        recipe and first network.

    Raises:
        InputError: for invalid arguments, for a value whose name is unknown, for an empty
            validation set, and where every network of every trial diverged.

    References:
        Jamieson & Talwalkar (2016), Non-stochastic best arm identification and hyperparameter
        optimization, fig. 3, for halving; Dunnett (1955) and Hothorn, Bretz & Westfall (2008) for
        the interval of the best trial.
    """
    arguments.check(model=model, splits=splits, recipe=recipe)
    key = as_key("key", key)
    if not isinstance(trials, list | tuple) or not all(isinstance(trial, dict) for trial in trials):
        raise InputError(
            f"trials is {shown(trials)}; give a list of dicts, as jaxnet.space.grid(space) makes it"
        )
    check_whole("seeds", seeds, most=1 << 20)
    check_seconds(seconds)
    trials = [current_names(trial, FORMER_NUMBERS) for trial in trials]
    if not len(splits.validation):
        raise InputError(
            "the validation set is empty, and the test set must not choose; hold some examples "
            "out for validation"
        )
    if not trials:
        raise InputError("there are 0 trials; give at least one")
    keys = jax.random.split(key, seeds)
    examples, wanted = len(splits.train), (len(trials), seeds)
    recipe = with_epochs(recipe, examples)  # one number for all trials that do not change it
    ways = [
        (trial.get("model", model), resolved(_changed(recipe, trial), examples)) for trial in trials
    ]

    def train(
        ways: Sequence[tuple[Model, Recipe]],
        keys: Key[Array, " seeds"],
        progress: Callable[[Progress], None] | None,
        out: str | Path | None = None,
    ) -> Population:
        """Trains networks of these keys for each of the models and recipes."""
        count = len(keys)
        return fit_population(
            [model for model, _ in ways for _ in range(count)],
            splits,
            [recipe for _, recipe in ways for _ in range(count)],
            keys[np.tile(np.arange(count), len(ways))],
            order_key=keys[0] if count == 1 else None,
            loss=loss,
            halving=None if halving is None else replace(halving, together=count),
            plan=plan,
            out=out,
            progress=progress,
        )

    if seconds is not None:
        problems = [Problem(model, splits, recipe, loss) for model, recipe in ways]
        costs = _costs(problems)
        most = networks_within(
            lambda networks, listen: train(ways[:1], jax.random.split(key, networks), listen),
            problems[0],
            math.ceil(seeds * costs.sum()),
            seconds,
            plan=plan,
            out=None if out is None else Path(out),
            compilations=programs(problems, range(1, len(problems))),
        )
        kept, seeds = affordable(costs, seeds, most)
        trials, ways, keys = [trials[i] for i in kept], [ways[i] for i in kept], keys[:seeds]
    population = train(ways, keys, progress or None, out)
    models = [model for model, _ in ways for _ in range(seeds)]
    recipes = [recipe for _, recipe in ways for _ in range(seeds)]
    shape = len(trials), seeds
    losses = _validation_losses(models, population, splits, plan)
    means = _means(_measures(population, losses, splits), shape)
    stopped = np.asarray(population.each(lambda run: run.halved).reshape(shape).any(1))
    if np.isnan(means["error"][~stopped]).all():
        raise InputError(
            "every network of every trial diverged; give a space of lower learning rates, or set "
            "clip"
        )
    best = int(np.lexsort((means["loss"], means["error"], stopped))[0])
    groups = splits.validation.groups
    candidates = [
        Candidate(each[sound], groups)
        for each, sound in zip(
            losses.reshape(*shape, -1), _sound(population, losses).reshape(shape), strict=True
        )
    ]
    early = [each.patience is not None for each in recipes[::seeds]]
    error = {"error": means.pop("error")}
    table = _columns(trials) | error | _intervals(candidates, best, early) | means
    words = _notes(table, best, trials, stopped, splits)
    if any(early):
        words += (
            "patience chose the epoch of each network on the validation set, so its error there is "
            "too low and has no interval",
        )
    if halving is not None:
        trained = population.epochs.reshape(-1, seeds)
        words += (_savings(trained, stopped, [each.epochs for each in recipes]),)
        table["trained_epochs"] = trained.max(1)
    if (len(trials), seeds) != wanted:
        words += (
            f"to keep within {seconds:g} s, {len(trials)} of {wanted[0]} trials were trained with "
            f"{seeds} of {wanted[1]} seeds each",
        )
    run, chosen = population[best * seeds], models[best * seeds]
    return Sweep(
        table=table,
        best=best,
        model=chosen,
        recipe=recipes[best * seeds],
        run=run,
        test=evaluate(chosen, run, splits.test),
        words=words,
        population=population,
    )


def _costs(problems: Sequence[Problem]) -> Float[np.ndarray, " trials"]:
    """How many times as long as one of the first trial a training of each trial takes, by its
    number of operations.
    """
    counted = dict[Any, float]()

    def cost(problem: Problem) -> float:
        recipe = problem.recipe
        alike = problem.model, recipe.batch_size, recipe.epochs, recipe.precision
        if alike not in counted:
            counted[alike] = operations(problem)
        return counted[alike]

    found = np.array([cost(problem) for problem in problems])
    return found / found[0] if (found > 0).all() else np.ones(len(found))


def affordable(costs: Float[np.ndarray, " trials"], seeds: int, most: int) -> tuple[list[int], int]:
    """Choose what there is time for: fewer seeds first, and then fewer trials, spread evenly.

    Args:
        costs: of a training of each trial.
        seeds: networks of each trial, at most.
        most: the sum of the costs that there is time for.

    Returns:
        (numbers of the trials, at least one of them; networks of each).
    """
    while seeds > 1 and seeds * costs.sum() > most:
        seeds -= 1

    def spread(count: int) -> np.ndarray:
        return np.unique(np.rint(np.linspace(0, len(costs) - 1, count)).astype(int))

    kept = spread(len(costs))
    while len(kept) > 1 and seeds * costs[kept].sum() > most:
        kept = spread(len(kept) - 1)
    return kept.tolist(), seeds


def _changed(recipe: Recipe, trial: Trial) -> Recipe:
    """The recipe with a trial's values."""
    known = [field.name for field in fields(Recipe)]
    strengths = {}
    for name, value in trial.items():
        if name in augmentation.AUGMENTATION_FIELDS:
            strengths[name] = value
        elif name in known:
            recipe = replace(recipe, **{name: value})
        elif name != "model":
            raise InputError(
                f"unknown hyperparameter {name!r}"
                f"{near(name, (*known, *augmentation.AUGMENTATION_FIELDS, 'model'))}"
            )
    if strengths:
        recipe = replace(
            recipe, augmentation=replace(recipe.augmentation or Augmentation(), **strengths)
        )
    return recipe


def _validation_losses(
    models: Sequence[Model], population: Population, splits: Splits, plan: Plan | None
) -> Shaped[np.ndarray, "networks examples"]:
    """Whether each network is wrong on each validation example, or its squared error in variances
    of y.
    """
    y, of_runs = np.asarray(splits.validation.y), [models[each[0]] for each in population.members]
    kind = bool if splits.classes is not None else np.float64
    found = np.zeros((len(population), len(y)), kind)
    x = np.asarray(splits.validation.x)
    variance = 1.0 if splits.counted else splits.standardization.units[1] ** 2
    for members, outputs in member_predictions(of_runs, population, x, plan):
        found[members] = Predicted(outputs, y).losses(variance)
    return found


def _sound(
    population: Population, losses: Shaped[np.ndarray, "networks examples"]
) -> Bool[np.ndarray, " networks"]:
    """Which networks did not diverge and have a finite error."""
    return ~population.diverged & np.isfinite(losses.mean(1))


def _measures(
    population: Population, losses: Shaped[np.ndarray, "networks examples"], splits: Splits
) -> dict[str, Float[np.ndarray, " networks"]]:
    """Each measure after the epoch whose parameters count; NaN for networks that diverged."""
    sound = _sound(population, losses)

    def at_end(column: Callable[[Run], Any]) -> np.ndarray:
        def of(run: Run) -> np.ndarray:
            last = run.epochs if run.recipe.patience is None or run.best is None else run.best.epoch
            return np.asarray(column(run))[
                np.arange(len(last)), np.maximum(np.asarray(last) - 1, 0)
            ]

        return np.where(population.diverged, np.nan, population.each(of))

    training = (
        at_end(lambda run: run.history.train_loss)
        if not splits.counted
        else 1 - at_end(lambda run: run.history.train_accuracy).astype(float)
    )
    return {
        "error": np.where(sound, losses.mean(1), np.nan),
        "loss": at_end(lambda run: run.history.validation_loss),
        "training_error": training,
        "training_loss": at_end(lambda run: run.history.train_loss),
    }


def _means(measures: dict[str, np.ndarray], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """By measure, the mean over the seeds of each trial that did not diverge, and how many did."""
    each = {name: values.reshape(shape) for name, values in measures.items()}
    lost = np.isnan(each["error"]).sum(1)
    counts = np.maximum(shape[1] - lost, 1)
    means = {
        name: np.where(lost == shape[1], np.nan, np.nansum(values, 1) / counts)
        for name, values in each.items()
    }
    return means | {"diverged": lost}


def _intervals(
    candidates: Sequence[Candidate], best: int, early: Sequence[bool]
) -> dict[str, np.ndarray]:
    """The columns of the intervals; that of the best trial allows for the choice among all.

    Args:
        candidates: the networks of each trial that did not diverge.
        best: the chosen trial.
        early: whether the validation set chose the epoch of the networks of each trial.
    """
    low, high = np.full((2, len(candidates)), np.nan)
    kinds = [NO_INTERVAL] * len(candidates)
    some = [i for i, each in enumerate(candidates) if len(each.losses)]
    for i in some:
        found = candidates[i].interval()
        if early[i] or found.refused is not None:
            continue
        kinds[i] = ONE_TRIAL
        if i == best and len(candidates) > 1:
            found = interval_of_lowest([candidates[j] for j in some], some.index(best))
            kinds[i] = _best_of(candidates)
        low[i], high[i] = found.low, found.high
    return {"low": low, "high": high, "interval_for": np.array(kinds)}


def _best_of(trials: Sequence[Any]) -> str:
    return f"best of {len(trials)}"


def _columns(trials: Sequence[Trial]) -> dict[str, np.ndarray]:
    names = list(dict.fromkeys(name for trial in trials for name in trial))
    return {name: np.array([_plain(trial.get(name)) for trial in trials]) for name in names}


def _plain(value: Any) -> Any:
    return value.name if isinstance(value, Model) else value


def _savings(trained: np.ndarray, stopped: np.ndarray, epochs: Sequence[int]) -> str:
    """When halving stopped how many, and what share of the epochs of all recipes was trained."""
    after, counts = np.unique(trained[stopped].max(1), return_counts=True)
    stops = ", ".join(
        f"{count} after epoch {epoch}" for epoch, count in zip(after, counts, strict=True)
    )
    return (
        f"halving stopped {stopped.sum()} of {len(stopped)} trials ({stops}): {trained.sum():,} "
        "epochs of networks were trained, "
        f"{trained.sum() / sum(epochs):.0%} of the {sum(epochs):,} of the full sweep"
    )


def _guess(splits: Splits) -> str:
    """What always guessing costs on the validation set."""
    y = np.asarray(splits.validation.y)
    if splits.schema.multi_label:
        usual = np.asarray(splits.train.y).mean(0) > 0.5
        return (
            "always giving the more frequent answer for each label has a validation error of "
            f"{np.mean(y != usual):.2%}"
        )
    if splits.classes is None:
        center, scale = splits.standardization.units
        size = f"{np.mean(((y.astype(np.float64) - center) / scale) ** 2):.4g}"
        return f"always guessing the training mean has a validation error of {size}"
    most = np.bincount(np.asarray(splits.train.y), minlength=len(splits.classes)).argmax()
    return (
        "always guessing the most frequent training class has a validation error of "
        f"{np.mean(y != most):.2%}"
    )


def _notes(
    table: dict[str, np.ndarray],
    best: int,
    trials: Sequence[Trial],
    stopped: np.ndarray,
    splits: Splits,
) -> tuple[str, ...]:
    """What the numbers do not say by themselves."""
    count = len(trials) - stopped.sum()
    among = f" of the {count} that were trained to their end" if stopped.any() else ""

    def size(column: str) -> str:
        form = "{:.2%}".format if splits.counted else display.rounded
        return form(float(table[column][best]))

    words = [
        f"trial {best} of {len(trials)} has the lowest validation error{among}, {size('error')}: "
        f"as the best of {len(trials)} it is too low on average; "
        + (
            "the test error is that of the chosen network alone, and took no part in the choice"
            if len(splits.test)
            else "there are no test examples, so its error on new examples is not measured: hold "
            "some out as a test set"
        )
    ]
    if table["interval_for"][best] == _best_of(trials):
        words.append(
            f"the 95% interval of trial {best}, {size('low')} to {size('high')}, allows for the "
            f"choice among {len(trials)} trials; the intervals of other trials do not, and hold "
            "only for a trial that is named before its error is known"
        )
    words.append(_guess(splits))
    words += [
        f"the best {name}, {table[name][best]:.4g}, lies at the edge of what was tried: widen the "
        "space beyond it"
        for name in dict.fromkeys(name for trial in trials for name in trial)
        if at_edge(table[name].tolist(), best)
    ]
    if (lost := int((table["diverged"] > 0).sum())) > 0:
        words.append(
            f"in {lost} of {len(trials)} trials a network diverged; such networks have no part in "
            "the means"
        )
    return tuple(words)
