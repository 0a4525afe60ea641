"""Spreadsheets: what a sheet holds, where its table begins, and what it shows otherwise than it is
stored.
"""

import datetime
import re
import sys
import zipfile

import numpy as np
import openpyxl
import pandas
import pytest

import jaxnet
from jaxnet.data.sources.csv import read_table

ROWS = 40
RNG = np.random.default_rng(0)
FRAME = pandas.DataFrame(
    {
        "age": RNG.integers(18, 90, ROWS),
        "income": RNG.normal(3e4, 1e4, ROWS),
        "plan": RNG.choice(["basic", "plus"], ROWS),
        "signup": pandas.Timestamp("2020-01-01")
        + pandas.to_timedelta(RNG.integers(0, 900, ROWS), "D"),
        "seen": pandas.Timestamp("2020-01-01")
        + pandas.to_timedelta(RNG.integers(0, 9999, ROWS), "h"),
        "active": RNG.random(ROWS) < 0.5,
        "churned": RNG.choice(["no", "yes"], ROWS),
    }
)


def book(path, rows, *, change=lambda sheet: None):
    """A spreadsheet of one sheet with these rows."""
    made = openpyxl.Workbook()
    for row in rows:
        made.active.append(row)
    change(made.active)
    made.save(path)
    return path


def test_a_sheet_is_read_as_pandas_writes_it_to_csv(tmp_path):
    FRAME.to_excel(tmp_path / "t.xlsx", index=False)
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    sheet, text = (jaxnet.load(tmp_path / f"t.{ending}") for ending in ("xlsx", "csv"))
    assert (sheet.classes, sheet.columns) == (text.classes, text.columns)
    assert sheet.notes == text.notes[1:]  # the first one names the separator
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(sheet, part).x, getattr(text, part).x)
        np.testing.assert_array_equal(getattr(sheet, part).y, getattr(text, part).y)


def test_what_a_sheet_stores_is_read_and_not_what_it_shows(tmp_path):
    def change(sheet):
        for row in range(4, 4 + ROWS):
            sheet.cell(row, 2).number_format = "0%"
        sheet["A5"], sheet["A6"] = "#N/A", "#DIV/0!"
        sheet["Z300"].font = openpyxl.styles.Font(bold=True)  # formatted and empty
        sheet.merge_cells("C10:C12")
        sheet.merge_cells("A1:C1")

    rows = [[i % 7, i / 100, f"0{i % 9}", "12", datetime.timedelta(hours=i)] for i in range(ROWS)]
    names = ["errors", "share", "code", "text", "length"]
    path = book(tmp_path / "t.xlsx", [["Report"], [], names, *rows], change=change)
    cells, notes = read_table(path)
    assert {name: len(values) for name, values in cells.items()} == dict.fromkeys(names, ROWS)
    assert cells["errors"].to_pylist()[:4] == [0, None, None, 3]
    assert cells["share"].to_pylist() == [i / 100 for i in range(ROWS)]
    assert cells["code"].to_pylist()[:7] == ["00", "01", "02", "03", "04", "05", "06"]
    assert cells["text"].to_pylist() == [12] * ROWS  # a number stored as text
    assert cells["length"].to_pylist() == list(range(ROWS))
    assert notes == (
        "left out: 2 lines above the table",
        "'errors': 2 cells with an error such as #N/A are gaps",
        "'share': the sheet shows percent, and the numbers are fractions (12% is 0.12)",
        "'length': durations are read in hours",
        "cells of several lines are merged, the first in lines 10 to 12: the first line has their "
        "value, and the others have a gap",
    )


def test_messages_name_the_lines_of_the_sheet(tmp_path):
    rows = [[i, "ab"[i % 2], i % 3 + 0.5] for i in range(ROWS)]
    rows[10][0] = "ten"
    path = book(tmp_path / "t.xlsx", [[], ["2024"], ["a\nb", "kind", "noise"], *rows])
    with pytest.raises(jaxnet.InputError, match="the first 'ten' in line 14"):
        jaxnet.load(path, label="kind")


def test_formulas_without_saved_values_are_refused_by_name(tmp_path):
    rows = [[i % 7, f"=A{i + 2}*2", "ab"[i % 2]] for i in range(ROWS)]
    path = book(tmp_path / "t.xlsx", [["a", "twice", "kind"], *rows])
    with pytest.raises(
        jaxnet.InputError, match=r"in column 'twice' \(line 2, 3, 4, 5, 6, \.\.\.\)"
    ):
        jaxnet.load(path)
    assert jaxnet.load(path, drop_columns="twice").train.x.shape[1] == 1
    # spreadsheet programs write so what IF(..., "") gives
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "saved.xlsx", "w") as new:
        for name in old.namelist():
            text = re.sub(rb'(<c r="B\d+")(><f>)', rb'\1 t="str"\2', old.read(name))
            new.writestr(name, text)
    assert read_table(tmp_path / "saved.xlsx")[0]["twice"].null_count == ROWS


def test_a_sheet_can_be_named(tmp_path):
    with pandas.ExcelWriter(tmp_path / "t.xlsx") as file:
        FRAME.to_excel(file, sheet_name="first", index=False)
        FRAME.iloc[:, :3].to_excel(file, sheet_name="other")
    splits = jaxnet.load(tmp_path / "t.xlsx")
    assert splits.notes[0].startswith("read from the sheet 'first', the first of 2")
    other = jaxnet.load(tmp_path / "t.xlsx", table=jaxnet.Table(sheet="other"))
    assert [column.name for column in other.columns] == ["age", "income"]
    with pytest.raises(jaxnet.InputError, match="has no sheet 'second'; its sheets are first"):
        jaxnet.load(tmp_path / "t.xlsx", table=jaxnet.Table(sheet="second"))
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(jaxnet.InputError, match="has no use for sheet"):
        jaxnet.load(tmp_path / "t.csv", table=jaxnet.Table(sheet="first"))


def test_what_cannot_be_read_is_refused_with_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "t.xlsx").write_bytes(b"no archive")
    for name, said in {
        "t.xlsx": "not a readable spreadsheet",
        "none.xlsx": "no such file",
        "t.xls": "save it as .xlsx or .csv",
        "t.ods": "save it as .xlsx or .csv",
        "t.json": r"pandas.read_json\('.*t.json'\).to_parquet",
        "t.feather": "pandas.read_feather",
        "t.arrow": "pandas.read_feather",
        "t.sav": "pandas.read_spss",
        "t.DTA": "pandas.read_stata",
    }.items():
        with pytest.raises(jaxnet.InputError, match=said):
            jaxnet.load(tmp_path / name)
    book(tmp_path / "empty.xlsx", [])
    with pytest.raises(jaxnet.InputError, match="the sheet 'Sheet' is empty"):
        jaxnet.load(tmp_path / "empty.xlsx")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(jaxnet.InputError, match="pip install openpyxl"):
        jaxnet.load(tmp_path / "empty.xlsx")
