"""fit_population: many networks trained together, one compiled program per architecture.

    make_jobs (job.py) -> Scheduler.train (scheduler.py) -> Population (result.py)

`epoch` of jaxnet/core/training.py is mapped over the members (program.py). placement.py says how
many a device trains at once, checkpoint.py keeps what is trained, halving.py says which members go
on, and predictions.py says what all of them predict.
"""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Array

from jaxnet import arrays
from jaxnet.core.recipe import Recipe, describe_recipe
from jaxnet.core.run import Run, finish
from jaxnet.core.training import Problem
from jaxnet.data import Dataset, Splits, Standardization
from jaxnet.data.resampling import Samples
from jaxnet.engine import arguments
from jaxnet.engine.agreement import check_agreement, outline
from jaxnet.engine.fingerprint import describe_data, differences, name_of, told
from jaxnet.errors import InputError, check_kind, check_known, check_whole, renamed
from jaxnet.models.losses import Loss, check_loss
from jaxnet.models.model import Model, initial, input_shape, with_outputs
from jaxnet.population.checkpoint import Part, PopulationCheckpoint, joined
from jaxnet.population.halving import Halving
from jaxnet.population.halving import check as check_halving
from jaxnet.population.job import Job, Models, Recipes, check_keys, make_jobs, one_per_member
from jaxnet.population.predictions import keep_predictions
from jaxnet.population.result import Population
from jaxnet.population.scheduler import Progress, Schedule, Scheduler
from jaxnet.progress import of_population, phase, showing
from jaxnet.random import AnyKeys
from jaxnet.runtime.files import check_folder, plain, read_json, then, write_json
from jaxnet.runtime.interrupts import caught_signals, log_to
from jaxnet.runtime.plan import Plan
from jaxnet.runtime.processes import is_first, once
from jaxnet.typing import ArrayLike

MANY_DIVERGED = 0.1  # share of diverged members above which a warning says so

logger = logging.getLogger("jaxnet")


