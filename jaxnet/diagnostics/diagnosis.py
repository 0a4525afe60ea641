"""Diagnosis: all measurements of a recipe and the verdict, as data and as text.

It takes predictions and errors; nothing here trains a network.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from textwrap import fill
from typing import Any

import numpy as np

from jaxnet import arrays, display
from jaxnet.diagnostics.findings import DATA_FINDINGS, Code, Finding, diverged, first_to_fix
from jaxnet.diagnostics.ladder import error_ladder
from jaxnet.errors import InputError
from jaxnet.population.result import Population
from jaxnet.runtime.files import plain
from jaxnet.stats.bias_variance import Decomposition, Design, bias_variance_decomposition
from jaxnet.stats.comparison import EnsembleGain, ensemble_gain
from jaxnet.stats.estimate import Estimate
from jaxnet.typing import ArrayLike

WIDTH = 96  # columns of the text
PART_NAMES = {
    "train": "training set",
    "validation": "validation set",
    "test": "test set",
    "use": "where it will be used",
}
STEP_WORDS = {
    Code.HIGH_BIAS: "wrong even on what it learned from (bias)",
    Code.HIGH_VARIANCE: "worse on examples it has not seen (variance)",
    Code.MISMATCH: "worse where it is used (mismatch)",
}

Part = tuple[ArrayLike, ArrayLike]


@dataclass(frozen=True)
class Parts:
    """A decomposition without its arrays.

    Attributes:
        design: how the members' training sets are related.
        kind: the loss.
        training: number of examples in each member's training set; None where it is unknown.
        members: number of members.
        loss: mean loss.
        bias: bias.
        variance: variance.
    """

    design: Design
    kind: str
    training: int | None
    members: int
    loss: Estimate
    bias: Estimate
    variance: Estimate


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a recipe, measured, and what to try.

    All fields but `networks` are plain data; `json()` returns them as text.

    Attributes:
        verdict: a sentence that begins with the largest of high bias, high variance and mismatch,
            or with good enough or inconclusive.
        findings: the findings, the largest first.
        errors: error of train, validation, test and use, as far as they exist: a share of wrong
            predictions, or for a regression a share of the variance of y.
        decompositions: decompositions of the error on the test set, or else on the validation set.
        ensemble: what the members achieve together on the same examples, or None.
        regression: whether the task is a regression.
        members: number of members whose errors these are.
        diverged: number of members left out because they diverged.
        examples: number of examples of each part.
        target_error: the error that could be reached.
        tolerance: the smallest step that matters.
        notes: what to bear in mind.
        networks: the networks that `jaxnet.diagnose` trained, or None.
    """

    verdict: str
    findings: tuple[Finding, ...]
    errors: dict[str, Estimate]
    decompositions: tuple[Parts, ...]
    ensemble: EnsembleGain | None
    regression: bool
    members: int
    diverged: int
    examples: dict[str, int]
    target_error: float
    tolerance: float
    notes: tuple[str, ...] = ()
    networks: Population | None = field(default=None, repr=False, compare=False)

    __repr__ = display.text

    def summary(self) -> dict[str, Any]:
        """Return everything but the networks in types that JSON has; numbers that are not finite
        become None.
        """
        numbers = plain(replace(self, networks=None))
        del numbers["networks"]
        return numbers

    def json(self) -> str:
        """Return the summary as JSON text."""
        return json.dumps(self.summary(), indent=1, allow_nan=False)

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def _repr_html_(self) -> str:
        return display.html(self)

    @classmethod
    def from_predictions(
        cls,
        train: Part,
        validation: Part | None = None,
        test: Part | None = None,
        use: Part | None = None,
        *,
        partitions: Mapping[int, ArrayLike] | None = None,
        target_error: float | None = None,
        tolerance: float = 0.02,
    ) -> "Diagnosis":
        """Diagnose a recipe from what its networks predict, whatever library they come from.

        Each part is a pair (predictions, labels). Predictions are (members, examples) class numbers
        or names, (members, examples, classes) log-probabilities, or for a regression (members,
        examples) values, of members trained on the same examples. Without the axis of members they
        are of one network. Predicted classes that are not numbers (NaN) count as wrong, and a
        network that predicts nothing else is left out as diverged; notes say both.

        Args:
            train: predictions and labels on the training set.
            validation: on held-out examples like those of the training set.
            test: on the test set.
            use: on examples from where the network will be used.
            partitions: by number of parts K, predictions on the test set of networks that were
                trained on K disjoint random parts of the training set, where the parts of one
                partition are consecutive; only these allow claims about bias and variance.
            target_error: the error that could be reached; 0 by default. For a regression, a share
                of the variance of y.
            tolerance: the smallest step that matters, in the same unit; 0.02 by default.

        Returns:
            The diagnosis.

        Raises:
            InputError: for arguments that do not fit together, and for values that are not finite.
        """
        given = {"train": train, "validation": validation, "test": test, "use": use}
        each, groups = _encoded(
            {name: part for name, part in given.items() if part is not None}, partitions or {}
        )
        regression = each["train"].labels.dtype.kind == "f"
        variance = float(np.var(each["train"].labels)) if regression else 1.0
        if regression and not variance > 0:
            raise InputError(
                "all training labels are equal; there is nothing to learn; give values that differ"
            )
        each, lost, total = _without_diverged(
            {name: part for name, part in each.items() if len(part.labels)}
        )
        for name, part in each.items():
            if regression:
                arrays.numbers(f"{name} predictions", part.predictions, part.axes)
        errors = {
            name: part.squares / variance if regression else part.wrong
            for name, part in each.items()
        }
        if lost == total:
            errors = {name: np.full((1, len(part.labels)), np.nan) for name, part in each.items()}
        notes = [
            f"{name}: {part.unanswered_in_words}; they count as wrong"
            for name, part in each.items()
            if part.unanswered.any()
        ]
        kept = {k: _sound_partitions(part, k) for k, part in groups.items()}
        for k, (_, gone) in kept.items():
            if gone:
                count = len(groups[k].predictions) // k
                notes.append(
                    f"partitions into {k}: {gone} of {count} were left out, since a network of "
                    "each predicts nothing but NaN"
                )
        found = diagnosis_of(
            errors,
            each["test" if "test" in each else "validation"],
            {k: part.predictions for k, (part, _) in kept.items() if len(part.predictions)},
            training=len(each["train"].labels),
            variance=variance,
            target_error=target_error,
            tolerance=tolerance,
            more=diverged(lost, total),
            notes=notes,
        )
        return replace(found, diverged=lost)


