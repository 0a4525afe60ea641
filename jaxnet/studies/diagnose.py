"""diagnose: train what a diagnosis needs, all of it as one population, and measure."""

import functools
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxnet.core.objective import forward
from jaxnet.core.recipe import Recipe
from jaxnet.core.training import Problem
from jaxnet.data import Dataset, Splits
from jaxnet.data.resampling import disjoint, partitions, together, whole
from jaxnet.data.splitting import on_host, take, units
from jaxnet.diagnostics.diagnosis import Diagnosis, Predicted, diagnosis_of
from jaxnet.diagnostics.findings import Code, Finding
from jaxnet.diagnostics.symptoms import Found, held_out, symptoms, what_differs
from jaxnet.engine import arguments
from jaxnet.errors import InputError, check_number, check_whole, renamed
from jaxnet.models.losses import Loss, check_loss
from jaxnet.models.model import Model, initial, input_shape, with_outputs
from jaxnet.population.fit import fit_population
from jaxnet.population.placement import plan_for_members
from jaxnet.population.predictions import member_predictions
from jaxnet.population.result import Population
from jaxnet.population.scheduler import Progress
from jaxnet.random import AnyKey, as_key
from jaxnet.runtime.plan import Plan
from jaxnet.runtime.processes import index_and_count, once
from jaxnet.stats import curve_prior
from jaxnet.stats.random_effects import MIN_MEMBERS
from jaxnet.studies.learning_curve import MIN_CURVE_EXAMPLES

QUARTERS, HALVES = 4, 2  # parts of the training set that the members of a decomposition share out
SMALLER = (8, 16)  # with these parts too there are sizes enough for a learning curve
# partitions: fewer have no interval, more say little more, since what is left is the luck of the
# pool
MIN_REPEATS, MAX_REPEATS = (4, 8)
MOST_KEYS = 1 << 20  # networks of a kind
LABELS_CHECKED = 10_000  # training examples, for the finding of wrong labels
CORE = 3e10  # operations a second of a CPU core, in small matrix products
SAFETY = 0.8  # of the time that is left is planned

logger = logging.getLogger("jaxnet")


@dataclass(frozen=True)
class Needs:
    """How many networks on all examples, from the `first` one on, how many partitions into quarters
    and into halves.

    smaller: networks on each of the smaller parts.
    """

    wholes: int
    quarters: int = 0
    halves: int = 0
    smaller: int = 0
    first: int = 0

    @property
    def networks(self) -> dict[int, int]:
        """How many, by the parts that the training set was divided into for them, in the order in
        which they stand.
        """
        return {
            1: self.wholes,
            QUARTERS: QUARTERS * self.quarters,
            HALVES: HALVES * self.halves,
            **dict.fromkeys(SMALLER, self.smaller),
        }

    @property
    def total(self) -> int:
        """Networks."""
        return sum(self.networks.values())

    @property
    def parts(self) -> np.ndarray:
        """(networks,) into how many parts the training set was divided for each."""
        return np.repeat(list(self.networks), list(self.networks.values()))


