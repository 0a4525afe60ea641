"""Columns that almost equal the label are found, and no others."""

import numpy as np
import pandas
import pytest
from sklearn import datasets
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import jaxnet
from jaxnet.data.dataset import Dataset
from jaxnet.data.leaks import described, fit_trees, leaks
from jaxnet.data.schema import Column, Schema

PUBLIC = ("iris", "wine", "breast_cancer", "digits", "diabetes")


def public(name, *more):
    """A data set of scikit-learn with more columns, each an array of numbers."""
    found = getattr(datasets, f"load_{name}")()
    names = [f"c{i}" for i in range(found.data.shape[1])] + [f"more{i}" for i in range(len(more))]
    classes = None if name == "diabetes" else tuple(map(str, found.target_names))
    x = np.column_stack([found.data, *more])
    schema = Schema(classes, columns=tuple(map(Column, names)))
    return Dataset(x, found.target, schema=schema)


def found_in(data, seed=0):
    return leaks(data, np.arange(len(data)), seed=seed)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("digits", [1, 4])
def test_trees_are_those_of_scikit_learn(depth, digits):
    rng = np.random.default_rng(depth)
    x = rng.normal(size=(4, 300)).round(digits)
    y = (x[0] + rng.normal(size=300) > 0).astype(float)
    value = x[1] ** 2 + rng.normal(size=300)
    new = rng.normal(size=50)
    for tree, own in zip(fit_trees(x, y, depth), x, strict=True):
        theirs = DecisionTreeClassifier(max_depth=depth, random_state=0).fit(own[:, None], y)
        np.testing.assert_allclose(tree.outputs(new), theirs.predict_proba(new[:, None])[:, 1])
    for tree, own in zip(fit_trees(x, value, depth), x, strict=True):
        theirs = DecisionTreeRegressor(max_depth=depth, random_state=0).fit(own[:, None], value)
        np.testing.assert_allclose(tree.outputs(new), theirs.predict(new[:, None]))


@pytest.mark.parametrize("name", PUBLIC)
def test_no_column_of_a_public_table_equals_its_label(name):
    for seed in range(3):
        assert found_in(public(name), seed) == ()


@pytest.mark.parametrize("name", PUBLIC)
def test_a_copy_of_the_label_is_found_wherever_it_is(name):
    y = public(name).y
    for seed in range(3):
        (leak,) = found_in(public(name, 2.0 * y + 1), seed)
        assert leak.column == "more0"
        assert leak.error < 0.1 * leak.other_error
    # two of them do not hide each other
    assert {leak.column for leak in found_in(public(name, 2.0 * y, -y))} == {"more0", "more1"}


@pytest.mark.parametrize("name", ["wine", "breast_cancer", "digits"])
def test_a_few_wrong_labels_and_numbers_in_the_order_of_the_classes_are_found(name):
    rng = np.random.default_rng(0)
    y = public(name).y
    flipped = np.where(rng.random(len(y)) < 0.01, rng.permutation(y), y)
    place = 1000.0 + np.argsort(np.argsort(y + 0.001 * rng.random(len(y))))
    for more in (flipped, place):
        assert [leak.column for leak in found_in(public(name, more))] == ["more0"]


def test_the_label_in_other_words_and_gaps_that_tell_it_are_found():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 600)
    noise = rng.normal(size=(600, 2))
    word = rng.integers(0, 3, 600) + 3 * y  # three words for each class
    gap = y.astype(float)
    columns = (
        Column("a"),
        Column("words", tuple("abcdef")),
        Column("date of death", missing=True, fill=0.0),
        Column("b"),
    )
    x = np.column_stack([noise[:, :1], np.eye(6)[word], np.zeros(600), gap, noise[:, 1:]])
    found = found_in(Dataset(x, y, schema=Schema(("no", "yes"), columns=columns)))
    assert {leak.column for leak in found} == {"words", "date of death"}
    assert {leak.error for leak in found} == {0.0}
    assert found[0].other_error == pytest.approx(min(y.mean(), 1 - y.mean()), abs=0.06)
    words = described(found[0], regression=False)
    assert "(possible leak)" in words
    assert "has an error of 0.00%" in words


def test_one_column_few_rows_and_chance_are_no_leak():
    rng = np.random.default_rng(0)
    y = np.arange(400) % 2
    alone = Dataset(y[:, None] + 0.0, y, schema=Schema(("a", "b"), columns=(Column("copy"),)))
    assert found_in(alone) == ()
    noise = tuple(Column(f"c{i}") for i in range(20))
    for rows in (6, 12, 40, 400):
        for seed in range(10):
            x, own = rng.normal(size=(rows, 20)), np.arange(rows) % 2
            own = own if seed % 2 else (np.arange(rows) < 1 + rows // 50).astype(int)
            assert found_in(Dataset(x, own, schema=Schema(("a", "b"), columns=noise)), seed) == ()


def test_a_word_for_each_patient_is_no_leak_where_patients_are_kept_together():
    rng = np.random.default_rng(0)
    patient = rng.integers(0, 40, 500)
    y = rng.integers(0, 2, 40)[patient]
    columns = (Column("a"), Column("street", tuple(f"s{i}" for i in range(40))))
    x = np.column_stack([rng.normal(size=500), np.eye(40)[patient]])
    data = Dataset(x, y, schema=Schema(("no", "yes"), columns=columns))
    assert [leak.column for leak in found_in(data)] == ["street"]
    assert found_in(Dataset(x, y, schema=data.schema, groups=patient)) == ()


def test_a_leak_is_noted_and_stays_an_input(tmp_path):
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"age": rng.integers(18, 90, 300), "bill": rng.normal(size=300)})
    died = rng.random(300) < 0.3
    frame["discharged to"] = np.where(died, "morgue", rng.choice(["home", "ward"], 300))
    frame["outcome"] = np.where(died, "died", "lives")
    frame.to_csv(tmp_path / "t.csv", index=False)
    splits = jaxnet.load(tmp_path / "t.csv")
    assert [column.name for column in splits.columns] == ["age", "bill", "discharged to"]
    (note,) = [note for note in splits.notes if "possible leak" in note]
    assert note.startswith("'discharged to' almost equals the label (possible leak): a small tree")
    assert "guessing" in note or "the best other column" in note
    frame["outcome"] = frame["age"] + rng.normal(0, 20, size=300)
    frame.to_csv(tmp_path / "u.csv", index=False)
    assert not [note for note in jaxnet.load(tmp_path / "u.csv").notes if "leak" in note]
    frame["paid"] = frame["outcome"].round(1)
    frame.to_csv(tmp_path / "u.csv", index=False)
    (note,) = [
        note
        for note in jaxnet.load(tmp_path / "u.csv", label="outcome").notes
        if "possible leak" in note
    ]
    assert note.startswith("'paid' almost equals")
    assert "of the variance, one on 'age', the best other column, of" in note
