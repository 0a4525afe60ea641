"""Does the interval of an error that was estimated without labels hold the true error on tables,
and does the interval from 100 labels?

    OMP_NUM_THREADS=1 python -m experiments.benchmarks.unlabeled_tables [--repetitions 100]
        [--part i/n] [--only TEXT]

Each repetition draws a task, trains four networks on 500 examples, and asks for the error on 1,000
new examples after each change: from 1,000 labeled reference examples without labels, of the first
network alone and of all four, and with labels of 100 of the new examples, drawn at random. The
truth is the error of the first network on 20,000 further examples of the changed world.

Changes: none; the scatter of each class times 0.6, 1.3, 2 and 3; other class frequencies, drawn
uniformly; pure covariate shift, which keeps an example with a probability that depends on its
inputs alone; 20% of rows of a new kind, a cluster that training did not hold, with labels of any
class; and two classes that trade places, which no method can see without labels.

A row is appended to unlabeled_tables.csv for each task and change; tasks that are there are not
simulated again. The tasks are not those that the constants of the estimate were chosen with.
`kept` says whether the 99% binomial interval of the coverage reaches 93%, with an answer in 80%
where nothing changed, where scatter is 1.3 times as large, and under pure covariate shift.
"""

import sys
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.benchmarks.rows import append, missing, parser, read
from jaxnet.diagnostics import Estimate, estimate_error_without_labels, exact

TABLE = Path(__file__).with_suffix(".csv")
TRAINING, REFERENCE, NEW, TRUTH, LABELS, MEMBERS = 500, 1000, 1000, 20_000, 100, 4
FIELDS = (
    "world", "change", "given", "repetitions", "truth", "answered", "coverage", "low", "high",
    "half_width", "kept",
)  # fmt: skip
GIVEN = ("1 network", "4 networks", "100 labels")
UNSEEN = "classes trade places"
CHANGES = (
    "none", "noise 0.6", "noise 1.3", "noise 2", "noise 3", "label shift", "covariate shift",
    "new kind of row", UNSEEN,
)  # fmt: skip
ANSWERED = ("none", "noise 1.3", "covariate shift")
Network = Callable[[np.ndarray], np.ndarray]


class World(NamedTuple):
    """Tasks of one kind: classes are mixtures of clusters, or moons.

    Attributes:
        classes: how many.
        inputs: how many.
        clusters: of each class; 0 for two moons.
        apart: how far centers are from the origin, in standard deviations of a cluster.
        even: whether classes are equally frequent.
        features: random features of a network; 0 for a linear one.
    """

    classes: int
    inputs: int
    clusters: int
    apart: float
    even: bool
    features: int


WORLDS = {
    "2 classes, linear": World(2, 6, 1, 1.8, True, 0),
    "4 classes, linear": World(4, 12, 1, 3.5, False, 0),
    "6 classes in 12 clusters, networks": World(6, 8, 2, 4.5, True, 80),
    "3 classes in 9 clusters, networks": World(3, 4, 3, 4.0, False, 50),
    "moons, networks": World(2, 2, 0, 1.0, True, 40),
}


class Task:
    """A data-generating process, and how it changes."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self.world = world
        shape = (world.classes, max(1, world.clusters), world.inputs)
        self.centers = rng.standard_normal(shape) * world.apart / np.sqrt(world.inputs)
        self.scatter = np.exp(0.3 * rng.standard_normal((world.classes, world.inputs)))
        even = np.full(world.classes, 1 / world.classes)
        self.frequencies = even if world.even else rng.dirichlet(np.full(world.classes, 5.0))
        self.others = rng.dirichlet(np.ones(world.classes))
        directions = rng.standard_normal((2, world.inputs))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        self.kept, self.elsewhere = directions

    def draw(
        self, rng: np.random.Generator, count: int, noise: float = 1.0, *, others: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """(inputs, labels)."""
        world = self.world
        y = rng.choice(world.classes, count, p=self.others if others else self.frequencies)
        if world.clusters:
            center = self.centers[y, rng.integers(0, world.clusters, count)]
            return center + noise * self.scatter[y] * rng.standard_normal(center.shape), y
        angle = np.pi * rng.random(count)
        moon = np.stack([np.cos(angle), np.sin(angle)], 1)
        moon = np.where((y == 0)[:, None], moon, [1.0, 0.5] - moon)
        return 2 * moon + 0.6 * noise * rng.standard_normal((count, 2)), y

    def changed(
        self, change: str, rng: np.random.Generator, count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(inputs, labels) after a change."""
        if change.startswith("noise"):
            return self.draw(rng, count, float(change.split()[1]))
        if change == "covariate shift":
            x, y = self.draw(rng, 8 * count)
            place = x @ self.kept
            odds = 1.5 * (place - place.mean()) / place.std()
            kept = np.flatnonzero(rng.random(8 * count) < 1 / (1 + np.exp(-odds)))[:count]
            return x[kept], y[kept]
        x, y = self.draw(rng, count, others=change == "label shift")
        if change == "new kind of row":
            new = rng.random(count) < 0.2
            x[new] = 4 * self.elsewhere + 0.7 * rng.standard_normal((new.sum(), x.shape[1]))
            y[new] = rng.integers(0, self.world.classes, new.sum())
        if change == UNSEEN:
            y = np.where(y < 2, 1 - y, y)
        return x, y


