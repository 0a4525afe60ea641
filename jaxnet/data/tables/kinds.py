"""From cells to kinds of columns: numbers, dates, categories and identifiers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxnet.data.schema import Column, Dates
from jaxnet.data.tables import dates, numbers
from jaxnet.data.tables.cells import Cells
from jaxnet.data.tables.identifiers import (
    DIGITS,
    FEW_VALUES,
    MOST_CATEGORIES,
    Identifier,
    are_codes,
    identifier,
)
from jaxnet.data.tables.problems import Problem, Refused
from jaxnet.data.tables.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

LISTED = 5  # names of columns in a note
MOST_WORDS = 3  # that may mean a gap in a column of numbers


class Kinds(NamedTuple):
    """What the columns of a table become.

    Attributes:
        columns: the columns that become inputs.
        left_out: why other columns are left out, by name.
        notes: what was decided.
        problems: why columns cannot be used that are neither.
    """

    columns: tuple[Column, ...]
    left_out: dict[str, str]
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]


def identifiers_of(cells: Cells, names: Sequence[str], table: Table) -> dict[str, Identifier]:
    """The columns that are identifiers; none where nothing else could become inputs.

    Args:
        cells: the columns of the table.
        names: those that may become inputs.
        table: what is known beforehand.

    Returns:
        The Identifiers by name.
    """
    empty = {name for name in names if cells[name].null_count == len(cells[name])}
    dropped = {name for name, kind in table.types.items() if kind == "drop"}
    found = {
        name: each
        for name in names
        if name not in table.types and (each := identifier(name, cells[name], cells.decimal))
    }
    return found if len(found) < len({*names} - empty - dropped) else {}


def kinds_of(
    cells: Cells, names: Sequence[str], table: Table, identifiers: Mapping[str, Identifier]
) -> Kinds:
    """Decide what columns become.

    Args:
        cells: the columns of the table.
        names: those that may become inputs.
        table: what is known beforehand.
        identifiers: the columns that are left out as such.

    Returns:
        The Kinds, before anything is learned from rows: categories are all that occur, and dates
        have no parts.
    """
    left_out = {
        name: "it has no values" for name in names if cells[name].null_count == len(cells[name])
    }
    left_out |= {name: "as asked for" for name in names if table.types.get(name) == "drop"}
    left_out |= {name: identifiers[name].why for name in names if name in identifiers}
    columns, notes, problems = [], [], []
    for name in names:
        if name in left_out:
            continue
        try:
            column, note = _column(name, cells, table)
        except Refused as error:
            problems.append(error.problem)
            continue
        columns.append(column)
        notes += [note] if note else []
    return Kinds(tuple(columns), left_out, tuple(notes), tuple(problems))


def described(columns: Sequence[Column], left_out: dict[str, str]) -> str:
    """What columns become, in one line.

    Args:
        columns: those that become inputs.
        left_out: why others are left out, by name.

    Returns:
        Such as "2 columns -> 4 inputs: 'age' (number); 'plan' (3 categories)".
    """
    plain = [column.name for column in columns if column.categories is column.dates is None]
    parts = []
    if plain:
        more = f" and {len(plain) - LISTED} more" if len(plain) > LISTED else ""
        shown = ", ".join(map(repr, plain[:LISTED])) + more
        parts.append(f"{shown} (number{'s' * (len(plain) > 1)})")
    parts += [
        f"{column.name!r} (date: {', '.join(column.dates.parts)})"
        if column.dates is not None
        else f"{column.name!r} ({_count(column)})"
        for column in columns
        if column.categories is not None or column.dates is not None
    ]
    if left_out:
        parts.append(
            "left out: " + ", ".join(f"{name!r} ({why})" for name, why in left_out.items())
        )
    inputs = sum(len(column.inputs) for column in columns)
    count = len(columns) + len(left_out)
    return (
        f"{count} column{'s' * (count != 1)} -> {inputs} input{'s' * (inputs != 1)}: "
        f"{'; '.join(parts)}"
    )


def _count(column: Column) -> str:
    """How many categories a column has."""
    count = len(column.categories or ())
    said = [f"{count} categor{'y' if count == 1 else 'ies'}"]
    said += ["gaps"] * column.missing + ["others"] * column.other
    return ", ".join(said[:-1]) + " and " * (len(said) > 1) + said[-1]


def _column(name: str, cells: Cells, table: Table) -> tuple[Column, str | None]:
    """(the Column that encodes these cells, a note)."""
    import pyarrow as pa

    values, wanted = cells[name], table.types.get(name, cells.types.get(name))
    if is_moment(values):
        if wanted not in (None, "date"):
            values = values.cast(pa.string())
        else:
            return Column(name, dates=Dates("", (), "ymd")), None
    if not pa.types.is_string(values.type) and wanted in (None, "number"):
        return Column(name, unit="h" if pa.types.is_time(values.type) else None), None
    names = _texts(values)
    if wanted != "category":
        if wanted in (None, "number") and not (wanted is None and are_codes(names)):
            found = numbers.numbers_of(names, cells.decimal)
            if found is not None:
                return Column(name, unit=found.form.unit or None), _form_note(name, names, found)
            refuse_mixed(name, cells, always=wanted == "number", missing=table.gaps[1:])
        if wanted in (None, "date"):
            moments = read_dates(name, names, cells, table)
            if moments is not None:
                return Column(name, dates=Dates("", (), moments[1])), None
            if wanted == "date":
                raise Refused(
                    f"column {name!r} holds {names[0]!r}, in a form that is not known for dates; "
                    "write them as 2024-03-15",
                    types={name: "category"},
                )
    return Column(name, tuple(names)), None if wanted else _digits_note(name, names)


def read_dates(
    name: str, names: Sequence[str], cells: Cells, table: Table
) -> tuple[np.ndarray, str] | None:
    """The dates in a column of text.

    Args:
        name: name of the column.
        names: its different texts.
        cells: the columns of the table.
        table: what is known beforehand.

    Returns:
        What `dates.dates_of` gives.

    Raises:
        Refused: where day and month could be either.
    """
    try:
        return dates.dates_of(names, table.dates)
    except dates.UncertainOrder as error:
        raise Refused(
            f"column {name!r} has dates such as {str(error)!r}, in which day or month could come "
            "first; say which with --dates dmy, mdy or ymd (Table(dates=...))",
            dates=_usual_order(cells),
        ) from None


def is_moment(values: "pa.ChunkedArray") -> bool:
    """Whether cells are dates, with or without the time of day.

    Args:
        values: the cells.

    Returns:
        Whether their type is one of dates.
    """
    import pyarrow as pa

    return pa.types.is_temporal(values.type) and not pa.types.is_time(values.type)


def moments_of(values: "pa.ChunkedArray") -> np.ndarray:
    """The cells of a column of dates as moments.

    Args:
        values: the cells.

    Returns:
        (rows,) datetime64[s]; NaT in a gap.
    """
    import pyarrow as pa

    return values.cast(pa.timestamp("s"), safe=False).to_numpy().astype("datetime64[s]")


def _digits_note(name: str, names: list[str]) -> str | None:
    """What to say of text that could be numbers, which only a source with types holds."""
    if not all(DIGITS.fullmatch(each) and str(int(each)) == each for each in names):
        return None
    return (
        f"{name!r} holds text of digits, such as {names[0]!r}, which are taken as categories; if "
        f"they are numbers, say so with --types {name}=number (Table(types={{{name!r}: 'number'}}))"
    )


def _form_note(name: str, names: list[str], found: numbers.Numbers) -> str | None:
    if all(each.lower() in numbers.BOOLEANS for each in names):
        return f"{name!r}: {names[-1]} is 1 and {names[0]} is 0" if len(names) == 2 else None
    place = max(range(len(names)), key=lambda i: len(names[i]))
    return f"{name!r}: {names[place]!r} is read as the number {found.values[place]:.15g}"


def _texts(values: "pa.ChunkedArray") -> list[str]:
    """The distinct values of a column as text, in order."""
    import pyarrow as pa

    return sorted(values.unique().drop_null().cast(pa.string()).to_pylist())


def distinct(values: "pa.ChunkedArray") -> tuple[np.ndarray, list[str]]:
    """The distinct values of a column as text.

    Args:
        values: the cells.

    Returns:
        ((rows,) the number of each cell among the distinct ones, -1 for a gap; these in order).
    """
    import pyarrow as pa

    if not pa.types.is_string(values.type):
        values = values.cast(pa.string())
    encoded = values.combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    order = np.array(sorted(range(len(names)), key=names.__getitem__), int)
    ranks = np.full(len(names) + 1, -1)  # the last place is that of a gap
    ranks[order] = np.arange(len(names))
    return ranks[encoded.indices.fill_null(-1).to_numpy()], [names[i] for i in order]


def refuse_mixed(
    name: str,
    cells: Cells,
    *,
    always: bool = False,
    cure: str = "",
    missing: Sequence[str] | None = None,
) -> None:
    """Refuse text in a column of numbers.

    Args:
        name: name of the column.
        cells: the columns of the table.
        always: whether the column must hold numbers; else it must where most values are numbers.
        cure: what to do; by default, what can be done when a table is loaded.
        missing: the words that mean a gap, if others may be proposed for it.

    Raises:
        InputError: it names the first such cell.
    """
    values = cells[name]
    names = _texts(values)
    are = numbers.are_numbers(names)
    if not are.all() and (always or are.mean() >= 0.5):
        codes, _ = distinct(values)
        odd = np.flatnonzero(np.append(~are, False)[codes])  # the last place is that of a gap
        raise Refused(
            f"column {name!r} mixes numbers and text: {odd.size} value"
            f"{'s are not numbers' if odd.size > 1 else ' is not a number'}, the first "
            f"{names[codes[odd[0]]]!r} in {place(cells, int(odd[0]))}"
            + (
                cure
                or "; fix them, or let such a word mean a gap with --missing, or leave the column "
                f"out with --drop-columns {name!r} (drop_columns=), or take it as categories with "
                f"--types {name}=category"
            ),
            **_cure(name, names, are, missing),
        )
    if are.all():
        strange = next((each for each in names if not DIGITS.fullmatch(each)), names[0])
        raise Refused(
            f"column {name!r} holds numbers in a form that was not understood, such as "
            f"{strange!r}; write all of them with one decimal sign and in one form",
            **_cure(name, names, are, None),
        )


def _cure(
    name: str, names: Sequence[str], are: np.ndarray, missing: Sequence[str] | None
) -> dict[str, Any]:
    """The option with which a column of numbers and text can be used: a few words among many
    numbers probably mean a gap; few values are categories; else the column is left out.
    """
    odd = [each for each, is_number in zip(names, are, strict=True) if not is_number]
    plain = not any(each.startswith("-") and each != "-" for each in odd)
    if missing is not None and plain and len(odd) <= MOST_WORDS and are.sum() > FEW_VALUES:
        return {"missing": (*missing, *odd)}
    few = len(names) <= MOST_CATEGORIES
    return {"types": {name: "category"}} if few else {"drop_columns": (name,)}


def _usual_order(cells: Cells) -> str:
    """Whether day or month comes first in most columns of dates that tell it; else the day."""
    import pyarrow as pa

    found = []
    for values in cells.values():
        texts = values.unique().drop_null() if pa.types.is_string(values.type) else ()
        try:
            moments = dates.dates_of([each.as_py() for each in texts], None)
        except dates.UncertainOrder:
            continue
        found += [moments[1]] if moments is not None and moments[1] != "ymd" else []
    return max(("dmy", "mdy"), key=found.count)


def place(cells: dict, row: int) -> str:
    """Where a row stands: its line as a spreadsheet shows it, or its number where it has no line.

    Args:
        cells: the columns of the table.
        row: number of the row from 0.

    Returns:
        Such as "line 1,204", or "row 1,202 (the first is row 0)".
    """
    kept, first = getattr(cells, "kept", None), getattr(cells, "first_line", 2)
    row = row if kept is None else int(kept[row])
    return f"row {row:,} (the first is row 0)" if first is None else f"line {row + first:,}"
