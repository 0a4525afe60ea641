"""Two recipes on the same examples, many members together, and a hyperparameter over its values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from jaxnet import arrays, display
from jaxnet.errors import InputError, check_known
from jaxnet.stats.bias_variance import normalised, one_hot
from jaxnet.stats.estimate import LEVEL, Estimate, exact
from jaxnet.stats.random_effects import (
    DIFFERENCE,
    MIN_ERROR_EXAMPLES,
    MIN_PAIRED_MEMBERS,
    MIN_RATE_EXAMPLES,
    POSITIVE,
    RATE,
    SIGNED,
    block,
    exact_limits,
    interval,
    refusal,
    table,
    two_way,
)
from jaxnet.stats.voting import vote, vote_estimates
from jaxnet.typing import ArrayLike

ROOT_MARGIN = 1e-9  # to an estimate


def error_of(wrong: ArrayLike, level: float = LEVEL) -> Estimate:
    """The mean of losses (members, examples), for new members and new examples; of booleans a
    rate.
    """
    wrong = arrays.losses("losses", wrong)
    if lost := _not_finite(wrong):
        return lost
    return interval(
        table(wrong, RATE if wrong.dtype == bool else POSITIVE), level, examples=MIN_ERROR_EXAMPLES
    )


def paired_difference(a: ArrayLike, b: ArrayLike, level: float = LEVEL) -> Estimate:
    """The mean loss of recipe a less that of b, on the same examples; member i of both may share
    its luck.

    a, b: the loss of each member on each example, or whether it is wrong. Where the recipes differ
    on fewer than 5 examples, the limits are those that as many differences could have come from
    (exact binomial).
    """
    a, b = arrays.losses("losses a", a), arrays.losses("losses b", b)
    if a.shape != b.shape:
        raise InputError(
            f"losses have shapes {a.shape} and {b.shape}; give the same members and examples twice"
        )
    if lost := _not_finite(a, b):
        return lost
    differences = a.astype(np.float64) - b
    given = table(differences, DIFFERENCE if a.dtype == b.dtype == bool else SIGNED)
    shares = np.abs(differences.mean(0))
    found = interval(given, level, members=MIN_PAIRED_MEMBERS, examples=MIN_ERROR_EXAMPLES)
    if found.refused is None and a.dtype == b.dtype == bool and shares.sum() < MIN_RATE_EXAMPLES:
        reach = exact_limits(float(shares.mean()), a.shape[1], RATE, level)[1]
        return Estimate(found.estimate, min(found.low, -reach), max(found.high, reach))
    return found


def network_difference(a: ArrayLike, b: ArrayLike, level: float = LEVEL) -> Estimate:
    """The mean loss of network a less that of b on new examples: of these two networks, not of the
    recipes that made them.

    a, b: (examples,) the loss of each on the same examples, or whether it is wrong. Of booleans the
    score interval (Tango 1998, eq. 3), widened to hold 0 unless McNemar's exact test at this level
    rejects it; else Student's, with degrees of freedom by the kurtosis of the differences.
    """
    a, b = (
        arrays.losses(f"losses {name}", each, arrays.EXAMPLE_AXES)
        for name, each in (("a", a), ("b", b))
    )
    if a.shape != b.shape:
        raise InputError(
            f"losses have shapes {a.shape} and {b.shape}; give the same examples twice: (examples,)"
        )
    if a.dtype == b.dtype == bool:
        return _paired_rates(int((a & ~b).sum()), int((b & ~a).sum()), len(a), level)
    if lost := _not_finite(a, b):
        return lost
    differences = a.astype(np.float64) - b
    given = table(differences[None], SIGNED)
    if not differences.any():
        return Estimate(0.0, refused=f"both lose the same on each of {len(a)} examples")
    if reason := refusal(given, members=1, examples=MIN_ERROR_EXAMPLES):
        return Estimate(given.estimate, refused=reason)
    from scipy.special import stdtrit

    reach = float(stdtrit(given.parts[0].freedom, (1 + level) / 2)) * math.sqrt(given.parts[0].own)
    return Estimate(given.estimate, given.estimate - reach, given.estimate + reach)


def _paired_rates(more: int, fewer: int, n: int, level: float) -> Estimate:
    """(more - fewer) / n, of n pairs of which so many speak for either side."""
    from scipy.optimize import brentq

    z, centre, apart = NormalDist().inv_cdf((1 + level) / 2), (more - fewer) / n, more + fewer

    def excess(difference: float, side: float) -> float:
        """How far the estimate is from this difference, on one side, beyond z standard errors under
        it.
        """
        b = (2 * n - more + fewer) * difference - apart
        rate = (math.sqrt(max(0.0, b * b + 8 * n * fewer * difference * (1 - difference))) - b) / (
            4 * n
        )
        return side * n * (centre - difference) - z * math.sqrt(
            max(0.0, n * (2 * rate + difference * (1 - difference)))
        )

    # At the estimate itself, which is beyond no error, the excess may be 0 too.
    low: Any = (
        -1.0 if excess(-1.0, 1.0) <= 0 else brentq(excess, -1.0, centre - ROOT_MARGIN, args=(1.0,))
    )
    high: Any = (
        1.0 if excess(1.0, -1.0) <= 0 else brentq(excess, centre + ROOT_MARGIN, 1.0, args=(-1.0,))
    )
    share = exact(more, apart, level) if apart else Estimate(0.5, 0.0, 1.0)
    return Estimate(
        centre,
        min(low, 0.0) if share.low <= 0.5 else low,
        max(high, 0.0) if share.high >= 0.5 else high,
    )


@dataclass(frozen=True)
class EnsembleGain:
    """What removing the variance would buy: the mean error of the members, that of their combined
    prediction, and the difference.
    """

    member: Estimate
    ensemble: Estimate
    gain: Estimate
    members: int

    __repr__ = display.text


def ensemble_gain(
    predictions: ArrayLike,
    labels: ArrayLike,
    *,
    loss: Literal["zero_one", "squared", "brier"] | str = "zero_one",
    level: float = LEVEL,
) -> EnsembleGain:
    """The error of M members one by one and together, for M new members and new examples.

    zero_one: class numbers vote, with ties to the smallest; of log-probabilities (members,
    examples, classes) the mean probability decides. squared: the mean of values. brier: the mean
    probability.
    """
    check_known("loss", loss, ("zero_one", "squared", "brier"))
    f, y = arrays.predictions(predictions, labels, loss=loss)
    if loss == "zero_one":
        classes = f.shape[2] if f.ndim == 3 else int(max(f.max(), y.max())) + 1
        ids = f.argmax(2) if f.ndim == 3 else f
        member = error_of(arrays.wrong(ids, y), level)
        ballots = np.exp(normalised(f)[0]) if f.ndim == 3 else None
        found, _ = vote_estimates([vote(ids, y, classes, ballots=ballots)], len(f), level, None)
        return EnsembleGain(member, found["bias"], found["net_variance"], len(f))
    values = f[..., None].astype(np.float64) if loss == "squared" else np.exp(normalised(f)[0])
    truth = y[:, None].astype(np.float64) if loss == "squared" else one_hot(y, f.shape[2])
    m, mean = len(f), values.mean(0)
    each, together = ((values - truth) ** 2).sum(-1), ((mean - truth) ** 2).sum(-1)
    without = ((mean + (mean - values) / max(1, m - 1) - truth) ** 2).sum(-1)
    pseudo = m * together - (m - 1) * without
    tables = {"member": table(each), "ensemble": two_way([block(pseudo, together)])}
    gain = two_way([block(each - pseudo, each.mean(0) - together)])
    return EnsembleGain(
        interval(tables["member"], level),
        interval(tables["ensemble"], level),
        interval(gain, level),
        m,
    )


@dataclass(frozen=True)
class ValidationCurve:
    """Errors over the values of a hyperparameter. best: of the lowest validation error. tied: not
    told apart from it.
    """

    training: tuple[Estimate, ...]
    validation: tuple[Estimate, ...]
    best: int
    tied: tuple[int, ...]

    __repr__ = display.text


def validation_curve(
    training: Sequence[ArrayLike], validation: Sequence[ArrayLike], level: float = LEVEL
) -> ValidationCurve:
    """Errors on training and validation set for each value of a hyperparameter, on the same
    examples for all of them.

    training, validation: for each value, whether each member is wrong on each example, or its loss.
    tied: values whose difference to the best is not told from 0, with Bonferroni's intervals over
    all values; those that have too few members for an interval are among them.
    """
    if not len(validation) or len(training) != len(validation):
        raise InputError(
            f"training errors of {len(training)} values, validation errors of {len(validation)}; "
            "give both, of at least one value"
        )
    training, validation = (
        [_finite(f"{part} losses of value {i}", each) for i, each in enumerate(given)]
        for part, given in (("training", training), ("validation", validation))
    )
    best = int(np.argmin([np.mean(wrong, dtype=np.float64) for wrong in validation]))
    one = 1 - (1 - level) / max(1, len(validation) - 1)
    tied = tuple(
        i
        for i, wrong in enumerate(validation)
        if i != best and not paired_difference(wrong, validation[best], one).low > 0
    )
    return ValidationCurve(
        tuple(error_of(wrong, level) for wrong in training),
        tuple(error_of(wrong, level) for wrong in validation),
        best,
        tied,
    )


def _not_finite(*losses: np.ndarray) -> Estimate | None:
    """No number, and why, where a loss is not finite, as those of a diverged network are not."""
    for each in losses:
        if each.dtype.kind == "f" and (bad := np.argwhere(~np.isfinite(each))).size:
            place = arrays.spot(bad[0], arrays.MEMBER_AXES[-each.ndim :])
            return Estimate(
                math.nan,
                refused=f"the loss of {place} is {each[tuple(bad[0])]}, not a finite number",
            )
    return None


def _finite(what: str, given: ArrayLike) -> np.ndarray:
    """Losses of which all are finite: one that is not would be the best, or hide which is."""
    return arrays.numbers(what, arrays.losses(what, given), arrays.MEMBER_AXES)
