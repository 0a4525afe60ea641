"""What does successive halving find, and what does it save, beside the full sweep, Optuna and
scikit-learn?

    python -m experiments.benchmarks.halving --data-dir FOLDER

256 random recipes (learning rate, weight decay, dropout, label smoothing) of 784-64-32-10, Adam,
batch 64, 16 epochs on 8,000 examples of MNIST; 2,000 others choose. Halving's recipe should be
within one standard error of the best of the full sweep, at no more than 35% of its epochs. Beside
it, with the same data and recipes: Optuna's SuccessiveHalvingPruner over a loop of trials, each a
loop over jaxnet's compiled `epoch`, with JAX as it starts by itself; and scikit-learn's
HalvingRandomSearchCV over MLPClassifier (of learning rate and alpha; it has no dropout and no
smoothing) on all cores. Each in a process of its own, one after the other; whichever is missing is
left out by name. Seconds are with compilation, without imports and reading.
"""

import importlib.util
import json
import math
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import jaxnet
from jaxnet import Recipe, space
from jaxnet.data.splitting import assemble, take
from jaxnet.population.halving import Halving

SIZES = {"train": 8000, "validation": 2000, "test": 10_000}
HIDDEN, BATCH = (64, 32), 64
SPACE = {
    "learning_rate": space.LogUniform(1e-4, 1.0),
    "weight_decay": space.LogUniform(1e-6, 1e-1),
    "dropout": space.Linear(0.0, 0.5),
    "label_smoothing": space.Linear(0.0, 0.2),
}
NEEDS = {"full sweep": "jaxnet", "halving": "jaxnet", "optuna": "optuna", "scikit-learn": "sklearn"}
ERRORS, EPOCHS = 1.0, 0.35  # standard errors and share of epochs that halving may need


@dataclass(frozen=True)
class Options:
    """What to measure."""

    data_dir: Path
    """folder with the four files of MNIST"""
    trials: int = 256
    """recipes"""
    epochs: int = 16
    """of each, if it is trained to its end"""
    factor: int = 4
    """one in so many goes on after each rung"""
    seed: int = 0
    """of the recipes"""
    only: Literal["full sweep", "halving", "optuna", "scikit-learn"] | None = None
    """train with this one alone, and print what it found as JSON"""


def main() -> None:
    """Sweep in full, by halving, and by the rivals; print."""
    options = tyro.cli(Options, description=__doc__)
    if options.only is None:
        compare(options)
        return
    if options.only in ("full sweep", "halving"):
        jaxnet.use_cpu_devices()
    splits = jaxnet.load("mnist", data_dir=options.data_dir, validation=0.2)
    splits = assemble(
        *(take(getattr(splits, name), slice(n)) for name, n in SIZES.items()), name="part of mnist"
    )
    trials = space.random(SPACE, options.trials, seed=options.seed)
    match options.only:
        case "full sweep":
            found = by_jaxnet(options, splits, trials, None)
        case "halving":
            found = by_jaxnet(
                options, splits, trials, Halving.geometric(options.epochs, factor=options.factor)
            )
        case "optuna":
            found = by_optuna(options, splits, trials)
        case "scikit-learn":
            found = by_scikit_learn(options, splits, trials)
    print(json.dumps(found))


