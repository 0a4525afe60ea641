"""Does a census predict what changes of the training set do?

    python -m experiments.benchmarks.census_worth [--part 1/1] [--only gain]

gain: in data sets of which 10% of the labels are changed, to drop the changed ones, to drop as many
random rows, to drop as many of the most valuable ones, and to give the changed ones their true
labels: the gain that a census of 512 networks predicts, beside the one that 32 pairs of networks
measure. clean: in data sets without wrong labels, whether a census of 128 networks claims that it
helps to drop the rows that it lists as mislabeled, harmful or worst. copies: in the digits, three
near-copies of a test example with another label are added to the training set; how many of them are
among the first five examples that oppose its label, by 512 networks.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np

import jaxnet
from experiments.benchmarks.census import changed, world
from experiments.benchmarks.rows import append, missing, parser, read

TABLE = Path(__file__).with_name("census_worth.csv")
FIELDS = (
    *("case", "kind", "rows", "predicted", "predicted_low", "predicted_high"),
    *("measured", "measured_low", "measured_high", "found", "agreement"),
)
WORST, COPIES = 20, 3


def planted(data: str, seed: int) -> tuple[jaxnet.Census, np.ndarray]:
    """A census of a data set of which 10% of the labels are changed, and the true labels of its
    training set.
    """
    x, true, model, recipe = world(data)
    given = changed(true, "uniform", 0.1, np.random.default_rng([seed, 4]))
    splits = jaxnet.split(x, given, validation=0.0, test=0.02, seed=seed)
    place = {row.tobytes(): i for i, row in enumerate(x)}
    at = np.array([place[np.asarray(row, x.dtype).tobytes()] for row in splits.train.x])
    return jaxnet.census(model, splits, recipe, jax.random.key(seed), members=512), true[at]


def gains(data: str, seed: int) -> list[dict[str, object]]:
    """The predicted and the measured gains of four changes of a data set."""
    found, true = planted(data, seed)
    wrong = np.flatnonzero(np.asarray(found.splits.train.y) != true)
    random = np.random.default_rng([seed, 5]).permutation(len(true))[: len(wrong)]
    changes = {
        "drop wrong labels": (wrong, None),
        "drop random rows": (random, None),
        "drop the most valuable": (np.argsort(-found.value)[: len(wrong)], None),
        "relabel": (wrong, true[wrong]),
    }
    rows = list[dict[str, object]]()
    for kind, (of, labels) in changes.items():
        predicted = found.without(of) if labels is None else found.with_labels(of, labels)
        measured = found.verify(of, labels)
        limits = (
            round(value, 6)
            for each in (predicted, measured)
            for value in (each.estimate, each.low, each.high)
        )
        rows.append(dict(zip(FIELDS, ("", kind, len(of), *limits), strict=True)))
    return rows


def clean(data: str, seed: int) -> list[dict[str, object]]:
    """Whether a census claims that it helps to drop rows of a data set without wrong labels."""
    rng = np.random.default_rng([seed, 6])
    if data == "clouds":
        centers, y = 2.2 * rng.standard_normal((4, 6)), rng.integers(0, 4, 500)
        x = (centers[y] + rng.standard_normal((500, 6))).astype(np.float32)
        model, recipe = jaxnet.mlp((16,)), jaxnet.Recipe(epochs=30, learning_rate=1e-2)
    else:
        x, y, model, recipe = world(data)
        some = rng.permutation(len(y))[:500]
        x, y = x[some], y[some]
    splits = jaxnet.split(x, y, validation=0.0, test=0.02, seed=seed)
    found = jaxnet.census(model, splits, recipe, jax.random.key(seed), members=128)
    lists = {"mislabeled": found.mislabeled, "harmful": found.harmful}
    predicted = {name: (of, found.without(of)) for name, of in lists.items() if len(of)}
    worst = found.worst(WORST)
    predicted["worst"] = (worst.rows, worst.gain)
    return [
        dict(
            zip(
                FIELDS,
                ("", name, len(of), *(round(e, 6) for e in (gain.estimate, gain.low, gain.high))),
                strict=False,
            )
        )
        for name, (of, gain) in predicted.items()
    ]


def copies(seed: int) -> list[dict[str, object]]:
    """How many mislabeled near-copies of a test example are found to oppose its label."""
    splits, rng = jaxnet.load("digits"), np.random.default_rng([seed, 7])
    i = int(rng.integers(len(splits.test)))
    x, y = np.asarray(splits.test.x)[i], int(splits.test.y[i])
    near = np.clip(x + rng.normal(scale=0.5, size=(COPIES, *x.shape)), 0, 16)
    train = splits.train
    label = (y + int(rng.integers(1, 10))) % 10
    more = replace(
        train,
        x=np.concatenate([train.x, near.astype(np.asarray(train.x).dtype)]),
        y=np.concatenate([train.y, np.full(COPIES, label, np.asarray(train.y).dtype)]),
    )
    found = jaxnet.census(
        jaxnet.mlp((64,)), replace(splits, train=more), jaxnet.Recipe(epochs=30),
        jax.random.key(seed), members=512,
    )  # fmt: skip
    given = found.why(i)
    added = np.arange(len(train), len(train) + COPIES)  # validation rows come after them
    opposing = int(np.isin(given.opposing, added).sum())
    kind = f"{y} as {label}, test example {i}"
    return [{"kind": kind, "found": opposing, "agreement": round(given.agreement, 4)}]


def summary(rows: list[dict[str, str]]) -> None:
    """Print how often intervals hold, and what is claimed of clean data."""
    given = [row for row in rows if row["case"].startswith("gain")]
    width = 2 * 1.96
    kinds = [*dict.fromkeys(row["kind"] for row in given), ""]
    for kind in kinds if given else ():
        own = [row for row in given if row["kind"] == kind or not kind]
        p, pl, ph, m, ml, mh = np.array([[float(row[f]) for f in FIELDS[3:9]] for row in own]).T
        off = (p - m) / np.hypot((ph - pl) / width, (mh - ml) / width)
        print(
            f"{kind or 'all':24s}{np.mean(p):>8.2%} predicted,{np.mean(m):>7.2%} measured; 0 is "
            f"held in {(np.abs(off) < 1.96).sum()} of {len(own)}; median half-widths "
            f"{np.median(ph - pl) / 2:.2%} and {np.median(mh - ml) / 2:.2%}"
        )
    sets = {row["case"] for row in rows if row["case"].startswith("clean")}
    claims = {
        row["case"] for row in rows if row["case"] in sets and float(row["predicted_low"]) > 0
    }
    planted_copies = [int(row["found"]) for row in rows if row["case"].startswith("copies")]
    whole = sum(count == COPIES for count in planted_copies)
    print(f"all three copies among the first five: {whole} of {len(planted_copies)}")
    print(f"clean data sets: {len(claims)} of {len(sets)} with a claim {sorted(claims)}")


def main() -> int:
    """Measure what is missing, and print the table."""
    options = parser(__doc__, TABLE).parse_args()
    jaxnet.enable_cache()
    gain = [("digits", seed) for seed in range(6)] + [("breast cancer", seed) for seed in range(4)]
    none = [(data, seed) for seed in range(20) for data in ("clouds", "digits", "breast cancer")]
    cases = dict[str, Callable[[], list[dict[str, object]]]]()
    cases |= {f"gain, {data}, {seed}": partial(gains, data, seed) for data, seed in gain}
    cases |= {f"clean, {data}, {seed}": partial(clean, data, seed) for data, seed in none[:40]}
    cases |= {f"copies, {seed}": partial(copies, seed) for seed in range(20)}
    for name in missing(options, cases, "case"):
        append(options.table, [{**row, "case": name} for row in cases[name]()], FIELDS)
        print(name, flush=True)
    summary(read(options.table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
