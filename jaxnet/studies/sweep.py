"""sweep: one network or more a trial, all as one population; the validation set chooses, the test
set is looked at once.
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxnet import display
from jaxnet.core.recipe import FORMER_NUMBERS, Recipe, resolved, with_epochs
from jaxnet.core.run import Run
from jaxnet.data import Augmentation, Splits, augmentation
from jaxnet.diagnostics import Estimate, repeated, wilson
from jaxnet.diagnostics.findings import Finding, edge_of_sweep
from jaxnet.engine import arguments
from jaxnet.engine.prediction import Metrics, evaluate, judge, predict
from jaxnet.errors import InputError, check_whole, current_names, near, renamed, shown
from jaxnet.models.losses import Loss
from jaxnet.models.model import Model
from jaxnet.population.fit import fit_population
from jaxnet.population.halving import Halving
from jaxnet.population.result import Population
from jaxnet.population.scheduler import Progress
from jaxnet.random import AnyKey, as_key
from jaxnet.runtime.plan import Plan
from jaxnet.studies.space import Trial, at_edge


@dataclass(frozen=True)
class Sweep:
    """The errors of the trials of a sweep, and the best one.

    Attributes:
        table: columns by name, one row per trial: first the values of the trial, then its measures;
            NaN where all its networks diverged. `error` is the mean over seeds of the validation
            error, a fraction of wrong predictions or a squared error divided by the variance of y.
            `low` and `high` are its 95% interval: Wilson's for one seed, Student's for several.
            `trained_epochs`, with halving, is the number of epochs when a trial was measured.
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
def sweep(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    trials: Sequence[Trial],
    key: AnyKey,
    *,
    seeds: int = 1,
    loss: Loss | None = None,
    halving: Halving | None = None,
    plan: Plan | None = None,
    out: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Sweep:
    """Trains networks for each trial, and chooses the trial with the lowest validation error.

    Args:
        model: the network of trials that name none.
        splits: the data, with a validation set. The test set judges only the chosen network.
        recipe: the hyperparameters that a trial does not name.
        trials: a dict of values per trial, as `jaxnet.space.grid` makes them. A value belongs to a
            field of Recipe or of Augmentation, or is a "model".
        key: its first `seeds` splits are the keys of the networks of every trial, so trials differ
            in their values only.
        seeds: number of networks per trial.
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
        optimization, fig. 3, for halving.
    """
    arguments.check(model=model, splits=splits, recipe=recipe)
    key = as_key("key", key)
    if not isinstance(trials, list | tuple) or not all(isinstance(trial, dict) for trial in trials):
        raise InputError(
            f"trials is {shown(trials)}; give a list of dicts, as jaxnet.space.grid(space) makes it"
        )
    check_whole("seeds", seeds, most=1 << 20)
    trials = [current_names(trial, FORMER_NUMBERS) for trial in trials]
    if not len(splits.validation):
        raise InputError(
            "the validation set is empty, and the test set must not choose; hold some examples "
            "out for validation"
        )
    if not trials:
        raise InputError("there are 0 trials; give at least one")
    keys = jax.random.split(key, seeds)
    models = [trial.get("model", model) for trial in trials for _ in range(seeds)]
    examples = len(splits.train)
    recipe = with_epochs(recipe, examples)  # one number for all trials that do not change it
    recipes = [
        resolved(_changed(recipe, trial), examples) for trial in trials for _ in range(seeds)
    ]
    every = keys[np.tile(np.arange(seeds), len(trials))]
    population = fit_population(
        models,
        splits,
        recipes,
        every,
        order_key=keys[0] if seeds == 1 else None,
        loss=loss,
        halving=None if halving is None else replace(halving, together=seeds),
        plan=plan,
        out=out,
        progress=progress,
    )
    measures = _measures(population, splits, models)
    table = _columns(trials) | _summary(measures, splits, (len(trials), seeds))
    stopped = np.asarray(population.each(lambda run: run.halved).reshape(-1, seeds).any(1))
    if np.isnan(table["error"][~stopped]).all():
        raise InputError(
            "every network of every trial diverged; give a space of lower learning rates, or set "
            "clip"
        )
    best = int(np.lexsort((table["loss"], table["error"], stopped))[0])
    words = _notes(table, best, trials, stopped, splits)
    if halving is not None:
        trained = population.epochs.reshape(-1, seeds)
        words += (_savings(trained, stopped, [each.epochs for each in recipes]),)
        table["trained_epochs"] = trained.max(1)
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


def _measures(
    population: Population, splits: Splits, models: Sequence[Model]
) -> dict[str, np.ndarray]:
    """(members,) of each measure after the epoch whose parameters count; NaN of members that
    diverged.
    """

    def at_end(column: Callable[[Run], Any]) -> np.ndarray:
        def of(run: Run) -> np.ndarray:
            last = run.epochs if run.recipe.patience is None or run.best is None else run.best.epoch
            return np.asarray(column(run))[
                np.arange(len(last)), np.maximum(np.asarray(last) - 1, 0)
            ]

        return np.where(population.diverged, np.nan, population.each(of))

    losses = {
        "loss": at_end(lambda run: run.history.validation_loss),
        "training_loss": at_end(lambda run: run.history.train_loss),
    }
    if splits.classes is not None:
        count = len(splits.validation)
        error = (
            np.round(
                (1 - at_end(lambda run: run.history.validation_accuracy).astype(float)) * count
            )
            / count
        )
        return {
            "error": error,
            "training_error": 1 - at_end(lambda run: run.history.train_accuracy).astype(float),
        } | losses
    y = np.asarray(splits.validation.y)

    def error(i: int) -> float:
        """Of values; NaN where one is not finite, as after diverging."""
        run = population[i]
        return float(
            judge(
                np.asarray(predict(models[i], run, splits.validation.x)), y, run.standardization
            ).error
        )

    errors = [np.nan if lost else error(i) for i, lost in enumerate(population.diverged)]
    return {"error": np.array(errors), "training_error": losses["training_loss"]} | losses


def _summary(
    measures: dict[str, np.ndarray], splits: Splits, shape: tuple[int, int]
) -> dict[str, np.ndarray]:
    """A row a trial: means over the seeds that did not diverge, and the interval of the error."""
    each = {name: values.reshape(shape) for name, values in measures.items()}
    lost = np.isnan(each["error"]).sum(1)
    counts = np.maximum(shape[1] - lost, 1)
    means = {
        name: np.where(lost == shape[1], np.nan, np.nansum(values, 1) / counts)
        for name, values in each.items()
    }
    intervals = [_interval(row[~np.isnan(row)], splits) for row in each["error"]]
    bounds = {
        "low": np.array([i.low for i in intervals]),
        "high": np.array([i.high for i in intervals]),
    }
    return {
        "error": means["error"],
        **bounds,
        **{name: means[name] for name in ("loss", "training_error", "training_loss")},
        "diverged": lost,
    }


def _interval(errors: np.ndarray, splits: Splits) -> Estimate:
    if len(errors) == 1 and splits.classes is not None:
        return wilson(round(errors[0] * len(splits.validation)), len(splits.validation))
    return repeated(errors)


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
    error = table["error"][best]
    size = f"{error:.4g}" if splits.classes is None else f"{error:.2%}"
    words = [
        f"trial {best} of {len(trials)} has the lowest validation error{among}, {size}: as the "
        f"lowest of {count} it is "
        "too low on average; the test error is that of the chosen network alone, and took no part "
        "in the choice",
        _guess(splits),
    ]
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
