"""Findings from scores: no better than always guessing, and where it stands in a verdict."""

import numpy as np
import pytest

from jaxnet.diagnostics import class_scores
from jaxnet.diagnostics.findings import Code, no_better_than_guessing, with_guessing


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
