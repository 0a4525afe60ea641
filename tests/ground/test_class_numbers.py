"""Which numbers are classes: the same labels through arrays, .npz, CSV, .npy files on disk and
Parquet.
"""

import jax
import numpy as np
import pandas
import pytest
from sklearn.preprocessing import LabelEncoder

import jaxnet

ROWS = 120
X = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)
X[:, 0] = np.arange(ROWS)  # which row it is
PLACE = np.random.default_rng(1).integers(0, 3, ROWS)
LABELS = {
    "0..K-1": np.array([0, 1, 2])[PLACE],
    "1..K": np.array([1, 2, 3])[PLACE],
    "-1/+1": np.array([-1, 1, 1])[PLACE],
    "-1, 0, 1": np.array([-1, 0, 1])[PLACE],
    "a gap": np.array([0, 2, 5])[PLACE],
    "years": np.array([1900, 1950, 2000])[PLACE],
    "large": np.array([10**9, 10**9 + 1, 10**12])[PLACE],
    "int8": np.array([-128, 0, 127], np.int8)[PLACE],
    "uint64": np.array([3, 2**63 + 2048, 2**63], np.uint64)[PLACE],
}
FLOATS = {
    "1., 2., 3.": np.array([1.0, 2.0, 3.0])[PLACE],
    "-1., 1.": np.array([-1, 1, 1], np.float32)[PLACE],
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _npz(path, y):
    np.savez(path / "a.npz", x=X, y=y)
    return jaxnet.load(path / "a.npz")


def _npz_parts(path, y):
    np.savez(
        path / "b.npz",
        x=X[:80],
        y=y[:80],
        x_test=X[80:100],
        y_test=y[80:100],
        x_validation=X[100:],
        y_validation=y[100:],
    )
    return jaxnet.load(path / "b.npz")


def _csv(path, y):
    pandas.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": y}).to_csv(
        path / "a.csv", index=False
    )
    return jaxnet.load(path / "a.csv")


def _arrays(path, y, **how):
    np.save(path / "x.npy", X)
    np.save(path / "y.npy", y)
    return jaxnet.stream(path, **how)


def _parquet(path, y):
    pandas.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": y}).to_parquet(
        path / "a.parquet"
    )
    return jaxnet.stream(path / "a.parquet")


DOORS = {
    "split": lambda path, y: jaxnet.split(X, y),
    "folds": lambda path, y: next(jaxnet.folds(X, y)),
    "npz": _npz,
    "npz with parts": _npz_parts,
    "csv": _csv,
    "npy": _arrays,
    "parquet": _parquet,
}
FILES = [door for door in DOORS if door not in ("split", "folds")]
CASES = [(door, case) for door in DOORS for case in LABELS] + [
    (door, case) for door in FILES for case in FLOATS
]


@pytest.mark.parametrize(("door", "case"), CASES)
def test_few_whole_numbers_are_classes_named_by_them(tmp_path, door, case):
    y = (LABELS | FLOATS)[case]
    if case == "uint64" and door not in ("split", "folds", "npz"):
        pytest.skip("files of this kind hold float64, which cannot tell these apart")
    splits, encoder = DOORS[door](tmp_path, y), LabelEncoder().fit(y)
    assert splits.classes == tuple(str(int(each)) for each in encoder.classes_)
    for part in (splits.validation, splits.test):
        assert part.y.dtype == np.int32
        assert np.array_equal(part.y, encoder.transform(y[np.asarray(part.x)[:, 0].astype(int)]))


def test_the_network_of_other_numbers_is_that_of_0_and_1():
    recipe = jaxnet.Recipe(epochs=2)
    runs = [
        jaxnet.fit(jaxnet.mlp((4,)), jaxnet.split(X, y), recipe, jax.random.key(0)).params
        for y in (PLACE, PLACE + 1, PLACE * 7 - 3)
    ]
    assert all(
        np.array_equal(a, b)
        for run in runs[1:]
        for a, b in zip(jax.tree.leaves(runs[0]), jax.tree.leaves(run), strict=True)
    )


