"""Trainings with faults planted in them and what is right for each kind, and healthy trainings; for
training_faults.py.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import jaxnet
from jaxnet import Model, Recipe, Splits
from jaxnet.data import Standardization

SEEDS = 18  # of each kind


class Training(NamedTuple):
    """What is diagnosed."""

    model: Model
    splits: Splits
    recipe: Recipe


# Data


def parts(
    x: np.ndarray, y: np.ndarray, seed: int, *, test: float = 0.3, rows: int | None = None
) -> Splits:
    """Random parts of some examples; rows: so many of them."""
    kept = np.random.default_rng(seed).permutation(len(y))[:rows]
    return jaxnet.split(x[kept], y[kept], validation=0.1, test=test, seed=seed)


@functools.cache
def digits_arrays() -> tuple[np.ndarray, np.ndarray]:
    """All digits."""
    data = jaxnet.load("digits")
    every = (data.train, data.validation, data.test)
    return (
        np.concatenate([np.asarray(part.x) for part in every]),
        np.concatenate([np.asarray(part.y) for part in every]),
    )


@functools.cache
def mnist_arrays(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The first 5,000 training images of MNIST."""
    train = jaxnet.load("mnist", data_dir=folder, validation=0).train
    return np.asarray(train.x)[:5000], np.asarray(train.y)[:5000]


def digits(seed: int, _: Path, rows: int | None = None) -> Splits:
    """The digits, 70% of them for training."""
    return parts(*digits_arrays(), seed, rows=rows)


def mnist(seed: int, folder: Path) -> Splits:
    """The first 5,000 images."""
    return parts(*mnist_arrays(folder), seed, test=0.2)


def wine(seed: int, _: Path) -> Splits:
    """178 wines of three growers, 13 columns."""
    from sklearn.datasets import load_wine

    x, y = map(np.asarray, load_wine(return_X_y=True))
    return parts(x, y, seed)


def diabetes(seed: int, _: Path) -> Splits:
    """442 patients; the label is a value."""
    from sklearn.datasets import load_diabetes

    x, y = map(np.asarray, load_diabetes(return_X_y=True))
    return parts(x, y, seed)


def table(
    seed: int, _: Path, rows: int = 1400, classes: int = 4, share: float | None = None
) -> Splits:
    """12 columns in units of their own; share: of the first class."""
    from sklearn.datasets import make_classification

    x, y = make_classification(
        rows,
        12,
        n_informative=6,
        n_classes=classes,
        n_clusters_per_class=1,
        weights=None if share is None else [share],
        class_sep=1.8,
        flip_y=0.0,
        random_state=seed,
    )
    rng = np.random.default_rng([seed, 1])
    x = (x * 10 ** rng.uniform(-2, 3, 12) + 10 ** rng.uniform(-2, 3, 12)).astype(np.float32)
    return parts(x, y, seed)


def circles(seed: int, _: Path) -> Splits:
    """Two noisy circles, one in the other."""
    rng = np.random.default_rng([seed, 2])
    y = rng.integers(0, 2, 1400)
    angle, radius = rng.uniform(0, 2 * np.pi, 1400), np.where(y == 1, 0.5, 1.0)
    x = (radius * np.stack([np.cos(angle), np.sin(angle)])).T
    return parts(x + 0.05 * rng.standard_normal(x.shape), y, seed)


def noisy(seed: int, _: Path) -> Splits:
    """Labels that follow one of 10 columns, 27.6% of them drawn the other way round."""
    rng = np.random.default_rng([seed, 3])
    x = rng.standard_normal((1400, 10))
    y = np.where(rng.random(1400) < 0.276, x[:, 0] <= 0, x[:, 0] > 0).astype(int)
    return parts(x, y, seed)


def labeled(splits: Splits, change: Callable[[np.ndarray], np.ndarray]) -> Splits:
    """Other labels for all examples that networks of a diagnosis train on, which are training and
    validation set; those of the test set stay.
    """
    cut = len(splits.train)
    y = change(np.concatenate([np.asarray(splits.train.y), np.asarray(splits.validation.y)]))
    return replace(
        splits,
        train=replace(splits.train, y=jnp.asarray(y[:cut])),
        validation=replace(splits.validation, y=jnp.asarray(y[cut:])),
    )


def mislabeled(seed: int, _: Path) -> Splits:
    """The digits with 20% of the labels wrong."""

    def change(y: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng([seed, 4])
        return np.where(rng.random(len(y)) < 0.2, (y + rng.integers(1, 10, len(y))) % 10, y)

    return labeled(digits(seed, Path()), change)


# Pairs of data and model, each with a recipe that is right for it


class Pair(NamedTuple):
    """Data of a seed, a model and a recipe."""

    splits: Callable[[int, Path], Splits]
    model: Model
    recipe: Recipe

    def training(self, seed: int, folder: Path) -> Training:
        """The healthy training of a seed."""
        return Training(self.model, self.splits(seed, folder), self.recipe)


momentum = functools.partial(Recipe, optimizer="momentum", learning_rate=0.02, schedule="cosine")
SMALL_CNN = jaxnet.cnn((8, 16), (32,), stride=2)
PAIRS = {
    "digits MLP": Pair(digits, jaxnet.mlp((32, 16)), Recipe(epochs=40)),
    "digits CNN": Pair(digits, SMALL_CNN, Recipe(epochs=20, batch_size=32, learning_rate=0.01)),
    "wine MLP": Pair(wine, jaxnet.mlp((16, 16)), Recipe(epochs=60, batch_size=16)),
    "table MLP": Pair(table, jaxnet.mlp((32, 16)), Recipe(epochs=40)),
    "digits MLP, momentum": Pair(digits, jaxnet.mlp((32, 16)), momentum(epochs=40)),
    "wine MLP, momentum": Pair(wine, jaxnet.mlp((16, 16)), momentum(epochs=60, batch_size=16)),
    "table MLP, momentum": Pair(table, jaxnet.mlp((32, 16)), momentum(epochs=40)),
    "table of 10 classes MLP, momentum": Pair(
        functools.partial(table, classes=10), jaxnet.mlp((32, 16)), momentum(epochs=40)
    ),
    "MNIST MLP": Pair(mnist, jaxnet.mlp((32, 16)), Recipe(epochs=20)),
    "MNIST CNN": Pair(mnist, SMALL_CNN, Recipe(epochs=5, learning_rate=0.01)),
}
# What faults are planted in, once for each seed. Where a kind has pairs of its own, it costs too
# little in the others, as a seed outside of these has shown.
MIXED = (
    *("digits MLP", "wine MLP", "table MLP", "digits CNN") * 3,
    *("digits MLP", "wine MLP", "table MLP", "MNIST MLP", "MNIST MLP", "MNIST CNN"),
)
LONG = (*MIXED[:-1], "MNIST MLP")
STEEP = tuple(f"{name}, momentum" if f"{name}, momentum" in PAIRS else name for name in MIXED)
MANY_CLASSES = (
    *("digits MLP, momentum", "table of 10 classes MLP, momentum", "MNIST MLP") * 4,
    *("digits MLP, momentum", "table of 10 classes MLP, momentum") * 3,
)

# Faults


@dataclass(frozen=True)
class Biased:
    """First parameters of a model, but for the first layer's biases, which are far below 0."""

    model: Model

    def __call__(self, key: jax.Array, x: jax.Array, /) -> tuple[Any, Any]:
        """The parameters."""
        params, state = self.model.init(key, x)
        first = {"hidden_0", "conv_0"}

        def change(path: Any, leaf: jax.Array) -> jax.Array:
            layer, name = path[-2].key, path[-1].key
            return jnp.full_like(leaf, -100.0) if layer in first and name == "bias" else leaf

        return jax.tree_util.tree_map_with_path(change, params), state


@dataclass(frozen=True)
class Zero:
    """First parameters that are all 0."""

    model: Model

    def __call__(self, key: jax.Array, x: jax.Array, /) -> tuple[Any, Any]:
        """The parameters."""
        params, state = self.model.init(key, x)
        return jax.tree.map(jnp.zeros_like, params), state


@dataclass(frozen=True)
class Softmax:
    """A network that ends in a softmax, although the loss takes logits."""

    model: Model

    def __call__(self, *given: Any, **words: Any) -> tuple[jax.Array, Any]:
        """The probabilities."""
        outputs, state = self.model.apply(*given, **words)
        return jax.nn.softmax(outputs), state


class Sigmoids(nn.Module):
    """12 hidden layers with sigmoids."""

    outputs: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """The logits."""
        x = x.reshape(len(x), -1)
        for _ in range(12):
            x = nn.sigmoid(nn.Dense(32)(x))
        return nn.Dense(self.outputs)(x)


def rate(factor: float) -> Callable[[Training, int], Training]:
    """Another learning rate."""

    def plant(healthy: Training, _: int) -> Training:
        recipe = healthy.recipe
        assert recipe.learning_rate is not None
        return healthy._replace(
            recipe=replace(recipe, learning_rate=factor * float(np.asarray(recipe.learning_rate)))
        )

    return plant


def complete(healthy: Training) -> Model:
    """The model with as many outputs as there are classes."""
    model = healthy.model
    assert model.for_outputs is not None
    return model.for_outputs(healthy.splits.train.outputs)


def dead(healthy: Training, _: int) -> Training:
    """No unit of the first layer is ever above 0."""
    model = complete(healthy)
    return healthy._replace(model=Model(Biased(model), model.apply, f"dead {model.name}"))


def zero(healthy: Training, _: int) -> Training:
    """All first parameters are 0."""
    model = complete(healthy)
    return healthy._replace(model=Model(Zero(model), model.apply, f"zero {model.name}"))


def softmax_twice(healthy: Training, _: int) -> Training:
    """The loss computes the softmax of a softmax."""
    model = complete(healthy)
    return healthy._replace(model=Model(model.init, Softmax(model), f"softmax {model.name}"))


def sigmoids(healthy: Training, _: int) -> Training:
    """12 layers of sigmoids in place of the model."""
    module = Sigmoids(healthy.splits.train.outputs)
    return healthy._replace(model=Model.from_linen(module, name=f"{module.outputs} sigmoids"))


def unscaled(healthy: Training, _: int) -> Training:
    """Inputs a thousand times as large, which nothing scales."""
    splits = healthy.splits
    scaled = {
        name: replace(
            part,
            x=jnp.asarray(1000 * np.asarray(part.x, np.float32)),
            schema=replace(part.schema, pixel_max=None),
        )
        for name in ("train", "validation", "test")
        for part in [getattr(splits, name)]
    }
    mean = jnp.zeros_like(jnp.asarray(splits.standardization.mean))
    without = Standardization(mean, mean + 1)
    return healthy._replace(splits=replace(splits, **scaled, standardization=without))


def permuted(healthy: Training, seed: int) -> Training:
    """Labels in another order than the inputs."""
    rng = np.random.default_rng([seed, 5])
    return healthy._replace(splits=labeled(healthy.splits, rng.permutation))


def one_class(healthy: Training, seed: int) -> Training:
    """All labels but two of each class become those of one class."""

    def change(y: np.ndarray) -> np.ndarray:
        classes = healthy.splits.train.outputs
        changed = np.full_like(y, seed % classes)
        for each in range(classes):
            changed[np.flatnonzero(y == each)[:2]] = each
        return changed

    return healthy._replace(splits=labeled(healthy.splits, change))


def shorter(healthy: Training, _: int) -> Training:
    """A twentieth of the epochs."""
    recipe = healthy.recipe
    return healthy._replace(recipe=replace(recipe, epochs=recipe.epochs // 20))


class Kind(NamedTuple):
    """A kind of fault.

    Attributes:
        plant: makes the faulty training of a healthy one and a seed.
        codes: those that are right as the first finding about the training.
        remedies: those that are right as its first remedy: object, field, and in which direction
            the field is changed.
        pairs: what it is planted in, one for each seed.
    """

    plant: Callable[[Training, int], Training]
    codes: tuple[str, ...]
    remedies: tuple[tuple[str, str, str], ...]
    pairs: tuple[str, ...] = MIXED


RATE_UP, RATE_DOWN = (("Recipe", "learning_rate", "up"),), (("Recipe", "learning_rate", "down"),)
LABELS = (("Splits", "train", "set"),)
FIRST_PARAMETERS = (("Model", "init", "set"), ("Model", "initialization", "set"))
FORM = (
    ("Model", "activation", "set"),
    ("Model", "normalization", "set"),
    ("Model", "residual", "set"),
    ("Model", "hidden", "down"),
    ("Model", "depth", "down"),
    ("Model", "layers", "down"),
)
KINDS = {
    # A rate that is far too low may learn, but will not come to an end.
    "rate x0.001": Kind(rate(1e-3), ("did_not_begin_to_learn", "not_finished"), RATE_UP),
    "rate x0.01": Kind(rate(1e-2), ("did_not_begin_to_learn", "not_finished"), RATE_UP),
    "rate x30": Kind(rate(30.0), ("unstable", "diverged"), RATE_DOWN, STEEP),
    "rate x300": Kind(rate(300.0), ("unstable", "diverged"), RATE_DOWN),
    # Another activation, and a normalization before it, revive units.
    "dead relu start": Kind(dead, ("did_not_begin_to_learn",), (*FIRST_PARAMETERS, *FORM[:2])),
    "12 sigmoids": Kind(sigmoids, ("did_not_begin_to_learn",), (*FORM, *FIRST_PARAMETERS)),
    "inputs x1000": Kind(
        unscaled,
        ("inputs_not_scaled",),
        (("Splits", "standardization", "set"), ("Splits", "train", "set")),
    ),
    "softmax twice": Kind(
        softmax_twice,
        ("wrong_loss",),
        (
            ("Model", "outputs", "set"),
            ("Model", "output", "set"),
            ("Model", "apply", "set"),
            ("Model", "loss", "set"),
            ("Recipe", "loss", "set"),
        ),
        MANY_CLASSES,
    ),
    "labels permuted": Kind(permuted, ("labels_match_nothing",), LABELS),
    # Labels are to be checked; a weight for rare classes is right where they are meant so.
    "one class": Kind(
        one_class,
        ("stuck_at_majority",),
        (*LABELS, ("Recipe", "balance", "set"), ("Splits", "balance", "set")),
    ),
    "first parameters 0": Kind(zero, ("did_not_begin_to_learn",), FIRST_PARAMETERS),
    "a twentieth of the epochs": Kind(
        shorter, ("not_finished",), (("Recipe", "epochs", "up"),), LONG
    ),
}

# Healthy trainings

HEALTHY = {
    **{name: PAIRS[name] for name in dict.fromkeys(MIXED)},
    "digits MLP, momentum": PAIRS["digits MLP, momentum"],
    "digits, batch normalization": Pair(
        digits, jaxnet.mlp((32, 16), normalization="batch"), Recipe(epochs=30)
    ),
    "digits, tanh, smoothed labels": Pair(
        digits, jaxnet.mlp((32,), activation="tanh"), Recipe(epochs=60, label_smoothing=0.1)
    ),
    "digits, 3 hidden units": Pair(
        digits, jaxnet.mlp((3,)), Recipe(epochs=200, learning_rate=0.02)
    ),
    "digits, linear": Pair(digits, jaxnet.linear(), Recipe(epochs=60, learning_rate=0.01)),
    "digits, 20% wrong labels": Pair(mislabeled, jaxnet.mlp((32,)), Recipe(epochs=40)),
    "digits, 100 in all": Pair(
        functools.partial(digits, rows=100), jaxnet.mlp((32,)), Recipe(epochs=80, batch_size=16)
    ),
    "wine, AdamW, dropout": Pair(
        wine,
        jaxnet.mlp((32,)),
        Recipe(optimizer="adamw", weight_decay=0.01, dropout=0.2, epochs=80, batch_size=16),
    ),
    "diabetes, values": Pair(diabetes, jaxnet.mlp((16,)), Recipe(epochs=60, batch_size=32)),
    "table, 2 hidden units": Pair(table, jaxnet.mlp((2,)), Recipe(epochs=200, learning_rate=0.03)),
    "table, 150 rows": Pair(
        functools.partial(table, rows=150), jaxnet.mlp((32,)), Recipe(epochs=80, batch_size=16)
    ),
    "table, 92% in one class": Pair(
        functools.partial(table, classes=2, share=0.92), jaxnet.mlp((16,)), Recipe(epochs=40)
    ),
    "circles, linear": Pair(circles, jaxnet.linear(), Recipe(epochs=30)),
    "27.6% of two classes exchanged": Pair(noisy, jaxnet.mlp((16,)), Recipe(epochs=40)),
}

# Seeds of a healthy training, 200 in all; a convolution takes long.
FEWER = {"digits CNN": 7, "MNIST MLP": 4, "MNIST CNN": 2}
HEALTHY_FROM = 1000  # their seeds are so much larger


def healthy_seeds(name: str, base: int) -> range:
    """The seeds of a healthy training."""
    return range(base + HEALTHY_FROM, base + HEALTHY_FROM + FEWER.get(name, 11))
