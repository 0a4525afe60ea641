"""Compare recipes, networks, ensembles and the values of a hyperparameter by their losses on the
same examples.

The functions take arrays of losses or predictions. They train nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from jaxnet import arrays, display
from jaxnet.errors import InputError, check_known
from jaxnet.stats.bias_variance import normalized, one_hot
from jaxnet.stats.cross_fitting import (
    MIN_GROUPS,
    group_codes,
    mean_over_units,
    t_interval,
    unit_means,
)
from jaxnet.stats.estimate import LEVEL, Estimate, exact
from jaxnet.stats.random_effects import (
    DIFFERENCE,
    MIN_ERROR_EXAMPLES,
    MIN_PAIRED_MEMBERS,
    MIN_RATE_EXAMPLES,
    POSITIVE,
    RATE,
    SIGNED,
    TwoWay,
    block,
    exact_limits,
    interval,
    refusal,
    table,
    two_way,
    unpaired,
)
from jaxnet.stats.selection import examples_share, level_of_lowest, lowest
from jaxnet.stats.voting import vote, vote_estimates
from jaxnet.typing import ArrayLike

ROOT_MARGIN = 1e-9  # how close to the estimate the search for a limit begins


def error_of(
    wrong: ArrayLike,
    level: float = LEVEL,
    *,
    heavy_tails: bool = True,
    groups: ArrayLike | None = None,
) -> Estimate:
    """Compute the mean of losses, with its interval for new members and new examples.

    With groups it reaches at least as far as the interval over groups.

    Args:
        wrong: (members, examples) losses, or booleans: whether a prediction is wrong; the mean of
            booleans is a rate.
        level: confidence level of the interval.
        heavy_tails: for losses that are no booleans, whether rare ones may be much larger than
            these, as squared errors may; then the interval is refused where the largest losses show
            that no variance exists. False for losses such as a cross-entropy.
        groups: as in `network_difference`.

    Returns:
        The mean loss; refused where a loss is not finite, and for fewer than 8 groups.

    Raises:
        InputError: for an array that cannot be losses.
    """
    wrong = arrays.losses("losses", wrong)
    if lost := _not_finite(wrong):
        return lost
    counted = wrong.dtype == bool
    heavy_tails = heavy_tails and not counted
    given = table(wrong, RATE if counted else POSITIVE, heavy_tails=heavy_tails)
    found = interval(given, level, examples=MIN_ERROR_EXAMPLES)
    if groups is None:
        return found
    units = _over_groups(wrong, groups)
    return _at_least_over_groups(found, table(units, POSITIVE, heavy_tails=heavy_tails), level)


def _over_groups(losses: np.ndarray, groups: ArrayLike) -> Float[np.ndarray, "members units"]:
    """Compute the losses of groups, whose mean is that over examples."""
    return unit_means(losses.astype(np.float64), group_codes(groups, losses.shape[1]))


def _at_least_over_groups(found: Estimate, units: TwoWay, level: float) -> Estimate:
    """Widen the interval over examples so that it reaches as far as that over groups.

    Args:
        found: the interval over examples.
        units: losses of groups, or their differences, in place of examples.
        level: confidence level of the interval.
    """
    count = units.parts[0].examples
    if found.refused is not None:
        return found
    if count < MIN_GROUPS:
        return _too_few_groups(found, count)
    wider = interval(units, level, members=MIN_PAIRED_MEMBERS, examples=MIN_GROUPS)
    if wider.refused is not None:
        return Estimate(found.estimate, refused=wider.refused)
    return replace(found, low=min(found.low, wider.low), high=max(found.high, wider.high))


def _too_few_groups(found: Estimate, count: int) -> Estimate:
    return Estimate(
        found.estimate,
        refused=f"{count} groups are too few for an interval; at least {MIN_GROUPS} are needed",
    )


def paired_difference(
    a: ArrayLike, b: ArrayLike, level: float = LEVEL, groups: ArrayLike | None = None
) -> Estimate:
    """Compute the mean loss of recipe a minus that of recipe b on the same examples.

    Member i of both recipes may share its random seed. Where the recipes differ on fewer than 5
    examples, the limits are exact binomial ones: those from which so few differences can have come.

    Args:
        a: (members, examples) the loss of each member of recipe a on each example, or whether it is
            wrong.
        b: the same for recipe b, of the same shape.
        level: confidence level of the interval.
        groups: as in `network_difference`.

    Returns:
        The difference; refused where a loss is not finite, and for fewer than 8 groups.

    Raises:
        InputError: for arrays that cannot be losses, and for shapes that differ.
    """
    a, b = arrays.losses("losses a", a), arrays.losses("losses b", b)
    if a.shape != b.shape:
        raise InputError(
            f"losses have shapes {a.shape} and {b.shape}; give the same members and examples twice"
        )
    if lost := _not_finite(a, b):
        return lost
    differences = a.astype(np.float64) - b
    within = DIFFERENCE if a.dtype == b.dtype == bool else SIGNED
    found = _at_least_exact(table(differences, within), differences.mean(0), level)
    if groups is None:
        return found
    return _at_least_over_groups(found, table(_over_groups(differences, groups), SIGNED), level)


def members_difference(
    a: ArrayLike, b: ArrayLike, level: float = LEVEL, groups: ArrayLike | None = None
) -> Estimate:
    """Compute the mean loss of the members of recipe a minus that of the members of recipe b, which
    are independent of each other, on the same examples.

    Where the recipes differ on fewer than 5 examples, the limits are those of `paired_difference`.

    Args:
        a: (members, examples) the loss of each member of recipe a on each example, or whether it is
            wrong.
        b: (others, examples) the same for recipe b, for any number of members.
        level: confidence level of the interval.
        groups: as in `network_difference`.

    Returns:
        The difference; refused where a loss is not finite, and for fewer than 8 groups.

    Raises:
        InputError: for arrays that cannot be losses, and for other examples.
    """
    a, b = arrays.losses("losses a", a), arrays.losses("losses b", b)
    if a.shape[1] != b.shape[1]:
        raise InputError(
            f"losses have shapes {a.shape} and {b.shape}; give the same examples twice"
        )
    if lost := _not_finite(a, b):
        return lost
    given = unpaired(a, b, DIFFERENCE if a.dtype == b.dtype == bool else SIGNED)
    means = (each.mean(0, dtype=np.float64) for each in (a, b))
    found = _at_least_exact(given, np.subtract(*means), level)
    if groups is None:
        return found
    units = unpaired(_over_groups(a, groups), _over_groups(b, groups), SIGNED)
    return _at_least_over_groups(found, units, level)


def _at_least_exact(given: TwoWay, means: np.ndarray, level: float) -> Estimate:
    """Compute the interval of a difference whose mean on each example is given. Of rates that
    differ on few examples, the limits are at least as far from 0 as exact ones.
    """
    found = interval(given, level, members=MIN_PAIRED_MEMBERS, examples=MIN_ERROR_EXAMPLES)
    shares, rates = np.abs(means), given.parts[0].within == DIFFERENCE
    if found.refused is None and rates and shares.sum() < MIN_RATE_EXAMPLES:
        reach = exact_limits(float(shares.mean()), len(shares), RATE, level)[1]
        return Estimate(found.estimate, min(found.low, -reach), max(found.high, reach))
    return found


def network_difference(
    a: ArrayLike, b: ArrayLike, level: float = LEVEL, groups: ArrayLike | None = None
) -> Estimate:
    """Compute the mean loss of network a minus that of network b on new examples.

    The interval is for these two networks, not for the recipes that made them. For booleans it is
    the score interval, widened to include 0 unless McNemar's exact test at this level rejects 0.
    For other losses it is Student's, with degrees of freedom by the kurtosis of the differences.
    With groups it reaches at least as far as Student's interval over groups.

    Args:
        a: (examples,) the loss of network a on each example, or whether it is wrong.
        b: the same for network b, on the same examples.
        level: confidence level of the interval.
        groups: (examples,) the group of each example, such as its patient, which is then the
            independent unit; None where every example is its own.

    Returns:
        The difference; refused where a loss is not finite, and for fewer than 8 groups.

    Raises:
        InputError: for arrays that cannot be losses, and for shapes that differ.

    References:
        Tango 1998, eq. 3 (the score interval).
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
        found = _paired_rates(int((a & ~b).sum()), int((b & ~a).sum()), len(a), level)
    else:
        found = _not_finite(a, b) or _paired_values(a.astype(np.float64) - b, level)
    if groups is None or found.refused is not None:
        return found
    units = mean_over_units(a.astype(np.float64) - b, group_codes(groups, len(a)))
    if (count := len(units.values)) < MIN_GROUPS:
        return _too_few_groups(found, count)
    of_units = t_interval(units, level)
    return Estimate(found.estimate, min(found.low, of_units.low), max(found.high, of_units.high))


