"""Predicting files with the rules of a run: rows that cannot be used, and unknown categories."""

import csv
import gzip
import io
import json
import random
import shutil

import jax
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv as arrow_csv
from pyarrow import parquet

import jaxnet
from jaxnet.cli import commands

ROWS = 200
MODEL = jaxnet.linear()


def _write(path, rows, separator=","):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator, lineterminator="\n").writerows(rows)
    return path


def _finish(folder, splits, model):
    """The folder of a finished run."""
    run = jaxnet.fit(model, splits, jaxnet.Recipe(epochs=20), jax.random.key(0))
    jaxnet.save(run, folder / "params")
    (folder / "run.json").write_text('{"experiment": "train", "dataset": "made"}')
    return run


@pytest.fixture(scope="module")
def loans(tmp_path_factory):
    """(the folder of a run on a table, the run, the rows of the table)."""
    folder = tmp_path_factory.mktemp("loans")
    draw = random.Random(0)
    rows = [["age", "plan", "signup", "weight", "late"]]
    for _ in range(ROWS):
        age, plan = draw.randint(18, 80), draw.choice(["basic", "plus", "pro"])
        day = f"{draw.randint(1, 28):02d}.{draw.randint(1, 12):02d}.2024"
        late = (age > 50) ^ (plan == "pro")
        rows.append([age, plan, day, f"{draw.randint(2, 9)} kg", "yes" if late else "no"])
    splits = jaxnet.load(_write(folder / "loans.csv", rows), label="late")
    return folder, _finish(folder, splits, MODEL), rows


@pytest.fixture
def predict(loans, capsys):
    """Run the command on files: (its lines as dictionaries, what it says on standard error)."""

    def run(*words, status=0, folder=loans[0]):
        given = ["--run", folder, "--platform", "cpu", *words]
        assert commands.run("predict", [*map(str, given)], began=0.0) == status
        said = capsys.readouterr()
        assert status == 0 or said.out == ""
        return list(csv.DictReader(io.StringIO(said.out))), said.err

    return run


def _probabilities(lines):
    return np.array([[float(line[f"p({name})"]) for name in ("no", "yes")] for line in lines])


def _expected(run, x):
    return np.exp(np.asarray(jaxnet.predict(MODEL, run, x)))


def _encoded(rows):
    """The inputs of rows, as the design of the table says: age, three plans, month, weekday, days,
    weight.
    """
    x = []
    for age, plan, day, weight, *_ in rows:
        date = np.datetime64("-".join(reversed(day.split("."))), "D")
        month = int(day[3:5])
        weekday = (date.astype(int) + 3) % 7
        plans = [float(plan == each) for each in ("basic", "plus", "pro")]
        x.append([age, *plans, month, weekday, date, float(weight.removesuffix(" kg"))])
    first = min(each[6] for each in x)
    return x, first


def _inputs(loans, rows):
    """The same for `predict`, with days since the first date that the network learned from."""
    _, run, _ = loans
    first = np.datetime64(run.columns[2].dates.first[:10], "D")
    x, _ = _encoded(rows)
    return np.array([[*each[:6], (each[6] - first).astype(float), each[7]] for each in x])


def test_columns_stand_in_any_order_and_others_are_named(loans, predict, tmp_path):
    _, run, rows = loans
    order = (4, 3, 1, 0, 2)
    shuffled = [["note", *(row[i] for i in order)] for row in rows[:1]]
    shuffled += [["x", *(row[i] for i in order)] for row in rows[1:20]]
    lines, said = predict(_write(tmp_path / "new.csv", shuffled, ";"))
    expected = _expected(run, _inputs(loans, rows[1:20]))
    np.testing.assert_allclose(_probabilities(lines), expected, atol=2e-6)
    assert [line["row"] for line in lines] == [str(row) for row in range(19)]
    assert [line["prediction"] for line in lines] == [("no", "yes")[i] for i in expected.argmax(1)]
    assert "read with ';' between columns" in said
    assert "not used: 'note', 'late', from which the network did not learn" in said
    assert "warning" not in said


