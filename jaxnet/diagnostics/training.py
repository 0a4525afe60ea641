"""What a training shows: the course of its loss, and signs of health or of a fault."""

import warnings
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, Num

from jaxnet import arrays, display
from jaxnet.core.training import EpochMetrics
from jaxnet.errors import InputError
from jaxnet.stats.several import wrong_answers

LEAST_STEPS = 4  # steps with signals in an epoch, for the noise of its mean loss
STANDARD_ERRORS = 3.0  # by which a mean loss rises by more than its noise


class LossCourse(NamedTuple):
    """The course of the training loss.

    Attributes:
        first: the mean loss of the first batch, before the first step.
        best: the lowest mean loss of an epoch.
        best_epoch: the epoch with that loss, from 1.
        rose_at: the first epoch, from 1, whose mean loss was above that of the epoch before it by
            more than its noise, or not finite; None where there is none.
    """

    first: float
    best: float
    best_epoch: int
    rose_at: int | None

    __repr__ = display.text


def loss_course(history: EpochMetrics) -> LossCourse:
    """Summarizes the training losses of one network.

    The noise of an epoch's mean loss is the standard deviation of its batch losses around a
    straight line, divided by the square root of its number of steps. That is an upper bound, since
    every epoch trains on the same examples. A rise counts above 3 standard errors.

    Args:
        history: the history of a run that was trained with signals, for one network.

    Returns:
        The course.

    Raises:
        InputError: for a history without signals, or of many networks.
    """
    if history.signals is None:
        raise InputError("the history has no signals; train with signals=16")
    means = np.asarray(history.train_loss, np.float64)
    if means.ndim != 1:
        raise InputError(f"history is of {len(means)} networks; give that of one, population[i]")
    step, batch = (np.asarray(each) for each in (history.signals.step, history.signals.loss))
    done = int((step[:, 0] >= 0).sum())
    means, noise = means[:done], _noise(step[:done], batch[:done].astype(np.float64))
    finite = np.where(np.isfinite(means), means, np.inf)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        rise = np.diff(finite) > STANDARD_ERRORS * np.hypot(noise[1:], noise[:-1])
    rose = np.flatnonzero(np.append(False, rise) | ~np.isfinite(means))
    best = int(np.argmin(finite))
    return LossCourse(
        float(batch[0, 0]), float(finite[best]), best + 1, int(rose[0]) + 1 if rose.size else None
    )


def _noise(step: np.ndarray, batch: np.ndarray) -> np.ndarray:
    """(epochs,) standard errors of the mean losses; infinite where there are too few steps."""
    epochs, count = batch.shape
    if epochs < 2 or count < LEAST_STEPS:
        return np.full(epochs, np.inf)
    each = step[1, 0] - step[0, 0]  # steps of an epoch
    line = np.stack([np.ones(count), step[0]], 1)
    residuals = batch - batch @ (line @ np.linalg.pinv(line))
    return np.sqrt((residuals**2).sum(1) / (count - 2) / each)


class Signs(NamedTuple):
    """What networks show that were trained anyway.

    Attributes:
        lost: how many networks diverged, as a share.
        error: their error on examples that they were trained on; of a regression a share of the
            variance of y.
        unseen: on others; NaN where there are none.
        guessing: the error of always guessing.
        skill: by how many standard errors predictions for unseen examples go with their labels.
        majority: share of the most frequent label; NaN of a regression.
        one_class: largest share of predictions for unseen examples that are one class.
        recall: share of the examples of all other classes that are predicted rightly.
        scale: largest root mean square of standardized inputs.
        bounded: loss of the best outputs that the network can give, as a share of that of guessing.
        layers: names of the layers.
        parameters: (layers,) norm of the first parameters.
        gradients: (layers,) norm of the first gradient.
        idle: (layers,) share of units that were dead or saturated in the first step.
        died: (layers,) share of units that were dead in the last step.
        first, largest, last: loss of the first batch, of the worst one, and in the last epoch.
        fell: by which share of itself the loss of the last quarter is below that of the one before.
        steps: number of steps.
    """

    lost: float
    error: float
    unseen: float
    guessing: float
    skill: float
    majority: float
    one_class: float
    recall: float
    scale: float
    bounded: float
    layers: tuple[str, ...]
    parameters: Float[np.ndarray, " layers"]
    gradients: Float[np.ndarray, " layers"]
    idle: Float[np.ndarray, " layers"]
    died: Float[np.ndarray, " layers"]
    first: float
    largest: float
    last: float
    fell: float
    steps: int

    __repr__ = display.text


