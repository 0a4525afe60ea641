"""The program of an export that predicts the rows of a CSV file with NumPy alone."""

import csv
import io
import json
import random
import subprocess
import sys

import jax
import numpy as np
import pytest

import jaxnet
from jaxnet.data.sources.examples import read_examples

# What runs in a process that has nothing but NumPy.
NUMPY_ALONE = """
import runpy, sys

for package in ("jax", "jaxlib", "jaxnet", "flax", "safetensors", "ml_dtypes", "scipy", "pyarrow"):
    sys.modules[package] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def _write(path, rows, separator=","):
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=separator).writerows(rows)
    return path


def _table(rows, seed, gap=""):
    """Rows with a number, categories, a rare one, a date, an amount with a unit, and a time."""
    draw = random.Random(seed)
    made = [["age", "plan", "signup", "fee", "weight", "opened", "member"]]
    for i in range(rows):
        made.append(
            [
                gap if i % 11 == 5 else draw.randint(18, 80),
                "rare" if i % 100 == 7 else draw.choice(["basic", "plus, new", "pro", "NA"]),
                f"{draw.randint(1, 28):02d}.{draw.randint(1, 12):02d}.{draw.randint(2019, 2023)}",
                f"${draw.randint(900, 3000):,}",
                f"{draw.randint(20, 90) / 10} kg",
                f"{draw.randint(0, 23):02d}:{draw.choice((0, 15, 30)):02d}",
                draw.choice(["True", "False"]),
            ]
        )
    return made


@pytest.fixture(scope="module", params=["classes", "values"])
def exported(request, tmp_path_factory):
    """(the folder of an export, the model, the network). For values, only a dash means a gap."""
    folder = tmp_path_factory.mktemp(request.param)
    missing = ("-",) if request.param == "values" else None
    rows = _table(300, 0, "-" if missing else "")
    draw = random.Random(1)
    label = {
        "classes": lambda: draw.choice(["no", "yes"]),
        "values": lambda: f"{draw.random():.3f}",
    }
    made = [[*rows[0], "y"], *([*row, label[request.param]()] for row in rows[1:])]
    table = jaxnet.Table(missing=missing)
    splits = jaxnet.load(_write(folder / "a.csv", made), label="y", table=table)
    model = jaxnet.mlp((8,))
    run = jaxnet.fit(model, splits, jaxnet.Recipe(epochs=2), jax.random.key(0))
    jaxnet.export(run, folder / "export")
    return folder / "export", model, run


def _said(folder, *words):
    """(the lines that the program writes, what it says on standard error)."""
    program = str(folder / "predict_table.py")
    command = [sys.executable, "-I", "-W", "error", "-c", NUMPY_ALONE, program, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout))), done.stderr


def test_columns_json_says_what_columns_become(exported):
    folder, _, run = exported
    about = json.loads((folder / "columns.json").read_text())
    assert about["classes"] == (None if run.classes is None else ["no", "yes"])
    assert run.classes is not None or about["gaps"] == ["", "-"]
    assert ({"", "NA"} < {*about["gaps"]}) == (run.classes is not None)
    columns = {column["name"]: column for column in about["columns"]}
    assert [*columns] == ["age", "plan", "signup", "fee", "weight", "opened", "member"]
    assert columns["weight"]["unit"] == "kg"
    assert columns["fee"]["unit"] == "$"
    missing = run.classes is not None
    plans = ["NA"] * (not missing) + ["basic", "plus, new", "pro"]
    assert columns["plan"]["categories"] == plans
    assert (columns["plan"]["missing"], columns["plan"]["other"]) == (missing, True)
    assert columns["signup"]["dates"]["order"] == "dmy"
    assert columns["signup"]["dates"]["parts"] == ["year", "month", "weekday", "days"]
    assert columns["age"]["inputs"] == ["age", "age=(missing)"]
    assert 18 < columns["age"]["fill"] < 80
    inputs = sum(len(column["inputs"]) for column in about["columns"])
    assert run.shape == (inputs,)
    assert "python predict_table.py new.csv" in (folder / "README.md").read_text()


@pytest.mark.parametrize(("separator", "decimal"), [(",", "."), (";", ",")])
def test_the_program_predicts_what_jaxnet_does(exported, tmp_path, separator, decimal):
    folder, model, run = exported
    rows = _table(60, 2)
    gap = "-" if run.classes is None else "?"
    rows[3][1], rows[4][0], rows[6][5], rows[7][1] = "unseen", " ", gap, gap
    rows[9][4], rows[12][2] = "3 lb", "soon"
    if decimal == ",":
        for row in rows[1:]:
            row[3], row[4] = row[3].replace(",", "."), row[4].replace(".", ",")
    order = (4, 6, 5, 3, 0, 2, 1)
    moved = [["note", *(rows[0][i] for i in order)]]
    moved += [["x", *(row[i] for i in order)] for row in rows[1:]]
    path = _write(tmp_path / "new.csv", moved, separator)
    lines, said = _said(folder, path, separator, decimal)
    table = jaxnet.Table(decimal=decimal)
    mine = read_examples(path, run.shape, run.schema, table, strict=False)
    assert [*mine.refused] == [8, 11]
    outputs = np.asarray(jaxnet.predict(model, run, mine.x[mine.usable]))
    assert [line["line"] for line in lines] == [str(row + 2) for row in range(60)]
    used = [lines[row] for row in mine.usable]
    if run.classes is None:
        theirs = np.array([float(line["prediction"]) for line in used])
    else:
        theirs = np.array([[float(line[f"p({name})"]) for name in run.classes] for line in used])
        assert [line["prediction"] for line in used] == [
            run.classes[place] for place in outputs.argmax(1)
        ]
        outputs = np.exp(outputs)
    np.testing.assert_allclose(theirs, outputs, atol=1e-5, rtol=1e-5)
    assert {lines[row]["prediction"] for row in mine.refused} == {""}
    assert said.splitlines() == [
        "line 10: column 'weight' cannot be read: '3 lb'",
        "line 13: column 'signup' cannot be read: 'soon'",
    ]


def test_a_file_without_a_column_is_refused(exported, tmp_path):
    lines, said = _said(exported[0], _write(tmp_path / "a.csv", [["age"], [3]]))
    assert not lines
    assert said == "there is no column 'plan'; the columns are age\n"
