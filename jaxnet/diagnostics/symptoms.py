"""Findings besides the error steps: each is computed from what the networks of a diagnosis predict.

Nothing here trains a network.
"""

from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from jaxnet import arrays
from jaxnet.data import Splits, overlaps
from jaxnet.diagnostics.findings import (
    Code,
    Finding,
    diverged,
    finding,
    percent,
    points,
    wrong_labels_in_words,
)
from jaxnet.diagnostics.predicted import Predicted
from jaxnet.diagnostics.two_sample import two_sample_test
from jaxnet.errors import InputError
from jaxnet.stats import curve_prior
from jaxnet.stats.calibration import temperature
from jaxnet.stats.curve_prior import Curves
from jaxnet.stats.estimate import Estimate, combination, exact
from jaxnet.stats.extrapolation import FACTORS, Trend, predicted_together
from jaxnet.stats.label_errors import hard_examples, wrong_labels
from jaxnet.stats.label_shift import label_shift
from jaxnet.stats.random_effects import (
    MIN_ERROR_EXAMPLES,
    MIN_MEMBERS,
    RATE,
    TwoWay,
    block,
    contrast,
    interval,
    two_way,
)
from jaxnet.stats.two_sample import Output
from jaxnet.stats.unlabeled_error import estimate_error_without_labels

DOUBTED = 20  # training examples that a finding names


@dataclass(frozen=True)
class Found:
    """What the networks of a diagnosis that did not diverge predict.

    Attributes:
        reference: predictions, (members, examples[, classes]), on examples like those of the
            training set that these networks have not seen; None where there are none.
        elsewhere: predictions of the same networks on "test", and on "use", the examples from where
            the network is used.
        unlabeled_use: whether the examples from where the network is used have no labels.
        confidence: by how much confidence exceeds accuracy on unseen examples, and both; None for a
            regression.
        by_size: by number of training examples, in growing order, (members,) errors on the same
            examples.
        judged: number of those examples.
        rows: training examples whose labels are checked.
        unseen: (members, rows[, classes]) predictions on them of networks trained on quarters of
            the training set.
        seen: (members, rows) which of them these networks were trained on.
        new: (members, validation examples) errors of these networks on the validation set.
        new_seen: which of those examples these networks were trained on.
        diverged: number of networks that diverged.
    """

    reference: Predicted | None
    elsewhere: dict[str, np.ndarray]
    unlabeled_use: bool
    confidence: tuple[Estimate, float, float] | None
    by_size: dict[int, np.ndarray]
    judged: int
    rows: np.ndarray
    unseen: np.ndarray
    seen: np.ndarray
    new: np.ndarray
    new_seen: np.ndarray
    diverged: int


def symptoms(splits: Splits, found: Found, *, networks: int, tolerance: float) -> list[Finding]:
    """Build the findings besides the error steps, as far as they apply.

    Args:
        splits: the data.
        found: what the networks predict.
        networks: number of networks trained, the diverged ones included.
        tolerance: the smallest difference that matters, on the scale of the error.

    Returns:
        The findings, in no order.
    """
    given = [*diverged(found.diverged, networks), *_leaking(splits)]
    if splits.classes is None:
        return given
    return [
        *given,
        *_label_noise(splits, found, tolerance),
        *_more_data(found, tolerance),
        *_overconfident(found, tolerance),
        *_shifted(splits, found, tolerance),
    ]


def _leaking(splits: Splits) -> list[Finding]:
    found = [each for each in overlaps(splits) if each.part == "test" and each.other == "training"]
    if not found or not len(splits.test):
        return []
    share = found[0].standardized / len(splits.test)
    words = (
        f"{found[0]}: that is {share:.1%} of it, and what is measured on them is not of "
        "unseen examples"
    )
    return [finding(Code.LEAKING_TEST_SET, Estimate(share, share, share), True, words)]