@renamed(watch="progress")
def diagnose(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: AnyKey,
    *,
    members: int = 16,
    target_error: float | None = None,
    tolerance: float = 0.02,
    seconds: float | None = None,
    loss: Loss | None = None,
    plan: Plan | None = None,
    out: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Diagnosis:
    """Measures which kind of error limits a recipe on a data set, on networks trained for it.

    Networks on the whole training set give the steps of the error. Networks on quarters and halves
    of it, 4 to 8 partitions of each, give bias and variance and how they change as data grow. For
    classes, 5 networks each on eighths and sixteenths extend the learning curve. All take equally
    many steps. The logger "jaxnet" says what this costs before it starts. Members that diverge are
    left out and counted.

    Args:
        model: the network.
        splits: the data, with held-out examples. Mismatch is measured on a labeled `target_sample`,
            where there is one.
        recipe: how each network is trained.
        key: the random key of the networks and of the partitions.
        members: number of networks that train on the whole training set.
        target_error: the error that could be reached; by default 0. A fraction of wrong
            predictions, or squared errors divided by the variance of y.
        tolerance: the smallest difference that matters, in the unit of `target_error`.
        seconds: how long the diagnosis may take on this machine; fewer networks are trained to keep
            within it.
        loss: as in `fit_population`.
        plan: as in `fit_population`.
        out: as in `fit_population`; cannot be combined with `seconds`.
        progress: as in `fit_population`.

    Returns:
        The verdict, the findings with their remedies, and the measurements behind them. Its
        `networks` are those of the diagnosis, with the ones on all examples first; with `seconds`
        those of the first wave.

    Raises:
        InputError: for invalid arguments, for 0 members, and where no examples are held out.
    """
    arguments.check(model=model, splits=splits, recipe=recipe)
    key = as_key("key", key)
    check_loss(loss)
    arguments.check_surroundings(out, progress, plan)
    check_whole("members", members, 0, most=MOST_KEYS - 1)
    if members < 1:
        raise InputError("members is 0; give at least 1 network")
    check_number("tolerance", tolerance)
    if target_error is not None:
        check_number("target_error", target_error)
    if seconds is not None and not check_number("seconds", seconds) > 0:
        raise InputError(f"seconds is {seconds}; give a positive time, or leave it out")
    if seconds is not None and out is not None:
        raise InputError(
            "what is to keep within some seconds cannot be continued later; give seconds or out"
        )
    if not len(splits.test) and not len(splits.validation):
        raise InputError(
            "there are neither validation nor test examples; hold some out, else nothing can be "
            "said of unseen ones"
        )
    n, least = len(splits.train), units(splits.train)
    enough = least >= 2 * QUARTERS
    repeats = min(MAX_REPEATS, max(MIN_REPEATS, members // QUARTERS)) if enough else 0
    smaller = (
        curve_prior.MIN_CURVE_MEMBERS
        if n >= SMALLER[-1] * MIN_CURVE_EXAMPLES
        and least >= SMALLER[-1]
        and splits.classes is not None
        else 0
    )
    needs = Needs(members, repeats, repeats, smaller)
    problem = Problem(model, splits, recipe, loss)
    logger.info(
        "%s", _cost(problem, needs, jax.local_device_count() if plan is None else plan.devices)
    )
    train = functools.partial(_train, problem, key)
    if seconds is None:
        trained = [(needs, train(needs, plan=plan, out=out, progress=progress))]
    else:
        chosen = plan or plan_for_members(problem, needs.total)[0]
        trained = _within(functools.partial(train, plan=chosen), needs, chosen, seconds, progress)
    found = _predict(model, splits, trained, plan)
    diagnosis = diagnosis_of(
        {name: wrong for name, wrong in found.errors.items() if wrong.size},
        Predicted(found.outputs[held_out(splits)], np.asarray(getattr(splits, held_out(splits)).y)),
        found.partitions,
        training=n,
        variance=found.variance,
        target_error=target_error,
        tolerance=tolerance,
        more=symptoms(
            splits,
            recipe,
            found,
            networks=sum(each.total for each, _ in trained),
            tolerance=tolerance,
            loss=loss,
        ),
        notes=[*_fewer(needs, trained, seconds), *_unanswered(splits, found)],
    )
    explained = tuple(_explained(each, splits, found) for each in diagnosis.findings)
    return replace(diagnosis, findings=explained, diverged=found.diverged, networks=trained[0][1])


def _explained(finding: Finding, splits: Splits, found: Found) -> Finding:
    """A mismatch with what differs, as far as the network's outputs show it."""
    if finding.code != Code.MISMATCH or not finding.claimed:
        return finding
    differs = what_differs(splits, found, "use" if "use" in found.errors else "test")
    return replace(
        finding, evidence="; ".join(part for part in (finding.evidence, differs) if part)
    )


def _cost(problem: Problem, needs: Needs, devices: int) -> str:
    """What a diagnosis will take, in words; how long, where the operations of a CPU say."""
    splits, recipe, n = problem.splits, problem.recipe, problem.examples
    steps = recipe.epochs * problem.steps
    model = with_outputs(problem.model, splits.train.outputs)
    params, model_state = jax.eval_shape(
        functools.partial(initial, model), jax.random.key(0), input_shape(splits)
    )
    x = jax.ShapeDtypeStruct((problem.batch_size, *splits.train.x.shape[1:]), jnp.float32)
    run = jax.jit(functools.partial(forward, model, precision=recipe.precision))
    counted = run.lower(params, model_state, x).cost_analysis() or {}
    # forward, and backward to inputs and to kernels
    operations = 3.0 * float(counted.get("flops", 0.0)) * steps * needs.total
    words = (
        f"{needs.wholes} networks on all {n:,} training examples, {QUARTERS * needs.quarters} on "
        f"quarters, {HALVES * needs.halves} on "
        f"halves and {len(SMALLER) * needs.smaller} on smaller parts of them, {steps:,} steps "
        f"each: {operations:.1e} operations"
    )
    if jax.default_backend() != "cpu":
        return words
    seconds = max(1, round(operations / CORE / devices))
    return (
        f"{words}, roughly {seconds:,} s on {devices} CPU device{'s' * (devices > 1)} once compiled"
    )


def _train(
    problem: Problem,
    key: Key[Array, ""],
    needs: Needs,
    *,
    plan: Plan | None,
    out: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Population:
    """These networks, as one population; each is the same whatever others there are."""
    n, groups = problem.examples, problem.splits.train.groups
    numbers = np.concatenate(
        [
            parts * MOST_KEYS
            + (needs.first if parts == 1 else 0)
            + np.arange(count, dtype=np.uint32)
            for parts, count in needs.networks.items()
        ]
    )
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, numbers.astype(np.uint32))
    samples = [whole(needs.wholes, n)] if needs.wholes else []
    for parts, repeats in ((QUARTERS, needs.quarters), (HALVES, needs.halves)):
        if repeats:
            own = jax.random.fold_in(key, 100 + parts)
            samples.append(partitions(own, parts, n, repeats=repeats, groups=groups))
    if needs.smaller:
        samples += [
            disjoint(
                jax.random.fold_in(key, 100 + parts), needs.smaller, n // parts, n, groups=groups
            )
            for parts in SMALLER
        ]
    return fit_population(
        problem.model,
        problem.splits,
        problem.recipe,
        keys,
        resample=together(samples),
        loss=problem.loss,
        plan=plan,
        out=out,
        progress=progress,
    )


def _within(
    train: Callable[..., Population],
    needs: Needs,
    plan: Plan,
    seconds: float,
    progress: Callable[[Progress], None] | None,
) -> list[tuple[Needs, Population]]:
    """As much of it as the time allows: a first wave, which shows how long they take, and what is
    left time for.
    """
    heard = list[tuple[float, float]]()
    began = time.monotonic()

    def listen(now: Progress) -> None:
        heard.append((time.monotonic(), now.share))
        if progress is not None:
            progress(now)

    pilot = Needs(min(needs.wholes, plan.devices * plan.chunk * index_and_count()[1]))
    trained = [(pilot, train(pilot, progress=listen))]
    took = time.monotonic() - began
    (first, share), last = heard[min(1, len(heard) - 1)], heard[-1][0]  # the first call compiles
    each = (last - first) / (1 - share) / pilot.total if share < 1 else took / pilot.total
    compiling = max(0.0, took - each * pilot.total)
    afford = once(lambda: int((SAFETY * (seconds - took) - compiling) / max(each, 1e-9)))
    wholes = min(needs.wholes - pilot.wholes, max(0, afford))
    quarters = min(needs.quarters, max(0, afford - wholes) // QUARTERS)
    halves = min(needs.halves, max(0, afford - wholes - QUARTERS * quarters) // HALVES)
    smaller = (
        needs.smaller
        if afford - wholes - QUARTERS * quarters - HALVES * halves >= len(SMALLER) * needs.smaller
        else 0
    )
    rest = Needs(wholes, quarters, halves, smaller, first=pilot.wholes)
    return trained if rest.total == 0 else [*trained, (rest, train(rest, progress=progress))]


def _fewer(
    needs: Needs, trained: Sequence[tuple[Needs, Population]], seconds: float | None
) -> list[str]:
    """What training fewer networks costs in certainty."""
    total, wholes = (
        sum(getattr(each, name) for each, _ in trained) for name in ("total", "wholes")
    )
    if total == needs.total:
        return []
    words = (
        f"to keep within {seconds:g} s, {total} networks were trained of {needs.total}, "
        f"{wholes} of {needs.wholes} on all examples"
    )
    if wholes < MIN_MEMBERS:
        return [f"{words}; below {MIN_MEMBERS} there are no intervals"]
    if wholes < needs.wholes:
        return [
            f"{words}: what varies with the network is known "
            f"{math.sqrt(needs.wholes / wholes):.1f} times less precisely"
        ]
    return [f"{words}: bias and variance are taken apart less precisely, or not at all"]


def _predict(
    model: Model,
    splits: Splits,
    trained: Sequence[tuple[Needs, Population]],
    plan: Plan | None,
    lost: np.ndarray | None = None,
) -> Found:
    """Predictions of the networks where they are needed, a kind at a time. lost: (networks,) those
    left out; by default, the diverged.
    """
    regression = splits.classes is None
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    target = splits.target_sample
    if target is not None and len(target):
        parts["use"] = target
    labeled = {
        name: part
        for name, part in parts.items()
        if len(part) and (regression or int(np.min(np.asarray(part.y))) >= 0)
    }
    variance = float(np.var(np.asarray(splits.train.y), dtype=np.float64)) if regression else 1.0
    where = getattr(splits, held_out(splits))
    kinds = np.concatenate([needs.parts for needs, _ in trained])
    sound = (
        ~np.concatenate([population.diverged for _, population in trained])
        if lost is None
        else ~lost
    )
    each_sound = np.split(sound, np.cumsum([len(population) for _, population in trained])[:-1])

    def outputs(kind: int, dataset: Dataset) -> np.ndarray:
        """(members, examples[, classes]) of the sound networks of a kind; no members where there
        are no examples.
        """
        found = []
        for (needs, population), own_sound in zip(trained, each_sound, strict=True):
            if len(dataset) and (members := np.flatnonzero((needs.parts == kind) & own_sound)).size:
                found += [
                    each
                    for _, each in member_predictions(
                        [model], _only(population, members), np.asarray(dataset.x), plan
                    )
                ]
        return (
            np.concatenate(found)
            if found
            else np.empty(
                (0, len(dataset), *(() if regression else (dataset.outputs,))), np.float32
            )
        )

    def errors(predicted: np.ndarray, dataset: Dataset) -> np.ndarray:
        y = np.asarray(dataset.y)
        found = Predicted(predicted, y)
        return found.squares / variance if regression else found.wrong

    of_wholes = {name: outputs(1, part) for name, part in parts.items() if len(part)}
    losses = {name: errors(of_wholes[name], part) for name, part in labeled.items()}
    if not (sound & (kinds == 1)).any():
        losses = {name: np.full((1, len(part)), np.nan) for name, part in labeled.items()}
    groups, by_size = {}, {1: of_wholes[held_out(splits)]}
    for k in (QUARTERS, HALVES):
        # of partitions without a diverged one
        whole_ones = np.repeat(sound[kinds == k].reshape(-1, k).all(1), k)
        by_size[k] = outputs(k, where)
        predicted = by_size[k][whole_ones[sound[kinds == k]]]
        if len(predicted):
            groups[k] = predicted
    by_size |= {k: outputs(k, where) for k in SMALLER}
    silent = ~sound
    for k, each in by_size.items():
        silent[sound & (kinds == k)] = (~np.isfinite(each)).all(tuple(range(1, each.ndim)))
    if (silent & sound).any():  # parameters that are finite, and too large to predict with
        return _predict(model, splits, trained, plan, silent)
    rows = np.unique(np.linspace(0, len(splits.train) - 1, LABELS_CHECKED).astype(np.int64))
    some = take(on_host(splits.train), rows)
    seen = [
        samples.seen(int(i))[rows]
        for (needs, each), own_sound in zip(trained, each_sound, strict=True)
        if (samples := each.samples)
        for i in np.flatnonzero((needs.parts == QUARTERS) & own_sound)
    ]
    falling = [
        each.each(
            lambda run: (
                np.asarray(run.history.train_loss)
                if regression
                else 1 - np.asarray(run.history.train_accuracy)
            )
        )
        for _, each in trained
    ]
    return Found(
        errors=losses,
        outputs=of_wholes,
        partitions=groups,
        by_size={
            len(splits.train) // k: errors(each, where).mean(1)
            for k, each in sorted(by_size.items(), reverse=True)
            if len(each)
        },
        rows=rows,
        unseen=outputs(QUARTERS, some),
        seen=np.array(seen, bool).reshape(-1, len(rows)),
        new=errors(outputs(QUARTERS, splits.validation), splits.validation),
        falling=np.concatenate(falling)[(kinds == 1) & sound],
        variance=variance,
        diverged=int((~sound).sum()),
    )


def _unanswered(splits: Splits, found: Found) -> list[str]:
    """How many predictions of classes are not numbers, by part."""
    if splits.classes is None:
        return []
    given = {
        "train": splits.train,
        "validation": splits.validation,
        "test": splits.test,
        "use": splits.target_sample,
    }
    labeled = {
        name: part for name, part in given.items() if part is not None and name in found.errors
    }
    parts = {
        name: Predicted(found.outputs[name], np.asarray(part.y)) for name, part in labeled.items()
    }
    return [
        f"{name}: {part.unanswered_in_words}; they count as wrong"
        for name, part in parts.items()
        if part.unanswered.any()
    ]


def _only(population: Population, members: np.ndarray) -> Population:
    """Some members, of a population of one structure."""
    run = jax.tree.map(lambda leaf: np.asarray(leaf)[members], population.run)
    return Population((run,), (np.arange(len(members)),))
