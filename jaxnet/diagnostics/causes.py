"""What is wrong with a training: findings from what its networks and small probes have shown.

The thresholds were chosen with experiments/benchmarks/training_thresholds.py, on other data than
those that judge them (training_faults.py beside it).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from jaxnet.diagnostics.findings import SLOWER, TRAIN_LONGER, Code, Finding, Remedy
from jaxnet.diagnostics.training import Signs
from jaxnet.stats.estimate import Estimate

FEW = 32  # examples that a network should be able to fit
LARGEST_SCALE = 30.0  # of standardized inputs, whose root mean square should be 1
BOUNDED_LOSS = 0.4  # of the loss of guessing that the best possible outputs still have
DEAD = 0.99  # share of dead units of a layer, or of saturated ones
VANISHED = 1e-5  # gradient of a layer, as a share of the largest one
ONE_CLASS, MAJORITY, RECALL = 0.98, 0.9, 0.1  # share of predictions, of labels; of others found
FITTED, NOT_FITTED, FAR_FROM_FITTED = 0.1, 0.25, 0.5  # error on 32 examples
WORSE = 0.05  # by which the error of a probe exceeds that at another rate
NO_SKILL = 3.0  # standard errors by which predictions go with labels
GUESSING = 0.93  # of the error of guessing
MUCH_LESS = 0.4  # of the error of the training, that of a probe at a better rate
USUAL_STEPS = 150  # with fewer, training seldom comes to an end
FALLING, STILL_FALLING = 0.05, 0.25  # share of the loss that it still fell by, in few steps or many
GAP = 1.4  # unseen errors above this many times the training error are not for want of steps
NO_INTERVAL = "how much of the error this explains is not known"


LOGITS = Remedy(
    "Model", "outputs", "set", "logits", "give the loss logits: leave out the softmax of the model"
)
STANDARDIZE = Remedy(
    "Splits",
    "standardization",
    "set",
    "of the training set",
    "standardize the inputs by their mean and standard deviation in the training set",
)
CHECK_LABELS = Remedy(
    "Splits", "train", "set", "labels checked", "check the training labels: few classes are left"
)
BALANCE = Remedy(
    "Splits", "balance", "set", "every class the same", "let every class count the same (balance)"
)
CHECK_ROWS = Remedy(
    "Splits",
    "train",
    "set",
    "labels checked",
    "check that each label stands with its own inputs, and that the inputs can tell the labels "
    "apart",
)
FRESH = Remedy(
    "Model",
    "init",
    "set",
    "random",
    "draw other first parameters: biases of 0, and random kernels scaled by the number of inputs",
)
RELU = Remedy("Model", "activation", "set", "relu", "use relu in place of sigmoid or tanh")
NORMALIZE = Remedy("Model", "normalization", "set", "layer", "normalize before each activation")


class Probes(NamedTuple):
    """What small networks show that were trained at several learning rates.

    Attributes:
        rate: learning rate of the recipe; NaN where it has none.
        factors: factors of it, in growing order; one of them is 1.
        few: their errors on 32 examples, after many steps; NaN where they diverged.
        many: their errors on a larger part of the training set, after as many steps as the recipe
            has, but not more than a few hundred.
    """

    rate: float
    factors: Float[np.ndarray, " rates"]
    few: Float[np.ndarray, " rates"]
    many: Float[np.ndarray, " rates"]

    @property
    def own(self) -> int:
        """The place of the recipe's own rate."""
        return int(np.flatnonzero(self.factors == 1)[0])

    def best(self, which: Bool[np.ndarray, " rates"]) -> int | None:
        """The place of the rate, of some, with the lowest error on many examples; of those that
        are hardly worse, the one nearest to the recipe's own.
        """
        errors = np.where(which & np.isfinite(self.many), self.many, np.inf)
        if not np.isfinite(errors).any():
            return None
        near = np.flatnonzero(errors <= errors.min() + WORSE)
        return int(near[np.argmin(np.abs(np.log10(self.factors[near])))])


