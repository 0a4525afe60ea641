"""Error analysis: the steps from target to training to validation error and to the error in use,
and the verdict.

Avoidable bias is the step from the target to the training error, variance the step to the
validation error, and mismatch the step to the error where the network is used (Ng, Machine Learning
Yearning, 2018, chapters 20 to 30 and 40 to 43). The errors are given; nothing here predicts.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jaxnet import arrays, display
from jaxnet.diagnostics.findings import Code, Finding, finding, percent
from jaxnet.engine.prediction import ClassMetrics, Metrics
from jaxnet.errors import InputError
from jaxnet.stats.estimate import LEVEL, Estimate, combination, exact, mean
from jaxnet.stats.random_effects import (
    MIN_ERROR_EXAMPLES,
    POSITIVE,
    RATE,
    TwoWay,
    contrast,
    interval,
    table,
)
from jaxnet.typing import ArrayLike

ALPHA = 0.05
RUNGS = {
    Code.HIGH_BIAS: "it is wrong even on the examples it learned from",
    Code.HIGH_VARIANCE: "it does worse on examples it has not seen",
    Code.MISMATCH: (
        "it does worse where it is used than on held-out examples like those it learned from"
    ),
}
PART_ORDER = ("train", "validation", "test", "use")
ERROR_WORDS = {
    "train": "training error",
    "validation": "validation error",
    "test": "test error",
    "use": "error where it is used",
}
MAX_TIMES = 900  # nobody gets more than this times as many examples

Weights = dict[str, float]


@dataclass(frozen=True)
class Ladder:
    """The error steps and the verdict they allow.

    Attributes:
        verdict: a sentence that begins with the name of the largest step, or with good enough or
            inconclusive.
        findings: the steps, the largest first.
        errors: the error of each part, with 95% intervals.
    """

    verdict: str
    findings: tuple[Finding, ...]
    errors: dict[str, Estimate]

    __repr__ = display.text


def error_ladder(
    errors: Mapping[str, ArrayLike], *, target_error: float = 0.0, tolerance: float = 0.02
) -> Ladder:
    """Compute the error steps and the verdict from errors on disjoint sets of examples.

    "high X" is claimed where the Holm-adjusted one-sided 5% lower bound of X exceeds the tolerance
    (Holm 1979). "good enough" is claimed where every unadjusted one-sided 95% upper bound is below
    the tolerance. A step is called the largest where Bonferroni intervals of its difference to
    every other claimed step exclude 0. So a false claim has probability at most 5%, as far as the
    intervals cover, under any dependence.

    Args:
        errors: by part, whether each example is predicted wrongly (booleans), or its loss. The
            parts are train, validation (if there is one), test, and use (labeled examples from
            where the network is used). Shape (examples,) of one network, and the verdict is on that
            network only; or (members, examples) of networks that one recipe trained on these
            training examples, and the verdict is on the recipe.
        target_error: the error that could be reached; 0 by default.
        tolerance: the smallest step that matters, on the scale of the error; 0.02 by default.

    Returns:
        The steps, the verdict and the errors.

    Raises:
        InputError: for a tolerance that is not above 0, a target error below 0, and parts that do
            not fit together.

    References:
        Ng 2018, chapters 20 to 30 and 40 to 43; Holm 1979.
    """
    if not (tolerance > 0 and math.isfinite(tolerance)):
        raise InputError(
            f"tolerance is {tolerance}; give a finite number above 0, on the scale of the error"
        )
    if not (target_error >= 0 and math.isfinite(target_error)):
        raise InputError(f"target_error is {target_error}; give a finite number of at least 0")
    given_ = {
        name: arrays.array(f"errors of {name}", errors[name], arrays.MEMBER_AXES)
        for name in PART_ORDER
        if name in errors
    }
    parts = {name: each for name, each in given_.items() if each.size}
    _check(parts)
    given = OneNetwork(parts) if parts["train"].ndim == 1 else Members(parts)
    found = {name: given.size({name: 1.0}) for name in parts}
    if not all(math.isfinite(error.estimate) for error in found.values()):
        words = (
            "inconclusive: an error is not a finite number, so the training diverged. Lower "
            "the learning rate, or set clip"
        )
        return Ladder(words, (), found)
    held_out, used = (
        next(name for name in names if name in parts)
        for names in (PART_ORDER[1:], PART_ORDER[:0:-1])
    )
    steps: dict[Code, tuple[Weights, float]] = {
        Code.HIGH_BIAS: ({"train": 1.0}, -target_error),
        Code.HIGH_VARIANCE: ({held_out: 1.0, "train": -1.0}, 0.0),
    }
    if used != held_out:
        steps[Code.MISMATCH] = ({used: 1.0, held_out: -1.0}, 0.0)

    def size(name: Code, level: float, rival: Code | None = None) -> Estimate:
        """Compute a step, or by how much it exceeds a rival step, with an interval of this
        level.
        """
        weights, constant = steps[name]
        if rival is not None:
            weights = {
                part: weights.get(part, 0.0) - steps[rival][0].get(part, 0.0) for part in parts
            }
            constant -= steps[rival][1]
        return given.size(weights, constant, level)

    sizes = {name: size(name, LEVEL) for name in steps}
    order = sorted(steps, key=lambda name: sizes[name].estimate, reverse=True)
    claimed = _holm(size, order, tolerance)
    findings = tuple(
        finding(name, sizes[name], name in claimed, _sentence(*steps[name], sizes[name]))
        for name in order
    )
    if claimed:
        return Ladder(_largest(size, sizes, claimed), findings, found)
    unsettled = [name for name in order if not size(name, 1 - 2 * ALPHA).high < tolerance]
    if not unsettled:
        return Ladder(
            f"good enough: no step of the error ladder exceeds the tolerance of {tolerance:.1%}",
            findings,
            found,
        )
    refused = next((sizes[name].refused for name in unsettled if sizes[name].refused), None)
    few = [name for name, error in found.items() if error.refused]
    if refused and len(few) < len(found):
        refused += f". Give more examples to {' and '.join(few)}"
    words = refused or _unsettled(
        {name: (steps[name][0], sizes[name]) for name in unsettled}, given, tolerance
    )
    return Ladder(f"inconclusive: {words}", findings, found)


@dataclass(frozen=True)
class OneNetwork:
    """Errors of one network on independent examples.

    Attributes:
        parts: by part, (examples,) losses, or whether each prediction is wrong.
    """

    parts: dict[str, np.ndarray]

    def size(self, weights: Weights, constant: float = 0.0, level: float = LEVEL) -> Estimate:
        """Compute the sum of weighted errors and a constant.

        The limits are exact binomial ones: as one-sided limits, Wilson's miss small rates too often
        (Cai 2005).
        """
        used = {name: weight for name, weight in weights.items() if weight}
        each = [self.error(name, level) for name in used]
        return (
            each[0]
            if list(used.values()) == [1.0] and not constant
            else combination(list(used.values()), each, constant)
        )

    def error(self, name: str, level: float) -> Estimate:
        """Compute the error of one part; it is refused where a loss is not a number."""
        losses = self.parts[name]
        if losses.dtype == bool:
            return exact(int(losses.sum()), len(losses), level)
        if lost := int(np.isnan(losses).sum()):
            return Estimate(math.nan, refused=f"{lost} of {len(losses)} losses are not numbers")
        return mean(losses, level)

    def settles(self, weights: Weights) -> str:
        """Name what there should be more of to make the interval shorter."""
        return "examples"


@dataclass(frozen=True)
class Members:
    """Errors of several members on the same examples; both count as random samples.

    Attributes:
        parts: by part, (members, examples) losses, or whether each prediction is wrong.
    """

    parts: dict[str, np.ndarray]

    @cached_property
    def tables(self) -> dict[str, TwoWay]:
        """The table of members and examples of each part."""
        return {
            name: table(e, RATE if e.dtype == bool else POSITIVE) for name, e in self.parts.items()
        }

    def size(self, weights: Weights, constant: float = 0.0, level: float = LEVEL) -> Estimate:
        """Compute the sum of weighted errors and a constant."""
        return interval(
            contrast(self.tables, weights, constant), level, examples=MIN_ERROR_EXAMPLES
        )

    def settles(self, weights: Weights) -> str:
        """Name what there should be more of, members or examples, to make the interval shorter."""
        given = contrast(self.tables, weights)
        return (
            "members"
            if given.members_variance()[0] > sum(part.weight**2 * part.own for part in given.parts)
            else "examples"
        )


def _check(parts: dict[str, np.ndarray]) -> None:
    if "train" not in parts or not {"validation", "test", "use"} & set(parts):
        raise InputError(
            f"errors are of {', '.join(parts) or 'nothing'}; give train, and validation or test"
        )
    first = parts["train"]
    for name, part in parts.items():
        if part.dtype.kind not in "biuf":
            raise InputError(f"errors of {name} are of type {part.dtype}; give booleans or losses")
        if (
            part.ndim not in (1, 2)
            or part.ndim != first.ndim
            or (part.ndim == 2 and len(part) != len(first))
        ):
            raise InputError(
                f"errors of {name} have shape {part.shape}, those of train {first.shape}; give "
                "the same members of all"
            )


def _holm(size: Callable[..., Estimate], names: list[Code], tolerance: float) -> list[Code]:
    """Select the names whose lower bounds exceed the tolerance, by Holm's procedure at level
    ALPHA.
    """
    left = list(names)
    while passing := [
        name for name in left if size(name, 1 - 2 * ALPHA / len(left)).low > tolerance
    ]:
        left = [name for name in left if name not in passing]
    return [name for name in names if name not in left]


def _largest(
    size: Callable[..., Estimate], sizes: dict[Code, Estimate], claimed: list[Code]
) -> str:
    """Describe the claimed steps, the largest first; steps are tied where their order is
    uncertain.
    """
    first, *rivals = claimed
    level = 1 - ALPHA / max(1, math.comb(len(claimed), 2))
    tied = [name for name in rivals if not size(first, level, name).low > 0]
    names = " and ".join(code.words for code in (first, *tied))
    words = f"{names}: {RUNGS[first]} ({percent(sizes[first])})"
    if tied:
        words += "; which of them is the largest is not settled"
    rest = [name for name in rivals if name not in tied]
    return words + (f"; also {', '.join(code.words for code in rest)}" if rest else "")


def _unsettled(
    steps: dict[Code, tuple[Weights, Estimate]], given: OneNetwork | Members, tolerance: float
) -> str:
    """Describe which steps are uncertain, and what would decide them."""
    words = ", ".join(
        f"{name.words.removeprefix('high ')} {percent(size)}" for name, (_, size) in steps.items()
    )
    # If the estimate stays, the interval shrinks with the square root of the number.
    needs = [
        (
            ((size.high - size.low) / 2 / max(abs(size.estimate - tolerance), 1e-9)) ** 2,
            given.settles(weights),
        )
        for weights, size in steps.values()
    ]
    times, what = max(needs)
    if times > MAX_TIMES:
        return (
            f"{words}: on the tolerance of {tolerance:.1%} itself; more {what} will hardly "
            "settle it"
        )
    return (
        f"{words} could be on either side of the tolerance of {tolerance:.1%}; "
        f"about {max(2, math.ceil(times))} times as many {what} would settle it"
    )


def _sentence(weights: Weights, constant: float, size: Estimate) -> str:
    more, *less = sorted(weights, key=lambda name: -weights[name])
    return (
        f"{ERROR_WORDS[more]} minus {ERROR_WORDS[less[0]] if less else 'target error'}: "
        f"{percent(size)}"
    )


def network_ladder(
    parts: dict[str, Metrics], *, target_error: float = 0.0, tolerance: float = 0.02
) -> Ladder:
    """Compute the error steps of one network from its metrics.

    Args:
        parts: metrics on "train", "test" and, where there is one, "validation".
        target_error: as in `error_ladder`.
        tolerance: as in `error_ladder`.

    Returns:
        The steps, the verdict and the errors.
    """
    errors = {
        name: part.wrong if isinstance(part, ClassMetrics) else part.squares
        for name, part in parts.items()
    }
    return error_ladder(errors, target_error=target_error, tolerance=tolerance)
