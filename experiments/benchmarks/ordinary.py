"""Can a person trust what `jaxnet diagnose FILE --label COLUMN` says of an ordinary table?

    python -m experiments.benchmarks.ordinary [--seeds 20] [--only patients] [--part 1/2]
        [--options "--epochs 60"]

Each seed draws the three tables of ordinary_tables.py and writes them as CSV. The command diagnoses
each file, without any other option unless --options gives some; then new rows of the same generator
are read by the run's own rules and predicted. A row is appended to ordinary.csv for each diagnosis,
and those that are there are not made again. Errors are shares of wrong classes, or squared errors
in variances of the training values, in percent. Three errors on new rows, of 10,000 customers,
houses or patients, can be meant:

- that of the 16 networks of the folds, on average (`networks`): the interval of unseen examples is
  about networks like these;
- its mean over the seeds, which is the error of the recipe: the same interval promises to hold it;
- that of the network that is kept (`kept`), which the interval of the test set is about.

`together` is the error of the mean prediction of the 16 networks: how much lower it is than
`networks` is their variance.

HistGradientBoostingClassifier and ...Regressor of scikit-learn with their default settings, which
take gaps and categories as they are, train on the rows of training and validation set together, as
the network that is kept does, and are judged on the same test rows: `difference` is the error of
that network minus theirs, paired, by groups where there are groups.
"""

import contextlib
import io
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxnet
from experiments.benchmarks.ordinary_tables import (
    TABLES,
    OrdinaryTable,
    customers,
    houses,
    patients,
)
from experiments.benchmarks.rows import append, parser, read
from jaxnet.cli import runner
from jaxnet.cli.commands.diagnose import DIAGNOSE
from jaxnet.cli.options import TrainOptions
from jaxnet.cli.outputs import Setup, training_members
from jaxnet.data import Dataset
from jaxnet.data.dataset import error_unit
from jaxnet.data.sources.examples import read_examples
from jaxnet.data.splitting import grouped, partition
from jaxnet.diagnostics import Diagnosis, Estimate
from jaxnet.studies.diagnose import diagnose

TABLE = Path(__file__).with_suffix(".csv")
FIELDS = (
    "table",
    "seed",
    "options",
    "verdict",
    "groups",
    "columns",
    "least",
    "unseen",
    "unseen_low",
    "unseen_high",
    "networks",
    "together",
    "test",
    "test_low",
    "test_high",
    "kept",
    "boosting_test",
    "difference",
    "difference_low",
    "difference_high",
    "boosting",
    "seconds",
)
FRESH = 10_000  # customers, houses or patients
FRESH_SEED = 1_000_000  # new rows are drawn with this much larger seeds
MAKE = {"customers": customers, "houses": houses, "patients": patients}
NO_INPUTS = ("customer_id", "", "patient_id")  # of boosting


class Diagnosed(NamedTuple):
    """What the command found: the data and options of the run, and the diagnosis."""

    setup: Setup
    diagnosis: Diagnosis


def diagnosed(path: Path, label: str, out: Path, options: Sequence[str] = ()) -> Diagnosed:
    """Run `jaxnet diagnose`, without the figures and the page that it writes at the end."""
    found: list[Diagnosed] = []

    def work(setup: Setup) -> dict[str, Any]:
        given = setup.options
        assert isinstance(given, TrainOptions)
        with training_members(setup) as (progress, _):
            diagnosis = diagnose(
                setup.model,
                setup.splits,
                setup.recipe,
                jax.random.key(given.seed),
                members=given.members,
                target_error=given.target_error,
                tolerance=given.tolerance,
                balance=given.balance,
                progress=progress,
            )
        found.append(Diagnosed(setup, diagnosis))
        return {}

    words = [str(path), "--label", label, "--out", str(out), *options]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        runner.main("diagnose", DIAGNOSE, "", began=time.perf_counter(), work=work, arguments=words)
    if not found:
        raise RuntimeError(said.getvalue())
    return found[0]


def test_rows(setup: Setup, table: OrdinaryTable) -> np.ndarray:
    """The numbers of the rows of the test set."""
    y = np.unique(table.values[table.label], return_inverse=True)[1]
    classes = setup.splits.classes
    whole = Dataset(np.zeros((len(y), 0), np.float32), y, classes)
    if setup.splits.grouped_by is not None:
        whole = grouped(whole, table.values[setup.splits.grouped_by])
    given = setup.options
    rows = partition(whole, (given.test, given.validation), given.split_seed)[0]
    known = np.asarray(setup.splits.test.y)
    assert np.allclose(labels(table, classes)[rows], known, rtol=1e-6)
    return rows