def test_training_on_disk_with_other_numbers_is_that_with_0_and_1(tmp_path):
    runs = []
    for number, y in enumerate((PLACE, PLACE * 2.0 - 1)):
        (folder := tmp_path / str(number)).mkdir()
        runs.append(
            jaxnet.train(
                jaxnet.mlp((4,)), _arrays(folder, y), jaxnet.Recipe(epochs=2), jax.random.key(0)
            )
        )
    assert runs[1].classes == ("-1", "1", "3")
    assert all(
        np.array_equal(a, b)
        for a, b in zip(*(jax.tree.leaves(run.params) for run in runs), strict=True)
    )


def test_what_was_made_of_numbers_is_said():
    assert jaxnet.split(X, LABELS["0..K-1"]).notes == ()
    assert jaxnet.split(X, PLACE / 3).notes == ()
    for y, words in (
        (LABELS["-1/+1"], "labels -1, 1 as the classes 0 to 1"),
        (LABELS["a gap"], "labels 0, 2, 5 as the classes 0 to 2"),
    ):
        (note,) = jaxnet.split(X, y).notes
        assert words in note
        assert next(jaxnet.folds(X, y)).notes == (note,)
    splits = jaxnet.split(X, FLOATS["-1., 1."])
    assert splits.classes is None
    assert "y.astype(int)" in splits.notes[0]
    assert jaxnet.split(X, np.arange(ROWS) * 7.0).notes == ()  # too many to be classes


def test_names_are_given_to_0_to_k_and_to_no_other_labels():
    assert jaxnet.split(X, LABELS["0..K-1"], classes=("a", "b", "c")).classes == ("a", "b", "c")
    for case, row in (("1..K", int(np.argmax(PLACE == 2))), ("-1/+1", int(np.argmax(PLACE == 0)))):
        with pytest.raises(
            jaxnet.InputError,
            match=rf"label {LABELS[case][row]} in row {row} is out of range: 3 classes",
        ):
            jaxnet.split(X, LABELS[case], classes=("a", "b", "c"))


def test_many_whole_numbers_with_gaps_are_no_classes():
    with pytest.raises(
        jaxnet.InputError,
        match=r"120 different whole numbers from 0 to 833, .* y.astype\(float\) .* numpy.unique",
    ):
        jaxnet.split(X, np.arange(ROWS) * 7)
    assert jaxnet.split(X, np.arange(ROWS) % 30 + 1).train.outputs == 30  # count from 1
    assert jaxnet.split(X, np.arange(ROWS) % 20 * 7).train.outputs == 20


@pytest.mark.parametrize("door", FILES)
def test_files_with_values_stay_a_regression(tmp_path, door):
    for y in (PLACE / 3, np.arange(ROWS) * 7.0):
        splits = DOORS[door](tmp_path, y)
        assert splits.classes is None
        np.testing.assert_allclose(
            splits.test.y, y[np.asarray(splits.test.x)[:, 0].astype(int)], rtol=1e-6
        )


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["y", "y_test"])
def test_labels_that_are_no_number_are_refused_by_row(tmp_path, value, part):
    y, y_test = FLOATS["1., 2., 3."].copy(), FLOATS["1., 2., 3."].copy()
    {"y": y, "y_test": y_test}[part][7] = value
    np.savez(tmp_path / "a.npz", x=X, y=y, x_test=X, y_test=y_test)
    with pytest.raises(jaxnet.InputError, match="row 7"):
        jaxnet.load(tmp_path / "a.npz")
    with pytest.raises(jaxnet.InputError, match=f"labels such as {value} are no classes"):
        jaxnet.load(tmp_path / "a.npz", task="classification")


def test_a_broken_label_on_disk_does_not_decide_what_the_others_are(tmp_path):
    y = FLOATS["1., 2., 3."].copy()
    y[7] = np.nan
    splits = _arrays(tmp_path, y, corrupt="skip")
    assert splits.classes == ("1", "2", "3")
