"""Does a training step of a convolutional network cost the same inside `lax.scan` as alone?

    python -m experiments.benchmarks.convolution

XLA:CPU takes gradient convolutions inside a loop off its fast path (jax issue 12868); jaxnet writes them so that they
stay on it (jaxnet/convolution.py). Forward pass, gradient and whole step, each alone and in a scan, in turn.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from rich.console import Console
from rich.table import Table

from jaxnet.convolution import conv_general_dilated, max_pool

STEPS, NUMBERS = 8, ("NHWC", "HWIO", "NHWC")


@dataclass(frozen=True)
class Options:
    """What to measure."""

    batch: int = 128
    """images of 28x28 pixels a step"""
    rounds: int = 15
    """readings of each"""


def ours(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Jaxnet's convolution."""
    return conv_general_dilated(x, kernel, (1, 1), "SAME")


def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """That of jax.lax."""
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NUMBERS)


def outputs(conv: Callable[..., jax.Array], params: list[jax.Array], x: jax.Array) -> jax.Array:
    """Conv 32, pool, conv 64, pool, dense 10."""
    h = jax.nn.relu(max_pool(conv(x, params[0])))
    h = jax.nn.relu(max_pool(conv(h, params[1])))
    return h.reshape(len(x), -1) @ params[2]


def main() -> None:
    """Measure in turn, print medians and ratios."""
    options, key = tyro.cli(Options, description=__doc__), jax.random.key(0)
    shapes = [(3, 3, 1, 32), (3, 3, 32, 64), (7 * 7 * 64, 10)]
    params = [jax.random.normal(key, shape) * 0.05 for shape in shapes]
    x = jax.random.normal(key, (STEPS, options.batch, 28, 28, 1))
    batches = [jax.block_until_ready(x[i]) for i in range(STEPS)]
    table = Table("", "alone, ms", "in a scan, ms a step", "ratio", box=None)
    for name, conv in (("jaxnet", ours), ("jax.lax", plain)):

        def forward(params: list[jax.Array], x: jax.Array, conv: Any = conv) -> tuple[list[jax.Array], jax.Array]:
            return params, outputs(conv, params, x).sum()

        def backward(params: list[jax.Array], x: jax.Array, conv: Any = conv) -> tuple[list[jax.Array], jax.Array]:
            value, gradient = jax.value_and_grad(lambda p: jnp.mean(outputs(conv, p, x) ** 2))(params)
            return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient), value

        for what, step in (("forward", forward), ("forward, backward and step", backward)):
            alone, scan = jax.jit(step), jax.jit(partial(jax.lax.scan, step))
            readings: dict[str, list[float]] = {"alone": [], "scan": []}
            for _ in range(options.rounds + 1):
                start = time.perf_counter()
                state = params
                for batch in batches:
                    state, _ = alone(state, batch)
                jax.block_until_ready(state)
                middle = time.perf_counter()
                jax.block_until_ready(scan(params, x))
                readings["alone"].append((middle - start) / STEPS * 1e3)
                readings["scan"].append((time.perf_counter() - middle) / STEPS * 1e3)
            a, b = (statistics.median(times[1:]) for times in readings.values())
            table.add_row(f"{name}: {what}", f"{a:.2f}", f"{b:.2f}", f"{b / a:.2f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
