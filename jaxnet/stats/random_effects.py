"""Means over a table of members and examples, both of which are random samples (crossed random
effects).

The functions turn a table into its mean and the variance of that mean for new members and new
examples. They know nothing about what the values are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped

from jaxnet.stats.estimate import LEVEL, Estimate
from jaxnet.stats.moments import Tail, degrees_of_freedom, reaches, t_quantile, tail, third_cumulant

# Every member sees the same examples. A table holds a value psi for each member and example: a
# loss, or the pseudo-value M g - (M-1) g(-m) of a statistic g of the members' predictions on an
# example (Tukey 1958). Its mean varies with the draw of the members (A), with the draw of the
# examples (B), and with both (AB, which A and B each contain): crossed random effects (Searle,
# Casella & McCulloch 1992, section 4.4; Owen 2007).

MIN_MEMBERS = 16  # for an interval
MIN_PAIRED_MEMBERS = 8  # for the interval of a paired difference
MIN_ERROR_EXAMPLES = 100  # for the interval of an error
FEWEST_EXAMPLES = 8  # for any interval
MIN_EXAMPLES = 200  # for the intervals of bias and variance
MIN_RATE_EXAMPLES = 5  # with fewer examples behind a rate, the t interval does not hold
# Fewer examples must not carry a mean without an upper bound: the largest value may be unseen yet.
MIN_CARRYING_EXAMPLES = 5
RATE = (0.0, 1.0)
POSITIVE = (0.0, math.inf)
SIGNED = (-math.inf, math.inf)
DIFFERENCE = (-1.0, 1.0)  # range of a difference of rates


class Block(NamedTuple):
    """Sums over a block of examples; the sums of several blocks add up.

    Attributes:
        columns: (examples,) the statistic of each example.
        rows: (members,) sums over the examples of (psi - column) / (M - 1).
        squares: the same deviations squared, and summed over members and examples.
    """

    columns: Float[np.ndarray, " examples"]
    rows: Float[np.ndarray, " members"]
    squares: float


class Part(NamedTuple):
    """What one table contributes to a weighted sum of table means.

    Attributes:
        weight: weight of the table in the sum.
        mean: mean of the table.
        examples: number of examples in the table.
        carried: effective number of examples that carry the mean: the square of the sum of absolute
            values over the sum of squares.
        own: B, the variance of the mean over the draw of examples.
        freedom: degrees of freedom of B, fewer where few examples make most of it.
        both: AB, the variance over members and examples together.
        within: smallest and largest possible value.
        third: third cumulant of the mean over the draw of examples.
        tail: how fast the largest values fall off, where they may have heavy tails; else None.
        small: whether a small mean comes from many small values, so that it is not one of few.
    """

    weight: float
    mean: float
    examples: int
    carried: float
    own: float
    freedom: float
    both: float
    within: tuple[float, float]
    third: float = 0.0
    tail: Tail | None = None
    small: bool = False

    @property
    def few(self) -> bool:
        """Whether the mean is a rate that only a handful of examples make."""
        return not self.small and is_few(self.mean, self.examples, self.within)

    def limits(self, level: float) -> tuple[float, float]:
        """Compute the exact limits of a rate that only a handful of examples make."""
        return exact_limits(self.mean, self.examples, self.within, level)


@dataclass(frozen=True)
class TwoWay:
    """The mean of one table, or a sum of means of tables with the same members and different
    examples.

    Attributes:
        estimate: the mean, or the weighted sum of means.
        rows: (members,) how far each member moves the estimate.
        parts: what each table contributes.
        partition: number of disjoint parts of one pool of examples on which consecutive members
            trained; None where members are independent.
        others: (others,) how far each member of a second recipe moves a difference; None where
            there is one recipe, or where its members come in pairs with those of the second.
    """

    estimate: float
    rows: Float[np.ndarray, " members"]
    parts: tuple[Part, ...]
    partition: int | None = None
    others: Float[np.ndarray, " others"] | None = None

    @property
    def members(self) -> int:
        """Number of members; of two recipes, that of the one with fewer."""
        return len(self.rows) if self.others is None else min(len(self.rows), len(self.others))

    def members_variance(self) -> tuple[float, float]:
        """Compute A, the variance of the estimate over members, and its degrees of freedom.

        The parts of a partition are independent, so the variance between them holds for a new pool
        too. Averaging over partitions of one pool removes only what differs between the partitions.
        The variances of two recipes add up.

        References:
            Satterthwaite 1946 (degrees of freedom of a sum).
        """
        if self.others is not None:
            (a, one), (b, two) = (
                replace(self, rows=rows, others=None).members_variance()
                for rows in (self.rows, self.others)
            )
            return a + b, (a + b) ** 2 / (a**2 / one + b**2 / two) if a + b > 0 else one + two
        m = self.members
        if self.partition is None:
            return (m - 1) / m * float(np.sum((self.rows - self.rows.mean()) ** 2)), m - 1.0
        values = (self.rows * (m - 1)).reshape(-1, self.partition)
        repeats = len(values)
        within = float(np.mean(np.var(values, axis=1, ddof=1))) / self.partition
        between = float(np.var(values.mean(1), ddof=1)) if repeats > 1 else 0.0
        return max(within - (1 - 1 / repeats) * between, within / repeats), repeats * (
            self.partition - 1.0
        )


def block(
    values: Float[np.ndarray, "members examples"],
    statistic: Float[np.ndarray, " examples"] | None = None,
    seen: Bool[np.ndarray, "members examples"] | None = None,
) -> Block:
    """Sum a block of pseudo-values.

    Args:
        values: (members, examples) pseudo-values, or plain values.
        statistic: (examples,) the statistic that the pseudo-values belong to; by default their
            mean.
        seen: (members, examples) which cells to leave out.

    Returns:
        The sums of the block.
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
    blocks: Sequence[Block],
    within: tuple[float, float] = POSITIVE,
    *,
    partition: int | None = None,
    heavy_tails: bool = False,
    small: bool = False,
) -> TwoWay:
    """Combine blocks of examples to one table.

    Args:
        blocks: the sums of each block, of the same members.
        within: smallest and largest possible value.
        partition: number of parts, where members trained on disjoint parts of one pool.
        heavy_tails: whether rare examples may have much larger values, as squared errors do.
        small: whether a small mean comes from many small values, as a variance does, and not from
            few large ones, as a rate does.

    Returns:
        The mean of the table, with what its variance needs.
    """
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
        freedom=degrees_of_freedom(columns),
        both=(m - 1) / m * interaction / (n * max(1, n - 1)),
        within=within,
        third=third_cumulant(columns - mean, n),
        tail=tail(np.abs(columns)) if heavy_tails and np.isfinite(columns).all() else None,
        small=small,
    )
    return TwoWay(mean, rows, (part,), partition)


