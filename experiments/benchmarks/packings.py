"""How fast are the small matrix products of many networks, by how the networks are packed?

    taskset -c 0 python -m experiments.benchmarks.packings

The products of a training step of 64-64-32-10 at batch 64, of 16 networks: outputs, the gradient of
the inputs (not of the first layer) and the gradient of the weights. Packings:

    batched        one product with an axis of networks, as vmap makes it
    batch last     the same, examples in the last dimension
    each alone     a product for each network
    shared inputs  all networks have the same inputs, as where they share the order of examples:
                   their weights stand side by side in one product (gradients of inputs: batched)
    diagonal of 2  two networks in one product, whose weights are a block-diagonal matrix, already
                   packed: half of the operations multiply zeros, and count as none

GFLOP/s of the operations that are needed, the fastest of several readings; the last column is all
products of a step together. On one core, since a device of a population is one core.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp
import tyro
from jaxtyping import Array
from rich.console import Console
from rich.table import Table

NETWORKS, BATCH, WIDTHS = 16, 64, (64, 64, 32, 10)
STEPS = 300
Product = Callable[[Array, Array], Array]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Options:
    """What to measure."""

    rounds: int = 5
    """readings of each product"""


def products(packing: str, i: int, o: int) -> list[tuple[Product, Shape, Shape]]:
    """The three products of a layer with i inputs and o outputs: (product, shapes of both)."""
    n, b = NETWORKS, BATCH
    if packing == "each alone":
        return [
            (lambda x, y: jnp.stack([x[k] @ y[k] for k in range(n)]), (n, b, i), (n, i, o)),
            (lambda x, y: jnp.stack([x[k] @ y[k].T for k in range(n)]), (n, b, o), (n, i, o)),
            (lambda x, y: jnp.stack([x[k].T @ y[k] for k in range(n)]), (n, b, i), (n, b, o)),
        ]
    batched = "nbi,nio->nbo", "nbo,nio->nbi", "nbi,nbo->nio"
    letters = {
        "batched": batched,
        "batch last": ("nib,noi->nob", "nob,noi->nib", "nib,nob->noi"),
        "shared inputs": ("bi,ino->bno", "nbo,nio->nbi", "bi,bno->ino"),
        "diagonal of 2": batched,
    }
    if packing == "diagonal of 2":
        n, i, o = n // 2, 2 * i, 2 * o
    size, found = {"n": n, "b": b, "i": i, "o": o}, list[tuple[Product, Shape, Shape]]()
    for each in letters[packing]:
        left, right = each.partition("->")[0].split(",")
        shape, other = (tuple(size[c] for c in operand) for operand in (left, right))
        found.append((functools.partial(jnp.einsum, each), shape, other))
    return found


def seconds(product: Product, x: Array, y: Array, rounds: int) -> float:
    """Seconds of one product, of many in a loop in which each needs the one before; the fastest
    reading.
    """

    @jax.jit
    def loop(x: Array, y: Array) -> Array:
        def step(x: Array, _: None) -> tuple[Array, None]:
            return x + 1e-30 * product(x, y).mean(), None

        return jax.lax.scan(step, x, length=STEPS)[0]

    jax.block_until_ready(loop(x, y))
    readings = []
    for _ in range(rounds):
        began = time.perf_counter()
        jax.block_until_ready(loop(x, y))
        readings.append(time.perf_counter() - began)
    return min(readings) / STEPS


def main() -> None:
    """Measure and print."""
    options = tyro.cli(Options, description=__doc__)
    names = ("outputs", "inputs", "weights")
    columns = [f"{i}x{o} {name}" for i, o in pairwise(WIDTHS) for name in names]
    columns.remove("64x64 inputs")
    table = Table("", *columns, "all", box=None)
    key = jax.random.key(0)
    for packing in ("batched", "batch last", "each alone", "shared inputs", "diagonal of 2"):
        cells, operations, took = [], 0.0, 0.0
        for layer, (i, o) in enumerate(pairwise(WIDTHS)):
            for name, (product, *shapes) in zip(names, products(packing, i, o), strict=True):
                if layer == 0 and name == "inputs":
                    continue
                x, y = (jax.random.normal(key, shape) for shape in shapes)
                one = seconds(product, x, y, options.rounds)
                useful = 2.0 * NETWORKS * BATCH * i * o
                cells.append(f"{useful / one / 1e9:.0f}")
                operations, took = operations + useful, took + one
        table.add_row(packing, *cells, f"{operations / took / 1e9:.0f}")
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
