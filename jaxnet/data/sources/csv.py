"""Read tables from files as people have them: each row is an example.

The steps are in `jaxnet.data.tables`: what is not given with a `Table` is inferred from the file.
"""

import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxnet.data import checks
from jaxnet.data.dataset import Dataset, Splits
from jaxnet.data.leaks import described as described_leak
from jaxnet.data.leaks import leaks
from jaxnet.data.schema import Column, Schema
from jaxnet.data.sources.labels import Target, leave_out_labels, target_of, targets_of, unlabeled
from jaxnet.data.sources.remedy import or_explain
from jaxnet.data.sources.request import Reading
from jaxnet.data.splitting import complete, grouped, partition, ranks
from jaxnet.data.tables import numbers
from jaxnet.data.tables.cells import Cells, read_cells
from jaxnet.data.tables.frames import FRAME, cells_of_frame, cells_of_parquet
from jaxnet.data.tables.identifiers import Identifier, are_codes, grouping, identifier
from jaxnet.data.tables.inputs import encode as encode
from jaxnet.data.tables.inputs import gaps_in, on_header, unreadable, without_pad
from jaxnet.data.tables.kinds import (
    Kinds,
    described,
    distinct,
    identifiers_of,
    kinds_of,
    read_dates,
)
from jaxnet.data.tables.learned import learn
from jaxnet.data.tables.problems import Problem, Refused, Unusable
from jaxnet.data.tables.sheets import cells_of_sheet
from jaxnet.data.tables.table import Table
from jaxnet.data.tables.values import Values, values_of_texts
from jaxnet.errors import InputError, near
from jaxnet.typing import Frame

if TYPE_CHECKING:
    import pyarrow as pa


class Inputs(NamedTuple):
    """The inputs of a table.

    Attributes:
        x: (rows, inputs) float64.
        columns: the columns that they were made of.
        notes: what was decided.
    """

    x: np.ndarray
    columns: tuple[Column, ...]
    notes: tuple[str, ...]


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

    def read(reading: Reading) -> Splits:
        cells, _ = read_table(
            path, reading.table, _texts(reading), labels=reading.named, needed=reading.needs
        )
        return _splits(path, path.name, cells, reading)

    return or_explain(path, reading, read)


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

    def read(reading: Reading) -> Splits:
        cells = cells_of_frame(
            frame, reading.table, texts=_texts(reading), labels=reading.named, needed=reading.needs
        )
        return _splits(FRAME, FRAME, cells, reading)

    return or_explain(FRAME, reading, read)


def _splits(path: Path | str, title: str, cells: Cells, reading: Reading) -> Splits:
    """Splits of the columns of a table. path: the file, for messages; title: name of the data."""
    labels, names = _columns(path, cells, reading)
    several, label = reading.several, labels[0]
    table, problems = reading.table, _named_twice(cells, reading, labels)
    notes = [*cells.notes]
    if not several:
        notes += leave_out_labels(path, label, cells, reading)
    needed = [*(("label", each) for each in labels)]
    needed += [("group", reading.groups), ("order", reading.order)]
    for each in labels:
        problems += unlabeled(each, cells, reading)
    _, more = _leave_out_gaps(path, cells, needed)
    notes += more
    if several:
        target, more = targets_of(path, labels, cells, reading)
    else:
        target, more = target_of(path, label, cells, reading)
    problems += more
    identifiers = identifiers_of(cells, names, table)
    if target is not None and not (reading.groups or reading.order or reading.ungrouped):
        reading, target, more = _grouped(path, cells, reading, identifiers, target)
        notes += [*more, *_not_grouped_by(cells, reading)]
    names = [name for name in names if name != reading.groups]
    kinds = _kinds(cells, names, table, identifiers)
    problems += kinds.problems
    if reading.fill == "refuse" and table.columns is None:
        used = {column.name: cells[column.name] for column in kinds.columns}
        problems += without_pad(used) if reading.tokens else gaps_in(used, table.gaps)
    order, more = _order(reading.order, cells, table)
    problems += more
    if target is None or problems:
        unusable = [*problems, *unreadable(kinds.columns, cells)]
        raise Unusable(path, unusable, None if several else label)
    y, classes, column, task, *_ = target
    groups = None if reading.groups is None else _plain(cells[reading.groups])
    if groups is not None and classes is not None:
        notes += _never_tested(groups, y, classes, reading.groups)
    rows = _parts(y, target.schema, groups, order, reading)
    inputs = _inputs(path, label, cells, reading, kinds, rows)
    _check_tokens(path, inputs.columns, reading)
    data = checks.dataset(
        inputs.x,
        y,
        classes=target.schema.target_names if several else classes,
        task=target.schema.task if several else None,
        where=str(path),
        kind=reading.inputs,
        pad=reading.pad,
    )
    learned_of = {
        "targets": target.targets,
        "columns": inputs.columns,
        "label": column,
        "grouped_by": reading.groups,
        "missing": None if table.missing is None else tuple(table.missing),
    }
    data = grouped(replace(data, schema=replace(data.schema, **learned_of)), groups)
    leaking = _leaking(data, np.concatenate(rows[1:]))
    return complete(
        {"train": data},
        reading,
        name=title,
        where=str(path),
        notes=(*notes, *inputs.notes, *leaking, _label_note(labels), task),
        order=order,
        rows=rows,
    )


