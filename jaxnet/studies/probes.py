"""What a training shows to be wrong with itself, from networks that were trained anyway."""

import numpy as np
from jaxtyping import Array, Bool, Key

from jaxnet.core.training import Problem
from jaxnet.diagnostics.findings import Finding
from jaxnet.population.result import Population
from jaxnet.runtime.plan import Plan


def training_findings(
    problem: Problem,
    population: Population,
    *,
    key: Key[Array, ""],
    tolerance: float,
    plan: Plan | None = None,
    outputs: np.ndarray | None = None,
    seen: Bool[np.ndarray, "members examples"] | None = None,
    attainable: float = 0.0,
) -> tuple[Finding, ...]:
    """Find what is wrong with a training.

    Args:
        problem: what the networks were trained on.
        population: the networks, trained with signals.
        key: a random key.
        tolerance: the smallest difference that matters, on the scale of the error.
        plan: as in `fit_population`.
        outputs: (members, examples[, classes]) what the networks predict for the training set; by
            default it is computed.
        seen: (members, examples) which training examples each network was trained on; by default
            those of the population's samples.
        attainable: the smallest error that is known to be attainable.

    Returns:
        The findings, one for each cause; none where the training is healthy.
    """
    return ()
