"""The error ladder: target -> training -> validation -> test, and the verdict it allows.

Ng, Machine Learning Yearning (2018), chapters 20 to 30 and 40 to 43. Avoidable bias is the step from the target to the
training error, variance the step to the validation error, mismatch the step to where the network is used.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import InputError
from .intervals import Estimate, combination

ALPHA = 0.05
RUNGS = {
    "high bias": "it is wrong even on the examples it learned from",
    "high variance": "it does worse on examples it has not seen",
    "mismatch": "it does worse where it is used than on held-out examples like those it learned from",
}


@dataclass(frozen=True)
class Remedy:
    """Something to try: a field of a Recipe, Model or Splits, and how to change it, so that a program can."""

    of: str
    field: str
    change: str
    words: str


@dataclass(frozen=True)
class Finding:
    """One measured statement. size: on the scale of the error; claimed: whether it stands above the tolerance."""

    code: str
    size: Estimate
    claimed: bool
    evidence: str
    remedies: tuple[Remedy, ...]


@dataclass(frozen=True)
class Ladder:
    """The findings in order of size, and the verdict: it begins with the name of the largest, or with good enough or inconclusive."""

    verdict: str
    findings: tuple[Finding, ...]


REMEDIES = {
    "high bias": (
        Remedy("Recipe", "epochs", "x2", "train for longer"),
        Remedy("Model", "hidden", "x2", "make the network wider, or deeper"),
        Remedy("Recipe", "learning_rate", "x3", "try a higher learning rate, or another optimizer"),
        Remedy("Recipe", "dropout", "off", "regularize less"),
    ),
    "high variance": (
        Remedy("Splits", "train", "more", "get more training examples"),
        Remedy("Recipe", "weight_decay", "1e-2", "regularize: weight decay"),
        Remedy("Recipe", "dropout", "0.2", "regularize: dropout"),
        Remedy("Recipe", "patience", "5", "stop early"),
        Remedy("Model", "hidden", "x0.5", "make the network smaller"),
    ),
    "mismatch": (
        Remedy("Splits", "train", "like the target", "add training examples from where the network is used"),
        Remedy("Splits", "validation", "like the target", "choose with validation examples from where the network is used"),
    ),
}

Measure = Callable[[float], Estimate]


def error_ladder(
    train: Measure, validation: Measure | None, test: Measure, *, target_error: float = 0.0, tolerance: float = 0.02
) -> Ladder:
    """The verdict on one network from its errors on disjoint examples.

    train, validation, test: functions from a level to the error with its two-sided interval at that level, each on
    examples of its own (validation None: there are none). target_error: what could be reached. tolerance: the
    smallest step that matters, on the scale of the error.

    "high X" is claimed where X's Holm-adjusted one-sided 5% lower bound exceeds the tolerance (Holm 1979); "good
    enough" where every unadjusted one-sided 95% upper bound is below it; one is called the largest where Bonferroni
    intervals of its difference to every other claimed one exclude 0. So a false claim has probability at most 5%
    as far as the intervals cover, under any dependence. The intervals speak of this one network.
    Raises InputError for a tolerance or target that is no such number.
    """
    if not (tolerance > 0 and math.isfinite(tolerance)):
        raise InputError(f"tolerance is {tolerance}; give a finite number above 0, on the scale of the error")
    if not (target_error >= 0 and math.isfinite(target_error)):
        raise InputError(f"target_error is {target_error}; give a finite number of at least 0")
    parts = [train, validation, test] if validation is not None else [train, test]
    if not all(math.isfinite(part(1 - ALPHA).estimate) for part in parts):
        return Ladder("inconclusive: an error is not a finite number, so the training diverged. Lower the learning rate, or set clip", ())
    # Each step is a combination of the errors and a constant.
    steps = {"high bias": ([1.0, 0.0, 0.0], -target_error), "high variance": ([-1.0, 1.0, 0.0], 0.0), "mismatch": ([0.0, -1.0, 1.0], 0.0)}
    if validation is None:
        steps = {"high bias": ([1.0, 0.0], -target_error), "high variance": ([-1.0, 1.0], 0.0)}

    def size(name: str, level: float, rival: str | None = None) -> Estimate:
        """A step, or what it exceeds a rival by, with an interval of this level."""
        coefficients, constant = steps[name]
        if rival is not None:
            coefficients = [a - b for a, b in zip(coefficients, steps[rival][0], strict=True)]
            constant -= steps[rival][1]
        return combination(coefficients, [part(level) for part in parts], constant)

    sizes = {name: size(name, 1 - ALPHA) for name in steps}
    order = sorted(steps, key=lambda name: sizes[name].estimate, reverse=True)
    claimed = _holm(size, order, tolerance)
    findings = tuple(
        Finding(name, sizes[name], name in claimed, _sentence(name, sizes[name], validation is not None), REMEDIES[name]) for name in order
    )
    if claimed:
        return Ladder(_largest(size, sizes, claimed), findings)
    unsettled = [name for name in order if not size(name, 1 - 2 * ALPHA).high < tolerance]
    if not unsettled:
        return Ladder(f"good enough: no step of the error ladder exceeds the tolerance of {tolerance:.1%}", findings)
    return Ladder(_inconclusive({name: sizes[name] for name in unsettled}, tolerance), findings)


def _holm(size: Callable[..., Estimate], names: list[str], tolerance: float) -> list[str]:
    """The names whose lower bounds exceed the tolerance at level ALPHA / (names not claimed yet), in the order given."""
    left = list(names)
    while passing := [name for name in left if size(name, 1 - 2 * ALPHA / len(left)).low > tolerance]:
        left = [name for name in left if name not in passing]
    return [name for name in names if name not in left]


def _largest(size: Callable[..., Estimate], sizes: dict[str, Estimate], claimed: list[str]) -> str:
    """The claimed steps, the largest first, tied where their order is not settled."""
    first, *rivals = claimed
    level = 1 - ALPHA / max(1, math.comb(len(claimed), 2))
    tied = [name for name in rivals if not size(first, level, name).low > 0]
    words = f"{' and '.join([first, *tied])}: {RUNGS[first]} ({_percent(sizes[first])})"
    if tied:
        words += "; which of them is the largest is not settled"
    rest = [name for name in rivals if name not in tied]
    return words + (f"; also {', '.join(rest)}" if rest else "")


def _inconclusive(unsettled: dict[str, Estimate], tolerance: float) -> str:
    """Which steps are not settled, and what would settle them."""
    refused = next((size.refused for size in unsettled.values() if size.refused), None)
    if refused:
        return f"inconclusive: {refused}"
    steps = ", ".join(f"{name.removeprefix('high ')} {_percent(size)}" for name, size in unsettled.items())
    # Intervals shrink with the square root of the number of examples, if the estimate stays.
    ratios = [(size.high - size.low) / 2 / max(abs(size.estimate - tolerance), 1e-9) for size in unsettled.values()]
    if max(ratios) > 30:
        return f"inconclusive: {steps} lies on the tolerance of {tolerance:.1%} itself; more examples will hardly settle it"
    return (
        f"inconclusive: {steps} could be on either side of the tolerance of {tolerance:.1%}; "
        f"about {max(2, math.ceil(max(ratios) ** 2))} times as many examples would settle it"
    )


def _sentence(name: str, size: Estimate, validated: bool) -> str:
    between = {
        "high bias": "training error minus target error",
        "high variance": "validation error minus training error" if validated else "test error minus training error",
        "mismatch": "test error minus validation error",
    }[name]
    return f"{between}: {_percent(size)}"


def _percent(size: Estimate) -> str:
    if size.refused is not None:
        return f"{size.estimate:.2%}, no interval"
    return f"{size.estimate:.2%}, 95% interval {size.low:.2%} to {size.high:.2%}"
