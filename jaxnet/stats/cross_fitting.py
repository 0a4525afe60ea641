"""Cross-fitting: errors on examples that networks have seen and on examples that they have not, of
one pool of examples.

The pool is divided into folds. A network trains on all folds but one, several networks leave out
each fold, and so every example has losses of networks that have not seen it and of networks that
have. Errors of both kinds are of the same examples, so their difference, the gap, is a paired one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jaxnet import arrays, display
from jaxnet.errors import InputError
from jaxnet.stats.estimate import LEVEL, Estimate, exact, mean
from jaxnet.stats.moments import Tail, degrees_of_freedom, reaches, t_quantile, tail, third_cumulant
from jaxnet.stats.random_effects import (
    MIN_CARRYING_EXAMPLES,
    MIN_RATE_EXAMPLES,
    POSITIVE,
    RATE,
    around,
)
from jaxnet.typing import ArrayLike

MIN_FOLDS = 4  # for an interval
MIN_GROUPS = 8  # independent units, examples or groups of them, for an interval
FEW_GROUPS = 24  # below, and below this error, fewer intervals than 95% hold the truth
FEW_GROUPS_ERROR = 0.1
FEW_EXAMPLES = 1000  # below, intervals of the recipe hold the truth in 90 to 95%
# A luck of the whole pool, which all folds share, is invisible in one pool (Bengio & Grandvalet
# 2004). Errors of the recipe over simulated pools vary by up to this factor more than one sees.
POOL_LUCK = 1.25
# With fewer units that carry a difference, or fewer groups, its distribution is skewed.
MIN_CARRYING_UNITS = 10
SKEWED_GROUPS = 100

Limits = tuple[float, float]
Parts = tuple[tuple[float, "Contrast"], tuple[float, "Contrast"]]  # weighted errors


@dataclass(frozen=True)
class Contrast:
    """A mean over examples of a weighted sum of losses, and what makes it vary.

    Attributes:
        estimate: the mean.
        values: (units,) sums over the examples of each unit; a unit is a group or an example.
        examples: number of examples.
        own: variance of the mean over the draw of units.
        own_freedom: degrees of freedom of `own`.
        networks: variance of the mean over networks of the same fold.
        networks_freedom: degrees of freedom of `networks`.
        both: variance over networks and units together, which `networks` contains.
        both_freedom: degrees of freedom of `both`.
        between: variance of the mean as the means of the folds show it.
        folds: number of folds with examples of the mean.
        third: third cumulant of the mean over the draw of units.
    """

    estimate: float
    values: Float[np.ndarray, " units"]
    examples: int
    own: float
    own_freedom: float
    networks: float
    networks_freedom: float
    both: float
    both_freedom: float
    between: float
    folds: int
    third: float = 0.0

    @property
    def luck(self) -> float:
        """The variance that networks of the same fold add to that of the examples."""
        return max(0.0, self.networks - self.both)

    def variance(self) -> tuple[float, float]:
        """Compute the variance of the mean over units and networks, and its degrees of freedom.

        References:
            Satterthwaite 1946.
        """
        total = self.own + self.luck
        scatter = self.own**2 / self.own_freedom
        if self.luck:
            scatter += self.networks**2 / self.networks_freedom
            scatter += self.both**2 / max(1, self.both_freedom)
        return total, total**2 / scatter if scatter > 0 else math.inf

    def variance_of_pools(self, factor: float = 1.0) -> tuple[float, float]:
        """Compute the larger of that variance times a factor and the variance between folds, and
        its degrees of freedom.
        """
        total, freedom = self.variance()
        if self.between > factor * total:
            return self.between, self.folds - 1.0
        return factor * total, freedom

    @property
    def carried(self) -> float:
        """The effective number of units that carry the mean."""
        power = float(self.values @ self.values)
        return float(np.abs(self.values).sum()) ** 2 / power if power > 0 else 0.0

    @property
    def tail(self) -> Tail:
        """How fast the largest units fall off."""
        return tail(np.abs(self.values))


def unit_means(
    losses: Float[np.ndarray, "networks examples"], group_of: Int[np.ndarray, " examples"]
) -> Float[np.ndarray, "networks units"]:
    """Compute for each group its sum of losses, scaled so that the mean over groups is the mean
    over examples.

    Args:
        losses: (networks, examples) losses.
        group_of: (examples,) group of each example.
    """
    sums, _ = unit_sums(group_of)
    found = sums(losses)
    return found * (found.shape[-1] / losses.shape[-1])


def mean_over_units(
    values: Float[np.ndarray, " examples"], group_of: Int[np.ndarray, " examples"] | None = None
) -> Contrast:
    """Compute the mean of values over examples, and its variance over the draw of units.

    Args:
        values: (examples,) values, such as the mean loss of several networks.
        group_of: (examples,) group of each example; None where every example is a group.
    """
    sums, _ = unit_sums(group_of)
    center = float(values.mean())
    deviations = sums(values - center)
    units = len(deviations)
    return Contrast(
        estimate=center,
        values=sums(values),
        examples=len(values),
        own=units / max(1, units - 1) * float(deviations @ deviations) / len(values) ** 2,
        own_freedom=degrees_of_freedom(deviations),
        networks=0.0,
        networks_freedom=0.0,
        both=0.0,
        both_freedom=0.0,
        between=0.0,
        folds=1,
        third=third_cumulant(deviations, len(values)),
    )


@dataclass(frozen=True)
class CrossFit:
    """Losses of cross-fitted networks on the examples of their pool, or of one network on examples
    that it has not seen: a single fold, which only unseen losses are of.

    Attributes:
        losses: (networks, examples) losses.
        fold_of_network: (networks,) number of the fold that each network left out.
        fold_of: (examples,) fold of each example.
        group_of: (examples,) group of each example; None where every example is a group. All
            examples of a group lie in one fold.
        within: smallest and largest possible loss.
        counted: whether each loss is 0 or 1.
        heavy_tails: whether rare losses may be much larger than these, as squared errors may, where
            `within` gives them no upper bound.
    """

    losses: Float[np.ndarray, "networks examples"]
    fold_of_network: Int[np.ndarray, " networks"]
    fold_of: Int[np.ndarray, " examples"]
    group_of: Int[np.ndarray, " examples"] | None = None
    within: tuple[float, float] = POSITIVE
    counted: bool = False
    heavy_tails: bool = True

    @property
    def folds(self) -> int:
        """The number of folds."""
        return int(self.fold_of.max()) + 1

    @property
    def networks_of_folds(self) -> Int[np.ndarray, " folds"]:
        """How many networks left out each fold."""
        return np.bincount(self.fold_of_network, minlength=self.folds)

    @cached_property
    def units(self) -> int:
        """The number of independent units, groups or examples."""
        return self.losses.shape[1] if self.group_of is None else len(np.unique(self.group_of))

    @cached_property
    def _of_folds(self) -> Float[np.ndarray, "folds examples"]:
        """The mean loss of the networks that left out each fold."""
        return np.stack([self.losses[self.fold_of_network == k].mean(0) for k in range(self.folds)])

    @cached_property
    def unseen(self) -> Float[np.ndarray, " examples"]:
        """The mean loss of the networks that have not seen an example."""
        return self._of_folds[self.fold_of, np.arange(self.losses.shape[1])]

    @cached_property
    def seen(self) -> Float[np.ndarray, " examples"]:
        """The mean loss of the networks that have seen an example; every fold counts the same."""
        with np.errstate(invalid="ignore"):  # the losses of a network that diverged may be infinite
            return (self._of_folds.sum(0) - self.unseen) / max(1, self.folds - 1)

    def contrast(
        self,
        unseen: float,
        seen: float,
        constant: float = 0.0,
        more: Float[np.ndarray, " examples"] | None = None,
    ) -> Contrast:
        """Compute the mean of (unseen * unseen loss + seen * seen loss + constant).

        Args:
            unseen: weight of the unseen loss.
            seen: weight of the seen loss.
            constant: a number that is added.
            more: (examples,) a number that is added for each example, such as the loss of another
                method; NaN leaves the example out.

        Returns:
            The mean, with what its variance needs.
        """
        if more is not None:
            return self._contrast(unseen, seen, constant, more)
        weights = unseen, seen
        if weights not in self._contrasts:
            self._contrasts[weights] = self._contrast(unseen, seen, 0.0, None)
        found = self._contrasts[weights]
        return replace(found, estimate=found.estimate + constant)

    @cached_property
    def _contrasts(self) -> dict[tuple[float, float], Contrast]:
        """What was computed already; intervals of several levels need the same contrasts."""
        return {}

    def _contrast(
        self,
        unseen: float,
        seen: float,
        constant: float,
        more: Float[np.ndarray, " examples"] | None,
    ) -> Contrast:
        rows = None if more is None else np.flatnonzero(np.isfinite(more))
        of = (lambda each: each) if rows is None else (lambda each: each[..., rows])
        values = of(unseen * self.unseen + seen * self.seen)
        values = values if more is None else values + more[rows]
        fold_of, n = of(self.fold_of), len(values)
        sums, fold_of_unit = unit_sums(None if self.group_of is None else of(self.group_of))
        fold_of_unit = fold_of[fold_of_unit]
        units = len(fold_of_unit)
        mean = float(values.mean())
        deviations = sums(values - mean)
        own = units / max(1, units - 1) * float(deviations @ deviations) / n**2
        others = seen / max(1, self.folds - 1)

        def moves(k: int, losses: np.ndarray) -> list[tuple[float, np.ndarray]]:
            each, own_fold = sums(of(losses)), fold_of_unit == k
            return [(unseen / n, each[:, own_fold]), (others / n, each[:, ~own_fold])]

        networks, both, spare = self._networks(moves)
        used = np.unique(fold_of)
        means = np.bincount(fold_of, values)[used] / np.bincount(fold_of)[used]
        return Contrast(
            estimate=mean + constant,
            values=sums(values),
            examples=n,
            own=own,
            own_freedom=degrees_of_freedom(deviations),
            networks=networks,
            networks_freedom=spare,
            both=both,
            both_freedom=spare * (units - self.folds),
            between=float(means.var(ddof=1)) / len(used) if len(used) > 1 else 0.0,
            folds=len(used),
            third=third_cumulant(deviations, n),
        )

    def _networks(
        self, weighted: Callable[[int, np.ndarray], list[tuple[float, np.ndarray]]]
    ) -> tuple[float, float, float]:
        """Compute the variance of a mean over networks of the same fold, the part of it that varies
        with units too, and its degrees of freedom.

        A fold with one network is taken to vary like the others.

        Args:
            weighted: from a fold and differences of losses, (networks, examples), between its
                networks and their mean: blocks (weight, (networks, units) sums over each unit).
        """
        count = self.networks_of_folds
        spread, mixed = np.zeros(self.folds), np.zeros(self.folds)
        for k in np.flatnonzero(count > 1).tolist():
            of_fold = self.fold_of_network == k
            blocks = weighted(k, self.losses[of_fold] - self._of_folds[k])
            row = sum(weight * each.sum(1) for weight, each in blocks)
            spread[k] = float(np.sum(row**2)) / (count[k] - 1)
            mixed[k] = sum(weight**2 * _scatter(each) for weight, each in blocks) / (count[k] - 1)
        spare = float((count - 1)[count > 1].sum())
        if not spare:
            return 0.0, 0.0, 0.0
        networks, both = (
            float((np.where(count > 1, each, np.average(each, weights=count - 1)) / count).sum())
            for each in (spread, mixed)
        )
        return networks, both, spare

    def _elsewhere(
        self, losses: Float[np.ndarray, "networks others"], group_of: np.ndarray | None
    ) -> tuple[Contrast, Contrast]:
        """Compute the mean loss on other examples, and how much it exceeds the unseen error."""
        of_folds = np.stack([losses[self.fold_of_network == k].mean(0) for k in range(self.folds)])
        values, n, m = of_folds.mean(0), self.losses.shape[1], losses.shape[1]
        sums, _ = unit_sums(group_of)
        deviations = sums(values - values.mean())
        own = len(deviations) / max(1, len(deviations) - 1) * float(deviations @ deviations) / m**2
        pool_sums, one_of_unit = unit_sums(self.group_of)
        fold_of_unit = self.fold_of[one_of_unit]

        def there(k: int, _: np.ndarray) -> list[tuple[float, np.ndarray]]:
            moves = losses[self.fold_of_network == k] - of_folds[k]
            return [(1 / (self.folds * m), sums(moves))]

        def both_places(k: int, moves: np.ndarray) -> list[tuple[float, np.ndarray]]:
            return [*there(k, moves), (-1 / n, pool_sums(moves)[:, fold_of_unit == k])]

        def contrast(
            weighted: Callable[[int, np.ndarray], list[tuple[float, np.ndarray]]],
            means: np.ndarray,
            estimate: float,
            more: float,
        ) -> Contrast:
            networks, both, spare = self._networks(weighted)
            return Contrast(
                estimate=estimate,
                values=sums(values),
                examples=m,
                own=own + more,
                own_freedom=degrees_of_freedom(deviations),
                networks=networks,
                networks_freedom=spare,
                both=both,
                both_freedom=spare * max(1, len(deviations) - 1),
                between=float(means.var(ddof=1)) / self.folds + own,
                folds=self.folds,
                third=third_cumulant(deviations, m),
            )

        unseen = self.contrast(1.0, 0.0)
        here = np.bincount(self.fold_of, self.unseen) / np.bincount(self.fold_of)
        error, means = float(values.mean()), of_folds.mean(1)
        return (
            contrast(there, means, error, 0.0),
            contrast(both_places, means - here, error - unseen.estimate, unseen.own),
        )

    def mismatch(
        self,
        losses: Float[np.ndarray, "networks others"],
        group_of: Int[np.ndarray, " others"] | None = None,
        level: float = LEVEL,
    ) -> Estimate:
        """Compute the error on examples from elsewhere minus the unseen error.

        Args:
            losses: (networks, others) losses of the same networks on the other examples.
            group_of: (others,) group of each; None where every example is its own.
            level: confidence level of the interval.
        """
        error, given = self._elsewhere(losses, group_of)
        return self._difference(
            given, level, parts=((1.0, error), (-1.0, self.contrast(1.0, 0.0))), wider=True
        )

    def error_elsewhere(
        self,
        losses: Float[np.ndarray, "networks others"],
        group_of: Int[np.ndarray, " others"] | None = None,
        level: float = LEVEL,
    ) -> Estimate:
        """Compute the error on examples from elsewhere; arguments are those of `mismatch`.

        What all networks owe to the luck of their pool is not seen there. In simulations the
        interval holds the truth in 83 to 98% where the pool is smaller than the test set and the
        two differ, and in 87 to 96% where the test set has fewer than 24 groups and few mistakes.
        """
        return self._rate(self._elsewhere(losses, group_of)[0], level, POOL_LUCK)

    def rate(self, kind: str, level: float = LEVEL, *, pools: bool = True) -> Estimate:
        """Compute the error on unseen or on seen examples.

        Args:
            kind: "unseen" or "seen".
            level: confidence level of the interval.
            pools: whether the interval is for other pools of examples too, that is for the recipe;
                else for these networks on new examples.

        Returns:
            The mean loss with its interval.

        References:
            Korn & Graubard 1998 (rates that few examples make).
        """
        given = self.contrast(*((1.0, 0.0) if kind == "unseen" else (0.0, 1.0)))
        return self._rate(given, level, POOL_LUCK if pools else 1.0)

    def _rate(self, given: Contrast, level: float, factor: float) -> Estimate:
        """Compute the interval of an error, whose variance is multiplied by a factor."""
        if reason := self.refusal(given):
            return Estimate(given.estimate, refused=reason)
        low, high = self._limits(given, *given.variance_of_pools(factor), level)
        return Estimate(given.estimate, low, high, caution=self.caution(given))

    def of_these_networks(self) -> "NetworkErrors":
        """Compute the unseen error and the gap of these very networks, whose seen error is a known
        number.
        """
        own, seen = self.rate("unseen", pools=False), float(self.seen.mean())
        gap = replace(own, estimate=own.estimate - seen, low=own.low - seen, high=own.high - seen)
        return NetworkErrors(own, gap)

    def gap(self, level: float = LEVEL) -> Estimate:
        """Compute the unseen error minus the seen error, paired by example."""
        return self._difference(
            self.contrast(1.0, -1.0), level, parts=self._parts(1.0, -1.0), wider=True
        )

    def _parts(self, unseen: float, seen: float) -> Parts:
        return (unseen, self.contrast(1.0, 0.0)), (seen, self.contrast(0.0, 1.0))

    def dominance(
        self,
        target: float = 0.0,
        level: float = LEVEL,
        other: Float[np.ndarray, " examples"] | None = None,
    ) -> Estimate:
        """Compute the gap minus the avoidable bias: above 0, variance is the larger part.

        Args:
            target: the error that could be reached, where `other` is None.
            level: confidence level of the interval.
            other: (examples,) unseen losses of another method, which stand for the error that could
                be reached; NaN where it was not judged.
        """
        constant = target if other is None else 0.0
        return self._difference(
            self.contrast(1.0, -2.0, constant, other), level, parts=self._parts(1.0, -2.0)
        )

    def avoidable(self, other: Float[np.ndarray, " examples"], level: float = LEVEL) -> Estimate:
        """Compute the seen error minus the unseen error of another method, paired by example.

        Args:
            other: (examples,) unseen losses of the other method; NaN where it was not judged.
            level: confidence level of the interval.
        """
        return self._difference(self.contrast(0.0, 1.0, more=-other), level)

    def error_of_other(
        self, losses: Float[np.ndarray, " examples"], level: float = LEVEL
    ) -> Estimate:
        """Compute the unseen error of another method that was trained on the same folds.

        Args:
            losses: (examples,) unseen losses of the other method; NaN where it was not judged.
            level: confidence level of the interval.
        """
        return self._rate(self.contrast(0.0, 0.0, more=losses), level, POOL_LUCK)

    def difference(self, level: float = LEVEL) -> Estimate:
        """Compute the mean unseen loss of differences of losses, of two recipes on the same folds.

        What the draw of the pool does to both recipes cancels.
        """
        given = self.contrast(1.0, 0.0)
        if reason := self.refusal(given, signed=True):
            return Estimate(given.estimate, refused=reason)
        return t_interval(given, level)

    def _difference(
        self, given: Contrast, level: float, *, parts: Parts | None = None, wider: bool = False
    ) -> Estimate:
        """Compute the t interval of a difference of errors. Where few units carry it, or where
        `wider` says so, each limit is the wider of that one and of the one that follows from the
        limits of both errors.
        """
        if reason := self.refusal(given):
            return Estimate(given.estimate, refused=reason)
        variance, freedom = given.variance_of_pools()
        below = above = t_quantile(freedom, level) * math.sqrt(variance)
        skewed = given.carried < MIN_CARRYING_UNITS or (
            self.group_of is not None and self.units < SKEWED_GROUPS
        )
        if parts is not None and (wider or skewed):
            less, more = self._from_both_errors(given, parts, level)
            below, above = max(below, less), max(above, more)
        return Estimate(
            given.estimate,
            given.estimate - below,
            given.estimate + above,
            caution=self.caution(given),
        )

    def _from_both_errors(self, given: Contrast, parts: Parts, level: float) -> tuple[float, float]:
        """Compute how far limits are below and above a difference of two errors, from the limits of
        both and their correlation.

        References:
            Zou & Donner 2008, eq. 9 and 10.
        """
        (a, more), (b, less) = ((abs(weight), part) for weight, part in parts)
        (u, u_freedom), (t, t_freedom) = more.variance(), less.variance()
        whole, whole_freedom = given.variance()
        u_low, u_high = self._limits(more, u, u_freedom, level)
        t_low, t_high = self._limits(less, t, t_freedom, level)
        shared = 0.0
        if u > 0 and t > 0:
            shared = (a * a * u + b * b * t - whole) / (2 * a * b * math.sqrt(u * t))
            shared = min(1.0, max(-1.0, shared))

        def reach(x: float, y: float) -> float:
            return math.sqrt(max(0.0, x * x - 2 * shared * x * y + y * y))

        below = reach(a * (more.estimate - u_low), b * (t_high - less.estimate))
        above = reach(a * (u_high - more.estimate), b * (less.estimate - t_low))
        stretch = 1.0
        if whole > 0:
            wide, wide_freedom = given.variance_of_pools()
            ratio = t_quantile(wide_freedom, level) / t_quantile(whole_freedom, level)
            stretch = max(1.0, math.sqrt(wide / whole) * ratio)
        return stretch * below, stretch * above

    def _limits(self, given: Contrast, variance: float, freedom: float, level: float) -> Limits:
        """Compute limits of an error; see `limits`."""
        most = float(given.examples) if self.counted else math.inf
        return limits(
            given, variance, freedom, self.within, level, most=most, heavy_tails=self.heavy_tails
        )

    def _may_have_tails(self) -> bool:
        return self.heavy_tails and self.within == POSITIVE

    def caution(self, given: Contrast) -> str | None:
        """Say what the interval of a contrast presupposes; None where there is nothing."""
        return given.tail.caution if self._may_have_tails() else None

    def refusal(self, given: Contrast, *, signed: bool = False) -> str | None:
        """Say why a contrast has no interval, and what it would take; None where there is one."""
        if not math.isfinite(given.estimate):
            return f"it is {given.estimate}, not a finite number"
        if 1 < self.folds < MIN_FOLDS:
            return (
                f"{self.folds} folds are too few for an interval; at least {MIN_FOLDS} are needed"
            )
        if 1 < self.folds > 2 * int((self.networks_of_folds > 1).sum()):
            return (
                "most folds were left out by a single network, so how much networks differ is "
                "unknown; train at least 2 networks for each fold"
            )
        units = len(given.values)
        if units < MIN_GROUPS:
            what = "examples" if units == given.examples else "groups"
            return f"{units} {what} are too few for an interval; at least {MIN_GROUPS} are needed"
        if signed or not math.isinf(self.within[1]):
            return None
        if self._may_have_tails() and (reason := given.tail.refused):
            return reason
        if given.carried < MIN_CARRYING_EXAMPLES:
            return (
                f"{max(1, round(given.carried))} of {given.examples} examples carry nearly all "
                f"of it; at least {MIN_CARRYING_EXAMPLES} should"
            )
        return None

    @property
    def coverage(self) -> str:
        """In how many studies the intervals of the recipe hold the truth, in words."""
        error = float(self.unseen.mean()) / (
            self.within[1] if math.isfinite(self.within[1]) else math.inf
        )
        if self.units < FEW_GROUPS and self.group_of is not None and error < FEW_GROUPS_ERROR:
            return "about 90%"
        return "90 to 95%" if self.losses.shape[1] < FEW_EXAMPLES else "95%"


def t_interval(given: Contrast, level: float = LEVEL) -> Estimate:
    """Compute Student's interval of a contrast for new units and new networks."""
    variance, freedom = given.variance()
    half = t_quantile(freedom, level) * math.sqrt(variance)
    return Estimate(given.estimate, given.estimate - half, given.estimate + half)


