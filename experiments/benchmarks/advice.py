"""Do the gains that advice reports hold after the choice of the best candidate?

    OMP_NUM_THREADS=1 python -m experiments.benchmarks.advice [--advices 1000] [--processes 2]
        [--part i/n] [--only TEXT]

Networks err with known probabilities (`Probit` in worlds.py), so the gain of every candidate is
known. An advice is what `jaxnet.advise` computes from such losses: a race over 2, 4 and 8
folds, the choice of the best finalist, and an interval and a point for its gain.

A row is appended to advice.csv for each case; cases that are there are not simulated again.
`covered`: the interval of the leader, adopted or not, holds its true gain. `false`: a candidate is
adopted that gains nothing. `adopted`: any is adopted. `best`: a candidate is adopted that gains as
much as the best one. `bias`: mean of the point minus the true gain, in percentage points, over all
advices and over those that adopt. `trained`: share of the trainings that all candidates on all
folds take with one seed. `kept` is "yes" where the 99% binomial intervals reach 93% coverage
and 5% false adoptions, and the mean point is at most .5 points too high. Points of a log loss are
hundredths of a nat, and those of a root mean squared error hundredths of the standard deviation of
y; `advice_measures.py` draws such losses.
"""

import argparse
import math
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks.advice_measures import Measured, World
from experiments.benchmarks.rows import append, in_chunks, missing, parser, processes
from experiments.benchmarks.worlds import Pool, Probit, folds
from jaxnet.diagnostics import exact
from jaxnet.stats.gains import FOLDS, Cell, Raced, race
from jaxnet.studies.timetable import fitting

TABLE = Path(__file__).with_suffix(".csv")
CHUNK = 50
COVERED, FALSE, BIAS = 0.93, 0.05, 0.5  # wanted: at least, at most, at most


class Case(NamedTuple):
    """Candidates whose gains are known.

    Attributes:
        examples: in the pool.
        gains: of each candidate, in percentage points of error.
        error: of the current recipe.
        shared: correlation between networks, of the latent variables of an example.
        scatter: standard deviation of the thresholds of networks of one recipe.
        group: examples in each group.
        own: share of the rest of this variance that networks of one recipe have in common in a
            group.
        seeds: networks of each finalist for each fold.
        time: how many trainings of the current recipe there is time for after the first rung; a
            candidate takes as long as COSTS says. None where time does not matter.
    """

    examples: int
    gains: tuple[float, ...]
    error: float = 0.15
    shared: float = 0.8
    scatter: float = 0.05
    group: int = 1
    own: float = 0.0
    seeds: int = 2
    time: float | None = None


def one_of(count: int, gain: float) -> tuple[float, ...]:
    """One candidate gains something, and the others nothing."""
    return (gain, *[0.0] * (count - 1))


