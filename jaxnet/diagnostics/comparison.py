"""Two recipes on the same examples, many members together, and a hyperparameter over its values."""

import math

import numpy as np
from jaxtyping import Num

from ..errors import InputError
from .intervals import LEVEL, Estimate
from .two_way import FEW, PAIRS, RATE, SIGNED, Part, interval, table

EXAMPLES = 100  # the fewest for the interval of a mean loss or rate, and of a difference


def error_of(wrong: Num[np.ndarray, "members examples"], level: float = LEVEL) -> Estimate:
    """The mean of losses of members on examples, for new members and new examples. Of booleans a rate."""
    return interval(table(wrong, RATE if wrong.dtype == bool else (0.0, math.inf)), level, examples=EXAMPLES)


def paired_difference(
    a: Num[np.ndarray, "members examples"], b: Num[np.ndarray, "members examples"], level: float = LEVEL
) -> Estimate:
    """The mean loss of recipe a less that of b, on the same examples; member i of both may share its luck.

    a, b: the loss of each member on each example, or whether it is wrong. Where the recipes differ on fewer than 5
    examples, the limits are those that as many differences could have come from (exact binomial).
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.ndim != 2:
        raise InputError(f"losses have shapes {a.shape} and {b.shape}; give the same members and examples twice")
    differences = a.astype(np.float64) - b
    given = table(differences, SIGNED)
    shares = np.abs(differences.mean(0))
    found = interval(given, level, members=PAIRS, examples=EXAMPLES)
    if found.refused is None and a.dtype == bool and shares.sum() < FEW:
        reach = Part(1.0, float(shares.mean()), a.shape[1], 0.0, 0.0, 0.0, RATE).limits(level)[1]
        return Estimate(found.estimate, min(found.low, -reach), max(found.high, reach))
    return found
