"""How often are two recipes that are equally good called different?

    OMP_NUM_THREADS=1 python -m experiments.benchmarks.equal_recipes [--studies 1000]
        [--processes 2] [--part i/n] [--only TEXT]

Two recipes are equally good by construction: they see the same signal and 3 columns of noise each
("other noise"), or signals of their own that are equally strong ("other signals"), or they differ
in their seeds alone ("other seeds"). Each study draws a pool, trains 8 x 2 networks of each recipe
on the same folds, and asks whether the interval of the recipes' difference leaves 0 out ("recipe").
In the first 200 studies it also trains 16 networks of each on one training set, 70% of the pool,
and asks the same of their difference on 400 new examples ("training set"): that one says nothing of
other training sets.

A row is appended to equal_recipes.csv for each world and question; worlds that are there are not
simulated again. `different` is the share of the studies that call the recipes different, with its
99% binomial interval. `promised`, of the recipe alone: at most 7% from 1,000 examples on and 12%
below. `kept` says whether the interval meets that. `width` is the median width over that of the
best interval of constant width, 3.92 standard deviations.
"""

import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks.rows import append, in_chunks, missing, parser, processes
from experiments.benchmarks.worlds import (
    COLUMNS,
    Blobs,
    Curve,
    Learner,
    Pool,
    mlps,
    nearest_neighbors,
    random_features,
    trees,
)
from jaxnet.data import Dataset
from jaxnet.data.resampling import fold_of
from jaxnet.diagnostics import Estimate, exact, paired_difference
from jaxnet.stats.cross_fitting import cross_fit
from jaxnet.stats.unseen_losses import UnseenLosses, recipe_difference

TABLE = Path(__file__).with_suffix(".csv")
FIELDS = (
    "world",
    "examples",
    "of",
    "studies",
    "refused",
    "different",
    "low",
    "high",
    "error",
    "width",
    "promised",
    "kept",
)
SIGNAL, NOISE = 4, 3  # columns that both recipes see, and those that each sees alone
TRAINING_SET, TEST_EXAMPLES = 0.7, 400
CHUNK = 25
COMPARED = 200  # studies in which networks of one training set are compared too
SLOW_STUDIES = 400  # of jaxnet's MLP


class Twins(NamedTuple):
    """Two recipes that are equally good.

    Attributes:
        examples: in the pool.
        data: draws what both see.
        learner: trains.
        setting: of both recipes.
        apart: what they differ in: "noise", "signals" or "seeds".
        folds: number of folds.
        seeds: networks of the first recipe for each fold.
        others: networks of the second recipe for each fold.
    """

    examples: int
    data: Any
    learner: Learner
    setting: Any
    apart: str = "noise"
    folds: int = 8
    seeds: int = 2
    others: int = 2

    def draw(self, examples: int, rng: np.random.Generator) -> tuple[Any, np.ndarray]:
        """A pool as the first recipe sees it, and the inputs of the second."""
        pool = self.data.draw(examples, rng)
        if self.apart == "seeds":
            return pool, pool.x
        columns = np.arange(COLUMNS)
        first = (columns < SIGNAL + NOISE).astype(np.float32)
        second = ((columns < SIGNAL) | (columns >= SIGNAL + NOISE)).astype(np.float32)
        if self.apart == "noise":
            return pool._replace(x=pool.x * first), pool.x * second
        other = rng.standard_normal(pool.x.shape, dtype=np.float32) + self.data.means()[pool.y]
        return pool, other.astype(np.float32)

    def losses(
        self, x: np.ndarray, y: np.ndarray, rows: list[np.ndarray], new: tuple, rng: Any
    ) -> np.ndarray:
        """(networks, new examples) losses of networks that train on these rows."""
        inputs, labels = new
        classes = self.data.classes
        if self.learner is mlps:
            found = mlps([Pool(x, y, None)], classes, [rows], [inputs], self.setting, [rng])[0]
        else:
            found = self.learner(x, y, classes, rows, inputs, self.setting, rng)
        return found != labels if classes else (found - labels).astype(float) ** 2


class Found(NamedTuple):
    """A difference with its interval, and the error of the first recipe."""

    difference: Estimate
    error: float


def study(world: Twins, rng: np.random.Generator, one_set: bool) -> dict[str, Found]:
    """What one study says of two equal recipes, and of networks of one training set."""
    pool, other_x = world.draw(world.examples, rng)
    names = tuple(map(str, range(world.data.classes))) or None
    of = fold_of(Dataset(pool.x, pool.y, names, groups=pool.group_of), world.folds)
    sides = []
    for x, seeds in ((pool.x, world.seeds), (other_x, world.others)):
        seen = np.repeat(of != np.arange(world.folds)[:, None], seeds, 0)
        rows = [np.flatnonzero(each) for each in seen]
        losses = world.losses(x, pool.y, rows, (x, pool.y), rng)
        sides.append(UnseenLosses.of(cross_fit(losses, seen, pool.group_of)[0], "pool"))
    one, two = sides
    found = {"recipe": Found(recipe_difference(one, two), float(one.fit.unseen.mean()))}
    if not one_set:
        return found
    test, other_test = world._replace(data=world.data._replace(group=1)).draw(TEST_EXAMPLES, rng)
    networks = [np.arange(round(TRAINING_SET * world.examples))] * 16
    mine, theirs = (
        world.losses(x, pool.y, networks, (new, test.y), rng)
        for x, new in ((pool.x, test.x), (other_x, other_test))
    )
    found["training set"] = Found(paired_difference(mine, theirs), float(mine.mean()))
    return found


