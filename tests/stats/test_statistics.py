"""Intervals against published tables, SciPy and simulation; the verdict rule against simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from jaxnet.diagnostics import Estimate, combination, error_ladder, exact, mean, wilson
from jaxnet.errors import InputError


@pytest.mark.parametrize("trials", [1, 7, 50, 1000])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_wilson_is_scipys(trials, level):
    for successes in sorted({0, 1, trials // 3, trials - 1, trials}):
        ours = wilson(successes, trials, level)
        theirs = stats.binomtest(successes, trials).proportion_ci(level, method="wilson")
        assert ours.low == pytest.approx(theirs.low, abs=1e-12)
        assert ours.high == pytest.approx(theirs.high, abs=1e-12)
        assert float(ours) == successes / trials


@pytest.mark.parametrize("trials", [1, 7, 50, 1000])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_exact_is_scipys(trials, level):
    for successes in sorted({0, 1, trials // 3, trials - 1, trials}):
        ours = exact(successes, trials, level)
        theirs = stats.binomtest(successes, trials).proportion_ci(level, method="exact")
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


# Newcombe 1998, Statistics in Medicine 17:873, table II, method 10: successes and trials of both,
# and the limits printed.
NEWCOMBE = [
    (56, 70, 48, 80, 0.0524, 0.3339),
    (9, 10, 3, 10, 0.1705, 0.8090),
    (6, 7, 2, 7, 0.0582, 0.8062),
    (5, 56, 0, 29, -0.0381, 0.1926),
    (0, 10, 0, 20, -0.1611, 0.2775),
    (10, 10, 0, 20, 0.6791, 1.0000),
]


@pytest.mark.parametrize(("a", "m", "b", "n", "low", "high"), NEWCOMBE)
def test_a_difference_of_proportions_is_newcombes_table(a, m, b, n, low, high):
    ours = combination([1.0, -1.0], [wilson(a, m), wilson(b, n)])
    assert ours.low == pytest.approx(low, abs=5e-5)
    assert ours.high == pytest.approx(high, abs=5e-5)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.exponential(2.0, 200),
        lambda rng: rng.chisquare(1, 200),
        lambda rng: rng.gamma(0.3, 1, 400),
    ],
)
def test_means_cover_and_are_never_negative(draw):
    rng = np.random.default_rng(0)
    truth = np.mean([draw(rng).mean() for _ in range(5000)])
    every = [mean(draw(rng)) for _ in range(2000)]
    intervals = [each for each in every if each.refused is None]
    assert len(intervals) > 0.95 * len(every)
    assert all(0 < e.low < e.estimate < e.high for e in intervals)
    assert 0.925 <= np.mean([e.low <= truth <= e.high for e in intervals]) <= 0.97


def test_mean_refuses_few():
    values = np.random.default_rng(0).exponential(3, 100)
    ours = mean(values, heavy_tails=False)
    error = values.std(ddof=1) / 10 / values.mean()
    kurtosis = stats.kurtosis(values, fisher=False)
    low, high = np.exp(
        stats.t.interval(0.95, 200 / (kurtosis - 97 / 99), np.log(values.mean()), error)
    )
    assert (ours.low, ours.high) == pytest.approx((low, high))
    few = mean(values[:5])
    assert few.estimate == pytest.approx(values[:5].mean())
    assert math.isnan(few.low)
    assert "at least 30 are needed" in few.refused
    assert "no examples" in wilson(0, 0).refused
    assert combination([1.0, -1.0], [few, ours]).refused == few.refused


@pytest.mark.parametrize(("p", "q", "n"), [(0.02, 0.05, 300), (0.1, 0.1, 150), (0.3, 0.5, 80)])
def test_differences_cover(p, q, n):
    rng = np.random.default_rng(0)
    pairs = rng.binomial(n, [p, q], (2000, 2))
    intervals = [combination([-1.0, 1.0], [wilson(int(a), n), wilson(int(b), n)]) for a, b in pairs]
    covered = np.mean([e.low <= q - p <= e.high for e in intervals])
    assert 0.94 <= covered <= 0.985


def ladder(train, validation, test, **options):
    """The ladder of one network from (wrong, of) pairs."""
    pairs = {"train": train, "validation": validation, "test": test}
    return error_ladder(
        {name: np.arange(pair[1]) < pair[0] for name, pair in pairs.items() if pair is not None},
        **options,
    )


VERDICTS = [
    (
        ((100, 1000), (105, 1000), (103, 1000)),
        {},
        "high bias: if an error of 0% is attainable, the training error is too high by",
    ),
    (
        ((0, 5000), (500, 5000), (500, 5000)),
        {},
        "high variance: the error on unseen examples exceeds the training error by",
    ),
    (((0, 5000), (20, 5000), (900, 5000)), {}, "mismatch: the error where the network is used"),
    (
        ((0, 50000), (50, 5000), (50, 5000)),
        {},
        "good enough: no error step exceeds the tolerance of 2.0%",
    ),
    (((0, 1000), (4, 180), (9, 360)), {}, "mostly variance: "),
    (((15, 1000), (5, 180), (9, 360)), {}, "inconclusive: "),
    (((1000, 10000), (2000, 10000), (2010, 10000)), {}, "high bias and high variance: "),
    (((1000, 10000), (3000, 10000), (3010, 10000)), {}, "high variance: "),
    (((1000, 10000), (1000, 10000), (1000, 10000)), {"target_error": 0.095}, "good enough"),
    (((0, 5000), None, (500, 5000)), {}, "high variance: "),
    (((200, 1000), (210, 1000), (220, 1000)), {"tolerance": 0.5}, "good enough"),
]


@pytest.mark.parametrize(("errors", "options", "verdict"), VERDICTS)
def test_verdicts(errors, options, verdict):
    found = ladder(*errors, **options)
    assert found.verdict.startswith(verdict)
    sizes = [finding.size.estimate for finding in found.findings]
    assert sizes == sorted(sizes, reverse=True)
    claimed = [finding.code for finding in found.findings if finding.claimed]
    assert all(code.words in found.verdict for code in claimed)
    assert bool(claimed) == (not verdict.startswith(("good", "inconclusive", "mostly")))
    assert all(finding.remedies for finding in found.findings)


@pytest.mark.parametrize(
    "truth",
    [
        (0.0, 0.02, 0.04),
        (0.02, 0.04, 0.06),
        (0.02, 0.02, 0.02),
        (0.05, 0.07, 0.07),
        (0.0, 0.02, 0.02),
    ],
)
def test_false_claims_are_rare(truth):
    """Steps that are exactly at the tolerance must not be called high more often than in 5% of
    studies.
    """
    rng, n, false = np.random.default_rng(0), 400, 0
    sizes = np.diff([0.0, *truth])
    names = ("high_bias", "high_variance", "mismatch")
    for wrong in rng.binomial(n, truth, (1000, 3)):
        found = ladder(*((int(w), n) for w in wrong))
        harmless = {name for name, size in zip(names, sizes, strict=True) if size <= 0.02 + 1e-12}
        false += any(f.claimed and f.code in harmless for f in found.findings)
    assert false / 1000 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1000)


def test_good_enough_is_rarely_said_of_a_step_at_the_tolerance():
    rng, n, said = np.random.default_rng(0), 1000, 0
    for wrong in rng.binomial(n, (0.0, 0.02, 0.02), (1000, 3)):
        said += ladder(*((int(w), n) for w in wrong)).verdict.startswith("good enough")
    assert said / 1000 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": -1.0}, "tolerance is -1.0"),
        ({"target_error": math.nan}, "target_error is nan"),
    ],
)
def test_bad_targets_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        ladder((1, 10), (1, 10), (1, 10), **options)


def test_a_diverged_network_is_inconclusive():
    broken = np.full(50, math.nan)
    assert error_ladder({"train": broken, "test": broken}).verdict.startswith(
        "inconclusive: an error is not a finite number"
    )


def test_an_estimate_is_its_number_and_its_words():
    assert float(Estimate(0.25, 0.2, 0.3)) == 0.25
    assert str(Estimate(0.25, 0.2, 0.3)) == "0.2500 (0.2000 to 0.3000)"
    assert Estimate(0.25, 0.2, 0.3).complement() == Estimate(0.75, 0.7, 0.8)
