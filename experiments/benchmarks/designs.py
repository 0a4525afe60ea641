"""Which training sets show bias and variance? Bootstrap and disjoint halves of a pool against the
truth.

    python -m experiments.benchmarks.designs [--pools 40]

Squared bias and variance of learners trained on 200 examples of Friedman's first function (Friedman
1991; noise 1), against its noiseless values: the truth from independent training sets of that size,
and what members trained on bootstraps of one pool of 200 show; then the truth at 100, and what
random halves of the pool show. Means over pools, with standard errors.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import jaxnet
from jaxnet.data.resampling import Samples
from jaxnet.diagnostics import bias_variance_decomposition

N, REPEATS, TEST, SETS = 200, 8, 500, 320


def draw(n: int, rng: np.random.Generator, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Examples of Friedman's function."""
    x = rng.uniform(0, 1, (n, 10))
    y = (
        10 * np.sin(np.pi * x[:, 0] * x[:, 1])
        + 20 * (x[:, 2] - 0.5) ** 2
        + 10 * x[:, 3]
        + 5 * x[:, 4]
    )
    return x, y + noise * rng.standard_normal(n)


Learner = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def one_by_one(make: Callable[[], Any]) -> Learner:
    """A learner of scikit-learn: (x, y, rows (members, n), new) -> (members, new)."""
    return lambda x, y, rows, new: np.stack(
        [make().fit(x[each], y[each]).predict(new) for each in rows]
    )


def network(x: np.ndarray, y: np.ndarray, rows: np.ndarray, new: np.ndarray) -> np.ndarray:
    """A small network of jaxnet: all members as one population, 1,000 steps each."""
    splits = jaxnet.split(
        np.concatenate([x, new]),
        np.concatenate([y, np.zeros(len(new))]),
        validation=0,
        test=len(new) / (len(x) + len(new)),
        order=np.arange(len(x) + len(new)),
    )
    members, n = rows.shape
    orders = np.zeros((members, len(x)), np.int32)
    orders[:, :n] = rows
    samples = Samples(
        "given",
        None,
        orders,
        np.arange(members),
        np.zeros(members, int),
        np.full(members, n, np.int32),
    )
    model, batch = jaxnet.mlp((32,)), 50
    recipe = jaxnet.Recipe(
        epochs=max(1, round(1000 * batch / len(x))),
        batch_size=batch,
        learning_rate=1e-2,
        schedule="cosine",
    )
    many = jaxnet.fit_population(
        model, splits, recipe, jax.random.split(jax.random.key(0), members), resample=samples
    )
    return np.asarray(jaxnet.predict(model, many, splits.test.x))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pools", type=int, default=40)
    options = parser.parse_args()
    jaxnet.use_cpu_devices()
    from sklearn.linear_model import Ridge
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.tree import DecisionTreeRegressor

    learners: dict[str, Learner] = {
        "ridge": one_by_one(lambda: Ridge(1.0)),
        "tree": one_by_one(lambda: DecisionTreeRegressor(random_state=0)),
        "3-NN": one_by_one(lambda: KNeighborsRegressor(3)),
        "network": network,
    }
    print(
        f"{'':10s}"
        + "".join(
            f"{name:>26s}"
            for name in ("truth at 200", "bootstrap of 200", "truth at 100", "halves of 200")
        )
    )
    for name, learn in learners.items():
        print(
            f"{name:10s}" + "".join(f"{cell:>26s}" for cell in compare(learn, options.pools)),
            flush=True,
        )
    print("bias², variance; +- a standard error over pools")
    return 0


def compare(learn: Learner, pools: int) -> list[str]:
    """The four cells of a learner."""
    rng = np.random.default_rng(0)
    new, labels = draw(TEST, rng, noise=0.0)
    cells = {}
    for n in (N, N // 2):
        x, y = draw(SETS * n, rng)
        predictions = learn(x, y, np.arange(SETS * n).reshape(SETS, n), new)
        found = bias_variance_decomposition(predictions, labels, loss="squared")
        cells[f"truth {n}"] = f"{found.bias.estimate:.2f}, {found.variance.estimate:.2f}"
    x, y = draw(pools * N, rng)
    starts = N * np.arange(pools)[:, None, None]
    boots = starts + rng.integers(0, N, (pools, 2 * REPEATS, N))
    halves = starts[..., None] + np.stack(
        [[rng.permutation(N).reshape(2, N // 2) for _ in range(REPEATS)] for _ in range(pools)]
    )
    for kind, rows in (("bootstrap", boots), ("halves", halves)):
        predictions = learn(x, y, rows.reshape(-1, rows.shape[-1]), new).reshape(
            pools, 2 * REPEATS, TEST
        )
        design: dict[str, Any] = (
            {"design": "bootstrap"} if kind == "bootstrap" else {"design": "partition", "parts": 2}
        )
        each = [
            bias_variance_decomposition(pool, labels, loss="squared", **design)
            for pool in predictions
        ]
        bias, variance = (
            np.array([getattr(found, part).estimate for found in each])
            for part in ("bias", "variance")
        )
        cells[kind] = ", ".join(
            f"{v.mean():.2f}+-{v.std(ddof=1) / np.sqrt(pools):.2f}" for v in (bias, variance)
        )
    return [cells[kind] for kind in (f"truth {N}", "bootstrap", f"truth {N // 2}", "halves")]


if __name__ == "__main__":
    sys.exit(main())
