"""Neighbors are those of scikit-learn, and bounds hold where the smallest error is known."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

import jaxnet
from jaxnet.stats.nearest_neighbor import bayes_error_bounds, nearest, predict, residual_variance

NUMBERS = (1, 2, 6, 15)


@pytest.fixture(scope="module")
def table():
    """Inputs of three classes, with values, in five folds."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 400)
    x = (rng.normal(size=(400, 4)) + y[:, None]).astype(np.float32)
    return x, y, x[:, 0] + rng.normal(size=400), np.arange(400) % 5


def predicted(kind, x, y, fold_of):
    """Predictions of scikit-learn for each example, from the other folds."""
    return np.stack(
        [
            cross_val_predict(
                kind(k, algorithm="brute"), x, y, groups=fold_of, cv=LeaveOneGroupOut()
            )
            for k in NUMBERS
        ],
        axis=1,
    )


def test_votes_and_means_are_those_of_scikit_learn(table):
    x, y, values, fold_of = table
    rows = np.random.default_rng(1).permutation(400)[:150]
    near = nearest(x, fold_of, rows, NUMBERS[-1], at_once=10_000)
    assert (fold_of[near] != fold_of[rows][:, None]).all()
    allowed = np.ones(near.shape, bool)
    np.testing.assert_array_equal(
        predict(y[near], allowed, NUMBERS, 3), predicted(KNeighborsClassifier, x, y, fold_of)[rows]
    )
    np.testing.assert_allclose(
        predict(values[near], allowed, NUMBERS),
        predicted(KNeighborsRegressor, x, values, fold_of)[rows],
    )


def test_neighbors_that_are_not_allowed_do_not_count(table):
    """Without fold 1, examples of fold 0 have the neighbors of a table in which it is missing."""
    x, y, values, fold_of = table
    rows, rest = np.flatnonzero(fold_of == 0), np.flatnonzero(fold_of != 1)
    near = nearest(x, fold_of, rows, 100)
    allowed = fold_of[near] != 1
    assert allowed.sum(1).min() >= NUMBERS[-1]
    own = np.flatnonzero(fold_of[rest] == 0)
    np.testing.assert_array_equal(
        predict(y[near], allowed, NUMBERS, 3),
        predicted(KNeighborsClassifier, x[rest], y[rest], fold_of[rest])[own],
    )
    np.testing.assert_allclose(
        predict(values[near], allowed, NUMBERS),
        predicted(KNeighborsRegressor, x[rest], values[rest], fold_of[rest])[own],
    )


def test_where_few_neighbors_are_allowed_all_of_them_count():
    y = np.array([[3.0, 1.0, 5.0, 9.0]])
    allowed = np.array([[False, True, True, False]])
    np.testing.assert_array_equal(predict(y, allowed, (1, 2, 4)), [[1.0, 3.0, 3.0]])
    np.testing.assert_array_equal(predict(y.astype(int), allowed, (1, 2, 4), 10), [[1, 1, 1]])


@pytest.mark.parametrize("shift", [0.1, 0.5, 1.0, 2.0])
def test_two_gaussians(shift):
    """Classes at -shift and shift with variance 1: the nearest neighbor errs in 2 p (1 - p), where
    p is the probability of a class, and the best rule in the area beyond 0.
    """

    def mistakes(x):
        there, here = norm.pdf(x - shift) / 2, norm.pdf(x + shift) / 2
        return 2 * there * here / (there + here)

    error, _ = quad(mistakes, -shift - 10, shift + 10)
    low, high = bayes_error_bounds(error, 2)
    best = norm.cdf(-shift)
    assert low < best < high == pytest.approx(error)
    assert high - low <= 1 / 8  # the largest difference, at an error of 3/8


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3])
def test_the_lower_bound_is_reached_by_noise_that_is_the_same_everywhere(classes, noise):
    """A share of the labels is replaced by other classes: that share is the smallest error."""
    error = 1 - (1 - noise) ** 2 - noise**2 / (classes - 1)
    low, high = bayes_error_bounds(error, classes)
    assert low == pytest.approx(noise)
    assert high == pytest.approx(error)


def test_worse_than_guessing_is_guessing():
    assert bayes_error_bounds(0.95, 4) == (0.75, 0.75)
    assert bayes_error_bounds(0.0, 2) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("error", "classes", "message"),
    [(1.2, 2, "error is 1.2"), (float("nan"), 2, "error is nan"), (0.1, 1, "classes is 1")],
)
def test_what_is_no_error_is_refused(error, classes, message):
    with pytest.raises(jaxnet.InputError, match=message):
        bayes_error_bounds(error, classes)


@pytest.mark.parametrize("deviation", [0.1, 1.0])
def test_residual_variance_is_that_of_the_noise(deviation):
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(0, 1, 20_000))
    y = np.sin(6 * x) + deviation * rng.normal(size=len(x))
    nearest = np.where(x - np.roll(x, 1) < np.roll(x, -1) - x, np.roll(y, 1), np.roll(y, -1))
    inner = slice(1, -1)
    assert residual_variance(y[inner], nearest[inner]) == pytest.approx(deviation**2, rel=0.05)


def test_residual_variance_of_three_values():
    assert residual_variance(np.array([1.0, 2, 4]), np.array([2.0, 1, 2])) == pytest.approx(1.0)
