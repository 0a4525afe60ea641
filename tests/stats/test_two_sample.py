"""Tests of two samples: against SciPy, closed forms and simulation."""

import math

import jax
import numpy as np
import pytest
from scipy import stats

from jaxnet.diagnostics.two_sample import METHODS, two_sample_test
from jaxnet.errors import InputError
from jaxnet.stats import two_sample
from jaxnet.stats.two_sample import Output, Unlike, mmd


def normals(seed, n, m, shift=0.0, outputs=5):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((n, outputs)), rng.standard_normal((m, outputs))
    b[:, 2] += shift
    return a, b


@pytest.mark.parametrize(("n", "m"), [(40, 40), (60, 25), (300, 301)])
@pytest.mark.parametrize("rounded", [False, True])
def test_distances_are_scipys(n, m, rounded):
    a, b = normals(0, n, m, 0.3)
    if rounded:  # many equal values
        a, b = a.round(), b.round()
    found = two_sample_test(a, b, method="bbsd")
    wanted = [stats.ks_2samp(a[:, k], b[:, k]) for k in range(5)]
    assert found.what.distances == pytest.approx([each.statistic for each in wanted], abs=1e-12)
    top = wanted[found.what.index]
    assert found.statistic == pytest.approx(max(each.statistic for each in wanted), abs=1e-12)
    assert found.what.at == pytest.approx(top.statistic_location)
    assert found.what.new == ("higher" if top.statistic_sign > 0 else "lower")
    below = [np.mean(sample[:, found.what.index] <= found.what.at) for sample in (a, b)]
    assert abs(below[0] - below[1]) == pytest.approx(found.statistic)


def test_one_outputs_p_value_is_the_exact_one():
    errors = []
    for seed in range(12):
        a, b = normals(seed, 30, 30, 0.4, outputs=3)
        exact = stats.ks_2samp(a[:, 2], b[:, 2], method="exact").pvalue
        found = two_sample_test(a[:, 2], b[:, 2], method="bbsd", key=jax.random.key(seed)).p_value
        errors.append((found - exact) / np.sqrt(exact * (1 - exact) / 499 + 1e-5))
    assert np.abs(errors).max() < 4
    assert abs(np.mean(errors)) < 1.5


def test_bonferroni_is_never_bolder_by_more_than_chance():
    for seed in range(6):
        a, b = normals(seed, 100, 100, 0.35)
        bonferroni = min(
            1.0, 5 * min(stats.ks_2samp(a[:, k], b[:, k], method="exact").pvalue for k in range(5))
        )
        assert (
            two_sample_test(a, b, method="bbsd").p_value
            <= bonferroni + 4 * np.sqrt(bonferroni / 499) + 1 / 500
        )


def test_mmd_is_the_sum_over_pairs():
    a, b = normals(0, 30, 20, 0.5)
    found = two_sample_test(a, b, method="mmd")
    pooled = np.concatenate([a, b])
    pooled = (pooled - pooled.mean(0)) / pooled.std(0)
    squares = ((pooled[:, None] - pooled[None]) ** 2).sum(-1)
    width = np.median(squares[np.triu_indices(50, 1)])
    kernel = np.exp(-squares / (2 * width))
    np.fill_diagonal(kernel, 0)
    wanted = (
        kernel[:30, :30].sum() / (30 * 29)
        + kernel[30:, 30:].sum() / (20 * 19)
        - 2 * kernel[:30, 30:].mean()
    )
    assert found.statistic == pytest.approx(wanted, abs=2e-6)


