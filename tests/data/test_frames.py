"""Data frames of pandas, Polars and PyArrow: what they hold is what the CSV that pandas writes of
them holds, and new examples are found by the names of columns.
"""

import datetime
import subprocess
import sys
from decimal import Decimal

import jax
import numpy as np
import pandas
import polars
import pyarrow
import pytest

import jaxnet
from jaxnet.data.sources.frames import inputs_of_frame
from jaxnet.data.tables.frames import cells_of_frame

ROWS = 120
RNG = np.random.default_rng(0)


def some(values):
    return RNG.choice(values, ROWS)


FRAME = pandas.DataFrame(
    {
        "age": RNG.integers(18, 90, ROWS),
        "income": RNG.normal(3e4, 1e4, ROWS),
        "plan": some(["basic", "plus", "pro"]),
        "signup": pandas.Timestamp("2020-01-01") + pandas.to_timedelta(some(900), "D"),
        "seen": pandas.Timestamp("2021-01-01") + pandas.to_timedelta(some(9999), "h"),
        "zone": pandas.Timestamp("2021-01-01", tz="Europe/Berlin")
        + pandas.to_timedelta(some(99), "D"),
        "active": some([True, False]),
        "price": [Decimal(int(each)) / 4 for each in some(99)],
        "kids": pandas.array(some(4), "Int64"),
        "member": pandas.array(some([True, False]), "boolean"),
        "city": pandas.Categorical(some(["Rome", "Oslo"]), ordered=True),
        "weight": [f"{each} kg" for each in some(99)],
        "patient": [f"p{each:03}" for each in some(40)],
    }
)
FRAME["churned"] = np.where(FRAME["age"] > 50, "yes", "no")
for row, gap in enumerate(["income", "plan", "signup", "zone", "kids", "member", "city", "weight"]):
    FRAME.loc[3 * row, gap] = None
FRAME.loc[50, "patient"] = FRAME.loc[51, "churned"] = None
USED = FRAME.dropna(subset=["patient", "churned"])
OTHERS = {
    "pandas": lambda frame: frame,
    "pandas, indexed": lambda frame: frame.set_index("patient"),
    "Polars": lambda frame: polars.from_pandas(frame),
    "PyArrow": lambda frame: pyarrow.Table.from_pandas(frame),
}
PARTS = ("train", "validation", "test")


def columns_of(values, **options):
    """What a frame of one column holds."""
    cells = cells_of_frame(pandas.DataFrame({"a": values}), **options)
    return cells["a"].to_pylist(), cells.notes


@pytest.fixture(scope="module")
def of_file(tmp_path_factory):
    """(splits of the CSV that pandas writes, its path)."""
    path = tmp_path_factory.mktemp("frames") / "t.csv"
    FRAME.to_csv(path, index=False)
    return jaxnet.load(path, label="churned", groups="patient"), path


@pytest.fixture(scope="module")
def trained(of_file):
    return jaxnet.fit(
        jaxnet.linear(), of_file[0], jaxnet.Recipe(epochs=2, batch_size=32), jax.random.key(0)
    )


@pytest.mark.parametrize("library", OTHERS)
def test_a_frame_gives_the_splits_of_the_file(of_file, library):
    wanted, _ = of_file
    found = jaxnet.load(OTHERS[library](FRAME), label="churned", groups="patient")
    assert found.schema == wanted.schema
    assert found.notes == wanted.notes[1:]  # the first one names the separator
    for part in PARTS:
        for name in ("x", "y", "groups"):
            np.testing.assert_array_equal(
                getattr(getattr(found, part), name), getattr(getattr(wanted, part), name)
            )


@pytest.mark.parametrize("library", OTHERS)
def test_new_examples_are_found_by_the_names_of_columns(of_file, trained, library):
    splits, _ = of_file
    model, new = jaxnet.linear(), USED[USED.columns[::-1]].assign(other=[["a list"]] * len(USED))
    new = OTHERS[library](new)
    whole = np.concatenate([np.asarray(getattr(splits, part).x) for part in PARTS])
    found = jaxnet.predict(model, trained, new)
    # of each row of the splits, in whatever order they are
    wanted = jaxnet.predict(model, trained, whole)
    np.testing.assert_array_equal(np.sort(found, axis=0), np.sort(wanted, axis=0))
    judged = jaxnet.evaluate(model, trained, new)
    labels = (USED["churned"] == "yes").to_numpy()
    np.testing.assert_array_equal(judged.wrong, (found.argmax(1) == 1) != labels)
    assert len(set(judged.groups)) == USED["patient"].nunique()


