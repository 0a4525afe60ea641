"""Do the gains that advice reports hold for networks that are trained?

    JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 python -m experiments.benchmarks.advice_trained
        [--advices 200] [--part i/n] [--only TEXT]

Small networks learn generated data; 50,000 fresh examples say what is true. An advice races
learning rates, longer trainings, and wider and deeper networks against the recipe of the world, on
a pool of its own. A row is appended to advice_trained.csv for each advice; those that are there are
not made again, and the last lines sum up what the table holds.

`truth`: the gain of the leader on fresh examples, the mean over networks with fresh keys on the
training sets of these folds; `pools`: its gain on average over the pools of all advices of the
world.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

import jaxnet
from experiments.benchmarks.rows import append, parser, read
from jaxnet import Model, Recipe, Splits
from jaxnet.diagnostics import exact
from jaxnet.population.predictions import member_predictions
from jaxnet.stats.gains import FOLDS, Cell, race
from jaxnet.studies.candidates import candidates, current
from jaxnet.studies.design import design_of
from jaxnet.studies.networks import Networks

TABLE = Path(__file__).with_suffix(".csv")
FIELDS = ("world", "advice", "leader", "point", "low", "high", "truth", "gains")
FRESH, DRAWN = 50_000, 500  # a fifth of what is drawn is a test set, which takes no part
SEEDS, FRESH_KEYS, OTHER = 2, 4, 1000  # OTHER: number of the key of fresh networks
KINDS = ("rate", "longer", "wider", "deeper")  # changes that are tried
BLOCK = 10_000  # fresh examples that are judged at once
COVERED, FALSE, BIAS = 0.93, 0.05, 0.5  # wanted: at least, at most, at most


class World(NamedTuple):
    """Data that can be drawn anew, and what learns them.

    Attributes:
        draw: from a generator and a number, so many examples and their labels.
        model: the network of the current recipe.
        recipe: the current recipe.
    """

    draw: Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
    model: Model
    recipe: Recipe


def rings(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two rings with noise, one in the other."""
    y, angle = rng.integers(0, 2, count), rng.uniform(0, 2 * np.pi, count)
    radius = 1.0 + y + 0.35 * rng.normal(size=count)
    return (radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)).astype("f4"), y