def table(
    values: Shaped[np.ndarray, "members examples"],
    within: tuple[float, float] = POSITIVE,
    *,
    heavy_tails: bool = False,
) -> TwoWay:
    """Summarize a table of values, such as losses, or whether predictions are wrong.

    Args:
        values: (members, examples) values.
        within: smallest and largest possible value.
        heavy_tails: whether rare examples may have much larger values, as squared errors do.

    Returns:
        The mean of the table, with what its variance needs.
    """
    return two_way([block(np.asarray(values, np.float64))], within, heavy_tails=heavy_tails)


def unpaired(
    a: Shaped[np.ndarray, "members examples"],
    b: Shaped[np.ndarray, "others examples"],
    within: tuple[float, float],
) -> TwoWay:
    """Compute the mean of one table minus that of another, of other members and the same examples.

    Args:
        a: (members, examples) values.
        b: (others, examples) values.
        within: smallest and largest possible difference.

    Returns:
        The difference, with what its variance needs.
    """
    one, two = table(a), table(b)
    differences = a.mean(0, dtype=np.float64) - b.mean(0, dtype=np.float64)
    found = two_way([block(differences[None])], within)
    both = one.parts[0].both + two.parts[0].both
    return replace(
        found, rows=one.rows, others=two.rows, parts=(found.parts[0]._replace(both=both),)
    )


