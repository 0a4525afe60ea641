"""Slices: found where they are, and rarely where there are none."""

import numpy as np
import pytest
from scipy import stats

from jaxnet.stats.slices import Candidate, _contrast, _holm, find_slices


def candidates(rng, count, n):
    """Random subsets of a tenth of the examples each."""
    return [Candidate("column", f"column {i}", rng.permutation(n) < n // 10) for i in range(count)]


def test_a_difference_has_the_variance_of_two_means():
    rng = np.random.default_rng(0)
    losses, rows = rng.exponential(size=400), np.arange(400) < 50
    found = _contrast(losses, np.arange(400), rows)
    variance = losses[rows].var() / 50 + losses[~rows].var() / 350
    deviation = np.sqrt(variance * 50 / 49)
    known = losses[rows].mean() - losses[~rows].mean()
    assert found.more.estimate == pytest.approx(known)
    assert found.p == pytest.approx(stats.t.sf(known / deviation, 49))
    assert found.more.high - known == pytest.approx(stats.t.ppf(0.975, 49) * deviation)
    # copies of examples in groups count once
    copies = _contrast(np.repeat(losses, 3), np.repeat(np.arange(400), 3), np.repeat(rows, 3))
    assert copies.p == pytest.approx(found.p)


def test_a_subset_that_holds_a_whole_half_is_no_slice():
    rng, first = np.random.default_rng(0), np.arange(200) < 100
    given = [Candidate("column", "all", np.ones(200, bool)), Candidate("column", "half", first)]
    assert find_slices(rng.normal(size=200), given, first) == ()


def test_p_values_are_adjusted_by_the_weights():
    # Holm 1979 with equal weights: 3 p, 2 p, p
    assert _holm([0.01, 0.04, 0.03], [1.0, 1.0, 1.0]) == pytest.approx([0.03, 0.06, 0.06])
    assert _holm([0.02, 0.03], [2.0, 1.0]) == pytest.approx([0.03, 0.03])


def test_planted_slices_are_found_and_others_are_not():
    """20 worlds with a slice of 20% error among 5%, and 100 without, 20 candidates each."""
    rng, n, right, claims = np.random.default_rng(1), 2000, 0, 0
    for world in range(120):
        given, first = candidates(rng, 20, n), rng.permutation(n) < n // 2
        rate = np.where(given[0].rows & (world < 20), 0.2, 0.05)
        found = find_slices((rng.random(n) < rate).astype(float), given, first)
        if world < 20:
            right += "column 0" in [each.words for each in found]
        else:
            claims += bool(found)
    assert right >= 17  # power is 93%
    assert claims <= stats.binom.ppf(0.999, 100, 0.05)


def test_slices_of_groups_need_more_than_rows_that_stand_together():
    """Errors that differ between groups of 20 rows alone are no slice: 100 worlds."""
    rng, n = np.random.default_rng(2), 1200
    claims = np.zeros(2)
    for _ in range(100):
        group = np.arange(n) // 20
        first, rate = (rng.permutation(60) < 30)[group], rng.beta(0.3, 1.5, 60)[group]
        losses = (rng.random(n) < rate).astype(float)
        given = [Candidate("column", str(i), (rng.permutation(60) < 30)[group]) for i in range(10)]
        for grouped in (0, 1):
            claims[grouped] += bool(find_slices(losses, given, first, group if grouped else None))
    assert claims[1] <= stats.binom.ppf(0.999, 100, 0.05)
    assert claims[0] > 2 * claims[1]
