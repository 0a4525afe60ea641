"""From cells to the numbers, moments and categories that they hold, and what cannot be read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxnet.data.schema import Column
from jaxnet.data.tables import dates, numbers
from jaxnet.data.tables.kinds import distinct, is_moment, moments_of, place
from jaxnet.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST = float(np.finfo(np.float32).max)


class Values(NamedTuple):
    """What the cells of a column hold.

    Attributes:
        each: (rows,) float64 numbers, datetime64[s] moments, or places among the names; NaN, NaT or
            -1 where there is no value.
        gaps: (rows,) whether the cell is a gap; None where none is.
        names: the distinct texts of categories in order; () for others.
        refused: why cells cannot be read, by their row from 0.
    """

    each: np.ndarray
    gaps: np.ndarray | None
    names: Sequence[str] = ()
    refused: Mapping[int, str] = MappingProxyType({})


def values_of(column: Column, columns: "dict[str, pa.ChunkedArray]") -> Values:
    """The numbers, moments or categories of a column.

    Args:
        column: what the column is.
        columns: the columns of the table by name.

    Returns:
        The Values.

    Raises:
        InputError: where all cells are of another type.
    """
    cells = columns[column.name]
    if column.categories is not None:
        codes, names = distinct(cells)
        return Values(codes, codes < 0 if cells.null_count else None, names)
    if column.dates is None:
        return _numbers(column, columns)
    if is_moment(cells):
        moments = moments_of(cells)
        return Values(moments, np.isnat(moments) if cells.null_count else None)
    order = column.dates.order

    def read(texts: Sequence[str]) -> np.ndarray | None:
        return dates.moments_in(order, texts)

    held = _read_alike(column.name, columns, read, "dates", "write them as 2024-03-15")
    return held._replace(each=held.each.astype("datetime64[s]"))


def values_of_texts(
    columns: Iterable[Column], cells: "dict[str, pa.ChunkedArray]"
) -> dict[str, Values]:
    """What columns hold whose cells are text, which takes longer to read than numbers.

    Args:
        columns: what columns are.
        cells: the columns of the table by name.

    Returns:
        The Values by name.
    """
    import pyarrow as pa

    return {
        column.name: values_of(column, cells)
        for column in columns
        if pa.types.is_string(cells[column.name].type)
    }


def _numbers(column: Column, columns: "dict[str, pa.ChunkedArray]") -> Values:
    import pyarrow as pa

    cells = columns[column.name]
    if pa.types.is_string(cells.type):
        decimal, unit = getattr(columns, "decimal", "."), column.unit

        def read(texts: Sequence[str]) -> np.ndarray | None:
            return numbers.values_in(unit, texts, decimal)

        wanted = f"numbers in {unit}" if unit else "numbers"
        cure = "write numbers in one form, such as 1250.5"
        held = _read_alike(column.name, columns, read, wanted, cure)
    elif pa.types.is_time(cells.type):  # in hours
        ticks = cells.cast(pa.time64("ns")).cast(pa.int64()).cast(pa.float64(), safe=False)
        held = Values(ticks.to_numpy() / 3.6e12, None)
    elif pa.types.is_temporal(cells.type) or pa.types.is_nested(cells.type):
        raise InputError(
            f"column {column.name!r} should hold numbers, but is of type {cells.type}; write "
            "numbers"
        )
    else:
        held = Values(cells.cast(pa.float64(), safe=False).to_numpy(), None)
    return _finite(held, column.name, columns)


def _finite(held: Values, name: str, columns: "dict[str, pa.ChunkedArray]") -> Values:
    """Values in which NaN is a gap, and what is beyond float32 is refused."""
    found = held.each
    if not len(found) or max(-found.min(), found.max()) <= LARGEST:  # false for NaN
        return held
    gaps = np.isnan(found)
    gaps[[*held.refused]] = False
    refused = dict(held.refused)
    for row in np.flatnonzero(np.abs(found) > LARGEST):
        what = "no finite number" if not np.isfinite(found[row]) else "beyond float32"
        refused[int(row)] = (
            f"column {name!r} holds {found[row]:g} in {place(columns, int(row))}; that is "
            f"{what}: remove the row, or write another number"
        )
    if len(refused) > len(held.refused):
        found = np.where(np.abs(found) > LARGEST, np.nan, found)
    return Values(found, gaps if gaps.any() else None, refused=refused)


def _read_alike(
    name: str,
    columns: "dict[str, pa.ChunkedArray]",
    read: Callable[[Sequence[str]], np.ndarray | None],
    wanted: str,
    cure: str,
) -> Values:
    """The values of texts that are read in one form; what alone is in none is refused, and all of
    them where they are in several.
    """
    codes, names = distinct(columns[name])
    found, strange = read(names), np.zeros(len(names), bool)
    if found is None and names:
        strange = np.array([read([each]) is None for each in names])
        found = read([each for each, odd in zip(names, strange, strict=True) if not odd])
        strange |= found is None
    found = np.zeros(0) if found is None else found
    values = np.full(len(names) + 1, np.nan).astype(found.dtype)  # the last place is that of a gap
    values[:-1][~strange] = found
    refused = {
        int(row): f"column {name!r} should hold {wanted}, but has {names[codes[row]]!r} in "
        f"{place(columns, int(row))}; {cure}"
        for row in np.flatnonzero(np.append(strange, False)[codes])
    }
    return Values(values[codes], codes < 0 if columns[name].null_count else None, (), refused)


def numbers_in(column: Column, columns: "dict[str, pa.ChunkedArray]") -> np.ndarray:
    """The numbers of a column.

    Args:
        column: the column, with its unit.
        columns: the columns of the table by name.

    Returns:
        (rows,) float64; NaN in a gap.

    Raises:
        InputError: for text, another unit, and numbers beyond float32.
    """
    held = _numbers(column, columns)
    if held.refused:
        raise InputError(held.refused[min(held.refused)])
    return held.each
