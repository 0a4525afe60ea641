"""Does a diagnosis name what is wrong with a training, and nothing where it is healthy?

    OMP_NUM_THREADS=1 python -m experiments.benchmarks.training_faults --data-dir FOLDER
        [--part i/n] [--only "error: "] [--base 0]

Twelve kinds of faults are planted in 18 trainings each, on digits, the first 5,000 images of MNIST
(its four files are in FOLDER), scikit-learn's wine and a generated table. Which codes are right for
a kind, and which first remedies, stands in KINDS of faulty_trainings.py and was committed before
the first diagnosis.

Each case is a row of training_faults.csv; those that are there are not made again:

- "error: ..." the test error, in percent and on true labels, of 8 networks with the fault, or of
  the same pair of data and model without any. A fault counts if it costs at least 5 points.
- "diagnosis: ..." what `jaxnet.diagnose(..., members=8)` finds in it: its findings about the
  training in their order, the first remedy of the first one, and the beginning of the verdict.
- "healthy: ..." the same of a training without a fault, of which models too small for their data,
  wrong labels and few examples are part.

A cause is named where a right code is the first finding about the training and begins the verdict.
--base draws other seeds, which are reported on their own.
"""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from jax.typing import ArrayLike

import jaxnet
from experiments.benchmarks.faulty_trainings import (
    HEALTHY,
    KINDS,
    PAIRS,
    SEEDS,
    Training,
    healthy_seeds,
)
from experiments.benchmarks.rows import append, missing, parser, read
from jaxnet import Recipe
from jaxnet.diagnostics.findings import Code, Finding, Remedy

TABLE = Path(__file__).with_suffix(".csv")
FIELDS = ("case", "kind", "pair", "seed", "error", "findings", "remedy", "verdict", "seconds")
TRAINING = (
    "did_not_begin_to_learn",
    "unstable",
    "diverged",
    "not_finished",
    "inputs_not_scaled",
    "wrong_loss",
    "stuck_at_majority",
    "cannot_fit_32_examples",
    "labels_match_nothing",
)
MEMBERS = 8
COUNTS_FROM = 5.0  # points of test error that a fault has to cost
NAMED, FALSE = 205 / 216, 10 / 200  # wanted: at least, at most


# Cases


def cases(base: int) -> list[str]:
    """The names of all cases: errors first, since they depend on no finding; then a diagnosis of
    each kind and of each healthy training in turn.
    """
    planted = [
        f"{kind}, {KINDS[kind].pairs[i]}, {base + i}" for i in range(SEEDS) for kind in KINDS
    ]
    twins = {f"none, {name.split(', ', 1)[1]}" for name in planted}
    healthy = sorted((seed, pair) for pair in HEALTHY for seed in healthy_seeds(pair, base))
    diagnoses = [(i * len(healthy), f"diagnosis: {name}") for i, name in enumerate(planted)]
    diagnoses += [
        (i * len(planted), f"healthy: none, {pair}, {seed}")
        for i, (seed, pair) in enumerate(healthy)
    ]
    return [
        *(f"error: {name}" for name in (*sorted(twins), *planted)),
        *(name for _, name in sorted(diagnoses)),
    ]


def test_error(training: Training, seed: int) -> float:
    """The mean test error of some networks, in percent; an output that is no number is wrong."""
    population = jaxnet.fit_population(
        training.model,
        training.splits,
        training.recipe,
        jax.random.split(jax.random.key(seed), MEMBERS),
    )
    outputs = np.asarray(jaxnet.predict(training.model, population, training.splits.test.x))
    wrong = outputs.argmax(-1) != np.asarray(training.splits.test.y)
    return float(100 * (wrong | ~np.isfinite(outputs).all(-1)).mean())


