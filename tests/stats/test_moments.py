"""Tails, skewness and kurtosis against distributions that are known, and what they do to intervals
of squared errors.
"""

import math

import numpy as np
import pytest
from scipy import stats

from jaxnet.diagnostics import (
    bias_variance_decomposition,
    combination,
    cross_fitted_errors,
    error_of,
    exact,
    mean,
    value_scores,
)
from jaxnet.stats.cross_fitting import error_of_network
from jaxnet.stats.moments import UNLESS, degrees_of_freedom, reaches, tail
from jaxnet.stats.scores import median_error


def test_a_tail_index_is_hills_by_hand():
    """The largest 5% of 60 values are 3: 1, 2 and 3 above the next one on the logarithmic scale."""
    values = np.r_[np.exp([4.0, 3.0, 2.0, 1.0]), np.linspace(2, 0, 56)]
    found = tail(values)
    assert (found.largest, found.examples) == (3, 60)
    assert found.index == pytest.approx(1 / 2)
    low, high = stats.chi2(6).ppf([0.05, 0.95]) / 6 / 2
    assert (found.low, found.high) == pytest.approx((low, high))
    assert tail(values + 7)[:3] == pytest.approx(found[:3])
    assert "the 3 largest of 60 errors have tail index 0.5" in (found.refused or "")


def test_with_many_values_a_smaller_share_shows_the_tail():
    """Loretan & Phillips 1994: 1,000,000^(2/3) / log(log(1,000,000)) = 10,000 / 2.6258."""
    values = np.r_[0, np.random.default_rng(0).pareto(2.5, 999_999) + 1]
    found = tail(values)
    assert found.largest == 3808
    assert found.low < 2.5 < found.high
    assert found.caution is None
    assert tail(values[:1000]).largest == 50


@pytest.mark.parametrize("count", [100, 1000])
def test_limits_of_the_tail_index_of_exact_pareto_values_miss_in_5_percent(count):
    rng = np.random.default_rng(count)
    found = [tail(np.r_[0, rng.pareto(1.5, count - 1) + 1]) for _ in range(1000)]
    for missed in (sum(each.low > 1.5 for each in found), sum(each.high < 1.5 for each in found)):
        held = exact(missed, len(found), 0.999)
        assert held.low <= 0.05 <= held.high


def test_values_whose_largest_show_nothing_have_no_tail():
    assert tail(np.r_[0, np.ones(49)]).index == math.inf
    sparse = tail(np.r_[np.zeros(58), 1.0, 2.0])
    assert math.isnan(sparse.index)
    assert sparse.refused is None
    assert sparse.caution == UNLESS
    assert tail(np.ones(2)).refused is None


def test_degrees_of_freedom_of_an_exponential_follow_its_kurtosis():
    """2 n / (9 - 1), from the kurtosis 9 of an exponential distribution."""
    values = np.random.default_rng(0).exponential(1, 400_000)
    assert degrees_of_freedom(values) == pytest.approx(400_000 / 4, rel=0.1)


@pytest.mark.parametrize("skewness", [-0.4, 0.2, 0.9])
def test_reaches_invert_halls_cubic(skewness):
    """Hall 1992: t + s t^2 / 3 + s^2 t^3 / 27 + s / 6 has Student's distribution."""
    below, above = reaches(4.0, 12.0, skewness * 8.0, 0.9)
    t = np.array([below, -above]) / 2
    cubic = t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / 6
    np.testing.assert_allclose(cubic, stats.t(12).ppf([0.95, 0.05]), rtol=1e-9)
    assert (above > below) == (skewness > 0)


def test_reaches_without_skewness_are_students():
    assert reaches(4.0, 12.0, 0.0, 0.9) == pytest.approx([2 * stats.t(12).ppf(0.95)] * 2)
    assert reaches(0.0, 12.0, 0.0, 0.9) == (0.0, 0.0)


def test_squared_errors_without_a_variance_are_refused_and_the_median_holds():
    rng = np.random.default_rng(0)
    refused = held = 0
    for _ in range(100):
        errors = np.abs(rng.standard_t(2, 1000))
        refused += "tail index" in (mean(errors**2).refused or "")
        median = median_error(errors)
        held += median.low <= stats.t(2).ppf(0.75) <= median.high
    assert refused >= 95
    assert held >= 88