def limits(
    given: Contrast,
    variance: float,
    freedom: float,
    within: Limits,
    level: float = LEVEL,
    *,
    most: float = math.inf,
    heavy_tails: bool = False,
) -> Limits:
    """Compute limits of a mean: on the logit scale for a rate, on the logarithmic scale for another
    loss, corrected for skewness for one with heavy tails, and exact ones where few mistakes carry a
    rate.

    Args:
        given: the mean.
        variance: variance of the mean.
        freedom: degrees of freedom of the variance.
        within: smallest and largest possible value.
        level: confidence level of the interval.
        most: the largest number of examples that a rate may count for.
        heavy_tails: whether rare losses may be much larger, as squared errors may.

    Returns:
        Lower and upper limit.

    References:
        Korn & Graubard 1998 (rates that few examples make); Hall 1992 (skewness).
    """
    low, high = within
    if heavy_tails and within == POSITIVE:
        below, above = reaches(variance, freedom, given.third, level)
        return max(low, given.estimate - below), given.estimate + above
    mean, half = given.estimate, t_quantile(freedom, level) * math.sqrt(variance)
    if math.isfinite(high):
        share = min(max((mean - low) / (high - low), 0.0), 1.0)
        near, spread = min(share, 1 - share), variance / (high - low) ** 2
        size = min(most, share * (1 - share) / spread if spread > 0 else float(len(given.values)))
        if near * size < MIN_RATE_EXAMPLES:
            down, up = _exact(near, size, level)
            down, up = (down, up) if share <= 0.5 else (1 - up, 1 - down)
            return low + (high - low) * down, low + (high - low) * up
    found = around(mean, half, half, within)
    return found.low, found.high


