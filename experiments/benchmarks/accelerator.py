"""An epoch on the accelerator at hand: the kernel's time and XLA's, and how far their parameters
are apart.

    python -m experiments.benchmarks.accelerator --data-dir FOLDER

784-128-64-10 on MNIST, one network and many that share minibatches; seconds are of the fastest
epoch of three, compiled. On a GPU, for which there is no kernel, XLA's alone. On a CPU a kernel is
only interpreted: nothing is measured there.
"""

import io
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import tyro
from rich.console import Console
from rich.table import Table

import jaxnet
from jaxnet import Plan, Recipe
from jaxnet.engine.fit import epoch, start
from jaxnet.kernels import verify


@dataclass(frozen=True)
class Options:
    """What to measure."""

    data_dir: Path
    """folder with the four files of mnist"""
    optimizers: tuple[str, ...] = ("sgd", "momentum", "adam")
    """of the recipe"""
    batches: tuple[int, ...] = (128, 512)
    """examples a step"""
    members: tuple[int, ...] = (0, 64)
    """networks at once; 0 is one without an axis of members"""


def by_xla(model: jaxnet.Model, splits: jaxnet.Splits, recipe: Recipe, members: int) -> float:
    """Seconds of an epoch by XLA's program, the fastest of three."""

    def one(key: jax.Array) -> jax.Array:
        state = start(model, splits, recipe, key, order_key=jax.random.key(1))
        return epoch(model, splits, recipe, state, plan=Plan(implementation="xla"))[1].train_loss

    run = jax.jit(jax.vmap(one) if members else one)
    keys = jax.random.split(jax.random.key(0), members) if members else jax.random.key(0)
    jax.block_until_ready(run(keys))
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(run(keys))
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def measure(
    splits: jaxnet.Splits, optimizers: Sequence[str], batches: Sequence[int], members: Sequence[int]
) -> str:
    """A line an optimizer, a batch size and a number of networks: milliseconds of an epoch by the
    kernel and by XLA.
    """
    device, model = jax.devices()[0], jaxnet.mlp((128, 64))
    table = Table(
        "optimizer",
        "batch",
        "networks",
        "kernel, ms",
        "XLA, ms",
        "XLA's / kernel's",
        "difference",
        title=device.device_kind,
        box=None,
    )
    for optimizer, batch, count in itertools.product(optimizers, batches, members):
        recipe = Recipe(
            optimizer=optimizer,
            batch_size=batch,
            epochs=1,
            learning_rate=0.001,
            schedule="constant",
        )
        row = [optimizer, str(batch), str(max(1, count))]
        if device.platform == "tpu":
            found = verify(model, splits, recipe, members=count)
            kernel, xla = found.seconds
            table.add_row(
                *row,
                f"{kernel * 1e3:.2f}",
                f"{xla * 1e3:.2f}",
                f"{xla / kernel:.1f}",
                f"{found.difference:.1e}",
            )
        else:
            table.add_row(*row, "none", f"{by_xla(model, splits, recipe, count) * 1e3:.2f}", "", "")
    text = io.StringIO()
    Console(file=text, width=120).print(table)
    return text.getvalue()


def main() -> None:
    """Measure each and print a table."""
    options = tyro.cli(Options, description=__doc__)
    if jax.devices()[0].platform == "cpu":
        print("JAX has no accelerator here, only a CPU: nothing was measured")
        sys.exit(1)
    splits = jaxnet.load("mnist", data_dir=options.data_dir, validation=0)
    print(measure(splits, options.optimizers, options.batches, options.members))


if __name__ == "__main__":
    main()