def test_squared_errors_of_normal_noise_hold_and_say_what_few_cannot_show():
    rng = np.random.default_rng(1)
    few = [mean(rng.standard_normal(50) ** 2) for _ in range(500)]
    given = [each for each in few if each.refused is None]
    assert len(given) > 475
    held = exact(sum(each.low <= 1 <= each.high for each in given), len(given), 0.999)
    assert held.low <= 0.95
    assert held.high >= 0.93
    assert all(each.caution == UNLESS for each in given)
    assert UNLESS in str(given[0])
    many = [mean(rng.standard_normal(10_000) ** 2) for _ in range(20)]
    assert not any(each.refused or each.caution for each in many)


def test_every_mean_of_heavy_losses_is_refused():
    rng = np.random.default_rng(3)
    errors = rng.permutation(stats.t(2.5).ppf((np.arange(800) + 0.5) / 800))
    squares = (errors + 0.01 * rng.standard_normal((16, 800))) ** 2
    seen = np.arange(800) % 8 != np.repeat(np.arange(8), 2)[:, None]
    fitted = cross_fitted_errors(squares, seen)
    groups = np.argsort(np.argsort(squares[0])) // 2  # each of two errors of a size
    for found in (
        mean(squares[0]),
        error_of(squares),
        fitted.unseen,
        fitted.of_these_networks.unseen,
        error_of_network(squares[0], groups),
        bias_variance_decomposition(
            rng.standard_normal((16, 800)), np.sqrt(squares[0]), loss="squared"
        ).loss,
    ):
        assert "tail index" in (found.refused or "")
    for found in (
        mean(squares[0], heavy_tails=False),
        error_of(squares, heavy_tails=False),
        cross_fitted_errors(squares, seen, heavy_tails=False).unseen,
    ):
        assert found.refused is None
        assert found.caution is None


def test_a_caution_stays_with_what_is_computed_from_an_estimate():
    given = mean(np.random.default_rng(0).standard_normal(40) ** 2)
    assert given.caution == UNLESS
    assert given.complement().caution == UNLESS
    assert combination([1.0, -1.0], [given, given]).caution == UNLESS


@pytest.mark.parametrize("count", [6, 7, 50, 201])
def test_the_median_of_one_network_has_scipys_exact_interval(count):
    errors = np.random.default_rng(count).exponential(1, count)
    signs = np.where(np.arange(count) % 2, 1.0, -1.0)
    ours = value_scores(signs * errors, np.zeros(count)).median_absolute_error
    theirs = stats.quantile_test(errors, q=0, p=0.5).confidence_interval(0.95)
    assert ours.estimate == pytest.approx(np.median(errors))
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_the_median_of_few_errors_has_no_interval():
    ours = value_scores(np.zeros(5), np.arange(5.0)).median_absolute_error
    assert ours.estimate == 2
    assert "at least 6 are needed" in (ours.refused or "")


def test_the_median_of_groups_and_of_networks_holds():
    """The errors of a group, and of the networks on an example, share half of their variance."""
    rng = np.random.default_rng(4)
    truth, held = stats.norm.ppf(0.75), np.zeros(2)
    for _ in range(50):
        shared, own = rng.standard_normal(60), rng.standard_normal((60, 5))
        errors = (shared[:, None] + own) / math.sqrt(2)
        groups = np.repeat(np.arange(60), 5)
        of_groups = median_error(np.abs(errors.ravel()), groups)
        of_networks = value_scores(errors.T, np.zeros(60)).median_absolute_error
        for i, median in enumerate((of_groups, of_networks)):
            held[i] += median.low <= truth <= median.high
    assert (held >= 45).all()


def test_the_interval_of_a_small_brier_variance_is_as_wide_as_the_estimates_scatter():
    rng = np.random.default_rng(5)
    widths, estimates = [], []
    for _ in range(60):
        odds = 4 + rng.standard_normal(200) + 0.3 * rng.standard_normal((16, 200))
        log_p = np.stack([-np.logaddexp(0, -odds), -np.logaddexp(0, odds)], -1)
        found = bias_variance_decomposition(log_p, np.zeros(200, int), loss="brier").variance
        assert found.estimate * 200 < 5  # where the rule for rates would call it few
        widths.append(found.high - found.low)
        estimates.append(found.estimate)
    assert 0.8 < np.median(widths) / (3.92 * np.std(estimates)) < 1.6
