"""Do claims and intervals hold after the best of many networks was chosen?

    OMP_NUM_THREADS=1 python -m experiments.benchmarks.choosing [--sweeps 1000] [--part i/n]
        [--only TEXT]

Networks err with known probabilities, and more often together on hard examples (a probit model with
a correlation between networks). The validation set chooses the network with the lowest error. Three
kinds of cases:

- claims: equal networks. The error steps of the chosen network are judged on the test set, as a
  sweep does, and for comparison on the validation set that chose, alone and together with the test
  set. A claim is false where a step at or below the tolerance of 2% is called high, where the
  smaller of bias and variance (or either, where they are equal) is called the larger, and where a
  step at or above the tolerance is called good enough.
- best: equal and unequal networks. How often the interval of the best row of a sweep's table holds
  the true error of that row, and how often the interval of that row alone does.
- seeds: one recipe, several seeds. How often the two-way interval and Student's interval over seeds
  hold the recipe's error.

Rows are appended to choosing.csv for each case; cases that are there are not simulated again.
`kept` is "yes" where the 99% binomial interval of the share reaches 5% false claims or 95%
coverage; `below` and `above` are the shares of intervals that lie below and above the truth, and
`width` is the median width, in widths of the interval of the row alone.
"""

import sys
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.benchmarks.rows import append, missing, parser
from jaxnet.diagnostics import Estimate, error_ladder, exact, repeated
from jaxnet.diagnostics.findings import Code
from jaxnet.diagnostics.ladder import ALPHA, claims
from jaxnet.diagnostics.steps import OneNetwork
from jaxnet.stats.selection import Candidate, interval_of_lowest

TABLE = Path(__file__).with_suffix(".csv")
TOLERANCE = 0.02
JUDGES = {"test": ("test",), "validation": ("validation",), "both": ("validation", "test")}
FIELDS = ("case", "sweeps", "measure", "share", "low", "high", "below", "above", "width", "kept")


class Claimed(NamedTuple):
    """Equal networks whose error steps are known.

    Attributes:
        networks: number of networks.
        examples: number of examples of the training, the validation and the test set.
        bias: training error; the target error is 0.
        gap: error on new examples minus that.
        correlation: between networks, of the latent variables of an example.
    """

    networks: int
    examples: tuple[int, int, int]
    bias: float
    gap: float
    correlation: float


class Compared(NamedTuple):
    """Trials whose true errors are known.

    Attributes:
        trials: number of trials.
        examples: in the validation set.
        error: true error of the best trial.
        spread: true error of the worst trial minus that; the others lie evenly between.
        correlation: between trials, of the latent variables of an example.
        seeds: networks of each trial.
        luck: standard deviation of a network's threshold, in units of the latent variable.
        halved: share of the trials that go on after a first comparison of half-trained networks.
    """

    trials: int
    examples: int
    error: float
    spread: float = 0.0
    correlation: float = 0.8
    seeds: int = 1
    luck: float = 0.0
    halved: float = 1.0