def _label_noise(splits: Splits, found: Found, tolerance: float) -> list[Finding]:
    """Estimate how many training labels are wrong, and which, from networks that did not see them.

    Where easy examples do not show it, compare how often networks that saw neither contradict
    training labels and validation labels. Labels that are wrong equally often in both do not show
    that way.
    """
    if len(found.unseen) < MIN_MEMBERS:
        return []
    y = np.asarray(splits.train.y)[found.rows]
    share = wrong_labels(found.unseen, y, seen=found.seen)
    doubted = [
        each
        for each in hard_examples(found.unseen, y, seen=found.seen, most=DOUBTED)
        if each.prediction != each.label
    ]
    examples = tuple(int(found.rows[each.index]) for each in doubted)
    if share.refused is None:
        words = wrong_labels_in_words(share, len(splits.train))
        return [
            replace(
                finding(Code.LABEL_NOISE, share, share.low > tolerance, words), examples=examples
            )
        ]
    if found.new.shape[-1] < MIN_ERROR_EXAMPLES:
        return []
    size = interval(
        contrast(
            {
                "train": _contradicted(arrays.wrong(found.unseen, y), found.seen),
                "validation": _contradicted(found.new, found.new_seen),
            },
            {"train": 1.0, "validation": -1.0},
        ),
        examples=MIN_ERROR_EXAMPLES,
    )
    words = (
        "share of labels that networks contradict among training examples that they were not "
        f"trained on, minus the share among validation examples: {percent(size)}"
    )
    return [
        replace(
            finding(Code.LABEL_NOISE, size, bool(size.low > tolerance), words), examples=examples
        )
    ]


def _contradicted(wrong: np.ndarray, seen: np.ndarray) -> TwoWay:
    """Compute how often networks contradict labels of examples that they did not see."""
    counted = (~seen).sum(0) > 1
    return two_way([block(wrong[:, counted].astype(np.float64), seen=seen[:, counted])], RATE)


def _more_data(found: Found, tolerance: float) -> list[Finding]:
    """Forecast, from the errors at growing sizes, whether more training examples would help."""
    if len(found.by_size) < curve_prior.MIN_SIZES:
        return []
    most = max(len(each) for each in found.by_size.values())
    padded = np.stack(
        [
            np.concatenate([each, np.full(most - len(each), np.nan)])
            for each in found.by_size.values()
        ]
    )
    curve = curve_prior.measured(list(found.by_size), padded, found.judged)
    return [more_data(curve, tolerance)]


def more_data(curve: Curves, tolerance: float) -> Finding:
    """Build the finding whether more training examples would lower the error by more than the
    tolerance.

    It is about the error that was measured at the largest size. A gain is claimed where one of 2, 4
    and 8 times as many examples lower it by more than the tolerance for certain, and no gain up to
    the largest of these multiples up to which none does.

    Args:
        curve: the learning curve.
        tolerance: the smallest difference that matters, from 0 to 1.
    """
    n, now, matters = int(curve.sizes.max()), float(curve.error[0, -1]), _that_matters(tolerance)
    reach = predicted_together(curve)
    gains = [
        (factor, then, Estimate(now - then.estimate, now - then.high, now - then.low, then.refused))
        for factor, then in zip(FACTORS, reach, strict=True)
    ]
    known = list(takewhile(lambda each: each[1].refused is None, gains))
    unless = f"unless the curve bends beyond the {n:,} examples measured"
    unknown = f"it is uncertain whether more data would lower the error by more than {matters}: "
    if not known:
        _, _, size = gains[-1]
        if now < tolerance:
            words = (
                f"the error is {now:.2%} with {n:,} examples, so no amount of data can lower it by "
                f"more than {matters}"
            )
            return finding(Code.MORE_DATA_WILL_NOT_HELP, size, True, words)
        return finding(Code.MORE_DATA_HELPS, size, False, f"{unknown}{reach[0].refused}")
    helps = next((each for each in known if each[2].low > tolerance), None)
    too_little = list(takewhile(lambda each: each[2].high < tolerance, known))
    factor, then, size = helps or (too_little or known)[-1]

    def predicted(factor: int, then: Estimate) -> str:
        return (
            f"with {factor} times the data, {then.estimate:.2%} is predicted ({then.low:.2%} to "
            f"{then.high:.2%})"
        )

    measured = f"with {n:,} training examples, the error is {now:.2%}"
    words = f"{measured}; {predicted(factor, then)}"
    if helps is not None:
        words += f": lower by more than {matters}, {unless}"
        return finding(Code.MORE_DATA_HELPS, size, True, words)
    if too_little:
        words += f": lower by less than {matters}, {unless}"
        rest = " and ".join(str(each) for each in FACTORS[len(too_little) :])
        if rest:
            words += f". For {rest} times the data it is uncertain whether it falls by more"
        return finding(Code.MORE_DATA_WILL_NOT_HELP, size, True, words)
    each = "; ".join([measured, *(predicted(factor, then) for factor, then, _ in known)])
    return finding(Code.MORE_DATA_HELPS, size, False, unknown + each)


