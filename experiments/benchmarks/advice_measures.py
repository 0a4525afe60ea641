"""Candidates whose gains are known by another measure than the error, for advice.py: the balanced
error with a rare class, the log loss, and the root mean squared error.
"""

import math
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks.worlds import Pool, folds
from jaxnet.stats.gains import Cell

RARE = 0.05  # share of the rare class
RARE_ERROR, COMMON_ERROR = 0.4, 0.1
SPREAD, LOG_LOSS = 3.0, 0.35  # standard deviation of a margin in nats, and the mean log loss
LARGEST = 6 * math.log(10)  # log loss of an advice, of a probability of 1e-6
RESIDUAL, FREEDOM = 0.5, 5  # root mean squared error, and degrees of freedom of residuals
NODES = 201  # of quadratures


class Measured(NamedTuple):
    """Candidates whose gains are known.

    Attributes:
        measure: "balanced_error", "log_loss" or "rmse".
        examples: in the pool.
        gains: of each candidate, in percentage points, or hundredths of a nat or of a unit of y.
        shared: correlation between networks, of the latent variables of an example.
        scatter: how far networks of one recipe lie apart, in standard deviations of an example.
        seeds: networks of each finalist for each fold.
    """

    measure: str
    examples: int
    gains: tuple[float, ...]
    shared: float = 0.8
    scatter: float = 0.05
    seeds: int = 2


class World:
    """The networks of an advice, whose losses are drawn when they are measured."""

    def __init__(self, case: Measured, rng: np.random.Generator) -> None:
        n, self.case, self.rng = case.examples, case, rng
        self.levels = np.array([level(case, gain / 100) for gain in (0.0, *case.gains)])
        shared = math.sqrt(case.shared)
        if case.measure == "rmse":
            own = rng.standard_t(FREEDOM, n) * math.sqrt((FREEDOM - 2) / FREEDOM)
            self.y, self.difficulty = np.zeros(n, int), shared * own
        else:
            self.difficulty = shared * rng.standard_normal(n)
            self.y = (rng.random(n) < RARE).astype(int) if self.weighted else np.zeros(n, int)
        counts = np.bincount(self.y)
        self.weights = (n / (len(counts) * counts))[self.y]
        x = self.difficulty[:, None]
        self.fold_of = folds(Pool(x, self.y, None), rng)

    @property
    def weighted(self) -> bool:
        """Whether examples count by their class."""
        return self.case.measure == "balanced_error"

    @property
    def losses_of(self) -> dict[str, Any]:
        """What the race must know of the losses."""
        return {
            "counted": self.weighted,
            "largest": float(self.weights.max()),
            "root": self.case.measure == "rmse",
        }

    def measure(self, recipes: np.ndarray, cells: Sequence[Cell]) -> np.ndarray:
        """Losses of networks on all examples, (recipes, cells, examples)."""
        case, shape = self.case, (len(recipes), len(cells))
        noise = self.rng.standard_normal((*shape, case.examples), dtype=np.float32)
        luck = case.scatter * self.rng.standard_normal(shape)[..., None]
        latent = self.difficulty + math.sqrt(1 - case.shared) * noise
        own = self.levels[recipes][:, None, None]
        if self.weighted:
            rare, common = own, NormalDist().inv_cdf(COMMON_ERROR) * math.hypot(1, case.scatter)
            limits = np.where(self.y == 1, rare, common)
            return (latent + luck < limits) * self.weights
        if case.measure == "log_loss":
            return np.minimum(np.logaddexp(0.0, -own - SPREAD * (latent + luck)), LARGEST)
        return (own * latent + luck) ** 2


@cache
def level(case: Measured, gain: float) -> float:
    """What makes a recipe better by a gain: the threshold of errors in the rare class, the mean
    margin, or the standard deviation of residuals.
    """
    apart = math.hypot(1, case.scatter)
    if case.measure == "balanced_error":
        return apart * NormalDist().inv_cdf(RARE_ERROR - 2 * gain)
    if case.measure == "rmse":
        return math.sqrt((RESIDUAL - gain) ** 2 - case.scatter**2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        losses = np.minimum(np.logaddexp(0.0, -middle - SPREAD * apart * nodes), LARGEST)
        mean = float(weights @ losses / weights.sum())
        low, high = (middle, high) if mean > LOG_LOSS - gain else (low, middle)
    return low