def _check_tokens(path: Path | str, columns: Sequence[Column], reading: Reading) -> None:
    """Raise InputError for columns that are no ids, where inputs are tokens."""
    for column in columns:
        if reading.tokens and len(column.inputs) > 1:
            raise InputError(
                f"{path}: column {column.name!r} becomes the inputs {', '.join(column.inputs[:3])} "
                "..., but tokens are one whole number in each column; number its values, or leave "
                f"it out with --drop-columns {shlex.quote(column.name)} (drop_columns=)"
            )


def _label_note(labels: Sequence[str]) -> str:
    listed = ", ".join(map(repr, labels))
    return f"label{'s' * (len(labels) > 1)}: {listed}"


def _leaking(data: Dataset, rows: np.ndarray) -> tuple[str, ...]:
    """Notes on the columns that almost equal a label."""
    if data.targets is None:
        found = leaks(data, rows)
        return tuple(described_leak(each, regression=data.classes is None) for each in found)
    notes, classes = [], ("no", "yes") if data.schema.multi_label else None
    for name, y in zip(data.schema.target_names, np.asarray(data.y).T, strict=True):
        schema = replace(data.schema, targets=None, multi_label=False, classes=classes)
        found = leaks(replace(data, y=y, schema=schema), rows)
        notes += [f"{name!r}: {described_leak(each, regression=classes is None)}" for each in found]
    return tuple(notes)


def _texts(reading: Reading) -> set[str]:
    """The columns that hold categories of a trained network."""
    return {each.name for each in reading.table.columns or () if each.categories is not None}


def _kinds(
    cells: Cells, names: Sequence[str], table: Table, identifiers: Mapping[str, Identifier]
) -> Kinds:
    """What columns become: the same as for a trained network, where its columns are given."""
    if table.columns is None:
        return kinds_of(cells, names, table, identifiers)
    known = {column.name for column in table.columns}
    left_out = {name: "the network does not know it" for name in names if name not in known}
    return Kinds(table.columns, left_out, (), ())


def _inputs(
    path: Path | str,
    label: str,
    cells: Cells,
    reading: Reading,
    kinds: Kinds,
    rows: Sequence[np.ndarray],
) -> Inputs:
    """The inputs of all rows. rows: those of test, validation and training set."""
    pool = np.sort(np.concatenate(rows[1:]))
    columns, left_out, notes, _ = kinds
    table = reading.table
    read: Mapping[str, Values] = {}
    if table.columns is None:
        read = values_of_texts(columns, cells)
        columns, without = learn(columns, cells, pool, reading.fill, read)
        left_out = left_out | without
    if not columns:
        raise InputError(
            f"{path}: no column is left to learn from beside the label {label!r}: "
            + "; ".join(f"{name!r} {why}" for name, why in left_out.items())
        )
    encoded = encode(columns, cells, path, strict=False, read=read)
    if encoded.refused:
        first = Problem(next(iter(encoded.refused.values())), None)
        raise Unusable(path, unreadable(columns, cells) or [first], label)
    notes = (described(columns, left_out), *notes)
    if not reading.tokens:  # whose gaps are the ends of shorter sequences
        notes += encoded.notes
    gaps = any(cells[each.name].null_count for each in columns if each.categories is None)
    if gaps and table.columns is None:
        filled = (
            f"gaps are filled with the id {reading.fill}, as shorter sequences are"
            if reading.tokens
            else f"gaps in numbers and dates are filled with the {reading.fill} of the "
            f"{len(pool):,} training and validation rows"
        )
        notes += (filled,)
    return Inputs(encoded.x, columns, notes)


