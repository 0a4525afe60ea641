"""The command `look`: what `load` makes of a data set, and a command line that trains on it."""

import io
import shlex
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import fields
from pathlib import Path
from typing import Any

from jaxnet.cli.options import DataOptions, LookOptions, read, table_of
from jaxnet.data import Column, Splits
from jaxnet.data.sources.csv import label_of, read_table
from jaxnet.data.sources.formats import format_of
from jaxnet.data.tables.cells import Cells
from jaxnet.report import console
from jaxnet.runtime.files import write_text, writing

FIRST_ROWS = 3
NAMED = 5  # categories in a line


def look(options: LookOptions) -> None:
    """Print what `load` makes of a data set: the notes, each column of a table, the labels, and a
    command line that trains on it.
    """
    splits, _ = read(options)
    path, label = Path(options.dataset), options.label
    columns: list[tuple[str, str, str, str]] = []
    if format_of(path) == "table":
        table, named = table_of(options), (label, splits.grouped_by, options.order)
        cells, _ = read_table(
            path,
            table,
            labels=[each for each in named if each is not None],
            needed=lambda name: (
                name not in options.drop_columns and table.types.get(name) != "drop"
            ),
        )
        used = [name for name in cells if name not in options.drop_columns]
        label = label_of(used, label, (splits.grouped_by, options.order))
        uses = {label: "label", splits.grouped_by: "groups", options.order: "order"}
        columns = [_line(name, cells, splits, uses) for name in cells]
    text = io.StringIO()
    with redirect_stdout(text):
        console.data(splits)
        if columns:
            console.columns(columns)
        console.labels(splits)
        command = shlex.join(["jaxnet", "train", *command_line(options, label)])
        console.say(f"nothing was trained; this trains: {command}")
    if options.out is None:
        print(text.getvalue(), end="")
    else:
        with writing(options.out):
            write_text(options.out, text.getvalue())


def _line(
    name: str, cells: Cells, splits: Splits, uses: dict[str | None, str]
) -> tuple[str, str, str, str]:
    """(a column of the table, what it becomes, its gaps, its first values)."""
    column = next((each for each in splits.columns or () if each.name == name), None)
    becomes = uses.get(name) or ("left out" if column is None else described(column))
    values = cells[name]
    first = ("" if each is None else str(each) for each in values[:FIRST_ROWS].to_pylist())
    return name, becomes, f"{values.null_count:,}" * bool(values.null_count), ", ".join(first)


def described(column: Column) -> str:
    """What a column becomes, in words."""
    if column.dates is not None:
        return f"date: {', '.join(column.dates.parts)}"
    if column.categories is not None:
        more = ", ..." * (len(column.categories) > NAMED)
        return f"{len(column.categories)} categories: {', '.join(column.categories[:NAMED])}{more}"
    return f"number in {column.unit}" if column.unit else "number"


def command_line(options: DataOptions, label: str | None) -> list[str]:
    """The words of a command line that reads the same data.

    Args:
        options: which data are read, and how.
        label: the column that is learned, where the data are a table.

    Returns:
        The data set, and the options that differ from their defaults.
    """
    words, default = [options.dataset], DataOptions()
    for field in fields(DataOptions):
        value = label if field.name == "label" else getattr(options, field.name)
        if field.name != "dataset" and value != getattr(default, field.name):
            words += _words(field.name.replace("_", "-"), value)
    return words


def _words(name: str, value: Any) -> Iterable[str]:
    """An option and its value, as they are typed."""
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    values = value if isinstance(value, tuple) else (value,)
    return [f"--{name}", *(r"\t" if each == "\t" else str(each) for each in values)]
