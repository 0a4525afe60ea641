"""How well are real learning curves extrapolated? jaxnet beside what people do: a power law by
weighted least squares.

    python -m experiments.benchmarks.learning_curves CURVES

CURVES: an .npz file of learning curves of LCDB 1.0 (Mohr, Viering, Loog & van Rijn 2022), of test
errors at growing sizes. Sizes up to N/2, N/4 and N/8 predict the error at a curve's largest size N,
which is known; all repeats are used. The rival fits a + b n^-c, a and b at least 0, weighted by the
inverse variance of each mean, and bootstraps the repeats (percentiles).
"""

import argparse
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxnet.stats.curve_prior import (
    MIN_SIZES,
    Curves,
    as_error,
    forecast,
    quantiles,
    refusals,
    summary,
)

MLP = "sklearn.neural_network.MLPClassifier"
EXPONENTS = np.linspace(0.02, 2.0, 67)
BOOTSTRAPS, LIMITS = 200, (0.025, 0.5, 0.975)


class Found(NamedTuple):
    """Limits and median of each curve, (curves, 3), which were refused, and milliseconds a
    curve.
    """

    limits: np.ndarray
    refused: np.ndarray
    milliseconds: float


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("curves", type=Path)
    path = parser.parse_args().curves
    if not path.exists():
        print(f"skipped: there is no {path}")
        return 0
    with np.load(path) as data:
        size, test_examples = data["size"].astype(np.float64), data["size_test"].astype(np.float64)
        errors = np.where(data["error"][:, 1] == 65535, np.nan, data["error"][:, 1] / 1e4)
        network = data["learner"] == MLP
    last = (size > 0).sum(1) - 1
    largest = np.take_along_axis(size, last[:, None], 1)[:, 0]
    truth = np.nanmean(errors[np.arange(len(size)), last], -1)
    print(
        f"{len(size)} curves; those with {MIN_SIZES} sizes or more are extrapolated, all others "
        "refused"
    )
    print(
        "                        covered   MLPs    kept  MLPs kept   half-width  |log ratio|   "
        "refused (of all)   ms a curve"
    )
    for factor in (2, 4, 8):
        known = (size > 0) & (size <= largest[:, None] / factor)
        rows = np.flatnonzero(known.sum(1) >= MIN_SIZES)
        used = np.where(known[..., None], errors, np.nan)[rows]
        curves = Curves(np.where(known, size, 0)[rows], *summary(used), test_examples[rows])
        found = mixture(curves, largest[rows])
        report(f"N/{factor}  jaxnet", found, truth[rows], network[rows], curves, len(size))
        found = power_law(curves, used, largest[rows])
        report("     power law", found, truth[rows], network[rows], curves, len(size))
    return 0


def mixture(curves: Curves, at: np.ndarray) -> Found:
    """jaxnet's, all curves at once."""
    places = at[:, None]
    quantiles(forecast(curves, places), LIMITS)  # compiles
    began = time.perf_counter()
    y = quantiles(forecast(curves, places), LIMITS)
    seconds = time.perf_counter() - began
    reasons = refusals(curves, places, (y[..., 2] - y[..., 0]) / 2)
    return Found(
        as_error(y, curves.test_examples)[:, 0],
        np.array([why[0] is not None for why in reasons]),
        1e3 * seconds / len(at),
    )


def power_law(curves: Curves, errors: np.ndarray, at: np.ndarray) -> Found:
    """The curve a + b n^-c by weighted least squares: for each c of a grid in closed form."""
    rng, began = np.random.default_rng(0), time.perf_counter()
    limits = np.empty((len(at), 3))
    for row, n in enumerate(at):
        sizes = curves.sizes[row] > 0
        repeats = [values[~np.isnan(values)] for values in errors[row][sizes]]
        means = np.stack(
            [each[rng.integers(0, len(each), (BOOTSTRAPS, len(each)))].mean(1) for each in repeats],
            1,
        )
        means = np.concatenate([curves.error[row][sizes][None], means])
        weights = 1 / (curves.variance[row][sizes] / curves.members[row][sizes] + 1e-6)
        predictions = fitted(curves.sizes[row][sizes], means, weights, n)
        limits[row] = np.quantile(predictions[1:], LIMITS)
        limits[row, 1] = predictions[0]
    return Found(
        np.clip(limits, 0, 1),
        np.zeros(len(at), bool),
        1e3 * (time.perf_counter() - began) / len(at),
    )


def fitted(sizes: np.ndarray, means: np.ndarray, weights: np.ndarray, n: float) -> np.ndarray:
    """(fits,) values at n of the curves of least weighted squares through each row of means."""
    x = (sizes[:, None] / sizes[0]) ** -EXPONENTS  # sizes, exponents
    w = weights / weights.sum()
    center_x, center_y = w @ x, means @ w
    spread = w @ x**2 - center_x**2
    slope = np.maximum(((means * w) @ x - center_y[:, None] * center_x) / spread, 0)
    floor = center_y[:, None] - slope * center_x
    through_zero = np.maximum((means * w) @ x / (w @ x**2), 0)
    slope, floor = np.where(floor < 0, through_zero, slope), np.maximum(floor, 0)
    squares = ((means[:, :, None] - floor[:, None] - slope[:, None] * x) ** 2 * w[:, None]).sum(1)
    best = squares.argmin(1)
    rows = np.arange(len(means))
    return floor[rows, best] + slope[rows, best] * (n / sizes[0]) ** -EXPONENTS[best]


def report(
    name: str, found: Found, truth: np.ndarray, network: np.ndarray, curves: Curves, total: int
) -> None:
    """A line of the table."""
    low, center, high = found.limits.T
    covered, kept = (low <= truth) & (truth <= high), ~found.refused
    half_example = 0.5 / curves.test_examples
    half = np.log((high + half_example) / (low + half_example)) / 2
    ratio = np.abs(np.log((center + half_example) / (truth + half_example)))
    refused = (total - kept.sum()) / total
    print(
        f"{name:22s} {covered.mean():8.1%} {covered[network].mean():7.1%} "
        f"{covered[kept].mean():7.1%} {covered[kept & network].mean():9.1%}"
        f" {np.median(half):12.3f} {np.median(ratio):11.3f} {found.refused.mean():12.1%} "
        f"({refused:.1%}) {found.milliseconds:11.2f}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
