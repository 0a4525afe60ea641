"""Read the cells of a spreadsheet: a sheet becomes text, which is read like that of a CSV file."""

import csv
import datetime
import io
import re
import shlex
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from jaxnet.data.tables.cells import Cells, cells_of_text
from jaxnet.data.tables.table import Table, refuse_unused
from jaxnet.data.tables.text import Text
from jaxnet.errors import InputError, near, near_path

FORMULA = re.compile(rb"<(?:\w+:)?f[ >]")
MERGED = re.compile(rb'<(?:\w+:)?mergeCell ref="[A-Z]+(\d+):[A-Z]+(\d+)"')
LOOKED_AT = 100  # rows from which the width of a table, and what it shows in percent, are seen
LISTED = 5  # names or lines in a message


class Sheet(NamedTuple):
    """The cells of a sheet, as text.

    Attributes:
        rows: the cells of each row up to the last one that is not empty.
        errors: how many cells of each column hold an error such as #N/A, by place.
        percent: places of columns that are shown in percent.
        durations: places of columns that hold durations.
        blank: (row, place) of formulas whose saved value is text without letters.
    """

    rows: list[list[str]]
    errors: Counter[int]
    percent: set[int]
    durations: set[int]
    blank: set[tuple[int, int]]


def cells_of_sheet(
    path: Path,
    table: Table | None = None,
    texts: Collection[str] = (),
    needed: Callable[[str], bool] = bool,
) -> Cells:
    """Read the columns of a sheet.

    Numbers are those that are stored, however they are shown; formulas count by their saved values,
    and errors are gaps.

    Args:
        path: an .xlsx file.
        table: what is known beforehand.
        texts: names of columns that are read as text, whatever they hold.
        needed: which columns, by name, must not have formulas without a saved value.

    Returns:
        The Cells.

    Raises:
        InputError: for what is no spreadsheet, and for formulas without saved values.
    """
    table = Table() if table is None else table
    refuse_unused(table, path, "encoding", "separator")
    if not path.exists():
        raise InputError(f"{path}: no such file{near_path(path)}")
    book = _opened(path, data_only=True)
    sheet, notes = _chosen(path, book, table.sheet)
    found = _read(sheet)
    # openpyxl does not tell an empty cell from a formula without a value, nor what is merged
    with zipfile.ZipFile(path) as archive:
        stored = archive.read(sheet._worksheet_path)
    book.close()
    above = _rows_above(found.rows)
    if not found.rows[above:]:
        raise InputError(f"{path}: the sheet {sheet.title!r} is empty; it needs a header and rows")
    if FORMULA.search(stored):
        _refuse_formulas(path, sheet.title, found, above, needed)
    if above:
        notes.append(f"left out: {above} line{'s' * (above > 1)} above the table")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(found.rows[above:])
    breaks = any("\n" in cell for row in found.rows for cell in row)
    held = Text(path, "utf-8", None, breaks, unpacked=text.getvalue().encode())
    cells = cells_of_text(
        held, replace(table, separator=",", decimal=table.decimal or ".", sheet=None), texts
    )
    assert cells.first_line is not None
    cells.first_line += above
    written = (note for note in cells.notes if not note.startswith("read with"))  # commas of ours
    names = found.rows[above]
    cells.notes = (*notes, *written, *_on_cells(found, names), *_on_merged(stored, above))
    return cells