def error_of_network(
    losses: Shaped[np.ndarray, " examples"],
    group_of: Int[np.ndarray, " examples"] | None = None,
    level: float = LEVEL,
    *,
    heavy_tails: bool = True,
    shares: bool = False,
) -> Estimate:
    """Compute the error of one network on examples that it has not seen.

    Args:
        losses: (examples,) losses, or booleans: whether a prediction is wrong.
        group_of: (examples,) group of each example; None where every example is its own.
        level: confidence level of the interval.
        heavy_tails: for losses that are no booleans, whether rare ones may be much larger than
            these, as squared errors may.
        shares: whether losses that are no booleans are shares from 0 to 1, such as that of wrong
            answers.
    """
    shares = shares and losses.dtype != bool
    if not len(losses):
        return Estimate(math.nan, refused="no examples; at least 1 is needed")
    if group_of is None and not shares:
        if losses.dtype == bool:
            return exact(int(losses.sum()), len(losses), level)
        return mean(losses, level, heavy_tails=heavy_tails)
    given = mean_over_units(losses.astype(np.float64), group_of)
    if len(given.values) < MIN_GROUPS:
        units = "examples" if group_of is None else "groups"
        return Estimate(
            given.estimate,
            refused=f"{len(given.values)} {units} are too few for an interval; at least "
            f"{MIN_GROUPS} are needed",
        )
    counted = losses.dtype == bool or shares
    return error_of_units(given, level, counted=counted, heavy_tails=heavy_tails)


