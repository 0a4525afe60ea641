"""Reference methods: what error do other methods make on the same data?

A training error of 28% is high bias only where something else does better. So nearest neighbors,
extremely randomized trees and a wider network are trained and judged on the folds of a diagnosis:
each is trained without a fold, and judged on it.
"""

import functools
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Num

from jaxnet import arrays, display
from jaxnet.core.objective import forward
from jaxnet.core.recipe import Recipe
from jaxnet.core.training import Problem
from jaxnet.data import Dataset, Splits
from jaxnet.data.resampling import all_but
from jaxnet.engine import arguments
from jaxnet.errors import InputError, check_kind, check_known, check_number
from jaxnet.models.builtin import widened
from jaxnet.models.losses import Loss, check_loss
from jaxnet.models.model import Model, initial, input_shape, with_outputs
from jaxnet.population.fit import fit_population
from jaxnet.population.predictions import member_predictions
from jaxnet.random import AnyKey, as_key, generator
from jaxnet.runtime.plan import Plan
from jaxnet.stats.nearest_neighbor import bayes_error_bounds, residual_variance
from jaxnet.typing import ArrayLike

METHODS = ("neighbors", "trees", "network")
MIN_FOLDS, ENOUGH_FOLDS = 2, 4  # that a method is judged on

# How long methods take is counted, never measured, so that the same call judges the same methods on
# the same examples: seconds of a core of an AMD EPYC (AVX2).
OPERATION = 2e-11  # of a network or a matrix product
ACCELERATOR = 0.03  # of that, an operation of a network on a GPU or TPU
DISTANCE = 2e-8  # to compute and to compare a distance, besides the matrix product
TREE, SPLIT = 1e-3, 1.5e-8  # to begin a tree; for each feature tried at an example of a level
# A diagnosis of the smallest table takes 20 s, nearly all of it to start and to compile.
LEAST_SECONDS = 4.0

NUMBERS_OF_NEIGHBORS = (1, 3, 5, 9, 17, 33, 65, 129)
CHOOSING = 1000  # examples, at most, on which the number of neighbors is chosen
MIN_JUDGED = 500  # examples that neighbors are judged on, where there are as many
AT_ONCE = 20_000_000  # distances in memory

TREES, LEAVES = 50, (1, 5)  # trees of a forest; smallest numbers of examples in a leaf
MIN_TREE_EXAMPLES = 100  # that a forest is grown on

# Times as wide and times as long, the first that can be paid for.
WIDER = ((4, 2), (4, 1), (2, 2), (2, 1))

logger = logging.getLogger("jaxnet")


@dataclass(frozen=True)
class Reference:
    """What another method makes of examples that it was not trained on.

    Attributes:
        name: what the method is, in words.
        losses: (examples,) loss on each example of the training set: 0 or 1, or the squared error
            in variances of y; NaN where the method was not judged.
        seconds: how long it took.
        attainable: asymptotic limits of the smallest possible error, which follow from the mistakes
            of the nearest neighbor; None for other methods. No claim may rest on them.
    """

    name: str
    losses: Float[np.ndarray, " examples"]
    seconds: float
    attainable: tuple[float, float] | None = None

    __repr__ = display.text

    @property
    def error(self) -> float:
        """The mean loss of the examples that were judged."""
        return float(np.nanmean(self.losses))

    @property
    def judged(self) -> int:
        """The number of examples that were judged."""
        return int(np.isfinite(self.losses).sum())


@dataclass(frozen=True)
class Table:
    """The examples as the methods that are no networks take them.

    Attributes:
        x: (examples, features) standardized inputs; an image is one row.
        y: (examples,) class numbers or values.
        outputs: number of classes; 1 for values.
        variance: variance of the values; 1 for classes.
        fold_of: (examples,) fold of each example.
    """

    x: Float[np.ndarray, "examples features"]
    y: Num[np.ndarray, " examples"]
    outputs: int
    variance: float
    fold_of: Int[np.ndarray, " examples"]

    @property
    def classes(self) -> bool:
        """Whether y are class numbers."""
        return self.outputs > 1 or self.y.dtype.kind in "iu"

    @property
    def folds(self) -> int:
        """The number of folds."""
        return int(self.fold_of.max()) + 1

    def losses(self, predicted: np.ndarray, rows: np.ndarray) -> Float[np.ndarray, "..."]:
        """The losses of predictions (..., rows) on these rows."""
        if self.classes:
            return (predicted != self.y[rows]).astype(np.float64)
        return np.square(predicted - self.y[rows].astype(np.float64)) / self.variance