def _paired_values(differences: np.ndarray, level: float) -> Estimate:
    """Compute the mean of differences that are no differences of booleans."""
    given = table(differences[None], SIGNED)
    if not differences.any():
        return Estimate(0.0, refused=f"the losses are equal on each of {len(differences)} examples")
    if reason := refusal(given, members=1, examples=MIN_ERROR_EXAMPLES):
        return Estimate(given.estimate, refused=reason)
    from scipy.special import stdtrit

    reach = float(stdtrit(given.parts[0].freedom, (1 + level) / 2)) * math.sqrt(given.parts[0].own)
    return Estimate(given.estimate, given.estimate - reach, given.estimate + reach)


def _paired_rates(more: int, fewer: int, n: int, level: float) -> Estimate:
    """Compute (more - fewer) / n for n pairs, of which `more` and `fewer` favor one side each."""
    from scipy.optimize import brentq

    z, center, apart = NormalDist().inv_cdf((1 + level) / 2), (more - fewer) / n, more + fewer

    def excess(difference: float, side: float) -> float:
        """Compute how far the estimate is beyond z standard errors from this difference, on one
        side.
        """
        b = (2 * n - more + fewer) * difference - apart
        rate = (math.sqrt(max(0.0, b * b + 8 * n * fewer * difference * (1 - difference))) - b) / (
            4 * n
        )
        return side * n * (center - difference) - z * math.sqrt(
            max(0.0, n * (2 * rate + difference * (1 - difference)))
        )

    # The excess may be 0 at the estimate itself too, so the search does not begin there.
    low: Any = (
        -1.0 if excess(-1.0, 1.0) <= 0 else brentq(excess, -1.0, center - ROOT_MARGIN, args=(1.0,))
    )
    high: Any = (
        1.0 if excess(1.0, -1.0) <= 0 else brentq(excess, center + ROOT_MARGIN, 1.0, args=(-1.0,))
    )
    share = exact(more, apart, level) if apart else Estimate(0.5, 0.0, 1.0)
    return Estimate(
        center,
        min(low, 0.0) if share.low <= 0.5 else low,
        max(high, 0.0) if share.high >= 0.5 else high,
    )


