"""What a trained network says, and how often it is right.

`evaluate` is `predict`, then `judge`, which is `class_metrics` or `value_metrics`.
"""

import functools
import logging
import math
from dataclasses import dataclass
from typing import overload

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from jaxnet import arrays, display
from jaxnet.core.objective import BLOCK, in_blocks
from jaxnet.core.run import ONE_OF_MANY, Population, Run, check_trained
from jaxnet.core.training import Problem
from jaxnet.data import Dataset, Splits, Standardization
from jaxnet.engine import arguments
from jaxnet.errors import InputError, shown
from jaxnet.models.model import Model, initial, input_shape, with_outputs
from jaxnet.population.predictions import member_predictions
from jaxnet.stats.estimate import Estimate, mean, wilson
from jaxnet.typing import ArrayLike

logger = logging.getLogger("jaxnet")


@dataclass(frozen=True)
class ClassMetrics:
    """How one network classifies some examples. baseline: the error of always saying their most
    frequent class.

    wrong: (examples,) whether it erred. error, accuracy: shares, with Wilson intervals. loss: mean
        cross-entropy, nats.
    confusion: (classes, classes) counts, a row a label, a column a prediction; outputs that are no
        numbers are in none.
    precision, recall, f1: (classes,), NaN where nothing was predicted, or nothing was to be found.
    not_numbers: how many examples have outputs that are not numbers; they are wrong.
    """

    wrong: np.ndarray
    error: Estimate
    accuracy: Estimate
    loss: Estimate
    baseline: float
    confusion: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    not_numbers: int = 0

    __repr__ = display.text


@dataclass(frozen=True)
class ValueMetrics:
    """How close one network's values come.

    squares: (examples,) squared errors over the variance of the training targets; error: their
        mean.
    baseline: the error of always saying the training mean. rmse: in the units of y.
    r2: 1 - error / error of the mean of these examples.
    """

    squares: np.ndarray
    error: Estimate
    rmse: Estimate
    r2: Estimate
    baseline: float

    __repr__ = display.text


Metrics = ClassMetrics | ValueMetrics


def predict(model: Model, run: Run | Population, x: ArrayLike) -> Float[np.ndarray | Array, "..."]:
    """Log-probabilities (examples, classes) of classes, or values (examples,) in the units of y.

    run: or a Population of one structure; the predictions then have a leading axis of its members.
    x: (examples, ...) as in the data set; standardized here. One program serves any number of
    examples. NumPy arrays, or inside jit or vmap a tracer. Where float32 could not hold the
    training data as they came, x must be float64, and is refused inside jit; where it could not
    hold y, values are float64. Raises InputError for a model that is not the one of the run: one of
    another name, or with parameters of other shapes; for x that is not finite as float32, or no
    numbers.
    """
    arguments.check(model=model, run=run)
    if isinstance(x, Dataset | Splits):
        raise InputError(f"x is {shown(x)}; give inputs, such as splits.test.x")
    if not isinstance(x, jax.core.Tracer):
        x = arrays.within_float32("x", x)
    if isinstance(run, Population):
        _check_shape(run.run, np.shape(x))
        inputs = _as_inputs(x) if run.run.standardization.origin is None else np.asarray(x)
        return np.concatenate([values for _, values in member_predictions([model], run, inputs)])
    if np.ndim(run.epochs):
        raise InputError(f"run holds {len(run.epochs)} networks; give one of them: {ONE_OF_MANY}")
    check_trained(model, run)
    model = with_outputs(model, 1 if run.classes is None else len(run.classes))
    _check_shape(run, np.shape(x))
    network, x = (*run.chosen, run.standardization.on_device), run.standardization.held(x)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((network, x))):
        return run.standardization.restored(_predict(model, run.recipe.precision, network, x))
    inputs = _as_inputs(x)
    blocks = [np.zeros((0,) if run.classes is None else (0, len(run.classes)), np.float32)]
    for first in range(0, len(inputs), BLOCK):
        block = inputs[first : first + BLOCK]
        filled = block
        if len(block) < BLOCK:
            filled = np.concatenate(
                [block, np.zeros((BLOCK - len(block), *run.shape), block.dtype)]
            )
        blocks.append(
            np.asarray(_predict(model, run.recipe.precision, network, filled))[: len(block)]
        )
    return np.asarray(run.standardization.restored(np.concatenate(blocks)))


def compile_ahead(problem: Problem) -> None:
    """Compile what `predict` will need of a Run to come, so that this can happen while it
    trains.
    """
    splits, model = problem.splits, with_outputs(problem.model, problem.splits.train.outputs)
    params, model_state = jax.eval_shape(
        functools.partial(initial, model), jax.random.key(0), input_shape(splits)
    )
    own, kind = splits.standardization, splits.train.x.dtype
    block = np.zeros((BLOCK, *splits.train.x.shape[1:]), kind if kind == np.uint8 else np.float32)
    _predict.lower(
        model, problem.recipe.precision, (params, model_state, own.on_device), block
    ).compile()


