"""Which function runs the steps of an epoch, for a plan: micro-batches transform the gradient, data
parallelism wraps `run_steps` around it, and the TPU kernel takes the place of `run_steps`.

    run_steps_on(plan)          the function that runs an epoch's steps where the plan says
    accumulated(micro_batch)    the gradient of a batch, `micro_batch` examples at a time
    data_parallel(plan)         run_steps with each batch split over the devices of the plan

All compute the same numbers, except for rounding, the partners in mixup, and random numbers that
models of your own draw.
"""

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import PartitionSpec
from jaxtyping import Array, PyTree

from jaxnet.core.training import (
    Batch,
    Gradient,
    Problem,
    RunSteps,
    TrainState,
    mean_gradient,
    run_steps,
)
from jaxnet.errors import InputError
from jaxnet.runtime.plan import Plan


def run_steps_on(plan: Plan) -> RunSteps:
    """Returns the function that runs an epoch's steps, for a plan whose implementation is chosen.

    The function raises InputError for a plan that does not divide the batches.
    """
    if plan.implementation == "resident" and not plan.splits_batches:
        from jaxnet.kernels import resident_steps  # which imports Pallas

        return resident_steps.run_steps

    def checked(problem: Problem, state: TrainState, batches: Batch) -> tuple[TrainState, Array]:
        _check_plan(plan, problem, state)
        return chosen(problem, state, batches)

    chosen: RunSteps = run_steps
    if plan.total_devices != 1:
        chosen = data_parallel(plan)
    elif plan.micro_batch is not None:
        chosen = functools.partial(run_steps, gradient=accumulated(plan.micro_batch))
    return checked


def accumulated(micro_batch: int) -> Gradient:
    """`mean_gradient` of a batch, `micro_batch` examples at a time, for a cache or a memory that
    does not hold all of it.
    """

    def gradient(
        problem: Problem, x: Array | np.ndarray, state: TrainState, batch: Batch
    ) -> tuple[PyTree, Array, Array, PyTree]:
        count = len(batch.rows) // micro_batch
        begin = 0 if batch.offset is None else batch.offset
        each = (
            begin + jnp.arange(count, dtype=jnp.int32) * micro_batch,
            batch.rows.reshape(count, micro_batch),
            None if batch.mask is None else batch.mask.reshape(count, micro_batch),
        )

        def add(total: PyTree, each: tuple[Array, Array, Array | None]) -> tuple[PyTree, None]:
            offset, rows, mask = each
            own = mean_gradient(
                problem, x, state, batch._replace(offset=offset, rows=rows, mask=mask)
            )
            return jax.tree.map(jnp.add, total, own[:3]), None

        sums = jnp.zeros(2 if problem.splits.counted else 1, jnp.float32)
        zeros = jax.tree.map(jnp.zeros_like, (state.params, jnp.float32(0), sums))
        (grads, loss, sums), _ = jax.lax.scan(add, zeros, each)
        return grads, loss, sums, state.model_state

    return gradient


def data_parallel(plan: Plan) -> RunSteps:
    """`run_steps` with each batch split over the devices of a plan, which add their gradients at
    every step.

    A training set that is streamed is split over them as well, and its rows are numbered on each
    device.
    """

    def split(problem: Problem, state: TrainState, batches: Batch) -> tuple[TrainState, Array]:
        share = problem.batch_size // plan.total_devices
        of_share = accumulated(plan.micro_batch or share)

        def summed(
            problem: Problem, x: Array | np.ndarray, state: TrainState, batch: Batch
        ) -> tuple[PyTree, Array, Array, PyTree]:
            own = batch._replace(offset=jax.lax.axis_index("batch") * share)
            grads, loss, sums, model_state = of_share(problem, x, state, own)
            # One array: XLA would send the sums, which no step needs, in a message of their own.
            joined = jnp.concatenate([loss[None], sums])
            grads, joined = _over_devices(plan, (grads, joined))
            return grads, joined[0], joined[1:], model_state

        def on_each_device(
            problem: Problem, state: TrainState, batches: Batch
        ) -> tuple[TrainState, Array]:
            return run_steps(problem, state, batches, summed)

        whole: Any = PartitionSpec()
        parts: Any = PartitionSpec(None, "batch")
        of_problem = whole
        if problem.streamed is not None:
            of_problem = jax.tree.map(lambda _: whole, problem)
            train = jax.tree.map(lambda _: PartitionSpec("batch"), problem.splits.train)
            of_problem = replace(of_problem, splits=replace(of_problem.splits, train=train))
        specs = (of_problem, whole, Batch(step=whole, rows=parts, size=whole, mask=parts))
        on_all = jax.shard_map(
            on_each_device, mesh=plan.mesh, in_specs=specs, out_specs=whole, check_vma=False
        )
        return on_all(problem, state, batches)

    return split


def _over_devices(plan: Plan, parts: PyTree) -> PyTree:
    """The sum over the devices that share a batch, as one message."""
    if plan.processes == 1 or plan.mesh.devices.flat[0].platform != "cpu":
        return jax.lax.psum(parts, "batch")  # XLA makes it one, or needs no message
    # Of XLA on CPUs each array is a message: a step of 64-128-64-10 over two processes took 3.8 ms,
    # and takes 1.7.
    flat, apart = ravel_pytree(parts)
    return apart(jax.lax.psum(flat, "batch"))


def _check_plan(plan: Plan, problem: Problem, state: TrainState) -> None:
    """Raise InputError for a plan that does not divide these batches."""
    batch = problem.batch_size
    if plan.chunk != 1:
        raise InputError(
            f"the plan has chunk {plan.chunk}, of members of a population; one training has none"
        )
    if not plan.splits_batches:
        return
    if plan.implementation == "resident":
        raise NotImplementedError(
            "a plan that divides batches, for the kernel, which computes each batch as a whole on "
            "one chip; give the plan one device and no micro_batch, or implementation 'xla'"
        )
    if jax.tree.leaves(state.model_state):
        raise InputError(
            "a network with batch statistics needs each batch whole; give the plan one device and "
            "no micro_batch"
        )
    if plan.total_devices < 1 or batch % plan.total_devices:
        raise InputError(
            f"{plan.total_devices} devices do not divide a batch of {batch}; give a plan that does"
        )
    if plan.micro_batch is not None and (
        plan.micro_batch < 1 or batch // plan.total_devices % plan.micro_batch
    ):
        raise InputError(
            f"micro_batch {plan.micro_batch} does not divide the "
            f"{batch // plan.total_devices} examples that a device gets of a batch; give one that "
            "does"
        )
