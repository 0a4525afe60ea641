"""How fast is a table read, from text to the inputs of a network, beside pandas' C reader?

    python -m experiments.benchmarks.table --rows 200000

Numbers and categories in a comma dialect and in that of a European spreadsheet; jaxnet's time
includes encoding the categories, pandas' only reading. In turn, medians. pandas is left out where
it is missing.
"""

import importlib.util
import statistics
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


@dataclass(frozen=True)
class Options:
    """What to measure."""

    rows: int = 200_000
    """rows of the table"""
    columns: int = 16
    """columns of numbers; two of categories and the label come on top"""
    rounds: int = 5
    """readings of each"""


def write(path: Path, options: Options, *, european: bool) -> None:
    """A table of random numbers and categories."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(0, 100, (options.rows, options.columns)).round(4).astype(str)
    numbers = np.char.replace(numbers, ".", ",") if european else numbers
    colors = rng.choice(["red", "green", "blue"], (options.rows, 3))
    separator = ";" if european else ","
    head = separator.join([f"n{i}" for i in range(options.columns)] + ["a", "b", "label"])
    lines = [
        head,
        *(separator.join((*row, *color)) for row, color in zip(numbers, colors, strict=True)),
    ]
    path.write_text("\n".join(lines), "utf-8-sig" if european else "utf-8")


def main() -> None:
    """Read in turn, print medians and ratios."""
    options = tyro.cli(Options, description=__doc__)
    table = Table("", "seconds", "rows a second", "jaxnet / pandas", box=None)
    with tempfile.TemporaryDirectory() as folder:
        for european in (False, True):
            path = Path(folder) / f"{european}.csv"
            write(path, options, european=european)
            encodings = jaxnet.load(path).columns
            assert encodings is not None
            kinds: dict[str, Callable[[], object]] = {
                "jaxnet": lambda e=encodings, p=path: encode(e, read_table(p)[0], p).x
            }
            if importlib.util.find_spec("pandas") is not None:
                import pandas

                separator, decimal = (";", ",") if european else (",", ".")
                kinds["pandas"] = lambda p=path, s=separator, d=decimal: pandas.read_csv(
                    p, engine="c", sep=s, decimal=d
                )
            seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
            for _ in range(options.rounds):
                for kind, read in kinds.items():
                    began = time.perf_counter()
                    read()
                    seconds[kind].append(time.perf_counter() - began)
            medians = {kind: statistics.median(each) for kind, each in seconds.items()}
            for kind, median in medians.items():
                ratio = f"{median / medians['pandas']:.2f}" if "pandas" in medians else ""
                dialect_name = "European" if european else "comma"
                table.add_row(
                    f"{kind}, {dialect_name}",
                    f"{median:.3f}",
                    f"{options.rows / median:,.0f}",
                    ratio,
                )
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
