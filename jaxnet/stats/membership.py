"""Membership inference: how well one can tell from a network which examples it was trained on.

Every network is attacked in turn, with what the other networks show of each example: how sure they
are of its label if they were trained on it, and if they were not.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from jaxnet.stats.cross_fitting import group_codes
from jaxnet.stats.estimate import Estimate

MIN_OWN_VARIANCE = 64  # networks on either side from which on an example has variances of its own
LEAST = -700.0  # log-probability that stands for smaller ones, which float16 rounds to -inf
FLOOR = 1e-4  # variance of rounding to float16
REPETITIONS = 400  # of the bootstrap
KEPT = 4  # times the largest rate of false positives: the highest scores, which decide
MIN_FALSE = 10  # false positives below which there is no interval


def logit_of_confidence(
    log_probabilities: Num[np.ndarray, "examples classes"], y: Int[np.ndarray, " examples"]
) -> Float[np.ndarray, " examples"]:
    """Compute log p / (1 - p) of the probability p of each label.

    Args:
        log_probabilities: of one network.
        y: the labels.

    References:
        Carlini et al. 2022, section V.C.
    """
    own, rows = np.maximum(np.asarray(log_probabilities, np.float64), LEAST), np.arange(len(y))
    others = own.copy()
    others[rows, y] = -np.inf
    return own[rows, y] - np.logaddexp.reduce(others, axis=1)


def likelihood_ratios(
    confidence: Float[np.ndarray, "networks examples"],
    seen: Bool[np.ndarray, "networks examples"],
    pairs: Int[np.ndarray, " networks"],
) -> Float[np.ndarray, "networks examples"]:
    """Compute how much likelier each confidence is for a network that was trained on the example.

    The confidences of the other networks are taken to be normally distributed, separately for each
    example, and for networks that were trained on it and that were not. With fewer than 64 networks
    of a kind, all examples share its variance.

    Args:
        confidence: of each network in the label of each example, on the scale of logits.
        seen: which examples each network was trained on.
        pairs: the number of the pair of each network; those of a pair were trained on halves that
            complete each other, so neither of them takes part where the other one is attacked.

    Returns:
        The logarithms of the ratios.

    References:
        Carlini et al. 2022, algorithm 1 (online) and section V.B (variances).
    """
    centered = confidence - confidence.mean(0)
    sides = [
        [(mask * power).sum(0) for power in (np.ones_like(centered), centered, centered**2)]
        for mask in (seen, ~seen)
    ]
    found = np.empty(centered.shape)
    for pair in np.unique(pairs):
        own = np.flatnonzero(pairs == pair)
        ratio = np.zeros((len(own), centered.shape[1]))
        for sums, mask, sign in ((sides[0], seen[own], 1), (sides[1], ~seen[own], -1)):
            left = [
                total - (mask * centered[own] ** power).sum(0) for power, total in enumerate(sums)
            ]
            count = np.maximum(left[0], 2)
            mean = left[1] / count
            variance = np.maximum(left[2] / count - mean**2, 0) * count / (count - 1)
            if count.min() < MIN_OWN_VARIANCE:
                variance = np.full_like(variance, variance.mean())
            variance += FLOOR
            ratio -= sign * ((centered[own] - mean) ** 2 / variance + np.log(variance)) / 2
        found[own] = ratio
    return found


def threshold(
    scores: Float[np.ndarray, "networks examples"],
    seen: Bool[np.ndarray, "networks examples"],
    false_positives: float,
) -> float:
    """Compute the score that this share of the examples exceeds that networks were not trained on.

    Args:
        scores: of each network and example; higher ones speak for membership.
        seen: which examples each network was trained on.
        false_positives: the share.
    """
    return float(np.quantile(scores[~seen], 1 - false_positives, method="higher"))


def true_positives(
    attacks: Sequence[Float[np.ndarray, "networks examples"]],
    seen: Bool[np.ndarray, "networks examples"],
    false_positives: Sequence[float],
    group_of: Int[np.ndarray, " examples"] | None = None,
) -> tuple[tuple[tuple[Estimate, ...], ...], tuple[Estimate, ...]]:
    """Compute the share of the training examples that attacks recognize at some rates of false
    positives, for other networks and other examples.

    Args:
        attacks: scores of each network and example; higher ones speak for membership.
        seen: which examples each network was trained on.
        false_positives: the rates.
        group_of: the group of each example, which is resampled as a whole; None where each stands
            for itself.

    Returns:
        For each attack the shares at each rate; and by how much that of the first attack is higher
        than that of the second one at each rate, on the same networks and examples.

    References:
        Owen 2007, section 3 (networks and examples are resampled independently).
    """
    rng, (networks, examples) = np.random.default_rng(0), seen.shape
    codes = np.arange(examples) if group_of is None else group_codes(group_of, examples)
    curves = [_highest(scores, seen, KEPT * max(false_positives)) for scores in attacks]
    ones = np.ones(networks), np.ones(examples)
    center = np.array([_rates(curve, seen, *ones, false_positives) for curve in curves])
    drawn = np.empty((REPETITIONS, *center.shape))
    for repetition in range(REPETITIONS):
        weights = [
            np.bincount(rng.integers(0, count, count), minlength=count)
            for count in (networks, int(codes.max()) + 1)
        ]
        own = weights[0].astype(float), weights[1][codes].astype(float)
        drawn[repetition] = [_rates(curve, seen, *own, false_positives) for curve in curves]
    judged = (~seen).sum()

    def estimate(value: float, values: np.ndarray, rate: float) -> Estimate:
        if rate * judged < MIN_FALSE:
            needed = int(np.ceil(MIN_FALSE / rate))
            return Estimate(
                value,
                refused=f"{judged:,} pairs of a network and an example that it was not trained on "
                f"are too few for {rate:.1%} false positives; {needed:,} are needed",
            )
        low, high = np.quantile(values, [0.025, 0.975])
        return Estimate(value, min(float(low), value), max(float(high), value))

    each = tuple(
        tuple(
            estimate(float(center[a, r]), drawn[:, a, r], rate)
            for r, rate in enumerate(false_positives)
        )
        for a in range(len(attacks))
    )
    gains = tuple(
        estimate(float(center[0, r] - center[1, r]), drawn[:, 0, r] - drawn[:, 1, r], rate)
        for r, rate in enumerate(false_positives)
    )
    return each, gains


class _Highest:
    """The highest scores in falling order, with the network and the example of each."""

    def __init__(self, scores: np.ndarray, rows: np.ndarray, seen: np.ndarray) -> None:
        order = rows[np.argsort(-scores.ravel()[rows], kind="stable")]
        self.network, self.example = np.divmod(order, scores.shape[1])
        self.member = seen.ravel()[order]
        values = scores.ravel()[order]
        self.last = np.flatnonzero(np.append(values[1:] != values[:-1], True))  # of equal scores


def _highest(scores: np.ndarray, seen: np.ndarray, share: float) -> _Highest:
    least = np.quantile(scores[~seen], max(0.0, 1 - share))
    return _Highest(scores, np.flatnonzero(scores.ravel() >= least), seen)


def _rates(
    curve: _Highest,
    seen: np.ndarray,
    networks: Float[np.ndarray, " networks"],
    examples: Float[np.ndarray, " examples"],
    false_positives: Sequence[float],
) -> Float[np.ndarray, " rates"]:
    """The true positives at some rates of false positives, with weights of networks and examples;
    equal scores are divided at random.
    """
    weights = networks[curve.network] * examples[curve.example]
    members = networks @ seen @ examples
    others = networks.sum() * examples.sum() - members
    true = np.cumsum(weights * curve.member)[curve.last] / members
    false = np.cumsum(weights * ~curve.member)[curve.last] / others
    return np.interp(false_positives, np.append(0.0, false), np.append(0.0, true))
