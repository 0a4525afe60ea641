"""Read the cells of a table, a column at a time, as PyArrow types them."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnet.data.tables.dialect import Dialect, dialect_of, spaces_to_tabs
from jaxnet.data.tables.table import Table, refuse_unused
from jaxnet.data.tables.text import Text, has_leading_zeros, head_of, not_in, text_of
from jaxnet.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST_WHOLE = 2.0**53  # of the whole numbers that float64 holds one by one
BLOCK = 1 << 20  # bytes of text parsed at a time
FIRST = 100  # numbers that are looked at before all are
LARGEST_BLOCK = 1 << 26  # where a row does not fit into one


class Cells(dict[str, Any]):
    """The columns of a table by name: numbers, times, or text without spaces around it.

    Attributes:
        first_line: the line of the first row, as a spreadsheet counts; None where rows have no
            lines and are counted from 0, as in a data frame.
        decimal: the decimal sign of its numbers.
        notes: what was decided while it was read.
        types: the types of columns, as in a Table, where their own type says so.
        twice: names of more than one column, of which the first is kept.
        kept: (rows,) the numbers of the rows that are kept, from 0; None where all are.
    """

    first_line: int | None = 2
    decimal: str = "."
    notes: tuple[str, ...] = ()
    types: Mapping[str, str] = {}
    twice: tuple[str, ...] = ()
    kept: np.ndarray | None = None

    def keep(self, rows: np.ndarray) -> None:
        """Leave out all other rows, one column after the other, so that little memory is needed.

        Args:
            rows: (rows,) booleans.
        """
        import pyarrow as pa

        wanted = pa.array(rows)
        for name in self:
            self[name] = self[name].filter(wanted)
        self.kept = np.flatnonzero(rows) if self.kept is None else self.kept[rows]


def functions() -> Any:
    """The functions of PyArrow on arrays, which it makes when it is imported."""
    from pyarrow import compute

    return compute


def read_cells(path: Path, table: Table, texts: Collection[str] = ()) -> Cells:
    """Read the columns of a table.

    Whole numbers with zeros in front, or beyond 2^53, stay text, and so do booleans.

    Args:
        path: a text file, also one that ends in .gz.
        table: what is known beforehand.
        texts: names of columns that are read as text, whatever they hold.

    Returns:
        The Cells.

    Raises:
        InputError: for what is not a table.
    """
    return cells_of_text(text_of(path, table.encoding), table, texts)


def cells_of_text(text: Text, table: Table, texts: Collection[str] = ()) -> Cells:
    """Read the columns of a table in a text; see `read_cells`."""
    path = text.path
    refuse_unused(table, path, "sheet")
    dialect = dialect_of(*head_of(text), table)
    if dialect.separator == " ":
        with text.open() as file:
            lines = file.read().decode("utf-8-sig" if text.encoding == "utf-8" else text.encoding)
        rows = "".join(lines.splitlines(keepends=True)[dialect.skip :])
        tabs = spaces_to_tabs(rows).encode()
        text = replace(text, unpacked=tabs, encoding="utf-8", quotes=True)
        dialect = replace(dialect, separator="\t", skip=0)
    dialect = replace(dialect, names=told_apart(dialect.names))
    texts = {name for name in dialect.names if name in texts}
    texts |= {name for name, kind in table.types.items() if kind == "category"}
    columns = _read(text, dialect, dict.fromkeys(texts))
    columns |= _codes(text, dialect, columns)
    notes = [note for note in (text.note,) if note]
    if text.spaces:
        columns = {name: _trimmed(values, dialect.gaps) for name, values in columns.items()}
    columns, repeated = _without_header(columns)
    if repeated:
        lines = ", ".join(str(row + dialect.first_line) for row in repeated[:5])
        notes.append(
            f"left out: line {lines}{', ...' * (len(repeated) > 5)}, which repeats the names of "
            "the columns"
        )
    return cells_of(path, columns, dialect.first_line, dialect.decimal, (*dialect.notes, *notes))


def cells_of(
    path: Path | str,
    columns: dict[str, "pa.ChunkedArray"],
    first_line: int | None,
    decimal: str,
    notes: Iterable[str],
) -> Cells:
    """The Cells of columns that were read; the one without a name is left out, and so are the later
    ones of those with one name.

    Args:
        path: the file, for messages.
        columns: the columns by name.
        first_line: as in Cells.
        decimal: as in Cells.
        notes: as in Cells.

    Returns:
        The Cells.

    Raises:
        InputError: where there are no rows.
    """
    unnamed = [values for name, values in columns.items() if _is_unnamed(name)]
    cells = Cells({name: each for name, each in columns.items() if "\0" not in name})
    if any(len(values) != values.null_count for values in unnamed):
        notes = (*notes, "left out: the column without a name")
    if not any(map(len, cells.values())):
        below = "" if first_line is None else " below its header"
        raise InputError(f"{path}: has no rows{below}; it needs some")
    zones = (name for name, values in cells.items() if getattr(values.type, "tz", None))
    notes = (*notes, *(f"{name!r}: times with a zone are read in UTC" for name in zones))
    cells.first_line, cells.decimal, cells.notes = first_line, decimal, notes
    cells.twice = tuple({name.strip("\0"): 0 for name in columns if "\0" in name.lstrip("\0")})
    return cells


def _is_unnamed(name: str) -> bool:
    return not name.strip("\0")


def told_apart(names: Iterable[str]) -> tuple[str, ...]:
    """Names of which no two are equal.

    Args:
        names: the names of columns.

    Returns:
        The same names, with NUL characters behind those that stand before already.
    """
    found: dict[str, None] = {}
    for name in names:
        while name and name in found:
            name += "\0"
        found[name or "\0" * (len(found) + 1)] = None
    return tuple(found)


def refuse_twice(path: Path | str, names: Iterable[str]) -> None:
    """Refuse columns of one name.

    Args:
        path: the file, for the message.
        names: the names of its columns.

    Raises:
        InputError: it names the first that occurs twice.
    """
    if twice := sorted(name for name, count in Counter(names).items() if count > 1 and name):
        raise InputError(f"{path}: has more than one column named {twice[0]!r}; rename all but one")


def _read(
    text: Text, dialect: Dialect, texts: dict[str, None], *, only: bool = False, block: int = 0
) -> dict[str, "pa.ChunkedArray"]:
    """The columns by name. texts: those that are read as text; only: leave the others out."""
    import pyarrow as pa
    from pyarrow import csv as reader

    names = dialect.names
    block = block or max(BLOCK, 64 * len(names))
    try:
        with text.open() as file:
            read = reader.read_csv(
                file,
                reader.ReadOptions(
                    column_names=list(names),
                    skip_rows=dialect.skip,
                    encoding=text.encoding,
                    block_size=block,
                ),
                reader.ParseOptions(
                    delimiter=dialect.separator,
                    quote_char='"' if text.quotes else False,
                    newlines_in_values=text.breaks_in_quotes,
                ),
                reader.ConvertOptions(
                    null_values=list(dialect.gaps),
                    strings_can_be_null=True,
                    true_values=[],
                    false_values=[],
                    decimal_point=dialect.decimal,
                    column_types=dict.fromkeys(texts, pa.string()),
                    include_columns=list(texts) if only else [],
                ),
            )
    except (UnicodeError, LookupError) as error:
        raise not_in(text, error) from None
    except pa.ArrowInvalid as error:
        why = str(error).splitlines()[0]
        too_long = "straddling object" in why or "Could not skip" in why
        if too_long and block < LARGEST_BLOCK:
            return _read(text, dialect, texts, only=only, block=LARGEST_BLOCK)
        if "UTF8" in why:
            raise not_in(text, error) from None
        if "Empty CSV" in why or "Could not skip" in why:
            raise InputError(f"{text.path}: has no rows below its header; it needs some") from None
        raise InputError(
            f"{text.path}: is not a table that can be read: {why}, with {dialect.separator!r} as "
            "the separator; fix that row, name the separator with --separator, or save it as CSV "
            "again"
        ) from None
    return dict(zip(read.column_names, read.columns, strict=True))


def _codes(
    text: Text, dialect: Dialect, columns: dict[str, "pa.ChunkedArray"]
) -> dict[str, "pa.ChunkedArray"]:
    """As text, the columns of whole numbers that are codes: with zeros in front, or too large."""
    import pyarrow as pa

    compute = functions()
    whole = [name for name, values in columns.items() if pa.types.is_integer(values.type)]
    floating = [
        name
        for name, values in columns.items()
        if pa.types.is_floating(values.type) and _begins_whole(values)
    ]
    large = [name for name in (*whole, *floating) if _largest(columns[name]) > LARGEST_WHOLE]
    zeros = whole if whole and has_leading_zeros(text, dialect.separator) else []
    wanted = {*large, *zeros}
    read = _read(text, dialect, dict.fromkeys(wanted), only=True) if wanted else {}

    def found(name: str, pattern: str) -> bool:
        return bool(compute.any(compute.match_substring_regex(read[name], pattern)).as_py())

    return {
        name: values
        for name, values in read.items()
        if found(name, r"^\s*0\d") or (name in large and not found(name, r"[^\d\s+-]"))
    }


def _begins_whole(values: "pa.ChunkedArray") -> bool:
    """Whether the first numbers are whole; of codes all are."""
    first = values.slice(0, FIRST).drop_null().to_numpy()
    return bool((first == np.round(first)).all())


def _largest(values: "pa.ChunkedArray") -> float:
    """The largest absolute value of numbers; 0 where there are none."""
    if not values.null_count:  # NumPy is faster, and takes no copy
        chunks = [chunk.to_numpy() for chunk in values.chunks if len(chunk)]
        ends = [abs(float(end)) for each in chunks for end in (each.min(), each.max())]
        if not any(map(math.isnan, ends)):
            return max(ends, default=0.0)
    ends = functions().min_max(values).as_py().values()
    return max(abs(float(end or 0)) for end in ends)


def _trimmed(values: "pa.ChunkedArray", gaps: Sequence[str]) -> "pa.ChunkedArray":
    """Text without spaces around it, in which a word for a gap behind a space is a gap too."""
    import pyarrow as pa

    compute = functions()
    if not pa.types.is_string(values.type):
        return values
    trimmed = compute.utf8_trim_whitespace(values)
    before, after = (compute.sum(compute.binary_length(each)) for each in (values, trimmed))
    if before == after:
        return values
    missing = compute.is_in(trimmed, pa.array(gaps))
    return as_number(compute.if_else(missing, pa.scalar(None, pa.string()), trimmed))


def as_number(values: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """Text as numbers where all of it is plain ones."""
    import pyarrow as pa

    compute = functions()
    if compute.any(compute.match_substring_regex(values, r"^0\d|[^\d.eE+-]")).as_py():
        return values
    for kind in (pa.int64(), pa.float64()):
        try:
            read = values.cast(kind)
        except pa.ArrowInvalid:
            continue
        decimals = compute.any(compute.match_substring_regex(values, r"[.eE]")).as_py()
        return values if _largest(read) > LARGEST_WHOLE and not decimals else read
    return values


def _without_header(
    columns: dict[str, "pa.ChunkedArray"],
) -> tuple[dict[str, "pa.ChunkedArray"], list[int]]:
    """(the columns without rows that repeat their names, the numbers of these rows)."""
    import pyarrow as pa

    compute = functions()
    named = {name: values for name, values in columns.items() if not _is_unnamed(name)}
    if not named or not all(pa.types.is_string(values.type) for values in named.values()):
        return columns, []
    repeats: Any = None
    for name, values in named.items():
        same = compute.fill_null(compute.equal(values, name), False)
        repeats = same if repeats is None else compute.and_(repeats, same)
        if not compute.any(repeats).as_py():
            return columns, []
    rows = [row for row, repeated in enumerate(repeats.to_pylist()) if repeated]
    keep = compute.invert(repeats)
    return {name: as_number(values.filter(keep)) for name, values in columns.items()}, rows
