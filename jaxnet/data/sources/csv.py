"""Read tables from text files as people have them: PyArrow reads them, categories are encoded, and
every gap is named.

The dialect (separator, decimal comma, header, encoding) is inferred from the first lines. Gaps are
never filled here.
"""

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from jaxnet.data import checks
from jaxnet.data.dataset import Splits
from jaxnet.data.schema import Column
from jaxnet.data.sources.request import Reading
from jaxnet.data.splitting import complete, grouped
from jaxnet.errors import InputError, near, near_path

if TYPE_CHECKING:
    import pyarrow as pa

SEPARATORS = (";", "\t", ",", "|")
# Numbers with thousands separators or the other decimal sign, which only people read as such.
LIKE_NUMBER = re.compile(
    r"[-+]?\d{1,3}([.,'\u2019\u202f\u00a0 ]\d{3})+([.,]\d+)?|[-+]?\d+,\d+([eE][-+]?\d+)?"
)
NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
COMMA_NUMBER = re.compile(r"\s*[-+]?\d+,\d+([eE][-+]?\d+)?\s*")
GAPS = ["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?", "#N/A"]
MOST_CATEGORIES = 100
DIALECT_BYTES = 1 << 16  # bytes from which the dialect is inferred


@dataclass(frozen=True)
class Dialect:
    """The format of a text table.

    Attributes:
        separator: character between columns.
        decimal: decimal point or comma.
        header: whether the first line has the names of the columns.
        encoding: encoding of the text.
    """

    separator: str
    decimal: str
    header: bool
    encoding: str


def splits_of_table(path: Path, reading: Reading) -> Splits:
    """Splits of a table: each row is an example, each column a number or a category, and one is the
    label.

    Args:
        path: the file.
        reading: what `load` was asked for; without a label, the last column is the label.

    Returns:
        The Splits.

    Raises:
        InputError: for gaps, mixed columns and the like, with column, row and fix.
    """
    reading.refuse(path, "image_size", "data_dir")
    columns, notes = read_table(path)
    for wanted in (reading.label, reading.groups, reading.order, *reading.drop_columns):
        if wanted is not None and wanted not in columns:
            raise InputError(
                f"{path}: has no column {wanted!r}{near(wanted, columns, 'its columns are')}"
            )
    used = [name for name in columns if name not in reading.drop_columns]
    label = reading.label or next(
        (name for name in reversed(used) if name not in (reading.groups, reading.order)), None
    )
    if label is None or label in (reading.groups, reading.order, *reading.drop_columns):
        raise InputError(
            f"{path}: the label column {label!r} is used otherwise; name another with --label "
            "(label=)"
        )
    inputs = [name for name in used if name not in (label, reading.groups, reading.order)]
    if not inputs:
        raise InputError(
            f"{path}: has no column beside the label {label!r}; it needs at least one to learn from"
        )
    _refuse_gaps(path, {name: columns[name] for name in (*inputs, label)})
    encodings = tuple(_encoding(path, name, columns[name]) for name in inputs)
    x = encode(encodings, columns, path)
    y, classes, task = _label(path, label, columns[label], reading.task)
    data = checks.dataset(x, y, classes=classes, where=str(path))
    data = replace(data, schema=replace(data.schema, columns=encodings))
    groups, order = (
        None if name is None else _plain(path, name, columns[name])
        for name in (reading.groups, reading.order)
    )
    return complete(
        {"train": grouped(data, groups)},
        reading,
        name=path.name,
        where=str(path),
        notes=(*notes, f"label: {label!r}", task),
        order=order,
    )


def read_table(path: Path) -> tuple[dict[str, "pa.ChunkedArray"], tuple[str, ...]]:
    """Read the columns of a text file.

    Args:
        path: the file.

    Returns:
        (the columns by name, as PyArrow types them; notes on what was decided).

    Raises:
        InputError: for what is not a table.
    """
    dialect = _dialect(path)
    try:
        table = _read(path, dialect)
        names = [name.strip() for name in table.column_names]
    except UnicodeError:
        table = _read(path, dialect := replace(dialect, encoding="cp1252"))
        names = [name.strip() for name in table.column_names]
    notes = [
        f"read with {dialect.separator!r} between columns"
        + (" and a decimal comma" if dialect.decimal == "," else "")
    ]
    if not dialect.header:
        notes.append("the first line is data, so columns are named f0, f1, ...")
    if dialect.encoding != "utf-8":
        notes.append(f"read as {dialect.encoding}, since it is not UTF-8")
    columns = dict(zip(names, table.columns, strict=True))
    if twice := sorted({name for name in names if names.count(name) > 1 and name}):
        raise InputError(f"{path}: has more than one column named {twice[0]!r}; rename all but one")
    if "" in columns:
        if len(columns[""]) != columns[""].null_count:
            notes.append("left out: the column without a name")
        del columns[""]
    if table.num_rows == 0:
        raise InputError(f"{path}: has no rows below its header; it needs some")
    return columns, tuple(notes)


