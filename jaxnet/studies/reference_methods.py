"""Reference methods: what error do other methods make on the same data?

A training error of 28% is high bias only where something else does better. So nearest neighbors,
extremely randomized trees and a wider network are trained and judged on the folds of a diagnosis:
each is trained without a fold, and judged on it.
"""

import logging
import math
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, Num

from jaxnet import arrays, display
from jaxnet.core.training import Problem
from jaxnet.data import Dataset, Splits
from jaxnet.data.resampling import all_but
from jaxnet.errors import InputError, check_kind, check_known, check_number
from jaxnet.models.builtin import is_linear, widened
from jaxnet.population.fit import fit_population
from jaxnet.population.predictions import member_predictions
from jaxnet.random import AnyKey, as_key, generator
from jaxnet.runtime.plan import Plan
from jaxnet.runtime.processes import cores
from jaxnet.stats.nearest_neighbor import bayes_error_bounds, nearest, predict, residual_variance
from jaxnet.studies.trained import operations
from jaxnet.typing import ArrayLike

METHODS = ("neighbors", "trees", "network")
MIN_FOLDS, ENOUGH_FOLDS = 2, 4  # that trees and a network are judged on

# How long methods take is counted, never measured, so that the same call judges the same methods on
# the same examples: seconds of a core of an AMD EPYC (AVX2).
OPERATION = 2e-11  # of a network or a matrix product
ACCELERATOR = 0.03  # of that, an operation of a network on a GPU or TPU
DISTANCE = 2e-8  # to compute and to compare a distance, besides the matrix product
TREE, SPLIT = 1e-3, 1.5e-8  # to begin a tree; for each feature tried at an example of a level
# A diagnosis of a small table takes 15 s, nearly all of it to start and to compile.
LEAST_SECONDS = 3.0

NUMBERS_OF_NEIGHBORS = (1, 3, 5, 9, 17, 33, 65, 129)
CHOOSING = 1000  # examples, at most, on which the number of neighbors is chosen
MIN_JUDGED = 500  # examples that neighbors are judged on, where there are as many

TREES, TRIED_TREES = 50, 20  # trees of a forest; of each kind of forest that is tried
FIRST_KINDS = 2  # kinds of forests that are tried even where time is short
MIN_TREE_EXAMPLES = 100  # that a forest is grown on

MOST_INDICATORS = 5_000  # inputs of 0 or 1 that other methods get for tokens

WIDER = ((4, 2), (4, 1), (2, 2), (2, 1))  # times as wide, and times as long; the best first

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
    """The examples for methods other than networks.

    Attributes:
        x: (examples, features) standardized inputs; an image is one row.
        y: (examples,) class numbers or values; (examples, columns) of several values, or 0 and 1 of
            several labels, which methods predict like values.
        classes: number of classes; None for values and for several labels.
        fold_of: (examples,) fold of each example.
        weights: (examples,) how much each example counts where methods are trained; None for 1.
        yes_no: whether values are answers to yes/no questions: above one half is yes.
    """

    x: Float[np.ndarray, "examples features"]
    y: Num[np.ndarray, "examples ..."]
    classes: int | None
    fold_of: Int[np.ndarray, " examples"]
    weights: Float[np.ndarray, " examples"] | None = None
    yes_no: bool = False

    @property
    def folds(self) -> int:
        """The number of folds."""
        return int(self.fold_of.max()) + 1

    @cached_property
    def variance(self) -> Any:
        """The variance of the values, (columns,) of several; 1 for classes and labels."""
        if self.classes is not None or self.yes_no:
            return 1.0
        return self.y.var(0) if self.y.ndim == 2 else float(self.y.var())

    def losses(
        self, predicted: Num[np.ndarray, "rows ..."], rows: Int[np.ndarray, " rows"]
    ) -> Float[np.ndarray, "rows ..."]:
        """Compute the losses of predictions for these examples; of several columns the means."""
        if self.y.ndim == 2:
            y = self.y[rows].reshape(len(rows), *[1] * (predicted.ndim - 2), -1)
            if self.yes_no:
                return ((predicted > 0.5) != (y == 1)).mean(-1)
            return (np.square(predicted - y) / self.variance).mean(-1)
        y = self.y[rows].reshape(-1, *[1] * (predicted.ndim - 1))
        if self.classes is not None:
            return (predicted != y).astype(np.float64)
        return np.square(predicted - y) / self.variance

    def predict(
        self,
        near: Int[np.ndarray, "rows neighbors"],
        allowed: Bool[np.ndarray, "rows neighbors"],
        numbers: Sequence[int],
    ) -> Num[np.ndarray, "rows numbers ..."]:
        """Predict with the neighbors that are allowed, for several numbers of them."""
        weights = None if self.weights is None else self.weights[near]
        if self.y.ndim == 2:
            columns = [
                predict(column[near], allowed, numbers, None, weights) for column in self.y.T
            ]
            return np.stack(columns, -1)
        return predict(self.y[near], allowed, numbers, self.classes, weights)

    def loss_of(
        self, predicted: Num[np.ndarray, "rows ..."], rows: Int[np.ndarray, " rows"]
    ) -> Float[np.ndarray, "..."]:
        """Compute the mean loss of predictions, by which sizes of a method are chosen."""
        weights = None if self.weights is None else self.weights[rows]
        return np.asarray(np.average(self.losses(predicted, rows), axis=0, weights=weights))


