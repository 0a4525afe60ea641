"""Measures of advice: what a wrong prediction costs, and in which unit gains are said."""

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from jaxnet import display
from jaxnet.data import Dataset, Splits
from jaxnet.data.dataset import error_unit
from jaxnet.data.resampling import cut, shuffled
from jaxnet.diagnostics.findings import percent
from jaxnet.diagnostics.predicted import Predicted
from jaxnet.errors import InputError, check_known
from jaxnet.random import AnyKey, generator
from jaxnet.stats.cross_fitting import group_codes
from jaxnet.stats.estimate import LEVEL, Estimate

MEASURES = ("error", "balanced_error", "log_loss", "rmse")
SMALLEST = 1e-6  # a lower probability counts as this one in the log loss
FEWEST = 100  # labeled examples, or groups of them, that can choose and report


@dataclass(frozen=True)
class Unit:
    """How sizes on the scale of a measure are said.

    Attributes:
        noun: what is measured.
        factor: what sizes are multiplied with.
        words: the unit, after a number.
        decimals: digits after the decimal point of a size with its interval; None for 3 significant
            digits.
    """

    noun: str
    factor: float
    words: str
    decimals: int | None

    def number(self, size: float) -> str:
        """A size without its unit."""
        value = self.factor * size
        return f"{value:.3g}" if self.decimals is None else f"{value:.{self.decimals}f}"

    def size(self, size: float) -> str:
        """A size with its unit, shorter than beside an interval."""
        value = self.factor * size
        number = f"{value:.3g}" if self.decimals is None else f"{value:.{self.decimals - 1}f}"
        return f"{number} {self.words}"

    def plain(self, size: float) -> str:
        """A size that was given, with its unit."""
        return f"{self.factor * size:.4g} {self.words}"

    def limits(self, found: Estimate) -> str:
        """The limits of an interval without their unit."""
        return f"{self.number(found.low)} to {self.number(found.high)}"

    def difference(self, found: Estimate, level: float = LEVEL) -> str:
        """A difference with its interval."""
        interval = f"{100 * level:.3g}% interval {self.limits(found)}"
        return f"{self.number(found.estimate)} {self.words} ({interval})"

    def share(self, mean: float) -> str:
        """What is measured, errors in percent."""
        return f"{mean:.2%}" if self.factor == PERCENT else f"{self.number(mean)} {self.words}"

    def mean(self, found: Estimate) -> str:
        """What is measured, with its interval; errors in percent."""
        if self.factor == PERCENT:
            return percent(found)
        interval = "no interval"
        if found.refused is None:
            interval = f"95% interval {self.limits(found)}"
        return f"{self.share(found.estimate)}, {interval}"


PERCENT = 100.0
UNITS = {
    "error": Unit("error", PERCENT, "points", 2),
    "balanced_error": Unit("balanced error", PERCENT, "points", 2),
    "log_loss": Unit("log loss", 1.0, "nats", 4),
    "rmse": Unit("root mean squared error", 1.0, "in the units of y", None),
}
OF_VARIANCE = Unit("error", PERCENT, "points of the variance of y", 2)


