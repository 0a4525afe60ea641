"""What members train on: distributions, disjointness, coverage, and independence of the number of
members.
"""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import jaxnet
from jaxnet.data import resampling
from jaxnet.engine.fingerprint import checksum
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


def test_samples_without_groups_are_what_they_always_were(digits):
    """Checksums of all arrays, written down before examples had groups."""
    made = {
        "bootstrap": resampling.bootstrap(KEY, 3, 50),
        "partitions": resampling.partitions(KEY, 4, 30, repeats=3),
        "disjoint": resampling.disjoint(KEY, 3, 7, 30),
        "subsamples": resampling.subsamples(KEY, 5, 10, 30),
        "first": resampling.first(KEY, [5, 17, 30], 30, repeats=2),
        "folds": resampling.folds(digits.train, 7, seed=2),
    }
    assert {name: checksum(each.arrays) for name, each in made.items()} == {
        "bootstrap": 1892179963,
        "partitions": 599038613,
        "disjoint": 3473481334,
        "subsamples": 1855912562,
        "first": 3358177721,
        "folds": 2908470089,
    }
    each_alone = {
        name: draw(*given, groups=np.arange(n)[::-1])
        for name, draw, given, n in (
            ("bootstrap", resampling.bootstrap, (KEY, 3, 50), 50),
            ("disjoint", resampling.disjoint, (KEY, 3, 7, 30), 30),
            ("subsamples", resampling.subsamples, (KEY, 5, 10, 30), 30),
        )
    }
    # Groups of one example are drawn as examples are; here the first example is the last group.
    assert np.array_equal(each_alone["bootstrap"].weights, made["bootstrap"].weights[:, ::-1])
    for name in ("disjoint", "subsamples"):
        assert np.array_equal(each_alone[name].orders, 29 - made[name].orders)
        assert np.array_equal(each_alone[name].first, made[name].first)
        assert np.array_equal(each_alone[name].count, made[name].count)


groups_of = st.tuples(
    st.lists(st.integers(1, 12), min_size=6, max_size=30), st.integers(0, 99)
).map(
    lambda drawn: np.random.default_rng(drawn[1]).permutation(
        np.repeat(3 * np.arange(len(drawn[0])), drawn[0])
    )
)


def _whole(mask, groups):
    """Whether a mask takes all or nothing of each group."""
    return all(len(set(mask[groups == group])) == 1 for group in set(groups))


@settings(deadline=None, max_examples=30)
@given(groups=groups_of, parts=st.integers(1, 6))
def test_no_group_is_in_two_parts_of_a_partition(groups, parts):
    n, largest = len(groups), np.bincount(groups).max()
    samples = resampling.partitions(KEY, parts, n, repeats=2, groups=groups)
    assert len(samples) == 2 * parts
    for repeat in range(2):
        seen = np.stack([samples.seen(repeat * parts + i) for i in range(parts)])
        assert (seen.sum(0) == 1).all()
        assert (seen.sum(1) > 0).all()
        assert all(_whole(each, groups) for each in seen)
        # Each border lies at the end nearest to where it should, except that no part is empty.
        if largest * parts * 2 < n:
            assert np.abs(seen.sum(1) - n / parts).max() <= largest + 1


@settings(deadline=None, max_examples=30)
@given(groups=groups_of, members=st.integers(1, 6), share=st.floats(0.1, 1.0))
def test_disjoint_samples_and_subsamples_are_of_whole_groups(groups, members, share):
    n, largest = len(groups), np.bincount(groups).max()
    count = max(1, int(share * n / members))
    samples = resampling.disjoint(KEY, members, count, n, groups=groups)
    seen = np.stack([samples.seen(i) for i in range(members)])
    assert (seen.sum(0) <= 1).all()
    assert (seen.sum(1) > 0).all()
    assert all(_whole(each, groups) for each in seen)
    samples = resampling.subsamples(KEY, members, count, n, groups=groups)
    for i in range(members):
        seen = samples.seen(i)
        assert _whole(seen, groups)
        # The nearest size that whole groups in this order make.
        assert seen.sum() > 0
        assert abs(seen.sum() - count) <= largest - 1
    more = resampling.subsamples(KEY, members + 2, count, n, groups=groups)
    assert all(np.array_equal(more.seen(i), samples.seen(i)) for i in range(members))


@settings(deadline=None, max_examples=30)
@given(groups=groups_of)
def test_growing_subsets_of_whole_groups_are_nested_and_end_with_all(groups):
    n, largest = len(groups), np.bincount(groups).max()
    counts = [max(1, n // 4), max(2, n // 2), n]
    samples = resampling.first(KEY, counts, n, repeats=2, groups=groups)
    for repeat in (0, 3):
        small, half, everything = (samples.seen(repeat + i) for i in range(3))
        assert everything.all()
        assert (small <= half).all()
        assert _whole(small, groups)
        assert _whole(half, groups)
        # No other beginning of the order that ends with a group is nearer.
        assert abs(half.sum() - counts[1]) <= largest / 2


def test_a_bootstrap_of_groups_draws_groups():
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(40), np.arange(40) % 4 + 1))
    samples = resampling.bootstrap(KEY, 300, len(groups), groups=groups)
    of_group = np.stack([samples.weights[:, groups == g][:, 0] for g in range(40)], 1)
    assert np.array_equal(samples.weights, of_group[:, groups])
    assert (of_group.sum(1) == 40).all()
    # Of one group, over members: binomial(40, 1/40).
    expected = stats.binom.pmf(np.arange(4), 40, 1 / 40) * of_group.size
    expected[3] = of_group.size - expected[:3].sum()
    found = np.bincount(np.minimum(of_group, 3).ravel(), minlength=4)
    assert stats.chisquare(found, expected).pvalue > 1e-3
    assert abs(samples.weights.mean() - 1) < 0.02


