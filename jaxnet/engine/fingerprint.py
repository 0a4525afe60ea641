"""What tells one training from another, as plain values: its data, model, recipe and keys.

By it a training is continued only by the same, and processes that train together know that they are
about to do the same.
"""

import json
import reprlib
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PyTree

from jaxnet.core.recipe import describe_recipe
from jaxnet.core.training import Problem
from jaxnet.data import Dataset, Splits, Standardization, Stream
from jaxnet.data.streaming.records import Records
from jaxnet.data.streaming.stream import label_pieces, random_rows
from jaxnet.errors import InputError
from jaxnet.models.builtin import current_name
from jaxnet.random import with_key_data
from jaxnet.runtime.processes import gather

FORMER_FIELDS = {
    "ignore": "drop_columns",
    "normalisation": "normalization",
    "second_momentum": "b2",
    "standardisation": "standardization",
    "white": "pixel_max",
}  # keys in files by former names
SHORT = reprlib.Repr()  # thousands of members are named by the first few
SHORT.maxstring = SHORT.maxother = 200
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
        "pixel_max": train.pixel_max,
        "validation set": _part(splits.validation),
        "test set": _part(splits.test),
        "target sample": None if splits.target_sample is None else _part(splits.target_sample),
        "mean and scale": _rounded(splits.standardization),
    }
    if not isinstance(train, Stream):
        return about | {"training set": _part(train)}
    rows, labels = train.rows, 0
    if not isinstance(rows, Records):
        for _, piece in label_pieces(rows):
            labels = zlib.crc32(piece.data, labels)
    some = random_rows(replace(train, corrupt="skip"), np.random.default_rng(0), KNOWN_BY)
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
    problem: Problem, key: Array, order_key: Array | None, params: PyTree | None
) -> dict[str, Any]:
    """What decides a training, as plain values. A custom model, loss or optimizer is told by its
    name, and what it starts from.
    """
    return {
        "model": problem.model.name,
        "data": describe_data(problem.splits),
        "recipe": describe_recipe(problem.recipe),
        "key": told(key),
        "order_key": told(order_key),
        "weights": told(problem.weights),
        "sample": told(problem.sample),
        "params": told(params),
        "loss": None if problem.loss is None else name_of(problem.loss),
        **({} if problem.signals is None else {"signals": problem.signals}),
    }


def told(arrays: PyTree) -> str | None:
    """What arrays are known by where they are too many to be named; None of none."""
    return None if arrays is None else f"checksum {checksum(arrays):08x}"


def name_of(function: Any) -> str:
    """What a function, or whatever can be called like one, is known by."""
    return getattr(function, "__qualname__", type(function).__name__)


def _rounded(standardization: Standardization) -> str:
    """A checksum of four digits: those that follow depend on how many numbers a core adds at once,
    and so on the machine.
    """
    words = [
        f"{float(value):.3e}"
        for leaf in jax.tree.leaves(standardization)
        for value in np.ravel(leaf)
    ]
    return f"checksum {zlib.crc32(' '.join(words).encode()):08x}"


def _part(data: Dataset) -> str:
    """One part of data in memory: its size, types and checksum."""
    x, y = np.asarray(data.x), np.asarray(data.y)
    return f"{len(y)} x {x.shape[1:]} {x.dtype}, labels {y.dtype}, {told((x, y))}"


def describe_pool(data: Dataset) -> str:
    """What tells the examples of a pool from others: their order, inputs, labels and groups."""
    return f"{_part(data)}, groups {told(data.groups)}"


def current(about: Any) -> Any:
    """Rename in plain values from a file what was written under former names.

    Args:
        about: dicts, lists and texts: what a training or a run is of.

    Returns:
        The same with today's names of keys, models and axes of a space.
    """
    if isinstance(about, dict):
        return {FORMER_FIELDS.get(name, name): current(value) for name, value in about.items()}
    if isinstance(about, list):
        return [current(value) for value in about]
    if isinstance(about, str):
        axis, name = "second_momentum=", current_name(about)  # former name of an axis of --space
        return "b2=" + name.removeprefix(axis) if name.startswith(axis) else name
    return about


def differences(given: dict[str, Any], wanted: dict[str, Any], *, where: Path) -> None:
    """Raise InputError naming how what is in a folder differs from what is wanted now, if it
    does.
    """
    given, wanted = (flat(current(json.loads(json.dumps(about)))) for about in (given, wanted))
    changed = [
        f"{name} was {SHORT.repr(given.get(name))} and is now {SHORT.repr(wanted.get(name))}"
        for name in {**given, **wanted}
        if given.get(name) != wanted.get(name)
    ]
    if changed:
        raise InputError(
            f"{where} holds a training of something else: {'; '.join(changed)}. Give the same "
            "again, or another folder"
        )


def checksum(tree: PyTree) -> int:
    """CRC-32 of all arrays: tells other data apart, and is no protection from forgery."""
    total = 0
    for leaf in jax.tree.leaves(with_key_data(tree)):
        total = zlib.crc32(np.ascontiguousarray(leaf).view(np.uint8).data, total)
    return total


def flat(tree: Any, name: str = "") -> dict[str, Any]:
    """Nested plain values by one name each: "recipe.epochs", "groups.0.model"."""
    if isinstance(tree, list) and tree and all(isinstance(item, dict) for item in tree):
        tree = dict(enumerate(tree))
    if isinstance(tree, dict):
        return {
            k: v
            for key, value in tree.items()
            for k, v in flat(value, f"{name}.{key}" if name else str(key)).items()
        }
    return {name: tree}


def check_same(found: PyTree, *, where: Path) -> None:
    """Raise InputError where processes have not read the same there."""
    if len(set(gather(np.array([checksum(found)])).tolist())) > 1:
        raise InputError(
            f"{where}: the processes find different things there; give a folder that all of them "
            "see"
        )
