"""What candidates gain: standard errors and points against closed forms and scipy, and the choice
against known truth.
"""

import numpy as np
import pytest
from scipy import stats

from jaxnet.stats.gains import FOLDS, Gains, cells_of_rungs, most_recipes, overstated, race

pytestmark = pytest.mark.core


def gains(values, **kwargs) -> Gains:
    values = np.atleast_2d(np.asarray(values, float))
    return Gains(values, np.arange(values.shape[1]) % FOLDS, **kwargs)


def alike(rng: np.random.Generator, folds: int, examples: int) -> np.ndarray:
    """Values whose mean is 0 in every fold, so that folds vary less than examples do."""
    values = rng.normal(size=(examples, folds))
    return (values - values.mean(0)).ravel()


def test_the_standard_error_of_values_is_that_of_a_mean():
    values = alike(np.random.default_rng(0), FOLDS, 50)
    found = gains(values + 3.0, counted=False)
    assert found.means == pytest.approx(3.0)
    assert found.errors == pytest.approx(stats.sem(values))


def test_the_standard_error_of_rates_is_close_to_that_of_bonett_and_price():
    """Bonett & Price 2012, eq. 2: the Wald interval after one is added to each discordant count."""
    n, won, lost = 4000, 40, 16
    values = np.zeros(n)
    values[:won], values[won : won + lost] = 1, -1  # equally many in each fold
    p, q = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    theirs = np.sqrt((p + q - (p - q) ** 2) / (n + 2))
    assert gains(values).errors == pytest.approx(theirs, rel=2 / n)
    assert gains(np.zeros(n)).errors == pytest.approx(np.sqrt(2 / (n * (n + 1))))


def test_gains_of_root_mean_squares_are_differences_of_roots_with_the_errors_of_the_jackknife():
    """Efron & Tibshirani 1993, eq. 11.5."""
    rng = np.random.default_rng(3)
    e = rng.normal(size=(3, 400)) * np.array([[1.0], [0.7], [0.9]]) + rng.normal(size=400)
    n, squares = e.shape[1], e**2
    found = Gains.of(squares[:, None], np.zeros(n, int), counted=False, root=True)
    for number in (0, 1):
        roots = np.sqrt(squares[0].mean()) - np.sqrt(squares[1 + number].mean())
        assert found.means[number] == pytest.approx(roots)
        left = (squares.sum(1)[:, None] - squares) / (n - 1)
        each = np.sqrt(left[0]) - np.sqrt(left[1 + number])
        jackknife = np.sqrt((n - 1) / n * ((each - each.mean()) ** 2).sum())
        assert found.errors[number] == pytest.approx(jackknife, rel=0.01)


def test_gains_of_some_folds_are_against_the_current_recipe_on_these_folds():
    rng = np.random.default_rng(4)
    squares = rng.normal(size=(2, 1, 80)) ** 2
    fold_of = np.arange(80) % FOLDS
    squares[1, :, fold_of > 1] = np.nan
    found = Gains.of(squares, fold_of, counted=False, root=True).only(np.arange(1))
    own = squares[:, 0, fold_of < 2]
    assert found.means == pytest.approx(np.sqrt(own[0].mean()) - np.sqrt(own[1].mean()))


def test_counted_losses_with_weights_add_one_example_of_the_largest_weight_to_each_side():
    n, weights = 4000, np.where(np.arange(4000) < 800, 2.5, 0.625)
    right = np.zeros((2, 1, n))
    same = Gains.of(right, np.arange(n) % FOLDS, largest=2.5)
    assert same.errors == pytest.approx(np.sqrt(2 * 2.5**2 / (n * (n + 1))))
    # two of five of the rare class are won: the variance of a stratified mean
    right[0, 0, :320] = weights[:320]
    found = Gains.of(right, (np.arange(n) * 7919) % n % FOLDS, largest=2.5)
    assert found.means == pytest.approx(0.2)  # half of 40%, since classes count the same
    within = 0.25 * 0.4 * 0.6 / 800
    assert found.errors**2 > within


def test_a_group_is_the_unit():
    rng = np.random.default_rng(1)
    of_group = alike(rng, FOLDS, 20)
    group_of = np.repeat(np.arange(len(of_group)), 5)
    fold_of = group_of % FOLDS
    found = Gains(of_group[group_of][None], fold_of, group_of, counted=False)
    assert found.errors == pytest.approx(stats.sem(of_group))


def test_networks_that_differ_from_fold_to_fold_count():
    luck = np.random.default_rng(2).normal(size=FOLDS)
    found = gains(np.tile(luck, 100), counted=False)
    assert found.errors == pytest.approx(stats.sem(luck))


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_equal_means_overstate_their_largest_as_order_statistics_say(correlation):
    """The largest of 2 and of 3 normal numbers: David & Nagaraja 2003, section 3.2."""
    for count, largest in ((2, 1 / np.sqrt(np.pi)), (3, 1.5 / np.sqrt(np.pi))):
        given = correlation + (1 - correlation) * np.eye(count)
        found = overstated(np.full(count, 3.0), np.full(count, 0.5), given)
        assert found / 2 == pytest.approx(0.5 * largest * np.sqrt(1 - correlation), rel=0.07)
    far = overstated(np.array([0.0, 3.0]), np.full(2, 0.5), np.eye(2))
    assert far == pytest.approx(0.0, abs=0.05)


