"""Splits by group, in order and in folds; what parts keep and how they are pooled; and examples
that are in two parts.
"""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxnet
from jaxnet.data import overlaps
from jaxnet.data.splitting import fold_numbers, grouped, hold_out, in_one, pool, take

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


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 20), min_size=8, max_size=40),
    count=st.integers(2, 8),
    seed=st.integers(0, 99),
)
def test_no_group_is_in_two_folds_and_folds_are_of_nearly_equal_size(sizes, count, seed):
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    data = grouped(jaxnet.Dataset(*_numbered(len(groups))), groups)
    fold_of = fold_numbers(data, count, seed)
    assert set(fold_of) == set(range(count))
    for group in range(len(sizes)):
        assert len(set(fold_of[groups == group])) == 1
    # An optimal assignment is at best as full as the mean, and the largest group may be alone.
    filled = np.bincount(fold_of, minlength=count)
    assert filled.max() - filled.min() <= max(sizes)
    assert np.array_equal(fold_of, fold_numbers(data, count, seed))
    # Names of groups, in place of their numbers, give the same folds.
    named = grouped(data, np.char.add("patient ", groups.astype(str)))
    by_rank = grouped(data, np.unique(groups.astype(str), return_inverse=True)[1])
    assert np.array_equal(fold_numbers(named, count, seed), fold_numbers(by_rank, count, seed))


