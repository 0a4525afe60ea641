"""From text to cells: the separator, the decimal sign, comments and names of columns."""

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jaxnet.data.tables.table import Table

SEPARATORS = (";", "\t", ",", "|")
NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
COMMA_NUMBER = re.compile(r"\s*[-+]?\d+,\d+([eE][-+]?\d+)?\s*")
WHOLE_NUMBER = re.compile(r"\s*[-+]?\d+\s*")
DIGIT = re.compile(r"\d")
FEWEST_BELOW = 3  # cells below a number that settle that it stands above text
ROWS = 100  # rows from which the dialect is inferred
CELLS = 500  # cells that are searched for other separators
SEPARATOR_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # as spreadsheets write and read it


@dataclass(frozen=True)
class Dialect:
    """The format of a text table.

    Attributes:
        separator: character between columns; " " stands for any number of spaces.
        decimal: decimal point or comma.
        header: whether a line has the names of the columns.
        names: the names of the columns; f0, f1, ... without a header.
        skip: lines above the first row, with line breaks in quotes counted.
        first_line: line of the first row as a spreadsheet counts.
        notes: what was decided.
        gaps: what a cell without a value holds.
    """

    separator: str
    decimal: str
    header: bool
    names: tuple[str, ...]
    skip: int
    first_line: int
    notes: tuple[str, ...]
    gaps: tuple[str, ...]


class Record(NamedTuple):
    """A row of cells, and the number of lines up to its end."""

    cells: list[str]
    end: int


def dialect_of(head: str, whole: bool, table: Table) -> Dialect:
    """Infer the dialect of a table from its first lines.

    Args:
        head: the first lines.
        whole: whether they are all lines, so that the last one is complete.
        table: what is known beforehand.

    Returns:
        The Dialect.
    """
    lines = head.splitlines(keepends=True)
    given = SEPARATOR_LINE.fullmatch(lines[0]) if lines else None
    above = 1 if given else 0
    comments = _comments(lines[above:])
    body = "".join(lines[above + comments :])
    known = table.separator or (given[1] if given else None)
    separator, records = (
        _separator(body, whole) if known is None else (known, _records(body, known, whole, ROWS))
    )
    cells = [each.cells for each in records]
    decimal = table.decimal or _decimal(cells[1:] or cells, separator)
    comment = lines[above + comments - 1].lstrip("#% ").strip() if comments else ""
    names = next((each.cells for each in _records(comment, separator, True)), [])
    named_above = (
        bool(comments) and len(cells) > 1 and len(names) == len(cells[0]) > 1
        if table.header is None
        else False
    )
    if named_above and not _is_header(cells, decimal, table.gaps):
        header, end = True, 0  # as numpy.savetxt writes it
    else:
        header = _is_header(cells, decimal, table.gaps) if table.header is None else table.header
        names, end = (cells[0], records[0].end) if header and records else ([], 0)
        named_above = False
    names = [name.strip() for name in names] or [f"f{i}" for i in range(len(cells[0]))]
    notes = [
        f"read with {'spaces' if separator == ' ' else repr(separator)} between columns"
        + " and a decimal comma" * (decimal == ",")
    ]
    skipped = comments - named_above
    if skipped:
        notes.append(f"left out: {skipped} comment line{'s' * (skipped > 1)} at the top")
    if not header and table.header is None:
        notes.append(
            "the first line is data, so columns are named f0, f1, ...; if it holds names, say so "
            "with --header (Table(header=True))"
        )
    elif header and table.header is None and not named_above and _is_doubtful(cells):
        notes.append(
            "the first line was taken for the names of the columns; if it is data, say so with "
            "--no-header (Table(header=False))"
        )
    top = above + comments
    return Dialect(
        separator,
        decimal,
        header,
        tuple(names),
        top + end,
        top + 1 + bool(end),
        tuple(notes),
        table.gaps,
    )