def test_a_row_that_cannot_be_used_has_an_empty_line_and_is_listed(loans, predict, tmp_path):
    _, run, rows = loans
    new = [row[:4] for row in rows[:9]]
    new[2][3], new[5][2], new[5][0] = "3 lb", "soon", "old"
    lines, said = predict(_write(tmp_path / "new.csv", new))
    assert [line["prediction"] == "" for line in lines] == [i in (1, 4) for i in range(8)]
    assert {*lines[1].values(), *lines[4].values()} == {str(tmp_path / "new.csv"), "1", "4", ""}
    kept = [row for i, row in enumerate(rows[1:9]) if i not in (1, 4)]
    np.testing.assert_allclose(
        _probabilities([line for line in lines if line["prediction"]]),
        _expected(run, _inputs(loans, kept)),
        atol=2e-6,
    )
    assert "2 of 8 rows cannot be used, and nothing is predicted for them" in said
    assert "column 'weight' should hold numbers in kg, but has '3 lb' in line 3" in said
    assert "column 'signup' should hold dates, but has 'soon' in line 6" in said
    assert "column 'age' should hold numbers, but has 'old' in line 6" in said
    out = tmp_path / "out.csv"
    _, said = predict(tmp_path / "new.csv", "--strict", "--out", out, status=2)
    assert said.startswith("error: ")
    assert " in line " in said
    assert not out.exists()
    many = [rows[0][:4], *([*row[:3], "heavy"] for row in rows[1:31]), *(r[:4] for r in rows[1:9])]
    _, said = predict(_write(tmp_path / "many.csv", many))
    assert said.count("has 'heavy' in line") == 20
    assert said.splitlines()[-1] == "  and 10 more"
    _, said = predict(_write(tmp_path / "none.csv", many[:5]), status=2)
    assert "none.csv: no row can be used; column 'weight' should hold" in said


def test_an_unknown_category_is_counted_and_refused_only_if_asked(loans, predict, tmp_path):
    _, run, rows = loans
    new = [rows[0][:4], *([row[0], "gold", *row[2:4]] for row in rows[1:4]), rows[4][:4]]
    path = _write(tmp_path / "new.csv", new)
    lines, said = predict(path)
    x = _inputs(loans, rows[1:5])
    x[:3, 1:4] = 0
    np.testing.assert_allclose(_probabilities(lines), _expected(run, x), atol=2e-6)
    assert (
        "'plan': 3 of 4 rows have a category without training and validation rows, 'gold'" in said
    )
    assert "all inputs of the column are 0 there" in said
    _, said = predict(path, "--strict", status=2)
    assert "column 'plan' has 'gold' in line 2, which the network has not seen" in said


def test_packed_and_parquet_files_say_the_same(loans, predict, tmp_path):
    _, _, rows = loans
    path = _write(tmp_path / "a.csv", rows[:30])
    lines, _ = predict(path)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    parquet.write_table(arrow_csv.read_csv(path), tmp_path / "a.parquet")
    for name in ("a.csv.gz", "a.parquet"):
        others, _ = predict(tmp_path / name)
        np.testing.assert_array_equal(_probabilities(others), _probabilities(lines))
    table = pa.table({name: ["x"] * 3 for name in rows[0]})
    parquet.write_table(table, tmp_path / "bad.parquet")
    _, said = predict(tmp_path / "bad.parquet", status=2)
    assert "no row can be used" in said
    assert "row 0 (the first is row 0)" in said


def test_names_that_are_known_tell_whether_there_is_a_header(predict, tmp_path):
    rng = np.random.default_rng(0)
    names = ["2019", "2020", "2021"]
    x = rng.integers(1900, 2101, (60, 3))
    rows = [[*row, "high" if sum(row) > 6000 else "low"] for row in x.tolist()]
    table = jaxnet.Table(header=True)
    path = _write(tmp_path / "years.csv", [[*names, "level"], *rows])
    (tmp_path / "run").mkdir()
    splits = jaxnet.load(path, label="level", table=table)
    assert [column.name for column in splits.columns] == names
    _finish(tmp_path / "run", splits, MODEL)
    new = _write(tmp_path / "new.csv", [names, *x[:3].tolist()])
    lines, _ = predict(new, folder=tmp_path / "run")
    assert len(lines) == 3
    _write(tmp_path / "new.csv", x.tolist())
    _, said = predict(new, folder=tmp_path / "run", status=2)
    assert "has no column '2019', '2020', '2021', from which the network learned" in said
    assert "the first line is data" in said


def test_dates_may_be_written_in_another_order(loans, predict, tmp_path):
    _, run, rows = loans
    new = [row[:4] for row in rows[:7]]
    for row in new[1:]:
        day, month, year = row[2].split(".")
        row[2] = f"{month}/{day}/{year}"
    path = _write(tmp_path / "new.csv", new)
    lines, _ = predict(path, "--dates", "mdy")
    expected = _expected(run, _inputs(loans, rows[1:7]))
    np.testing.assert_allclose(_probabilities(lines), expected, atol=2e-6)


