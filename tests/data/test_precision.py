"""Numbers that float32 cannot tell apart, large ones that differ little and tiny ones: learned as
without their offset and unit.
"""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import gap

import jaxnet
from jaxnet import InputError
from jaxnet.data import Dataset, Standardization, overlaps
from jaxnet.data.streaming.chunks import chunks
from jaxnet.data.streaming.parquet import rows_of_parquet
from jaxnet.diagnostics import two_sample_test

MODEL, RECIPE = (
    jaxnet.mlp((8,)),
    jaxnet.Recipe(epochs=20, learning_rate=2e-2, batch_size=32, schedule="constant"),
)
PLAIN = np.random.default_rng(0).normal(size=(500, 3))
SLOPES = np.array([1.0, -0.5, 0.25])
SHIFTS = {
    "seconds": lambda x: 1.6e9 + 20 * x,
    "terahertz": lambda x: 1e12 + x,
    "picometers": lambda x: 1e-12 * x,
    "subnormal": lambda x: 1e-40 * x,
}


def problem(name, task):
    """(x, y) of one problem with this shift: two classes, or values that are shifted too."""
    shift = SHIFTS.get(name, lambda x: x)
    return shift(PLAIN), (PLAIN @ SLOPES > 0).astype(int) if task == "classification" else shift(
        PLAIN @ SLOPES
    )


def of_arrays(x, y, folder):
    return jaxnet.split(x, y)


def of_csv(x, y, folder):
    rows = (",".join(map(repr, row)) for row in np.column_stack([x, y]).tolist())
    (folder / "t.csv").write_text("a,b,c,label\n" + "\n".join(rows) + "\n")
    return jaxnet.load(folder / "t.csv")


def of_npz(x, y, folder):
    np.savez(folder / "t.npz", x=x[100:], y=y[100:], x_test=x[:100], y_test=y[:100])
    return jaxnet.load(folder / "t.npz")


def of_stream(x, y, folder):
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    return jaxnet.stream(folder)


def write_parquet(x, y, folder):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {
        name: pa.array(column)
        for name, column in zip(("a", "b", "c", "label"), (*x.T, y), strict=True)
    }
    parquet.write_table(pa.table(columns), folder / "t.parquet", row_group_size=200)


def of_parquet(x, y, folder, **how):
    write_parquet(x, y, folder)
    return jaxnet.stream(folder / "t.parquet", **how)


def of_parquet_lists(x, y, folder):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    lists = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])
    parquet.write_table(pa.table({"x": lists, "label": pa.array(y)}), folder / "t.parquet")
    return jaxnet.stream(folder / "t.parquet")


SOURCES = {
    "arrays": of_arrays,
    "csv": of_csv,
    "npz": of_npz,
    "stream": of_stream,
    "parquet": of_parquet,
    "lists": of_parquet_lists,
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """What Parquet is decoded into."""
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / "cache"))


def trained(splits):
    train = jaxnet.train if isinstance(splits.train, jaxnet.data.Stream) else jaxnet.fit
    return train(MODEL, splits, RECIPE, jax.random.key(0))


def score(run, splits):
    """Accuracy, or R^2, on the test set."""
    found = jaxnet.evaluate(MODEL, run, splits.test)
    return (found.r2 if splits.classes is None else found.accuracy).estimate


@pytest.mark.parametrize(
    ("source", "task"),
    [
        *((source, "classification") for source in SOURCES),
        ("arrays", "regression"),
        *(
            pytest.param(source, "regression", marks=pytest.mark.slow)
            for source in SOURCES
            if source != "arrays"
        ),
    ],
)
def test_learned_as_without_an_offset(source, task, tmp_path):
    wanted = None
    for name in ("plain", *SHIFTS):
        x, y = problem(name, task)
        (folder := tmp_path / name).mkdir()
        splits = SOURCES[source](x, y, folder)
        run = trained(splits)
        found = score(run, splits)
        wanted = found if wanted is None else wanted
        assert abs(found - wanted) < 0.01, (name, found, wanted)
        assert found > 0.95
        if task == "regression":  # in the units of y, and in those of its variance
            exact = np.asarray(splits.test.y, np.float64) - jaxnet.predict(
                MODEL, run, splits.test.x
            )
            metrics = jaxnet.evaluate(MODEL, run, splits.test)
            np.testing.assert_allclose(metrics.rmse.estimate, np.sqrt(np.mean(exact**2)), rtol=1e-5)
            np.testing.assert_allclose(metrics.baseline, 1.0, atol=0.3)


