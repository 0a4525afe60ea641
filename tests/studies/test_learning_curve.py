"""Learning curves: the networks are those of fit, the numbers those of evaluate, and what is said
of more data.
"""

import jax
import numpy as np
import pytest

import jaxnet
from jaxnet import Recipe
from jaxnet.data import resampling
from jaxnet.diagnostics import extrapolate, repeated
from jaxnet.diagnostics.symptoms import more_data
from jaxnet.stats.curve_prior import measured

MODEL = jaxnet.mlp((16,))
RECIPE = Recipe(epochs=4, batch_size=32, learning_rate=1e-2, schedule="constant")
KEY = jax.random.key(3)
SIZES = [20, 40, 80, 160, 320, 640]


@pytest.fixture(scope="module")
def traced(digits):
    return jaxnet.learning_curve(MODEL, digits, RECIPE, KEY, sizes=SIZES, members=5)


@pytest.mark.core
def test_each_error_is_that_of_the_network_alone(digits, traced):
    curve = traced
    samples = resampling.first(KEY, SIZES, len(digits.train), repeats=5)
    for order, place in ((0, 0), (3, 2), (4, 5)):
        member = order * len(SIZES) + place
        run = jaxnet.fit(
            MODEL, digits, RECIPE, jax.random.fold_in(KEY, member), **samples.alone(member)
        )
        alone = jaxnet.evaluate(MODEL, run, digits.test).error.estimate
        # rounding may turn an example
        assert curve.errors[place, order] == pytest.approx(alone, abs=1.5 / len(digits.test))
        assert curve.training[place, order] == pytest.approx(
            1 - float(run.history.train_accuracy[-1]), abs=2e-3
        )
        assert samples.seen(member).sum() == SIZES[place]
    assert len(curve.networks) == 30


def test_what_a_curve_says(digits, traced):
    curve = traced
    assert curve.test_examples == len(digits.test)
    assert curve.measured[2] == repeated(curve.errors[2])
    assert curve.measured[0].estimate > 2 * curve.measured[-1].estimate
    assert curve.predict([1_000])[0] == extrapolate(SIZES, curve.errors, 1_000, curve.test_examples)
    assert curve.needed(0.5).reached
    assert curve.needed(1e-3).probabilities[0][0] == 1280


def test_default_sizes(digits):
    curve = jaxnet.learning_curve(MODEL, digits, Recipe(epochs=1), KEY, members=2)
    n = len(digits.train)
    assert curve.sizes[::2].tolist() == [n >> 6, n >> 5, n >> 4, n >> 3, n >> 2, n >> 1, n]
    assert curve.sizes[-2] == int(n / np.sqrt(2))
    assert "13 sizes and 2 members are too few" in (curve.predict([2 * n])[0].refused or "")
    assert "too few" in str(curve.needed(0.01))


def test_members_that_diverge_are_counted_and_left_out(digits):
    curve = jaxnet.learning_curve(
        MODEL,
        digits,
        Recipe(optimizer="sgd", learning_rate=1e30, epochs=2, schedule="constant", batch_size=128),
        KEY,
        sizes=[50, 100],
        members=2,
    )
    assert curve.diverged == 4
    assert "at some size all members diverged" in (curve.predict([200])[0].refused or "")
    assert "diverged" in str(curve.needed(0.1))


def test_of_a_regression_the_curve_is_measured_only():
    x = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    splits = jaxnet.split(x, x @ np.array([1.0, 2.0, 3.0], np.float32), seed=0)
    curve = jaxnet.learning_curve(
        jaxnet.linear(),
        splits,
        Recipe(epochs=60, learning_rate=0.05, schedule="constant", batch_size=128),
        KEY,
        sizes=[10, 240],
        members=5,
    )
    assert curve.errors[-1].max() < 1e-3  # of a variance of 14
    assert curve.training[-1].max() < 1e-3
    assert "never checked" in (curve.predict([1_000])[0].refused or "")
    assert curve.needed(1e-3).reached
    assert "cannot be said: curves of squared errors were never checked" in str(curve.needed(1e-9))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"sizes": [40, 20]}, r"sizes are \[40, 20\]; give growing"),
        ({"sizes": [0, 20]}, r"sizes are \[0, 20\]"),
        ({"sizes": [20, 10**6]}, "the largest size is 1,000,000, and there are 1,258"),
        ({"members": 0}, "members is 0"),
    ],
)
def test_bad_arguments(digits, more, words):
    with pytest.raises(jaxnet.InputError, match=words):
        jaxnet.learning_curve(MODEL, digits, RECIPE, KEY, **more)


def _found(errors, spread=0.02, tolerance=0.02):
    n = 500 * 2.0 ** np.arange(len(errors))
    members = np.asarray(errors)[:, None] * (
        1 + spread * np.random.default_rng(0).standard_normal((len(errors), 8))
    )
    return more_data(measured(n, members, 10_000), repeated(members[-1]), tolerance)


def test_more_data_helps_or_not():
    helps = _found([0.6, 0.5, 0.4, 0.3, 0.22, 0.16], tolerance=0.01)
    assert helps.code == "more_data_helps"
    assert helps.claimed
    assert helps.size.low > 0.01
    assert "times as many training examples the error would be" in helps.evidence
    will_not = _found([0.05, 0.03, 0.02, 0.015, 0.012, 0.010])
    assert will_not.code == "more_data_will_not_help"
    assert will_not.size.high < 0.02
    assert will_not.remedies[0].field == "hidden"
    unknown = _found([0.2, 0.16, 0.14, 0.135, 0.134, 0.1335])
    assert not unknown.claimed
    refused = _found([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], spread=0)
    assert not refused.claimed
    assert "cannot be said: the error has not begun to fall" in refused.evidence
