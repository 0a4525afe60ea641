"""What a census shows of labels: which are wrong, by all of its networks and by two halves of
them.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from jaxnet.stats.estimate import Estimate
from jaxnet.stats.halves import in_first_half
from jaxnet.stats.label_errors import Opinion, combine_members, wrong_labels
from jaxnet.stats.label_noise import LabelNoise, label_noise, number_of_wrong_labels

RIGHT = 0.05  # share of a list of wrong labels that may be right


class LabelsOfHalves(NamedTuple):
    """What networks that have not seen an example show of its label.

    Attributes:
        noise: by all of them.
        apart: by each half of them, the probability that each label is wrong.
        number: the number of wrong labels among the examples that are counted.
        listed: rows that two halves of the networks show to be mislabeled, the most certain first.
    """

    noise: LabelNoise
    apart: tuple[Float[np.ndarray, " pool"], Float[np.ndarray, " pool"]]
    number: Estimate
    easy_share: Estimate
    listed: Int[np.ndarray, " listed"]

    @property
    def doubt(self) -> str | None:
        """Why no label is listed, where hard examples could pass for mislabeled ones."""
        if self.easy_share.refused is None or math.isnan(self.easy_share.estimate):
            return None
        return (
            f"{self.easy_share.refused}. Until then, the probabilities of wrong labels are too "
            "high for hard examples, and no label is listed as wrong"
        )


def labels_of_halves(
    log_probabilities: Num[np.ndarray, "networks pool classes"],
    y: Int[np.ndarray, " pool"],
    halves: Bool[np.ndarray, "networks pool"],
    pair_of: Int[np.ndarray, " networks"],
    counted: slice,
) -> LabelsOfHalves:
    """Compute which labels are wrong.

    Args:
        log_probabilities: of the networks.
        y: the labels.
        halves: which examples each network was trained on.
        pair_of: the pair of each network.
        counted: the examples whose wrong labels are counted.

    Returns:
        What the networks show.
    """
    first = in_first_half(pair_of)
    opinions = [combine_members(log_probabilities[of], y, halves[of])[0] for of in (first, ~first)]
    one_half, other_half = (label_noise(each, y).probability for each in opinions)
    both = _joined(*opinions)
    one, other = (float(each[counted].sum()) for each in (one_half, other_half))
    easy = wrong_labels(log_probabilities, y, seen=halves)
    number = number_of_wrong_labels(both, y, counted, easy, (one, other))
    listed = longest_list(np.minimum(one_half, other_half)[counted])
    found = LabelsOfHalves(label_noise(both, y), (one_half, other_half), number, easy, listed)
    return found if found.doubt is None else found._replace(listed=listed[:0])


def longest_list(wrong: Float[np.ndarray, " pool"]) -> Int[np.ndarray, " listed"]:
    """The longest list of rows of which at most 5% are expected to be right.

    Args:
        wrong: the probability that each label is wrong.

    Returns:
        Rows, the most probably wrong first.
    """
    order = np.argsort(-wrong, kind="stable")
    right = np.cumsum(1 - wrong[order]) / np.arange(1, len(order) + 1)
    return order[: int((right <= RIGHT).sum())]


def _joined(one: Opinion, other: Opinion) -> Opinion:
    """The opinion of the members of both."""
    members = one.members + other.members

    def mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        shape = (-1,) + (1,) * (a.ndim - 1)
        total = a * one.members.reshape(shape) + b * other.members.reshape(shape)
        return total / np.maximum(members, 1).reshape(shape)

    probability = mean(one.probability, other.probability)
    return Opinion(probability, members, mean(one.contradicted, other.contradicted))
