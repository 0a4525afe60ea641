"""Read new examples for a trained network from a file."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Num

from jaxnet import arrays
from jaxnet.data import checks
from jaxnet.data.schema import Column, Dates, Schema
from jaxnet.data.sources.csv import encode, read_table
from jaxnet.data.sources.formats import FORMATS, format_of, refuse_known
from jaxnet.data.sources.images import read_image
from jaxnet.data.sources.npz import read_npz
from jaxnet.data.tables.cells import Cells
from jaxnet.data.tables.table import Table
from jaxnet.data.tokens import padded, refused_rows
from jaxnet.errors import InputError, near, near_path

NAMED = 5  # columns in a note


class Examples(NamedTuple):
    """New examples for a trained network.

    Attributes:
        x: (examples, ...) as the network takes them; NaN in those that cannot be used.
        notes: what was filled, left out or unknown, with counts.
        refused: why examples cannot be used, by their number from 0.
    """

    x: Num[np.ndarray, "examples ..."]
    notes: tuple[str, ...] = ()
    refused: dict[int, str] = {}  # noqa: RUF012 - never changed

    @property
    def usable(self) -> np.ndarray:
        """(usable,) the numbers of the examples that can be used, from 0."""
        return np.setdiff1d(np.arange(len(self.x)), [*self.refused])


def read_examples(
    path: Path,
    shape: tuple[int, ...],
    schema: Schema,
    table: Table | None = None,
    *,
    strict: bool = True,
) -> Examples:
    """Read new examples from a file, encoded like those that a network was trained on: a table, the
    array x of an .npz file, or one PNG or JPEG image.

    The columns of a table are found by their names, in any order.

    Args:
        path: the file.
        shape: shape of the examples that the network was trained on.
        schema: what their numbers mean; a table needs its columns, and an image its white pixel.
        table: what is known of a table beforehand.
        strict: whether to raise where a row cannot be used, or has a category that is not known.

    Returns:
        The Examples.

    Raises:
        InputError: for what does not fit, and where no row can be used; if strict, for the first
            row that cannot be used.
    """
    match format_of(path):
        case "table" if schema.columns is not None:
            table = Table() if table is None else table
            if table.missing is None:
                table = replace(table, missing=schema.missing)
            found = _read_rows(path, schema.columns, table, strict, tokens=schema.tokens)
        case "arrays":
            found = _read_arrays(path, shape, schema, strict)
        case "image":
            found = Examples(read_image(path, shape, schema.pixel_max))
        case _:
            raise _unfit(path, schema)
    if schema.vocabulary is not None:
        unknown = refused_rows(found.x, schema.vocabulary)
        found = found._replace(refused=dict(sorted((unknown | found.refused).items())))
        if strict and found.refused:
            why = next(iter(found.refused.values()))
            raise InputError(f"{path}: {why}; correct the file, or leave the row out")
    if found.refused and not len(found.usable):
        raise InputError(f"{path}: no row can be used; {found.refused[0]}")
    return found


def _unfit(path: Path, schema: Schema) -> InputError:
    """The error for a file that holds no examples for this network."""
    if path.is_dir():
        return InputError(f"{path}: is a folder; give the files in it")
    if format_of(path) is None and not path.exists():
        return InputError(f"{path}: no such file{near_path(path)}")
    if format_of(path) == "table":
        return InputError(
            f"{path}: is a table, but the network did not learn from one; give PNG or JPEG "
            "images, or .npz files"
        )
    refuse_known(path)
    tables = ", ".join(ending for ending, held in FORMATS.items() if held == "table")
    return InputError(
        f"{path}: give PNG or JPEG images, .npz files, or, for a network that learned from a "
        f"table, files that end in {tables} or .csv.gz"
    )


def _read_rows(
    path: Path, columns: Sequence[Column], table: Table, strict: bool, *, tokens: bool
) -> Examples:
    """The rows of a table, by the rules that were learned with the network."""
    if table.dates is not None:  # new dates may be written otherwise
        columns = [
            each if each.dates is None else each._replace(dates=_ordered(each.dates, table.dates))
            for each in columns
        ]
    cells = _read_named(path, columns, table)
    encoded = encode(columns, cells, path, strict=strict)
    used = {column.name for column in columns}
    others = [repr(name) for name in cells if name not in used]
    # gaps among tokens are the ends of shorter sequences
    notes = (*cells.notes, *(() if tokens else encoded.notes))
    if others:
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        notes += (
            f"not used: {', '.join(others[:NAMED])}{more}, from which the network did not learn",
        )
    return Examples(encoded.x, notes, encoded.refused)


def _ordered(dates: Dates, order: str) -> Dates:
    return dates._replace(order=order)


def _read_named(path: Path, columns: Sequence[Column], table: Table) -> Cells:
    """The cells of a table whose columns have known names, which tell whether its first line has
    them.
    """
    names = {each.name for each in columns}
    texts = {each.name for each in columns if each.categories is not None}

    def read(table: Table) -> Cells:
        return read_table(path, table, texts, labels=names, needed=names.__contains__)[0]

    cells = read(table)
    if table.header is None and not names <= cells.keys():
        for header in (True, False):
            with suppress(InputError):  # such as for values that would be names twice
                other = read(replace(table, header=header))
                if names <= other.keys():
                    return other
    return cells


def _read_arrays(path: Path, shape: tuple[int, ...], schema: Schema, strict: bool) -> Examples:
    """The array x of an .npz file; shorter sequences of tokens are filled up."""
    held = read_npz(path)
    if "x" not in held:
        raise InputError(f"{path}: needs an array x{near('x', sorted(held), 'the file holds')}")
    x = held["x"]
    try:
        refused, x = {}, checks.inputs(x, f"{path}: ")
    except InputError:
        refused = {} if strict else _not_finite(x)
        if not 0 < len(refused) < len(x):
            raise
    if schema.pad is not None and x.ndim == 2:
        x = padded(f"{path}: x", x, schema.pad, shape[0])
    if x.shape[1:] != shape:
        raise InputError(
            f"{path}: x has examples of shape {x.shape[1:]}, but the network was trained on "
            f"{shape}; give examples like those"
        )
    return Examples(x, (), refused)


def _not_finite(x: np.ndarray) -> dict[int, str]:
    """Why rows of an array cannot be used, by their number from 0."""
    if x.dtype.kind != "f" or x.ndim < 2:
        return {}
    bad = ~(np.abs(x) <= arrays.FLOAT32_MAX)
    first = {}
    for place in map(tuple, np.argwhere(bad).tolist()):
        first.setdefault(
            place[0], f"x holds {x[place]} in {arrays.counted_spot(place)}; write a finite number"
        )
    return first