def healthy(signs: Signs, tolerance: float, attainable: float) -> bool:
    """Whether networks show nothing that would ask for probes."""
    return signs.lost == 0 and signs.error <= attainable + tolerance and not _guesses(signs)


def plain_findings(signs: Signs) -> list[Finding]:
    """Find what is wrong for certain, whatever errors networks have: a loss that does not fit the
    outputs, inputs that are not scaled, and predictions of one class alone.
    """
    found = list[Finding]()
    if signs.bounded >= BOUNDED_LOSS:
        words = (
            "the loss of an example whose output is as right as it can be is still "
            f"{signs.bounded:.0%} of that of guessing: the network's outputs are probabilities, "
            "and the loss takes their softmax once more"
        )
        found.append(_finding(Code.WRONG_LOSS, signs, words, LOGITS))
    if not 1 / LARGEST_SCALE <= signs.scale <= LARGEST_SCALE:
        words = (
            f"the root mean square of an input that the network gets is {signs.scale:.3g}; it "
            "should be about 1"
        )
        found.append(_finding(Code.INPUTS_NOT_SCALED, signs, words, STANDARDIZE))
    if (
        signs.majority >= MAJORITY
        and signs.one_class >= ONE_CLASS
        and signs.recall <= RECALL
        and not found
    ):
        words = (
            f"{signs.one_class:.1%} of the predictions for unseen examples are one class, as "
            f"{signs.majority:.1%} of the training labels are; of the others {signs.recall:.0%} "
            "are found"
        )
        found.append(_finding(Code.STUCK_AT_MAJORITY, signs, words, CHECK_LABELS, BALANCE))
    return found


def of_first_step(signs: Signs) -> list[Finding]:
    """Find why networks could not begin to learn, from what their layers did in the first step."""
    zero = np.flatnonzero(signs.parameters == 0)
    if len(zero) > 1 and len(zero) >= len(signs.layers) / 2:
        words = (
            f"the first parameters of {len(zero)} of {len(signs.layers)} layers are all 0, so that "
            "units of a layer cannot come to differ"
        )
        return [_finding(Code.DID_NOT_BEGIN_TO_LEARN, signs, words, FRESH)]
    idle = np.flatnonzero(signs.idle >= DEAD)
    if len(idle):
        words = (
            f"from the first step on {signs.idle[idle[0]]:.0%} of the units of "
            f"{signs.layers[idle[0]]} are dead or saturated on every example of the batch, so that "
            "next to no gradient passes them"
        )
        return [_finding(Code.DID_NOT_BEGIN_TO_LEARN, signs, words, FRESH, NORMALIZE)]
    if len(signs.gradients) and np.isfinite(signs.gradients).all() and signs.gradients.max() > 0:
        share = signs.gradients / signs.gradients.max()
        least = int(np.argmin(share))
        if share[least] < VANISHED:
            words = (
                f"the first gradient of {signs.layers[least]} is {share[least]:.1g} of that of "
                f"{signs.layers[int(np.argmax(share))]}: it vanishes on its way through the layers"
            )
            return [_finding(Code.DID_NOT_BEGIN_TO_LEARN, signs, words, RELU, NORMALIZE)]
    return []


