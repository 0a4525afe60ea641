"""Is the recipe that advice adopts as good as what a search finds with as many trainings?

    OMP_NUM_THREADS=1 python -m experiments.benchmarks.advice_rivals --data-dir DIR [--seeds 10]
        [--part i/n] [--only TEXT]

`pip install -e '.[benchmarks]'` first. Random search and Optuna's TPE (Bergstra et al. 2011) with
its default settings draw from the space of the changes that advice tries: learning rate from a
tenth to 10 times, 1 to 10 times as many epochs, hidden layers half to twice as wide, one more or
one less, dropout, label smoothing and weight decay. Each trial is one training on the training set,
judged on the validation set; there are as many trials as advice of at most 5 rounds trained
networks. A search stops at no tolerance, so advice has one of 0.2 points. Then 8 networks of each
method's recipe are trained on the training set, with the same keys, those of advice with the
labels, weights and standardization that it hands over, and their mean error on the test set is what
counts.

Data sets: the first 5,000 images of MNIST, judged on its 10,000, and five generated tables of 1,250
rows, judged on 5,000 others. With "rate / 100" the recipe that all begin with has a hundredth of
the learning rate. A row is appended to advice_rivals.csv for each data set and seed.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from sklearn.datasets import make_classification

import jaxnet
from experiments.benchmarks.patients import as_splits
from experiments.benchmarks.rows import append, missing, parser, read
from jaxnet import Model, Recipe, Splits
from jaxnet.stats.estimate import repeated

TABLE = Path(__file__).with_suffix(".csv")
FIELDS = ("case", "trainings", "before", "advice", "random", "tpe", "adopted")
RECIPE, HIDDEN = Recipe(epochs=10, schedule="one_cycle"), (64, 32)
ROUNDS, TOLERANCE, JUDGES = 5, 0.002, 8
ROWS = 1_000, 250, 5_000  # of a table: training, validation and test set
TABLES: dict[str, dict[str, Any]] = {
    "few inputs": {"n_features": 8, "n_informative": 6, "n_classes": 3},
    "many inputs": {"n_features": 60, "n_informative": 10, "n_classes": 4},
    "clusters": {"n_features": 20, "n_informative": 8, "n_clusters_per_class": 4},
    "wrong labels": {"n_features": 20, "n_informative": 10, "flip_y": 0.2},
    "far apart": {"n_features": 20, "n_informative": 12, "n_classes": 5, "class_sep": 2.0},
}
FAULTS = {"": 1.0, ", rate / 100": 0.01}


def main() -> int:
    """Train what the table lacks, and print the differences."""
    made = parser(__doc__, TABLE, seeds=10)
    made.add_argument("--data-dir", type=Path)
    options = made.parse_args()
    jaxnet.use_cpu_devices()
    jaxnet.enable_cache()
    cases = {
        f"{name}{fault}, {seed}": (name, factor, seed)
        for seed in range(options.seeds)
        for fault, factor in FAULTS.items()
        for name in [*TABLES, "MNIST"]
    }
    for case in missing(options, cases, "case"):
        name, factor, seed = cases[case]
        splits = mnist(options.data_dir) if name == "MNIST" else table(name, seed)
        recipe = replace(RECIPE, learning_rate=3e-3 * factor)
        append(options.table, [{"case": case, **compared(splits, recipe, seed)}], FIELDS)
        jax.clear_caches()  # a system maps only so many compiled programs at a time
        print(case, flush=True)
    report(options.table)
    return 0


def table(name: str, seed: int) -> Splits:
    """A generated table."""
    kind: dict[str, Any] = {"flip_y": 0.02, **TABLES[name]}
    x, y = make_classification(sum(ROWS), random_state=sum(name.encode()), **kind)
    order = np.random.default_rng(seed).permutation(len(y))
    ends = np.cumsum(ROWS)
    rows = [order[end - size : end] for end, size in zip(ends, ROWS, strict=True)]
    parts = [x[part].astype("f4") for part in rows], [y[part] for part in rows]
    return as_splits(*parts, y.max() + 1)


def mnist(folder: Path | None) -> Splits:
    """The first 5,000 images, 1,000 of them for validation."""
    found = jaxnet.load("mnist", data_dir=folder, validation=0)
    x, y = np.asarray(found.train.x)[:5_000], np.asarray(found.train.y)[:5_000]
    test = np.asarray(found.test.x), np.asarray(found.test.y)
    return as_splits([x[:4_000], x[4_000:], test[0]], [y[:4_000], y[4_000:], test[1]], 10, "own")


def compared(splits: Splits, recipe: Recipe, seed: int) -> dict[str, object]:
    """The mean test errors of each method's recipe."""
    model = jaxnet.mlp(HIDDEN)
    found = jaxnet.advise(
        model, splits, recipe, jax.random.key(seed), rounds=ROUNDS, tolerance=TOLERANCE
    )
    errors = {
        "before": error(model, recipe, splits, seed),
        "advice": error(
            found.model, found.recipe, found.splits, seed, found.weights, votes=found.votes
        ),
    }
    for sampler in ("random", "tpe"):
        errors[sampler] = error(
            *searched(sampler, splits, recipe, found.trainings, seed), splits, seed
        )
    words = {name: f"{each:.4f}" for name, each in errors.items()}
    return {"trainings": found.trainings, "adopted": found.adopted, **words}


