"""Several labels or values of each example: y of (examples, columns)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Num

from jaxnet import arrays
from jaxnet.data.dataset import Dataset
from jaxnet.data.schema import Column, Schema
from jaxnet.errors import InputError

MULTI_LABEL = "multi-label"
AS_LABELS = f'for independent yes/no labels give task="{MULTI_LABEL}" (--task {MULTI_LABEL})'


def several(
    y: np.ndarray, *, task: str | None, names: Sequence[str] | None, at: str, cure: str
) -> tuple[Num[np.ndarray, "examples columns"], Schema]:
    """Check several labels or values of each example.

    Args:
        y: (examples, columns) floats, which are values; or 0 and 1 for no and yes, with the task
            "multi-label".
        task: the task that was asked for, or None.
        names: a name for each column; by default "y0", "y1" and so on.
        at: the beginning of every message.
        cure: how gaps are fixed, for messages.

    Returns:
        (values in their own type, or int32 labels; what they mean).

    Raises:
        InputError: for other shapes and values; the message names the fix.
    """
    yes_no = task == MULTI_LABEL
    if y.ndim != 2 or (y.shape[1] < 2 and not yes_no) or not y.shape[1]:
        wanted = "one column per label" if yes_no else "one label or value per example"
        fix = "give y[:, None] for a single label" if yes_no else "give y.reshape(-1)"
        raise InputError(f"{at}y must hold {wanted}, but has shape {y.shape}; {fix}")
    if y.dtype.kind not in "biuf":
        raise InputError(
            f"{at}y of several columns must hold numbers, but is of type {y.dtype}; give 0 and 1 "
            "for labels, floats for values"
        )
    own = [f"y{column}" for column in range(y.shape[1])] if names is None else list(names)
    if len(own) != y.shape[1]:
        raise InputError(
            f"{at}{len(own)} names were given for {y.shape[1]} columns of y; give one for each"
        )
    columns = tuple(Column(str(name)) for name in own)
    if yes_no:
        return answers(y, own, at), Schema(targets=columns, multi_label=True)
    if task is None:
        _refuse_labels(y, at)
    elif task != "regression":
        raise InputError(
            f"{at}y has shape {y.shape}, but a classification needs one label for each example; "
            f"for one-hot labels pass y.argmax(1); {AS_LABELS}"
        )
    values = arrays.within_float32(f"{at}y", y, cure=cure)
    return values if values.dtype.kind == "f" else values.astype(np.float64), Schema(
        targets=columns
    )


def _refuse_labels(y: np.ndarray, at: str) -> None:
    """Refuse several columns that could be labels, where nobody said what they are."""
    zero_one = bool(((y == 0) | (y == 1)).all())
    as_values = 'for values give floats, or task="regression" (--task regression)'
    if zero_one and len(y) and (y.sum(1) == 1).all():
        raise InputError(
            f"{at}y must hold one label per example, but has shape {y.shape}; for "
            f"one-hot labels pass y.argmax(1); {AS_LABELS}"
        )
    if zero_one or y.dtype.kind != "f":
        what = "only 0 and 1" if zero_one else f"whole numbers ({y.dtype})"
        raise InputError(f"{at}y has shape {y.shape} and holds {what}; {AS_LABELS}; {as_values}")


def answers(y: np.ndarray, names: Sequence[str], at: str) -> Int[np.ndarray, "examples labels"]:
    """Check yes/no labels, and return them as 0 and 1.

    Args:
        y: (examples, labels) 0 and 1, or booleans.
        names: the name of each label.
        at: the beginning of every message.

    Returns:
        (examples, labels) int32.

    Raises:
        InputError: for another value; it names the first.
    """
    odd = np.argwhere((y != 0) & (y != 1))
    if len(odd):
        row, column = odd[0]
        raise InputError(
            f"{at}the label {names[column]!r} is {y[row, column]} in row {row}; give 1 for yes and "
            "0 for no, or leave the row out"
        )
    return y.astype(np.int32)


def strata(data: Dataset) -> Int[np.ndarray, " examples"] | None:
    """The kind of each example, to spread kinds evenly over the parts of a split.

    Args:
        data: the examples.

    Returns:
        (examples,) class numbers; of several yes/no labels the number of the rarest one that is yes
        plus 1, and 0 where none is; None for values.
    """
    y = np.asarray(data.y)
    if not data.schema.multi_label:
        return None if data.classes is None else y
    by_rarity = np.argsort(y.sum(0), kind="stable")
    ordered = y[:, by_rarity]
    return np.where(ordered.any(1), 1 + by_rarity[ordered.argmax(1)], 0)
