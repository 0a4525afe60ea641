"""Do the gains that advice reports hold after several rounds of choices?

    OMP_NUM_THREADS=1 python -m experiments.benchmarks.advice_rounds [--advices 1000]
        [--processes 2] [--part i/n] [--only TEXT]

Networks err with known probabilities, as in advice.py. Each of at most five rounds draws new folds
and networks on the same examples, races the candidates and adopts the best one if its lower limit,
at 1% in place of 5%, is above 0; what the others gain stays the same. After more than one round the
last recipe is measured against the first one, as `jaxnet.advise` does.

A row is appended to advice_rounds.csv for each case. `covered`: the reported interval holds the
true gain. `wrong`: the interval of some round, or the reported one, does not. `false`: some round
adopts a candidate that does not help. Bias is that of the reported gain. `best`: the true gain that
was reached, as a share of what all candidates gain together.
"""

import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.benchmarks.advice import (
    BIAS,
    COVERED,
    FALSE,
    LITTLE,
    Case,
    one_of,
    simulate_missing,
)
from experiments.benchmarks.rows import parser
from experiments.benchmarks.worlds import Pool, Probit, folds
from jaxnet.diagnostics import Estimate, exact
from jaxnet.stats.gains import FOLDS, Cell, Gains, race

TABLE = Path(__file__).with_suffix(".csv")
CHUNK, ROUNDS = 50, 5
CASES = {
    f"{n}{words}: {told}": Case(n, gains, group=group)
    for n, group, words in (
        (300, 1, ""),
        (1000, 1, ""),
        (5000, 1, ""),
        (1000, 5, " in groups of 5"),
        (5000, 20, " in groups of 20"),
    )
    for told, gains in (
        ("8 gain nothing", one_of(8, 0.0)),
        ("1 of 8 gains 1 point", one_of(8, 1.0)),
        ("1 of 8 gains 2 points", one_of(8, 2.0)),
        ("1 of 8 gains 5 points", one_of(8, 5.0)),
        ("8 gain 0.25 to 1.5 points", LITTLE),
    )
}


class Advised(NamedTuple):
    """What one advice reports and what is true, in percentage points."""

    truth: float
    point: float
    low: float
    high: float
    adopted: int
    rounds: int
    wrong: bool
    false: bool


class Examples(NamedTuple):
    """The examples of an advice, on which networks of any error can be drawn."""

    case: Case
    world: Probit
    difficulty: np.ndarray
    group_of: np.ndarray | None
    rng: np.random.Generator

    def folds(self) -> np.ndarray:
        """New folds."""
        return folds(Pool(self.difficulty, self.difficulty, self.group_of), self.rng)

    def losses(self, errors: np.ndarray, cells: Sequence[Cell]) -> np.ndarray:
        """(recipes, cells, examples) which examples new networks of these errors have wrong."""
        case, rng = self.case, self.rng
        shape = len(errors), len(cells)
        thresholds = np.array([self.world.threshold(error) for error in errors])
        below = thresholds[:, None] + case.scatter * rng.standard_normal(shape)
        noise = rng.standard_normal((*shape, case.examples), dtype=np.float32)
        latent = self.difficulty + np.sqrt(1 - case.shared) * noise
        return (latent < below[..., None]).astype(float)


def advise(case: Case, rng: np.random.Generator) -> Advised:
    """Rounds of a race each, and the last recipe against the first."""
    world = Probit(
        case.examples, 0.0, 0.0, case.scatter, shared=case.shared, group=case.group, alike=0.7
    )
    examples = Examples(case, world, *world.difficulties(case.examples, rng), rng)
    gains, total, number, wrong, false = np.array(case.gains), 0.0, 0, False, False
    while True:
        number += 1
        errors = case.error - (total + np.r_[0.0, gains]) / 100
        raced = race(
            lambda recipes, cells, errors=errors: examples.losses(errors[recipes], cells),
            len(gains),
            examples.folds(),
            examples.group_of,
            seeds=case.seeds,
        )
        found = raced.gains.choose(raced.finalists, 1 - 0.05 / ROUNDS)
        gain, truth = found.gain, float(gains[found.leader])
        wrong |= not gain.low <= truth / 100 <= gain.high
        adopted = gain.low > 0
        false |= bool(adopted and truth <= 0)
        if adopted:
            total, gains[found.leader] = total + truth, 0.0
        if not adopted or number == ROUNDS:
            break
    if number > 1:
        gain, truth = last_against_first(examples, total, number * len(gains)), total
        wrong |= not gain.low <= truth / 100 <= gain.high
    adoptions = number - (not adopted)
    return Advised(
        truth, 100 * gain.estimate, 100 * gain.low, 100 * gain.high, adoptions, number, wrong, false
    )


def last_against_first(examples: Examples, total: float, asked: int) -> Estimate:
    """What the last recipe gains over the first one, on new folds."""
    fold_of, case = examples.folds(), examples.case
    cells = [(fold, seed) for seed in range(case.seeds) for fold in range(FOLDS)]
    found = examples.losses(np.array([case.error, case.error - total / 100]), cells)
    losses = np.empty((2, case.seeds, case.examples))
    for place, (fold, seed) in enumerate(cells):
        own = np.flatnonzero(fold_of == fold)
        losses[:, seed, own] = found[:, place, own]
    return Gains.of(losses, fold_of, examples.group_of).of_last(asked)


def simulate(name: str, first: int, count: int) -> list[Advised]:
    """Some advices of a case."""
    return [
        advise(CASES[name], np.random.default_rng([zlib.crc32(name.encode()), 1, i]))
        for i in range(first, first + count)
    ]


def summary(name: str, advices: Sequence[Advised]) -> dict[str, str]:
    """The row of the table for a case."""
    truth, point, low, high, adoptions, rounds, wrong, false = np.array(advices, float).T
    count, adopted = len(truth), adoptions > 0
    covered = exact(int(((low <= truth) & (truth <= high)).sum()), count, 0.99)
    missed, useless = (exact(int(each.sum()), count, 0.99) for each in (wrong, false))
    bias = float((point - truth).mean())
    kept = covered.high >= COVERED and useless.low <= FALSE and bias <= BIAS
    most = sum(each for each in CASES[name].gains if each > 0)
    reached = truth[adopted].sum() / count
    return {
        "case": name,
        "advices": str(count),
        "covered": f"{covered.estimate:.3f}",
        "covered_low": f"{covered.low:.3f}",
        "covered_high": f"{covered.high:.3f}",
        "wrong": f"{missed.estimate:.3f}",
        "wrong_low": f"{missed.low:.3f}",
        "false": f"{useless.estimate:.3f}",
        "false_low": f"{useless.low:.3f}",
        "adopted": f"{adopted.mean():.3f}",
        "rounds": f"{rounds.mean():.2f}",
        "best": f"{reached / most:.3f}" if most else "",
        "bias": f"{bias:.2f}",
        "bias_adopted": f"{(point - truth)[adopted].mean():.2f}" if adopted.any() else "",
        "width": f"{np.median(high - low):.2f}",
        "kept": "yes" if kept else "NO",
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate what is missing in the table; the exit status is 1 where a promise is broken."""
    options = parser(__doc__, TABLE, advices=1000, processes=2).parse_args(arguments)
    return simulate_missing(options, CASES, simulate, summary, CHUNK)


if __name__ == "__main__":
    sys.exit(main())
