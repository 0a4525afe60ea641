"""Splits by group, in order and in folds; and examples that are in two parts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxnet
from jaxnet.data import overlaps

PARTS = ("train", "validation", "test")


def _numbered(n):
    """Examples that are their own row numbers."""
    return np.arange(n, dtype=np.float32)[:, None], np.arange(n, dtype=np.float32)


def _rows(splits):
    return {part: np.asarray(getattr(splits, part).x).ravel().astype(int) for part in PARTS}


@settings(deadline=None, max_examples=50)
@given(
    sizes=st.lists(st.integers(1, 15), min_size=3, max_size=25),
    seed=st.integers(0, 99),
    validation=st.sampled_from([0.0, 0.1, 0.3]),
)
def test_no_group_is_in_two_parts(sizes, seed, validation):
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    x, y = _numbered(len(groups))
    splits = jaxnet.split(x, y, validation=validation, groups=groups, seed=seed)
    rows = _rows(splits)
    assert sorted(np.concatenate(list(rows.values()))) == list(range(len(groups)))
    among = {part: set(groups[rows[part]]) for part in PARTS}
    assert not among["train"] & among["test"]
    assert not among["train"] & among["validation"]
    assert not among["test"] & among["validation"]
    assert among["train"]
    assert among["test"]
    assert bool(among["validation"]) == (validation > 0)
    # A part misses its size by no more than half of a group, unless too few groups were left.
    if len(sizes) > 10:
        assert abs(len(rows["test"]) - 0.2 * len(groups)) <= max(sizes)


@settings(deadline=None, max_examples=50)
@given(
    times=st.lists(st.integers(0, 30), min_size=20, max_size=80),
    seed=st.integers(0, 9),
    validation=st.sampled_from([0.0, 0.2]),
)
def test_no_later_example_is_trained_on(times, seed, validation):
    times = np.array(times)
    if len(np.unique(times)) < 4:
        return
    x, y = _numbered(len(times))
    rows = _rows(jaxnet.split(x, y, validation=validation, order=times, seed=seed))
    assert sorted(np.concatenate(list(rows.values()))) == list(range(len(times)))
    assert times[rows["train"]].max() < times[rows["test"]].min()
    if validation:
        assert times[rows["train"]].max() < times[rows["validation"]].min()
        assert times[rows["validation"]].max() < times[rows["test"]].min()


def test_distinct_times_give_the_exact_fractions_and_dates_and_text_will_do():
    x, y = _numbered(100)
    days = np.datetime64("2024-01-01") + np.random.default_rng(0).permutation(100)
    rows = _rows(jaxnet.split(x, y, order=days, validation=0.1, test=0.25))
    assert [len(rows[part]) for part in PARTS] == [65, 10, 25]
    text = np.array([f"patient {i // 5}" for i in range(100)])
    assert len(jaxnet.split(x, y, groups=text).test) == 20


@settings(deadline=None, max_examples=20)
@given(
    count=st.integers(2, 7), n=st.integers(30, 60), grouped=st.booleans(), seed=st.integers(0, 9)
)
def test_each_example_is_tested_in_exactly_one_fold(count, n, grouped, seed):
    x, y = _numbered(n)
    groups = np.arange(n) // 4 if grouped else None
    tested = []
    for splits in jaxnet.folds(x, y, count=count, groups=groups, seed=seed):
        rows = _rows(splits)
        assert sorted(np.concatenate(list(rows.values()))) == list(range(n))
        tested.append(rows["test"])
        if grouped:
            among = [set(groups[rows[part]]) for part in PARTS]
            assert not (among[0] & among[1] | among[0] & among[2] | among[1] & among[2])
    assert len(tested) == count
    assert sorted(np.concatenate(tested)) == list(range(n))
    if not grouped:
        assert max(map(len, tested)) - min(map(len, tested)) <= 1


def test_folds_are_stratified():
    y = np.repeat([0, 1], [90, 10])
    for splits in jaxnet.folds(np.zeros((100, 1)) + np.arange(100)[:, None], y, count=5):
        assert (np.asarray(splits.test.y) == 1).sum() == 2


BAD = [
    ({"groups": np.zeros(60)}, "all 60 examples are of 1 group; 3 parts by group need at least 3"),
    ({"groups": np.zeros(59)}, r"groups has shape \(59,\); give one value an example: \(60,\)"),
    ({"groups": np.full(60, np.nan)}, "groups has no value in row 0"),
    ({"order": np.zeros(60)}, "order has 1 different values in 60 examples"),
    ({"order": np.arange(60), "groups": np.arange(60)}, "groups and order were given"),
    ({"order": np.array([None] * 60)}, "order must hold numbers, text or times"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_groups_and_orders_are_refused(options, message):
    with pytest.raises(jaxnet.InputError, match=message):
        jaxnet.split(*_numbered(60), **options)


@pytest.mark.parametrize(("count", "groups"), [(1, None), (61, None), (4, np.arange(60) // 20)])
def test_bad_numbers_of_folds_are_refused(count, groups):
    with pytest.raises(jaxnet.InputError, match=f"count is {count}; give from 2 folds to"):
        jaxnet.folds(*_numbered(60), count=count, groups=groups)


@settings(deadline=None, max_examples=30)
@given(exact=st.integers(0, 8), near=st.integers(0, 8), seed=st.integers(0, 99))
def test_planted_duplicates_are_counted_exactly(exact, near, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal([0, 100, 1e-4], [1, 5, 1e-5], size=(150, 3)).astype(np.float32)
    train, test = x[:100], x[100:].copy()
    test[:exact] = train[rng.permutation(100)[:exact]]
    rows = rng.permutation(100)[:near]
    spread = train.std(0)
    # another rounding, as of a file with six digits
    test[exact : exact + near] = train[rows] + spread * 3e-6
    splits = jaxnet.data.splitting.assemble(
        *(
            jaxnet.data.checks.dataset(part, np.zeros(len(part)))
            for part in (train, test[-1:], test)
        ),
        name="planted",
    )
    found = {(overlap.part, overlap.other): overlap for overlap in overlaps(splits)}
    assert found[("test", "validation")].exactly == 1  # the validation set is the last test example
    if exact + near:
        assert found[("test", "training")].exactly <= exact + near
        assert found[("test", "training")].exactly >= exact
        assert found[("test", "training")].standardized == exact + near
    else:
        assert ("test", "training") not in found


def test_duplicates_of_images_are_counted_and_none_are_invented(digits):
    assert {(overlap.part, overlap.other) for overlap in overlaps(digits)} == set()
    x = np.random.default_rng(0).integers(0, 256, (100, 5, 5), dtype=np.uint8)
    x[90:93] = x[0]
    splits = jaxnet.split(x, np.arange(100.0), order=np.arange(100))
    (overlap,) = overlaps(splits)
    assert str(overlap) == "3 examples of the test set occur in the training set as well"


def test_tables_of_small_whole_numbers_have_no_invented_duplicates():
    """Rows that differ only in the high bits of some words, where a hash by sums of products meets
    by chance.
    """
    x, number = np.zeros((4096, 8), np.float32), np.arange(4096)
    for place, column in enumerate((1, 3, 5, 7)):
        x[:, column] = (number >> (3 * place)) & 7
    assert overlaps(jaxnet.split(x, number % 2)) == ()
