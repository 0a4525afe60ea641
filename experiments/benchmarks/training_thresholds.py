"""What do faulty trainings show, and healthy ones? The thresholds of findings were chosen by this.

    OMP_NUM_THREADS=1 python -m experiments.benchmarks.training_thresholds --data-dir FOLDER
        [--part i/n] [--only "rate x30"]

The kinds of faults are those of faulty_trainings.py, but data, models, recipes and seeds are
others, so that training_faults.py judges thresholds that never saw its cases. Each case is a row of
training_thresholds.csv: what 4 cross-fitted networks show, what probes do where they are trained
(their errors at FACTORS times the rate), and the findings. A fault counts if it costs 5 points of
test error.
"""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxnet
from experiments.benchmarks.faulty_trainings import KINDS, Pair, labeled, parts
from experiments.benchmarks.rows import append, missing, parser, read
from jaxnet import Recipe, Splits
from jaxnet.core.recipe import resolved
from jaxnet.core.training import Problem
from jaxnet.data.resampling import folds
from jaxnet.data.splitting import pool
from jaxnet.diagnostics.causes import healthy, of_first_step, of_probes, plain_findings
from jaxnet.studies.probes import probes, signs_of_training

TABLE = Path(__file__).with_suffix(".csv")
SIGNS = ("lost", "error", "unseen", "guessing", "skill", "one_class", "recall", "scale", "fell")
FIELDS = ("case", "test_error", "findings", "remedy", *SIGNS, "steps", "few", "many")
FOLDS, TOLERANCE, COUNTS_FROM = 4, 0.02, 5.0


def cancer(seed: int, _: Path) -> Splits:
    """569 tumors, 30 columns."""
    from sklearn.datasets import load_breast_cancer

    data: Any = load_breast_cancer()
    return parts(data.data, data.target, seed)


def iris(seed: int, _: Path) -> Splits:
    """150 flowers, 4 columns."""
    from sklearn.datasets import load_iris

    data: Any = load_iris()
    return parts(data.data, data.target, seed)


def spirals(seed: int, _: Path) -> Splits:
    """Three spirals in two of five columns, which have units of their own."""
    rng = np.random.default_rng([seed, 11])
    y = rng.integers(0, 3, 1500)
    t = rng.uniform(0.3, 1, 1500)
    angle = 4 * t + 2 * np.pi * y / 3 + 0.1 * rng.standard_normal(1500)
    x = np.stack([t * np.cos(angle), t * np.sin(angle), *rng.standard_normal((3, 1500))], 1)
    units, offsets = np.array([50, 0.02, 3, 1, 7]), np.array([5, 1, 0, 100, 0])
    return parts((x * units + offsets).astype(np.float32), y, seed)


def clouds(
    seed: int, _: Path, rows: int = 1000, share: float | None = None, classes: int = 6
) -> Splits:
    """Points around the centers of classes; share: that of the second of two classes."""
    rng = np.random.default_rng([seed, 12])
    y = rng.integers(0, classes, rows) if share is None else (rng.random(rows) < share).astype(int)
    centers = 1.3 * np.random.default_rng([seed, 13]).standard_normal((classes, 15))
    return parts((centers[y] + rng.standard_normal((rows, 15))).astype(np.float32), y, seed)


