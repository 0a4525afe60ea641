"""The schedule of a population: which members train when, and what waits.

    population -> jobs of one architecture -> waves of members -> calls of a few epochs

A wave is trained to its end before the next one begins, so that the devices hold the state of one.
With halving its end is the next rung, where all members wait on the host until it is known which of
them go on. Between calls there are checkpoints, progress and signals.
"""

import functools
import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding

from jaxnet.core.training import EpochMetrics, TrainState, blank_metrics, ended
from jaxnet.errors import InputError
from jaxnet.population.checkpoint import Part, PopulationCheckpoint
from jaxnet.population.halving import Halving, Stage, Standings, standings, survivors
from jaxnet.population.job import Job, Shared
from jaxnet.population.placement import fits, place_members
from jaxnet.population.program import DoesNotFitError, Program, compile_program, fitting
from jaxnet.progress import COMPILING, phase
from jaxnet.runtime.interrupts import Interrupted
from jaxnet.runtime.plan import Plan
from jaxnet.runtime.processes import Calls, any_process, index_and_count, is_first
from jaxnet.runtime.sharding import COPIED, SPLIT

LOOK = 0.02  # seconds between two looks at whether other processes wait for this one

logger = logging.getLogger("jaxnet")

# Is given how far a wave is, and what fetches it to the host.
AfterCall = Callable[[Part, Callable[[], Part]], None]


class Progress(NamedTuple):
    """How far a population is.

    Attributes:
        finished: how many members are trained.
        members: how many there are.
        epoch: how many epochs the members in training have.
        epochs: how many epochs those members are to have.
        share: the share of all epochs that members will train, which is done.
    """

    finished: int
    members: int
    epoch: int
    epochs: int
    share: float


@dataclass(frozen=True)
class Schedule:
    """How long the parts of a population's training may take.

    Attributes:
        call_seconds: how long a call of a program should take: short enough to hear Ctrl-C, long
            enough to cost nothing. 0 makes one call per epoch.
        checkpoint_share: the share of the time that may go into checkpoints.
        checkpoint_growth: the share of the time so far that lies between two checkpoints, so that
            their number grows with the logarithm of the time.
        while_compiling: operations that a device does while a program is compiled: a smaller
            program is compiled where it saves more. None takes those of the platform.
    """

    call_seconds: float = 0.5
    checkpoint_share: float = 0.1
    checkpoint_growth: float = 0.02
    while_compiling: float | None = None


class CallLength:
    """How many epochs a call of a program should have, learned from the last calls."""

    def __init__(self, call_seconds: float) -> None:
        self.call_seconds, self.epochs = call_seconds, 1

    def learn(self, epochs: int, seconds: float) -> None:
        """Take in how long a call of so many epochs took."""
        self.epochs = max(1, int(self.call_seconds * epochs / seconds))