SIZES = {300: (1500, 300, 300), 1000: (5000, 1000, 1000), 5000: (25_000, 5000, 5000)}
STEPS = ((0.005, 0.02), (0.02, 0.005), (0.02, 0.02), (0.005, 0.03), (0.02, 0.08), (0.08, 0.02))
CASES: dict[str, Claimed | Compared] = {
    f"claims: best of {k}, {n} examples, bias {b:.1%}, gap {g:.1%}, correlation {r}": Claimed(
        k, SIZES[n], b, g, r
    )
    for k in (64, 256)
    for n, r in ((300, 0.8), (1000, 0.5), (1000, 0.8), (1000, 0.95), (5000, 0.8))
    for b, g in (STEPS if r == 0.8 else STEPS[:1])
}
CASES |= {
    f"seeds: {m}, {n} examples, error {e:.0%}, luck {luck}": Compared(1, n, e, seeds=m, luck=luck)
    for m in (2, 3, 4, 8, 16)
    for n in (300, 1000)
    for e in (0.02, 0.15)
    for luck in (0.02, 0.1)
}
CASES |= {
    f"best: of {k}, {n} examples, error {e:.0%}{words}, correlation {r}": Compared(
        k, n, e, spread, r
    )
    for k, n in ((64, 1000), (256, 1000), (64, 150), (8, 1000), (64, 5000), (2, 1000))
    for e in (0.02, 0.15)
    for spread, words in ((0.0, ""), (e / 2, f" to {1.5 * e:.1%}"))
    for r in ((0.8, 0.5, 0.95) if (k, n, spread) == (64, 1000, 0.0) else (0.8,))
}
CASES |= {
    f"best: of {k}, 1000 examples, error {e:.0%}, {m} seeds, luck {luck}": Compared(
        k, 1000, e, seeds=m, luck=luck
    )
    for k in (16, 64)
    for e in (0.02, 0.15)
    for m in (2, 4, 16)
    for luck in (0.05,)
}
CASES |= {
    f"best: of {k}, 1000 examples, error {e:.0%}{words}, halving keeps 25%": Compared(
        k, 1000, e, spread, halved=0.25
    )
    for k in (64,)
    for e in (0.02, 0.15)
    for spread, words in ((0.0, ""), (e / 2, f" to {1.5 * e:.1%}"))
}


def quantile(error: float | np.ndarray) -> np.ndarray:
    """The threshold below which a standard normal variable lies with this probability."""
    from scipy.special import ndtri

    return ndtri(error)


