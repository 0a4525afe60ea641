"""train: the host loop over the same compiled epoch that `fit` scans, for progress, checkpoints and Ctrl-C."""

import functools
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from .checkpoint import checksum, describe_recipe, restore_progress, save_progress
from .data import Splits
from .devices import Plan
from .implementations import choose
from .losses import Loss
from .models import Model, with_outputs
from .processes import agreed, first, meet
from .recipe import Recipe
from .run import Row, Run, over
from .stopping import Interrupted, log_to, signals
from .training import ALL_AT_ONCE, Extras, Pair, TrainState, admit, blank_row, epoch, finish, start

CHECKPOINT_SHARE = 0.1  # of the time may go into checkpoints


class Progress(NamedTuple):
    """An unfinished training: its state, and a history with NaN for the epochs to come."""

    state: TrainState
    history: Row


def train(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: Key[Array, ""],
    *,
    out: str | Path | None = None,
    watch: Callable[[int, Row], None] | None = None,
    order_key: Key[Array, ""] | None = None,
    weights: Float[Array | np.ndarray, " examples"] | None = None,
    sample: Pair | None = None,
    loss: Loss | None = None,
    params: PyTree | None = None,
    plan: Plan = ALL_AT_ONCE,
) -> Run:
    """What `fit` computes, an epoch at a time.

    out: a folder for checkpoints (in out/state, about a tenth of the time goes into them) and a log (out/log.txt).
        If it holds an unfinished training of the same, that one is continued; of something else, InputError
        (a custom model, loss or optimizer is known by its name alone).
    watch: called with the number of epochs done and the last Row, after each and once before the first.
    The rest is as in `fit`. Raises Interrupted where Ctrl-C or SIGTERM came, with the state saved in out.
    Of several processes all read what is in out, which must be a folder that all see, and the first writes.
    """
    seen, recipe, extras = admit(splits, recipe, key, order_key, weights, sample)
    model = with_outputs(model, splits.train.outputs)
    plan = choose(plan, model, seen, recipe, loss=loss, weighted=weights is not None)
    begin = functools.partial(_start, model, seen, recipe, key, extras.order_key, params)
    progress, about = None, {}
    folder = None if out is None else Path(out).absolute()
    with ThreadPoolExecutor(1) as pool:
        # Two programs, two cores. The epoch is compiled for the shapes to come; the call in the loop then finds it.
        begun = pool.submit(begin)
        shape = jax.eval_shape(begin)
        seen, extras = plan.place((seen, extras))
        placed = shape
        if plan.parts > 1:
            placed = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=plan.sharding), shape)
        _epoch.lower(model, loss, plan, seen, recipe, placed, extras).compile()
        if folder is not None:
            about = _identity(model, splits, recipe, key, extras, params, loss)
            progress = restore_progress(folder / "state", Progress(shape, blank_row(splits, recipe.epochs)), about)
            meet("restored")  # before the first one writes again
        state, history = progress or Progress(begun.result(), blank_row(splits, recipe.epochs))
    state, history = plan.place(state), jax.tree.map(np.array, history)
    done, spent, began = int(state.epoch), 0.0, time.monotonic()
    with signals(catch=folder is not None) as caught, log_to(folder if first() else None) as log:
        log(f"begin at {done}")
        if watch is not None:
            watch(done, jax.tree.map(lambda column: column[done - 1], history))
        while not _over(recipe, state, done):
            state, row = _epoch(model, loss, plan, seen, recipe, state, extras)
            for column, value in zip(jax.tree.leaves(history), jax.tree.leaves(row), strict=True):
                column[done] = value
            done += 1
            log(f"epoch {done}")
            if watch is not None:
                watch(done, row)
            last = _over(recipe, state, done)
            if folder is not None:
                due, asked = last or spent <= CHECKPOINT_SHARE * (time.monotonic() - began), bool(caught)
                due, asked = agreed(due, asked)
                if due or asked:
                    clock = time.monotonic()
                    save_progress(folder / "state", done, Progress(plan.fetch(state), history), about)
                    spent += time.monotonic() - clock
                    log(f"checkpoint {done}")
                if asked:
                    raise Interrupted(caught[0] if caught else signal.SIGTERM, f"after epoch {done}", folder)
    state = plan.fetch(state)
    return finish(model, splits, recipe, state, jax.device_put(history))


@functools.partial(jax.jit, static_argnames="model")
def _start(model: Model, splits: Splits, recipe: Recipe, key: Array, order_key: Array | None, params: PyTree | None) -> TrainState:
    return start(model, splits, recipe, key, order_key=order_key, params=params)


@functools.partial(jax.jit, static_argnames=("model", "loss", "plan"), donate_argnames="state")
def _epoch(
    model: Model, loss: Loss | None, plan: Plan, splits: Splits, recipe: Recipe, state: TrainState, extras: Extras
) -> tuple[TrainState, Row]:
    return epoch(model, splits, recipe, state, weights=extras.weights, sample=extras.sample, loss=loss, plan=plan)


def _over(recipe: Recipe, state: TrainState, done: int) -> bool:
    """Whether no epoch is left to train."""
    best_epoch = 0 if state.best is None else np.asarray(state.best.epoch)
    return done == recipe.epochs or bool(over(recipe, np.asarray(state.diverged_at), done, best_epoch))


def _identity(
    model: Model, splits: Splits, recipe: Recipe, key: Array, extras: Extras, params: PyTree | None, loss: Loss | None
) -> dict[str, Any]:
    """What a training is of, since it can be continued only by the same. Functions are known by their names alone."""
    return {
        "model": model.name,
        "data": {"name": splits.name, "examples": len(splits.train), "checksum": checksum((splits.train, splits.validation))},
        "recipe": describe_recipe(recipe),
        "key": checksum(key),
        "loss": None if loss is None else getattr(loss, "__qualname__", type(loss).__name__),
        "weights, sample, order key or params": checksum((extras, params)),
    }
