"""Class frequencies of new examples without labels, from how a network confuses the classes of
labeled examples.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from jaxnet import arrays, display
from jaxnet.errors import InputError
from jaxnet.stats.estimate import LEVEL, Estimate
from jaxnet.typing import ArrayLike

MAX_CLASSES = 1000  # that are accepted however few the examples
MIN_CLASS_EXAMPLES = 5  # reference examples of each class
MIN_NEW_EXAMPLES = 30
MIN_SINGULAR_VALUE = 3.0  # in standard errors, for the system to have a solution
MIN_NOISE = 0.1  # standard errors; smaller singular values count as this when asking for examples
MIN_DISTANCE_P = 0.01  # of outputs after reweighting, below which classes look different


@dataclass(frozen=True)
class LabelShift:
    """Class frequencies among new examples, if the examples of each class still look the same.

    Attributes:
        frequencies: one Estimate for each class.
        weights: (classes,) new frequency over that of the reference; NaN where refused.
        reference: (classes,) frequencies of the reference.
        condition: condition number of the confusion matrix: its largest singular value over the
            smallest.
        refused: why there is no estimate, or None.
        broken: what shows that classes look different now, or None.
    """

    frequencies: tuple[Estimate, ...]
    weights: Float[np.ndarray, " classes"]
    reference: Float[np.ndarray, " classes"]
    condition: float
    refused: str | None
    broken: str | None

    __repr__ = display.text


def label_shift(
    reference_predictions: ArrayLike,
    reference_labels: ArrayLike,
    new_predictions: ArrayLike,
    level: float = LEVEL,
) -> LabelShift:
    """Estimate the class frequencies of new examples by black-box shift estimation.

    It solves C q = mu, where C holds the share of each class that is predicted as each class, and
    mu the shares of the new predictions. The intervals follow from the sampling of both (delta
    method), where each share counts as if four more examples were spread over its possibilities
    (after Agresti & Coull 1998). Limits are clipped to 0 and 1, and the estimates are projected so
    that they sum to 1.

    The examples of each class must still look the same. Where both predictions are given as
    probabilities, or both as log-probabilities, that is tested: the reference, reweighted to the
    new frequencies, must have outputs distributed like the new ones. The p-value is at most 2 K
    exp(-2 D^2 / (1/n + 1/m)), with the largest Kolmogorov-Smirnov distance D of K outputs and
    Kish's effective number n of reweighted examples; below 1% there is no estimate.

    Args:
        reference_predictions: (examples,) class numbers, or (examples, classes) probabilities or
            log-probabilities, of which the largest counts.
        reference_labels: (examples,) class numbers; the network must not have trained on these
            examples.
        new_predictions: predictions on the new examples, in the form of `reference_predictions`.
        level: confidence level of the intervals.

    Returns:
        The frequencies. They are refused where a class has fewer than 5 reference examples, where
        there are fewer than 30 new examples, and where C cannot be told from a singular matrix:
        the more classes there are, the more reference examples of each class that takes.

    Raises:
        InputError: for predictions and labels that do not fit each other, and a level that is not
            between 0 and 1.

    References:
        Lipton, Wang & Smola 2018, section 4; Agresti & Coull 1998; Massart 1990 (the p-value, with
        Bonferroni's correction); Kish 1965.
    """
    (predictions, new), outputs, labels, classes = _checked(
        reference_predictions, reference_labels, new_predictions
    )
    if not 0 < level < 1:
        raise InputError(f"level is {level!r}; give a probability between 0 and 1")
    counts = np.bincount(labels, minlength=classes)
    share = counts / len(labels)
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (predictions, labels), 1)
    columns = confusion / np.maximum(counts, 1)
    values = np.linalg.svd(columns, compute_uv=False)
    condition = float(values[0] / values[-1]) if values[-1] > 0 else float("inf")
    said = np.bincount(new, minlength=classes) / len(new)

    refused = None
    noise = np.sqrt(
        max(
            float(np.sum(columns[:, k] * (1 - columns[:, k]))) / max(1, counts[k])
            for k in range(classes)
        )
    )
    if counts.min() < MIN_CLASS_EXAMPLES:
        rarest = int(counts.argmin())
        refused = (
            f"class {rarest} has {counts[rarest]} reference examples; at least "
            f"{MIN_CLASS_EXAMPLES} "
            "are needed"
        )
    elif len(new) < MIN_NEW_EXAMPLES:
        refused = f"{len(new)} new examples are too few; at least {MIN_NEW_EXAMPLES} are needed"
    elif values[-1] <= MIN_SINGULAR_VALUE * noise:
        a, b = _most_confused(columns)
        known = max(float(values[-1] / noise), MIN_NOISE) if noise > 0 else MIN_NOISE
        more = (MIN_SINGULAR_VALUE / known) ** 2
        refused = (
            f"{len(labels):,} reference examples are too few to know how often {classes} classes "
            f"are confused; at least {math.ceil(more * len(labels)):,} are needed, or a better "
            f"network: predictions do not tell classes {a} and {b} apart well enough to count them"
        )
    if refused is not None:
        nothing = Estimate(float("nan"), refused=refused)
        return LabelShift(
            (nothing,) * classes, np.full(classes, np.nan), share, condition, refused, None
        )

    inverse = np.linalg.inv(columns)
    raw = inverse @ said
    scatter = _share_covariance(said, len(new))
    for k in range(classes):
        scatter += max(raw[k], 0.0) ** 2 * _share_covariance(columns[:, k], int(counts[k]))
    error = np.sqrt(np.diag(inverse @ scatter @ inverse.T))
    found = _onto_simplex(raw)
    z = NormalDist().inv_cdf((1 + level) / 2)
    low, high = np.clip(raw - z * error, 0, 1), np.clip(raw + z * error, 0, 1)
    sure = NormalDist().inv_cdf(1 - (1 - level) / (2 * classes))  # Bonferroni's, over the classes
    below = raw + sure * error
    broken = None
    if below.min() < 0:
        worst = int(below.argmin())
        broken = (
            f"class {worst} would need a frequency of {raw[worst]:.3f}, below 0: classes "
            "look different now, so this is no estimate"
        )
    elif outputs is not None:
        broken = _unlike(outputs, (found / share)[labels])
    frequencies = tuple(
        Estimate(f, min(a, f), max(b, f)) if broken is None else Estimate(f, refused=broken)
        for f, a, b in zip(found.tolist(), low.tolist(), high.tolist(), strict=True)
    )
    return LabelShift(frequencies, found / share, share, condition, None, broken)


def _share_covariance(
    shares: Float[np.ndarray, " classes"], count: int
) -> Float[np.ndarray, "classes classes"]:
    """Compute the covariance of shares counted among `count` examples; it is never 0."""
    smooth = (shares * count + 4 / len(shares)) / (count + 4)
    return (np.diag(smooth) - np.outer(smooth, smooth)) / count


def _unlike(
    outputs: tuple[np.ndarray, np.ndarray], weights: Float[np.ndarray, " examples"]
) -> str | None:
    """Say which output of the reweighted reference is distributed unlike the new ones, if any is.

    Args:
        outputs: (examples, classes) outputs on the reference and on the new examples.
        weights: of the reference examples.
    """
    old, new = outputs
    distances = [weighted_distance(a, b, weights) for a, b in zip(old.T, new.T, strict=True)]
    worst = int(np.argmax(distances))
    effective = weights.sum() ** 2 / (weights**2).sum()
    p = 2 * len(distances) * math.exp(-2 * distances[worst] ** 2 / (1 / effective + 1 / len(new)))
    if p >= MIN_DISTANCE_P:
        return None
    return (
        "other class frequencies do not account for the new outputs: after reweighting, output "
        f"{worst} is still off by a Kolmogorov-Smirnov distance of {distances[worst]:.2f} "
        f"(p = {p:.1g}); classes look different now, so this is no estimate"
    )


def weighted_distance(
    a: Float[np.ndarray, " first"],
    b: Float[np.ndarray, " second"],
    weights: Float[np.ndarray, " first"],
) -> float:
    """Compute the Kolmogorov-Smirnov distance of two samples, the first of them weighted."""
    values = np.concatenate([a, b])
    order = np.argsort(values, kind="stable")
    steps = np.concatenate([weights / weights.sum(), np.full(len(b), -1 / len(b))])[order]
    values = values[order]
    last = np.append(values[1:] != values[:-1], True)  # of equal values only the last one counts
    return float(np.abs(np.cumsum(steps)[last]).max())


def _onto_simplex(q: Float[np.ndarray, " classes"]) -> Float[np.ndarray, " classes"]:
    """Project onto the nearest frequencies that sum to 1.

    References:
        Held, Wolfe & Crowder 1974; Duchi et al. 2008, figure 1.
    """
    falling = np.sort(q)[::-1]
    excess = (np.cumsum(falling) - 1) / np.arange(1, len(q) + 1)
    return np.maximum(q - excess[np.flatnonzero(falling > excess)[-1]], 0.0)


def _most_confused(columns: Float[np.ndarray, "classes classes"]) -> tuple[int, int]:
    """Find the two classes whose predictions are most alike."""
    apart = np.abs(columns[:, :, None] - columns[:, None, :]).sum(0) + 3 * np.eye(len(columns))
    a, b = np.unravel_index(int(apart.argmin()), apart.shape)
    return int(a), int(b)


def _checked(
    reference: ArrayLike, labels: ArrayLike, new: ArrayLike
) -> tuple[list[np.ndarray], tuple[np.ndarray, np.ndarray] | None, np.ndarray, int]:
    """Check the arguments; return predicted classes, outputs if they can be compared, labels and
    the number of classes.
    """
    classes, chosen, outputs = set[int](), [], []
    for name, given in {"reference_predictions": reference, "new_predictions": new}.items():
        f = arrays.array(name, given)
        if f.ndim not in (1, 2) or not f.size:
            raise InputError(
                f"{name} have shape {f.shape}; give class numbers (examples,) or "
                "(log-)probabilities (examples, classes)"
            )
        if f.ndim == 2:
            f = arrays.scores(name, f)
            classes.add(f.shape[1])
            outputs.append(f)
        chosen.append(f.argmax(1) if f.ndim == 2 else arrays.class_numbers(name, f))
    if len(classes) > 1:
        raise InputError(
            f"predictions are of {' and of '.join(map(str, sorted(classes)))} classes; give the "
            "same ones twice"
        )
    y = arrays.labels("reference_labels", labels, len(chosen[0]))
    count = classes.pop() if classes else int(max(y.max(), *(each.max() for each in chosen))) + 1
    least = min(y.min(), *(each.min() for each in chosen))
    if least < 0 or y.max() >= count:
        raise InputError(
            f"labels and predictions are from {least} to {y.max()}; give class numbers from 0 to "
            f"{count - 1}"
        )
    if count > max(MAX_CLASSES, len(y)):
        raise InputError(
            f"the largest class number is {count - 1} with only {len(y)} reference examples; "
            "number the classes 0, 1, ..."
        )
    kinds = [_kind(each) for each in outputs]
    comparable = len(kinds) == 2 and kinds[0] == kinds[1] is not None
    return chosen, (outputs[0], outputs[1]) if comparable else None, y, count


def _kind(outputs: np.ndarray) -> str | None:
    """Say whether all rows are probabilities or log-probabilities, if either."""
    if outputs.min() >= 0 and np.abs(outputs.sum(1) - 1).max() < arrays.SUM:
        return "probabilities"
    if outputs.max() <= arrays.SUM and np.abs(np.exp(outputs).sum(1) - 1).max() < arrays.SUM:
        return "log-probabilities"
    return None
