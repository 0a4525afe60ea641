"""Read Parquet files: they are decoded once into a pair of .npy files in the user's cache.

Parquet cannot read a single row: a row group is decoded whole, and most writers make them of 100 MB
and more. Reading rows of all groups in random order would decode each group hundreds of times an
epoch, or keep many in memory.
"""

import bisect
import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import platformdirs

from jaxnet.data.precision import EXACT, moments
from jaxnet.data.sources import tfds as prepared
from jaxnet.data.streaming.rows import ArrayFiles
from jaxnet.data.tables.cells import refuse_twice
from jaxnet.data.tables.frames import row_labels
from jaxnet.errors import InputError, near, near_path
from jaxnet.progress import counted

if TYPE_CHECKING:
    import pyarrow as pa

DECODED_BYTES = 1 << 23  # bytes decoded at a time
VERSION = 2  # version of the cached files; those of other versions are decoded again
# row groups at most in which is seen whether float32 holds the numbers, together in as many bytes
SAMPLED_GROUPS = 16
WIDE = "float32 or float64"
BUFFER = 1 << 16  # bytes of a column read at a time, since there may be a thousand columns
MAX_LABEL_TEXTS = 10_000
BadRows = tuple[int, int, str]  # (first row, row after the last, why they cannot be used)


class Group(NamedTuple):
    """A row group.

    Attributes:
        file: its file.
        number: its number in the file.
        first: its first row among the rows of all files.
        stop: the row after its last one.
    """

    file: Path
    number: int
    first: int
    stop: int


class Columns(NamedTuple):
    """The meaning of the columns.

    Attributes:
        inputs: names of the input columns.
        label: name of the label column.
        names: the classes, if labels are text.
        whole: whether labels are whole numbers.
        lists: whether the one input is a list of numbers.
        width: number of inputs.
        dtype: type of x; WIDE if that depends on the numbers.
    """

    inputs: tuple[str, ...]
    label: str
    names: tuple[str, ...] | None
    whole: bool
    lists: bool
    width: int
    dtype: str


