"""Datasets, splits and sources; and every bad input, refused with the value, the place and the
cure.
"""

import gzip
import json
import subprocess
import sys
import time
import zipfile

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

import jaxnet
from jaxnet.data.sources.idx import FILES as IDX_FILES

X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
Y = np.arange(60) % 3


def test_digits_are_those_of_scikit_learn():
    splits, theirs = jaxnet.load("digits"), load_digits()
    ours = np.concatenate(
        [np.asarray(part.x) for part in (splits.train, splits.validation, splits.test)]
    )
    labels = np.concatenate(
        [np.asarray(part.y) for part in (splits.train, splits.validation, splits.test)]
    )
    assert ours.dtype == np.uint8
    a = sorted((tuple(x.ravel()), y) for x, y in zip(ours.tolist() and ours, labels, strict=True))
    b = sorted(
        (tuple(x.ravel().astype(int)), y) for x, y in zip(theirs.images, theirs.target, strict=True)
    )
    assert a == b


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 1000),
    counts=st.lists(st.integers(2, 40), min_size=2, max_size=5),
    validation=st.sampled_from([0.0, 0.1, 0.25]),
    test=st.sampled_from([0.1, 0.2, 0.5]),
)
def test_a_split_is_disjoint_complete_exact_stratified_and_deterministic(
    seed, counts, validation, test
):
    y = np.repeat(np.arange(len(counts)), counts)
    n = len(y)
    sizes = round(test * n), round(validation * n)
    if (
        sizes[0] == 0 or (validation and sizes[1] == 0) or n - sum(sizes) < len(counts)
    ):  # refused, as other tests hold
        return
    x = np.arange(n, dtype=np.float32)[:, None]
    splits = jaxnet.split(x, y, validation=validation, test=test, seed=seed)
    again = jaxnet.split(x, y, validation=validation, test=test, seed=seed)
    parts = {
        name: np.asarray(getattr(splits, name).x).ravel().astype(int)
        for name in ("train", "validation", "test")
    }
    assert sorted(np.concatenate(list(parts.values()))) == list(range(n))
    assert (len(parts["test"]), len(parts["validation"])) == sizes
    for name, rows in parts.items():
        assert np.array_equal(rows, np.asarray(getattr(again, name).x).ravel())
        assert np.array_equal(np.asarray(getattr(splits, name).y), y[rows])
    for label, count in enumerate(counts):
        assert (y[parts["train"]] == label).any()
        # The example that each class keeps for training moves the cut a little.
        assert abs((y[parts["test"]] == label).sum() - test * count) <= 1 + len(counts) / 2


def test_another_seed_splits_otherwise():
    a, b = (jaxnet.split(X, Y, seed=seed).test.x for seed in (0, 1))
    assert not np.array_equal(a, b)


def test_standardization_is_scikit_learns_on_the_training_set_only():
    x = X * [1, 100, 0] + [5, -3, 4]
    splits = jaxnet.split(x, Y)
    scaler = StandardScaler().fit(np.asarray(splits.train.x, np.float64))
    for part in (splits.train, splits.validation, splits.test):
        ours = splits.standardization.inputs(part.x)
        np.testing.assert_allclose(
            ours, scaler.transform(np.asarray(part.x, np.float64)), atol=1e-5
        )
        assert (np.asarray(ours)[:, 2] == 0).all()


def test_images_stay_uint8_and_have_one_mean_and_deviation():
    x = np.random.default_rng(0).integers(0, 256, (50, 9, 7), dtype=np.uint8)
    splits = jaxnet.split(x, np.arange(50) % 2)
    train = np.asarray(splits.train.x, np.float64)
    assert splits.train.x.dtype == np.uint8
    np.testing.assert_allclose(splits.standardization.mean, train.mean(), rtol=1e-6)
    np.testing.assert_allclose(splits.standardization.scale, train.std(), rtol=1e-6)


