"""Results of studies as tables of text, one row for each line; nothing is computed here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxnet.diagnostics import Estimate
from jaxnet.stats.random_effects import MIN_PAIRED_MEMBERS
from jaxnet.stats.scores import SCORES
from jaxnet.studies.bias_variance import BiasVariance
from jaxnet.studies.label_errors import PARTS, LabelErrors
from jaxnet.studies.learning_curve import LearningCurve
from jaxnet.studies.shift import ShiftStudy

# Note below a comparison on one training set.
LUCK = (
    "A difference between networks may be due to chance: another seed or training set may reverse "
    f"it. To compare recipes, train each with --members {MIN_PAIRED_MEMBERS} or more on the same "
    "data."
)


def scores(
    found: Mapping[str, Mapping[str, Any]], shown: Callable[[Mapping[str, Any], bool], str]
) -> list[tuple[str, ...]]:
    """A row for each score besides the error, with its name and a cell for each part of the data.

    Args:
        found: the scores of each part as plain values, as in result.json.
        shown: from an Estimate as plain values, and whether it is in percent, the text of a cell.

    Returns:
        The rows.
    """
    parts = list(found.values())
    rows: list[tuple[str, ...]] = [
        (words, *(shown(part[name], percent) if name in part else "" for part in parts))
        for name, (words, percent) in SCORES.items()
        if any(name in part for part in parts)  # runs of before lack a score that was added
    ]
    rows += _of_each(parts, shown)
    for i, guess in enumerate(parts[0]["guesses"]):
        measure, percent = ("error", True) if guess["rmse"] is None else ("rmse", False)
        name = f"{'RMSE' if measure == 'rmse' else measure} of always guessing {guess['name']}"
        rows += [
            (name, *(shown(part["guesses"][i][measure], percent) for part in parts)),
            (
                "improvement over that guess",
                *(shown(part["guesses"][i]["gain"], True) for part in parts),
            ),
        ]
    return rows


def _of_each(
    parts: Sequence[Mapping[str, Any]], shown: Callable[[Mapping[str, Any], bool], str]
) -> list[tuple[str, ...]]:
    """A row for each score of each label or value, where examples have several."""
    rows = list[tuple[str, ...]]()
    for i, name in enumerate(parts[0].get("names") or ()):
        each = [(part.get("outputs") or part["labels"])[i] for part in parts]
        for score in ("rmse", "r2", "balanced_accuracy", "auc"):
            if score in each[0]:
                words, percent = SCORES[score]
                rows.append((f"{words} of {name}", *(shown(one[score], percent) for one in each)))
    return rows


def bias_variance(found: BiasVariance) -> list[str]:
    """A row with error, bias and variance for each value, and where the variance is largest."""
    lines = [
        f"{found.vary or '':>11}{'examples':>9}{'networks':>9}{'error':>17}{'bias':>17}"
        f"{'variance':>17}"
    ]
    refused = set[str]()
    for each in found.measured:
        parts = each.decomposition
        sizes = (parts.loss, parts.bias, parts.variance)
        value = "" if each.value is None else f"{each.value:g}"
        lines.append(
            f"{value:>11}{each.examples:>9,}{parts.members:>9}"
            + "".join(f"{f'{size.estimate:.2%}':>17}" for size in sizes)
        )
        limits = (
            "" if size.refused is not None else f"{size.low:.2%} to {size.high:.2%}"
            for size in sizes
        )
        lines.append(f"{'95% interval':>29}" + "".join(f"{words:>17}" for words in limits))
        refused |= {size.refused for size in sizes[1:] if size.refused}
    lines += [f"no interval: {reason}" for reason in sorted(refused)]
    return lines if found.peak is None else [*lines, *found.peak.words]


def label_errors(found: LabelErrors) -> list[str]:
    """The estimated number of wrong labels, the number of doubtful ones, and the calibration of the
    network.
    """
    counts = [
        f"{PARTS[part]}: {len(rows)} doubtful labels listed in labels.csv"
        for part, rows in found.doubtful.items()
    ]
    temperature = found.no_temperature if found.temperature is None else found.temperature
    believed = [str(found.calibration), f"best temperature  {temperature}"]
    return [found.verdict, *counts, "", *believed]


def learning_curve(curve: LearningCurve, at: Sequence[int], reach: Sequence[Estimate]) -> list[str]:
    """A row with the error for each size, and then the predicted errors at other sizes.

    Args:
        curve: the learning curve.
        at: the other sizes.
        reach: the predicted error at each of them.

    Returns:
        The lines.
    """
    lines = [f"{'examples':>12}{'error':>28}{'training error':>18}"]
    for n, size, training in zip(curve.sizes, curve.measured, curve.training, strict=True):
        lines.append(f"{n:>12,}{_percent(size):>28}{np.nanmean(training):>18.2%}")
    if curve.diverged:
        lines.append(
            f"warning: {curve.diverged} of {curve.errors.size} networks diverged and are left out"
        )
    for n, size in zip(at, reach, strict=True):
        words = (
            f"{_percent(size):>28}{'predicted':>18}"
            if size.refused is None
            else f"  no prediction: {size.refused}"
        )
        lines.append(f"{n:>12,}{words}")
    return lines


def shift(found: ShiftStudy) -> list[str]:
    """For each shift a row with the share of batches that raise an alarm, then one with its size
    and the errors, and the verdict.
    """
    head = f"{'alarms in batches of':22s}" + "".join(f"{size:>7,}" for size in found.sizes)
    alarms = [
        f"{each.name:22s}" + "".join(f"{share:>7.0%}" for share in each.alarms)
        for each in found.shifts
    ]
    errors = []
    for each in found.shifts:
        estimated = each.estimated_error
        words = "refused" if estimated.refused else _percent(estimated)
        size = each.test.size.estimate
        errors.append(f"{each.name:22s}{size:>8.3f}{each.error.estimate:>9.2%}{words:>30s}")
    below = f"{'':22s}{'size':>8s}{'error':>9s}{'estimated without labels':>30s}"
    return [head, *alarms, "", below, *errors, "", found.verdict]


def _percent(size: Estimate) -> str:
    """A share and its interval in percent."""
    if size.refused is not None:
        return f"{size.estimate:.2%}"
    return f"{size.estimate:.2%} ({size.low:.2%} to {size.high:.2%})"
