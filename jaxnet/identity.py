"""What tells one training from another, as plain values: its data, model, recipe and keys.

By it a training is continued only by the same, and processes that train together know that they are
about to do the same.
"""

import zlib
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PyTree

from jaxnet.checkpoint import checksum, describe_recipe
from jaxnet.data import Dataset, Splits, Standardisation, Stream
from jaxnet.data.streaming.records import Records
from jaxnet.data.streaming.stream import label_pieces, sample
from jaxnet.models.losses import Loss
from jaxnet.models.model import Model
from jaxnet.recipe import Recipe

KNOWN_BY = (
    100  # rows of a training set on disk by which it is told from another, besides all its labels
)


def describe_data(splits: Splits) -> dict[str, Any]:
    """What tells data from other data, as plain values: sizes, types and checksums, a name for each
    part.

    A training set on disk is told by the sizes of its files, all its labels and KNOWN_BY random
    rows. Images of TensorFlow Datasets hold their labels, so of those only the sizes and these rows
    are read. What is done with rows that cannot be used is no part of it: a run that one of them
    stopped may go on without it.
    """
    train: Dataset | Stream = splits.train  # pyrefly: ignore[bad-assignment]
    about: dict[str, Any] = {
        "name": splits.name,
        "classes": None if train.classes is None else list(train.classes),
        "white": train.white,
        "validation set": _part(splits.validation),
        "test set": _part(splits.test),
        "target sample": None if splits.target_sample is None else _part(splits.target_sample),
        "mean and scale": _rounded(splits.standardisation),
    }
    if not isinstance(train, Stream):
        return about | {"training set": _part(train)}
    rows, labels = train.rows, 0
    if not isinstance(rows, Records):
        for _, piece in label_pieces(rows):
            labels = zlib.crc32(piece.data, labels)
    some = sample(replace(train, corrupt="skip"), np.random.default_rng(0), KNOWN_BY)
    return about | {
        "training set": {
            "examples": len(train),
            "rows": len(rows),
            "shape": list(train.shape),
            "dtype": str(train.dtype),
            "file sizes": rows.sizes(),
            "held out": told(train.held_out),
            "labels": f"checksum {labels:08x}",
            f"{KNOWN_BY} random rows": told(some),
        }
    }


def describe_training(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: Array,
    *,
    order_key: Array | None,
    weights: Any,
    sample: Any,
    params: PyTree | None,
    loss: Loss | None,
) -> dict[str, Any]:
    """What decides a training, as plain values. A custom model, loss or optimizer is told by its
    name, and what it starts from.
    """
    return {
        "model": model.name,
        "data": describe_data(splits),
        "recipe": describe_recipe(recipe),
        "key": told(key),
        "order_key": told(order_key),
        "weights": told(weights),
        "sample": told(sample),
        "params": told(params),
        "loss": None if loss is None else name_of(loss),
    }


def told(arrays: PyTree) -> str | None:
    """What arrays are known by where they are too many to be named; None of none."""
    return None if arrays is None else f"checksum {checksum(arrays):08x}"


def name_of(function: Any) -> str:
    """What a function, or whatever can be called like one, is known by."""
    return getattr(function, "__qualname__", type(function).__name__)


def _rounded(standardisation: Standardisation) -> str:
    """A checksum of four digits: those that follow depend on how many numbers a core adds at once,
    and so on the machine.
    """
    words = [
        f"{float(value):.3e}"
        for leaf in jax.tree.leaves(standardisation)
        for value in np.ravel(leaf)
    ]
    return f"checksum {zlib.crc32(' '.join(words).encode()):08x}"


def _part(data: Dataset) -> str:
    """One part of data in memory: its size, types and checksum."""
    x, y = np.asarray(data.x), np.asarray(data.y)
    return f"{len(y)} x {x.shape[1:]} {x.dtype}, labels {y.dtype}, {told((x, y))}"
