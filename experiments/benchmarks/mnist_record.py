"""How fast does a CPU reach 99% on MNIST, with the preset `fast`, and how fast is the same in PyTorch?

    python -m experiments.benchmarks.mnist_record --data-dir FOLDER --seeds 30

The protocol of airbench (Jordan 2024): a fixed network, recipe and schedule, nothing chosen on the test set, every seed
counts; mean and standard deviation of the test accuracy, median seconds of training with the data in memory, compilation
apart. Seeds are run in turn: jaxnet, then the same network, initialisation and recipe in PyTorch, as it is usually
written (batches by indexing one tensor) and with channels last. PyTorch is left out where it is missing.
"""

import importlib.util
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

import jaxnet
from experiments.mnist import FAST
from jaxnet.devices import plan_for_images
from jaxnet.options import build_model, build_recipe

Training = Callable[[int], tuple[float, float]]  # seed -> (seconds, test accuracy)


@dataclass(frozen=True)
class Options:
    """What to measure."""

    data_dir: Path
    """folder with the four files of MNIST"""
    seeds: int = 30
    """trainings of each kind"""


def ours(splits: jaxnet.Splits) -> tuple[Training, float]:
    """Jaxnet's training, and the seconds that compiling took."""
    model, recipe = build_model(FAST), build_recipe(FAST)
    plan = plan_for_images(recipe.batch_size)

    def run(seed: int) -> tuple[float, float]:
        began = time.perf_counter()
        trained = jax.block_until_ready(jaxnet.fit(model, splits, recipe, jax.random.key(seed), plan=plan))
        seconds = time.perf_counter() - began
        return seconds, float((jaxnet.predict(model, trained, splits.test.x).argmax(1) == splits.test.y).mean())

    first, _ = run(0)  # compiles
    return run, first - run(0)[0]


def main() -> None:
    """Train in turn, print the table."""
    options = tyro.cli(Options, description=__doc__)
    jaxnet.use_cpu_devices()
    splits = jaxnet.load("mnist", data_dir=options.data_dir, validation=0)
    train, compiled = ours(splits)
    kinds = {"jaxnet": train}
    if importlib.util.find_spec("torch") is not None:
        from .mnist_programs.pytorch_cnn import training

        kinds |= {"PyTorch, as usually written": training(splits, FAST, channels_last=False)}
        kinds |= {"PyTorch, channels last": training(splits, FAST, channels_last=True)}
    readings: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for seed in track(range(options.seeds), "training", transient=True):
        for kind, run in kinds.items():
            readings[kind].append(run(seed))
    table = Table("", "accuracy", "sd", "lowest", "seconds", "fastest", "slowest", "jaxnet's / its", "by pairs", box=None)
    own = [seconds for seconds, _ in readings["jaxnet"]]
    for kind, each in readings.items():
        seconds, accuracy = zip(*each, strict=True)
        pairs = statistics.median(a / b for a, b in zip(own, seconds, strict=True))
        spread = statistics.stdev(accuracy) if len(accuracy) > 1 else 0.0
        table.add_row(
            kind, f"{statistics.mean(accuracy):.4%}", f"{spread:.3%}", f"{min(accuracy):.2%}", f"{statistics.median(seconds):.2f}",
            f"{min(seconds):.2f}", f"{max(seconds):.2f}", f"{statistics.median(own) / statistics.median(seconds):.2f}", f"{pairs:.2f}",
        )  # fmt: skip
    console = Console(highlight=False)
    console.print(table)
    with_it = compiled + statistics.median(own)
    console.print(f"{options.seeds} seeds each, medians of seconds; jaxnet compiles once, for {compiled:.2f} s: {with_it:.2f} s with it")


if __name__ == "__main__":
    main()