def wrong(
    thresholds: np.ndarray, difficulty: np.ndarray, correlation: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw which networks err on which examples.

    Args:
        thresholds: (networks,) an example is wrong where its latent variable is below.
        difficulty: (examples,) standard normal part that all networks share.
        correlation: share of its variance.
        rng: random numbers.

    Returns:
        (networks, examples).
    """
    own = rng.standard_normal((len(thresholds), len(difficulty)), np.float32)
    shared = (np.sqrt(correlation) * difficulty).astype(np.float32)
    return np.sqrt(1 - correlation).astype(np.float32) * own + shared < thresholds[:, None].astype(
        np.float32
    )


def judged_claims(case: Claimed, rng: np.random.Generator) -> Counter[str]:
    """Choose the best of equal networks, judge its error steps, and count false claims."""
    training, validation, test = case.examples
    above = np.full(case.networks, quantile(case.bias + case.gap))
    on_validation = wrong(above, rng.standard_normal(validation), case.correlation, rng)
    best = int(on_validation.sum(1).argmin())  # of ties the first, since all are equal
    errors = {
        "train": rng.random(training) < case.bias,
        "validation": on_validation[best],
        "test": rng.random(test) < case.bias + case.gap,
    }
    verdict = error_ladder(errors, tolerance=TOLERANCE, test_source="random", chosen=True).verdict
    sizes = {Code.HIGH_BIAS: case.bias, Code.HIGH_VARIANCE: case.gap}
    counts = Counter[str]()
    for judge, parts in JUDGES.items():
        found = claims(OneNetwork(errors, parts), TOLERANCE)
        good = found.good_enough and max(sizes.values()) >= TOLERANCE
        larger = found.dominant is not None and sizes[found.dominant] <= min(sizes.values())
        high = any(sizes[code] <= TOLERANCE for code in found.exceeding)
        counts[f"false good enough, {judge}"] += good
        counts[f"any false claim, {judge}"] += good or larger or high
        if judge == "test" and found.good_enough != verdict.startswith("good enough"):
            raise AssertionError(f"the ladder says {verdict}, its claims say {found}")
    return counts


def drawn(case: Compared, rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray], int]:
    """Draw the trials of a sweep.

    Returns:
        The true error of each trial, its losses (seeds, examples), and the number of the best one.
    """
    true = case.error + case.spread * np.linspace(0.0, 1.0, case.trials)
    rng.shuffle(true)
    # Over networks a latent variable has variance 1 + luck^2.
    thresholds = quantile(true) * np.sqrt(1 + case.luck**2)
    difficulty = rng.standard_normal(case.examples)
    luck = case.luck * rng.standard_normal((case.trials, case.seeds))
    networks = (thresholds[:, None] + luck).reshape(-1)
    losses = wrong(networks, difficulty, case.correlation, rng)
    stopped = np.zeros(case.trials, bool)
    if case.halved < 1:  # a first comparison, at twice the error, with the same difficult examples
        early = wrong(quantile(2 * true), difficulty, case.correlation, rng)
        dropped = np.argsort(early.sum(1), kind="stable")[round(case.halved * case.trials) :]
        losses[dropped], stopped[dropped] = early[dropped], True
        true[dropped] *= 2
    each = list(losses.reshape(case.trials, case.seeds, -1))
    best = int(np.lexsort((losses.reshape(case.trials, -1).sum(1), stopped))[0])
    return true, each, best


def held(size: Estimate, truth: float) -> tuple[bool, bool]:
    """Whether an interval lies below and above the truth."""
    return size.high < truth, size.low > truth


def judged_intervals(case: Compared, rng: np.random.Generator) -> dict[str, tuple[Estimate, float]]:
    """The intervals of the best trial with the truth: of the choice, and of the trial alone."""
    true, losses, best = drawn(case, rng)
    candidates = [Candidate(each) for each in losses]
    found = {"this row alone": (candidates[best].interval(), true[best])}
    if case.seeds > 1:
        found["Student over seeds"] = (repeated(losses[best].mean(1)), true[best])
    if case.trials > 1:
        found["best row"] = (interval_of_lowest(candidates, best), true[best])
    return found


def simulate(name: str, sweeps: int) -> list[dict[str, str]]:
    """The rows of the table for a case."""
    case = CASES[name]
    seeds = ([zlib.crc32(name.encode()), i] for i in range(sweeps))
    if isinstance(case, Claimed):
        counts = Counter[str]()
        for seed in seeds:
            counts.update(judged_claims(case, np.random.default_rng(seed)))
        return [
            row(name, sweeps, measure, count, kept=exact(count, sweeps, 0.99).low <= ALPHA)
            for measure, count in counts.items()
        ]
    found = [judged_intervals(case, np.random.default_rng(seed)) for seed in seeds]
    rows, widths = [], {}
    for measure in found[0]:
        each = [one[measure] for one in found if one[measure][0].refused is None]
        sides = np.array([held(*one) for one in each])
        widths[measure] = np.median([size.high - size.low for size, _ in each])
        covered = int((~sides.any(1)).sum())
        line = row(
            name,
            len(each),
            measure,
            covered,
            kept=exact(covered, len(each), 0.99).high >= 1 - ALPHA,
        )
        below, above = sides.mean(0)
        rows.append(
            line
            | {
                "below": f"{below:.3f}",
                "above": f"{above:.3f}",
                "width": f"{widths[measure] / widths['this row alone']:.2f}",
            }
        )
    return rows


def row(name: str, sweeps: int, measure: str, count: int, *, kept: bool) -> dict[str, str]:
    """A share with its 99% binomial interval, and whether the promise is kept."""
    share = exact(count, sweeps, 0.99)
    numbers = {"share": share.estimate, "low": share.low, "high": share.high}
    return {
        "case": name,
        "sweeps": str(sweeps),
        "measure": measure,
        **{key: f"{value:.3f}" for key, value in numbers.items()},
        "below": "",
        "above": "",
        "width": "",
        "kept": "yes" if kept else "NO",
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate what is missing in the table."""
    options = parser(__doc__, TABLE, sweeps=1000).parse_args(arguments)
    for name in missing(options, CASES, "case"):
        began = time.perf_counter()
        rows = simulate(name, options.sweeps)
        append(options.table, rows, FIELDS)
        print(f"{name}, {time.perf_counter() - began:.0f} s", file=sys.stderr)
        for line in rows:
            print("  " + ", ".join(f"{k} {v}" for k, v in line.items() if k != "case"), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
