"""Does a training step of a convolutional network cost the same inside `lax.scan` as alone, and
what does each kind gain?

    python -m experiments.benchmarks.convolution

XLA:CPU takes gradient convolutions inside a loop off its fast path (jax issue 12868); jaxnet writes
them so that they stay on it (jaxnet/models/convolution.py). Three tables, each with its readings
taken in turn, medians of milliseconds: forward pass and whole step, alone and in a scan; value and
both gradients of one convolution in a scan, by kind; and 2x2 max pooling alone, whose gradient is
to cost little more than its forward pass.
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

from jaxnet.models.convolution import conv_general_dilated, max_pool

STEPS, NUMBERS = 8, ("NHWC", "HWIO", "NHWC")

# image, its features, kernel, outputs, and the options of the convolution, by kind
Kind = tuple[int, int, int, int, dict[str, Any]]
KINDS: dict[str, Kind] = {
    "3x3": (14, 32, 3, 64, {}),
    "5x5, VALID": (14, 16, 5, 32, {"padding": "VALID"}),
    "3x3, stride 2": (28, 16, 3, 32, {"window_strides": (2, 2)}),
    "3x3, dilation 2": (14, 16, 3, 32, {"rhs_dilation": (2, 2)}),
    "3x3, of a dilated image": (
        14,
        16,
        3,
        32,
        {"lhs_dilation": (2, 2), "padding": ((1, 2), (1, 2))},
    ),
    "3x3, 4 groups": (14, 32, 3, 64, {"feature_group_count": 4}),
    "3x3, stride 2, 4 groups": (
        28,
        32,
        3,
        64,
        {"feature_group_count": 4, "window_strides": (2, 2)},
    ),
    "3x3, depthwise": (14, 32, 3, 32, {"feature_group_count": 32}),
    "7x7, depthwise": (14, 32, 7, 32, {"feature_group_count": 32}),
}
POOLED = [(256, 24, 24, 24), (128, 28, 28, 32), (16, 24, 24, 24)]


@dataclass(frozen=True)
class Options:
    """What to measure."""

    batch: int = 128
    """images of 28x28 pixels a step"""
    rounds: int = 7
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


def in_turn(programs: dict[str, Callable[[], Any]], rounds: int) -> list[float]:
    """Median milliseconds of each program, its first run apart."""
    readings: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds + 1):
        for name, program in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(program())
            readings[name].append((time.perf_counter() - start) * 1e3)
    return [statistics.median(times[1:]) for times in readings.values()]


def alone_and_in_a_scan(options: Options) -> Table:
    """Forward pass and whole step of a small network."""
    key = jax.random.key(0)
    shapes = [(3, 3, 1, 32), (3, 3, 32, 64), (7 * 7 * 64, 10)]
    params = [jax.random.normal(key, shape) * 0.05 for shape in shapes]
    x = jax.random.normal(key, (STEPS, options.batch, 28, 28, 1))
    batches = [jax.block_until_ready(x[i]) for i in range(STEPS)]
    table = Table("", "alone, ms", "in a scan, ms a step", "ratio", box=None)
    for name, conv in (("jaxnet", ours), ("jax.lax", plain)):

        def forward(
            params: list[jax.Array], x: jax.Array, conv: Any = conv
        ) -> tuple[list[jax.Array], jax.Array]:
            return params, outputs(conv, params, x).sum()

        def backward(
            params: list[jax.Array], x: jax.Array, conv: Any = conv
        ) -> tuple[list[jax.Array], jax.Array]:
            value, gradient = jax.value_and_grad(lambda p: jnp.mean(outputs(conv, p, x) ** 2))(
                params
            )
            return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient), value

        for what, step in (("forward", forward), ("forward, backward and step", backward)):
            jitted, scan = jax.jit(step), jax.jit(partial(jax.lax.scan, step))

            def alone(jitted: Any = jitted) -> list[jax.Array]:
                state = params
                for batch in batches:
                    state, _ = jitted(state, batch)
                return state

            a, b = in_turn({"alone": alone, "scan": partial(scan, params, x)}, options.rounds)
            table.add_row(f"{name}: {what}", f"{a / STEPS:.2f}", f"{b / STEPS:.2f}", f"{b / a:.2f}")
    return table


def descend(
    conv: Callable[..., jax.Array], kernel: jax.Array, image: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A step against half the squared value: the next kernel, and the gradient of the image."""
    value, back = jax.vjp(conv, image, kernel)
    of_image, of_kernel = back(value)
    return kernel - 1e-6 * of_kernel, of_image


def kinds(options: Options) -> Table:
    """Value and both gradients of one convolution in a scan."""
    table, key = (
        Table(
            "value and gradients in a scan", "jaxnet, ms", "jax.lax, ms", "lax / jaxnet", box=None
        ),
        jax.random.key(0),
    )
    for name, (side, inputs, size, features, given) in KINDS.items():
        how: dict[str, Any] = {"window_strides": (1, 1), "padding": "SAME"} | given
        x = jax.random.normal(key, (STEPS, options.batch // 4, side, side, inputs))
        kernel = jax.random.normal(
            key, (size, size, inputs // how.get("feature_group_count", 1), features)
        )

        programs: dict[str, Callable[[], Any]] = {}
        for whose, conv in (
            ("jaxnet", conv_general_dilated),
            ("jax.lax", jax.lax.conv_general_dilated),
        ):
            step = partial(descend, partial(conv, dimension_numbers=NUMBERS, **how))
            programs[whose] = partial(jax.jit(partial(jax.lax.scan, step)), kernel, x)
        a, b = (each / STEPS for each in in_turn(programs, options.rounds))
        table.add_row(name, f"{a:.2f}", f"{b:.2f}", f"{b / a:.1f}")
    return table


def by_window(x: jax.Array) -> jax.Array:
    """2x2 max pooling of jax.lax."""
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def pooling(options: Options) -> Table:
    """Max pooling: its forward pass, its gradient's pass, and both; and no more than reading and
    writing what the gradient must.
    """
    table = Table(
        "2x2 max pooling",
        "forward, ms",
        "gradient",
        "both",
        "gradient / forward",
        "both / forward",
        "x * 2",
        box=None,
    )
    for shape in POOLED:
        x = jax.random.normal(jax.random.key(0), shape)
        for name, pool in (("jaxnet", max_pool), ("reduce_window", by_window)):
            g = pool(x)
            both = lambda x, g, pool=pool: (lambda y, back: (y, back(g)[0]))(*jax.vjp(pool, x))  # noqa: E731
            gradient = lambda x, g, both=both: both(x, g)[1]  # noqa: E731
            programs = {
                "forward": partial(jax.jit(pool), x),
                "gradient": partial(jax.jit(gradient), x, g),
                "both": partial(jax.jit(both), x, g),
                "copy": partial(jax.jit(lambda x: x * 2), x),
            }
            a, b, c, d = in_turn(programs, options.rounds)
            size = "x".join(map(str, shape))
            table.add_row(
                f"{size}, {name}", *(f"{each:.2f}" for each in (a, b, c, b / a, c / a, d))
            )
    return table


def main() -> None:
    """Measure in turn, print medians and ratios."""
    options = tyro.cli(Options, description=__doc__)
    for table in (alone_and_in_a_scan, kinds, pooling):
        Console(width=120).print(table(options), "")


if __name__ == "__main__":
    main()
