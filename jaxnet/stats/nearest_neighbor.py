"""What the mistakes of the nearest neighbor say about the error that no method can go below.

Both statements hold as the number of examples grows without end. With finitely many, the nearest
neighbor lies at a distance, and how much that changes is unknown; no claim may rest on them.
"""

import math

import numpy as np
from jaxtyping import Num

from jaxnet.errors import InputError, check_number, check_whole


def bayes_error_bounds(error: float, classes: int) -> tuple[float, float]:
    """Compute between which limits the smallest possible classification error lies.

    Args:
        error: error of the nearest neighbor on examples that it has not seen, from 0 to 1.
        classes: number of classes, at least 2.

    Returns:
        The lower limit, (C - 1)/C (1 - sqrt(1 - C/(C - 1) error)), and the upper one, the error
        itself, or that of guessing where it is smaller. They hold asymptotically.

    Raises:
        InputError: for an error that is not a share, and for fewer than 2 classes.

    References:
        Cover & Hart 1967, "Nearest neighbor pattern classification".
    """
    if not 0 <= check_number("error", error) <= 1:
        raise InputError(f"error is {error}; give a share of wrong predictions, from 0 to 1")
    check_whole("classes", classes, 2)
    guessing = (classes - 1) / classes
    share = min(float(error) / guessing, 1.0)
    return guessing * (1 - math.sqrt(1 - share)), guessing * share


def residual_variance(
    values: Num[np.ndarray, " examples"], nearest: Num[np.ndarray, " examples"]
) -> float:
    """Compute half the mean squared difference between values and those of the nearest neighbors.

    It tends to the variance of the noise, the smallest possible mean squared error: the nearest
    neighbor has noise of the same variance, so that its squared error tends to twice that.

    Args:
        values: (examples,) values of a regression.
        nearest: (examples,) value of the nearest neighbor of each, which is another example.

    Returns:
        The variance, in squared units of the values; asymptotically right.

    References:
        Cover 1968, "Estimation by the nearest neighbor rule"; Devroye, Gyorfi, Lugosi & Walk 2018,
        "A nearest neighbor estimate of the residual variance".
    """
    return float(np.square(values.astype(np.float64) - nearest).mean()) / 2