def error_of_units(
    given: Contrast, level: float = LEVEL, *, counted: bool, heavy_tails: bool = True
) -> Estimate:
    """Compute the interval of a mean over units that no network has seen.

    Args:
        given: the mean.
        level: confidence level of the interval.
        counted: whether each loss is 0 or 1.
        heavy_tails: for other losses, whether rare ones may be much larger than these.
    """
    heavy_tails = heavy_tails and not counted and math.isfinite(given.estimate)
    if heavy_tails and given.tail.refused:
        return Estimate(given.estimate, refused=given.tail.refused)
    low, high = limits(
        given,
        *given.variance(),
        RATE if counted else POSITIVE,
        level,
        most=float(given.examples) if counted else math.inf,
        heavy_tails=heavy_tails,
    )
    caution = given.tail.caution if heavy_tails else None
    return Estimate(given.estimate, low, high, caution=caution)


@dataclass(frozen=True)
class NetworkErrors:
    """Errors of the very networks that were trained, on new examples.

    Attributes:
        unseen: error on examples that they have not seen.
        gap: unseen error minus seen error; the seen error is a known number here.
    """

    unseen: Estimate
    gap: Estimate

    __repr__ = display.text


@dataclass(frozen=True)
class CrossFittedErrors:
    """Errors of cross-fitted networks, for the recipe that trained them and for themselves.

    Attributes:
        unseen: error on examples that the networks have not seen.
        seen: error on examples that they were trained on.
        gap: unseen minus seen error, paired by example.
        dominance: gap minus avoidable bias: above 0 variance is the larger part, below 0 bias.
        of_these_networks: the unseen error and the gap of these networks.
        folds: number of folds.
        networks: number of networks that are counted.
        left_out: numbers of the networks that are not counted, since a loss is not finite.
        examples: number of examples in the pool.
        groups: number of groups; None where every example is its own.
        coverage: in how many studies the intervals of the recipe hold the truth, in words.
    """

    unseen: Estimate
    seen: Estimate
    gap: Estimate
    dominance: Estimate
    of_these_networks: NetworkErrors
    folds: int
    networks: int
    left_out: tuple[int, ...]
    examples: int
    groups: int | None
    coverage: str

    __repr__ = display.text


