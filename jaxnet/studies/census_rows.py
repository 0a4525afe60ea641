"""The examples of a census as columns, and as CSV."""

import csv
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from jaxnet.stats.estimate import wilson
from jaxnet.stats.halves import mean_where
from jaxnet.studies.label_errors import COLUMNS as LABEL_COLUMNS

if TYPE_CHECKING:
    from jaxnet.studies.census_result import Census


def columns(census: "Census") -> dict[str, np.ndarray]:
    """What is known of each example of the pool, as `Census.rows` says."""
    n, training, train = len(census.splits.train), census.training, census.splits.train
    parts = (~census.halves, census.halves)
    (error, low, high), (seen, seen_low, seen_high) = (_error(census, part) for part in parts)
    values = census.data_values.values
    found = {
        "part": np.where(np.arange(n) < training, "train", "validation"),
        "index": np.concatenate([np.arange(training), np.arange(n - training)]),
        "networks": parts[0].sum(0),
        "error": error,
        "low": low,
        "high": high,
        "seen_error": seen,
        "difficulty": mean_where(census.losses, parts[0]),
        "value": values.value,
        "value_low": values.low,
        "value_high": values.high,
    }
    if census.splits.classes is None or census.labels is None:
        return found
    names, y = np.asarray(census.splits.classes), np.asarray(train.y)
    gap = error - seen
    return found | {
        "memorization": gap,
        "memorization_low": gap - np.hypot(error - low, seen_high - seen),
        "memorization_high": gap + np.hypot(high - error, seen - seen_low),
        "exposure": census.membership_inference().exposure,
        "label": names[y],
        "wrong_label": census.labels.noise.probability,
        "suggested_label": names[census.labels.noise.suggested],
    }


def csv_text(census: "Census") -> str:
    """The columns as CSV, the rows of the largest difficulty first."""
    found, text = columns(census), io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(found)
    for row in np.argsort(-found["difficulty"], kind="stable"):
        writer.writerow([_cell(name, column[row]) for name, column in found.items()])
    return text.getvalue()


def labels_csv(census: "Census") -> str:
    """The labels that are listed as wrong, as CSV with the columns that `jaxnet labels` writes, and
    an empty one for the corrected label; empty of rows for a regression.
    """
    text, train = io.StringIO(), census.splits.train
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LABEL_COLUMNS)
    if census.splits.classes is None or census.labels is None:
        return text.getvalue()
    names, y = census.splits.classes, np.asarray(train.y)
    for row in census.mislabeled:
        unseen = ~census.halves[:, row]
        p = np.exp(np.asarray(census.predictions[unseen, row], np.float64)).mean(0)
        numbers = p.max(), census.wrong[unseen, row].mean(), census.wrong_label[row]
        suggested = names[census.suggested_label[row]]
        writer.writerow(
            [row, "train", names[y[row]], suggested, *(f"{each:.4f}" for each in numbers), ""]
        )
    return text.getvalue()


def _error(
    census: "Census", judged: Bool[np.ndarray, "networks pool"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The error of some networks on each example, and the 95% limits for other networks."""
    error, count = mean_where(census.wrong, judged), judged.sum(0)
    if not census.regression:
        found = [
            wilson(round(rate * trials), int(trials))
            for rate, trials in zip(error, count, strict=True)
        ]
        return error, np.array([each.low for each in found]), np.array([e.high for e in found])
    from scipy.special import stdtrit

    squares = mean_where(census.wrong**2, judged) - error**2
    half = stdtrit(count - 1, 0.975) * np.sqrt(np.maximum(squares, 0) / (count - 1))
    return error, np.maximum(0.0, error - half), error + half


def _cell(name: str, value: Any) -> Any:
    """A cell; values are small, so they have more digits."""
    if not isinstance(value, float | np.floating):
        return value
    return f"{value:.6f}" if name.startswith("value") else f"{value:.4f}"