@pytest.mark.parametrize("name", SHIFTS)
def test_estimators_learn_as_without_an_offset(name):
    pytest.importorskip("sklearn")
    more = np.random.default_rng(1).normal(size=(2000, 3))
    for estimator, task in (
        (jaxnet.JaxnetClassifier, "classification"),
        (jaxnet.JaxnetRegressor, "regression"),
    ):
        found = []
        for each in (
            "plain",
            name,
        ):  # in another order of the rows, since that follows from their bytes
            shift = SHIFTS.get(each, lambda x: x)
            y = more @ SLOPES > 0 if task == "classification" else shift(more @ SLOPES)
            made = estimator((8,), epochs=30, learning_rate=2e-2, random_state=0).fit(
                *problem(each, task)
            )
            found.append(made.score(shift(more), y))
        assert abs(found[1] - found[0]) < 0.01
        assert found[1] > 0.95


@pytest.mark.core
def test_what_float32_holds_is_float32_and_what_it_does_not_is_float64_in_the_units_of_the_user():
    rng = np.random.default_rng(1)
    year, pixel = 365 * 86400, rng.integers(0, 256, (500, 4))
    held = np.c_[
        rng.normal(40, 12, 500),
        rng.lognormal(10, 1, 500),
        1.6e9 + year * rng.uniform(size=500),
        np.full(500, 0.1),
        pixel,
    ]
    y = rng.normal(size=500)
    splits = jaxnet.split(held, y)
    assert splits.train.x.dtype == splits.train.y.dtype == np.float32
    assert splits.standardization.origin is splits.standardization.target_origin is None
    assert np.isin(np.asarray(splits.train.x)[:, 0], held[:, 0].astype(np.float32)).all()
    assert jaxnet.split(pixel.astype(np.uint8), y).train.x.dtype == np.uint8
    lost = np.c_[held, 1.6e9 + 20 * y]
    splits = jaxnet.split(lost, lost[:, -1])
    for part in (splits.train, splits.validation, splits.test):
        assert isinstance(part.x, np.ndarray)
        assert part.x.dtype == part.y.dtype == np.float64
        assert np.isin(part.x[:, -1], lost[:, -1]).all()
    # A whole number that float32 holds, but not the mean of many.
    assert (
        jaxnet.split(np.c_[10_000_000 + np.arange(60) % 2], np.arange(60) % 2).train.x.dtype
        == np.float64
    )


@pytest.mark.core
def test_inputs_are_standardized_as_in_float64():
    x = np.column_stack(
        [shift(PLAIN[:, 0]) for shift in SHIFTS.values()] + [PLAIN[:, 1], np.full(500, 1e30)]
    )
    splits = jaxnet.split(x, PLAIN[:, 0])
    rows, mean = splits.train.x, splits.train.x.mean(0)
    deviation = (
        np.sqrt(
            (((rows - mean) / (scale := np.abs(rows - mean).max(0) + (mean == 1e30))) ** 2).mean(0)
        )
        * scale
    )
    wanted = (splits.test.x - mean) / np.where(deviation > 0, deviation, 1.0)
    # NumPy knows a mean of 1e12 to 1e-3
    np.testing.assert_allclose(splits.standardization.inputs(splits.test.x), wanted, atol=2e-3)


