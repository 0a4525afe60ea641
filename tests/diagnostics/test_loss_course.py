"""The course of a loss, from histories whose noise and rises are known."""

import numpy as np
import pytest

import jaxnet
from jaxnet.core.signals import blank_signals
from jaxnet.core.training import EpochMetrics
from jaxnet.diagnostics import loss_course

EPOCHS, STEPS, TAKEN, SD = 20, 160, 16, 0.1


def history(rise=0.0, at=7, seed=0):
    """Losses that fall by 0.02 per epoch, and rise once; each batch has a noise of 0.1."""
    rng = np.random.default_rng(seed)
    step = np.arange(EPOCHS * STEPS).reshape(EPOCHS, STEPS)
    level = 2 - 0.02 * step / STEPS + rise * (step >= at * STEPS)
    batch = level + rng.normal(0, SD, step.shape)
    taken = np.arange(TAKEN) * STEPS // TAKEN
    blank = blank_signals(TAKEN, 1, EPOCHS)
    signals = blank._replace(step=step[:, taken], loss=batch[:, taken].astype(np.float32))
    return EpochMetrics(batch.mean(1).astype(np.float32), signals=signals)


def test_a_rise_above_the_noise_is_found_where_it_is():
    """The standard error of a difference is 0.1 sqrt(2 / 160) = 0.011."""
    found = [loss_course(history(rise=0.12, seed=seed)).rose_at for seed in range(40)]
    assert found.count(8) >= 38


def test_noise_alone_seldom_rises():
    """20 epochs at 3 standard errors: about 1 in 40 histories, and fewer since the loss falls."""
    found = [loss_course(history(seed=seed)).rose_at for seed in range(200)]
    assert sum(each is not None for each in found) <= 10


def test_first_and_best_loss():
    given = history()
    found = loss_course(given)
    assert found.first == pytest.approx(given.signals.loss[0, 0])
    assert found.best == pytest.approx(np.min(given.train_loss))
    assert found.best_epoch == np.argmin(given.train_loss) + 1


def test_epochs_that_were_not_trained_do_not_count_and_an_infinite_loss_is_a_rise():
    given = history()
    step, loss = given.signals.step.copy(), np.array(given.train_loss)
    step[10:], loss[9], loss[10:] = -1, np.nan, np.nan
    stopped = given._replace(train_loss=loss, signals=given.signals._replace(step=step))
    found = loss_course(stopped)
    assert found.rose_at == 10
    assert found.best_epoch <= 9


def test_what_has_no_course_is_refused():
    with pytest.raises(jaxnet.InputError, match="no signals"):
        loss_course(EpochMetrics(np.ones(3, np.float32)))
