"""Does one network learn several values as well as a network for each?

    python -m experiments.benchmarks.one_for_several

Three columns of scikit-learn's breast cancer table are predicted from its 27 others, by one network
for all three and by three networks of 64 hidden units. Both train on the same folds (8, with 3
seeds each), and each example is judged by networks that did not train on it: squared errors in
units of each column's variance, their mean over the columns, and the paired 95% interval of the
difference, one network minus three. Ends with 1 where one network of 192 units, as wide as the
three together, is shown to be worse in any of the sets of columns.
"""

import sys
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from sklearn.datasets import load_breast_cancer

import jaxnet
from jaxnet.data import Standardization
from jaxnet.data.checks import dataset
from jaxnet.data.resampling import all_but
from jaxnet.data.splitting import take
from jaxnet.diagnostics import Estimate
from jaxnet.stats.unseen_losses import UnseenLosses, recipe_difference

SETS = (
    ("mean texture", "mean smoothness", "mean symmetry"),
    ("mean radius", "mean texture", "mean smoothness"),
    ("worst concavity", "worst symmetry", "worst texture"),
)
WIDTH, FOLDS, SEEDS = 64, 8, 3
RECIPE = jaxnet.Recipe(epochs=30, batch_size=32, learning_rate=1e-2)


def unseen_losses(x: np.ndarray, y: np.ndarray, width: int, folds: np.ndarray) -> np.ndarray:
    """Squared errors, in variances of each column, of networks that did not train on the example.

    Args:
        x: (examples, features) inputs.
        y: (examples,) or (examples, columns) values.
        width: number of hidden units.
        folds: (examples,) fold of each example.

    Returns:
        (seeds, examples) means over the columns.
    """
    whole = dataset(x, y)
    splits = replace(
        jaxnet.split(x, y),
        train=whole,
        validation=take(whole, slice(0, 0)),
        standardization=Standardization.of(whole),
    )
    model, samples = jaxnet.mlp((width,)), all_but(folds, np.repeat(np.arange(FOLDS), SEEDS))
    keys = jax.random.split(jax.random.key(0), FOLDS * SEEDS)
    networks = jaxnet.fit_population(model, splits, RECIPE, keys, resample=samples)
    outputs = np.asarray(jaxnet.predict(model, networks, x), np.float64)
    own = outputs.reshape(FOLDS, SEEDS, *y.shape)[folds, :, np.arange(len(x))]
    errors = (own - y[:, None]) / y.std(0)
    return (errors**2).reshape(len(x), SEEDS, -1).mean(-1).T


def compare(columns: tuple[str, ...]) -> tuple[list[float], list[Estimate]]:
    """The errors of three networks and of one network of each width, and one minus three."""
    table: Any = load_breast_cancer()
    chosen = [[*table.feature_names].index(name) for name in columns]
    x, y = np.delete(table.data, chosen, 1).astype(np.float32), table.data[:, chosen]
    folds = np.random.default_rng(0).permutation(len(x)) % FOLDS
    three = np.mean([unseen_losses(x, each, WIDTH, folds) for each in y.T], 0)
    ones = [unseen_losses(x, y, width, folds) for width in (3 * WIDTH, WIDTH)]
    of = [UnseenLosses(losses, folds, None, False, "pool") for losses in (three, *ones)]
    errors = [float(losses.mean()) for losses in (three, *ones)]
    return errors, [recipe_difference(one, of[0]) for one in of[1:]]


def main() -> int:
    """Print the table."""
    jaxnet.use_cpu_devices()
    worse = 0
    for columns in SETS:
        (three, *ones), differences = compare(columns)
        print(f"{', '.join(columns)}: three networks of {WIDTH} units {three:.3f}")
        for width, error, found in zip((3 * WIDTH, WIDTH), ones, differences, strict=True):
            interval = f"{found.estimate:.3f} ({found.low:.3f} to {found.high:.3f})"
            print(f"  one of {width:3d} units {error:.3f}, minus three {interval}", flush=True)
        worse += differences[0].low > 0
    print(f"one network of {3 * WIDTH} units is shown to be worse in {worse} of {len(SETS)} sets")
    return int(worse > 0)


if __name__ == "__main__":
    sys.exit(main())