def clouds(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Three normal clouds in ten dimensions, which a linear network parts as well as any."""
    y = rng.integers(0, 3, count)
    x = rng.normal(size=(count, 10))
    x[np.arange(count), y] += 2.0
    return x.astype("f4"), y


def products(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether a product is positive, in six dimensions; one label in ten is wrong."""
    x = rng.normal(size=(count, 6))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    return x.astype("f4"), np.where(rng.random(count) < 0.1, 1 - y, y)


def _recipe(rate: float, epochs: int) -> Recipe:
    return Recipe("adam", learning_rate=rate, epochs=epochs, batch_size=32, schedule="constant")


WORLDS = {
    "rings, a low rate": World(rings, jaxnet.mlp((16,)), _recipe(3e-3, 20)),
    "clouds, nothing helps": World(clouds, jaxnet.linear(), _recipe(3e-2, 20)),
    "products, wrong labels": World(products, jaxnet.mlp((16,)), _recipe(1e-2, 20)),
}


def splits_of(world: World, seed: int) -> Splits:
    """The pool of an advice."""
    return jaxnet.split(*world.draw(np.random.default_rng(seed), DRAWN), seed=seed)


def advised(world: World, seed: int, fresh: tuple[np.ndarray, np.ndarray]) -> dict[str, str]:
    """What an advice reports, and what is true."""
    splits = splits_of(world, seed)
    design = design_of(splits, world.recipe, 16)
    now = current(world.model, world.recipe)
    tried = [each for each in candidates(world.model, world.recipe) if each.kind in KINDS]
    networks = Networks(
        (now, *tried), design.splits, design.fold_of, jax.random.key(seed), None, None
    )

    def measure(recipes: np.ndarray, cells: Sequence[Cell]) -> np.ndarray:
        return networks.losses(recipes, networks.trained(recipes, cells, None))

    raced = race(measure, len(networks.recipes) - 1, design.fold_of, seeds=SEEDS)
    found = raced.gains.choose(raced.finalists)
    cells = [(fold, OTHER + key) for key in range(FRESH_KEYS) for fold in range(FOLDS)]
    own = errors(networks, np.array([0, 1 + found.leader]), cells, fresh)
    every = np.arange(len(networks.recipes))
    all_ = errors(networks, every, [(0, OTHER + FRESH_KEYS), (1, OTHER + FRESH_KEYS)], fresh)
    return {
        "leader": str(found.leader),
        **{name: f"{100 * getattr(found.gain, name):.3f}" for name in ("low", "high")},
        "point": f"{100 * found.gain.estimate:.3f}",
        "truth": f"{100 * (own[0] - own[1]):.3f}",
        "gains": " ".join(f"{100 * (all_[0] - each):.3f}" for each in all_[1:]),
    }


def errors(
    networks: Networks,
    recipes: np.ndarray,
    cells: Sequence[Cell],
    fresh: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """The mean error of networks of each recipe on fresh examples."""
    population = networks.trained(recipes, cells, None)
    members = np.repeat(recipes, len(cells))
    models = [networks.recipes[members[each[0]]].model for each in population.members]
    x, y = fresh
    wrong = np.zeros(len(members))
    for begin in range(0, len(y), BLOCK):
        for places, outputs in member_predictions(models, population, x[begin : begin + BLOCK]):
            wrong[places] += (outputs.argmax(-1) != y[begin : begin + BLOCK]).sum(1)
    return (wrong / len(y)).reshape(len(recipes), -1).mean(1)


def summary(rows: Sequence[dict[str, str]]) -> dict[str, str]:
    """What the advices of a world say together. Advices that were made before the printed gain was
    computed as it is today have none; the bias is that of the others.
    """
    leader = np.array([int(row["leader"]) for row in rows])
    point, low, high, truth = (
        np.array([float(row[name] or "nan") for row in rows])
        for name in ("point", "low", "high", "truth")
    )
    of_pools = np.array([row["gains"].split() for row in rows], float).mean(0)[leader]
    adopted, told, count = low > 0, np.isfinite(point), len(rows)
    covered, pools, false = (
        exact(int(each.sum()), count, 0.99)
        for each in (
            (low <= truth) & (truth <= high),
            (low <= of_pools) & (of_pools <= high),
            adopted & (truth <= 0),
        )
    )
    bias = float((point - truth)[told].mean())
    kept = covered.high >= COVERED and false.low <= FALSE and bias <= BIAS
    both = adopted & told
    return {
        "advices": str(count),
        "covered": f"{covered.estimate:.3f} ({covered.low:.3f} to {covered.high:.3f})",
        "pools": f"{pools.estimate:.3f} ({pools.low:.3f} to {pools.high:.3f})",
        "false": f"{false.estimate:.3f} ({false.low:.3f} to {false.high:.3f})",
        "adopted": f"{adopted.mean():.3f}",
        "truth": f"{truth.mean():.2f}",
        "points": str(int(told.sum())),
        "bias": f"{bias:.2f}",
        "bias_adopted": f"{(point - truth)[both].mean():.2f}" if both.any() else "",
        "kept": "yes" if kept else "NO",
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the advices that the table lacks, and sum it up; the exit status is 1 where a promise is
    broken.
    """
    options = parser(__doc__, TABLE, advices=200).parse_args(arguments)
    part, parts = map(int, options.part.split("/"))
    worlds = {name: world for name, world in WORLDS.items() if options.only in name}
    fresh = {
        name: world.draw(np.random.default_rng(10**6), FRESH) for name, world in worlds.items()
    }
    asked = [(name, seed) for seed in range(options.advices) for name in worlds]
    for name, seed in asked[part - 1 :: parts]:
        if any((row["world"], row["advice"]) == (name, str(seed)) for row in read(options.table)):
            continue
        row = {"world": name, "advice": seed, **advised(worlds[name], seed, fresh[name])}
        append(options.table, [row], FIELDS)
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    broken = 0
    for name in worlds:
        rows = [row for row in read(options.table) if row["world"] == name]
        found = summary(rows)
        broken += found["kept"] == "NO"
        print(name, ", ".join(f"{key} {value}" for key, value in found.items()))
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
