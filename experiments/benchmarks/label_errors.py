"""Are doubtful labels the wrong ones, and is their number known? Validated errors of MNIST, and
labels flipped on purpose.

    python -m experiments.benchmarks.label_errors [--data-dir DIR] [--seeds 10] [--out FOLDER]

With --data-dir, the folder with the four files of mnist: how many of the most doubtful test labels
are among the 15 that people found wrong, by 8 networks that are trained on all training examples,
and by a census of 16 networks, each of which is trained on half of them. Of digits with flipped
training labels: average precision of the ranking out of bag, next to cleanlab's scores of the same
mean probabilities where cleanlab is installed, and coverage of the share of wrong labels. Flips are
uniform (to any other class), pairs (each class to the next), or of one class alone (a third of it
to the first).
"""

import argparse
import sys
from collections.abc import Container, Sequence
from pathlib import Path

import jax
import numpy as np

import jaxnet
from jaxnet.stats.label_errors import HardExample, hard_examples, wrong_labels

# The test images of MNIST whose label at most 2 of 5 people chose, among the 100 that confident
# learning found most doubtful: (index, given label, the label most people chose instead, or None
# where they agreed on none). Northcutt, Athalye & Mueller 2021; github.com/cleanlab/label-errors,
# mturk/mnist_mturk.json at 6d5d6b3 (Apache License 2.0).
MNIST_ERRORS = (
    (947, 8, 9),
    (1621, 0, 6),
    (1901, 9, 4),
    (2130, 4, None),
    (2462, 2, 0),
    (2597, 5, 3),
    (2654, 6, None),
    (3520, 6, None),
    (3558, 5, 0),
    (5937, 5, 3),
    (6651, 0, 6),
    (6783, 1, 6),
    (8527, 4, None),
    (9679, 6, None),
    (9729, 5, 6),
)
MEMBERS, FOLDS = 24, 4
RATES = {"uniform": (0.0, 0.02, 0.05, 0.1, 0.2), "pairs": (0.05, 0.1), "one class": (0.1,)}


def hits(ranked: Sequence[int], known: Container[int]) -> str:
    """How many of the first 10, 20, 50 and 100 are known to be wrong."""
    return "".join(f"{sum(int(i) in known for i in ranked[:n]):>8d}" for n in (10, 20, 50, 100))


def mnist(data_dir: Path, out: Path | None) -> None:
    """The most doubtful of the 10,000 test labels."""
    splits = jaxnet.load("mnist", data_dir=data_dir, validation=0)
    y, known = np.asarray(splits.test.y), {index: consensus for index, _, consensus in MNIST_ERRORS}
    assert all(y[index] == given for index, given, _ in MNIST_ERRORS)
    recipes = {
        "MLP": (
            jaxnet.mlp((256, 128)),
            jaxnet.Recipe(epochs=8, batch_size=128, learning_rate=3e-3, schedule="one_cycle"),
        ),
        "CNN": (
            jaxnet.cnn((16, 32), (64,)),
            jaxnet.Recipe(epochs=3, batch_size=128, learning_rate=5e-3, schedule="one_cycle"),
        ),
    }
    print(
        "MNIST, 60,000 training images, 8 networks: of the most doubtful test labels, how many of "
        "the 15 that people found wrong"
    )
    print(
        f"{'':13s}{'error':>8s}{'of 10':>8s}{'of 20':>8s}{'of 50':>8s}{'of 100':>8s}   wrong "
        "labels by the networks"
    )
    found: tuple[HardExample, ...] = ()
    for name, (model, recipe) in recipes.items():
        many = jaxnet.fit_population(model, splits, recipe, jax.random.split(jax.random.key(0), 8))
        log_p = np.asarray(jaxnet.predict(model, many, splits.test.x))
        found, share = hard_examples(log_p, y), wrong_labels(log_p, y)
        print(
            f"{name:13s}{(log_p.argmax(2) != y).mean():>8.4f}"
            f"{hits([each.index for each in found], known)}   {share} {share.refused or ''}",
            flush=True,
        )
        census = jaxnet.census(model, splits, recipe, jax.random.key(0), members=16)
        judged = census.labels_of(splits.test.x, y)
        doubtful_first = np.argsort(-judged.probability, kind="stable").tolist()
        number = judged.probability.sum()
        print(
            f"{name + ', census':13s}{'':8s}{hits(doubtful_first, known)}   {number:.1f} of 10,000",
            flush=True,
        )
    print(
        "the 20 most doubtful by the CNNs: index, label, prediction, confidence, share that "
        "contradicts, found wrong by people"
    )
    for each in found[:20]:
        people = (
            ""
            if each.index not in known
            else f"wrong, {'undecided' if known[each.index] is None else known[each.index]}"
        )
        print(
            f"{each.index:>6d}{each.label:>4d}{each.prediction:>4d}{each.confidence:>8.3f}"
            f"{each.contradicted:>7.2f}  {people}"
        )
    if out is not None and splits.classes is not None and splits.test.pixel_max is not None:
        from jaxnet.report.figures import doubtful

        x = np.asarray(splits.test.x)
        doubtful(
            x,
            found,
            splits.classes,
            splits.test.pixel_max,
            out / "mnist_doubtful.png",
            part="test set of MNIST",
        )


