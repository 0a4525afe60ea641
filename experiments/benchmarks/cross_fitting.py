"""How often do the 95% intervals of cross-fitted errors hold the truth?

    OMP_NUM_THREADS=1 python -m experiments.benchmarks.cross_fitting [--studies 1000]
        [--processes 2] [--part i/n] [--only TEXT]

Each study draws a pool of examples from a known world, trains 8 x 2 networks on its folds, and asks
for intervals: of the recipe (unseen error, seen error, gap, dominance, difference of two recipes),
of these networks (unseen error, gap), of the recipe after one network was lost ("15 networks"), and
of the step to a test set of 100 or 400 examples, which is alike or shifted. The truth for the
recipe is the mean over all studies of what is exact or measured on many new examples; for these
networks it is their own error. 400 studies for jaxnet's MLP, whose networks train for longer.

A row is appended to cross_fitting.csv for each world and quantity; worlds that are there are not
simulated again. `promised`: 93 to 98% for these networks, 93 to 99% for the recipe, at least 88%
for the recipe below 1,000 examples, and with fewer than 24 groups. There is no upper bound where
fewer than ten mistakes carry either part of a figure, or with fewer than 100 groups. `kept` says
whether the 99% binomial interval of the coverage meets that range. `width` is the median width over
that of the best interval of constant width, 3.92 standard deviations. "gap, against one split" in
that column is the median width of the gap over the width with a validation set of a tenth of the
examples.
"""

import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.benchmarks.rows import append, in_chunks, missing, parser, processes
from experiments.benchmarks.worlds import (
    ELSEWHERE,
    TRAINING_SET,
    VALIDATION_SET,
    WORLDS,
    Learned,
    Study,
    mlps,
)
from jaxnet.diagnostics import Estimate, exact
from jaxnet.stats.cross_fitting import FEW_GROUPS, CrossFit, cross_fit
from jaxnet.stats.random_effects import POSITIVE, RATE, SIGNED, contrast, interval, table

TABLE = Path(__file__).with_suffix(".csv")
FIELDS = (
    "world",
    "quantity",
    "studies",
    "truth",
    "refused",
    "coverage",
    "low",
    "high",
    "above",
    "below",
    "width",
    "mistakes",
    "promised",
    "kept",
)
CHUNK = 25
MLP_STUDIES = 400
LOST = 5  # the network that is lost
COMPARED = 100  # studies in which one split is trained too


class Found(NamedTuple):
    """An interval, the truth of this study where it has one of its own, else what the truth is the
    mean of, and how many mistakes carry the part of the figure that has fewer.
    """

    estimate: Estimate
    truth: float
    own: bool
    mistakes: float


Row = dict[str, Found]


def quantities(study: Study) -> Iterator[tuple[str, Found]]:
    """The intervals of a study, by name."""
    fit, _ = cross_fit(study.losses, study.seen, study.group_of)
    true, seen = float(study.errors.mean()), float(fit.seen.mean())
    few, less = mistakes(fit, 1.0, 0.0), mistakes(fit, 0.0, 1.0)
    both, own = min(few, less), fit.rate("unseen", pools=False)
    moved = replace(own, estimate=own.estimate - seen, low=own.low - seen, high=own.high - seen)
    yield "unseen", Found(fit.rate("unseen"), true, False, few)
    yield "seen", Found(fit.rate("seen"), seen, False, less)
    yield "gap", Found(fit.gap(), true - seen, False, both)
    yield "dominance", Found(fit.dominance(), true - 2 * seen, False, both)
    yield "these networks: unseen", Found(own, true, True, few)
    yield "these networks: gap", Found(moved, true - seen, True, both)
    if study.other_losses is not None and study.other_errors is not None:
        difference = study.losses.astype(float) - study.other_losses
        paired = replace(fit, losses=difference, within=SIGNED, counted=False)
        apart = true - float(study.other_errors.mean())
        second = replace(fit, losses=study.other_losses.astype(float))
        again = min(few, mistakes(second, 1.0, 0.0))
        yield "difference of recipes", Found(paired.difference(), apart, False, again)
    rest = np.arange(len(study.losses)) != LOST
    fewer = replace(fit, losses=fit.losses[rest], fold_of_network=fit.fold_of_network[rest])
    yield "15 networks: unseen", Found(fewer.rate("unseen"), true, False, few)
    yield "15 networks: gap", Found(fewer.gap(), true - seen, False, both)
    for name, (losses, group_of) in study.elsewhere.items():
        there = float(losses.mean())
        its = there * losses.shape[1] if fit.counted else np.inf
        truth = 0.0 if name.endswith("alike") else there - true
        found = fit.mismatch(losses.astype(float), group_of)
        yield f"mismatch, {name}", Found(found, truth, False, min(few, its))
        rate = fit.error_elsewhere(losses.astype(float), group_of)
        yield f"error elsewhere, {name}", Found(rate, true if truth == 0 else there, False, its)
    if study.one_split is not None:
        n = study.losses.shape[1]
        ends = round(TRAINING_SET * n), round((TRAINING_SET + VALIDATION_SET) * n)
        within = RATE if study.losses.dtype == bool else POSITIVE
        parts = {
            "train": table(study.one_split[:, : ends[0]], within),
            "validation": table(study.one_split[:, ends[0] : ends[1]], within),
        }
        step = contrast(parts, {"validation": 1.0, "train": -1.0})
        yield "one split: gap", Found(interval(step, examples=1), np.nan, True, both)