def contrast(
    tables: Mapping[str, TwoWay], weights: Mapping[str, float], constant: float = 0.0
) -> TwoWay:
    """Compute sum_k weight_k table_k + constant, for tables of the same members and different
    examples.

    Args:
        tables: the tables by name.
        weights: the weights by name; tables of weight 0 or without a weight are left out.
        constant: a number that is added.

    Returns:
        The weighted sum of the means, with what its variance needs.
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
    """Say why a mean has no interval, and what it would take.

    Args:
        given: the mean.
        members: the fewest members for an interval.
        examples: the fewest examples for an interval.

    Returns:
        The reason; None where there is an interval.
    """
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
            f"{_count_words(given.members, 'member')} too few for an interval; at least {members} "
            "are needed"
        )
    for part in given.parts:
        if part.examples < examples:
            return (
                f"{_count_words(part.examples, 'example')} too few for an interval; at least "
                f"{examples} are needed"
            )
        if part.tail is not None and part.tail.refused:
            return part.tail.refused
        if math.isinf(part.within[1]) and part.carried < MIN_CARRYING_EXAMPLES:
            return (
                f"{max(1, round(part.carried))} of {part.examples} examples carry nearly all "
                f"of it; at least {MIN_CARRYING_EXAMPLES} should"
            )
    return None


def caution(given: TwoWay) -> str | None:
    """Say what the interval of a mean presupposes; None where there is nothing."""
    return next((part.tail.caution for part in given.parts if part.tail is not None), None)


def interval(
    given: TwoWay, level: float = LEVEL, *, members: int = MIN_MEMBERS, examples: int = MIN_EXAMPLES
) -> Estimate:
    """Compute the t interval of a mean, or the reason why there is none.

    The interval is symmetric on the logit scale for rates, on the logarithmic scale for other
    positive means, and on the linear scale for sums and for values that can be negative. That of
    values with heavy tails, or of many small values, is corrected for their skewness. Where fewer
    than 5 examples make a rate, the limits are exact binomial ones over its examples. A sum
    combines its members' variance with the limits of its parts (MOVER).

    Args:
        given: the mean.
        level: confidence level of the interval.
        members: the fewest members for an interval.
        examples: the fewest examples for an interval.

    Returns:
        The mean with its interval.

    References:
        Satterthwaite 1946 (degrees of freedom); Zou & Donner 2008, eq. 5 and 6 (MOVER); Hall 1992
        (skewness).
    """
    estimate = given.estimate
    if reason := refusal(given, members=members, examples=examples):
        return Estimate(estimate, refused=reason)
    alone = len(given.parts) == 1 and given.parts[0].weight == 1 and given.parts[0].mean == estimate
    if alone and given.parts[0].few:
        low, high = given.parts[0].limits(level)
        return Estimate(estimate, min(low, estimate), max(high, estimate))
    if alone and (given.parts[0].tail is not None or given.parts[0].small):
        below, above = reaches(*_variance(given), given.parts[0].third, level)
        least, most = given.parts[0].within
        low = max(least, estimate - below) if estimate >= least else estimate - below
        return Estimate(estimate, low, min(most, estimate + above), caution=caution(given))
    below, above = _half_widths(given, level)
    found = around(estimate, below, above, given.parts[0].within if alone else SIGNED)
    return replace(found, caution=caution(given))


def interval_of_few(
    given: TwoWay, level: float = LEVEL, *, members: int = MIN_MEMBERS, examples: int = MIN_EXAMPLES
) -> Estimate:
    """Compute the interval of a mean, also for few members or examples, then a wider one.

    Few members may differ little by luck, so with few of them the squared half-widths for new
    members and for new examples add up, each with its own quantile of Student's distribution.

    Args:
        given: the mean.
        level: confidence level of the interval.
        members: the fewest members for the usual interval.
        examples: the fewest examples for the usual interval.

    Returns:
        The mean with its interval; refused for 1 member, and for fewer than 8 examples.

    References:
        Graybill & Wang 1980 (limits of a sum of variance components).
    """
    enough = all(part.examples >= examples for part in given.parts)
    if given.members >= members and enough:
        return interval(given, level, members=members, examples=examples)
    if reason := refusal(given, members=2, examples=FEWEST_EXAMPLES):
        return Estimate(given.estimate, refused=reason)
    between, freedom = given.members_variance()
    below = above = t_quantile(float(freedom), level) ** 2 * between
    for part in given.parts:
        down = up = t_quantile(part.freedom, level) * abs(part.weight) * math.sqrt(part.own)
        if part.few:
            down, up = _reaches(part, level)
        below, above = below + down**2, above + up**2
    one = given.parts[0]
    alone = len(given.parts) == 1 and one.weight == 1 and one.mean == given.estimate
    low, high = one.within if alone else SIGNED
    if alone and one.few:
        return Estimate(
            given.estimate,
            max(low, given.estimate - math.sqrt(below)),
            min(high, given.estimate + math.sqrt(above)),
        )
    found = around(given.estimate, math.sqrt(below), math.sqrt(above), (low, high))
    return replace(found, caution=caution(given))


def _reaches(part: Part, level: float) -> tuple[float, float]:
    """Compute how far the exact limits of a rate that few examples make are below and above its
    weighted mean.
    """
    limits = part.limits(level)
    down, up = sorted(part.weight * (limit - part.mean) for limit in limits)
    return -down, up


def around(estimate: float, below: float, above: float, within: tuple[float, float]) -> Estimate:
    """Compute limits at given distances from an estimate, on the scale that fits the range of its
    values.

    The scale is the logit or the logarithm for a range that begins at 0 (delta method), else
    linear.

    Args:
        estimate: the number.
        below: distance of the lower limit, on the linear scale.
        above: distance of the upper limit, on the linear scale.
        within: smallest and largest possible value.
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