def test_the_training_set_alone_decides_what_is_lost():
    order = np.arange(500)
    x = np.where(order < 400, 1.6e9 + 20 * PLAIN[:, 0], 1.7e9)  # what is tested comes years later
    splits = jaxnet.split(x[:, None], (PLAIN[:, 0] > 0).astype(int), order=order)
    assert splits.train.x.dtype == np.float64
    assert len(np.unique(np.asarray(splits.standardization.inputs(splits.train.x)))) == len(
        splits.train
    )
    for fold in jaxnet.folds(1.6e9 + 20 * PLAIN, (PLAIN[:, 0] > 0).astype(int), count=3):
        assert fold.train.x.dtype == fold.test.x.dtype == np.float64


def test_near_constant_columns_of_float32_count_and_constant_ones_do_not():
    steps = (1.6e9 + 128.0 * (np.arange(500) % 3)).astype(np.float32)  # which float32 holds
    found = Standardization.of(
        Dataset(np.c_[steps, np.full(500, 0.1, np.float32)], np.zeros(500, np.int32), ("a",))
    )
    np.testing.assert_allclose(found.scale, [steps.astype(np.float64).std(), 1.0], rtol=1e-6)


@pytest.mark.parametrize(
    "column",
    [1e20 * (1 + 2e-16 * PLAIN[:, 0]), 2**60 + np.arange(500) % 100],
    ids=["rounding of float64", "serial numbers"],
)
def test_a_note_names_a_column_that_float64_cannot_tell_apart(column, tmp_path):
    x, y = np.column_stack([PLAIN[:, 0], column]), PLAIN[:, 0] > 0
    splits = jaxnet.split(x, y.astype(int))
    assert any(note.startswith("column 1 counts as constant") for note in splits.notes)
    assert np.abs(np.asarray(splits.standardization.inputs(splits.test.x))[:, 1]).max() < 1e-9
    rows = "\n".join(
        f"{a!r},{b!r},{'ab'[c]}" for (a, b), c in zip(x.tolist(), y.astype(int), strict=True)
    )
    (tmp_path / "t.csv").write_text(f"a,serial,label\n{rows}\n")
    assert any(
        note.startswith("column 'serial' counts as constant")
        for note in jaxnet.load(tmp_path / "t.csv").notes
    )
    assert jaxnet.split(PLAIN, y.astype(int)).notes == ()
    values = jaxnet.split(PLAIN, 1e20 * (1 + 2e-16 * PLAIN[:, 0]))
    assert any(note.startswith("y counts as constant") for note in values.notes)
    pytest.importorskip("sklearn")
    with pytest.warns(UserWarning, match="column 1 counts as constant"):
        jaxnet.JaxnetClassifier((8,), epochs=1, random_state=0).fit(x, y)


@pytest.fixture(scope="module")
def splits():
    """Inputs and values with an offset."""
    return jaxnet.split(*problem("seconds", "regression"))


@pytest.fixture(scope="module")
def run(splits):
    return trained(splits)


@pytest.mark.core
def test_raw_rows_are_predicted_as_the_test_set_is(run):
    x, y = problem("seconds", "regression")
    found = jaxnet.predict(MODEL, run, x)
    assert found.dtype == np.float64
    assert np.sqrt(np.mean((found - y) ** 2)) < 0.2 * y.std()
    np.testing.assert_array_equal(jaxnet.predict(MODEL, run, x.tolist()), found)
    assert len(jaxnet.predict(MODEL, run, x[:0])) == 0
    whole = jaxnet.split(10**9 + np.arange(500)[:, None] % 7, (np.arange(500) % 7 > 3).astype(int))
    run = trained(whole)
    given = 10**9 + np.arange(7)[:, None]
    for kind in (np.int32, np.int64, np.uint32):
        assert (
            jaxnet.predict(MODEL, run, given.astype(kind)).argmax(1) == (np.arange(7) > 3)
        ).all()