class Unpacked(ArrayFiles):
    """The .npy files that Parquet was decoded into, and which rows could not be decoded, and why.

    Args:
        folder: the folder of the files.

    Raises:
        InputError: for files of another version.

    Attributes:
        classes: names of the classes, if labels are text.
        whole: whether labels are whole numbers.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        about = json.loads((folder / "about.json").read_text())
        if about["version"] != VERSION:
            raise InputError(f"{folder}: is of version {about['version']}; decode it again")
        self.classes = None if about["names"] is None else tuple(about["names"])
        self.whole, self._files, self._bad_rows = about["whole"], about["files"], about["odd"]

    @property
    def bad_rows(self) -> list[BadRows]:
        """The rows that could not be decoded."""
        return [tuple(each) for each in self._bad_rows]

    def read(self, first: int, x: np.ndarray, y: np.ndarray) -> dict[int, str]:
        bad = super().read(first, x, y)
        for begin, end, why in self._bad_rows:
            bad |= dict.fromkeys(range(max(begin, first), min(end, first + len(y))), why)
        return bad

    def named(self, row: int, part: str) -> str:
        file, begin = self._files[bisect.bisect(self._files, row, key=lambda each: each[1]) - 1]
        return f"{file}: row {row - begin}"


def rows_of_parquet(
    path: Path,
    label: str | None,
    corrupt: str,
    *,
    decoded_bytes: int = DECODED_BYTES,
    exact: bool = False,
) -> Unpacked:
    """Rows of a Parquet file, or of all Parquet files in a folder in order of name.

    The first call decodes them; later calls find the result.

    Args:
        path: the file or folder.
        label: the label column; by default the last. The other columns are numbers, or there is one
            column of lists of equal length.
        corrupt: "stop" raises for a row group that cannot be decoded; with "skip", `read` reports
            its rows.
        decoded_bytes: about how many bytes are decoded at a time.
        exact: whether whole numbers that float32 would round become float64.

    Returns:
        The rows.

    Raises:
        InputError: for what cannot be used.
    """
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    groups, schema = _groups(files)
    columns = _columns(path, schema, groups, label, decoded_bytes)
    if exact and columns.dtype == WIDE:
        columns = columns._replace(dtype="float64")
    stats = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    key = hashlib.sha256(repr((stats, columns)).encode()).hexdigest()[:16]
    folder = Path(platformdirs.user_cache_dir("jaxnet")) / "data" / f"{path.stem}-{key}"
    try:
        rows = Unpacked(folder)
    except (InputError, OSError, ValueError, KeyError):  # missing or damaged: it is written again
        shutil.rmtree(folder, ignore_errors=True)
        _unpack(path, folder, groups, columns, corrupt, decoded_bytes)
        rows = Unpacked(folder)
    if rows.bad_rows and corrupt == "stop":
        raise InputError(
            f'{rows.bad_rows[0][2]}; fix the file, or leave such rows out with corrupt="skip"'
        )
    return rows


def _groups(files: list[Path]) -> tuple[list[Group], "pa.Schema"]:
    """The row groups of all files, and the columns that all have."""
    import pyarrow as pa
    from pyarrow import parquet

    groups, schemas, rows = [], [], 0
    for file in files:
        try:
            with pa.OSFile(os.fsencode(file)) as opened:  # names of files need not be UTF-8
                about = parquet.read_metadata(opened)
            schemas.append(_without_row_labels(about.schema.to_arrow_schema()))
        except FileNotFoundError:
            raise InputError(f"{file}: no such file{near_path(file)}") from None
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{file}: not a readable Parquet file ({prepared.first_line(error)}); get it again"
            ) from None
        if not schemas[-1].equals(schemas[0]):
            theirs = set(map(str, schemas[-1])) ^ set(map(str, schemas[0]))
            raise InputError(
                f"{file}: its columns are not those of {files[0].name}; they differ in "
                f"{', '.join(sorted(theirs))}; write all with the same"
            )
        for number in range(about.num_row_groups):
            if count := about.row_group(number).num_rows:
                groups.append(Group(file, number, rows, rows := rows + count))
    if not groups:
        raise InputError(f"{files[0]}: has no rows; give it some")
    return groups, schemas[0]


def left_out(path: Path) -> tuple[str, ...]:
    """The columns that are left out, since pandas keeps the index of a frame in them.

    Args:
        path: a Parquet file, or a folder of such files.

    Returns:
        Their names.
    """
    from pyarrow import parquet

    file = min(path.glob("*.parquet")) if path.is_dir() else path
    with open(file, "rb") as opened:
        return row_labels(parquet.read_schema(opened))


def _without_row_labels(schema: "pa.Schema") -> "pa.Schema":
    labels = row_labels(schema)
    for name in labels:
        schema = schema.remove(schema.get_field_index(name))
    return schema.remove_metadata()


def _columns(
    path: Path, schema: "pa.Schema", groups: list[Group], label: str | None, decoded_bytes: int
) -> Columns:
    import pyarrow as pa

    refuse_twice(path, schema.names)
    label = label if label is not None else schema.names[-1]
    if label not in schema.names:
        raise InputError(
            f"{path}: has no column {label!r}{near(label, schema.names, 'its columns are')}"
        )
    inputs = tuple(name for name in schema.names if name != label)
    if not inputs:
        raise InputError(
            f"{path}: has no column beside the label {label!r}; it needs at least one to learn from"
        )

    def is_list(kind: "pa.DataType") -> bool:
        return (
            pa.types.is_fixed_size_list(kind)
            or pa.types.is_list(kind)
            or pa.types.is_large_list(kind)
        )

    lists = any(is_list(schema.field(name).type) for name in inputs)
    for name in inputs:
        kind = schema.field(name).type
        if lists and len(inputs) > 1:
            raise InputError(
                f"{path}: has a column of lists among others ({', '.join(inputs)}); give numbers "
                "in columns, or one of lists"
            )
        if not _is_number(kind.value_type if is_list(kind) else kind):
            raise InputError(
                f"{path}: column {name!r} is of type {kind}; encode it as numbers first, a "
                "category as a column each"
            )
    kind = schema.field(label).type
    text = any(
        is_text(kind)
        for is_text in (pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary)
    )
    if not text and not _is_number(kind):
        raise InputError(
            f"{path}: the label {label!r} is of type {kind}; give whole numbers, texts or values, "
            "or name another with label="
        )
    whole = text or not pa.types.is_floating(kind)
    kind = schema.field(inputs[0]).type
    kinds = [kind.value_type] if lists else [schema.field(name).type for name in inputs]
    dtype = (
        "uint8"
        if kinds == [pa.uint8()] and lists
        else "float32"
        if all(map(_is_narrow, kinds))
        else WIDE
    )
    width = _width(groups, inputs[0], kind) if lists else len(inputs)
    names = _names(path, groups, label, decoded_bytes) if text else None
    return Columns(inputs, label, names, whole, lists, width, dtype)


def _is_number(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _is_narrow(kind: "pa.DataType") -> bool:
    """Whether float32 holds all numbers of a type."""
    return np.dtype(kind.to_pandas_dtype()) in EXACT


def _width(groups: list[Group], name: str, kind: "pa.DataType") -> int:
    """The number of values in a list: from the type, or from the first list that is there."""
    import pyarrow as pa

    if pa.types.is_fixed_size_list(kind):
        return kind.list_size
    for group in groups:
        with contextlib.suppress(InputError):  # the next group may be readable
            for batch in _batches(group, [name], 1000):
                for one in batch.column(name):
                    if one.is_valid and len(one):
                        return len(one)
    raise InputError(
        f"{groups[0].file}: column {name!r} has no list with numbers in it; fill it, or leave the "
        "column away"
    )


def _names(path: Path, groups: list[Group], label: str, decoded_bytes: int) -> tuple[str, ...]:
    """All distinct texts of the label column, in order."""
    import pyarrow as pa

    found: set[str] = set()
    for group in groups:
        with contextlib.suppress(InputError):  # reported when its rows are decoded
            for batch in _batches(group, [label], decoded_bytes // 64):
                found |= set(batch.column(label).cast(pa.string()).unique().drop_null().to_pylist())
        if len(found) > MAX_LABEL_TEXTS:
            raise InputError(
                f"{path}: the label {label!r} has more than {MAX_LABEL_TEXTS} different texts; "
                "name "
                "another with label="
            )
    return tuple(sorted(found))


def _batches(group: Group, columns: list[str], rows: int) -> Iterator["pa.RecordBatch"]:
    """The rows of a group, `rows` at a time. Raises InputError where they cannot be decoded."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with (
            pa.OSFile(os.fsencode(group.file)) as opened,
            parquet.ParquetFile(
                opened, buffer_size=BUFFER, pre_buffer=False, page_checksum_verification=True
            ) as file,
        ):
            yield from file.iter_batches(
                batch_size=rows, row_groups=[group.number], columns=columns
            )
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{group.file}: row group {group.number} cannot be decoded "
            f"({prepared.first_line(error)}); get the file again"
        ) from None


