"""The nouns of data: a Dataset, its Standardization, and the Splits with which a network is trained
and judged.
"""

import functools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from jaxnet import display
from jaxnet.data.precision import Origin, moments, origin_of
from jaxnet.data.schema import Column, HasSchema, Schema, takes_parts_of_schema
from jaxnet.errors import InputError, check_kind, renamed
from jaxnet.typing import Rebuilt

Floats = np.ndarray | np.floating
C = TypeVar("C")


TestSource = Literal["random", "ordered", "own"]


# Registered by the names of its fields, before it is a dataclass, so that JAX does not ask for
# groups: they stay on the host, and decide neither what is compiled nor what is computed.
@renamed(white="pixel_max")
@takes_parts_of_schema
@dataclass(frozen=True)
@functools.partial(
    jax.tree_util.register_dataclass, data_fields=("x", "y"), meta_fields=("schema",)
)
class Dataset(HasSchema):
    """Examples and what they mean, as `load` and `split` make and check them.

    Made as `Dataset(x, y, schema=schema)` or `Dataset(x, y, classes, pixel_max, columns=columns)`.

    Attributes:
        x: (examples, ...) uint8 or float32; images are (examples, height, width[, channels]).
            int32 where inputs are tokens.
            float64, as a NumPy array on the host, where float32 could not tell the values of a
            column apart.
        y: (examples,) int32 class indices, or float32 values of a regression; float64 as for x.
            (examples, columns) where each example has several values, or several yes/no labels,
            int32 of 0 and 1.
        schema: what inputs and labels mean; the Dataset has its `classes`, `pixel_max` and
            `columns`, too.
        groups: (examples,) integers on the host: the number of the person or thing that each
            example belongs to, the same in all parts of a data set; None where each example stands
            for itself. Operations on pytrees (jax.jit, jax.tree.map, jax.device_put) leave it out.
    """

    x: Num[Array | np.ndarray, "examples ..."] | Rebuilt
    y: Num[Array | np.ndarray, "examples ..."] | Rebuilt
    schema: Schema = field(default=Schema(), metadata={"static": True})
    groups: Int[np.ndarray, " examples"] | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            x: Num[Array | np.ndarray, "examples ..."],
            y: Num[Array | np.ndarray, "examples ..."],
            classes: tuple[str, ...] | None = None,
            pixel_max: float | None = None,
            groups: Int[np.ndarray, " examples"] | None = None,
            columns: tuple[Column, ...] | None = None,
            *,
            label: Column | None = None,
            grouped_by: str | None = None,
            targets: tuple[Column, ...] | None = None,
            multi_label: bool = False,
            schema: Schema = ...,
        ) -> None: ...

    __repr__ = display.text

    def __len__(self) -> int:
        return len(self.y)


