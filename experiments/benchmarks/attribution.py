"""How well do methods of data attribution predict networks that are trained on other subsets?

    python -m experiments.benchmarks.attribution [--only "digits, TRAK"] [--data-dir FOLDER]

The linear datamodeling score (Park et al. 2023): the mean over test examples of the rank
correlation of what a method predicts for 50 new halves of the training set, and of the mean of some
networks that are trained on each, with other keys and another order. What is predicted is the
margin of a test example, the log-odds of its label. All methods are judged on the same halves and
networks:

census: linear models of the networks of `jaxnet.census`, as `why` has them, and of parts of them.
TracIn: networks on all examples, at 5 of their epochs. influence: networks on all examples, with
conjugate gradients; the damping of MNIST is the best one of the digits. TRAK: the first networks of
the census, with gradients projected to 128 and 512 numbers.

The digits have `mlp((64,))`, 30 epochs, and MNIST has 5,000 training and 500 test images and
`mlp((128, 64))`, 10 epochs, both with the other defaults of `Recipe`. What is trained is kept in
the folder, from which a call goes on. Seconds are those that processor cores worked.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

import jaxnet
from experiments.benchmarks.attribution_methods import (
    influence,
    margins,
    projected,
    tracin,
    trak,
    trak_effects,
)
from experiments.benchmarks.rows import append, missing, parser, read
from jaxnet.core.optimizers import step_numbers
from jaxnet.core.recipe import resolved
from jaxnet.core.training import Problem, epoch, run_steps, start
from jaxnet.data.dataset import on_device
from jaxnet.data.resampling import Samples
from jaxnet.data.splitting import pool
from jaxnet.engine.arguments import without_test
from jaxnet.models.model import at_most_32_bits, with_outputs
from jaxnet.random import numbered
from jaxnet.stats.datamodels import datamodels
from jaxnet.studies.census import ORDER

TABLE = Path(__file__).with_name("attribution.csv")
FIELDS = ("case", "method", "networks", "setting", "score", "agreement", "seeds", "core_seconds")
SUBSETS, CHECKPOINTS, CG_STEPS = 50, 5, 20
SIZES = (128, 512)  # numbers that TRAK projects gradients to
NEW = 1 << 30  # number of the key of what is trained on new halves, and on all examples


@dataclass(frozen=True)
class World:
    """Data, the networks that are trained on them, and what is tried.

    Attributes:
        name: of the data.
        splits: the data; the training set is the pool.
        model: the network.
        recipe: how it is trained.
        members: how many networks the census has.
        seeds: how many networks are trained on each new half.
        ensemble: how many networks TracIn and influence functions take at most.
        dampings: of influence functions.
        folder: where networks are kept.
    """

    name: str
    splits: jaxnet.Splits
    model: jaxnet.Model
    recipe: jaxnet.Recipe
    members: int
    seeds: int
    ensemble: int
    dampings: tuple[float, ...]
    folder: Path

    @functools.cached_property
    def key(self) -> Key[Array, ""]:
        """The key of the census."""
        return jax.random.key(0)

    @functools.cached_property
    def new(self) -> Key[Array, ""]:
        """The key of all other networks."""
        return jax.random.fold_in(self.key, NEW)

    @functools.cached_property
    def subsets(self) -> Samples:
        """New halves, one of each pair."""
        every = jaxnet.resampling.halves(self.new, 2 * SUBSETS, len(self.splits.train))
        return every.only(np.arange(0, 2 * SUBSETS, 2))

    @functools.cached_property
    def seen(self) -> Float[np.ndarray, "subsets examples"]:
        """Which examples are in each of the new halves."""
        return np.stack([self.subsets.seen(i) for i in range(SUBSETS)]).astype(np.float32)

    @functools.cached_property
    def real(self) -> Float[np.ndarray, "seeds subsets tests"]:
        """The margins of the networks that are trained on the new halves."""
        file = self.folder / "real.npy"
        if file.exists():
            return np.load(file)
        found = list[np.ndarray]()
        for seed in range(self.seeds):
            networks = jaxnet.fit_population(
                self.model, without_test(self.splits), self.recipe,
                jax.random.split(jax.random.fold_in(self.new, seed), SUBSETS),
                resample=self.subsets.as_weights(), order_key=jax.random.fold_in(self.new, 2),
            )  # fmt: skip
            found.append(self.outputs(networks))
        self.folder.mkdir(parents=True, exist_ok=True)
        np.save(file, np.stack(found))
        return np.stack(found)

    @functools.cached_property
    def agreement(self) -> float:
        """The mean rank correlation of two networks on each of the new halves."""
        return float(
            np.mean(
                [
                    rank_correlation(self.real[i], self.real[j])
                    for i in range(self.seeds)
                    for j in range(i)
                ]
            )
        )

    def outputs(self, networks: jaxnet.Population) -> Float[np.ndarray, "networks tests"]:
        """The margins of test examples."""
        p = np.asarray(jaxnet.predict(self.model, networks, self.splits.test.x), np.float64)
        own = np.asarray(self.splits.test.y)[None, :, None]
        label = np.take_along_axis(p, own, 2)[..., 0]
        np.put_along_axis(p, np.broadcast_to(own, (*p.shape[:2], 1)), -np.inf, 2)
        return label - np.logaddexp.reduce(p, axis=2)

    def logits(self, params: PyTree, x: Array) -> Float[Array, "examples classes"]:
        """What a network outputs for standardized inputs."""
        model = with_outputs(self.model, self.splits.train.outputs)
        return model.apply(params, {}, x, key=None, dropout=None)[0]

    @functools.cached_property
    def examples(self) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Standardized inputs and labels of the training and of the test examples."""
        standardization = self.splits.standardization
        train, test = (
            (standardization.inputs(part.x), jnp.asarray(part.y, jnp.int32))
            for part in (self.splits.train, self.splits.test)
        )
        return train, test

    def row(
        self, method: str, networks: int, predicted: Array | np.ndarray, began: float, setting: str
    ) -> dict[str, object]:
        """A row of the table."""
        predicted = np.asarray(predicted, np.float64)
        seconds = time.process_time() - began
        score = rank_correlation(predicted, self.real.mean(0))
        print(self.name, method, networks, setting, f"{score:.4f}, {seconds:.0f} s", flush=True)
        numbers = (f"{score:.4f}", f"{self.agreement:.4f}", self.seeds, f"{seconds:.1f}")
        return dict(zip(FIELDS[1:], (method, networks, setting, *numbers), strict=True))

    def __hash__(self) -> int:
        return id(self)


