"""Predictions and metrics, against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

import jaxnet
from jaxnet.data import Standardization
from jaxnet.diagnostics.ladder import network_ladder
from jaxnet.engine.prediction import class_metrics, score, value_metrics

pytestmark = pytest.mark.core

RNG = np.random.default_rng(0)
LOG_P = np.log(RNG.dirichlet(np.ones(4), 500)).astype(np.float32)
Y = RNG.integers(0, 4, 500).astype(np.int32)
UNIT = Standardization(jnp.zeros(()), jnp.ones(()), jnp.float32(0.0), jnp.float32(1.0))


def test_class_metrics_are_scikit_learns():
    ours, predictions = class_metrics(LOG_P, Y), LOG_P.argmax(1)
    precision, recall, f1, _ = sk.precision_recall_fscore_support(Y, predictions)
    np.testing.assert_allclose(ours.precision, precision)
    np.testing.assert_allclose(ours.recall, recall)
    np.testing.assert_allclose(ours.f1, f1)
    np.testing.assert_array_equal(ours.confusion, sk.confusion_matrix(Y, predictions))
    assert ours.accuracy.estimate == pytest.approx(sk.accuracy_score(Y, predictions))
    assert ours.loss.estimate == pytest.approx(
        -np.mean([LOG_P[i, y] for i, y in enumerate(Y)]), rel=1e-5
    )
    assert ours.baseline == pytest.approx(1 - np.bincount(Y).max() / 500)


def test_the_value_before_is_guessed_only_where_it_is_known():
    """As in a series that stood in its order; rows in another order, or at the same time, have no
    value before them.
    """
    y = np.cumsum(np.random.default_rng(0).standard_normal(200))
    x, time = np.arange(200.0)[:, None], np.arange(200)
    splits = jaxnet.split(x, y, order=time)
    found = score(np.zeros(len(splits.test)), splits.test, splits)
    mean, before = found.guesses
    previous = y[np.flatnonzero(np.isin(y.astype(np.float32), np.asarray(splits.test.y))) - 1]
    assert before.rmse.estimate == pytest.approx(
        sk.root_mean_squared_error(splits.test.y, previous), rel=1e-5
    )
    assert before.rmse.estimate < mean.rmse.estimate
    for order in (time[::-1], time // 2):
        other = jaxnet.split(x, y, order=order)
        assert len(score(np.zeros(len(other.test)), other.test, other).guesses) == 1


def test_a_class_never_predicted_or_never_there_is_nan_and_not_a_warning():
    ours = class_metrics(
        np.log(np.array([[0.8, 0.1, 0.1], [0.7, 0.2, 0.1]], np.float32)), np.array([0, 1], np.int32)
    )
    assert np.isnan(ours.precision[1])
    assert np.isnan(ours.recall[2])


def test_predictions_that_are_not_numbers_are_wrong():
    broken = LOG_P.copy()
    broken[broken.argmax(1) == Y] = np.nan
    ours = class_metrics(broken, Y)
    assert ours.accuracy.estimate == 0
    assert not ours.recall.any()
    values = value_metrics(np.full(40, np.nan, np.float32), Y[:40].astype(np.float32), UNIT)
    assert np.isnan(values.rmse.estimate)
    assert np.isnan(values.error.estimate)


def test_value_metrics_are_scikit_learns():
    y = RNG.normal(50, 9, 300).astype(np.float32)
    predictions = (y + RNG.normal(0, 3, 300)).astype(np.float32)
    ours = value_metrics(
        predictions,
        y,
        Standardization(jnp.zeros(()), jnp.ones(()), jnp.float32(49.0), jnp.float32(8.0)),
    )
    assert ours.rmse.estimate == pytest.approx(sk.root_mean_squared_error(y, predictions), rel=1e-5)
    assert ours.r2.estimate == pytest.approx(sk.r2_score(y, predictions), rel=1e-5)
    median = ours.median_absolute_error
    assert median.estimate == pytest.approx(sk.median_absolute_error(y, predictions), rel=1e-5)
    assert median.low < median.estimate < median.high
    assert ours.error.estimate == pytest.approx(
        sk.mean_squared_error(y, predictions) / 64, rel=1e-5
    )
    assert ours.baseline == pytest.approx(np.mean((y - 49.0) ** 2) / 64, rel=1e-5)
    assert ours.rmse.low < ours.rmse.estimate < ours.rmse.high
    assert ours.r2.low < ours.r2.estimate < ours.r2.high


def test_values_come_back_in_the_units_of_y():
    x = RNG.normal(size=(400, 3)).astype(np.float32)
    y = (1000 + 50 * x[:, 0]).astype(np.float32)
    splits = jaxnet.split(x, y)
    model, recipe = (
        jaxnet.mlp((32,)),
        jaxnet.Recipe(epochs=60, learning_rate=1e-2, batch_size=32, schedule="constant"),
    )
    run = jaxnet.fit(model, splits, recipe, jax.random.key(0))
    assert jaxnet.evaluate(model, run, splits.test).r2.estimate > 0.98
    assert abs(jaxnet.predict(model, run, splits.test.x).mean() - 1000) < 20


@pytest.mark.parametrize("n", [0, 1, 999, 1000, 1001, 2300])
def test_predict_gives_the_same_for_any_number_of_examples(digits, n):
    model = jaxnet.mlp((8,))
    run = jaxnet.fit(model, digits, jaxnet.Recipe(epochs=1), jax.random.key(0))
    x = RNG.integers(0, 17, (n, 8, 8), dtype=np.uint8)
    ours = jaxnet.predict(model, run, x)
    assert ours.shape == (n, 10)
    x1 = (x.reshape(n, 64).astype(np.float64) - float(run.standardization.mean)) / float(
        run.standardization.scale
    )
    p = jax.tree.map(np.float64, run.params)
    logits = (
        np.maximum(x1 @ p["hidden_0"]["kernel"] + p["hidden_0"]["bias"], 0) @ p["output"]["kernel"]
        + p["output"]["bias"]
    )
    np.testing.assert_allclose(
        ours, logits - np.log(np.exp(logits).sum(1, keepdims=True)), atol=1e-4
    )


def test_other_shapes_and_classes_are_refused(digits):
    model = jaxnet.mlp((8,))
    run = jaxnet.fit(model, digits, jaxnet.Recipe(epochs=1), jax.random.key(0))
    with pytest.raises(
        jaxnet.InputError,
        match=r"x has examples of shape \(9, 9\), but the network was trained on \(8, 8\)",
    ):
        jaxnet.predict(model, run, np.zeros((2, 9, 9)))
    other = jaxnet.Dataset(digits.test.x, digits.test.y, tuple("abcdefghij"))
    with pytest.raises(jaxnet.InputError, match="the data set has classes"):
        jaxnet.evaluate(model, run, other)


def test_the_ladder_of_a_network_is_made_of_its_metrics():
    wrong = {"train": 0, "validation": 100, "test": 105}
    parts = {}
    for name, count in wrong.items():
        log_p = np.log(np.full((500, 2), 0.5, np.float32))
        log_p[:, 0] += 0.1
        parts[name] = class_metrics(log_p, (np.arange(500) < count).astype(np.int32))
    assert network_ladder(parts).verdict.startswith("high variance: ")
