"""Known worlds for simulations of cross-fitting: data, networks that learn from them, true errors.

A world draws a pool of examples, divides it into folds, trains two networks for each fold left out,
and measures how often these networks err on new examples. `Probit` trains nothing: its networks err
with probabilities that are chosen.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

FOLDS, SEEDS = 8, 2
COLUMNS = 10
TRAINING_SET, VALIDATION_SET = 0.7, 0.1  # shares of the examples, where a validation set judges
ELSEWHERE = (100, 400)  # sizes of the test sets that may come from elsewhere


class Pool(NamedTuple):
    """Examples: (examples, columns) inputs, labels, and the group of each if they have groups."""

    x: np.ndarray
    y: np.ndarray
    group_of: np.ndarray | None


class Study(NamedTuple):
    """What one study measures.

    Attributes:
        losses: (networks, examples) losses of cross-fitted networks on their pool.
        seen: (networks, examples) which examples each network was trained on.
        group_of: (examples,) group of each example, or None.
        errors: (networks,) error of each network on endless (or many) new examples.
        other_losses: losses of the networks of another recipe, on the same folds; None without.
        other_errors: their errors on new examples.
        one_split: (networks, examples) losses of networks that all trained on one training set, the
            first examples; None where nobody asked.
        elsewhere: name and (losses, groups) of the networks on each test set.
    """

    losses: np.ndarray
    seen: np.ndarray
    group_of: np.ndarray | None
    errors: np.ndarray
    other_losses: np.ndarray | None
    other_errors: np.ndarray | None
    one_split: np.ndarray | None
    elsewhere: dict[str, tuple[np.ndarray, np.ndarray | None]]


def grouped(size: int, examples: int) -> np.ndarray | None:
    """The group of each example; None for groups of one."""
    return np.arange(examples) // size if size > 1 else None


def folds(pool: Pool, rng: np.random.Generator) -> np.ndarray:
    """The fold of each example: whole groups, else classes spread evenly."""
    if pool.group_of is not None:
        return (rng.permutation(pool.group_of[-1] + 1) % FOLDS)[pool.group_of]
    order = rng.permutation(len(pool.y))
    if pool.y.dtype.kind == "i":
        order = order[np.argsort(pool.y[order], kind="stable")]
    fold_of = np.empty(len(order), np.int64)
    fold_of[order] = np.arange(len(order)) % FOLDS
    return fold_of


def seen_by(fold_of: np.ndarray, seeds: int = SEEDS) -> np.ndarray:
    """(networks, examples) which examples each network is trained on."""
    return np.repeat(fold_of != np.arange(FOLDS)[:, None], seeds, 0)


class Blobs(NamedTuple):
    """Classes with normal inputs about a mean of their own.

    Attributes:
        classes: number of classes.
        distance: of the two means; of each mean from 0 where there are more classes.
        wrong: share of labels that name another class than the right one.
        group: examples in each group.
        alike: share of the variance of the inputs that examples of a group have in common.
        one_label: whether the examples of a group have one label.
    """

    classes: int = 2
    distance: float = 1.7
    wrong: float = 0.0
    group: int = 1
    alike: float = 0.5
    one_label: bool = False

    def means(self) -> np.ndarray:
        """(classes, columns) means."""
        if self.classes == 2:
            return self.distance * np.outer([-0.5, 0.5], np.eye(COLUMNS)[0])
        found = np.random.default_rng(3).standard_normal((self.classes, COLUMNS))
        return self.distance * found / np.linalg.norm(found, axis=1, keepdims=True)

    def draw(self, examples: int, rng: np.random.Generator, *, shifted: bool = False) -> Pool:
        """Draw examples; shifted ones have half a unit more in every input."""
        group_of = grouped(self.group, examples)
        units = -(-examples // self.group)
        y = rng.integers(0, self.classes, units if self.one_label else examples)
        if self.one_label and group_of is not None:
            y = y[group_of]
        x = rng.standard_normal((examples, COLUMNS), dtype=np.float32)
        if group_of is not None:
            common = rng.standard_normal((units, COLUMNS), dtype=np.float32)[group_of]
            x = math.sqrt(1 - self.alike) * x + math.sqrt(self.alike) * common
        x = (x + self.means()[y] + 0.5 * shifted).astype(np.float32)
        wrong = rng.random(examples) < self.wrong
        return Pool(
            x, (y + wrong * rng.integers(1, self.classes, examples)) % self.classes, group_of
        )

    def risk(self, x: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        """(networks, examples) how probable it is that a prediction for these inputs is wrong."""
        means = self.means()
        score = x @ means.T - 0.5 * (means**2).sum(1)
        right = np.exp(score - score.max(1, keepdims=True))
        right /= right.sum(1, keepdims=True)
        named = (1 - self.wrong) * right + self.wrong * (1 - right) / (self.classes - 1)
        return 1 - named[np.arange(len(x)), predictions]


class Curve(NamedTuple):
    """A regression with normal noise, whose spread may grow with the size of an input."""

    uneven: bool = False
    classes: int = 0
    group: int = 1

    def draw(self, examples: int, rng: np.random.Generator, *, shifted: bool = False) -> Pool:
        """Draw examples; shifted ones have half a unit more in every input."""
        x = rng.standard_normal((examples, COLUMNS), dtype=np.float32) + np.float32(0.5 * shifted)
        value, spread = self.mean_and_spread(x)
        return Pool(x, (value + spread * rng.standard_normal(examples)).astype(np.float32), None)

    def mean_and_spread(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the value at these inputs."""
        value = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.5 * x[:, 3]
        return value, 0.15 + 0.5 * np.abs(x[:, 0]) if self.uneven else np.full(len(x), 0.5)

    def risk(self, x: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        """(networks, examples) expected squared errors of predictions for these inputs."""
        value, spread = self.mean_and_spread(x)
        return (predictions - value) ** 2 + spread**2


# Learners: (x, y, number of classes, rows of each network, new inputs, setting, rng) to predictions
# (networks, new examples). A network has luck of its own: its features, inputs, splits or weights.
Learner = Callable[..., Any]


def _targets(y: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[y] if classes else y[:, None]


def _answers(scores: np.ndarray, classes: int) -> np.ndarray:
    return scores.argmax(-1) if classes else scores[..., 0]


def random_features(
    x: np.ndarray,
    y: np.ndarray,
    classes: int,
    rows: list,
    new: np.ndarray,
    penalty: float,
    rng: Any,
) -> np.ndarray:
    """Ridge regression on 40 random tanh units."""
    found, width = [], 40
    for of_network in rows:
        kernel = rng.standard_normal((COLUMNS, width), dtype=np.float32) / 2
        offset = rng.standard_normal(width, dtype=np.float32)
        a, b = (np.tanh(each @ kernel + offset) for each in (x[of_network], new))
        gram = a.T @ a + penalty * np.eye(width, dtype=np.float32)
        found.append(
            _answers(b @ np.linalg.solve(gram, a.T @ _targets(y[of_network], classes)), classes)
        )
    return np.stack(found)


def least_squares(
    x: np.ndarray, y: np.ndarray, classes: int, rows: list, new: np.ndarray, inputs: int, rng: Any
) -> np.ndarray:
    """Least squares on some of the inputs, the first two among them."""
    found = []
    for of_network in rows:
        chosen = np.r_[0, 1, 2 + rng.permutation(COLUMNS - 2)[: inputs - 2]]
        a, b = (
            np.c_[each[:, chosen], np.ones(len(each), np.float32)] for each in (x[of_network], new)
        )
        gram = a.T @ a + 1e-3 * np.eye(a.shape[1], dtype=np.float32)
        found.append(
            _answers(b @ np.linalg.solve(gram, a.T @ _targets(y[of_network], classes)), classes)
        )
    return np.stack(found)


def nearest_neighbors(
    x: np.ndarray,
    y: np.ndarray,
    classes: int,
    rows: list,
    new: np.ndarray,
    setting: tuple,
    rng: Any,
) -> np.ndarray:
    """A vote of the nearest neighbors (how many) in random directions (how many)."""
    count, dimensions = setting
    found = []
    for of_network in rows:
        directions = rng.standard_normal((COLUMNS, dimensions), dtype=np.float32)
        a, b = x[of_network] @ directions, new @ directions
        distance = (a**2).sum(1) - 2 * b @ a.T
        near = (
            distance.argmin(1)[:, None]
            if count == 1
            else np.argpartition(distance, count, axis=1)[:, :count]
        )
        found.append(_targets(y[of_network], classes)[near].sum(1).argmax(1))
    return np.stack(found)


def trees(
    x: np.ndarray, y: np.ndarray, classes: int, rows: list, new: np.ndarray, leaf: int, rng: Any
) -> np.ndarray:
    """Decision trees that look at five random inputs in each split."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    kind = DecisionTreeClassifier if classes else DecisionTreeRegressor
    return np.stack(
        [
            kind(max_features=5, min_samples_leaf=leaf, random_state=int(rng.integers(1 << 31)))
            .fit(x[of_network], y[of_network])
            .predict(new)
            for of_network in rows
        ]
    )


@cache
def _mlp_program(classes: int, epochs: int) -> Callable[..., Any]:
    """A compiled function that trains jaxnet's MLP on the rows of each network of each pool."""
    import jax
    import jax.numpy as jnp

    import jaxnet
    from jaxnet.data import Dataset, Splits, Standardization

    model, names = jaxnet.mlp((16,)), tuple(map(str, range(classes))) or None
    recipe = jaxnet.Recipe(epochs=epochs, batch_size=64, learning_rate=0.03, schedule="constant")
    one = jnp.float32(1)

    def train(x, y, rows, count, key, new):
        part = Dataset(x, y, names)
        none = Dataset(x[:0], y[:0], names)
        same = Standardization(0 * one, one, *(() if classes else (0 * one, one)))
        run = jaxnet.fit(model, Splits(part, none, none, same), recipe, key, sample=(rows, count))
        return jaxnet.predict(model, run, new)

    of_networks = jax.vmap(train, (None, None, 0, 0, 0, None))
    return jax.jit(jax.vmap(of_networks))


def mlps(
    pools: Sequence[Pool],
    classes: int,
    rows: list[list],
    new: list[np.ndarray],
    epochs: int,
    rngs: list,
) -> list[np.ndarray]:
    """Predictions of jaxnet's MLP, for many pools at once."""
    import jax

    n, networks = len(pools[0].y), len(rows[0])
    padded = np.zeros((len(pools), networks, n), np.int32)
    counts = np.array([[len(r) for r in each] for each in rows], np.int32)
    for i, each in enumerate(rows):
        for j, r in enumerate(each):
            padded[i, j, : len(r)] = r
    keys = jax.vmap(lambda seed: jax.random.split(jax.random.key(seed), networks))(
        np.array([rng.integers(1 << 31) for rng in rngs], np.uint32)
    )
    x, y = np.stack([p.x for p in pools]), np.stack([p.y for p in pools])
    y = y.astype(np.int32) if classes else y.astype(np.float32)
    outputs = np.asarray(_mlp_program(classes, epochs)(x, y, padded, counts, keys, np.stack(new)))
    return list(outputs.argmax(-1) if classes else outputs.reshape(*outputs.shape[:3]))


class Learned(NamedTuple):
    """A world in which networks learn.

    Attributes:
        data: draws pools.
        examples: in a pool.
        learner: trains; a function of one pool, or `mlps`.
        setting: of the recipe.
        other: setting of the other recipe.
        fresh: new examples that judge each network.
    """

    data: Any
    examples: int
    learner: Learner
    setting: Any
    other: Any
    fresh: int

    def losses(self, predictions: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(networks, examples) losses: whether wrong, or squared errors."""
        return predictions != y if self.data.classes else (predictions - y).astype(float) ** 2

    def studies(self, rngs: Sequence[np.random.Generator], one_split: bool) -> list[Study]:
        """Draw one study for each generator."""
        data, n = self.data, self.examples
        pools = [data.draw(n, rng) for rng in rngs]
        seen = [seen_by(folds(pool, rng)) for pool, rng in zip(pools, rngs, strict=True)]
        same = [[data.draw(m, rng) for m in ELSEWHERE] for rng in rngs]
        moved = [[data.draw(m, rng, shifted=True) for m in ELSEWHERE] for rng in rngs]
        alone = data._replace(group=1)
        fresh = [alone.draw(self.fresh, rng) for rng in rngs]
        parts = [
            [pool, *a, *b, new] for pool, a, b, new in zip(pools, same, moved, fresh, strict=True)
        ]
        new_x = [np.concatenate([part.x for part in each]) for each in parts]
        new_y = [np.concatenate([part.y for part in each]) for each in parts]
        ends = np.cumsum([len(part.y) for part in parts[0]])[:-1]

        def train(setting: Any, rows: list[list[np.ndarray]], inputs: list[np.ndarray]) -> list:
            if self.learner is mlps:
                return mlps(pools, data.classes, rows, inputs, setting, list(rngs))
            return [
                self.learner(pool.x, pool.y, data.classes, each, x, setting, rng)
                for pool, each, x, rng in zip(pools, rows, inputs, rngs, strict=True)
            ]

        rows = [[np.flatnonzero(of) for of in each] for each in seen]
        first, second = train(self.setting, rows, new_x), train(self.other, rows, new_x)
        split = [None] * len(rngs)
        if one_split:
            training_set = [np.arange(round(TRAINING_SET * n))] * (FOLDS * SEEDS)
            split = [
                self.losses(predictions, pool.y)
                for predictions, pool in zip(
                    train(self.setting, [training_set] * len(rngs), [pool.x for pool in pools]),
                    pools,
                    strict=True,
                )
            ]
        found = []
        for i, pool in enumerate(pools):
            own = np.split(self.losses(first[i], new_y[i]), ends, axis=1)
            other = self.losses(second[i][:, : ends[0]], pool.y)
            errors, other_errors = (
                data.risk(fresh[i].x, each[i][:, ends[-1] :]).mean(1) for each in (first, second)
            )
            names = [f"{m} {kind}" for kind in ("alike", "shifted") for m in ELSEWHERE]
            found.append(
                Study(
                    own[0],
                    seen[i],
                    pool.group_of,
                    errors,
                    other,
                    other_errors,
                    split[i],
                    {
                        name: (losses, part.group_of)
                        for name, losses, part in zip(names, own[1:-1], parts[i][1:-1], strict=True)
                    },
                )
            )
        return found


class Probit(NamedTuple):
    """A world of networks that err with known probabilities.

    A network errs where the difficulty of an example, which networks share, and noise are together
    below a threshold; the threshold moves with the network and with its training set.

    Attributes:
        examples: in a pool.
        unseen: error on unseen examples, of the recipe.
        seen: error on seen examples, of the recipe.
        network: standard deviation of the thresholds over networks.
        training: standard deviation of the thresholds over training sets.
        shared: share of the variance that an example keeps from network to network.
        group: examples in each group.
        alike: share of the difficulty that examples of a group have in common.
        other: unseen error of the other recipe.
        mismatch: how much larger the error elsewhere is where the test set is shifted.
        seeds: networks for each fold.
    """

    examples: int
    unseen: float
    seen: float
    network: float = 0.05
    training: float = 0.0
    shared: float = 0.7
    group: int = 1
    alike: float = 0.5
    other: float | None = None
    mismatch: float = 0.03
    seeds: int = SEEDS

    def threshold(self, error: float) -> float:
        """The threshold of a recipe with this error."""
        from scipy.special import ndtri

        return float(ndtri(error)) * math.sqrt(1 + self.network**2 + self.training**2)

    def difficulties(
        self, examples: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Difficulties of examples, and their groups."""
        found, group_of = rng.standard_normal(examples), grouped(self.group, examples)
        if group_of is not None:
            common = rng.standard_normal(group_of[-1] + 1)[group_of]
            found = math.sqrt(1 - self.alike) * found + math.sqrt(self.alike) * common
        return math.sqrt(self.shared) * found, group_of

    def wrong(
        self, difficulty: np.ndarray, below: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """(networks, examples) whether each network errs."""
        shape = FOLDS * self.seeds, len(difficulty)
        noise = rng.standard_normal(shape, dtype=np.float32)
        return difficulty + math.sqrt(1 - self.shared) * noise < below

    def start(
        self, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray]:
        """Draw difficulties of a pool, groups, what each network sees, and its threshold's luck."""
        difficulty, group_of = self.difficulties(self.examples, rng)
        seen = seen_by(folds(Pool(difficulty, difficulty, group_of), rng), self.seeds)
        luck = self.network * rng.standard_normal(FOLDS * self.seeds)
        luck += np.repeat(self.training * rng.standard_normal(FOLDS), self.seeds)
        return difficulty, group_of, seen, luck

    def studies(self, rngs: Sequence[np.random.Generator], one_split: bool) -> list[Study]:
        """Draw one study for each generator."""
        return [self.study(rng, one_split) for rng in rngs]

    def study(self, rng: np.random.Generator, one_split: bool) -> Study:
        """Draw one study."""
        from scipy.special import ndtr

        difficulty, group_of, seen, luck = self.start(rng)
        high, low = self.threshold(self.unseen), self.threshold(self.seen)
        second = self.threshold(1.2 * self.unseen if self.other is None else self.other)
        again = luck[:, None] + 0.5 * self.network * rng.standard_normal((FOLDS * self.seeds, 1))
        elsewhere = {}
        for kind, below in (
            ("alike", high),
            ("shifted", self.threshold(self.unseen + self.mismatch)),
        ):
            for m in ELSEWHERE:
                there, its_groups = self.difficulties(m, rng)
                elsewhere[f"{m} {kind}"] = self.wrong(there, below + luck[:, None], rng), its_groups
        split = None
        if one_split:
            of_split = self.network * rng.standard_normal((FOLDS * self.seeds, 1))
            of_split += self.training * rng.standard_normal()
            trained_on = np.arange(self.examples) < round(TRAINING_SET * self.examples)
            split = self.wrong(difficulty, np.where(trained_on, low, high) + of_split, rng)
        spread = math.sqrt(1 + 0.25 * self.network**2 / (1 + self.network**2 + self.training**2))
        return Study(
            self.wrong(difficulty, np.where(seen, low, high) + luck[:, None], rng),
            seen,
            group_of,
            ndtr(high + luck),
            self.wrong(difficulty, np.where(seen, low, spread * second) + again, rng),
            ndtr(spread * second + again[:, 0]),
            split,
            elsewhere,
        )


WORLDS: dict[str, Learned | Probit] = {
    "probit, 150, 5%": Probit(150, 0.05, 0.02),
    "probit, 150, 1%": Probit(150, 0.01, 0.002),
    "probit, 300, 45%": Probit(300, 0.45, 0.4),
    "probit, 300, 20%": Probit(300, 0.2, 0.02),
    "probit, 1000, 1%": Probit(1000, 0.01, 0.002),
    "probit, 1000, 5%, networks differ": Probit(1000, 0.05, 0.02, network=0.3),
    "probit, 1000, 20%, training sets differ": Probit(1000, 0.2, 0.1, training=0.1),
    "probit, 10000, 1%": Probit(10_000, 0.01, 0.005),
    "probit, 10000, 20%": Probit(10_000, 0.2, 0.1),
    "probit, groups of 2, 60 of them, 20%": Probit(120, 0.2, 0.1, group=2),
    "probit, groups of 2, 500 of them, 5%": Probit(1000, 0.05, 0.02, group=2),
    "probit, groups of 10, 24 of them, 20%": Probit(240, 0.2, 0.1, group=10, alike=0.7),
    "probit, groups of 10, 100 of them, 5%": Probit(1000, 0.05, 0.02, group=10, alike=0.7),
    "probit, groups of 50, 24 of them, 20%": Probit(1200, 0.2, 0.1, group=50, alike=0.7),
    "probit, groups of 50, 40 of them, 5%": Probit(2000, 0.05, 0.02, group=50, alike=0.7),
    "features, 150": Learned(Blobs(), 150, random_features, 1.0, 10.0, 1500),
    "features, 300, 10 classes": Learned(Blobs(10, 2.5), 300, random_features, 1.0, 10.0, 1500),
    "features, 300, 20% wrong labels": Learned(
        Blobs(distance=3.0, wrong=0.2), 300, random_features, 1.0, 10.0, 1500
    ),
    "features, 1000, 20% wrong labels": Learned(
        Blobs(distance=3.0, wrong=0.2), 1000, random_features, 1.0, 10.0, 4000
    ),
    "features, 1000, 10 classes, 5%": Learned(
        Blobs(10, 4.0), 1000, random_features, 1.0, 10.0, 4000
    ),
    "features, 300, groups of 5": Learned(Blobs(group=5), 300, random_features, 1.0, 10.0, 1500),
    "features, 1000, groups of 10": Learned(
        Blobs(group=10, one_label=True), 1000, random_features, 1.0, 10.0, 4000
    ),
    "features, 1200, groups of 50": Learned(
        Blobs(group=50, one_label=True), 1200, random_features, 1.0, 10.0, 4000
    ),
    "features, 300, values": Learned(Curve(), 300, random_features, 1.0, 10.0, 1500),
    "features, 1000, values, uneven noise": Learned(
        Curve(uneven=True), 1000, random_features, 1.0, 10.0, 4000
    ),
    "least squares, 10000": Learned(Blobs(), 10_000, least_squares, 6, 4, 30_000),
    "neighbors, 300, 5 of them": Learned(Blobs(), 300, nearest_neighbors, (5, 6), (1, 6), 1000),
    "neighbors, 1000, 10 classes, the nearest": Learned(
        Blobs(10, 4.0), 1000, nearest_neighbors, (1, 6), (1, 4), 2000
    ),
    "trees, 150, leaves of 5": Learned(Blobs(), 150, trees, 5, 15, 1500),
    "trees, 300, 20% wrong labels, leaves of 1": Learned(
        Blobs(distance=3.0, wrong=0.2), 300, trees, 1, 5, 1500
    ),
    "trees, 1000, 10 classes, leaves of 1": Learned(Blobs(10, 4.0), 1000, trees, 1, 5, 4000),
    "trees, 1000, values, leaves of 5": Learned(Curve(uneven=True), 1000, trees, 5, 15, 4000),
    "MLP, 150, 10 classes": Learned(Blobs(10, 4.0), 150, mlps, 20, 5, 1500),
    "MLP, 300": Learned(Blobs(), 300, mlps, 20, 5, 1500),
    "MLP, 300, 20% wrong labels": Learned(Blobs(distance=3.0, wrong=0.2), 300, mlps, 30, 5, 1500),
    "MLP, 300, values": Learned(Curve(), 300, mlps, 30, 10, 1500),
}