def cross_fitted_errors(
    losses: ArrayLike,
    seen: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    target_error: float = 0.0,
    largest: float | None = None,
    heavy_tails: bool = True,
) -> CrossFittedErrors:
    """Compute the errors of cross-fitted networks on unseen and on seen examples, and their gap.

    Args:
        losses: (networks, examples) losses, or booleans: whether a prediction is wrong.
        seen: (networks, examples) which examples each network was trained on. Networks that left
            out the same examples are of one fold; at least 2 for each fold are needed.
        groups: (examples,) the group of each example, such as its patient; the examples of a group
            are not independent and lie in one fold. By default every example is its own.
        target_error: the error that could be reached; 0 by default.
        largest: the largest possible loss, such as 2 for the Brier score; None where there is none.
            Booleans have 1.
        heavy_tails: where there is no largest loss, whether rare losses may be much larger than
            these, as squared errors may; then intervals are refused where the largest losses show
            that no variance exists. False for losses such as a cross-entropy.

    Returns:
        The errors with 95% intervals; an interval is refused with a reason.

    Raises:
        InputError: for arrays that do not fit together, and where the examples that networks left
            out are not folds.

    References:
        Bengio & Grandvalet 2004 (the variance over pools); Zou & Donner 2008 (the gap).
    """
    table, left_out = cross_fit(losses, seen, groups, largest=largest, heavy_tails=heavy_tails)
    return CrossFittedErrors(
        unseen=table.rate("unseen"),
        seen=table.rate("seen"),
        gap=table.gap(),
        dominance=table.dominance(target_error),
        of_these_networks=table.of_these_networks(),
        folds=table.folds,
        networks=len(table.losses),
        left_out=left_out,
        examples=table.losses.shape[1],
        groups=None if table.group_of is None else table.units,
        coverage=table.coverage,
    )


