"""Does a census predict what changes of the training set do?

    python -m experiments.benchmarks.census_worth [--part 1/1] [--only gain]

gain: in data sets of which 10% of the labels are changed, to drop the changed ones, to drop as many
random rows, to drop as many of the most valuable ones, and to give the changed ones their true
labels: the gain that a census of 512 networks predicts, beside the one that 32 pairs of networks
measure. clean: in data sets without wrong labels, whether a census of 128 networks claims that it
helps to drop the rows that it lists as mislabeled, harmful or worst. copies: in the digits, three
near-copies of a test example with another label are added to the training set; how many of them are
among the first five examples that oppose its label, by 512 networks. score: the linear datamodeling
score of the digits, the mean over test examples of the rank correlation of the log-odds of the
label that a linear model of so many networks predicts for 50 new halves and of the mean log-odds of
two networks on each, with other keys and another order; and the rank correlation of the two.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np

import jaxnet
from experiments.benchmarks.census import changed, world
from experiments.benchmarks.rows import append, missing, parser, read
from jaxnet.stats.datamodels import datamodels

TABLE = Path(__file__).with_name("census_worth.csv")
FIELDS = (
    *("case", "kind", "rows", "predicted", "predicted_low", "predicted_high"),
    *("measured", "measured_low", "measured_high", "found", "score", "agreement", "seconds"),
)
WORST, COPIES, SUBSETS = 20, 3, 50


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


def log_odds(found: jaxnet.Census, networks: jaxnet.Population) -> np.ndarray:
    """(networks, test examples) log-odds of the label."""
    test, model = found.splits.test, found.trainer.model
    p = np.asarray(jaxnet.predict(model, networks, np.asarray(test.x)), np.float64)
    own = np.asarray(test.y)[None, :, None]
    label = np.take_along_axis(p, own, 2)[..., 0]
    np.put_along_axis(p, np.broadcast_to(own, (*p.shape[:2], 1)), -np.inf, 2)
    return label - np.logaddexp.reduce(p, axis=2)


def scores(members: int) -> list[dict[str, object]]:
    """The linear datamodeling score of the digits, by so many networks and by parts of them."""
    from scipy.stats import spearmanr

    splits, key = jaxnet.load("digits"), jax.random.key(0)
    began = time.perf_counter()
    found = jaxnet.census(jaxnet.mlp((64,)), splits, jaxnet.Recipe(epochs=30), key, members=members)
    seconds = time.perf_counter() - began
    new = jax.random.fold_in(key, 1 << 30)
    n = len(found.splits.train)
    subsets = jaxnet.resampling.halves(new, 2 * SUBSETS, n).only(np.arange(0, 2 * SUBSETS, 2))
    seen = np.stack([subsets.seen(i) for i in range(SUBSETS)])
    real = []
    for seed in range(2):
        keys = jax.random.split(jax.random.fold_in(new, seed), SUBSETS)
        networks = jaxnet.fit_population(
            found.trainer.model, found.splits, found.trainer.recipe, keys,
            resample=subsets.as_weights(), order_key=jax.random.fold_in(new, 2),
        )  # fmt: skip
        real.append(log_odds(found, networks))
    agree = np.mean([spearmanr(a, b).statistic for a, b in zip(*(r.T for r in real), strict=True)])
    outputs, mean = log_odds(found, found.population)[:-1], np.mean(real, axis=0)
    rows = list[dict[str, object]]()
    for count in (members // 16, members // 8, members // 4, members // 2, members):
        model = datamodels(
            found.halves[:count], outputs[:count], found.pair_of[:count], found.own_outputs[:count]
        )
        predicted = seen @ model.coefficients
        score = np.mean(
            [spearmanr(a, b).statistic for a, b in zip(predicted.T, mean.T, strict=True)]
        )
        print(count, score, agree, model.explained, flush=True)
        rows.append(
            {
                "kind": f"{count} networks",
                "score": round(float(score), 4),
                "agreement": round(float(agree), 4),
                "seconds": round(seconds * count / members, 1),
            }
        )
    return rows


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
    for row in rows:
        if row["case"].startswith("score"):
            print(
                f"{row['kind']}: linear datamodeling score {row['score']}, agreement of two seeds "
                f"{row['agreement']}, {row['seconds']} s"
            )
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
    cases["score, digits"] = partial(scores, 1792)
    for name in missing(options, cases, "case"):
        append(options.table, [{**row, "case": name} for row in cases[name]()], FIELDS)
        print(name, flush=True)
    summary(read(options.table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