def labels(table: OrdinaryTable, classes: tuple[str, ...] | None) -> np.ndarray:
    """The labels of a table: numbers of the classes, or values."""
    column = table.values[table.label]
    return column if classes is None else np.array([*map(classes.index, column)])


def losses(outputs: np.ndarray, y: np.ndarray, variance: float | None) -> np.ndarray:
    """Losses in percent: 100 for a wrong class, or squared errors in variances of the values.

    outputs: (examples,) values or numbers of classes, or (examples, classes) log-probabilities.
    variance: of the values; None for classes.
    """
    if variance is not None:
        return 100 * (outputs - y) ** 2 / variance
    return 100.0 * ((outputs.argmax(-1) if outputs.ndim > 1 else outputs) != y)


def paired(differences: np.ndarray, groups: np.ndarray | None) -> Estimate:
    """The mean of differences of losses with Student's 95% interval, by groups."""
    from scipy.stats import t

    n, mean = len(differences), float(differences.mean())
    of = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    sums = np.bincount(of, differences - mean)
    count = len(sums)
    if count < 2:
        return Estimate(mean, -np.inf, np.inf)
    error = np.sqrt(count / (count - 1) * (sums**2).sum()) / n
    half = float(t.ppf(0.975, count - 1) * error)
    return Estimate(mean, mean - half, mean + half)


def frame(table: OrdinaryTable, like: Any = None) -> Any:
    """The inputs of boosting: numbers, categories, and days and months of dates; gaps stay gaps.

    like: the frame of the training rows, whose categories are the known ones.
    """
    import pandas

    columns: dict[str, Any] = {}
    for name, values in table.values.items():
        if name in (table.label, *NO_INPUTS):
            continue
        if values.dtype.kind == "M":
            columns[name] = values.astype("datetime64[D]").astype(float)
            columns[f"{name}: month"] = values.astype("datetime64[M]").astype(int) % 12.0
        elif values.dtype.kind == "U":
            known = None if like is None else like[name].cat.categories
            text = pandas.Series(values).replace("", None)
            columns[name] = pandas.Categorical(text, known)
        else:
            columns[name] = values
    return pandas.DataFrame(columns)


