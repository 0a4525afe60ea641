"""How fast does a CPU reach 99% on MNIST, with the preset `fast`, and how fast is the same in PyTorch?

    python -m experiments.benchmarks.mnist_record --data-dir FOLDER --seeds 30

The protocol of airbench (Jordan 2024): a fixed network, recipe and schedule, nothing chosen on the test set, every seed
counts; mean and standard deviation of the test accuracy, median seconds of training with the data in memory, compilation
apart. Seeds are run in turn: jaxnet, then the same network, initialisation and recipe in PyTorch, as it is usually
written (batches by indexing one tensor) and with channels last. PyTorch is left out where it is missing.
"""

import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
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
        return seconds, jaxnet.evaluate(model, trained, splits.test).accuracy.estimate

    first, _ = run(0)  # compiles
    return run, first - run(0)[0]


def pytorch(splits: jaxnet.Splits, *, channels_last: bool) -> Training:
    """The same network and recipe in PyTorch."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(os.cpu_count() or 1)
    images, labels, test_images, test_labels = (
        torch.from_numpy(np.array(a)) for a in (splits.train.x, splits.train.y, splits.test.x, splits.test.y)
    )
    images, test_images = images[:, None], test_images[:, None]
    labels, test_labels = labels.long(), test_labels.long()
    mean, scale = float(splits.standardisation.mean), float(splits.standardisation.scale)
    layout: Any = torch.channels_last if channels_last else torch.contiguous_format
    (first, second), (wide,), size, batches = FAST.channels, FAST.hidden, FAST.batch_size, -(-len(labels) // FAST.batch_size)

    def run(seed: int) -> tuple[float, float]:
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(1, first, FAST.kernel[0], stride=FAST.stride[0]), nn.ReLU(),
            nn.Conv2d(first, second, FAST.kernel[1]), nn.MaxPool2d(2), nn.ReLU(),
            nn.Flatten(), nn.LazyLinear(wide), nn.ReLU(), nn.Linear(wide, 10),
        )  # fmt: skip
        model(torch.zeros(1, 1, 28, 28))
        for module in model:
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="linear" if module is model[-1] else "relu")
                nn.init.zeros_(module.bias)
        model = model.to(memory_format=layout)
        began = time.perf_counter()
        optimizer = torch.optim.Adam(model.parameters(), lr=FAST.learning_rate, betas=(FAST.momentum, FAST.second_momentum))
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, FAST.learning_rate, total_steps=FAST.epochs * batches + 1, cycle_momentum=False
        )
        for _ in range(FAST.epochs or 0):
            order = torch.randperm(len(labels))
            for rows in order.split(size):
                x = ((images[rows].float() - mean) / scale).contiguous(memory_format=layout)
                loss = functional.cross_entropy(model(x), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        seconds = time.perf_counter() - began
        with torch.no_grad():
            x = ((test_images.float() - mean) / scale).contiguous(memory_format=layout)
            return seconds, float((model(x).argmax(1) == test_labels).float().mean())

    return run


def main() -> None:
    """Train in turn, print the table."""
    options = tyro.cli(Options, description=__doc__)
    jaxnet.use_cpu_devices()
    splits = jaxnet.load("mnist", data_dir=options.data_dir, validation=0)
    train, compiled = ours(splits)
    kinds = {"jaxnet": train}
    if importlib.util.find_spec("torch") is not None:
        kinds |= {"PyTorch, as usually written": pytorch(splits, channels_last=False)}
        kinds |= {"PyTorch, channels last": pytorch(splits, channels_last=True)}
    readings: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for seed in track(range(options.seeds), "training", transient=True):
        for kind, run in kinds.items():
            readings[kind].append(run(seed))
    table = Table("", "test accuracy", "sd", "lowest", "seconds, median", "fastest", "slowest", "jaxnet / this", "median of pairs", box=None)
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
    console.print(f"{options.seeds} seeds each; jaxnet compiles for {compiled:.2f} s besides, once: {compiled + statistics.median(own):.2f} s with it")


if __name__ == "__main__":
    main()