def test_a_restored_run_predicts_the_same_of_a_frame_and_of_the_file(of_file, trained, tmp_path):
    jaxnet.save(trained, tmp_path / "run")
    FRAME.to_pickle(tmp_path / "frame.pickle")
    program = (
        "import sys, jaxnet, numpy\n"
        "jaxnet.load('digits')\n"
        "assert not {'pandas', 'polars', 'pyarrow'} & set(sys.modules)\n"
        "import pandas, polars\n"
        "frame = pandas.read_pickle('frame.pickle')\n"
        "run = jaxnet.restore('run')\n"
        "each = [jaxnet.predict(jaxnet.linear(), run, new)"
        " for new in (frame, polars.from_pandas(frame), pandas.read_csv('t.csv'))]\n"
        "numpy.save('new.npy', each)\n"
    )
    (tmp_path / "t.csv").write_bytes(of_file[1].read_bytes())
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    wanted = jaxnet.predict(jaxnet.linear(), trained, FRAME)
    for found in np.load(tmp_path / "new.npy"):
        np.testing.assert_array_equal(found, wanted)


GAPS = {
    "NaN": ([1.5, np.nan], [1.5, None]),
    "None": (["x", None], ["x", None]),
    "NA": (pandas.array([1, pandas.NA], "Int64"), [1, None]),
    "NaT": (pandas.to_datetime(["2020-01-01", None]), [datetime.datetime(2020, 1, 1), None]),
    "boolean": (pandas.array([True, None], "boolean"), ["True", None]),
    "word": ([" NA", "x "], [None, "x"]),
    "word among numbers": (["?", "3"], [None, 3]),
    "empty": (["", "x"], [None, "x"]),
    "categorical": (pandas.Categorical(["x", None]), ["x", None]),
}


@pytest.mark.parametrize("case", GAPS)
def test_gaps_of_all_kinds_are_gaps(case):
    values, wanted = GAPS[case]
    assert columns_of(values)[0] == wanted


HOURS = "'a': durations are read in hours"
# what a CSV cannot say
TYPED = {
    "categorical of numbers": (pandas.Categorical([10.0, 2.0]), ["10", "2"], ()),
    "digits as text": (["10", "2"], ["10", "2"], ()),
    "days without a time": ([datetime.date(2020, 1, 2)], [datetime.date(2020, 1, 2)], ()),
    "duration": (
        pandas.to_timedelta([90, 60], "m"),
        [1.5, 1.0],
        ("'a': durations are read in hours",),
    ),
    "large numbers": ([2**60 + 1, 1], [str(2**60 + 1), "1"], ()),
}


@pytest.mark.parametrize("case", TYPED)
def test_types_that_a_file_cannot_say_are_kept(case):
    values, wanted, notes = TYPED[case]
    assert columns_of(values) == (wanted, notes)


def test_numbers_that_are_categories_are_spelled_alike_in_all_types():
    for values in ([1, 2], [1.0, 2.0], pandas.array([1, 2], "Int64"), ["1", "2"]):
        assert columns_of(values, texts={"a"})[0] == ["1", "2"]


def test_text_of_digits_is_said_to_be_no_number():
    frame = pandas.DataFrame({"code": ["10", "20", "30"] * 20, "kind": ["a", "b"] * 30})
    splits = jaxnet.load(frame)
    assert splits.columns[0].categories == ("10", "20", "30")
    assert any("'code'" in note and "types={'code': 'number'}" in note for note in splits.notes)
    as_numbers = jaxnet.load(frame, table=jaxnet.Table(types={"code": "number"}))
    assert as_numbers.columns[0].categories is None


