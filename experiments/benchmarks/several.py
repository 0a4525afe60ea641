"""How often do intervals hold the truth where each example has several values or several labels?

    python -m experiments.benchmarks.several [--studies 1000] [--only labels]

Studies drawn from two known worlds: four yes/no labels, and three values, of which mistakes on the
same example go together (half of their variance is shared). The truth of one network is that of
endless examples, and the truth of a recipe that of endless networks and examples; all follow in
closed form from normal distributions. Each case draws examples, and 1 or 16 networks that differ.

- `error`, `R2`: of one network, as `jaxnet.evaluate` gives them;
- `error of the recipe`: of 16 networks on the same examples, as an error analysis gives it;
- `unseen error`: of cross-fitted networks (8 folds, 2 networks each), for the recipe;
- `bias`, `variance`: of 16 networks with independent training sets.

Rows are appended to several.csv, and a study goes on where it stopped. Then all rows are judged by
the ranges of `coverage`, 93 to 97%, and for the cross-fitted unseen error by those of
`cross_fitting`: 93 to 99%, and at least 88% below 1,000 examples. `kept`: the 99% binomial interval
of the coverage meets the range.
"""

import sys
from collections import defaultdict
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from scipy.stats import multivariate_normal, norm

from experiments.benchmarks.rows import append, missing, parser, read
from jaxnet.data import Standardization
from jaxnet.diagnostics import Estimate, bias_variance_decomposition, exact
from jaxnet.diagnostics.ladder import error_ladder
from jaxnet.engine.prediction import label_metrics, value_metrics
from jaxnet.stats.cross_fitting import cross_fitted_errors

TABLE = Path(__file__).with_suffix(".csv")
FIELDS = ("case", "world", "examples", "measure", "studies", "held", "refused", "truth")
SHARED, OWN, NETWORK, NOISE = 0.5**0.5, 0.5**0.5, 0.3, 0.7  # standard deviations of a mistake
THRESHOLDS = np.array([-1.0, -1.5, -2.0, -2.5])  # above 0 an answer is wrong
OUTPUTS, MEMBERS, FOLDS = 3, 16, 8
SIZES = (200, 1000)
CASES = [f"{world} {size}" for world in ("labels", "values") for size in SIZES]
Truths = dict[str, float]


