"""The labels of a table: which class or value each row has, and which rows have none."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxnet.data import checks, targets
from jaxnet.data.schema import Column, Schema
from jaxnet.data.sources.request import Reading
from jaxnet.data.tables import numbers
from jaxnet.data.tables.cells import Cells
from jaxnet.data.tables.identifiers import are_codes
from jaxnet.data.tables.inputs import on_gaps
from jaxnet.data.tables.kinds import distinct, refuse_mixed
from jaxnet.data.tables.problems import Problem, Refused
from jaxnet.data.tables.values import values_of
from jaxnet.errors import InputError, near

MOST_UNLABELED = 0.05  # share of the rows
FEWEST = 3  # rows of a class, one for each part
ANSWERS = {"yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}
MOST_ODD = 10  # labels that a command line leaves out


class Target(NamedTuple):
    """What a network learns.

    Attributes:
        y: (rows,) class numbers or values.
        classes: names of the classes; None for a regression.
        column: the column of the labels, with the unit of its numbers; None where there are
            several.
        why: why it is this task.
        targets: the columns of y where there are several.
        multi_label: whether they are yes/no labels.
    """

    y: np.ndarray
    classes: tuple[str, ...] | None
    column: Column | None
    why: str
    targets: tuple[Column, ...] | None = None
    multi_label: bool = False

    @property
    def schema(self) -> Schema:
        """What y means."""
        return Schema(self.classes, targets=self.targets, multi_label=self.multi_label)


def unlabeled(label: str, cells: Cells, reading: Reading) -> list[Problem]:
    """Tell whether too many rows have no label, and nobody said that they may be left out.

    Args:
        label: the column of the labels.
        cells: the columns of the table.
        reading: what `load` was asked for.

    Returns:
        The problem, if there is one.
    """
    rows, missing = len(cells[label]), cells[label].null_count
    if missing <= MOST_UNLABELED * rows or "" in reading.table.drop_labels:
        return []
    return [
        Problem(
            f"has no label ({label!r}) in {missing:,} of {rows:,} rows, more than "
            f"{MOST_UNLABELED:.0%}; fill them in, or leave these rows out with --drop-labels '' "
            f"(Table(drop_labels=...)); {on_gaps(reading.table.gaps)}",
            {"drop_labels": ("",)},
        )
    ]


def leave_out_labels(
    path: Path | str, label: str, cells: Cells, reading: Reading
) -> tuple[str, ...]:
    """Leave out the rows with labels that were asked to be left out, and say how many there are.

    Args:
        path: the file, for messages.
        label: the column of the labels.
        cells: the columns of the table, which lose these rows.
        reading: what `load` was asked for.

    Returns:
        A note, if labels were to be left out.

    Raises:
        InputError: for a label that is not there.
    """
    words = [word for word in reading.table.drop_labels if word]
    if not words:
        return ()
    values = cells[label]
    codes, names = distinct(values)
    numbers_of_names = {_as_number(name): name for name in names}
    dropped = [name if name in names else numbers_of_names.get(_as_number(name)) for name in words]
    if None in dropped:
        wrong = words[dropped.index(None)]
        raise InputError(
            f"{path}: has no label {wrong!r} in column {label!r} to leave out"
            f"{near(wrong, names, 'the labels are')}"
        )
    out = np.isin(codes, [names.index(name) for name in dropped if name is not None])
    cells.keep(~out)
    listed = ", ".join(map(repr, words[:5])) + ", ..." * (len(words) > 5)
    return (
        f"left out: {int(out.sum()):,} of {len(out):,} rows, with the label {listed} ({label!r}), "
        "as asked for",
    )


def _as_number(text: str) -> float | str:
    """Text as a number, so that 7 and 7.0 are equal; other text as it is."""
    try:
        return float(text)
    except ValueError:
        return text


def target_of(
    path: Path | str, label: str, cells: Cells, reading: Reading
) -> tuple[Target | None, list[Problem]]:
    """Read what a network learns.

    Args:
        path: the file, for messages.
        label: the column of the labels.
        cells: the columns of the table.
        reading: what `load` was asked for.

    Returns:
        (what a network learns; None where the label cannot be used, problems).
    """
    import pyarrow as pa

    try:
        found = _label(path, label, cells, reading)
    except Refused as error:
        return None, [error.problem]
    if found.classes is None:
        return found, []
    counts = np.bincount(found.y, minlength=len(found.classes))
    rare = [(found.classes[each], int(counts[each])) for each in np.flatnonzero(counts < FEWEST)]
    if not rare or reading.table.columns is not None:  # a finished run had them all the same
        return found, []
    listed = ", ".join(f"{name!r} ({count})" for name, count in rare[:5])
    names = tuple(name for name, _ in rare)
    quoted = shlex.join(names[:5]) + " ..." * (len(rare) > 5)
    either = not pa.types.is_string(cells[label].type)
    many = sum(count for _, count in rare) > MOST_UNLABELED * len(found.y)
    cure = {"drop_labels": names} if len(rare) < len(counts) - 1 else None
    return found, [
        Problem(
            f"the label {label!r} has {_classes(len(rare))} with fewer than {FEWEST} rows: "
            f"{listed}{', ...' * (len(rare) > 5)}; add rows, or leave these out with "
            f"--drop-labels {quoted} (Table(drop_labels=...))"
            + ", or take the numbers as values with --task regression"
            * either,
            {"task": "regression"} if either and many else cure,
        )
    ]


def targets_of(
    path: Path | str, names: Sequence[str], cells: Cells, reading: Reading
) -> tuple[Target | None, list[Problem]]:
    """Read several labels or values of each row.

    Args:
        path: the file, for messages.
        names: the columns of the labels.
        cells: the columns of the table.
        reading: what `load` was asked for.

    Returns:
        (what a network learns; None where a label cannot be used, problems).

    Raises:
        InputError: where it is not clear what labels mean, and for what is no yes/no label.
    """
    found, problems = list[Target](), list[Problem]()
    for name in names:
        try:
            found.append(_one_of_several(path, name, cells, reading))
        except Refused as error:
            problems.append(error.problem)
    if problems:
        return None, problems
    y = np.stack([each.y.astype(np.float64) for each in found], 1)
    wanted = reading.task
    if wanted is None and not ((y == 0) | (y == 1)).all():
        wanted = "regression"
    y, meaning = targets.several(y, task=wanted, names=names, at=f"{path}: ", cure=checks.GAPS_CURE)
    why = "that was asked for" if reading.task else "the label columns hold numbers"
    columns = tuple(each.column for each in found if each.column is not None)
    return Target(y, None, None, f"task: {wanted}, since {why}", columns, meaning.multi_label), []


def _one_of_several(path: Path | str, name: str, cells: Cells, reading: Reading) -> Target:
    """One of several labels or values, as numbers. Raises Refused where it cannot be used."""
    import pyarrow as pa

    if reading.task == targets.MULTI_LABEL and pa.types.is_string(cells[name].type):
        codes, names = distinct(cells[name])
        odd = [each for each in names if each.lower() not in ANSWERS]
        if odd:
            raise Refused(
                f"the label {name!r} has {odd[0]!r}, which is neither yes nor no; write 1 or 0, "
                "true or false, yes or no"
            )
        y = np.array([ANSWERS[each.lower()] for each in names])[codes]
        return Target(y, None, Column(name), "")
    return _label(path, name, cells, replace(reading, task="regression"))


def _classes(count: int) -> str:
    return "one class" if count == 1 else f"{count} classes"


def _label(path: Path | str, name: str, cells: Cells, reading: Reading) -> Target:
    """What a network learns. Raises Refused where the label cannot be used."""
    import pyarrow as pa

    values, wanted = cells[name], reading.table.types.get(name, cells.types.get(name))
    where = f"{path}, column {name!r}"
    if pa.types.is_temporal(values.type):
        raise Refused(
            f"the label {name!r} contains times; name another with --label, or give numbers"
        )
    column = Column(name)
    if pa.types.is_string(values.type):
        codes, names = distinct(values)
        found = None
        if wanted != "category" and not are_codes(names):
            found = numbers.numbers_of(names, cells.decimal)
            if found is None:
                _refuse_mixed_labels(name, names, cells)
        booleans = all(each.lower() in numbers.BOOLEANS for each in names)
        if found is None or (booleans and reading.task != "regression"):
            task, why = checks.task([np.array(names)], reading.task, where)
            return Target(codes, tuple(names), column, f"task: {task}, since {why}")
        column = Column(name, unit=found.form.unit or None)
    held = values_of(column, cells)
    if held.refused:
        rows = [*held.refused]
        odd = tuple(values.take(rows).cast(pa.string()).unique().to_pylist())
        raise Refused(
            f"{held.refused[min(rows)]}; or leave such rows out with --drop-labels "
            f"{shlex.join(odd[:5])} (Table(drop_labels=...))",
            **({"drop_labels": odd} if len(odd) <= MOST_ODD else {}),
        )
    task, why = checks.task([held.each], reading.task, where)
    why = f"task: {task}, since {why}"
    if column.unit:
        why += f"; the values are in {column.unit}"
    if task == "regression":
        return Target(held.each, None, column, why)
    different, codes = np.unique(held.each, return_inverse=True)
    return Target(codes, checks.numbers_as_names(different), column, why)


def _refuse_mixed_labels(name: str, names: list[str], cells: Cells) -> None:
    """Refuse text among labels that are numbers."""
    try:
        refuse_mixed(name, cells, cure="; fix them")
    except Refused as error:
        odd = tuple(
            each
            for each, is_number in zip(names, numbers.are_numbers(names), strict=True)
            if not is_number
        )
        if not 0 < len(odd) <= MOST_ODD:
            raise Refused(error.problem.why) from None
        raise Refused(
            f"{error.problem.why}, or leave these rows out with --drop-labels "
            f"{shlex.join(odd[:5])}{' ...' * (len(odd) > 5)} (Table(drop_labels=...))",
            drop_labels=odd,
        ) from None
