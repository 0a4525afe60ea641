"""Measures of advice against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from jaxnet.data import Dataset
from jaxnet.data.checks import dataset
from jaxnet.diagnostics.predicted import Predicted
from jaxnet.errors import InputError
from jaxnet.stats.estimate import Estimate
from jaxnet.studies.measures import MEASURES, measure_of

RNG = np.random.default_rng(0)
Y = np.repeat([0, 1, 2], [140, 40, 20]).astype(np.int32)
CLASSES = Dataset(np.zeros((200, 1), np.float32), Y, ("a", "b", "c"))
LOGITS = RNG.normal(size=(200, 3)) + 2 * np.eye(3)[Y]
EXACT = LOGITS - np.log(np.exp(LOGITS).sum(1, keepdims=True))
LOG = EXACT.astype(np.float32)
VALUES = Dataset(np.zeros((200, 1), np.float32), RNG.normal(size=200).astype(np.float32))


def test_mean_losses_are_those_of_scikit_learn():
    chosen, predicted = LOG.argmax(1), Predicted(LOG, Y)
    for name, theirs in (
        ("error", 1 - metrics.accuracy_score(Y, chosen)),
        ("balanced_error", 1 - metrics.balanced_accuracy_score(Y, chosen)),
        ("log_loss", metrics.log_loss(Y, np.exp(EXACT))),
    ):
        measure = measure_of(name, CLASSES)
        assert measure.losses(predicted).mean() == pytest.approx(theirs, rel=1e-5)
        several = Predicted(np.stack([LOG, LOG[:, ::-1]]), Y)
        assert measure.losses(several)[0] == pytest.approx(measure.losses(predicted))
    y = np.asarray(VALUES.y)
    values = Predicted(y + RNG.normal(size=200), y)
    squares = measure_of("rmse", VALUES).losses(values).mean()
    found = measure_of("rmse", VALUES).mean(Estimate(squares, 0.25, 4.0))
    assert found.estimate == pytest.approx(metrics.root_mean_squared_error(y, values.predictions))
    assert (found.low, found.high) == (0.5, 2.0)
    share = measure_of("error", VALUES).losses(values).mean()
    assert share == pytest.approx(1 - metrics.r2_score(y, values.predictions), rel=1e-5)


def test_a_probability_of_nearly_0_costs_a_bounded_loss():
    sure = Predicted(np.array([[0.0, -50.0, -np.inf]], np.float32), np.array([2]))
    assert measure_of("log_loss", CLASSES).losses(sure) == pytest.approx(6 * np.log(10))


def test_a_network_that_diverged_is_wrong_or_does_not_know():
    for name, wanted in (("error", 1.0), ("balanced_error", 1.0), ("log_loss", np.log(3))):
        found = measure_of(name, CLASSES).of_diverged(Y, 3)
        assert found.mean() == pytest.approx(wanted)
    y = np.asarray(VALUES.y)
    assert measure_of("error", VALUES).of_diverged(y, 1).mean() == pytest.approx(1.0, rel=1e-5)
    rmse = measure_of("rmse", VALUES)
    assert rmse.of_diverged(y, 1).mean() == pytest.approx(y.var(), rel=1e-5)
    assert rmse.tolerance(0.02) == pytest.approx(0.02 * y.std(), rel=1e-5)


def test_the_loss_of_several_values_or_labels_is_their_mean():
    x, y = np.zeros((200, 1), np.float32), RNG.normal(size=(200, 2)) * [1, 100]
    values = dataset(x, y)
    predicted = y + RNG.normal(size=(200, 2)) * [1, 30]
    measure = measure_of("error", values)
    wanted = metrics.mean_squared_error(y / y.std(0), predicted / y.std(0))
    assert measure.losses(Predicted(predicted, y)).mean() == pytest.approx(wanted, rel=1e-5)
    assert measure.of_diverged(y, 2).mean() == pytest.approx(1.0, rel=1e-5)
    answers = (y > 0).astype(np.int32)
    labels = dataset(x, answers, task="multi-label")
    measure, said = measure_of("error", labels), RNG.uniform(-2, 0, (200, 2))
    wanted = metrics.hamming_loss(answers, said > np.log(0.5))
    assert measure.losses(Predicted(said, answers)).mean() == pytest.approx(wanted)
    assert (measure.zero_or_one, measure.shares, measure.losses_of["largest"]) == (False, True, 1)
    assert (measure.of_diverged(answers, 2) == 1).all()
    for several, name in ((values, "rmse"), (labels, "log_loss"), (labels, "balanced_error")):
        with pytest.raises(InputError, match=f"measure is {name}, but each example has several"):
            measure_of(name, several)


def test_what_gains_must_know_of_the_losses():
    balanced = measure_of("balanced_error", CLASSES).losses_of
    assert balanced == {"counted": True, "largest": pytest.approx(200 / 60), "root": False}
    kinds = {name: measure_of(name, CLASSES).counted for name in MEASURES[:3]}
    assert kinds == {"error": True, "balanced_error": True, "log_loss": False}
    assert not measure_of("error", VALUES).counted
    assert measure_of("rmse", VALUES).losses_of["root"]


def test_a_measure_that_does_not_fit_the_labels_is_refused():
    with pytest.raises(InputError, match="unknown measure 'f1'"):
        measure_of("f1", CLASSES)
    with pytest.raises(InputError, match="rmse, which needs values"):
        measure_of("rmse", CLASSES)
    with pytest.raises(InputError, match="log_loss, which needs classes"):
        measure_of("log_loss", VALUES)
