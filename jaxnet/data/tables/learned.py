"""What the rows of training and validation set decide about columns; test rows have no part."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxnet.data.schema import Column
from jaxnet.data.tables import dates
from jaxnet.data.tables.values import Values, values_of

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_A_CATEGORY = 5  # to learn from; text with fewer is no category of its own
SAMPLE = 500  # values between which the median of many is looked for


class Learned(NamedTuple):
    """What columns become, and which cannot be used.

    Attributes:
        columns: the columns that become inputs.
        left_out: why other columns are left out, by name.
    """

    columns: tuple[Column, ...]
    left_out: dict[str, str]


def learn(
    columns: Sequence[Column],
    cells: "dict[str, pa.ChunkedArray]",
    rows: np.ndarray,
    fill: str | int,
    read: Mapping[str, Values],
) -> Learned:
    """Complete columns by what the rows that a network learns from hold: what stands in for gaps,
    the categories, and the parts of dates.

    Text that fewer than 5 of these rows have is no category of its own: all such text is "other".

    Args:
        columns: the kinds of columns.
        cells: the columns of the table by name.
        rows: numbers of the rows that a network learns from.
        fill: "median" or "mean" of these rows stands in for gaps; "refuse" allows none. A number
            stands in itself, without an input that says where gaps were.
        read: what columns hold that were read before, by name.

    Returns:
        The Learned. Columns without a value in these rows are left out.
    """
    found = {
        column.name: _learn(column, read.get(column.name) or values_of(column, cells), rows, fill)
        for column in columns
    }
    return Learned(
        tuple(column for column in found.values() if column is not None),
        {
            name: "it has no values in the rows to learn from"
            for name, column in found.items()
            if column is None
        },
    )


def _learn(column: Column, held: Values, rows: np.ndarray, fill: str | int) -> Column | None:
    """The Column; None where no row has a value."""
    each, refuses = held.each[rows], fill == "refuse"
    told = not refuses and isinstance(fill, str)
    missing = held.gaps is not None and told and bool(held.gaps[rows].any())
    if column.categories is not None:
        counts = np.bincount(each[each >= 0], minlength=len(held.names))
        if not counts.any():
            return None
        return column._replace(
            categories=tuple(
                name
                for name, count in zip(held.names, counts, strict=True)
                if count >= ROWS_A_CATEGORY
            ),
            fill=None if refuses else 0.0,
            missing=missing,
            other=bool(((counts > 0) & (counts < ROWS_A_CATEGORY)).any()),
        )
    if held.gaps is not None:
        each = each[each == each]  # NaN and NaT are not equal to themselves
    if not len(each):
        return None
    if column.dates is not None:
        when = dates.learned(each, column.dates.order)
        column, each = column._replace(dates=when), dates.days_of(each, when)
    match fill:
        case "refuse":
            stands_in = None
        case "mean":
            stands_in = float(each.mean())
        case "median":
            stands_in = median(each)
        case _:
            stands_in = float(fill)
    return column._replace(fill=stands_in, missing=missing)


def median(values: np.ndarray) -> float:
    """The median.

    Args:
        values: (rows,) float64, at least one.

    Returns:
        The value in the middle, or the mean of the two in the middle.
    """
    low, high = (len(values) - 1) // 2, len(values) // 2
    if len(values) < 10 * SAMPLE:
        return float(np.median(values))
    # only what lies between values near the middle of a sample is sorted: half the time
    sample = np.sort(values[:: len(values) // SAMPLE])
    least, most = (sample[int(part * len(sample))] for part in (0.42, 0.58))
    near = values[(values >= least) & (values <= most)]
    below = np.count_nonzero(values < least)
    if not below <= low <= high < below + len(near):
        return float(np.median(values))
    near.partition((low - below, high - below))
    return float((near[low - below] + near[high - below]) / 2)