COSTS = (1.0, 1.0, 2.0, 4.0, 1.0, 1.0, 3.0, 10.0)  # of candidates where time is short
LITTLE = (0.25, 0.5, 0.5, 0.75, 0.75, 1.0, 1.0, 1.5)
RATES_ALIKE = (-8.0, -3.0, -1.0, 1.0, 0.0, 0.5, -0.5, -2.0)
CASES: dict[str, Case | Measured] = {
    f"{n}: {words}": Case(n, gains)
    for n in (300, 1000, 5000)
    for words, gains in (
        ("8 gain nothing", one_of(8, 0.0)),
        ("1 of 8 gains 1 point", one_of(8, 1.0)),
        ("1 of 8 gains 2 points", one_of(8, 2.0)),
        ("1 of 8 gains 5 points", one_of(8, 5.0)),
        ("8 gain 0.25 to 1.5 points", LITTLE),
        ("8 gain -8 to 1 points", RATES_ALIKE),
    )
}
CASES |= {
    f"{n}: {c} gain nothing": Case(n, one_of(c, 0.0)) for c in (2, 16, 64) for n in (300, 1000)
}
CASES |= {
    f"1000, correlation {shared}: {words}": Case(1000, gains, shared=shared)
    for shared in (0.5, 0.95)
    for words, gains in (
        ("8 gain nothing", one_of(8, 0.0)),
        ("1 of 8 gains 2 points", one_of(8, 2.0)),
    )
}
CASES |= {
    f"1000, networks differ, {seeds} seed{'s' * (seeds > 1)}: {words}": Case(
        1000, gains, scatter=0.15, seeds=seeds
    )
    for seeds in (1, 2)
    for words, gains in (
        ("8 gain nothing", one_of(8, 0.0)),
        ("1 of 8 gains 2 points", one_of(8, 2.0)),
    )
}
CASES |= {
    f"{n} in groups of {size}{alike}: {words}": Case(n, gains, group=size, own=own)
    for n, size in ((1000, 5), (1000, 20), (5000, 20))
    for own, alike in ((0.0, ""), (0.5, ", on which a recipe errs together"))
    for words, gains in (
        ("8 gain nothing", one_of(8, 0.0)),
        ("1 of 8 gains 5 points", one_of(8, 5.0)),
    )
}
CASES |= {
    f"{n}, {words}: {told}": Measured(measure, n, gains)
    for n in (300, 1000)
    for measure, words in (
        ("balanced_error", "balanced error"),
        ("log_loss", "log loss"),
        ("rmse", "root mean squared error"),
    )
    for told, gains in (
        ("8 gain nothing", one_of(8, 0.0)),
        ("1 of 8 gains 2 points", one_of(8, 2.0)),
        ("1 of 8 gains 5 points", one_of(8, 5.0)),
    )
}
CASES |= {
    f"1000, error 3%: {words}": Case(1000, gains, error=0.03)
    for words, gains in (
        ("8 gain nothing", one_of(8, 0.0)),
        ("1 of 8 gains 1 point", one_of(8, 1.0)),
    )
}
CASES |= {
    f"1000, time for {time} trainings after 2 folds: {words}": Case(1000, gains, time=time)
    for time in (30, 60, 120)
    for words, gains in (
        ("8 gain nothing", one_of(8, 0.0)),
        ("1 of 8 gains 2 points", one_of(8, 2.0)),
        ("8 gain 0.25 to 1.5 points", LITTLE),
    )
}


class Advised(NamedTuple):
    """What one advice reports and what is true, in percentage points."""

    truth: float
    point: float
    low: float
    high: float
    trained: float


def advise(case: Case | Measured, rng: np.random.Generator) -> Advised:
    """Draw losses, run the race and choose."""
    if isinstance(case, Measured):
        drawn, count = World(case, rng), len(case.gains)
        raced = race(drawn.measure, count, drawn.fold_of, seeds=case.seeds, **drawn.losses_of)
        return advised(case, raced)
    world = Probit(
        case.examples, 0.0, 0.0, case.scatter, shared=case.shared, group=case.group, alike=0.7
    )
    difficulty, group_of = world.difficulties(case.examples, rng)
    fold_of = folds(Pool(difficulty, difficulty, group_of), rng)
    errors = [case.error, *(case.error - gain / 100 for gain in case.gains)]
    thresholds = np.array([world.threshold(error) for error in errors])
    rest = math.sqrt(1 - case.shared)
    units = np.arange(case.examples) if group_of is None else group_of
    own = math.sqrt(case.own) * rng.standard_normal((len(errors), units[-1] + 1))[:, units]

    def measure(recipes: np.ndarray, cells: Sequence[Cell]) -> np.ndarray:
        shape = len(recipes), len(cells)
        below = thresholds[recipes][:, None] + case.scatter * rng.standard_normal(shape)
        noise = rng.standard_normal((*shape, case.examples), dtype=np.float32)
        latent = difficulty + rest * (own[recipes][:, None] + math.sqrt(1 - case.own) * noise)
        return (latent < below[..., None]).astype(float)

    left = math.inf if case.time is None else case.time

    def room(candidates: Sequence[int], cells: Sequence[Cell]) -> list[int]:
        nonlocal left
        kept = fitting(candidates, cells, COSTS, left)
        left -= len(cells) * (1 + sum(COSTS[number] for number in kept))
        return kept

    within = None if case.time is None else room
    raced = race(measure, len(case.gains), fold_of, group_of, seeds=case.seeds, room=within)
    return advised(case, raced)


