"""The networks of a diagnosis: what they will cost, and their training as one population, within a
given time if there is one.
"""

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from jaxnet.core.objective import forward
from jaxnet.core.training import Problem
from jaxnet.engine.fingerprint import differences
from jaxnet.errors import InputError, check_number
from jaxnet.models.model import initial, input_shape, with_outputs
from jaxnet.population.fit import fit_population
from jaxnet.population.placement import plan_for_members
from jaxnet.population.result import Population
from jaxnet.population.scheduler import Progress
from jaxnet.random import numbered
from jaxnet.runtime.files import read_json, write_json
from jaxnet.runtime.plan import Plan
from jaxnet.runtime.processes import index_and_count, once
from jaxnet.studies.design import (
    FOLD,
    HALVES,
    MOST_KEYS,
    QUARTERS,
    SMALLER,
    SOME,
    WHOLE,
    Design,
    Needs,
)

CORE = 3e10  # operations a second of a CPU core, in small matrix products
SAFETY = 0.8  # of the time that is left is planned
MOST_SIGNALS = 16  # steps with signals in an epoch
MEASURED_STEPS = 64  # steps with signals in a training, where it has as many


@dataclass(frozen=True)
class Trained:
    """Trained networks of a diagnosis, in one or several populations.

    Attributes:
        needs: for each population, how many networks of each kind it has.
        populations: the populations.
    """

    needs: tuple[Needs, ...]
    populations: tuple[Population, ...]

    @property
    def kinds(self) -> Int[np.ndarray, " networks"]:
        """The kind of each network."""
        return np.concatenate([each.kinds for each in self.needs])

    @property
    def diverged(self) -> Bool[np.ndarray, " networks"]:
        """Whether each network diverged."""
        return np.concatenate([each.diverged for each in self.populations])

    @property
    def stopped_early(self) -> bool:
        """Whether early stopping ended all networks that did not diverge, before the last epoch."""
        early = np.concatenate(
            [each.each(lambda run: run.stopped_early) for each in self.populations]
        )
        return bool(early.any() and (early | self.diverged).all())

    def count(self, kind: int) -> int:
        """The number of networks of a kind."""
        return sum(each.networks[kind] for each in self.needs)

    @property
    def total(self) -> int:
        """The number of networks."""
        return sum(each.total for each in self.needs)

    def places(self) -> list[tuple[Population, int]]:
        """The population and the number in it of each network."""
        return [(each, i) for each in self.populations for i in range(len(each))]


def cost(problem: Problem, design: Design, needs: Needs, devices: int) -> str:
    """Say what a diagnosis will take, and how long, where the operations of a CPU tell.

    Args:
        problem: what is trained.
        design: how the networks use the data.
        needs: how many networks are trained.
        devices: number of devices.
    """
    recipe, n = problem.recipe, problem.examples
    steps = recipe.epochs * problem.steps
    folds = (
        f"{needs.folds} each leave out one of {design.folds} folds of the {n:,} examples, "
        if needs.folds
        else ""
    )
    words = f"Training {needs.total} networks, {steps:,} steps each: {folds}"
    words += (
        f"{needs.wholes} on all of them" if needs.folds else f"{needs.wholes} on all {n:,} examples"
    )
    if parts := needs.total - needs.folds - needs.wholes:
        words += (
            f", and {parts} on smaller parts, to estimate bias and variance and what more data "
            "would gain"
        )
    if jax.default_backend() != "cpu":
        return words
    seconds = max(1, round(operations(problem) * needs.total / CORE / devices))
    return f"{words}. This takes roughly {seconds:,} s once compiled"


