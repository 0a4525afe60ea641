"""The nouns of data: a Dataset, the Standardisation that inputs go through, and the Splits a network is judged with."""

import functools
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from ..errors import InputError
from ..typing import Rebuilt

Floats = np.ndarray | np.floating


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Dataset:
    """Examples and what they mean, as `load` and `split` make and check them.

    x: (examples, ...) uint8 or float32; images are (examples, height, width[, channels]).
    y: (examples,) int32 class indices, or float32 values of a regression.
    classes: a name a class; None says that this is a regression.
    white: the value of a white pixel where x are images, to read and draw pictures; else None.
    """

    x: Num[Array | np.ndarray, "examples ..."] | Rebuilt
    y: Num[Array | np.ndarray, " examples"] | Rebuilt
    classes: tuple[str, ...] | None = field(default=None, metadata={"static": True})
    white: float | None = field(default=None, metadata={"static": True})

    def __len__(self) -> int:
        return len(self.y)

    @property
    def outputs(self) -> int:
        """How many numbers a network gives for one example: one a class, or one value."""
        return 1 if self.classes is None else len(self.classes)


class Standardisation(NamedTuple):
    """Mean and scale of the training set: one pair for all pixels of images, one a column of a table.

    mean, scale: () or (features,) float32. target_mean, target_scale: () float32, None for classes.
    """

    mean: Float[Array, "..."]
    scale: Float[Array, "..."]
    target_mean: Float[Array, ""] | None = None
    target_scale: Float[Array, ""] | None = None

    def inputs(self, x: Num[Array | np.ndarray, "..."]) -> Float[Array, "..."]:
        """Inputs with the training set's mean 0 and standard deviation 1, as float32."""
        return standardised(x, self.mean, 1 / self.scale)

    def targets(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        """Values of a regression, standardised like the inputs."""
        assert self.target_mean is not None
        assert self.target_scale is not None
        return (y - self.target_mean) / self.target_scale

    def values(self, outputs: Float[Array, "..."]) -> Float[Array, "..."]:
        """What `targets` made of them, undone: in the units of y."""
        assert self.target_mean is not None
        assert self.target_scale is not None
        return outputs * self.target_scale + self.target_mean

    @classmethod
    def of(cls, train: Dataset, weights: Float[np.ndarray, " examples"] | None = None) -> "Standardisation":
        """The statistics of a training set. A constant column keeps scale 1, so it becomes 0.

        weights: how often each example counts; once if not given.
        """
        moments_of = _moments if weights is None else functools.partial(_weighted_moments, weights)
        mean, deviation = moments_of(np.asarray(train.x))
        moments = [mean, _scale(mean, deviation)]
        if train.classes is None:
            mean, deviation = moments_of(np.asarray(train.y)[:, None])
            moments += [np.ravel(mean)[0], np.ravel(_scale(mean, deviation))[0]]
        return cls(*jax.device_put([np.float32(a) for a in moments]))


def standardised(x: Num[Array | np.ndarray, "..."], mean: Float[Array, "..."], factor: Float[Array, "..."]) -> Float[Array, "..."]:
    """(x - mean) * factor as float32."""
    mean, factor = (jnp.broadcast_to(a, x.shape) for a in (mean, factor))
    return (jnp.asarray(x, jnp.float32) - mean) * factor


class Column(NamedTuple):
    """A column of a table: a number, or one of these categories, which become an input each that is 1 or 0."""

    name: str
    categories: tuple[str, ...] | None = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Splits:
    """One data set in the parts that a network learns from, is chosen with and is judged on.

    train: a Dataset, or a Stream of one on disk. validation may be empty.
    target_sample: examples from where the network will be used, if there are any.
    columns: what the inputs were made of, where they come from a table. notes: what was decided while it was read.
    """

    train: Dataset | Rebuilt
    validation: Dataset
    test: Dataset
    standardisation: Standardisation
    target_sample: Dataset | None = None
    name: str = field(default="arrays", metadata={"static": True})
    columns: tuple[Column, ...] | None = field(default=None, metadata={"static": True})
    notes: tuple[str, ...] = field(default=(), metadata={"static": True})

    @property
    def classes(self) -> tuple[str, ...] | None:
        """A name a class; None for a regression."""
        return self.train.classes


def class_weights(dataset: Dataset) -> Float[Array, " examples"]:
    """A weight an example, so that every class counts the same and the mean weight is 1 (King & Zeng 2001, eq. 8)."""
    if dataset.classes is None:
        raise InputError("class weights need classes, but this is a regression; leave them out")
    y = np.asarray(dataset.y)
    counts = np.bincount(y, minlength=dataset.outputs)
    return jax.device_put((len(y) / (dataset.outputs * counts)[y]).astype(np.float32))


def _moments(x: np.ndarray) -> tuple[Floats, Floats]:
    """Mean and standard deviation in float64: over all pixels of images, else a column at a time."""
    if x.ndim > 2:
        chunks = [chunk.reshape(-1) for chunk in np.array_split(x, -(-x.size // 100_000))]
        mean = sum(float(c.sum(dtype=np.float64)) for c in chunks) / x.size
        # Squared around the mean as float32, which costs no digits, and put right for its rounding; float32 sums of
        # 100,000 pixels are off by less than 1e-6.
        near = np.float32(mean)
        squares = sum(float(np.dot(f, f)) for f in (c.astype(np.float32) - near for c in chunks))
        return np.asarray(mean), np.sqrt(np.maximum(squares / x.size - (mean - float(near)) ** 2, 0.0))
    mean = x.mean(0, dtype=np.float64)
    return mean, np.sqrt(sum(_squares(chunk, mean) for chunk in np.array_split(x, -(-x.size // 10_000_000))) / len(x))


def _squares(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Each column's sum of squared deviations, added row after row in float64, of which few are in memory at a time."""
    if x.shape[1] == 1:  # which NumPy adds up in pairs
        return np.square(x - mean).sum(0)
    few = min(len(x), max(1, 250_000 // x.shape[1]))
    rows = np.zeros((few + 1, x.shape[1]))
    for begin in range(0, len(x), few):
        part = x[begin : begin + few]
        squares = np.subtract(part, mean, out=rows[1 : len(part) + 1])
        np.square(squares, out=squares)
        rows[0] = rows[: len(part) + 1].sum(0)
    return rows[0]


def _weighted_moments(weights: np.ndarray, x: np.ndarray) -> tuple[Floats, Floats]:
    """The same of examples that count as often as their weights say."""
    share, axes = weights.astype(np.float64) / weights.sum(dtype=np.float64), tuple(range(1, x.ndim)) if x.ndim > 2 else ()
    mean = share @ x.mean(axes, dtype=np.float64)
    return mean, np.sqrt(share @ np.square(x - mean).mean(axes))


def _scale(mean: Floats, deviation: Floats) -> np.ndarray:
    """The deviation, or 1 where it is nothing but rounding of a constant."""
    return np.where(deviation > 1e-6 * np.abs(mean), np.where(deviation > 0, deviation, 1.0), 1.0)