def _columns(path: Path | str, cells: Cells, reading: Reading) -> tuple[tuple[str, ...], list[str]]:
    """(the labels, the columns that may become inputs), as far as options say so."""
    for wanted in (
        *reading.labels,
        reading.groups,
        reading.order,
        *reading.drop_columns,
        *reading.table.types,
    ):
        if wanted is not None and wanted not in cells:
            raise InputError(
                f"{path}: has no column {wanted!r}{near(wanted, cells, 'its columns are')}"
                + on_header(cells.notes)
            )
    used = [name for name in cells if name not in reading.drop_columns]
    reading.refuse_none(used, str(path))
    labels = reading.labels
    if not labels:
        last = label_of(used, None, (reading.groups, reading.order))
        labels = () if last is None else (last,)
    for label in labels or (None,):
        if label is None or label in (reading.groups, reading.order, *reading.drop_columns):
            raise InputError(
                f"{path}: the label column {label!r} is used otherwise; name another with --label "
                "(label=)"
            )
    names = [name for name in used if name not in (*labels, reading.groups, reading.order)]
    if not names:
        raise InputError(
            f"{path}: has no column beside the label {', '.join(map(repr, labels))}; it needs at "
            "least one to learn from"
        )
    checks.fractions(reading.validation, reading.test, reading.seed)
    return labels, names


def _named_twice(cells: Cells, reading: Reading, labels: Sequence[str]) -> list[Problem]:
    """The names that more than one column has."""
    dropped = {name for name, kind in reading.table.types.items() if kind == "drop"}
    return [
        Problem(
            f"has more than one column named {name!r}; rename all but one, or leave them out with "
            f"--drop-columns {shlex.quote(name)} (drop_columns=)",
            None if name in (*labels, reading.groups, reading.order) else {"drop_columns": (name,)},
        )
        for name in cells.twice
        if name not in dropped and name not in reading.drop_columns
    ]


def _grouped(
    path: Path | str,
    cells: Cells,
    reading: Reading,
    identifiers: Mapping[str, Identifier],
    target: Target,
) -> tuple[Reading, Target, tuple[str, ...]]:
    """Choose an identifier for groups, where one can be, and leave out the rows without it."""
    y = target.y

    def refused(name: str) -> str | None:
        return _undivided(cells[name], y, target.schema, reading)

    chosen, notes = grouping(identifiers, len(y), reading.parts, refused)
    kept, more = _leave_out_gaps(path, cells, [("group", chosen)])
    target = target if kept is None else target._replace(y=y[kept])
    return replace(reading, groups=chosen), target, (*notes, *more)


