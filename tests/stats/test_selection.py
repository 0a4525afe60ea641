"""The interval of the lowest of several errors, against published tables and known truth."""

import numpy as np
import pytest
from scipy import stats

from jaxnet.diagnostics import repeated, validation_curve, wilson
from jaxnet.stats.random_effects import RATE, interval_of_few, table
from jaxnet.stats.selection import Candidate, examples_share, interval_of_lowest, level_of_lowest


def correlated(count: int, correlation: float) -> np.ndarray:
    """(count, 400) values whose sample correlations are exactly this."""
    values = np.random.default_rng(0).normal(size=(400, count))
    columns = np.linalg.qr(values - values.mean(0))[0]
    wanted = np.full((count, count), correlation) + (1 - correlation) * np.eye(count)
    return np.linalg.cholesky(wanted) @ columns.T


def critical(level: float) -> float:
    return float(stats.norm.ppf((1 + level) / 2))


@pytest.mark.parametrize(("count", "published"), [(3, 2.06), (5, 2.23), (9, 2.42)])
def test_the_critical_value_is_that_of_dunnetts_table(count, published):
    """Dunnett 1955, table 1a: one-sided, 95%, infinitely many degrees of freedom."""
    assert critical(level_of_lowest(correlated(count, 0.5))) == pytest.approx(published, abs=0.06)


def test_the_critical_value_of_independent_equal_and_constant_losses():
    sidak = stats.norm.ppf(0.95 ** (1 / 20))
    assert critical(level_of_lowest(correlated(20, 0.0))) == pytest.approx(sidak, abs=0.1)
    assert level_of_lowest(np.tile(correlated(1, 0.0), (20, 1))) == pytest.approx(0.95)
    assert level_of_lowest(correlated(1, 0.0)) == pytest.approx(0.95)
    constant = critical(level_of_lowest(np.zeros((20, 50), bool)))
    assert constant == pytest.approx(sidak, abs=0.1)
    assert constant <= stats.norm.ppf(1 - 0.05 / 20) + 1e-9
    # What comes from the networks is independent between candidates.
    same = np.tile(correlated(1, 0.0), (20, 1))
    assert critical(level_of_lowest(same, np.zeros(20))) == pytest.approx(sidak, abs=0.1)


def draw(rng: np.random.Generator, networks: int, examples: int, correlation: float) -> np.ndarray:
    """Whether equal networks err, each in 10% of the examples."""
    own = rng.normal(size=(networks, examples))
    shared = rng.normal(size=examples)
    return np.sqrt(1 - correlation) * own + np.sqrt(correlation) * shared < stats.norm.ppf(0.1)


def test_the_interval_of_the_best_of_64_equal_networks_holds():
    rng, held = np.random.default_rng(1), []
    for _ in range(60):
        candidates = [Candidate(each[None]) for each in draw(rng, 64, 400, 0.5)]
        best = int(np.argmin([each.losses.mean() for each in candidates]))
        alone, allowed = candidates[best].interval(), interval_of_lowest(candidates, best)
        assert (alone.low, alone.estimate) == (allowed.low, allowed.estimate)
        held.append([alone.high >= 0.1, allowed.low <= 0.1 <= allowed.high])
    alone, allowed = np.mean(held, axis=0)
    assert alone < 0.6  # measured with 1,000 sweeps: below 0.5
    assert allowed >= 0.9


def test_several_seeds_on_one_validation_set_have_the_two_way_interval():
    rng, held = np.random.default_rng(2), []
    for _ in range(200):
        losses = draw(rng, 16, 300, 0.8)
        given = Candidate(losses).interval()
        assert given == interval_of_few(table(losses, RATE), examples=100)
        student = repeated(losses.mean(1))
        held.append([student.low <= 0.1 <= student.high, given.low <= 0.1 <= given.high])
    over_seeds, two_way = np.mean(held, axis=0)
    assert over_seeds < 0.6
    assert two_way >= 0.9


def test_one_network_has_its_own_interval_and_groups_are_the_units():
    wrong = draw(np.random.default_rng(3), 1, 300, 0.0)
    assert Candidate(wrong).interval() == wilson(int(wrong.sum()), 300)
    copied = np.repeat(wrong, 10, axis=1)
    groups = np.repeat(np.arange(300), 10)
    alone, grouped = (Candidate(copied, each).interval() for each in (None, groups))
    assert grouped.high - grouped.low == pytest.approx(
        Candidate(wrong).interval().high - Candidate(wrong).interval().low, rel=0.1
    )
    assert alone.high - alone.low < 0.5 * (grouped.high - grouped.low)
    several = Candidate(np.repeat(draw(np.random.default_rng(4), 4, 300, 0.8), 10, axis=1), groups)
    assert several.units.shape == (4, 300)
    assert several.interval().estimate == pytest.approx(several.losses.mean())


def test_the_share_of_the_examples():
    rng = np.random.default_rng(5)
    equal = draw(rng, 16, 500, 0.8)
    differ = rng.random((16, 500)) < rng.uniform(0.0, 0.5, (16, 1))
    assert Candidate(equal[:1]).share == 1.0
    assert examples_share(table(np.zeros((4, 50), bool), RATE)) == 0.0
    assert examples_share(table(equal, RATE)) > 0.8 > 0.2 > examples_share(table(differ, RATE))


def test_the_best_value_of_a_validation_curve_allows_for_the_choice():
    rng = np.random.default_rng(6)
    values = [draw(rng, 16, 300, 0.5) for _ in range(12)]
    found = validation_curve(values, values)
    for i, (own, shown) in enumerate(zip(found.training, found.validation, strict=True)):
        assert own.low == shown.low
        assert (shown.high > own.high) == (i == found.best)
