"""Predict the rows of a CSV file with NumPy alone.

`jaxnet.export` copies this file into the folder of a network that learned from a table, beside
columns.json, which says how its columns become inputs, table_numbers.py and table_dates.py, which
read the text of a cell, and forward.py, which computes the network. In that folder:

    python predict_table.py new.csv > predictions.csv
    python predict_table.py new.csv ";" "," > predictions.csv     separator, decimal sign

Columns are found by their names, in any order. A row that cannot be used has an empty prediction,
and standard error says why.
"""

import csv
import json
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent
LARGEST = float(np.finfo(np.float32).max)
Read = Callable[[Sequence[str]], np.ndarray | None]


def main(path: str, separator: str = ",", decimal: str = ".") -> None:
    """Write the prediction for each row of a CSV file to standard output.

    Args:
        path: the file, in UTF-8, whose first line has the names of the columns.
        separator: the character between columns.
        decimal: the decimal sign of its numbers.
    """
    about = json.loads((FOLDER / "columns.json").read_text(encoding="utf-8"))
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=separator, restval=""))
    x, refused = encode(about, rows, decimal)
    for row, why in sorted(refused.items()):
        print(f"line {row + 2}: {why}", file=sys.stderr)
    usable = np.array([row for row in range(len(rows)) if row not in refused], int)
    outputs = module("forward.py").forward(x[usable])
    said = dict(zip(usable.tolist(), outputs, strict=True))
    names = about.get("targets") or ["prediction"]
    asked = names if about.get("multi_label") else about["classes"] or ()
    header = [*names, *(f"p({name})" for name in asked)]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["line", *header])
    nothing = [""] * len(header)
    for row in range(len(rows)):
        yes_no = about.get("multi_label", False)
        cells = predicted(said[row], about["classes"], yes_no=yes_no) if row in said else nothing
        writer.writerow([row + 2, *cells])


def predicted(
    output: np.ndarray, classes: Sequence[str] | None, *, yes_no: bool = False
) -> list[str]:
    """A value or several, a class and the probability of each, or 1 or 0 for each yes/no label and
    the probability of 1.
    """
    if yes_no:
        p = np.exp(output)
        return [*(str(int(each > 0.5)) for each in p), *(f"{each:.6f}" for each in p)]
    if classes is None:
        return [f"{value:.9g}" for value in np.ravel(output)]
    return [classes[int(output.argmax())], *(f"{p:.6f}" for p in np.exp(output))]


def encode(
    about: dict[str, Any], rows: Sequence[dict[str, str]], decimal: str = "."
) -> tuple[np.ndarray, dict[int, str]]:
    """Encode the rows of a table as inputs of the network.

    Args:
        about: the content of columns.json.
        rows: the cells of each row, by the name of their column.
        decimal: the decimal sign of the numbers.

    Returns:
        ((rows, inputs) float64, why rows cannot be used by their number from 0).
    """
    x, refused = [], {}
    for column in about["columns"]:
        name = column["name"]
        if rows and name not in rows[0]:
            sys.exit(f"there is no column {name!r}; the columns are {', '.join(rows[0])}")
        texts = [row[name].strip() for row in rows]
        gaps = np.array([text in about["gaps"] for text in texts], bool)
        own, strange = encode_column(column, texts, gaps, decimal)
        x.append(own)
        for row in np.flatnonzero(strange):
            what = "has no value" if gaps[row] else f"cannot be read: {texts[row]!r}"
            refused.setdefault(int(row), f"column {name!r} {what}")
    return np.concatenate(x, 1), refused


def encode_column(
    column: dict[str, Any], texts: Sequence[str], gaps: np.ndarray, decimal: str
) -> tuple[np.ndarray, np.ndarray]:
    """Encode a column.

    Args:
        column: its entry in columns.json.
        texts: its cells.
        gaps: (rows,) which of them are gaps.
        decimal: the decimal sign of the numbers.

    Returns:
        ((rows, inputs) float64, (rows,) which cells cannot be used).
    """
    x = np.zeros((len(texts), len(column["inputs"])))
    place = {name: number for number, name in enumerate(column["inputs"])}
    strange = gaps & (column["fill"] is None)
    if column["missing"]:
        x[:, place[f"{column['name']}=(missing)"]] = gaps
    if column["categories"] is not None:
        known = {text: number for number, text in enumerate(column["categories"])}
        for row, text in enumerate(texts):
            if not gaps[row] and text in known:
                x[row, known[text]] = 1
            elif column["other"] and not (gaps[row] and column["missing"]):
                x[row, place[f"{column['name']}=(other)"]] = 1
        return x, strange
    dates = column["dates"] and SimpleNamespace(**column["dates"])
    filled = [text for text, gap in zip(texts, gaps, strict=True) if not gap]
    found = values_of(filled, reader(column, decimal))
    fill = column["fill"] or 0.0
    if dates:
        fill = np.datetime64(dates.first, "s") + np.timedelta64(round(fill * 86400), "s")
    values = np.array([found.get(text, fill) for text in texts])
    strange |= ~gaps & np.array([text not in found for text in texts], bool)
    if dates:
        x[:, : len(dates.parts)] = module("table_dates.py").inputs_of(values, dates)
    else:
        x[:, 0] = values
        strange |= ~(np.abs(values) <= LARGEST)
    return x, strange


def values_of(texts: Sequence[str], read: Read) -> dict[str, Any]:
    """The values of texts that are written alike, by text; others are left out."""
    names = sorted(set(texts))
    found = read(names)
    if found is None:
        names = [name for name in names if read([name]) is not None]
        found = read(names)
    return {} if found is None else dict(zip(names, found, strict=True))


def reader(column: dict[str, Any], decimal: str) -> Read:
    """A function that reads the texts of a column, which all are written alike."""
    if column["dates"] is None:
        values_in = module("table_numbers.py").values_in
        return lambda texts: values_in(column["unit"], texts, decimal)
    moments_in = module("table_dates.py").moments_in
    return lambda texts: moments_in(column["dates"]["order"], texts)


def module(name: str) -> Any:
    """The names of a file beside this one."""
    return SimpleNamespace(**runpy.run_path(str(FOLDER / name)))


if __name__ == "__main__":
    main(*sys.argv[1:])
