"""train: the host loop over the same compiled epoch that `fit` scans, for progress, checkpoints and
Ctrl-C.
"""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxnet.core.recipe import Recipe, resolved
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
from jaxnet.engine.failure import failure_of
from jaxnet.engine.fingerprint import describe_training
from jaxnet.engine.fit import ALL_AT_ONCE
from jaxnet.engine.in_memory import InMemory, in_memory
from jaxnet.engine.resume import (
    Checkpoint,
    CheckpointWithin,
    CheckpointWriter,
    Position,
    checkpoint_of,
    last_checkpoint,
    next_position,
    number_of,
    position_of,
)
from jaxnet.engine.streamed import OnDisk, on_disk
from jaxnet.errors import InputError, check_kind, renamed
from jaxnet.models.losses import Loss
from jaxnet.models.model import Model
from jaxnet.progress import COMPILING, of_epochs, phase, showing
from jaxnet.random import AnyKey, as_key, with_key_data
from jaxnet.runtime.files import check_folder, then
from jaxnet.runtime.interrupts import caught_signals, log_to
from jaxnet.runtime.plan import Plan
from jaxnet.runtime.processes import is_first, once
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


@renamed(watch="progress")
@showing(of_epochs)
def train(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: AnyKey,
    *,
    out: str | Path | None = None,
    progress: Callable[[int, EpochMetrics], None] | Literal[False] | None = None,
    order_key: AnyKey | None = None,
    weights: Float[Array | np.ndarray, " examples"] | None = None,
    sample: RowsAndCount | None = None,
    loss: Loss | None = None,
    params: PyTree | None = None,
    plan: Plan = ALL_AT_ONCE,
    pace: Pace | None = None,
    signals: int | None = None,
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
        progress: None shows one line in a terminal or a notebook, and nothing elsewhere; False
            shows nothing; a function is called with (number of epochs done, metrics of the last
            one) before the first epoch and after each.
        order_key: as in `fit`.
        weights: as in `fit`; the training set must be in memory.
        sample: as in `fit`; the training set must be in memory.
        loss: as in `fit`.
        params: as in `fit`.
        plan: as in `fit`.
        pace: how often there is a checkpoint or a message; no number depends on it.
        signals: as in `fit`; the training set must be in memory. If the training diverges, it is
            repeated up to that step, to find the first number that is not finite (`Run.failure`).

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
    arguments.check_surroundings(out)
    pace = Pace() if pace is None else pace
    arguments.check_signals(signals)
    check_kind("pace", pace, Pace, "a Pace, or leave it out")
    given = splits.train
    recipe = resolved(recipe, len(given))
    if isinstance(given, Stream) and any(each is not None for each in (weights, sample, signals)):
        raise InputError(
            "weights and sample need the training set in memory, and so do signals, and this one "
            "stays on disk; leave them out"
        )
    held = replace(splits, train=given.empty) if isinstance(given, Stream) else splits
    problem, order_key = arguments.check_arguments(
        Problem(model, held, recipe, loss, weights, sample, signals=signals), order_key
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
        problem = replace(problem, signals=epochs.problem.signals)
    phase(*COMPILING)
    checkpoint, found = _compile_and_begin(epochs, problem, begin, folder, about)
    position = position_of(checkpoint, epochs.plan)
    with (
        then(
            "then train again with the same arguments and the same out: what is saved in "
            f"{folder} is continued"
        ),
        caught_signals(catch=folder is not None) as caught,
        log_to(folder if is_first() else None) as log,
    ):
        writer = None
        if folder is not None:
            share = pace.checkpoint_share
            saved = number_of(position, epochs) if found else None
            writer = CheckpointWriter(folder, about, epochs, share, log, caught, saved)
        position = _run(epochs, position, problem.recipe, writer, progress or None, log)
    state = epochs.plan.fetch(position.state)
    run = finish(replace(problem, splits=held), state, jax.device_put(position.history))
    if problem.signals is None or not bool(run.diverged):
        return run
    return replace(run, failure=failure_of(problem, key, order_key, params, run))


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
        nothing = blank_metrics(problem, problem.recipe.epochs), epochs.within
        found = None
        if folder is not None:
            found = last_checkpoint(folder, checkpoint_of(shape, *nothing), about())
        if found is not None:
            return found, True
        return checkpoint_of(fresh.result(), *nothing), False


def _run(
    epochs: InMemory | OnDisk,
    position: Position,
    recipe: Recipe,
    writer: CheckpointWriter | None,
    progress: Callable[[int, EpochMetrics], None] | None,
    log: Callable[[str], None],
) -> Position:
    """Trains until no epoch is left, one chunk after the other, and returns the last position."""
    phase("training", total=recipe.epochs)
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
            position = next_position(position, state, within, metrics)
            if metrics is not None:
                log(f"epoch {position.epoch}")
                if progress is not None:
                    progress(position.epoch, metrics)
                over = _ended(recipe, position)
            if writer is not None:
                writer.after_chunk(position, over=over)
    return position


@jax.jit
def _start(
    problem: Problem, key: Array, order_key: Array | None, params: PyTree | None
) -> TrainState:
    return start(problem, key, order_key=order_key, params=params)


def _ended(recipe: Recipe, position: Position) -> bool:
    """Whether no epoch is left to train."""
    state, done = position.state, position.epoch
    best_epoch = 0 if state.best is None else np.asarray(state.best.epoch)
    return done == recipe.epochs or bool(
        ended(recipe, np.asarray(state.diverged_at), done, best_epoch)
    )