def reference_losses(
    problem: Problem,
    key: AnyKey,
    fold_of: ArrayLike,
    *,
    methods: Sequence[str] = METHODS,
    seconds: float | int | None = None,
    plan: Plan | None = None,
) -> tuple[Reference, ...]:
    """Compute the losses of other methods on examples that they were not trained on.

    The methods, in this order:

    - k nearest neighbors, of standardized inputs; of tokens, those with the same id in the most
      places. The number of neighbors with which a fold is
      predicted is chosen on the other folds.
    - Extremely randomized trees, where scikit-learn is installed. The size of their leaves, and
      for classes how many features are tried at each split, is chosen by out-of-bag error in the
      training folds.
    - A network 4 times as wide that is trained twice as long, where the model is built in; in
      place of a linear model, `mlp()` trained twice as long.

    What they cost is limited. It is counted in advance, from the number of operations, and never
    measured, so that equal arguments give equal results. Neighbors get at most a quarter of the
    limit, trees half of what is then left, and the network the rest; compilation is not counted.
    Where that is not enough,

    - neighbors are judged on fewer examples, at least 500;
    - fewer kinds of trees are tried, and they are judged on 4 folds or more, if need be of trees
      that are grown on fewer examples, or on 2 or 3 folds;
    - four networks are tried: 4 times as wide and trained twice as long; 4 times as wide; 2 times
      as wide and trained twice as long; 2 times as wide. The first one is trained that can be
      trained for all folds, or else for 4, or for 2. (The interval of an error that is judged on 4
      of 8 folds can be twice as wide.)

    Args:
        problem: the training that is diagnosed. Its training set is the pool of the folds; its
            weights count where the other methods are trained, and their losses are not weighted.
        key: a random key, which decides what is drawn. The same example is judged with the same
            random numbers whatever else is judged.
        fold_of: (examples,) the fold of each example of the training set, from 0; at least 3.
        methods: which methods, some of "neighbors", "trees" and "network"; by default all.
        seconds: the limit, in seconds as `training_seconds` counts them; by default a fifth of
            what two networks for each fold cost, and at least 3 s, a fifth of what it takes to
            start and to compile a diagnosis.
        plan: as in `fit_population`, for the network.

    Returns:
        The methods that could be judged. Folds whose network diverged are not judged; a class that
        is not a number counts as wrong.

    Raises:
        InputError: for invalid arguments.

    References:
        Geurts, Ernst & Wehenkel 2006, "Extremely randomized trees"; its section 3.1 for why more
        features are tried at a split where many of them say nothing.
    """
    key, splits = as_key("key", key), problem.splits
    assert isinstance(splits, Splits)
    check_kind("methods", methods, list | tuple, "a list of methods, such as ['neighbors']")
    for each in methods:
        check_known("method", each, METHODS)
    check_kind("splits.train", splits.train, Dataset, "a training set in memory")
    folds = _fold_numbers(fold_of, len(splits.train))
    count = int(folds.max()) + 1
    if seconds is None:
        seconds = max(LEAST_SECONDS, 2 * count * training_seconds(problem) / 5)
    elif not check_number("seconds", seconds) >= 0:
        raise InputError(f"seconds is {seconds}; give a number of at least 0")
    if splits.train.schema.tokens:
        inputs = _count_indicators(splits.train)
        if inputs > MOST_INDICATORS:
            logger.info("no other methods: tokens would be %d inputs of 0 or 1 for them", inputs)
            return ()
        logger.info("other methods get tokens as %d inputs of 0 or 1", inputs)
    table = _table(splits, folds, problem.weights)
    left, found = float(seconds), list[Reference]()
    for name in METHODS:
        if name not in methods:
            continue
        began = time.perf_counter()
        match name:
            case "neighbors":
                reference, cost = judge_neighbors(table, key, left / 4)
            case "trees":
                reference, cost = judge_trees(table, key, left / 2)
            case _:
                reference, cost = judge_network(problem, table, key, left, plan)
        left -= cost
        if reference is not None:
            found.append(replace(reference, seconds=time.perf_counter() - began))
            logger.info(
                "%s: errors measured on %s of %s examples",
                reference.name,
                f"{reference.judged:,}",
                f"{len(table.y):,}",
            )
    return tuple(found)


