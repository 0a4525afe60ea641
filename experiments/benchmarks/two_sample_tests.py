"""How often do the tests of two samples raise a false alarm, and how often do they find a shift?
MNIST, 10 to 10,000 examples.

    python -m experiments.benchmarks.two_sample_tests --data-dir FOLDER

A network learns from 10,000 of the 70,000 images; both samples are drawn afresh from the others in
each repetition, without an example in common. bbsd sees the network's log-probabilities, the others
the images. Level 0.05; rates with exact 95% intervals. Strengths are as large as those of Rabanser,
Guenther & Lipton (2019), and smaller.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

import jaxnet
from jaxnet.data import Dataset, Splits, Standardization
from jaxnet.data.corruption import corrupt, knock_out
from jaxnet.diagnostics import exact
from jaxnet.diagnostics.two_sample import METHODS, two_sample_test
from jaxnet.errors import InputError

SIZES = (10, 20, 50, 100, 200, 500, 1000, 10_000)
LEARNED = 10_000
SHIFTS: dict[str, tuple[str, float]] = {
    "noise 10/255": ("noise", 10 / 255),
    "noise 100/255": ("noise", 100 / 255),
    "blur 1 px": ("blur", 1.0),
    "shift 1 px": ("shift", 1.0),
    "rotation 10°": ("rotation", 10.0),
    "rotation 40°": ("rotation", 40.0),
    "contrast -20%": ("contrast", 0.2),
    "inversion 60%": ("inversion", 0.6),
    "half of class 0 gone": ("knock out", 0.5),
    "class 0 gone": ("knock out", 1.0),
}


class Pool(NamedTuple):
    """Examples that the network has not seen, and what it says of others."""

    x: np.ndarray
    y: np.ndarray
    outputs: np.ndarray
    predict: Callable[[np.ndarray], np.ndarray]


def build_pool(folder: Path) -> Pool:
    """MNIST, all 70,000, less those that the network learns from."""
    splits = jaxnet.load("mnist", data_dir=folder, validation=0)
    x, y = (
        np.concatenate([np.asarray(getattr(part, name)) for part in (splits.train, splits.test)])
        for name in ("x", "y")
    )
    order = np.random.default_rng(0).permutation(len(y))
    learned, rest = order[:LEARNED], order[LEARNED:]
    train = Dataset(x[learned], y[learned], schema=splits.schema)
    few = Dataset(x[rest[:1]], y[rest[:1]], schema=splits.schema)
    parts = Splits(
        train, Dataset(x[:0], y[:0], schema=splits.schema), few, Standardization.of(train)
    )
    model = jaxnet.mlp((128, 64))
    recipe = jaxnet.Recipe(epochs=10, batch_size=64, learning_rate=3e-3, schedule="one_cycle")
    run = jaxnet.fit(model, parts, recipe, jax.random.key(0))
    return Pool(
        x[rest],
        y[rest],
        np.asarray(jaxnet.predict(model, run, x[rest])),
        lambda new: np.asarray(jaxnet.predict(model, run, new)),
    )


def pair(
    pool: Pool, size: int, shift: tuple[str, float] | None, seed: int, *, outputs: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Two samples of a size, the second one shifted."""
    rng, key = np.random.default_rng([seed, size]), jax.random.key(seed)
    rows = rng.permutation(len(pool.y))
    first, rest = rows[:size], rows[size:]
    kind, strength = shift or ("none", 0.0)
    second = (rest[knock_out(pool.y[rest], 0, strength, key)] if kind == "knock out" else rest)[
        :size
    ]
    if outputs and kind in ("none", "knock out"):
        return pool.outputs[first], pool.outputs[second]
    new = (
        pool.x[second]
        if kind in ("none", "knock out")
        else corrupt(pool.x[second], kind, strength, key)
    )
    return (pool.outputs[first], pool.predict(new)) if outputs else (pool.x[first], new)


