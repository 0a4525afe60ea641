"""End the message on a table that cannot be used with a command line that works."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from jaxnet.data.dataset import Splits
from jaxnet.data.sources.request import NO_GROUPS, Reading
from jaxnet.data.tables.problems import Problem, Unusable
from jaxnet.data.tables.table import Table
from jaxnet.errors import InputError

ATTEMPTS = 3  # a remedy may uncover a problem that was hidden
NAMES = {"seed": "split_seed"}  # of options that the command line calls otherwise


def or_explain(source: Path | str, reading: Reading, read: Callable[[Reading], Splits]) -> Splits:
    """Read a table. Where it cannot be used, find options with which it can, by trying them.

    Args:
        source: the file, or words for a data frame.
        reading: what `load` was asked for.
        read: reads the table.

    Returns:
        The Splits.

    Raises:
        InputError: all problems of the table, then a command line, or for a data frame a call,
            that reads it.
    """
    try:
        return read(reading)
    except Unusable as error:
        said, problems, label = str(error), error.problems, error.label
    # here nothing holds the columns that were read any more
    if reading.table.columns is not None:  # of a finished run, whose options are known
        raise InputError(said)
    only_file = [number + 1 for number, each in enumerate(problems) if each.cure is None]
    if len(only_file) == len(problems):
        raise InputError(said)
    wanted = cured(replace(reading, label=label or reading.label), problems)
    if only_file:
        numbers = " and ".join(f"({number})" for number in only_file)
        raise InputError(f"{said}. Once the file has no {numbers}: {command(source, wanted)}")
    for _ in range(ATTEMPTS):
        try:
            read(wanted)
        except Unusable as error:
            wanted = cured(wanted, error.problems)
        except InputError:
            break
        else:
            raise InputError(f"{said}. This works: {command(source, wanted)}")
    raise InputError(said)


def cured(reading: Reading, problems: Sequence[Problem]) -> Reading:
    """Add the cures of problems to what was asked for.

    Args:
        reading: what was asked for.
        problems: what is wrong.

    Returns:
        The Reading.
    """
    own = {field.name for field in fields(Reading)}
    for problem in problems:
        for name, value in (problem.cure or {}).items():
            before = getattr(reading if name in own else reading.table, name)
            if isinstance(value, tuple):
                before = before or ()
                value = (*before, *(each for each in value if each not in before))
            elif isinstance(value, dict):
                value = {**before, **value}
            if name in own:
                reading = replace(reading, **{name: value})
            else:
                reading = replace(reading, table=replace(reading.table, **{name: value}))
    return reading


def command(source: Path | str, reading: Reading) -> str:
    """How to read a table in this way.

    Args:
        source: the file, or words for a data frame.
        reading: what is asked for.

    Returns:
        A command line that trains on the file; for a data frame a call of `load`.
    """
    given = dict(_given(reading, Reading()))
    table = dict(_given(given.pop("table", Table()), Table()))
    if given.pop("ungrouped", False):
        given["groups"] = NO_GROUPS
    if isinstance(source, str):
        words = [f"{name}={value!r}" for name, value in given.items()]
        if table:
            inner = ", ".join(f"{name}={value!r}" for name, value in table.items())
            words.append(f"table=jaxnet.Table({inner})")
        return f"jaxnet.load({', '.join(['frame', *words])})"
    words = [word for each in (given | table).items() for word in _words(*each)]
    return shlex.join(["jaxnet", "train", str(source), *words])


def _given(values: Any, default: Any) -> Iterator[tuple[str, Any]]:
    """The fields that differ from their defaults."""
    for field in fields(values):
        value = getattr(values, field.name)
        if value != getattr(default, field.name):
            yield field.name, value


def _words(name: str, value: Any) -> list[str]:
    """An option and its values, as they are typed."""
    option = NAMES.get(name, name).replace("_", "-")
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    if isinstance(value, dict):
        value = tuple(f"{column}={kind}" for column, kind in value.items())
    each = value if isinstance(value, tuple) else (value,)
    return [f"--{option}", *(r"\t" if word == "\t" else str(word) for word in each)]
