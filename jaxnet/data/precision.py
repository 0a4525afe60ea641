"""Find columns that float32 cannot hold, and subtract an offset in float64 before they become
float32.

float32 keeps 24 bits. In a column of Unix times that differ by seconds, the size takes all of them.
Such columns stay float64 on the host, and go to a device as (value - offset) / unit, which float32
holds well.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from jaxnet import arrays
from jaxnet.errors import InputError
from jaxnet.typing import ArrayLike

# types whose numbers float32 holds exactly
EXACT = (
    np.dtype(np.bool_),
    *map(np.dtype, (np.uint8, np.int8, np.uint16, np.int16, np.float16, np.float32)),
)
HALF_STEP = 2.0**-24  # the largest rounding error of float32, as a share of the number
# Share of a standard deviation: rounding errors below it leave float16's ten bits, enough for
# any network
NEEDED = 2.0**-10
MIN_UNSCALED, MAX_UNSCALED = (
    2.0**-126,
    2.0**126,
)  # beyond these float32 has no number, or no inverse of it
TOO_FINE = 1e-14  # share of the largest value; smaller deviations are rounding
EXACT_INTEGERS = 2.0**53  # from here on float64 does not hold every whole number
AT_ONCE = 1 << 20  # numbers that are float64 at one time


@jax.tree_util.register_static
@dataclass(frozen=True)
class Origin:
    """The offset and unit of inputs or of y: (value - offset) / unit is computed in float64, then
    float32.

    Both are plain Python numbers, since inside jit arrays of float64 would become float32.

    Attributes:
        offset: one for each column of a table; a single one for images and for y. 0 where float32
            holds a column as it is.
        unit: likewise; 1 where float32 holds a column as it is.
    """

    offset: tuple[float, ...]
    unit: tuple[float, ...]

    def centered(self, values: ArrayLike, name: str = "x") -> Float[np.ndarray, "..."]:
        """(values - offset) / unit as float32, computed a chunk at a time.

        Args:
            values: numbers in their own units.
            name: name of the argument, for messages.

        Returns:
            float32 in the same shape.

        Raises:
            InputError: as `check` does, and where a result is not finite.
        """
        self.check(values, name)
        values = np.asarray(values)
        narrow = np.empty(values.shape, np.float32)
        step = max(1, AT_ONCE * len(values) // max(1, values.size))
        for rows in (slice(first, first + step) for first in range(0, len(values), step)):
            narrow[rows] = self.nearest(values[rows])
            if not np.isfinite(narrow[rows]).all():
                place = np.argwhere(~np.isfinite(narrow[rows]))[0]
                spot = arrays.spot(np.array([rows.start + place[0], *place[1:]]))
                raise InputError(
                    f"{name} has {values[rows][tuple(place)]} in {spot}, which is no finite "
                    f"number, or too far from {self.description(name)}; "
                    "fix that row, or remove it"
                )
        return narrow

    def check(self, values: ArrayLike, name: str) -> None:
        """Refuse numbers that have become float32 already, as all do inside jit.

        Args:
            values: the numbers.
            name: name of the argument, for messages.

        Raises:
            InputError: for such numbers.
        """
        if isinstance(values, jax.core.Tracer):
            raise InputError(
                f"inside jit or vmap {name} arrives as float32, which cannot hold "
                f"{self.description(name)}; call this outside of jit with {name} "
                f"as float64, or subtract the mean from {name} first, in float64, and train on that"
            )
        values = np.asarray(values)
        if values.size and values.dtype.kind == "f" and values.dtype.itemsize < 8:
            raise InputError(
                f"{name} is {values.dtype}, which cannot hold {self.description(name)}; give "
                f"{name} as float64, as it was before it became {values.dtype}"
            )

    def nearest(self, values: np.ndarray) -> Float[np.ndarray, "..."]:
        """(values - offset) / unit as float32; infinite where a value is too far from the
        offset.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            return self.exact(values).astype(np.float32)

    def exact(self, values: np.ndarray) -> np.ndarray:
        """(values - offset) / unit as float64."""
        unit = np.array(self.unit)  # powers of two, by which nothing is rounded
        return values / unit - np.array(self.offset) / unit

    def restored(self, values: Float[Array | np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Undo `centered`, in float64.

        Args:
            values: what `centered` returned.

        Returns:
            float64 in the same shape.

        Raises:
            InputError: inside jit, where nothing is float64.
        """
        if isinstance(values, jax.core.Tracer):
            raise InputError(
                "inside jit or vmap everything is float32, which cannot hold "
                f"{self.description('y')}; call this outside of jit"
            )
        return np.asarray(values, np.float64) * np.array(self.unit) + np.array(self.offset)

    def description(self, name: str) -> str:
        """A description of the values that float32 cannot hold, for messages."""
        column = next(
            i
            for i, (offset, unit) in enumerate(zip(self.offset, self.unit, strict=True))
            if offset or unit != 1
        )
        where = f" in column {column}" if len(self.offset) > 1 else ""
        size = (
            f"around {self.offset[column]:.6g}"
            if self.unit[column] == 1
            else f"of the size of {self.unit[column]:.1e}"
        )
        return f"the values of {name}{where}, which are {size}"


class Moments(NamedTuple):
    """Moments of each column, or of all pixels of images, in float64.

    They are exact also if the values are large and differ little.

    Attributes:
        first: the first value.
        mean: mean of the values minus the first one.
        deviation: standard deviation.
        largest: largest absolute value.
    """

    first: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    largest: np.ndarray

    @property
    def lost(self) -> Bool[np.ndarray, " columns"]:
        """A mask of the columns that float32 would lose: their rounding is large compared to the
        standard deviation, or their size is out of range.
        """
        rounding = np.maximum(self.largest * HALF_STEP, MIN_UNSCALED)
        return ((self.deviation > 0) & (rounding > NEEDED * self.deviation)) | (
            self.largest > MAX_UNSCALED
        )

    @property
    def scale(self) -> np.ndarray:
        """The standard deviation; 1 for a constant column, and the size for a column that float64
        cannot tell from a constant one.
        """
        return np.where(
            self.too_fine, self.largest, np.where(self.deviation > 0, self.deviation, 1.0)
        )

    @property
    def too_fine(self) -> Bool[np.ndarray, " columns"]:
        """A mask of the columns whose values differ by less than float64 can tell apart."""
        return (self.deviation > 0) & (self.deviation <= TOO_FINE * self.largest)


def moments(
    x: Num[np.ndarray, "examples ..."],
    weights: Float[np.ndarray, " examples"] | None = None,
    rows: Int[np.ndarray, " rows"] | None = None,
) -> Moments:
    """The Moments of values, of the columns of a table, or of all pixels of images.

    Args:
        x: (examples,), (examples, columns) or images.
        weights: (examples,) how often each example counts; by default once.
        rows: (rows,) numbers of the examples to use, without weights; None takes all.

    Returns:
        The Moments.
    """
    count = len(x) if rows is None else len(rows)
    step = max(1, AT_ONCE * len(x) // x.size)

    def chunks() -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        for first in range(0, count, step):
            at = slice(first, first + step)
            part = x[at if rows is None else rows[at]]
            flat = part.reshape(len(part), -1) if x.ndim < 3 else part.reshape(-1, 1)
            yield (
                flat,
                None
                if weights is None
                else np.repeat(weights[at].astype(np.float64), len(flat) // len(part)),
            )

    columns = x[0].size if x.ndim < 3 else 1
    largest = np.zeros(columns)
    for flat, _ in chunks():
        for extreme in (flat.max(0), flat.min(0)):
            np.maximum(largest, np.abs(extreme.astype(np.float64)), out=largest)
    # squares of smaller numbers would be 0
    size = np.where((largest > 0) & (largest < 1e-100), _power_of_two(largest), 1.0)
    first, total, squares, mass = (
        next(chunks())[0][0] / size,
        np.zeros(columns),
        np.zeros(columns),
        0.0,
    )
    with np.errstate(over="ignore", invalid="ignore"):
        for flat, of_each in chunks():
            away = flat / size - first
            total += away.sum(0) if of_each is None else of_each @ away
            np.square(away, out=away)
            squares += away.sum(0) if of_each is None else of_each @ away
            mass += len(flat) if of_each is None else of_each.sum()
        mean = total / mass
        deviation = np.sqrt(np.maximum(squares / mass - mean**2, 0.0))
    return Moments(first * size, mean * size, deviation * size, largest)


def origin_of(found: Moments) -> Origin | None:
    """The Origin of columns with these Moments; None if float32 holds all of them."""
    if not (lost := found.lost).any():
        return None
    offset = np.where(lost, found.first + found.mean, 0.0)
    # A power of two rounds nothing; it is needed only where float32 has no such numbers.
    beyond = lost & ((found.scale < MIN_UNSCALED / HALF_STEP) | (found.largest > MAX_UNSCALED))
    unit = np.where(
        beyond, _power_of_two(np.where(found.deviation > 0, found.scale, found.largest)), 1.0
    )
    return Origin(tuple(offset.tolist()), tuple(unit.tolist()))


def _power_of_two(size: np.ndarray) -> np.ndarray:
    """The largest power of two that is not above a size, among those that float64 holds with all
    digits.
    """
    return np.exp2(np.floor(np.log2(np.maximum(size, np.finfo(np.float64).tiny))))


def loses_precision(x: Array | np.ndarray, rows: Int[np.ndarray, " rows"] | None = None) -> bool:
    """Whether float32 would lose a column. It costs nothing for types that float32 holds.

    Args:
        x: (examples, ...) numbers.
        rows: (rows,) numbers of the examples to check; None takes all.

    Returns:
        Whether it would.
    """
    return (
        x.dtype not in EXACT and len(x) > 0 and bool(moments(np.asarray(x), rows=rows).lost.any())
    )


def unresolved(x: np.ndarray) -> list[int]:
    """The columns whose values even float64 cannot tell apart, or whose one value is too large for
    it.

    Args:
        x: (examples, columns) a table; images have no such columns.

    Returns:
        Numbers of the columns.
    """
    if x.ndim > 2 or x.dtype.kind != "f" or not len(x):
        return []
    some = (
        np.arange(x[0].size)
        if x.dtype == np.float64
        else np.flatnonzero(np.abs(np.atleast_1d(x[0])) >= EXACT_INTEGERS)
    )
    if not some.size:
        return []
    flat = x.reshape(len(x), -1)
    # a table of float64 is not copied
    found = moments(flat if len(some) == flat.shape[1] else flat[:, some])
    return some[
        found.too_fine | ((found.deviation == 0) & (found.largest >= EXACT_INTEGERS))
    ].tolist()
