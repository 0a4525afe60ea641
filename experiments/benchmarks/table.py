"""How fast is a table read, from text to the inputs of a network, beside pandas' C reader?

    python -m experiments.benchmarks.table
    python -m experiments.benchmarks.table --memory-rows 2000000

Numbers and categories in a comma dialect and in that of a European spreadsheet. What jaxnet infers,
checks and notes is in its time, and so is encoding the categories; pandas is told the dialect, and
only reads. `load` also splits the rows and looks for equal ones. Medians of rounds in which each
reads in turn, and of the ratios within a round; where the machine does something else, too, compare
the seconds that the processors worked. pandas reads files of more than 5 MB with several threads
since its version 3.1, and is left out where it is missing.
"""

import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import jaxnet
from jaxnet.data.sources.csv import encode, read_table

# of a process that does nothing else
PEAK = """
import sys, jaxnet
jaxnet.load(sys.argv[1])
status = open("/proc/self/status").read()
print(int(status.split("VmHWM:")[1].split()[0]) / 2**20)
"""
BLOCK = 50_000  # different rows of a table for --memory-rows


@dataclass(frozen=True)
class Options:
    """What to measure."""

    rows: int = 50_000
    """rows of the table"""
    columns: int = 17
    """columns of numbers; two of categories and the label come on top"""
    rounds: int = 9
    """readings of each"""
    memory_rows: int = 0
    """measure the peak memory of load for so many rows instead (on Linux)"""


def write(path: Path, options: Options, *, european: bool, rows: int) -> None:
    """A table of random numbers and categories, in which 50,000 rows repeat."""
    rng = np.random.default_rng(0)
    different = min(rows, BLOCK) if options.memory_rows else rows
    numbers = rng.normal(0, 100, (different, options.columns)).round(4).astype(str)
    numbers = np.char.replace(numbers, ".", ",") if european else numbers
    colors = rng.choice(["red", "green", "blue"], (different, 3))
    separator = ";" if european else ","
    head = separator.join([f"n{i}" for i in range(options.columns)] + ["a", "b", "label"])
    lines = [separator.join((*row, *color)) for row, color in zip(numbers, colors, strict=True)]
    with path.open("w", encoding="utf-8-sig" if european else "utf-8") as file:
        file.write(head + "\n")
        for start in range(0, rows, different):
            file.write("\n".join(lines[: rows - start]) + "\n")


def main() -> None:
    """Print a table of seconds, or of memory."""
    options = tyro.cli(Options, description=__doc__)
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for dialect in ("comma", "European"):
            paths[dialect] = Path(folder) / f"{dialect}.csv"
            european, rows = dialect == "European", options.memory_rows or options.rows
            write(paths[dialect], options, european=european, rows=rows)
        table = _memory(paths) if options.memory_rows else _seconds(paths, options)
    Console(highlight=False).print(table)


def _memory(paths: dict[str, Path]) -> Table:
    table = Table("", "peak memory of load, GiB", "size of the file, GiB", box=None)
    for dialect, path in paths.items():
        command = [sys.executable, "-c", PEAK, str(path)]
        peak = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        table.add_row(dialect, f"{peak:.2f}", f"{path.stat().st_size / 2**30:.2f}")
    return table


def _seconds(paths: dict[str, Path], options: Options) -> Table:
    table = Table("", "seconds", "jaxnet / pandas", "of processors", "jaxnet / pandas", box=None)
    for dialect, path in paths.items():
        readers = _readers(path, european=dialect == "European")
        seconds: dict[str, list[np.ndarray]] = {name: [] for name in readers}
        for _ in range(options.rounds):
            for name, read in readers.items():
                began = _clocks()
                read()
                seconds[name].append(_clocks() - began)
        for name, each in seconds.items():
            wall, work = (f"{median:.3f}" for median in np.median(each, 0))
            beside = ("", "")
            if "pandas" in seconds:
                ratios = np.median(np.divide(each, seconds["pandas"]), 0)
                beside = tuple(f"{ratio:.2f}" for ratio in ratios)
            table.add_row(f"{name}, {dialect}", wall, beside[0], work, beside[1])
    return table


def _clocks() -> np.ndarray:
    """The time, and how long processors worked for this process, in seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def _readers(path: Path, *, european: bool) -> dict[str, Callable[[], object]]:
    encodings = jaxnet.load(path).columns
    assert encodings is not None
    readers: dict[str, Callable[[], object]] = {
        "jaxnet": lambda: encode(encodings, read_table(path)[0], path),
        "jaxnet, load": lambda: jaxnet.load(path),
    }
    if importlib.util.find_spec("pandas") is not None:
        import pandas

        separator, decimal = (";", ",") if european else (",", ".")
        readers["pandas"] = lambda: pandas.read_csv(
            path, engine="c", sep=separator, decimal=decimal
        )
    return readers


if __name__ == "__main__":
    main()
