"""How examples in the training set change the unseen error of networks that were trained on random
halves of them: a linear model whose coefficients are shrunk.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jaxnet.stats.cross_fitting import unit_sums
from jaxnet.stats.datamodels import Memberships
from jaxnet.stats.halves import in_first_half, mean_where

# The effects of single examples explain at most so much of the variance between networks; each
# share is as probable beforehand.
SHARES = np.array([0.002, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])

ENOUGH = 0.75  # share of the networks in complete pairs from which on only these are read


class Judged(NamedTuple):
    """The unseen error of each network, without what the examples that judge it have in common.

    Attributes:
        losses: (networks, examples) losses, or booleans: whether a prediction is wrong.
        mask: (networks, examples) which networks an example judges.
        mean: (examples,) mean loss of the networks that an example judges; 0 where it judges none.
        group_of: (examples,) group of each example; None where every example is its own.
    """

    losses: Shaped[np.ndarray, "networks examples"]
    mask: Bool[np.ndarray, "networks examples"]
    mean: Float[np.ndarray, " examples"]
    group_of: Int[np.ndarray, " examples"] | None

    @classmethod
    def of(
        cls,
        losses: Shaped[np.ndarray, "networks examples"],
        mask: Bool[np.ndarray, "networks examples"],
        group_of: Int[np.ndarray, " examples"] | None = None,
    ) -> "Judged":
        """Judge networks by the examples of a mask."""
        return cls(losses, mask, np.nan_to_num(mean_where(losses, mask)), group_of)

    @property
    def judges(self) -> Bool[np.ndarray, " examples"]:
        """Which examples judge any network."""
        return np.asarray(self.mask.any(0))

    @property
    def networks(self) -> Float[np.ndarray, " networks"]:
        """How much higher the error of each network is than that of the others on the same
        examples.
        """
        total = np.einsum("mi,mi->m", self.losses, self.mask, dtype=np.float64)
        return (total - self.mask @ self.mean) / np.maximum(self.mask.sum(1), 1)

    def contributions(self, weights: Float[np.ndarray, " networks"]) -> np.ndarray:
        """How much each example contributes to a weighted sum of `networks`."""
        own = weights / np.maximum(self.mask.sum(1), 1)
        total = np.einsum("m,mi,mi->i", own, self.losses, self.mask, optimize=True)
        return total - self.mean * (own @ self.mask)

    def variance_of_examples(
        self, weights: Float[np.ndarray, " networks"], pair_of: Int[np.ndarray, " networks"]
    ) -> float:
        """Compute the variance of a weighted sum of `networks` over the draw of the examples.

        Half of the networks give one estimate of what each example contributes and the others
        another, whose noise is independent, so that it takes no part in their covariance.

        Args:
            weights: (networks,) the weights.
            pair_of: (networks,) the pair of each network.
        """
        judges, first = self.judges, in_first_half(pair_of)
        parts = [self.contributions(np.where(of, weights, 0.0))[judges] for of in (first, ~first)]
        sums, _ = unit_sums(None if self.group_of is None else self.group_of[judges])
        one, other = (sums(each) for each in parts)
        units = len(one)
        covariance = float((one - one.mean()) @ (other - other.mean())) / max(1, units - 1)
        return max(0.0, 4 * units * covariance)


class Contrasts(NamedTuple):
    """Differences between networks that show the effects of single examples.

    Halves that complete each other differ in every example, so all that two of them show of single
    examples is in their difference.

    Attributes:
        matrix: (contrasts, networks) how each contrast counts each network.
        memberships: of the contrasts.
    """

    matrix: Float[np.ndarray, "contrasts networks"]
    memberships: Memberships


def contrasts(
    halves: Bool[np.ndarray, "networks examples"], pair_of: Int[np.ndarray, " networks"]
) -> Contrasts:
    """Compute the contrasts of networks: differences of the two of each pair where their halves
    complete each other, and deviations from the mean where they do not, or where many networks lack
    the other one of their pair.

    Args:
        halves: (networks, examples) which examples each network was trained on.
        pair_of: (networks,) the pair of each network.
    """
    _, first, sizes = np.unique(pair_of, return_index=True, return_counts=True)
    first = first[sizes == 2]
    if 2 * len(first) >= ENOUGH * len(halves) and (halves[first] ^ halves[first + 1]).all():
        matrix, rows = np.zeros((len(first), len(halves))), np.arange(len(first))
        matrix[rows, first], matrix[rows, first + 1] = math.sqrt(0.5), -math.sqrt(0.5)
    else:
        matrix = np.eye(len(halves)) - 1 / len(halves)
    return Contrasts(matrix, Memberships.of(matrix @ halves))


class Posterior(NamedTuple):
    """What is known of some sums of effects.

    Attributes:
        mean: (sums,) expected values.
        variance: (sums,) variances.
        weights: (networks, sums) how much the mean counts the error of each network.
        single: variance of the effect of one example around what its features say.
    """

    mean: Float[np.ndarray, " sums"]
    variance: Float[np.ndarray, " sums"]
    weights: Float[np.ndarray, "networks sums"]
    single: float


class Fit(NamedTuple):
    """The model with one share of the variance that examples explain.

    Attributes:
        weight: the probability of the share.
        penalty: variance of the noise of a network over that of the effect of an example.
        noise: variance of the noise.
        slopes: (features,) effect of each feature.
        inverse: (features, features) variance of the slopes over that of the noise.
        rest: (networks,) rotated errors minus what the slopes explain.
    """

    weight: float
    penalty: float
    noise: float
    slopes: Float[np.ndarray, " features"]
    inverse: Float[np.ndarray, "features features"]
    rest: Float[np.ndarray, " networks"]


class EffectModel:
    """A linear model of the error of a network, given which examples it was trained on.

    The effect of an example is normally distributed around a linear function of its features, whose
    slopes are unknown, so that sums over many examples that are alike are known better than single
    effects, and the effects of examples that were chosen for them are shrunk. All effects are
    relative to that of an average example: the halves have one size, so they cannot show that one.

    References:
        Lindley & Smith 1972 (hierarchical linear models); Harville 1977 (restricted likelihood).
    """

    def __init__(
        self,
        given: Contrasts,
        features: Float[np.ndarray, "examples features"],
        errors: Float[np.ndarray, " networks"],
    ) -> None:
        """Fit the model.

        Args:
            given: the contrasts of the networks.
            features: (examples, features) what makes the effects of examples alike.
            errors: (networks,) error of each network.
        """
        self.matrix, self.memberships = given
        memberships, moved = given.memberships, given.matrix @ errors
        centered = features - features.mean(0)
        self.features = centered[:, np.ptp(centered, axis=0) > 0]
        rotated = memberships.vectors.T @ (moved - moved.mean())
        self.rotated_features = memberships.vectors.T @ (memberships.centered @ self.features)
        found = [self._fitted(share, rotated) for share in SHARES]
        log = np.array([likelihood for likelihood, _ in found])
        weights = np.exp(log - log.max())
        weights /= weights.sum()
        self.fits = [
            fit._replace(weight=float(weight))
            for (_, fit), weight in zip(found, weights, strict=True)
        ]

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the noise."""
        return len(self.memberships.powers) - 1.0 - self.features.shape[1]

    def _fitted(self, share: float, rotated: Float[np.ndarray, " networks"]) -> tuple[float, Fit]:
        """The model with one share, and its log-likelihood."""
        penalty = self.memberships.power * (1 - share) / share
        precision = 1 / (1 + self.memberships.powers / penalty)
        weighed = self.rotated_features * precision[:, None]
        power = weighed.T @ self.rotated_features
        inverse = np.linalg.pinv(power)
        slopes = inverse @ (weighed.T @ rotated)
        rest = rotated - self.rotated_features @ slopes
        squares = max(float((rest * precision) @ rest), np.finfo(float).tiny)
        likelihood = -0.5 * (
            np.linalg.slogdet(power)[1]
            - float(np.log(precision).sum())
            + self.freedom * math.log(squares)
        )
        return likelihood, Fit(0.0, penalty, squares / self.freedom, slopes, inverse, rest)

    def of(self, sums: Float[np.ndarray, "examples sums"]) -> Posterior:
        """Compute what is known of weighted sums of effects.

        Args:
            sums: (examples, sums) the weight of each example in each sum.
        """
        power = np.einsum("is,is->s", sums, sums)
        return self._posterior(self.memberships.centered @ sums, sums.T @ self.features, power)

    def singles(self) -> Posterior:
        """Compute what is known of the effect of each example."""
        centered = self.memberships.centered
        return self._posterior(centered, self.features, np.ones(centered.shape[1]))

    def _posterior(
        self,
        counts: Float[np.ndarray, "contrasts sums"],
        by_feature: Float[np.ndarray, "sums features"],
        power: Float[np.ndarray, " sums"],
    ) -> Posterior:
        """What is known of sums that count in the contrasts and features so much."""
        basis = self.memberships
        turned = basis.vectors.T @ counts
        means, within = np.zeros((len(self.fits), len(power))), np.zeros(len(power))
        weights = np.zeros(turned.shape)
        for i, fit in enumerate(self.fits):
            precision = (1 / (1 + basis.powers / fit.penalty))[:, None]
            own = precision * turned
            left = by_feature - own.T @ self.rotated_features / fit.penalty
            means[i] = by_feature @ fit.slopes + own.T @ fit.rest / fit.penalty
            spread = power - np.einsum("ms,ms->s", turned, own) / fit.penalty
            slopes = np.einsum("sf,fg,sg->s", left, fit.inverse, left)
            within += fit.weight * fit.noise * (spread / fit.penalty + slopes)
            counted = turned / fit.penalty + self.rotated_features @ (fit.inverse @ left.T)
            weights += fit.weight * precision * counted
        share = np.array([fit.weight for fit in self.fits])
        mean = share @ means
        back = basis.vectors @ weights
        return Posterior(
            mean,
            np.maximum(within + share @ (means - mean) ** 2, 0.0),
            self.matrix.T @ (back - back.mean(0)),
            sum(fit.weight * fit.noise / fit.penalty for fit in self.fits),
        )