def reference_losses(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: AnyKey,
    fold_of: ArrayLike,
    *,
    methods: Sequence[str] = METHODS,
    seconds: float | int | None = None,
    loss: Loss | None = None,
    plan: Plan | None = None,
) -> tuple[Reference, ...]:
    """Compute the losses of other methods on examples that they were not trained on.

    The methods, in this order:

    - k nearest neighbors, of standardized inputs. The number of neighbors with which a fold is
      predicted is chosen on the other folds.
    - Extremely randomized trees, where scikit-learn is installed. The size of their leaves is
      chosen by out-of-bag error in the training folds.
    - A network 4 times as wide that is trained twice as long, where the model is built in; in
      place of a linear model, `mlp()` trained twice as long.

    What they cost is limited. It is counted in advance, from the number of operations, and never
    measured, so that equal arguments give equal results. Neighbors get at most a quarter of the
    limit, trees half of what is then left, and the network the rest; compilation is not counted.
    Neighbors are judged on fewer examples where that is not enough, trees and network on fewer
    folds. Trees are then grown on fewer examples if they would be judged on fewer than 4 folds, and
    the network is 2 to 4 times as wide and is trained 1 to 2 times as long; it is left out if it
    cannot be trained for 2 folds.

    Args:
        model: the model that is diagnosed.
        splits: the data, whose training set is the pool of the folds.
        recipe: how the model is trained.
        key: a random key, which decides what is drawn. The same example is judged with the same
            random numbers whatever else is judged.
        fold_of: (examples,) the fold of each example of the training set, from 0; at least 3.
        methods: which methods, some of "neighbors", "trees" and "network"; by default all.
        seconds: the limit, in seconds as `training_seconds` counts them; by default a fifth of
            what two networks for each fold cost, and at least 4 s, a fifth of what it takes to
            start and to compile a diagnosis.
        loss: as in `fit`, for the network.
        plan: as in `fit_population`, for the network.

    Returns:
        The methods that could be judged. Folds whose network diverged are not judged; a class that
        is not a number counts as wrong.

    Raises:
        InputError: for arguments that cannot be meant.

    References:
        Geurts, Ernst & Wehenkel 2006, "Extremely randomized trees".
    """
    arguments.check(model=model, splits=splits, recipe=recipe)
    key = as_key("key", key)
    check_loss(loss)
    arguments.check_surroundings(None, None, plan)
    check_kind("methods", methods, list | tuple, "a list of methods, such as ['neighbors']")
    for each in methods:
        check_known("method", each, METHODS)
    check_kind("splits.train", splits.train, Dataset, "a training set in memory")
    folds = _fold_numbers(fold_of, len(splits.train))
    count = int(folds.max()) + 1
    problem = Problem(model, splits, recipe, loss)
    if seconds is None:
        seconds = max(LEAST_SECONDS, 2 * count * training_seconds(problem) / 5)
    elif not check_number("seconds", seconds) >= 0:
        raise InputError(f"seconds is {seconds}; give a number of at least 0")
    left = float(seconds)
    table = _table(splits, folds)
    found = list[Reference]()
    judge: dict[str, tuple[float, Callable[..., tuple[Reference | None, float]]]] = {
        "neighbors": (1 / 4, functools.partial(_neighbors, table, key)),
        "trees": (1 / 2, functools.partial(_trees, table, key)),
        "network": (1.0, functools.partial(_network, problem, table, key, plan=plan)),
    }
    for name in METHODS:
        if name in methods:
            share, method = judge[name]
            began = time.perf_counter()
            reference, cost = method(share * left)
            left -= cost
            if reference is not None:
                found.append(replace(reference, seconds=time.perf_counter() - began))
                logger.info(
                    "%s: judged on %d of %d examples",
                    reference.name,
                    reference.judged,
                    len(table.y),
                )
    return tuple(found)