def simulate(name: str, first: int, count: int) -> list[dict[str, Found]]:
    """Some studies of a world; study i has the same draws whatever the others are."""
    return [
        study(WORLDS[name], np.random.default_rng([zlib.crc32(name.encode()), i]), i < COMPARED)
        for i in range(first, first + count)
    ]


def summary(name: str, rows: list[dict[str, Found]]) -> list[dict[str, str]]:
    """The rows of the table for a world."""
    lines, examples = [], WORLDS[name].examples
    for of in rows[0]:
        found = [row[of] for row in rows if of in row]
        given = [each.difference for each in found if each.difference.refused is None]
        different = sum(not each.low <= 0 <= each.high for each in given)
        share = exact(different, len(found), 0.99)
        spread = float(np.std([each.difference.estimate for each in found]))
        width = float(np.median([each.high - each.low for each in given])) if given else np.nan
        line = dict.fromkeys(FIELDS, "") | {
            "world": name,
            "examples": str(examples),
            "of": of,
            "studies": str(len(found)),
            "refused": f"{1 - len(given) / len(found):.3f}",
            "different": f"{share.estimate:.3f}",
            "low": f"{share.low:.3f}",
            "high": f"{share.high:.3f}",
            "error": f"{np.mean([each.error for each in found]):.3f}",
            "width": f"{width / (3.92 * spread):.3f}" if spread else "",
        }
        if of == "recipe":
            most = 0.07 if examples >= 1000 else 0.12
            line |= {"promised": f"{most:.2f}", "kept": "yes" if share.low <= most else "NO"}
        lines.append(line)
    return lines


def _of_sizes(name: str, world: Twins, sizes: Sequence[int] = (100, 300, 1000)) -> dict[str, Twins]:
    return {f"{name}, {n}": world._replace(examples=n) for n in sizes}


NOISY = Blobs(distance=3.0, wrong=0.2)
WORLDS: dict[str, Twins] = {
    **_of_sizes("features, other noise", Twins(0, Blobs(), random_features, 1.0)),
    **_of_sizes("features, other signals", Twins(0, Blobs(), random_features, 1.0, "signals")),
    **_of_sizes("features, other seeds", Twins(0, Blobs(), random_features, 1.0, "seeds")),
    **_of_sizes("features, few mistakes", Twins(0, Blobs(distance=4.0), random_features, 1.0)),
    **_of_sizes("features, 20% wrong labels", Twins(0, NOISY, random_features, 1.0)),
    **_of_sizes("features, values", Twins(0, Curve(), random_features, 1.0)),
    **_of_sizes("features, groups of 5", Twins(0, Blobs(group=5), random_features, 1.0)),
    **_of_sizes(
        "features, 10 classes, other signals",
        Twins(0, Blobs(10, 4.0), random_features, 1.0, "signals"),
    ),
    **_of_sizes("features, 4 folds", Twins(0, Blobs(), random_features, 1.0, folds=4)),
    **_of_sizes(
        "features, 2 and 4 seeds", Twins(0, Blobs(), random_features, 1.0, seeds=2, others=4)
    ),
    **_of_sizes("neighbors, other noise", Twins(0, Blobs(), nearest_neighbors, (5, 6))),
    **_of_sizes("nearest neighbor, 20% wrong labels", Twins(0, NOISY, nearest_neighbors, (1, 6))),
    **_of_sizes("trees, leaves of 5", Twins(0, Blobs(), trees, 5)),
    **_of_sizes("trees, 20% wrong labels, leaves of 1", Twins(0, NOISY, trees, 1)),
    **_of_sizes("trees, values", Twins(0, Curve(uneven=True), trees, 5)),
    **_of_sizes("MLP, other noise", Twins(0, Blobs(), mlps, 20), (100, 300)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate what is missing in the table; the exit status is 1 where a promise is broken."""
    options = parser(__doc__, TABLE, studies=1000, processes=2).parse_args(arguments)
    broken = 0
    with processes(options.processes) as pool:
        for name in missing(options, WORLDS, "world"):
            began = time.perf_counter()
            slow = WORLDS[name].learner is mlps
            studies = min(SLOW_STUDIES, options.studies) if slow else options.studies
            found = in_chunks(pool, simulate, name, studies, CHUNK)
            lines = summary(name, [each for chunk in found for each in chunk])
            append(options.table, lines, FIELDS)
            for line in lines:
                broken += line["kept"] == "NO"
                print(*line.values(), f"{time.perf_counter() - began:.0f} s", flush=True)
    print(f"{broken} promises broken")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
