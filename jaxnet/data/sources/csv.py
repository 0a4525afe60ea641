"""Read tables from files as people have them: each row is an example.

The steps are in `jaxnet.data.tables`: what is not given with a `Table` is inferred from the file.
Gaps are never filled here.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from jaxnet.data import checks
from jaxnet.data.dataset import Dataset, Splits
from jaxnet.data.schema import Column
from jaxnet.data.sources.request import Reading
from jaxnet.data.splitting import complete, grouped, partition
from jaxnet.data.tables import numbers
from jaxnet.data.tables.cells import Cells, read_cells
from jaxnet.data.tables.frames import FRAME, cells_of_frame, cells_of_parquet
from jaxnet.data.tables.inputs import encode as encode
from jaxnet.data.tables.inputs import refuse_gaps
from jaxnet.data.tables.kinds import are_codes, distinct, kinds_of, refuse_mixed
from jaxnet.data.tables.table import Table
from jaxnet.data.tables.values import numbers_in
from jaxnet.errors import InputError, near
from jaxnet.typing import Frame


def splits_of_table(path: Path, reading: Reading) -> Splits:
    """Splits of a table: each row is an example, each column becomes inputs, and one is the label.

    Args:
        path: the file.
        reading: what `load` was asked for; without a label, the last column is the label.

    Returns:
        The Splits.

    Raises:
        InputError: for gaps, mixed columns and the like, with column, line and fix.
    """
    reading.refuse(path, "image_size", "data_dir")
    cells, _ = read_table(path, reading.table, labels=reading.named, needed=reading.needs)
    return _splits(path, path.name, cells, reading)


def splits_of_frame(frame: Frame, reading: Reading) -> Splits:
    """Splits of a data frame, as `splits_of_table` makes them of a file.

    Args:
        frame: the data frame.
        reading: what `load` was asked for; without a label, the last column is the label.

    Returns:
        The Splits.

    Raises:
        InputError: as in `splits_of_table`, with the numbers of rows from 0.
    """
    reading.refuse(f"a {FRAME}", "image_size", "data_dir")
    cells = cells_of_frame(frame, reading.table, labels=reading.named, needed=reading.needs)
    return _splits(FRAME, FRAME, cells, reading)


def _splits(path: Path | str, title: str, cells: Cells, reading: Reading) -> Splits:
    """Splits of the columns of a table. path: the file, for messages; title: name of the data."""
    table, notes = reading.table, cells.notes
    for wanted in (
        reading.label,
        reading.groups,
        reading.order,
        *reading.drop_columns,
        *table.types,
    ):
        if wanted is not None and wanted not in cells:
            raise InputError(
                f"{path}: has no column {wanted!r}{near(wanted, cells, 'its columns are')}"
                + _on_header(notes)
            )
    used = [name for name in cells if name not in reading.drop_columns]
    label = label_of(used, reading.label, (reading.groups, reading.order))
    if label is None or label in (reading.groups, reading.order, *reading.drop_columns):
        raise InputError(
            f"{path}: the label column {label!r} is used otherwise; name another with --label "
            "(label=)"
        )
    names = [name for name in used if name not in (label, reading.groups, reading.order)]
    if not names:
        raise InputError(
            f"{path}: has no column beside the label {label!r}; it needs at least one to learn from"
        )
    refuse_gaps(path, {label: cells[label]})
    y, classes, task = _label(path, label, cells, reading)
    groups, order = (
        None if name is None else _plain(path, name, cells)
        for name in (reading.groups, reading.order)
    )

    def learned() -> np.ndarray:
        """The rows of training and validation set."""
        whole = Dataset(np.zeros((len(y), 0), np.float32), y, classes)
        fractions = (reading.test, reading.validation)
        _, *rows = partition(grouped(whole, groups), fractions, reading.seed, order=order)
        return np.sort(np.concatenate(rows))

    checks.fractions(reading.validation, reading.test, reading.seed)
    kinds = kinds_of(path, cells, names, table, learned)
    if not kinds.columns:
        raise InputError(
            f"{path}: no column is left to learn from beside the label {label!r}: "
            + "; ".join(f"{name!r} {why}" for name, why in kinds.left_out.items())
        )
    refuse_gaps(path, {column.name: cells[column.name] for column in kinds.columns})
    encoded = encode(kinds.columns, cells, path, strict=False)
    if encoded.refused:
        raise InputError(f"{path}: {next(iter(encoded.refused.values()))}")
    data = checks.dataset(encoded.x, y, classes=classes, where=str(path))
    data = replace(data, schema=replace(data.schema, columns=kinds.columns))
    return complete(
        {"train": grouped(data, groups)},
        reading,
        name=title,
        where=str(path),
        notes=(*notes, *kinds.notes, f"label: {label!r}", task),
        order=order,
    )


def label_of(
    names: Collection[str], label: str | None, others: Collection[str | None]
) -> str | None:
    """The column to learn.

    Args:
        names: the columns of a table that are used, in their order.
        label: the one that was named.
        others: names of columns that are used otherwise.

    Returns:
        Its name: by default that of the last column; None where no column is left.
    """
    return label or next((name for name in reversed([*names]) if name not in others), None)


def read_table(
    path: Path,
    table: Table | None = None,
    texts: Collection[str] = (),
    *,
    labels: Collection[str] = (),
    needed: Callable[[str], bool] = bool,
) -> tuple[Cells, tuple[str, ...]]:
    """Read the columns of a table.

    Args:
        path: the file.
        table: what is known beforehand.
        texts: names of columns that are read as text, whatever they hold.
        labels: names of row labels that are columns, too, in a file that pandas wrote.
        needed: which columns, by name, must be readable where types are stored with them.

    Returns:
        (the columns by name; notes on what was decided).

    Raises:
        InputError: for what is not a table.
    """
    if path.suffix.lower() == ".parquet":
        cells = cells_of_parquet(path, table, texts=texts, labels=labels, needed=needed)
    else:
        cells = read_cells(path, Table() if table is None else table, texts)
    return cells, cells.notes


def _on_header(notes: tuple[str, ...]) -> str:
    """The end of a message on a column that is not there."""
    return next((f"; {note}" for note in notes if note.startswith("the first line")), "")


def _label(
    path: Path | str, name: str, cells: Cells, reading: Reading
) -> tuple[np.ndarray, tuple[str, ...] | None, str]:
    """(class numbers or values, names of the classes, the reason in words)."""
    import pyarrow as pa

    values, wanted = cells[name], reading.table.types.get(name, cells.types.get(name))
    where = f"{path}, column {name!r}"
    if pa.types.is_temporal(values.type):
        raise InputError(
            f"{path}: the label {name!r} holds times; name another column with --label, or give "
            "numbers"
        )
    column = Column(name)
    if pa.types.is_string(values.type):
        codes, names = distinct(values)
        found = None
        if wanted != "category" and not are_codes(names):
            found = numbers.numbers_of(names, cells.decimal)
            if found is None:
                try:
                    refuse_mixed(name, cells)
                except InputError as error:
                    raise InputError(f"{path}: {error}") from None
        booleans = all(each.lower() in numbers.BOOLEANS for each in names)
        if found is None or (booleans and reading.task != "regression"):
            task, why = checks.task([np.array(names)], reading.task, where)
            return codes, tuple(names), f"task: {task}, since {why}"
        column = Column(name, unit=found.form.unit or None)
    try:
        values = numbers_in(column, cells)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    task, why = checks.task([values], reading.task, where)
    why = f"task: {task}, since {why}"
    if column.unit:
        why += f"; the values are in {column.unit}"
    if task == "regression":
        return values, None, why
    different, codes = np.unique(values, return_inverse=True)
    return codes, checks.numbers_as_names(different), why


def _plain(path: Path | str, name: str, cells: Cells) -> np.ndarray:
    """A column as an array to group or order by."""
    import pyarrow as pa

    values = cells[name]
    refuse_gaps(path, {name: values})
    return (
        np.array(values.to_pylist(), dtype=str)
        if pa.types.is_string(values.type)
        else values.to_numpy()
    )