def boosted(table: OrdinaryTable, y: np.ndarray, train: np.ndarray, *, classes: bool) -> Any:
    """Boosted trees with scikit-learn's default settings, from these rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    method = kind(categorical_features="from_dtype", random_state=0)
    return method.fit(frame(table).iloc[train], y[train])


def study(name: str, seed: int, options: Sequence[str] = ()) -> dict[str, object]:
    """The row of the table for one diagnosis."""
    began, table = time.perf_counter(), TABLES[name](seed)
    more = MAKE[name](FRESH_SEED + seed, FRESH)
    with tempfile.TemporaryDirectory() as folder:
        path = table.write(Path(folder, f"{name}.csv"))
        setup, diagnosis = diagnosed(path, table.label, Path(folder, "run"), options)
        networks = diagnosis.networks
        assert networks is not None
        kept, splits, model = networks[0], setup.splits, setup.model
        fresh = more.write(Path(folder, "fresh.csv"))
        examples = read_examples(fresh, kept.shape, kept.schema, strict=False)
        assert not examples.refused
        new = examples.x
    classes = splits.classes
    unit = error_unit(splits.train) if classes is None else None
    y, new_y, rows = labels(table, classes), labels(more, classes), test_rows(setup, table)
    outputs = np.asarray(jaxnet.predict(model, kept, splits.test.x))
    of_kept = losses(outputs, y[rows], unit)
    predicted = [
        np.asarray(jaxnet.predict(model, networks[i], new)) for i in range(1, 1 + diagnosis.members)
    ]
    of_networks = np.mean([losses(each, new_y, unit).mean() for each in predicted])
    together = np.mean(predicted if classes is None else np.exp(predicted), axis=0)
    everything = frame(table)
    method = boosted(table, y, np.setdiff1d(np.arange(len(y)), rows), classes=classes is not None)
    of_boosting = losses(method.predict(everything.iloc[rows]), y[rows], unit)
    groups = None if splits.grouped_by is None else table.values[splits.grouped_by][rows]
    apart = paired(of_kept - of_boosting, groups)
    columns = next((each for each in splits.notes if " -> " in each), "")
    unseen, test = diagnosis.errors["validation"], diagnosis.errors["test"]
    least = 100 * table.least_error / (unit or 1)
    return {
        "table": name,
        "seed": seed,
        "options": " ".join(options),
        "verdict": diagnosis.verdict.split(":")[0],
        "groups": splits.grouped_by or "",
        "columns": columns,
        "least": f"{least:.2f}",
        **limits("unseen", unseen),
        "networks": f"{of_networks:.2f}",
        "together": f"{losses(together, new_y, unit).mean():.2f}",
        **limits("test", test),
        "kept": f"{losses(np.asarray(jaxnet.predict(model, kept, new)), new_y, unit).mean():.2f}",
        "boosting_test": f"{of_boosting.mean():.2f}",
        **limits("difference", apart, 1),
        "boosting": f"{losses(method.predict(frame(more, everything)), new_y, unit).mean():.2f}",
        "seconds": f"{time.perf_counter() - began:.1f}",
    }


def limits(name: str, found: Estimate, scale: float = 100) -> dict[str, str]:
    """An estimate and its interval, in percent, for the table."""
    values = (found.estimate, found.low, found.high)
    names = (name, f"{name}_low", f"{name}_high")
    return {key: f"{scale * value:.2f}" for key, value in zip(names, values, strict=True)}


def report(rows: Sequence[dict[str, str]]) -> int:
    """Say what was found; the result is 1 where fewer than 17 in 20 intervals hold the truth of
    their networks, or where customers are of high bias.
    """
    failed = 0
    for name, options in sorted({(row["table"], row["options"]) for row in rows}):
        mine = [row for row in rows if (row["table"], row["options"]) == (name, options)]
        number = {
            key: np.array([float(row[key]) for row in mine])
            for key in FIELDS[FIELDS.index("least") :]
        }

        def held(interval: str, truth: np.ndarray | float, number: dict = number) -> int:
            low, high = number[f"{interval}_low"], number[f"{interval}_high"]
            return int(((low <= truth) & (truth <= high)).sum())

        verdicts = Counter(row["verdict"] for row in mine)
        own, recipe = number["networks"], float(number["networks"].mean())
        reached = int((number["difference_low"] <= 2).sum())
        over, fresh = (
            paired(values, None)
            for values in (number["difference"], number["kept"] - number["boosting"])
        )
        print(
            f"{name} {options}, {len(mine)} seeds; verdicts {dict(verdicts)}; groups "
            f"{dict(Counter(row['groups'] or 'none' for row in mine))}\n"
            f"  smallest possible error {number['least'].mean():.2f}; on new rows: networks of the "
            f"folds {recipe:.2f}, their mean prediction {number['together'].mean():.2f}, network "
            f"that is kept {number['kept'].mean():.2f}, boosting {number['boosting'].mean():.2f}\n"
            f"  the interval of unseen examples holds the error of these networks in "
            f"{held('unseen', own)}, of the recipe in {held('unseen', recipe)}; that of the test "
            f"set the error of the network that is kept in {held('test', number['kept'])}\n"
            f"  network minus boosting: the interval of the test rows reaches down to 2 points in "
            f"{reached}; mean of the seeds {over.estimate:.2f} ({over.low:.2f} to {over.high:.2f})"
            f", on new rows {fresh.estimate:.2f} ({fresh.low:.2f} to {fresh.high:.2f})",
            flush=True,
        )
        failed += held("unseen", own) < 0.85 * len(mine)
        failed += name == "customers" and verdicts["high bias"] > 0
    return int(failed > 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Diagnose what is missing in the table; the exit status is 1 where a promise is broken."""
    asked = parser(__doc__, TABLE, seeds=20)
    asked.add_argument("--options", default="", help="options of the command")
    given = asked.parse_args(arguments)
    jaxnet.use_cpu_devices()
    part, parts = map(int, given.part.split("/"))
    done = {(row["table"], int(row["seed"]), row["options"]) for row in read(given.table)}
    cases = [(name, seed) for seed in range(given.seeds) for name in TABLES if given.only in name]
    for name, seed in cases[part - 1 :: parts]:
        if (name, seed, given.options) in done:
            continue
        row = study(name, seed, given.options.split())
        append(given.table, [row], FIELDS)
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return report([row for row in read(given.table) if int(row["seed"]) < given.seeds])


if __name__ == "__main__":
    sys.exit(main())
