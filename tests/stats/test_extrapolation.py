"""Extrapolation of learning curves: the golden numbers of two other implementations, closed forms,
real curves, refusals.
"""

from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.stats import binomtest, multivariate_normal, norm

import jaxnet
from jaxnet.diagnostics import Estimate, examples_needed, extrapolate
from jaxnet.diagnostics.symptoms import error_still_falls
from jaxnet.stats.curve_prior import (
    COMPONENTS,
    LIKELIHOOD_POWER,
    Curves,
    as_error,
    below,
    forecast,
    measured,
    quantiles,
    refusals,
    summary,
    tails_together,
)
from jaxnet.stats.extrapolation import Trend, last_doubling, predicted_together, trend

LCDB = Path(__file__).parents[3] / "shared/data/lcdb/curves.npz"
N = 500 * 2.0 ** np.arange(6)
E = np.array([0.16, 0.115, 0.082, 0.061, 0.047, 0.037])
TEST = 10_000
LIMITS = (0.025, 0.5, 0.975)


def curve(
    sizes=N, errors=E, relative=(0.03, 0.02, 0.02, 0.015, 0.015, 0.015), test=TEST, pad=0
) -> Curves:
    """With so many members that their variance is not smoothed, and V as given."""
    members = 1e12
    variance = (np.asarray(relative) ** 2 - 1e-6) * members * (errors + 0.5 / test) ** 2
    wide = lambda values: np.concatenate([values, np.zeros(pad)])[None]  # noqa: E731
    return Curves(
        wide(sizes),
        wide(errors),
        wide(variance),
        wide(np.full(len(sizes), members)),
        np.array([float(test)]),
    )


def members_of(errors, spread=0.02, count=8, seed=0):
    """(sizes, members) around these means."""
    return np.clip(
        errors[:, None]
        * (1 + spread * np.random.default_rng(seed).standard_normal((len(errors), count))),
        0,
        1,
    )