def _count_indicators(train: Dataset) -> int:
    return math.prod(train.x.shape[1:]) * (train.vocabulary or 0)


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
            f"fold_of has folds {present.tolist()[:8]}; number at least 3 folds from 0, and leave "
            "none empty"
        )
    return found.astype(np.int64)


def _table(
    splits: Splits, fold_of: Int[np.ndarray, " examples"], weights: ArrayLike | None
) -> Table:
    """Standardize the inputs on the host, which compiles nothing; tokens become indicators."""
    train, own = splits.train, splits.standardization
    if train.schema.tokens:
        x = indicators(train)
    else:
        held = np.asarray(own.held(np.asarray(train.x)), np.float32)
        x = (held - np.asarray(own.mean)) / np.asarray(own.scale)
    of_values = train.classes is None
    return Table(
        x=x.reshape(len(x), -1),
        y=np.asarray(train.y).astype(np.float64 if of_values else np.int64),
        classes=None if of_values else train.outputs,
        fold_of=fold_of,
        yes_no=train.schema.multi_label,
        weights=None if weights is None else np.asarray(weights, np.float64),
    )


def indicators(train: Dataset) -> Float[np.ndarray, "examples features"]:
    """Make an input of 1 or 0 for each place and id of tokens: whether the id is there.

    Args:
        train: examples with tokens.
    """
    x = np.asarray(train.x).reshape(len(train), -1)
    made = x[:, :, None] == np.arange(train.vocabulary or 0)
    return made.reshape(len(x), -1).astype(np.float32)


