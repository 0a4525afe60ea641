"""What is known of a table beforehand; everything else is inferred from the file."""

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from jaxnet import display
from jaxnet.data.schema import Column
from jaxnet.errors import InputError, check_known, check_text, shown

Type = Literal["number", "category", "date", "drop"]
DateOrder = Literal["dmy", "mdy", "ymd"]
Fill = Literal["median", "mean", "refuse"]
DECIMALS = (".", ",")
MISSING = ("NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?", "#N/A")


@dataclass(frozen=True)
class Table:
    """What is known of a table; it overrules what would be inferred from the file.

    Attributes:
        encoding: encoding of the text, such as "utf-8", "cp1252", "shift_jis" or "mac_roman".
        separator: the character between columns; " " for any number of spaces.
        decimal: "." or ",".
        header: whether the first line holds the names of the columns.
        types: what columns become, by name: "number" (also with a unit or sign), "category",
            "date", or "drop" for a column that is left out.
        dates: the order in which the dates of the file are written: "dmy", "mdy" or "ymd".
        sheet: the name of the sheet of a spreadsheet; by default its first.
        missing: the words that mean a gap, such as ("NA", "-"); by default NA, N/A, n/a, NaN, nan,
            NULL, null, None, ? and #N/A. An empty cell always is one, also among text.
        fill: what stands in for a gap in a column of numbers or dates: the "median" or "mean" of
            training and validation rows. Where these rows have gaps, one more input is 1 in them,
            also for text. With "refuse", a table with gaps is refused.
        columns: the columns of a trained network, such as `run.columns`: its inputs are made of the
            table, and nothing is learned from the rows.
        drop_labels: labels whose rows are left out; "" leaves out all rows without a label, however
            many they are.
    """

    encoding: str | None = None
    separator: str | None = None
    decimal: str | None = None
    header: bool | None = None
    types: Mapping[str, Type | str] = field(default_factory=dict)
    dates: DateOrder | str | None = None
    sheet: str | None = None
    missing: Sequence[str] | None = None
    fill: Fill | str = "median"
    columns: tuple[Column, ...] | None = None
    drop_labels: Sequence[str] = ()

    __repr__ = display.text

    @property
    def gaps(self) -> tuple[str, ...]:
        """What a cell without a value holds: nothing, or a word that means that."""
        return ("", *(MISSING if self.missing is None else self.missing))


def checked(table: Any) -> Table:
    """Check what a user gave as a Table.

    Args:
        table: the Table; None stands for one in which nothing is given.

    Returns:
        The Table.

    Raises:
        InputError: for what is no encoding, separator, type or order.
    """
    if table is None:
        return Table()
    if not isinstance(table, Table):
        raise InputError(
            f'table is {shown(table)}; give jaxnet.Table(...), such as jaxnet.Table(separator=";")'
        )
    if table.encoding is not None:
        check_text("encoding", table.encoding, 'such as "utf-8" or "cp1252"')
        try:
            codecs.lookup(table.encoding)
        except LookupError:
            raise InputError(
                f"unknown encoding {shown(table.encoding)}; give the name of one that Python "
                "knows, such as utf-8, cp1252, shift_jis, gbk, mac_roman or cp850"
            ) from None
    if table.separator is not None and (
        not isinstance(table.separator, str)
        or len(table.separator) != 1
        or not table.separator.isascii()
        or table.separator in '"\r\n\0'
    ):
        raise InputError(
            f"separator is {shown(table.separator)}; give the one character between columns, such "
            'as "," or ";"'
        )
    if table.decimal is not None:
        check_known("decimal sign", table.decimal, DECIMALS)
    if table.header is not None and not isinstance(table.header, bool):
        raise InputError(f"header is {shown(table.header)}; give True or False")
    if not isinstance(table.types, Mapping):
        raise InputError(
            f"types is {shown(table.types)}; give a type for each column, such as "
            '{"age": "number"}'
        )
    if not isinstance(table.drop_labels, tuple | list) or not all(
        isinstance(each, str) for each in table.drop_labels
    ):
        raise InputError(
            f"drop_labels is {shown(table.drop_labels)}; give labels as text, such as ('unknown',)"
        )
    for name, kind in table.types.items():
        check_text("types", name, "names of columns")
        check_known(f"type of column {name!r}", kind, get_args(Type))
    if table.dates is not None:
        check_known("order of dates", table.dates, get_args(DateOrder))
    if table.sheet is not None:
        check_text("sheet", table.sheet, "the name of a sheet")
    if isinstance(table.missing, str) or not isinstance(table.missing, Sequence | None):
        raise InputError(
            f'missing is {shown(table.missing)}; give words that mean a gap, such as ("NA", "-")'
        )
    for word in table.missing or ():
        check_text("missing", word, 'words that mean a gap, such as ("NA", "-")')
    check_known("fill", table.fill, get_args(Fill))
    if table.columns is not None and not all(isinstance(each, Column) for each in table.columns):
        raise InputError(
            f"columns is {shown(table.columns)}; give those of a trained network: run.columns"
        )
    return table


def refuse_unused(table: Table, source: object, *names: str) -> None:
    """Refuse what a source of cells has no use for.

    Args:
        table: the Table.
        source: the source, for the message.
        *names: names of fields.

    Raises:
        InputError: where one of them is given.
    """
    for name in names:
        if (given := getattr(table, name)) is not None:
            raise InputError(f"{source}: has no use for {name} ({given!r}); leave it out")