REFUSED = {
    "float32": lambda run, splits: jaxnet.predict(MODEL, run, splits.test.x.astype(np.float32)),
    "on a device": lambda run, splits: jaxnet.predict(
        MODEL, run, jnp.asarray(splits.test.x, jnp.float32)
    ),
    "predict in jit": lambda run, splits: jax.jit(lambda x: jaxnet.predict(MODEL, run, x))(
        splits.test.x
    ),
    "predict in vmap": lambda run, splits: jax.vmap(lambda x: jaxnet.predict(MODEL, run, x[None]))(
        splits.test.x
    ),
    "fit in jit": lambda run, splits: jax.jit(
        lambda splits: jaxnet.fit(MODEL, splits, RECIPE, jax.random.key(0))
    )(splits),
    "epoch in jit": lambda run, splits: jax.jit(
        lambda splits: jaxnet.epoch(
            MODEL, splits, RECIPE, jaxnet.start(MODEL, splits, RECIPE, jax.random.key(0))
        )
    )(splits),
}


@pytest.mark.parametrize("case", REFUSED)
def test_inputs_that_are_float32_already_are_refused(run, splits, case):
    with pytest.raises(
        InputError, match=r"x (is|arrives as) float32.* column 0.* around 1\.6e\+09.*float64"
    ):
        REFUSED[case](run, splits)


@pytest.mark.core
def test_values_are_refused_inside_jit(splits):
    only_values = jaxnet.split(PLAIN, 1e12 + PLAIN[:, 0])
    run = trained(only_values)
    with pytest.raises(
        InputError, match=r"inside jit.* y, which are around 1e\+12; call this outside of jit"
    ):
        jax.jit(lambda x: jaxnet.predict(MODEL, run, x))(only_values.test.x)


def test_values_that_are_float32_already_are_refused(run, splits):
    rounded = replace(splits.test, y=splits.test.y.astype(np.float32))
    with pytest.raises(InputError, match=r"y is float32.* around 1\.6e\+09; give y as float64"):
        jaxnet.evaluate(MODEL, run, rounded)


def test_inputs_too_far_from_the_offset_are_refused():
    x, y = problem("subnormal", "classification")
    run, x = trained(jaxnet.split(x, y)), x.copy()
    x[300, 1] = 1.0
    with pytest.raises(
        InputError, match=r"x has 1\.0 in row 300, column 1.*too far from.*remove it"
    ):
        jaxnet.predict(MODEL, run, x)


@pytest.mark.core
def test_one_training_in_all_its_forms(run, splits, tmp_path):
    key = jax.random.key(0)
    looped = jaxnet.train(MODEL, splits, RECIPE, key, out=tmp_path / "train")
    assert gap(looped.params, run.params) == 0
    keys = jax.random.split(key, 3)
    # closed over, so that nothing is traced
    many = jax.vmap(lambda key: jaxnet.fit(MODEL, splits, RECIPE, key))(keys)
    population = jaxnet.fit_population(MODEL, splits, RECIPE, keys, out=tmp_path / "population")
    found = jaxnet.predict(MODEL, population, splits.test.x)
    assert found.dtype == population.predictions.test.dtype == np.float64
    np.testing.assert_allclose(population.predictions.test, found, rtol=0, atol=1e-4)
    for member in range(3):
        alone = jax.tree.map(lambda leaf, i=member: leaf[i], many)
        assert (
            alone.standardization.origin
            == population[member].standardization.origin
            == splits.standardization.origin
        )
        np.testing.assert_allclose(
            jaxnet.predict(MODEL, alone, splits.test.x), found[member], atol=2e-3
        )
        np.testing.assert_allclose(
            jaxnet.predict(MODEL, population[member], splits.test.x), found[member], atol=1e-4
        )
    again = jaxnet.fit_population(MODEL, splits, RECIPE, keys, out=tmp_path / "population")  # read
    assert gap(jaxnet.predict(MODEL, again, splits.test.x), found) == 0


@pytest.mark.core
def test_save_and_restore_keep_the_offset_to_the_bit(run, splits, tmp_path):
    jaxnet.save(run, tmp_path / "run")
    restored = jaxnet.restore(tmp_path / "run")
    assert restored.standardization.origin == splits.standardization.origin
    assert restored.standardization.target_origin == splits.standardization.target_origin
    assert (
        gap(
            jaxnet.predict(MODEL, restored, splits.test.x),
            jaxnet.predict(MODEL, run, splits.test.x),
        )
        == 0
    )


