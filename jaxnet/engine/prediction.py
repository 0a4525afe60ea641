"""What a trained network says, and how often it is right.

`evaluate` is `predict`, then `judge`, which is `class_metrics`, `label_metrics` or `value_metrics`.
"""

import functools
import importlib
import logging
import math
from dataclasses import dataclass, replace

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from jaxnet import arrays, display
from jaxnet.core.objective import BLOCK, in_blocks, predictions
from jaxnet.core.run import Run, check_trained, not_one
from jaxnet.core.training import Problem
from jaxnet.data import Dataset, Splits, Standardization, tokens
from jaxnet.data.filling import gaps_in, stood_in
from jaxnet.data.schema import Schema, Task
from jaxnet.data.targets import answers
from jaxnet.engine import arguments
from jaxnet.errors import InputError, shown
from jaxnet.models.model import Model, initial, input_shape, with_outputs
from jaxnet.stats.cross_fitting import error_of_network
from jaxnet.stats.estimate import Estimate, wilson
from jaxnet.stats.scores import (
    area_under_curve,
    class_scores,
    median_error,
    r_squared,
    scores_of_values,
)
from jaxnet.stats.several import (
    Scores,
    mean_r_squared,
    scores_of_labels,
    scores_of_several_values,
    yes_or_no,
)
from jaxnet.typing import ArrayLike, Frame

logger = logging.getLogger("jaxnet")