def trained(world: World, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Network:
    """Multinomial logistic regression on 80% of the rows, or on all with random features."""
    from sklearn.linear_model import LogisticRegression

    weights = rng.standard_normal((world.inputs, world.features)) / np.sqrt(world.inputs)
    offset = rng.standard_normal(world.features)

    def features(x: np.ndarray) -> np.ndarray:
        return np.maximum(x @ weights + offset, 0) if world.features else x

    rows = rng.permutation(len(y))[: len(y) if world.features else len(y) * 4 // 5]
    fitted = LogisticRegression(max_iter=100, tol=1e-3).fit(features(x[rows]), y[rows])

    def says(x: np.ndarray) -> np.ndarray:
        p = np.full((len(x), world.classes), 1e-13)
        p[:, fitted.classes_] = np.maximum(fitted.predict_proba(features(x)), 1e-30)
        return np.log(p / p.sum(1, keepdims=True))

    return says


def repetition(world: World, rng: np.random.Generator) -> dict[tuple[str, str], tuple]:
    """(estimate, truth) for each change and what is given."""
    task = Task(world, rng)
    x, y = task.draw(rng, TRAINING)
    networks = [trained(world, x, y, rng) for _ in range(MEMBERS)]

    def say(x: np.ndarray) -> np.ndarray:
        return np.stack([network(x) for network in networks])

    x, known = task.draw(rng, REFERENCE)
    reference, found = say(x), dict[tuple[str, str], tuple[Estimate, float]]()
    for change in CHANGES:
        x, y = task.changed(change, rng, TRUTH)
        truth = float((networks[0](x).argmax(1) != y).mean())
        x, y = task.changed(change, rng, NEW)
        new, rows = say(x), rng.permutation(NEW)[:LABELS]
        given = (
            estimate_error_without_labels(reference[0], known, new[0]),
            estimate_error_without_labels(reference, known, new),
            estimate_error_without_labels(reference[0], known, new[0], labeled=(rows, y[rows])),
        )
        for name, each in zip(GIVEN, given, strict=True):
            found[change, name] = each.error, truth
    return found


def summary(
    name: str, change: str, given: str, found: list[tuple[Estimate, float]]
) -> dict[str, str]:
    """A row of the table."""
    answered = [each for each in found if each[0].refused is None]
    line = dict.fromkeys(FIELDS, "") | {
        "world": name,
        "change": change,
        "given": given,
        "repetitions": str(len(found)),
        "truth": f"{np.mean([truth for _, truth in found]):.4f}",
        "answered": f"{len(answered) / len(found):.3f}",
    }
    kept = len(answered) >= 0.8 * len(found) or (given != GIVEN[-1] and change not in ANSWERED)
    if answered:
        inside = sum(each.low <= truth <= each.high for each, truth in answered)
        held = exact(inside, len(answered), 0.99)
        kept &= held.high >= 0.93 or (change == UNSEEN and given != GIVEN[-1])
        widths = [each.high - each.low for each, _ in answered]
        line |= {
            "coverage": f"{held.estimate:.3f}",
            "low": f"{held.low:.3f}",
            "high": f"{held.high:.3f}",
            "half_width": f"{np.median(widths) / 2:.4f}",
        }
    return line | {"kept": "yes" if kept else "NO"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate what is missing in the table; the exit status is 1 where a promise is broken."""
    options = parser(__doc__, TABLE, repetitions=100).parse_args(arguments)
    for name in missing(options, WORLDS, "world"):
        began = time.perf_counter()
        found = defaultdict[tuple[str, str], list[tuple[Estimate, float]]](list)
        for number in range(options.repetitions):
            rng = np.random.default_rng([zlib.crc32(name.encode()), number])
            for key, each in repetition(WORLDS[name], rng).items():
                found[key].append(each)
        lines = [summary(name, *key, each) for key, each in found.items()]
        append(options.table, lines, FIELDS)
        print(f"{name}, {time.perf_counter() - began:.0f} s", file=sys.stderr)
    lines = read(options.table)
    for line in lines:
        print("  ".join(line[field] for field in FIELDS))
    broken = sum(line["kept"] == "NO" for line in lines)
    print(f"{broken} promises broken")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