def error_still_falls(found: Trend, tolerance: float) -> Finding:
    """Build the finding whether the error of a regression still fell over the last doubling of the
    training set.

    Args:
        found: the trend.
        tolerance: the smallest difference that matters, as a share of the variance of y.
    """
    (few, many), (before, after), fall = found
    words = (
        f"from {few:,} to {many:,} training examples the error went from {before:.2%} to "
        f"{after:.2%} of the variance of y"
    )
    if fall.refused is not None:
        words += f"; whether it still falls cannot be said: {fall.refused}"
        return finding(Code.ERROR_STILL_FALLS, fall, False, words)
    words += (
        f", a fall of {points(fall.estimate)} for a doubling ({100 * fall.low:.4g} to "
        f"{100 * fall.high:.4g})"
    )
    claimed = fall.low > tolerance
    if fall.low > 0:
        words += ": it still falls"
    else:
        words += ": it is not shown that it still falls"
    if claimed:
        words += f", by more than {_that_matters(tolerance)}"
    elif fall.high < tolerance:
        words += f", and by less than {_that_matters(tolerance)}"
    words += ". How far it will fall is not predicted for a regression"
    return finding(Code.ERROR_STILL_FALLS, fall, claimed, words)


def _that_matters(tolerance: float) -> str:
    return f"{points(tolerance)}, the smallest difference that matters (the tolerance)"


def _overconfident(found: Found, tolerance: float) -> list[Finding]:
    """Compute by how much the networks' confidence on unseen examples exceeds their accuracy."""
    if found.confidence is None:
        return []
    size, confidence, right = found.confidence
    words = (
        f"on unseen examples networks give their predictions a probability of {confidence:.2%} on "
        f"average and are right {right:.2%} of the time: a difference of {percent(size)}"
    )
    claimed = bool(size.low > tolerance)
    if claimed and found.reference is not None:
        try:
            outputs = found.reference.predictions[0]
            t = temperature(outputs, found.reference.labels).estimate
            words += (
                f". Dividing the outputs by {t:.3g} before the softmax would calibrate them better "
                "(temperature scaling)"
            )
        except InputError:
            pass  # no temperature calibrates them
    return [finding(Code.OVERCONFIDENT, size, claimed, words)]


def what_differs(splits: Splits, found: Found, part: str) -> str:
    """Describe how a network's outputs on a part differ from those on unseen examples like the
    training set.

    Args:
        splits: the data.
        found: what the networks predict.
        part: name of the part.

    Returns:
        The difference in words; empty where none is shown.
    """
    names = splits.classes
    given = found.elsewhere.get(part, np.empty(0))
    if names is None or found.reference is None or not len(given):
        return ""
    old, new = found.reference.predictions[0], given[0]
    test = two_sample_test(old, new, method="bbsd")
    if not test.shifted or not isinstance(test.what, Output):
        return ""
    words = (
        f"the network's outputs differ (p = {test.p_value:.2g}), most of all the probability of "
        f"{names[test.what.index]}, which is "
        f"{test.what.new} there: a distance of {test.size.estimate:.2f} of 1"
    )
    moved = label_shift(old, found.reference.labels, new)
    if moved.refused is None and moved.broken is None:
        change = np.array([each.estimate for each in moved.frequencies]) - moved.reference
        most = int(np.abs(change).argmax())
        words += (
            f". If classes look as before, {names[most]} is {change[most]:+.1%} of the examples"
        )
    return words


def _shifted(splits: Splits, found: Found, tolerance: float) -> list[Finding]:
    """Test whether unlabeled examples from where the network is used are like the others, and
    estimate the error there.
    """
    if not found.unlabeled_use or found.reference is None:
        return []
    y, old = found.reference.labels, found.reference.predictions
    expected = estimate_error_without_labels(old, y, found.elsewhere["use"])
    wrong = arrays.wrong(old[0], y)
    size = combination([1.0, -1.0], [expected.error, exact(int(wrong.sum()), len(y))])
    differs = what_differs(splits, found, "use")
    words = differs or (
        "the network's outputs on unlabeled examples from where it is used are like those on "
        "unseen examples like the training set"
    )
    words += (
        f"; the error there is put at {percent(expected.error)} without labels, if examples of "
        "equal confidence are about as often wrong"
    )
    if expected.broken is not None:
        words += f", which is not known: {expected.broken}"
    else:
        words += "; a change of the labels that go with the same inputs, p(y|x), cannot be seen"
    return [
        finding(
            Code.SHIFT,
            size,
            bool(differs) and (expected.broken is not None or bool(size.low > tolerance)),
            words,
        )
    ]
