"""From kinds of columns to inputs: what training and prediction have in common."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from jaxnet.data.schema import Column
from jaxnet.data.tables import dates, numbers
from jaxnet.data.tables.dialect import GAPS
from jaxnet.data.tables.kinds import distinct, moments_of, place
from jaxnet.errors import InputError, near

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST = float(np.finfo(np.float32).max)


def encode(
    encodings: Sequence[Column], columns: "dict[str, pa.ChunkedArray]", path: Path | str
) -> Float[np.ndarray, "rows inputs"]:
    """Encode the columns of a table as inputs: numbers as they are, a 1 or 0 for each category,
    and the parts of dates.

    Columns are found by name, and others are ignored.

    Args:
        encodings: the columns in the order of the inputs.
        columns: the columns of the table by name, as `read_table` reads them.
        path: the file, for messages.

    Returns:
        (rows, inputs) float64.

    Raises:
        InputError: for gaps, missing columns, unknown categories and what is no number.
    """
    if missing := [column.name for column in encodings if column.name not in columns]:
        raise InputError(
            f"{path}: has no column {missing[0]!r}, from which the network "
            f"learned{near(missing[0], columns, 'its columns are')}"
        )
    refuse_gaps(path, {column.name: columns[column.name] for column in encodings})
    rows = len(next(iter(columns.values())))
    x = np.zeros((rows, sum(len(column.inputs) for column in encodings)), np.float64)
    place = 0
    for column in encodings:
        width = len(column.inputs)
        try:
            _fill(x[:, place : place + width], column, columns)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        place += width
    return x


def _fill(x: np.ndarray, column: Column, columns: "dict[str, pa.ChunkedArray]") -> None:
    """Fill the inputs of one column."""
    values = columns[column.name]
    if column.dates is not None:
        try:
            x[:] = dates.inputs_of(moments_of(values, column.dates.order), column.dates)
        except InputError as error:
            raise InputError(f"column {column.name!r}: {error}") from None
    elif column.categories is not None:
        codes, names = distinct(values)
        known = {name: i for i, name in enumerate(column.categories)}
        places = np.array([known.get(name, -1) for name in names])[codes]
        if (unseen := np.flatnonzero(places < 0)).size:
            strange = sorted({names[codes[row]] for row in unseen})
            raise InputError(
                f"column {column.name!r} has {', '.join(map(repr, strange[:5]))}"
                f"{', ...' if len(strange) > 5 else ''} in {place(columns, int(unseen[0]))}, "
                f"which the network has not seen; it knows "
                f"{', '.join(map(repr, column.categories))}"
            )
        x[np.arange(len(x)), places] = 1
    else:
        x[:, 0] = numbers_in(column, columns)


def numbers_in(column: Column, columns: "dict[str, pa.ChunkedArray]") -> np.ndarray:
    """The numbers of a column.

    Args:
        column: the column, with its unit.
        columns: the columns of the table by name.

    Returns:
        (rows,) float64.

    Raises:
        InputError: for text, another unit, and numbers beyond float32.
    """
    import pyarrow as pa

    name, values = column.name, columns[column.name]
    if pa.types.is_time(values.type):  # in hours
        found = values.cast(pa.time64("ns")).cast(pa.int64()).to_numpy() / 3.6e12
    elif pa.types.is_string(values.type):
        found = _numbers_of_text(column, columns)
    elif pa.types.is_temporal(values.type) or pa.types.is_nested(values.type):
        raise InputError(
            f"column {name!r} should hold numbers, but is of type {values.type}; write numbers"
        )
    else:
        found = values.cast(pa.float64(), safe=False).to_numpy()
    ends = (found.min(), found.max()) if len(found) else (0.0, 0.0)
    if not max(map(abs, ends)) <= LARGEST:
        row = int(np.flatnonzero(~(np.abs(found) <= LARGEST))[0])
        what = "no finite number" if not np.isfinite(found[row]) else "beyond float32"
        raise InputError(
            f"column {name!r} holds {found[row]:g} in {place(columns, row)}; that is {what}: "
            "remove the row, or write another number"
        )
    return found


def _numbers_of_text(column: Column, columns: "dict[str, pa.ChunkedArray]") -> np.ndarray:
    codes, names = distinct(columns[column.name])
    decimal = getattr(columns, "decimal", ".")
    plain = [name.replace(column.unit, "").strip() if column.unit else name for name in names]
    found = numbers.numbers_of(plain, decimal)
    if found is not None and not found.form.unit:
        return found.values[codes]
    alone = [numbers.numbers_of([name], decimal) for name in plain]
    strange = np.array([each is None or bool(each.form.unit) for each in alone])
    rows = np.flatnonzero(strange[codes] if strange.any() else np.ones(len(codes), bool))
    wanted = f"numbers in {column.unit}" if column.unit else "numbers"
    raise InputError(
        f"column {column.name!r} should hold {wanted}, but has {names[codes[rows[0]]]!r} in "
        f"{place(columns, int(rows[0]))}; write numbers in one form, such as 1250.5"
    )


def refuse_gaps(path: Path | str, columns: "dict[str, pa.ChunkedArray]") -> None:
    """Refuse missing values.

    Args:
        path: the file, for messages.
        columns: the columns that may have none, by name.

    Raises:
        InputError: it counts them.
    """
    import pyarrow as pa

    gaps = {name: values for name, values in columns.items() if values.null_count}
    if not gaps:
        return
    rows = len(next(iter(gaps.values())))
    each = ", ".join(f"{name!r} {values.null_count} of {rows}" for name, values in gaps.items())
    text = [pa.types.is_string(values.type) for values in gaps.values()]
    usual = "a column's median is usual" if not any(text) else "text with a word of its own"
    words = ", ".join(word for word in GAPS if word)
    raise InputError(
        f"{path}: has missing values, in column {each}. Fill them ({usual}), remove those rows, or "
        f"leave a column out with --drop-columns (drop_columns=); empty cells and the words "
        f"{words} count as missing, so rename a category that is called so"
    )