def cross_fit(
    losses: ArrayLike,
    seen: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    largest: float | None = None,
    heavy_tails: bool = True,
) -> tuple[CrossFit, tuple[int, ...]]:
    """Check losses of cross-fitted networks and bring them into a table.

    Args:
        losses: as in `cross_fitted_errors`.
        seen: as there.
        groups: as there.
        largest: as there.
        heavy_tails: as there.

    Returns:
        The table, and the numbers of the networks left out, since a loss of theirs is not finite.

    Raises:
        InputError: as there.
    """
    found = arrays.array("losses", losses, arrays.MEMBER_AXES)
    if found.ndim != 2 or found.dtype.kind not in "biuf" or not found.size:
        raise InputError(
            f"losses have shape {found.shape} and type {found.dtype}; give numbers or booleans, "
            "(networks, examples)"
        )
    trained = arrays.booleans("seen", seen, found.shape)
    counted = found.dtype == bool
    group_of = None if groups is None else group_codes(groups, found.shape[1])
    fold_of_network, fold_of = _folds(trained)
    if group_of is not None and groups is not None:
        _check_groups(group_of, fold_of, groups)
    values = found.astype(np.float64)
    if not counted and (values < 0).any():
        member, example = np.argwhere(values < 0)[0]
        raise InputError(
            f"the loss of network {member} on example {example} is {values[member, example]:g}; "
            "give losses of at least 0"
        )
    sound = np.all(np.isfinite(values), axis=1)
    if not np.isin(np.arange(fold_of.max() + 1), fold_of_network[sound]).all():
        lost = int((~sound).sum())
        raise InputError(
            f"{lost} of {len(values)} networks have losses that are not finite, all that left out "
            "some fold among them; lower the learning rate, or clip the gradient"
        )
    table = CrossFit(
        values[sound],
        fold_of_network[sound],
        fold_of,
        group_of,
        RATE if counted else (0.0, math.inf if largest is None else float(largest)),
        counted,
        heavy_tails,
    )
    return table, tuple(int(i) for i in np.flatnonzero(~sound))


