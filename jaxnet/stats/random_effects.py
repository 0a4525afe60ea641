"""Means over a table of members and examples, which are both samples: every member sees the same
examples.

A table holds a value psi for each member and example: a loss, or the pseudo-value M g - (M-1) g(-m)
of a statistic g of the members' predictions on an example (Tukey 1958). Its mean varies with the
draw of the members (A), of the examples (B) and with both (AB, counted in A and in B): crossed
random effects (Searle, Casella & McCulloch 1992, section 4.4; Owen 2007).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped

from jaxnet.stats.estimate import LEVEL, Estimate

MIN_MEMBERS = 16  # the fewest for an interval
MIN_PAIRED_MEMBERS = 8  # the fewest for that of a paired difference
MIN_ERROR_EXAMPLES = 100  # the fewest examples for the interval of an error
MIN_EXAMPLES = 200  # the fewest for those of bias and variance
MIN_RATE_EXAMPLES = 5  # examples that make a rate; with fewer the t interval does not hold
# examples that carry a mean without an upper bound; of fewer the one not seen yet may be the
# largest
MIN_CARRYING_EXAMPLES = 5
RATE = (0.0, 1.0)
POSITIVE = (0.0, math.inf)
SIGNED = (-math.inf, math.inf)
DIFFERENCE = (-1.0, 1.0)  # of rates


class Block(NamedTuple):
    """Sums over a block of examples; those of several blocks add up.

    columns: (examples,) the statistic of each. rows: (members,) sums of (psi - column) / (M - 1).
        squares: of these, summed.
    """

    columns: Float[np.ndarray, " examples"]
    rows: Float[np.ndarray, " members"]
    squares: float


class Part(NamedTuple):
    """What a sum takes from one table. weight: in the sum. within: the range of its values.

    own, both: B and AB. freedom: degrees of freedom of B, fewer where few examples make most of it.
    carried: how many examples carry the mean, the square of the sum over the sum of squares.
    """

    weight: float
    mean: float
    examples: int
    carried: float
    own: float
    freedom: float
    both: float
    within: tuple[float, float]

    @property
    def few(self) -> bool:
        """Whether it is a rate that a handful of examples make."""
        return is_few(self.mean, self.examples, self.within)

    def limits(self, level: float) -> tuple[float, float]:
        """Of such a rate."""
        return exact_limits(self.mean, self.examples, self.within, level)


@dataclass(frozen=True)
class TwoWay:
    """What a table says of its mean, or several of the same members on different examples say of a
    sum of their means.

    rows: (members,) how far each member moves it. partition: how many parts of one pool of examples
    follow each other as members; None where members are independent.
    """

    estimate: float
    rows: Float[np.ndarray, " members"]
    parts: tuple[Part, ...]
    partition: int | None = None

    @property
    def members(self) -> int:
        """How many there are."""
        return len(self.rows)

    def members_variance(self) -> tuple[float, int]:
        """(A, its degrees of freedom).

        The parts of a partition are independent, so the variance between them holds for a new pool
        too; averaging over partitions of one pool takes away only what differs between them.
        """
        m = self.members
        if self.partition is None:
            return (m - 1) / m * float(np.sum((self.rows - self.rows.mean()) ** 2)), m - 1
        values = (self.rows * (m - 1)).reshape(-1, self.partition)
        repeats = len(values)
        within = float(np.mean(np.var(values, axis=1, ddof=1))) / self.partition
        between = float(np.var(values.mean(1), ddof=1)) if repeats > 1 else 0.0
        return max(within - (1 - 1 / repeats) * between, within / repeats), repeats * (
            self.partition - 1
        )


def block(
    values: Float[np.ndarray, "members examples"],
    statistic: Float[np.ndarray, " examples"] | None = None,
    seen: Bool[np.ndarray, "members examples"] | None = None,
) -> Block:
    """Of pseudo-values and the statistic they belong to, by default their mean. seen: cells to
    leave out.
    """
    if len(values) < 2:
        return Block(values[0] if statistic is None else statistic, np.zeros(len(values)), 0.0)
    if seen is None:
        statistic = values.mean(0) if statistic is None else statistic
        deviations = (values - statistic) / (len(values) - 1)
    else:
        count = (~seen).sum(0)
        values = np.where(seen, 0.0, values)
        statistic = values.sum(0) / count if statistic is None else statistic
        deviations = np.where(seen, 0.0, values - statistic) / (count - 1)
    return Block(
        np.asarray(statistic, np.float64),
        deviations.sum(1),
        float(np.einsum("mi,mi->", deviations, deviations)),
    )


def two_way(
    blocks: Sequence[Block], within: tuple[float, float] = POSITIVE, *, partition: int | None = None
) -> TwoWay:
    """The table of these blocks of examples, of values within a range."""
    columns = np.concatenate([each.columns for each in blocks])
    n, m = len(columns), len(blocks[0].rows)
    rows = reduce(np.add, (each.rows for each in blocks)) / n
    interaction = max(
        0.0, sum(each.squares for each in blocks) - n * float(np.sum((rows - rows.mean()) ** 2))
    )
    mean, power = float(columns.mean()), float(np.sum(columns**2))
    part = Part(
        weight=1.0,
        mean=mean,
        examples=n,
        carried=float(np.sum(np.abs(columns))) ** 2 / power if power > 0 else 0.0,
        own=float(np.var(columns, ddof=1)) / n if n > 1 else math.nan,
        freedom=_freedom(columns),
        both=(m - 1) / m * interaction / (n * max(1, n - 1)),
        within=within,
    )
    return TwoWay(mean, rows, (part,), partition)


def table(
    values: Shaped[np.ndarray, "members examples"], within: tuple[float, float] = POSITIVE
) -> TwoWay:
    """Of a value for each member and example: its loss, or whether it is wrong."""
    return two_way([block(np.asarray(values, np.float64))], within)


def contrast(
    tables: Mapping[str, TwoWay], weights: Mapping[str, float], constant: float = 0.0
) -> TwoWay:
    """sum_k weight_k table_k + constant, of tables of the same members and of different
    examples.
    """
    used = [(tables[name], weight) for name, weight in weights.items() if weight]
    return TwoWay(
        constant + sum(weight * each.estimate for each, weight in used),
        reduce(np.add, (weight * each.rows for each, weight in used)),
        tuple(
            part._replace(weight=weight * part.weight)
            for each, weight in used
            for part in each.parts
        ),
        used[0][0].partition,
    )


def refusal(
    given: TwoWay, *, members: int = MIN_MEMBERS, examples: int = MIN_EXAMPLES
) -> str | None:
    """Why there is no interval, and what it takes; None where there is one."""
    if not math.isfinite(given.estimate):
        return f"it is {given.estimate}, not a finite number"
    if given.partition is not None and given.partition < 3:
        return (
            f"partitions into {given.partition} parts have no interval; at least 3 parts are needed"
        )
    if given.partition is not None and given.members < 4 * given.partition:
        return (
            f"{given.members // given.partition} partitions are too few for an interval; at "
            "least 4 are needed"
        )
    if given.partition is None and given.members < members:
        return (
            f"{_count(given.members, 'member')} too few for an interval; at least {members} "
            "are needed"
        )
    for part in given.parts:
        if part.examples < examples:
            return (
                f"{_count(part.examples, 'example')} too few for an interval; at least "
                f"{examples} are needed"
            )
        if math.isinf(part.within[1]) and part.carried < MIN_CARRYING_EXAMPLES:
            return (
                f"{max(1, round(part.carried))} of {part.examples} examples carry nearly all "
                f"of it; at least {MIN_CARRYING_EXAMPLES} should"
            )
    return None


def interval(
    given: TwoWay, level: float = LEVEL, *, members: int = MIN_MEMBERS, examples: int = MIN_EXAMPLES
) -> Estimate:
    """The mean with its t interval, or the reason why there is none; degrees of freedom of
    Satterthwaite 1946.

    Symmetric on the logit scale of rates, on the logarithm's of other positive means, linear for
    sums and below 0. Where fewer than 5 examples make a rate, its own limits are exact ones on its
    examples; a sum has its members' variance beside the limits of its parts (MOVER; Zou & Donner
    2008, eq. 5 and 6).
    """
    estimate = given.estimate
    if reason := refusal(given, members=members, examples=examples):
        return Estimate(estimate, refused=reason)
    alone = len(given.parts) == 1 and given.parts[0].weight == 1 and given.parts[0].mean == estimate
    if alone and given.parts[0].few:
        low, high = given.parts[0].limits(level)
        return Estimate(estimate, min(low, estimate), max(high, estimate))
    below, above = _reach(given, level)
    return around(estimate, below, above, given.parts[0].within if alone else SIGNED)


def around(estimate: float, below: float, above: float, within: tuple[float, float]) -> Estimate:
    """Limits as far as that to both sides, on the scale of a range that begins at 0 (delta
    method).
    """
    low, high = within
    if low != 0 or not low < estimate < high:
        return Estimate(estimate, estimate - below, estimate + above)
    if math.isinf(high):
        down, up = (math.exp(min(reach / (estimate - low), 700.0)) for reach in (below, above))
        return Estimate(estimate, low + (estimate - low) / down, low + (estimate - low) * up)
    odds, slope = (
        (estimate - low) / (high - estimate),
        (high - low) / ((estimate - low) * (high - estimate)),
    )
    down, up = (math.exp(min(reach * slope, 700.0)) for reach in (below, above))
    lower, upper = (low + (high - low) * o / (1 + o) for o in (odds / down, odds * up))
    return Estimate(estimate, lower, upper)


def _reach(given: TwoWay, level: float) -> tuple[float, float]:
    """How far the limits are below and above."""
    from scipy.special import stdtrit

    between, freedom = given.members_variance()
    own = [part.weight**2 * part.own for part in given.parts]
    both = [part.weight**2 * part.both for part in given.parts]
    variance = max(between + sum(own) - sum(both), between, sum(own))
    scatter = between**2 / freedom
    for part, b, ab in zip(given.parts, own, both, strict=True):
        scatter += b**2 / part.freedom + ab**2 / ((given.members - 1) * (part.examples - 1))
    t = float(stdtrit(variance**2 / scatter, (1 + level) / 2)) if scatter > 0 else 0.0
    if not any(part.few for part in given.parts):
        return t * math.sqrt(variance), t * math.sqrt(variance)
    below = above = t**2 * between
    for part, b, ab in zip(given.parts, own, both, strict=True):
        down = up = t * math.sqrt(max(0.0, b - ab))
        if part.few:
            limits = part.limits(level)
            down, up = sorted(
                (part.weight * (limits[0] - part.mean), part.weight * (limits[1] - part.mean))
            )
            down = -down
        below, above = below + down**2, above + up**2
    return math.sqrt(below), math.sqrt(above)


def _freedom(columns: Float[np.ndarray, " examples"]) -> float:
    """Those of the variance of values of this kurtosis: 2 Var(s^2) / s^4 inverted (Cramér 1946, eq.
    27.4.2); n - 1 of normal ones.
    """
    n = len(columns)
    squares = (columns - columns.mean()) ** 2
    variance = float(squares.mean())
    if n < 4 or variance == 0:
        return max(1.0, n - 1.0)
    kurtosis = float((squares**2).mean()) / variance**2
    return max(1.0, min(n - 1.0, 2 * n / (kurtosis - (n - 3) / (n - 1))))


def _count(number: int, what: str) -> str:
    return f"{number} {what} is" if number == 1 else f"{number} {what}s are"


def is_few(mean: float, examples: int, within: tuple[float, float]) -> bool:
    """Whether a handful of examples make the mean of values within a finite range, or what it lacks
    of their bound.
    """
    low, high = within
    return math.isfinite(high - low) and examples * min(
        mean - low, high - mean
    ) < MIN_RATE_EXAMPLES * (high - low)


def exact_limits(
    mean: float, examples: int, within: tuple[float, float], level: float
) -> tuple[float, float]:
    """Limits of such a mean: exact binomial ones (Clopper & Pearson 1934) on the far side, the
    bound itself on the near one.

    Values inside the range vary less than those at its ends, of which the binomial is.
    """
    from scipy.special import betaincinv

    low, high = within
    near = min(mean - low, high - mean) / (high - low)
    count = max(0.0, near * examples)
    reach = (high - low) * float(
        betaincinv(count + 1, max(examples - count, 1e-9), (1 + level) / 2)
    )
    return (low, low + reach) if mean - low < high - mean else (high - reach, high)