def _variance(given: TwoWay) -> tuple[float, float]:
    """Compute the variance of a mean over members and examples, and its degrees of freedom."""
    between, freedom = given.members_variance()
    own = [part.weight**2 * part.own for part in given.parts]
    both = [part.weight**2 * part.both for part in given.parts]
    variance = max(between + sum(own) - sum(both), between, sum(own))
    scatter = between**2 / freedom
    for part, b, ab in zip(given.parts, own, both, strict=True):
        scatter += b**2 / part.freedom + ab**2 / ((given.members - 1) * (part.examples - 1))
    return variance, variance**2 / scatter if scatter > 0 else math.inf


def _half_widths(given: TwoWay, level: float) -> tuple[float, float]:
    """Compute how far the limits are below and above the estimate."""
    variance, freedom = _variance(given)
    t = t_quantile(freedom, level) if variance > 0 else 0.0
    if not any(part.few for part in given.parts):
        return t * math.sqrt(variance), t * math.sqrt(variance)
    below = above = t**2 * given.members_variance()[0]
    own = [part.weight**2 * part.own for part in given.parts]
    both = [part.weight**2 * part.both for part in given.parts]
    for part, b, ab in zip(given.parts, own, both, strict=True):
        down = up = t * math.sqrt(max(0.0, b - ab))
        if part.few:
            down, up = _reaches(part, level)
        below, above = below + down**2, above + up**2
    return math.sqrt(below), math.sqrt(above)


def _count_words(number: int, what: str) -> str:
    return f"{number} {what} is" if number == 1 else f"{number} {what}s are"


def is_few(mean: float, examples: int, within: tuple[float, float]) -> bool:
    """Whether only a handful of examples make a mean, or its distance from a bound.

    Args:
        mean: the mean.
        examples: number of examples.
        within: smallest and largest possible value; where one is infinite, the answer is no.
    """
    low, high = within
    return math.isfinite(high - low) and examples * min(
        mean - low, high - mean
    ) < MIN_RATE_EXAMPLES * (high - low)


def exact_limits(
    mean: float, examples: int, within: tuple[float, float], level: float
) -> tuple[float, float]:
    """Compute limits of a mean that few examples make.

    They are exact binomial limits on the far side, and the bound itself on the near side. Values
    inside the range vary less than values at its ends, which the binomial distribution assumes.

    Args:
        mean: the mean.
        examples: number of examples.
        within: smallest and largest possible value.
        level: confidence level.

    Returns:
        Lower and upper limit.

    References:
        Clopper & Pearson 1934.
    """
    from scipy.special import betaincinv

    low, high = within
    near = min(mean - low, high - mean) / (high - low)
    count = max(0.0, near * examples)
    reach = (high - low) * float(
        betaincinv(count + 1, max(examples - count, 1e-9), (1 + level) / 2)
    )
    return (low, low + reach) if mean - low < high - mean else (high - reach, high)
