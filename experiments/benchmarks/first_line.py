"""How long does a command leave the person at a terminal without a word?

    python -m experiments.benchmarks.first_line
    python -m experiments.benchmarks.first_line --only shift --only "sweep --help"

Runs every command and every script of experiments/ in a pseudo-terminal, on small data and with an
empty cache of compiled programs, and measures the seconds to the first line and the longest time
without a change of what is shown, after it and up to the end. `prepare` needs a download, so only
its help is timed. Other work on the machine slows every one of them: look at the load that is
printed.
"""

import os
import pty
import re
import select
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import jaxnet
from jaxnet.cli.commands import questions

FIRST, SILENCE = 2.0, 3.0  # seconds
INVISIBLE = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]|\s")
CLASSES, VALUES = "classes.csv", "values.csv"
# in this order: some need the run of another
WORK = (
    "look classes.csv",
    "digits --out digits",
    "train classes.csv --out first",
    "train classes.csv --seed 1 --out second",
    "train values.csv",
    "diagnose classes.csv",
    "diagnose values.csv",
    "predict --run first classes.csv --out predictions.csv",
    "compare first second",
    "report first",
    "shift digits --repetitions 2",
    "shift --run digits --new new.npz",
    "seeds --epochs 3 --members 8",
    "labels classes.csv",
    "learning-curve classes.csv",
    "bias-variance classes.csv",
    "sweep classes.csv --trials 8",
    "advise classes.csv --seconds 30",
    "census classes.csv --members 64",
)
SCRIPTS = ("ask_and_tell --rounds 2",)  # those that are no command


@dataclass(frozen=True)
class Options:
    """What to time."""

    only: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """words that begin the command lines to time, such as "shift"; by default all"""
    data_dir: Path | None = None
    """folder with the four files of mnist; without it only the help of mnist is timed"""


class Timing(NamedTuple):
    """What somebody at the terminal had to wait for.

    Attributes:
        first: seconds to the first line.
        silence: the most seconds without a change, after it.
        before: what was shown before the longest silence.
        total: seconds to the end.
        status: exit status.
    """

    first: float
    silence: float
    before: str
    total: float
    status: int


def timed(command: Sequence[str], folder: Path) -> Timing:
    """Run a command in a pseudo-terminal of 80 columns.

    Args:
        command: its words.
        folder: where it runs.
    """
    here, there = pty.openpty()
    root = Path(__file__).parents[2]
    environment = os.environ | {"COLUMNS": "80", "PYTHONPATH": str(root), "TERM": "xterm"}
    environment["XDG_CACHE_HOME"] = str(folder / "cache")
    began = last = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=there, stdout=there, stderr=there, cwd=folder, env=environment
    )
    os.close(there)
    first = silence = 0.0
    before, shown = "", b""
    while True:
        select.select([here], [], [])
        now = time.perf_counter()
        try:
            said = os.read(here, 1 << 16)
        except OSError:  # the other end is closed
            said = b""
        if said and not INVISIBLE.sub(b"", said):
            continue
        if not first:
            first = now - began
        elif now - last > silence:
            silence, before = now - last, shown.decode(errors="replace")
        if not said:
            break
        last, shown = now, said
    os.close(here)
    status = process.wait()
    return Timing(first, silence, before, time.perf_counter() - began, status)


def write_data(folder: Path) -> None:
    """Write two small tables, and some digits."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 4))
    kind = rng.choice(["oak", "fir", "elm"], 600)
    value = x @ [1.0, -1.0, 0.5, 0.0] + (kind == "oak") + 0.5 * rng.normal(size=600)
    for name, y in ((CLASSES, np.where(value > 0, "yes", "no")), (VALUES, value)):
        rows = (
            ",".join(f"{each:.4f}" for each in row) + f",{k},{label}"
            for row, k, label in zip(x, kind, y, strict=True)
        )
        (folder / name).write_text("\n".join(["a,b,c,d,kind,y", *rows]) + "\n")
    np.savez(folder / "new.npz", x=jaxnet.load("digits").test.x[:200])


def main(options: Options) -> int:
    """Time the commands and print a table.

    Returns:
        The exit status: 1 where a command failed or kept somebody waiting for too long.
    """
    scripts = sorted(path.stem for path in Path(__file__).parents[1].glob("[!_]*.py"))
    mnist = () if options.data_dir is None else (f"mnist --data-dir {options.data_dir.resolve()}",)
    lines = [
        "-m jaxnet --help",
        *(f"-m jaxnet {name} --help" for name in questions()),
        *(f"-m experiments.{name} --help" for name in scripts),
        *(f"-m jaxnet {words}" for words in (*WORK, *mnist)),
        *(f"-m experiments.{words}" for words in SCRIPTS),
    ]
    lines = [
        line
        for line in lines
        if any(_words(line).startswith(each) for each in options.only or ("",))
    ]
    console = Console(highlight=False)
    table = Table("command", "first line", "longest silence", "in all", "", box=None)
    for column in table.columns[1:4]:
        column.justify = "right"
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder)
        for line in lines:
            found = timed([sys.executable, *shlex.split(line)], folder)
            marks = []
            if found.first > FIRST:
                marks.append(f"first line after more than {FIRST:g} s")
            if found.silence > SILENCE:
                marks.append(f"silent for more than {SILENCE:g} s after {found.before[-60:]!r}")
            if found.status:
                marks.append(f"exit status {found.status}")
            failed += bool(marks)
            table.add_row(
                _words(line),
                *(f"{each:.1f} s" for each in (found.first, found.silence, found.total)),
                "; ".join(marks),
            )
            load = os.getloadavg()[0]
            console.print(f"{_words(line)}: {found.first:.1f} s (load {load:.1f})", markup=False)
    console.print(table)
    return int(failed > 0)


def _words(line: str) -> str:
    """A command line as somebody types it after the program's name."""
    return line.removeprefix("-m jaxnet ").removeprefix("-m ")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