def test_fisher_is_scipys_where_no_tie_is_broken():
    from jaxnet.diagnostics.two_sample import fisher_p_value

    rng = np.random.default_rng(0)
    for _ in range(20):
        of_a, of_b = rng.standard_normal(25), rng.standard_normal(30) + 0.5
        counts = [[(of_b > 0).sum(), (of_a > 0).sum()], [(of_b <= 0).sum(), (of_a <= 0).sum()]]
        table = 55, 30, counts[0][0] + counts[0][1]
        at_least = stats.fisher_exact(counts, alternative="greater").pvalue
        more = stats.hypergeom.sf(counts[0][0], *table)
        assert more < fisher_p_value(of_a, of_b, rng) <= at_least + 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_false_alarms_and_power(method):
    count, n = 100, 40
    alarms = [
        [
            two_sample_test(
                *normals(seed, n, n, shift), method=method, key=jax.random.key(seed)
            ).shifted
            for seed in range(count)
        ]
        for shift in (0.0, 2.0)
    ]
    assert stats.binomtest(sum(alarms[0]), count, 0.05, alternative="greater").pvalue > 0.01
    assert np.mean(alarms[1]) > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_larger_samples_find_more_and_smaller_shifts(method):
    sizes = {"bbsd": (50, 200), "classifier": (100, 400), "mmd": (50, 200)}[method]
    shares, found = [], None
    for n in sizes:
        each = [
            two_sample_test(*normals(seed, n, n, 0.45), method=method, key=jax.random.key(seed))
            for seed in range(25)
        ]
        shares.append(np.mean([one.shifted for one in each]))
        assert each[0].detectable < (found or np.inf)
        found = each[0].detectable
    assert shares[1] > shares[0]


@pytest.mark.parametrize("method", ["bbsd", "mmd"])
def test_a_shift_of_the_detectable_size_is_found_in_about_80_percent(method):
    n = 150
    shift = np.mean(
        [
            two_sample_test(*(x[:, 2] for x in normals(seed, n, n, 0.5)), method=method).detectable
            for seed in range(10)
        ]
    )

    def size(mean):  # of two normals
        if method == "bbsd":
            return 2 * stats.norm.cdf(mean / 2) - 1
        a, b = normals(0, 600, 600, 0.0, 3)
        return two_sample_test(a[:, 2], b[:, 2] + mean, method="mmd").statistic

    means = np.linspace(0.2, 0.6, 9)
    mean = means[np.argmin([abs(size(each) - shift) for each in means])]
    found = [
        two_sample_test(*(x[:, 2] for x in normals(seed, n, n, mean, 3)), method=method).shifted
        for seed in range(100)
    ]
    assert 0.68 <= np.mean(found) <= 0.96


def test_intervals_cover_the_size_of_the_shift():
    # largest difference of the distributions of N(0, 1) and N(0.5, 1)
    truth = 2 * stats.norm.cdf(0.25) - 1
    found = [
        two_sample_test(*normals(seed, 150, 200, 0.5), method="bbsd", key=jax.random.key(seed)).size
        for seed in range(40)
    ]
    assert np.mean([each.low <= truth <= each.high for each in found]) >= 0.93
    a, b = normals(0, 2500, 2500, 0.5)
    truth = two_sample_test(a, b, method="mmd").statistic
    found = [
        two_sample_test(*normals(seed, 100, 100, 0.5), method="mmd", key=jax.random.key(seed)).size
        for seed in range(40)
    ]
    assert np.mean([each.low <= truth <= each.high for each in found]) >= 0.93


@pytest.mark.parametrize("method", METHODS)
def test_what_differs_is_named(method):
    rng = np.random.default_rng(0)
    a, b = (
        rng.standard_normal((400, 6, 6)).astype(np.float32),
        rng.standard_normal((300, 6, 6)).astype(np.float32),
    )
    odd = np.arange(0, 300, 3)
    b[odd, 2:4, 2:4] += 4.0  # a third of the new examples has a spot
    found = (
        two_sample_test(a.reshape(400, 36), b.reshape(300, 36), method=method)
        if method == "bbsd"
        else two_sample_test(a, b, method=method)
    )
    assert found.shifted
    if isinstance(found.what, Output):
        assert found.what.index in (14, 15, 20, 21)
        assert found.what.new == "higher"
    else:
        assert isinstance(found.what, Unlike)
        assert np.isin(found.what.new[:10], odd).all()
        assert found.what.reference.max() < 400


