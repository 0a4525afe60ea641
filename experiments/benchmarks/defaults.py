"""Are the defaults of Recipe() at least as good as those that it had before?

    python -m experiments.benchmarks.defaults --data-dir FOLDER [--part 1/2]

Adam with the former defaults of Recipe() (10 epochs, batches of 128, a constant learning rate of
0.001) and with the current ones, which were those of the command line and of the scikit-learn
estimators, trains jaxnet.mlp(), the network that these have by default, on five data sets. Each
seed draws a split and is the seed of both trainings. Rows go into defaults.csv beside this file as
they come; those that are there already are not trained again. Printed: means, and the paired
difference with its 95% interval (Student).
"""

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import t
from sklearn import datasets

import jaxnet

FORMER = jaxnet.Recipe(schedule="constant", epochs=10, batch_size=128, learning_rate=1e-3)
TABLES = {
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
}
NAMES = ("digits", *TABLES, "mnist")
COLUMNS = ("data", "seed", "measure", "former", "current", "current_epochs")
RESULTS = Path(__file__).with_suffix(".csv")


@dataclass(frozen=True)
class Options:
    """What to train."""

    data_dir: Path | None = None
    """folder with the four files of MNIST"""
    seeds: int = 20
    """splits and trainings of each data set"""
    part: str = "1/1"
    """i/n trains the i-th of n equal shares of all trainings, for n processes"""


def main() -> int:
    """Train what is missing in the file, then print the table."""
    options = tyro.cli(Options, description=__doc__)
    jaxnet.enable_cache()
    part, parts = map(int, options.part.split("/"))
    done = {(row["data"], int(row["seed"])) for row in rows()}
    cases = [(name, seed) for name in NAMES for seed in range(options.seeds)][part - 1 :: parts]
    console = Console(stderr=True)
    for name, seed in track([case for case in cases if case not in done], console=console):
        append(measure(name, seed, options.data_dir))
    Console(highlight=False).print(summary(rows()))
    return 0


def measure(name: str, seed: int, data_dir: Path | None) -> tuple[str | int | float, ...]:
    """One row of the file: the test errors of both recipes."""
    if name in TABLES:
        splits = jaxnet.split(*TABLES[name](return_X_y=True), seed=seed)
    else:
        splits = jaxnet.load(name, data_dir=data_dir, seed=seed)
    (former, _), (current, epochs) = (
        test_error(splits, recipe, seed) for recipe in (FORMER, jaxnet.Recipe())
    )
    kind = "RMSE" if splits.test.classes is None else "error"
    return name, seed, kind, f"{former:.6g}", f"{current:.6g}", epochs


def test_error(splits: jaxnet.Splits, recipe: jaxnet.Recipe, seed: int) -> tuple[float, int]:
    """(share of wrong predictions, or root mean squared error, on the test set; epochs)."""
    model = jaxnet.mlp()
    run = jaxnet.fit(model, splits, recipe, jax.random.key(seed))
    predicted, y = jaxnet.predict(model, run, splits.test.x), np.asarray(splits.test.y)
    if splits.test.classes is None:
        error = np.sqrt(np.mean((np.asarray(predicted, np.float64) - y) ** 2))
    else:
        error = np.mean(np.asarray(predicted).argmax(1) != y)
    return float(error), run.recipe.epochs


def rows() -> list[dict[str, str]]:
    """The rows of the file."""
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="") as file:
        return list(csv.DictReader(file))


def append(row: tuple[str | int | float, ...]) -> None:
    """Add a row to the file."""
    begun = RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([row] if begun else [COLUMNS, row])


def summary(found: list[dict[str, str]]) -> Table:
    """A line for each data set: mean errors, and current minus former."""
    table = Table(
        "data", "seeds", "measure", "former", "current", "difference", "95% interval", box=None
    )
    for name in NAMES:
        of_name = [row for row in found if row["data"] == name]
        if len(of_name) < 2:
            continue
        former, current = (np.array([float(row[c]) for row in of_name]) for c in COLUMNS[3:5])
        difference, n = current - former, len(of_name)
        half = t.ppf(0.975, n - 1) * difference.std(ddof=1) / np.sqrt(n)
        kind = of_name[0]["measure"]
        scale, form = (100, "{:.2f}%") if kind == "error" else (1, "{:.2f}")
        mean = difference.mean()
        numbers = (former.mean(), current.mean(), mean, mean - half, mean + half)
        a, b, d, low, high = (form.format(scale * number) for number in numbers)
        table.add_row(name, str(n), kind, a, b, d, f"{low} to {high}")
    return table


if __name__ == "__main__":
    sys.exit(main())
