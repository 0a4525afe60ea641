"""fit_population: hundreds of trainings as one compiled program.

    members -> groups of one structure -> waves of devices x chunk members -> calls of a few epochs

A call maps `epoch` over the members of a wave; between calls there are checkpoints, progress and
Ctrl-C. A wave is trained to its end before the next begins, so that the devices hold the state of
one. With halving its end is the next rung, where all members wait on the host until it is known
which of them go on.
"""

import functools
import logging
import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Float, Int, PyTree, UInt32

from jaxnet.core.recipe import Recipe, as_float32, describe_recipe
from jaxnet.core.run import Population, Run, finish
from jaxnet.core.training import (
    EpochMetrics,
    Problem,
    TrainState,
    blank_metrics,
    ended,
    epoch,
    start,
    streams,
)
from jaxnet.data import Splits, Standardization
from jaxnet.data.dataset import on_device
from jaxnet.data.resampling import Samples
from jaxnet.engine import arguments
from jaxnet.engine.agreement import check_agreement, outline
from jaxnet.engine.fingerprint import describe_data, differences, name_of, told
from jaxnet.engine.parallel import run_steps_on
from jaxnet.errors import InputError, check_kind, renamed
from jaxnet.kernels.dispatch import choose
from jaxnet.models.losses import Loss, check_loss
from jaxnet.models.model import Model, with_outputs
from jaxnet.population.checkpoint import Ledger, Part, joined
from jaxnet.population.halving import Halving, Stage, Standings, standings, survivors
from jaxnet.population.halving import check as check_halving
from jaxnet.population.placement import plan_for_members
from jaxnet.population.predictions import keep_predictions
from jaxnet.random import AnyKeys, as_keys
from jaxnet.runtime.files import check_folder, plain, read_json, then, write_json
from jaxnet.runtime.interrupts import Interrupted, log_to, signals
from jaxnet.runtime.plan import Plan
from jaxnet.runtime.processes import Calls, any_process, index_and_count, is_first, once
from jaxnet.runtime.sharding import COPIED, SPLIT, device_mesh, spread

CALL = (
    0.5  # seconds that a call should take: short enough to hear Ctrl-C, long enough to cost nothing
)
OPTIONS = {
    "cpu": {"xla_backend_optimization_level": 1}
}  # LLVM's: kernels as fast as of level 3, for 0.6 of the work to compile
COMPILING, FAST = (
    {"cpu": 2e11},
    2e13,
)  # operations that a device does while a program is compiled: 100 billion a second on a CPU core
LOOK = 0.02  # seconds between two looks at whether other processes wait for this one
LOUD = 0.1  # share of diverged members above which that is said loudly

logger = logging.getLogger("jaxnet")


class Group(NamedTuple):
    """Members that one program can train. recipe: its numbers are () where all share them, else
    (members of the group,).
    """

    model: Model
    recipe: Recipe
    members: Int[np.ndarray, " group"]


class Job(NamedTuple):
    """What there is to train. keys, order_keys: the words of a key a member. order_key: those of
    one for all.
    """

    splits: Splits
    groups: tuple[Group, ...]
    loss: Loss | None
    samples: Samples | None
    halving: Halving | None
    implementation: str
    keys: UInt32[np.ndarray, "members words"]
    order_keys: UInt32[np.ndarray, "members words"] | None
    order_key: UInt32[np.ndarray, " words"] | None


class Given(NamedTuple):
    """What the members of a wave differ in, with a leading axis of them, but for numbers of the
    recipe that all share.
    """

    recipe: Recipe
    key: UInt32[Array | np.ndarray, "*members words"]
    order_key: UInt32[Array | np.ndarray, "*members words"] | None
    weights: Float[Array | np.ndarray, "*members examples"] | None
    sample: tuple[Array | np.ndarray, Array | np.ndarray] | None


class Structure(NamedTuple):
    """What a program of a group is compiled for, besides shapes. keys: the implementation of random
    keys.
    """

    model: Model
    loss: Loss | None
    keys: str
    mesh: Mesh
    plan: Plan


class Program(NamedTuple):
    """A structure for so many members on these devices, being compiled: `_begin` and `_advance`."""

    plan: Plan
    mesh: Mesh
    members: int
    begin: Future[Callable[..., TrainState]]
    advance: Future[Callable[..., tuple[TrainState, EpochMetrics]]]


class Progress(NamedTuple):
    """How far a population is. finished: members. epoch: of those in training. share: of all epochs
    that members will train.
    """

    finished: int
    members: int
    epoch: int
    epochs: int
    share: float


