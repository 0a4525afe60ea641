"""Is the error on MNIST at 15,000, 30,000 and 60,000 examples foreseen from at most 7,500?

    python -m experiments.benchmarks.mnist_learning_curve --data-dir DIR

Learning curves of 8 networks a size, 14 sizes from 82 to 7,500, in 10 random subset orders, are
extrapolated; 8 other networks are trained at each of the three sizes. Printed: how often the
predicted interval overlaps Student's interval of those.
"""

import argparse
import sys
from pathlib import Path

import jax
import numpy as np

import jaxnet
from jaxnet import Model, Splits
from jaxnet.errors import InputError

SIZES = [int(7500 / 2 ** (k / 2)) for k in range(13, -1, -1)]
FARTHER = [15_000, 30_000, 60_000]
MODELS = {"128 hidden units": jaxnet.mlp((128,)), "linear": jaxnet.linear()}
RECIPE = jaxnet.Recipe(epochs=2, batch_size=64, learning_rate=3e-3, schedule="one_cycle")


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--orders", type=int, default=10)
    parser.add_argument("--only", default="", help="networks whose name has this in it")
    options = parser.parse_args()
    jaxnet.use_cpu_devices()
    try:
        splits = jaxnet.load("mnist", data_dir=options.data_dir, validation=0)
    except InputError as error:
        print(f"skipped: {error}")
        return 0
    for name, model in MODELS.items():
        if options.only in name:
            foresee(name, model, splits, options.orders)
    return 0


def foresee(name: str, model: Model, splits: Splits, orders: int) -> None:
    """The table of one network."""
    truth = jaxnet.learning_curve(
        model, splits, RECIPE, jax.random.key(1_000), sizes=FARTHER
    ).measured
    print(
        f"{name}, held out: "
        + ", ".join(f"{n:,}: {each}" for n, each in zip(FARTHER, truth, strict=True)),
        flush=True,
    )
    found = []
    for order in range(orders):
        curve = jaxnet.learning_curve(model, splits, RECIPE, jax.random.key(order), sizes=SIZES)
        found.append(curve.predict(FARTHER))
        print(
            f"order {order}: measured {curve.errors.mean(1).round(4).tolist()}; "
            + ", ".join(str(each) for each in found[-1]),
            flush=True,
        )
    print("size     refused   overlap   half-width, of the prediction: median, largest")
    for place, n in enumerate(FARTHER):
        kept = [each[place] for each in found if each[place].refused is None]
        overlap = sum(
            each.low <= truth[place].high and truth[place].low <= each.high for each in kept
        )
        widths = [(each.high - each.low) / 2 / each.estimate for each in kept] or [np.nan]
        print(
            f"{n:6,d} {len(found) - len(kept):7d} {overlap:5d} of {len(kept)} "
            f"{np.median(widths):10.1%} {max(widths):10.1%}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
