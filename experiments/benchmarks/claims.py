"""How often is what a cross-fitted diagnosis claims false, and how often does it decide?

    OMP_NUM_THREADS=1 python -m experiments.benchmarks.claims [--studies 600] [--processes 2]
        [--part i/n] [--only TEXT]

Networks err with known probabilities (`Probit` in worlds.py), so the avoidable bias, the gap and
the mismatch are known; the tolerance is 2%. A claim is false where a step at or below the tolerance
is called high, where the smaller of bias and variance (or either, where they are equal) is called
the larger, and where a step at or above the tolerance is called good enough. False claims may have
5%: the 99% binomial interval of their share must reach down to it.

Where a step could not be judged and the diagnosis says what it would take, that study is made, with
as many more examples and networks and with the step as large as it was measured: `decided` is how
often it is then judged, of the `promised` cases among the first 150 studies; 80% are promised, and
70% wanted.

A row is appended to claims.csv for each case; cases that are there are not simulated again.
"""

import math
import sys
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.benchmarks.rows import append, in_chunks, missing, parser, processes
from experiments.benchmarks.worlds import Probit
from jaxnet.diagnostics import exact
from jaxnet.diagnostics.findings import Code
from jaxnet.diagnostics.ladder import ALPHA, Claims, claims
from jaxnet.diagnostics.steps import PoolSteps
from jaxnet.stats.cross_fitting import cross_fit

TABLE = Path(__file__).with_suffix(".csv")
TOLERANCE = 0.02
CHUNK = 20
MOST = 10_000  # examples of a promised study; larger ones are not made
PROMISED = 150  # studies of a case whose promise is kept to
WORDS = {
    Code.HIGH_BIAS: "high bias",
    Code.HIGH_VARIANCE: "high variance",
    Code.MISMATCH: "mismatch",
}
HEADS = (*WORDS.values(), "mostly bias", "mostly variance", "good enough", "inconclusive")
FIELDS = (
    "case",
    "studies",
    *HEADS,
    "false",
    "low",
    "high",
    "promised",
    "decided",
    "wanted",
    "kept",
)


class Case(NamedTuple):
    """A recipe whose error steps are known.

    Attributes:
        examples: in the pool.
        bias: error on seen examples; the target error is 0.
        gap: error on unseen examples minus that.
        mismatch: error elsewhere minus error on unseen examples; None without a test set from
            elsewhere.
        group: examples in each group.
        wanted: words of verdicts, one of which must be found in at least this share of the studies.
    """

    examples: int
    bias: float
    gap: float
    mismatch: float | None = None
    group: int = 1
    wanted: tuple[tuple[str, ...], float] | None = None

    @property
    def steps(self) -> dict[Code, float]:
        """The true error steps."""
        found = {Code.HIGH_BIAS: self.bias, Code.HIGH_VARIANCE: self.gap}
        return found if self.mismatch is None else found | {Code.MISMATCH: self.mismatch}


HIGH, MOSTLY = ("high variance",), ("high variance", "mostly variance")
CASES = {
    "1000: bias 0.5%, gap 4%": Case(1000, 0.005, 0.04, wanted=(HIGH, 0.9)),
    "300: bias 0.5%, gap 4%": Case(300, 0.005, 0.04, wanted=(MOSTLY, 0.75)),
    "1000: bias 0.3%, gap 0.3%": Case(1000, 0.003, 0.003, wanted=(("good enough",), 0.9)),
    "1000: bias 4%, gap 0.5%": Case(1000, 0.04, 0.005),
    "300: bias 0.3%, gap 0.3%": Case(300, 0.003, 0.003),
    "300: bias 2%, gap 2%": Case(300, 0.02, 0.02),
    "1000: bias 2%, gap 2%": Case(1000, 0.02, 0.02),
    "300: bias 2%, gap 8%": Case(300, 0.02, 0.08),
    "1000: bias 2%, gap 8%": Case(1000, 0.02, 0.08),
    "300: bias 8%, gap 2%": Case(300, 0.08, 0.02),
    "1000: bias 8%, gap 2%": Case(1000, 0.08, 0.02),
    "1000: bias 8%, gap 8%": Case(1000, 0.08, 0.08),
    "5000: bias 8%, gap 8%": Case(5000, 0.08, 0.08),
    "5000: bias 2%, gap 2%": Case(5000, 0.02, 0.02),
    "1000: bias 2%, gap 1%": Case(1000, 0.02, 0.01),
    "1000: bias 1%, gap 2%": Case(1000, 0.01, 0.02),
    "1000 in groups of 5: bias 2%, gap 2%": Case(1000, 0.02, 0.02, group=5),
    "1000 in groups of 20: bias 2%, gap 8%": Case(1000, 0.02, 0.08, group=20),
    "1000: bias 0.5%, gap 3%": Case(1000, 0.005, 0.03),
    "1000: bias 1%, gap 1%": Case(1000, 0.01, 0.01),
    "300: bias 1%, gap 6%": Case(300, 0.01, 0.06),
    "1000: bias 2%, gap 2%, mismatch 2%": Case(1000, 0.02, 0.02, 0.02),
    "300: bias 2%, gap 2%, mismatch 2%": Case(300, 0.02, 0.02, 0.02),
    "1000: bias 2%, gap 2%, mismatch 8%": Case(1000, 0.02, 0.02, 0.08),
    "1000: bias 8%, gap 2%, mismatch 2%": Case(1000, 0.08, 0.02, 0.02),
    "1000: bias 2%, gap 8%, mismatch 2%": Case(1000, 0.02, 0.08, 0.02),
    "1000: bias 0.5%, gap 4%, mismatch 0%": Case(1000, 0.005, 0.04, 0.0, wanted=(HIGH, 0.8)),
}
ELSEWHERE = 400  # size of the test set from elsewhere


