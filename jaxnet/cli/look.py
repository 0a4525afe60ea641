"""The command `look`: what `load` makes of a data set, and a command line that trains on it."""

import io
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

from jaxnet.cli.options import READING, LookOptions, read, table_of
from jaxnet.data import Column
from jaxnet.data.sources.csv import label_of, read_table
from jaxnet.data.sources.formats import format_of
from jaxnet.data.sources.remedy import command
from jaxnet.data.sources.request import Reading
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
    path, given = Path(options.dataset), {name: getattr(options, name) for name in READING}
    reading = Reading.of(**given, seed=options.split_seed, table=table_of(options))
    columns: list[tuple[str, str, str, str]] = []
    if format_of(path) == "table":
        cells, _ = read_table(path, reading.table, labels=reading.named, needed=reading.needs)
        used = [name for name in cells if name not in reading.drop_columns]
        label = reading.label or label_of(used, None, (splits.grouped_by, reading.order))
        named = replace(reading, label=label).labels
        uses = {splits.grouped_by: "groups", reading.order: "order"}
        uses |= dict.fromkeys(named, "label")
        uses |= {each.name: described(each) for each in splits.columns or ()}
        columns = [_line(name, cells, uses.get(name, "left out")) for name in cells]
        reading = replace(reading, label=label)
    text = io.StringIO()
    with redirect_stdout(text):
        console.data(splits)
        if columns:
            console.columns(columns)
        console.labels(splits)
        console.say(f"nothing was trained; this trains: {command(path, reading)}")
    if options.out is None:
        print(text.getvalue(), end="")
    else:
        with writing(options.out):
            write_text(options.out, text.getvalue())


def _line(name: str, cells: Cells, becomes: str) -> tuple[str, str, str, str]:
    """(a column of the table, what it becomes, its gaps, its first values)."""
    values = cells[name]
    first = ("" if each is None else str(each) for each in values[:FIRST_ROWS].to_pylist())
    return name, becomes, f"{values.null_count:,}" * bool(values.null_count), ", ".join(first)


def described(column: Column) -> str:
    """What a column becomes, in words."""
    gaps = " and gaps" * column.missing
    if column.dates is not None:
        return f"date: {', '.join(column.dates.parts)}{gaps}"
    if column.categories is not None:
        more = ", ..." * (len(column.categories) > NAMED) + " and others" * column.other
        names = ", ".join(column.categories[:NAMED])
        return f"{len(column.categories)} categories: {names}{more}{gaps}"
    return f"number in {column.unit}{gaps}" if column.unit else f"number{gaps}"
