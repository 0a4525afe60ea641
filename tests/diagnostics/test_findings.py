"""Findings from scores: no better than always guessing, and where it stands in a verdict."""

import numpy as np
import pytest

import jaxnet
from jaxnet import Recipe
from jaxnet.diagnostics import Estimate, class_scores
from jaxnet.diagnostics.findings import (
    REMEDIES,
    Code,
    applicable,
    finding,
    no_better_than_guessing,
    with_guessing,
)


def scores(right: float, share: float = 0.5):
    """Scores of a network that predicts each class rightly with this probability."""
    rng = np.random.default_rng(0)
    y = (np.arange(2000) < share * 2000).astype(int)
    odds = np.where((rng.random(2000) < right) == (y == 1), 1.0, -1.0)
    return class_scores(np.stack([-np.logaddexp(0, odds), -np.logaddexp(0, -odds)], 1), y, guess=0)


def test_networks_that_guess_are_found_and_others_are_not():
    (found,) = no_better_than_guessing(scores(0.4), 0.02)
    assert found.code is Code.NO_BETTER_THAN_GUESSING
    assert found.claimed
    assert found.size == scores(0.4).guesses[0].gain
    assert "always guessing the most frequent training class has an error of 50.00%" in (
        found.evidence
    )
    assert found.remedies
    assert no_better_than_guessing(scores(0.9), 0.02) == []


@pytest.mark.parametrize(
    ("verdict", "claims", "expected"),
    [
        ("high bias: why", True, "high bias, no better than always guessing: why"),
        ("inconclusive: why", False, "no better than always guessing: "),
    ],
)
def test_a_verdict_says_so_after_what_it_claims_or_first(verdict, claims, expected):
    found = no_better_than_guessing(scores(0.4), 0.02)
    assert with_guessing(verdict, found, claims=claims).startswith(expected)
    assert with_guessing(verdict, [], claims=claims) == verdict
    if not claims:
        assert with_guessing(verdict, found, claims=claims).endswith("; inconclusive: why")


def remedies(code, *given):
    """What is left to try, in words."""
    (found,) = applicable([finding(code, Estimate(0.1), True, "")], *given)
    return [remedy.words for remedy in found.remedies]


@pytest.mark.parametrize(
    ("code", "recipe", "gone"),
    [
        (Code.HIGH_BIAS, {}, ["regularize less: no dropout", "regularize less: no weight decay"]),
        (Code.HIGH_BIAS, {"dropout": 0.2}, ["regularize less: no weight decay"]),
        (Code.HIGH_BIAS, {"dropout": 0.0, "weight_decay": 1e-4}, ["regularize less: no dropout"]),
        (Code.HIGH_VARIANCE, {}, []),
        (Code.HIGH_VARIANCE, {"dropout": 0.1, "weight_decay": 0.1}, ["regularize: weight decay"]),
        (
            Code.HIGH_VARIANCE,
            {"dropout": 0.2, "patience": 5},
            ["regularize: dropout", "stop early"],
        ),
        (Code.HIGH_VARIANCE, {"patience": 50, "dropout": 0.5}, ["regularize: dropout"]),
        (Code.OVERCONFIDENT, {"label_smoothing": 0.1}, ["smooth the labels"]),
        (Code.DIVERGED, {"clip": 0.5}, ["clip the gradient"]),
        (Code.DIVERGED, {"clip": 10.0}, []),
    ],
)
def test_remedies_that_change_nothing_are_left_out(code, recipe, gone):
    all_of_them = [remedy.words for remedy in REMEDIES[code]]
    left = remedies(code, Recipe(**recipe), jaxnet.mlp((8,)))
    assert sorted(left) == sorted(words for words in all_of_them if words not in gone)


def test_remedies_fit_the_model_and_the_data(digits):
    table = jaxnet.split(np.zeros((40, 3), np.float32), np.arange(40) % 2, seed=0)
    changed = "augment: change training examples slightly in every epoch"
    assert changed in remedies(Code.HIGH_VARIANCE, Recipe(), jaxnet.mlp((8,)), digits)
    assert changed not in remedies(Code.HIGH_VARIANCE, Recipe(), jaxnet.mlp((8,)), table)
    assert "add hidden layers" in remedies(Code.HIGH_BIAS, Recipe(dropout=0.2), jaxnet.linear())
    of_linear = remedies(Code.HIGH_VARIANCE, Recipe(), jaxnet.linear(), digits)
    assert not {"make the network smaller", "regularize: dropout"} & set(of_linear)