def test_folds_of_groups_are_stratified_and_differ_from_seed_to_seed():
    """30 patients of 5 to 9 rows, 6 of them ill: no two ill ones in a fold of 8."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(5, 10, 30)
    groups, y = np.repeat(np.arange(30), sizes), np.repeat(np.arange(30) < 6, sizes).astype(int)
    data = jaxnet.Dataset(np.zeros((len(y), 1)), y, ("well", "ill"), groups=groups)
    found = [fold_numbers(data, 8, seed) for seed in range(20)]
    for fold_of in found:
        assert len(set(fold_of[y == 1])) == 6
    assert len({tuple(fold_of) for fold_of in found}) == 20


def test_groups_of_one_example_are_dealt_like_examples():
    y = np.repeat([0, 1], [90, 11])
    data = jaxnet.Dataset(np.zeros((101, 1)), y, ("a", "b"), groups=np.arange(101))
    fold_of = fold_numbers(data, 5, 3)
    for rows in (fold_of, fold_of[y == 1]):
        sizes = np.bincount(rows, minlength=5)
        assert sizes.max() - sizes.min() <= 1


def test_folds_without_groups_are_what_they_always_were():
    """Written down before examples had groups."""
    data = jaxnet.Dataset(np.zeros((12, 1)), np.arange(12) % 3, ("a", "b", "c"))
    assert fold_numbers(data, 4, 5).tolist() == [3, 0, 1, 1, 1, 2, 2, 2, 3, 0, 3, 0]


def test_each_part_keeps_the_groups_of_its_examples():
    text = np.array([f"patient {i // 5 % 20:02d}" for i in range(200)])
    x, y = _numbered(200)
    splits = jaxnet.split(x, y, groups=text, seed=3)
    numbers = np.unique(text, return_inverse=True)[1]
    for part, rows in _rows(splits).items():
        assert np.array_equal(getattr(splits, part).groups, numbers[rows])
    assert (splits.grouped_by, splits.test_source, splits.ordered) == ("group", "random", False)
    some = take(splits.train, np.array([3, 0, 8]))
    assert np.array_equal(some.groups, splits.train.groups[[3, 0, 8]])
    whole, part = hold_out(grouped(jaxnet.Dataset(x, y), text), 0.3, 0)
    for each in (whole, part):
        assert np.array_equal(each.groups, numbers[np.asarray(each.x).ravel().astype(int)])
    for fold in jaxnet.folds(x, y, groups=text, count=4):
        for part, rows in _rows(fold).items():
            assert np.array_equal(getattr(fold, part).groups, numbers[rows])
    assert jaxnet.split(x, y).train.groups is None


def test_groups_are_no_part_of_a_pytree_and_all_else_is():
    x, y = _numbered(40)
    splits = jaxnet.split(x, y, groups=np.arange(40) // 2)
    without = jaxnet.split(x, y)
    assert jax.tree.structure(splits.train) == jax.tree.structure(without.train)
    assert jax.tree.map(lambda a: a[:3], splits.train).groups is None
    # What a Dataset holds besides its groups survives, whatever fields it gets.
    given = jaxnet.Dataset(np.zeros((3, 4, 4)), np.arange(3), ("a", "b", "c"), 16.0)
    rebuilt = jax.tree.map(lambda a: a, given)
    for field in dataclasses.fields(given):
        assert np.array_equal(getattr(rebuilt, field.name), getattr(given, field.name))
        assert field.name == "groups" or getattr(given, field.name) is not None


def test_groups_change_neither_a_training_nor_what_is_compiled(compilations):
    x, y = np.random.default_rng(0).normal(size=(80, 3)), np.arange(80) % 2
    splits = jaxnet.split(x, y)
    grouped_ones = dataclasses.replace(
        splits,
        train=dataclasses.replace(splits.train, groups=np.arange(len(splits.train)) // 3),
        test_source="ordered",
        ordered=True,
        grouped_by="patient",
    )
    model, recipe, key = jaxnet.linear(), jaxnet.Recipe(epochs=2, batch_size=16), jax.random.key(0)
    one = jaxnet.fit(model, splits, recipe, key)
    before = len(compilations)
    other = jaxnet.fit(model, grouped_ones, recipe, key)
    assert len(compilations) == before
    assert all(
        np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True)
    )


def test_a_split_says_where_its_test_set_comes_from(tmp_path, digits):
    x, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 3
    assert jaxnet.split(x, y).test_source == "random"
    in_order = jaxnet.split(x, y, order=np.arange(60))
    assert (in_order.test_source, in_order.ordered) == ("ordered", True)
    assert digits.test_source == "random"
    assert next(jaxnet.folds(x, y)).test_source == "random"
    by_hand = jaxnet.Splits(
        in_order.train, in_order.validation, in_order.test, in_order.standardization
    )
    assert (by_hand.test_source, by_hand.ordered, by_hand.grouped_by) == ("own", False, None)
    patient, day = np.arange(60) // 4, np.arange(60)
    np.savez(tmp_path / "one.npz", x=x, y=y, patient=patient, day=day)
    np.savez(
        tmp_path / "two.npz",
        x=x,
        y=y,
        x_test=x[:9],
        y_test=y[:9],
        patient=patient + 100,
        patient_test=np.array([200, 201, 100] * 3),
        day=day,
    )
    one = jaxnet.load(tmp_path / "one.npz", groups="patient")
    assert (one.test_source, one.grouped_by) == ("random", "patient")
    assert not set(one.train.groups) & set(one.test.groups)
    assert jaxnet.load(tmp_path / "one.npz", order="day").test_source == "ordered"
    two = jaxnet.load(tmp_path / "two.npz", groups="patient")
    assert two.test_source == "own"
    # Patient 100 has one number in all parts, 0, and those of the test set alone the last two.
    assert two.test.groups.tolist() == [15, 16, 0] * 3
    last = jaxnet.load(tmp_path / "two.npz", order="day")
    assert (last.test_source, last.ordered) == ("own", True)
    (tmp_path / "t.csv").write_text(
        "patient,a,b\n" + "".join(f"p{i // 4},{i},{i % 3}\n" for i in range(60))
    )
    table = jaxnet.load(tmp_path / "t.csv", groups="patient")
    assert (table.test_source, table.grouped_by) == ("random", "patient")
    assert len(np.unique(table.train.groups)) * 4 == len(table.train)


@pytest.mark.parametrize("groups", [None, np.arange(120) // 4])
def test_a_pool_is_training_and_validation_set_and_standardized_as_one(groups):
    rng = np.random.default_rng(1)
    x, y = rng.normal(5, 3, size=(120, 2)).astype(np.float32), rng.normal(size=120)
    splits = jaxnet.split(x, y, groups=groups, validation=0.2)
    pooled = pool(splits)
    assert len(pooled.train) == len(splits.train) + len(splits.validation)
    assert len(pooled.validation) == 0
    assert pooled.validation.x.shape == (0, 2)
    assert pooled.test is splits.test
    both = np.concatenate([splits.train.x, splits.validation.x])
    assert np.array_equal(pooled.train.x, both)
    assert np.allclose(pooled.standardization.mean, both.mean(0), rtol=1e-5)
    assert np.allclose(pooled.standardization.scale, both.std(0), rtol=1e-5)
    assert np.isclose(pooled.standardization.target_mean, pooled.train.y.mean(), rtol=1e-4)
    assert pooled.notes[-1].startswith(
        f"standardization uses the mean and scale of the {len(both)} examples"
    )
    assert (pooled.test_source, pooled.grouped_by) == (splits.test_source, splits.grouped_by)
    if groups is not None:
        rows = [int(np.flatnonzero((x == one).all(1))[0]) for one in both]
        assert np.array_equal(pooled.train.groups, groups[rows])
    # It is trained on like any other, and there is nothing to add to it.
    assert pool(pooled) is pooled
    run = jaxnet.fit(jaxnet.linear(), pooled, jaxnet.Recipe(epochs=1), jax.random.key(0))
    assert not run.diverged


def test_a_pool_keeps_what_images_and_wide_numbers_need(digits):
    pooled = pool(digits)
    assert (pooled.train.pixel_max, pooled.train.classes) == (16.0, digits.classes)
    assert pooled.train.x.dtype == np.uint8
    x = 1e9 + np.random.default_rng(0).normal(size=(60, 1))
    wide = pool(jaxnet.split(x, np.arange(60) % 2))
    assert wide.train.x.dtype == np.float64
    assert wide.standardization.origin is not None


def test_a_pool_keeps_a_standardization_of_ones_own():
    x, y = np.random.default_rng(1).normal(5, 3, size=(90, 2)), np.arange(90) % 3
    splits = jaxnet.split(x.astype(np.float32), y, validation=0.2)
    own = splits.standardization._replace(
        mean=np.zeros(2, np.float32), scale=np.ones(2, np.float32)
    )
    pooled = pool(dataclasses.replace(splits, standardization=own))
    assert pooled.standardization is own
    assert pooled.notes[-1].startswith("standardization uses the given mean and scale")


def test_examples_without_a_group_are_groups_of_their_own():
    x, y = _numbered(4)
    known = jaxnet.Dataset(x, y, groups=np.array([7, 7, 2, 2]))
    unknown = jaxnet.Dataset(x[:2], y[:2])
    assert in_one(unknown, known).groups.tolist() == [8, 9, 7, 7, 2, 2]
    assert in_one(unknown, unknown).groups is None


def test_a_stream_cannot_be_pooled(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(50, 2)))
    np.save(tmp_path / "y.npy", np.arange(50) % 2)
    splits = jaxnet.stream(tmp_path)
    assert (splits.test_source, splits.ordered) == ("random", False)
    with pytest.raises(jaxnet.InputError, match="stays on disk"):
        pool(splits)


BAD = [
    ({"groups": np.zeros(60)}, "all 60 examples are of 1 group; 3 parts by group need at least 3"),
    (
        {"groups": np.zeros(59)},
        r"groups has shape \(59,\); give one value for each example: \(60,\)",
    ),
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


def test_duplicates_are_counted_where_the_validation_set_is_empty():
    """As in a pool of training and validation set."""
    x = np.random.default_rng(0).standard_normal((100, 3)).astype(np.float32)
    x[90:93] = x[0]
    splits = jaxnet.split(x, np.arange(100.0), order=np.arange(100))
    (overlap,) = overlaps(jaxnet.data.splitting.pool(splits))
    assert (overlap.part, overlap.other, overlap.standardized) == ("test", "training", 3)


def test_tables_of_small_whole_numbers_have_no_invented_duplicates():
    """Rows that differ only in the high bits of some words, where a hash by sums of products meets
    by chance.
    """
    x, number = np.zeros((4096, 8), np.float32), np.arange(4096)
    for place, column in enumerate((1, 3, 5, 7)):
        x[:, column] = (number >> (3 * place)) & 7
    assert overlaps(jaxnet.split(x, number % 2)) == ()