@pytest.mark.parametrize("method", METHODS)
def test_the_same_key_gives_the_same_and_the_level_is_kept(method):
    a, b = normals(0, 30, 40)
    one, two = (two_sample_test(a, b, method=method, key=jax.random.key(3)) for _ in range(2))
    assert (one.p_value, one.size, one.detectable) == (two.p_value, two.size, two.detectable)
    assert two_sample_test(a, b, method=method, key=jax.random.key(3), level=0.9999).shifted == (
        one.p_value < 0.9999
    )
    assert str(one).startswith(
        "no difference is shown" if one.p_value >= 0.05 else "the two samples differ"
    )


def test_constant_and_integer_samples():
    constant = two_sample_test(np.ones((20, 3)), np.ones((30, 3)), method="bbsd")
    assert (constant.p_value, constant.statistic, constant.shifted) == (1.0, 0.0, False)
    for method in METHODS:
        apart = two_sample_test(
            np.zeros((40, 4), np.uint8), np.full((40, 4), 9, np.uint8), method=method
        )
        assert apart.shifted
        assert not two_sample_test(
            np.ones((40, 4), np.uint8), np.ones((40, 4), np.uint8), method=method
        ).shifted


@pytest.mark.parametrize("method", METHODS)
def test_the_detectable_size_is_reported_and_the_observed_power_is_not(method):
    found = two_sample_test(*normals(0, 40, 40, 0.5), method=method)
    assert "power" not in str(found) + repr(found)
    assert f"a shift of size {found.detectable:.3g} or more is found in 80% of cases" in str(found)
    with pytest.warns(DeprecationWarning, match="read detectable"):
        assert 0 < found.power < 1


def test_large_samples_are_compared_in_part():
    a, b = normals(0, 1000, 500, 1.0)
    found = mmd(a, b, jax.random.key(0), 0.05, limit=300)
    assert found.counts == (200, 100)
    assert found.what.new.max() < 500
    assert found.shifted


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "t"}, "unknown method 't'"),
        ({"level": 1.0}, "level is 1.0"),
        ({"level": 0.001}, "between 0.002 and 1"),
        (
            {"method": "mmd", "new": np.full((9, 5), np.inf)},
            r"new has 45 values that are not finite, the first \(inf\) in example 0",
        ),
        ({"new": np.zeros((3, 5))}, r"new has shape \(3, 5\); .* at least 4"),
        ({"new": np.zeros((9, 4))}, "shape"),
        (
            {"new": np.full((9, 5), np.nan)},
            r"new has 45 values that are not numbers, the first \(nan\) in example 0",
        ),
        ({"reference": np.array(["a"] * 9)}, "reference must hold numbers, but is of type <U1"),
        ({"key": jax.random.split(jax.random.key(0), 2)[0:2]}, "key"),
    ],
)
def test_bad_input_is_named(change, words):
    given = {"reference": np.zeros((9, 5)), "new": np.zeros((9, 5)), "method": "bbsd"} | change
    with pytest.raises((InputError, TypeError) if "key" in change else InputError, match=words):
        two_sample_test(**given)


@pytest.mark.parametrize("number", [np.int32, np.float32])
def test_largest_gaps_are_the_statistics_of_scipy(number):
    rng = np.random.default_rng(3)
    n, m, draws = 12, 18, 20
    values = rng.integers(0, 7, (n + m, 2)).astype(float)  # with ties
    order = np.argsort(values, axis=0, kind="stable")
    ranked = np.take_along_axis(values, order, 0)
    last = np.ones(ranked.shape, bool)
    last[:-1] = ranked[1:] != ranked[:-1]
    labels = rng.permuted(np.tile((np.arange(n + m) < n).astype(np.uint8), (draws, 1)), axis=1)
    g = math.gcd(n, m)
    both, less = np.full(n + m, (n + m) // g, number), np.full(n + m, n // g, number)
    found = two_sample._largest_gaps(labels, both, less, order, last)
    expected = [
        max(stats.ks_2samp(each[label == 1], each[label == 0]).statistic for each in values.T)
        for label in labels
    ]
    np.testing.assert_allclose(found * g / (n * m), expected, rtol=1e-6)
