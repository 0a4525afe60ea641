"""Rules: what a network is trained on, decided again inside each training part.

A change that reads results, such as dropping the labels that networks contradict, is measured
honestly only if the examples that measure it have no part in the decision. So the decision is made
for each training part by inner networks, which are trained on parts of it: for each fold of the
part, one that leaves it out. A network that leaves out two folds serves the training parts of
both, so that 28 networks decide for all 8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxnet.data import Dataset, Splits
from jaxnet.models.combined import without_inputs
from jaxnet.models.model import Model
from jaxnet.stats.gains import FOLDS
from jaxnet.stats.importance import matters
from jaxnet.stats.label_errors import far_values, likely_wrong

# What is decided: to leave out examples whose labels are likely wrong, or whose values are far from
# predicted ones, to correct these labels, or to leave out columns that are not shown to matter.
Rule = Literal["drop", "correct", "inputs"]

MOST_COLUMNS = 100  # each is permuted, and all inner networks predict again
COST = 1 + FOLDS  # trainings of a network and of those that decide what it is trained on

LeftOut = tuple[int, ...]  # the folds that an inner network does not train on


class Lesson(NamedTuple):
    """What a network is trained on.

    Attributes:
        rows: (some,) row numbers.
        labels: (examples,) classes in place of those of the data; None for those.
        used: (features,) 1 for inputs that are used, 0 for others; None where all are.
    """

    rows: Int[np.ndarray, " some"]
    labels: Int[np.ndarray, " examples"] | None = None
    used: Float[np.ndarray, " features"] | None = None


class Judged(NamedTuple):
    """What networks say of examples that they did not train on.

    Attributes:
        rows: (some,) row numbers of the examples.
        outputs: (some, classes) log-probabilities, or (some,) values.
        changes: (columns, some) loss with the values of a column permuted, minus the loss; None
            where it was not measured.
    """

    rows: Int[np.ndarray, " some"]
    outputs: Float[np.ndarray, "some ..."]
    changes: Float[np.ndarray, "columns some"] | None = None


def left_out(part: int | None) -> tuple[LeftOut, ...]:
    """List the folds that the inner networks of a training part do not train on.

    Args:
        part: the fold that the part leaves out; None for the part of all examples.
    """
    if part is None:
        return tuple((fold,) for fold in range(FOLDS))
    return tuple(tuple(sorted((fold, part))) for fold in range(FOLDS) if fold != part)


def judged(
    part: int | None, fold_of: Int[np.ndarray, " examples"], networks: Mapping[LeftOut, Judged]
) -> Judged:
    """Collect what the inner networks of a training part say of its examples, and of no others.

    Args:
        part: the fold that the part leaves out; None for the part of all examples.
        fold_of: (examples,) fold of each example.
        networks: by folds that a network left out, what it says of them.
    """
    found = list[Judged]()
    for folds in left_out(part):
        given = networks[folds]
        (own,) = (fold for fold in folds if fold != part)
        here = fold_of[given.rows] == own
        changes = None if given.changes is None else given.changes[:, here]
        found.append(Judged(given.rows[here], given.outputs[here], changes))
    changes = [each.changes for each in found if each.changes is not None]
    return Judged(
        np.concatenate([each.rows for each in found]),
        np.concatenate([each.outputs for each in found]),
        np.concatenate(changes, axis=1) if changes else None,
    )


def lesson(rule: Rule, found: Judged, train: Dataset) -> Lesson:
    """Decide what a network is trained on.

    Args:
        rule: the rule.
        found: what inner networks say of the examples of a training part.
        train: all examples, of which only those of the part are read.
    """
    if rule == "inputs":
        assert found.changes is not None
        used = np.ones(train.x.shape[1], np.float32)
        for inputs, kept in zip(columns_of(train), matters(found.changes), strict=True):
            used[inputs] = kept
        return Lesson(found.rows, used=used)
    y = np.asarray(train.y)
    if train.classes is None:
        return Lesson(found.rows[~far_values(found.outputs, y[found.rows])])
    wrong, other = likely_wrong(np.exp(found.outputs), y[found.rows])
    if rule == "drop":
        return Lesson(found.rows[~wrong])
    labels = y.copy()
    labels[found.rows[wrong]] = other[wrong]
    return Lesson(found.rows, labels)


def columns_of(train: Dataset) -> list[list[int]]:
    """List the inputs of each column of a table; each input of an array is a column of its own.

    Args:
        train: examples with inputs of shape (features,).
    """
    features, counts = train.x.shape[1], [1] * train.x.shape[1]
    if train.columns is not None:
        counts = [len(column.inputs) for column in train.columns]
    assert sum(counts) == features
    return [each.tolist() for each in np.split(np.arange(features), np.cumsum(counts)[:-1])]


def permuted(
    x: np.ndarray,
    inputs: Sequence[int],
    fold_of: Int[np.ndarray, " examples"],
    rng: np.random.Generator,
) -> np.ndarray:
    """Permute the values of some inputs together, among the examples of each fold.

    Args:
        x: (examples, features) inputs.
        inputs: numbers of the inputs.
        fold_of: (examples,) fold of each example.
        rng: the random generator.
    """
    changed = x.copy()
    for fold in range(FOLDS):
        rows = np.flatnonzero(fold_of == fold)
        changed[rows[:, None], inputs] = x[rng.permutation(rows)[:, None], inputs]
    return changed


def squared_losses(outputs: np.ndarray, y: np.ndarray) -> Float[np.ndarray, " examples"]:
    """Compute the squared error of each value, or of the probabilities of each example.

    Args:
        outputs: (examples, classes) log-probabilities, or (examples,) values.
        y: (examples,) labels.

    References:
        Brier 1950 (of probabilities).
    """
    if outputs.ndim == 1:
        return (outputs - y) ** 2
    wanted = np.arange(outputs.shape[1]) == y[:, None]
    return ((np.exp(outputs) - wanted) ** 2).sum(1)


def applied(model: Model, taught: Lesson) -> Model:
    """The model that uses the inputs that a rule has left.

    Args:
        model: a model, or one that `without_inputs` made.
        taught: what was decided.
    """
    if taught.used is None:
        return model
    return without_inputs(model, np.flatnonzero(taught.used == 0).tolist())


def handed_over(
    splits: Splits, taught: Lesson | None, *, balance: bool
) -> tuple[Splits, Float[np.ndarray, " examples"] | None]:
    """The data, and the weights of the training examples, that a way to train leads to.

    Args:
        splits: the data as they were given; the training examples come first in the pool.
        taught: what a rule decided on the whole pool; None without a rule.
        balance: whether every class counts the same.

    Returns:
        (the data, with corrected labels of training examples; (examples,) weights with mean 1, 0
        for training examples that are left out, or None where all count the same).
    """
    n, kept = len(splits.train), np.ones(len(splits.train), bool)
    if taught is not None:
        kept = np.isin(np.arange(n), taught.rows)
    if taught is not None and taught.labels is not None:
        y = taught.labels[:n].astype(np.asarray(splits.train.y).dtype)
        splits = replace(splits, train=replace(splits.train, y=y))
    if not balance:
        return splits, None if kept.all() else (kept * (n / kept.sum())).astype(np.float32)
    weights = balanced_weights(np.asarray(splits.train.y), kept)
    return splits, (weights * (n / kept.sum())).astype(np.float32)


def balanced_weights(
    y: Int[np.ndarray, " examples"], seen: Bool[np.ndarray, " examples"]
) -> Float[np.ndarray, " examples"]:
    """Compute weights with which every class of a part of the examples counts the same.

    Args:
        y: (examples,) classes.
        seen: (examples,) the part.

    Returns:
        (examples,) weights with mean 1 over the part; 0 for all others.
    """
    counts = np.bincount(y[seen], minlength=int(y.max()) + 1)
    weights = seen.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.where(seen, weights[y], 0.0).astype(np.float32)


def told(taught: Lesson | None, train: Dataset) -> list[str]:
    """Say what a rule decided on the whole pool.

    Args:
        taught: what it decided; None without a rule.
        train: all examples.
    """
    if taught is None:
        return []
    n, columns = len(train), train.columns
    if taught.used is not None:
        names = [str(number) for number in range(train.x.shape[1])]
        if columns is not None:
            names = [column.name for column in columns]
        unused = [
            name
            for name, inputs in zip(names, columns_of(train), strict=True)
            if not taught.used[inputs[0]]
        ]
        return [f"{len(unused)} of {len(names)} columns are not used: {', '.join(unused)}"]
    if taught.labels is not None:
        wrong = int((taught.labels != np.asarray(train.y)).sum())
        return [f"{wrong:,} of {n:,} labels are likely wrong, and are corrected in .splits"]
    wrong = n - len(taught.rows)
    if train.classes is None:
        return [
            f"{wrong:,} of {n:,} values are far from what networks predict of them; in .weights "
            "these examples have 0"
        ]
    return [f"{wrong:,} of {n:,} labels are likely wrong; in .weights these examples have 0"]
