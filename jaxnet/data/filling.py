"""What stands in for NaN in arrays."""

from dataclasses import replace
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxnet import arrays
from jaxnet.data.dataset import Dataset
from jaxnet.errors import InputError, check_known
from jaxnet.typing import ArrayLike

Fill = Literal["median", "mean"]


def with_zeros(x: ArrayLike, fill: Fill | str | None) -> np.ndarray:
    """Inputs with 0 in place of NaN, so that all else can be checked; unchanged without a fill.

    Args:
        x: (examples, features).
        fill: "median", "mean", or None, which leaves NaN.

    Returns:
        (examples, features).

    Raises:
        InputError: for another fill, and for inputs that are no rows of features.
    """
    found = arrays.array("x", x)
    if fill is None:
        return found
    check_known("fill", fill, get_args(Fill))
    if found.ndim != 2:
        raise InputError(
            f"fill is for x of shape (examples, features), but x has shape {found.shape}; leave "
            "fill out"
        )
    if found.dtype.kind != "f":
        return found
    return np.where(np.isnan(found), found.dtype.type(0), found)


def filled(data: Dataset, x: ArrayLike, rows: np.ndarray, fill: Fill | str | None) -> Dataset:
    """The data with what stands in for NaN in x.

    Args:
        data: the examples, with 0 in place of NaN.
        x: (examples, features) as they were given.
        rows: numbers of the rows that a network learns from.
        fill: "median" or "mean" of these rows; with None the data stay as they are.

    Returns:
        The Dataset, whose schema keeps what stands in for each feature.

    Raises:
        InputError: where all of these rows are NaN in one feature.
    """
    if fill is None:
        return data
    found = np.asarray(x)
    fills = learned(found[rows], fill)
    columns = data.columns and tuple(
        column._replace(fill=each) for column, each in zip(data.columns, fills, strict=True)
    )
    schema = replace(data.schema, fills=fills, columns=columns)
    whole = stood_in(found, fills) if found.dtype.kind == "f" else data.x
    return replace(data, x=whole, schema=schema)


def learned(
    x: np.ndarray, fill: Fill | str, weights: Float[np.ndarray, " examples"] | None = None
) -> tuple[float, ...]:
    """What stands in for NaN in each feature.

    Args:
        x: (examples, features).
        fill: "median" or "mean".
        weights: (examples,) how often each example counts; by default once.

    Returns:
        (features,) numbers.

    Raises:
        InputError: where all examples are NaN in one feature.
    """
    values = np.asarray(x, np.float64)
    known = ~np.isnan(values)
    if not (some := known.any(0)).all():
        raise InputError(
            f"x has no value in column {int(np.flatnonzero(~some)[0])} of all "
            f"{len(values):,} rows to learn from; leave it out"
        )
    each = weights if weights is not None else np.ones(len(values))
    middle = _mean if fill == "mean" else _median
    return tuple(
        middle(column[kept], each[kept]) for column, kept in zip(values.T, known.T, strict=True)
    )


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    return float(np.average(values, weights=weights))


def _median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value at which half of the weight is reached, or the mean of two between which it is."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    places = (np.searchsorted(reached, reached[-1] / 2, side) for side in ("left", "right"))
    low, high = (values[order[place]] for place in places)
    return float((low + high) / 2)


def stood_in(x: Any, fills: tuple[float, ...] | None) -> Any:
    """Inputs with what stands in for NaN.

    Args:
        x: (examples, ...) inputs, or a tracer.
        fills: (features,) what stands in for each; with None the inputs stay as they are.

    Returns:
        Inputs of the same shape and type.
    """
    if fills is None:
        return x
    xp = jnp if isinstance(x, jax.Array) else np
    x = xp.asarray(x)
    if x.dtype.kind != "f" or np.prod(x.shape[1:]) != len(fills):
        return x
    return xp.where(xp.isnan(x), np.reshape(fills, x.shape[1:]).astype(x.dtype), x)


def notes_on(x: ArrayLike, learned_from: int, fill: Fill | str | None) -> tuple[str, ...]:
    """What was filled.

    Args:
        x: (examples, features) as they were given.
        learned_from: the number of rows of training and validation set.
        fill: "median" or "mean"; None where nothing is filled.

    Returns:
        At most one note.
    """
    said = None if fill is None else gaps_in(x)
    if said is None:
        return ()
    return (
        f"{said}: filled with the {fill} of each feature in the {learned_from:,} training and "
        "validation rows",
    )


def gaps_in(x: Any) -> str | None:
    """How many rows and features have NaN.

    Args:
        x: (examples, ...) inputs.

    Returns:
        Both counts in words; None where none has.
    """
    values = np.asarray(x)
    if values.dtype.kind != "f" or not np.isnan(values.sum()):
        return None
    gaps = np.isnan(values).reshape(len(values), -1)
    rows, features = int(gaps.any(1).sum()), int(gaps.any(0).sum())
    if not rows:
        return None
    return (
        f"x is NaN in {rows:,} of {len(values):,} rows and {features:,} of {gaps.shape[1]:,} "
        "features"
    )
