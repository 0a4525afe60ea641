"""Read the cells of what has types already: data frames and Parquet files.

A data frame is whatever offers its columns by the Arrow PyCapsule protocol, such as those of pandas
and Polars; neither library is imported here.
"""

import os
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Num

from jaxnet.data.tables.cells import (
    LARGEST_WHOLE,
    Cells,
    as_number,
    cells_of,
    functions,
    refuse_twice,
    told_apart,
)
from jaxnet.data.tables.problems import Problem, Unusable
from jaxnet.data.tables.table import Table, refuse_unused
from jaxnet.errors import InputError, near_path
from jaxnet.typing import Frame

if TYPE_CHECKING:
    import pyarrow as pa

FRAME = "data frame"  # what messages say in place of the name of a file
UNNAMED_LABELS = re.compile(r"__index_level_\d+__")  # as pandas names them
WITH_ZONE = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.]\d+)?)?[+-]\d\d:?\d\d$"
ROW_LABELS = "the row labels of pandas"


def cells_of_frame(
    frame: Frame,
    table: Table | None = None,
    *,
    texts: Collection[str] = (),
    labels: Collection[str] = (),
    needed: Callable[[str], bool] = bool,
) -> Cells:
    """Read the columns of a data frame.

    Its row labels, the index of pandas, are left out, unless they are asked for.

    Args:
        frame: the data frame.
        table: what is known beforehand.
        texts: names of columns that are read as text, whatever they hold.
        labels: names of row labels that are columns, too.
        needed: which columns, by name, must be readable; the others are empty where they are not.

    Returns:
        The Cells, whose rows are counted from 0.

    Raises:
        InputError: for columns that cannot be read.
    """
    table = Table() if table is None else table
    return _cells(FRAME, _arrow_of(frame, labels, needed), table, texts, labels, needed)


def numbers_of_frame(
    what: str, frame: Frame
) -> tuple[Num[np.ndarray, "rows columns"], tuple[str, ...]]:
    """The columns of a data frame as an array, where all of them hold numbers.

    Args:
        what: name of the argument, for messages.
        frame: the data frame, whose row labels are left out.

    Returns:
        ((rows, columns) in the narrowest type that all have in common, with NaN in gaps; the names
        of the columns).

    Raises:
        InputError: for other columns.
    """
    import pyarrow as pa

    read = _arrow_of(frame, (), bool)
    refuse_twice(what, read.column_names)
    read = read.drop_columns(list(row_labels(read.schema)))
    others = [
        repr(field.name)
        for field in read.schema
        if not (_is_number(field.type) or pa.types.is_boolean(field.type))
    ]
    if others or not read.column_names:
        held = f"holds columns that are no numbers, {', '.join(others)}" if others else "is empty"
        raise InputError(
            f"{what} is a data frame that {held}; jaxnet.load(frame, label=...) takes text, dates "
            "and gaps, and keeps the names of columns with the network"
        )
    columns = [
        values.cast(pa.float64()) if pa.types.is_decimal(values.type) else values
        for values in read.columns
    ]
    return np.column_stack([values.to_numpy() for values in columns]), tuple(read.column_names)