def spaces_to_tabs(text: str) -> str:
    """A table with spaces between columns as one with tabs, line by line."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", lineterminator="\n")
    writer.writerows(each.cells for each in _records(text, " ", True))
    return out.getvalue()


def _records(text: str, separator: str, whole: bool, most: int | None = None) -> list[Record]:
    """The rows of cells of a text that are complete, or the first of those that hold something;
    none where the separator cannot be right.
    """
    if separator == " ":
        text = re.sub(r"^[ \t]+|[ \t]+$", "", text, flags=re.MULTILINE).replace("\t", " ")
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=separator == " "
    )
    rows = (Record(cells, reader.line_num) for cells in reader)
    if most is not None:
        rows = itertools.islice((row for row in rows if any(row.cells)), most + 1)
    try:
        records = list(rows)
    except csv.Error:  # a cell of more than 128 KiB
        return []
    cut = not whole or (most is not None and len(records) > most)
    return records[:-1] if cut else records


def _comments(lines: list[str]) -> int:
    """The number of comment lines at the top, if rows follow."""
    count = next((i for i, line in enumerate(lines) if not line.startswith("#")), 0)
    if count and len(lines) > count + 1:
        # "#id,name" above rows with as many cells names the columns
        rest = "".join(lines[count - 1 : count + ROWS])
        tops = [_records(rest, separator, False, 2) for separator in SEPARATORS]
        widths = [[len(each.cells) for each in records] for records in tops]
        if not rest.startswith("# ") and any(
            len(each) == 2 and each[0] == each[1] > 1 for each in widths
        ):
            return count - 1
    return count


def _separator(body: str, whole: bool) -> tuple[str, list[Record]]:
    """(the separator that divides every row into equally many cells, of which most are numbers or
    hold no other separator; the first rows).
    """
    scores: dict[tuple[bool, float, int], tuple[str, list[Record]]] = {}
    for separator in SEPARATORS:
        if separator not in body:
            continue
        records = _records(body, separator, whole, ROWS)
        score = _score([each.cells for each in records], separator)
        if score[:2] == (True, 1.0):  # all others leave this one within cells
            return separator, records
        scores.setdefault(score, (separator, records))
    best = max(scores, default=(False, 0.0, 0))
    if best[2] > 1:
        return scores[best]
    spaced = _records(body, " ", whole, ROWS)
    if _score([each.cells for each in spaced], " ")[0]:
        return " ", spaced
    return ",", _records(body, ",", whole, ROWS)


def _score(rows: list[list[str]], separator: str) -> tuple[bool, float, int]:
    """(whether all rows have equally many cells, more than one; the share of cells that are numbers
    or hold no other separator; the cells of the first row).
    """
    counts = Counter(map(len, rows))
    if not rows or counts.keys() == {1}:
        return False, 0.0, 0
    if len(counts) > 1:  # the header says how many cells there should be
        return False, 0.0, len(rows[0])
    other = re.compile(f"[{re.escape(''.join(SEPARATORS).replace(separator, ''))}]")
    cells = [cell for row in rows for cell in row][:CELLS]
    unclean = sum(
        other.search(cell) is not None
        and not COMMA_NUMBER.fullmatch(cell)
        and not NUMBER.fullmatch(cell)
        for cell in cells
    )
    return True, 1 - unclean / len(cells), len(rows[0])


def _decimal(rows: list[list[str]], separator: str) -> str:
    fields = [field for row in rows for field in row]
    comma = separator != "," and any(COMMA_NUMBER.fullmatch(field) for field in fields)
    point = comma and any("." in field and NUMBER.fullmatch(field) for field in fields)
    return "," if comma and not point else "."


def _value(cell: str, decimal: str) -> float | None:
    """The number in a cell, if there is one."""
    if decimal == "," and COMMA_NUMBER.fullmatch(cell):
        return float(cell.replace(",", "."))
    return float(cell) if NUMBER.fullmatch(cell) else None


def _is_header(rows: list[list[str]], decimal: str, gaps: Sequence[str]) -> bool:
    """Whether the first row names columns.

    Names are unlike the cells below them: text above numbers, a number above text, or one that is
    far from those below, or a whole number above numbers with decimal places; and numbers that
    name columns rise, often in equal steps. Cells of a first example occur among those below, or
    are written as they are, such as dates.
    """
    first = rows[0]
    rest = [row for row in rows[1:] if len(row) == 1 or row != first]
    values = [_value(cell, decimal) for cell in first]
    if not rest:
        return all(value is None for value in values)
    below = [[row[i].strip() for row in rest if i < len(row)] for i in range(len(first))]
    below = [[cell for cell in column if cell not in gaps] for column in below]
    text = [i for i, value in enumerate(values) if value is None and first[i].strip()]
    if not first[0].strip() and below[0] == [*map(str, range(len(rest)))]:
        return True  # as pandas writes its row labels
    numbers = [value for value in values if value is not None]
    if not numbers and any(
        below[i] and all(_value(cell, decimal) is not None for cell in below[i])
        for i in text
        if first[i].strip() not in gaps
    ):
        return True
    repeated = [i for i in text if _is_like(first[i].strip(), below[i])]
    if not numbers:
        return len(repeated) < max(1, len(text) / 2)
    if repeated or any(first[i].strip() in gaps for i in text):
        return False
    unlike = sum(_is_unlike(first[i], values[i], below[i], decimal) for i in range(len(first)))
    above_text = any(
        value is not None
        and len(cells) >= FEWEST_BELOW
        and all(_value(cell, decimal) is None for cell in cells)
        for value, cells in zip(values, below, strict=True)
    )
    named = sum(bool(cell.strip()) for cell in first)
    rises = all(np.diff(numbers) > 0) or all(np.diff(numbers) < 0)
    return (
        _are_in_steps(numbers, first, below)
        or (unlike >= 1 and _count(numbers))
        or (rises and (above_text or unlike > named / 2))
    )


def _is_like(cell: str, below: Sequence[str]) -> bool:
    """Whether a text is a value of the column below it, or is written as one is but for digits."""
    if cell in below:
        return True
    form = DIGIT.sub("0", cell)
    return form != cell and form in {DIGIT.sub("0", each) for each in below}


def _count(numbers: list[float]) -> bool:
    """Whether numbers are whole and rise in equal steps."""
    steps = np.diff(numbers)
    whole = all(value == round(value) for value in numbers)
    return whole and len(steps) > 0 and bool((steps == steps[0]).all() and steps[0] >= 1)


def _are_in_steps(numbers: list[float], first: list[str], below: list[list[str]]) -> bool:
    """Whether four numbers or more rise in equal steps, and none is a value of its column."""
    steps = np.diff(numbers)
    if len(steps) < 3 or not steps[0] > 0 or not np.allclose(steps, steps[0], rtol=1e-6, atol=0):
        return False
    return not any(cell.strip() in cells for cell, cells in zip(first, below, strict=True))


def _is_unlike(cell: str, value: float | None, below: Sequence[str], decimal: str) -> bool:
    """Whether a cell is no value of the column below it."""
    numbers = [number for each in below if (number := _value(each, decimal)) is not None]
    if not below or not cell.strip():
        return False
    if value is None:  # text above numbers, above dates and the like, or above frequent texts
        written = not DIGIT.search(cell) and all(map(DIGIT.search, below))
        return written or len(numbers) == len(below) or len(below) >= 3 * len(set(below))
    if len(numbers) < len(below) / 2:
        return not numbers
    if WHOLE_NUMBER.fullmatch(cell):
        decimals = sum(not WHOLE_NUMBER.fullmatch(each) for each in below)
        if decimals > 0.9 * len(below):
            return True
    low, high = min(numbers), max(numbers)
    return max(low - value, value - high) > high - low


def _is_doubtful(rows: list[list[str]]) -> bool:
    """Whether nothing but words tells the names of columns from the first example."""
    cells = [cell for row in rows[1:] for cell in row]
    return not any(NUMBER.fullmatch(cell) or COMMA_NUMBER.fullmatch(cell) for cell in cells)
