"""What members train on: distributions, disjointness, coverage, and independence of the number of
members.
"""

import jax
import numpy as np
import pytest
from scipy import stats

import jaxnet
from jaxnet.data import resampling
from jaxnet.random import LAST_WORDS, generator

KEY = jax.random.key(3)


def test_a_bootstrap_is_multinomial():
    samples = resampling.bootstrap(KEY, 400, 50)
    counts = samples.weights
    assert counts.shape == (400, 50)
    assert (counts.sum(1) == 50).all()
    # Of one example, over members: binomial(50, 1/50).
    expected = stats.binom.pmf(np.arange(5), 50, 1 / 50) * counts.size
    found = np.bincount(np.minimum(counts, 4).ravel(), minlength=5)
    expected[4] = counts.size - expected[:4].sum()
    assert stats.chisquare(found, expected).pvalue > 1e-3
    assert abs((counts == 0).mean() - (1 - 1 / 50) ** 50) < 0.01


def test_more_members_change_none():
    few, many = (resampling.bootstrap(KEY, n, 30) for n in (3, 7))
    assert np.array_equal(few.weights, many.weights[:3])
    few, many = (resampling.subsamples(KEY, n, 10, 30) for n in (3, 7))
    assert all(np.array_equal(few.seen(i), many.seen(i)) for i in range(3))
    few, many = (resampling.partitions(KEY, 4, 30, repeats=r) for r in (1, 3))
    assert all(np.array_equal(few.seen(i), many.seen(i)) for i in range(4))
    assert not np.array_equal(
        resampling.bootstrap(jax.random.key(4), 3, 30).weights,
        resampling.bootstrap(KEY, 3, 30).weights,
    )


@pytest.mark.parametrize(("parts", "examples"), [(4, 30), (7, 7), (1, 5)])
def test_partitions_are_disjoint_and_hold_all(parts, examples):
    samples = resampling.partitions(KEY, parts, examples, repeats=3)
    assert len(samples) == 3 * parts
    for repeat in range(3):
        seen = np.stack([samples.seen(repeat * parts + i) for i in range(parts)])
        assert (seen.sum(0) == 1).all()
        assert seen.sum(1).max() - seen.sum(1).min() <= 1
    if parts == 4:
        assert not np.array_equal(samples.seen(0), samples.seen(parts))


def test_subsamples_have_their_count_of_distinct_examples():
    samples = resampling.subsamples(KEY, 200, 10, 40)
    seen = np.stack([samples.seen(i) for i in range(200)])
    assert (seen.sum(1) == 10).all()
    assert stats.chisquare(seen.sum(0)).pvalue > 1e-3
    for i in range(200):
        indices, count = samples.alone(i)["sample"]
        assert sorted(indices) == list(range(40))
        assert count == 10


def test_first_of_an_order_are_nested():
    samples = resampling.first(KEY, [5, 20, 40], 40, repeats=2)
    assert len(samples) == 6
    for repeat in (0, 3):
        five, twenty, all_ = (samples.seen(repeat + i) for i in range(3))
        assert (five.sum(), twenty.sum(), all_.sum()) == (5, 20, 40)
        assert (five <= twenty).all()
    assert not np.array_equal(samples.seen(1), samples.seen(4))


def test_each_example_is_new_to_one_fold(digits):
    samples = resampling.folds(digits.train, 7)
    seen = np.stack([samples.seen(i) for i in range(7)])
    assert ((~seen).sum(0) == 1).all()
    y = np.asarray(digits.train.y)
    shares = np.stack([np.bincount(y[~one], minlength=10) for one in seen])
    assert (shares.max(0) - shares.min(0) <= 1).all()


def test_weights_are_taken_as_they_are():
    weights = np.random.default_rng(0).random((3, 8))
    samples = resampling.weighted(weights)
    assert np.allclose(samples.alone(2)["weights"], weights[2])
    assert samples.examples == 8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: resampling.bootstrap(KEY, 0, 5),
            "members is 0; give a whole number of at least 1",
        ),
        (lambda: resampling.partitions(KEY, 6, 5), "5 examples cannot make 6 parts"),
        (
            lambda: resampling.subsamples(KEY, 2, 6, 5),
            "6 of 5 examples cannot be drawn without replacement",
        ),
        (
            lambda: resampling.first(KEY, [1, 6], 5),
            r"counts are \[1, 6\]; give at least one, and none above the 5 examples",
        ),
        (lambda: resampling.first(KEY, [], 5), "give at least one"),
        (lambda: resampling.first(KEY, [0], 5), r"counts\[0\] is 0"),
        (lambda: resampling.weighted([1.0, 2.0]), r"weights have shape \(2,\)"),
        (
            lambda: resampling.weighted([[1.0, -2.0]]),
            "weight -2.0 of member 0, example 1, is not a finite number",
        ),
        (lambda: resampling.weighted([[1.0, np.nan]]), "weight nan of member 0"),
        (lambda: resampling.folds(jaxnet.load("digits").train, 1), "count is 1; give from 2 folds"),
    ],
)
def test_bad_samples_are_refused(make, message):
    with pytest.raises(jaxnet.InputError, match=message):
        make()


def test_samples_are_not_those_of_numpys_own_seeds():
    """Whoever shuffles the same examples with default_rng(0) must not find them in the order of a
    partition.
    """
    order = resampling.partitions(jax.random.key(0), 4, 1000).orders[0]
    other = np.random.default_rng(0).permutation(1000)
    assert abs(np.corrcoef(order, other)[0, 1]) < 0.15


@pytest.mark.parametrize("key", [jax.random.key(7), jax.random.PRNGKey(7)], ids=["typed", "words"])
def test_generators_draw_what_they_always_drew(key):
    """The first draws, written down before the generators of resampling and corruption were one
    function.
    """
    draws = {
        ("resampling", 3): [4148070253, 1179558219, 2897836553, 1149029234],
        ("corruption",): [3498359553, 1108263801, 2415224799, 2986702387],
        ("two_sample",): [1437964513, 1223583758, 3646189154, 4272902983],
        ("calibration",): [1787235871, 1214416171, 4270533132, 2465733849],
    }
    assert set(LAST_WORDS) == {purpose for purpose, *_ in draws}
    for purpose, first in draws.items():
        assert generator(key, *purpose).integers(0, 2**32, 4).tolist() == first
