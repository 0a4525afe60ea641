"""How well are real learning curves extrapolated? jaxnet beside what people do: a power law by
weighted least squares.

    python -m experiments.benchmarks.learning_curves CURVES

CURVES: an .npz file of learning curves of LCDB 1.0 (Mohr, Viering, Loog & van Rijn 2022), of test
errors at growing sizes. Sizes up to N/2, N/4 and N/8 predict the error at a curve's largest size N,
which is known; all repeats are used. The rival fits a + b n^-c, a and b at least 0, weighted by the
inverse variance of each mean, and bootstraps the repeats (percentiles).

Then what is said of more data: sizes up to N/8 predict the errors at the sizes nearest to 2, 4 and
8 times the largest of them, with intervals that should hold all three in 95% of curves, beside
Bonferroni's. A claim (a gain, no gain that matters) is false where the measured errors contradict
it.
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
    Mixture,
    as_error,
    forecast,
    quantiles,
    refusals,
    summary,
    tails_together,
)
from jaxnet.stats.extrapolation import FACTORS

MLP = "sklearn.neural_network.MLPClassifier"
EXPONENTS = np.linspace(0.02, 2.0, 67)
BOOTSTRAPS, LIMITS = 200, (0.025, 0.5, 0.975)
TOLERANCES = (0.005, 0.01, 0.02, 0.05)


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
    together(size, errors, test_examples, network)
    return 0


def together(
    size: np.ndarray, errors: np.ndarray, test_examples: np.ndarray, network: np.ndarray
) -> None:
    """Print how often 2, 4 and 8 times are covered together, and how often claims are false."""
    known = (size > 0) & (size * max(FACTORS) <= size.max(1, keepdims=True))
    rows = np.flatnonzero(known.sum(1) >= MIN_SIZES)
    size, errors, known, network = size[rows], errors[rows], known[rows], network[rows]
    each, last = np.arange(len(rows)), known.sum(1) - 1
    targets = size[each, last][:, None] * np.array(FACTORS)
    places = np.abs(np.log(np.maximum(size, 1))[:, None] - np.log(targets)[..., None]).argmin(-1)
    at = size[each[:, None], places]
    truth = np.nanmean(errors[each[:, None], places], -1)
    used = np.where(known[..., None], errors, np.nan)
    curves = Curves(np.where(known, size, 0), *summary(used), test_examples[rows])
    mixture = forecast(curves, at)
    reasons = refusals(curves, at, np.zeros_like(at))
    answered = np.array([why[0] is None for why in reasons])
    print(
        f"\n2, 4 and 8 times the largest of the known sizes: {len(at)} curves, "
        f"{(~answered).sum()} of them refused; {(answered & network).sum()} MLPs are not\n"
        "               covered at 2, 4, 8 times   together   not refused    MLPs     half-width"
    )
    bonferroni = np.full(len(at), 0.05 / (2 * len(FACTORS)))
    low, high = np.empty((2, *at.shape))
    for name, tails in (("Bonferroni", bonferroni), ("jaxnet", tails_together(mixture, 0.95))):
        y = np.stack(
            [
                quantiles(Mixture(*(part[i : i + 1] for part in mixture)), (tail, 1 - tail))[0]
                for i, tail in enumerate(tails)
            ]
        )
        low, high = np.moveaxis(as_error(y, curves.test_examples), -1, 0)
        inside = (low <= truth) & (truth <= high)
        half = np.median((y[..., 1] - y[..., 0])[answered] / 2, 0)
        print(
            f"{name:14s} {' '.join(f'{share:.1%}' for share in inside.mean(0)):24s} "
            f"{inside.all(1).mean():10.1%} {inside[answered].all(1).mean():13.1%} "
            f"{inside[answered & network].all(1).mean():7.1%}   "
            f"{' '.join(f'{width:.2f}' for width in half)}"
        )
    now = curves.error[each, last][:, None]
    print("tolerance    a gain    false    no gain that matters    false    too little known")
    for tolerance in TOLERANCES:
        helps = (now - high > tolerance).any(1) & answered
        gain = now - truth
        # a claimed gain is that at the first factor whose limit exceeds the tolerance
        first = (now - high > tolerance).argmax(1)
        wrong = helps & (gain[np.arange(len(gain)), first] <= tolerance)
        # no gain is claimed up to the largest factor up to which no limit reaches the tolerance
        upto = np.logical_and.accumulate(now - low < tolerance, axis=1)
        upto = upto & (answered & ~helps)[:, None] | (~answered[:, None] & (now < tolerance))
        little, contradicted = upto[:, 0], (upto & (gain > tolerance)).any(1)
        print(
            f"{100 * tolerance:4.1f} points {helps.mean():9.1%} {_share(wrong, helps):>8s} "
            f"{little.mean():19.1%} {_share(contradicted, little):>12s} "
            f"{1 - helps.mean() - little.mean():15.1%}",
            flush=True,
        )


def _share(wrong: np.ndarray, claimed: np.ndarray) -> str:
    return f"{wrong.sum() / max(1, claimed.sum()):.1%}"


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