def judge_neighbors(
    table: Table, key: Key[Array, ""], seconds: float, numbers: Sequence[int] = NUMBERS_OF_NEIGHBORS
) -> tuple[Reference, float]:
    """Judge nearest neighbors.

    Args:
        table: the examples.
        key: draws the examples that are judged.
        seconds: the limit; at least 500 examples are judged, if there are as many.
        numbers: numbers of neighbors to choose from, in ascending order.

    Returns:
        (the losses, what they cost).
    """
    n, features = table.x.shape
    each = n * (2 * features * OPERATION + DISTANCE)
    count = min(n, max(MIN_JUDGED, int(seconds / each)))
    rows = generator(key, "references").permutation(n)[:count]
    sizes = np.sort(np.bincount(table.fold_of))[::-1]
    most = n - int(sizes[:2].sum())  # that any two folds leave, for choosing
    numbers = [k for k in numbers if k <= most] or [most]
    # twice as many, so that enough are left where another fold is left out
    near = nearest(table.x, table.fold_of, rows, min(2 * numbers[-1], n - int(sizes[0])))
    chosen = _choose_numbers(table, rows[:CHOOSING], near[:CHOOSING], numbers)
    losses, every = np.full(n, np.nan), np.ones(near.shape, bool)
    own = table.losses(table.predict(near, every, numbers), rows)
    losses[rows] = own[np.arange(len(rows)), chosen[table.fold_of[rows]]]
    attainable = _attainable(table, rows, near[:, 0])
    ks = sorted({numbers[place] for place in chosen.tolist()})
    words = f"k = {ks[0]}" if len(ks) == 1 else f"k = {ks[0]} to {ks[-1]}"
    return Reference(f"nearest neighbors ({words})", losses, 0.0, attainable), count * each


def _attainable(
    table: Table, rows: Int[np.ndarray, " rows"], nearest_rows: Int[np.ndarray, " rows"]
) -> tuple[float, float]:
    """The asymptotic limits of the smallest possible error; of several columns the means of
    theirs.
    """
    if table.y.ndim == 2:
        labels = 2 if table.yes_no else None
        each = [
            _attainable(
                replace(table, y=column.astype(int) if labels else column, classes=labels),
                rows,
                nearest_rows,
            )
            for column in table.y.T
        ]
        low, high = np.mean(each, 0).tolist()
        return low, high
    y, first = table.y[rows], table.y[nearest_rows]
    if table.classes is not None:
        return bayes_error_bounds(float((first != y).mean()), max(2, table.classes))
    variance = residual_variance(y, first) / table.variance
    return variance, variance


def _choose_numbers(
    table: Table,
    rows: Int[np.ndarray, " rows"],
    near: Int[np.ndarray, "rows neighbors"],
    numbers: Sequence[int],
) -> Int[np.ndarray, " folds"]:
    """Choose a number of neighbors for each fold: the one that errs least on examples of the other
    folds, whose neighbors lie in other folds than their own and than that one.

    Returns:
        (folds,) places in numbers.
    """
    chosen = np.zeros(table.folds, np.int64)
    for fold in range(table.folds):
        allowed = table.fold_of[near] != fold
        some = np.flatnonzero((table.fold_of[rows] != fold) & allowed.any(1))
        if len(some):
            predicted = table.predict(near[some], allowed[some], numbers)
            chosen[fold] = table.loss_of(predicted, rows[some]).argmin()
    return chosen


