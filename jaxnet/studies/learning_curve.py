"""learning_curve: networks on growing parts of the training set as one population, and what more
examples would buy.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxnet import display
from jaxnet.core.recipe import Recipe, resolved
from jaxnet.core.training import Problem
from jaxnet.data import Dataset, Splits
from jaxnet.data.dataset import error_unit
from jaxnet.data.resampling import Samples, first
from jaxnet.data.splitting import units
from jaxnet.diagnostics.findings import Finding, applicable
from jaxnet.diagnostics.predicted import Predicted
from jaxnet.diagnostics.symptoms import error_still_falls, more_data
from jaxnet.engine import arguments
from jaxnet.errors import InputError, check_whole, renamed, shown
from jaxnet.models.losses import Loss
from jaxnet.models.model import Model
from jaxnet.population.fit import fit_population
from jaxnet.population.predictions import member_predictions
from jaxnet.population.result import Population
from jaxnet.population.scheduler import Progress
from jaxnet.progress import of_population, showing
from jaxnet.random import AnyKey, as_key, numbered
from jaxnet.runtime.files import plain
from jaxnet.runtime.plan import Plan
from jaxnet.stats.curve_prior import Curves, measured
from jaxnet.stats.estimate import Estimate, repeated
from jaxnet.stats.extrapolation import (
    FACTORS,
    Needed,
    Trend,
    last_doubling,
    needed,
    predicted,
    trend,
)
from jaxnet.studies.design import MIN_CURVE_EXAMPLES
from jaxnet.studies.trained import check_seconds, networks_within

# Sizes by default: in steps of the square root of 2, as those of the curves from which the prior
# was learned; the half of them leaves the interval eight times as far by a quarter wider.
MOST_SIZES = 12

logger = logging.getLogger("jaxnet")


@dataclass(frozen=True)
class LearningCurve:
    """Errors of networks that were trained on growing parts of the training set.

    Attributes:
        sizes: (sizes,) numbers of training examples.
        errors: (sizes, members) held-out errors, fractions of wrong predictions or squared errors
            divided by the variance of y; NaN for a member that diverged.
        training: (sizes, members) the same on the examples that each network learned from, in its
            last epoch.
        test_examples: the number of held-out examples.
        networks: the networks of the first order from the smallest to the largest size, then those
            of the next order.
        model: the model.
        splits: the data.
        farther: why such errors are not extrapolated, or None.
        trend: for a regression, how the error changed over the last doubling; None for classes, for
            a single size, and where fewer than two networks at these sizes trained to the end.
        notes: what there was no time for.
    """

    sizes: Int[np.ndarray, " sizes"]
    errors: Float[np.ndarray, "sizes members"]
    training: Float[np.ndarray, "sizes members"]
    test_examples: int
    networks: Population = field(repr=False)
    model: Model = field(repr=False, compare=False)
    splits: Splits = field(repr=False, compare=False)
    farther: str | None = None
    trend: Trend | None = None
    notes: tuple[str, ...] = ()

    __repr__ = display.text

    @property
    def diverged(self) -> int:
        """Number of members that diverged."""
        return int(np.isnan(self.errors).sum())

    @cached_property
    def measured(self) -> tuple[Estimate, ...]:
        """The mean error at each size, with Student's interval over members: on these same held-out
        examples.
        """
        return tuple(repeated(each[~np.isnan(each)]) for each in self.errors)

    @cached_property
    def curve(self) -> Curves:
        """What is extrapolated."""
        return measured(self.sizes, self.errors, self.test_examples)

    @property
    def refused(self) -> str | None:
        """Why it cannot be extrapolated at all, or None."""
        return (
            "at some size all members diverged"
            if np.isnan(self.errors).all(1).any()
            else self.farther
        )

    @property
    def farther_sizes(self) -> tuple[int, ...]:
        """Two, four and eight times the largest size."""
        return tuple(int(factor * self.sizes[-1]) for factor in FACTORS)

    def findings(self, tolerance: float) -> tuple[Finding, ...]:
        """Whether more examples would lower the error by more than the tolerance, or for a
        regression whether the error still falls; nothing where members diverged.
        """
        if self.trend is not None:
            found = error_still_falls(self.trend, tolerance)
        elif self.farther is None and not self.diverged:
            found = more_data(self.curve, tolerance)
        else:
            return ()
        return applicable([found], self.networks[0].recipe, self.model, self.splits)

    def summary(self) -> dict[str, Any]:
        """The measurements in the types that JSON has."""
        return plain(
            {
                "sizes": self.sizes,
                "errors": self.errors,
                "training_errors": self.training,
                "measured": self.measured,
                "diverged": self.diverged,
                "trend": None if self.trend is None else self.trend._asdict(),
                "notes": self.notes,
            }
        )

    def predict(self, at: Sequence[float | int]) -> tuple[Estimate, ...]:
        """The errors at other sizes: `jaxnet.diagnostics.extrapolate`."""
        if self.refused is not None:
            return tuple(Estimate(math.nan, refused=self.refused) for _ in at)
        return predicted(self.curve, at)

    def needed(self, error: float | int) -> Needed:
        """How many examples it takes to reach an error: `jaxnet.diagnostics.examples_needed`."""
        if self.refused is None:
            return needed(self.curve, error)
        largest = int(self.sizes[-1])
        reached = (
            bool(np.nanmean(self.errors[-1]) <= error)
            if np.isfinite(self.errors[-1]).any()
            else False
        )
        return Needed(
            error,
            reached,
            largest if reached else None,
            largest,
            (),
            None if reached else self.refused,
        )


@renamed(watch="progress")
@showing(of_population)
def learning_curve(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: AnyKey,
    *,
    sizes: Sequence[int] | None = None,
    members: int = 8,
    seconds: float | None = None,
    loss: Loss | None = None,
    plan: Plan | None = None,
    out: str | Path | None = None,
    progress: Callable[[Progress], None] | Literal[False] | None = None,
) -> LearningCurve:
    """Measures the held-out error of networks trained on growing parts of the training set, and
    extrapolates it.

    Each network trains on the first examples of a random order of its own. All take equally many
    steps, and all are one compiled program.

    Args:
        model: the network.
        splits: the data. Errors are those of the test set, or of the validation set where the test
            set is empty.
        recipe: how each network is trained.
        key: the random key of the networks and of the orders of examples.
        sizes: growing numbers of training examples; by default from a 64th of the training set to
            all of it, each 1.4 times the one before; where examples belong to groups, as nearly
            as whole groups allow.
        members: number of networks per size.
        seconds: time to keep within on this machine, by training fewer networks per size, at least
            one. A few that are trained first show how long they take, and a call that goes on in
            `out` trains as many.
        loss: as in `fit_population`.
        plan: as in `fit_population`.
        out: as in `fit_population`.
        progress: as in `fit_population`.

    Returns:
        The errors by size: fractions of wrong predictions, or squared errors divided by the
        variance of y. `predict` extrapolates them to other sizes, and `needed` gives the number of
        examples for an error.

    Raises:
        InputError: for invalid arguments, for sizes that do not grow or exceed the training set,
            and where no examples are held out.

    References:
        Viering & Loog (2021), The shape of learning curves: a review, section 2.
    """
    arguments.check(model=model, splits=splits, recipe=recipe)
    arguments.check_in_memory(splits)
    variance = error_unit(splits.train)
    key = as_key("key", key)
    check_whole("members", members, most=1 << 20)
    check_seconds(seconds)
    n = len(splits.train)
    plain = isinstance(sizes, Sequence | np.ndarray) and all(np.ndim(size) == 0 for size in sizes)
    chosen = _sizes(splits.train) if sizes is None else np.asarray(sizes if plain else ())
    if (
        chosen.ndim != 1
        or chosen.dtype.kind not in "iu"
        or not chosen.size
        or not (np.diff(chosen) > 0).all()
        or chosen[0] < 1
    ):
        raise InputError(
            f"sizes are {shown(sizes)}; give growing whole numbers of training examples"
        )
    if chosen[-1] > n:
        raise InputError(
            f"the largest size is {chosen[-1]:,}, and there are {n:,} training examples; give "
            "smaller sizes"
        )
    held_out = splits.test if len(splits.test) else splits.validation
    if not len(held_out):
        raise InputError(
            "there are neither validation nor test examples; hold some out, else nothing can be "
            "said of unseen ones"
        )
    samples, chosen = _drawn(key, chosen, splits.train, members)

    def train(
        networks: int, progress: Callable[[Progress], None] | None, out: str | Path | None = None
    ) -> Population:
        numbers = np.arange(networks)
        return fit_population(
            model,
            splits,
            recipe,
            numbered(key, numbers),
            resample=samples.only(numbers),
            loss=loss,
            plan=plan,
            out=out,
            progress=progress,
            unseen=False,
        )

    wanted = members
    if seconds is not None:
        problem = Problem(model, splits, resolved(recipe, n), loss)
        folder = None if out is None else Path(out)
        most = networks_within(
            train, problem, members * len(chosen), seconds, plan=plan, out=folder
        )
        members = max(1, most // len(chosen))
    notes = ()
    if members < wanted:
        each = f"{members} of {wanted} networks were trained at each size"
        notes = (f"to keep within {seconds:g} s, {each}",)
    logger.info(
        "%d networks at each of %d sizes, from %s to %s examples%s",
        members,
        len(chosen),
        f"{chosen[0]:,}",
        f"{chosen[-1]:,}",
        "".join(f"; {note}" for note in notes),
    )
    population = train(members * len(chosen), progress or None, out)
    regression = not splits.counted
    y, found = np.asarray(held_out.y), np.full(len(population), np.nan)
    falls = np.zeros((members, len(held_out)))
    weights = last_doubling(chosen) if regression and len(chosen) > 1 else np.zeros(len(chosen))
    for rows, outputs in member_predictions([model], population, np.asarray(held_out.x), plan):
        if not regression:
            found[rows] = Predicted(outputs, y).losses(1.0).mean(1)
            continue
        squares = Predicted(outputs, y).losses(variance)
        found[rows] = squares.mean(1)
        for row, each in zip(rows, squares, strict=True):
            if weights[row % len(chosen)]:
                falls[row // len(chosen)] += weights[row % len(chosen)] * each
    training = _training(population, loss)
    found[population.diverged], training[population.diverged] = np.nan, np.nan
    in_order = (found.reshape(members, -1).T, training.reshape(members, -1).T)
    farther = (
        "predictions were validated for the error of classes only, not for "
        + ("several labels" if splits.schema.multi_label else "squared errors")
        if splits.classes is None
        else None
    )
    sound = np.isfinite(in_order[0][weights != 0]).all(0)
    still = None
    if weights.any() and sound.sum() > 1:
        still = trend(chosen, in_order[0][:, sound], falls[sound], held_out.groups)
    return LearningCurve(
        chosen, *in_order, len(held_out), population, model, splits, farther, still, notes
    )


def _sizes(train: Dataset) -> np.ndarray:
    """By default: from all examples down by factors of 1.4, each with more groups than the last."""
    n, most = len(train), units(train)
    fewer = np.unique((most / 2 ** (np.arange(MOST_SIZES + 1) / 2)).astype(np.int64))
    sizes = (fewer[fewer >= 1] * n) // most
    return sizes[sizes >= min(MIN_CURVE_EXAMPLES, n)]


def _drawn(
    key: Key[Array, ""], sizes: np.ndarray, train: Dataset, members: int
) -> tuple[Samples, np.ndarray]:
    """The samples of all members, and how many examples they have at each size: of whole groups, on
    average. Sizes that whole groups do not tell apart are drawn once.
    """
    samples = first(
        key, [int(size) for size in sizes], len(train), repeats=members, groups=train.groups
    )
    assert samples.count is not None
    means = np.rint(samples.count.reshape(members, -1).mean(0)).astype(np.int64)
    means, places = np.unique(means, return_index=True)
    return (
        (samples, means) if len(means) == len(sizes) else _drawn(key, sizes[places], train, members)
    )


def _training(population: Population, loss: Loss | None) -> np.ndarray:
    """(members,) errors on what they were trained on, as counted in their last epoch; NaN where
    that was of another loss.
    """
    run = population.run
    accuracy = run.history.train_accuracy
    if accuracy is None and loss is not None:
        return np.full(len(population), np.nan)
    errors = np.asarray(
        run.history.train_loss if accuracy is None else 1 - np.asarray(accuracy), np.float64
    )
    return np.take_along_axis(errors, np.maximum(population.epochs - 1, 0)[:, None], 1)[:, 0]
