"""Does a census find wrong labels, and what does it take?

    python -m experiments.benchmarks.census [--seeds 10] [--data-dir DIR] [--part 1/1]
        [--only digits]
    python -m experiments.benchmarks.census --time 512
    python -m experiments.benchmarks.census --weights 5

Labels are changed on purpose: 5, 10 and 20% of them, uniformly (to any other class), in pairs (each
class to the next), and of one class alone (the same number of examples, as far as the class has
them, to the first class). A row has the average precision of the census' probabilities and that of
cleanlab's best score on the same mean probabilities of the networks that have not seen an example;
whether the interval of the number of wrong labels holds it; and, of the examples whose probability
is .4 to .6, how many there are and how many are changed. Censuses have 128 networks. MNIST is the
first 5,000 of its training examples, where --data-dir names the folder of its files.

--time measures one census of so many networks of the digits, after compilation, and its memory at
the peak beside the estimate that was printed; --weights measures halves as weights and as subsets
in turn, so many times.
"""

import logging
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

import jaxnet
from experiments.benchmarks.label_errors import average_precision
from experiments.benchmarks.rows import append, missing, parser, read
from jaxnet.data.splitting import pool
from jaxnet.population.predictions import predictions_of
from jaxnet.population.scheduler import Progress

TABLE = Path(__file__).with_name("census.csv")
FIELDS = (
    *("case", "data", "kind", "rate", "seed", "wrong", "census", "cleanlab", "number", "low"),
    *("high", "refused", "listed", "listed_right", "middle", "middle_wrong", "seconds"),
)
MEMBERS = 128
KINDS, RATES = ("uniform", "pairs", "one class"), (0.05, 0.1, 0.2)
SCORES = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")


def world(
    name: str, folder: str | None = None
) -> tuple[np.ndarray, np.ndarray, jaxnet.Model, jaxnet.Recipe]:
    """The examples of a data set, a model and a recipe."""
    if name == "mnist":
        train = jaxnet.load("mnist", data_dir=folder, validation=0).train
        recipe = jaxnet.Recipe(epochs=15)
        return np.asarray(train.x)[:5000], np.asarray(train.y)[:5000], jaxnet.mlp((32,)), recipe
    if name == "digits":
        train = jaxnet.load("digits", validation=0).train
        return np.asarray(train.x), np.asarray(train.y), jaxnet.mlp((64,)), jaxnet.Recipe(epochs=30)
    from sklearn.datasets import load_breast_cancer, load_wine

    load = {"wine": load_wine, "breast cancer": load_breast_cancer}[name]
    x, y = load(return_X_y=True)
    recipe = jaxnet.Recipe(epochs=60, batch_size=32, learning_rate=1e-2)
    return np.asarray(x, np.float32), np.asarray(y), jaxnet.mlp((16,)), recipe