@pytest.mark.parametrize(("center", "spread"), [(1e4, 1.0), (-3e4, 5.0), (1e3, 0.1)])
def test_float_images_far_from_zero_keep_their_deviation(center, spread):
    x = np.random.default_rng(0).normal(center, spread, (60, 20, 20)).astype(np.float32)
    splits = jaxnet.split(x, np.arange(60) % 2)
    train = np.asarray(splits.train.x, np.float64)
    np.testing.assert_allclose(splits.standardization.scale, train.std(), rtol=1e-3)
    np.testing.assert_allclose(splits.standardization.mean, train.mean(), rtol=1e-6)


def test_validation_may_be_empty():
    splits = jaxnet.split(X, Y, validation=0.0)
    assert len(splits.validation) == 0
    run = jaxnet.fit(jaxnet.linear(), splits, jaxnet.Recipe(epochs=1), jax.random.key(0))
    assert run.best is None
    assert run.history.validation_loss is None


def test_text_labels_and_booleans_are_classes_and_floats_a_regression():
    names = np.array(["cat", "dog", "ant"])
    splits = jaxnet.split(X, names[Y])
    assert splits.classes == ("ant", "cat", "dog")
    assert jaxnet.split(X, Y == 0).classes == ("0", "1")
    assert jaxnet.split(X, X[:, 0]).classes is None


def test_class_weights_count_every_class_the_same():
    dataset = jaxnet.Dataset(X, np.repeat([0, 1, 2], [40, 15, 5]).astype(np.int32), ("a", "b", "c"))
    weights = np.asarray(jaxnet.class_weights(dataset))
    np.testing.assert_allclose(
        [weights[dataset.y == label].sum() for label in range(3)], 20, rtol=1e-6
    )
    np.testing.assert_allclose(weights.mean(), 1, rtol=1e-6)


def test_mnist_from_its_files(mnist_folder):
    splits = jaxnet.load("mnist", data_dir=mnist_folder, validation=0.0)
    with gzip.open(mnist_folder / "train-images-idx3-ubyte.gz") as file:
        assert file.read()[16:] == np.asarray(splits.train.x).tobytes()
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (60_000, 0, 10_000)
    assert np.bincount(np.asarray(splits.test.y)).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    held_out = jaxnet.load("mnist", data_dir=mnist_folder)
    assert len(held_out.validation) == 6000


def _small_mnist(folder, **changes):
    """Four IDX files of 20 and 10 images, some replaced."""
    rng = np.random.default_rng(0)
    for name, count in zip(IDX_FILES, (20, 20, 10, 10), strict=True):
        shape = (count, 28, 28) if "images" in name else (count,)
        data = (
            rng.integers(0, 256, shape, dtype=np.uint8)
            if "images" in name
            else (np.arange(count) % 10).astype(np.uint8)
        )
        header = bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4) for size in shape)
        content = changes.get(name, header + data.tobytes())
        (folder / name).write_bytes(content)


def test_unpacked_idx_files_are_read(tmp_path):
    _small_mnist(tmp_path)
    assert len(jaxnet.load("mnist", data_dir=tmp_path, validation=0.0).train) == 20
    called = []
    jaxnet.load("mnist", data_dir=tmp_path, validation=0.0, meanwhile=lambda: called.append(1))
    assert called == [1]


LABELS, IMAGES = "train-labels-idx1-ubyte", "train-images-idx3-ubyte"
HEADER = bytes([0, 0, 8, 1]) + (20).to_bytes(4)
BAD_IDX = {
    "magic": (
        {LABELS: b"\0\0\x08\x03" + HEADER[4:] + bytes(20)},
        rf"{LABELS}: not an IDX file of 1 dimensions: it begins with 00000803",
    ),
    "empty": ({LABELS: b""}, rf"{LABELS}: not an IDX file of 1 dimensions: it begins with nothing"),
    "truncated": (
        {LABELS: HEADER + bytes(13)},
        rf"{LABELS}: its header promises \(20,\), 20 bytes, but 13 follow",
    ),
    "huge": ({IMAGES: bytes([0, 0, 8, 3]) + b"\xff" * 12}, rf"{IMAGES}: its header promises"),
    "label out of range": (
        {LABELS: HEADER + bytes([*range(10), 17, *range(9)])},
        rf"{LABELS}: label 17 in row 10 is out of range: 10 classes",
    ),
    "lengths": (
        {LABELS: bytes([0, 0, 8, 1]) + (19).to_bytes(4) + bytes(19)},
        "x has 20 examples and y has 19",
    ),
    "class missing": (
        {LABELS: HEADER + bytes([*range(9), 0, *range(9), 1])},
        r"class '9' \(label 9\) has no example in the training set",
    ),
}


