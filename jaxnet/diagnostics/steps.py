"""Error steps: avoidable bias, the generalization gap and mismatch, measured on errors.

Three kinds of errors can be measured: those of cross-fitted networks on their pool, those of
several networks of one training set, and those of one network. Each kind gives the same three
numbers with intervals that fit it. What may be claimed from them is decided in `ladder`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from jaxnet.diagnostics.findings import Code
from jaxnet.stats.cross_fitting import (
    CrossFit,
    error_of_network,
    error_of_units,
    mean_over_units,
    unit_means,
)
from jaxnet.stats.estimate import LEVEL, Estimate, combination
from jaxnet.stats.power import More, more_to_decide
from jaxnet.stats.random_effects import (
    MIN_ERROR_EXAMPLES,
    POSITIVE,
    RATE,
    TwoWay,
    contrast,
    interval_of_few,
    table,
)

Weights = dict[str, float]


@dataclass(frozen=True)
class PoolSteps:
    """Error steps of cross-fitted networks on their pool.

    Without a target error, avoidable bias is the seen error minus the unseen error of another
    method, and the method that leaves most of it counts. A lower limit may come from any of the
    methods and is corrected for their number (Bonferroni); an upper limit holds for all of them, so
    it needs no correction.

    Attributes:
        pool: losses of the networks on the pool.
        target_error: the error that could be reached; None to measure against `others`.
        others: by method, (examples,) unseen losses of other methods; NaN where one was not judged.
        elsewhere: (networks, others) losses of the same networks on deployment data; None where
            there are none.
        elsewhere_groups: (others,) groups of those examples.
        test: error of the network that is kept, on the test set.
        test_examples: number of examples in the test set.
    """

    pool: CrossFit
    target_error: float | None = None
    others: Mapping[str, Float[np.ndarray, " examples"]] = field(default_factory=dict)
    elsewhere: Float[np.ndarray, "networks others"] | None = None
    elsewhere_groups: Int[np.ndarray, " others"] | None = None
    test: Estimate | None = None
    test_examples: int = 0

    @property
    def codes(self) -> tuple[Code, ...]:
        """Bias and variance, and mismatch where there are deployment data."""
        both = (Code.HIGH_BIAS, Code.HIGH_VARIANCE)
        return both if self.elsewhere is None else (*both, Code.MISMATCH)

    @cached_property
    def errors(self) -> dict[str, Estimate]:
        """Seen and unseen error, that of the kept network on the test set, and the error where the
        network is used.
        """
        found = {"train": self.pool.rate("seen"), "validation": self.pool.rate("unseen")}
        if self.test is not None:
            found["test"] = self.test
        if self.elsewhere is not None:
            found["use"] = self.pool.error_elsewhere(self.elsewhere, self.elsewhere_groups)
        return found

    @property
    def examples(self) -> dict[str, int]:
        """The number of examples of each part; seen and unseen examples are the same."""
        n = self.pool.losses.shape[1]
        found = {"train": n, "validation": n}
        if self.test is not None:
            found["test"] = self.test_examples
        if self.elsewhere is not None:
            found["use"] = self.elsewhere.shape[1]
        return found

    @property
    def against_others(self) -> bool:
        """Whether bias is measured against other methods."""
        return self.target_error is None and bool(self.others)

    def size(self, code: Code, level: float = LEVEL) -> Estimate:
        """Compute a step."""
        if code == Code.HIGH_VARIANCE:
            return self.pool.gap(level)
        if code == Code.MISMATCH:
            assert self.elsewhere is not None
            return self.pool.mismatch(self.elsewhere, self.elsewhere_groups, level)
        if not self.against_others:
            return _shifted(self.pool.rate("seen", level), -(self.target_error or 0.0))
        any_of_them, each = self._both_levels(
            level, lambda losses, at: self.pool.avoidable(losses, at)
        )
        if refused := next((one.refused for one in each if one.refused), None):
            return Estimate(max(0.0, max(one.estimate for one in each)), refused=refused)
        return Estimate(
            max(0.0, max(one.estimate for one in each)),
            max(one.low for one in any_of_them),
            max(0.0, max(one.high for one in each)),
            caution=next((one.caution for one in each if one.caution), None),
        )

    def dominance(self, level: float = LEVEL) -> Estimate:
        """Compute the generalization gap minus avoidable bias."""
        if not self.against_others:
            return self.pool.dominance(self.target_error or 0.0, level)
        any_of_them, each = self._both_levels(
            level, lambda losses, at: self.pool.dominance(level=at, other=losses)
        )
        # no avoidable bias at all is a case too
        each = [*each, self.pool.gap(level)]
        if refused := next((one.refused for one in each if one.refused), None):
            return Estimate(min(one.estimate for one in each), refused=refused)
        return Estimate(
            min(one.estimate for one in each),
            min(one.low for one in each),
            min(one.high for one in any_of_them),
            caution=next((one.caution for one in each if one.caution), None),
        )

    def _both_levels(
        self, level: float, of: Callable[[np.ndarray, float], Estimate]
    ) -> tuple[list[Estimate], list[Estimate]]:
        """Compute an estimate against each other method, corrected for their number, and not."""
        corrected = 1 - (1 - level) / len(self.others)
        losses = list(self.others.values())
        return [of(each, corrected) for each in losses], [of(each, level) for each in losses]

    def larger(self, first: Code, second: Code, level: float = LEVEL) -> Estimate:
        """Compute by how much one step exceeds another.

        Bias and variance are compared by example. Mismatch is compared with one of them by limits
        of both, each with half of the error probability.
        """
        if Code.MISMATCH not in (first, second):
            found = self.dominance(level)
            if first == Code.HIGH_VARIANCE:
                return found
            return replace(found, estimate=-found.estimate, low=-found.high, high=-found.low)
        a, b = (self.size(code, (1 + level) / 2) for code in (first, second))
        return Estimate(
            a.estimate - b.estimate,
            a.low - b.high,
            a.high - b.low,
            a.refused or b.refused,
            a.caution or b.caution,
        )

    def more(self, code: Code, tolerance: float) -> More | None:
        """Compute what it would take to decide a step."""
        if code == Code.MISMATCH:
            return None
        if code == Code.HIGH_VARIANCE:
            given = self.pool.contrast(1.0, -1.0)
        elif self.against_others:
            given = max(
                (self.pool.contrast(0.0, 1.0, more=-each) for each in self.others.values()),
                key=lambda each: each.estimate,
            )
        else:
            given = self.pool.contrast(0.0, 1.0, -(self.target_error or 0.0))
        limit = _limit(self, code, given.estimate > tolerance)
        return more_to_decide(given.estimate, tolerance, given.own, given.luck, limit)


@dataclass(frozen=True)
class Parts:
    """Errors of one training set's networks on disjoint sets of examples.

    Attributes:
        parts: by part, losses, or whether each prediction is wrong.
        held_out: names of the parts that together show the generalization gap.
        used: name of the part where the network is used, if it is another one.
        target_error: the error that could be reached.
        groups: by part, (examples,) the group of each example, which is the independent unit; parts
            without an entry have none.
        shares: whether losses are shares from 0 to 1, such as those of wrong answers.
    """

    parts: dict[str, np.ndarray]
    held_out: tuple[str, ...]
    used: str | None = None
    target_error: float = 0.0
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    shares: bool = False

    @property
    def codes(self) -> tuple[Code, ...]:
        """Bias and variance, and mismatch where there are deployment data."""
        both = (Code.HIGH_BIAS, Code.HIGH_VARIANCE)
        return both if self.used is None else (*both, Code.MISMATCH)

    @property
    def examples(self) -> dict[str, int]:
        """The number of examples of each part."""
        return {name: each.shape[-1] for name, each in self.parts.items()}

    @cached_property
    def unseen(self) -> np.ndarray:
        """The losses on all held-out examples."""
        return np.concatenate([self.parts[name] for name in self.held_out], axis=-1)

    def groups_of(self, name: str) -> np.ndarray | None:
        """The groups of a part, or of all held-out examples."""
        if name != "unseen":
            return self.groups.get(name)
        if not any(part in self.groups for part in self.held_out):
            return None
        codes, begin = [], 0
        for part in self.held_out:
            length = self.parts[part].shape[-1]
            own = self.groups.get(part, np.arange(length))
            codes.append(np.unique(own, return_inverse=True)[1] + begin)
            begin += length
        return np.concatenate(codes)

    def weights(self, code: Code) -> tuple[Weights, float]:
        """Give a step as weights of errors, and a number that is added."""
        match code:
            case Code.HIGH_BIAS:
                return {"train": 1.0}, -self.target_error
            case Code.HIGH_VARIANCE:
                return {"unseen": 1.0, "train": -1.0}, 0.0
        assert self.used is not None
        return {self.used: 1.0, "unseen": -1.0}, 0.0

    @cached_property
    def errors(self) -> dict[str, Estimate]:
        """The error of each part."""
        return {name: self.sum({name: 1.0}) for name in self.parts}

    def sum(self, weights: Weights, constant: float = 0.0, level: float = LEVEL) -> Estimate:
        """Compute the sum of weighted errors and a constant."""
        raise NotImplementedError

    def size(self, code: Code, level: float = LEVEL) -> Estimate:
        """Compute a step."""
        return self.sum(*self.weights(code), level)

    def larger(self, first: Code, second: Code, level: float = LEVEL) -> Estimate:
        """Compute by how much one step exceeds another."""
        (a, more), (b, less) = self.weights(first), self.weights(second)
        weights = {name: a.get(name, 0.0) - b.get(name, 0.0) for name in {**a, **b}}
        return self.sum(weights, more - less, level)

    def dominance(self, level: float = LEVEL) -> Estimate:
        """Compute the generalization gap minus avoidable bias."""
        return self.larger(Code.HIGH_VARIANCE, Code.HIGH_BIAS, level)


@dataclass(frozen=True)
class OneNetwork(Parts):
    """Error steps of one network on independent examples; `parts` are (examples,)."""

    def sum(self, weights: Weights, constant: float = 0.0, level: float = LEVEL) -> Estimate:
        """Compute the sum of weighted errors and a constant.

        The limits are exact binomial ones: as one-sided limits, Wilson's miss small rates too often
        (Cai 2005).
        """
        used = {name: weight for name, weight in weights.items() if weight}
        each = [self._error(name, level) for name in used]
        if list(used.values()) == [1.0] and not constant:
            return each[0]
        return combination(list(used.values()), each, constant)

    def _error(self, name: str, level: float) -> Estimate:
        """Compute the error of one part; it is refused where a loss is not a number."""
        losses = self.unseen if name == "unseen" else self.parts[name]
        if lost := int(np.isnan(losses).sum()):
            return Estimate(math.nan, refused=f"{lost} of {len(losses)} losses are not numbers")
        return error_of_network(losses, self.groups_of(name), level, shares=self.shares)

    def more(self, code: Code, tolerance: float) -> More | None:
        """Compute what it would take to decide a step."""
        size = self.size(code)
        if size.refused is not None:
            return None
        own = ((size.high - size.low) / 3.92) ** 2
        limit = _limit(self, code, size.estimate > tolerance)
        return more_to_decide(size.estimate, tolerance, own, 0.0, limit)


@dataclass(frozen=True)
class Members(Parts):
    """Error steps of several networks on the same examples; both count as random samples. `parts`
    are (members, examples).
    """

    @cached_property
    def _tables(self) -> dict[str, TwoWay]:
        found = {}
        for name, losses in {**self.parts, "unseen": self.unseen}.items():
            groups, counted = self.groups_of(name), losses.dtype == bool or self.shares
            if groups is None:
                found[name] = table(losses, RATE if counted else POSITIVE, heavy_tails=not counted)
            else:
                values = unit_means(losses.astype(np.float64), groups)
                found[name] = table(values, POSITIVE, heavy_tails=not counted)
        return found

    def sum(self, weights: Weights, constant: float = 0.0, level: float = LEVEL) -> Estimate:
        """Compute the sum of weighted errors and a constant."""
        given = contrast(self._tables, weights, constant)
        return interval_of_few(given, level, examples=MIN_ERROR_EXAMPLES)

    def more(self, code: Code, tolerance: float) -> More | None:
        """Compute what it would take to decide a step."""
        given = contrast(self._tables, *self.weights(code))
        own = sum(part.weight**2 * part.own for part in given.parts)
        both = sum(part.weight**2 * part.both for part in given.parts)
        luck = max(0.0, given.members_variance()[0] - both)
        limit = _limit(self, code, given.estimate > tolerance)
        return more_to_decide(given.estimate, tolerance, own, luck, limit)


@dataclass(frozen=True)
class TheseNetworks(Parts):
    """Error steps of the mean of some networks on the same examples: other networks of the recipe
    may do better or worse. `parts` are (members, examples).
    """

    def sum(self, weights: Weights, constant: float = 0.0, level: float = LEVEL) -> Estimate:
        """Compute the sum of weighted errors and a constant."""
        used = {name: weight for name, weight in weights.items() if weight}
        each = [self._error(name, level) for name in used]
        return combination(list(used.values()), each, constant)

    def _error(self, name: str, level: float) -> Estimate:
        losses = self.unseen if name == "unseen" else self.parts[name]
        given = mean_over_units(losses.mean(0), self.groups_of(name))
        return error_of_units(given, level, counted=losses.dtype == bool or self.shares)

    def more(self, code: Code, tolerance: float) -> More | None:
        """Say nothing of what it would take; more networks come first."""
        return None


Steps = PoolSteps | OneNetwork | Members | TheseNetworks


def _limit(steps: Steps, code: Code, above: bool) -> float:
    """Compute the limit of a step that decides: the lower one where the step is above the
    tolerance, else the upper one-sided one.
    """
    return steps.size(code).low if above else steps.size(code, 2 * LEVEL - 1).high


def _shifted(size: Estimate, by: float) -> Estimate:
    return replace(size, estimate=size.estimate + by, low=size.low + by, high=size.high + by)
