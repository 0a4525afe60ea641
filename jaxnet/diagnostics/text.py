"""A diagnosis as lines of text that fit a screen."""

import math
from collections.abc import Callable, Iterable, Mapping
from textwrap import fill, wrap
from typing import TYPE_CHECKING, Any

from jaxnet.diagnostics.findings import DATA_FINDINGS, ERROR_STEPS, Code, first_to_fix
from jaxnet.diagnostics.measured import not_tried, promising
from jaxnet.display import ACROSS, rounded
from jaxnet.stats.estimate import Estimate
from jaxnet.stats.scores import SCORES

if TYPE_CHECKING:
    from jaxnet.diagnostics.diagnosis import Diagnosis
    from jaxnet.stats.several import Scores

NAMED = 40  # columns of the names of numbers
PART_NAMES = {
    "train": "training set",
    "validation": "validation set",
    "test": "test set",
    "use": "deployment data",
}
CROSS_FITTED_NAMES = {
    "train": "training error (seen)",
    "validation": "unseen error",
    "test": "test error, saved network",
    "use": "error on deployment data",
}
SHORT_NAMES = {
    "train": "seen\nexamples",
    "validation": "unseen\nexamples",
    "test": "test set,\nsaved network",
    "use": "deployment\ndata",
}
AVOIDABLE = (
    "by how much the training error exceeds the unseen error of the best other method; 0 if it "
    "does not"
)
SHARED = (
    "bias^2 counts all mistakes that the networks share, also those that no method can avoid; the "
    "verdict rests on the error steps"
)
STEP_NAMES = {
    Code.HIGH_BIAS: "avoidable bias",
    Code.HIGH_VARIANCE: "generalization gap (variance)",
    Code.MISMATCH: "mismatch",
}


def part_names(found: "Diagnosis") -> dict[str, str]:
    """Name the errors of a diagnosis, by part."""
    return CROSS_FITTED_NAMES if found.design == "cross-fitted" else PART_NAMES


def networks(found: "Diagnosis") -> str:
    """Say which networks a diagnosis judges."""
    if found.members == 1:
        return "one network; its numbers are for this network only"
    folds = found.folds
    if folds is None:
        return f"{found.members} networks, trained with different random seeds"
    total = folds.networks + folds.left_out
    words = f"{folds.folds} folds x {total // folds.folds} seeds"
    if folds.left_out:
        return f"the {folds.networks} of {total} networks that did not diverge, {words}"
    return f"{total} networks, {words}"


def state(size: Estimate, tolerance: float, *, claimed: bool) -> str:
    """Say how an error step compares with the tolerance."""
    if claimed:
        return "too large"
    if size.refused is None and size.high <= tolerance:
        return "acceptable"
    return "uncertain"


def interval_notes(found: Iterable[Estimate | Mapping[str, Any]]) -> list[str]:
    """Say what intervals of the errors of a regression presuppose, and why some are missing.

    Args:
        found: the errors, or plain values of them as in result.json.

    Returns:
        A sentence for each thing to say.
    """
    each = [vars(one) if isinstance(one, Estimate) else one for one in found]
    cautions = dict.fromkeys(one["caution"] for one in each if one.get("caution"))
    reasons = dict.fromkeys(one["refused"] for one in each if one["refused"])
    return [
        *(f"Intervals of errors hold {caution}." for caution in cautions),
        *(f"No interval: {reason}." for reason in reasons),
    ]


