"""train: the host loop over the same compiled epoch that `fit` scans, for progress, checkpoints and
Ctrl-C.
"""

import functools
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

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
    streams,
)
from jaxnet.data import Splits, Stream
from jaxnet.engine import arguments
from jaxnet.engine.agreement import check_agreement, outline
from jaxnet.engine.checkpoint import restore_progress, save_progress, set_aside
from jaxnet.engine.fingerprint import check_same, describe_training
from jaxnet.engine.fit import ALL_AT_ONCE
from jaxnet.engine.in_memory import in_memory
from jaxnet.engine.streamed import ChunkSums, on_disk
from jaxnet.errors import InputError, renamed
from jaxnet.models.losses import Loss
from jaxnet.models.model import Model
from jaxnet.random import AnyKey, as_key, with_key_data
from jaxnet.runtime.files import check_folder, then
from jaxnet.runtime.interrupts import Interrupted, log_to, signals
from jaxnet.runtime.plan import Plan
from jaxnet.runtime.processes import any_process, is_first, once
from jaxnet.typing import RowsAndCount


@dataclass(frozen=True)
class Intervals:
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
    intervals: Intervals = Intervals(),
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
        intervals: how often there is a checkpoint or a message; no number depends on it.

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
    given, whole = splits.train, splits
    if isinstance(given, Stream):
        if weights is not None or sample is not None:
            raise InputError(
                "weights and sample need the training set in memory, and this one stays on disk; "
                "leave them out"
            )
        splits = replace(splits, train=given.empty)
    problem, order_key = arguments.check_arguments(
        Problem(model, splits, recipe, loss, weights, sample), order_key
    )
    params = arguments.check_params(problem, params)
    folder = None if out is None else Path(out).absolute()
    begin = functools.partial(_start, problem, key, order_key, params)

    @functools.cache
    def about() -> dict[str, Any]:
        return describe_training(replace(problem, splits=whole), key, order_key, params)

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
    on_stream = isinstance(given, Stream)
    epochs = (
        on_disk(plan, problem, given, streams(key, order_key)[1], intervals.message_seconds)
        if on_stream
        else in_memory(plan, problem)
    )
    plan, found = epochs.plan, None
    with ThreadPoolExecutor(1) as pool:
        # Two programs, two cores. The epoch is compiled for the shapes to come; the call in the
        # loop then finds it.
        begun = pool.submit(begin)
        shape = jax.eval_shape(begin)
        if folder is not None:
            size = sum(
                leaf.size * leaf.dtype.itemsize
                for leaf in jax.tree.leaves(jax.eval_shape(with_key_data, shape))
            )
            once(functools.partial(check_folder, folder, size))
        placed = shape
        if plan.total_devices > 1:
            placed = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=plan.sharding),
                shape,
            )
        epochs.compile(placed)
        nothing = blank_metrics(splits, recipe.epochs), epochs.within
        if folder is not None:
            found, damaged = restore_progress(
                folder / "state", _checkpoint(shape, *nothing), about()
            )
            place = (
                None
                if found is None
                else (
                    found.state.epoch,
                    found.within if isinstance(found, CheckpointWithin) else (),
                )
            )
            check_same(place, where=folder)  # and so before the first one writes again
            if found is not None:
                set_aside(
                    damaged,
                    "training goes on from an older checkpoint, after epoch "
                    f"{int(found.state.epoch)}",
                )
        fresh = found is None
        found = found or _checkpoint(begun.result(), *nothing)
    state, history = plan.place(found.state), jax.tree.map(np.array, found.history)
    within: Any = plan.place(found.within) if isinstance(found, CheckpointWithin) else None
    done, part = int(state.epoch), 0 if within is None else int(within.chunks)
    spent, began, saved = 0.0, time.monotonic(), None if fresh else done * epochs.chunks + part
    with (
        then(
            "then train again with the same arguments and the same out: what is saved in "
            f"{folder} is continued"
        ),
        signals(catch=folder is not None) as caught,
        log_to(folder if is_first() else None) as log,
        closing(epochs.reach(state, within, log)) as parts,
    ):

        def save() -> None:
            nonlocal spent, saved
            assert folder is not None
            if saved == (number := done * epochs.chunks + part):
                return
            jax.block_until_ready(state)  # what this waits for is no time of the checkpoint's
            clock = time.monotonic()
            save_progress(
                folder / "state",
                number,
                _checkpoint(plan.fetch(state), history, plan.fetch(within)),
                about(),
            )
            spent, saved = spent + time.monotonic() - clock, number
            log(f"checkpoint {number}")

        log(f"begin at {done}" + (f", part {part}" if part else ""))
        if progress is not None:
            progress(done, jax.tree.map(lambda column: column[done - 1], history))
        last = _ended(recipe, state, done)
        while not last:
            try:
                state, within, metrics = next(parts)
            except InputError:  # a row that cannot be used
                if folder is not None:
                    save()
                raise
            part += 1
            if metrics is not None:
                for column, value in zip(
                    jax.tree.leaves(history), jax.tree.leaves(metrics), strict=True
                ):
                    column[done] = value
                done, part = done + 1, 0
                log(f"epoch {done}")
                if progress is not None:
                    progress(done, metrics)
                last = _ended(recipe, state, done)
            if folder is not None:
                room = intervals.checkpoint_share * (time.monotonic() - began)
                due, asked = any_process(last or spent <= room, bool(caught))
                if due or asked:
                    save()
                if asked:
                    where = (
                        f"after part {part} of epoch {done + 1}" if part else f"after epoch {done}"
                    )
                    raise Interrupted(caught[0] if caught else signal.SIGTERM, where, folder)
    state = plan.fetch(state)
    return finish(replace(problem, splits=splits), state, jax.device_put(history))


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


def _ended(recipe: Recipe, state: TrainState, done: int) -> bool:
    """Whether no epoch is left to train."""
    best_epoch = 0 if state.best is None else np.asarray(state.best.epoch)
    return done == recipe.epochs or bool(
        ended(recipe, np.asarray(state.diverged_at), done, best_epoch)
    )