def _not_grouped_by(cells: Cells, reading: Reading) -> Iterator[str]:
    """Notes on identifiers that repeat and were left out by name, where nothing is grouped."""
    for name in () if reading.groups else reading.drop_columns:
        found = identifier(name, cells[name], cells.decimal)
        if found is not None and found.of_things and found.largest > 1:
            yield (
                f"{name!r} is left out as asked for, and its values repeat: --groups "
                f"{shlex.quote(name)} puts all rows with the same value in the same part"
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
        needed: which columns, by name, must be readable, if each is stored by itself.

    Returns:
        (the columns by name; notes on what was decided).

    Raises:
        InputError: for what is not a table.
    """
    if path.suffix.lower() == ".parquet":
        cells = cells_of_parquet(path, table, texts=texts, labels=labels, needed=needed)
    elif path.suffix.lower() in (".xlsx", ".xlsm"):
        cells = cells_of_sheet(path, table, texts, needed)
    else:
        cells = read_cells(path, Table() if table is None else table, texts)
    return cells, cells.notes


def _parts(
    y: np.ndarray,
    schema: Schema,
    groups: np.ndarray | None,
    order: np.ndarray | None,
    reading: Reading,
) -> list[np.ndarray]:
    """The rows of the test, the validation and the training set."""
    whole = grouped(Dataset(np.zeros((len(y), 0), np.float32), y, schema=schema), groups)
    return partition(whole, (reading.test, reading.validation), reading.seed, order=order)


def _undivided(
    values: "pa.ChunkedArray", y: np.ndarray, schema: Schema, reading: Reading
) -> str | None:
    """Why rows cannot be kept together by the values of a column; None where they can."""
    full, classes = np.asarray(values.is_valid()), schema.classes
    *_, training = _parts(y[full], schema, _plain(values.drop_null()), None, reading)
    lost = np.setdiff1d(np.arange(len(classes or ())), y[full][training])
    if not lost.size:
        return None
    return f"no row with the label {(classes or ())[lost[0]]!r} would be left to learn from"


def _never_tested(
    groups: np.ndarray, y: np.ndarray, classes: tuple[str, ...], name: str | None
) -> tuple[str, ...]:
    """A note on the classes of which all rows are in one group."""
    pairs = np.unique(np.stack([y, ranks(groups, len(y), "groups")]), axis=1)[0]
    alone = np.flatnonzero(np.bincount(pairs, minlength=len(classes)) == 1)
    if not alone.size:
        return ()
    listed = ", ".join(repr(classes[each]) for each in alone[:5]) + ", ..." * (alone.size > 5)
    return (
        f"all rows with the label {listed} have the same {name!r}, so they are in the training "
        "set, and nothing is measured on them",
    )


def _leave_out_gaps(
    path: Path | str, cells: Cells, needed: Sequence[tuple[str, str | None]]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Leave out the rows without a label, group or order value, and say how many there are.

    Args:
        path: the file, for messages.
        cells: the columns of the table, which lose these rows.
        needed: what columns are for, and their names.

    Returns:
        ((rows,) whether each row is kept; None where all are, a note).

    Raises:
        InputError: where no row is left.
    """
    full = {
        (what, name): np.asarray(cells[name].is_valid())
        for what, name in needed
        if name is not None and cells[name].null_count
    }
    if not full:
        return None, ()
    keep = np.logical_and.reduce(list(full.values()))
    rows = len(keep)
    if not keep.any():
        raise InputError(
            f"{path}: no row has a value in {' and '.join(repr(name) for _, name in full)}; "
            "name other columns, or fill the gaps"
        )
    cells.keep(keep)
    each = (
        f"{rows - int(own.sum()):,} without {'an' if what == 'order' else 'a'} {what} ({name!r})"
        for (what, name), own in full.items()
    )
    note = f"left out: {rows - int(keep.sum()):,} of {rows:,} rows, {' and '.join(each)}"
    return keep, (note,)


def _order(name: str | None, cells: Cells, table: Table) -> tuple[np.ndarray | None, list[Problem]]:
    """(a column without gaps as an array to order by: its dates or numbers, where it has them; why
    this cannot be told).
    """
    import pyarrow as pa

    if name is None or not pa.types.is_string(cells[name].type):
        return None if name is None else _plain(cells[name]), []
    codes, names = distinct(cells[name])
    try:
        moments = read_dates(name, names, cells, table)
    except Refused as error:
        return None, [error.problem]
    if moments is not None:
        return moments[0][codes], []
    found = None if are_codes(names) else numbers.numbers_of(names, cells.decimal)
    return codes if found is None else found.values[codes], []


def _plain(values: "pa.ChunkedArray") -> np.ndarray:
    """A column without gaps as an array to group by."""
    import pyarrow as pa

    return distinct(values)[0] if pa.types.is_string(values.type) else values.to_numpy()
