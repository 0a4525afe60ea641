"""Bounds that the nearest neighbor gives, where the smallest possible error is known."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

import jaxnet
from jaxnet.stats.nearest_neighbor import bayes_error_bounds, residual_variance


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
