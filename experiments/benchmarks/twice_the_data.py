"""Does the error with twice the data lie in the interval that is forecast for it?

    OMP_NUM_THREADS=1 python -m experiments.benchmarks.twice_the_data --data-dir DIR [--pools 10]
        [--part i/n] [--only TEXT]

A pool of n examples of MNIST, n = 1,000 to 30,000, is what a person has. Errors of 8 networks at
each of six sizes up to n, subsets of this pool, forecast the error of networks that are trained on
2n examples: the pool and as many others. 16 networks on these 2n examples say what it is. All are
judged on MNIST's test set. A row is appended to twice_the_data.csv for each pool; pools that are
there are not trained again.

`inside`: the mean error of the 16 networks lies in the interval, which is refused where `low` is
empty. They take as many steps as those of the forecast. `same_epochs` is the mean error of 16
others that are trained for as many epochs, and so take twice as many steps.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

import jaxnet
from experiments.benchmarks.rows import append, missing, parser, read
from jaxnet import InputError, LearningCurve, Model, Splits
from jaxnet.data import Dataset, Standardization
from jaxnet.diagnostics import exact

TABLE = Path(__file__).with_suffix(".csv")
FIELDS = ("case", "measured", "forecast", "low", "high", "twice", "same_epochs", "inside")
SIZES = (1_000, 2_000, 4_000, 8_000, 15_000, 30_000)
PARTS = [2 ** (-k / 2) for k in range(5, -1, -1)]  # of a pool, on which networks are trained
MODELS = {"32 hidden units": jaxnet.mlp((32,)), "linear": jaxnet.linear()}
EPOCHS, MEMBERS, JUDGES = 10, 8, 16
WANTED = 0.9  # share of the forecasts in whose interval the error should lie


def main() -> int:
    """Train what the table lacks, and print how many intervals hold."""
    read_options = parser(__doc__, TABLE, pools=10)
    read_options.add_argument("--data-dir", type=Path)
    options = read_options.parse_args()
    jaxnet.use_cpu_devices()
    try:
        splits = jaxnet.load("mnist", data_dir=options.data_dir, validation=0)
    except InputError as error:
        print(f"skipped: {error}")
        return 0
    cases = {
        f"{name}, {size}, {pool}": (model, size, pool)
        for pool in range(options.pools)
        for size in SIZES
        for name, model in MODELS.items()
    }
    for case in missing(options, cases, "case"):
        row = {"case": case, **foresee(*cases[case], splits)}
        append(options.table, [row], FIELDS)
        print(*row.values(), sep="; ", flush=True)
    report(options.table)
    return 0


def foresee(model: Model, size: int, pool: int, splits: Splits) -> dict[str, object]:
    """Forecast the error with twice the data, and measure it."""
    order = np.random.default_rng(pool).permutation(len(splits.train))
    own, both = (part(splits, order[:count]) for count in (size, 2 * size))
    curve = trained(model, own, EPOCHS, [int(size * share) for share in PARTS], MEMBERS, pool)
    (forecast,) = curve.predict([2 * size])
    twice, same_epochs = (
        trained(model, both, epochs, [2 * size], JUDGES, 1_000 + pool).errors.mean()
        for epochs in (EPOCHS // 2, EPOCHS)
    )
    return {
        "measured": " ".join(f"{error:.4f}" for error in curve.errors.mean(1)),
        "forecast": f"{forecast.estimate:.4f}",
        "low": "" if forecast.refused else f"{forecast.low:.4f}",
        "high": "" if forecast.refused else f"{forecast.high:.4f}",
        "twice": f"{twice:.4f}",
        "same_epochs": f"{same_epochs:.4f}",
        "inside": "" if forecast.refused else forecast.low <= twice <= forecast.high,
    }


def part(splits: Splits, rows: np.ndarray) -> Splits:
    """Splits whose training set has these rows only."""
    train = splits.train
    few = Dataset(np.asarray(train.x)[rows], np.asarray(train.y)[rows], train.classes)
    return Splits(few, splits.validation, splits.test, standardization=Standardization.of(few))


def trained(
    model: Model, splits: Splits, epochs: int, sizes: Sequence[int], members: int, key: int
) -> LearningCurve:
    """Networks on growing parts of a training set."""
    recipe = jaxnet.Recipe(epochs=epochs, learning_rate=3e-3, schedule="one_cycle")
    return jaxnet.learning_curve(
        model, splits, recipe, jax.random.key(key), sizes=sizes, members=members
    )


def report(table: Path) -> None:
    """Print how often the error is inside, with the 99% binomial interval."""
    rows = read(table)
    print(
        "network and size           pools  refused  inside  (99% interval)  as many epochs  "
        "half-width  gain"
    )
    for name in [*(f"{model}, {size}," for model in MODELS for size in SIZES), ""]:
        found = [row for row in rows if row["case"].startswith(name)]
        kept = [row for row in found if row["inside"]]
        if not kept:
            continue
        inside = sum(row["inside"] == "True" for row in kept)
        share = exact(inside, len(kept), 0.99)
        longer = [
            float(row["low"]) <= float(row["same_epochs"]) <= float(row["high"]) for row in kept
        ]
        wide = [(float(row["high"]) - float(row["low"])) / 2 for row in kept]
        gain = [float(row["measured"].split()[-1]) - float(row["twice"]) for row in found]
        print(
            f"{name or 'all':26s} {len(found):5d} {len(found) - len(kept):8d} "
            f"{share.estimate:7.0%}  ({share.low:.0%} to {share.high:.0%})"
            f"{np.mean(longer):14.0%} {np.median(wide):14.2%} {np.median(gain):6.2%}"
        )
    if rows:
        inside = [row["inside"] == "True" for row in rows if row["inside"]]
        print(f"wanted: {WANTED:.0%}" + " (kept)" * (math.fsum(inside) >= WANTED * len(inside)))


if __name__ == "__main__":
    sys.exit(main())