@dataclass(frozen=True)
class ClassMetrics:
    """How one network classifies some examples. baseline: the error of always saying their most
    frequent class.

    wrong: (examples,) whether it erred. error, accuracy: shares, with Wilson intervals. loss: mean
        cross-entropy, nats.
    confusion: (classes, classes) counts, one row per label, one column per prediction; outputs that
        are no numbers are in none.
    precision, recall, f1: (classes,), NaN where nothing was predicted, or nothing was to be found.
    not_numbers: how many examples have outputs that are not numbers; they are wrong.
    groups: (examples,) the group of each, which is the unit of the intervals; None without groups.
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
    groups: np.ndarray | None = None

    __repr__ = display.text


@dataclass(frozen=True)
class LabelMetrics:
    """How one network answers several yes/no questions about each example. baseline: the error of
    always giving the more frequent answer for each label.

    wrong: (examples,) the share of its answers that are wrong. error: their mean, the Hamming loss;
        accuracy: the share of right answers. The unit of intervals is the example.
    loss: mean binary cross-entropy over examples and labels, nats.
    precision, recall, f1, auc: (labels,) of yes, NaN where nothing was predicted, or nothing was to
        be found.
    labels: the metrics of each label alone, of the classes no and yes.
    not_numbers: how many examples have outputs that are not numbers; their answers are wrong.
    groups: (examples,) the group of each, which is the unit of the intervals; None without groups.
    """

    wrong: np.ndarray
    error: Estimate
    accuracy: Estimate
    loss: Estimate
    baseline: float
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    auc: np.ndarray
    labels: tuple[ClassMetrics, ...]
    not_numbers: int = 0
    groups: np.ndarray | None = None

    __repr__ = display.text


@dataclass(frozen=True)
class ValueMetrics:
    """How close one network's values come.

    squares: (examples,) squared errors over the variance of the training targets; error: their
        mean. Of several values of an example it is the mean over them.
    baseline: the error of always saying the training mean. rmse: in the units of y; of several
        values in units of the spread of each.
    median_absolute_error: half of the errors are smaller; in the units of y. Rare, large errors do
        not change it, and its interval is exact for independent examples.
    r2: 1 - error / error of the mean of these examples; of several values the mean of their r2.
    outputs: the metrics of each value alone, where there are several.
    groups: (examples,) the group of each, which is the unit of the intervals; None without groups.
    """

    squares: np.ndarray
    error: Estimate
    rmse: Estimate
    median_absolute_error: Estimate
    r2: Estimate
    baseline: float
    groups: np.ndarray | None = None
    outputs: tuple["ValueMetrics", ...] = ()

    __repr__ = display.text


Metrics = ClassMetrics | LabelMetrics | ValueMetrics


def predict(model: Model, run: Run, x: ArrayLike | Frame) -> Float[np.ndarray | Array, "..."]:
    """What one trained network predicts. See `predict` of jaxnet/population/prediction_sets.py,
    which also takes the networks of a population.
    """
    arguments.check(model=model, run=run)
    if np.ndim(run.epochs):
        raise not_one(run)
    check_trained(model, run)
    x = check_inputs(run, x, model)
    model = with_outputs(model, run.outputs)
    network, x = (*run.chosen, run.standardization.on_device), run.standardization.held(x)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((network, x))):
        return run.standardization.restored(
            _predict(model, run.recipe.precision, run.task, network, x)
        )
    inputs = on_host(x, run.schema)
    blocks = [np.zeros((0, *run.schema.prediction_shape), np.float32)]
    for first in range(0, len(inputs), BLOCK):
        block = inputs[first : first + BLOCK]
        filled = block
        if len(block) < BLOCK:
            filled = np.concatenate(
                [block, np.zeros((BLOCK - len(block), *run.shape), block.dtype)]
            )
        blocks.append(
            np.asarray(_predict(model, run.recipe.precision, run.task, network, filled))[
                : len(block)
            ]
        )
    return np.asarray(run.standardization.restored(np.concatenate(blocks)))


def check_inputs(run: Run, x: ArrayLike | Frame, model: Model | None = None) -> ArrayLike:
    """Inputs for a network, checked; sequences of tokens are filled up as in training. Images on
    another scale than those of the training set are not refused, but the logger "jaxnet" warns of
    them.

    Args:
        run: the network, or many of one architecture.
        x: (examples, ...) inputs, a data frame, or a tracer.
        model: the model, where it may say which tokens it knows.

    Returns:
        x, as numbers that float32 can hold, or as int32 for tokens.

    Raises:
        InputError: for what is no array of numbers, for examples of another shape, and for tokens
            that the network does not know.
    """
    if isinstance(x, Dataset | Splits):
        raise InputError(f"x is {shown(x)}; give inputs, such as splits.test.x")
    if isinstance(x, Frame):
        from jaxnet.data.sources.frames import inputs_of_frame

        x, notes = inputs_of_frame(x, run.schema)
        for note in notes:
            logger.warning("%s", note)
    if run.schema.fills is not None:
        said = None if isinstance(x, jax.core.Tracer) else gaps_in(x)
        if said is not None:
            logger.warning("%s: what stands in was learned in training", said)
        x = stood_in(x, run.schema.fills)
    if not isinstance(x, jax.core.Tracer):
        x = known_ids(run, x, model) if run.schema.tokens else arrays.within_float32("x", x)
    if (shape := np.shape(x)[1:]) != run.shape:
        raise InputError(
            f"x has examples of shape {shape}, but the network was trained on {run.shape}; give "
            "examples like those"
        )
    if run.pixel_max is not None and not isinstance(x, jax.core.Tracer) and len(x):
        words = run.schema.other_scale(float(x.max()))
        if words is not None:
            logger.warning(words)
    return x


def known_ids(run: Run, x: ArrayLike, model: Model | None) -> np.ndarray:
    """Tokens as int32, sequences filled up; InputError for ids that the network does not know."""
    pad = run.pad
    found = tokens.ids("x", x, pad, None if pad is None else run.shape[0])
    limit, said = run.vocabulary or 0, "the largest id in the training set was"
    if model is not None and model.vocabulary is not None:
        limit, said = model.vocabulary, f"{model.name} says vocabulary={model.vocabulary:,}: up to"
    cure = f"{said} {limit - 1:,}"
    if model is None or model.vocabulary is None:
        cure += "; if the network knows more, give vocabulary= to Model.from_linen or the like"
    tokens.check_known_ids(found, limit, "x has the id", cure)
    return found


def on_host(x: ArrayLike, schema: Schema) -> np.ndarray:
    """Inputs as the compiled programs take them: bytes as they are, tokens as int32, and other
    numbers as float32.
    """
    inputs = np.asarray(x)
    return inputs if inputs.dtype == np.uint8 else inputs.astype(schema.input_dtype)


def compile_ahead(problem: Problem) -> None:
    """Compile what `predict` will need of a Run to come, so that this can happen while it
    trains.
    """
    splits, model = problem.splits, with_outputs(problem.model, problem.splits.train.outputs)
    params, model_state = jax.eval_shape(
        functools.partial(initial, model), jax.random.key(0), input_shape(splits)
    )
    own, train = splits.standardization, splits.train
    kind = train.x.dtype if train.x.dtype == np.uint8 else train.schema.input_dtype
    block = np.zeros((BLOCK, *train.x.shape[1:]), kind)
    _predict.lower(
        model, problem.recipe.precision, splits.task, (params, model_state, own.on_device), block
    ).compile()


def evaluate(model: Model, run: Run, dataset: Dataset) -> Metrics:
    """How good one trained network is on these examples. See `evaluate` of
    jaxnet/population/predictions.py, which also takes the networks of a population.
    """
    arguments.check(model=model, run=run)
    y = check_labels(run, dataset)
    importlib.import_module("scipy.special")  # of the intervals, while the device may still train
    outputs = np.asarray(predict(model, run, dataset.x))
    finite = np.isfinite(outputs).all(axis=tuple(range(1, outputs.ndim)))
    if not run.counted and (lost := np.flatnonzero(~finite)).size:
        raise InputError(
            f"the network predicts {outputs[lost[0]]} for example {lost[0]}, and no finite value "
            f"for {len(lost)} of {len(outputs)} "
            "examples, so it has no error; take a network whose values are finite. This one "
            f"{run.status}"
        )
    return judge(outputs, y, run.standardization, dataset.groups)


def check_labels(run: Run, dataset: Dataset) -> np.ndarray:
    """The labels of a data set, checked against what a network was trained on.

    Args:
        run: the network, or many of one architecture.
        dataset: the data set.

    Returns:
        (examples,) a class number or a value for each example, or (examples, columns) where it has
        several.

    Raises:
        InputError: for other classes, and for what is no label.
    """
    arguments.check(dataset=dataset)
    if dataset.classes != run.classes:
        raise InputError(
            f"the data set has classes {dataset.classes}, but the network was trained on "
            f"{run.classes}; give one with those{_of_arrays(dataset)}"
        )
    if dataset.schema.task != run.task or dataset.schema.target_names != run.schema.target_names:
        raise InputError(
            f"the data set is {_asked(dataset.schema)}, but the network was trained on "
            f"{_asked(run.schema)}; give one like that{_of_arrays(dataset)}"
        )
    if (origin := run.standardization.target_origin) is not None:
        origin.check(dataset.y, "y")
    examples = len(dataset.x)  # `predict` checks the inputs themselves
    if run.classes is not None:
        return arrays.labels("y", dataset.y, examples, len(run.classes))
    y, wanted = arrays.numbers("y", dataset.y), (examples, *run.schema.prediction_shape)
    if y.shape != wanted:
        raise InputError(
            f"y has shape {y.shape} for {examples} examples; give the values of each: {wanted}"
        )
    return answers(y, run.schema.target_names, "") if run.schema.multi_label else y


def _of_arrays(dataset: Dataset) -> str:
    """How to give the meaning of labels that came without one, as the end of a message."""
    plain = dataset.classes is None and dataset.targets is None
    return ": of arrays x and y it is jaxnet.Dataset(x, y, schema=run.schema)" if plain else ""


def _asked(schema: Schema) -> str:
    """A task and what is asked for in words."""
    names = schema.target_names
    return schema.task_in_words + (f" of {', '.join(map(repr, names))}" if names else "")


def judge(
    outputs: np.ndarray,
    y: np.ndarray,
    standardization: Standardization,
    groups: Int[np.ndarray, " examples"] | None = None,
) -> Metrics:
    """Metrics of what `predict` gave, against the labels or values y.

    Args:
        outputs: (examples[, classes]) predictions; of several labels or values (examples, columns).
        y: (examples,) labels or values, or (examples, columns).
        standardization: of the training set.
        groups: (examples,) the group of each example, such as its patient, which is then the
            independent unit of the intervals; None where every example is its own.
    """
    if standardization.target_mean is not None:
        return value_metrics(outputs, y, standardization, groups)
    metrics = (class_metrics if y.ndim == 1 else label_metrics)(outputs, y, groups)
    if metrics.not_numbers:
        logger.warning(
            "%d of %d predictions are not numbers; they count as wrong", metrics.not_numbers, len(y)
        )
    return metrics


def score(outputs: np.ndarray, held_out: Dataset, splits: Splits) -> Scores:
    """Scores besides the error of what `predict` gave for examples that the network has not seen.

    Args:
        outputs: ([networks,] examples[, classes]) predictions; of several labels or values
            ([networks,] examples, columns).
        held_out: the examples; those of a group count as one.
        splits: the data, whose training set is guessed from.
    """
    own, y, groups = splits.standardization, np.asarray(held_out.y), held_out.groups
    if splits.schema.multi_label:
        more = np.asarray(splits.train.y).mean(0) > 0.5
        found = scores_of_labels(outputs, y, groups=groups, guess=more)
        return replace(found, names=splits.schema.target_names)
    if splits.classes is None:
        center, scale = own.units
        previous = _values_before(held_out, splits) if splits.consecutive else None
        if splits.targets is not None:
            found = scores_of_several_values(
                outputs, y, groups=groups, guess=center, scale=scale, previous=previous
            )
            return replace(found, names=splits.schema.target_names)
        return scores_of_values(
            outputs, y, groups=groups, guess=center, scale=scale, previous=previous
        )
    counts = np.bincount(np.asarray(splits.train.y), minlength=len(splits.classes))
    return class_scores(outputs, y, groups=groups, guess=int(counts.argmax()))


def _values_before(held_out: Dataset, splits: Splits) -> np.ndarray | None:
    """The value before each example of the validation or the test set of consecutive examples."""
    if held_out is splits.test:
        before = splits.validation if len(splits.validation) else splits.train
    elif held_out is splits.validation:
        before = splits.train
    else:
        return None
    return np.concatenate([np.asarray(before.y)[-1:], np.asarray(held_out.y)[:-1]])


def class_metrics(
    log_probabilities: Float[np.ndarray, "examples classes"],
    y: Int[np.ndarray, " examples"],
    groups: Int[np.ndarray, " examples"] | None = None,
) -> ClassMetrics:
    """ClassMetrics of predictions from anywhere; arguments are those of `judge`."""
    n, classes = log_probabilities.shape
    predictions = arrays.chosen(log_probabilities)
    numbers = predictions != arrays.NO_CLASS
    wrong = arrays.wrong(predictions, y)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (y[numbers], predictions[numbers]), 1)
    true, said, found = confusion.diagonal(), confusion.sum(0), np.bincount(y, minlength=classes)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall, f1 = true / said, true / found, 2 * true / (said + found)
    error = wilson(int(wrong.sum()), n) if groups is None else error_of_network(wrong, groups)
    return ClassMetrics(
        wrong=wrong,
        error=error,
        accuracy=error.complement(),
        loss=_mean(-log_probabilities[np.arange(n), y], groups, heavy_tails=False),
        baseline=1 - found.max() / n if n else math.nan,
        confusion=confusion,
        precision=precision,
        recall=recall,
        f1=f1,
        not_numbers=n - int(numbers.sum()),
        groups=groups,
    )


def label_metrics(
    log_probabilities: Float[np.ndarray, "examples labels"],
    y: Int[np.ndarray, "examples labels"],
    groups: Int[np.ndarray, " examples"] | None = None,
) -> LabelMetrics:
    """LabelMetrics of predictions from anywhere, log-probabilities of yes; other arguments are
    those of `judge`.
    """
    count = y.shape[1]
    both = yes_or_no(log_probabilities)
    each = tuple(class_metrics(both[:, j], y[:, j], groups) for j in range(count))
    wrong = np.stack([one.wrong for one in each], -1)
    losses = -np.take_along_axis(both, y[..., None], -1)[..., 0].mean(-1, dtype=np.float64)
    error = error_of_network(wrong.mean(-1), groups, shares=True)
    return LabelMetrics(
        wrong=wrong.mean(-1),
        error=error,
        accuracy=error.complement(),
        loss=_mean(losses, groups, heavy_tails=False),
        baseline=float(np.mean([one.baseline for one in each])),
        precision=np.array([one.precision[1] for one in each]),
        recall=np.array([one.recall[1] for one in each]),
        f1=np.array([one.f1[1] for one in each]),
        auc=np.array(
            [area_under_curve(log_probabilities[:, j], y[:, j] == 1) for j in range(count)]
        ),
        labels=each,
        not_numbers=int(np.isnan(log_probabilities).any(-1).sum()),
        groups=groups,
    )


def value_metrics(
    predictions: Float[np.ndarray, "examples ..."],
    y: Float[np.ndarray, "examples ..."],
    standardization: Standardization,
    groups: Int[np.ndarray, " examples"] | None = None,
) -> ValueMetrics:
    """ValueMetrics of predictions from anywhere, on the scale of the training targets; arguments
    are those of `judge`.
    """
    center, scale = standardization.units
    if y.ndim == 1:
        return _metrics_of_values(predictions, y, center, scale, groups)
    each = tuple(
        _metrics_of_values(predictions[:, j], y[:, j], float(center[j]), float(scale[j]), groups)
        for j in range(y.shape[1])
    )
    squares = np.mean([one.squares for one in each], 0)
    off = (np.abs(predictions.astype(np.float64) - y) / scale).mean(1)
    error = _mean(squares, groups, heavy_tails=True)
    return ValueMetrics(
        squares=squares,
        error=error,
        rmse=_root_of(error, 1.0),
        median_absolute_error=median_error(off, groups),
        r2=mean_r_squared(np.stack([one.squares for one in each], 1), y, scale, groups),
        baseline=float(np.mean([one.baseline for one in each])),
        groups=groups,
        outputs=each,
    )


def _root_of(error: Estimate, scale: float) -> Estimate:
    """The root of a mean square, times a scale."""
    root, low, high = (scale * math.sqrt(v) for v in (error.estimate, error.low, error.high))
    return replace(error, estimate=root, low=low, high=high)


def _metrics_of_values(
    predictions: Float[np.ndarray, " examples"],
    y: Float[np.ndarray, " examples"],
    center: float,
    scale: float,
    groups: Int[np.ndarray, " examples"] | None,
) -> ValueMetrics:
    """ValueMetrics of one value of each example."""
    off = np.abs(predictions.astype(np.float64) - y)
    squares = (off / scale) ** 2
    error = _mean(squares, groups, heavy_tails=True)
    return ValueMetrics(
        squares=squares,
        error=error,
        rmse=_root_of(error, scale),
        median_absolute_error=median_error(off, groups),
        r2=r_squared(squares, y, scale, groups),
        baseline=float(np.mean(((y.astype(np.float64) - center) / scale) ** 2))
        if len(y)
        else math.nan,
        groups=groups,
    )


def _mean(losses: np.ndarray, groups: np.ndarray | None, *, heavy_tails: bool) -> Estimate:
    """Their mean, or how many of them are not numbers."""
    if lost := int(np.isnan(losses).sum()):
        return Estimate(math.nan, refused=f"{lost} of {len(losses)} losses are not numbers")
    return error_of_network(losses, groups, heavy_tails=heavy_tails)


@functools.partial(jax.jit, static_argnames=("model", "precision", "task"))
def _predict(
    model: Model,
    precision: str,
    task: Task,
    network: tuple[PyTree, PyTree, Standardization],
    x: Array,
) -> Array:
    params, model_state, standardization = network
    outputs = in_blocks(model, params, model_state, standardization, x, precision=precision)
    return predictions(task, standardization, outputs)
