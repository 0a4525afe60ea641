"""What the losses of a training say of its course."""

from typing import NamedTuple

import numpy as np

from jaxnet import display
from jaxnet.core.training import EpochMetrics
from jaxnet.errors import InputError

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