def encode(
    encodings: Sequence[Column], columns: dict[str, "pa.ChunkedArray"], path: Path
) -> Float[np.ndarray, "rows inputs"]:
    """Encode the columns of a table as inputs: numbers as they are, a 1 or 0 for each category.

    Columns are found by name, and others are ignored.

    Args:
        encodings: the columns in the order of the inputs.
        columns: the columns of the table by name.
        path: the file, for messages.

    Returns:
        (rows, inputs) float64.

    Raises:
        InputError: for gaps, missing columns and unknown categories.
    """
    if missing := [column.name for column in encodings if column.name not in columns]:
        raise InputError(
            f"{path}: has no column {missing[0]!r}, from which the network "
            f"learned{near(missing[0], columns, 'its columns are')}"
        )
    _refuse_gaps(path, {column.name: columns[column.name] for column in encodings})
    rows = len(next(iter(columns.values())))
    x = np.zeros(
        (rows, sum(len(c.categories) if c.categories else 1 for c in encodings)), np.float64
    )
    place = 0
    for column in encodings:
        values = columns[column.name]
        if column.categories is None:
            x[:, place] = _numbers(path, column.name, values)
            place += 1
            continue
        codes, known = _codes(values), {name: i for i, name in enumerate(column.categories)}
        places = np.array([known.get(name, -1) for name in codes[1]])[codes[0]]
        if (unseen := np.flatnonzero(places < 0)).size:
            strange = sorted({codes[1][codes[0][row]] for row in unseen})
            raise InputError(
                f"{path}: column {column.name!r} has {', '.join(map(repr, strange[:5]))}"
                f"{', ...' if len(strange) > 5 else ''} in row "
                f"{unseen[0] + 1}, which the network has not seen; it knows "
                f"{', '.join(map(repr, column.categories))}"
            )
        x[np.arange(rows), place + places] = 1
        place += len(column.categories)
    return x


def _dialect(path: Path) -> Dialect:
    """The dialect that the first lines show. PyArrow handles a byte-order mark."""
    try:
        with open(path, "rb") as file:
            start = file.read(DIALECT_BYTES)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file{near_path(path)}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); may you read it?") from None
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in start:
        raise InputError(
            f"{path}: is no text in UTF-8 (it holds zero bytes); save it as CSV in UTF-8"
        )
    if not start.strip(b"\xef\xbb\xbf \r\n\t"):
        raise InputError(f"{path}: is empty; it needs a header and rows")
    text = start.decode("utf-8-sig", errors="replace")
    lines = text.splitlines()[: 100 if len(start) < DIALECT_BYTES else -1][:100]

    def rows(separator: str) -> list[list[str]]:
        return [row for row in csv.reader(lines, delimiter=separator) if row]

    def columns(separator: str) -> int:
        """The number of columns if every line has the same number, else 1."""
        counts = [len(row) for row in rows(separator)]
        return counts[0] if min(counts) == max(counts) else 1

    separator = max(SEPARATORS, key=columns)
    if columns(separator) == 1:  # ragged, or one column: the most frequent separator of the header
        separator = max(SEPARATORS, key=lambda s: len(rows(s)[0]))
    first, *rest = rows(separator)
    fields = [field for row in rest for field in row]
    comma = separator != "," and any(COMMA_NUMBER.fullmatch(field) for field in fields)
    point = any(NUMBER.fullmatch(field) and "." in field for field in fields)
    number = COMMA_NUMBER if comma and not point else NUMBER
    header = not any(number.fullmatch(field) or NUMBER.fullmatch(field) for field in first)
    return Dialect(separator, "," if comma and not point else ".", header, "utf-8")


def _read(path: Path, dialect: Dialect) -> "pa.Table":
    import pyarrow as pa
    from pyarrow import csv as reader

    try:
        with pa.OSFile(os.fsencode(path)) as file:  # names of files need not be UTF-8
            return reader.read_csv(
                file,
                reader.ReadOptions(
                    autogenerate_column_names=not dialect.header, encoding=dialect.encoding
                ),
                reader.ParseOptions(delimiter=dialect.separator, newlines_in_values=False),
                reader.ConvertOptions(
                    null_values=GAPS, strings_can_be_null=True, decimal_point=dialect.decimal
                ),
            )
    except pa.ArrowInvalid as error:
        if "UTF8" in str(error) and dialect.encoding == "utf-8":
            raise UnicodeError from None
        why = str(error).splitlines()[0]
        if "Empty CSV" in why:
            raise InputError(f"{path}: has no rows below its header; it needs some") from None
        raise InputError(
            f"{path}: is not a table that can be read: {why}; mend it, or save it as CSV again"
        ) from None