class Standardization(NamedTuple):
    """Mean and scale of the training set: one pair for all pixels of images, one for each column of
    a table, none for tokens.

    Attributes:
        mean: () or (features,) float32; None for tokens.
        scale: () or (features,) float32; None for tokens.
        target_mean: () float32, or (columns,) where y has several; None for classes and labels.
        target_scale: likewise.
        origin: what is subtracted from inputs in float64 if float32 cannot hold them; mean and
            scale then describe the result. None otherwise.
        target_origin: the same for y.
    """

    mean: Float[Array, "..."] | None
    scale: Float[Array, "..."] | None
    target_mean: Float[Array, "..."] | None = None
    target_scale: Float[Array, "..."] | None = None
    origin: Origin | None = None
    target_origin: Origin | None = None

    __repr__ = display.text

    def inputs(self, x: Num[Array | np.ndarray, "..."]) -> Num[Array, "..."]:
        """Inputs whose mean and standard deviation over the training set are 0 and 1; tokens as
        they are.

        Args:
            x: (examples, ...) inputs in their own units.

        Returns:
            (examples, ...) float32; int32 for tokens.

        Raises:
            InputError: as `Origin.centered` does.
        """
        if self.mean is None or self.scale is None:
            return jnp.asarray(x, jnp.int32)
        return standardized(self.held(x), self.mean, 1 / self.scale)

    def targets(self, y: Any) -> Any:
        """Standardize values of a regression like the inputs.

        Args:
            y: (examples[, columns]) values in their own units.

        Returns:
            (examples[, columns]) values with the training set's mean 0 and standard deviation 1.
        """
        assert self.target_mean is not None
        assert self.target_scale is not None
        held = self.held_targets(y)
        mean, scale = (_along(a, held) for a in (self.target_mean, self.target_scale))
        return (held - mean) / scale

    def values(self, outputs: Any) -> Any:
        """Undo `targets`: outputs in the units of y.

        Args:
            outputs: standardized values, of any shape.

        Returns:
            Values in the same shape.
        """
        assert self.target_mean is not None
        assert self.target_scale is not None
        mean, scale = (_along(a, outputs) for a in (self.target_mean, self.target_scale))
        return self.restored(outputs * scale + mean)

    def held(self, x: Any) -> Any:
        """Inputs as a device holds them: unchanged, or with the offset subtracted."""
        return x if self.origin is None else self.origin.centered(x)

    def held_targets(self, y: Any) -> Any:
        """Values of a regression as a device holds them."""
        return y if self.target_origin is None else self.target_origin.centered(y, "y")

    def restored(self, values: Any) -> Any:
        """Undo `held_targets`."""
        return values if self.target_origin is None else self.target_origin.restored(values)

    @property
    def on_device(self) -> "Standardization":
        """The standardization of inputs and values that a device holds."""
        return self._replace(origin=None, target_origin=None)

    @property
    def units(self) -> tuple[Any, Any]:
        """Mean and scale of the training set's y, in float64 and in the units of y: two floats, or
        two arrays (columns,) where y has several.
        """
        assert self.target_mean is not None
        assert self.target_scale is not None
        mean, scale = (np.asarray(a, np.float64) for a in (self.target_mean, self.target_scale))
        if self.target_origin is not None:
            offset, unit = (
                np.reshape(a, mean.shape)
                for a in (self.target_origin.offset, self.target_origin.unit)
            )
            mean, scale = mean * unit + offset, scale * unit
        return (mean, scale) if mean.ndim else (float(mean), float(scale))

    @classmethod
    def of(
        cls, train: Dataset, weights: Float[np.ndarray, " examples"] | None = None
    ) -> "Standardization":
        """The standardization that a training set defines. A constant column keeps scale 1, so it
        becomes 0.

        Args:
            train: the training set.
            weights: (examples,) how often each example counts; by default once.

        Returns:
            The Standardization, on the device.
        """
        if train.schema.tokens:  # whose numbers are names
            nothing = np.zeros((len(train), 1), np.float32)
            schema = replace(train.schema, vocabulary=None, pad=None)
            one = cls.of(Dataset(nothing, train.y, schema=schema), weights)
            return one._replace(mean=None, scale=None)
        mean, scale, origin = _statistics(np.asarray(train.x), weights)
        if train.counted:
            return cls(*jax.device_put([np.float32(mean), np.float32(scale)]), origin=origin)
        y = np.asarray(train.y)
        target_mean, target_scale, target_origin = _statistics(y.reshape(len(y), -1), weights)
        if y.ndim == 1:
            target_mean, target_scale = np.ravel(target_mean)[0], np.ravel(target_scale)[0]
        found = [np.float32(a) for a in (mean, scale, target_mean, target_scale)]
        return cls(*jax.device_put(found), origin=origin, target_origin=target_origin)


def _along(numbers: Any, values: Any) -> Any:
    """One number as it is, and one for each column repeated for all rows of values."""
    return jnp.broadcast_to(numbers, values.shape) if numbers.ndim else numbers


