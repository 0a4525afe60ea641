"""Class frequencies of new examples without labels, from how a network confuses the classes where
there are labels.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from jaxnet import arrays, display
from jaxnet.errors import InputError
from jaxnet.stats.estimate import LEVEL, Estimate
from jaxnet.typing import ArrayLike

MAX_CLASSES = 1000  # classes, whatever the number of examples
MIN_CLASS_EXAMPLES = 5  # of a class in the reference, the fewest
MIN_NEW_EXAMPLES = 30  # new examples, the fewest
# times its standard error that the smallest singular value must be, for a solution to be one
MIN_SINGULAR_VALUE = 3.0


@dataclass(frozen=True)
class LabelShift:
    """Frequencies of the classes among new examples, if each class still looks as it did.

    frequencies: an Estimate a class. weights: (classes,) new frequency over that of the reference,
        NaN where refused.
    reference: (classes,) frequencies of the reference. condition: of the confusion matrix (its
    largest singular value over the smallest). refused: why there is no estimate. broken: what shows
    that classes look different now, or None.
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
    """New class frequencies by black-box shift estimation (Lipton, Wang & Smola 2018, section 4).

    reference_predictions, new_predictions: class numbers (examples,), or (log-)probabilities
    (examples, classes), of which the largest counts. reference_labels: (examples,); the network
    must not have seen them. Solves C q = mu, with C the shares of each class that are predicted as
    each, and mu those of the new predictions. Intervals by the delta method, from the sampling of
    both, each share as if four examples more were spread over its possibilities (after Agresti &
    Coull 1998). Limits are cut at 0 and 1, the estimates so that they sum to 1. Refused where a
    class has fewer than 5 reference examples, or C is not told from a singular matrix.
    """
    predictions, labels, new, classes = _checked(
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
        a, b = _confused(columns)
        refused = (
            f"predictions do not tell classes {a} and {b} apart well enough to count them; "
            "a better network is needed"
        )
    if refused is not None:
        nothing = Estimate(float("nan"), refused=refused)
        return LabelShift(
            (nothing,) * classes, np.full(classes, np.nan), share, condition, refused, None
        )

    inverse = np.linalg.inv(columns)
    raw = inverse @ said
    scatter = _scatter(said, len(new))
    for k in range(classes):
        scatter += max(raw[k], 0.0) ** 2 * _scatter(columns[:, k], int(counts[k]))
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
    frequencies = tuple(
        Estimate(f, min(a, f), max(b, f)) if broken is None else Estimate(f, refused=broken)
        for f, a, b in zip(found.tolist(), low.tolist(), high.tolist(), strict=True)
    )
    return LabelShift(frequencies, found / share, share, condition, None, broken)


def _scatter(
    shares: Float[np.ndarray, " classes"], count: int
) -> Float[np.ndarray, "classes classes"]:
    """The covariance of shares that were counted among so many examples, never 0."""
    smooth = (shares * count + 4 / len(shares)) / (count + 4)
    return (np.diag(smooth) - np.outer(smooth, smooth)) / count


def _onto_simplex(q: Float[np.ndarray, " classes"]) -> Float[np.ndarray, " classes"]:
    """The nearest frequencies (Held, Wolfe & Crowder 1974; Duchi et al. 2008, figure 1)."""
    falling = np.sort(q)[::-1]
    excess = (np.cumsum(falling) - 1) / np.arange(1, len(q) + 1)
    return np.maximum(q - excess[np.flatnonzero(falling > excess)[-1]], 0.0)


def _confused(columns: Float[np.ndarray, "classes classes"]) -> tuple[int, int]:
    """The two classes that are predicted most alike."""
    apart = np.abs(columns[:, :, None] - columns[:, None, :]).sum(0) + 3 * np.eye(len(columns))
    a, b = np.unravel_index(int(apart.argmin()), apart.shape)
    return int(a), int(b)


def _checked(
    reference: ArrayLike, labels: ArrayLike, new: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    classes, chosen = set[int](), []
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
    return chosen[0], y, chosen[1], count