def steps_of(case: Case, rng: np.random.Generator, seeds: int = 2) -> PoolSteps:
    """Draw a study and measure its error steps."""
    world = Probit(case.examples, case.bias + case.gap, case.bias, group=case.group, seeds=seeds)
    difficulty, group_of, seen, luck = world.start(rng)
    below = np.where(seen, world.threshold(world.seen), world.threshold(world.unseen))
    losses = world.wrong(difficulty, below + luck[:, None], rng)
    fit, _ = cross_fit(losses, seen, group_of)
    if case.mismatch is None:
        return PoolSteps(fit, 0.0)
    there, its_groups = world.difficulties(ELSEWHERE, rng)
    threshold = world.threshold(world.unseen + case.mismatch)
    wrong = world.wrong(there, threshold + luck[:, None], rng).astype(float)
    return PoolSteps(fit, 0.0, elsewhere=wrong, elsewhere_groups=its_groups)


def heads(found: Claims) -> set[str]:
    """The words of what is claimed."""
    words = {WORDS[code] for code in found.exceeding}
    if found.dominant:
        words.add(f"mostly {WORDS[found.dominant].removeprefix('high ')}")
    if found.good_enough:
        words.add("good enough")
    return words or {"inconclusive"}


def false(case: Case, found: Claims) -> bool:
    """Whether anything that is claimed is false."""
    smaller_or_equal = found.dominant is not None and (
        case.steps[found.dominant]
        <= min(case.steps[code] for code in (Code.HIGH_BIAS, Code.HIGH_VARIANCE))
    )
    return (
        any(case.steps[code] <= TOLERANCE for code in found.exceeding)
        or smaller_or_equal
        or (found.good_enough and max(case.steps.values()) >= TOLERANCE)
    )


def judged(steps: PoolSteps, code: Code) -> bool:
    """Whether a step is known to exceed the tolerance, or known to be at most that."""
    exceeds = code in claims(steps, TOLERANCE).exceeding
    return exceeds or steps.size(code, 1 - 2 * ALPHA).high <= TOLERANCE


def promise(case: Case, steps: PoolSteps, rng: np.random.Generator) -> bool | None:
    """Whether what is said to decide decides; None where nothing is promised or it is too much."""
    sizes = {code: steps.size(code).estimate for code in steps.codes if not judged(steps, code)}
    if not sizes:
        return None
    code = max(sizes, key=lambda each: sizes[each])
    more = steps.more(code, TOLERANCE)
    if more is None or case.examples * more.examples > MOST or code == Code.MISMATCH:
        return None
    examples = case.group * math.ceil(case.examples * more.examples / case.group)
    larger = case._replace(
        examples=examples,
        bias=sizes[code] if code == Code.HIGH_BIAS else case.bias,
        gap=sizes[code] if code == Code.HIGH_VARIANCE else case.gap,
    )
    return judged(steps_of(larger, rng, math.ceil(2 * more.networks)), code)


def simulate(name: str, first: int, count: int) -> Counter[str]:
    """Count what some studies claim."""
    case, counts = CASES[name], Counter[str]()
    for i in range(first, first + count):
        rng = np.random.default_rng([zlib.crc32(name.encode()), i])
        steps = steps_of(case, rng)
        found = claims(steps, TOLERANCE)
        words = heads(found)
        counts.update(words)
        counts["false"] += false(case, found)
        if case.wanted:
            counts["wanted"] += bool(words & set(case.wanted[0]))
        decided = promise(case, steps, rng) if i < PROMISED else None
        counts["promised"] += decided is not None
        counts["decided"] += decided is True
    return counts


def summary(name: str, counts: Counter[str], studies: int) -> dict[str, str]:
    """The row of the table for a case."""
    case, wrong = CASES[name], exact(counts["false"], studies, 0.99)
    kept = wrong.low <= ALPHA
    wanted = ""
    if case.wanted:
        words, least = case.wanted
        wanted = f"{' or '.join(words)} {least:.0%}"
        kept &= exact(counts["wanted"], studies, 0.99).high >= least
    decided = ""
    if counts["promised"]:
        share = exact(counts["decided"], counts["promised"], 0.99)
        decided = f"{share.estimate:.3f}"
        kept &= share.high >= 0.7
    return {
        "case": name,
        "studies": str(studies),
        **{word: f"{counts[word] / studies:.3f}" for word in HEADS},
        "false": f"{wrong.estimate:.3f}",
        "low": f"{wrong.low:.3f}",
        "high": f"{wrong.high:.3f}",
        "promised": str(counts["promised"]),
        "decided": decided,
        "wanted": wanted,
        "kept": "yes" if kept else "NO",
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate what is missing in the table; the exit status is 1 where a promise is broken."""
    options = parser(__doc__, TABLE, studies=600, processes=2).parse_args(arguments)
    broken = 0
    with processes(options.processes) as pool:
        for name in missing(options, CASES, "case"):
            began, counts, so_far = time.perf_counter(), Counter[str](), 0
            for each in in_chunks(pool, simulate, name, options.studies, CHUNK):
                counts += each
                so_far = min(so_far + CHUNK, options.studies)
                print(f"\r{name}: {so_far} of {options.studies}", end="", file=sys.stderr)
            line = summary(name, counts, options.studies)
            append(options.table, [line], FIELDS)
            broken += line["kept"] == "NO"
            print(f", {time.perf_counter() - began:.0f} s", file=sys.stderr)
            print(", ".join(f"{key} {value}" for key, value in line.items()), flush=True)
    print(f"{broken} promises broken")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