def cells_of_parquet(
    path: Path,
    table: Table | None = None,
    *,
    texts: Collection[str] = (),
    labels: Collection[str] = (),
    needed: Callable[[str], bool] = bool,
) -> Cells:
    """Read the columns of a Parquet file.

    Args:
        path: the file.
        table: as in `cells_of_frame`.
        texts: as in `cells_of_frame`.
        labels: as in `cells_of_frame`.
        needed: as in `cells_of_frame`.

    Returns:
        The Cells.

    Raises:
        InputError: for what is no Parquet file.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with pa.OSFile(os.fsencode(path)) as file:
            read = parquet.ParquetFile(file).read()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file{near_path(path)}") from None
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path}: not a readable Parquet file ({str(error).splitlines()[0]}); get it again"
        ) from None
    return _cells(path, read, Table() if table is None else table, texts, labels, needed)


def row_labels(schema: "pa.Schema") -> tuple[str, ...]:
    """The columns in which pandas keeps the index of a frame.

    Args:
        schema: the schema of a table, with metadata.

    Returns:
        Their names.
    """
    about = schema.pandas_metadata or {}
    return tuple(name for name in about.get("index_columns", ()) if isinstance(name, str))


def _cells(
    path: Path | str,
    read: "pa.Table",
    table: Table,
    texts: Collection[str],
    labels: Collection[str],
    needed: Callable[[str], bool],
) -> Cells:
    import pyarrow as pa

    refuse_unused(table, path, "encoding", "separator", "header", "sheet")
    left_out = [name for name in row_labels(read.schema) if name not in labels]
    read = read.rename_columns(told_apart(read.column_names))  # without the metadata
    texts = {*texts} | {name for name, kind in table.types.items() if kind == "category"}
    columns, types, problems = {}, {}, []
    notes = [
        "left out: " + ("" if UNNAMED_LABELS.fullmatch(name) else f"{name!r}, ") + ROW_LABELS
        for name in left_out
    ]
    for name, values in zip(read.column_names, read.columns, strict=True):
        if name in left_out:
            continue
        kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
        if not _is_readable(kind):
            if needed(name):
                problems.append(_unread(name, f"is of type {kind}", labels))
            columns[name] = pa.chunked_array([pa.nulls(len(values))])
            continue
        if pa.types.is_dictionary(values.type) and _is_number(kind):
            types[name] = "category"  # whoever makes numbers a categorical wants no numbers
        if pa.types.is_duration(kind):
            notes.append(f"{name!r}: durations are read in hours")
        values = _decoded(values)
        columns[name] = (
            _spelled(values, table.gaps)
            if name in texts or name in types
            else _plain(values, table.gaps)
        )
    if problems:
        raise Unusable(path, problems, None)
    cells = cells_of(path, columns, None, table.decimal or ".", notes)
    cells.types = types
    return cells


def _is_readable(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    text = (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )
    plain = text or pa.types.is_boolean(kind) or pa.types.is_null(kind) or _is_number(kind)
    return plain or pa.types.is_temporal(kind) or pa.types.is_run_end_encoded(kind)


def _decoded(values: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """A column without a dictionary, such as that of a categorical, and with one kind of text."""
    import pyarrow as pa

    kind = values.type
    if pa.types.is_dictionary(kind):
        each = [_as_text(chunk.dictionary).take(chunk.indices) for chunk in values.chunks]
        return pa.chunked_array(each, each[0].type if each else pa.null())
    if pa.types.is_run_end_encoded(kind):
        each = [functions().run_end_decode(chunk) for chunk in values.chunks]
        return _as_text(pa.chunked_array(each, kind.value_type))
    return _as_text(values)


def _as_text(values: Any) -> Any:
    """Text in whatever form Arrow has for it in the one that text files have."""
    import pyarrow as pa

    kind = values.type
    other = pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return values.cast(pa.string()) if other else values


def _is_number(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _plain(values: "pa.ChunkedArray", gaps: Sequence[str]) -> "pa.ChunkedArray":
    """A column in one of the types that text files have; NaN becomes a gap."""
    import pyarrow as pa

    compute, kind = functions(), values.type
    if pa.types.is_boolean(kind):
        return compute.if_else(values, "True", "False")
    if pa.types.is_decimal(kind):
        return values.cast(pa.float64())
    if pa.types.is_duration(kind):
        ticks = values.cast(pa.duration("us"), safe=False).cast(pa.int64())
        return compute.divide(ticks.cast(pa.float64(), safe=False), 3.6e9)
    if pa.types.is_floating(kind):
        values = values.cast(pa.float32()) if pa.types.is_float16(kind) else values
        numbers = compute.invert(compute.is_nan(values))
        return compute.if_else(numbers, values, pa.scalar(None, values.type))
    if pa.types.is_string(kind):
        return _text(values, gaps)
    whole = pa.types.is_integer(kind) and len(values) > values.null_count
    if whole and max(map(abs, compute.min_max(values).as_py().values())) > LARGEST_WHOLE:
        return values.cast(pa.string())
    return values


def _text(values: "pa.ChunkedArray", gaps: Sequence[str]) -> "pa.ChunkedArray":
    """Text without spaces around it, in which a word for a gap is a gap, as in files. Numbers where
    nothing but such a word made text of them, and times where all have a zone.
    """
    import pyarrow as pa

    compute = functions()
    values = compute.utf8_trim_whitespace(values)
    if compute.all(compute.match_substring_regex(values, WITH_ZONE)).as_py():
        return values.cast(pa.timestamp("us", "UTC"))
    missing = compute.is_in(values, pa.array(gaps))
    if not compute.any(missing).as_py():
        return values
    return as_number(compute.if_else(missing, pa.scalar(None, pa.string()), values))


def _spelled(values: "pa.ChunkedArray", gaps: Sequence[str]) -> "pa.ChunkedArray":
    """A column as text: whole numbers without decimal places, whatever type they have, and dates
    without a time of day where none has one.
    """
    import pyarrow as pa

    compute = functions()
    plain = _plain(values, gaps)
    if pa.types.is_string(plain.type):
        return plain
    if pa.types.is_timestamp(plain.type):
        days = plain.cast(pa.date32(), safe=False)
        plain = days if compute.all(compute.equal(days.cast(plain.type), plain)).as_py() else plain
    encoded = plain.combine_chunks().dictionary_encode()

    def spelled(value: Any) -> str | None:
        whole = isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_WHOLE
        return None if value is None else str(int(value) if whole else value)

    names = pa.array(map(spelled, encoded.dictionary.to_pylist()), pa.string())
    return pa.chunked_array([names.take(encoded.indices)])


def _arrow_of(frame: Any, labels: Collection[str], needed: Callable[[str], bool]) -> "pa.Table":
    """The columns of a data frame as they are."""
    import pyarrow as pa

    try:
        return _read(frame)
    except Exception as error:
        # Whatever a library raises while it makes Arrow of its columns: one after the other shows
        # which it cannot, where columns can be chosen by their names.
        why = str(error)
        if "non-struct" in why:
            raise InputError(
                f"{FRAME}: a {type(frame).__name__} is one column; give a frame of several"
            ) from None
        names = getattr(frame, "columns", None)
        if names is None or not hasattr(frame, "__getitem__"):
            raise InputError(
                f"{FRAME}: cannot be read ({why}); give a frame of pandas or Polars"
            ) from None
    names = list(names)
    refuse_twice(FRAME, map(str, names))
    problems = dict[Any, Problem]()
    for name in names:
        try:
            _read(frame[[name]])
        except Exception as error:
            reason = f"cannot be read ({_why(frame[name], error)})"
            problems[name] = _unread(str(name), reason, labels)
    if hidden := [problem for name, problem in problems.items() if needed(str(name))]:
        raise Unusable(FRAME, hidden, None)
    if not problems:
        raise InputError(f"{FRAME}: cannot be read ({why}); give a frame of pandas or Polars")
    read = _read(frame[[name for name in names if name not in problems]])
    for place, name in enumerate(names):
        if name in problems:
            read = read.add_column(place, str(name), pa.nulls(len(read)))
    return read


def _read(frame: Any) -> "pa.Table":
    import pyarrow as pa

    with warnings.catch_warnings():
        # pandas warns where names of columns are numbers; they become text, as in a file
        warnings.simplefilter("ignore", UserWarning)
        return pa.RecordBatchReader.from_stream(frame).read_all()


def _why(values: Iterable[Any], error: Exception) -> str:
    """Why a column cannot be read."""
    first = dict[str, int]()  # row of each type
    for row, value in enumerate(values):
        if not _is_gap(value):
            first.setdefault(type(value).__name__, row)
    if len(first) > 1 and "Conversion failed" in str(error):
        each = [f"{kind} in row {row}" for kind, row in first.items()]
        return f"it mixes values of several types: {', '.join(each)}"
    return str(error.args[0] if error.args else error).splitlines()[0]


def _unread(name: str, why: str, labels: Collection[str]) -> Problem:
    """The problem of a column that cannot be read. labels: names that say what columns are for;
    without any, the column may be the label.
    """
    cure = "convert it to numbers, text or dates, such as with astype(str) of pandas"
    if " list<" in why or " large_list<" in why:
        cure = (
            "give sequences of tokens to jaxnet.split(frame[...].to_list(), y, inputs='tokens', "
            "pad=0)"
        )
    return Problem(
        f"column {name!r} {why}; {cure}, or leave it out with drop_columns={name!r}",
        {"drop_columns": (name,)} if labels and name not in labels else None,
    )


def _is_gap(value: Any) -> bool:
    """Whether a value is None, NaN, or what pandas has in their place."""
    missing = type(value).__name__ in ("NoneType", "NAType", "NaTType")
    return missing or (isinstance(value, float) and value != value)
