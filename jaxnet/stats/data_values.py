"""Data values: what examples of the training set are worth in unseen error, from networks that were
trained on random halves of them.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jaxnet.stats.cross_fitting import MIN_GROUPS
from jaxnet.stats.datamodels import stepped_up
from jaxnet.stats.effects import Contrasts, EffectModel, Judged, contrasts
from jaxnet.stats.estimate import LEVEL, Estimate
from jaxnet.stats.halves import in_first_half
from jaxnet.stats.moments import t_quantile

STEP = (
    "assuming that the error falls by a power between 0 and 1 of the number of examples, and that "
    "to drop all of some rows does once to twice as much as the first ones of them say"
)
FALSE_DISCOVERIES = 0.05  # the expected share of a list that does not belong there
# Learning curves fall by powers of about these sizes (Hestness et al. 2017). Of examples that help
# or harm in the same way the first ones count most, so that an effect that is measured where all
# of them are there is too small for all of them together. Each value of both is as probable.
EXPONENTS, DIMINISHING = (0.0, 1.0), (1.0, 2.0)
NODES = 5  # of the quadrature over them


class Step(NamedTuple):
    """How effects on networks that were trained on a share of the examples go over to changes of
    the whole training set.

    Attributes:
        share: of the examples that each network was trained on.
        examples: their number.
        error: unseen error of the networks, as far as it does not come from wrong labels.
    """

    share: float
    examples: float
    error: float

    def average(self, exponent: np.ndarray | float) -> np.ndarray | float:
        """The value of an average example for networks on a share, by the slope of the curve."""
        return exponent * self.error / self.examples

    def gain(
        self, effect: float, fewer: float, variance: float, freedom: float, level: float = LEVEL
    ) -> Estimate:
        """Compute what a change of the training set gains in unseen error.

        Args:
            effect: how much the change raises the error of the networks on a share, relative to
                that of as many average examples.
            fewer: by how many examples the change makes the training set smaller.
            variance: of the effect.
            freedom: degrees of freedom of the variance.
            level: confidence level of the interval.
        """
        (exponents, one), (more, other) = map(_uniform, (EXPONENTS, DIMINISHING))
        exponent, factor = exponents[:, None], more[None]
        chances = one[:, None] * other
        smaller = self.share ** (1 + exponent)
        gains = -smaller * (factor * effect + fewer * self.average(exponent))
        mean = float((chances * gains).sum())
        total = float((chances * (gains - mean) ** 2).sum())
        total += float((chances * (smaller * factor) ** 2).sum()) * variance
        reach = t_quantile(freedom, level) * math.sqrt(total)
        return Estimate(mean, mean - reach, mean + reach, caution=STEP)


class Values(NamedTuple):
    """What each example is worth.

    Attributes:
        value: (examples,) unseen error without the example minus with it.
        low: (examples,) lower limits.
        high: (examples,) upper limits.
    """

    value: Float[np.ndarray, " examples"]
    low: Float[np.ndarray, " examples"]
    high: Float[np.ndarray, " examples"]


@dataclass(frozen=True)
class DataValues:
    """Networks on random halves of the examples, by which the examples are valued.

    Attributes:
        losses: (networks, examples) losses, or booleans: whether a prediction is wrong.
        halves: (networks, examples) which examples each network was trained on.
        pair_of: (networks,) the pair of each network.
        group_of: (examples,) group of each example, which lies in a half as a whole; None where
            every example is its own.
        doubt: (examples,) the probability that the label of each example is wrong; 0 for values.
    """

    losses: Shaped[np.ndarray, "networks examples"]
    halves: Bool[np.ndarray, "networks examples"]
    pair_of: Int[np.ndarray, " networks"]
    group_of: Int[np.ndarray, " examples"] | None
    doubt: Float[np.ndarray, " examples"]

    @cached_property
    def features(self) -> Float[np.ndarray, "examples features"]:
        """What makes the effects of examples alike: that their labels are wrong, or that they are
        right and hard.
        """
        right = 1 - self.doubt
        return np.stack([self.doubt, right * self.judged().mean], axis=1)

    @cached_property
    def contrasts(self) -> Contrasts:
        """The contrasts of the networks."""
        return contrasts(self.halves, self.pair_of)

    def judged(self, judges: Bool[np.ndarray, " examples"] | bool = True) -> Judged:
        """The unseen error of each network, on some of the examples."""
        return Judged.of(self.losses, ~self.halves & judges, self.group_of)

    def step(self, judged: Judged) -> Step:
        """How effects go over to networks on all examples."""
        judges = judged.judges
        error = float((judged.mean * (1 - self.doubt))[judges].mean())
        return Step(float(self.halves.mean()), float(self.halves.sum(1).mean()), error)

    def effects(self, judged: Judged) -> EffectModel:
        """How the examples change an unseen error."""
        return EffectModel(self.contrasts, self.features, judged.networks)

    @cached_property
    def values(self) -> Values:
        """What each example is worth for networks that are trained on a half: the expected value,
        shrunk as `EffectModel` says, and its 95% interval.
        """
        judged = self.judged()
        model = self.effects(judged)
        found, (exponents, chances) = model.singles(), _uniform(EXPONENTS)
        averages = self.step(judged).average(exponents)
        average = float(chances @ averages)
        spread = float(chances @ (averages - average) ** 2)
        reach = t_quantile(model.freedom, LEVEL) * np.sqrt(found.variance + spread)
        value = average - found.mean
        return Values(value, value - reach, value + reach)

    def gain(
        self,
        dropped: Int[np.ndarray, " dropped"],
        added: Float[np.ndarray, " examples"] | None = None,
        judges: Bool[np.ndarray, " examples"] | bool = True,
    ) -> Estimate:
        """Predict what it gains in unseen error to drop some examples, and to add others.

        Args:
            dropped: rows of the examples to drop, which judge nothing.
            added: (examples,) how many examples like each one are added; by default none.
            judges: (examples,) which examples judge.

        Returns:
            The gain for networks that are trained on all examples, to first order. The interval is
            for other networks and other examples, and allows for the step from a share of the
            examples to all of them.
        """
        kept = np.ones(self.halves.shape[1], bool)
        kept[dropped] = False
        more = np.zeros(len(kept)) if added is None else added
        judged = self.judged(judges & kept)
        sums = more - ~kept
        model = self.effects(judged)
        found, step = model.of(sums[:, None]), self.step(judged)
        if self.group_of is not None and len(np.unique(self.group_of[judged.judges])) < MIN_GROUPS:
            words = f"fewer than {MIN_GROUPS} groups judge, which are too few for an interval"
            center = step.gain(float(found.mean[0]), -sums.sum(), 0.0, model.freedom)
            return Estimate(center.estimate, refused=words)
        variance = (
            float(found.variance[0])
            + judged.variance_of_examples(found.weights[:, 0], self.pair_of)
            + more.sum() * found.single  # new examples are not those that they are like
        )
        return step.gain(float(found.mean[0]), -sums.sum(), variance, model.freedom)

    def half(self, of: Bool[np.ndarray, " networks"]) -> "DataValues":
        """Some of the networks alone."""
        return replace(
            self, losses=self.losses[of], halves=self.halves[of], pair_of=self.pair_of[of]
        )

    def worst(
        self,
        count: int,
        candidates: int,
        first: Bool[np.ndarray, " networks"],
        doubts: tuple[Float[np.ndarray, " examples"], Float[np.ndarray, " examples"]],
    ) -> tuple[Int[np.ndarray, " count"], Estimate]:
        """Choose the examples that harm most with half of the networks and of the judging examples,
        and predict what it gains to drop them with the other half of both.

        Args:
            count: how many to choose.
            candidates: the number of examples, from the first one on, among which to choose.
            first: (networks,) which networks choose.
            doubts: `doubt` by the networks that choose, and by the others.

        Returns:
            (rows, those that harm most first; the gain).
        """
        one, other = (
            replace(self.half(of), doubt=doubt)
            for of, doubt in zip((first, ~first), doubts, strict=True)
        )
        n = len(self.doubt)
        unit_of = np.arange(n) if self.group_of is None else self.group_of
        _, unit_of = np.unique(unit_of, return_inverse=True)
        units = int(unit_of.max()) + 1
        choosing = (np.random.default_rng(0).permutation(units) < units // 2)[unit_of]
        effects = one.effects(one.judged(choosing)).singles().mean
        rows = np.argsort(-effects[:candidates], kind="stable")[:count]
        return rows, other.gain(rows, judges=~choosing)

    @cached_property
    def differences(self) -> tuple[np.ndarray, np.ndarray]:
        """(effects, their standard errors) of each example, from the networks with and without it
        alone.
        """
        return _slopes(self.contrasts, self.judged().networks)

    def reliability(self) -> float:
        """How well the effects of single examples agree between two halves of the networks, stepped
        up to all of them.
        """
        first = in_first_half(self.pair_of)
        one, other = (self.half(of).differences[0] for of in (first, ~first))
        return stepped_up(one, other)

    def harmful(self, candidates: int) -> Int[np.ndarray, " listed"]:
        """Rows of examples whose value is below 0, the most certain first.

        Both halves of the networks show it, and a false discovery rate of 5% holds over all
        examples, by a t test of the networks with and without each one. The average value, which
        halves of one size do not show, is taken to be the largest possible one.

        Args:
            candidates: the number of examples, from the first one on, that are tested.
        """
        from scipy.special import stdtr
        from scipy.stats import false_discovery_control

        effects, errors = self.differences
        most = float(self.step(self.judged()).average(EXPONENTS[1]))
        first = in_first_half(self.pair_of)
        freedom = len(self.contrasts.matrix) - 2
        p = stdtr(freedom, -(effects - most) / np.maximum(errors, np.finfo(float).tiny))[
            :candidates
        ]
        both = np.min([self.half(of).differences[0] for of in (first, ~first)], axis=0)
        listed = (false_discovery_control(p, method="by") <= FALSE_DISCOVERIES) & (
            both[:candidates] > most
        )
        rows = np.flatnonzero(listed)
        return rows[np.argsort(p[rows], kind="stable")]


def _uniform(limits: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Values between limits and their probabilities, for means over all of them."""
    nodes, chances = np.polynomial.legendre.leggauss(NODES)
    low, high = limits
    return low + (high - low) * (nodes + 1) / 2, chances / 2


def _slopes(
    given: Contrasts, errors: Float[np.ndarray, " networks"]
) -> tuple[np.ndarray, np.ndarray]:
    """(slopes, their standard errors) of simple regressions of the errors on each membership."""
    own, moved = given.memberships.centered, given.matrix @ errors
    moved = moved - moved.mean()
    power = np.maximum(np.einsum("ci,ci->i", own, own), np.finfo(float).tiny)
    slopes = (moved @ own) / power
    rest = float(moved @ moved) - slopes**2 * power
    return slopes, np.sqrt(np.maximum(rest, 0.0) / (len(moved) - 2) / power)
