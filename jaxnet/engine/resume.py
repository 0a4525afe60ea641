"""Checkpoints of an unfinished training: where it goes on, and when the next one is written."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnet.core.training import EpochMetrics, TrainState
from jaxnet.engine.checkpoint import restore_progress, save_progress, set_aside
from jaxnet.engine.fingerprint import check_same
from jaxnet.engine.in_memory import InMemory
from jaxnet.engine.streamed import ChunkSums, OnDisk
from jaxnet.runtime.interrupts import Interrupted
from jaxnet.runtime.plan import Plan
from jaxnet.runtime.processes import any_process


class Checkpoint(NamedTuple):
    """An unfinished training: its state, and a history with NaN for the epochs to come."""

    state: TrainState
    history: EpochMetrics


class CheckpointWithin(NamedTuple):
    """The same within an epoch over a training set on disk."""

    state: TrainState
    history: EpochMetrics
    within: ChunkSums


class Position(NamedTuple):
    """Where a training is, between two chunks.

    Attributes:
        state: the state where the plan of the training wants it.
        history: NumPy arrays with the metrics of the epochs done, and NaN for those to come.
        within: the sums over the chunks of the next epoch; None for a training set in memory.
        epoch: the number of epochs done.
        chunk: the number of chunks of the next epoch that are done.
    """

    state: TrainState
    history: EpochMetrics
    within: ChunkSums | None
    epoch: int
    chunk: int


def last_checkpoint(
    folder: Path, wanted: Checkpoint | CheckpointWithin, about: dict[str, Any]
) -> Checkpoint | CheckpointWithin | None:
    """Reads the newest intact checkpoint of a training, and sets damaged ones aside; None where
    there is none. All processes read the same, or raise InputError.
    """
    found, damaged = restore_progress(folder / "state", wanted, about)
    place = None
    if found is not None:
        place = found.state.epoch, found.within if isinstance(found, CheckpointWithin) else ()
    check_same(place, where=folder)  # and so before the first one writes again
    if found is not None:
        done = int(found.state.epoch)
        set_aside(damaged, f"training goes on from an older checkpoint, after epoch {done}")
    return found


def position_of(checkpoint: Checkpoint | CheckpointWithin, plan: Plan) -> Position:
    """The position of a checkpoint, with its arrays where the plan wants them."""
    state, history = plan.place(checkpoint.state), jax.tree.map(np.array, checkpoint.history)
    if not isinstance(checkpoint, CheckpointWithin):
        return Position(state, history, None, int(state.epoch), 0)
    within = plan.place(checkpoint.within)
    return Position(state, history, within, int(state.epoch), int(within.chunks))


def next_position(
    position: Position, state: TrainState, within: ChunkSums | None, metrics: EpochMetrics | None
) -> Position:
    """The position one chunk later. Its metrics, where it ends an epoch, go into the history."""
    if metrics is None:
        return position._replace(state=state, within=within, chunk=position.chunk + 1)
    for column, value in zip(
        jax.tree.leaves(position.history), jax.tree.leaves(metrics), strict=True
    ):
        column[position.epoch] = value
    return Position(state, position.history, within, position.epoch + 1, 0)


@dataclass
class CheckpointWriter:
    """Writes the checkpoints of a training when they are due, or when it is asked to stop.

    Attributes:
        folder: the folder of the run; checkpoints go to folder/state.
        about: describes the training.
        epochs: what trains.
        share: the share of the time that may go into checkpoints.
        log: writes a line to the log.
        caught: the signals that have come.
        saved: the number of the last checkpoint, or None.
        spent: seconds that went into checkpoints.
        began: when the training began, in seconds of `time.monotonic`.
    """

    folder: Path
    about: Callable[[], dict[str, Any]]
    epochs: InMemory | OnDisk
    share: float
    log: Callable[[str], None]
    caught: list[int]
    saved: int | None
    spent: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def save(self, position: Position) -> None:
        """Writes a checkpoint, unless the last one is of the same position."""
        number, plan = number_of(position, self.epochs), self.epochs.plan
        if self.saved == number:
            return
        # What this waits for is not part of the checkpoint's time.
        jax.block_until_ready(position.state)
        clock = time.monotonic()
        state, within = plan.fetch(position.state), plan.fetch(position.within)
        checkpoint = checkpoint_of(state, position.history, within)
        save_progress(self.folder / "state", number, checkpoint, self.about())
        self.spent, self.saved = self.spent + time.monotonic() - clock, number
        self.log(f"checkpoint {number}")

    def after_chunk(self, position: Position, *, over: bool) -> None:
        """Writes a checkpoint if one is due on any process, if the training is over, or if it is
        asked to stop.

        Raises:
            Interrupted: on all processes, where one was asked to stop.
        """
        due = over or self.spent <= self.share * (time.monotonic() - self.began)
        due, asked = any_process(due, bool(self.caught))
        if due or asked:
            self.save(position)
        if asked:
            where = f"after epoch {position.epoch}"
            if position.chunk:
                where = f"after part {position.chunk} of epoch {position.epoch + 1}"
            number = self.caught[0] if self.caught else signal.SIGTERM
            raise Interrupted(number, where, self.folder)


def checkpoint_of(
    state: TrainState, history: EpochMetrics, within: ChunkSums | None
) -> Checkpoint | CheckpointWithin:
    """The checkpoint of a training at the end of an epoch, or within one."""
    return (
        Checkpoint(state, history) if within is None else CheckpointWithin(state, history, within)
    )


def number_of(position: Position, epochs: InMemory | OnDisk) -> int:
    """The number of the checkpoint of a position: how many chunks are done."""
    return position.epoch * epochs.chunks + position.chunk
