"""From kinds of columns to inputs: what training and prediction have in common."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxnet.data.schema import MISSING, OTHER, Column
from jaxnet.data.tables import dates
from jaxnet.data.tables.cells import refuse_twice
from jaxnet.data.tables.kinds import place
from jaxnet.data.tables.learned import ROWS_A_CATEGORY
from jaxnet.data.tables.problems import Problem
from jaxnet.data.tables.values import Values, values_of
from jaxnet.errors import InputError, near

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 5  # texts in a message


class Encoded(NamedTuple):
    """The inputs that a table becomes.

    Attributes:
        x: (rows, inputs) float64; NaN in rows that cannot be used.
        notes: what stands in for gaps and for unknown categories, with counts.
        refused: why rows cannot be used, by their number from 0.
    """

    x: Float[np.ndarray, "rows inputs"]
    notes: tuple[str, ...]
    refused: dict[int, str]


def encode(
    encodings: Sequence[Column],
    columns: "dict[str, pa.ChunkedArray]",
    path: Path | str,
    *,
    strict: bool = True,
    read: Mapping[str, Values] = MappingProxyType({}),
) -> Encoded:
    """Encode the columns of a table as inputs: numbers as they are, a 1 or 0 for each category,
    and the parts of dates.

    Columns are found by name, and others are ignored. Each Column says what stands in for gaps and
    for text that is none of its categories.

    Args:
        encodings: the columns in the order of the inputs.
        columns: the columns of the table by name, as `read_table` reads them.
        path: the file, for messages.
        strict: whether to raise where a row cannot be used, or has text that is no category.
        read: what columns hold that were read before, by name.

    Returns:
        The Encoded.

    Raises:
        InputError: for missing columns; if strict, for the first row that is refused.
    """
    if missing := [column.name for column in encodings if column.name not in columns]:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise InputError(
            f"{path}: has no column {', '.join(map(repr, missing[:SHOWN]))}{more}, from which the "
            f"network learned{near(missing[0], columns, 'its columns are')}"
            + on_header(getattr(columns, "notes", ()))
        )
    twice = [each.name for each in encodings if each.name in getattr(columns, "twice", ())]
    refuse_twice(path, 2 * twice)
    rows = len(next(iter(columns.values())))
    x = np.zeros((rows, sum(len(column.inputs) for column in encodings)), np.float64, "F")
    notes: list[str] = []
    refused: dict[int, str] = {}
    first = 0
    for column in encodings:
        width = len(column.inputs)
        try:
            held = read.get(column.name) or values_of(column, columns)
            own = _fill(x[:, first : first + width], column, held, columns, strict=strict)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        notes += own.notes
        for row, why in own.refused.items():
            refused[row] = f"{refused[row]}; {why}" if row in refused else why
        first += width
    x[[*refused]] = np.nan
    return Encoded(x, tuple(notes), dict(sorted(refused.items())))


def on_header(notes: Sequence[str]) -> str:
    """The end of a message on a column that is not there.

    Args:
        notes: what was decided while the table was read.

    Returns:
        What was decided on its first line, or nothing.
    """
    return next((f"; {note}" for note in notes if note.startswith("the first line")), "")


def _fill(
    x: np.ndarray,
    column: Column,
    held: Values,
    columns: "dict[str, pa.ChunkedArray]",
    *,
    strict: bool,
) -> Encoded:
    """Fill the inputs of one column."""
    notes, refused = [], dict(held.refused)
    if held.gaps is not None and column.fill is None:
        for row in map(int, np.flatnonzero(held.gaps)):
            refused[row] = (
                f"column {column.name!r} has no value in {place(columns, row)}, and the "
                "network learned from rows that have one: write a value"
            )
    elif held.gaps is not None:
        notes.append(_on_gaps(column, int(held.gaps.sum()), len(x)))
    if column.categories is not None:
        unknown = _one_hot(x, column, held)
        if unknown.any() and strict:
            row = int(np.flatnonzero(unknown)[0])
            often = f" in {ROWS_A_CATEGORY} rows or more" * column.other
            refused[row] = (
                f"column {column.name!r} has {_texts(held, unknown)} in {place(columns, row)}, "
                f"which the network has not seen{often}; it knows "
                f"{', '.join(map(repr, column.categories))}"
            )
        elif unknown.any():
            notes.append(_on_unknown(column, held, unknown))
    else:
        values = held.each
        if held.gaps is not None and column.fill is not None:
            values = np.where(held.gaps, stand_in(column), values)
        if column.dates is not None:
            x[:, : len(column.dates.parts)] = dates.inputs_of(values, column.dates)
        else:
            x[:, 0] = values
    if column.missing and held.gaps is not None:
        x[:, column.inputs.index(_input(column, MISSING))] = held.gaps
    if strict and refused:
        raise InputError(refused[min(refused)])
    return Encoded(x, tuple(notes), refused)


def _one_hot(x: np.ndarray, column: Column, held: Values) -> np.ndarray:
    """Fill the inputs of categories and of what is none of them; returns which rows have text that
    is none.
    """
    assert column.categories is not None
    known = {name: i for i, name in enumerate(column.categories)}
    # the last place is that of a gap
    places = np.array([*(known.get(name, -1) for name in held.names), -1])[held.each]
    rows = np.flatnonzero(places >= 0)
    x[rows, places[rows]] = 1
    if len(rows) == len(x):
        return np.zeros(len(x), bool)
    gaps = np.zeros(len(x), bool) if held.gaps is None else held.gaps
    if column.other:
        x[:, -1] = (places < 0) & ~(gaps & column.missing)
    return (places < 0) & ~gaps


def stand_in(column: Column) -> float | np.datetime64:
    """What stands in for a gap in a column of numbers or dates.

    Args:
        column: the column, with a fill.

    Returns:
        The number, or the moment.
    """
    assert column.fill is not None
    if column.dates is None:
        return column.fill
    seconds = np.timedelta64(round(column.fill * 86400), "s")
    return np.datetime64(column.dates.first, "s") + seconds


def _input(column: Column, what: str) -> str:
    return f"{column.name}=({what})"


def _rows(count: int, rows: int) -> str:
    return f"{count:,} of {rows:,} rows ha{'s' if count == 1 else 've'}"


def _on_gaps(column: Column, count: int, rows: int) -> str:
    """What stands in for gaps."""
    says = f"{column.name!r}: {_rows(count, rows)} no value: "
    if column.categories is None:
        moment = str(stand_in(column)).replace("T00:00:00", "").replace("T", " ")
        shown = f"{column.fill:.6g}" if column.dates is None else moment
        return (
            f"{says}filled with {shown}"
            + f", and an extra input marks {'these rows' if count > 1 else 'this row'}"
            * column.missing
        )
    if column.missing or column.other:
        what = _input(column, MISSING if column.missing else OTHER)
        return f"{says}the input {what!r} is 1 there"
    return f"{says}all inputs of the column are 0 there"


def _on_unknown(column: Column, held: Values, unknown: np.ndarray) -> str:
    """What stands in for text that is none of the categories."""
    says = f"{column.name!r}: {_rows(int(unknown.sum()), len(unknown))} a category"
    if column.other:
        return (
            f"{says} with fewer than {ROWS_A_CATEGORY} training and validation rows, "
            f"{_texts(held, unknown)}: the input {_input(column, OTHER)!r} is 1 there"
        )
    return (
        f"{says} without training and validation rows, {_texts(held, unknown)}: all inputs "
        "of the column are 0 there"
    )


def _texts(held: Values, rows: np.ndarray) -> str:
    """The different texts in some rows."""
    names = [held.names[i] for i in np.unique(held.each[rows])]
    return ", ".join(map(repr, names[:SHOWN])) + ", ..." * (len(names) > SHOWN)


def gaps_in(columns: "dict[str, pa.ChunkedArray]", words: Sequence[str]) -> list[Problem]:
    """Count missing values where none are allowed.

    Args:
        columns: the columns that may have none, by name.
        words: what a cell without a value holds.

    Returns:
        At most one Problem.
    """
    gaps = {name: values for name, values in columns.items() if values.null_count}
    if not gaps:
        return []
    rows = len(next(iter(gaps.values())))
    each = ", ".join(f"{name!r} {values.null_count} of {rows}" for name, values in gaps.items())
    return [
        Problem(
            f"has missing values, in column {each}; fill them, or remove those rows; "
            + on_gaps(words),
            {"fill": "median"},
        )
    ]


def without_pad(columns: "dict[str, pa.ChunkedArray]") -> list[Problem]:
    """Name the first empty cell among tokens, where nothing fills up sequences.

    Args:
        columns: the columns of the tokens, by name.

    Returns:
        At most one Problem.
    """
    gaps = [name for name, values in columns.items() if values.null_count]
    if not gaps:
        return []
    return [
        Problem(
            f"has empty cells among its tokens, in {len(gaps):,} of {len(columns):,} columns, the "
            f"first of them {gaps[0]!r}; give pad (--pad), the id that fills up shorter sequences, "
            "such as 0 if it stands for nothing else",
            {"pad": 0},
        )
    ]


def on_gaps(words: Sequence[str]) -> str:
    """Which cells are gaps, and how that can be changed.

    Args:
        words: what a cell without a value holds.

    Returns:
        A clause.
    """
    listed = ", ".join(word for word in words if word)
    also = f" and cells with {listed}" if listed else ""
    return (
        f"empty cells{also} count as gaps: where such a word is a value, list the words that mean "
        "a gap with --missing (Table(missing=...))"
    )


def unreadable(columns: Sequence[Column], cells: "dict[str, pa.ChunkedArray]") -> list[Problem]:
    """Look for cells that cannot be read.

    Args:
        columns: what columns are.
        cells: the columns of the table by name.

    Returns:
        A Problem for each column with such cells.
    """
    found = []
    for column in columns:
        if column.name not in cells:
            continue
        try:
            refused = values_of(column, cells).refused
        except InputError as error:
            refused = {0: str(error)}
        if refused:
            more = f" ({len(refused):,} such rows)" if len(refused) > 1 else ""
            why = (
                f"{refused[min(refused)]}{more}, or leave the column out with --drop-columns "
                f"{shlex.quote(column.name)} (drop_columns=)"
            )
            found.append(Problem(why, {"drop_columns": (column.name,)}))
    return found