@overload
def evaluate(model: Model, run: Run, dataset: Dataset, *others: object) -> Metrics: ...
@overload
def evaluate(
    model: Model, run: Population, dataset: Dataset, *others: object
) -> tuple[Metrics, ...]: ...
def evaluate(
    model: Model, run: Run | Population, dataset: Dataset, *others: object
) -> Metrics | tuple[Metrics, ...]:
    """How good the network is on these examples, with 95% intervals that speak of this one network.

    run: or a Population of one structure; then Metrics of each of its members, in order, without an
    error for those that diverged. Of classes, an example whose outputs are not numbers counts as
    wrong, and how many do is said: in `not_numbers`, and by the logger "jaxnet". Raises InputError
    for labels that do not fit, and for one network of values that are not finite.
    """
    arguments.check(model=model, run=run, dataset=(dataset, *others) if others else dataset)
    classes = run.run.classes if isinstance(run, Population) else run.classes
    if dataset.classes != classes:
        raise InputError(
            f"the data set has classes {dataset.classes}, but the network was trained on "
            f"{classes}; give one with those"
        )
    if (
        origin := (run.run if isinstance(run, Population) else run).standardization.target_origin
    ) is not None:
        origin.check(dataset.y, "y")
    outputs = np.asarray(predict(model, run, dataset.x))
    y = _labels(dataset, classes)
    if isinstance(run, Population):
        return tuple(
            judge(each, y, run[member].standardization) for member, each in enumerate(outputs)
        )
    if classes is None and (lost := np.flatnonzero(~np.isfinite(outputs))).size:
        raise InputError(
            f"the network predicts {outputs[lost[0]]} for example {lost[0]}, and no finite value "
            f"for {len(lost)} of {len(outputs)} "
            "examples, so it has no error; take a network whose values are finite. This one "
            f"{run.status}"
        )
    return judge(outputs, y, run.standardization)


def _labels(dataset: Dataset, classes: tuple[str, ...] | None) -> np.ndarray:
    """A class number or a value for each of the examples."""
    examples = np.shape(dataset.x)[0]
    if classes is not None:
        return arrays.labels("y", dataset.y, examples, len(classes))
    y = arrays.numbers("y", dataset.y, arrays.EXAMPLE_AXES)
    if y.shape != (examples,):
        raise InputError(
            f"y has shape {y.shape} for {examples} examples; give one value for each: {(examples,)}"
        )
    return y


def judge(outputs: np.ndarray, y: np.ndarray, standardization: Standardization) -> Metrics:
    """Metrics of what `predict` gave, against the labels or values y."""
    if standardization.target_mean is not None:
        return value_metrics(outputs, y, standardization)
    metrics = class_metrics(outputs, y)
    if metrics.not_numbers:
        logger.warning(
            "%d of %d predictions are not numbers; they count as wrong", metrics.not_numbers, len(y)
        )
    return metrics


def class_metrics(
    log_probabilities: Float[np.ndarray, "examples classes"], y: Int[np.ndarray, " examples"]
) -> ClassMetrics:
    """ClassMetrics of predictions from anywhere."""
    n, classes = log_probabilities.shape
    predictions = arrays.chosen(log_probabilities)
    numbers = predictions != arrays.NO_CLASS
    wrong = arrays.wrong(predictions, y)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (y[numbers], predictions[numbers]), 1)
    true, said, found = confusion.diagonal(), confusion.sum(0), np.bincount(y, minlength=classes)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall, f1 = true / said, true / found, 2 * true / (said + found)
    error = wilson(int(wrong.sum()), n)
    return ClassMetrics(
        wrong=wrong,
        error=error,
        accuracy=error.complement(),
        loss=_mean(-log_probabilities[np.arange(n), y]),
        baseline=1 - found.max() / n if n else math.nan,
        confusion=confusion,
        precision=precision,
        recall=recall,
        f1=f1,
        not_numbers=n - int(numbers.sum()),
    )


def value_metrics(
    predictions: Float[np.ndarray, " examples"],
    y: Float[np.ndarray, " examples"],
    standardization: Standardization,
) -> ValueMetrics:
    """ValueMetrics of predictions from anywhere, on the scale of the training targets."""
    center, scale = standardization.units
    squares = ((predictions.astype(np.float64) - y) / scale) ** 2
    error, spread = (
        _mean(squares),
        float(np.var(y, dtype=np.float64)) / scale**2 if len(y) else math.nan,
    )
    root, low, high = (
        scale * math.sqrt(value) for value in (error.estimate, error.low, error.high)
    )
    share = (
        Estimate(error.estimate / spread, error.low / spread, error.high / spread, error.refused)
        if spread
        else None
    )
    return ValueMetrics(
        squares=squares,
        error=error,
        rmse=Estimate(root, low, high, error.refused),
        r2=Estimate(math.nan, refused="all y are equal; R^2 needs values that differ")
        if share is None
        else share.complement(),
        baseline=float(np.mean(((y.astype(np.float64) - center) / scale) ** 2))
        if len(y)
        else math.nan,
    )


def _mean(losses: np.ndarray) -> Estimate:
    """Their mean, or how many of them are not numbers."""
    lost = int(np.isnan(losses).sum())
    return (
        Estimate(math.nan, refused=f"{lost} of {len(losses)} losses are not numbers")
        if lost
        else mean(losses)
    )


def _check_shape(run: Run, shape: tuple[int, ...]) -> None:
    wanted = run.shape
    if shape[1:] != wanted:
        raise InputError(
            f"x has examples of shape {shape[1:]}, but the network was trained on {wanted}; give "
            "examples like those"
        )


def _as_inputs(x: ArrayLike) -> np.ndarray:
    inputs = np.asarray(x)
    return inputs if inputs.dtype == np.uint8 else inputs.astype(np.float32)


@functools.partial(jax.jit, static_argnames=("model", "precision"))
def _predict(
    model: Model, precision: str, network: tuple[PyTree, PyTree, Standardization], x: Array
) -> Array:
    params, model_state, standardization = network
    outputs = in_blocks(model, params, model_state, standardization, x, precision=precision)
    if standardization.target_mean is None:
        return jax.nn.log_softmax(outputs)
    return standardization.values(outputs[:, 0])