def training_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Those that claim something about the training."""
    return [each for each in findings if each.claimed and each.code.value in TRAINING]


def direction(remedy: Remedy, recipe: Recipe) -> str:
    """Whether a remedy raises a field, lowers it, or sets it to something else."""
    value, now = remedy.value, getattr(recipe, remedy.field, None)
    if remedy.how == "multiply" and not isinstance(value, str) and value is not None:
        return "up" if value > 1 else "down"
    if remedy.how == "set" and isinstance(value, (int, float)) and isinstance(now, ArrayLike):
        return "up" if value > np.asarray(now) else "down"
    return remedy.how


def study(case: str, folder: Path) -> dict[str, object]:
    """The row of a case."""
    began = time.perf_counter()
    question, _, words = case.partition(": ")
    kind, rest = words.split(", ", 1)
    pair, _, number = rest.rpartition(", ")
    seed = int(number)
    training = (HEALTHY | PAIRS)[pair].training(seed, folder)
    if kind != "none":
        training = KINDS[kind].plant(training, seed)
    row: dict[str, object] = {"case": case, "kind": kind, "pair": pair, "seed": seed}
    if question == "error":
        row["error"] = f"{test_error(training, seed):.2f}"
    else:
        found = jaxnet.diagnose(*training, jax.random.key(seed), members=MEMBERS)
        own = training_findings(found.findings)
        row["findings"] = " ".join(each.code.value for each in own)
        if own and own[0].remedies:
            first = own[0].remedies[0]
            row["remedy"] = f"{first.of} {first.field} {direction(first, training.recipe)}"
        row["verdict"] = found.verdict.partition(":")[0]
    return row | {"seconds": f"{time.perf_counter() - began:.1f}"}


# What was found


def named(row: dict[str, str]) -> bool:
    """Whether the first finding of a diagnosis names the cause, and the verdict begins with it."""
    first = row["findings"].partition(" ")[0]
    right = first in KINDS[row["kind"]].codes
    return right and row["verdict"].startswith(Code(first).words)


def report(rows: Sequence[dict[str, str]], base: int) -> int:
    """Print what was found with the seeds from a base on; the result is 1 where too few causes are
    named, or too many healthy trainings have a finding.
    """
    by_case = {row["case"]: row for row in rows}
    print(
        f"{'kind':28s}{'planted':>8s}{'cost':>7s}{'count':>7s}{'diagnosed':>11s}{'named':>7s}"
        f"{'remedy':>8s}  instead"
    )
    total: Counter[str] = Counter()
    for kind, about in KINDS.items():
        count: Counter[str] = Counter()
        costs, instead = [], Counter[str]()
        for i, pair in enumerate(about.pairs):
            end = f"{pair}, {base + i}"
            twin, faulty = (by_case.get(f"error: {of}, {end}") for of in ("none", kind))
            if twin is None or faulty is None:
                continue
            costs.append(float(faulty["error"]) - float(twin["error"]))
            count["counts"] += costs[-1] >= COUNTS_FROM
            row = by_case.get(f"diagnosis: {kind}, {end}")
            if row is None or costs[-1] < COUNTS_FROM:
                continue
            count["diagnosed"] += 1
            count["named"] += named(row)
            count["remedy"] += tuple(row["remedy"].split()) in about.remedies
            if not named(row):
                instead[row["findings"].partition(" ")[0] or row["verdict"]] += 1
        total += count
        middle = f"{np.median(costs):.1f}" if costs else ""
        print(
            f"{kind:28s}{len(costs):8d}{middle:>7s}{count['counts']:7d}{count['diagnosed']:11d}"
            f"{count['named']:7d}{count['remedy']:8d}  {dict(instead) or ''}"
        )
    healthy = [by_case[case] for case in cases(base) if case in by_case and "healthy" in case]
    false = [row for row in healthy if row["findings"]]
    print(
        f"named: {total['named']} of {total['diagnosed']} that count and were diagnosed; right "
        f"first remedy: {total['remedy']}; healthy trainings with a finding: {len(false)} of "
        f"{len(healthy)}"
    )
    for row in false:
        print(f"  {row['case']}: {row['findings']}")
    few = total["named"] < NAMED * total["diagnosed"]
    return int(few or len(false) > FALSE * len(healthy))


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is missing in the table, and print it; the exit status is 1 where a promise is
    broken.
    """
    asked = parser(__doc__, TABLE, base=0)
    asked.add_argument("--data-dir", type=Path, help="folder with the four files of MNIST")
    options = asked.parse_args(arguments)
    jaxnet.enable_cache()
    wanted = cases(options.base)
    if options.data_dir is None:
        wanted = [case for case in wanted if "MNIST" not in case]
    for case in missing(options, wanted, "case"):
        row = study(case, options.data_dir or Path())
        append(options.table, [row], FIELDS)
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return report(read(options.table), options.base)


if __name__ == "__main__":
    sys.exit(main())