@renamed(watch="progress")
def fit_population(
    model: Model | Sequence[Model],
    splits: Splits,
    recipes: Recipe | Sequence[Recipe],
    keys: AnyKeys,
    *,
    order_key: AnyKeys | None = None,
    resample: Samples | None = None,
    loss: Loss | None = None,
    halving: Halving | None = None,
    plan: Plan | None = None,
    out: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Population:
    """Networks trained as one program a structure; member i is `fit(model, splits, recipe,
    keys[i])`, to rounding.

    With batch normalization and adam, adamw or muon, probabilities agree to 10 learning rates:
    those optimizers turn the rounding of gradients that are 0 but for rounding, as of a bias that
    the normalization cancels, into full steps.

    model, recipes: one for all members, or one a member; numbers of a single Recipe may be arrays,
        one a member. Members that differ in more than keys, samples and numbers are trained in
        groups, each with a program of its own.
    order_key: of batch order and augmentation; one for all, so that members share minibatches, or
        one a member. By default each member's key, as in `fit`.
    resample: what each member trains on, see `jaxnet.data.resampling`; `fit(...,
        **resample.alone(i))` is member i alone.
    halving: after which epochs the members with the worst validation measure stop. The others go on
        from where they are, and end as they would have without it; of classes the measure is the
        error, and then the loss, else the loss; who diverged comes last.
    plan: over how many devices members are spread, and how many each trains at once; by default a
        rule chooses, and the logger "jaxnet" says what and why. It changes results by rounding
        only.
    out: a folder for checkpoints and predictions. If it holds an unfinished population of the same,
        that one is continued, on any number of devices; a finished one is read; of something else,
        InputError. Two checkpoints of each member are kept: where the last one is damaged, the
        logger "jaxnet" warns and the member goes on from the one before, or begins again.
    progress: called with a Progress before training, after each call of a program and after each
    rung. Of several processes, all call it with the same arguments, or all raise InputError that
    names what differs; each trains a share of the members on its devices, and all return the whole
    population; out is then a folder that all see. A member whose loss is no longer finite rests
    from its next epoch on, and is marked with the step (`diverged_at`); where more than a tenth of
    them diverge, the logger warns. Raises Interrupted where Ctrl-C or SIGTERM came, with all saved
    in out.
    """
    arguments.check_surroundings(out, progress, plan)
    job = _admit(model, splits, recipes, keys, order_key, resample, loss, halving)
    folder = None if out is None else Path(out).absolute()
    check_agreement(
        lambda: {
            "call": "fit_population",
            **_identity(job, splits),
            "plan": None if plan is None else asdict(plan),
            "out": folder,  # which Orbax wants under one name everywhere
            "devices of a process": jax.local_device_count(),
            "parameters and optimizer state": [
                outline(_shapes(job, number, 1, finished=False))
                for number in range(len(job.groups))
            ],
        }
    )
    if folder is not None:
        once(lambda: _claim(folder, _identity(job, splits)))
    ledger = Ledger(None if folder is None else folder / "state", functools.partial(_shapes, job))
    ledger.restore()
    epochs, reached = np.zeros(len(keys), int), np.zeros(len(keys), int)
    for group in job.groups:
        epochs[group.members] = group.recipe.epochs
    for member, (epoch_, done) in ledger.epochs().items():
        reached[member] = epochs[member] if done else epoch_

    calls, saving = Calls(), threading.Lock()
    stopped, left = (
        threading.Event(),
        list[Part](),
    )  # whether some process was asked to stop; what lanes then leave unfinished
    with (
        then(
            f"then make the same call with the same out: the members that are saved in {folder} "
            "are kept"
        ),
        signals(catch=folder is not None) as caught,
        log_to(folder if is_first() else None) as log,
    ):

        def say_how_far(stage: Stage, epoch_: int, number: int) -> None:
            if progress is not None:
                share = stage.share(halving, epochs, reached)
                progress(
                    Progress(
                        ledger.count(), len(keys), epoch_, job.groups[number].recipe.epochs, share
                    )
                )

        def save(*standing: Callable[[], Part], together: bool = False) -> None:
            """A checkpoint, when it is time for one or a signal came. together: whether all
            processes are here.
            """
            if folder is None:
                return
            with saving:
                if stopped.is_set():
                    return
                wanted = bool(caught) or (is_first() and ledger.due())
                if together:
                    (wanted,) = any_process(wanted)
                else:
                    if wanted:
                        calls.ask()
                    wanted = calls.called()
                if not wanted:
                    return
                asked = ledger.save(*(each() for each in standing), asked=bool(caught))
                log("checkpoint")
                calls.answered()
                if asked:
                    stopped.set()
            if asked:
                where = f"with {ledger.count()} of {len(keys)} members trained"
                raise Interrupted(caught[0] if caught else signal.SIGTERM, where, folder)

        def between_calls(stage: Stage, standing: Part, fetch: Callable[[], Part]) -> None:
            """After each call of a wave: what is through is kept, what goes on is saved when it is
            time.
            """
            through = standing.finished or standing.epoch == stage.until
            if through:
                ledger.keep(fetch())
            reached[standing.members] = (
                epochs[standing.members] if standing.finished else standing.epoch
            )
            log(
                f"group {standing.group} members {standing.members[0]}-{standing.members[-1]} "
                f"epoch {standing.epoch}"
            )
            save(*(() if through else (fetch,)))
            if stopped.is_set():  # by another lane's checkpoint
                left.extend([] if through else [fetch()])
                raise CancelledError
            say_how_far(stage, standing.epoch, standing.group)

        def between_stages(stage: Stage) -> Stage | None:
            """After the members of this process came to a stage's end: with all of them, those that
            do not go on are finished.
            """
            nonlocal calls
            calls.idle()
            while not calls.over():
                save()
                time.sleep(LOOK)
            calls = Calls()
            ledger.share()
            if stage.until is None:
                return None
            after = _select(job, ledger, stage)
            words = (
                f"after epoch {stage.until}, {after.running.sum()} of {stage.running.sum()} "
                "members go on"
            )
            log(words)
            logger.info(words)
            save(together=True)
            for member, (epoch_, done) in ledger.epochs().items():
                reached[member] = epochs[member] if done else epoch_
            say_how_far(
                after,
                stage.until,
                int(np.argmax([after.running[group.members].any() for group in job.groups])),
            )
            return after

        furthest = max(
            ledger.parts(finished=False),
            key=lambda part: part.epoch,
            default=Part(0, np.zeros(0, int), 0, False, None, None),
        )
        begin = Stage(0, 0, None if halving is None else halving.rungs[0], np.ones(len(keys), bool))
        say_how_far(begin, furthest.epoch, furthest.group)
        try:
            _train(job, plan, ledger, begin, between_calls, between_stages)
        except Interrupted:
            ledger.save(*left)
            raise
        ledger.save()
    population = _population(job, splits.standardization, ledger.parts(finished=True))
    if folder is not None:
        models = [group.model for group in job.groups]
        with then(f"then make the same call with the same out: all members are saved in {folder}"):
            population = replace(
                population,
                predictions=keep_predictions(
                    folder / "predictions", models, splits, population, plan
                ),
            )
    if (lost := int(population.diverged.sum())) > LOUD * len(population):
        logger.warning(
            "%d of %d members diverged: their results are of no use. Lower the learning rate, or "
            "set clip",
            lost,
            len(population),
        )
    return population


def _train(
    job: Job,
    plan: Plan | None,
    ledger: Ledger,
    stage: Stage,
    between_calls: Callable[[Stage, Part, Callable[[], Part]], None],
    between_stages: Callable[[Stage], Stage | None],
) -> None:
    """Trains this process's share of what the ledger does not have, from rung to rung."""
    programs = dict[int, Program]()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            goes_on: Stage | None = stage
            while goes_on is not None:
                waiting = _waiting(job, ledger, goes_on)
                mine = _dealt(waiting, *index_and_count())
                elsewhere = np.zeros(len(job.keys), bool)
                for parts, sign in ((waiting, True), (mine, False)):
                    elsewhere[
                        [
                            member
                            for each in parts.values()
                            for part in each
                            for member in part.members
                        ]
                    ] = sign
                here = goes_on._replace(running=goes_on.running & ~elsewhere)
                _train_stage(
                    job, plan, mine, goes_on, programs, functools.partial(between_calls, here), pool
                )
                goes_on = between_stages(goes_on)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _train_stage(
    job: Job,
    plan: Plan | None,
    waiting: dict[int, list[Part]],
    stage: Stage,
    programs: dict[int, Program],
    between_calls: Callable[[Part, Callable[[], Part]], None],
    pool: ThreadPoolExecutor,
) -> None:
    """Trains members to the end of a stage: large groups over all devices, then small ones side by
    side on a device each.
    """
    lanes = dict[tuple[Any, ...], list[int]]()
    for place, (number, parts) in enumerate(waiting.items()):
        members = sum(len(part.members) for part in parts)
        epochs = (stage.until or job.groups[number].recipe.epochs) - stage.begin
        if number not in programs or not _fits(job, number, programs[number], members, epochs):
            chosen, devices = _choose(job, number, plan, members, place)
            programs[number] = _compile(job, number, chosen, devices, pool)
        lanes.setdefault(tuple(programs[number].mesh.devices.flat), []).append(number)
    if len(waiting) > 1:
        logger.info("%d structures: a program each", len(waiting))
    stop = threading.Event()

    def unless_stopped(standing: Part, fetch: Callable[[], Part]) -> None:
        between_calls(standing, fetch)
        if stop.is_set():
            raise CancelledError

    def train_lane(devices: tuple[Any, ...]) -> None:
        for number in lanes[devices]:
            program = _train_group(
                job,
                number,
                programs.pop(number),
                waiting[number],
                stage.until,
                unless_stopped,
                pool,
            )
            if stage.until is not None:
                programs[number] = program

    for devices in (devices for devices in lanes if len(devices) > 1):
        train_lane(devices)
    alone = [devices for devices in lanes if len(devices) == 1]
    if len(alone) == 1:
        train_lane(alone[0])
    elif alone:
        with ThreadPoolExecutor(len(alone)) as beside:
            try:
                for each in as_completed([beside.submit(train_lane, devices) for devices in alone]):
                    with suppress(CancelledError):  # since another one was stopped, and says why
                        each.result()
            finally:
                stop.set()  # where one failed, or Ctrl-C came, the others end after their call


def _waiting(job: Job, ledger: Ledger, stage: Stage) -> dict[int, list[Part]]:
    """What there is to train in a stage, by group: parts that have not come to its end, and members
    that have not begun.
    """
    begun = ledger.epochs()
    resting = [
        part
        for part in ledger.parts(finished=False)
        if stage.until is None or part.epoch < stage.until
    ]
    waiting = {
        number: [part for part in resting if part.group == number]
        for number in range(len(job.groups))
    }
    for number, group in enumerate(job.groups):
        if (
            fresh := np.array([member for member in group.members if int(member) not in begun], int)
        ).size:
            waiting[number].append(Part(number, fresh, 0, False, None, None))
    return {number: parts for number, parts in waiting.items() if parts}


def _dealt(waiting: dict[int, list[Part]], process: int, processes: int) -> dict[int, list[Part]]:
    """What of it this process trains: an equal share of each group or, where it has not one for
    each device, all or nothing.
    """
    dealt = dict[int, list[Part]]()
    for place, (number, parts) in enumerate(waiting.items()):
        members = sum(len(part.members) for part in parts)
        if members < processes * jax.local_device_count():
            mine = parts if place % processes == process else []
        else:
            begin, end = (members * (process + i) // processes for i in (0, 1))
            starts = np.cumsum([0, *(len(part.members) for part in parts)])
            cut = [
                (part, max(0, begin - start), end - start)
                for part, start in zip(parts, starts, strict=False)
            ]
            mine = [
                part.take(slice(first, last))
                for part, first, last in cut
                if first < min(last, len(part.members))
            ]
        if mine:
            dealt[number] = mine
    return dealt


def _select(job: Job, ledger: Ledger, stage: Stage) -> Stage:
    """Ranks all members at a rung, and ends those that do not go on: the stage after it."""
    assert job.halving is not None
    assert stage.until is not None
    found, places = list[Standings](), list[np.ndarray]()
    for part in [*ledger.parts(finished=True), *ledger.parts(finished=False)]:
        assert part.state is not None
        assert part.history is not None
        recipe, examples = job.groups[part.group].recipe, len(job.splits.validation)
        found.append(
            standings(recipe, part.state, part.history, part.finished, stage.until, examples)
        )
        places.append(part.members)
    order = np.argsort(np.concatenate(places))
    all_: Standings = jax.tree.map(lambda *columns: np.concatenate(columns)[order], *found)
    running = survivors(job.halving, all_, stage.running)
    ledger.settle(running & ~all_.over)
    later = [rung for rung in job.halving.rungs if rung > stage.until]
    return Stage(stage.number + 1, stage.until, later[0] if later else None, running)


def _choose(
    job: Job, number: int, plan: Plan | None, members: int, place: int
) -> tuple[Plan, tuple[Any, ...]]:
    """Where so many members of a group are trained: the plan, and its devices. place: among the
    groups.
    """
    group, why = job.groups[number], "as asked for"
    if plan is None:
        weights = None if job.samples is None else job.samples.alone(0).get("weights")
        own_order = job.order_key is None or (job.samples is not None and weights is None)
        problem = Problem(group.model, job.splits, group.recipe, job.loss, weights)
        plan, why = plan_for_members(problem, members, own_order=own_order)
    _check(plan)
    devices = jax.local_devices()[: plan.devices]
    if members < len(devices):
        devices = [devices[place % len(devices)]]
    plan = replace(plan, devices=len(devices), chunk=_even(members, len(devices), plan.chunk))
    logger.info("%s: %s", group.model.name, _words(plan, members, why))
    return plan, tuple(devices)


def _fits(job: Job, number: int, program: Program, members: int, epochs: int) -> bool:
    """Whether a program does for the members that are left: their empty places take no longer than
    to compile another one.
    """
    chunk, own = program.plan.chunk, math.ceil(members / program.plan.devices)
    empty = math.ceil(own / chunk) * chunk - own
    weights = sum(
        leaf.size
        for leaf in jax.tree.leaves(_shapes(job, number, 1, finished=True)[0].params)
        if leaf.ndim > 2
    )
    operations = 6 * weights * len(job.splits.train) * epochs * empty
    return operations <= COMPILING.get(program.mesh.devices.flat[0].platform, FAST)


def _train_group(
    job: Job,
    number: int,
    program: Program,
    parts: list[Part],
    until: int | None,
    between_calls: Callable[[Part, Callable[[], Part]], None],
    pool: ThreadPoolExecutor,
) -> Program:
    """Trains parts of a group to the end of a stage, a wave after the other: the program that did
    it.
    """
    waves, pace = deque(parts), [1]
    devices = tuple(program.mesh.devices.flat)
    everywhere = NamedSharding(program.mesh, COPIED)
    shared = jax.tree.map(
        lambda leaf: jax.device_put(leaf, everywhere), (job.splits, job.order_key)
    )
    while waves:
        part = waves.popleft()
        if len(part.members) > program.members:
            waves.appendleft(part.take(slice(program.members, None)))
            part = part.take(slice(program.members))
        try:
            _train_wave(job, program, shared, part, until, between_calls, pace)
        except _DoesNotFit as error:
            plan = program.plan
            if plan.chunk == 1:
                raise InputError(
                    f"a device has no memory for one network of {job.groups[number].model.name} "
                    f"({error}); "
                    "give a smaller network or batch size"
                ) from None
            logger.warning(
                "out of memory with %d members at a time on each device: going on with %d",
                plan.chunk,
                plan.chunk // 2,
            )
            waves.appendleft(part)
            program = _compile(job, number, replace(plan, chunk=plan.chunk // 2), devices, pool)
    return program


def _train_wave(
    job: Job,
    program: Program,
    shared: PyTree,
    part: Part,
    until: int | None,
    between_calls: Callable[[Part, Callable[[], Part]], None],
    pace: list[int],
) -> None:
    """Trains some members to the end of a stage, a few epochs at a call. pace: of epochs a call,
    learned from the last ones.
    """
    group, real = job.groups[part.group], len(part.members)
    places = np.minimum(
        np.arange(program.members), real - 1
    )  # the last one once more where there are too few
    split = NamedSharding(program.mesh, SPLIT)
    put = functools.partial(
        jax.tree.map,
        lambda leaf: jax.device_put(
            leaf, split if np.ndim(leaf) else NamedSharding(program.mesh, COPIED)
        ),
    )
    with _fitting():
        given = put(_given(job, group, part.members[places]))
        if part.state is None:
            state, history = (
                program.begin.result()(shared, given),
                put(blank_metrics(job.splits, program.members, group.recipe.epochs)),
            )
        else:
            state, history = put(
                jax.tree.map(lambda leaf: leaf[places], (part.state, part.history))
            )
    done, end, finished = part.epoch, until or group.recipe.epochs, False
    while done < end and not finished:
        with _fitting():
            advance = program.advance.result()
            to, began = min(done + pace[0], end), time.perf_counter()
            state, history = advance(shared, given, np.int32(done), np.int32(to), state, history)
            jax.block_until_ready(state)
        pace[0] = max(1, int(CALL * (to - done) / (time.perf_counter() - began)))
        done = to
        best_epoch = 0 if state.best is None else np.asarray(state.best.epoch)
        finished = done == group.recipe.epochs or bool(
            np.all(ended(group.recipe, np.asarray(state.diverged_at), done, best_epoch))
        )
        standing = part._replace(epoch=done, finished=finished, state=None, history=None)

        def fetch(
            standing: Part = standing, state: TrainState = state, history: EpochMetrics = history
        ) -> Part:
            kept = state._replace(opt_state=None) if standing.finished else state
            kept, rows = jax.tree.map(lambda leaf: np.asarray(leaf)[:real].copy(), (kept, history))
            return standing._replace(state=kept, history=rows)

        between_calls(standing, fetch)


class _DoesNotFit(Exception):
    """What is trained at once outgrows the memory of a device."""


@contextmanager
def _fitting() -> Iterator[None]:
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            raise _DoesNotFit(str(error)) from error
        raise


def _compile(
    job: Job, number: int, plan: Plan, devices: tuple[Any, ...], pool: ThreadPoolExecutor
) -> Program:
    """The program of a group, compiled in the pool."""
    group, members = job.groups[number], plan.chunk * plan.devices
    mesh = device_mesh(devices)
    on_each = Plan(micro_batch=plan.micro_batch, implementation=plan.implementation)
    model = with_outputs(group.model, job.splits.train.outputs)
    structure = Structure(model, job.loss, job.implementation, mesh, on_each)

    def split(leaf: Any) -> jax.ShapeDtypeStruct:
        spec = SPLIT if len(leaf.shape) else COPIED
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, spec))

    def copied(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, COPIED))

    begin_, advance_ = _jitted(devices[0].platform)
    shared = jax.tree.map(copied, (job.splits, job.order_key))
    given = jax.tree.map(split, _given(job, group, group.members[np.zeros(members, int)]))

    # Traced once: two threads that traced it at the same time would leave one trace in JAX's cache
    # and compile the other.
    traced = pool.submit(begin_.trace, structure, shared, given)

    def begin() -> Callable[..., TrainState]:
        return traced.result().lower().compile()

    def advance() -> Callable[..., tuple[TrainState, EpochMetrics]]:
        state = jax.tree.map(split, traced.result().out_info)
        history = jax.tree.map(split, blank_metrics(job.splits, members, group.recipe.epochs))
        place = np.int32(0)
        lowered = advance_.lower(structure, shared, given, place, place, state, history)
        return lowered.compile()

    return Program(plan, mesh, members, pool.submit(begin), pool.submit(advance))


@functools.cache
def _jitted(platform: str) -> tuple[Any, Any]:
    """`_begin` and `_advance`, compiled for a platform."""
    options = {"compiler_options": OPTIONS.get(platform)}
    begin = jax.jit(_begin, static_argnames="structure", **options)
    return begin, jax.jit(
        _advance, static_argnames="structure", donate_argnames=("state", "history"), **options
    )


def _begin(structure: Structure, shared: tuple[Splits, Array | None], given: Given) -> TrainState:
    """The states of a wave before the first epoch; keys are made anew in each call."""

    def one(shared: tuple[Splits, Array | None], given: Given) -> TrainState:
        problem = Problem(structure.model, shared[0], given.recipe)
        state = start(
            problem, jax.random.wrap_key_data(jnp.asarray(given.key), impl=structure.keys)
        )
        return state._replace(key=None, order_key=None)

    return spread(one, structure.mesh, shared, given)


def _advance(
    structure: Structure,
    shared: tuple[Splits, Array | None],
    given: Given,
    done: Int[Array, ""],
    until: Int[Array, ""],
    state: TrainState,
    history: EpochMetrics,
) -> tuple[TrainState, EpochMetrics]:
    """A wave from `done` epochs to `until`."""
    wrap: Callable[[Any], Array] = functools.partial(jax.random.wrap_key_data, impl=structure.keys)

    def one(
        shared: tuple[Any, ...], own: tuple[Given, TrainState, EpochMetrics]
    ) -> tuple[TrainState, EpochMetrics]:
        (splits, order_key), done, until = shared
        given, state, history = own
        order_words = given.order_key if order_key is None else order_key
        noise, order = streams(wrap(given.key), None if order_words is None else wrap(order_words))
        problem = Problem(
            structure.model, splits, given.recipe, structure.loss, given.weights, given.sample
        )
        run_steps = run_steps_on(choose(structure.plan, problem))

        def go_on(
            carry: tuple[Array, TrainState, EpochMetrics],
        ) -> tuple[Array, TrainState, EpochMetrics]:
            # The number of the epoch is the same for all, so that those who share an order key
            # share its order.
            number, state, history = carry
            now = state._replace(key=noise, order_key=order, epoch=number)
            new, metrics = epoch(problem, now, run_steps)
            trained = jnp.where(new.epoch > number, new.epoch, state.epoch)
            history = jax.tree.map(
                lambda column, value: jax.lax.dynamic_update_index_in_dim(column, value, number, 0),
                history,
                metrics,
            )
            return number + 1, new._replace(key=None, order_key=None, epoch=trained), history

        return jax.lax.while_loop(lambda carry: carry[0] < until, go_on, (done, state, history))[1:]

    return spread(one, structure.mesh, (shared, done, until), (given, state, history))


def _given(job: Job, group: Group, members: Int[np.ndarray, " wave"]) -> Given:
    """What these members of a group differ in, on the host."""
    places = np.searchsorted(group.members, members)
    weights, sample = None, None
    if job.samples is not None:
        alone = [job.samples.alone(int(member)) for member in members]
        if "weights" in alone[0]:
            weights = np.stack([each["weights"] for each in alone])
        else:
            indices, counts = zip(*(each["sample"] for each in alone), strict=True)
            sample = np.stack(indices), np.array(counts, np.int32)
    return Given(
        recipe=jax.tree.map(lambda leaf: leaf[places] if leaf.ndim else leaf, group.recipe),
        key=job.keys[members],
        order_key=None if job.order_keys is None else job.order_keys[members],
        weights=weights,
        sample=sample,
    )


def _shapes(job: Job, number: int, members: int, finished: bool) -> tuple[TrainState, EpochMetrics]:
    """Shapes and types of a part, as the ledger keeps it."""
    group = job.groups[number]
    given = _given(job, group, group.members[:1])
    alone = jax.tree.map(lambda leaf: leaf[0] if leaf.ndim else leaf, given.recipe)
    key = jax.random.wrap_key_data(job.keys[0], impl=job.implementation)
    problem = Problem(with_outputs(group.model, job.splits.train.outputs), job.splits, alone)
    state = jax.eval_shape(start, problem, key)._replace(key=None, order_key=None)
    if finished:
        state = state._replace(opt_state=None)
    state = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((members, *leaf.shape), leaf.dtype), state
    )
    return state, blank_metrics(job.splits, members, group.recipe.epochs)