def test_each_group_is_equally_often_in_a_subsample():
    groups = np.repeat(np.arange(20), 3)
    samples = resampling.subsamples(KEY, 200, 15, 60, groups=groups)
    assert (samples.count == 15).all()
    drawn = np.stack([samples.seen(i)[::3] for i in range(200)]).sum(0)
    assert stats.chisquare(drawn).pvalue > 1e-3


def test_folds_of_groups_for_several_seeds_are_in_order_of_the_folds():
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(24), 5))
    data = jaxnet.Dataset(np.zeros((120, 1)), np.zeros(120), groups=groups)
    samples = resampling.folds(data, 8, seed=3, seeds=2)
    fold_of = resampling.fold_of(data, 8, seed=3)
    assert len(samples) == 16
    for k in range(8):
        for s in range(2):
            assert np.array_equal(samples.seen(k * 2 + s), fold_of != k)
    assert (samples.count == 105).all()
    assert all(len(set(fold_of[groups == g])) == 1 for g in range(24))
    # Only the groups, the labels and the two numbers count: not the inputs.
    other = dataclasses.replace(data, x=np.ones((120, 3)))
    assert np.array_equal(resampling.fold_of(other, 8, seed=3), fold_of)
    assert not np.array_equal(resampling.fold_of(data, 8, seed=4), fold_of)
    with pytest.raises(jaxnet.InputError, match="one a group: 24"):
        resampling.folds(data, 25)


def test_folds_of_a_network_are_those_of_all_seeds(digits):
    one, three = (resampling.folds(digits.train, 4, seeds=s) for s in (1, 3))
    for k in range(4):
        for s in range(3):
            assert np.array_equal(three.seen(3 * k + s), one.seen(k))
            assert np.array_equal(three.alone(3 * k + s)["sample"][0], one.alone(k)["sample"][0])


def test_folds_before_the_one_left_out_come_first_after_the_sample():
    fold_of = np.array([2, 0, 1, 0, 2, 1, 1])
    samples = resampling.all_but(fold_of, [0, 1], before=np.array([1, 0]))
    rows, count = samples.alone(0)["sample"]
    assert (fold_of[rows[:count]] == 1).all()
    assert rows[count:].tolist() == [0, 4, 1, 3]  # fold 2, then fold 0
    assert samples.seen(1).tolist() == (fold_of != 1).tolist()


def test_factors_multiply_weights_and_go_with_subsets():
    factors = np.linspace(0.5, 1.5, 8)
    folds = resampling.partitions(KEY, 2, 8)
    both = folds.reweighted(factors).alone(1)
    assert np.allclose(both["weights"], factors)
    assert np.array_equal(both["sample"][0], folds.alone(1)["sample"][0])
    assert np.array_equal(folds.reweighted(factors).seen(0), folds.seen(0))
    weights = np.random.default_rng(0).random((3, 8))
    found = resampling.weighted(weights).reweighted(factors).reweighted(factors)
    assert np.allclose(found.alone(2)["weights"], weights[2] * factors**2)
    own = np.stack([factors, 2 * factors])
    assert np.allclose(
        folds.reweighted(own).reweighted(factors).alone(1)["weights"], own[1] * factors
    )
    for bad in (factors[:7], -factors, np.full(8, np.nan), own[:1]):
        with pytest.raises(jaxnet.InputError, match="factors"):
            folds.reweighted(bad)
    with pytest.raises(jaxnet.InputError, match="reweighted"):
        resampling.together([folds.reweighted(factors), folds])


@pytest.mark.parametrize("kind", ["subsets", "weights"])
def test_samples_of_some_members_are_those_of_all(kind):
    rng = np.random.default_rng(0)
    if kind == "subsets":
        samples = resampling.partitions(KEY, 2, 8, repeats=2).reweighted(rng.random((4, 8)))
    else:
        samples = resampling.weighted(rng.random((4, 8))).reweighted(rng.random(8))
    some = samples.only(np.array([3, 1]))
    assert len(some) == 2
    for place, member in enumerate((3, 1)):
        wanted, found = samples.alone(member), some.alone(place)
        assert np.array_equal(found["weights"], wanted["weights"])
        assert np.array_equal(found.get("sample", (0, 0))[0], wanted.get("sample", (0, 0))[0])


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
        (
            lambda: resampling.folds(jaxnet.load("digits").train, 4, seeds=0),
            "seeds is 0; give a whole number of at least 1",
        ),
        (
            lambda: resampling.partitions(KEY, 3, 6, groups=[0, 0, 0, 1, 1, 1]),
            "2 groups cannot make 3 parts; give fewer parts",
        ),
        (
            lambda: resampling.disjoint(KEY, 3, 1, 6, groups=[0, 0, 0, 1, 1, 1]),
            "2 groups cannot make 3 parts",
        ),
        (
            lambda: resampling.bootstrap(KEY, 3, 6, groups=[0, 0, 1]),
            r"groups has shape \(3,\); give one value for each example: \(6,\)",
        ),
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
        ("references",): [2330733821, 231350738, 4182099756, 2769748909],
    }
    assert set(LAST_WORDS) == {purpose for purpose, *_ in draws}
    for purpose, first in draws.items():
        assert generator(key, *purpose).integers(0, 2**32, 4).tolist() == first