def flipped(y: np.ndarray, kind: str, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Labels of which this share are another class."""
    classes, count = int(y.max()) + 1, round(rate * len(y))
    new = y.copy()
    rows = rng.permutation(len(y))[:count]
    if kind == "uniform":
        new[rows] = (y[rows] + rng.integers(1, classes, count)) % classes
    elif kind == "pairs":
        new[rows] = (y[rows] + 1) % classes
    else:
        last = rng.permutation(np.flatnonzero(y == classes - 1))
        new[last[: len(last) // 3]] = 0
    return new


def trained(
    x: np.ndarray, y: np.ndarray, seed: int, *, folds: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(log-probabilities of the members on their training set, whether they have seen each
    example).
    """
    n, extra = len(x), 20  # a test set must be, and is not looked at
    splits = jaxnet.split(
        np.concatenate([x, x[:extra]]),
        np.concatenate([y, y[:extra]]),
        validation=0,
        test=extra / (n + extra),
        order=np.arange(n + extra),
    )
    key = jax.random.key(seed)
    samples = jaxnet.resampling.bootstrap(key, MEMBERS, n)
    if folds:
        repeats = [
            jaxnet.resampling.folds(splits.train, FOLDS, seed=1000 * seed + i)
            for i in range(MEMBERS // FOLDS)
        ]
        samples = jaxnet.resampling.together(repeats)
    model = jaxnet.mlp((128, 64))
    recipe = jaxnet.Recipe(
        epochs=max(10, round(150 * 64 / n)), batch_size=64, learning_rate=3e-3, schedule="one_cycle"
    )
    many = jaxnet.fit_population(
        model,
        splits,
        recipe,
        jax.random.split(jax.random.fold_in(key, 1), MEMBERS),
        resample=samples,
    )
    return np.asarray(jaxnet.predict(model, many, splits.train.x)), np.stack(
        [samples.seen(i) for i in range(MEMBERS)]
    )


def average_precision(order: np.ndarray, wrong: np.ndarray) -> float:
    """Of examples in this order, mean of the precision at each wrong one."""
    hits = wrong[order]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def ranking(x: np.ndarray, y: np.ndarray, seeds: int) -> None:
    """Average precision where 5% of the labels are flipped."""
    try:
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        print("cleanlab is not installed; only jaxnet's ranking is measured")
        get_label_quality_scores = None
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        given = flipped(y, "uniform", 0.05, np.random.default_rng([seed, 5]))
        log_p, seen = trained(x, given, seed, folds=False)
        kept = ~seen.all(0)
        log_p, seen, labels, wrong = log_p[:, kept], seen[:, kept], given[kept], (given != y)[kept]
        order = np.array([each.index for each in hard_examples(log_p, labels, seen=seen)])
        found.setdefault("jaxnet.hard_examples", []).append(average_precision(order, wrong))
        if get_label_quality_scores is not None:
            p = (np.exp(log_p.astype(np.float64)) * ~seen[..., None]).sum(0) / (~seen).sum(0)[
                :, None
            ]
            p /= p.sum(1, keepdims=True)
            for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy"):
                scores = get_label_quality_scores(labels, p, method=method)
                found.setdefault(f"cleanlab, {method}", []).append(
                    average_precision(np.argsort(scores, kind="stable"), wrong)
                )
    print(
        f"\ndigits, {len(y):,} training labels, 5% flipped, {MEMBERS} bootstraps, out of bag: "
        f"average precision, mean of {seeds} seeds"
    )
    for name, values in found.items():
        print(f"{name:<40s}{np.mean(values):.4f} +- {np.std(values, ddof=1) / np.sqrt(seeds):.4f}")
    ours, *theirs = found.values()
    for name, values in zip(list(found)[1:], theirs, strict=True):
        off = np.array(ours) - values
        error = off.std(ddof=1) / np.sqrt(seeds)
        print(
            f"{'jaxnet less ' + name:<50s}{off.mean():+.4f} +- {error:.4f}, not worse in "
            f"{(off >= 0).sum()} seeds"
        )


def counting(name: str, x: np.ndarray, y: np.ndarray, seeds: int) -> None:
    """Coverage of the number of wrong labels."""
    try:
        from cleanlab.count import num_label_issues
    except ImportError:
        num_label_issues = None
    print(
        f"\n{name}, {len(y):,} labels, {MEMBERS} networks on three of {FOLDS} folds: wrong "
        f"labels, means over {seeds} seeds"
    )
    print(
        f"{'flips':>10s}{'true':>8s}{'estimate':>10s}{'low':>8s}{'high':>8s}{'covered':>10s}"
        f"{'refused':>9s}{'disagreeing':>13s}{'cleanlab':>10s}"
    )
    for kind, rates in RATES.items():
        for rate in rates:
            rows, refused, against, theirs, wrong = (
                list[tuple[float, ...]](),
                0,
                list[int](),
                list[float](),
                list[int](),
            )
            for seed in range(seeds):
                given = flipped(
                    y, kind, rate, np.random.default_rng([seed, round(1000 * rate), len(kind)])
                )
                log_p, seen = trained(x, given, seed, folds=True)
                share, n = wrong_labels(log_p, given, seen=seen), len(y)
                wrong.append(int((given != y).sum()))
                p = (np.exp(log_p.astype(np.float64)) * ~seen[..., None]).sum(0)
                against.append(int((p.argmax(1) != given).sum()))
                if num_label_issues is not None:
                    theirs.append(float(num_label_issues(given, p / p.sum(1, keepdims=True))))
                if share.refused is not None:
                    refused += 1
                else:
                    rows.append((n * share.estimate, n * share.low, n * share.high, wrong[-1]))
            cells = f"{kind:>10s}{np.mean(wrong):>8.0f}"
            if rows:
                estimate, low, high, true = np.array(rows).T
                inside = int(((low <= true) & (true <= high)).sum())
                cells += (
                    f"{estimate.mean():>10.1f}{low.mean():>8.1f}{high.mean():>8.1f}"
                    f"{inside:>7d}/{len(rows)}"
                )
            else:
                cells += " " * 46
            print(
                f"{cells}{refused:>9d}{np.mean(against):>13.1f}"
                f"{np.mean(theirs) if theirs else np.nan:>10.1f}",
                flush=True,
            )


def overlapping(n: int, classes: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Normal clouds of which the best rule mistakes about every sixth example."""
    centers, y = 1.6 * rng.standard_normal((classes, 6)), rng.integers(0, classes, n)
    return (centers[y] + rng.standard_normal((n, 6))).astype(np.float32), y


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, help="folder with the four files of mnist")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument(
        "--out", type=Path, help="folder for the picture of MNIST's doubtful labels"
    )
    options = parser.parse_args()
    jaxnet.use_cpu_devices()
    jaxnet.enable_cache()
    digits = jaxnet.load("digits", validation=0)
    x, y = np.asarray(digits.train.x), np.asarray(digits.train.y)
    ranking(x, y, options.seeds)
    counting("digits", x, y, options.seeds)
    counting(
        "normal clouds that overlap",
        *overlapping(1500, 5, np.random.default_rng(0)),
        seeds=options.seeds,
    )
    if options.data_dir is None:
        print("\nMNIST is left out: no --data-dir was given")
        return 0
    whole = jaxnet.load("mnist", data_dir=options.data_dir, validation=0)
    rows = np.random.default_rng(0).permutation(len(whole.train))[:3000]
    counting(
        "MNIST, a sample",
        np.asarray(whole.train.x)[rows],
        np.asarray(whole.train.y)[rows],
        options.seeds,
    )
    print()
    mnist(options.data_dir, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
