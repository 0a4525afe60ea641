"""Predictions of networks from any library, checked and brought into one form."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from jaxnet import arrays
from jaxnet.errors import InputError
from jaxnet.stats.scores import scores_of_classes, scores_of_values
from jaxnet.stats.several import Scores, scores_of_labels, scores_of_several_values
from jaxnet.typing import ArrayLike

Pair = tuple[ArrayLike, ArrayLike]  # predictions and labels
Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Predicted:
    """Predictions and their labels.

    Attributes:
        predictions: ([members,] examples[, classes]) values, log-probabilities, or class numbers;
            the class number arrays.NO_CLASS stands for a prediction that is not a number. Of
            several values, and of several yes/no labels, ([members,] examples, columns), for labels
            log-probabilities of yes, or 0 and 1.
        labels: (examples,) values or class numbers; of several (examples, columns).
    """

    predictions: np.ndarray
    labels: np.ndarray

    @property
    def regression(self) -> bool:
        """Whether the labels are values."""
        return self.labels.dtype.kind == "f"

    @property
    def several(self) -> bool:
        """Whether each example has several values or labels."""
        return self.labels.ndim == 2

    @property
    def scores(self) -> bool:
        """Whether the predictions are log-probabilities."""
        return self.predictions.dtype.kind == "f" and not self.regression

    @property
    def of_members(self) -> bool:
        """Whether the first axis is that of members."""
        return self.predictions.ndim - (self.several or self.scores) > 1

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes members and examples, as far as they exist."""
        return arrays.MEMBER_AXES if self.of_members else arrays.EXAMPLE_AXES

    @property
    def classes(self) -> np.ndarray:
        """The predicted class numbers, ([members,] examples); of several labels the answers, 0 and
        1, ([members,] examples, labels).
        """
        if self.several and self.scores:
            lost = np.isnan(self.predictions)
            return np.where(lost, arrays.NO_CLASS, self.predictions > math.log(0.5))
        return arrays.chosen(self.predictions) if self.scores else self.predictions

    @property
    def wrong(self) -> np.ndarray:
        """Which predictions are wrong, ([members,] examples); one that is not a number is wrong. Of
        several labels the share of wrong answers.
        """
        found = arrays.wrong(self.classes, self.labels)
        return found.mean(-1) if self.several else found

    def losses(self, variance: float | np.ndarray) -> np.ndarray:
        """Which predictions are wrong, or their squared errors, ([members,] examples).

        Args:
            variance: what squared errors are divided by, (columns,) where there are several values,
                whose mean it then is.
        """
        if not self.regression:
            return self.wrong
        squares = (self.predictions.astype(np.float64) - self.labels) ** 2 / variance
        return squares.mean(-1) if self.several else squares

    @property
    def unanswered(self) -> np.ndarray:
        """Which predictions are not numbers, ([members,] examples)."""
        lost: np.ndarray = (
            ~np.isfinite(self.predictions) if self.regression else self.classes == arrays.NO_CLASS
        )
        return np.any(lost, -1) if self.several else lost

    @property
    def unanswered_in_words(self) -> str:
        """How many predictions are not numbers, and which one is the first."""
        lost = self.unanswered
        first = arrays.spot(np.argwhere(lost)[0], self.axes)
        return (
            f"{int(lost.sum())} of {lost.size} predictions are not numbers, the first that of "
            f"{first}"
        )

    def score(
        self,
        guess_from: np.ndarray | None = None,
        *,
        variance: float | np.ndarray,
        classes: int,
        seen: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Scores:
        """Compute scores besides the error, and what is gained over always guessing.

        Args:
            guess_from: (training examples,) labels that decide what is always guessed; by default
                those of the examples that the networks have seen.
            variance: variance of y, the unit of a regression's errors; 1 for classes.
            classes: number of classes; of no account for a regression.
            seen: (members, examples) which examples each cross-fitted network was trained on.
            groups: (examples,) the group of each example.
        """
        if self.several:
            return self._score_several(guess_from, variance, seen, groups)
        shape = (-1, len(self.labels))
        if self.regression:
            return scores_of_values(
                self.predictions.reshape(shape),
                self.labels,
                seen=seen,
                groups=groups,
                guess=None if guess_from is None else float(guess_from.mean()),
                scale=math.sqrt(variance),
            )
        wrong = self.wrong.reshape(shape).astype(np.float64)
        lost = self.unanswered.reshape(shape).all(1)
        if not lost.all():  # a network that predicts nothing else is left out
            wrong[lost] = math.nan
        return scores_of_classes(
            wrong,
            self.labels,
            classes,
            self.predictions.reshape(*shape, classes) if self.scores else None,
            seen=seen,
            groups=groups,
            guess=None if guess_from is None else int(np.bincount(guess_from).argmax()),
        )

    def _score_several(
        self,
        guess_from: np.ndarray | None,
        variance: float | np.ndarray,
        seen: ArrayLike | None,
        groups: ArrayLike | None,
    ) -> Scores:
        """The scores of several labels or values; arguments are those of `score`."""
        guess = None if guess_from is None else guess_from.mean(0)
        if self.regression:
            return scores_of_several_values(
                self.predictions,
                self.labels,
                seen=seen,
                groups=groups,
                guess=guess,
                scale=np.sqrt(variance),
            )
        outputs = self.predictions
        if not self.scores:  # an answer is a probability of 0 or 1
            outputs = np.where(outputs == 1, 0.0, -np.inf)
        more = None if guess is None else guess > 0.5
        return scores_of_labels(outputs, self.labels, seen=seen, groups=groups, guess=more)

    def only(self, members: np.ndarray) -> "Predicted":
        """Select the predictions of some members."""
        return Predicted(self.predictions[members], self.labels)


def class_count(parts: Iterable[Predicted]) -> int:
    """Count the classes of predictions and labels of several parts; 0 for values."""
    counts = [
        part.predictions.shape[-1]
        if part.scores
        else 1 + int(max(part.labels.max(initial=-1), part.classes.max(initial=-1)))
        for part in parts
        if not part.regression and not part.several
    ]
    return max(counts, default=0)


def encoded(
    given: Mapping[str, Pair],
    partitions: Mapping[int, ArrayLike],
    partition_labels: ArrayLike | None = None,
) -> tuple[dict[str, Predicted], dict[int, Predicted]]:
    """Check predictions and labels; encode names of classes as numbers and values as float64.

    Args:
        given: by part, predictions and labels.
        partitions: by number of parts, predictions of the networks of partitions.
        partition_labels: labels of the examples that those networks predict.

    Returns:
        The predictions of each part and of each partition.

    Raises:
        InputError: for arrays that do not fit together.
    """
    names = [*given, *(f"partition {k}" for k in partitions)]
    pairs = [*given.values()]
    if partition_labels is not None:
        pairs += [(f, partition_labels) for f in partitions.values()]
    fs = [
        _plain(f"{name} predictions", f, arrays.MEMBER_AXES)
        for name, (f, _) in zip(names, pairs, strict=True)
    ]
    ys = [
        _plain(f"{name} labels", y, arrays.EXAMPLE_AXES)
        for name, (_, y) in zip(names, pairs, strict=True)
    ]
    kinds = {
        "number" if y.dtype.kind in "iub" else "value" if y.dtype.kind == "f" else "text"
        for y in ys
    }
    if len(kinds) > 1:
        raise InputError(
            f"labels are of types {', '.join(sorted({str(y.dtype) for y in ys}))}; give one kind "
            "of them everywhere"
        )
    if any(y.ndim == 2 for y in ys):
        fs, ys = _several(names, fs, ys)
    elif kinds == {"value"}:
        fs, ys = _values(names, fs, ys)
    elif kinds == {"number"} and any(
        f.dtype.kind == "f" and not _are_classes(f, y) for f, y in zip(fs, ys, strict=True)
    ):
        fs, ys = _log_probabilities(names, fs, ys)
    else:
        fs, ys = _class_codes(names, fs, ys)
    each = [Predicted(f, y) for f, y in zip(fs, ys, strict=True)]
    return dict(zip(names, each[: len(given)], strict=False)), dict(
        zip(partitions, each[len(given) :], strict=True)
    )


def _plain(what: str, given: ArrayLike, axes: tuple[str, ...]) -> np.ndarray:
    """Check that an argument holds numbers, booleans or text; text may come as objects."""
    found = arrays.array(what, given, axes)
    if found.dtype.kind == "O" and found.size and all(isinstance(each, str) for each in found.flat):
        return found.astype(str)
    if found.dtype.kind not in "biufSU":
        raise InputError(
            f"{what} are of type {found.dtype}; give numbers, or names of classes as text"
        )
    return found


def _values(names: list[str], fs: Arrays, ys: Arrays) -> tuple[Arrays, Arrays]:
    for name, f, y in zip(names, fs, ys, strict=True):
        if (
            f.dtype.kind not in "biuf"
            or f.ndim not in (1, 2)
            or y.ndim != 1
            or f.shape[-1:] != y.shape
        ):
            raise InputError(
                f"{name}: predictions have shape {f.shape} and type {f.dtype} for labels "
                f"{y.shape}; give values, (members, examples)"
            )
        arrays.numbers(f"{name} labels", y, arrays.EXAMPLE_AXES)
    return [f.astype(np.float64) for f in fs], [y.astype(np.float64) for y in ys]


def _several(names: list[str], fs: Arrays, ys: Arrays) -> tuple[Arrays, Arrays]:
    """Check several values, or answers to several yes/no questions, of each example."""
    columns = ys[0].shape[-1]
    for name, f, y in zip(names, fs, ys, strict=True):
        fits = f.ndim in (2, 3) and y.ndim == 2 and f.shape[-2:] == y.shape
        if not fits or y.shape[1] != columns or f.dtype.kind not in "biuf":
            raise InputError(
                f"{name}: predictions have shape {f.shape} and type {f.dtype} for labels "
                f"{y.shape}; give numbers, (members, examples, columns), with the same columns "
                "everywhere"
            )
        arrays.numbers(f"{name} labels", y)
        if y.dtype.kind == "f":
            continue
        if not np.isin(y, (0, 1)).all():
            raise InputError(
                f"{name} labels: {y[~np.isin(y, (0, 1))][0]} is neither yes nor no; give 0 and 1, "
                "or floats for values"
            )
        answers = f.dtype.kind in "biu"
        if (answers and not np.isin(f, (0, 1)).all()) or (not answers and (f > 0).any()):
            raise InputError(
                f"{name}: predictions for several yes/no labels must be 0 and 1, or "
                "log-probabilities of yes, which are at most 0; give one of these"
            )
    if ys[0].dtype.kind == "f":
        return [f.astype(np.float64) for f in fs], [y.astype(np.float64) for y in ys]
    fs = [f if f.dtype.kind == "f" else f.astype(np.int64) for f in fs]
    return fs, [y.astype(np.int64) for y in ys]


def _are_classes(f: np.ndarray, y: np.ndarray) -> bool:
    """Whether floats are class numbers, with NaN where there is none."""
    return (
        f.ndim in (1, 2)
        and f.shape[-1:] == y.shape
        and bool(np.all(np.isnan(f) | (f == np.round(f)) & np.isfinite(f)))
    )


def _log_probabilities(names: list[str], fs: Arrays, ys: Arrays) -> tuple[Arrays, Arrays]:
    """Check log-probabilities and their labels; NaN is allowed and counts as wrong."""
    found = []
    for name, f, y in zip(names, fs, ys, strict=True):
        if (
            f.dtype.kind != "f"
            or f.ndim not in (2, 3)
            or y.ndim != 1
            or f.shape[-2] != len(y)
            or f.shape[-1] == 0
        ):
            raise InputError(
                f"{name}: predictions have shape {f.shape} and type {f.dtype}; give "
                "log-probabilities, (members, examples, classes)"
            )
        found.append(arrays.labels(f"{name}: labels", y, len(y), f.shape[-1]))
        for place in np.ndindex(f.shape[: f.ndim - 2]):
            lost = np.isnan(f[place]).any(1)
            arrays.check_sums(
                f"{name} predictions", f[place], arrays.MEMBER_AXES[2 - f.ndim + 1 :], place, lost
            )
    if len(count := {f.shape[-1] for f in fs}) > 1:
        raise InputError(
            f"log-probabilities are of {' and of '.join(map(str, sorted(count)))} classes; give "
            "the same ones everywhere"
        )
    return fs, found


def _class_codes(names: list[str], fs: Arrays, ys: Arrays) -> tuple[Arrays, Arrays]:
    """Number the classes from 0, in the order of their names; NO_CLASS stands for a prediction that
    is NaN.
    """
    for name, f, y in zip(names, fs, ys, strict=True):
        if f.ndim not in (1, 2) or y.ndim != 1 or f.shape[-1:] != y.shape:
            raise InputError(
                f"{name}: predictions have shape {f.shape} for labels {y.shape}; give classes, "
                "(members, examples)"
            )
        if (f.dtype.kind in "SU") != (y.dtype.kind in "SU") or (f.dtype.kind == "S") != (
            y.dtype.kind == "S"
        ):
            raise InputError(
                f"{name}: predictions are {f.dtype} and labels {y.dtype}; give the same names of "
                "classes in both"
            )
    lost = [np.isnan(f) if f.dtype.kind == "f" else np.zeros(f.shape, bool) for f in fs]
    fs = [
        np.where(gone, 0, f).astype(np.int64) if f.dtype.kind == "f" else f
        for f, gone in zip(fs, lost, strict=True)
    ]
    known = np.unique(
        np.concatenate(
            [
                np.unique(each)
                for each in (*(f[~gone] for f, gone in zip(fs, lost, strict=True)), *ys)
            ]
        )
    )
    codes = [
        np.where(gone, arrays.NO_CLASS, np.searchsorted(known, f))
        for f, gone in zip(fs, lost, strict=True)
    ]
    return codes, [np.searchsorted(known, y) for y in ys]


def without_diverged(parts: Mapping[str, Predicted]) -> tuple[dict[str, Predicted], int, int]:
    """Leave out members that predict nothing but NaN in every part.

    Returns:
        The parts without them, how many they are, and of how many.
    """
    if (
        len(
            {
                (part.of_members, len(part.predictions) if part.of_members else 1)
                for part in parts.values()
            }
        )
        > 1
    ):
        return dict(parts), 0, 1  # refused later, with a message
    silent = [part.unanswered.all(-1) for part in parts.values()]
    lost = np.atleast_1d(np.all(silent, axis=0))
    if not lost.any():
        return dict(parts), 0, len(lost)
    members = {
        name: part if part.of_members else Predicted(part.predictions[None], part.labels)
        for name, part in parts.items()
    }
    return {name: part.only(~lost) for name, part in members.items()}, int(lost.sum()), len(lost)


def sound_partitions(part: Predicted, k: int) -> tuple[Predicted, int]:
    """Leave out partitions with a network that predicts nothing but NaN.

    Returns:
        The predictions of the other partitions, and how many were left out.
    """
    if not part.of_members or len(part.predictions) % k:
        return part, 0  # bias_variance_decomposition refuses it, with a message
    sound = ~part.unanswered.all(-1).reshape(-1, k).any(1)
    return part.only(np.repeat(sound, k)), int((~sound).sum())
