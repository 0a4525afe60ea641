"""The table of recipes that drives the tests: every pair of optimizer, schedule and regularizer
occurs in a row.
"""

from itertools import combinations, product

import optax
import pytest

from jaxnet import Recipe
from jaxnet.core.recipe import OPTIMIZERS, SCHEDULES

RATES = {
    "sgd": 0.2,
    "momentum": 0.05,
    "nesterov": 0.05,
    "adam": 5e-3,
    "adamw": 5e-3,
    "muon": 2e-2,
    "custom": 2e-2,
}
REGULARIZERS = {
    "weight_decay": {"weight_decay": 1e-2},
    "l1": {"l1": 1e-4},
    "dropout": {"dropout": 0.1},
    "label_smoothing": {"label_smoothing": 0.1},
    "clip": {"clip": 1.0},
    "patience": {"patience": 4},
}
Row = tuple[str, str, frozenset[str]]


def lion(learning_rate):
    """A user's own optimizer: a factory."""
    return optax.lion(
        0.1 * learning_rate
        if not callable(learning_rate)
        else lambda count: 0.1 * learning_rate(count)
    )


def _rows() -> list[Row]:
    """A row for each optimizer and schedule, with the two regularizers that cover the most pairs
    not seen yet.
    """
    rows, seen = [], set()
    for optimizer, schedule in product((*OPTIMIZERS, "custom"), SCHEDULES):
        possible = [
            name for name in REGULARIZERS if (optimizer, name) != ("custom", "weight_decay")
        ]
        choices = [(optimizer, schedule, frozenset(two)) for two in combinations(possible, 2)]
        rows.append(max(choices, key=lambda row: len(pairs(row) - seen)))
        seen |= pairs(rows[-1])
    return rows


def pairs(row: Row) -> set[frozenset[str]]:
    """Every two names that a row has in it."""
    optimizer, schedule, regularizers = row
    return {frozenset(two) for two in combinations((optimizer, schedule, *regularizers), 2)}


def recipe(row: Row, **changes) -> Recipe:
    """The Recipe of one row, long enough to learn the digits."""
    optimizer, schedule, regularizers = row
    settings = {
        "optimizer": lion if optimizer == "custom" else optimizer,
        "schedule": schedule,
        "learning_rate": RATES[optimizer],
    }
    settings |= {"epochs": 12, "batch_size": 64}
    for name in regularizers:
        settings |= REGULARIZERS[name]
    if optimizer == "adamw":
        settings.setdefault("weight_decay", 1e-3)
    return Recipe(**{**settings, **changes})


def _few() -> set[Row]:
    """Rows with each optimizer once, and with every schedule and regularizer."""
    few: list[Row] = []
    for optimizer in (*OPTIMIZERS, "custom"):
        own = [row for row in ROWS if row[0] == optimizer]
        seen = {name for row in few for name in (row[1], *row[2])}
        few.append(max(own, key=lambda row: len({row[1], *row[2]} - seen)))
    return set(few)


ROWS = _rows()
NAMES = ["-".join((row[0], row[1], *sorted(row[2]))) for row in ROWS]
FEW = _few()
# A few rows always; all of them, with every pair, in .ci/run.
CASES = [
    pytest.param(row, id=name, marks=() if row in FEW else pytest.mark.slow)
    for row, name in zip(ROWS, NAMES, strict=True)
]
