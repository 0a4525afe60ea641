"""Where a training first met a number that is not finite: it is trained again up to that step,
which is then computed one operation at a time.
"""

import functools

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxnet.core.failure import Failure, examine
from jaxnet.core.recipe import Recipe
from jaxnet.core.run import Run
from jaxnet.core.training import Batch, Problem, TrainState, epoch, run_steps, shuffle, start
from jaxnet.data import Splits
from jaxnet.engine import arguments
from jaxnet.models.losses import Loss
from jaxnet.models.model import Model
from jaxnet.random import AnyKey, as_key
from jaxnet.typing import RowsAndCount


def find_failure(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: AnyKey,
    run: Run,
    *,
    order_key: AnyKey | None = None,
    weights: Float[Array | np.ndarray, " examples"] | None = None,
    sample: RowsAndCount | None = None,
    loss: Loss | None = None,
    params: PyTree | None = None,
) -> Failure | None:
    """Finds the first number of a diverged training that was not finite, by training it again up to
    that step.

    Args:
        model: the network.
        splits: the data.
        recipe: every hyperparameter.
        key: the random key, as `fit` was given it.
        run: what `fit` or `train` returned, or a member of a population.
        order_key: as `fit` was given it.
        weights: as `fit` was given it.
        sample: as `fit` was given it.
        loss: as `fit` was given it.
        params: as `fit` was given it.

    Returns:
        The failure. None where nothing diverged, and where all is finite when each operation is
        computed by itself.

    Raises:
        InputError: for invalid arguments.
    """
    arguments.check(model=model, splits=splits, recipe=recipe, run=run)
    given = Problem(model, splits, recipe, loss, weights, sample)
    problem, order_key = arguments.check_arguments(given, order_key)
    params = arguments.check_params(problem, params)
    return failure_of(problem, as_key("key", key), order_key, params, run)


def failure_of(
    problem: Problem, key: Array, order_key: Array | None, params: PyTree | None, run: Run
) -> Failure | None:
    """`find_failure` of a problem that is ready."""
    if not bool(run.diverged):
        return None
    steps, at = problem.steps, int(run.diverged_at)
    last = int(run.epochs) * steps - 1 if at < 0 else at
    before = begin = _start(problem, key, order_key, params)
    for _ in range(last // steps):
        before, begin = begin, _epoch(problem, begin)
    state, batch = _advanced(problem, begin, last % steps)
    if at > 0 and not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params)):
        # The loss is not finite because the step before left such parameters.
        begin = begin if last % steps else before
        state, batch = _advanced(problem, begin, (last - 1) % steps)
    return examine(problem, state, batch)


@jax.jit
def _start(
    problem: Problem, key: Array, order_key: Array | None, params: PyTree | None
) -> TrainState:
    return start(problem, key, order_key=order_key, params=params)


@jax.jit
def _epoch(problem: Problem, state: TrainState) -> TrainState:
    return epoch(problem, state, run_steps)[0]


@functools.partial(jax.jit, static_argnames="count")
def _advanced(problem: Problem, state: TrainState, count: int) -> tuple[TrainState, Batch]:
    """The state after so many steps of the next epoch, and the batch of the step after them."""
    batches = shuffle(problem, state)
    first = jax.tree.map(lambda leaf: leaf[:count], batches)
    batch = jax.tree.map(lambda leaf: leaf[count], batches)
    return run_steps(problem, state, first)[0], batch
