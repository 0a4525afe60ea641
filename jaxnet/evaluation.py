"""What a trained network says, and how often it is right."""

import functools
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PyTree
from numpy.typing import ArrayLike

from .data import Dataset, Standardisation
from .diagnostics.intervals import Estimate, mean, wilson
from .errors import InputError
from .models import Model, fitted
from .run import Run
from .training import BLOCK, in_blocks


@dataclass(frozen=True)
class ClassMetrics:
    """How one network classifies some examples. baseline: the error of always saying their most frequent class.

    error, accuracy: shares, with Wilson intervals. loss: mean cross-entropy, nats.
    confusion: (classes, classes) counts, a row a label, a column a prediction.
    precision, recall, f1: (classes,), NaN where nothing was predicted, or nothing was to be found.
    """

    error: Estimate
    accuracy: Estimate
    loss: Estimate
    baseline: float
    confusion: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    examples: int


@dataclass(frozen=True)
class ValueMetrics:
    """How close one network's values come. error: mean squared error over `variance`, the training targets'.

    baseline: the error, on the same scale, of always saying the training mean. rmse: in the units of y.
    r2: 1 - error / error of the mean of these examples.
    """

    error: Estimate
    rmse: Estimate
    r2: Estimate
    baseline: float
    examples: int


Metrics = ClassMetrics | ValueMetrics


def predict(model: Model, run: Run, x: ArrayLike) -> Float[np.ndarray | Array, "examples *classes"]:
    """Log-probabilities (examples, classes) of classes, or values (examples,) in the units of y.

    x: (examples, ...) as in the data set; standardised here. One program serves any number of examples.
    """
    model = fitted(model, 1 if run.classes is None else len(run.classes))
    network = (*run.chosen, run.standardisation)
    shape = np.shape(x)
    if shape[1:] != run.shape:
        raise InputError(f"x has examples of shape {shape[1:]}, but the network was trained on {run.shape}")
    if isinstance(x, jax.core.Tracer):
        return _predict(model, run.recipe.precision, network, x)
    inputs = np.asarray(x)
    inputs = inputs if inputs.dtype == np.uint8 else inputs.astype(np.float32)
    blocks = [np.zeros((0,) if run.classes is None else (0, len(run.classes)), np.float32)]
    for first in range(0, len(inputs), BLOCK):
        block = inputs[first : first + BLOCK]
        filled = np.concatenate([block, np.zeros((BLOCK - len(block), *run.shape), block.dtype)])
        blocks.append(np.asarray(_predict(model, run.recipe.precision, network, filled))[: len(block)])
    return np.concatenate(blocks)


def evaluate(model: Model, run: Run, dataset: Dataset) -> Metrics:
    """How good the network is on these examples, with 95% intervals that speak of this one network.

    An example whose outputs are not finite counts as wrong.
    """
    if dataset.classes != run.classes:
        raise InputError(f"the data set has classes {dataset.classes}, but the network was trained on {run.classes}")
    outputs, y = np.asarray(predict(model, run, dataset.x)), np.asarray(dataset.y)
    return value_metrics(outputs, y, run.standardisation) if run.classes is None else class_metrics(outputs, y)


def class_metrics(log_probabilities: Float[np.ndarray, "examples classes"], y: Int[np.ndarray, " examples"]) -> ClassMetrics:
    """ClassMetrics of predictions from anywhere."""
    n, classes = log_probabilities.shape
    predictions = log_probabilities.argmax(1)
    right = (predictions == y) & np.isfinite(log_probabilities).any(1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (y, predictions), 1)
    true, said, found = confusion.diagonal(), confusion.sum(0), confusion.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall, f1 = true / said, true / found, 2 * true / (said + found)
    accuracy = wilson(int(right.sum()), n)
    return ClassMetrics(
        error=accuracy.complement(),
        accuracy=accuracy,
        loss=mean(-log_probabilities[np.arange(n), y]),
        baseline=1 - found.max() / n if n else float("nan"),
        confusion=confusion,
        precision=precision,
        recall=recall,
        f1=f1,
        examples=n,
    )


def value_metrics(
    predictions: Float[np.ndarray, " examples"], y: Float[np.ndarray, " examples"], standardisation: Standardisation
) -> ValueMetrics:
    """ValueMetrics of predictions from anywhere, on the scale of the training targets."""
    centre, scale = float(standardisation.target_mean), float(standardisation.target_scale)
    squares = mean((predictions.astype(np.float64) - y) ** 2)
    around = float(np.var(y, dtype=np.float64)) if len(y) else float("nan")

    def scaled(by: float) -> Estimate:
        return Estimate(squares.estimate / by, max(0.0, squares.low) / by, squares.high / by, squares.refused)

    root = (np.sqrt(max(0.0, value)) for value in (squares.estimate, squares.low, squares.high))
    return ValueMetrics(
        error=scaled(scale**2),
        rmse=Estimate(*map(float, root), refused=squares.refused),
        r2=scaled(around).complement() if around > 0 else Estimate(float("nan"), refused="all y are equal; R^2 needs values that differ"),
        baseline=float(np.mean((y - centre) ** 2)) / scale**2 if len(y) else float("nan"),
        examples=len(y),
    )


@functools.partial(jax.jit, static_argnames=("model", "precision"))
def _predict(model: Model, precision: str, network: tuple[PyTree, PyTree, Standardisation], x: Array) -> Array:
    params, model_state, standardisation = network
    outputs = in_blocks(model, params, model_state, standardisation, x, precision=precision)
    if standardisation.target_mean is None:
        return jax.nn.log_softmax(outputs)
    return standardisation.values(outputs[:, 0])
