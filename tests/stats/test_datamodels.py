"""Datamodels and data values: against scikit-learn, against the formulas of a normal distribution,
and on networks whose errors are known functions of what they were trained on.
"""

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn.linear_model import LinearRegression, Ridge

from jaxnet.stats.data_values import DataValues, Step
from jaxnet.stats.datamodels import agreement, datamodels, through_own_outputs
from jaxnet.stats.effects import EffectModel, Judged, contrasts
from jaxnet.stats.halves import in_first_half
from jaxnet.stats.memorization import memorization_reliability, memorized, score


def halves_of(rng, networks, examples):
    """Pairs of halves that complete each other."""
    own = rng.permuted(np.tile(np.arange(examples) < examples // 2, (networks // 2, 1)), axis=1)
    return np.stack([own, ~own], axis=1).reshape(networks, examples)


PAIRS = np.arange(40) // 2


def test_networks_that_lack_the_other_one_of_their_pair_are_not_left_out():
    halves = halves_of(np.random.default_rng(0), 40, 30)
    assert contrasts(halves, PAIRS).matrix.shape == (20, 40)
    few = np.r_[0, 1, np.arange(2, 40, 2)]  # one pair, and one network of each other pair
    assert contrasts(halves[few], PAIRS[few]).matrix.shape == (len(few), len(few))


def test_the_two_of_a_pair_are_in_the_same_half_of_the_networks():
    pairs = np.array([0, 0, 1, 3, 3, 4, 6])  # some networks diverged
    assert in_first_half(pairs).tolist() == [True, True, False, True, True, False, True]


def test_datamodels_are_ridge_regressions_that_leave_out_pairs():
    rng = np.random.default_rng(0)
    halves = halves_of(rng, 40, 30)
    outputs = halves @ rng.normal(size=(30, 3)) + rng.normal(size=(40, 3))
    found = datamodels(halves, outputs, PAIRS, penalty=2.5)
    theirs = Ridge(alpha=2.5).fit(halves.astype(float), outputs)
    np.testing.assert_allclose(found.coefficients.T, theirs.coef_, atol=1e-9)
    errors = []
    for pair in range(20):
        other = pair != PAIRS
        apart = Ridge(alpha=2.5).fit(halves[other].astype(float), outputs[other])
        errors.append((outputs[~other] - apart.predict(halves[~other].astype(float))) ** 2)
    shares = np.concatenate(errors).mean(0) / outputs.var(0)
    assert found.explained == pytest.approx(1 - shares.mean(), abs=1e-9)
    chosen = datamodels(halves, outputs, PAIRS)
    assert chosen.explained > found.explained
    noise = datamodels(halves, rng.normal(size=(40, 1)), PAIRS)
    assert noise.explained < 0.1


def test_effects_through_own_outputs_are_those_of_kernel_regression():
    """Gaussian processes that are fitted to random halves: shrinking towards what examples do by
    their own outputs predicts other halves better than shrinking towards 0.
    """
    rng = np.random.default_rng(6)
    places, new = np.sort(rng.random(60)), rng.random(20)
    y = np.sign(np.sin(9 * places)) + 0.3 * rng.normal(size=60)

    def kernel(a, b):
        return np.exp(-((a[:, None] - b) ** 2) / 0.005)

    def networks(halves):
        """Outputs at the examples and at new places, of draws of the prior that are conditioned."""
        at = np.concatenate([places, new])
        root = np.linalg.cholesky(kernel(at, at) + 1e-6 * np.eye(80))
        found = np.empty((len(halves), 80))
        for row, seen in enumerate(halves):
            prior = root @ rng.normal(size=80)
            own = kernel(places[seen], places[seen]) + 0.1 * np.eye(seen.sum())
            change = np.linalg.solve(own, y[seen] - prior[:60][seen])
            found[row] = prior + kernel(at, places[seen]) @ change
        return found[:, :60], found[:, 60:]

    halves, others = halves_of(rng, 200, 60), halves_of(rng, 400, 60)
    (own, outputs), (_, expected) = networks(halves), networks(others)
    pairs = np.arange(200) // 2
    plain, guided = (
        np.mean(
            [
                stats.spearmanr(others @ model.coefficients[:, j], expected[:, j]).statistic
                for j in range(20)
            ]
        )
        for model in (datamodels(halves, outputs, pairs), datamodels(halves, outputs, pairs, own))
    )
    assert guided > plain + 0.02
    effects = through_own_outputs(halves, own, outputs)
    unseen = ~halves[:, 4]
    line = LinearRegression().fit(own[unseen][:, [4]], outputs[unseen, 7])
    raised = own[~unseen, 4].mean() - own[unseen, 4].mean()
    assert effects[4, 7] == pytest.approx(raised * line.coef_[0])


def test_agreement_is_high_where_examples_matter_and_near_zero_where_they_do_not():
    rng = np.random.default_rng(1)
    halves, pairs = halves_of(rng, 400, 30), np.arange(400) // 2
    effects = rng.normal(size=30)
    assert agreement(halves, halves @ effects + 0.1 * rng.normal(size=400), pairs) > 0.99
    wide = halves_of(rng, 400, 1000)
    assert abs(agreement(wide, rng.normal(size=400), pairs)) < 0.2


def test_effects_are_those_of_a_normal_distribution_given_the_errors():
    """With a very wide prior for the slope of the feature, conditioning gives the same."""
    rng = np.random.default_rng(2)
    halves = halves_of(rng, 60, 20)
    feature = rng.random((20, 1))
    errors = halves @ (feature[:, 0] + 0.3 * rng.normal(size=20)) + rng.normal(size=60)
    given = contrasts(halves, np.arange(60) // 2)
    model = EffectModel(given, feature, errors)
    fit = max(model.fits, key=lambda each: each.weight)
    model.fits = [fit._replace(weight=1.0)]
    sums = rng.normal(size=(20, 4))
    sums[:, 0] = np.arange(20) == 3
    found = model.of(sums)
    x, own = given.memberships.centered, fit.noise / fit.penalty
    moved = given.matrix @ errors
    moved = moved - moved.mean()
    z = feature - feature.mean(0)
    prior = own * np.eye(20) + 1e6 * z @ z.T
    solved = np.linalg.solve(x @ prior @ x.T + fit.noise * np.eye(30), x @ prior).T
    mean, covariance = solved @ moved, prior - solved @ x @ prior
    np.testing.assert_allclose(found.mean, sums.T @ mean, rtol=1e-4)
    variance = np.einsum("is,ij,js->s", sums, covariance, sums)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-3)
    np.testing.assert_allclose(errors @ found.weights, found.mean, atol=1e-9)
    singles = model.singles()
    np.testing.assert_allclose(singles.mean[3], found.mean[0])
    np.testing.assert_allclose(singles.variance[3], found.variance[0])


def simulated(seed, networks=128, examples=80):
    """(DataValues of networks whose chance to be wrong is a linear function of the half, the effect
    of each example on the error).
    """
    rng = np.random.default_rng(seed)
    halves, doubt = halves_of(rng, networks, examples), np.arange(examples) < 8
    effects = 0.012 * doubt + 0.002 * rng.normal(size=examples)
    effects -= effects.mean()
    chance = 0.3 + 0.1 * rng.random(examples) + (halves @ effects)[:, None]
    wrong = rng.random((networks, examples)) < chance
    pairs = np.arange(networks) // 2
    return DataValues(wrong, halves, pairs, None, doubt.astype(float)), effects


def test_intervals_hold_known_effects_also_of_examples_that_were_chosen_for_them():
    held = []
    for seed in range(40):
        given, effects = simulated(seed)
        judged = given.judged()
        model = given.effects(judged)
        singles = model.singles()
        chosen = np.argsort(singles.mean[8:])[-10:] + 8
        sums = np.zeros((80, 3))
        sums[:8, 0] = sums[30:50, 1] = sums[chosen, 2] = 1
        found = model.of(sums)
        off = np.abs(found.mean - sums.T @ effects) / np.sqrt(found.variance)
        held.append(off < stats.t.ppf(0.975, model.freedom))
    assert (np.mean(held, axis=0) > 0.87).all()  # of 40: 35, as 95% would give in 97%
    assert found.variance[0] < 0.05**2
    assert not len(given.harmful(80))


def test_harmful_examples_are_those_whose_effect_is_large():
    rng = np.random.default_rng(3)
    halves = halves_of(rng, 256, 60)
    wrong = rng.random((256, 60)) < 0.1 + 0.2 * halves[:, [7]] + 0.1 * halves[:, [9]]
    given = DataValues(wrong, halves, np.arange(256) // 2, None, np.zeros(60))
    assert given.harmful(60).tolist() == [7, 9]
    assert given.harmful(9).tolist() == [7]
    assert given.values.value.argmin() == 7
    effects = given.differences[0]
    line = LinearRegression().fit(halves[:, [7]], given.judged().networks)
    assert effects[7] == pytest.approx(line.coef_[0], rel=0.05)
    assert 0.3 < given.reliability() < 1


def test_the_draw_of_judging_examples_adds_the_variance_of_what_they_show():
    """The contributions of examples are 2 d_i for the first half of them and 0 for the others."""
    rng = np.random.default_rng(4)
    halves = halves_of(rng, 1000, 200)
    shift = np.where(np.arange(200) < 100, 2.0, 0.0)
    weights = (halves[:, 0] - 0.5) * 4 / 1000
    losses = shift * halves[:, [0]] + 0.1 * rng.normal(size=(1000, 200))
    judged = Judged.of(losses, ~halves & (np.arange(200) > 0))
    assert weights @ judged.networks == pytest.approx(1.0, rel=0.05)
    found = judged.variance_of_examples(weights, np.arange(1000) // 2)
    assert found == pytest.approx(1.0 / 199, rel=0.1)  # the variance of 0 and 2 is 1


def test_a_step_to_all_examples_shrinks_effects_by_the_means_of_its_assumptions():
    step = Step(0.5, 500.0, 0.1)
    found = step.gain(-0.04, 0.0, 0.0, 100.0)
    factor = 1.5 * 0.25 / np.log(2)  # means of U(1, 2), and of 2^-(1 + U(0, 1))
    assert found.estimate == pytest.approx(0.04 * factor, rel=1e-6)
    squares = 7 / 3 * (2**-2 - 2**-4) / (2 * np.log(2))
    spread = 0.04 * np.sqrt(squares - factor**2)
    assert found.high - found.estimate == pytest.approx(stats.t.ppf(0.975, 100) * spread, rel=1e-6)
    average = step.gain(0.0, 10.0, 0.0, 100.0)
    assert -10 * 0.5 * 0.1 / 500 < average.estimate < 0


def test_scores_of_differences_have_the_variance_of_the_likeliest_shares_with_that_difference():
    cases = (
        (18, 20, 9, 25, 0.25),
        (5, 30, 6, 40, -0.1),
        (128, 128, 70, 128, 0.25),
        (4, 9, 3, 8, 0.0),
    )
    for a, n, b, m, margin in cases:

        def surprise(p, a=a, n=n, b=b, m=m, margin=margin):
            return -(stats.binom.logpmf(a, n, p) + stats.binom.logpmf(b, m, p - margin))

        limits = max(0, margin) + 1e-9, min(1, 1 + margin) - 1e-9
        fitted = optimize.minimize_scalar(
            surprise, bounds=limits, method="bounded", options={"xatol": 1e-10}
        )
        p, q = fitted.x, fitted.x - margin
        expected = (a / n - b / m - margin) / np.sqrt(p * (1 - p) / n + q * (1 - q) / m)
        given = score(*(np.array([each]) for each in (a / n, n, b / m, m)), margin)
        assert given[0] == pytest.approx(expected, rel=1e-5)


def test_memorized_examples_are_listed_and_their_share_has_limits():
    rng = np.random.default_rng(5)
    halves = halves_of(rng, 256, 100)
    own = np.where(np.arange(100) < 20, 0.8, 0.0)
    wrong = rng.random((256, 100)) < 0.1 + own * ~halves
    rows, share = memorized(wrong, halves, np.arange(256) // 2)
    assert sorted(rows) == list(range(20))
    assert share.estimate == pytest.approx(0.2)
    assert share.low == pytest.approx(0.2)
    assert 0.2 <= share.high < 0.25


def test_examples_that_all_networks_have_seen_count_in_no_reliability_and_are_not_listed():
    rng = np.random.default_rng(6)
    halves = halves_of(rng, 64, 100)
    wrong = rng.random((64, 100)) < 0.1 + np.linspace(0, 0.8, 100) * ~halves
    pairs = np.arange(64) // 2
    kept = memorization_reliability(wrong[:, :99], halves[:, :99], pairs)
    given = np.array(halves)
    given[:, 99] = True
    assert memorization_reliability(wrong, given, pairs) == pytest.approx(kept)
    rows, share = memorized(wrong, given, pairs)
    assert 99 not in rows
    assert share.high >= share.low + 0.01  # it may be memorized or not