@pytest.mark.parametrize("case", BAD_IDX)
def test_bad_idx_files_are_refused(tmp_path, case):
    changes, message = BAD_IDX[case]
    _small_mnist(tmp_path, **changes)
    with pytest.raises(jaxnet.InputError, match=message):
        jaxnet.load("mnist", data_dir=tmp_path, validation=0.0)


def test_a_corrupt_gzip_file_is_refused(tmp_path):
    _small_mnist(tmp_path)
    packed = gzip.compress((tmp_path / LABELS).read_bytes())
    (tmp_path / LABELS).unlink()
    for content in (packed[:-12], packed[:15] + b"\x00\xff" + packed[17:], b"no gzip"):
        (tmp_path / f"{LABELS}.gz").write_bytes(content)
        with pytest.raises(jaxnet.InputError, match=f"{LABELS}.gz: cannot be read"):
            jaxnet.load("mnist", data_dir=tmp_path)


def test_missing_mnist_files_say_which_and_where_within_a_second(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    start = time.monotonic()
    with pytest.raises(
        jaxnet.InputError,
        match=r"no --data-dir .* four files train-images-idx3-ubyte.gz, .* --data-dir",
    ):
        jaxnet.load("mnist")
    _small_mnist(tmp_path)
    (tmp_path / LABELS).unlink()
    with pytest.raises(jaxnet.InputError, match=f"{LABELS}.gz is missing: put"):
        jaxnet.load("mnist", data_dir=tmp_path)
    assert time.monotonic() - start < 5


def test_npz_with_and_without_given_splits(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    splits = jaxnet.load(tmp_path / "a.npz")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (42, 6, 12)
    np.savez(tmp_path / "b.npz", x_train=X, y_train=Y, x_test=X[:9], y_test=Y[:9])
    splits = jaxnet.load(tmp_path / "b.npz", validation=0.0)
    assert np.array_equal(splits.train.x, X)
    assert np.array_equal(splits.test.x, X[:9])
    text = np.array(["b", "a", "c"])[Y]
    np.savez(
        tmp_path / "c.npz",
        x=X,
        y=text,
        x_test=X[:2],
        y_test=text[:2],
        x_validation=X[:4],
        y_validation=text[:4],
    )
    splits = jaxnet.load(str(tmp_path / "c.npz"))
    assert splits.classes == ("a", "b", "c")
    assert np.asarray(splits.test.y).tolist() == [1, 0]
    assert len(splits.validation) == 4


def bad(rows, value):
    x = X.copy()
    x[rows] = value
    return x


BAD_ARRAYS = {
    "nan": (
        bad((7, 2), np.nan),
        Y,
        r"x has 1 value that is not finite, the first \(nan\) in row 7, column 2 "
        r"\(counted from 0\); remove those "
        r"rows or fill",
    ),
    "inf": (bad((5, 0), np.inf), Y, r"the first \(inf\) in row 5, column 0"),
    "overflow": (X.astype(np.float64) * 1e300, Y, r"are beyond 3.4e\+38, the largest float32"),
    "nan label": (
        X,
        np.where(Y == 1, np.nan, 1.0),
        r"y has 20 values that are not finite, the first \(nan\) in row 1",
    ),
    "many labels": (
        X,
        np.arange(60) + 10**7,
        "60 different whole numbers from 10000000 to 10000059, too many to be classes",
    ),
    "lengths": (X, Y[:-1], "x has 60 examples and y has 59"),
    "one class": (
        X,
        Y * 0,
        r"all 42 training examples are of one class \('0'\); there is nothing to tell apart",
    ),
    "one-hot": (
        X,
        np.eye(3)[Y],
        r"y must hold one label per example, but has shape \(60, 3\); for one-hot labels pass "
        r"y.argmax\(1\)",
    ),
    "column": (X, Y[:, None], r"give y.reshape\(-1\)"),
    "flat": (X[:, 0], Y, r"x must be \(examples, features\)"),
    "empty": (X[:0], Y[:0], r"x is empty: its shape is \(0, 3\)"),
    "text": (X.astype(str), Y, "x must hold numbers, but is of type"),
    "complex": (X * 1j, Y, "x must hold numbers"),
    "objects": (X, Y.astype(object), "y must hold integers, text or floats, but is of type object"),
    "too few": (X[:3], Y[:3], "3 examples in parts of 0.2, 0.1 leave an empty part"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_are_refused(case):
    x, y, message = BAD_ARRAYS[case]
    with pytest.raises(jaxnet.InputError, match=message):
        jaxnet.split(x, y)


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"test": 0.0}, "test is 0.0; give a fraction between 0 and 1"),
        ({"seed": -1}, "the seed of the split is -1"),
        ({"validation": -0.1}, "validation is -0.1; give a fraction from 0"),
        ({"validation": 0.6, "test": 0.5}, "leave nothing to train on"),
    ],
)
def test_bad_fractions_are_refused(fractions, message):
    with pytest.raises(jaxnet.InputError, match=message):
        jaxnet.split(X, Y, **fractions)