def judge_trees(
    table: Table, key: Key[Array, ""], seconds: float
) -> tuple[Reference | None, float]:
    """Judge extremely randomized trees.

    Args:
        table: the examples.
        key: grows the trees.
        seconds: the limit.

    Returns:
        (the losses, what they cost); None without scikit-learn, and where the limit is too low.
    """
    try:
        from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
    except ImportError:
        logger.info("extremely randomized trees are left out: scikit-learn is not installed")
        return None, 0.0
    n, features = table.x.shape
    whole = n - int(np.bincount(table.fold_of).max())
    kinds, folds, examples, cost = plan_trees(
        whole, kinds_of_forests(features, table.classes), table.folds, seconds
    )
    if folds < MIN_FOLDS:
        logger.info("extremely randomized trees are left out: they would take too long")
        return None, 0.0
    method = ExtraTreesRegressor if table.classes is None else ExtraTreesClassifier
    beside = min(folds, cores())  # folds at a time, since the trees of one fold keep waiting

    def of_fold(fold: int) -> tuple[np.ndarray, np.ndarray]:
        rng = generator(key, "references", fold, 1)
        rows = np.flatnonzero(table.fold_of != fold)
        if examples < whole:
            rows = np.sort(rng.permutation(rows)[:examples])
        seed = int(rng.integers(2**31))
        grown: dict[str, Any] = {"random_state": seed, "n_jobs": max(1, cores() // beside)}
        weights = None if table.weights is None else table.weights[rows]
        known = table.x[rows], table.y[rows], weights
        # out of bag, examples show which kind is better
        forests = [
            method(
                TRIED_TREES,
                max_features=tried,
                min_samples_leaf=leaf,
                bootstrap=True,
                oob_score=True,
                **grown,
            ).fit(*known)
            for tried, leaf in kinds
        ]
        found = [table.loss_of(_out_of_bag(forest), rows) for forest in forests]
        tried, leaf = kinds[int(np.argmin(found))]
        best = method(TREES, max_features=tried, min_samples_leaf=leaf, **grown).fit(*known)
        best.set_params(n_jobs=1)  # several threads would add up the trees in any order
        judged = np.flatnonzero(table.fold_of == fold)
        return judged, table.losses(best.predict(table.x[judged]), judged)

    losses = np.full(n, np.nan)
    with warnings.catch_warnings(), ThreadPoolExecutor(beside) as pool:
        # that many classes look like values, and that few trees leave an example out of no bag
        warnings.simplefilter("ignore", UserWarning)
        for judged, found in pool.map(of_fold, range(folds)):
            losses[judged] = found
    words = "" if examples == whole else f" (grown on {examples:,} examples)"
    return Reference("extremely randomized trees" + words, losses, 0.0), cost


def kinds_of_forests(features: int, classes: int | None) -> tuple[tuple[int, int], ...]:
    """List kinds of forests to choose from: (features that are tried at each split, fewest examples
    in a leaf), the least expensive ones first.

    Args:
        features: number of features.
        classes: number of classes; None for values.
    """
    if classes is None:
        return (features, 1), (features, 5), (features, 20)
    some = max(1, math.isqrt(features))
    return (some, 1), (some, 5), (features, 5), (features, 20)


def _out_of_bag(forest: Any) -> Num[np.ndarray, "examples ..."]:
    """What a forest of scikit-learn predicts for its examples by the trees that did not see
    them.
    """
    if hasattr(forest, "oob_prediction_"):
        return forest.oob_prediction_
    return forest.classes_[forest.oob_decision_function_.argmax(1)]


def plan_trees(
    examples: int, kinds: Sequence[tuple[int, int]], folds: int, seconds: float
) -> tuple[Sequence[tuple[int, int]], int, int, float]:
    """Plan which kinds of trees are tried and on how many folds they are judged: all kinds where
    there is time to judge them on all folds; else the first ones, on 4 folds at least, if need be
    of trees that are grown on fewer examples.

    Args:
        examples: number of examples outside of a fold.
        kinds: the kinds of forests, as of `kinds_of_forests`.
        folds: number of folds.
        seconds: the limit.

    Returns:
        (kinds, number of folds, number of examples, what it costs).
    """

    def cost(kinds: Sequence[tuple[int, int]], examples: int) -> float:
        each = [TREE + SPLIT * tried * examples * math.log2(max(2, examples)) for tried, _ in kinds]
        return TRIED_TREES * sum(each) + TREES * max(each)

    enough = min(ENOUGH_FOLDS, folds)
    if folds * cost(kinds, examples) > seconds:  # an interval from few folds is wide
        kinds = kinds[:FIRST_KINDS]
    smaller = [examples]
    while smaller[-1] > MIN_TREE_EXAMPLES:
        smaller.append(int(0.8 * smaller[-1]))
    some = next((each for each in smaller if enough * cost(kinds, each) <= seconds), examples)
    folds = min(folds, int(seconds / cost(kinds, some)))
    return kinds, folds, some, folds * cost(kinds, some)


def judge_network(
    problem: Problem, table: Table, key: Key[Array, ""], seconds: float, plan: Plan | None = None
) -> tuple[Reference | None, float]:
    """Judge a wider network that is trained for longer.

    Args:
        problem: the network that is diagnosed.
        table: the examples.
        key: makes the networks.
        seconds: the limit.
        plan: as in `fit_population`.

    Returns:
        (the losses, what they cost); None for models that are not built in, where the limit is too
        low, and where fewer than two networks do not diverge.
    """
    wider = [_wider(problem, width, length) for width, length in WIDER]
    sound = [each for each in wider if each is not None]
    costs = [training_seconds(each) for each in sound]
    which, folds = plan_network(costs, table.folds, seconds)
    if which is None:
        why = "it would take too long" if costs else "the model is not a built-in one"
        logger.info("a wider network is left out: %s", why)
        return None, 0.0
    losses = _network_losses(sound[which], table, key, folds, plan)
    (width, length), cost = WIDER[which], folds * costs[which]
    if losses is None:
        return None, cost
    # a linear model has nothing to widen
    kind = "with hidden layers" if is_linear(problem.model) else f"{width} times as wide"
    words = f"a network {kind}" + (", trained twice as long" if length == 2 else "")
    return Reference(words, losses, 0.0), cost


def plan_network(costs: Sequence[float], folds: int, seconds: float) -> tuple[int | None, int]:
    """Plan which network is trained, and for how many folds: the first one that can be paid for
    all folds, or else for 4, or for 2.

    Args:
        costs: what each network costs for one fold.
        folds: number of folds.
        seconds: the limit.

    Returns:
        (place in costs, number of folds); (None, 0) where none can be paid.
    """
    for enough in (folds, min(ENOUGH_FOLDS, folds), MIN_FOLDS):
        for which, cost in enumerate(costs):
            if enough * cost <= seconds:
                return which, min(folds, int(seconds / cost)) if cost else folds
    return None, 0


def _wider(problem: Problem, width: int, length: int) -> Problem | None:
    """The same training of a wider network, for longer."""
    model = widened(problem.model, width)
    recipe = replace(problem.recipe, epochs=length * problem.recipe.epochs)
    return None if model is None else replace(problem, model=model, recipe=recipe)


def _network_losses(
    problem: Problem, table: Table, key: Key[Array, ""], folds: int, plan: Plan | None
) -> Float[np.ndarray, " examples"] | None:
    """Train a network without each of the first folds, and judge it there; None where fewer than
    two of them do not diverge.
    """
    seeds = generator(key, "references", 2).integers(2**31, size=table.folds)[:folds]
    samples = all_but(table.fold_of, range(folds))
    if table.weights is not None:
        samples = samples.reweighted(table.weights)
    population = fit_population(
        problem.model,
        problem.splits,
        problem.recipe,
        jnp.stack([jax.random.key(int(seed)) for seed in seeds]),
        resample=samples,
        loss=problem.loss,
        plan=plan,
    )
    rows = np.flatnonzero(table.fold_of < folds)
    x = np.asarray(problem.splits.train.x)[rows]
    losses, sound = np.full(len(table.y), np.nan), 0
    for members, outputs in member_predictions([problem.model], population, x, plan):
        for fold, each in zip(members.tolist(), outputs, strict=True):
            own = table.fold_of[rows] == fold
            finite = np.isfinite(each[own])
            unusable = ~finite.all() if table.classes is None else ~finite.any()
            if unusable or population.diverged[fold]:
                logger.info("the network without fold %d diverged; the fold is not judged", fold)
                continue
            predicted = each[own] if table.classes is None else arrays.chosen(each[own])
            predicted = np.exp(predicted) if table.yes_no else predicted
            losses[rows[own]] = table.losses(predicted, rows[own])
            sound += 1
    return losses if sound >= MIN_FOLDS else None


def training_seconds(problem: Problem) -> float:
    """Count how long one training takes, from the number of its operations: forward, and backward
    to inputs and to kernels.

    Args:
        problem: what is trained.

    Returns:
        Seconds of a CPU core, without compilation, the same on every machine with the same kind of
        device.
    """
    factor = 1.0 if jax.default_backend() == "cpu" else ACCELERATOR
    return operations(problem) * OPERATION * factor