@functools.cache
def later_arrays(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Training images of MNIST from the 20,001st on."""
    train = jaxnet.load("mnist", data_dir=folder, validation=0).train
    return np.asarray(train.x)[20000:23000], np.asarray(train.y)[20000:23000]


def later(seed: int, folder: Path, rows: int = 1200) -> Splits:
    """Some of these images."""
    return parts(*later_arrays(folder), seed, test=0.2, rows=rows)


def values(seed: int, _: Path) -> Splits:
    """900 rows whose label is a value."""
    from sklearn.datasets import make_friedman1

    return parts(*make_friedman1(900, 8, noise=1.0, random_state=seed), seed)


def mislabeled(seed: int, folder: Path) -> Splits:
    """The clouds, a quarter of their labels wrong."""

    def change(y: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng([seed, 4])
        return np.where(rng.random(len(y)) < 0.25, (y + rng.integers(1, 6, len(y))) % 6, y)

    return labeled(clouds(seed, folder), change)


def weak(seed: int, _: Path) -> Splits:
    """One class in twelve, which one column tells a little."""
    rng = np.random.default_rng([seed, 14])
    y = (rng.random(1500) < 0.08).astype(int)
    x = rng.standard_normal((1500, 10))
    x[:, 0] += 1.2 * y
    return parts(x.astype(np.float32), y, seed)


def noisy(seed: int, _: Path) -> Splits:
    """Labels that follow one of 8 columns, a third of them the other way round."""
    rng = np.random.default_rng([seed, 15])
    x = rng.standard_normal((1200, 8))
    y = np.where(rng.random(1200) < 0.33, x[:, 0] <= 0, x[:, 0] > 0).astype(int)
    return parts(x.astype(np.float32), y, seed)


few_later, few_clouds = functools.partial(later, rows=120), functools.partial(clouds, rows=90)
rare = functools.partial(clouds, share=0.06, classes=2)
mlp, SLOW = jaxnet.mlp, Recipe(learning_rate=1e-3, schedule="constant", epochs=20, batch_size=128)
SGD = Recipe(optimizer="sgd", learning_rate=0.1, epochs=20)
MOMENTUM = Recipe(optimizer="momentum", learning_rate=0.03, schedule="cosine", epochs=40)
ADAMW = Recipe(optimizer="adamw", weight_decay=0.01, learning_rate=2e-3, epochs=20)
PLANTED = {
    "gauss momentum": Pair(clouds, mlp((40,)), MOMENTUM),
    "cancer MLP": Pair(cancer, mlp((24,)), Recipe(epochs=40, batch_size=32)),
    "spirals MLP": Pair(spirals, mlp((48, 48)), Recipe(learning_rate=5e-3, epochs=60)),
    "later MLP": Pair(later, mlp((48,)), ADAMW),
    "iris MLP": Pair(iris, mlp((12,)), Recipe(learning_rate=5e-3, epochs=60, batch_size=16)),
    "later CNN": Pair(later, jaxnet.cnn((6, 12), (24,)), Recipe(learning_rate=2e-3, epochs=8)),
}
NORMALIZED = mlp((32, 32), activation="tanh", normalization="layer")
HEALTHY = {
    **PLANTED,
    "later constant": Pair(later, mlp((64, 32)), SLOW),
    "h batchnorm": Pair(clouds, mlp((32,), normalization="batch"), Recipe(epochs=30)),
    "h layernorm tanh": Pair(spirals, NORMALIZED, Recipe(epochs=60, learning_rate=5e-3)),
    "h smooth": Pair(clouds, mlp((32,)), Recipe(epochs=30, label_smoothing=0.1)),
    "h tiny gauss": Pair(clouds, mlp((2,)), Recipe(epochs=100)),
    "h tiny later": Pair(later, mlp((4,)), Recipe(epochs=30)),
    "h linear spirals": Pair(spirals, jaxnet.linear(), Recipe(epochs=40)),
    "h linear later": Pair(later, jaxnet.linear(), Recipe(epochs=20)),
    "h noise labels": Pair(mislabeled, mlp((32,)), Recipe(epochs=30)),
    "h few": Pair(few_later, mlp((32,)), Recipe(epochs=60, batch_size=16)),
    "h few gauss": Pair(few_clouds, mlp((32,)), Recipe(epochs=60, batch_size=16)),
    "h imbalanced": Pair(rare, mlp((16,)), Recipe(epochs=40)),
    "h imbalanced hard": Pair(weak, mlp((16,)), Recipe(epochs=40)),
    "h dropout": Pair(later, mlp((64,)), Recipe(epochs=15, dropout=0.3)),
    "h sgd": Pair(later, mlp((32,)), SGD),
    "h noisy2": Pair(noisy, mlp((16,)), Recipe(epochs=30)),
    "h default later": Pair(later, mlp(), Recipe()),
    "h default gauss": Pair(clouds, mlp(), Recipe()),
    "h default cancer": Pair(cancer, mlp(), Recipe()),
    "h friedman": Pair(values, mlp((32,)), Recipe(epochs=60)),
}


def cases() -> list[str]:
    """The names of all cases, as "kind, pair, seed"."""
    seeds = (7001, 7002)
    found = [f"none, {pair}, {seed}" for seed in seeds for pair in HEALTHY]
    return found + [f"{kind}, {pair}, {s}" for s in seeds for pair in PLANTED for kind in KINDS]


def study(case: str, folder: Path) -> dict[str, object]:
    """The row of a case."""
    kind, pair, number = case.split(", ")
    seed = int(number)
    training = HEALTHY[pair].training(seed, folder)
    if kind != "none":
        training = KINDS[kind].plant(training, seed)
    model, splits = training.model, pool(training.splits)
    recipe = resolved(training.recipe, len(splits.train))
    networks = jaxnet.fit_population(
        model,
        splits,
        recipe,
        jax.random.split(jax.random.key(seed), FOLDS),
        resample=folds(splits.train, FOLDS),
        signals=16,
    )
    y = np.asarray(splits.test.y)
    outputs = np.asarray(jaxnet.predict(model, networks, splits.test.x))
    if splits.classes is None:
        error = ((outputs.reshape(FOLDS, -1) - y) ** 2).mean() / y.var()
    else:
        error = ((outputs.argmax(-1) != y) | ~np.isfinite(outputs).all(-1)).mean()
    problem = Problem(model, splits, recipe)
    signs = signs_of_training(problem, networks)
    found, tried = plain_findings(signs), None
    if not healthy(signs, TOLERANCE, 0.0):
        tried = probes(problem, key=jax.random.key(seed + 1))
        found = found or of_first_step(signs) or of_probes(signs, tried)
    first = found[0].remedies[0] if found else None
    return {
        "case": case,
        "test_error": f"{100 * error:.2f}",
        "findings": " ".join(each.code for each in found),
        "remedy": "" if first is None else f"{first.of} {first.field} {first.how} {first.value}",
        **{name: f"{getattr(signs, name):.4g}" for name in SIGNS},
        "steps": signs.steps,
        "few": "" if tried is None else " ".join(f"{each:.3f}" for each in tried.few),
        "many": "" if tried is None else " ".join(f"{each:.3f}" for each in tried.many),
    }


def report(rows: Sequence[dict[str, str]]) -> None:
    """Print how many faults that count are named, and which healthy trainings have a finding."""
    by_case = {row["case"]: row for row in rows}
    count = named = false = 0
    for case, row in by_case.items():
        kind, rest = case.split(", ", 1)
        first = row["findings"].partition(" ")[0]
        if kind == "none":
            false += bool(first)
            right = not first
        else:
            twin = by_case.get(f"none, {rest}")
            if twin is None or float(row["test_error"]) - float(twin["test_error"]) < COUNTS_FROM:
                continue
            right = first in KINDS[kind].codes
            count, named = count + 1, named + right
        if not right:
            print(f"{case}: {row['findings'] or 'nothing'}")
    healthy_ones = sum(case.startswith("none, ") for case in by_case)
    print(f"named: {named} of {count}; healthy trainings with a finding: {false} of {healthy_ones}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is missing in the table, and print it."""
    asked = parser(__doc__, TABLE)
    asked.add_argument("--data-dir", type=Path, help="folder with the four files of MNIST")
    options = asked.parse_args(arguments)
    jaxnet.enable_cache()
    for case in missing(options, cases(), "case"):
        row = study(case, options.data_dir)
        append(options.table, [row], FIELDS)
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    report(read(options.table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