@pytest.mark.core
@pytest.mark.parametrize("pad", [0, 5])
def test_golden(pad):
    """Two other implementations agree on these numbers; sizes that are not there change nothing."""
    given, before = curve(pad=pad), jax.config.jax_enable_x64
    places = np.array([[32_000.0, 60_000.0, 120_000.0]])
    found = as_error(quantiles(forecast(given, places), LIMITS), given.test_examples)[0]
    expected = [
        [0.01985, 0.03029, 0.03726],
        [0.01310, 0.02596, 0.03635],
        [0.00830, 0.02241, 0.03620],
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert jax.config.jax_enable_x64 is before  # the user's own precision stays


def test_the_processes_against_numpy():
    """Mean, deviation and weight of each component from the joint normal distribution, by
    conditioning written out.
    """
    given, at = curve(), 48_000.0
    mixture = forecast(given, np.array([[at]]))
    a = np.append(np.log2(N / N[0]), np.log2(at / N[0]))
    y = np.log(E + 0.5 / TEST)
    noise = np.array([0.03, 0.02, 0.02, 0.015, 0.015, 0.015]) ** 2
    fits = []
    for c, (_, mu, tau, length, walk) in enumerate(COMPONENTS):
        # Slopes by quadrature: an Ornstein-Uhlenbeck process of variance tau^2 and this length,
        # integrated from 0.
        grid = np.linspace(0, a[-1], 2001)
        rate = tau**2 * np.exp(-np.abs(grid[:, None] - grid[None]) / length)
        step = grid[1] - grid[0]
        upto = [
            np.where(grid <= x + 1e-9, step, 0)
            - np.where((grid == 0) | (np.abs(grid - x) < step / 2), step / 2, 0)
            for x in a
        ]
        upto = np.stack(upto) * (a > 0)[:, None]
        covariance = upto @ rate @ upto.T + 9 + walk**2 * np.minimum(a[:, None], a[None])
        own = np.append(0.3 * noise + walk**2 / 4, 2.04 * noise[-1] + walk**2 / 4)
        joint = covariance + np.diag(own)
        mean = -1.5 + mu * a
        gain = np.linalg.solve(joint[:-1, :-1], joint[:-1, -1])
        assert mixture.mean[0, 0, c] == pytest.approx(mean[-1] + gain @ (y - mean[:-1]), abs=2e-3)
        assert mixture.deviation[0, 0, c] == pytest.approx(
            np.sqrt(joint[-1, -1] - gain @ joint[:-1, -1]), rel=5e-3
        )
        fits.append(multivariate_normal(mean[:-1], joint[:-1, :-1]).logpdf(y))
    weights = COMPONENTS[:, 0] * np.exp(LIKELIHOOD_POWER * (np.array(fits) - max(fits)))
    # of the quadrature
    np.testing.assert_allclose(mixture.weight[0], weights / weights.sum(), atol=5e-4)


def test_quantiles_are_those_of_the_mixture():
    mixture = forecast(curve(), np.array([[40_000.0, 100_000.0]]))
    y = quantiles(mixture, LIMITS)
    for place in range(2):
        cdf = (
            mixture.weight[0]
            * norm.cdf(y[0, place][:, None], mixture.mean[0, place], mixture.deviation[0, place])
        ).sum(1)
        np.testing.assert_allclose(cdf, LIMITS, atol=1e-10)
    error = as_error(y, np.array([10_000.0]))[..., 1]
    np.testing.assert_allclose(below(mixture, error, np.array([10_000.0])), 0.5, atol=1e-9)


@pytest.mark.core
def test_extrapolate():
    errors = members_of(E)
    found = extrapolate(N, errors, at=64_000, test_examples=TEST)
    assert isinstance(found, Estimate)
    assert 0 < found.low < found.estimate < found.high < errors[-1].mean()
    near = extrapolate(N, errors, at=20_000, test_examples=TEST)
    assert near.high / near.low < found.high / found.low
    inner = extrapolate(N, errors, at=64_000, test_examples=TEST, level=0.8)
    assert found.low < inner.low < inner.high < found.high


def test_smoothing_of_variances():
    """(4 avg3 + (R - 1) s^2) / (R + 3): the same forecast from variances that were smoothed by
    hand.
    """
    errors = members_of(E, spread=0.05, count=6)
    given = Curves(N[None], *summary(errors[None]), np.array([float(TEST)]))
    s2, padded = given.variance[0], np.pad(given.variance[0], 1, mode="edge")
    smooth = (4 * (padded[:-2] + padded[1:-1] + padded[2:]) / 3 + 5 * s2) / 9
    v = smooth / (6 * (given.error[0] + 0.5 / TEST) ** 2) + 1e-6
    by_hand = curve(errors=given.error[0], relative=np.sqrt(v))
    at = np.array([[50_000.0]])
    np.testing.assert_allclose(
        quantiles(forecast(given, at), LIMITS), quantiles(forecast(by_hand, at), LIMITS), atol=1e-8
    )


@pytest.mark.parametrize(
    ("sizes", "errors", "at", "words"),
    [
        (N[:4], members_of(E[:4]), 8_000, "8 networks at each of 4 sizes"),
        (N, members_of(E, count=4), 30_000, "4 networks at each of 6 sizes"),
        (N, members_of(E), 10**9, "farther than 11.3 times"),
        (
            N,
            members_of(np.array([0.5, 0.5, 0.51, 0.5, 0.51, 0.505]), spread=0),
            30_000,
            "not begun to fall",
        ),
        (
            N,
            members_of(np.array([0.5, 0.4, 0.5, 0.2, 0.1, 0.001])),
            120_000,
            "wider than a factor of 4",
        ),
    ],
)
def test_refusals(sizes, errors, at, words):
    found = extrapolate(sizes, errors, at=at, test_examples=TEST)
    assert words in (found.refused or "")
    assert np.isnan(found.low)


@pytest.mark.parametrize(
    ("sizes", "errors", "more", "words"),
    [
        (N[::-1], members_of(E), {}, "growing numbers"),
        (N, members_of(E)[:5], {}, r"sizes have shape \(6,\) and errors \(5, 8\)"),
        (N, members_of(E) * 10, {}, "shares from 0 to 1"),
        (N, np.where(members_of(E) > 0.16, np.nan, members_of(E)), {}, "not finite"),
        (N, members_of(E), {"test_examples": 0}, "test_examples is 0"),
        (N, members_of(E), {"at": np.nan}, "at is nan"),
    ],
)
def test_bad_curves(sizes, errors, more, words):
    with pytest.raises(jaxnet.InputError, match=words):
        extrapolate(sizes, errors, **{"at": 30_000, "test_examples": TEST} | more)


def test_examples_needed():
    errors = members_of(E)
    found = examples_needed(N, errors, 0.025, TEST)
    assert not found.reached
    # The lower bound is where the lower limit of the interval crosses the error.
    assert extrapolate(N, errors, at=found.at_least, test_examples=TEST).low <= 0.025
    assert extrapolate(N, errors, at=0.97 * found.at_least, test_examples=TEST).low > 0.025
    chances = [p for _, p in found.probabilities]
    assert [n for n, _ in found.probabilities] == [32_000, 64_000, 128_000]
    assert 0 < chances[0] < chances[1] < chances[2] < 1
    assert str(found).startswith(
        f"at least {found.at_least:,} examples to reach an error of 2.50%; with probability"
    )
    never = examples_needed(N, errors, 1e-4, TEST)
    assert never.at_least is None
    assert str(never) == "more data alone will not reach an error of 0.01%, up to 180,800 examples"
    assert examples_needed(N, errors, 0.05, TEST).reached
    assert "cannot be said: 8 networks at each of 3 sizes" in str(
        examples_needed(N[:3], errors[:3], 0.05, TEST)
    )
    with pytest.raises(jaxnet.InputError, match=r"error is 0; give a share"):
        examples_needed(N, errors, 0, TEST)


def test_coverage_of_curves_drawn_from_the_prior():
    """Against the prior itself: where a component made the curve, its own interval covers as often
    as it says.
    """
    rng = np.random.default_rng(0)
    _, mu, tau, length, walk = COMPONENTS[1]
    a = np.log2(np.append(N, 64_000.0) / N[0])
    low, apart = np.minimum(a[:, None], a[None]), np.abs(a[:, None] - a[None])
    slope = (
        tau**2
        * length
        * (
            2 * low
            + length
            * (np.exp(-a / length)[:, None] + np.exp(-a / length) - 1 - np.exp(-apart / length))
        )
    )
    y = rng.multivariate_normal(np.log(0.2) + mu * a, slope + walk**2 * low, size=2000)
    many = Curves(
        np.tile(N, (2000, 1)),
        np.exp(y[:, :-1]) - 0.5e-4,
        np.full((2000, 6), 1e-12),
        np.full((2000, 6), 8.0),
        np.full(2000, 1e4),
    )
    mixture = forecast(many, np.full((2000, 1), 64_000.0))
    z = (y[:, -1] - mixture.mean[:, 0, 1]) / mixture.deviation[:, 0, 1]
    assert np.mean(np.abs(z) < 1.96) == pytest.approx(0.95, abs=0.015)
    assert z.std() == pytest.approx(1, abs=0.05)


def test_real_curves():
    """A fifth of the development half of LCDB, four times as far: coverage, width and refusals as
    promised.
    """
    if not LCDB.exists():
        pytest.skip("the LCDB curves are not on this machine")
    with np.load(LCDB) as data:
        size, test = data["size"][::5].astype(float), data["size_test"][::5].astype(float)
        errors = np.where(data["error"][::5, 1] == 65535, np.nan, data["error"][::5, 1] / 1e4)
    last = (size > 0).sum(1) - 1
    at = size[np.arange(len(size)), last]
    truth = np.nanmean(errors[np.arange(len(size)), last], -1)
    known = (size > 0) & (size <= at[:, None] / 4)
    rows = known.sum(1) >= 5
    curves = Curves(
        np.where(known, size, 0)[rows],
        *summary(np.where(known[..., None], errors, np.nan)[rows]),
        test[rows],
    )
    y = quantiles(forecast(curves, at[rows, None]), LIMITS)
    limits, half = as_error(y, curves.test_examples)[:, 0], (y[..., 2] - y[..., 0]) / 2
    kept = np.array([why[0] is None for why in refusals(curves, at[rows, None], half)])
    covered = (limits[:, 0] <= truth[rows]) & (truth[rows] <= limits[:, 2])
    assert 0.93 <= covered.mean() <= 0.98
    assert covered[kept].mean() >= 0.94
    assert np.median(half) <= 0.38
    assert (~kept).mean() <= 0.33


def test_intervals_that_hold_together():
    """Of paths drawn from the mixture, 95% lie within all three intervals; the intervals are those
    of a level between 95% and Bonferroni's.
    """
    given = measured(N, members_of(E), TEST)
    found = predicted_together(given)
    at = np.array([[2.0, 4.0, 8.0]]) * N[-1]
    mixture = forecast(given, at)
    rng, drawn = np.random.default_rng(3), []
    for weight, mean, covariance in zip(
        mixture.weight[0], mixture.mean[0].T, mixture.covariance[0], strict=True
    ):
        drawn.append(rng.multivariate_normal(mean, covariance, size=round(40_000 * weight)))
    paths = as_error(np.concatenate(drawn)[None], given.test_examples)[0]
    inside = [
        (each.low <= paths[:, i]) & (paths[:, i] <= each.high) for i, each in enumerate(found)
    ]
    assert np.all(inside, axis=0).mean() == pytest.approx(0.95, abs=0.005)
    for place, each in zip(at[0], found, strict=True):
        one, bonferroni = (
            quantiles(forecast(given, np.array([[place]])), (tail, 1 - tail))
            for tail in (0.025, 0.05 / 6)
        )
        one, bonferroni = (as_error(y, given.test_examples)[0, 0] for y in (one, bonferroni))
        assert bonferroni[0] < each.low < one[0] < one[1] < each.high < bonferroni[1]
    assert "too few" in predicted_together(measured(N, members_of(E, count=4), TEST))[0].refused


def test_the_weights_of_the_last_doubling_are_a_line_of_least_squares():
    sizes = np.array([100, 141, 200, 283, 400])
    errors = np.random.default_rng(0).random(5)
    slope = np.polyfit(np.log2(sizes[2:]), errors[2:], 1)[0]
    assert last_doubling(sizes) @ errors == pytest.approx(-slope)
    assert last_doubling(sizes)[:2].tolist() == [0, 0]
    assert last_doubling(np.array([10, 320])) @ [0.7, 0.2] == pytest.approx(0.1)


def falls_of(rng, studies, effect, members=8, examples=120, power=2):
    """(studies, members, examples) falls: of members, of examples, and of both."""
    shape = (studies, members, examples)
    parts = [
        scale * rng.standard_normal((shape[0], *own))
        for scale, own in ((0.2, (members, 1)), (1.0, (1, examples)), (1.5, (members, examples)))
    ]
    skewed = parts[1] ** power - (power == 2)
    return effect + parts[0] + skewed + parts[2]


def test_the_test_of_a_trend_keeps_its_level():
    """Where nothing falls, at most 2.5% of studies say that it does; a fall is covered in 95%."""
    rng, sizes, count = np.random.default_rng(5), np.array([100, 200]), 400
    errors = np.ones((2, 8))
    for effect in (0.0, 0.6):
        found = [trend(sizes, errors, each).fall for each in falls_of(rng, count, effect)]
        covered = sum(each.low <= effect <= each.high for each in found)
        # skewed examples and few members: 95% in the middle, and no more than 2.5% below
        assert covered / count >= 0.93
        if effect == 0:
            alarms = sum(each.low > 0 for each in found)
            assert binomtest(alarms, count, 0.025, alternative="greater").pvalue > 0.01
        else:
            assert np.mean([each.low > 0 for each in found]) > 0.8


def test_examples_of_a_group_count_as_one():
    rng, sizes = np.random.default_rng(6), np.array([100, 200])
    # five equal examples are one
    falls = np.repeat(rng.standard_normal((1, 40)) + 0.1 * rng.standard_normal((8, 40)), 5, axis=1)
    alone, grouped = (
        trend(sizes, np.ones((2, 8)), falls, groups).fall
        for groups in (None, np.repeat(np.arange(40), 5))
    )
    assert grouped.estimate == pytest.approx(alone.estimate)
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


@pytest.mark.parametrize(
    ("fall", "claimed", "words"),
    [
        (Estimate(0.05, 0.03, 0.07), True, "(3 to 7): it still falls, by more than 2 points"),
        (Estimate(0.02, 0.01, 0.03), False, "(1 to 3): it still falls. How far"),
        (Estimate(0.01, 0.005, 0.015), False, ": it still falls, and by less than 2 points"),
        (Estimate(0.02, -0.01, 0.05), False, ": it is not shown that it still falls. How far"),
        (Estimate(0.0, -0.01, 0.01), False, "not shown that it still falls, and by less than 2"),
        (
            Estimate(0.02, refused="too few"),
            False,
            "whether it still falls cannot be said: too few",
        ),
    ],
)
def test_what_is_said_of_a_trend(fall, claimed, words):
    found = error_still_falls(Trend((100, 200), (0.4, 0.35), fall), 0.02)
    assert found.claimed == claimed
    assert words in found.evidence
    assert found.evidence.startswith(
        "from 100 to 200 training examples the error went from 40.00% to 35.00% of the variance"
    )


def test_real_curves_at_2_4_and_8_times_together():
    """A fifth of the development half of LCDB: all three are covered in at least 94%."""
    if not LCDB.exists():
        pytest.skip("the LCDB curves are not on this machine")
    with np.load(LCDB) as data:
        size, test = data["size"][::5].astype(float), data["size_test"][::5].astype(float)
        errors = np.where(data["error"][::5, 1] == 65535, np.nan, data["error"][::5, 1] / 1e4)
    known = (size > 0) & (size <= size.max(1, keepdims=True) / 8)
    rows = known.sum(1) >= 5
    size, errors, known = size[rows], errors[rows], known[rows]
    at = (size * known).max(1)[:, None] * [2, 4, 8]
    places = np.abs(np.log(np.maximum(size, 1))[:, None] - np.log(at)[..., None]).argmin(-1)
    each = np.arange(len(size))[:, None]
    curves = Curves(
        np.where(known, size, 0), *summary(np.where(known[..., None], errors, np.nan)), test[rows]
    )
    truth = np.nanmean(errors[each, places], -1)
    mixture = forecast(curves, size[each, places])
    share = below(mixture, truth, curves.test_examples)
    inside = np.minimum(share, 1 - share).min(1) >= tails_together(mixture, 0.95)
    assert inside.mean() >= 0.94
