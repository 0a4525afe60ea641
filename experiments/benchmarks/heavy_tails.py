"""Do intervals of squared errors hold where errors have heavy tails, and is Brier variance covered?

    python -m experiments.benchmarks.heavy_tails [--studies 2000] [--part 1/1]

Errors of one network, of 16 networks on the same examples, and of 8 folds x 2 seeds, whose noise
follows a known law. Networks differ by normal deviations of half the scale, independent from
example to example. For each world: how often the interval of the mean squared error is refused, how
often one that is given holds the truth, how often its text says that rare, larger errors may exist,
and the same of the median absolute error. `before`: coverage, never refused, of what was printed
before, a symmetric interval on a logarithmic scale.

brier: bias and variance of the Brier score by the rule for rates, symmetric on a logarithmic scale,
and corrected for skewness.
Worlds that are in the table already are not run again.
"""

import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, stats

from experiments.benchmarks.coverage import WORLDS, World, crossed, truths
from experiments.benchmarks.rows import append, parser, read
from jaxnet.diagnostics import Estimate, exact, mean
from jaxnet.stats.bias_variance import WITHIN
from jaxnet.stats.cross_fitting import CrossFit, cross_fit
from jaxnet.stats.random_effects import POSITIVE, block, interval, two_way
from jaxnet.stats.scores import median_error

TABLE = Path(__file__).with_suffix(".csv")
FIELDS = (
    "design",
    "world",
    "examples",
    "quantity",
    "studies",
    "truth",
    "refused",
    "coverage",
    "low",
    "high",
    "missed_below",
    "missed_above",
    "width",
    "cautioned",
    "before",
)
SIZES = (50, 200, 1000)
MEMBERS, FOLDS, SEEDS, APART = 16, 8, 2, 0.5
# What decided between rules. The six laws that they are judged on were looked at once, afterwards.
CHOSEN_ON: dict[str, Any] = {
    "logistic": stats.logistic(),
    "t, 8 degrees": stats.t(8),
    "t, 6 degrees": stats.t(6),
    "t, 4.5 degrees": stats.t(4.5),
    "t, 2.7 degrees": stats.t(2.7),
    "double Weibull 1.2": stats.dweibull(1.2),
}
JUDGED_ON: dict[str, Any] = {
    "normal": stats.norm(),
    "Laplace": stats.laplace(),
    "t, 5 degrees": stats.t(5),
    "t, 3 degrees": stats.t(3),
    "t, 2 degrees": stats.t(2),
    "log-normal": stats.lognorm(1.0),
}
LAWS = JUDGED_ON | CHOSEN_ON
DESIGNS = ("one network", "16 networks", "8 folds x 2 seeds")
CLASSES = WORLDS | {"lower error": World(9.0, 2.0, 0.3, 1.0)}
BRIER = (
    ("low error", 200),
    ("lower error", 200),
    ("low error", 500),
    ("lower error", 500),
    ("easy", 200),
)


class Found(NamedTuple):
    """An interval, and the limits of before where they differ."""

    estimate: Estimate
    before: tuple[float, float] | None = None