class Scheduler:
    """Trains what a population's checkpoint does not have.

    Devices that are no part of each other train side by side, each set of them in a thread of its
    own (a lane). What the threads share is the checkpoint, `_reached`, `_stopped` and `_left`.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        checkpoint: PopulationCheckpoint,
        *,
        halving: Halving | None,
        plan: Plan | None,
        schedule: Schedule,
        progress: Callable[[Progress], None] | None,
        log: Callable[[str], None],
        caught: Sequence[int],
    ) -> None:
        """Nothing is trained yet.

        Args:
            jobs: the members of the population.
            checkpoint: keeps what is trained; it holds what was trained before.
            halving: after which epochs which members stop.
            plan: where members are trained; None lets a rule choose for each job.
            schedule: how long calls and checkpoints may take.
            progress: is told how far the population is.
            log: writes a line.
            caught: signals that ask this process to stop; the list grows when one arrives.
        """
        self.jobs, self.checkpoint, self.halving, self.plan = jobs, checkpoint, halving, plan
        self.schedule, self.progress, self.log, self.caught = schedule, progress, log, caught
        self._members = len(jobs[0].keys)
        self._epochs = np.zeros(self._members, int)
        for job in jobs:
            self._epochs[job.members] = job.epochs
        self._reached = np.zeros(self._members, int)
        self._programs = dict[int, Program]()
        self._calls, self._saving = Calls(), threading.Lock()
        # Whether some process was asked to stop, and what lanes then leave unfinished.
        self._stopped, self._left = threading.Event(), list[Part]()

    def train(self) -> None:
        """Train this process's share of the members to their ends, from rung to rung.

        Raises:
            Interrupted: where a process was asked to stop; all is saved then.
            InputError: where one network does not fit into the memory of a device.
        """
        phase(*COMPILING)
        self._count_epochs()
        furthest = max(
            self.checkpoint.parts(finished=False), key=lambda part: part.epoch, default=None
        )
        until = None if self.halving is None else self.halving.rungs[0]
        stage = Stage(0, 0, until, np.ones(self._members, bool))
        if furthest is None:
            self._tell(stage, 0, 0)
        else:
            self._tell(stage, furthest.epoch, furthest.group)
        try:
            self._train_stages(stage)
        except Interrupted:
            self.checkpoint.save(*self._left)
            raise
        self.checkpoint.save()

    def _train_stages(self, begin: Stage) -> None:
        """Train this process's share, a stage after the other."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                stage: Stage | None = begin
                while stage is not None:
                    waiting = _waiting(self.jobs, self.checkpoint, stage)
                    mine = dealt(waiting, *index_and_count())
                    elsewhere = np.zeros(self._members, bool)
                    elsewhere[_members_of(waiting)] = True
                    elsewhere[_members_of(mine)] = False
                    here = stage._replace(running=stage.running & ~elsewhere)
                    self._train_stage(here, mine, pool)
                    stage = self._after_stage(stage)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _train_stage(
        self, stage: Stage, waiting: dict[int, list[Part]], pool: ThreadPoolExecutor
    ) -> None:
        """Train members to the end of a stage: large jobs over all devices, then small ones side by
        side on one device each.
        """
        lanes = dict[tuple[Any, ...], list[int]]()
        for turn, (number, parts) in enumerate(waiting.items()):
            program = self._program(stage, number, parts, turn, pool)
            self._programs[number] = program
            lanes.setdefault(tuple(program.mesh.devices.flat), []).append(number)
        if len(waiting) > 1:
            logger.debug("%d structures: a program each", len(waiting))
        stop = threading.Event()

        def after_call(standing: Part, fetch: Callable[[], Part]) -> None:
            self._after_call(stage, standing, fetch)
            if stop.is_set():
                raise CancelledError

        def train_lane(devices: tuple[Any, ...]) -> None:
            for number in lanes[devices]:
                self._train_job(number, waiting[number], stage.until, after_call, pool)

        for devices in (devices for devices in lanes if len(devices) > 1):
            train_lane(devices)
        alone = [devices for devices in lanes if len(devices) == 1]
        if len(alone) == 1:
            train_lane(alone[0])
        elif alone:
            with ThreadPoolExecutor(len(alone)) as beside:
                try:
                    for each in as_completed(
                        [beside.submit(train_lane, devices) for devices in alone]
                    ):
                        with suppress(CancelledError):  # since another one stopped, and says why
                            each.result()
                finally:
                    stop.set()  # where one failed, or Ctrl-C came, the others end after their call

    def _program(
        self, stage: Stage, number: int, parts: list[Part], turn: int, pool: ThreadPoolExecutor
    ) -> Program:
        """The program of a job in a stage: the one of the stage before, or one to compile."""
        job, members = self.jobs[number], sum(len(part.members) for part in parts)
        epochs = (stage.until or job.epochs) - stage.begin
        program = self._programs.get(number)
        if program is not None and fits(
            job, program, members, epochs, self.schedule.while_compiling
        ):
            return program
        return compile_program(job, *place_members(job, members, self.plan, turn=turn), pool)

    def _train_job(
        self,
        number: int,
        parts: list[Part],
        until: int | None,
        after_call: AfterCall,
        pool: ThreadPoolExecutor,
    ) -> None:
        """Train parts of a job to the end of a stage, a wave after the other."""
        job, program = self.jobs[number], self._programs.pop(number)
        waves, call_length = deque(parts), CallLength(self.schedule.call_seconds)
        devices = tuple(program.mesh.devices.flat)
        everywhere = NamedSharding(program.mesh, COPIED)
        shared = jax.tree.map(lambda leaf: jax.device_put(leaf, everywhere), job.shared)
        while waves:
            part = waves.popleft()
            if len(part.members) > program.members:
                waves.appendleft(part.take(slice(program.members, None)))
                part = part.take(slice(program.members))
            try:
                train_wave(job, program, shared, part, until, after_call, call_length)
            except DoesNotFitError as error:
                plan = program.plan
                if plan.chunk == 1:
                    raise InputError(
                        f"a device has no memory for one network of {job.problem.model.name} "
                        f"({error}); give a smaller network or batch size"
                    ) from None
                logger.warning(
                    "out of memory with %d members at a time on each device: going on with %d",
                    plan.chunk,
                    plan.chunk // 2,
                )
                waves.appendleft(part)
                plan = replace(plan, chunk=plan.chunk // 2)
                program = compile_program(job, plan, devices, pool)
        if until is not None:
            self._programs[number] = program

    def _after_call(self, stage: Stage, standing: Part, fetch: Callable[[], Part]) -> None:
        """After each call of a wave: a wave at its end is kept, and one that goes on is saved when
        it is time.
        """
        at_end = standing.finished or standing.epoch == stage.until
        if at_end:
            self.checkpoint.keep(fetch())
        self._reached[standing.members] = (
            self._epochs[standing.members] if standing.finished else standing.epoch
        )
        self.log(
            f"group {standing.group} members {_stretches(standing.members)} epoch {standing.epoch}"
        )
        self._save(*(() if at_end else (fetch,)))
        if self._stopped.is_set():  # by another lane's checkpoint
            self._left.extend([] if at_end else [fetch()])
            raise CancelledError
        phase("training")
        self._tell(stage, standing.epoch, standing.group)

    def _after_stage(self, stage: Stage) -> Stage | None:
        """After the members of this process came to a stage's end: wait for those of the others,
        finish the members that do not go on, and return the next stage; None after the last one.
        """
        self._calls.idle()
        while not self._calls.over():
            self._save()
            time.sleep(LOOK)
        self._calls = Calls()
        self.checkpoint.share()
        if stage.until is None:
            return None
        after = _select(self.jobs, self.halving, self.checkpoint, stage)
        words = (
            f"after epoch {stage.until}, {after.running.sum()} of {stage.running.sum()} members "
            "go on"
        )
        self.log(words)
        logger.info(words)
        self._save(together=True)
        self._count_epochs()
        goes_on = [after.running[job.members].any() for job in self.jobs]
        self._tell(after, stage.until, int(np.argmax(goes_on)))
        return after

    def _save(self, *going_on: Callable[[], Part], together: bool = False) -> None:
        """Write a checkpoint when it is time for one, or when a signal came.

        Args:
            going_on: fetch the parts that are in training.
            together: whether all processes are here.

        Raises:
            Interrupted: where a process was asked to stop.
        """
        if self.checkpoint.folder is None:
            return
        with self._saving:
            if self._stopped.is_set():
                return
            wanted = bool(self.caught) or (is_first() and self.checkpoint.due())
            if together:
                (wanted,) = any_process(wanted)
            else:
                if wanted:
                    self._calls.ask()
                wanted = self._calls.called()
            if not wanted:
                return
            asked = self.checkpoint.save(*(each() for each in going_on), asked=bool(self.caught))
            self.log("checkpoint")
            self._calls.answered()
            if asked:
                self._stopped.set()
        if asked:
            raise Interrupted(
                self.caught[0] if self.caught else signal.SIGTERM,
                f"with {self.checkpoint.count()} of {self._members} members trained",
                self.checkpoint.folder.parent,
            )

    def _count_epochs(self) -> None:
        """Take from the checkpoint how many epochs each member has."""
        for member, (epoch, finished) in self.checkpoint.epochs().items():
            self._reached[member] = self._epochs[member] if finished else epoch

    def _tell(self, stage: Stage, epoch: int, number: int) -> None:
        """Say how far the population is, with a job in training that has so many epochs."""
        if self.progress is None:
            return
        share = stage.share(self.halving, self._epochs, self._reached)
        finished, epochs = self.checkpoint.count(), self.jobs[number].epochs
        self.progress(Progress(finished, self._members, epoch, epochs, share))


def train_wave(
    job: Job,
    program: Program,
    shared: Shared,
    part: Part,
    until: int | None,
    after_call: AfterCall,
    call_length: CallLength,
) -> None:
    """Train some members of a job to the end of a stage, a few epochs at a call.

    Args:
        job: the job.
        program: its program.
        shared: what all members share, on the devices.
        part: the members, at most as many as the program has, and how far they are.
        until: the epoch at which the stage ends; None is the end of the recipe.
        after_call: is called after each call with (how far the members are, what fetches them to
            the host).
        call_length: how many epochs a call has.

    Raises:
        DoesNotFitError: where the memory of a device is exhausted.
    """
    real = len(part.members)
    # Too few members are filled with the last one.
    places = np.minimum(np.arange(program.members), real - 1)
    split, copied = (NamedSharding(program.mesh, spec) for spec in (SPLIT, COPIED))
    put = functools.partial(
        jax.tree.map, lambda leaf: jax.device_put(leaf, split if np.ndim(leaf) else copied)
    )
    with fitting():
        own = put(job.own(part.members[places]))
        if part.state is None:
            state = program.begin.result()(shared, own)
            history = put(blank_metrics(job.problem, program.members, job.epochs))
        else:
            given = jax.tree.map(lambda leaf: leaf[places], (part.state, part.history))
            state, history = put(given)
    done, end, finished = part.epoch, until or job.epochs, False
    while done < end and not finished:
        with fitting():
            advance = program.advance.result()
            to, began = min(done + call_length.epochs, end), time.perf_counter()
            state, history = advance(shared, own, np.int32(done), np.int32(to), state, history)
            jax.block_until_ready(state)
        call_length.learn(to - done, time.perf_counter() - began)
        done = to
        best_epoch = 0 if state.best is None else np.asarray(state.best.epoch)
        finished = done == job.epochs or bool(
            np.all(ended(job.problem.recipe, np.asarray(state.diverged_at), done, best_epoch))
        )
        standing = part._replace(epoch=done, finished=finished, state=None, history=None)

        def fetch(
            standing: Part = standing, state: TrainState = state, history: EpochMetrics = history
        ) -> Part:
            kept = state._replace(opt_state=None) if standing.finished else state
            kept, rows = jax.tree.map(lambda leaf: np.asarray(leaf)[:real].copy(), (kept, history))
            return standing._replace(state=kept, history=rows)

        after_call(standing, fetch)


def dealt(waiting: dict[int, list[Part]], process: int, processes: int) -> dict[int, list[Part]]:
    """The parts that a process trains: an equal share of each job or, where a job has not one
    member for each device, all of it or nothing.

    Args:
        waiting: the parts by the number of their job.
        process: the number of the process.
        processes: how many processes there are.

    Returns:
        The parts of this process by the number of their job.
    """
    mine = dict[int, list[Part]]()
    for turn, (number, parts) in enumerate(waiting.items()):
        members = sum(len(part.members) for part in parts)
        if members < processes * jax.local_device_count():
            own_parts = parts if turn % processes == process else []
        else:
            begin, end = (members * (process + i) // processes for i in (0, 1))
            starts = np.cumsum([0, *(len(part.members) for part in parts)])
            cut = [
                (part, max(0, begin - start), end - start)
                for part, start in zip(parts, starts, strict=False)
            ]
            own_parts = [
                part.take(slice(first, last))
                for part, first, last in cut
                if first < min(last, len(part.members))
            ]
        if own_parts:
            mine[number] = own_parts
    return mine


def _waiting(
    jobs: Sequence[Job], checkpoint: PopulationCheckpoint, stage: Stage
) -> dict[int, list[Part]]:
    """What there is to train in a stage, by job: parts that have not come to its end, and members
    that have not begun.
    """
    begun = checkpoint.epochs()
    resting = [
        part
        for part in checkpoint.parts(finished=False)
        if stage.until is None or part.epoch < stage.until
    ]
    waiting = {job.number: [part for part in resting if part.group == job.number] for job in jobs}
    for job in jobs:
        fresh = np.array([member for member in job.members if int(member) not in begun], int)
        if fresh.size:
            waiting[job.number].append(Part(job.number, fresh, 0, False, None, None))
    return {number: parts for number, parts in waiting.items() if parts}


def _stretches(members: np.ndarray) -> str:
    """The first and last number of each unbroken stretch of members, such as "0-3,5-5"."""
    breaks = np.flatnonzero(np.diff(members) != 1) + 1
    return ",".join(f"{part[0]}-{part[-1]}" for part in np.split(members, breaks))


def _members_of(waiting: dict[int, list[Part]]) -> list[int]:
    return [int(member) for parts in waiting.values() for part in parts for member in part.members]


def _select(
    jobs: Sequence[Job], halving: Halving | None, checkpoint: PopulationCheckpoint, stage: Stage
) -> Stage:
    """Rank all members at a rung and end those that do not go on: the stage after it."""
    assert halving is not None
    assert stage.until is not None
    found, places = list[Standings](), list[np.ndarray]()
    for part in [*checkpoint.parts(finished=True), *checkpoint.parts(finished=False)]:
        assert part.state is not None
        assert part.history is not None
        found.append(standings(jobs[part.group].problem, part, stage.until))
        places.append(part.members)
    order = np.argsort(np.concatenate(places))
    all_: Standings = jax.tree.map(lambda *columns: np.concatenate(columns)[order], *found)
    running = survivors(halving, all_, stage.running)
    checkpoint.settle(running & ~all_.over)
    later = [rung for rung in halving.rungs if rung > stage.until]
    return Stage(stage.number + 1, stage.until, later[0] if later else None, running)