def signs_of(
    history: EpochMetrics,
    layers: tuple[str, ...],
    diverged: Bool[np.ndarray, " members"],
    outputs: Float[np.ndarray, "members examples ..."],
    y: Num[np.ndarray, "examples ..."],
    seen: Bool[np.ndarray, "members examples"],
    *,
    scale: float,
    bounded: float,
    steps: int,
) -> Signs:
    """Summarize what networks show, by medians over them.

    Args:
        history: their history; without signals the fields that need them are empty or NaN.
        layers: names of the layers.
        diverged: whether each network diverged.
        outputs: (members, examples, classes) log-probabilities, or (members, examples) values,
            for the training set; of several values or labels (members, examples, columns).
        y: the labels of the training set.
        seen: which examples each network was trained on.
        scale: as in `Signs`.
        bounded: as in `Signs`.
        steps: as in `Signs`.
    """
    sound = ~diverged & np.isfinite(outputs.reshape(len(outputs), -1)).all(1)
    of_classes = y.ndim == 1 and outputs.ndim == 3
    losses = (
        arrays.wrong(outputs, y).astype(np.float64) if of_classes else _of_values(outputs, y)
    )[sound]
    seen = seen[sound]
    error = float(losses[seen].mean()) if seen.any() else np.nan
    unseen = float(losses[~seen].mean()) if (~seen).any() else np.nan
    majority = one_class = recall = np.nan
    guessing = 1.0
    if y.ndim == 2 and y.dtype.kind != "f":
        guessing = np.minimum(y.mean(0), 1 - y.mean(0)).mean()
    if of_classes:
        count = np.bincount(y)
        majority, guessing = count.max() / len(y), 1 - count.max() / len(y)
        if (~seen).any():
            chosen = outputs[sound].argmax(-1)
            of = np.bincount(chosen[~seen])
            one_class = of.max() / of.sum()
            others = ~seen & (y != of.argmax())
            recall = float(1 - losses[others].mean()) if others.any() else np.nan
    return Signs(
        lost=float(1 - sound.mean()),
        error=error,
        unseen=unseen,
        guessing=float(guessing),
        skill=_skill(outputs[sound], y, ~seen),
        majority=float(majority),
        one_class=float(one_class),
        recall=recall,
        scale=scale,
        bounded=bounded,
        steps=steps,
        **_course(history, layers),
    )


def _of_values(
    outputs: Float[np.ndarray, "members examples ..."], y: Num[np.ndarray, "examples ..."]
) -> Float[np.ndarray, "members examples"]:
    """Squared errors in variances of y, or shares of wrong answers to yes/no questions; the means
    over several.
    """
    if y.dtype.kind != "f":
        return wrong_answers(outputs, y).mean(-1)
    losses = (outputs.astype(np.float64) - y) ** 2 / y.var(0)
    return losses.mean(-1) if y.ndim == 2 else losses


def _course(history: EpochMetrics, layers: tuple[str, ...]) -> dict[str, Any]:
    """The fields of Signs that are read off the histories of some networks."""
    none = np.empty(0)
    if history.signals is None:
        found = dict.fromkeys(("parameters", "gradients", "idle", "died"), none)
        return {
            "layers": (),
            **found,
            **dict.fromkeys(("first", "largest", "last", "fell"), np.nan),
        }
    signals = jax.tree.map(np.asarray, history.signals)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of NaN alone
        start = signals.dead_units[:, 0, 0], signals.saturated_units[:, 0, 0]
        loss = signals.loss.reshape(len(signals.loss), -1).astype(np.float64)
        step = signals.step.reshape(len(loss), -1)
        means = np.asarray(history.train_loss, np.float64)
        # With four epochs or more their own means say it better: they are of all steps.
        course = (means, signals.step[:, :, 0]) if means.shape[1] >= 4 else (loss, step)
        return {
            "layers": layers,
            "parameters": np.nanmedian(signals.parameter_norm[:, 0, 0], 0),
            "gradients": np.nanmedian(signals.gradient_norm[:, 0, 0], 0),
            "idle": np.nanmedian(np.fmax(*start), 0),
            "died": np.nanmedian(signals.dead_units[:, -1, -1], 0),
            "first": float(np.nanmedian(loss[:, 0])),
            "largest": float(np.nanmedian(np.nanmax(loss, 1))),
            "last": float(np.nanmedian(means[:, -1])),
            "fell": float(np.nanmedian([_fell(*each) for each in zip(*course, strict=True)])),
        }


def _fell(loss: Float[np.ndarray, " places"], step: Int[np.ndarray, " places"]) -> float:
    """By which share of itself the loss of the last quarter is below that of the one before."""
    loss = loss[step >= 0]
    quarter = len(loss) // 4
    if not quarter:
        return np.nan
    before, last = loss[-2 * quarter : -quarter].mean(), loss[-quarter:].mean()
    return float((before - last) / abs(last)) if last else np.nan


def _skill(
    outputs: Float[np.ndarray, "members examples ..."],
    y: Num[np.ndarray, "examples ..."],
    unseen: Bool[np.ndarray, "members examples"],
) -> float:
    """By how many standard errors predictions for unseen examples go with their labels.

    For an example it is the log-probability of its label less the mean of those of all labels, or
    the product of the differences from the means. Without any relation their mean is 0.
    """
    counted = unseen.any(0)
    if counted.sum() < 2:
        return np.nan
    outputs = np.where(unseen.reshape(*unseen.shape, *[1] * (outputs.ndim - 2)), outputs, 0)
    mean = outputs.sum(0, dtype=np.float64)[counted]
    mean /= unseen.sum(0)[counted].reshape(-1, *[1] * (mean.ndim - 1))
    y = y[counted]
    if y.ndim == 2:  # probabilities of yes, or values, in units of their spread
        said, spread = (np.exp(mean), 1.0) if y.dtype.kind != "f" else (mean, y.std(0))
        each = ((said - said.mean(0)) * (y - y.mean(0)) / spread**2).mean(1)
    elif mean.ndim == 1:
        each = (mean - mean.mean()) * (y - y.mean())
    else:
        prior = np.bincount(y, minlength=mean.shape[1]) / len(y)
        each = mean[np.arange(len(y)), y] - mean @ prior
    spread = each.std(ddof=1)
    return float(each.mean() / spread * np.sqrt(len(y))) if spread > 0 else 0.0