@renamed(watch="progress")
@showing(of_population)
def fit_population(
    model: Models,
    splits: Splits,
    recipes: Recipes,
    keys: AnyKeys,
    *,
    order_key: AnyKeys | None = None,
    resample: Samples | None = None,
    left_out: int = 0,
    loss: Loss | None = None,
    halving: Halving | None = None,
    plan: Plan | None = None,
    out: str | Path | None = None,
    progress: Callable[[Progress], None] | Literal[False] | None = None,
    schedule: Schedule | None = None,
    signals: int | None = None,
    labels: Sequence[ArrayLike | None] | None = None,
    model_states: Sequence[Mapping[str, Any] | None] | None = None,
    seen: bool = False,
    unseen: bool = True,
) -> Population:
    """Train many networks, with one compiled program per architecture; member i is `fit(model,
    splits, recipe, keys[i])`, except for rounding.

    A member whose loss is no longer finite is frozen from its next epoch on, and its step is
    recorded (`diverged_at`); where more than a tenth of the members diverge, the logger "jaxnet"
    warns. With batch normalization and adam, adamw or muon, probabilities agree to 10 learning
    rates: gradients that are 0 except for rounding, such as those of a bias that the normalization
    cancels, become full steps there.

    Args:
        model: one for all members, or a sequence with one per member.
        splits: the data set.
        recipes: one for all members, or a sequence with one per member; the numbers of a single
            recipe may be arrays with one number per member. Members that differ in more than keys,
            samples and numbers are trained by programs of their own.
        keys: (members,) random keys, one per member.
        order_key: makes the order of examples and the augmentation; one for all, so that members
            share minibatches, or one per member. By default each member's key does, as in `fit`.
        resample: what each member trains on, see `jaxnet.data.resampling`; `fit(...,
            **resample.alone(i))` is member i alone.
        left_out: how many training examples outside of a member's sample are evaluated after each
            epoch, in place of a validation set, of which there must be none: those that come first
            after the sample in its order. The history then has their loss and accuracy: NaN for a
            member that trains on all examples. They stop the training of a recipe with patience.
        loss: one number per example; by default cross-entropy of classes, and squared error of
            values.
        halving: after which epochs the members with the worst validation measure stop. The others
            go on from where they are, and end as they would have without it. The measure of classes
            is the error, and then the loss; that of values is the loss. Diverged members are ranked
            last.
        plan: over how many devices members are spread, and how many each trains at once; by default
            a rule chooses, and the logger "jaxnet" says what and why. It changes results by
            rounding only.
        out: a folder for checkpoints and predictions. An unfinished population of the same is
            continued there, on any number of devices; a finished one is read. Two checkpoints of
            each member are kept: where the last one is damaged, the logger "jaxnet" warns, and the
            member goes on from the one before, or begins again.
        progress: None shows one line in a terminal or a notebook, and nothing elsewhere; False
            shows nothing; a function is called with the Progress before training, after each call
            of a program and after each rung.
        schedule: how long calls and checkpoints may take; by default `Schedule()`.
        signals: as in `fit`.
        labels: for each member the classes (examples,) that it learns, in place of those of the
            training set, or None.
        model_states: for each member parts of its model state by name, in place of those that the
            model makes, or None; such as which inputs are used by a network that does not use all
            of them.
        seen: whether `out` keeps the predictions of all members on all training examples, as
            `predictions.train`, and not only on those that a member did not train on.
        unseen: whether `out` keeps those on the training examples that a member did not train on,
            as `predictions.unseen`.

    Returns:
        The trained members. If there are several processes, all make the same call; each trains a
        share of the members on its devices, and all return the whole population. `out` is then a
        folder that all see.

    Raises:
        InputError: for invalid arguments, for a folder that holds something else, and
            on all processes where their arguments differ.
        Interrupted: where Ctrl-C or SIGTERM came, with all saved in `out`.

    References:
        Jamieson & Talwalkar (2016), Non-stochastic best arm identification and hyperparameter
        optimization, fig. 3, for halving.
    """
    arguments.check_surroundings(out, plan)
    for each in _listed(model, Model):
        arguments.check(model=each)
    arguments.check(splits=splits)
    for each in _listed(recipes, Recipe):
        arguments.check(recipe=each)
    check_loss(loss)
    schedule = Schedule() if schedule is None else schedule
    check_kind("schedule", schedule, Schedule, "a Schedule, or leave it out")
    if halving is not None:
        cure = "a Halving, such as jaxnet.Halving((1, 4)), or leave it out"
        check_kind("halving", halving, Halving, cure)
    if resample is not None:
        cure = "what a function of jaxnet.resampling makes, or leave it out"
        check_kind("resample", resample, Samples, cure)
    keys, order_key = check_keys(keys, order_key)
    members = _models_and_recipes(model, recipes, len(keys))
    check_whole("left_out", left_out, 0)
    arguments.check_signals(signals)
    if left_out and (resample is None or resample.weights is not None or len(splits.validation)):
        raise InputError(
            f"left_out is {left_out}; it needs samples that are subsets, and no validation set"
        )
    if left_out and resample is not None and any(how.patience is not None for _, how in members):
        assert resample.count is not None
        if left_out > (most := resample.examples - int(resample.count.max())):
            raise InputError(
                f"left_out is {left_out}, but a member that is stopped by patience leaves out "
                f"{most} examples; give at most as many"
            )
    problems = [
        Problem(
            each,
            splits,
            recipe,
            loss,
            left_out=left_out,
            signals=signals,
            labels=None if own is None else _own_labels(own, splits.train, f"labels[{member}]"),
            model_state=_own_state(state, each, splits, f"model_states[{member}]"),
        )
        for member, ((each, recipe), own, state) in enumerate(
            zip(
                members,
                _one_each("labels", labels, len(keys)),
                _one_each("model_states", model_states, len(keys)),
                strict=True,
            )
        )
    ]
    jobs = make_jobs(problems, keys, order_key=order_key, samples=resample)
    if halving is not None:
        check_halving(
            halving,
            members=len(keys),
            epochs=min(job.epochs for job in jobs),
            has_validation=len(splits.validation) > 0,
        )
    folder = None if out is None else Path(out).absolute()
    check_agreement(
        lambda: {
            "call": "fit_population",
            **_described(jobs, splits, halving),
            "plan": None if plan is None else asdict(plan),
            "out": folder,  # which Orbax wants under one name everywhere
            "devices of a process": jax.local_device_count(),
            "parameters and optimizer state": [
                outline(job.shapes(1, finished=False)) for job in jobs
            ],
        }
    )
    if folder is not None:
        once(lambda: _claim(folder, _described(jobs, splits, halving)))
    checkpoint = PopulationCheckpoint(
        None if folder is None else folder / "state",
        jobs,
        share=schedule.checkpoint_share,
        growth=schedule.checkpoint_growth,
    )
    checkpoint.restore()
    saved = (
        f"then make the same call with the same out: the members that are saved in {folder} are "
        "kept"
    )
    with (
        then(saved),
        caught_signals(catch=folder is not None) as caught,
        log_to(folder if is_first() else None) as log,
    ):
        Scheduler(
            jobs,
            checkpoint,
            halving=halving,
            plan=plan,
            schedule=schedule,
            progress=progress or None,
            log=log,
            caught=caught,
        ).train()
    population = _population(jobs, splits.standardization, checkpoint.parts(finished=True))
    if folder is not None:
        phase("predicting", "usually a few seconds")
        models = [job.problem.model for job in jobs]
        with then(f"then make the same call with the same out: all members are saved in {folder}"):
            predictions = keep_predictions(
                folder / "predictions", models, splits, population, plan, seen=seen, unseen=unseen
            )
        population = replace(population, predictions=predictions)
    if (lost := int(population.diverged.sum())) > MANY_DIVERGED * len(population):
        logger.warning(
            "%d of %d members diverged: their results are of no use. Lower the learning rate, or "
            "set clip",
            lost,
            len(population),
        )
    return population