def changed(y: np.ndarray, kind: str, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Labels of which this share are another class."""
    classes, count, new = int(y.max()) + 1, round(rate * len(y)), y.copy()
    rows = rng.permutation(len(y))[:count]
    if kind == "one class":
        own = rng.permutation(np.flatnonzero(y == classes - 1))
        new[own[: min(count, len(own) // 2)]] = 0
    elif kind == "pairs":
        new[rows] = (y[rows] + 1) % classes
    else:
        new[rows] = (y[rows] + rng.integers(1, classes, count)) % classes
    return new


def measure(data: str, kind: str, rate: float, seed: int, folder: str | None) -> dict[str, object]:
    """One row of the table."""
    from cleanlab.rank import get_label_quality_scores

    x, true, model, recipe = world(data, folder)
    given = changed(true, kind, rate, np.random.default_rng([seed, round(1000 * rate), len(kind)]))
    splits = jaxnet.split(x, given, validation=0.0, test=0.02, seed=seed)
    place = {row.tobytes(): i for i, row in enumerate(x)}
    at = np.array([place[np.asarray(row, x.dtype).tobytes()] for row in splits.train.x])
    began = time.perf_counter()
    found = jaxnet.census(model, splits, recipe, jax.random.key(seed), members=MEMBERS)
    seconds = time.perf_counter() - began
    y, wrong = np.asarray(found.splits.train.y), (given != true)[at]
    assert (y == given[at]).all()
    p = np.zeros((len(y), int(true.max()) + 1))
    for own, seen in zip(found.predictions, found.halves, strict=True):
        p[~seen] += np.exp(np.asarray(own, np.float64))[~seen]
    p /= p.sum(1, keepdims=True)
    theirs = max(
        average_precision(
            np.argsort(get_label_quality_scores(y, p, method=score), kind="stable"), wrong
        )
        for score in SCORES
    )
    w, number = found.wrong_label, found.wrong_labels
    middle = (w > 0.4) & (w < 0.6)
    listed = found.mislabeled
    values = (
        *(data, kind, rate, seed, int(wrong.sum())),
        round(average_precision(np.argsort(-w, kind="stable"), wrong), 5),
        round(theirs, 5),
        *(round(each, 2) for each in (number.estimate, number.low, number.high)),
        *(int(number.refused is not None), len(listed), int((~wrong[listed]).sum())),
        *(int(middle.sum()), int(wrong[middle].sum()), round(seconds, 1)),
    )
    case = f"{data}, {kind}, {rate:.0%}, {seed}"
    return dict(zip(FIELDS, (case, *values), strict=True))


def summary(rows: list[dict[str, str]]) -> None:
    """Print the table's means by data set, over the seeds of which all cells are measured, and
    their limits; how often the number is held and the probabilities of .4 to .6 are of the cell of
    10% uniform changes alone.
    """
    print(
        f"{'':16s}{'rows':>6s}{'census':>9s}{'cleanlab':>10s}{'difference, 95% interval':>27s}"
        f"{'held':>8s}{'refused':>9s}{'listed, right':>15s}{'.4 to .6, wrong':>17s}"
    )
    names = [*dict.fromkeys(row["data"] for row in rows), ""]
    for name in names:
        own = [row for row in rows if row["data"] == name or not name]
        column = {
            field: np.array([float(row[field]) for row in own])
            for field in FIELDS
            if field not in ("case", "data", "kind")
        }
        off = column["census"] - column["cleanlab"]
        cells = {(row["kind"], row["rate"], row["data"]) for row in own}
        seeds, counts = np.unique(column["seed"], return_counts=True)
        complete = seeds[counts == counts.max()]  # those of which all cells are measured
        whole = np.isin(column["seed"], complete)
        by_seed = [off[column["seed"] == seed].mean() for seed in complete]
        mean, reach = float(np.mean(by_seed)), np.nan
        if len(by_seed) > 1:
            from scipy.special import stdtrit

            width = stdtrit(len(by_seed) - 1, 0.975)
            reach = float(width * np.std(by_seed, ddof=1) / len(by_seed) ** 0.5)
        uniform = [row["kind"] == "uniform" and row["rate"] == "0.1" for row in own]
        told = np.array(uniform) & (column["refused"] == 0)
        held = (column["low"] <= column["wrong"]) & (column["wrong"] <= column["high"])
        right, listed = column["listed_right"].sum(), column["listed"].sum()
        inside, changed_ = (
            column[field][np.array(uniform)].sum() for field in ("middle", "middle_wrong")
        )
        print(
            f"{name or 'all':16s}{whole.sum():>6d}{column['census'][whole].mean():>9.4f}"
            f"{column['cleanlab'][whole].mean():>10.4f}{mean:>+11.4f} {mean - reach:+.4f} to "
            f"{mean + reach:+.4f}{held[told].sum():>4d}/{told.sum():<3d}"
            f"{int(column['refused'].sum()):>9d}{right / max(1, listed):>14.1%}"
            f"{changed_ / max(1, inside):>12.0%} of {inside:.0f}  ({len(cells)} cells)"
        )


def seconds_of(train: Callable[[Callable[[Progress], None]], object]) -> float:
    """The seconds of a training after its program is compiled, which its first call waits for."""
    heard: list[tuple[float, float]] = []
    train(lambda now: heard.append((time.perf_counter(), now.share)))
    (first, share), last = heard[1], heard[-1][0]
    return (last - first) / (1 - share)


def timed(members: int) -> None:
    """A census of the digits: seconds after compilation, and memory."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    splits, model = jaxnet.load("digits"), jaxnet.mlp((64,))
    began, found = time.perf_counter(), list[jaxnet.Census]()
    seconds = seconds_of(
        lambda progress: found.append(
            jaxnet.census(
                model, splits, jaxnet.Recipe(epochs=30), jax.random.key(0), members=members,
                progress=progress,
            )
        )
    )  # fmt: skip
    took = time.perf_counter() - began
    str(found[0]), found[0].csv(), found[0].why(0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{members} networks: training {seconds:.1f} s after compilation, {took:.1f} s in all; "
        f"with every question answered {peak:.0f} MiB at the peak"
    )


def weights_and_subsets(times: int, members: int = 128) -> None:
    """Halves as weights and as subsets in turn: seconds, and the error outside the half."""
    both, model = pool(jaxnet.load("digits")), jaxnet.mlp((64,))
    key, y = jax.random.key(0), np.asarray(both.train.y)
    subsets = jaxnet.resampling.halves(key, members, len(y))
    keys, seen = jax.random.split(key, members), np.stack([subsets.seen(i) for i in range(members)])
    ratios = list[float]()
    for _ in range(times):
        took, errors = list[float](), list[float]()
        for samples, order in ((subsets.as_weights(), key), (subsets, None)):
            found = list[jaxnet.Population]()
            took.append(
                seconds_of(
                    lambda progress, samples=samples, order=order, found=found: found.append(
                        jaxnet.fit_population(
                            model, both, jaxnet.Recipe(epochs=30), keys, order_key=order,
                            resample=samples, progress=progress,
                        )
                    )
                )
            )  # fmt: skip
            outputs = predictions_of([model], both, found[0], seen=True).train
            assert outputs is not None
            errors.append(float((outputs.argmax(2) != y)[~seen].mean()))
        ratios.append(took[0] / took[1])
        print(
            f"weights {took[0]:.2f} s, error {errors[0]:.2%}; subsets {took[1]:.2f} s, error "
            f"{errors[1]:.2%}; {ratios[-1]:.2f}",
            flush=True,
        )
    print(f"median {np.median(ratios):.2f} of the time")


def main() -> int:
    """Measure what is missing, and print the table."""
    made = parser(__doc__, TABLE, seeds=10, time=0, weights=0)
    made.add_argument("--data-dir")
    options = made.parse_args()
    jaxnet.use_cpu_devices()
    jaxnet.enable_cache()
    if options.time:
        timed(options.time)
        return 0
    if options.weights:
        weights_and_subsets(options.weights)
        return 0
    cases = {
        f"{data}, {kind}, {rate:.0%}, {seed}": (data, kind, rate, seed)
        for seed in range(options.seeds)
        for data in ("digits", "wine", "breast cancer", *(["mnist"] if options.data_dir else []))
        for kind in KINDS
        for rate in RATES
    }
    for name in missing(options, cases, "case"):
        append(options.table, [measure(*cases[name], options.data_dir)], FIELDS)
        print(name, flush=True)
    summary(read(options.table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
