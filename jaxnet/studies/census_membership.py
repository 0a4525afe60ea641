"""What an attacker could tell of the networks of a census: which examples they were trained on."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from jaxnet import display
from jaxnet.runtime.files import plain
from jaxnet.stats.estimate import Estimate
from jaxnet.stats.membership import (
    likelihood_ratios,
    logit_of_confidence,
    threshold,
    true_positives,
)

if TYPE_CHECKING:
    from jaxnet.studies.census_result import Census

RATES = (0.01, 0.001)  # of false positives
MOST = 10  # examples that are named


@dataclass(frozen=True)
class MembershipInference:
    """How well one can tell which examples a network was trained on, from its predictions.

    An attacker who knows an example with its label, and trains networks of the same kind on other
    examples, with and without it, calls it a training example where that is likely enough.

    Attributes:
        false_positives: shares of the examples that a network was not trained on and that are
            called training examples: 1% and 0.1%.
        recognized: share of its training examples that are recognized, at each of these rates; an
            attacker who guesses recognizes exactly that rate.
        loss_threshold: the same for an attacker who knows the loss of an example alone.
        gain: `recognized` minus `loss_threshold`, on the same networks and examples.
        exposure: (pool,) share of the networks that were trained on an example which allow to
            recognize it, at 1% false positives.
        most_exposed: rows of the training set with the largest exposure.
        examples: how many examples each network was trained on, on average.
    """

    false_positives: tuple[float, ...]
    recognized: tuple[Estimate, ...]
    loss_threshold: tuple[Estimate, ...]
    gain: tuple[Estimate, ...]
    exposure: Float[np.ndarray, " pool"] = field(repr=False, compare=False)
    most_exposed: Int[np.ndarray, " most"] = field(repr=False, compare=False)
    examples: float

    __repr__ = display.text

    @property
    def verdict(self) -> str:
        """What an attacker could tell, in one sentence."""
        one, few = self.recognized
        loss = self.loss_threshold
        limits = "" if one.refused else f" (95% interval {one.low:.2%} to {one.high:.2%})"
        return (
            f"from a network trained on {self.examples:,.0f} examples, an attacker could recognize "
            f"{one.estimate:.2%} of them{limits} at 1% false positives, and {few.estimate:.2%} at "
            f"0.1%; with a threshold on the loss alone {loss[0].estimate:.2%} and "
            f"{loss[1].estimate:.2%}"
        )

    def summary(self) -> dict[str, Any]:
        """Return the result without the exposure of each example, in the types that JSON has."""
        names = ("false_positives", "recognized", "loss_threshold", "gain", "examples")
        most = [
            {"index": int(row), "exposure": float(self.exposure[row])} for row in self.most_exposed
        ]
        found = {name: getattr(self, name) for name in names}
        return plain({"verdict": self.verdict, **found, "most_exposed": most})

    def json(self) -> str:
        """Return the summary as JSON text."""
        return json.dumps(self.summary(), indent=1, allow_nan=False)

    def __str__(self) -> str:
        most = ", ".join(f"{row} ({self.exposure[row]:.1%})" for row in self.most_exposed)
        return f"{self.verdict}\nmost exposed training examples: {most}"


def membership_of(census: "Census") -> MembershipInference:
    """Attack each network of a census with the others.

    Args:
        census: the census, of classes.
    """
    seen, train = census.halves, census.splits.train
    y = np.asarray(train.y)
    confidence = np.stack([logit_of_confidence(own, y) for own in census.predictions])
    pairs = np.flatnonzero(~census.population.diverged[:-1]) // 2
    ratios = likelihood_ratios(confidence, seen, pairs)
    attacks = (ratios, -census.losses)
    (recognized, loss), gain = true_positives(attacks, seen, RATES, train.groups)
    above = (ratios > threshold(ratios, seen, RATES[0])) & seen
    exposure = above.sum(0) / seen.sum(0)
    most = np.argsort(-exposure[: census.training], kind="stable")[:MOST]
    return MembershipInference(
        RATES, recognized, loss, gain, exposure, most[exposure[most] > 0], census.examples
    )