def _unpack(
    path: Path,
    folder: Path,
    groups: list[Group],
    columns: Columns,
    corrupt: str,
    decoded_bytes: int,
) -> None:
    """Write the folder that Unpacked reads, whole or not at all. Raises InputError, and for a bad
    row group only if corrupt is "stop".
    """
    if columns.dtype == WIDE:
        lost = _loses(groups, columns._replace(dtype="float64"), decoded_bytes)
        columns = columns._replace(dtype="float64" if lost else "float32")
    shape = (groups[-1].stop, columns.width)
    row = columns.width * np.dtype(columns.dtype).itemsize
    needed = shape[0] * (row + 8)
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    bad_rows: list[BadRows] = []
    starts = {str(group.file): group.first for group in reversed(groups)}
    try:
        unfinished.mkdir(parents=True)
        if needed > (free := shutil.disk_usage(unfinished).free):
            raise InputError(
                f"{path}: takes {needed / 1e9:.1f} GB when decoded, but {folder.parent} has room "
                f"for {free / 1e9:.1f} GB; make room, "
                "or write the data as x.npy and y.npy into a folder and give that"
            )
        with open(unfinished / "x.npy", "wb") as x_file, open(unfinished / "y.npy", "wb") as y_file:
            _write_header(x_file, shape, columns.dtype)
            _write_header(y_file, shape[:1], "float64")
            x_begin, y_begin = x_file.tell(), y_file.tell()
            for number in counted(range(len(groups)), f"decoding {path.name}"):
                group = groups[number]
                first = group.first
                try:
                    for batch in _batches(
                        group, [*columns.inputs, columns.label], max(1, decoded_bytes // (row + 8))
                    ):
                        x, y, strange = _decoded(batch, columns)
                        x.tofile(x_file)
                        y.tofile(y_file)
                        for place, why in strange:
                            row_of_file = first + place - starts[str(group.file)]
                            bad_rows.append(
                                (
                                    first + place,
                                    first + place + 1,
                                    f"{group.file}: row {row_of_file} {why}",
                                )
                            )
                        first += len(y)
                except InputError as error:
                    if corrupt == "stop":
                        raise InputError(
                            f"{error}; get the file again, or leave such rows out with "
                            'corrupt="skip"'
                        ) from None
                    bad_rows = [each for each in bad_rows if each[0] < group.first] + [
                        (group.first, group.stop, str(error))
                    ]
                    y_file.seek(y_begin + 8 * group.first)
                    np.full(group.stop - group.first, np.nan).tofile(y_file)
                x_file.seek(x_begin + row * group.stop)
                x_file.truncate()
        about = {
            "version": VERSION,
            "names": columns.names,
            "whole": columns.whole,
            "files": sorted(starts.items(), key=lambda each: each[1]),
            "odd": bad_rows,
        }
        (unfinished / "about.json").write_text(json.dumps(about))
        with contextlib.suppress(OSError):  # another process was first
            unfinished.rename(folder)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be decoded into {folder.parent} ({error}); make room there"
        ) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _loses(groups: list[Group], columns: Columns, decoded_bytes: int) -> bool:
    """Whether float32 may lose a column, judged cautiously from the first rows of some row groups:
    if these do not differ, later rows may.
    """
    some = [
        groups[i] for i in np.unique(np.linspace(0, len(groups) - 1, SAMPLED_GROUPS).astype(int))
    ]
    rows, found = max(1, decoded_bytes // len(some) // (8 * columns.width)), list[np.ndarray]()
    for group in some:
        with contextlib.suppress(InputError):  # reported when its rows are decoded
            batch = next(_batches(group, [*columns.inputs, columns.label], rows), None)
            if batch is not None:
                x = _decoded(batch, columns)[0]
                found.append(x[np.isfinite(x).all(1)])
    x = np.concatenate(found) if found else np.empty((0, columns.width))
    if not len(x):
        return True
    about = moments(x)
    return bool((about.lost | ((about.deviation == 0) & (about.largest > 0))).any())


def _write_header(file: Any, shape: tuple[int, ...], dtype: str) -> None:
    """Write the header of an .npy file."""
    np.lib.format.write_array_header_1_0(
        file, {"shape": shape, "fortran_order": False, "descr": np.dtype(dtype).str}
    )


def _decoded(
    batch: "pa.RecordBatch", columns: Columns
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, str]]]:
    """(x, y, [(place, why)]) of some rows; a gap among numbers becomes NaN."""
    import pyarrow as pa
    from pyarrow import compute

    def numbers(values: "pa.Array", kind: "pa.DataType") -> np.ndarray:
        return values.cast(kind, safe=False).to_numpy(zero_copy_only=False)

    wide = pa.float64() if columns.dtype == "float64" else pa.float32()
    label = batch.column(columns.label)
    if columns.names is not None:
        names = pa.array(columns.names, pa.string())
        label = compute.index_in(label.cast(pa.string()), value_set=names)  # pyrefly: ignore[missing-attribute]
    y = numbers(label, pa.float64())
    if not columns.lists:
        x = np.stack([numbers(batch.column(name), wide) for name in columns.inputs], 1)
        return x, y, []
    lists = batch.column(columns.inputs[0])
    lengths = compute.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)  # pyrefly: ignore[missing-attribute]
    fits = lengths == columns.width
    strange = [
        (int(i), f"has {lengths[i]} numbers, not {columns.width}") for i in np.flatnonzero(~fits)
    ]
    values = (lists.filter(pa.array(fits)) if strange else lists).flatten()
    x = np.zeros((len(batch), columns.width), columns.dtype)
    if columns.dtype == "uint8" and values.null_count:
        gaps = values.is_null().to_numpy(zero_copy_only=False).reshape(-1, columns.width).any(1)
        strange += [(int(i), "has a gap among its numbers") for i in np.flatnonzero(fits)[gaps]]
        values = values.fill_null(0)
    x[fits] = numbers(values, pa.uint8() if columns.dtype == "uint8" else wide).reshape(
        -1, columns.width
    )
    return x, y, strange
