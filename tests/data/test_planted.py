"""What stands only in test rows is found nowhere in what was learned; and columns that repeat
without being identifiers are learned from.
"""

import json
from datetime import date, timedelta

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripts import result, run_here

import jaxnet
from jaxnet.data.splitting import pool

ROWS = 150
HEADER = ("when", "amount", "count", "plan", "person", "step", "kind")
PLANTED = {"when": "1971-02-03", "amount": "98765432.5", "count": "", "plan": "planted"}
SPLITS = {"by class": {}, "by groups": {"groups": "person"}, "in order": {"order": "step"}}


def rows_of(seed):
    """Rows of text: a date, numbers, a category, whom a row belongs to, its place, and a class."""
    rng = np.random.default_rng(seed)
    return [
        [
            str(date(2020, 1, 1) + timedelta(days=int(rng.integers(900)))),
            f"{number + rng.random():.4f}",
            str(rng.integers(50)),
            str(rng.choice(["a", "b", "c"])),
            str(int(rng.integers(40))),
            str(number),
            "yes" if rng.random() < 0.45 else "no",
        ]
        for number in rng.permutation(ROWS)
    ]


def written(path, rows, how):
    """A table of these rows, without the columns that the split does not need."""
    unused = {"person", "step"} - {*how.values()}
    kept = [name not in unused for name in HEADER]
    lines = [HEADER, *rows]
    path.write_text(
        "".join(
            ",".join(cell for cell, keep in zip(row, kept, strict=True) if keep) + "\n"
            for row in lines
        )
    )
    return path


def pair(folder, how, seed):
    """Two tables that differ in their test rows alone."""
    rows = rows_of(seed)
    folder.mkdir(exist_ok=True)
    clean = written(folder / "clean.csv", rows, how)
    splits = jaxnet.load(clean, **how)
    inputs = [each for column in splits.columns for each in column.inputs]
    amounts = np.asarray(splits.test.x, float)[:, inputs.index("amount")]
    shown = {f"{amount:.4f}" for amount in amounts}
    planted = [list(row) for row in rows]
    test = [number for number, row in enumerate(rows) if row[1] in shown]
    assert len(test) == len(splits.test)
    for place, number in enumerate(test):
        for name, value in PLANTED.items():
            if place % 2 or name in ("count", "plan"):
                planted[number][HEADER.index(name)] = value
        if how:  # most are "yes" then; else the split depends on the classes, of all rows
            planted[number][-1] = "yes"
    (folder / "planted").mkdir(exist_ok=True)
    return clean, written(folder / "planted" / "clean.csv", planted, how)


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("by", SPLITS)
def test_data_learn_nothing_from_test_rows(tmp_path, by, seed):
    clean, planted = (jaxnet.load(path, **SPLITS[by]) for path in pair(tmp_path, SPLITS[by], seed))
    assert clean.columns == planted.columns
    assert clean.classes == planted.classes
    assert clean.test_source == planted.test_source
    same(clean.standardization, planted.standardization)
    same(pool(clean).standardization, pool(planted).standardization)
    same((clean.train.x, clean.train.y), (planted.train.x, planted.train.y))
    same((clean.validation.x, clean.validation.y), (planted.validation.x, planted.validation.y))
    assert not np.array_equal(clean.test.x, planted.test.x)


def without_test(found):
    """result.json without what is measured on the test set, said, or timed."""
    measured = ("test_classes", "calibration", "verdict", "findings", "hard_examples", "seconds")
    found = {name: value for name, value in found.items() if name not in measured}
    for name in ("accuracy", "error", "loss", "baseline", "scores"):
        del found[name]["test"]
    del found["dataset"]["notes"]
    return found


def contents(path):
    """What a file holds; the header of .safetensors names its parts in any order."""
    data = path.read_bytes()
    if path.suffix != ".safetensors":
        return data
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def test_a_saved_run_and_its_exports_hold_nothing_from_test_rows(tmp_path):
    paths, found = pair(tmp_path, SPLITS["in order"], 7), []
    model, recipe = jaxnet.linear(), jaxnet.Recipe(epochs=1)
    for path in paths:
        run = jaxnet.fit(model, jaxnet.load(path, order="step"), recipe, jax.random.key(0))
        jaxnet.save(run, path.with_name("run"))
        jaxnet.export(run, path.with_name("exported"))
        exported = path.with_name("exported").iterdir()
        files = {each.name: contents(each) for each in exported}
        found.append((jaxnet.restore(path.with_name("run")), files))
    (clean, of_clean), (planted, of_planted) = found
    same(clean, planted)
    assert clean.schema == planted.schema
    assert of_clean == of_planted
    assert len(of_clean) > 3


@pytest.mark.slow
def test_a_result_holds_nothing_from_test_rows(tmp_path):
    """What it consists of is compared by the quick tests above."""
    how, found = SPLITS["in order"], []
    for path in pair(tmp_path, how, 7):
        out = path.with_name("run")
        given = ("--order", how["order"], "--model", "linear", "--no-cache", "--epochs", 2)
        run_here("--dataset", path, *given, "--out", out)
        found.append(without_test(result(out)))
        assert str(path) in found[-1].pop("command")  # each names its own file
    assert found[0] == found[1]


NUMBERS = st.one_of(
    st.tuples(st.sampled_from(["age", "Age", "years_old", "paid", "width"]), st.just((18, 90))),
    st.tuples(st.sampled_from(["year", "built", "Year", "model_year"]), st.just((1950, 2024))),
    st.tuples(st.sampled_from(["price", "income", "valid"]), st.just((12_000, 990_000))),
    st.tuples(st.sampled_from(["stars", "rating", "uv_index", "grid"]), st.just((1, 5))),
    st.tuples(st.sampled_from(["rooms", "visits", "level"]), st.just((0, 12))),
)


@settings(max_examples=60, deadline=None)
@given(column=NUMBERS, rows=st.integers(30, 400), seed=st.integers(0, 2**31), step=st.booleans())
def test_columns_that_repeat_are_learned_from(tmp_path_factory, column, rows, seed, step):
    """Whole numbers that repeat, also in ascending order and in steps of hundreds."""
    (name, ends), rng = column, np.random.default_rng(seed)
    values = rng.integers(ends[0], ends[1] + 1, rows)
    values = np.sort(values // 100 * 100 if ends[1] > 10_000 else values) if step else values
    path = tmp_path_factory.mktemp("table") / "t.csv"
    lines = [f"{value},{rng.random():.6f},{'ab'[i % 2]}" for i, value in enumerate(values)]
    path.write_text("\n".join([f"{name},other,kind", *lines]) + "\n")
    splits = jaxnet.load(path)
    assert [each.name for each in splits.columns] == [name, "other"]
    assert splits.columns[0].categories is None
    assert splits.grouped_by is None
    assert not any("left out" in note for note in splits.notes)