@dataclass(frozen=True)
class EnsembleGain:
    """What removing the variance would gain.

    Attributes:
        member: mean error of the members.
        ensemble: error of their combined prediction.
        gain: the difference, member - ensemble.
        members: number of members.
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
    """Compute the error of M members individually and together, for M new members and new examples.

    Args:
        predictions: (members, examples) class numbers or values, or (members, examples, classes)
            log-probabilities; (members, examples, columns) of several values.
        labels: (examples,) class numbers or values, or (examples, columns) of several values.
        loss: how predictions are combined. zero_one: class numbers vote, with ties to the smallest
            class; with log-probabilities the mean probability decides. squared: the mean of the
            values. brier: the mean probability.
        level: confidence level of the intervals.

    Returns:
        Both errors and their difference.

    Raises:
        InputError: for predictions and labels that do not fit the loss or each other.
    """
    check_known("loss", loss, ("zero_one", "squared", "brier"))
    f, y = arrays.predictions(predictions, labels, loss=loss)
    if loss == "zero_one":
        classes = f.shape[2] if f.ndim == 3 else int(max(f.max(), y.max())) + 1
        ids = f.argmax(2) if f.ndim == 3 else f
        member = error_of(arrays.wrong(ids, y), level)
        ballots = np.exp(normalized(f)[0]) if f.ndim == 3 else None
        found, _ = vote_estimates([vote(ids, y, classes, ballots=ballots)], len(f), level, None)
        return EnsembleGain(member, found["bias"], found["net_variance"], len(f))
    if y.ndim == 2:
        values, truth = (each.astype(np.float64) / math.sqrt(y.shape[1]) for each in (f, y))
    else:
        values = f[..., None].astype(np.float64) if loss == "squared" else np.exp(normalized(f)[0])
        truth = y[:, None].astype(np.float64) if loss == "squared" else one_hot(y, f.shape[2])
    m, mean = len(f), values.mean(0)
    each, together = ((values - truth) ** 2).sum(-1), ((mean - truth) ** 2).sum(-1)
    without = ((mean + (mean - values) / max(1, m - 1) - truth) ** 2).sum(-1)
    pseudo = m * together - (m - 1) * without
    heavy = loss == "squared"
    tables = {
        "member": table(each, heavy_tails=heavy),
        "ensemble": two_way([block(pseudo, together)], heavy_tails=heavy),
    }
    gain = two_way([block(each - pseudo, each.mean(0) - together)])
    return EnsembleGain(
        interval(tables["member"], level),
        interval(tables["ensemble"], level),
        interval(gain, level),
        m,
    )


@dataclass(frozen=True)
class ValidationCurve:
    """Errors over the values of a hyperparameter.

    Attributes:
        training: training error of each value.
        validation: validation error of each value; the upper limit of the best one allows for the
            choice among all.
        best: index of the value with the lowest validation error.
        tied: indices of the values that cannot be told apart from the best.
    """

    training: tuple[Estimate, ...]
    validation: tuple[Estimate, ...]
    best: int
    tied: tuple[int, ...]

    __repr__ = display.text


def validation_curve(
    training: Sequence[ArrayLike], validation: Sequence[ArrayLike], level: float = LEVEL
) -> ValidationCurve:
    """Compute the errors on the training and the validation set for each value of a hyperparameter.

    Args:
        training: for each value, (members, examples) losses on the training set, or whether each
            prediction is wrong.
        validation: the same on the validation set, on the same examples for all values.
        level: confidence level of the intervals.

    Returns:
        The errors, the best value, and those tied with it: their difference to the best has an
        interval (Bonferroni's over all values) that includes 0, or no interval, for lack of
        members.

    Raises:
        InputError: for different numbers of values in the two, and for losses that are not finite.
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
    errors = [error_of(wrong, level) for wrong in validation]
    if errors[best].refused is None:
        tables = [table(wrong) for wrong in validation]
        upper = level_of_lowest(
            np.stack([wrong.mean(0) for wrong in validation]),
            np.array([examples_share(each) for each in tables]),
            level,
        )
        errors[best] = lowest(partial(error_of, validation[best]), upper, level)
    return ValidationCurve(
        tuple(error_of(wrong, level) for wrong in training), tuple(errors), best, tied
    )


def _not_finite(*losses: np.ndarray) -> Estimate | None:
    """Return a refused Estimate where a loss is not finite, as the losses of a diverged network are
    not.
    """
    for each in losses:
        if each.dtype.kind == "f" and (bad := np.argwhere(~np.isfinite(each))).size:
            place = arrays.spot(bad[0], arrays.MEMBER_AXES[-each.ndim :])
            return Estimate(
                math.nan,
                refused=f"the loss of {place} is {each[tuple(bad[0])]}, not a finite number",
            )
    return None


def _finite(what: str, given: ArrayLike) -> np.ndarray:
    """Check that all losses are finite: one that is not would look best, or hide which is best."""
    return arrays.numbers(what, arrays.losses(what, given), arrays.MEMBER_AXES)
