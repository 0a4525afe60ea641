"""Do prediction sets of a census hold the label as often as they say, and how large are they?

    python -m experiments.benchmarks.prediction_sets [--draws 200] [--part 1/1] [--only clouds]

A draw is a new split of the data, or new data, and a census of 128 networks. A row has, for a
coverage of 90, 95 and 98%, the share of new examples whose set holds the label, the mean size of
the sets (for values: the distance of the limits) and the share of empty ones; by class, the lowest
share of a class. Groups are new ones, of which one row each is judged.

Rows of "one network" are split conformal prediction of one network that was trained on the training
set, beside MAPIE's scores lac and aps on the same probabilities, where MAPIE is installed.
"""

import sys
from pathlib import Path

import jax
import numpy as np

import jaxnet
from experiments.benchmarks.rows import append, missing, parser, read

TABLE = Path(__file__).with_name("prediction_sets.csv")
FIELDS = ("case", "world", "method", "draw", "coverage", "held", "size", "empty", "lowest_class")
MEMBERS, COVERAGES, NEW = 128, (0.9, 0.95, 0.98), 300
WORLDS = ("clouds", "wine", "values", "diabetes", "groups", "grouped values")
CLOUDS = 2.0 * np.random.default_rng(0).normal(size=(4, 5))
Data = tuple[np.ndarray, np.ndarray, np.ndarray | None]


def world(name: str, rng: np.random.Generator) -> tuple[Data, Data]:
    """(known examples, new ones): inputs, labels and groups."""
    if name in ("wine", "diabetes"):
        from sklearn import datasets

        load = getattr(datasets, f"load_{name.replace(' ', '_')}")
        x, y = load(return_X_y=True)
        order = rng.permutation(len(y))
        x, y = x.astype(np.float32)[order], y[order] if name != "diabetes" else y[order] * 1.0
        known = 2 * len(y) // 3
        return (x[:known], y[:known], None), (x[known:], y[known:], None)
    if name == "clouds":
        y = rng.integers(0, 4, 200 + NEW)
        x = (CLOUDS[y] + 1.5 * rng.normal(size=(len(y), 5))).astype(np.float32)
        return (x[:200], y[:200], None), (x[200:], y[200:], None)
    if name == "values":
        x = rng.normal(size=(200 + NEW, 4)).astype(np.float32)
        y = np.sin(2 * x[:, 0]) + x[:, 1] + 0.5 * (1 + x[:, 2] ** 2) * rng.normal(size=len(x))
        return (x[:200], y[:200], None), (x[200:], y[200:], None)
    # 110 known groups of 3 rows, and one row each of new groups
    groups = np.concatenate([np.repeat(np.arange(110), 3), 110 + np.arange(NEW)])
    x = rng.normal(size=(len(groups), 4)) + rng.normal(size=(110 + NEW, 4))[groups]
    signal = x[:, 0] + rng.normal(size=110 + NEW)[groups] + 0.5 * rng.normal(size=len(groups))
    y = np.digitize(signal, [-1.0, 1.0]) if name == "groups" else signal
    known, x = groups < 110, x.astype(np.float32)
    return (x[known], y[known], groups[known]), (x[~known], y[~known], None)


def row(given: tuple[str, str, int], coverage: float, found: np.ndarray, y: np.ndarray) -> dict:
    """One row of the table."""
    if found.dtype == bool:
        held, size = found[np.arange(len(y)), y], found.sum(1)
        lowest = min(held[y == label].mean() for label in np.unique(y))
    else:
        held, size = (found[:, 0] <= y) & (y <= found[:, 1]), found[:, 1] - found[:, 0]
        lowest = np.nan
    numbers = (held.mean(), size.mean(), (size == 0).mean(), lowest)
    name, method, draw = given
    case = f"{name}, {draw}"
    values = (case, name, method, draw, coverage, *(f"{each:.5f}" for each in numbers))
    return dict(zip(FIELDS, values, strict=True))