def simulated(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two samples of ten normal numbers that all are correlated."""
    rng = np.random.default_rng([seed, size, 1])
    values = rng.standard_normal((2 * size, 10)) + rng.standard_normal((2 * size, 1))
    return values[:size], values[size:]


def rate(
    draw: Callable[[int], tuple[np.ndarray, np.ndarray]], method: str, repetitions: int
) -> str:
    """The share of repetitions with an alarm."""
    alarms = 0
    for seed in range(repetitions):
        alarms += two_sample_test(
            *draw(seed), method=method, key=jax.random.key(10_000 + seed)
        ).shifted
    found = exact(alarms, repetitions)
    return (
        f"{found.estimate:.3f} ({found.low:.3f}-{found.high:.3f})"
        if repetitions >= 200
        else f"{found.estimate:.2f}"
    )


def line(
    name: str,
    method: str,
    sizes: tuple[int, ...],
    repetitions: dict[int, int],
    draw: Callable,
    width: int,
) -> None:
    """A line of a table, cell by cell as they come."""
    print(f"{name:22s}{method:12s}", end="", flush=True)
    for size in sizes:
        cell = (
            rate(lambda seed, size=size: draw(size, seed), method, repetitions[size])
            if repetitions[size]
            else "-"
        )
        print(f"{cell:>{width}s}", end="", flush=True)
    print(flush=True)


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data-dir", type=Path, required=True, help="folder with the four files of MNIST"
    )
    parser.add_argument(
        "--nulls", type=int, default=1000, help="null repetitions up to 1,000 examples"
    )
    parser.add_argument(
        "--nulls-large",
        type=int,
        nargs=3,
        default=(200, 200, 20),
        help="with 10,000: of bbsd, classifier and mmd",
    )
    parser.add_argument(
        "--repetitions", type=int, default=40, help="of a shift, up to 1,000 examples"
    )
    parser.add_argument("--repetitions-large", type=int, default=3, help="with 10,000")
    parser.add_argument(
        "--tables", nargs="+", choices=("false-alarms", "power"), default=("false-alarms", "power")
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    options = parser.parse_args()
    jaxnet.enable_cache()
    began = time.perf_counter()
    try:
        pool = build_pool(options.data_dir)
    except InputError as error:
        print(f"MNIST is absent: {error}", file=sys.stderr)
        return 2
    wrong = float((pool.outputs.argmax(1) != pool.y).mean())
    sizes = tuple(options.sizes)
    print(f"{len(pool.y):,} unseen images, of which the network gets {wrong:.2%} wrong")
    large = dict(zip(METHODS, options.nulls_large, strict=True))
    if "false-alarms" in options.tables:
        print(f"\nfalse alarms: {options.nulls} repetitions, with 10,000 examples {large}")
        print(f"{'':34s}" + "".join(f"{size:>22,}" for size in sizes))
        for method in options.methods:
            counts = {size: options.nulls if size <= 1000 else large[method] for size in sizes}
            line(
                "MNIST",
                method,
                sizes,
                counts,
                lambda n, s, m=method: pair(pool, n, None, s, outputs=m == "bbsd"),
                22,
            )
            line("correlated normals", method, sizes, counts, simulated, 22)
    if "power" in options.tables:
        counts = {
            size: options.repetitions if size <= 1000 else options.repetitions_large
            for size in sizes
        }
        print(
            f"\npower: {options.repetitions} repetitions, with 10,000 examples "
            f"{options.repetitions_large}"
        )
        print(f"{'':34s}" + "".join(f"{size:>8,}" for size in sizes))
        for name, shift in SHIFTS.items():
            for method in options.methods:
                line(
                    name,
                    method,
                    sizes,
                    counts,
                    lambda n, s, m=method, k=shift: pair(pool, n, k, s, outputs=m == "bbsd"),
                    8,
                )
    print(f"\n{time.perf_counter() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