def _statistics(x: np.ndarray, weights: np.ndarray | None) -> tuple[Floats, Floats, Origin | None]:
    """Mean and scale, in float64, of inputs as a device holds them, and their Origin."""
    if x.dtype == np.float64 and (origin := origin_of(found := moments(x, weights))) is not None:
        offset, unit = np.array(origin.offset), np.array(origin.unit)
        mean, scale = (
            (found.first - offset + found.mean) / unit,
            np.where(found.deviation > 0, found.scale / unit, 1.0),
        )
        return (mean, scale, origin) if x.ndim < 3 else (mean[0], scale[0], origin)
    mean, deviation = _moments(x) if weights is None else _weighted_moments(weights, x)
    # where the deviation of large numbers may be mere rounding
    near = (deviation > 0) & (deviation <= 1e-6 * np.abs(mean))
    scale = np.where(deviation > 0, deviation, 1.0)
    if near.any():
        scale = np.where(near, moments(x, weights).scale.reshape(scale.shape), scale)
    return mean, scale, None


def standardized(
    x: Num[Array | np.ndarray, "..."], mean: Float[Array, "..."], factor: Float[Array, "..."]
) -> Float[Array, "..."]:
    """(x - mean) * factor as float32.

    Args:
        x: numbers of any shape.
        mean: numbers that broadcast to x.
        factor: numbers that broadcast to x.

    Returns:
        float32 in the shape of x.
    """
    mean, factor = (jnp.broadcast_to(a, x.shape) for a in (mean, factor))
    return (jnp.asarray(x, jnp.float32) - mean) * factor


def _takes_columns(cls: type[C]) -> type[C]:
    """Let Splits be made with `columns=`, which are put into the schemas of the three parts."""
    init: Any = cls.__init__

    @functools.wraps(init)
    def __init__(
        self: Any, *values: Any, columns: tuple[Column, ...] | None = None, **named: Any
    ) -> None:
        init(self, *values, **named)
        if columns is not None:
            for name in ("train", "validation", "test"):
                part = getattr(self, name)
                vars(self)[name] = replace(part, schema=replace(part.schema, columns=columns))

    cls.__init__ = __init__
    return cls


@jax.tree_util.register_dataclass
@renamed(standardisation="standardization")
@_takes_columns
@dataclass(frozen=True)
class Splits(HasSchema):
    """One data set in three parts: a network learns from the first, is chosen with the second, and
    is judged on the third.

    Attributes:
        train: a Dataset, or a Stream of one on disk.
        validation: may be empty.
        test: the test set.
        standardization: of the training set.
        target_sample: examples from where the network will be used, if there are any.
        name: name of the data set.
        notes: what was decided while the data were read.
        test_source: where the test set comes from: "random" for a random part of the same data,
            "ordered" for the last part of it, "own" for a test set of its own, and for parts that
            were put together by hand.
        ordered: whether the data were split in an order, such as by time, so that no random split
            of them is a fair one.
        grouped_by: what the examples are grouped by, such as the name of a column; None without
            groups.
        consecutive: whether the examples stood in that order before they were split, each with a
            place of its own, so that the value before each is known.
    """

    train: Dataset | Rebuilt
    validation: Dataset
    test: Dataset
    standardization: Standardization
    target_sample: Dataset | None = None
    name: str = field(default="arrays", metadata={"static": True})
    notes: tuple[str, ...] = field(default=(), metadata={"static": True})
    test_source: TestSource = field(default="own", metadata={"static": True})
    ordered: bool = field(default=False, metadata={"static": True})
    grouped_by: str | None = field(default=None, metadata={"static": True})
    consecutive: bool = field(default=False, metadata={"static": True})

    __repr__ = display.text

    @property
    def schema(self) -> Schema:
        """What inputs and labels mean, as the training set says; the columns as any part says,
        since a training set that was made of arrays has none.
        """
        parts = (self.train, self.validation, self.test)
        columns = next((part.columns for part in parts if part.columns is not None), None)
        own = self.train.schema
        return own if own.columns is columns else replace(own, columns=columns)


def on_device(splits: Splits) -> Splits:
    """Training and validation set with their standardization, in numbers that float32 holds well.

    Args:
        splits: the data.

    Returns:
        The same splits if float32 holds them, else splits whose offsets are subtracted.

    Raises:
        InputError: inside jit, where the numbers have become float32 already.
    """
    own = splits.standardization
    if own.origin is None and own.target_origin is None:
        return splits
    parts = (
        replace(part, x=own.held(part.x), y=own.held_targets(part.y))
        for part in (splits.train, splits.validation)
    )
    train, validation = parts
    return replace(splits, train=train, validation=validation, standardization=own.on_device)


