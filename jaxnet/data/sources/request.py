"""What `load` and `stream` were asked for, checked; no source is read here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from jaxnet.data import tokens
from jaxnet.data.tables.table import Table, checked
from jaxnet.errors import InputError, check_path, check_text, check_whole, near, shown

OPTION_WORDS = {
    "label": "label (--label)",
    "drop_columns": "drop_columns (--drop-columns)",
    "groups": "groups (--groups)",
    "order": "order (--order)",
    "task": "task (--task)",
    "image_size": "image_size (--image-size)",
    "data_dir": "data_dir (--data-dir)",
    "inputs": "inputs (--inputs)",
    "pad": "pad (--pad)",
    "table": "table (--encoding, --separator, --decimal, --header, --types, --dates, --sheet, "
    "--missing, --fill or --drop-labels)",
}
NO_GROUPS = "none"  # stands for no groups, where a column would be taken for them


@dataclass(frozen=True)
class Reading:
    """The arguments of `load` besides the name of the source; its docstring explains the fields.

    Where groups were given as "none", `groups` is None and `ungrouped` is True.
    """

    data_dir: Path | None = None
    validation: float = 0.1
    test: float = 0.2
    seed: int = 0
    task: str | None = None
    label: str | tuple[str, ...] | None = None
    groups: str | None = None
    order: str | None = None
    drop_columns: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    table: Table = Table()
    ungrouped: bool = False
    inputs: str = "numbers"
    pad: int | None = None

    @property
    def parts(self) -> int:
        """The number of parts that examples are divided into."""
        return 1 + (self.test > 0) + (self.validation > 0)

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that were named for what they are: label, groups and order."""
        others = (name for name in (self.groups, self.order) if name is not None)
        return (*self.labels, *others)

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns that were named as labels or values to learn; () where none was."""
        if self.label is None:
            return ()
        return (self.label,) if isinstance(self.label, str) else self.label

    @property
    def several(self) -> bool:
        """Whether several labels or values of each example are asked for."""
        return isinstance(self.label, tuple) or self.task == "multi-label"

    @property
    def tokens(self) -> bool:
        """Whether inputs are tokens."""
        return self.inputs == "tokens"

    @property
    def fill(self) -> str | int:
        """What stands in for gaps in a table: the id that fills up sequences of tokens, or what its
        Table says; "refuse" where nothing can.
        """
        if not self.tokens or self.table.columns is not None:
            return self.table.fill
        return "refuse" if self.pad is None else self.pad

    def needs(self, column: str) -> bool:
        """Whether a column of a table is not left out."""
        return column not in self.drop_columns and self.table.types.get(column) != "drop"

    def refuse(self, source: object, *names: str) -> None:
        """Refuse options that a source does not use.

        Args:
            source: the source, for the message.
            *names: names of the options.

        Raises:
            InputError: where one of them differs from its default.
        """
        default = {f.name: f.default for f in fields(self)}
        for name in names:
            if getattr(self, name) != default[name]:
                raise InputError(
                    f"{OPTION_WORDS[name]} is {getattr(self, name)!r}, but {source} has no use "
                    "for it; "
                    "leave it out"
                )

    @classmethod
    def of(
        cls,
        *,
        data_dir: str | Path | None,
        drop_columns: Any = (),
        image_size: Any = None,
        table: Any = None,
        **given: Any,
    ) -> "Reading":
        """Check what `load` or `stream` was given.

        Args:
            data_dir: a path, or None.
            drop_columns: names of columns.
            image_size: (height, width), or None.
            table: a Table, or None.
            **given: the other fields.

        Returns:
            The Reading.

        Raises:
            InputError: for what is no path, name or size.
        """
        if data_dir is not None:
            check_path("data_dir", data_dir)
        if isinstance(given.get("label"), list | tuple | np.ndarray):
            given["label"] = _several_names(given["label"])
        for what in ("label", "groups", "order"):
            value = given.get(what)
            if value is None or (what == "label" and isinstance(value, tuple)):
                continue
            check_text(what, value, "the name of a column, or leave it out")
        names = (
            (drop_columns,)
            if isinstance(drop_columns, str)
            else ()
            if drop_columns is None
            else drop_columns
        )
        if not isinstance(names, tuple | list | np.ndarray):
            raise InputError(
                f"drop_columns is {shown(drop_columns)}; give names of columns, such as ('age', "
                "'name')"
            )
        for name in names:
            check_text("drop_columns", name, "names of columns, such as ('age', 'name')")
        if image_size is not None and (
            not isinstance(image_size, tuple | list) or len(image_size) != 2
        ):
            raise InputError(f"image_size is {shown(image_size)}; give (height, width)")
        tokens.check(given.get("inputs", "numbers"), given.get("pad"))
        for side in image_size or ():
            check_whole("image_size", side)
        if given.get("groups") == NO_GROUPS:
            given |= {"groups": None, "ungrouped": True}
        folder, size = (
            None if data_dir is None else Path(data_dir),
            None if image_size is None else tuple(image_size),
        )
        return cls(
            data_dir=folder,
            drop_columns=tuple(map(str, names)),
            image_size=size,
            table=checked(table),
            **given,
        )

    def refuse_none(self, columns: Iterable[str], where: str) -> None:
        """Refuse groups="none" where a column is called so.

        Args:
            columns: names of the columns.
            where: the source, for the message.

        Raises:
            InputError: it says what to do.
        """
        if self.ungrouped and NO_GROUPS in columns:
            raise InputError(
                f"{where}: has a column {NO_GROUPS!r}, and groups={NO_GROUPS!r} (--groups "
                f"{NO_GROUPS}) asks for no groups; rename the column to group by it, or leave it "
                f"out with --drop-columns {NO_GROUPS} (drop_columns=) to have no groups"
            )

    def column(self, what: str, columns: Mapping[str, Any], where: str) -> np.ndarray:
        """The array or column that was named for groups or order.

        Args:
            what: "groups" or "order".
            columns: the arrays by name.
            where: the source, for messages.

        Returns:
            The array.

        Raises:
            InputError: where there is none of this name.
        """
        name = getattr(self, what)
        if name not in columns:
            raise InputError(
                f"{where}: has no {name!r} for {what}{near(name, columns, 'it holds')}"
            )
        return np.asarray(columns[name])


def _several_names(given: Any) -> str | tuple[str, ...]:
    """The names of several label columns; a single one is that of an ordinary label."""
    names = tuple(given)
    for name in names:
        check_text("label", name, "names of columns, such as ['tag_a', 'tag_b'], or leave it out")
    if not names or len(set(names)) < len(names):
        raise InputError(f"label is {shown(given)}; give the name of each column once")
    return str(names[0]) if len(names) == 1 else tuple(map(str, names))