@dataclass(frozen=True)
class Predicted:
    """Predictions and their labels.

    Attributes:
        predictions: ([members,] examples[, classes]) values, log-probabilities, or class numbers;
            the class number arrays.NO_CLASS stands for a prediction that is not a number.
        labels: (examples,) values or class numbers.
    """

    predictions: np.ndarray
    labels: np.ndarray

    @property
    def scores(self) -> bool:
        """Whether the predictions are log-probabilities."""
        return self.predictions.dtype.kind == "f" and self.labels.dtype.kind != "f"

    @property
    def of_members(self) -> bool:
        """Whether the first axis is that of members."""
        return self.predictions.ndim - self.scores > 1

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes members and examples, as far as they exist."""
        return arrays.MEMBER_AXES if self.of_members else arrays.EXAMPLE_AXES

    @property
    def classes(self) -> np.ndarray:
        """The predicted class numbers, ([members,] examples)."""
        return arrays.chosen(self.predictions) if self.scores else self.predictions

    @property
    def wrong(self) -> np.ndarray:
        """Which predictions are wrong, ([members,] examples); one that is not a number is wrong."""
        return arrays.wrong(self.classes, self.labels)

    @property
    def squares(self) -> np.ndarray:
        """The squared errors, ([members,] examples)."""
        return (self.predictions.astype(np.float64) - self.labels) ** 2

    @property
    def unanswered(self) -> np.ndarray:
        """Which predictions are not numbers, ([members,] examples)."""
        return (
            ~np.isfinite(self.predictions)
            if self.labels.dtype.kind == "f"
            else self.classes == arrays.NO_CLASS
        )

    @property
    def unanswered_in_words(self) -> str:
        """How many predictions are not numbers, and which one is the first."""
        lost = self.unanswered
        first = arrays.spot(np.argwhere(lost)[0], self.axes)
        return (
            f"{int(lost.sum())} of {lost.size} predictions are not numbers, the first that of "
            f"{first}"
        )

    def only(self, members: np.ndarray) -> "Predicted":
        """Select the predictions of some members."""
        return Predicted(self.predictions[members], self.labels)


def diagnosis_of(
    errors: Mapping[str, np.ndarray],
    held_out: Predicted,
    partitions: Mapping[int, np.ndarray],
    *,
    training: int,
    variance: float,
    target_error: float | None,
    tolerance: float,
    more: Sequence[Finding] = (),
    notes: Sequence[str] = (),
) -> Diagnosis:
    """Build the diagnosis from the errors of each part and from predictions on the examples where
    the error is decomposed.

    Args:
        errors: by part, ([members,] examples) errors.
        held_out: predictions on the examples where the error is decomposed.
        partitions: by number of parts, predictions on the same examples of networks of partitions.
        training: number of examples in the training set.
        variance: variance of y, the unit of a regression's errors; 1 for classes.
        target_error: the error that could be reached; None for 0.
        tolerance: the smallest step that matters.
        more: further findings.
        notes: what to bear in mind.

    Returns:
        The diagnosis, without `networks`, and with no diverged members.
    """
    regression = held_out.labels.dtype.kind == "f"
    ladder = error_ladder(errors, target_error=target_error or 0.0, tolerance=tolerance)
    y = held_out.labels / math.sqrt(variance) if regression else held_out.labels
    kind = "squared" if regression else "zero_one_kohavi_wolpert"

    def decomposed(part: Predicted) -> np.ndarray:
        return (
            part.predictions.astype(np.float64) / math.sqrt(variance)
            if regression
            else part.classes
        )

    notes = list(notes)
    decompositions = []
    ensemble = None
    members = len(held_out.predictions) if held_out.of_members else 1
    if members > 1 and held_out.unanswered.any():
        notes.append(
            "bias, variance and the members' joint prediction are left out: "
            f"{held_out.unanswered_in_words}"
        )
    elif members > 1:
        found = bias_variance_decomposition(decomposed(held_out), y, loss=kind, design="seeds")
        decompositions.append(_without_arrays(found, training))
        ensemble = ensemble_gain(
            decomposed(held_out) if regression else held_out.predictions,
            y,
            loss="squared" if regression else "zero_one",
        )
    for k in sorted(partitions):
        part = Predicted(partitions[k], held_out.labels)
        if part.unanswered.any():
            notes.append(
                f"bias and variance of partitions into {k} are left out: {part.unanswered_in_words}"
            )
            continue
        found = bias_variance_decomposition(
            decomposed(part), y, loss=kind, design="partition", parts=k
        )
        decompositions.append(_without_arrays(found, training // k))
    findings = sorted([*ladder.findings, *more], key=lambda finding: -finding.size.estimate)
    return Diagnosis(
        verdict=ladder.verdict,
        findings=tuple(findings),
        errors=ladder.errors,
        decompositions=tuple(decompositions),
        ensemble=ensemble,
        regression=regression,
        members=members,
        diverged=0,
        examples={name: each.shape[-1] for name, each in errors.items()},
        target_error=target_error or 0.0,
        tolerance=tolerance,
        notes=tuple(notes),
    )


def _without_arrays(found: Decomposition, training: int) -> Parts:
    return Parts(
        found.design, found.kind, training, found.members, found.loss, found.bias, found.variance
    )


def _encoded(
    given: Mapping[str, Part], partitions: Mapping[int, ArrayLike]
) -> tuple[dict[str, Predicted], dict[int, Predicted]]:
    """Check the parts and the predictions of partitions; encode names of classes as numbers and
    values as float64.
    """
    names = [*given, *(f"partition {k}" for k in partitions)]
    held_out = given.get("test", given.get("validation"))
    if held_out is None:
        raise InputError(
            "there are only predictions on the training set; give those on validation or test set "
            "too"
        )
    pairs = [*given.values(), *((f, held_out[1]) for f in partitions.values())]
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
    if kinds == {"value"}:
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


Arrays = list[np.ndarray]


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


def _without_diverged(parts: Mapping[str, Predicted]) -> tuple[dict[str, Predicted], int, int]:
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
        return dict(parts), 0, 1  # error_ladder refuses it, with a message
    silent = [part.unanswered.all(-1) for part in parts.values()]
    lost = np.atleast_1d(np.all(silent, axis=0))
    if not lost.any():
        return dict(parts), 0, len(lost)
    members = {
        name: part if part.of_members else Predicted(part.predictions[None], part.labels)
        for name, part in parts.items()
    }
    return {name: part.only(~lost) for name, part in members.items()}, int(lost.sum()), len(lost)


def _sound_partitions(part: Predicted, k: int) -> tuple[Predicted, int]:
    """Leave out partitions with a network that predicts nothing but NaN.

    Returns:
        The predictions of the other partitions, and how many were left out.
    """
    if not part.of_members or len(part.predictions) % k:
        return part, 0  # bias_variance_decomposition refuses it, with a message
    sound = ~part.unanswered.all(-1).reshape(-1, k).any(1)
    return part.only(np.repeat(sound, k)), int((~sound).sum())


def _lines(d: Diagnosis) -> list[str]:
    """Write the diagnosis as lines of text that fit a screen."""
    share = (
        "squared error, in variances of y"
        if d.regression
        else "share of examples predicted wrongly"
    )
    who = (
        "one network, which speaks only for itself"
        if d.members == 1
        else f"{d.members} networks that differ in luck alone"
    )
    lines = [fill(d.verdict, WIDTH), "", f"{share}, of {who}; with 95% intervals"]
    lines += [
        _row(f"{PART_NAMES[name]}, {d.examples[name]:,} examples", error)
        for name, error in d.errors.items()
    ]
    reachable = f"{d.target_error:.1%} could be reached, and " if d.target_error else ""
    lines.append(f"so it is, where {reachable}{d.tolerance:.1%} matters")
    for finding in (finding for finding in d.findings if finding.code in STEP_WORDS):
        state = (
            "too much"
            if finding.claimed
            else "fine"
            if finding.size.refused is None and finding.size.high < d.tolerance
            else "not settled"
        )
        lines.append(f"{_row(STEP_WORDS[finding.code], finding.size)}  {state}")
    partitions = [parts for parts in d.decompositions if parts.design == "partition"]
    if partitions:
        lines.append(
            "trained on other examples of the same kind, and so many of them, networks would"
        )
    for parts in partitions:
        lines.append(
            _row(f"{parts.training:,} examples: make the same mistakes (bias²)", parts.bias)
        )
        lines.append(
            _row(
                f"{parts.training:,} examples: make mistakes of their own (variance)",
                parts.variance,
            )
        )
    if d.ensemble is not None:
        lines.append(
            _row(
                f"the prediction of all {d.ensemble.members} networks together", d.ensemble.ensemble
            )
        )
    lines += [
        fill(finding.evidence, WIDTH, subsequent_indent="  ")
        for finding in d.findings
        if finding.code in DATA_FINDINGS
    ]
    others = [
        finding
        for finding in d.findings
        if finding.code not in (*STEP_WORDS, *DATA_FINDINGS) and finding.claimed
    ]
    lines += [
        fill(f"beware, {finding.code.words}: {finding.evidence}", WIDTH, subsequent_indent="  ")
        for finding in others
    ]
    lines += [fill(note, WIDTH, subsequent_indent="  ") for note in d.notes]
    claimed = {finding.code: finding for finding in reversed(d.findings) if finding.claimed}
    first = first_to_fix([finding.code for finding in d.findings if finding.claimed])
    if first is not None:
        lines.append(
            fill(
                "try next: " + "; ".join(remedy.words for remedy in claimed[first].remedies[:3]),
                WIDTH,
                subsequent_indent="  ",
            )
        )
    return lines


def _row(words: str, size: Estimate) -> str:
    return f"  {words:<54}{_number(size)}"


def _number(estimate: Estimate) -> str:
    center = f"{estimate.estimate:7.2%}"
    return center + (
        f"  ({estimate.low:.2%} to {estimate.high:.2%})"
        if estimate.refused is None
        else "  (no interval)"
    )
