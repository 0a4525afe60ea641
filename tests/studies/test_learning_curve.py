"""Learning curves: the networks are those of fit, the numbers those of evaluate, and what is said
of more data.
"""

import re

import jax
import numpy as np
import pytest

import jaxnet
from jaxnet import Recipe
from jaxnet.data import resampling
from jaxnet.diagnostics import extrapolate, repeated
from jaxnet.diagnostics.symptoms import more_data
from jaxnet.stats.curve_prior import Curves, measured
from jaxnet.stats.extrapolation import predicted_together

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
    assert "2 networks at each of 13 sizes are too few" in (curve.predict([2 * n])[0].refused or "")
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
    assert "validated for the error of classes only" in (curve.predict([1_000])[0].refused or "")
    assert curve.needed(1e-3).reached
    assert "cannot be said: predictions were validated for the error of classes only" in str(
        curve.needed(1e-9)
    )


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


SAID_SIZES = 250 * 2.0 ** (np.arange(13) / 2)


def said(errors, spread=0.02, tolerance=0.02):
    members = np.asarray(errors)[:, None] * (
        1 + spread * np.random.default_rng(0).standard_normal((len(errors), 8))
    )
    return more_data(measured(SAID_SIZES, members, 10_000), tolerance)


def test_more_data_brings_a_gain():
    found = said(9.5 / np.sqrt(SAID_SIZES), tolerance=0.005)
    assert found.code == "more_data_helps"
    assert found.claimed
    assert found.size.low > 0.005
    words = r"with [\d,]+ training examples, the error is 7\.4\d%; with [248] times the data, \d"
    assert re.match(words, found.evidence)
    assert found.evidence.endswith(
        "%): lower by more than 0.5 points, the smallest difference that matters (the tolerance), "
        "unless the curve bends beyond the 16,000 examples measured"
    )


def test_more_data_brings_no_gain_that_matters():
    found = said(0.45 * SAID_SIZES**-0.4, tolerance=0.01)
    assert found.code == "more_data_will_not_help"
    assert found.claimed
    assert found.size.high < 0.01
    assert re.match(r"with [\d,]+ training examples, the error is 0\.9", found.evidence)
    assert "; with 8 times the data, 0." in found.evidence
    assert "lower by less than 1 point, the smallest difference" in found.evidence
    assert found.evidence.endswith("unless the curve bends beyond the 16,000 examples measured")


def test_no_gain_is_claimed_as_far_as_it_is_certain():
    found = said(0.02 + 0.06 * (SAID_SIZES / 250) ** -0.7, tolerance=0.0125)
    assert (found.code, found.claimed) == ("more_data_will_not_help", True)
    assert re.match(r"with [\d,]+ training examples, the error is 2\.3", found.evidence)
    assert "; with 2 times the data, 2." in found.evidence
    assert found.evidence.endswith(
        ". For 4 and 8 times the data it is uncertain whether it falls by more"
    )


def test_too_little_is_known_of_more_data():
    found = said(0.1 + 25 / SAID_SIZES)
    assert not found.claimed
    assert found.evidence.startswith(
        "it is uncertain whether more data would lower the error by more than 2 points"
    )
    assert "training examples, the error is 10" in found.evidence
    refused = said(np.full(13, 0.5), spread=0)
    assert not refused.claimed
    assert "(the tolerance): the error has not begun to fall" in refused.evidence


def test_an_error_below_the_tolerance_cannot_fall_by_more():
    found = said(np.full(13, 0.01), spread=0)
    assert (found.code, found.claimed) == ("more_data_will_not_help", True)
    assert found.size.refused
    assert found.evidence.startswith("the error is 1.00% with 16,000 examples, so no amount")


def test_a_forecast_that_tells_no_fall_is_not_given():
    """Errors of networks that look up tokens, some of which have not begun to learn at small sizes:
    the forecast for 8 times the data was 19.84%, with 0.02% measured.
    """
    error = np.array([[0.50325, 0.3405, 0.146328125, 0.0596875, 2.34375e-4]])
    variance = np.array([[5.29e-4, 0.0508, 0.0507, 0.0262, 8.79e-7]])
    members = np.array([[5.0, 5, 16, 8, 16]])
    curve = Curves(
        np.array([[200.0, 400, 800, 1600, 2800]]), error, variance, members, np.r_[800.0]
    )
    for each in predicted_together(curve):
        assert "does not tell a fall from the 0.02% measured" in each.refused
        assert np.isnan(each.high)
    low = more_data(curve, 0.02)
    assert (low.code, low.claimed) == ("more_data_will_not_help", True)
    assert low.evidence.startswith("the error is 0.02% with 2,800 examples, so no amount of data")
    open_ = more_data(curve, 1e-4)
    assert not open_.claimed
    assert re.search(r"uncertain .* between 0\.00% and \d+\.\d\d% is predicted", open_.evidence)


def test_the_gain_is_the_one_between_the_errors_that_are_printed():
    found = said(9.5 / np.sqrt(SAID_SIZES))
    now, *predicted = (float(each) for each in re.findall(r"([\d.]+)%", found.evidence))
    then, low, high = predicted[-3:]  # with 8 times the data, whose gain is the size
    expected = [now - then, now - high, now - low]
    for value, points in zip(
        (found.size.estimate, found.size.low, found.size.high), expected, strict=True
    ):
        assert 100 * value == pytest.approx(points, abs=0.011)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_trend_of_a_regression(seed):
    """Where y is linear in 60 inputs, with noise, the error of least squares falls with the
    examples, and the interval of its fall is above 0.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(1200, 60)).astype(np.float32)
    y = x @ rng.normal(size=60) + 8 * rng.normal(size=1200)
    recipe = Recipe(epochs=40, learning_rate=0.02, schedule="constant", batch_size=64)
    curve = jaxnet.learning_curve(
        jaxnet.linear(),
        jaxnet.split(x, y.astype(np.float32), seed=0),
        recipe,
        KEY,
        sizes=[90, 180, 360],
        members=8,
    )
    assert curve.trend.sizes == (180, 360)
    each = curve.errors[1] - curve.errors[2]
    assert curve.trend.fall.estimate == pytest.approx(each.mean(), rel=1e-5)
    assert curve.trend.fall.low > 0
    (found,) = curve.findings(0.02)
    assert found.code == "error_still_falls"
    assert found.claimed == (found.size.low > 0.02)
    assert ": it still falls" in found.evidence
    assert "from 180 to 360 training examples the error went from" in found.evidence
    assert curve.summary()["trend"]["fall"]["low"] == curve.trend.fall.low


def test_a_linear_model_is_given_hidden_layers_where_more_data_will_not_help():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 600)
    x = (rng.normal(size=(600, 2)) + np.where(y, 0.5, -0.5)[:, None]).astype(np.float32)
    splits = jaxnet.split(x, y, seed=0)
    recipe = Recipe(epochs=20, learning_rate=0.02, schedule="constant")
    for model, remedy in ((jaxnet.linear(), "hidden layers"), (jaxnet.mlp((4,)), "wider")):
        curve = jaxnet.learning_curve(model, splits, recipe, KEY, members=5)
        (found,) = curve.findings(0.2)
        assert found.code == "more_data_will_not_help"
        assert found.claimed
        words = [each.words for each in found.remedies]
        assert any(remedy in each for each in words), words
        assert ("wider" in " ".join(words)) == (remedy == "wider")