@dataclass(frozen=True)
class Measure:
    """What the predictions of networks cost.

    Attributes:
        name: one of MEASURES.
        of_values: whether labels are values.
        weights: (classes,) the cost of a wrong prediction for examples of each class; None where it
            is 1, and for values.
        variance: variance of y; 1 for classes and labels, (columns,) for several values.
        of_labels: whether each example has several yes/no labels, so that its loss is the share of
            them that are wrong.
    """

    name: str = "error"
    of_values: bool = False
    weights: Float[np.ndarray, " classes"] | None = None
    variance: float | Float[np.ndarray, " columns"] = 1.0
    of_labels: bool = False

    __repr__ = display.text

    @property
    def unit(self) -> Unit:
        """How sizes are said."""
        return unit_of(self.name, of_values=self.of_values)

    @property
    def counted(self) -> bool:
        """Whether the loss of an example is 0, or else its weight; of several labels a share."""
        return not self.of_values and self.name != "log_loss"

    @property
    def shares(self) -> bool:
        """Whether losses are 0 or 1, or shares of wrong answers."""
        return self.counted and self.weights is None

    @property
    def zero_or_one(self) -> bool:
        """Whether each loss is 0 or 1."""
        return self.shares and not self.of_labels

    @property
    def losses_of(self) -> dict[str, Any]:
        """What `Gains.of` and `race` must know of the losses."""
        return {
            "counted": self.counted,
            "largest": 1.0 if self.weights is None else float(self.weights.max()),
            "root": self.name == "rmse",
        }

    def losses(self, predicted: Predicted) -> Float[np.ndarray, "..."]:
        """Compute the loss of each prediction, ([members,] examples).

        Args:
            predicted: log-probabilities or values, and labels.
        """
        if self.of_values:
            return predicted.losses(self._scale)
        if self.name == "log_loss":
            places = np.arange(len(predicted.labels)), predicted.labels
            own = predicted.predictions[..., *places].astype(np.float64)
            return -np.maximum(own, math.log(SMALLEST))
        wrong = predicted.wrong.astype(np.float64)
        return wrong if self.weights is None else wrong * self.weights[predicted.labels]

    def of_diverged(
        self, y: Num[np.ndarray, "examples ..."], classes: int
    ) -> Num[np.ndarray, " examples"]:
        """Compute what stands for the losses of a network that diverged: all predictions wrong, all
        classes equally probable, or always the mean of y.

        Args:
            y: (examples,) labels, or (examples, columns) several of each.
            classes: number of classes.
        """
        if self.of_values:
            squares = (y - y.mean(0)) ** 2 / self._scale
            return squares if squares.ndim == 1 else squares.mean(1)
        if self.name == "log_loss":
            return np.full(len(y), math.log(classes))
        return np.ones(len(y)) if self.weights is None else self.weights[y]

    def tolerance(self, given: float) -> float:
        """A tolerance on the scale of gains: that of the root mean squared error is given in
        standard deviations of y.
        """
        return given * math.sqrt(float(self.variance)) if self.name == "rmse" else given

    def mean(self, found: Estimate) -> Estimate:
        """A mean loss on the scale of gains: that of squared errors as its root."""
        if self.name != "rmse":
            return found
        estimate, low, high = np.sqrt(np.maximum([found.estimate, found.low, found.high], 0.0))
        return replace(found, estimate=float(estimate), low=float(low), high=float(high))

    @property
    def _scale(self) -> float | Float[np.ndarray, " columns"]:
        """What squared errors are divided by."""
        return 1.0 if self.name == "rmse" else self.variance


class Target(NamedTuple):
    """Labeled examples from where networks will be used.

    Attributes:
        data: the examples.
        chooses: (examples,) which of them choose; the others report.
        group_of: (examples,) group of each example; None where every example is its own.
    """

    data: Dataset
    chooses: Bool[np.ndarray, " examples"]
    group_of: Int[np.ndarray, " examples"] | None


def target_of(splits: Splits, key: AnyKey) -> Target | None:
    """Divide a labeled sample from where networks will be used into two random halves, by groups
    where there are groups.

    Args:
        splits: the data.
        key: a random key.

    Returns:
        The halves; None without such a sample, and where it is too small or has no labels.
    """
    data = splits.target_sample
    if data is None or not is_labeled(data):
        return None
    count = len(data) if data.groups is None else len(np.unique(data.groups))
    if count < FEWEST:
        return None
    order, ends = shuffled(generator(key, "resampling", 0), len(data), data.groups)
    chooses = np.zeros(len(data), bool)
    chooses[order[: cut(ends, [len(data) // 2, len(data)])[0]]] = True
    group_of = None if data.groups is None else group_codes(data.groups, len(data))
    return Target(data, chooses, group_of)


def is_labeled(data: Dataset) -> bool:
    """Whether there are examples, and all of them have labels."""
    return len(data) > 0 and (data.classes is None or int(np.asarray(data.y).min()) >= 0)


def measure_of(name: str, data: Dataset, train: Dataset | None = None) -> Measure:
    """Build the measure of this name for some data.

    Args:
        name: "error", "balanced_error", "log_loss" or "rmse".
        data: the examples that are judged, whose classes count the same in the balanced error.
        train: the training set, whose variance of y is the unit of squared errors; `data` by
            default.

    Raises:
        InputError: for another name, and for a measure of other labels.
    """
    check_known("measure", name, MEASURES)
    values = not data.counted
    if data.targets is not None and name != "error":
        raise InputError(
            f"measure is {name}, but each example has several "
            f"{'values' if values else 'labels'}; give error"
        )
    if values and name in ("balanced_error", "log_loss"):
        raise InputError(
            f"measure is {name}, which needs classes, but this is a regression; give error or rmse"
        )
    if not values and name == "rmse":
        raise InputError(
            "measure is rmse, which needs values, but the labels are classes; give error, "
            "balanced_error or log_loss"
        )
    weights = None
    if name == "balanced_error":
        counts = np.bincount(np.asarray(data.y), minlength=data.outputs)
        there = np.count_nonzero(counts)
        weights = np.where(counts > 0, len(data) / (there * np.maximum(counts, 1)), 0.0)
    variance = error_unit(data if train is None else train)
    return Measure(name, values, weights, variance, data.schema.multi_label)


def unit_of(name: str, *, of_values: bool) -> Unit:
    """How sizes on the scale of a measure are said.

    Args:
        name: name of the measure.
        of_values: whether labels are values.
    """
    return OF_VARIANCE if of_values and name == "error" else UNITS[name]
