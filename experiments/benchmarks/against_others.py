"""How long does the same small network take on MNIST, from the first line to the test accuracy, in
jaxnet and elsewhere?

    python -m experiments.benchmarks.against_others --data-dir FOLDER --rounds 5

784-128-64-10, ReLU, Adam, batch 128, 3 epochs, float32, all 60,000 examples. Each program in
mnist_programs/ is what a user of that library writes; each runs as a fresh process, in turn,
several rounds; medians are reported. Those whose library is missing are skipped by name: `pip
install -e '.[benchmarks]'` brings them.
"""

import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

PROGRAMS = Path(__file__).parent / "mnist_programs"
NEEDS = {
    "jaxnet_fit": "jaxnet",
    "naive_jax": "flax",
    "scikit_learn": "sklearn",
    "pytorch_tensor": "torch",
    "pytorch_loader": "torch",
    "keras_jax": "keras",
}
RUNNER = (
    "--hidden",
    "128",
    "64",
    "--schedule",
    "constant",
    "--learning-rate",
    "1e-3",
    "--epochs",
    "3",
    "--validation",
    "0",
)


@dataclass(frozen=True)
class Options:
    """What to measure."""

    data_dir: Path
    """folder with the four files of MNIST"""
    rounds: int = 5
    """processes of each kind"""
    json: Path | None = None
    """file to write all readings to"""


@dataclass(frozen=True)
class Reading:
    """One process: wall seconds, peak memory in MiB, test accuracy, seconds of steady epochs."""

    seconds: float
    memory: float
    accuracy: float
    epochs: list[float]


def measure(command: Sequence[str], environment: dict[str, str]) -> Reading:
    """Run one process to its end. Raises RuntimeError with what it said if it fails."""
    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=said, stderr=subprocess.STDOUT, env={**os.environ, **environment}
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        lines = said.read().splitlines()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n" + "\n".join(lines[-15:]))
    words = [line.split() for line in lines]
    accuracy = next(
        (float(w[1]) for w in words if w[:1] == ["accuracy"] and len(w) == 2), float("nan")
    )
    return Reading(
        seconds,
        usage.ru_maxrss / 1024,
        accuracy,
        [float(w[1]) for w in words if w[:1] == ["epoch"] and len(w) == 2],
    )


def main() -> None:
    """Measure in turn, print medians and ratios."""
    options = tyro.cli(Options, description=__doc__)
    missing = [name for name, module in NEEDS.items() if importlib.util.find_spec(module) is None]
    names = [name for name in NEEDS if name not in missing]
    for name in missing:
        print(f"skipped: {name}, since {NEEDS[name]} is not installed")
    readings: dict[str, dict[str, list[Reading]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        cache = {"CACHE": f"{scratch}/cache", "XDG_CACHE_HOME": f"{scratch}/cache"}
        programs = {
            name: [sys.executable, str(PROGRAMS / f"{name}.py"), str(options.data_dir)]
            for name in [*names, "matrix_products"]
        }
        runner = [
            sys.executable,
            "-m",
            "experiments.mnist",
            "--data-dir",
            str(options.data_dir),
            *RUNNER,
            "--out",
            f"{scratch}/run",
        ]
        imports = [sys.executable, "-c", "import jax, flax.linen, optax"]
        for name, command in programs.items():
            if name != "matrix_products":
                measure([*command, "warm"], cache)  # fills the cache, and the operating system's
        for round_ in range(options.rounds):
            print(f"round {round_ + 1} of {options.rounds}", flush=True)
            for name in names:
                for mode in ("cold", "warm", "steady"):
                    readings.setdefault(name, {}).setdefault(mode, []).append(
                        measure([*programs[name], mode], cache)
                    )
            products = measure([*programs["matrix_products"], "steady"], cache)
            readings.setdefault("matrix_products", {}).setdefault("steady", []).append(products)
            for mode in ("cold", "warm"):
                fresh = {
                    "XDG_CACHE_HOME": f"{scratch}/runner-{mode}-{round_ if mode == 'cold' else 0}"
                }
                if mode == "warm" and round_ == 0:
                    measure(runner, fresh)
                    shutil.rmtree(f"{scratch}/run")
                readings.setdefault("experiments.mnist", {}).setdefault(mode, []).append(
                    measure(runner, fresh)
                )
                shutil.rmtree(f"{scratch}/run")
            readings.setdefault("imports alone", {}).setdefault("cold", []).append(
                measure(imports, {})
            )
    report(readings)
    if options.json is not None:
        plain = {
            n: {m: [vars(r) for r in rs] for m, rs in modes.items()}
            for n, modes in readings.items()
        }
        options.json.write_text(json.dumps(plain, indent=1) + "\n")


def report(readings: dict[str, dict[str, list[Reading]]]) -> None:
    """The table of medians, and jaxnet's ratio to each."""
    seconds = {
        (n, m): statistics.median(r.seconds for r in rs)
        for n, modes in readings.items()
        for m, rs in modes.items()
    }
    epochs = {
        n: statistics.median(e for r in modes["steady"] for e in r.epochs)
        for n, modes in readings.items()
        if "steady" in modes
    }
    table = Table(
        "",
        "empty cache, s",
        "ratio",
        "warm cache, s",
        "ratio",
        "steady epoch, s",
        "ratio",
        "peak MiB",
        "accuracy",
        box=None,
    )
    for column in table.columns[1:]:
        column.justify = "right"
    ours = "jaxnet_fit"
    for name, modes in readings.items():
        cells = []
        for mode in ("cold", "warm"):
            has = (name, mode) in seconds
            cells += (
                [f"{seconds[name, mode]:.2f}", f"{seconds[ours, mode] / seconds[name, mode]:.2f}"]
                if has
                else ["", ""]
            )
        cells += (
            [f"{epochs[name]:.3f}", f"{epochs[ours] / epochs[name]:.2f}"]
            if name in epochs
            else ["", ""]
        )
        readings_of = [r for rs in modes.values() for r in rs]
        memory = statistics.median(r.memory for r in readings_of)
        accuracy = statistics.median(r.accuracy for r in readings_of)
        table.add_row(
            name, *cells, f"{memory:.0f}", "" if accuracy != accuracy else f"{accuracy:.4f}"
        )
    Console(width=130).print(table)
    print("ratio: jaxnet_fit's figure over this row's")
    print(
        f"matrix products alone: {epochs['matrix_products'] / epochs[ours]:.0%} of a steady epoch "
        "of jaxnet"
    )
    if "scikit_learn" in readings:
        ratio = seconds["experiments.mnist", "cold"] / seconds["scikit_learn", "cold"]
        print(f"experiments.mnist over scikit_learn, empty cache: {ratio:.2f}")


if __name__ == "__main__":
    main()
