"""How fast does a CPU reach 99% on MNIST, with the preset `fast`, and how fast is the same in
PyTorch?

    python -m experiments.benchmarks.mnist_record --data-dir FOLDER --seeds 30

The protocol of airbench (Jordan 2024): a fixed network, recipe and schedule, nothing chosen on the
test set, every seed counts; mean and standard deviation of the test accuracy, median seconds of
training with the data in memory, compilation apart. Seeds are run in turn, each kind in a process
of its own: jaxnet, then the same network, initialization and recipe in PyTorch, as it is usually
written (batches by indexing one tensor) and with channels last. PyTorch is left out where it is
missing.
"""

import importlib.util
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import jax
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

import jaxnet
from jaxnet.cli.commands.mnist import FAST
from jaxnet.cli.options import build_model, build_recipe
from jaxnet.runtime.plan import plan_for_images

JAXNET, USUAL, CHANNELS_LAST = "jaxnet", "PyTorch, as usually written", "PyTorch, channels last"


@dataclass(frozen=True)
class Options:
    """What to measure."""

    data_dir: Path
    """folder with the four files of MNIST"""
    seeds: int = 30
    """trainings of each kind"""


class Ours:
    """Jaxnet's training, in a process of its own."""

    def __init__(self, data_dir: Path) -> None:
        jaxnet.use_cpu_devices()
        self.splits = jaxnet.load("mnist", data_dir=data_dir, validation=0)
        self.model, self.recipe = build_model(FAST), build_recipe(FAST)
        self.plan = plan_for_images(self.recipe.batch_size)

    def __call__(self, seed: int) -> tuple[float, float]:
        """(seconds, test accuracy); the first call compiles."""
        began = time.perf_counter()
        run = jax.block_until_ready(
            jaxnet.fit(self.model, self.splits, self.recipe, jax.random.key(seed), plan=self.plan)
        )
        seconds = time.perf_counter() - began
        return seconds, float(
            (
                jaxnet.predict(self.model, run, self.splits.test.x).argmax(1) == self.splits.test.y
            ).mean()
        )


class PyTorch:
    """The same network and recipe in PyTorch, in a process of its own."""

    def __init__(self, data_dir: Path, *, channels_last: bool) -> None:
        from experiments.benchmarks.mnist_programs.pytorch_cnn import training

        splits = jaxnet.load("mnist", data_dir=data_dir, validation=0)
        self.train = training(splits, FAST, channels_last=channels_last)

    def __call__(self, seed: int) -> tuple[float, float]:
        """(seconds, test accuracy)."""
        return self.train(seed)


here: dict[int, Ours | PyTorch] = {}  # what this process trains


def begin(kind: str, data_dir: Path) -> None:
    """Make this process one of the kind."""
    here[0] = (
        Ours(data_dir) if kind == JAXNET else PyTorch(data_dir, channels_last=kind == CHANNELS_LAST)
    )


def one(seed: int) -> tuple[float, float]:
    """One training in this process."""
    return here[0](seed)


def main() -> None:
    """Train in turn, print the table."""
    options = tyro.cli(Options, description=__doc__)
    kinds = [JAXNET]
    if importlib.util.find_spec("torch") is not None:
        kinds += [USUAL, CHANNELS_LAST]
    fresh = {
        "max_workers": 1,
        "mp_context": multiprocessing.get_context("spawn"),
        "initializer": begin,
    }
    pools = {
        kind: ProcessPoolExecutor(**fresh, initargs=(kind, options.data_dir)) for kind in kinds
    }
    # the warm-up is not counted
    first = {kind: pool.submit(one, 0).result()[0] for kind, pool in pools.items()}
    readings: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for seed in track(range(options.seeds), "training", transient=True):
        for kind, pool in pools.items():
            readings[kind].append(pool.submit(one, seed).result())
    table = Table(
        "",
        "accuracy",
        "sd",
        "lowest",
        "seconds",
        "fastest",
        "slowest",
        "jaxnet's / its",
        "by pairs",
        box=None,
    )
    own = [seconds for seconds, _ in readings[JAXNET]]
    for kind, each in readings.items():
        seconds, accuracy = zip(*each, strict=True)
        pairs = statistics.median(a / b for a, b in zip(own, seconds, strict=True))
        spread = statistics.stdev(accuracy) if len(accuracy) > 1 else 0.0
        table.add_row(
            kind,
            f"{statistics.mean(accuracy):.4%}",
            f"{spread:.3%}",
            f"{min(accuracy):.2%}",
            f"{statistics.median(seconds):.2f}",
            f"{min(seconds):.2f}",
            f"{max(seconds):.2f}",
            f"{statistics.median(own) / statistics.median(seconds):.2f}",
            f"{pairs:.2f}",
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"{options.seeds} seeds each, medians of seconds; with compilation, once, jaxnet takes "
        f"{first[JAXNET]:.2f} s"
    )


if __name__ == "__main__":
    main()