def mistakes(
    rng: np.random.Generator, members: int, n: int, columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """What networks are off by, (members, n, columns), and each network's own part of it."""
    shared = SHARED * rng.normal(size=(1, n, 1)) + OWN * rng.normal(size=(1, n, columns))
    network = NETWORK * rng.normal(size=(members, 1, columns))
    return shared + network + NOISE * rng.normal(size=(members, n, columns)), network


def truths_of_labels() -> Truths:
    """The error of the recipe, and its bias and variance."""
    example, rest = SHARED**2 + OWN**2, NETWORK**2 + NOISE**2
    error = norm.cdf(THRESHOLDS / (example + rest) ** 0.5)
    covariance = [[example + rest, example], [example, example + rest]]
    both = [multivariate_normal([0, 0], covariance).cdf([a, a]) for a in THRESHOLDS]
    bias = float(np.mean(both))
    return {
        "error of the recipe": float(error.mean()),
        "unseen error": float(error.mean()),
        "bias": bias,
        "variance": float(error.mean()) - bias,
    }


def labels(rng: np.random.Generator, n: int) -> tuple[dict[str, Estimate], Truths]:
    """The estimates of one study of labels, and what is true of its first network."""
    off, network = mistakes(rng, MEMBERS, n, len(THRESHOLDS))
    wrong, y = THRESHOLDS + off > 0, rng.integers(0, 2, (n, len(THRESHOLDS)))
    answers = np.where(wrong, 1 - y, y)
    sure = np.where(answers == 1, np.log(0.9), np.log(0.1))
    spread = (SHARED**2 + OWN**2 + NOISE**2) ** 0.5
    own = float(norm.cdf((THRESHOLDS + network[0, 0]) / spread).mean())
    found = {"error": label_metrics(sure[0], y).error}
    found |= of_the_recipe(wrong.mean(-1), shares=True)
    parts = bias_variance_decomposition(answers, y, loss="zero_one_kohavi_wolpert")
    return found | {"bias": parts.bias, "variance": parts.variance}, {"error": own}


def truths_of_values() -> Truths:
    """The error of the recipe, and its bias and variance, in variances of y, which are 1."""
    bias, variance = SHARED**2 + OWN**2, NETWORK**2 + NOISE**2
    error = bias + variance
    return {"error of the recipe": error, "unseen error": error, "bias": bias, "variance": variance}


def values(rng: np.random.Generator, n: int) -> tuple[dict[str, Estimate], Truths]:
    """The estimates of one study of values, and what is true of its first network."""
    off, network = mistakes(rng, MEMBERS, n, OUTPUTS)
    y = 2.0 * (SHARED * rng.normal(size=(n, 1)) + OWN * rng.normal(size=(n, OUTPUTS)))
    ones = jnp.ones(OUTPUTS, jnp.float32)
    own = float((SHARED**2 + OWN**2 + NOISE**2 + network[0, 0] ** 2).mean())
    metrics = value_metrics(y + off[0], y, Standardization(ones[0], ones[0], 0 * ones, ones))
    found = {"error": metrics.error, "R2": metrics.r2}
    found |= of_the_recipe((off**2).mean(-1), shares=False)
    parts = bias_variance_decomposition(y + off, y, loss="squared")
    return found | {"bias": parts.bias, "variance": parts.variance}, {
        "error": own,
        "R2": 1 - own / 4,
    }


def of_the_recipe(losses: np.ndarray, *, shares: bool) -> dict[str, Estimate]:
    """The error of all networks on the same examples, and as if they were cross-fitted."""
    n = losses.shape[1]
    ladder = error_ladder({"train": losses[:, : n // 2], "test": losses}, shares=shares)
    seen = np.arange(n) % FOLDS != np.repeat(np.arange(FOLDS), MEMBERS // FOLDS)[:, None]
    largest = 1.0 if shares else None
    fitted = cross_fitted_errors(losses, seen, largest=largest)
    return {"error of the recipe": ladder.errors["test"], "unseen error": fitted.unseen}


def study(case: str, studies: int) -> list[dict[str, object]]:
    """The rows of a case."""
    world, size = case.split()
    draw = labels if world == "labels" else values
    always = truths_of_labels() if world == "labels" else truths_of_values()
    held, refused, seen = defaultdict(int), defaultdict(int), defaultdict(list)
    for number in range(studies):
        rng = np.random.default_rng([CASES.index(case), number])
        found, truths = draw(rng, int(size))
        for name, each in found.items():
            truth = (always | truths)[name]
            refused[name] += each.refused is not None
            held[name] += each.refused is None and each.low <= truth <= each.high
            seen[name].append(truth)
    about = {"case": case, "world": world, "examples": size, "studies": studies}
    return [
        about
        | {"measure": name, "held": held[name], "refused": refused[name]}
        | {"truth": round(float(np.mean(seen[name])), 5)}
        for name in seen
    ]


def promise(measure: str, examples: int) -> tuple[float, float]:
    """The coverage that is promised."""
    if measure == "unseen error":
        return 0.88 if examples < 1000 else 0.93, 0.99
    return 0.93, 0.97


def main() -> int:
    """Run the cases that the table lacks, and judge the coverage of each measure; 1 where a promise
    is broken.
    """
    options = parser(__doc__, TABLE, studies=1000).parse_args()
    for case in missing(options, CASES, "case"):
        append(options.table, study(case, options.studies), FIELDS)
    rows, broken = read(options.table), 0
    print(
        f"{'case':14s}{'measure':22s}{'studies':>8s}{'refused':>8s}  covers  99% interval  promised"
    )
    for row in rows:
        given = int(row["studies"]) - int(row["refused"])
        low, high = promise(row["measure"], int(row["examples"]))
        share = exact(int(row["held"]), given, 0.99)
        kept = share.high >= low and share.low <= high
        broken += not kept
        print(
            f"{row['case']:14s}{row['measure']:22s}{row['studies']:>8s}{row['refused']:>8s}"
            f"{share.estimate:8.1%}  {share.low:5.1%} to {share.high:5.1%}  "
            f"{low:.0%} to {high:.0%}  {'kept' if kept else 'BROKEN'}"
        )
    print(f"{broken} of {len(rows)} promises broken")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