def rank_correlation(
    one: Float[np.ndarray, "subsets tests"], other: Float[np.ndarray, "subsets tests"]
) -> float:
    """The mean over test examples of Spearman's rank correlation over subsets."""
    from scipy.stats import spearmanr

    return float(np.mean([spearmanr(a, b).statistic for a, b in zip(one.T, other.T, strict=True)]))


def of_census(world: World) -> list[dict[str, object]]:
    """Datamodels of all networks of a census and of parts of them."""
    count, rows = world.members, list[dict[str, object]]()
    began = time.process_time()
    found = jaxnet.census(
        world.model,
        world.splits,
        world.recipe,
        world.key,
        members=count,
        out=world.folder / "census",
    )
    seconds = time.process_time() - began
    outputs = world.outputs(found.population)[:-1]
    for some in (count // 16, count // 8, count // 4, count // 2, count):
        began = time.process_time() - seconds * some / count
        model = datamodels(
            found.halves[:some], outputs[:some], found.pair_of[:some], found.own_outputs[:some]
        )
        rows.append(world.row("census", some, world.seen @ model.coefficients, began, ""))
    return rows


def of_tracin(world: World) -> list[dict[str, object]]:
    """TracIn by one network and by several."""
    began, train, test = time.process_time(), *world.examples
    recipe = at_most_32_bits(resolved(world.recipe, len(world.splits.train)))
    model = with_outputs(world.model, world.splits.train.outputs)
    problem = Problem(model, on_device(without_test(world.splits)), recipe)
    step = jax.jit(jax.vmap(lambda p, state: epoch(p, state, run_steps)[0], (None, 0)))
    state = jax.vmap(lambda key: start(problem, key))(jax.random.split(world.new, world.ensemble))
    every, checkpoints = recipe.epochs // CHECKPOINTS, list[PyTree]()
    for number in range(recipe.epochs):
        state = step(problem, state)
        if (number + 1) % every == 0:
            checkpoints.append(state.params)
    ends = problem.steps * every * np.arange(1, CHECKPOINTS + 1) - 1
    plain = jaxnet.Recipe("sgd", recipe.schedule, learning_rate=recipe.learning_rate)
    rates = jnp.asarray(step_numbers(plain, problem.steps * recipe.epochs, ends)["step"])
    kept = jax.tree.map(lambda *leaves: jnp.stack(leaves, 1), *checkpoints)
    seen, predicted, rows = world.seen - world.seen.mean(0), list[np.ndarray](), []
    for member in range(world.ensemble):
        own = jax.tree.map(lambda leaf, member=member: leaf[member], kept)
        predicted.append(np.asarray(tracin(world.logits, own, rates, train, test, seen)))
        if member in (0, world.ensemble - 1):
            setting = f"{CHECKPOINTS} checkpoints"
            rows.append(world.row("TracIn", member + 1, np.mean(predicted, 0), began, setting))
    return rows


def of_influence(world: World) -> list[dict[str, object]]:
    """Influence functions by one network and by several, with each damping."""
    train, test = world.examples
    count, rows = world.ensemble, list[dict[str, object]]()
    began = time.process_time()
    trained = jaxnet.fit_population(
        world.model, without_test(world.splits), world.recipe, jax.random.split(world.new, count)
    )
    seconds = (time.process_time() - began) / count
    for damping in world.dampings:
        began, predicted = time.process_time(), list[np.ndarray]()
        for member in range(count):
            params = jax.tree.map(jnp.asarray, trained[member].params)
            given = world.logits, params, train, test, world.seen, damping
            predicted.append(np.asarray(influence(*given, steps=CG_STEPS)))
            if (some := member + 1) in (1, count):
                mean, setting = np.mean(predicted, axis=0), f"damping {damping:g}"
                rows.append(world.row("influence", some, mean, began - some * seconds, setting))
    return rows


def of_trak(world: World) -> list[dict[str, object]]:
    """TRAK by 1, 10 and 50 networks on halves."""
    began, train, test = time.process_time(), *world.examples
    members, rows, largest = np.arange(50), list[dict[str, object]](), max(SIZES)
    seen = jnp.asarray(world.seen)
    halves = jaxnet.resampling.halves(world.key, len(members), len(train[1]))
    trained = jaxnet.fit_population(
        world.model, without_test(world.splits), world.recipe, numbered(world.key, members),
        resample=halves.as_weights(), order_key=jax.random.fold_in(world.key, ORDER),
    )  # fmt: skip
    seconds = (time.process_time() - began) / len(members)
    right, began = jnp.zeros(len(train[1])), time.process_time()
    effects = dict.fromkeys(SIZES, jnp.zeros((len(test[1]), len(right))))
    for member in members:
        params = jax.tree.map(jnp.asarray, trained[int(member)].params)
        key = jax.random.fold_in(world.new, int(member))
        own, of = (
            projected(world.logits, params, part, key, size=largest) for part in (train, test)
        )
        right += jax.nn.sigmoid(margins(world.logits, params, *train))
        for size in SIZES:
            # the sum of two numbers is a projection to half as many
            narrow = (each.reshape(len(each), -1, size).sum(1) for each in (own, of))
            effects[size] += trak_effects(*narrow)
        if (count := int(member) + 1) in (1, 10, 50):
            rows += [
                world.row(
                    "TRAK", count, trak(effects[size] / count, right / count, seen),
                    began - count * seconds, f"{size} numbers",
                )
                for size in SIZES
            ]  # fmt: skip
    return rows


def worlds(options: argparse.Namespace) -> Iterator[World]:
    """The data that can be had."""
    digits = pool(jaxnet.load("digits"))
    yield World(
        "digits", digits, jaxnet.mlp((64,)), jaxnet.Recipe(epochs=30), 1792, 2, 10,
        (1e-3, 1e-2, 1e-1), options.folder / "digits",
    )  # fmt: skip
    if options.data_dir:
        whole = jaxnet.load("mnist", data_dir=options.data_dir, validation=0)
        x, y = (np.asarray(part)[:5500] for part in (whole.train.x, whole.train.y))
        splits = jaxnet.split(x, y, test=1 / 11, validation=0.0, seed=0)
        yield World(
            "MNIST", splits, jaxnet.mlp((128, 64)), jaxnet.Recipe(epochs=10), options.networks,
            4, 4, (1e-2,), options.folder / "mnist",
        )  # fmt: skip


def main() -> int:
    """Measure what is missing, and print the table."""
    made = parser(__doc__, TABLE, networks=2048)
    made.add_argument("--data-dir", default="", help="the folder with the files of MNIST")
    made.add_argument("--folder", type=Path, default=Path("attribution"), help="for the networks")
    options = made.parse_args()
    jaxnet.use_cpu_devices()
    jaxnet.enable_cache()
    cases = dict[str, Callable[[], list[dict[str, object]]]]()
    for world in worlds(options):
        cases[f"{world.name}, census"] = functools.partial(of_census, world)
        cases[f"{world.name}, TRAK"] = functools.partial(of_trak, world)
        cases[f"{world.name}, TracIn"] = functools.partial(of_tracin, world)
        cases[f"{world.name}, influence"] = functools.partial(of_influence, world)
    for name in missing(options, cases, "case"):
        append(options.table, [{**row, "case": name} for row in cases[name]()], FIELDS)
    for row in read(options.table):
        print(
            f"{row['case']:20s}{row['networks']:>6s} networks, {row['setting']:16s}"
            f"score {row['score']}, two networks agree to {row['agreement']}, "
            f"{row['core_seconds']} s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