def test_the_readme_of_an_export_says_what_to_subtract(run, splits, tmp_path):
    jaxnet.export(run, tmp_path / "network")
    text = (tmp_path / "network/README.md").read_text()
    assert "around 1.6e+09" in text
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "x.npy").parent.mkdir(exist_ok=True)
    np.save(tmp_path / "x.npy", splits.test.x)
    script = (
        f"import numpy\nx = numpy.load('../x.npy')\n{code[1]}\nnumpy.save('../outputs.npy', "
        "outputs)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path / "network", check=True)
    np.testing.assert_allclose(
        np.load(tmp_path / "outputs.npy"),
        jaxnet.predict(MODEL, run, splits.test.x),
        rtol=0,
        atol=1e-3,
    )


def test_a_diagnosis_is_that_without_an_offset():
    found = []
    for x, y in (problem("plain", "regression"), problem("seconds", "regression")):
        splits = jaxnet.split(x, y)
        found.append(
            jaxnet.diagnose(MODEL, splits, replace(RECIPE, epochs=4), jax.random.key(0), members=2)
        )
    for part, error in found[0].errors.items():
        np.testing.assert_allclose(
            found[1].errors[part].estimate, error.estimate, rtol=1e-3, atol=1e-5
        )
    assert found[0].verdict == found[1].verdict


@pytest.mark.parametrize("method", ["classifier", "mmd", "bbsd"])
@pytest.mark.parametrize("name", SHIFTS)
def test_two_samples_are_compared_as_without_an_offset(method, name):
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(300, 2)), rng.normal(size=(250, 2)) + np.array([0.5, 0.0])
    plain, shifted = (
        two_sample_test(*samples, method=method)
        for samples in ((a, b), (SHIFTS[name](a), SHIFTS[name](b)))
    )
    assert plain.shifted
    np.testing.assert_allclose(shifted.statistic, plain.statistic, rtol=0.02)
    np.testing.assert_allclose(np.log(shifted.p_value), np.log(plain.p_value), rtol=0.1)


def test_overlaps_are_found_between_rows_with_an_offset(splits):
    assert overlaps(splits) == ()
    (found,) = overlaps(replace(splits, test=splits.validation))
    assert (found.part, found.exactly, found.standardized) == ("test", 50, 50)


def test_one_copy_in_memory():
    """A table that stays float64 is held once: what a Splits has of it is no larger than the
    table.
    """
    x, y = problem("seconds", "classification")
    splits = jaxnet.split(x, y)
    parts = (splits.train, splits.validation, splits.test)
    assert sum(part.x.nbytes for part in parts) == x.nbytes
    assert not any(
        isinstance(leaf, jax.Array) and leaf.size > 1000 for leaf in jax.tree.leaves(splits)
    )


def test_parts_that_were_rounded_before_are_refused(tmp_path):
    x, y = problem("seconds", "classification")
    np.savez(
        tmp_path / "t.npz", x=x[100:], y=y[100:], x_test=x[:100].astype(np.float32), y_test=y[:100]
    )
    with pytest.raises(
        InputError, match="test x is float32, training x is float64; give both the same"
    ):
        jaxnet.load(tmp_path / "t.npz")


def test_the_command_line_predicts_raw_rows(tmp_path):
    x, y = problem("seconds", "regression")
    of_csv(x, y, tmp_path)
    options = [
        "--epochs",
        "20",
        "--learning-rate",
        "0.02",
        "--batch-size",
        "32",
        "--hidden",
        "8",
        "--out",
        str(tmp_path / "out"),
    ]
    train = [
        sys.executable,
        "-m",
        "experiments.train",
        "--dataset",
        str(tmp_path / "t.csv"),
        *options,
    ]
    root = Path(__file__).parents[2]
    subprocess.run(train, cwd=root, check=True, capture_output=True)
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert result["rmse"]["test"]["estimate"] < 5
    said = subprocess.run(
        [*train[:3], "predict", "--run", str(tmp_path / "out"), str(tmp_path / "t.csv")],
        cwd=root,
        check=True,
        capture_output=True,
    )
    values = np.genfromtxt(
        said.stdout.decode().splitlines(), delimiter=",", skip_header=1, usecols=2
    )
    assert np.sqrt(np.mean((values - y) ** 2)) < 5