def _fold_numbers(fold_of: ArrayLike, examples: int) -> Int[np.ndarray, " examples"]:
    """Check the fold of each example."""
    found = arrays.array("fold_of", fold_of, arrays.EXAMPLE_AXES)
    if found.shape != (examples,) or found.dtype.kind not in "iu":
        raise InputError(
            f"fold_of has shape {found.shape} and type {found.dtype}; give one whole number for "
            f"each of {examples} training examples"
        )
    if not np.array_equal(present := np.unique(found), np.arange(len(present))) or len(present) < 3:
        raise InputError(
            f"fold_of has folds {display.visible(str(present.tolist()[:8]))}; number at least 3 "
            "folds from 0, and leave none empty"
        )
    return found.astype(np.int64)


def _table(splits: Splits, fold_of: Int[np.ndarray, " examples"]) -> Table:
    """Standardize the inputs on the host, which compiles nothing."""
    train, own = splits.train, splits.standardization
    held = np.asarray(own.held(np.asarray(train.x)), np.float32)
    x = (held - np.asarray(own.mean)) / np.asarray(own.scale)
    y = np.asarray(train.y)
    regression = train.classes is None
    return Table(
        x=x.reshape(len(x), -1),
        y=y.astype(np.float64 if regression else np.int64),
        outputs=train.outputs,
        variance=float(np.var(y, dtype=np.float64)) if regression else 1.0,
        fold_of=fold_of,
    )


def _neighbors(table: Table, key: Key[Array, ""], limit: float) -> tuple[Reference, float]:
    """Judge nearest neighbors; return them and what they cost."""
    n, features = table.x.shape
    each = n * (2 * features * OPERATION + DISTANCE)
    count = min(n, max(MIN_JUDGED, int(limit / each)))
    rows = generator(key, "references").permutation(n)[:count]
    sizes = np.sort(np.bincount(table.fold_of))[::-1]
    most = n - int(sizes[:2].sum())  # that any two folds leave, for choosing
    numbers = [k for k in NUMBERS_OF_NEIGHBORS if k <= most] or [1]
    # twice as many, so that enough are left where another fold is left out
    near = _nearest(table, rows, min(2 * numbers[-1], n - int(sizes[0])))
    losses = _votes(table, rows, near, numbers)
    chosen = np.zeros(table.folds, np.int64)
    some, some_near = rows[:CHOOSING], near[:CHOOSING]
    for fold in range(table.folds):
        own = table.fold_of[some] != fold
        error = _mean(_votes(table, some[own], some_near[own], numbers, without=fold))
        chosen[fold] = int(np.argmin(error))
    found = np.full(n, np.nan)
    found[rows] = losses[np.arange(len(rows)), chosen[table.fold_of[rows]]]
    first = table.y[near[:, 0]]
    if table.classes:
        attainable = bayes_error_bounds(
            float((first != table.y[rows]).mean()), max(2, table.outputs)
        )
    else:
        variance = residual_variance(table.y[rows], first) / table.variance
        attainable = (variance, variance)
    ks = sorted({numbers[place] for place in chosen.tolist()})
    words = f"k = {ks[0]}" if len(ks) == 1 else f"k = {ks[0]} to {ks[-1]}"
    return Reference(f"nearest neighbors ({words})", found, 0.0, attainable), count * each


