"""What do rules gain: labels that are likely wrong left out or corrected, columns left out, and an
ensemble of 8 networks?

    OMP_NUM_THREADS=1 python -m experiments.benchmarks.rules [--seeds 5] [--part i/n] [--only TEXT]

Digits with planted wrong labels, digits as they are, and generated tables with columns of noise, or
with values of which some are far off. For values, errors are shares of the variance of y. A
row is appended to rules.csv for each case and seed; those that are there are not measured again.
`found`: share of the planted wrong labels, or columns of noise, that are left out or corrected.
`right`: share of what is left out or corrected that was planted. `gain`: error of the current
recipe minus that of its change, in percentage points, on unseen examples of the 8 folds, whose
labels are as wrong as those of the training. `test gain`: the same on the test set, whose labels
are right, of the networks that are handed over: mean of 2 of each.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

import jaxnet
from experiments.benchmarks.rows import append, missing, parser
from jaxnet.core.recipe import resolved
from jaxnet.data.splitting import pool
from jaxnet.stats.gains import FOLDS
from jaxnet.studies.candidates import Candidate, current
from jaxnet.studies.measures import measure_of
from jaxnet.studies.networks import Networks, Whole
from jaxnet.studies.rules import handed_over

TABLE = Path(__file__).with_suffix(".csv")
FIELDS = ("case", "change", "found", "right", "gain", "test gain")
REFITS = 2
INFORMATIVE = 4  # columns of the tables that tell the class; the others come after them


class Planted(NamedTuple):
    """Data, and what was planted in them.

    Attributes:
        splits: the data.
        wrong: (some,) rows of the pool whose labels are wrong.
        noise: (some,) numbers of the inputs that tell nothing.
        epochs: of the training; in many, networks learn wrong labels by heart.
    """

    splits: jaxnet.Splits
    wrong: np.ndarray
    noise: np.ndarray
    epochs: int = 20


def digits(share: float, seed: int, epochs: int = 20) -> Planted:
    """Digits, of which a share of the labels is wrong."""
    splits, rng = pool(jaxnet.load("digits")), np.random.default_rng(seed)
    y = np.asarray(splits.train.y).copy()
    wrong = rng.permutation(len(y))[: int(share * len(y))]
    y[wrong] = (y[wrong] + rng.integers(1, 10, len(wrong))) % 10
    splits = replace(splits, train=replace(splits.train, y=y))
    return Planted(splits, wrong, np.arange(0), epochs)


def table(noise: int, seed: int) -> Planted:
    """A table in which few columns tell the class, and the others are noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2800, INFORMATIVE + noise)).astype("f4")
    score = x[:, 0] + x[:, 1] * x[:, 2] + x[:, 3] ** 2 - 1 + 0.3 * rng.normal(size=len(x))
    splits = jaxnet.split(x[:800], (score[:800] > 0).astype(int), seed=0)
    test = replace(splits.test, x=x[800:], y=(score[800:] > 0).astype(np.int32))
    return Planted(pool(replace(splits, test=test)), np.arange(0), INFORMATIVE + np.arange(noise))