def measure(name: str, draw: int) -> list[dict]:
    """The rows of one draw."""
    known, new = world(name, np.random.default_rng([WORLDS.index(name), draw]))
    x, y, groups = known
    splits = jaxnet.split(x, y, groups=groups, test=0.02, validation=0.25, seed=draw)
    model, key = jaxnet.mlp((16,)), jax.random.key(draw)
    recipe = jaxnet.Recipe(epochs=15, batch_size=32, learning_rate=1e-2)
    census = jaxnet.census(model, splits, recipe, key, members=MEMBERS)
    rows = []
    for coverage in COVERAGES:
        found = census.predict(new[0], coverage=coverage)
        rows.append(row((name, "census", draw), coverage, found, new[1]))
        if splits.classes is not None:
            found = census.predict(new[0], coverage=coverage, by_class=True)
            rows.append(row((name, "census by class", draw), coverage, found, new[1]))
    if groups is None:
        run = jaxnet.fit(model, splits, recipe, key)
        for coverage in COVERAGES:
            found = census.predict(new[0], coverage=coverage, network=run)
            rows.append(row((name, "one network", draw), coverage, found, new[1]))
            for method, theirs in of_mapie(model, run, splits, new[0], coverage).items():
                rows.append(row((name, method, draw), coverage, theirs, new[1]))
    return rows


class Known:
    """A network as MAPIE takes it."""

    def __init__(self, model: jaxnet.Model, run: jaxnet.Run) -> None:
        self.model, self.run, self.is_fitted_ = model, run, True
        self.classes_ = np.arange(len(run.classes or ()))

    def __sklearn_tags__(self) -> object:
        from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

        kind = ClassifierMixin if self.run.classes else RegressorMixin
        return type("Tags", (kind, BaseEstimator), {})().__sklearn_tags__()

    def fit(self, x: np.ndarray, y: np.ndarray) -> "Known":
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return np.exp(np.asarray(jaxnet.predict(self.model, self.run, x), float))

    def predict(self, x: np.ndarray) -> np.ndarray:
        outputs = np.asarray(jaxnet.predict(self.model, self.run, x), float)
        return outputs.argmax(1) if self.run.classes else outputs


def of_mapie(
    model: jaxnet.Model, run: jaxnet.Run, splits: jaxnet.Splits, x: np.ndarray, coverage: float
) -> dict[str, np.ndarray]:
    """What MAPIE gives for the same network and the same validation set."""
    try:
        from mapie.classification import SplitConformalClassifier  # pyrefly: ignore[missing-import]
        from mapie.regression import SplitConformalRegressor  # pyrefly: ignore[missing-import]
    except ImportError:
        return {}
    known = np.asarray(splits.validation.x), np.asarray(splits.validation.y)
    network = Known(model, run)
    if len(known[1]) <= 1 / (1 - coverage):  # which MAPIE refuses
        return {}
    if splits.classes is None:
        known = known[0], known[1].astype(float)
        each = SplitConformalRegressor(network, confidence_level=coverage, prefit=True)
        limits = each.conformalize(*known).predict_interval(x)[1][:, :, 0]
        return {"MAPIE": limits}
    found = {}
    for score in ("lac", "aps") if len(splits.classes) > 2 else ("lac",):
        each = SplitConformalClassifier(
            network, confidence_level=coverage, conformity_score=score, prefit=True, random_state=0
        )
        sets = each.conformalize(*known).predict_set(x)[1][:, :, 0]
        found[f"MAPIE {score}"] = sets.astype(bool)
    return found


def summary(rows: list[dict[str, str]]) -> None:
    """Print the means over draws, with the standard error of the share that is held."""
    for name, method in dict.fromkeys((each["world"], each["method"]) for each in rows):
        words, count = list[str](), 0
        for coverage in COVERAGES:
            own = [
                [float(each[field]) for field in FIELDS[5:]]
                for each in rows
                if (each["world"], each["method"], float(each["coverage"]))
                == (name, method, coverage)
            ]
            if not own:  # too few examples for MAPIE
                continue
            table = np.array(own)
            count = len(table)
            held, size, empty, lowest = table.mean(0)
            error = table[:, 0].std(ddof=1) / len(table) ** 0.5 if len(table) > 1 else np.nan
            words.append(
                f"{held:7.2%} +- {error:.2%}, size {size:.3f}, empty {empty:.1%}, {lowest:.1%}"
            )
        print(f"{name:15s}{method:17s}{count:>4d}  " + "  |  ".join(words))


def main() -> int:
    """Measure what is missing, and print the table."""
    made = parser(__doc__, TABLE, draws=200)
    options = made.parse_args()
    jaxnet.enable_cache()
    cases = {f"{name}, {draw}": (name, draw) for draw in range(options.draws) for name in WORLDS}
    for case in missing(options, cases, "case"):
        append(options.table, measure(*cases[case]), FIELDS)
    summary(read(options.table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