def _opened(path: Path, *, data_only: bool) -> Any:
    try:
        import openpyxl
    except ImportError:
        raise InputError(
            f"{path}: spreadsheets need the package openpyxl, which is not installed: pip install "
            "openpyxl; or save the sheet as CSV"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on what only matters where a spreadsheet is shown
        try:
            return openpyxl.load_workbook(path, read_only=True, data_only=data_only)
        except Exception as error:  # whatever it raises for a damaged file
            raise InputError(
                f"{path}: not a readable spreadsheet ({type(error).__name__}: {error}); save it "
                "again as .xlsx or CSV, without a password"
            ) from None


def _chosen(path: Path, book: Any, name: str | None) -> tuple[Any, list[str]]:
    """(the sheet with this name, or the first that is not hidden; notes)."""
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    if name is not None:
        if name not in sheets:
            raise InputError(f"{path}: has no sheet {name!r}{near(name, sheets, 'its sheets are')}")
        return sheets[name], []
    shown = [sheet for sheet in sheets.values() if sheet.sheet_state == "visible"]
    if not shown:
        raise InputError(f"{path}: has no sheet with cells; it needs a header and rows")
    if len(shown) == 1:
        return shown[0], []
    others = ", ".join(repr(sheet.title) for sheet in shown[1:][:LISTED])
    return shown[0], [
        f"read from the sheet {shown[0].title!r}, the first of {len(shown)}; name another with "
        f"--sheet (Table(sheet=...)): {others}{', ...' * (len(shown) > LISTED + 1)}"
    ]


def _read(sheet: Any) -> Sheet:
    """The cells of a sheet; all rows have equally many."""
    found = Sheet([], Counter(), set(), set(), set())
    sheet.reset_dimensions()  # those in the file count cells that are formatted and empty
    for number, row in enumerate(sheet.iter_rows()):
        texts = []
        for place, cell in enumerate(row):
            value = cell.value
            if cell.data_type == "e":
                found.errors[place] += 1
                value = None
            elif value is None and cell.data_type == "str":
                found.blank.add((number, place))
            elif isinstance(value, datetime.timedelta):
                found.durations.add(place)
            elif isinstance(value, float) and number < LOOKED_AT and "%" in cell.number_format:
                found.percent.add(place)
            texts.append(_written(value))
        found.rows.append(texts)
    while found.rows and not any(found.rows[-1]):
        found.rows.pop()
    width = max(
        (place for row in found.rows for place, cell in enumerate(row, 1) if cell), default=0
    )
    rows = [(row + [""] * width)[:width] for row in found.rows]
    return found._replace(rows=rows)


def _written(value: Any) -> str:
    """A value as a CSV file holds it."""
    if value is None:
        return ""
    if isinstance(value, datetime.datetime):
        # fractions of seconds come from rounding: days are stored as one number
        value = (value + datetime.timedelta(microseconds=500_000)).replace(microsecond=0)
        return str(value).removesuffix(" 00:00:00")
    if isinstance(value, datetime.timedelta):
        return repr(value.total_seconds() / 3600)
    return str(value)


def _rows_above(rows: Sequence[Sequence[str]]) -> int:
    """The number of rows above a table, such as a title: they fill at most half of its columns, or
    one of them.
    """
    filled = [sum(map(bool, row)) for row in rows[:LOOKED_AT]]
    most = max(filled, default=0)
    return next(
        (above for above, count in enumerate(filled) if count > most / 2 or most == 1 == count),
        len(rows),
    )


def _refuse_formulas(
    path: Path, title: str, found: Sheet, above: int, needed: Callable[[str], bool]
) -> None:
    """Refuse formulas without a saved value."""
    rows = found.rows
    book = _opened(path, data_only=False)
    sheet = book[title]
    sheet.reset_dimensions()
    lines: dict[int, list[int]] = {}
    for number, row in enumerate(sheet.iter_rows(max_row=len(rows))):
        for place, cell in enumerate(row[: len(rows[0])]):
            is_empty = not rows[number][place] and (number, place) not in found.blank
            if cell.data_type == "f" and number >= above and is_empty:
                lines.setdefault(place, []).append(number + 1)
    book.close()
    lines = {place: each for place, each in lines.items() if needed(rows[above][place])}
    if not lines:
        return
    names = [rows[above][place] for place in lines]
    each = ", ".join(
        f"{name!r} (line {', '.join(map(str, on[:LISTED]))}{', ...' * (len(on) > LISTED)})"
        for name, on in zip(names, lines.values(), strict=True)
    )
    raise InputError(
        f"{path}: has formulas without saved values, in column {each}; open it in a spreadsheet "
        "program, which computes them, and save it there, or leave the column out with "
        f"--drop-columns {shlex.join(names)} (drop_columns=)"
    )


def _on_cells(found: Sheet, names: Sequence[str]) -> list[str]:
    """Notes on cells that hold something else than they show."""
    notes = [
        f"{names[place]!r}: {count:,} cell{'s' * (count > 1)} with an error such as #N/A "
        f"{'are gaps' if count > 1 else 'is a gap'}"
        for place, count in sorted(found.errors.items())
        if place < len(names)
    ]
    notes += [
        f"{names[place]!r}: the sheet shows percent, and the numbers are fractions (12% is 0.12)"
        for place in sorted(found.percent)
    ]
    return notes + [
        f"{names[place]!r}: durations are read in hours" for place in sorted(found.durations)
    ]


def _on_merged(stored: bytes, above: int) -> list[str]:
    """A note on cells that are merged with those below them."""
    ranges = [(int(first), int(last)) for first, last in MERGED.findall(stored)]
    inside = [(first, last) for first, last in ranges if last > first and last > above + 1]
    if not inside:
        return []
    first, last = inside[0]
    return [
        f"cells of several lines are merged, the first in lines {first} to {last}: the first line "
        "has their value, and the others have a gap"
    ]