def test_the_leader_and_those_near_it_stay():
    rng, n = np.random.default_rng(4), 2000
    noise = rng.normal(size=(5, n))
    noise -= noise.mean(1, keepdims=True)
    means = np.array([-0.5, 0.5, 0.48, 0.3, 0.45])
    found = gains(means[:, None] + noise, counted=False)
    every = np.ones(5, bool)
    # the third is within 2 sqrt(2 / n) = 0.063 of the leader, and so is the fifth
    assert found.staying(every).tolist() == [False, True, True, False, True]
    some = np.array([True, False, False, True, False])
    assert found.staying(some).tolist() == [False, False, False, True, False]
    assert gains(noise - 1.0, counted=False).staying(every).sum() == 1


def probit(rng, thresholds, examples):
    """A function that draws which networks err, as `race` asks for them."""
    difficulty = np.sqrt(0.8) * rng.normal(size=examples)

    def measure(recipes, cells):
        noise = np.sqrt(0.2) * rng.normal(size=(len(recipes), len(cells), examples))
        return (difficulty + noise < thresholds[recipes][:, None, None]).astype(float)

    return measure


def test_a_race_trains_the_current_recipe_on_all_folds_and_candidates_on_less():
    asked, n = [], 800
    draw = probit(np.random.default_rng(5), stats.norm.ppf(np.linspace(0.1, 0.5, 9)), n)

    def measure(recipes, cells):
        asked.append((recipes.tolist(), cells))
        return draw(recipes, cells)

    fold_of = np.arange(n) % FOLDS
    losses, found, finalists = race(measure, 8, fold_of, seeds=2)
    assert np.isfinite(losses[0]).all()
    assert [cells for _, cells in asked] == list(cells_of_rungs(2))
    assert asked[0][0] == list(range(9))
    assert all(recipes[0] == 0 for recipes, _ in asked)
    assert all(len(r) <= most for (r, _), most in zip(asked, most_recipes(8), strict=True))
    assert most_recipes(8) == (9, 5, 3)
    assert np.isfinite(found.values[finalists]).all()
    assert np.isfinite(found.values[:, fold_of < 2]).all()
    assert np.isnan(found.values[~finalists][:, fold_of >= 4]).all()
    each = found.each(2.0)
    measured = found.values[7, np.isfinite(found.values[7])]
    assert each[7].estimate == pytest.approx(measured.mean())


def test_with_little_time_the_best_candidates_go_on():
    asked, offered, n = [], [], 800
    draw = probit(np.random.default_rng(5), stats.norm.ppf(np.linspace(0.1, 0.3, 9)[::-1]), n)
    fold_of = np.arange(n) % FOLDS

    def measure(recipes, cells):
        asked.append((recipes.tolist(), cells))
        return draw(recipes, cells)

    def room(candidates, cells):
        offered.append(list(candidates))
        return [] if cells[0][1] > 0 else candidates[1:2] or candidates

    losses, found, finalists = race(measure, 8, fold_of, seeds=2, room=room)
    assert offered[0][0] in (6, 7)  # one of the best comes first
    kept = offered[0][1]
    assert [recipes for recipes, _ in asked] == [list(range(9)), [0, 1 + kept], [0, 1 + kept]]
    assert [cells for _, cells in asked] == list(cells_of_rungs(1))
    assert np.flatnonzero(finalists).tolist() == [kept]
    assert losses.shape[1] == found.seeds == 1
    assert np.isfinite(losses[[0, 1 + kept]]).all()
    assert found.choose(finalists).leader == kept
    every = race(draw, 8, fold_of, seeds=2, room=lambda candidates, cells: candidates)
    assert np.isfinite(every.losses[0]).all()


def test_the_last_recipe_against_the_first_has_a_limit_for_all_that_were_asked():
    values = alike(np.random.default_rng(8), FOLDS, 50)
    found = gains(values + 3.0, counted=False)
    size, error = found.of_last(20), stats.sem(values)
    assert size.estimate == pytest.approx(3.0)
    assert size.low == pytest.approx(3.0 - stats.norm.ppf(1 - 0.05 / 20) * error)
    assert size.high == pytest.approx(3.0 + stats.norm.ppf(0.975) * error)
    assert found.of_last(1).low == pytest.approx(3.0 - stats.norm.ppf(0.975) * error)


def test_the_interval_of_the_leader_holds_and_nothing_useless_is_adopted():
    rng, held, adopted, n = np.random.default_rng(6), 0, 0, 400
    points, largest = [], []
    thresholds, fold_of = np.full(7, stats.norm.ppf(0.15)), np.arange(n) % FOLDS
    for _ in range(40):
        _, found, finalists = race(probit(rng, thresholds, n), 6, fold_of)
        choice = found.choose(finalists)
        assert finalists[choice.leader]
        assert choice.gain.low <= choice.gain.estimate <= choice.gain.high
        held += choice.gain.low <= 0 <= choice.gain.high
        points.append(choice.gain.estimate)
        largest.append(found.only(np.array([choice.leader])).means[0])
        adopted += choice.gain.low > 0
    assert stats.binomtest(held, 40, 0.95, "less").pvalue > 0.001
    assert stats.binomtest(adopted, 40, 0.05, "greater").pvalue > 0.001
    # a winner is measured too high, and its point is not
    assert stats.ttest_1samp(largest, 0.0, alternative="greater").pvalue < 0.001
    assert stats.ttest_1samp(points, 0.0).pvalue > 0.001


def test_a_candidate_that_helps_is_found():
    rng, right, n = np.random.default_rng(7), 0, 1000
    errors = np.array([0.15, 0.15, 0.09, 0.15, 0.15])
    for _ in range(20):
        _, found, finalists = race(
            probit(rng, stats.norm.ppf(errors), n), 4, np.arange(n) % FOLDS, seeds=1
        )
        choice = found.choose(finalists)
        right += choice.leader == 1 and choice.gain.low > 0
    assert right >= 18