def with_signals(problem: Problem) -> Problem:
    """Sets at how many steps of each epoch signals are measured: at an eighth of them, since a
    measured step takes twice as long as another; at more where there are few epochs; at most 16.

    Args:
        problem: what is trained.
    """
    count = max(problem.steps // 8, -(-MEASURED_STEPS // problem.recipe.epochs))
    return replace(problem, signals=min(count, MOST_SIGNALS))


def operations(problem: Problem) -> float:
    """Count the operations of one training.

    Args:
        problem: what is trained.

    Returns:
        Three times those of a forward pass, since a backward pass goes to inputs and to kernels; 0
        where the compiler does not count them.
    """
    splits, recipe = problem.splits, problem.recipe
    model = with_outputs(problem.model, splits.train.outputs)
    params, model_state = jax.eval_shape(
        functools.partial(initial, model), jax.random.key(0), input_shape(splits)
    )
    one = input_shape(splits)
    x = jax.ShapeDtypeStruct((problem.batch_size, *one.shape[1:]), one.dtype)
    run = jax.jit(functools.partial(forward, model, precision=recipe.precision))
    counted = run.lower(params, model_state, x).cost_analysis() or {}
    return 3.0 * float(counted.get("flops", 0.0)) * recipe.epochs * problem.steps


def train_networks(
    problem: Problem,
    key: Key[Array, ""],
    design: Design,
    *,
    needs: Needs,
    plan: Plan | None,
    out: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Population:
    """Train networks as one population; each is the same whatever others there are.

    Args:
        problem: what is trained, and with how many signals; its weights, if any, are factors of the
            losses of all networks.
        key: a random key.
        design: what each network trains on.
        needs: how many networks of each kind.
        plan: as in `fit_population`.
        out: as in `fit_population`.
        progress: as in `fit_population`.
    """
    numbers = np.concatenate(
        [
            kind * MOST_KEYS + (needs.first if kind == WHOLE else 0) + np.arange(count)
            for kind, count in needs.networks.items()
        ]
    )
    keys = numbered(key, numbers)
    samples = design.samples(needs, key)
    if problem.weights is not None:
        samples = samples.reweighted(np.asarray(problem.weights))
    return fit_population(
        problem.model,
        problem.splits,
        problem.recipe,
        keys,
        resample=samples,
        left_out=0 if len(problem.splits.validation) else design.largest_fold,
        loss=problem.loss,
        plan=plan,
        out=out,
        progress=progress,
        signals=problem.signals,
        unseen=False,
    )


class Pace(NamedTuple):
    """How long networks take, in seconds.

    Attributes:
        compiling: to compile their program.
        each: to train one of them.
    """

    compiling: float
    each: float


def timed(
    train: Callable[[Callable[[Progress], None]], Population],
    networks: int,
    progress: Callable[[Progress], None] | None,
) -> tuple[Population, Pace]:
    """Train some networks, and measure how long they take.

    Args:
        train: trains them, and calls what it is given with the progress.
        networks: how many they are.
        progress: as in `fit_population`.
    """
    heard = list[tuple[float, float]]()
    began = time.monotonic()

    def listen(now: Progress) -> None:
        heard.append((time.monotonic(), now.share))
        if progress is not None:
            progress(now)

    population = train(listen)
    took = time.monotonic() - began
    (first, share), last = heard[min(1, len(heard) - 1)], heard[-1][0]  # the first call compiles
    each = ((last - first) / (1 - share) if share < 1 else took) / networks
    return population, Pace(max(0.0, took - each * networks), each)


def train_within(
    train: Callable[..., Population],
    design: Design,
    needs: Needs,
    plan: Plan,
    seconds: float,
    progress: Callable[[Progress], None] | None,
    out: Path | None = None,
) -> tuple[Design, Trained]:
    """Train as many networks as the time allows: a first wave shows how long they take.

    Args:
        train: trains the networks of a design.
        design: how the networks use the data.
        needs: the networks that are wanted.
        plan: over how many devices they are spread, and how many each trains at once.
        seconds: the time.
        progress: as in `fit_population`.
        out: a folder for checkpoints, or None. How many networks there is time for is kept there,
            and a call that goes on trains as many.

    Returns:
        The design that there was time for, and the networks.
    """
    wave = plan.devices * plan.chunk * index_and_count()[1]
    # Networks of folds come in full rounds of them, so the first wave has none.
    pilot = Needs(1 if design.cross_fitted else min(needs.wholes, wave))
    file, folders = None, dict[str, Path]()
    if out is not None:
        file = out / "timetable.json"
        folders = {name: out / name for name in ("pilot", "rest")}
    asked = {"seconds": seconds}
    kept = decided(file, asked)
    if kept is None and folders and once(folders["pilot"].exists):
        del folders["pilot"]  # what is read from there does not show how long training takes
    began = time.monotonic()
    first, pace = timed(
        lambda listen: train(design, needs=pilot, progress=listen, out=folders.get("pilot")),
        pilot.total,
        progress,
    )
    took = time.monotonic() - began

    def affordable() -> int:
        if kept is not None:
            return kept["networks"]
        left = int((SAFETY * (seconds - took) - pace.compiling) / max(pace.each, 1e-9))
        if file is not None:
            write_json(file, {"asked": asked, "networks": left})
        return left

    populations = [first]
    design, rest = _affordable(design, needs, pilot, max(0, once(affordable)))
    if rest.total == 0:
        return design, Trained((pilot,), tuple(populations))
    populations.append(train(design, needs=rest, progress=progress, out=folders.get("rest")))
    return design, Trained((pilot, rest), tuple(populations))


def networks_within(
    train: Callable[[int, Callable[[Progress], None]], Population],
    problem: Problem,
    wanted: int,
    seconds: float,
    *,
    plan: Plan | None = None,
    out: Path | None = None,
    compilations: int = 1,
) -> int:
    """How many networks of a kind there is time for; a few that are trained first show it.

    Args:
        train: trains that many networks, and calls what it is given with the progress.
        problem: what they minimize.
        wanted: the number of networks that is wanted.
        seconds: the time.
        plan: as in `fit_population`.
        out: a folder, or None. The number is kept there, and a call that goes on trains as many.
        compilations: number of programs that are compiled for all of them.

    Returns:
        The number, at most what is wanted; 0 where there is no time for one.
    """
    file = None if out is None else out / "timetable.json"
    asked = {"seconds": seconds, "networks": wanted}
    if (kept := decided(file, asked)) is not None:
        return kept["networks"]
    began = time.monotonic()
    chosen = plan or plan_for_members(problem, wanted)[0]
    wave = chosen.devices * chosen.chunk * index_and_count()[1]
    first = max(1, min(wave, wanted // 4))
    _, pace = timed(lambda listen: train(first, listen), first, None)

    def affordable() -> int:
        left = SAFETY * (seconds - (time.monotonic() - began)) - compilations * pace.compiling
        found = min(wanted, max(0, int(left / max(pace.each, 1e-9))))
        if file is not None:
            write_json(file, {"asked": asked, "networks": found})
        return found

    return once(affordable)


def decided(file: Path | None, asked: dict[str, Any]) -> dict[str, Any] | None:
    """What an earlier call that goes on here decided there is time for; None where there is none.

    Args:
        file: where it is kept; None where nothing is.
        asked: what the time was asked for, which must be the same.

    Raises:
        InputError: where the earlier call asked for something else.
    """
    if file is None or not once(file.exists):
        return None
    kept = once(lambda: read_json(file))
    differences(kept["asked"], asked, where=file)
    return kept


def check_seconds(seconds: float | None) -> None:
    """Refuse a time to keep within that is not positive.

    Raises:
        InputError: for such a time.
    """
    if seconds is not None and not check_number("seconds", seconds) > 0:
        raise InputError(f"seconds is {seconds}; give a positive time, or leave it out")


def _affordable(design: Design, needs: Needs, pilot: Needs, left: int) -> tuple[Design, Needs]:
    """Choose the networks of the second wave, the most telling kinds first."""
    if design.cross_fitted and left < 2 * design.folds:
        fewer_folds = SOME[1] if left >= SOME[0] else 0
        design = replace(design, folds=fewer_folds, seeds=min(2, fewer_folds))
    if design.cross_fitted:
        wholes, folds = 0, design.folds * min(design.seeds, left // design.folds)
    else:
        wanted = SOME[0] if needs.folds else needs.wholes
        wholes, folds = min(wanted - pilot.wholes, left), 0
    left -= wholes + folds
    quarters = min(needs.quarters, left // QUARTERS)
    left -= QUARTERS * quarters
    halves = min(needs.halves, left // HALVES)
    left -= HALVES * halves
    smaller = needs.smaller if left >= len(SMALLER) * needs.smaller else 0
    return design, Needs(wholes, folds, quarters, halves, smaller, first=pilot.wholes)


def fewer(needs: Needs, trained: Trained, seconds: float | None) -> list[str]:
    """Say what training fewer networks costs in certainty.

    Args:
        needs: the networks that were wanted.
        trained: those that were trained.
        seconds: the time.
    """
    if trained.total == needs.total:
        return []
    were = "was" if trained.total == 1 else "were"
    words = (
        f"to keep within {seconds:g} s, {trained.total} of {needs.total} networks {were} trained"
    )
    wanted, judges = (
        (each(FOLD) or each(WHOLE)) for each in (needs.networks.__getitem__, trained.count)
    )
    kind = "on folds" if needs.folds else "on all examples"
    if needs.folds and not trained.count(FOLD):
        return [
            f"{words}, and none of {needs.folds} on folds, so that the others are judged on the "
            "test set alone"
        ]
    if judges < wanted:
        times = math.sqrt(wanted / judges)
        return [
            f"{words}, {judges} of {wanted} {kind}: what varies with the network is known "
            f"{times:.1f} times less precisely"
        ]
    return [f"{words}: bias and variance are decomposed less precisely, or not at all"]
