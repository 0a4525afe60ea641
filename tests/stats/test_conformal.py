"""Prediction sets and limits, beside formulas and simulations with a known truth."""

import numpy as np
import pytest

from jaxnet import InputError
from jaxnet.stats.conformal import (
    Calibration,
    check_coverage,
    examples_needed,
    prediction_limits,
    prediction_sets,
    remarks,
)


def one(predictions, y, groups=None):
    """The calibration of one network that saw none of the examples."""
    return Calibration(predictions[None], np.ones((1, len(y)), bool), y, groups)


def test_sets_of_one_network_are_those_of_the_quantile_of_split_conformal_prediction():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), 300)
    y = np.array([rng.choice(4, p=p) for p in probabilities])
    known, new = probabilities[:99], probabilities[99:]
    fits = known[np.arange(99), y[:99]]
    for coverage in (0.5, 0.9, 0.98):
        # Angelopoulos & Bates 2023, section 1: the ceil((n + 1) (1 - alpha)) / n quantile
        score = np.sort(1 - fits)[int(np.ceil(round(100 * coverage, 9))) - 1]
        found = prediction_sets(one(fits, y[:99]), new[None], coverage)
        np.testing.assert_array_equal(found, 1 - new <= score)
    apart = prediction_sets(one(fits, y[:99]), new[None], 0.9, by_class=True)
    for label in range(4):
        own = fits[y[:99] == label]
        score = np.sort(1 - own)[int(np.ceil(round((len(own) + 1) * 0.9, 9))) - 1]
        np.testing.assert_array_equal(apart[:, label], 1 - new[:, label] <= score)


def test_limits_are_those_of_the_jackknife_plus():
    rng = np.random.default_rng(1)
    n, x, y = 40, rng.normal(size=41), rng.normal(size=40)
    without = np.array([np.polyfit(np.delete(x[:n], i), np.delete(y, i), 1) for i in range(n)])
    predictions = without[:, :1] * x + without[:, 1:]
    given = Calibration(predictions[:, :n], np.eye(n, dtype=bool), y)
    ((low, high),) = prediction_limits(given, predictions[:, n:], 0.9)
    off = np.abs(y - predictions[np.arange(n), np.arange(n)])
    # Barber et al. 2021, eq. 1.2, with alpha (n + 1) = 4.1 and (1 - alpha) (n + 1) = 36.9
    assert low == pytest.approx(np.sort(predictions[:, n] - off)[3])
    assert high == pytest.approx(np.sort(predictions[:, n] + off)[36])
    assert np.isinf(prediction_limits(given, predictions[:, n:], 0.98)).all()
    narrow = prediction_limits(one(y * 0, y), np.array([[2.0]]), 0.9)
    np.testing.assert_allclose(narrow, [[2 - np.sort(abs(y))[36], 2 + np.sort(abs(y))[36]]])


def test_networks_of_folds_vote_without_those_that_saw_an_example():
    rng = np.random.default_rng(2)
    n, judged = 60, np.arange(6)[:, None] % 3 == np.arange(60) % 3
    predictions, new = rng.normal(size=(6, n)), rng.normal(size=(6, 5))
    y = rng.normal(size=n)
    found = prediction_limits(Calibration(predictions, judged, y), new, 0.9)
    votes = np.stack([(new[i % 3] + new[i % 3 + 3]) / 2 for i in range(n)])
    off = abs(y - [(predictions[i % 3, i] + predictions[i % 3 + 3, i]) / 2 for i in range(n)])
    np.testing.assert_allclose(found[:, 0], np.sort(votes - off[:, None], 0)[5])  # 6.1
    np.testing.assert_allclose(found[:, 1], np.sort(votes + off[:, None], 0)[54])  # 54.9
    # the p-value of Vovk 2015, eq. 7, by hand
    p, q = 1 / (1 + np.exp(-predictions)), 1 / (1 + np.exp(-new))
    both = np.stack([q, 1 - q], -1)
    sets = prediction_sets(Calibration(p, judged, np.zeros(n, int)), both, 0.8)
    fit = np.array([(p[i % 3, i] + p[i % 3 + 3, i]) / 2 for i in range(n)])
    for row in range(5):
        for label in range(2):
            vote = [(both[i % 3] + both[i % 3 + 3])[row, label] / 2 for i in range(n)]
            assert sets[row, label] == ((1 + (fit <= vote).sum()) / 61 > 0.2)


def test_limits_hold_the_values_of_rows_of_new_groups_as_often_as_they_say():
    """1,000 draws of 12 groups, of 1 row far off or of 10 rows near, and one row of another
    group.
    """
    rng, held = np.random.default_rng(3), np.zeros((1000, 2), bool)
    for draw in range(1000):
        sizes = rng.choice([1, 10], 13)
        groups = np.repeat(np.arange(13), sizes)
        y = (np.where(sizes == 1, 3, 1) * rng.normal(size=13))[groups]
        known = groups < 12
        for grouped in (0, 1):
            given = one(0 * y[known], y[known], groups[known] if grouped else None)
            ((low, high),) = prediction_limits(given, np.zeros((1, 1)), 0.9)
            held[draw, grouped] = low <= y[known.sum()] <= high
    alone, together = held.mean(0)
    assert 0.9 - 3 * np.sqrt(0.09 / 1000) < together < 0.9 + 1 / 13 + 3 * np.sqrt(0.09 / 1000)
    assert alone < 0.9 - 6 * np.sqrt(0.09 / 1000)  # where each row counts the same


def test_what_sets_do_not_hold_and_what_is_too_little_known_is_said():
    assert [examples_needed(coverage) for coverage in (0.9, 0.95, 0.98)] == [9, 19, 49]
    fits, y = np.full(30, 0.9), np.repeat([0, 1], [25, 5])
    new = np.array([[[0.95, 0.05], [0.5, 0.5]]])
    sets = prediction_sets(one(fits, y), new, 0.9)
    assert sets.tolist() == [[True, False], [False, False]]
    (empty,) = remarks(sets, one(fits, y), 0.9)
    assert empty.startswith("1 of 2 prediction sets are empty")
    apart = prediction_sets(one(fits, y), new, 0.9, by_class=True)
    assert apart[:, 1].all()
    (few,) = remarks(apart, one(fits, y), 0.9, ("a", "b"))
    assert few.endswith("are in every set: b (5)")
    (none,) = remarks(prediction_sets(one(fits, y), new, 0.98), one(fits, y), 0.98)
    assert none.startswith("30 examples with labels are too few for 98% coverage")
    with pytest.raises(InputError, match=r"coverage is 95\.0; give a number between 0 and 1"):
        check_coverage(95.0)
