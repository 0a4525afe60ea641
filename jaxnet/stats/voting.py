"""The majority vote of M members: its bias, and the variance of the votes around it (Domingos
2000).

Votes are counted in integers. Leaving out one member hardly ever changes the winner of a vote, so
the jackknife fails here: intervals resample the members with replacement instead.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxnet import arrays
from jaxnet.stats.estimate import Estimate
from jaxnet.stats.random_effects import (
    DIFFERENCE,
    MIN_EXAMPLES,
    MIN_MEMBERS,
    MIN_RATE_EXAMPLES,
    RATE,
    around,
    exact_limits,
    is_few,
)

VOTE_DRAWS = 200  # bootstrap samples of the members
VOTE_STATISTICS = ("bias", "variance", "net_variance", "unbiased_variance", "biased_variance")


class Vote(NamedTuple):
    """Statistics of the vote on a block of examples.

    Attributes:
        values: (statistics, examples) of all members, in the order of VOTE_STATISTICS.
        sums: (statistics, draws) sums over the examples, for each draw of the members.
        scatter: (statistics,) variances over the draws, summed over the examples.
    """

    values: Float[np.ndarray, "statistics examples"]
    sums: Float[np.ndarray, "statistics draws"]
    scatter: Float[np.ndarray, " statistics"]


def vote(
    predictions: Int[np.ndarray, "members examples"],
    labels: Int[np.ndarray, " examples"],
    classes: int,
    seen: Bool[np.ndarray, "members examples"] | None = None,
    ballots: Float[np.ndarray, "members examples classes"] | None = None,
) -> Vote:
    """Compute the vote statistics of all members, and of members drawn with replacement.

    The draws are the same for every block of examples.

    Args:
        predictions: (members, examples) class numbers.
        labels: (examples,) class numbers.
        classes: number of classes.
        seen: (members, examples) whether the member trained on the example; such votes do not
            count.
        ballots: (members, examples, classes) how much of its vote each member gives to each class,
            where that decides the main prediction; by default the counts of votes decide.

    Returns:
        The statistics of this block.
    """
    members, n = predictions.shape
    cast = predictions[..., None] == np.arange(classes)
    if seen is not None:
        cast &= ~seen[..., None]
    values = np.stack(_statistics(cast.sum(0), labels, None if ballots is None else ballots.sum(0)))
    weights = (
        np.random.default_rng(0)
        .multinomial(members, np.full(members, 1 / members), VOTE_DRAWS)
        .astype(np.float32)
    )

    def draw(votes: np.ndarray) -> np.ndarray:
        return (weights @ votes.reshape(members, -1).astype(np.float32)).reshape(
            VOTE_DRAWS, n, classes
        )

    drawn = np.stack(_statistics(draw(cast), labels, None if ballots is None else draw(ballots)))
    return Vote(values, drawn.sum(2), drawn.var(1, ddof=1).sum(1))


def vote_estimates(
    votes: Sequence[Vote], members: int, level: float, refused: str | None
) -> tuple[dict[str, Estimate], dict[str, Float[np.ndarray, " examples"]]]:
    """Compute the vote statistics with intervals from those of all blocks of examples.

    Args:
        votes: the statistics of each block.
        members: number of members.
        level: confidence level of the intervals.
        refused: why there are no intervals, or None where there may be some.

    Returns:
        Each statistic with its interval, and its value on each example.
    """
    values = dict(
        zip(VOTE_STATISTICS, np.concatenate([each.values for each in votes], axis=1), strict=True)
    )
    sums, scatter = (
        np.sum([each.sums for each in votes], axis=0),
        np.sum([each.scatter for each in votes], axis=0),
    )
    estimates = {}
    for i, name in enumerate(VOTE_STATISTICS):
        within = DIFFERENCE if name == "net_variance" else RATE
        estimates[name] = _vote_estimate(
            values[name], sums[i], float(scatter[i]), members, within, level, refused
        )
    return estimates, values


def _statistics(
    counts: np.ndarray, labels: Int[np.ndarray, " examples"], ballots: np.ndarray | None = None
) -> tuple[np.ndarray, ...]:
    """Compute the statistics of VOTE_STATISTICS, (..., examples) each, from votes (..., examples,
    classes).
    """
    # argmax takes the first of several maxima, so ties go to the smallest class.
    main = (counts if ballots is None else ballots).argmax(-1)
    total = np.maximum(counts.sum(-1), 1)
    right = (
        np.take_along_axis(counts, np.broadcast_to(labels, main.shape)[..., None], -1)[..., 0]
        / total
    )
    against = 1 - np.take_along_axis(counts, main[..., None], -1)[..., 0] / total
    wrong = arrays.wrong(main, labels)
    unbiased, biased = np.where(wrong, 0.0, against), np.where(wrong, right, 0.0)
    # in the order of VOTE_STATISTICS
    return (wrong.astype(np.float64), against, unbiased - biased, unbiased, biased)


def _vote_estimate(
    values: Float[np.ndarray, " examples"],
    sums: Float[np.ndarray, " draws"],
    drawn: float,
    members: int,
    within: tuple[float, float],
    level: float,
    refused: str | None,
) -> Estimate:
    from scipy.special import stdtrit

    n, mean = len(values), float(values.mean())
    if refused is None and members < MIN_MEMBERS:
        refused = (
            f"{members} members are too few for an interval; at least {MIN_MEMBERS} are needed"
        )
    if refused is None and n < MIN_EXAMPLES:
        refused = f"{n} examples are too few for an interval; at least {MIN_EXAMPLES} are needed"
    if refused is not None:
        return Estimate(mean, refused=refused)
    own = float(values.var(ddof=1)) / n
    if is_few(mean, n, within):
        low, high = exact_limits(mean, n, within, level)
        return Estimate(mean, min(low, mean), max(high, mean))
    between = max(0.0, float(sums.var(ddof=1)) - drawn) / n**2
    variance = own + between
    scatter = own**2 / (n - 1) + between**2 / (members - 1)
    t = float(stdtrit(variance**2 / scatter, (1 + level) / 2)) if scatter > 0 else 0.0
    reach = t * variance**0.5
    found = around(mean, reach, reach, within)
    if within == DIFFERENCE:
        # Where one side makes nearly all of the difference, it is as skewed as a rate: take the
        # wider limit of both.
        if 0 < mean < 1:
            found = Estimate(
                mean, found.low, max(found.high, around(mean, reach, reach, RATE).high)
            )
        if np.abs(values).sum() < MIN_RATE_EXAMPLES:
            least, most = (
                exact_limits(float(side.mean()), n, RATE, level)[1]
                for side in ((-values).clip(0), values.clip(0))
            )
            found = Estimate(mean, min(found.low, -least), max(found.high, most))
    return found