def _listed(given: Any, kind: type) -> list[Any]:
    """The members of a sequence, or one for all as a list. A Model is itself a tuple."""
    one = isinstance(given, kind) or not isinstance(given, list | tuple)
    return [given] if one else list(given)


def _models_and_recipes(
    model: Model | Sequence[Model], recipes: Recipe | Sequence[Recipe], members: int
) -> list[tuple[Model, Recipe]]:
    """The model and the recipe of each member, from one for all or one per member."""
    models = [model] * members if isinstance(model, Model) else _listed(model, Model)
    if isinstance(recipes, Recipe):
        recipes = one_per_member(recipes, members)
    for name, given in (("models", models), ("recipes", recipes)):
        if len(given) != members:
            raise InputError(
                f"{len(given)} {name} for {members} keys; give one for all, or one per member"
            )
    return list(zip(models, recipes, strict=True))


def _one_each(name: str, given: Sequence[Any] | None, members: int) -> Sequence[Any]:
    """What was given for each member; None for each where nothing was."""
    if given is None:
        return [None] * members
    if len(given) != members:
        raise InputError(f"{len(given)} {name} for {members} keys; give one per member, or None")
    return given


def _own_labels(given: ArrayLike, train: Dataset, name: str) -> np.ndarray:
    """The classes that a member learns, checked."""
    if train.classes is None:
        raise InputError(
            f"{name} are for classes, but this is {train.schema.task_in_words}; leave them out"
        )
    return arrays.labels(name, given, len(train), len(train.classes)).astype(np.int32)


def _own_state(
    given: Mapping[str, Any] | None, model: Model, splits: Splits, name: str
) -> dict[str, Any] | None:
    """Parts of the model state of a member, checked."""
    if given is None:
        return None
    shapes = functools.partial(initial, with_outputs(model, splits.train.outputs))
    wanted = jax.eval_shape(shapes, jax.random.key(0), input_shape(splits))[1]
    for part, value in given.items():
        check_known(f"part of {name}", part, tuple(wanted))
        if outline(jax.tree.map(np.asarray, value)) != outline(wanted[part]):
            raise InputError(
                f"{name}[{part!r}] has {outline(jax.tree.map(np.asarray, value))}, but the model "
                f"{model.name} has {outline(wanted[part])}; give arrays of its shapes and types"
            )
    return dict(jax.tree.map(np.asarray, dict(given)))


def _population(
    jobs: Sequence[Job], standardization: Standardization, finished: list[Part]
) -> Population:
    """All members, from the parts in which they were finished."""
    runs = list[Run]()
    for job in jobs:
        part = joined([part for part in finished if part.group == job.number])
        assert part.state is not None
        assert part.history is not None
        run, count = finish(job.problem, part.state, part.history), len(job.members)
        repeated = jax.tree.map(functools.partial(_repeated, count), standardization)
        recipe = jax.tree.map(
            lambda leaf, count=count: np.broadcast_to(leaf, count), job.problem.recipe
        )
        runs.append(replace(run, standardization=repeated, recipe=recipe))
    return Population(tuple(runs), tuple(job.members for job in jobs), jobs[0].samples)


def _repeated(count: int, leaf: Array) -> np.ndarray:
    return np.broadcast_to(np.asarray(leaf), (count, *leaf.shape))


def _described(jobs: Sequence[Job], splits: Splits, halving: Halving | None) -> dict[str, Any]:
    """What decides a population, as plain values. Custom models, losses and optimizers are told by
    their names.
    """
    one = jobs[0]
    return {
        "members": len(one.keys),
        "groups": [
            {
                "model": job.problem.model.name,
                "recipe": describe_recipe(job.problem.recipe),
                "members": job.members,
            }
            for job in jobs
        ],
        "data": describe_data(splits),
        "keys": told(one.keys),
        "order_key": told(one.order_keys),
        "resample": None if one.samples is None else one.samples.kind,
        "samples": None if one.samples is None else told(one.samples.arrays),
        "loss": None if one.problem.loss is None else name_of(one.problem.loss),
        "halving": None if halving is None else asdict(halving),
        **({"left_out": one.problem.left_out} if one.problem.left_out else {}),
        **({} if one.problem.signals is None else {"signals": one.problem.signals}),
        **{
            name: [told(getattr(job.problem, name)) for job in jobs]
            for name in ("labels", "model_state")
            if any(getattr(job.problem, name) is not None for job in jobs)
        },
    }


def _claim(folder: Path, about: dict[str, Any]) -> None:
    """Note what the population in a folder is of, or raise InputError where it is of something
    else.
    """
    check_folder(folder)
    path = folder / "population.json"
    if path.exists():
        differences(read_json(path), plain(about), where=folder)
    else:
        write_json(path, about)
