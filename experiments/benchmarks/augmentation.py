"""What does augmentation add to a training step?

    python -m experiments.benchmarks.augmentation

The network of `experiments.mnist --preset cnn` on random images of 28x28 pixels, with and without
shift, rotate, scale and elastic, in turn; then a network so small that its step is little else than
the augmentation.
"""

import statistics
import time
from dataclasses import dataclass, replace

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from jaxnet import (
    Augmentation,
    Model,
    Plan,
    Recipe,
    Splits,
    cnn,
    epoch,
    mlp,
    split,
    start,
    use_cpu_devices,
)
from jaxnet.runtime.plan import plan_for_images

HOW = Augmentation(shift=2, rotate=12, scale=0.12, elastic=1.0)


@dataclass(frozen=True)
class Options:
    """What to measure."""

    batch: int = 128
    """images a step"""
    steps: int = 12
    """steps a reading"""
    rounds: int = 15
    """readings of each"""


def measure(
    model: Model, splits: Splits, recipes: dict[str, Recipe], plan: Plan, rounds: int
) -> dict[str, float]:
    """Median time of an epoch with each recipe, read in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in recipes}
    run = jax.jit(lambda splits, recipe, state: epoch(model, splits, recipe, state, plan=plan))
    splits = plan.place(splits)
    states = {
        name: plan.place(start(model, splits, recipe, jax.random.key(0)))
        for name, recipe in recipes.items()
    }
    for _ in range(rounds + 1):
        for name, recipe in recipes.items():
            began = time.perf_counter()
            states[name], _row = jax.block_until_ready(run(splits, recipe, states[name]))
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}


def main() -> None:
    """Measure in turn, print medians and ratios."""
    options = tyro.cli(Options, description=__doc__)
    use_cpu_devices()
    rng = np.random.default_rng(0)
    examples = options.batch * options.steps + 10
    x, y = rng.integers(0, 256, (examples, 28, 28), np.uint8), rng.integers(0, 10, examples)
    splits = split(x, y, validation=0.0, test=10 / examples)
    plain = Recipe(
        epochs=options.rounds + 1,
        batch_size=options.batch,
        learning_rate=3e-3,
        dropout=0.3,
        schedule="constant",
    )
    recipes = {"without": plain, "with": replace(plain, augmentation=HOW)}
    table = Table("", "without, ms a step", "with", "ratio", box=None)
    for name, model, plan in (
        ("cnn 32 64, hidden 128", cnn((32, 64), (128,)), plan_for_images(options.batch)),
        ("mlp, hidden 1", mlp((1,)), Plan()),
    ):
        times = measure(model, splits, recipes, plan, options.rounds)
        a, b = (1e3 * times[name] / options.steps for name in ("without", "with"))
        table.add_row(f"{name}, {plan}", f"{a:.2f}", f"{b:.2f}", f"{b / a:.3f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