def error_unit(train: Dataset) -> Any:
    """Compute what squared errors are divided by: the variance of y, (columns,) of several values;
    1 for classes and labels.

    Args:
        train: the training set.

    Raises:
        InputError: where all values are equal, so that there is nothing to learn.
    """
    if train.counted:
        return 1.0
    if (said := nothing_to_learn(train)) is not None:
        raise InputError(said)
    variance = np.asarray(train.y, np.float64).var(0)
    return variance if train.targets is not None else float(variance)


def nothing_to_learn(train: Dataset) -> str | None:
    """Say which value, or which of several values or yes/no labels, is the same for all examples.

    Args:
        train: the training set, without classes.

    Returns:
        The first of them, and what to do; None where all vary.
    """
    y = np.asarray(train.y)
    same = np.flatnonzero(np.atleast_1d((y == y[:1]).all(0)))
    if not (len(y) and same.size):
        return None
    if train.targets is None:
        return (
            f"all {len(y):,} training values are {y[0]:.6g}, so there is nothing to learn; give "
            "values that differ"
        )
    name, first = train.schema.target_names[same[0]], y[0, same[0]]
    if train.schema.multi_label:
        return (
            f"the label {name!r} is {'yes' if first else 'no'} for all {len(y):,} training "
            "examples, so there is nothing to learn; leave it out, or give examples of both"
        )
    return (
        f"all {len(y):,} training values of {name!r} are {first:.6g}, so there is nothing to "
        "learn; leave it out, or give values that differ"
    )


def class_weights(dataset: Dataset) -> Float[Array, " examples"]:
    """Weights with which every class counts the same and whose mean is 1.

    Args:
        dataset: examples with classes.

    Returns:
        (examples,) float32.

    Raises:
        InputError: for a regression.

    References:
        King & Zeng 2001, "Logistic regression in rare events data", eq. 8.
    """
    check_kind("dataset", dataset, Dataset, "a Dataset, such as splits.train")
    if dataset.classes is None:
        raise InputError(
            f"class weights need classes, but this is {dataset.schema.task_in_words}; leave them "
            "out"
        )
    y = np.asarray(dataset.y)
    counts = np.bincount(y, minlength=dataset.outputs)
    return jax.device_put((len(y) / (dataset.outputs * counts)[y]).astype(np.float32))


def _moments(x: np.ndarray) -> tuple[Floats, Floats]:
    """Mean and standard deviation in float64: of all pixels of images, else of each column."""
    if x.ndim > 2:
        chunks = [chunk.reshape(-1) for chunk in np.array_split(x, -(-x.size // 100_000))]
        mean = sum(float(c.sum(dtype=np.float64)) for c in chunks) / x.size
        # Deviations from the mean rounded to float32 lose no digits, and the rounding is corrected
        # below; float32 sums of 100,000 pixels have errors below 1e-6.
        near = np.float32(mean)
        squares = sum(float(np.dot(f, f)) for f in (c.astype(np.float32) - near for c in chunks))
        return np.asarray(mean), np.sqrt(
            np.maximum(squares / x.size - (mean - float(near)) ** 2, 0.0)
        )
    mean = x.mean(0, dtype=np.float64)
    return mean, np.sqrt(
        sum(_squares(chunk, mean) for chunk in np.array_split(x, -(-x.size // 10_000_000))) / len(x)
    )


def _squares(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Sum of squared deviations of each column, added row by row in float64, with few rows in
    memory.
    """
    if x.shape[1] == 1:  # NumPy sums a single column pairwise
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
    """Mean and standard deviation where each example counts as often as its weight says."""
    share, axes = (
        weights.astype(np.float64) / weights.sum(dtype=np.float64),
        tuple(range(1, x.ndim)) if x.ndim > 2 else (),
    )
    mean = share @ x.mean(axes, dtype=np.float64)
    return mean, np.sqrt(share @ np.square(x - mean).mean(axes))
