"""Error analysis: avoidable bias, the generalization gap and mismatch, and the verdict.

Avoidable bias is the step from the error that could be reached to the training error, the
generalization gap (variance) the step to the error on unseen examples, and mismatch the step to the
error where the network is used (Ng, Machine Learning Yearning, 2018, chapters 20 to 30 and 40 to
43). The errors are given; nothing here predicts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from jaxnet import arrays, display
from jaxnet.data.dataset import TestSource
from jaxnet.diagnostics.findings import Code, Finding, finding, percent
from jaxnet.diagnostics.steps import Members, OneNetwork, PoolSteps, Steps, TheseNetworks
from jaxnet.engine.prediction import Metrics, ValueMetrics
from jaxnet.errors import InputError
from jaxnet.stats.cross_fitting import group_codes
from jaxnet.stats.estimate import Estimate
from jaxnet.stats.random_effects import MIN_MEMBERS
from jaxnet.typing import ArrayLike

ALPHA = 0.05
PART_ORDER = ("train", "validation", "test", "use")
CHOSE = "the validation set was used to choose the network or its epoch"
MAX_TIMES = 900  # nobody gets more than this times as many examples


@dataclass(frozen=True)
class Claims:
    """What the error steps allow to claim. Any false claim has probability at most 5%.

    Attributes:
        exceeding: steps that exceed the tolerance, the largest first.
        dominant: which of bias and variance is the larger; None where that is uncertain.
        good_enough: whether no step exceeds the tolerance.
    """

    exceeding: tuple[Code, ...]
    dominant: Code | None
    good_enough: bool


@dataclass(frozen=True)
class Ladder:
    """The error steps and the verdict they allow.

    Attributes:
        verdict: a sentence that begins with high bias, high variance, mismatch, mostly bias, mostly
            variance, good enough or inconclusive.
        findings: the steps, the largest first.
        errors: the error of each part, with 95% intervals.
        dominance: the generalization gap minus avoidable bias; None where it was not measured.
        examples: number of examples of each part.
        target_error: the error that could be reached; None where other methods stand for it.
        tolerance: the smallest step that matters.
    """

    verdict: str
    findings: tuple[Finding, ...]
    errors: dict[str, Estimate]
    dominance: Estimate | None = None
    examples: dict[str, int] = field(default_factory=dict)
    target_error: float | None = None
    tolerance: float = math.nan

    __repr__ = display.text


def error_ladder(
    errors: Mapping[str, ArrayLike],
    *,
    target_error: float = 0.0,
    tolerance: float = 0.02,
    test_source: TestSource = "own",
    chosen: bool = False,
    groups: Mapping[str, ArrayLike] | None = None,
    shares: bool = False,
) -> Ladder:
    """Compute the error steps and the verdict from errors on disjoint sets of examples.

    A step is called high where its Holm-adjusted one-sided 5% lower limit exceeds the tolerance,
    and one of bias and variance is said to be the larger where their paired difference excludes 0
    within the same procedure. "good enough" is claimed where every unadjusted one-sided 95% upper
    limit is at most the tolerance. So a false claim has probability at most 5%, as far as the
    intervals cover, under any dependence.

    Args:
        errors: by part, whether each example is predicted wrongly (booleans), or its loss. The
            parts are train, validation (if there is one), test, and use (labeled examples from
            where the network is used). Shape (examples,) of one network, and the verdict is on that
            network only; or (members, examples) of networks that one recipe trained on these
            training examples, and the verdict is on the recipe.
        target_error: the error that could be reached; 0 by default.
        tolerance: the smallest step that matters, on the scale of the error; 0.02 by default.
        test_source: where the test set comes from. Where it is "random", a random part of the same
            data as the training and the validation set, both held-out sets together show the
            generalization gap, and it shows no mismatch.
        chosen: whether the validation set chose a network, as the best of several or by stopping
            its training. Its error there is then too low and takes no part: the test set shows the
            gap, or where there is none the deployment data, and without either no step is judged.
        groups: by part, (examples,) the group of each example, such as its patient, which is then
            the independent unit of the intervals.
        shares: whether losses that are no booleans are shares from 0 to 1, such as the share of
            wrong answers to several yes/no questions.

    Returns:
        The steps, the verdict and the errors.

    Raises:
        InputError: for a tolerance that is not above 0, a target error below 0, and parts that do
            not fit together.

    References:
        Ng 2018, chapters 20 to 30 and 40 to 43; Holm 1979.
    """
    check_limits(target_error, tolerance)
    given = {
        name: arrays.array(f"errors of {name}", errors[name], arrays.MEMBER_AXES)
        for name in PART_ORDER
        if name in errors
    }
    parts = {name: each for name, each in given.items() if each.size}
    _check(parts)
    validation = parts.pop("validation", None) if chosen else None
    if parts.keys() == {"train"}:
        found = _without_held_out(parts["train"], target_error, tolerance)
    else:
        found = _ladder_of_parts(parts, target_error, tolerance, test_source, groups or {}, shares)
    return found if validation is None else _with_what_chose(found, validation, test_source)


def _ladder_of_parts(
    parts: dict[str, np.ndarray],
    target_error: float,
    tolerance: float,
    test_source: TestSource,
    groups: Mapping[str, ArrayLike],
    shares: bool,
) -> Ladder:
    """Compute the error steps and the verdict from errors on parts of which none chose."""
    held_out = tuple(name for name in ("validation", "test") if name in parts) or ("use",)
    if test_source != "random":
        held_out = held_out[:1]
    used = next(name for name in reversed(PART_ORDER) if name in parts)
    used = None if used in held_out else used
    if parts["train"].ndim == 2 and len(parts["train"]) == 1:
        parts = {name: each[0] for name, each in parts.items()}
    codes = {
        name: group_codes(each, parts[name].shape[-1])
        for name, each in groups.items()
        if name in parts
    }
    given = (parts, held_out, used, target_error, codes, shares)
    if parts["train"].ndim == 1:
        return ladder(OneNetwork(*given), tolerance)
    found = ladder(Members(*given), tolerance)
    enough = len(parts["train"]) >= MIN_MEMBERS
    if enough or not found.verdict.startswith("inconclusive") or not found.findings:
        return found
    # What one network would show, several show too.
    these = ladder(TheseNetworks(*given), tolerance)
    if not these.verdict.startswith(("high", "mismatch")):
        return found
    words = (
        f"{these.verdict}. This holds for these {len(parts['train'])} networks; how much other "
        "networks of the recipe differ is uncertain"
    )
    return replace(found, verdict=words, findings=these.findings)


def _without_held_out(train: np.ndarray, target_error: float, tolerance: float) -> Ladder:
    """Judge no step, since no examples are left that took no part in the training or the choice."""
    one = train.ndim == 1 or len(train) == 1
    only = {"train": train.reshape(-1) if one else train}
    words = (
        f"inconclusive: {CHOSE}, so the error there is too low, and no other held-out examples "
        "measure the generalization gap. Hold some examples out as a test set"
    )
    return Ladder(
        words,
        (),
        (OneNetwork if one else Members)(only, ("train",)).errors,
        examples={"train": train.shape[-1]},
        target_error=target_error,
        tolerance=tolerance,
    )


def _with_what_chose(found: Ladder, validation: np.ndarray, test_source: TestSource) -> Ladder:
    """Add the error on the validation set that chose, without an interval."""
    error = Estimate(float(validation.mean()), refused=f"{CHOSE}, so the error there is too low")
    errors = {"train": found.errors["train"], "validation": error} | found.errors
    examples = {"train": found.examples["train"], "validation": validation.shape[-1]}
    words, alike = found.verdict, "test" in errors and test_source == "random"
    if not alike and {"test", "use"} & errors.keys():
        where = "test set" if "test" in errors else "deployment data"
        words += (
            f". Since {CHOSE}, the {where} measures the generalization gap, which includes "
            "mismatch if those examples differ from the training set"
        )
    return replace(found, verdict=words, errors=errors, examples=examples | found.examples)


def cross_fitted_ladder(steps: PoolSteps, tolerance: float = 0.02) -> Ladder:
    """Compute the error steps and the verdict from errors of cross-fitted networks.

    Args:
        steps: the errors on the pool, and what bias is measured against.
        tolerance: the smallest step that matters, on the scale of the error; 0.02 by default.

    Returns:
        The steps, the verdict and the errors.

    Raises:
        InputError: as `error_ladder` does.
    """
    check_limits(steps.target_error or 0.0, tolerance)
    return ladder(steps, tolerance)


def network_ladder(
    parts: dict[str, Metrics],
    *,
    target_error: float = 0.0,
    tolerance: float = 0.02,
    test_source: TestSource = "own",
    chosen: bool = False,
) -> Ladder:
    """Compute the error steps of one network from its metrics.

    Args:
        parts: metrics on "train", "test" and, where there is one, "validation".
        target_error: as in `error_ladder`.
        tolerance: as in `error_ladder`.
        test_source: as in `error_ladder`.
        chosen: as in `error_ladder`.

    Returns:
        The steps, the verdict and the errors.
    """
    errors = {
        name: part.squares if isinstance(part, ValueMetrics) else part.wrong
        for name, part in parts.items()
    }
    return error_ladder(
        errors,
        target_error=target_error,
        tolerance=tolerance,
        test_source=test_source,
        chosen=chosen,
        groups={name: part.groups for name, part in parts.items() if part.groups is not None},
        shares=not any(isinstance(part, ValueMetrics) for part in parts.values()),
    )


def check_limits(target_error: float, tolerance: float) -> None:
    """Refuse a tolerance that is not above 0 and a target error below 0."""
    if not (tolerance > 0 and math.isfinite(tolerance)):
        raise InputError(
            f"tolerance is {tolerance}; give a finite number above 0, on the scale of the error"
        )
    if not (target_error >= 0 and math.isfinite(target_error)):
        raise InputError(f"target_error is {target_error}; give a finite number of at least 0")


def ladder(steps: Steps, tolerance: float) -> Ladder:
    """Compute the verdict and the findings from measured error steps.

    Args:
        steps: the measured steps.
        tolerance: the smallest step that matters, on the scale of the error.
    """
    if not all(math.isfinite(error.estimate) for error in steps.errors.values()):
        words = (
            "inconclusive: an error is not a finite number, so the training diverged. Lower the "
            "learning rate, or set clip"
        )
        return Ladder(
            words,
            (),
            steps.errors,
            examples=steps.examples,
            target_error=steps.target_error,
            tolerance=tolerance,
        )
    sizes = {code: steps.size(code) for code in steps.codes}
    found = claims(steps, tolerance)
    order = sorted(sizes, key=lambda code: -sizes[code].estimate)
    findings = tuple(
        finding(code, sizes[code], code in found.exceeding, _evidence(code, steps, sizes[code]))
        for code in order
    )
    return Ladder(
        verdict(found, steps, sizes, tolerance),
        findings,
        steps.errors,
        steps.dominance(),
        steps.examples,
        steps.target_error,
        tolerance,
    )


def claims(steps: Steps, tolerance: float) -> Claims:
    """Decide what measured error steps allow to claim.

    Holm's procedure at 5% runs over the hypotheses that a step does not exceed the tolerance and
    that variance, or bias, is not the larger of the two; all are one-sided. The last two cannot
    both be true unless bias and variance are exactly equal, so they count once. "Good enough" needs
    all of several upper limits, so it needs no correction.

    Args:
        steps: the measured steps.
        tolerance: the smallest step that matters.

    References:
        Holm 1979; Shaffer 1986 (hypotheses that exclude each other); Berger 1982
            (intersection-union tests).
    """
    exceeding, dominant = set[Code](), None
    hypotheses = len(steps.codes) + 1
    while left := hypotheses - len(exceeding) - (dominant is not None):
        alpha = ALPHA / left
        new = {
            code
            for code in steps.codes
            if code not in exceeding and steps.size(code, 1 - 2 * alpha).low > tolerance
        }
        larger = None if dominant else _sign(steps.dominance(1 - 2 * alpha))
        if not new and larger is None:
            break
        exceeding |= new
        dominant = dominant or larger
    # what is larger than a step that exceeds the tolerance exceeds it too
    if dominant and {Code.HIGH_BIAS, Code.HIGH_VARIANCE} & exceeding:
        exceeding.add(dominant)
    good = not exceeding and all(
        steps.size(code, 1 - 2 * ALPHA).high <= tolerance for code in steps.codes
    )
    order = sorted(
        (code for code in steps.codes if code in exceeding),
        key=lambda code: -steps.size(code).estimate,
    )
    return Claims(tuple(order), dominant, good)


def _sign(dominance: Estimate) -> Code | None:
    if dominance.low > 0:
        return Code.HIGH_VARIANCE
    return Code.HIGH_BIAS if dominance.high < 0 else None


def verdict(found: Claims, steps: Steps, sizes: Mapping[Code, Estimate], tolerance: float) -> str:
    """Write what is claimed as a sentence that begins with the kind of error.

    Args:
        found: what is claimed.
        steps: the measured steps.
        sizes: each step with its 95% interval.
        tolerance: the smallest step that matters.
    """
    if found.exceeding:
        return _high(found, steps, sizes, tolerance)
    if found.good_enough:
        words = f"good enough: no error step exceeds the tolerance of {tolerance:.1%}"
        return words + (
            "; no other method that was tried is better by more than that"
            if isinstance(steps, PoolSteps) and steps.against_others
            else ""
        )
    if found.dominant:
        gap, bias = sizes[Code.HIGH_VARIANCE], sizes[Code.HIGH_BIAS]
        kind, first = ("variance", gap) if found.dominant == Code.HIGH_VARIANCE else ("bias", bias)
        return (
            f"mostly {kind}: the generalization gap is {_short(gap)} and avoidable bias "
            f"{_short(bias)}. {'The gap' if kind == 'variance' else 'The bias'} is"
            f"{tolerances(first).removeprefix(', which is')}"
        )
    return f"inconclusive: {_undecided(steps, sizes, tolerance)}"


def _high(found: Claims, steps: Steps, sizes: Mapping[Code, Estimate], tolerance: float) -> str:
    """Write which steps exceed the tolerance; steps are tied where their order is uncertain."""
    first, *rivals = found.exceeding
    level = 1 - ALPHA / max(1, math.comb(len(found.exceeding), 2))

    def smaller(code: Code) -> bool:
        pair = {first, code}
        if pair == {Code.HIGH_BIAS, Code.HIGH_VARIANCE}:
            return found.dominant == first
        return steps.larger(first, code, level).low > 0

    tied = [code for code in rivals if not smaller(code)]
    names = " and ".join(code.words for code in (first, *tied))
    words = (
        f"{names}: {_what(first, steps)} {_short(sizes[first])}, above the tolerance of "
        f"{tolerance:.1%}"
    )
    if tied:
        words += "; which of them is the largest is uncertain"
    rest = [code for code in rivals if code not in tied]
    return words + (f"; also {', '.join(code.words for code in rest)}" if rest else "")


def _evidence(code: Code, steps: Steps, size: Estimate) -> str:
    """Write a step with its interval, and for which tolerances it is too large."""
    if code != Code.HIGH_BIAS or not isinstance(steps, PoolSteps) or not steps.against_others:
        return f"{_what(code, steps)} {percent(size)}{tolerances(size)}"
    error = {name: steps.pool.error_of_other(losses) for name, losses in steps.others.items()}
    best = min(error, key=lambda name: error[name].estimate)
    words = (
        f"the training error is {_short(steps.errors['train'])}. The best of {len(error)} other "
        f"method{'s' * (len(error) > 1)}, {best}, has an unseen error of {_short(error[best])}"
    )
    if size.low > 0:
        return f"{words}: avoidable bias is {_short(size)}{tolerances(size)}"
    return (
        f"{words}, which is not shown to be lower, so no avoidable bias is shown ({_short(size)})"
    )


def _what(code: Code, steps: Steps) -> str:
    """Say what a step is, up to its size."""
    if code == Code.HIGH_VARIANCE:
        return "the error on unseen examples exceeds the training error by"
    if code == Code.MISMATCH:
        return (
            "the error where the network is used exceeds that on unseen examples like the "
            "training set by"
        )
    if isinstance(steps, PoolSteps) and steps.target_error is None and steps.others:
        return "the training error exceeds the unseen error of the best other method by"
    if not steps.target_error:
        return "if an error of 0% is attainable, the training error is too high by"
    return f"the training error exceeds the target error of {steps.target_error:.1%} by"


def _short(size: Estimate) -> str:
    if size.refused is not None:
        return f"{size.estimate:.2%} (no interval)"
    if size.cut_at_zero:
        return f"{size.estimate:.2%}"
    return f"{size.estimate:.2%} ({size.low:.2%} to {size.high:.2%})"


def tolerances(size: Estimate) -> str:
    """Say for which tolerances a step is too large, and for which it is acceptable.

    Args:
        size: the step, with its 95% interval.

    Returns:
        A clause that begins with ", which is", or nothing where there is no interval.
    """
    if size.refused is not None or not size.high > 0:
        return ""
    acceptable = f"acceptable for any tolerance above {size.high:.2%}"
    if not size.low > 0:
        return f", which is {acceptable}"
    return f", which is too large for any tolerance below {size.low:.2%} and {acceptable}"


def _undecided(steps: Steps, sizes: Mapping[Code, Estimate], tolerance: float) -> str:
    """Write which steps are uncertain, and what would decide the largest of them."""
    unsettled = [
        code for code in steps.codes if not steps.size(code, 1 - 2 * ALPHA).high <= tolerance
    ]
    if refused := next((sizes[code].refused for code in unsettled if sizes[code].refused), None):
        few = [
            name
            for name, error in steps.errors.items()
            if error.refused and "too few" in error.refused
        ]
        more = f". Give more examples to {' and '.join(few)}"
        return refused + (more if few and len(few) < len(steps.errors) else "")
    words = ", ".join(f"{NAMES[code]} is {_short(sizes[code])}" for code in unsettled)
    largest = max(unsettled, key=lambda code: sizes[code].estimate)
    needed = steps.more(largest, tolerance)
    tail = f", so the tolerance of {tolerance:.1%} cannot be judged yet"
    if needed is None:
        return f"{words}{tail}"
    if not needed.examples <= MAX_TIMES:
        return f"{words}, too close to the tolerance of {tolerance:.1%} to call"
    networks = f" and {needed.networks:.2g} times as many networks" if needed.networks > 1 else ""
    return (
        f"{words}{tail}. {_times(needed.examples)} times as many examples to judge with{networks} "
        f"would decide with 80% probability, if {NAMES[largest]} stayed "
        f"{sizes[largest].estimate:.2%}"
    )


NAMES = {
    Code.HIGH_BIAS: "avoidable bias",
    Code.HIGH_VARIANCE: "the generalization gap",
    Code.MISMATCH: "mismatch",
}


def _times(number: float) -> str:
    """Round up: one decimal below 3, else whole."""
    return f"{math.ceil(10 * max(number, 1.1)) / 10:g}" if number < 3 else f"{math.ceil(number)}"


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
