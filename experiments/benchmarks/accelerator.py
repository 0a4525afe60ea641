"""An epoch on the accelerator at hand: the kernel's time and XLA's, and how far their parameters are apart.

    python -m experiments.benchmarks.accelerator --data-dir FOLDER

784-128-64-10 on MNIST, one network and many that share minibatches; seconds are of the fastest epoch of three, compiled. On a GPU,
for which there is no kernel, XLA's alone. On a CPU a kernel is only interpreted: nothing is measured there.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import tyro
from rich.console import Console
from rich.table import Table

import jaxnet
from jaxnet import Plan, Recipe
from jaxnet.kernels import verify
from jaxnet.training import admit, epoch, start


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
    seen, recipe, _ = admit(splits, recipe, jax.random.key(0), None, None, None)

    def one(key: jax.Array) -> jax.Array:
        state = start(model, seen, recipe, key, order_key=jax.random.key(1))
        return epoch(model, seen, recipe, state, plan=Plan(implementation="xla"))[1].train_loss

    run = jax.jit(jax.vmap(one) if members else one)
    keys = jax.random.split(jax.random.key(0), members) if members else jax.random.key(0)
    jax.block_until_ready(run(keys))
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(run(keys))
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def main() -> None:
    """Measure each and print a table."""
    options, console = tyro.cli(Options, description=__doc__), Console(width=120)
    device = jax.devices()[0]
    if device.platform == "cpu":
        console.print("JAX has no accelerator here, only a CPU: nothing was measured")
        sys.exit(1)
    splits = jaxnet.load("mnist", data_dir=options.data_dir, validation=0)
    table = Table(
        "optimizer", "batch", "networks", "kernel, ms", "XLA, ms", "XLA's / kernel's", "difference", title=device.device_kind, box=None
    )
    for optimizer in options.optimizers:
        for batch in options.batches:
            for members in options.members:
                recipe = Recipe(optimizer=optimizer, batch_size=batch, epochs=1, learning_rate=0.001)
                row = [optimizer, str(batch), str(max(1, members))]
                if device.platform == "tpu":
                    found = verify(jaxnet.mlp((128, 64)), splits, recipe, members=members)
                    kernel, xla = found.seconds
                    table.add_row(*row, f"{kernel * 1e3:.2f}", f"{xla * 1e3:.2f}", f"{xla / kernel:.1f}", f"{found.difference:.1e}")
                else:
                    table.add_row(*row, "none", f"{by_xla(jaxnet.mlp((128, 64)), splits, recipe, members) * 1e3:.2f}", "", "")
    console.print(table)


if __name__ == "__main__":
    main()
