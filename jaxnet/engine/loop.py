"""train: the host loop over the same compiled epoch that `fit` scans, for progress, checkpoints and
Ctrl-C.
"""

import functools
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxnet.core.recipe import Recipe
from jaxnet.core.run import Run, finish
from jaxnet.core.training import (
    EpochMetrics,
    Problem,
    TrainState,
    blank_metrics,
    ended,
    start,
    state_keys,
)
from jaxnet.data import Splits, Stream
from jaxnet.engine import arguments
from jaxnet.engine.agreement import check_agreement, outline
from jaxnet.engine.checkpoint import restore_progress, save_progress, set_aside
from jaxnet.engine.fingerprint import check_same, describe_training
from jaxnet.engine.fit import ALL_AT_ONCE
from jaxnet.engine.in_memory import InMemory, in_memory
from jaxnet.engine.streamed import ChunkSums, OnDisk, on_disk
from jaxnet.errors import InputError, check_kind, renamed
from jaxnet.models.losses import Loss
from jaxnet.models.model import Model
from jaxnet.random import AnyKey, as_key, with_key_data
from jaxnet.runtime.files import check_folder, then
from jaxnet.runtime.interrupts import Interrupted, log_to, signals
from jaxnet.runtime.plan import Plan
from jaxnet.runtime.processes import any_process, is_first, once
from jaxnet.typing import RowsAndCount


@dataclass(frozen=True)
class Pace:
    """How often a training writes a checkpoint, and how often it says how far it is.

    Attributes:
        checkpoint_share: the share of the time that may go into checkpoints. With 0 there is one
            after the first epoch and one at the end; with 1e9 there is one after each epoch.
        message_seconds: seconds between two messages of the logger "jaxnet" within an epoch over a
            training set on disk.
    """

    checkpoint_share: float = 0.1
    message_seconds: float = 30.0


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


@renamed(watch="progress")
def train(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: AnyKey,
    *,
    out: str | Path | None = None,
    progress: Callable[[int, EpochMetrics], None] | None = None,
    order_key: AnyKey | None = None,
    weights: Float[Array | np.ndarray, " examples"] | None = None,
    sample: RowsAndCount | None = None,
    loss: Loss | None = None,
    params: PyTree | None = None,
    plan: Plan = ALL_AT_ONCE,
    pace: Pace | None = None,
) -> Run:
    """Trains a network as `fit` does, an epoch at a time, with progress and checkpoints.

    Checkpoints take about a tenth of the time, and the last two are kept. Where the last one is
    damaged, the logger "jaxnet" warns and training goes on from the one before.

    Several processes that train one network together all call this with the same arguments; the
    first one writes. To train a network on one process alone, call `fit`.

    Args:
        model: the network.
        splits: the data. The test set is not looked at. The training set may stay on disk, as
            `jaxnet.stream` gives it; an epoch is then read in chunks, with checkpoints between them
            too, and rows that cannot be used are treated as `jaxnet.stream` was told.
        recipe: every hyperparameter.
        key: the random key of initialization and dropout.
        out: a folder for checkpoints (out/state) and a log (out/log.txt), which all processes see.
            If it holds an unfinished training with the same arguments and data, that one is
            continued. Custom models, losses and optimizers are compared by name only. All labels
            and 100 rows of a training set on disk are compared, and all of one in memory.
        progress: a function of (number of epochs done, metrics of the last one), called before the
            first epoch and after each.
        order_key: as in `fit`.
        weights: as in `fit`; the training set must be in memory.
        sample: as in `fit`; the training set must be in memory.
        loss: as in `fit`.
        params: as in `fit`.
        plan: as in `fit`.
        pace: how often there is a checkpoint or a message; no number depends on it.

    Returns:
        The trained network, equal to that of `fit` where the training set is in memory. What
        happened in training, divergence included, is in `Run.status`.

    Raises:
        InputError: for invalid arguments; where `out` holds the training of something else, or no
            intact checkpoint; for a row on disk that cannot be used, after the state was saved; and
            on all processes where their arguments differ.
        Interrupted: after Ctrl-C or SIGTERM, with the state saved in `out`.
    """
    arguments.check(model=model, splits=splits, recipe=recipe, plan=plan)
    key = as_key("key", key)
    arguments.check_surroundings(out, progress)
    pace = Pace() if pace is None else pace
    check_kind("pace", pace, Pace, "a Pace, or leave it out")
    given = splits.train
    if isinstance(given, Stream) and (weights is not None or sample is not None):
        raise InputError(
            "weights and sample need the training set in memory, and this one stays on disk; "
            "leave them out"
        )
    in_splits = replace(splits, train=given.empty) if isinstance(given, Stream) else splits
    problem, order_key = arguments.check_arguments(
        Problem(model, in_splits, recipe, loss, weights, sample), order_key
    )
    params = arguments.check_params(problem, params)
    folder = None if out is None else Path(out).absolute()
    begin = functools.partial(_start, problem, key, order_key, params)

    @functools.cache
    def about() -> dict[str, Any]:
        return describe_training(replace(problem, splits=splits), key, order_key, params)

    check_agreement(
        lambda: {
            "call": "train",
            **about(),
            "corrupt": given.corrupt if isinstance(given, Stream) else None,
            "plan": asdict(plan),
            "out": folder,  # which Orbax wants under one name everywhere
            "parameters and optimizer state": outline(jax.eval_shape(begin)),
        }
    )
    if isinstance(given, Stream):
        order = state_keys(key, order_key)[1]
        epochs = on_disk(plan, problem, given, order, pace.message_seconds)
    else:
        epochs = in_memory(plan, problem)
    checkpoint, found = _compile_and_begin(epochs, problem, begin, folder, about)
    position = _placed(checkpoint, epochs.plan)
    with (
        then(
            "then train again with the same arguments and the same out: what is saved in "
            f"{folder} is continued"
        ),
        signals(catch=folder is not None) as caught,
        log_to(folder if is_first() else None) as log,
    ):
        writer = None
        if folder is not None:
            share = pace.checkpoint_share
            saved = _number(position, epochs) if found else None
            writer = CheckpointWriter(folder, about, epochs, share, log, caught, saved)
        position = _run(epochs, position, problem.recipe, writer, progress, log)
    state = epochs.plan.fetch(position.state)
    return finish(replace(problem, splits=in_splits), state, jax.device_put(position.history))