def _npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def _foreign(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "hello")
    return path


BAD_FILES = {
    "missing": (lambda p: p, "no such file"),
    "not a zip": (lambda p: p.write_bytes(b"hello") and p, "not a readable .npz file"),
    "truncated": (
        lambda p: p.write_bytes(_npz(p, x=X, y=Y).read_bytes()[:200]) and p,
        "not a readable .npz file",
    ),
    "pickle": (
        lambda p: _npz(p, x=X.astype(object), y=Y),
        "holds pickled objects, which could run code and are never loaded",
    ),
    "no y": (lambda p: _npz(p, x=X), r"x and y must come together; the file holds x"),
    "no x": (lambda p: _npz(p, a=X), r"needs arrays x and y; the file holds a"),
    "one class": (
        lambda p: _npz(p, x=X, y=Y * 0),
        r"data.npz: all 42 training examples are of one class",
    ),
    "other shape": (
        lambda p: _npz(p, x=X, y=Y, x_test=X[:, :2], y_test=Y),
        r"a test example has shape \(2,\), a training example \(3,\)",
    ),
    "empty test": (lambda p: _npz(p, x=X, y=Y, x_test=X[:0], y_test=Y[:0]), r"x is empty"),
    "unknown class": (
        lambda p: _npz(p, x=X, y=Y, x_test=X[:3], y_test=np.array([0, 9, 1])),
        r"\(test\): label 9 in row 1 is out of range",
    ),
    "mixed labels": (
        lambda p: _npz(p, x=X, y=Y.astype(str), x_test=X, y_test=Y),
        "some labels are text and some are not",
    ),
    "foreign zip": (lambda p: _foreign(p), "a.txt is no array"),
    "nan": (
        lambda p: _npz(p, x=bad((7, 2), np.nan), y=Y),
        r"x has 1 value that is not finite, .* in row 7, column 2",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_npz_files_are_refused(tmp_path, case):
    make, message = BAD_FILES[case]
    path = make(tmp_path / "data.npz")
    with pytest.raises(jaxnet.InputError, match=message) as error:
        jaxnet.load(path)
    assert str(path) in str(error.value)


def test_unknown_names_get_near_matches():
    with pytest.raises(
        jaxnet.InputError, match=r"there is no data set 'mnits' .* Did you mean 'mnist'"
    ):
        jaxnet.load("mnits")


def test_importing_jaxnet_loads_nothing_heavy():
    heavy = (
        "tensorflow",
        "tensorflow_datasets",
        "orbax",
        "matplotlib",
        "scipy",
        "rich",
        "tyro",
        "flax",
    )
    code = (
        "import jax, json, sys; before = set(sys.modules); import jaxnet; "
        f"print(json.dumps([m for m in {heavy!r} if m in sys.modules and m not in before]))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == []
