"""Small generated tasks, of which any number of fresh examples can be drawn.

A task draws inputs and labels with a random generator. Its classes lie where they lie, whatever the
generator: only the examples differ between seeds.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxnet import Splits
from jaxnet.data import Dataset, Schema, Standardization

Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
SIDE = 8  # pixels of an image along each axis
EDGE = 2  # pixels around what an image shows, which leave room to move it


def circles(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two noisy circles, one in the other."""
    y = rng.integers(0, 2, count)
    angle, radius = rng.uniform(0, 2 * np.pi, count), np.where(y == 1, 0.5, 1.0)
    x = (radius * np.stack([np.cos(angle), np.sin(angle)])).T
    return x + 0.05 * rng.standard_normal((count, 2)), y


def clusters(classes: int, each: int, columns: int, spread: float) -> Draw:
    """Every class consists of several normal clusters, whose centers are standard normal."""
    centers = np.random.default_rng([classes, each, columns]).standard_normal(
        (classes * each, columns)
    )

    def draw(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        at = rng.integers(0, len(centers), count)
        return centers[at] + spread * rng.standard_normal((count, columns)), at % classes

    return draw


def two_classes(columns: int, distance: float, rare: float = 0.5) -> Draw:
    """Two normal classes; all columns tell them apart, each a little. A linear model is the best.

    Args:
        columns: number of columns.
        distance: between the means, in standard deviations.
        rare: share of the second class.
    """

    def draw(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        y = (rng.random(count) < rare).astype(int)
        x = rng.standard_normal((count, columns))
        return x + distance * (y[:, None] - 0.5) / np.sqrt(columns), y

    return draw


def figures(classes: int, noise: float, moved: int = 0) -> Draw:
    """Small images: each class has a figure of random pixels, in the middle or moved by up to so
    many pixels along each axis.
    """
    inner = SIDE - 2 * EDGE
    shown = np.random.default_rng([classes, inner]).random((classes, inner, inner)) < 0.5

    def draw(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        y = rng.integers(0, classes, count)
        x = noise * rng.standard_normal((count, SIDE, SIDE))
        down, right = EDGE + rng.integers(-moved, moved + 1, (2, count))
        at = np.arange(inner)
        rows, columns = down[:, None] + at, right[:, None] + at
        x[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None]] += shown[y]
        return x, y

    return draw


def guessed(draw: Draw, share: float) -> Draw:
    """The labels of a share of the examples are drawn at random, whatever the inputs."""

    def drawn(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        x, y = draw(rng, count)
        return x, np.where(rng.random(count) < share, rng.permutation(y), y)

    return drawn


def mislabeled(
    y: np.ndarray, share: float, classes: int, rng: np.random.Generator, only: int | None = None
) -> np.ndarray:
    """Give a share of the examples another label than their own.

    Args:
        y: their labels.
        share: the share.
        classes: number of classes.
        rng: the random generator.
        only: the class whose examples get wrong labels; by default all.
    """
    rows = rng.permutation(len(y) if only is None else np.flatnonzero(y == only))
    wrong = rows[: round(share * len(rows))]
    y = y.copy()
    y[wrong] = (y[wrong] + rng.integers(1, classes, len(wrong))) % classes
    return y


def dataset(x: np.ndarray, y: np.ndarray, classes: int) -> Dataset:
    """Examples of these classes."""
    names = tuple(str(each) for each in range(classes))
    return Dataset(x.astype(np.float32), y.astype(np.int32), schema=Schema(classes=names))


def splits(
    draw: Draw,
    classes: int,
    sizes: tuple[int, int, int],
    seed: int,
    *,
    wrong: float = 0.0,
    wrong_class: int | None = None,
    used: Draw | None = None,
    target: int = 0,
) -> Splits:
    """Draw the data set of a seed.

    Args:
        draw: the task.
        classes: number of classes.
        sizes: of training, validation and test set.
        seed: another one, other examples.
        wrong: share of labels of training and validation set that are replaced by others.
        wrong_class: the class of which it is the share; by default all.
        used: the task where the network is used, of which the test set and a target sample are
            drawn.
        target: size of the target sample.
    """
    rng = np.random.default_rng([seed, 1])
    given: dict[str, Any] = {"test_source": "random"}
    parts = []
    for size in sizes[:2]:
        x, y = draw(rng, size)
        parts.append(dataset(x, mislabeled(y, wrong, classes, rng, wrong_class), classes))
    parts.append(dataset(*(used or draw)(rng, sizes[2]), classes))
    if used is not None:
        given = {"target_sample": dataset(*used(rng, target), classes), "test_source": "own"}
    return Splits(*parts, standardization=Standardization.of(parts[0]), **given)