def test_dates_in_several_forms_are_read_by_the_order_of_the_run(loans, predict, tmp_path):
    _, run, rows = loans
    new = [row[:4] for row in rows[:7]]
    for row in new[1:4]:
        row[2] = "-".join(reversed(row[2].split(".")))
    new[5][2] = "in May"
    lines, said = predict(_write(tmp_path / "new.csv", new))
    kept = [0, 1, 2, 3, 5]
    expected = _expected(run, _inputs(loans, [rows[1 + i] for i in kept]))
    np.testing.assert_allclose(_probabilities([lines[i] for i in kept]), expected, atol=2e-6)
    assert "1 of 6 rows cannot be used" in said
    assert "has 'in May' in line 6" in said


BAD = {
    "folder": (lambda p: p, "is a folder; give the files in it"),
    "nothing": (lambda p: p / "loan.csv", "loan.csv: no such file"),
    "no ending": (lambda p: p / "loan", "loan: no such file"),
    "empty": (lambda p: _write(p / "a.csv", []), "a.csv: is empty; it needs a header and rows"),
    "no rows": (
        lambda p: _write(p / "a.csv", [["age", "plan", "signup", "weight"]]),
        "a.csv: has no rows below its header",
    ),
    "missing columns": (
        lambda p: _write(p / "a.csv", [["age", "plans"], [1, "pro"], [2, "pro"]]),
        "a.csv: has no column 'plan', 'signup', 'weight', from which the network learned; did you "
        "mean 'plans'?",
    ),
    "twice": (
        lambda p: _write(
            p / "a.csv",
            [["age", "plan", "signup", "weight", "age"], [20, "pro", "01.02.2024", "3 kg", 30]] * 2,
        ),
        "a.csv: has more than one column named 'age'",
    ),
    "other ending": (
        lambda p: _write(p / "a.doc", [["age"]]),
        "a.doc: give PNG or JPEG images, .npz files, or, for a network that learned from a table, "
        "files that end in .csv,",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_predicted_is_refused(predict, tmp_path, case):
    make, message = BAD[case]
    _, said = predict(make(tmp_path), status=2)
    assert message in said


def test_no_file_at_all(predict):
    assert "no file is given" in predict(status=2)[1]


def test_a_bad_row_of_an_array_is_listed_by_its_number(predict, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)).astype(np.float32)
    splits = jaxnet.split(x, (x @ np.float32([1, 2, 3]) > 0).astype(int), seed=0)
    (tmp_path / "run").mkdir()
    run = _finish(tmp_path / "run", splits, MODEL)
    new = x[:5].copy()
    new[3, 1] = np.nan
    np.savez(tmp_path / "new.npz", x=new)
    lines, said = predict(tmp_path / "new.npz", folder=tmp_path / "run")
    kept = [0, 1, 2, 4]
    assert lines[3]["prediction"] == ""
    theirs = [[float(lines[row][f"p({name})"]) for name in "01"] for row in kept]
    np.testing.assert_allclose(theirs, _expected(run, x[kept]), atol=2e-6)
    assert "1 of 5 rows cannot be used" in said
    assert "x holds nan in row 3, column 1 (counted from 0)" in said
    _, said = predict(tmp_path / "new.npz", "--strict", folder=tmp_path / "run", status=2)
    assert "in row 3, column 1" in said
    _, said = predict(_write(tmp_path / "a.csv", [["a"], [1]]), folder=tmp_path / "run", status=2)
    assert "a.csv: is a table, but the network did not learn from one" in said


def test_the_monitor_reads_tables_as_predict_does(loans, tmp_path, capsys):
    folder, run, rows = loans
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    outputs = np.asarray(jaxnet.predict(MODEL, run, _inputs(loans, rows[1:])))
    labels = np.array([row[4] == "yes" for row in rows[1:]], int)
    np.savez(copy / "reference.npz", log_probabilities=outputs, labels=labels)
    new = [[*row[:4]] for row in rows[:150]]
    new[3][3] = "heavy"
    path = _write(tmp_path / "new.txt", new, "\t")
    known = [["row", "label"], *([row, rows[1 + row][4]] for row in range(2, 62))]
    given = _write(tmp_path / "labels.csv", known)
    words = ["--run", copy, "--new", path, "--labels", given, "--separator", "tab", "--header"]
    words = [*map(str, words), "--platform", "cpu"]
    assert commands.run("shift", words, began=0.0) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["examples"], found["left_out"], found["labels"]) == (148, 1, 59)
    assert found["notes"][-1].startswith("left out: column 'weight' should hold numbers in kg")
    # the labels belong to the same rows as in the file: nearly all are predicted rightly
    wrong = np.mean(outputs.argmax(1) != labels)
    assert found["estimated_error"]["low"] <= wrong <= found["estimated_error"]["high"]
    assert commands.run("shift", [*words, "--strict"], began=0.0) == 2
    assert "'heavy' in line 4" in capsys.readouterr().err