def group_codes(groups: ArrayLike, examples: int) -> np.ndarray:
    """Number groups from 0."""
    found = arrays.array("groups", groups, arrays.EXAMPLE_AXES)
    if found.shape != (examples,):
        raise InputError(
            f"groups have shape {found.shape}; give one for each of {examples} examples"
        )
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _folds(seen: Bool[np.ndarray, "networks examples"]) -> tuple[np.ndarray, np.ndarray]:
    """Find which fold each network left out, and the fold of each example."""
    left_out, fold_of_network = np.unique(~seen, axis=0, return_inverse=True)
    fold_of_network = fold_of_network.reshape(-1)
    times = left_out.sum(0)
    if len(left_out) < 2 or (times != 1).any():
        example = int(np.argmax(times != 1))
        raise InputError(
            f"example {example} was left out in {times[example]} different ways, so the networks "
            "do not share folds; use the same folds for every seed: each example is left out of "
            "one "
            "fold, and each fold is left out by at least 2 networks"
        )
    # number folds by their first example, so that nothing depends on the sorting
    first = np.argsort(left_out.argmax(1))
    number = np.empty(len(first), np.int64)
    number[first] = np.arange(len(first))
    return number[fold_of_network], number[left_out.argmax(0)]


def _check_groups(group_of: np.ndarray, fold_of: np.ndarray, groups: ArrayLike) -> None:
    pairs = np.unique(np.stack([group_of, fold_of]), axis=1)
    twice = np.flatnonzero(np.diff(pairs[0]) == 0)
    if len(twice):
        name = np.asarray(groups)[group_of == pairs[0, twice[0]]][0]
        raise InputError(
            f"examples of group {name} lie in several folds; make folds of whole groups"
        )


def unit_sums(
    group_of: Int[np.ndarray, " examples"] | None,
) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray | slice]:
    """A function that sums over the examples of each unit along the last axis, and an example of
    each unit.
    """
    if group_of is None:
        return lambda each: each, slice(None)
    order = np.argsort(group_of, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(group_of[order]) != 0])
    return lambda each: np.add.reduceat(each[..., order], starts, axis=-1), order[starts]


def _scatter(moves: Float[np.ndarray, "networks units"]) -> float:
    """Sum over networks the squared deviations from each network's own mean, for all units of a
    block, corrected for that mean.
    """
    units = moves.shape[1]
    if units < 2:
        return 0.0
    squares = float((moves**2).sum()) - float((moves.sum(1) ** 2).sum()) / units
    return units / (units - 1) * squares


def _exact(rate: float, trials: float, level: float) -> Limits:
    """Compute the binomial limits of a rate for an effective number of trials, which need not be
    whole.
    """
    from scipy.special import betaincinv

    count, tail = rate * trials, (1 - level) / 2
    high = float(betaincinv(count + 1, max(trials - count, 1e-9), 1 - tail))
    low = float(betaincinv(count, trials - count + 1, tail)) if count > 0 else 0.0
    return min(low, rate), max(high, rate)