def simulate(name: str, first: int, count: int) -> list[Row]:
    """Some studies of a world; study i has the same draws whatever the others are."""
    rngs = [
        np.random.default_rng([zlib.crc32(name.encode()), i]) for i in range(first, first + count)
    ]
    return [dict(quantities(each)) for each in WORLDS[name].studies(rngs, first < COMPARED)]


def mistakes(fit: CrossFit, unseen: float, seen: float) -> float:
    """How many mistakes carry an error; of losses the effective number of examples."""
    given = fit.contrast(unseen, seen)
    return given.estimate * given.examples if fit.counted else given.carried


def promise(name: str, quantity: str, count: float) -> tuple[float, float]:
    """The coverage that is promised."""
    world = WORLDS[name]
    group = world.group if not isinstance(world, Learned) else world.data.group
    these = quantity.startswith("these networks")
    low = 0.88 if world.examples < 1000 and not these else 0.93
    examples = next((m for m in ELSEWHERE if f", {m} " in quantity), world.examples)
    groups = min(examples, world.examples) // group
    if group > 1 and groups < FEW_GROUPS:
        low = 0.88
    few = count < 10 or (group > 1 and groups < 100)
    return low, 1.0 if few else 0.98 if these else 0.99


def summary(name: str, rows: list[Row]) -> list[dict[str, str]]:
    """The rows of the table for a world."""
    lines = []
    for quantity in rows[0]:
        found = [row[quantity] for row in rows if quantity in row]
        given = [each for each in found if each.estimate.refused is None]
        line = dict.fromkeys(FIELDS, "") | {
            "world": name,
            "quantity": quantity,
            "studies": str(len(found)),
            "refused": f"{1 - len(given) / len(found):.3f}",
        }
        if quantity == "one split: gap":
            ours = [row["gap"].estimate for row in rows if quantity in row]
            ratio = width(ours) / width([each.estimate for each in given])
            lines.append(line | {"quantity": "gap, against one split", "width": f"{ratio:.3f}"})
            continue
        if not given:
            lines.append(line)
            continue
        mean = float(np.mean([each.truth for each in found]))
        truth = np.array([each.truth if each.own else mean for each in given])
        low, high, estimate = (
            np.array([getattr(each.estimate, field) for each in given])
            for field in ("low", "high", "estimate")
        )
        slack = 1e-12
        above, below = truth < low - slack, truth > high + slack
        held = exact(len(given) - int((above | below).sum()), len(given), 0.99)
        count = float(np.mean([each.mistakes for each in found]))
        least, most = promise(name, quantity, count)
        oracle = 3.92 * float((estimate - truth).std())
        lines.append(
            line
            | {
                "truth": f"{truth.mean():.5f}",
                "coverage": f"{held.estimate:.3f}",
                "low": f"{held.low:.3f}",
                "high": f"{held.high:.3f}",
                "above": f"{above.mean():.3f}",
                "below": f"{below.mean():.3f}",
                "width": f"{float(np.median(high - low)) / oracle:.3f}" if oracle else "",
                "mistakes": f"{count:.1f}",
                "promised": f"{least:.2f} to {most:.2f}",
                "kept": "yes" if held.high >= least and held.low <= most else "NO",
            }
        )
    return lines


def width(intervals: list[Estimate]) -> float:
    """The median width."""
    return float(np.median([each.high - each.low for each in intervals if each.refused is None]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate what is missing in the table; the exit status is 1 where a promise is broken."""
    options = parser(__doc__, TABLE, studies=1000, processes=2).parse_args(arguments)
    broken = 0
    with processes(options.processes) as pool:
        for name in missing(options, WORLDS, "world"):
            began, rows, world = time.perf_counter(), [], WORLDS[name]
            own = isinstance(world, Learned) and world.learner is mlps
            studies = min(MLP_STUDIES, options.studies) if own else options.studies
            for found in in_chunks(pool, simulate, name, studies, CHUNK):
                rows += found
                print(f"\r{name}: {len(rows)} of {studies} studies", end="", file=sys.stderr)
            lines = summary(name, rows)
            append(options.table, lines, FIELDS)
            print(f", {time.perf_counter() - began:.0f} s", file=sys.stderr)
            for line in lines:
                broken += line["kept"] == "NO"
                print(
                    f"{line['quantity']:28s}{line['truth']:>10s}{line['coverage']:>8s}"
                    f"{line['width']:>8s}  {line['promised']:14s}{line['kept']}",
                    flush=True,
                )
    print(f"{broken} promises broken")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
