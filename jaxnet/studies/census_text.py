"""A census in words, and as data for programs."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnet.diagnostics.findings import percent
from jaxnet.runtime.files import plain
from jaxnet.stats.estimate import Estimate
from jaxnet.studies.census_slices import in_words

if TYPE_CHECKING:
    from jaxnet.studies.census_result import Census

NO_SLICE = "no slice (values of a column, class, group or cluster) is shown to have a higher error"


def verdict(census: "Census") -> str:
    """The error outside the half, and its parts."""
    unit = " of the variance of y" * census.regression
    words = (
        f"networks trained on {census.examples:,.0f} examples have an error of "
        f"{percent(census.unseen)}{unit}, on examples that they have not seen"
    )
    if census.decomposition is None:
        return words
    bias, variance = census.decomposition.bias, census.decomposition.variance
    return (
        f"{words}: bias² (shared mistakes, and noise of the labels) {bias.estimate:.2%}, "
        f"variance {variance.estimate:.2%}"
    )


def summary(census: "Census") -> dict[str, Any]:
    """The census without its rows, in the types that JSON has."""
    names = ("members", "diverged", "share", "examples", "training", "unseen", "seen")
    parts = ("loss", "bias", "variance")
    return plain(
        {
            "verdict": verdict(census),
            **{name: getattr(census, name) for name in names},
            "pool": len(census.splits.train),
            "regression": census.regression,
            "decomposition": None
            if census.decomposition is None
            else {name: getattr(census.decomposition, name) for name in parts},
            "notes": census.notes,
            "slices": [
                {
                    "kind": each.kind,
                    "words": each.words,
                    "examples": int(each.rows.sum()),
                    "error": each.error,
                    "elsewhere": each.elsewhere,
                    "more": each.more,
                    "p": each.p,
                }
                for each in census.slices
            ],
            "prediction_sets": {
                **census.prediction_sets._asdict(),
                "words": census.prediction_sets.words,
            },
            "harmful": census.harmful,
            "value_reliability": census.value_reliability,
            **(
                {}
                if census.regression
                else {
                    "wrong_labels": census.wrong_labels,
                    "mislabeled": _listed(census),
                    "without_mislabeled": _without_mislabeled(census),
                    "memorized": census.memorized,
                    "memorization_reliability": census.memorization_reliability,
                    "membership_inference": census.membership_inference().summary(),
                }
            ),
        }
    )


def text(census: "Census") -> str:
    """The census as a table."""
    unit = " / variance of y" * census.regression
    rows = [
        (f"error{unit} on examples that a network has not seen", percent(census.unseen)),
        (f"error{unit} on examples that it was trained on", percent(census.seen)),
    ]
    if census.decomposition is not None:
        rows += [
            ("bias² of the error on unseen examples", percent(census.decomposition.bias)),
            ("variance of that error", percent(census.decomposition.variance)),
        ]
    if not census.regression:
        rows += _of_labels(census)
    rows.append(
        (
            "training examples that are shown to be harmful",
            f"{len(census.harmful)}, reliability {census.value_reliability:.3f}",
        )
    )
    width = max(len(name) for name, _ in rows)
    return "\n".join(
        [
            f"{census.members} networks, each trained on {census.examples:,.0f} of "
            f"{len(census.splits.train):,} examples",
            *(f"{name:{width}}  {value}" for name, value in rows),
            "",
            census.prediction_sets.words,
            *([] if census.regression else [str(census.membership_inference())]),
            *(in_words(each, regression=census.regression) for each in census.slices),
            *([] if census.slices else [NO_SLICE]),
            "",
            *census.notes,
        ]
    )


def _listed(census: "Census") -> list[dict[str, Any]]:
    """The labels that are listed as wrong, and what they should be."""
    y, names = np.asarray(census.splits.train.y), census.splits.classes
    assert names is not None
    return [
        {
            "index": row,
            "label": names[y[row]],
            "suggested": names[census.suggested_label[row]],
            "wrong_label": census.wrong_label[row],
        }
        for row in census.mislabeled
    ]


def _of_labels(census: "Census") -> list[tuple[str, str]]:
    """Names and values of what is known of the labels."""
    number, listed = census.wrong_labels, len(census.mislabeled)
    limits = (
        f", 95% interval {number.low:.0f} to {number.high:.0f}"
        if number.refused is None
        else ", no interval"
    )
    reliable = f"reliability {census.memorization_reliability:.3f}"
    gain, saved = _without_mislabeled(census), list[tuple[str, str]]()
    if gain is not None:
        saved.append(("error that training without them is predicted to save", percent(gain)))
    return [
        ("wrong labels in the training set", f"{number.estimate:.0f}{limits}"),
        ("labels that both halves of the networks show to be wrong", str(listed)),
        *saved,
        (
            "training examples that are shown to be memorized (by more than 25 points)",
            f"{len(census.memorized)}, {reliable}",
        ),
    ]


def _without_mislabeled(census: "Census") -> Estimate | None:
    """What it is predicted to gain to train without the labels that are listed as wrong."""
    rows = census.mislabeled
    return census.without(rows) if len(rows) else None
