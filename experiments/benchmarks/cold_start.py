"""Where does the time of a first training go?

    python -m experiments.benchmarks.cold_start --data-dir FOLDER --rounds 5

784-128-64-10 on MNIST, Adam, batch 128, 3 epochs, from the interpreter's start to its end, without
a cache of compiled programs (mnist_programs/jaxnet_parts.py). Each round is a process of its own;
medians of seconds are printed. The evaluation is traced and compiled while the network trains, so
the two are one part.
"""

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import tyro

PROGRAM = Path(__file__).parent / "mnist_programs" / "jaxnet_parts.py"
PARTS = (
    "start of the interpreter, and imports",
    "load, beside further imports",
    "tracing and lowering",
    "compilation",
    "training and evaluation",
    "exit of the interpreter",
)


@dataclass(frozen=True)
class Options:
    """What to measure."""

    data_dir: Path
    """folder with the four files of MNIST"""
    rounds: int = 5
    """processes"""


def seconds_of_parts(folder: Path) -> list[float]:
    """Seconds of each of PARTS in one process."""
    began = time.time()
    ends = json.loads(subprocess.check_output([sys.executable, str(PROGRAM), str(folder)]))
    return [later - earlier for earlier, later in pairwise([began, *ends, time.time()])]


def main() -> None:
    """Measure and print."""
    options = tyro.cli(Options, description=__doc__)
    rounds = [seconds_of_parts(options.data_dir) for _ in range(options.rounds)]
    for part, seconds in zip(PARTS, zip(*rounds, strict=True), strict=True):
        print(f"{part:40s}{statistics.median(seconds):6.2f}")
    print(f"{'all':40s}{statistics.median(map(sum, rounds)):6.2f}")


if __name__ == "__main__":
    main()