def test_a_stream_of_float64_that_float32_holds_is_that_of_float32(tmp_path):
    x, y = problem("plain", "regression")
    found = []
    for kind in (np.float32, np.float64):
        (folder := tmp_path / np.dtype(kind).name).mkdir()
        found.append(of_stream(x.astype(kind), y, folder))
        assert found[-1].train.dtype == found[-1].test.x.dtype == np.float32
        assert found[-1].standardization.origin is None
    runs = [trained(splits) for splits in found]
    assert gap(runs[0].params, runs[1].params) == 0
    assert gap(runs[0].standardization, runs[1].standardization) == 0


@pytest.mark.core
def test_chunks_of_a_stream_are_float32_from_the_offset_on(tmp_path):
    x, y = problem("seconds", "regression")
    splits = of_stream(x, y, tmp_path)
    train, origin = splits.train, splits.standardization.origin
    (chunk,) = chunks(train, batch_size=32, seed=0, epoch=0)
    assert chunk.x.dtype == chunk.y.dtype == np.float32
    np.testing.assert_array_equal(
        chunk.x, (x[chunk.rows] - np.array(origin.offset)).astype(np.float32)
    )
    held = np.isin(x, splits.test.x).all(1) | np.isin(x, splits.validation.x).all(1)
    assert (held.sum(), splits.test.x.dtype) == (150, np.float64)
    jaxnet.train(MODEL, splits, replace(RECIPE, epochs=1), jax.random.key(0), out=tmp_path / "out")
    # read
    jaxnet.train(MODEL, splits, replace(RECIPE, epochs=1), jax.random.key(0), out=tmp_path / "out")


def test_rows_of_a_stream_that_cannot_be_used_are_named_with_their_value(tmp_path):
    x, y = problem("seconds", "classification")
    x[np.arange(0, 500, 7), 1] = 1e39
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    with pytest.raises(InputError, match=r"x.npy: row \d+ holds 1e\+39 in column 1"):
        jaxnet.stream(tmp_path)
    splits = jaxnet.stream(tmp_path, corrupt="skip")
    (chunk,) = chunks(splits.train, batch_size=32, seed=0, epoch=0)
    assert set(chunk.bad) == set(range(0, 500, 7)) - set(splits.train.held_out.tolist())
    assert np.isfinite(chunk.x).all()


def test_parquet_is_decoded_to_float64_only_where_it_must_be_and_older_caches_are_not_read(
    tmp_path,
):
    x, y = problem("plain", "classification")
    assert of_parquet(x, y, tmp_path).train.rows.dtype == np.float32
    x, y = problem("seconds", "classification")
    (older := tmp_path / "older").mkdir()
    cache = of_parquet(x, y, older).train.rows.folder
    # as it was decoded before
    np.save(cache / "x.npy", np.load(cache / "x.npy").astype(np.float32))
    about = json.loads((cache / "about.json").read_text())
    del about["version"]
    (cache / "about.json").write_text(json.dumps(about))
    assert jaxnet.stream(older / "t.parquet").train.rows.dtype == np.float64
    # The first rows of the row groups, of which eight each are looked at, are all the same.
    rows = np.where(np.arange(500) < 450, 1.6e9, 1.6e9 + np.arange(500.0))
    write_parquet(np.column_stack([rows, x[:, 0], x[:, 1]]), y, tmp_path)
    found = rows_of_parquet(tmp_path / "t.parquet", None, "stop", decoded_bytes=3 * 3 * 8 * 8)
    assert found.dtype == np.float64
