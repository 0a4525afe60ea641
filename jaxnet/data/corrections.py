"""Corrected labels: a table as `jaxnet labels` and `jaxnet census` write it, with the labels that a
person has filled in.
"""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from jaxnet.data.dataset import Splits
from jaxnet.errors import InputError, near, near_path

NEEDED = ("index", "part", "label", "corrected")
PARTS = ("train", "validation", "test")


def with_corrections(splits: Splits, path: Path) -> Splits:
    """Give examples the labels that stand in the column "corrected" of a table.

    Args:
        splits: a data set of classes, divided as when the table was written.
        path: a CSV file with the columns of labels.csv, of which "index", "part", "label" and
            "corrected" are read; where "corrected" is empty, the label stays.

    Returns:
        The data set, with a note on how many labels were changed.

    Raises:
        InputError: for a regression, for a file that cannot be read, and for rows that do not fit
            the data.
    """
    names = splits.classes
    if names is None:
        raise InputError(
            f"{path} corrects labels that are classes, but these are values of a regression; leave "
            "--corrections out"
        )
    labels = {part: np.array(getattr(splits, part).y) for part in PARTS}
    seen, changed = set[tuple[str, int]](), 0
    for line, row in _rows(path):
        new = row["corrected"].strip()
        if not new:
            continue
        where = f"{path}, line {line}"
        part, number = row["part"].strip(), row["index"].strip()
        if part not in PARTS:
            raise InputError(f"{where}: part is {part!r}{near(part, PARTS)}")
        y = labels[part]
        if not number.isdecimal() or int(number) >= len(y):
            raise InputError(
                f"{where}: index is {number!r}; the part {part} has rows 0 to {len(y) - 1}"
            )
        i = int(number)
        if (part, i) in seen:
            raise InputError(f"{where}: row {i} of the part {part} stands there twice; keep one")
        seen.add((part, i))
        if new not in names:
            raise InputError(f"{where}: corrected is {new!r}{near(new, names)}")
        if (old := row["label"].strip()) != names[y[i]]:
            raise InputError(
                f"{where}: label is {old!r}, but row {i} of the part {part} has the label "
                f"{names[y[i]]!r}; give the data and the options, such as --split-seed, with which "
                "the file was written"
            )
        changed += new != old
        y[i] = names.index(new)
    if not seen:
        raise InputError(
            f'{path}: no label is corrected; fill in the column "corrected" where one is wrong'
        )
    note = f"{changed} label{'s' * (changed != 1)} corrected by {path.name}"
    parts = {part: replace(getattr(splits, part), y=y) for part, y in labels.items()}
    return replace(splits, **parts, notes=(*splits.notes, note))


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """(line, cells by column) of each row."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"--corrections {path}: no such file{near_path(path)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--corrections {path}: {error}; give a CSV file in UTF-8") from None
    lines = text.splitlines()
    separator = ";" if lines and lines[0].count(";") > lines[0].count(",") else ","
    reader = csv.DictReader(lines, delimiter=separator, restval="")
    missing = [name for name in NEEDED if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(
            f"{path} has no column {missing[0]!r}; give a file with the columns of labels.csv, "
            "which jaxnet labels and jaxnet census write"
        )
    return [(reader.line_num, row) for row in reader]