def _compile_and_begin(
    epochs: InMemory | OnDisk,
    problem: Problem,
    begin: Callable[[], TrainState],
    folder: Path | None,
    about: Callable[[], dict[str, Any]],
) -> tuple[Checkpoint | CheckpointWithin, bool]:
    """Compiles the program of an epoch, and finds out where the training begins.

    Args:
        epochs: what trains.
        problem: what is trained.
        begin: makes the state before the first epoch.
        folder: where the checkpoints are, if any.
        about: describes the training.

    Returns:
        The last checkpoint in the folder, and True; or the begin of the training, and False.
    """
    plan = epochs.plan
    with ThreadPoolExecutor(1) as pool:
        # Two programs, two cores. The epoch is compiled for the shapes to come; the call in the
        # loop then finds it.
        fresh = pool.submit(begin)
        shape = jax.eval_shape(begin)
        if folder is not None:
            leaves = jax.tree.leaves(jax.eval_shape(with_key_data, shape))
            size = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
            once(functools.partial(check_folder, folder, size))
        placed = shape
        if plan.total_devices > 1:
            placed = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=plan.sharding),
                shape,
            )
        epochs.compile(placed)
        nothing = blank_metrics(problem.splits, problem.recipe.epochs), epochs.within
        found = None
        if folder is not None:
            found = _last_checkpoint(folder, _checkpoint(shape, *nothing), about())
        if found is not None:
            return found, True
        return _checkpoint(fresh.result(), *nothing), False


def _last_checkpoint(
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


def _placed(checkpoint: Checkpoint | CheckpointWithin, plan: Plan) -> Position:
    """The position of a checkpoint, with its arrays where the plan wants them."""
    state, history = plan.place(checkpoint.state), jax.tree.map(np.array, checkpoint.history)
    if not isinstance(checkpoint, CheckpointWithin):
        return Position(state, history, None, int(state.epoch), 0)
    within = plan.place(checkpoint.within)
    return Position(state, history, within, int(state.epoch), int(within.chunks))


def _run(
    epochs: InMemory | OnDisk,
    position: Position,
    recipe: Recipe,
    writer: "CheckpointWriter | None",
    progress: Callable[[int, EpochMetrics], None] | None,
    log: Callable[[str], None],
) -> Position:
    """Trains until no epoch is left, one chunk after the other, and returns the last position."""
    log(f"begin at {position.epoch}" + (f", part {position.chunk}" if position.chunk else ""))
    if progress is not None:
        last = position.epoch - 1
        progress(position.epoch, jax.tree.map(lambda column: column[last], position.history))
    over = _ended(recipe, position)
    with closing(epochs.run(position.state, cast(Any, position.within), log)) as chunks:
        while not over:
            try:
                state, within, metrics = next(chunks)
            except InputError:  # a row that cannot be used
                if writer is not None:
                    writer.save(position)
                raise
            position = _moved(position, state, within, metrics)
            if metrics is not None:
                log(f"epoch {position.epoch}")
                if progress is not None:
                    progress(position.epoch, metrics)
                over = _ended(recipe, position)
            if writer is not None:
                writer.after_chunk(position, over=over)
    return position


def _moved(
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
        number, plan = _number(position, self.epochs), self.epochs.plan
        if self.saved == number:
            return
        # What this waits for is not part of the checkpoint's time.
        jax.block_until_ready(position.state)
        clock = time.monotonic()
        state, within = plan.fetch(position.state), plan.fetch(position.within)
        checkpoint = _checkpoint(state, position.history, within)
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


@jax.jit
def _start(
    problem: Problem, key: Array, order_key: Array | None, params: PyTree | None
) -> TrainState:
    return start(problem, key, order_key=order_key, params=params)


def _checkpoint(
    state: TrainState, history: EpochMetrics, within: ChunkSums | None
) -> Checkpoint | CheckpointWithin:
    return (
        Checkpoint(state, history) if within is None else CheckpointWithin(state, history, within)
    )


def _number(position: Position, epochs: InMemory | OnDisk) -> int:
    """The number of the checkpoint of a position: how many chunks are done."""
    return position.epoch * epochs.chunks + position.chunk


def _ended(recipe: Recipe, position: Position) -> bool:
    """Whether no epoch is left to train."""
    state, done = position.state, position.epoch
    best_epoch = 0 if state.best is None else np.asarray(state.best.epoch)
    return done == recipe.epochs or bool(
        ended(recipe, np.asarray(state.diverged_at), done, best_epoch)
    )
