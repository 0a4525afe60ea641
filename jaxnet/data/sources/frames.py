"""New examples for a trained network from a data frame, by the names of its columns."""

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Num

from jaxnet.data.dataset import Dataset
from jaxnet.data.schema import Column, Schema
from jaxnet.data.sources.labels import targets_of
from jaxnet.data.sources.request import Reading
from jaxnet.data.tables.cells import Cells
from jaxnet.data.tables.frames import FRAME, cells_of_frame, numbers_of_frame
from jaxnet.data.tables.inputs import encode
from jaxnet.data.tables.kinds import distinct, place
from jaxnet.data.tables.table import Table
from jaxnet.data.tables.values import numbers_in
from jaxnet.errors import InputError, near
from jaxnet.typing import Frame


def inputs_of_frame(
    frame: Frame, schema: Schema
) -> tuple[Num[np.ndarray, "examples ..."], tuple[str, ...]]:
    """New examples from a data frame, encoded like those that a network was trained on.

    Columns are found by their names, in any order, and others are ignored. For a network that did
    not learn from a table, the columns are its inputs in their order.

    Args:
        frame: the data frame.
        schema: what the inputs of the network mean.

    Returns:
        (examples as the network takes them; what was filled, left out or unknown).

    Raises:
        InputError: for columns that are not there, and for rows that cannot be used.
    """
    if schema.columns is None:
        return numbers_of_frame("x", frame)[0], ()
    cells = _cells(frame, schema.columns, schema)
    x, notes = _encoded(cells, schema.columns)
    return x, () if schema.tokens else notes  # whose gaps are the ends of shorter sequences


def dataset_of_frame(
    frame: Frame, schema: Schema, label: str | None = None, groups: str | None = None
) -> tuple[Dataset, tuple[str, ...]]:
    """Labeled examples from a data frame, for a network that learned from a table.

    Args:
        frame: the data frame.
        schema: what the inputs and labels of the network mean.
        label: the column of the labels; by default the one that the network learned.
        groups: the column to group by; by default the one by which its data were grouped, where the
            frame has it.

    Returns:
        (the Dataset, whose groups are numbers; what was filled, left out or unknown).

    Raises:
        InputError: for columns that are not there, and for labels that are none of its classes.
    """
    if schema.columns is None:
        raise InputError(
            "dataset is a data frame, but the network did not learn from a table; give "
            "jaxnet.Dataset(x, y, run.classes), with classes from 0"
        )
    if schema.targets is not None:
        return _several_of_frame(frame, schema, label, groups)
    column = schema.label if label is None else Column(label)
    if column is None:
        raise InputError(
            "dataset is a data frame, and the run does not say which column was its label; name it "
            "with label="
        )
    if schema.label is not None and column.name == schema.label.name:
        column = schema.label
    asked = [name for name in (groups or schema.grouped_by,) if name is not None]
    texts = {column.name} if schema.classes is not None else set()
    cells = _cells(frame, (*schema.columns, column), schema, texts, asked)
    for name in (column.name, *([] if groups is None else [groups])):
        if name not in cells:
            raise InputError(
                f"{FRAME}: has no column {name!r}{near(name, cells, 'its columns are')}"
            )
    notes = _leave_out_gaps(cells, "label", column.name)
    codes, more = _group_codes(cells, groups or schema.grouped_by)
    notes += more
    y = _labels(column, cells, schema.classes)
    x, more = _encoded(cells, schema.columns)
    return Dataset(x, y, schema=schema, groups=codes), (*notes, *more)


def _group_codes(cells: Cells, grouped_by: str | None) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """(the number of the group of each row; None where there are none, notes)."""
    if grouped_by is None:
        return None, ()
    if grouped_by not in cells:
        return None, (
            f"no column {grouped_by!r}, by which the rows were grouped: each row counts as "
            "independent of the others",
        )
    notes = _leave_out_gaps(cells, "group", grouped_by)
    return distinct(cells[grouped_by])[0], notes


def _several_of_frame(
    frame: Frame, schema: Schema, label: str | None, groups: str | None
) -> tuple[Dataset, tuple[str, ...]]:
    """`dataset_of_frame` for a network that learned several labels or values."""
    if label is not None:
        raise InputError(
            f"label is {label!r}, but the network learned several: "
            f"{', '.join(map(repr, schema.target_names))}; leave it out"
        )
    assert schema.targets is not None
    assert schema.columns is not None
    asked = [name for name in (groups or schema.grouped_by,) if name is not None]
    cells = _cells(frame, (*schema.columns, *schema.targets), schema, (), asked)
    names = schema.target_names
    for name in (*names, *([] if groups is None else [groups])):
        if name not in cells:
            raise InputError(
                f"{FRAME}: has no column {name!r}{near(name, cells, 'its columns are')}"
            )
    notes = ()
    for name in names:
        notes += _leave_out_gaps(cells, "label", name)
    codes, more = _group_codes(cells, groups or schema.grouped_by)
    reading = Reading(task=schema.task)
    found, problems = targets_of(FRAME, names, cells, reading)
    if found is None:
        raise InputError(f"{FRAME}: {problems[0].why}")
    x, encoding = _encoded(cells, schema.columns)
    return Dataset(x, found.y, schema=schema, groups=codes), (*notes, *more, *encoding)


def _cells(
    frame: Frame,
    columns: Sequence[Column],
    schema: Schema,
    texts: Collection[str] = (),
    others: Sequence[str] = (),
) -> Cells:
    """The cells of a data frame; only those of the named columns need be readable."""
    table = Table(missing=schema.missing)
    named = {*(column.name for column in columns), *others}
    own = {column.name for column in columns if column.categories is not None}
    return cells_of_frame(
        frame, table, texts=own.union(texts), labels=named, needed=named.__contains__
    )


def _leave_out_gaps(cells: Cells, what: str, name: str) -> tuple[str, ...]:
    """Leave out the rows without a value in this column, and say how many there are."""
    gaps, rows = cells[name].null_count, len(cells[name])
    if not gaps:
        return ()
    cells.keep(np.asarray(cells[name].is_valid()))
    return (f"left out: {gaps:,} of {rows:,} rows, without a {what} ({name!r})",)


def _encoded(cells: Cells, columns: Sequence[Column]) -> tuple[np.ndarray, tuple[str, ...]]:
    encoded = encode(columns, cells, FRAME, strict=False)
    if why := list(encoded.refused.values()):
        more = f"; {len(why):,} rows cannot be used" if len(why) > 1 else ""
        raise InputError(f"{FRAME}: {why[0]}{more}")
    return encoded.x, encoded.notes


def _labels(column: Column, cells: Cells, classes: tuple[str, ...] | None) -> np.ndarray:
    """(rows,) the number of the class of each row, or its value."""
    if classes is None:
        try:
            return numbers_in(column, cells)
        except InputError as error:
            raise InputError(f"{FRAME}: {error}") from None
    codes, names = distinct(cells[column.name])
    known = {name: number for number, name in enumerate(classes)}
    numbers = np.array([known.get(name, -1) for name in names], np.int32)[codes]
    if (strange := np.flatnonzero(numbers < 0)).size:
        raise InputError(
            f"{FRAME}: the label {column.name!r} is {names[codes[strange[0]]]!r} in "
            f"{place(cells, int(strange[0]))}, which is none of the classes of the network: "
            f"{', '.join(map(repr, classes))}; give one of these, or leave the row out"
        )
    return numbers