def compare(options: Options) -> None:
    """The table, and whether halving meets its target."""
    found: dict[str, dict[str, Any]] = {}
    for name, module in NEEDS.items():
        if importlib.util.find_spec(module) is None:
            print(f"skipped: {name}, since {module} is not installed")
            continue
        same = [
            f"--{option}={getattr(options, option)}"
            for option in ("trials", "epochs", "factor", "seed")
        ]
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "experiments.benchmarks.halving",
            "--only",
            name,
            *same,
        ]
        said = subprocess.run(
            [*command, "--data-dir", str(options.data_dir)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        found[name] = json.loads(said.stdout.splitlines()[-1])
    full, halved = found["full sweep"], found["halving"]
    table = Table(
        "",
        "chosen",
        "validation error",
        "test error",
        "epochs",
        "of all",
        "s",
        "its s / halving's",
        box=None,
    )
    for name, row in found.items():
        errors = (f"{row[part]:.2%}" if part in row else "" for part in ("error", "test"))
        counts = (
            f"{row['epochs']:,}",
            f"{row['epochs'] / (options.trials * options.epochs):.0%}",
            f"{row['seconds']:.1f}",
        )
        table.add_row(
            name, f"{row['trial']}", *errors, *counts, f"{row['seconds'] / halved['seconds']:.1f}"
        )
    for column in table.columns[1:]:
        column.justify = "right"
    Console(width=140, highlight=False).print(table)
    deviation = math.sqrt(full["error"] * (1 - full["error"]) / SIZES["validation"])
    above, share = (halved["error"] - full["error"]) / deviation, halved["epochs"] / full["epochs"]
    print(
        f"standard error of the full sweep's best: {deviation:.2%}; halving's recipe is "
        f"{above:+.2f} of it above"
    )
    print(
        f"target (at most {ERRORS:+.0f}, and {EPOCHS:.0%} of the epochs): "
        f"{'met' if above <= ERRORS and share <= EPOCHS else 'missed'}"
    )


def by_jaxnet(
    options: Options, splits: jaxnet.Splits, trials: list[space.Trial], halving: Halving | None
) -> dict[str, Any]:
    """All trials as one population."""
    began = time.perf_counter()
    recipe = Recipe(
        epochs=options.epochs, batch_size=BATCH, schedule="constant", learning_rate=1e-3
    )
    found = jaxnet.sweep(
        jaxnet.mlp(HIDDEN), splits, recipe, trials, jax.random.key(0), halving=halving
    )
    return {
        "trial": found.best,
        "error": float(found.table["error"][found.best]),
        "test": found.test.error.estimate,
        "epochs": int(found.population.epochs.sum()),
        "seconds": time.perf_counter() - began,
    }


def by_optuna(options: Options, splits: jaxnet.Splits, trials: list[space.Trial]) -> dict[str, Any]:
    """One trial after the other, an epoch at a call; the pruner stops those that are not among the
    best so far at their rung.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    model, key, trained = jaxnet.mlp(HIDDEN), jax.random.split(jax.random.key(0), 1)[0], [0]
    start, epoch = (
        jax.jit(jaxnet.start, static_argnums=0),
        jax.jit(jaxnet.epoch, static_argnums=0, donate_argnums=3),
    )

    def objective(trial: optuna.Trial) -> float:
        values: dict[str, Any] = {}
        for name, axis in SPACE.items():
            values[name] = trial.suggest_float(
                name, axis.low, axis.high, log=isinstance(axis, space.LogUniform)
            )
        recipe = Recipe(epochs=options.epochs, batch_size=BATCH, schedule="constant", **values)
        state, error = start(model, splits, recipe, key), math.nan
        for number in range(1, options.epochs + 1):
            state, row = epoch(model, splits, recipe, state)
            error = 1.0 if math.isnan(row.validation_loss) else 1 - float(row.validation_accuracy)
            trained[0] += 1
            trial.report(error, number)
            if trial.should_prune():
                raise optuna.TrialPruned
        return error

    began = time.perf_counter()
    study = optuna.create_study(
        pruner=optuna.pruners.SuccessiveHalvingPruner(
            min_resource=1, reduction_factor=options.factor
        )
    )
    for trial in trials:
        study.enqueue_trial(trial)
    study.optimize(objective, n_trials=len(trials))
    best = study.best_trial
    return {
        "trial": best.number,
        "error": best.value,
        "epochs": trained[0],
        "seconds": time.perf_counter() - began,
    }


def by_scikit_learn(
    options: Options, splits: jaxnet.Splits, trials: list[space.Trial]
) -> dict[str, Any]:
    """All cores; who goes on is trained anew from the start, since an estimator's fit forgets."""
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingRandomSearchCV, PredefinedSplit  # pyrefly: ignore[missing-module-attribute]
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")
    parts = (splits.train, splits.validation)
    x = np.concatenate(
        [np.asarray(part.x, np.float32).reshape(len(part), -1) / 255 for part in parts]
    )
    y = np.concatenate([np.asarray(part.y) for part in parts])
    fold = PredefinedSplit(
        [place for place, part in zip((-1, 0), parts, strict=True) for _ in range(len(part))]
    )
    network = MLPClassifier(HIDDEN, batch_size=BATCH, tol=0, n_iter_no_change=10**6, random_state=0)
    given = [
        {"learning_rate_init": [trial["learning_rate"]], "alpha": [trial["weight_decay"]]}
        for trial in trials
    ]
    search = HalvingRandomSearchCV(
        network,
        given,
        n_candidates=len(given),
        factor=options.factor,
        resource="max_iter",
        min_resources=1,
        max_resources=options.epochs,
        cv=fold,
        refit=False,
        n_jobs=-1,
        random_state=0,
    )
    began = time.perf_counter()
    search.fit(x, y)
    seconds = time.perf_counter() - began
    chosen = next(
        i
        for i, each in enumerate(given)
        if all(search.best_params_[name] == value for name, (value,) in each.items())
    )
    epochs = sum(n * r for n, r in zip(search.n_candidates_, search.n_resources_, strict=True))
    return {
        "trial": chosen,
        "error": 1 - search.best_score_,
        "epochs": int(epochs),
        "seconds": seconds,
    }


if __name__ == "__main__":
    main()
