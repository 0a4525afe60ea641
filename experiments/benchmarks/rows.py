"""Long studies: their options and processes, and tables to which rows are added as they come, so
that a study goes on where it stopped.
"""

import argparse
import csv
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

R = TypeVar("R")


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a table; none where there is no table yet."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, rows: Sequence[Mapping[str, object]], fields: Sequence[str]) -> None:
    """Add rows to a table, which begins with the names of its fields."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


def parser(about: str | None, table: Path, **counts: int) -> argparse.ArgumentParser:
    """The options that every study has.

    Args:
        about: what the study asks.
        table: where its rows stand by default.
        **counts: other options that are whole numbers, with their defaults.
    """
    made = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, count in counts.items():
        made.add_argument(f"--{name}", type=int, default=count)
    made.add_argument("--part", default="1/1", help="which part of the cases, such as 2/3")
    made.add_argument("--only", default="", help="a case, or those with this in their name")
    made.add_argument("--table", type=Path, default=table)
    return made


def missing(options: argparse.Namespace, cases: Iterable[str], column: str) -> Iterator[str]:
    """The cases of the part that was asked for, as far as the table lacks them when it is their
    turn.
    """
    part, parts = map(int, options.part.split("/"))
    cases = list(cases)
    named = [options.only] if options.only in cases else [c for c in cases if options.only in c]
    for name in named[part - 1 :: parts]:
        if name not in {row[column] for row in read(options.table)}:
            yield name


def processes(count: int) -> ProcessPoolExecutor:
    """Processes that simulate. JAX is multithreaded, so none is forked."""
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"))


def in_chunks(
    pool: ProcessPoolExecutor,
    simulate: Callable[[str, int, int], R],
    name: str,
    count: int,
    chunk: int,
) -> Iterator[R]:
    """What simulations of a case give, in order: each call takes the name, the number of its first
    repetition and how many.
    """
    starts = range(0, count, chunk)
    sizes = [min(chunk, count - start) for start in starts]
    return pool.map(simulate, [name] * len(sizes), starts, sizes)
