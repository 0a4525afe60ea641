"""start, epoch and fit as public verbs: arguments are checked, and who computes is chosen, once,
before the fold begins.

What they compute is in jaxnet/core/training.py, and depends on none of the choices made here, but
to rounding.
"""

import functools
from dataclasses import asdict, replace

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxnet.core import training
from jaxnet.core.recipe import Recipe, check, resolved
from jaxnet.core.run import Run, finish
from jaxnet.core.training import EpochMetrics, Problem, TrainState
from jaxnet.data import Splits
from jaxnet.data.dataset import on_device
from jaxnet.engine import arguments
from jaxnet.engine.agreement import check_agreement
from jaxnet.engine.fingerprint import describe_training
from jaxnet.engine.parallel import run_steps_on
from jaxnet.errors import check_kind
from jaxnet.kernels.dispatch import choose
from jaxnet.models.losses import Loss, check_loss
from jaxnet.models.model import Model, at_most_32_bits, with_outputs
from jaxnet.random import AnyKey, as_key
from jaxnet.runtime.plan import Plan
from jaxnet.typing import RowsAndCount

ALL_AT_ONCE = Plan()


def fit(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: AnyKey,
    *,
    order_key: AnyKey | None = None,
    weights: Float[Array | np.ndarray, " examples"] | None = None,
    sample: RowsAndCount | None = None,
    loss: Loss | None = None,
    params: PyTree | None = None,
    plan: Plan = ALL_AT_ONCE,
    signals: int | None = None,
) -> Run:
    """Trains a network for all epochs as one compiled program; inside jit or vmap it is traced.

    Args:
        model: the network.
        splits: the data. The test set is not looked at.
        recipe: every hyperparameter.
        key: the random key of initialization and dropout.
        order_key: the random key of the order of examples and of augmentation; by default `key`.
        weights: (examples,) factors of the losses of the training examples. Weights with mean 1
            keep the scale of the loss.
        sample: (row numbers padded to the number of training examples, how many of them count); the
            network is trained on these rows only, in as many steps as on all of them.
        loss: a function (outputs, targets) -> one number per example; by default cross_entropy for
            classes, and squared error for values.
        params: parameters to start from.
        plan: where it runs; by default on one device, with each batch computed at once. Processes
            that share batches all call this with the same arguments.
        signals: at how many steps of each epoch to measure gradients, updates and units of each
            layer, such as 16; `history.signals` has them. They change no bit of the parameters.
            None, the default, measures nothing and costs nothing.

    Returns:
        The trained network. What happened in training, divergence included, is in `Run.status`.

    Raises:
        InputError: for invalid arguments.
    """
    arguments.check(model=model, splits=splits, recipe=recipe, plan=plan)
    key = as_key("key", key)
    arguments.check_signals(signals)
    given = Problem(model, splits, recipe, loss, weights, sample, signals=signals)
    problem, order_key = arguments.check_arguments(given, order_key)
    params = arguments.check_params(problem, params)
    started = key, order_key, params
    if plan.processes > 1 and not any(
        isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((problem, started))
    ):
        check_agreement(
            lambda: {"call": "fit", **describe_training(given, *started), "plan": asdict(plan)}
        )
    plan = choose(plan, problem)
    problem = arguments.without_signals_of_kernel(plan, problem)
    run = plan.fetch(_fit(plan, *plan.place((problem, *started))))
    own = splits.standardization
    return replace(
        run,
        standardization=run.standardization._replace(
            origin=own.origin, target_origin=own.target_origin
        ),
    )


def start(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: AnyKey,
    *,
    order_key: AnyKey | None = None,
    params: PyTree | None = None,
) -> TrainState:
    """Creates the state before the first epoch: parameters, optimizer state and keys.

    Args:
        model: the network.
        splits: the data.
        recipe: every hyperparameter.
        key: the random key of initialization and dropout.
        order_key: the random key of the order of examples and of augmentation; by default `key`.
        params: parameters to start from.

    Returns:
        The state.

    Raises:
        InputError: for invalid arguments.
    """
    arguments.check(model=model, splits=splits, recipe=recipe)
    key, order_key = (
        as_key("key", key),
        None if order_key is None else as_key("order_key", order_key),
    )
    check(recipe, has_validation=len(splits.validation) > 0)
    recipe = resolved(recipe, len(splits.train))
    problem = Problem(with_outputs(model, splits.train.outputs), splits, at_most_32_bits(recipe))
    return training.start(
        problem, key, order_key=order_key, params=arguments.check_params(problem, params)
    )


def epoch(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    state: TrainState,
    *,
    weights: Float[Array | np.ndarray, " examples"] | None = None,
    sample: RowsAndCount | None = None,
    loss: Loss | None = None,
    plan: Plan = ALL_AT_ONCE,
) -> tuple[TrainState, EpochMetrics]:
    """Trains on every example once, in a new random order, and then evaluates the validation set.

    It is not compiled: jit it before you loop over it, as `train` does.

    Args:
        model: the network.
        splits: the data.
        recipe: every hyperparameter.
        state: the state after the previous epoch, or of `start`.
        weights: as in `fit`.
        sample: as in `fit`.
        loss: as in `fit`.
        plan: as in `fit`.

    Returns:
        The new state and the metrics of the epoch. A state that has diverged or stopped early is
        returned unchanged, with metrics of NaN.

    Raises:
        InputError: for invalid arguments.
    """
    arguments.check(model=model, splits=splits, recipe=recipe, plan=plan)
    check_kind(
        "state", state, TrainState, "a TrainState, as jaxnet.start and jaxnet.epoch return it"
    )
    check_loss(loss)
    check(recipe, has_validation=state.best is not None)
    recipe = resolved(recipe, len(splits.train))
    model, splits = with_outputs(model, splits.train.outputs), on_device(splits)
    problem = Problem(model, splits, at_most_32_bits(recipe), loss, weights, sample)
    return training.epoch(problem, state, run_steps_on(choose(plan, problem)))


@functools.partial(jax.jit, static_argnames="plan")
def _fit(
    plan: Plan, problem: Problem, key: Array, order_key: Array | None, params: PyTree | None
) -> Run:
    state, history = training.fit(
        problem, key, run_steps_on(plan), order_key=order_key, params=params
    )
    return finish(problem, state, history)
