"""The compiled programs of a population: one that begins a wave of members, one that trains it.

A wave is as many members as the devices train at once. A call of a program trains a wave for a few
epochs, with `epoch` of jaxnet/core/training.py mapped over its members.
"""

import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Int

from jaxnet.core.training import EpochMetrics, TrainState, blank_metrics, epoch, start, state_keys
from jaxnet.engine.parallel import run_steps_on
from jaxnet.kernels.dispatch import choose
from jaxnet.population.job import Job, Own, Shared
from jaxnet.runtime.plan import Plan
from jaxnet.runtime.sharding import COPIED, SPLIT, device_mesh, spread

# LLVM's: kernels as fast as of level 3, for 0.6 of the time to compile
OPTIONS = {"cpu": {"xla_backend_optimization_level": 1}}


class Setting(NamedTuple):
    """What a program is compiled for, besides its arguments.

    Attributes:
        key_type: the implementation of the random keys.
        mesh: the devices.
        plan: how a device computes the steps of each member.
    """

    key_type: str
    mesh: Mesh
    plan: Plan


class Program(NamedTuple):
    """The programs of a job for a number of members on some devices, while they are compiled.

    Attributes:
        plan: how many devices, and how many members each trains at once.
        mesh: the devices.
        members: how many members a wave has.
        begin: (shared, own) -> the states before the first epoch.
        advance: (shared, own, epochs done, epochs to reach, states, histories) -> the last two.
    """

    plan: Plan
    mesh: Mesh
    members: int
    begin: Future[Callable[..., TrainState]]
    advance: Future[Callable[..., tuple[TrainState, EpochMetrics]]]


class DoesNotFitError(Exception):
    """What is trained at once outgrows the memory of a device."""


@contextmanager
def fitting() -> Iterator[None]:
    """A context that turns JAX's error for memory that is exhausted into DoesNotFitError."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            raise DoesNotFitError(str(error)) from error
        raise


def compile_program(
    job: Job, plan: Plan, devices: tuple[Any, ...], pool: ThreadPoolExecutor
) -> Program:
    """Compile the program of a job in the threads of a pool.

    Args:
        job: the members.
        plan: how many members each device trains at once, and how.
        devices: the devices.
        pool: the threads.

    Returns:
        The program, at once; its futures are done when it is compiled.
    """
    members, mesh = plan.chunk * plan.devices, device_mesh(devices)
    on_each = Plan(micro_batch=plan.micro_batch, implementation=plan.implementation)
    setting = Setting(job.key_type, mesh, on_each)

    def split(leaf: Any) -> jax.ShapeDtypeStruct:
        spec = SPLIT if len(leaf.shape) else COPIED
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, spec))

    def copied(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, COPIED))

    begin_, advance_ = _jitted(devices[0].platform)
    shared = jax.tree.map(copied, job.shared)
    own = jax.tree.map(split, job.own(job.members[np.zeros(members, int)]))

    # Traced once: two threads that traced it at the same time would leave one trace in JAX's cache
    # and compile the other.
    traced = pool.submit(begin_.trace, setting, shared, own)

    def compile_begin() -> Callable[..., TrainState]:
        return traced.result().lower().compile()

    def compile_advance() -> Callable[..., tuple[TrainState, EpochMetrics]]:
        state = jax.tree.map(split, traced.result().out_info)
        history = jax.tree.map(split, blank_metrics(job.problem, members, job.epochs))
        place = np.int32(0)
        return advance_.lower(setting, shared, own, place, place, state, history).compile()

    return Program(plan, mesh, members, pool.submit(compile_begin), pool.submit(compile_advance))


def begin(setting: Setting, shared: Shared, own: Own) -> TrainState:
    """The states of a wave before the first epoch, without keys: each call makes them anew."""

    def one(shared: Shared, own: Own) -> TrainState:
        problem, key, _ = own
        problem = replace(problem, splits=shared[0], weights=None, sample=None)
        state = start(problem, jax.random.wrap_key_data(jnp.asarray(key), impl=setting.key_type))
        return state._replace(key=None, order_key=None)

    return spread(one, setting.mesh, shared, own)


def advance(
    setting: Setting,
    shared: Shared,
    own: Own,
    done: Int[Array, ""],
    until: Int[Array, ""],
    state: TrainState,
    history: EpochMetrics,
) -> tuple[TrainState, EpochMetrics]:
    """A wave trained from `done` epochs to `until`.

    Args:
        setting: what the program is compiled for.
        shared: what all members share.
        own: what the members differ in, with a leading axis of them, as `state` and `history` have
            it.
        done: how many epochs the members have, or would have if none had ended.
        until: how many they are to have.
        state: their states, without keys.
        history: (members, epochs) arrays, of which the rows from `done` to `until` are filled.

    Returns:
        (state, history).
    """
    wrap: Callable[[Any], Array] = functools.partial(
        jax.random.wrap_key_data, impl=setting.key_type
    )

    def one(
        shared: tuple[Shared, Array, Array], own: tuple[Own, TrainState, EpochMetrics]
    ) -> tuple[TrainState, EpochMetrics]:
        (splits, one_order), done, until = shared
        (problem, key, own_order), state, history = own
        order = own_order if one_order is None else one_order
        dropout_key, order_key = state_keys(wrap(key), None if order is None else wrap(order))
        problem = replace(problem, splits=splits)
        run_steps = run_steps_on(choose(setting.plan, problem))

        def go_on(
            carry: tuple[Array, TrainState, EpochMetrics],
        ) -> tuple[Array, TrainState, EpochMetrics]:
            # The number of the epoch is the same for all, so that members that share an order key
            # share its order.
            number, state, history = carry
            now = state._replace(key=dropout_key, order_key=order_key, epoch=number)
            new, metrics = epoch(problem, now, run_steps)
            trained = jnp.where(new.epoch > number, new.epoch, state.epoch)
            history = jax.tree.map(
                lambda column, value: jax.lax.dynamic_update_index_in_dim(column, value, number, 0),
                history,
                metrics,
            )
            return number + 1, new._replace(key=None, order_key=None, epoch=trained), history

        return jax.lax.while_loop(lambda carry: carry[0] < until, go_on, (done, state, history))[1:]

    return spread(one, setting.mesh, (shared, done, until), (own, state, history))


@functools.cache
def _jitted(platform: str) -> tuple[Any, Any]:
    """`begin` and `advance`, compiled for a platform. A level that XLA_FLAGS gives goes first."""
    given = "xla_backend_optimization_level" in os.environ.get("XLA_FLAGS", "")
    options = {"compiler_options": None if given else OPTIONS.get(platform)}
    return jax.jit(begin, static_argnames="setting", **options), jax.jit(
        advance, static_argnames="setting", donate_argnames=("state", "history"), **options
    )