def of_probes(signs: Signs, probes: Probes) -> list[Finding]:
    """Find why networks train badly, from what others do at other learning rates."""
    own, factors = probes.own, probes.factors
    few, many = np.nan_to_num(probes.few, nan=1.0), np.nan_to_num(probes.many, nan=1.0)
    lower, higher = probes.best(factors < 1), probes.best(factors > 1)
    if signs.lost:
        remedies = () if lower is None else (_rate(probes, lower),)
        words = (
            f"in {signs.lost:.0%} of the networks the loss was no longer a finite number"
            + _at_rates(probes, lower, "many")
        )
        clip = Remedy("Recipe", "clip", "set", 1.0, "clip the gradient")
        return [_finding(Code.DIVERGED, signs, words, *(remedies or (SLOWER,)), clip)]
    if few[own] >= NOT_FITTED and higher is not None and many[higher] <= many[own] - WORSE:
        fits = few[factors > 1].min() <= FITTED and many[higher] <= MUCH_LESS * signs.error
        if fits and (lower is None or many[lower] >= many[own] - WORSE):
            words = "the learning rate is too low" + _at_rates(probes, higher, "few")
            return [_finding(Code.DID_NOT_BEGIN_TO_LEARN, signs, words, _rate(probes, higher))]
    if lower is not None and many[lower] <= many[own] - WORSE:
        words = "the learning rate is too high" + _at_rates(probes, lower, "many")
        if signs.largest > 2 * signs.first:
            words += f"; the loss of a batch rose from {signs.first:.3g} to {signs.largest:.3g}"
        if len(signs.died) and np.nanmax(np.append(signs.died, 0)) >= DEAD:
            words += f"; the units of {signs.layers[int(np.nanargmax(signs.died))]} died"
        return [_finding(Code.UNSTABLE, signs, words, _rate(probes, lower))]
    if few[own] >= FAR_FROM_FITTED and few.min() <= FITTED:
        place = int(np.argmin(few))
        words = "the network does not fit 32 examples" + _at_rates(probes, place, "few")
        return [_finding(Code.CANNOT_FIT_32_EXAMPLES, signs, words, _rate(probes, place))]
    short = signs.steps < USUAL_STEPS
    early = short and signs.error >= GUESSING * signs.guessing  # too early to judge the labels
    if few.min() <= FITTED and _guesses(signs) and not early:
        words = (
            f"a network fits 32 examples to an error of {few.min():.1%}, but its error on unseen "
            f"examples, {signs.unseen:.1%}, is no better than that of always guessing, "
            f"{signs.guessing:.1%}: labels do not stand with their own inputs, or inputs say "
            "nothing about them; which of the two cannot be told"
        )
        return [_finding(Code.LABELS_MATCH_NOTHING, signs, words, CHECK_ROWS)]
    falls = signs.fell > (FALLING if short else STILL_FALLING)
    if few[own] <= FITTED and (early or falls) and not signs.unseen > GAP * signs.error:
        words = (
            f"after {signs.steps:,} steps the training error is {signs.error:.1%}"
            + (
                f", and in the last quarter of them the loss was still "
                f"{signs.fell / (1 + signs.fell):.0%} lower than in the quarter before"
            )
            * falls
        )
        return [_finding(Code.NOT_FINISHED, signs, words, _longer(signs.steps))]
    return []


def _guesses(signs: Signs) -> bool:
    """Whether predictions for unseen examples are no better than guesses."""
    return signs.unseen >= GUESSING * signs.guessing and not signs.skill > NO_SKILL


def _finding(code: Code, signs: Signs, evidence: str, *remedies: Remedy) -> Finding:
    size = Estimate(signs.error, refused=NO_INTERVAL)
    return Finding(code, size, True, evidence, remedies)


def _rate(probes: Probes, place: int) -> Remedy:
    factor = float(probes.factors[place])
    verb = "raise" if factor > 1 else "lower"
    words = f"{verb} the learning rate to {probes.rate * factor:.3g}, {factor:,.4g} times as much"
    return Remedy("Recipe", "learning_rate", "multiply", factor, words)


def _longer(steps: int) -> Remedy:
    factor = next((each for each in (2, 4, 10) if each * steps >= USUAL_STEPS), 20)
    return Remedy("Recipe", "epochs", "multiply", factor, f"{TRAIN_LONGER.words}, {factor} times")


def _at_rates(probes: Probes, place: int | None, which: str) -> str:
    """The errors of probes at the recipe's own rate and at another one."""
    errors = getattr(probes, which)
    if place is None or not np.isfinite(probes.rate):
        return ""
    what = f"{FEW} examples" if which == "few" else "part of the training set"
    own, other = (
        "diverges" if np.isnan(errors[i]) else f"errs in {errors[i]:.1%}"
        for i in (probes.own, place)
    )
    return (
        f": on {what} a network {own} at the learning rate {probes.rate:.3g}, and {other} at "
        f"{probes.factors[place]:,.4g} times that rate"
    )