def searched(
    sampler: str, splits: Splits, recipe: Recipe, trials: int, seed: int
) -> tuple[Model, Recipe]:
    """The best of so many trials by their validation error."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kind = optuna.samplers.RandomSampler if sampler == "random" else optuna.samplers.TPESampler
    study = optuna.create_study(sampler=kind(seed=seed))
    rate = float(np.asarray(recipe.learning_rate))

    def chosen(trial: Any) -> tuple[Model, Recipe]:
        width = trial.suggest_categorical("width", [0.5, 1.0, 2.0])
        layers = trial.suggest_categorical("layers", [1, 2, 3])
        hidden = (HIDDEN + HIDDEN[-1:])[:layers]
        return jaxnet.mlp(tuple(int(width * units) for units in hidden)), replace(
            recipe,
            learning_rate=trial.suggest_float("rate", rate / 10, rate * 10, log=True),
            epochs=recipe.epochs * trial.suggest_categorical("epochs", [1, 2, 4, 10]),
            dropout=trial.suggest_categorical("dropout", [0.0, 0.2, 0.5]),
            label_smoothing=trial.suggest_categorical("smoothing", [0.0, 0.1]),
            weight_decay=trial.suggest_float("decay", 1e-3, 1.0, log=True),
        )

    def objective(trial: Any) -> float:
        model, own = chosen(trial)
        run = jaxnet.fit(model, splits, own, jax.random.key(1_000 * seed + trial.number))
        accuracy = run.history.validation_accuracy
        assert accuracy is not None
        return 1 - float(accuracy[-1])

    study.optimize(objective, n_trials=trials)
    return chosen(optuna.trial.FixedTrial(study.best_params))


def error(
    model: Model,
    recipe: Recipe,
    splits: Splits,
    seed: int,
    weights: np.ndarray | None = None,
    *,
    votes: int = 1,
) -> float:
    """The mean test error of networks that are trained on the training set; that of their vote,
    where networks vote.
    """
    keys, test = jax.random.split(jax.random.key(10_000 + seed), JUDGES), splits.test
    samples = None
    if weights is not None:
        samples = jaxnet.resampling.whole(JUDGES, len(splits.train)).reweighted(weights)
    networks = jaxnet.fit_population(model, splits, recipe, keys, resample=samples)
    outputs = np.asarray(jaxnet.predict(model, networks, np.asarray(test.x)))
    if votes > 1:
        outputs = np.exp(outputs).mean(0, keepdims=True)
    return float((outputs.argmax(-1) != np.asarray(test.y)).mean())


def report(path: Path) -> None:
    """Print by how much advice errs more than each rival, in percentage points."""
    rows = read(path)
    for name in [f"{data}{fault}" for fault in FAULTS for data in [*TABLES, "MNIST"]]:
        found = [row for row in rows if row["case"].rpartition(",")[0] == name]
        for rival in ("before", "random", "tpe") if found else ():
            apart = np.array([100 * (float(row["advice"]) - float(row[rival])) for row in found])
            words = repeated(apart) if len(apart) > 1 else f"{apart[0]:.2f}"
            print(f"{name:28s} {len(found):3d} seeds, advice less {rival:7s} {words}")


if __name__ == "__main__":
    sys.exit(main())