def _nearest(
    table: Table, rows: Int[np.ndarray, " rows"], most: int
) -> Int[np.ndarray, "rows neighbors"]:
    """Find the nearest examples of other folds, the nearest first.

    Args:
        table: the examples.
        rows: (rows,) numbers of the examples whose neighbors are wanted.
        most: how many neighbors.

    Returns:
        (rows, most) numbers of examples.
    """
    squares = np.square(table.x).sum(1)
    found = np.empty((len(rows), most), np.int64)
    for fold in np.unique(table.fold_of[rows]):
        others = np.flatnonzero(table.fold_of != fold)
        base, lengths = table.x[others], squares[others]
        own = np.flatnonzero(table.fold_of[rows] == fold)
        for part in np.array_split(own, -(-len(own) * len(others) // AT_ONCE)):
            # the squared distance, without the length of the row itself, which all share
            distances = table.x[rows[part]] @ base.T
            distances *= -2
            distances += lengths
            near = np.argpartition(distances, most - 1, axis=1)[:, :most]
            order = np.argsort(np.take_along_axis(distances, near, 1), axis=1, kind="stable")
            found[part] = others[np.take_along_axis(near, order, 1)]
    return found


def _votes(
    table: Table,
    rows: Int[np.ndarray, " rows"],
    near: Int[np.ndarray, "rows neighbors"],
    numbers: Sequence[int],
    without: int | None = None,
) -> Float[np.ndarray, "rows numbers"]:
    """Compute the losses of the vote, or of the mean, of the k nearest neighbors, for several k.

    Args:
        table: the examples.
        rows: (rows,) numbers of the examples that are predicted.
        near: (rows, neighbors) numbers of their neighbors, the nearest first.
        numbers: the k, in ascending order.
        without: a fold whose examples are no neighbors.

    Returns:
        (rows, numbers) losses; NaN where there is no neighbor. Of classes with equally many votes,
        the first one wins.
    """
    out = table.fold_of[near] == without
    order = np.argsort(out, axis=1, kind="stable")  # those that are left out come last
    own = table.y[np.take_along_axis(near, order, 1)]
    there = np.arange(near.shape[1]) < (~out).sum(1)[:, None]
    losses, index = np.empty((len(rows), len(numbers))), np.arange(len(rows))
    sums = np.zeros((len(rows), max(2, table.outputs) if table.classes else 1))
    for column, (before, k) in enumerate(zip((0, *numbers), numbers, strict=False)):
        for each in range(before, min(k, near.shape[1])):
            if table.classes:
                sums[index, own[:, each]] += there[:, each]
            else:
                sums[:, 0] += own[:, each] * there[:, each]
        used = np.maximum(1, there[:, :k].sum(1))
        predicted = sums.argmax(1) if table.classes else sums[:, 0] / used
        losses[:, column] = table.losses(predicted, rows)
    losses[out.all(1)] = np.nan
    return losses


def _mean(losses: Float[np.ndarray, "rows numbers"]) -> Float[np.ndarray, " numbers"]:
    """Compute the mean over the rows that have losses; 0 where none has."""
    known = np.isfinite(losses)
    return np.where(known, losses, 0.0).sum(0) / np.maximum(1, known.sum(0))


def _trees(table: Table, key: Key[Array, ""], limit: float) -> tuple[Reference | None, float]:
    """Judge extremely randomized trees; return them, or None, and what they cost."""
    try:
        from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
    except ImportError:
        logger.info("extremely randomized trees are left out: scikit-learn is not installed")
        return None, 0.0
    n, features = table.x.shape
    tried = max(1, math.isqrt(features)) if table.classes else features

    def cost(examples: int) -> float:
        forests = TREES * len(LEAVES)
        return forests * (TREE + SPLIT * tried * examples * math.log2(max(2, examples)))

    whole = n - int(np.bincount(table.fold_of).max())
    smaller = [whole]
    while smaller[-1] > MIN_TREE_EXAMPLES:
        smaller.append(int(0.8 * smaller[-1]))
    enough = min(ENOUGH_FOLDS, table.folds)
    examples = next((each for each in smaller if enough * cost(each) <= limit), whole)
    folds = min(table.folds, int(limit / cost(examples)))
    if folds < MIN_FOLDS:
        return None, 0.0
    kind = ExtraTreesClassifier if table.classes else ExtraTreesRegressor
    found = np.full(n, np.nan)
    for fold in range(folds):
        rng = generator(key, "references", fold, 1)
        rows = np.flatnonzero(table.fold_of != fold)
        if examples < whole:
            rows = np.sort(rng.permutation(rows)[:examples])
        seed = int(rng.integers(2**31))
        grown = [
            kind(
                TREES,
                min_samples_leaf=leaf,
                bootstrap=True,
                oob_score=True,
                random_state=seed,
                n_jobs=-1,
            ).fit(table.x[rows], table.y[rows])
            for leaf in LEAVES
        ]
        best = max(grown, key=lambda forest: forest.oob_score_)
        judged = np.flatnonzero(table.fold_of == fold)
        found[judged] = table.losses(best.predict(table.x[judged]), judged)
    words = "" if examples == whole else f" (grown on {examples:,} examples)"
    return Reference("extremely randomized trees" + words, found, 0.0), folds * cost(examples)


def _network(
    problem: Problem, table: Table, key: Key[Array, ""], limit: float, *, plan: Plan | None
) -> tuple[Reference | None, float]:
    """Judge a wider network; return it, or None, and what it costs."""
    affordable = []
    for width, length in WIDER:
        wider = widened(problem.model, width)
        if wider is None:
            return None, 0.0
        longer = replace(problem.recipe, epochs=length * problem.recipe.epochs)
        each = training_seconds(replace(problem, model=wider, recipe=longer))
        affordable.append((min(table.folds, int(limit / each)), each, width, length, wider, longer))
    for wanted in (min(ENOUGH_FOLDS, table.folds), MIN_FOLDS):
        for folds, each, width, length, wider, longer in affordable:
            if folds >= wanted:
                losses = _network_losses(
                    replace(problem, model=wider, recipe=longer), table, key, folds, plan
                )
                words = _words(problem.model, width, length)
                found = None if losses is None else Reference(words, losses, 0.0)
                return found, folds * each
    return None, 0.0


def _words(model: Model, width: int, length: int) -> str:
    """What the wider network is."""
    layers = widened(model, 1)
    what = f"a network {width} times as wide"
    if layers is not None and layers.name != model.name:  # a linear model has nothing to widen
        what = "a network with hidden layers"
    return what + (", trained twice as long" if length == 2 else "")


def _network_losses(
    problem: Problem, table: Table, key: Key[Array, ""], folds: int, plan: Plan | None
) -> Float[np.ndarray, " examples"] | None:
    """Train a network without each of the first folds, and judge it there; None where fewer than
    two of them do not diverge.
    """
    seeds = generator(key, "references", 2).integers(2**31, size=table.folds)[:folds]
    keys = jnp.stack([jax.random.key(int(seed)) for seed in seeds])
    population = fit_population(
        problem.model,
        problem.splits,
        problem.recipe,
        keys,
        resample=all_but(table.fold_of, range(folds)),
        loss=problem.loss,
        plan=plan,
    )
    rows = np.flatnonzero(table.fold_of < folds)
    x = np.asarray(problem.splits.train.x)[rows]
    found, sound = np.full(len(table.y), np.nan), 0
    for members, outputs in member_predictions([problem.model], population, x, plan):
        for member, each in zip(members.tolist(), outputs, strict=True):
            own = table.fold_of[rows] == member
            outputs_there, judged = each[own], rows[own]
            finite = np.isfinite(outputs_there)
            lost = ~finite.any() if table.classes else ~finite.all()
            if lost or population.diverged[member]:
                logger.info("the network without fold %d diverged", member)
                continue
            predicted = arrays.chosen(outputs_there) if table.classes else outputs_there
            found[judged] = table.losses(predicted, judged)
            sound += 1
    return found if sound >= MIN_FOLDS else None


def training_seconds(problem: Problem) -> float:
    """Count how long one training takes, from the number of its operations: forward, and backward
    to inputs and to kernels.

    Args:
        problem: what is trained.

    Returns:
        Seconds of a CPU core, without compilation, the same on every machine with the same kind of
        device.
    """
    splits, recipe = problem.splits, problem.recipe
    model = with_outputs(problem.model, splits.train.outputs)
    params, model_state = jax.eval_shape(
        functools.partial(initial, model), jax.random.key(0), input_shape(splits)
    )
    x = jax.ShapeDtypeStruct((problem.batch_size, *splits.train.x.shape[1:]), jnp.float32)
    run = jax.jit(functools.partial(forward, model, precision=recipe.precision))
    counted = run.lower(params, model_state, x).cost_analysis() or {}
    operations = 3.0 * float(counted.get("flops", 0.0)) * recipe.epochs * problem.steps
    return operations * OPERATION * (1.0 if jax.default_backend() == "cpu" else ACCELERATOR)