MIXED = FRAME[["age", "churned"]]
WIDE = polars.DataFrame({"m": polars.Series([1, 2], dtype=polars.Int128)})
OBJECTS = polars.DataFrame({"m": polars.Series([object()], dtype=polars.Object)})
REFUSED = {
    "mixed": (
        MIXED.assign(m=[1, "x"] * 60),
        r"'m' cannot be read \(it mixes values of several types: int in row 0, str in row 1\)",
    ),
    "list": (MIXED.assign(m=[["x"]] * ROWS), "'m' is of type list<item: string>"),
    "period": (MIXED.assign(m=pandas.period_range("2020", periods=ROWS)), "'m' is of type ext"),
    "infinite": (MIXED.assign(m=[1, np.inf] * 60), r"'m' holds inf in row 1 \(the first is row 0"),
    "wide": (WIDE, "'m' cannot be read"),
    "object": (OBJECTS, "'m' is of type fixed_size_binary"),
    "twice": (pandas.concat([MIXED, MIXED], axis=1), "more than one column named 'age'"),
    "no rows": (MIXED.iloc[:0], "data frame: has no rows; it needs some"),
    "one column": (MIXED["age"], "is one column; give a frame of several"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_frame_cannot_say_is_refused_by_name(case):
    frame, said = REFUSED[case]
    with pytest.raises(jaxnet.InputError, match=said):
        jaxnet.load(frame)


@pytest.mark.parametrize("case", ["mixed", "list", "period"])
def test_a_column_that_is_left_out_need_not_be_readable(case):
    works = r"This works: jaxnet.load\(frame, label='churned', drop_columns=\('m',\)\)"
    with pytest.raises(jaxnet.InputError, match=works):
        jaxnet.load(REFUSED[case][0], label="churned")
    splits = jaxnet.load(REFUSED[case][0], label="churned", drop_columns="m")
    assert [column.name for column in splits.columns] == ["age"]


def test_row_labels_are_left_out_unless_they_are_named():
    shuffled = MIXED.assign(noise=1.0 * np.arange(ROWS)).sample(frac=1, random_state=0)
    assert jaxnet.load(shuffled, label="churned").notes[0] == "left out: the row labels of pandas"
    named = shuffled.rename_axis("noted")
    assert jaxnet.load(named, label="churned").notes[0] == (
        "left out: 'noted', the row labels of pandas"
    )
    by_order = jaxnet.load(named, label="churned", order="noted")
    last = named.sort_index()["age"].to_numpy()[-24:]
    assert sorted(by_order.test.x[:, 0]) == sorted(last)


def test_labels_of_a_frame_are_checked(of_file, trained, caplog):
    model = jaxnet.linear()
    with pytest.raises(jaxnet.InputError, match="the label 'churned' is 'maybe' in row 0"):
        jaxnet.evaluate(model, trained, USED.assign(churned="maybe"))
    with pytest.raises(jaxnet.InputError, match="has no column 'churned'"):
        jaxnet.evaluate(model, trained, FRAME.drop(columns="churned"))
    with pytest.raises(jaxnet.InputError, match="label is 'churned', which names a column"):
        jaxnet.evaluate(
            model, trained, jaxnet.Dataset(np.zeros((2, 3)), np.zeros(2)), label="churned"
        )
    partly = FRAME.assign(plan="new")
    renamed = partly.rename(columns={"patient": "person", "churned": "left"})
    judged = jaxnet.evaluate(model, trained, renamed, label="left")
    assert len(judged.wrong) == ROWS - 1
    assert judged.groups is None
    said = caplog.text
    assert "left out: 1 of 120 rows, without a label ('left')" in said
    assert "no column 'patient', by which the rows were grouped" in said
    assert "'plan'" in said


def test_a_frame_of_numbers_can_be_split():
    full = FRAME.dropna()
    numbers, y = full[["age", "kids"]], full["churned"].to_numpy().astype(str)
    splits = jaxnet.split(numbers, full["churned"], groups=full["patient"])
    groups = full["patient"].to_numpy().astype(str)
    plain = jaxnet.split(numbers.to_numpy().astype(float), y, groups=groups)
    assert [column.name for column in splits.columns] == ["age", "kids"]
    assert [len(each.columns) for each in jaxnet.folds(polars.from_pandas(numbers), y)] == [2] * 5
    for part in PARTS:
        np.testing.assert_array_equal(getattr(splits, part).x, getattr(plain, part).x)
        np.testing.assert_array_equal(getattr(splits, part).y, getattr(plain, part).y)
    found, _ = inputs_of_frame(numbers[["kids", "age"]], splits.schema)
    np.testing.assert_array_equal(found, numbers.to_numpy().astype(float))
    with pytest.raises(jaxnet.InputError, match=r"no numbers, 'plan'; jaxnet.load\(frame"):
        jaxnet.split(full[["age", "plan"]], y)
