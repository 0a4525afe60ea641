"""Error rates from a few labels and many predictions, against scipy and simulations whose truth is
known.
"""

import numpy as np
import pytest

from jaxnet.stats.estimate import wilson
from jaxnet.stats.prediction_powered import prediction_powered_rate


def drawn(rng, n, strength):
    """(wrong, predicted): an error of 30% or so, and predictions that are not calibrated."""
    doubt = rng.standard_normal(n)
    wrong = rng.random(n) < 1 / (1 + np.exp(1.0 - strength * doubt))
    return wrong, 1 / (1 + np.exp(2.0 - 0.7 * strength * doubt))


@pytest.mark.parametrize("errors", [0, 4, 97, 100])
def test_few_errors_are_counted_exactly(errors):
    stats = pytest.importorskip("scipy.stats")
    wrong, predicted = np.arange(100) < errors, np.linspace(0.1, 0.9, 100)
    found, _ = prediction_powered_rate(wrong, predicted, predicted)
    exact = stats.binomtest(errors, 100).proportion_ci()
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_predictions_that_say_nothing_are_ignored():
    wrong, predicted = np.arange(400) < 120, np.full(400, 0.3)
    found, variance = prediction_powered_rate(wrong, predicted, np.full(1000, 0.9))
    plain = wilson(120, 400)
    assert found.estimate == pytest.approx(0.3)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=1e-3)
    assert variance == pytest.approx(0.21, rel=0.01)


def test_perfect_predictions_leave_the_error_of_all_examples():
    """Then the labels say nothing that the predictions do not: of 4,100 examples 30% are wrong."""
    wrong = np.random.default_rng(0).random(4100) < 0.3
    found, variance = prediction_powered_rate(wrong[:100], wrong[:100] * 1.0, wrong[100:] * 1.0)
    assert found.estimate == pytest.approx(wrong.mean(), abs=0.01)
    assert np.sqrt(variance / 100) == pytest.approx(np.sqrt(0.21 / 4100), rel=0.05)


@pytest.mark.parametrize(("strength", "narrower"), [(0.0, 0.97), (3.0, 0.75)])
def test_intervals_cover_and_predictions_narrow_them(strength, narrower):
    truth = float(drawn(np.random.default_rng(0), 400_000, strength)[0].mean())
    inside, ratio = [], []
    for seed in range(1, 401):
        wrong, predicted = drawn(np.random.default_rng(seed), 1000, strength)
        found, _ = prediction_powered_rate(wrong[:100], predicted[:100], predicted[100:])
        alone = wilson(int(wrong[:100].sum()), 100)
        inside.append(found.low <= truth <= found.high)
        ratio.append((found.high - found.low) / (alone.high - alone.low))
    assert 0.93 <= np.mean(inside) <= 0.98
    assert np.median(ratio) < narrower + 0.05
