"""Diagnosis: all measurements of a recipe, the verdict, and both in words."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from ..folder import plain
from .comparison import EnsembleGain, ensemble_gain
from .decomposition import Decomposition, Design, bias_variance_decomposition
from .findings import DATA, Finding, first_to_mend
from .intervals import Estimate
from .ladder import error_ladder

WIDTH = 96  # columns of the text
SHOWN = {"train": "training set", "validation": "validation set", "test": "test set", "use": "where it will be used"}
STEPS = {
    "high bias": "wrong even on what it learned from (bias)",
    "high variance": "worse on examples it has not seen (variance)",
    "mismatch": "worse where it is used (mismatch)",
}

Part = tuple[ArrayLike, ArrayLike]


@dataclass(frozen=True)
class Parts:
    """A decomposition without its arrays. training: examples of each member's training set, where that is known."""

    design: Design
    kind: str
    training: int | None
    members: int
    loss: Estimate
    bias: Estimate
    variance: Estimate


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a recipe, measured, and what to try. Plain numbers only; `json()` is all of it as text.

    verdict: begins with the largest of high bias, high variance and mismatch, or with good enough or inconclusive.
    findings: in order of size. errors: of train, validation, test and use, as far as there are. regression: errors are then
    shares of the variance of y, else of examples. decompositions: of the error on the test set, or else the validation set.
    ensemble: what the members achieve together there. members: whose errors these are; diverged: those left out.
    examples: of each part. notes: what to bear in mind.
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

    def json(self) -> str:
        """Everything, as JSON; what is no number is null."""
        return json.dumps(plain(self), indent=1, allow_nan=False)

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def _repr_html_(self) -> str:
        from ..report.notebook import of_diagnosis

        return of_diagnosis(self)

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
        """The diagnosis of a recipe from what its networks predict, of whatever library they are.

        train, validation, test, use: pairs (predictions, labels) on the training set, on held-out examples like those, on the
            test set, on examples from where the network will be used. Predictions of members that were trained on the same
            examples come first axis members: class numbers or names (members, examples), log-probabilities (members, examples,
            classes), or of a regression values (members, examples). Without that axis they are of one network.
        partitions: by number of parts K what networks predict on the test set that were trained on K disjoint random parts of
            the training set, the parts of a partition following each other: these allow to speak of bias and variance.
        target_error: what could be reached, by default 0. tolerance: the smallest step that matters. Of a regression both are
            shares of the variance of y.
        Raises InputError for what does not fit together.
        """
        given = {"train": train, "validation": validation, "test": test, "use": use}
        parts, classes = _encoded({name: part for name, part in given.items() if part is not None}, partitions or {})
        regression = classes is None
        variance = float(np.var(parts["train"][1])) if regression else 1.0
        if regression and not variance > 0:
            raise InputError("all training labels are equal; there is nothing to learn; give values that differ")
        each = {name: Predicted(f, y) for name, (f, y) in parts.items() if name in given and len(y)}
        errors = {name: part.wrong if not regression else part.squares / variance for name, part in each.items()}
        held_out = "test" if "test" in each else "validation"
        groups = {k: parts[f"partition {k}"][0] for k in partitions or {}}
        return diagnosis_of(
            errors,
            each[held_out],
            groups,
            training=len(each["train"].labels),
            variance=variance,
            target_error=target_error,
            tolerance=tolerance,
        )


@dataclass(frozen=True)
class Predicted:
    """Predictions ([members,] examples[, classes]) and their labels."""

    predictions: np.ndarray
    labels: np.ndarray

    @property
    def wrong(self) -> np.ndarray:
        """([members,] examples) whether each is predicted wrongly; what is no number is wrong."""
        classes = self.predictions.argmax(-1) if self.predictions.dtype.kind == "f" else self.predictions
        return classes != self.labels

    @property
    def squares(self) -> np.ndarray:
        """([members,] examples) squared errors."""
        return (self.predictions.astype(np.float64) - self.labels) ** 2


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
    diverged: int = 0,
) -> Diagnosis:
    """From the errors of each part, and predictions on the examples on which the error is decomposed.

    variance: of y, the unit of errors of a regression. training: examples in the training set. more: other findings.
    """
    regression = held_out.labels.dtype.kind == "f"
    ladder = error_ladder(errors, target_error=target_error or 0.0, tolerance=tolerance)
    y = held_out.labels / math.sqrt(variance) if regression else held_out.labels
    kind = "squared" if regression else "zero_one_kohavi_wolpert"

    def scaled(predictions: np.ndarray) -> np.ndarray:
        if regression:
            return predictions.astype(np.float64) / math.sqrt(variance)
        return predictions.argmax(-1) if predictions.dtype.kind == "f" else predictions

    decompositions = []
    ensemble = None
    scores = held_out.predictions.ndim - held_out.labels.ndim - (held_out.predictions.dtype.kind == "f" and not regression)
    members = 1 if scores == 0 else len(held_out.predictions)
    if members > 1:
        found = bias_variance_decomposition(scaled(held_out.predictions), y, loss=kind, design="seeds")
        decompositions.append(_without_arrays(found, training))
        ensemble = ensemble_gain(
            scaled(held_out.predictions) if regression else held_out.predictions, y, loss="squared" if regression else "zero_one"
        )
    for k in sorted(partitions):
        found = bias_variance_decomposition(scaled(partitions[k]), y, loss=kind, design="partition", parts=k)
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
        diverged=diverged,
        examples={name: each.shape[-1] for name, each in errors.items()},
        target_error=target_error or 0.0,
        tolerance=tolerance,
        notes=tuple(notes),
    )


