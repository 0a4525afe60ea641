"""Slices: subsets of examples with a higher error than the others, found on one half of the
examples and confirmed on the other.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxnet.stats.cross_fitting import group_codes
from jaxnet.stats.estimate import Estimate

MIN_UNITS = 10  # examples, or groups, of a slice in each half
MOST = 5  # candidates that are confirmed
DOUBTFUL = 0.1  # p-value above which the first half finds none
ALIKE = 0.5  # common share of two candidates from which on they are the same slice


class Candidate(NamedTuple):
    """A subset of the examples.

    Attributes:
        kind: "column", "class", "group" or "cluster".
        words: what its examples have in common.
        rows: which examples it holds.
    """

    kind: str
    words: str
    rows: Bool[np.ndarray, " examples"]


class Slice(NamedTuple):
    """A subset of the examples whose error is higher than that of the others.

    Attributes:
        kind: "column", "class", "group" or "cluster".
        words: what its examples have in common.
        rows: which examples it holds.
        error: its mean loss on the half of the examples that confirms it.
        elsewhere: that of the other examples of this half.
        more: the difference with its 95% interval.
        p: p-value of the difference on this half, adjusted for all candidates that were confirmed.
    """

    kind: str
    words: str
    rows: Bool[np.ndarray, " examples"]
    error: float
    elsewhere: float
    more: Estimate
    p: float


def find_slices(
    losses: Float[np.ndarray, " examples"],
    candidates: Sequence[Candidate],
    first: Bool[np.ndarray, " examples"],
    group_of: Int[np.ndarray, " examples"] | None = None,
    level: float = 0.05,
) -> tuple[Slice, ...]:
    """Find the candidates whose mean loss is higher than that of the other examples.

    One half of the examples chooses up to 5 candidates, which are confirmed on the other half.
    Whatever the candidates are, the probability that any of the slices found has no higher loss is
    at most the level.

    Args:
        losses: of each example.
        candidates: subsets of the examples; no label of the second half may decide about them.
        first: which examples choose; the others confirm. Groups stay together.
        group_of: the group of each example, which is then the independent unit; None where each
            stands for itself.
        level: the family-wise error rate.

    Returns:
        The slices, the most certain first.

    References:
        Holm 1979, section 3 (weights: each candidate has half of the weight of the one before).
    """
    codes = np.arange(len(losses)) if group_of is None else group_codes(group_of, len(losses))
    halves = [(losses[half], codes[half]) for half in (first, ~first)]
    found = list[tuple[float, Candidate]]()
    for candidate in candidates:
        rows = candidate.rows
        if min(_units(rows[half], codes[half]) for half in (first, ~first)) < MIN_UNITS:
            continue
        if candidate.rows[first].all() or candidate.rows[~first].all():
            continue  # nothing is elsewhere
        p = _contrast(*halves[0], rows[first]).p
        if p < DOUBTFUL:
            found.append((p, candidate))
    chosen = list[Candidate]()
    for _, candidate in sorted(found, key=lambda each: each[0]):
        if len(chosen) < MOST and not any(_alike(candidate, other) for other in chosen):
            chosen.append(candidate)
    tests = [_contrast(*halves[1], each.rows[~first]) for each in chosen]
    adjusted = _holm([each.p for each in tests], [2.0**-rank for rank in range(len(tests))])
    slices = [
        Slice(*candidate, test.inside, test.outside, test.more, p)
        for candidate, test, p in zip(chosen, tests, adjusted, strict=True)
        if p <= level
    ]
    return tuple(sorted(slices, key=lambda each: each.p))


class _Contrast(NamedTuple):
    inside: float
    outside: float
    more: Estimate
    p: float


def _contrast(
    losses: Float[np.ndarray, " half"],
    codes: Int[np.ndarray, " half"],
    rows: Bool[np.ndarray, " half"],
) -> _Contrast:
    """The mean loss of some examples against the others, with a one-sided test.

    The degrees of freedom are those of the units of the slice alone, which are the fewest.
    """
    from scipy.special import stdtr, stdtrit

    inside, outside = float(losses[rows].mean()), float(losses[~rows].mean())
    moves = np.where(
        rows, (losses - inside) / rows.sum(), -(losses - outside) / max(1, (~rows).sum())
    )
    sums = np.bincount(np.unique(codes, return_inverse=True)[1].reshape(-1), moves)
    units = _units(rows, codes)
    spread = float(np.sqrt((sums**2).sum() * units / (units - 1)))
    if not spread > 0:
        return _Contrast(inside, outside, Estimate(inside - outside, refused="no spread"), 1.0)
    p = float(stdtr(units - 1, -(inside - outside) / spread))
    reach = float(stdtrit(units - 1, 0.975)) * spread
    more = Estimate(inside - outside, inside - outside - reach, inside - outside + reach)
    return _Contrast(inside, outside, more, p)


def _units(rows: Bool[np.ndarray, " examples"], codes: Int[np.ndarray, " examples"]) -> int:
    return len(np.unique(codes[rows]))


def _alike(one: Candidate, other: Candidate) -> bool:
    return bool((one.rows & other.rows).sum() > ALIKE * (one.rows | other.rows).sum())


def _holm(p: Sequence[float], weights: Sequence[float]) -> list[float]:
    """P-values adjusted by Holm's weighted procedure."""
    left, worst, adjusted = set(range(len(p))), 0.0, [1.0] * len(p)
    for i in sorted(left, key=lambda each: p[each] / weights[each]):
        worst = max(worst, min(1.0, p[i] * sum(weights[j] for j in left) / weights[i]))
        adjusted[i] = worst
        left.remove(i)
    return adjusted
