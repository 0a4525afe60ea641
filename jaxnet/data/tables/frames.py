"""Read the cells of what has types already: data frames and Parquet files."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from jaxnet.data.tables.cells import (
    LARGEST_WHOLE,
    Cells,
    cells_of,
    functions,
    refuse_twice,
    trimmed,
)
from jaxnet.errors import InputError, near_path

if TYPE_CHECKING:
    import pyarrow as pa


def cells_of_parquet(path: Path, texts: Collection[str]) -> Cells:
    """The columns of a Parquet file. The row labels that pandas keeps in one are left out."""
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
    refuse_twice(path, read.column_names)
    labels = row_labels(read.schema)
    columns = {
        name: _plain(values, name in texts)
        for name, values in zip(read.column_names, read.columns, strict=True)
        if name not in labels
    }
    notes = [f"left out: {name!r}, the row labels of pandas" for name in labels]
    return cells_of(path, columns, None, ".", notes)


def row_labels(schema: "pa.Schema") -> tuple[str, ...]:
    """The columns of a Parquet file in which pandas keeps the index of a frame.

    Args:
        schema: its schema, with metadata.

    Returns:
        Their names.
    """
    about = schema.pandas_metadata or {}
    return tuple(name for name in about.get("index_columns", ()) if isinstance(name, str))


def _plain(values: "pa.ChunkedArray", as_text: bool) -> "pa.ChunkedArray":
    """A column of Parquet in one of the types that text files have."""
    import pyarrow as pa

    compute = functions()
    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.cast(kind.value_type)
        kind = values.type
    if pa.types.is_boolean(kind):
        return compute.if_else(values, "True", "False")
    if pa.types.is_decimal(kind):
        return values.cast(pa.float64())
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or as_text:
        values = values.cast(pa.string())
    whole = pa.types.is_integer(kind) and len(values) > values.null_count
    if whole and max(map(abs, compute.min_max(values).as_py().values())) > LARGEST_WHOLE:
        return values.cast(pa.string())
    return trimmed(values)