def _without_arrays(found: Decomposition, training: int) -> Parts:
    return Parts(found.design, found.kind, training, found.members, found.loss, found.bias, found.variance)


def _encoded(given: Mapping[str, Part], partitions: Mapping[int, ArrayLike]) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], int | None]:
    """(predictions and labels, names of classes as numbers; how many classes there are, None of a regression)."""
    parts = {name: (np.asarray(f), np.asarray(y)) for name, (f, y) in given.items()}
    held_out = parts.get("test", parts.get("validation"))
    if held_out is None:
        raise InputError("there are only predictions on the training set; give those on validation or test set too")
    parts |= {f"partition {k}": (np.asarray(f), held_out[1]) for k, f in partitions.items()}
    labels = [y for _, y in parts.values()]
    if all(y.dtype.kind == "f" for y in labels):
        for name, (f, y) in parts.items():
            if f.dtype.kind not in "fiu" or f.ndim not in (1, 2) or f.shape[-1:] != y.shape:
                raise InputError(f"{name}: predictions have shape {f.shape} for labels {y.shape}; give values, (members, examples)")
        return {name: (f.astype(np.float64), y.astype(np.float64)) for name, (f, y) in parts.items()}, None
    if not all(y.dtype.kind == labels[0].dtype.kind or {y.dtype.kind, labels[0].dtype.kind} <= set("iub") for y in labels):
        raise InputError(f"labels are of types {', '.join(sorted({str(y.dtype) for y in labels}))}; give one kind of them everywhere")
    if any(f.dtype.kind == "f" for f, _ in parts.values()):
        for name, (f, y) in parts.items():
            if f.dtype.kind != "f" or f.ndim not in (2, 3) or f.shape[-2] != len(y):
                raise InputError(
                    f"{name}: predictions have shape {f.shape} and type {f.dtype}; give log-probabilities, (members, examples, classes)"
                )
            if y.dtype.kind not in "iu" or (len(y) and not 0 <= y.min() <= y.max() < f.shape[-1]):
                raise InputError(f"{name}: with log-probabilities, labels are class numbers from 0 to {f.shape[-1] - 1}; give such")
        return parts, next(iter(parts.values()))[0].shape[-1]
    for name, (f, y) in parts.items():
        if f.ndim not in (1, 2) or f.shape[-1:] != y.shape:
            raise InputError(f"{name}: predictions have shape {f.shape} for labels {y.shape}; give classes, (members, examples)")
    names = np.unique(np.concatenate([np.unique(each) for part in parts.values() for each in part]))
    return {name: (np.searchsorted(names, f), np.searchsorted(names, y)) for name, (f, y) in parts.items()}, len(names)


def _lines(d: Diagnosis) -> list[str]:
    """The text: a screen of it."""
    share = "squared error, in variances of y" if d.regression else "share of examples predicted wrongly"
    who = "one network, which speaks only for itself" if d.members == 1 else f"{d.members} networks that differ in luck alone"
    lines = [fill(d.verdict, WIDTH), "", f"{share}, of {who}; with 95% intervals"]
    lines += [_row(f"{SHOWN[name]}, {d.examples[name]:,} examples", error) for name, error in d.errors.items()]
    reachable = f"{d.target_error:.1%} could be reached, and " if d.target_error else ""
    lines.append(f"so it is, where {reachable}{d.tolerance:.1%} matters")
    for finding in (finding for finding in d.findings if finding.code in STEPS):
        state = (
            "too much" if finding.claimed else "fine" if finding.size.refused is None and finding.size.high < d.tolerance else "not settled"
        )
        lines.append(f"{_row(STEPS[finding.code], finding.size)}  {state}")
    partitions = [parts for parts in d.decompositions if parts.design == "partition"]
    if partitions:
        lines.append("trained on other examples of the same kind, and so many of them, networks would")
    for parts in partitions:
        lines.append(_row(f"{parts.training:,} examples: make the same mistakes (bias²)", parts.bias))
        lines.append(_row(f"{parts.training:,} examples: make mistakes of their own (variance)", parts.variance))
    if d.ensemble is not None:
        lines.append(_row(f"the prediction of all {d.ensemble.members} networks together", d.ensemble.ensemble))
    lines += [fill(finding.evidence, WIDTH, subsequent_indent="  ") for finding in d.findings if finding.code in DATA]
    others = [finding for finding in d.findings if finding.code not in (*STEPS, *DATA) and finding.claimed]
    lines += [fill(f"beware, {finding.code}: {finding.evidence}", WIDTH, subsequent_indent="  ") for finding in others]
    lines += [fill(note, WIDTH, subsequent_indent="  ") for note in d.notes]
    claimed = {finding.code: finding for finding in reversed(d.findings) if finding.claimed}
    first = first_to_mend([finding.code for finding in d.findings if finding.claimed])
    if first is not None:
        lines.append(fill("try next: " + "; ".join(remedy.words for remedy in claimed[first].remedies[:3]), WIDTH, subsequent_indent="  "))
    return lines


def _row(words: str, size: Estimate) -> str:
    return f"  {words:<54}{_number(size)}"


def _number(estimate: Estimate) -> str:
    centre = f"{estimate.estimate:7.2%}"
    return centre + (f"  ({estimate.low:.2%} to {estimate.high:.2%})" if estimate.refused is None else "  (no interval)")