def _population(job: Job, standardization: Standardization, finished: list[Part]) -> Population:
    """All members, from the parts in which they were finished."""
    runs, members = list[Run](), list[np.ndarray]()
    for number, group in enumerate(job.groups):
        part = joined([part for part in finished if part.group == number])
        assert part.state is not None
        assert part.history is not None
        run = finish(Problem(group.model, job.splits, group.recipe), part.state, part.history)
        count = len(group.members)
        repeated = jax.tree.map(functools.partial(_repeated, count), standardization)
        recipe = jax.tree.map(lambda leaf, count=count: np.broadcast_to(leaf, count), group.recipe)
        runs.append(replace(run, standardization=repeated, recipe=recipe))
        members.append(group.members)
    return Population(tuple(runs), tuple(members), job.samples)


def _repeated(count: int, leaf: Array) -> np.ndarray:
    return np.broadcast_to(np.asarray(leaf), (count, *leaf.shape))


def _identity(job: Job, splits: Splits) -> dict[str, Any]:
    """What decides a population, as plain values. Custom models, losses and optimizers are told by
    their names.
    """
    return {
        "members": len(job.keys),
        "groups": [
            {
                "model": group.model.name,
                "recipe": describe_recipe(group.recipe),
                "members": group.members,
            }
            for group in job.groups
        ],
        "data": describe_data(splits),
        "keys": told(job.keys),
        "order_key": told(job.order_keys if job.order_key is None else job.order_key),
        "resample": None if job.samples is None else job.samples.kind,
        "samples": None if job.samples is None else told(job.samples.arrays),
        "loss": None if job.loss is None else name_of(job.loss),
        "halving": None if job.halving is None else asdict(job.halving),
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


def _even(members: int, devices: int, chunk: int) -> int:
    """The chunk that needs as many waves, and fills the last one best."""
    waves = math.ceil(members / (devices * chunk))
    return math.ceil(members / (devices * waves))


def _words(plan: Plan, members: int, why: str) -> str:
    waves = math.ceil(members / (plan.devices * plan.chunk))
    return (
        f"{members} members in {waves} wave{'s' * (waves > 1)}, {plan.chunk} at a time on each of "
        f"{plan.devices} "
        f"{jax.default_backend().upper()} device{'s' * (plan.devices > 1)}: {why}"
    )


def _check(plan: Plan) -> None:
    if plan.chunk < 1:
        raise InputError(f"the plan has chunk {plan.chunk}; give at least 1 member")
    if not 1 <= plan.devices <= (found := jax.local_device_count()):
        raise InputError(
            f"the plan wants {plan.devices} devices, and JAX has {found}; on a CPU call "
            "use_cpu_devices first"
        )


def _admit(
    model: Model | Sequence[Model],
    splits: Splits,
    recipes: Recipe | Sequence[Recipe],
    keys: AnyKeys,
    order_key: AnyKeys | None,
    samples: Samples | None,
    loss: Loss | None,
    halving: Halving | None = None,
) -> Job:
    """The door: arguments checked, and members grouped by structure."""
    cure = "a key a member, such as jax.random.split(jax.random.key(0), 8)"
    for one in (
        [model] if isinstance(model, Model) or not isinstance(model, list | tuple) else model
    ):
        arguments.check(model=one)
    arguments.check(splits=splits)
    for one in recipes if isinstance(recipes, list | tuple) else [recipes]:
        arguments.check(recipe=one)
    check_loss(loss)
    if halving is not None:
        check_kind(
            "halving",
            halving,
            Halving,
            "a Halving, such as jaxnet.Halving((1, 4)), or leave it out",
        )
    if samples is not None:
        check_kind(
            "resample",
            samples,
            Samples,
            "what a function of jaxnet.resampling makes, or leave it out",
        )
    keys = as_keys("keys", keys, cure)
    order_key = None if order_key is None else as_keys("order_key", order_key, cure)
    for name, value, dimensions in (("keys", keys, (1,)), ("order_key", order_key, (0, 1))):
        if value is not None and value.ndim not in dimensions:
            raise InputError(f"{name} has shape {value.shape}; give {cure}")
    if (members := len(keys)) == 0:
        raise InputError("keys are empty; give one a member")
    implementation = str(jax.random.key_impl(keys))
    if "rbg" in implementation:
        raise InputError(
            f"keys are of {implementation}, which draws otherwise in a population than alone; "
            "give threefry keys"
        )
    if order_key is not None and order_key.shape not in ((), (members,)):
        raise InputError(
            f"order_key holds {len(order_key)} keys for {members} members; give one for all, or "
            "one a member"
        )
    if samples is not None and (len(samples) != members or samples.examples != len(splits.train)):
        raise InputError(
            f"resample is of {len(samples)} members and {samples.examples} examples; there are "
            f"{members} keys and "
            f"{len(splits.train)} training examples"
        )
    models = [model] * members if isinstance(model, Model) else list(model)
    each = _each_recipe(recipes, members)
    for name, given in (("models", models), ("recipes", each)):
        if len(given) != members:
            raise InputError(
                f"{len(given)} {name} for {members} keys; give one for all, or one a member"
            )
    seen = on_device(arguments.without_test(splits))
    for recipe in {id(recipe): recipe for recipe in each}.values():
        arguments.check_arguments(Problem(models[0], seen, recipe))
    if halving is not None:
        check_halving(halving, each, has_validation=len(splits.validation) > 0)
    by_structure: dict[Any, list[int]] = {}
    each = [as_float32(recipe) for recipe in each]
    for member, recipe in enumerate(each):
        by_structure.setdefault((models[member], jax.tree.structure(recipe)), []).append(member)
    groups = []
    for places in by_structure.values():
        own = [each[place] for place in places]
        shared = isinstance(recipes, Recipe) and all(recipe is own[0] for recipe in own)
        recipe = own[0] if shared else jax.tree.map(lambda *leaves: np.stack(leaves), *own)
        groups.append(Group(models[places[0]], recipe, np.array(places)))
    words = np.asarray(jax.random.key_data(keys))
    order_words = None if order_key is None else np.asarray(jax.random.key_data(order_key))
    own_order = order_words if order_words is not None and order_words.ndim == 2 else None
    one_order = order_words if order_words is not None and order_words.ndim == 1 else None
    return Job(
        seen, tuple(groups), loss, samples, halving, implementation, words, own_order, one_order
    )


def _each_recipe(recipes: Recipe | Sequence[Recipe], members: int) -> list[Recipe]:
    """A recipe a member; numbers that are arrays of a single one are dealt out."""
    if not isinstance(recipes, Recipe):
        return list(recipes)
    for leaf in jax.tree.leaves(recipes):
        if np.shape(leaf) not in ((), (members,)):
            raise InputError(
                f"a number of the recipe has shape {np.shape(leaf)}; give one for all, or one a "
                f"member: ({members},)"
            )
    if not any(np.ndim(leaf) for leaf in jax.tree.leaves(recipes)):
        return [recipes] * members
    return [
        jax.tree.map(lambda leaf, i=i: np.asarray(leaf)[i] if np.ndim(leaf) else leaf, recipes)
        for i in range(members)
    ]