def noise(law: Any, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Errors of a law; those of a law of positive numbers get a random sign."""
    drawn = law.rvs(size=shape, random_state=rng)
    return drawn * rng.choice((-1.0, 1.0), shape) if law.support()[0] == 0 else drawn


def logarithmic(squares: np.ndarray) -> tuple[float, float]:
    """The limits of before."""
    center = float(squares.mean())
    error = float(squares.std(ddof=1)) / len(squares) ** 0.5 / center
    factor = np.exp(NormalDist().inv_cdf(0.975) * error)
    return center / factor, center * factor


def study(design: str, law: Any, n: int, rng: np.random.Generator) -> Iterator[tuple[str, Found]]:
    """The intervals of one study, by name."""
    own = noise(law, (n,), rng)
    if design == DESIGNS[0]:
        yield "mean squared error", Found(mean(own**2), logarithmic(own**2))
        yield "mean absolute error", Found(mean(np.abs(own)))
        yield "median absolute error", Found(median_error(np.abs(own)))
        return
    apart = APART * law.std() if np.isfinite(law.std()) else APART
    errors = own + apart * rng.standard_normal((MEMBERS, n))
    if design == DESIGNS[1]:
        one = CrossFit(errors**2, np.zeros(MEMBERS, np.int64), np.zeros(n, np.int64))
        yield "mean squared error", Found(one.rate("unseen", pools=False))
        yield "median absolute error", Found(median_error(np.abs(errors)))
        return
    fold_of = rng.permutation(n) % FOLDS
    seen = fold_of != np.repeat(np.arange(FOLDS), SEEDS)[:, None]
    fitted, _ = cross_fit(errors**2, seen)
    for whose, pools in (("these networks", False), ("the recipe", True)):
        yield f"mean squared error, {whose}", Found(fitted.rate("unseen", pools=pools))
    yield "median absolute error", Found(median_error(np.abs(errors), seen=seen))


def truth_of(design: str, law: Any, quantity: str) -> float:
    """The mean square, the mean or the median of errors."""
    apart = 0.0
    if design != DESIGNS[0]:
        apart = APART * (law.std() if np.isfinite(law.std()) else 1.0)
    if quantity.startswith("mean squared"):
        return float(law.moment(2)) + apart**2 if np.isfinite(law.std()) else np.inf
    places, weights = np.polynomial.hermite_e.hermegauss(99)
    weights = weights / weights.sum()
    mirrored = law.support()[0] == 0

    def below(at: float) -> float:
        high, low = at - apart * places, -at - apart * places
        share = law.cdf(high) - law.cdf(low)
        return float(
            weights @ (0.5 * (share + law.cdf(-low) - law.cdf(-high)) if mirrored else share)
        )

    if quantity.startswith("median"):
        median: Any = optimize.brentq(lambda at: below(at) - 0.5, 0.0, 50.0)
        return float(median)
    return float(law.expect(abs))


def line(key: Sequence[Any], quantity: str, truth: float, found: Sequence[Found]) -> dict[str, Any]:
    """A row of the table."""
    given = [each.estimate for each in found if each.estimate.refused is None]
    row = dict.fromkeys(FIELDS, "") | dict(zip(FIELDS[:3], key, strict=True))
    row |= {"quantity": quantity, "studies": len(found), "truth": f"{truth:.5g}"}
    row["refused"] = f"{1 - len(given) / len(found):.3f}"
    if given:
        below = np.array([truth < each.low for each in given])
        above = np.array([truth > each.high for each in given])
        held = exact(len(given) - int((below | above).sum()), len(given), 0.99)
        width = np.median([each.high - each.low for each in given])
        row |= {
            "coverage": f"{held.estimate:.3f}",
            "low": f"{held.low:.3f}",
            "high": f"{held.high:.3f}",
            "missed_below": f"{below.mean():.3f}",
            "missed_above": f"{above.mean():.3f}",
            "width": f"{width:.4g}",
            "cautioned": f"{np.mean([each.caution is not None for each in given]):.3f}",
        }
    if found[0].before is not None:
        inside = [each.before[0] <= truth <= each.before[1] for each in found if each.before]
        row["before"] = f"{np.mean(inside):.3f}"
    return row


def regressions(design: str, name: str, n: int, studies: int) -> Iterator[dict[str, Any]]:
    """The rows of a world of values."""
    law, found = LAWS[name], dict[str, list[Found]]()
    for number in range(studies):
        rng = np.random.default_rng([zlib.crc32(f"{design} {name} {n}".encode()), number])
        for quantity, each in study(design, law, n, rng):
            found.setdefault(quantity, []).append(each)
    for quantity, each in found.items():
        yield line((design, name, n), quantity, truth_of(design, law, quantity), each)


def brier_intervals(log_p: np.ndarray) -> Iterator[tuple[str, Estimate]]:
    """The intervals of bias and variance of the Brier score by three rules, from pseudo-values; the
    right class is 0.
    """
    p, m = np.exp(log_p.astype(np.float64)), len(log_p)
    off = p.mean(0) - np.eye(p.shape[2])[0]
    squares, along = ((p - p.mean(0)) ** 2).sum(-1), ((p - p.mean(0)) * off).sum(-1)
    variance = squares.sum(0) / (m - 1)
    less = (squares.sum(0) - m / (m - 1) * squares) / (m - 2)
    bias = (off**2).sum(-1) - variance / m
    other = (off**2).sum(-1) - 2 * along / (m - 1) + squares / (m - 1) ** 2 - less / (m - 1)
    for part, whole, without in (("bias", bias, other), ("variance", variance, less)):
        given = [block(m * whole - (m - 1) * without, whole)]
        yield f"{part}, rule for rates", interval(two_way(given, WITHIN["brier"]))
        yield f"{part}, logarithmic scale", interval(two_way(given, POSITIVE))
        yield f"{part}, skewness", interval(two_way(given, WITHIN["brier"], small=True))


def brier(name: str, n: int, studies: int) -> Iterator[dict[str, Any]]:
    """The rows of a world of classes."""
    world, found = CLASSES[name], dict[str, list[Found]]()
    truth = truths(world, MEMBERS, many=1000, votes=1)
    for number in range(studies):
        rng = np.random.default_rng([zlib.crc32(f"brier {name} {n}".encode()), number])
        for quantity, each in brier_intervals(crossed(world, MEMBERS, n, rng)):
            found.setdefault(quantity, []).append(Found(each))
    for quantity, each in found.items():
        true = truth[f"brier: {quantity.partition(',')[0]}"]
        yield line(("Brier, 16 networks", name, n), quantity, true, each)


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate what is missing in the table."""
    options = parser(__doc__, TABLE, studies=2000).parse_args(arguments)
    part, parts = map(int, options.part.split("/"))
    jobs = [
        (design, law, n)
        for design in DESIGNS
        for law in (LAWS if design == DESIGNS[0] else JUDGED_ON)
        for n in SIZES
    ]
    jobs += [("Brier, 16 networks", world, n) for world, n in BRIER]
    done = {tuple(row[name] for name in FIELDS[:3]) for row in read(options.table)}
    for design, world, n in jobs[part - 1 :: parts]:
        if options.only not in design or (design, world, str(n)) in done:
            continue
        rows = list(
            brier(world, n, options.studies)
            if design.startswith("Brier")
            else regressions(design, world, n, options.studies)
        )
        append(options.table, rows, FIELDS)
        for row in rows:
            print("  ".join(str(row[name]) for name in FIELDS), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