def values(share: float, seed: int) -> Planted:
    """A table of values; a share of them has errors of five standard deviations of y."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2800, 8)).astype("f4")
    y = (x[:, 0] + x[:, 1] * x[:, 2] + 0.1 * rng.normal(size=len(x))).astype("f4")
    splits = jaxnet.split(x[:800], y[:800], seed=0)
    test = replace(splits.test, x=x[800:], y=y[800:])
    splits = pool(replace(splits, test=test))
    given = np.asarray(splits.train.y).copy()
    wrong = rng.permutation(len(given))[: int(share * len(given))]
    given[wrong] += 5 * given.std() * rng.normal(size=len(wrong)).astype("f4")
    splits = replace(splits, train=replace(splits.train, y=given))
    return Planted(splits, wrong, np.arange(0))


DATA = {
    "values, 5% far": lambda seed: values(0.05, seed),
    "values": lambda seed: values(0.0, seed),
    "4 columns and 30 of noise": lambda seed: table(30, seed),
    "digits, 10% wrong labels": lambda seed: digits(0.1, seed),
    "digits, 10% wrong labels, 80 epochs": lambda seed: digits(0.1, seed, 80),
    "4 columns": lambda seed: table(0, seed),
    "digits": lambda seed: digits(0.0, seed),
}


def changes(now: Candidate, planted: Planted) -> dict[str, Candidate]:
    """What is measured: rules for labels, or for columns, and an ensemble."""
    found = {"ensemble": replace(now, votes=8)}
    if planted.splits.classes is None:
        return {"values left out": replace(now, rule="drop"), **found}
    if planted.splits.train.x.ndim == 2:
        model = jaxnet.without_inputs(now.model, ())
        return {"columns left out": replace(now, model=model, rule="inputs"), **found}
    return {
        "labels left out": replace(now, rule="drop"),
        "labels corrected": replace(now, rule="correct"),
        **found,
    }


def test_error(way: Candidate, whole: Whole, splits: jaxnet.Splits, seed: int) -> float:
    """Mean error on the test set of networks that are trained as is handed over."""
    given, weights = handed_over(splits, whole.lesson, balance=False)
    keys, errors = jax.random.split(jax.random.key(seed + 1), REFITS), list[float]()
    for key in keys:
        if way.votes == 1:
            model, run = (
                whole.model,
                jaxnet.fit(whole.model, given, way.recipe, key, weights=weights),
            )
        else:
            networks = jaxnet.fit_population(
                whole.model, given, way.recipe, jax.random.split(key, way.votes)
            )
            model, run = jaxnet.ensemble(whole.model, networks)
        errors.append(float(jaxnet.evaluate(model, run, splits.test).error))
    return float(np.mean(errors))


def measure(case: str, seed: int) -> list[dict[str, str]]:
    """The rows of a case and a seed."""
    planted = DATA[case](seed)
    train = planted.splits.train
    recipe = resolved(jaxnet.Recipe(epochs=planted.epochs, learning_rate=3e-3), len(train))
    now = current(jaxnet.mlp((128,)), recipe)
    ways = changes(now, planted)
    folds = jaxnet.resampling.fold_of(train, FOLDS, seed=seed)
    key = jax.random.key(seed)
    networks = Networks(
        (now, *ways.values()), planted.splits, folds, key, None, None,
        measure=measure_of("error", train, train),
    )  # fmt: skip
    every, cells = np.arange(1 + len(ways)), [(fold, 0) for fold in range(FOLDS)]
    losses = networks.losses(every, networks.trained(every, cells, None))
    errors = losses[:, folds, np.arange(len(folds))].mean(1)
    before = test_error(now, networks.whole(0), planted.splits, seed)
    rows = list[dict[str, str]]()
    for number, (name, way) in enumerate(ways.items(), 1):
        whole = networks.whole(number)
        after = test_error(way, whole, planted.splits, seed)
        changed, wanted = np.arange(0), planted.wrong
        if whole.lesson is not None and whole.lesson.used is not None:
            changed, wanted = np.flatnonzero(whole.lesson.used == 0), planted.noise
        elif whole.lesson is not None and whole.lesson.labels is not None:
            changed = np.flatnonzero(whole.lesson.labels != np.asarray(train.y))
        elif whole.lesson is not None:
            changed = np.setdiff1d(np.arange(len(train)), whole.lesson.rows)
        rows.append(
            {
                "case": f"{case}, seed {seed}",
                "change": name,
                "found": f"{np.isin(wanted, changed).mean():.2f}"
                if len(wanted) and whole.lesson is not None
                else "",
                "right": f"{np.isin(changed, wanted).mean():.2f}" if len(changed) else "",
                "gain": f"{100 * (errors[0] - errors[number]):.2f}",
                "test gain": f"{100 * (before - after):.2f}",
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing in the table."""
    options = parser(__doc__, TABLE, seeds=5).parse_args(arguments)
    cases = {f"{case}, seed {seed}": (case, seed) for seed in range(options.seeds) for case in DATA}
    for name in missing(options, cases, "case"):
        rows = measure(*cases[name])
        append(options.table, rows, FIELDS)
        for row in rows:
            print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