def advised(case: Case | Measured, raced: Raced) -> Advised:
    """The choice after a race, beside the truth."""
    found = raced.gains.choose(raced.finalists)
    one_of_fold = np.unique(raced.gains.fold_of, return_index=True)[1]
    trained = int(np.isfinite(raced.losses[:, :, one_of_fold]).sum())
    gain = found.gain
    return Advised(
        case.gains[found.leader],
        100 * gain.estimate,
        100 * gain.low,
        100 * gain.high,
        trained / (FOLDS * (1 + len(case.gains))),
    )


def simulate(name: str, first: int, count: int) -> list[Advised]:
    """Some advices of a case."""
    return [
        advise(CASES[name], np.random.default_rng([zlib.crc32(name.encode()), i]))
        for i in range(first, first + count)
    ]


def summary(name: str, advices: Sequence[Advised]) -> dict[str, str]:
    """The row of the table for a case."""
    truth, point, low, high, trained = np.array(advices).T
    adopted = low > 0
    covered = exact(int(((low <= truth) & (truth <= high)).sum()), len(truth), 0.99)
    false = exact(int((adopted & (truth <= 0)).sum()), len(truth), 0.99)
    bias = float((point - truth).mean())
    kept = covered.high >= COVERED and false.low <= FALSE and bias <= BIAS
    best = adopted & (truth >= max(CASES[name].gains))
    return {
        "case": name,
        "advices": str(len(truth)),
        "covered": f"{covered.estimate:.3f}",
        "covered_low": f"{covered.low:.3f}",
        "covered_high": f"{covered.high:.3f}",
        "false": f"{false.estimate:.3f}",
        "false_low": f"{false.low:.3f}",
        "false_high": f"{false.high:.3f}",
        "adopted": f"{adopted.mean():.3f}",
        "best": f"{best.mean():.3f}",
        "bias": f"{bias:.2f}",
        "bias_adopted": f"{(point - truth)[adopted].mean():.2f}" if adopted.any() else "",
        "width": f"{np.median(high - low):.2f}",
        "trained": f"{trained.mean():.2f}",
        "kept": "yes" if kept else "NO",
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate what is missing in the table; the exit status is 1 where a promise is broken."""
    options = parser(__doc__, TABLE, advices=1000, processes=2).parse_args(arguments)
    return simulate_missing(options, CASES, simulate, summary, CHUNK)


def simulate_missing(
    options: argparse.Namespace,
    cases: Iterable[str],
    simulate: Callable[[str, int, int], Sequence[Any]],
    summary: Callable[[str, Sequence[Any]], dict[str, str]],
    chunk: int,
) -> int:
    """Simulate the cases that the table lacks; a summary says in "kept" whether promises hold.

    Args:
        options: those of a study, with the number of advices and of processes.
        cases: names of all cases.
        simulate: simulates some advices of a case, see `in_chunks`.
        summary: the row of a case, by all its advices.
        chunk: number of advices that are simulated together.

    Returns:
        The exit status: 1 where a promise is broken.
    """
    broken = 0
    with processes(options.processes) as pool:
        for name in missing(options, cases, "case"):
            began = time.perf_counter()
            found = in_chunks(pool, simulate, name, options.advices, chunk)
            line = summary(name, [each for part in found for each in part])
            append(options.table, [line], tuple(line))
            broken += line["kept"] == "NO"
            print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
            print(", ".join(f"{key} {value}" for key, value in line.items()), flush=True)
    print(f"{broken} promises broken")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
