r"""How fast is jaxnet on the accelerator of this machine? One line of JSON for each measurement.

    python -m experiments.benchmarks.accelerator --data-dir FOLDER --wheels FOLDER

The first line names the device and the versions, and each other line is printed as soon as it is
measured, the most valuable first. After --seconds the program ends by itself, with a last line that
says where it was. It needs JAX, the four files of MNIST, and, where this machine lacks them, a
folder with wheels of what jaxnet imports for it:

    pip download --no-deps --dest FOLDER absl-py charset-normalizer flax jaxtyping markdown-it-py \
        mdurl msgpack optax platformdirs pygments pyyaml rich typing_extensions wadler-lindig

--small measures less of everything, to see that the program runs, on a CPU for example.
"""

import argparse
import importlib
import json
import os
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MINUTES = 8


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse, since a bare machine has nothing else."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of MNIST's four files")
    parser.add_argument("--wheels", type=Path, help="folder of wheels that this machine lacks")
    parser.add_argument("--seconds", type=float, default=60 * MINUTES, help="when to stop")
    parser.add_argument("--small", action="store_true", help="measure less of everything")
    parser.add_argument("--only", nargs="+", metavar="ROW", help="names of the rows to measure")
    return parser.parse_args(arguments)


def unpack(wheels: Path, folder: str) -> list[str]:
    """Make the packages of a folder of wheels importable, after those that are installed.

    Args:
        wheels: the folder.
        folder: where their files are put.

    Returns:
        The names of the wheels.
    """
    found = sorted(wheels.glob("*.whl"))
    if not found:
        raise SystemExit(f"{wheels} holds no .whl files; give another folder, or leave it out")
    for wheel in found:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    sys.path.append(folder)  # what is installed comes first
    importlib.invalidate_caches()
    return [wheel.name for wheel in found]


def show(**fields: Any) -> None:
    """Print a line of JSON at once, with four digits of each number."""
    short = {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in fields.items()
    }
    print(json.dumps(short), flush=True)


def stop_after(seconds: float, now: dict[str, str]) -> None:
    """End the process after some time, whatever it is doing: a compilation cannot be interrupted.

    Args:
        seconds: the time.
        now: what is being measured, under "row".
    """

    def stop() -> None:
        show(row="stopped", seconds=seconds, unfinished=now["row"])
        os._exit(0)

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure row by row, and print each."""
    given = options(arguments)
    began, now = time.monotonic(), {"row": "import"}
    stop_after(given.seconds, now)
    with tempfile.TemporaryDirectory() as folder:
        wheels = unpack(given.wheels, folder) if given.wheels else []
        try:
            rows = importlib.import_module("experiments.benchmarks.accelerator_rows")
        except ModuleNotFoundError as error:
            raise SystemExit(f"{error}: put its wheel into a folder, and give --wheels") from error
        if unknown := set(given.only or ()) - set(rows.ROWS):
            raise SystemExit(f"no rows {sorted(unknown)}; there are {', '.join(rows.ROWS)}")
        show(row="machine", **rows.machine(), wheels=wheels, small=given.small)
        splits = rows.data(given.data_dir, small=given.small)
        for name, measure in rows.ROWS.items():
            if given.only and name not in given.only:
                continue
            now["row"] = name
            try:
                for fields in measure(splits, rows.SMALL if given.small else rows.FULL):
                    show(row=name, **fields, after=round(time.monotonic() - began, 1))
            except Exception as error:  # the other rows are still worth their time
                show(row=name, error=f"{type(error).__name__}: {error}"[:500])


if __name__ == "__main__":
    main()