def _encoding(path: Path, name: str, values: "pa.ChunkedArray") -> Column:
    """The Column that encodes these values: numbers, or categories."""
    import pyarrow as pa

    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return Column(name)
    if pa.types.is_temporal(kind):
        raise InputError(
            f"{path}: column {name!r} holds times; leave it out with --drop-columns, split by it "
            "with "
            "--order, or give numbers"
        )
    codes, names = _codes(values)
    _refuse_mixed(path, name, codes, names)
    if len(names) > max(2, min(MOST_CATEGORIES, len(codes) // 2)):
        raise InputError(
            f"{path}: column {name!r} has {len(names)} different texts in {len(codes)} rows, so "
            "it names rows more than kinds; "
            f"leave it out with --drop-columns {name!r} (drop_columns=)"
        )
    return Column(name, tuple(names))


def _label(
    path: Path, name: str, values: "pa.ChunkedArray", wanted: str | None
) -> tuple[np.ndarray, tuple[str, ...] | None, str]:
    """(class numbers or values, names of the classes, the reason in words)."""
    import pyarrow as pa

    if pa.types.is_temporal(values.type):
        raise InputError(
            f"{path}: the label {name!r} holds times; name another column with --label, or give "
            "numbers"
        )
    if pa.types.is_string(values.type):
        codes, names = _codes(values)
        _refuse_mixed(path, name, codes, names)
        task, why = checks.task([np.array(names)], wanted, f"{path}, column {name!r}")
        return codes, tuple(names), f"task: {task}, since {why}"
    numbers = _numbers(path, name, values)
    task, why = checks.task([numbers], wanted, f"{path}, column {name!r}")
    why = f"task: {task}, since {why}"
    if task == "regression":
        return numbers, None, why
    different, codes = np.unique(numbers, return_inverse=True)
    return codes, checks.numbers_as_names(different), why


def _numbers(path: Path, name: str, values: "pa.ChunkedArray") -> np.ndarray:
    import pyarrow as pa

    if pa.types.is_string(values.type):
        codes, names = _codes(values)
        _refuse_mixed(path, name, codes, names, anything=True)
    try:
        return values.cast(pa.float64(), safe=False).to_numpy()
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{path}: column {name!r} should hold numbers: {str(error).splitlines()[0]}; "
            f"mend it, or leave it out with --drop-columns {name!r} (drop_columns=)"
        ) from None


def _plain(path: Path, name: str, values: "pa.ChunkedArray") -> np.ndarray:
    """A column as an array to group or order by."""
    import pyarrow as pa

    _refuse_gaps(path, {name: values})
    return (
        np.array(values.to_pylist(), dtype=str)
        if pa.types.is_string(values.type)
        else values.to_numpy()
    )


def _codes(values: "pa.ChunkedArray") -> tuple[np.ndarray, list[str]]:
    """The number of each value among the distinct ones, and these as text, in order."""
    import pyarrow as pa
    from pyarrow import compute

    if not pa.types.is_string(values.type):
        values = values.cast(pa.string())
    encoded = compute.utf8_trim_whitespace(values).combine_chunks().dictionary_encode()  # pyrefly: ignore[missing-attribute]
    names = encoded.dictionary.to_pylist()
    order = np.array(sorted(range(len(names)), key=names.__getitem__), int)
    ranks = np.empty(len(names), int)
    ranks[order] = np.arange(len(names))
    return ranks[encoded.indices.to_numpy()], [names[i] for i in order]


def _refuse_mixed(
    path: Path, name: str, codes: np.ndarray, names: list[str], *, anything: bool = False
) -> None:
    """Raise InputError for a column of numbers with some texts. anything: also for a column of
    texts.
    """
    numbers = np.array(
        [bool(NUMBER.fullmatch(text) or LIKE_NUMBER.fullmatch(text)) for text in names]
    )
    if anything or (numbers.mean() >= 0.5 and not numbers.all()):
        odd = np.flatnonzero(~numbers[codes])
        row = int(odd[0]) if odd.size else 0
        raise InputError(
            f"{path}: column {name!r} mixes numbers and text: {odd.size} values are no numbers, "
            f"the first {names[codes[row]]!r} in row "
            f"{row + 1}; mend them, or leave the column out with --drop-columns {name!r} "
            "(drop_columns=)"
        )
    if numbers.all():
        raise InputError(
            f"{path}: column {name!r} holds numbers in a form that was not understood, such as "
            f"{names[0]!r}; write all of them "
            "with one decimal sign and without thousands separators"
        )


def _refuse_gaps(path: Path, columns: dict[str, "pa.ChunkedArray"]) -> None:
    gaps = {name: values.null_count for name, values in columns.items() if values.null_count}
    if gaps:
        rows = len(next(iter(columns.values())))
        each = ", ".join(f"{name!r} {count} of {rows}" for name, count in gaps.items())
        raise InputError(
            f"{path}: has missing values, in column {each}. Fill them (a column's median is "
            "usual), remove those rows, "
            "or leave a column out with --drop-columns (drop_columns=)"
        )