def lines(d: "Diagnosis") -> list[str]:
    """Write a diagnosis as lines of text."""
    unit = "share of the variance of y" if d.regression else "share of wrong predictions"
    names = part_names(d)
    found = [
        fill(d.verdict, ACROSS),
        "",
        fill(f"Error ({unit}) of {networks(d)}; 95% confidence intervals", ACROSS),
    ]
    found += [
        _row(f"{names[name]}, {d.examples[name]:,} examples", error)
        for name, error in d.errors.items()
    ]
    found += [_row(f"{name}, unseen", error) for name, error in d.other_methods.items()]
    if d.scores is not None:
        found += [_row(f"always {guess.name}", guess.error) for guess in d.scores.guesses]
    if d.regression:
        notes = interval_notes([*d.errors.values(), *d.other_methods.values()])
        found += [fill(f"  {note}", ACROSS, subsequent_indent="  ") for note in notes]
    if d.folds is not None:
        if d.folds.groups is not None:
            found.append(f"  {d.folds.groups:,} groups are the independent units")
        if d.folds.coverage != "95%":
            found.append(
                "  With so few examples, these intervals hold the true value in "
                f"{d.folds.coverage} of studies."
            )
    target = "" if d.target_error is None else f", target error {d.target_error:.1%}"
    found.append(f"Error steps (tolerance {d.tolerance:.1%}{target})")
    for finding in (each for each in d.findings if each.code in ERROR_STEPS):
        judged = state(finding.size, d.tolerance, claimed=finding.claimed)
        found.append(f"{_row(STEP_NAMES[finding.code], finding.size)}  {judged}")
        if finding.code == Code.HIGH_BIAS and d.target_error is None and d.other_methods:
            found.append(fill(f"  ({AVOIDABLE})", ACROSS, subsequent_indent="   "))
    bias = next((each.size for each in d.findings if each.code == Code.HIGH_BIAS), None)
    if d.dominance is not None and bias is not None and bias.estimate > 0:
        found.append(_row("generalization gap minus avoidable bias", d.dominance))
    partitions = [parts for parts in d.decompositions if parts.design == "partition"]
    if partitions:
        found.append("Bias-variance decomposition of the error on held-out examples")
        for parts in partitions:
            on = f"trained on {parts.training:,} examples:"
            found += [_row(f"{on} bias^2", parts.bias), _row(f"{on} variance", parts.variance)]
        found.append(fill(f"  ({SHARED})", ACROSS, subsequent_indent="   "))
    if d.ensemble is not None:
        found.append(
            _row(f"vote of all {d.ensemble.members} networks, test set", d.ensemble.ensemble)
        )
    if d.scores is not None:
        each = ((words, getattr(d.scores, name, None), p) for name, (words, p) in SCORES.items())
        found.append("Other scores on unseen examples")
        found += [
            _row(words, size, percent)
            for words, size, percent in each
            if size is not None and not math.isnan(size.estimate)
        ]
        found += _of_each(d.scores)
    found += [
        fill(finding.evidence, ACROSS, subsequent_indent="  ")
        for finding in d.findings
        if finding.code in DATA_FINDINGS
    ]
    others = [
        finding
        for finding in d.findings
        if finding.code not in (*ERROR_STEPS, *DATA_FINDINGS)
        and finding.claimed
        and not d.verdict.startswith(f"{finding.code.words}: {finding.evidence}")
    ]
    found += [
        fill(f"Warning, {finding.code.words}: {finding.evidence}", ACROSS, subsequent_indent="  ")
        for finding in others
    ]
    found += [fill(f"Note: {note}", ACROSS, subsequent_indent="  ") for note in d.notes]
    return [*found, *_next(d)]


def _of_each(scores: "Scores") -> list[str]:
    """The scores of each label or value, where examples have several."""
    parts = getattr(scores, "outputs", ()) or getattr(scores, "labels", ())
    names = getattr(scores, "names", ()) or map(str, range(len(parts)))
    return [
        _row(f"{SCORES[score][0]} of {name}", getattr(each, score), SCORES[score][1])
        for name, each in zip(names, parts, strict=True)
        for score in ("rmse", "r2", "balanced_accuracy", "auc")
        if hasattr(each, score)
    ]


def _next(d: "Diagnosis") -> list[str]:
    claimed = {finding.code: finding for finding in reversed(d.findings) if finding.claimed}
    first = first_to_fix([finding.code for finding in d.findings if finding.claimed])
    if first is None or not claimed[first].remedies:
        return []
    tried = promising(claimed[first].remedies)[:3]
    remedies = "; ".join(remedy.told for remedy in tried)
    untried = not_tried(remedy.cases for remedy in tried)
    return [
        fill(f"Try next: {remedies}", ACROSS, subsequent_indent="  "),
        fill(untried, ACROSS, initial_indent="  ", subsequent_indent="  "),
    ]


def _row(words: str, size: Estimate, percent: bool = True) -> str:
    """A number after its name, of which what does not fit stands above."""
    *above, last = wrap(words, NAMED, subsequent_indent="  ")
    number = _number(size, "{:.2%}".format if percent else rounded)
    return "\n".join(f"  {line}" for line in (*above, f"{last:<{NAMED}}{number}"))


def _number(size: Estimate, form: Callable[[float], str]) -> str:
    center = f"{form(size.estimate):>7}"
    if size.refused is not None:
        return f"{center}  (no interval)"
    if size.cut_at_zero:
        return center
    return f"{center}  ({form(size.low)} to {form(size.high)})"
