"""Which inputs matter, from losses of examples that a network has not seen."""

from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float

from jaxnet.stats.estimate import LEVEL


def matters(changes: Float[np.ndarray, "columns examples"]) -> Bool[np.ndarray, " columns"]:
    """Decide which columns matter: those without which the loss is shown to be larger.

    Args:
        changes: (columns, examples) loss of each example with the values of a column permuted,
            minus its loss.

    Returns:
        (columns,) which ones have a mean change that is above 0 at the one-sided level of 95%. The
        column with the largest mean is always one of them.

    References:
        Breiman 2001, "Random forests", section 10 (importance by permutation).
    """
    means = changes.mean(1)
    errors = changes.std(1, ddof=1) / np.sqrt(changes.shape[1])
    found = means > NormalDist().inv_cdf(LEVEL) * errors
    found[means.argmax()] = True
    return found
