"""How many members of a population a device trains at once: a fixed rule from platform, sizes and
memory, never a timing.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxnet.core.objective import forward
from jaxnet.core.training import Problem, TrainState, start
from jaxnet.data import Splits
from jaxnet.engine import arguments
from jaxnet.errors import InputError, warn_of_machine
from jaxnet.kernels.dispatch import choose
from jaxnet.models.model import input_shape, with_outputs
from jaxnet.population.job import Job, first_of
from jaxnet.population.program import Program
from jaxnet.runtime.plan import CACHE_FULL, Plan
from jaxnet.runtime.processes import cores

# operations that a step of all members of a CPU device should have, so that starting its kernels is
# no burden
STEP = 40e6
MOST = 32  # members at once on a CPU core: beyond, their states no longer fit its cache
# bytes that XLA keeps on a TPU chip from step to step, of 128: the rest is gradients and
# activations
VMEM = 70 << 20
LEAST = 8 << 30  # bytes of a GPU or TPU that does not say how many it has
SHARE = 0.8  # of a device's memory; the rest is the compiler's

# Operations that a device does while a program is compiled: 100 billion a second on a CPU core.
WHILE_COMPILING = {"cpu": 2e11}
WHILE_COMPILING_ELSEWHERE = 2e13

logger = logging.getLogger("jaxnet")


def place_members(
    job: Job, members: int, plan: Plan | None = None, *, turn: int = 0
) -> tuple[Plan, tuple[Any, ...]]:
    """Choose where members of a job are trained.

    Args:
        job: the job.
        members: how many of its members are trained.
        plan: what the user asked for; None lets a rule choose.
        turn: the place of the job among those that are trained now. Jobs that have not one member
            for each device take turns among the devices.

    Returns:
        (the plan, its devices).

    Raises:
        InputError: for a plan that this process does not have the devices for.
    """
    why, problem = "as asked for", job.problem
    if plan is None:
        alone = {} if job.samples is None else job.samples.alone(0)
        own_order = job.shared[1] is None or "sample" in alone
        plan, why = plan_for_members(
            replace(problem, weights=alone.get("weights")), members, own_order=own_order
        )
    _check(plan)
    arguments.without_signals_of_kernel(plan, problem)  # which says so
    devices = jax.local_devices()[: plan.devices]
    if members < len(devices):
        devices = [devices[turn % len(devices)]]
    plan = replace(plan, devices=len(devices), chunk=_even(members, len(devices), plan.chunk))
    logger.debug("%s: %s", problem.model.name, _described(plan, members, why))
    return plan, tuple(devices)


def fits(
    job: Job, program: Program, members: int, epochs: int, while_compiling: float | None = None
) -> bool:
    """Whether a program is good enough for the members that are left: computing its empty places
    takes no longer than compiling a smaller one.

    Args:
        job: the job of the program.
        program: the program.
        members: how many members are left.
        epochs: how many epochs they are trained.
        while_compiling: operations that a device does while a program is compiled; None takes those
            of its platform.

    Returns:
        Whether it is.
    """
    chunk, own = program.plan.chunk, math.ceil(members / program.plan.devices)
    empty = math.ceil(own / chunk) * chunk - own
    params = job.shapes(1, finished=True)[0].params
    weights = sum(leaf.size for leaf in jax.tree.leaves(params) if leaf.ndim > 2)
    operations = 6 * weights * len(job.problem.splits.train) * epochs * empty
    if while_compiling is None:
        platform = program.mesh.devices.flat[0].platform
        while_compiling = WHILE_COMPILING.get(platform, WHILE_COMPILING_ELSEWHERE)
    return operations <= while_compiling


def plan_for_members(
    problem: Problem,
    members: int,
    devices: Sequence[Any] | None = None,
    *,
    own_order: bool = True,
    implementation: str = "auto",
) -> tuple[Plan, str]:
    """Choose how many members of one architecture each device trains at once.

    Args:
        problem: what the members minimize. The numbers of its recipe may have an axis of members,
            and only the shapes of its weights matter.
        members: how many members there are.
        devices: the devices; by default all of this process.
        own_order: whether each member has minibatches of its own.
        implementation: as in `Plan`.

    Returns:
        (the plan, the reason in words).
    """
    devices = jax.local_devices() if devices is None else devices
    ready = replace(problem, model=with_outputs(problem.model, problem.splits.train.outputs))
    state = jax.eval_shape(start, first_of(ready), jax.random.key(0))
    match devices[0].platform:
        case "cpu":
            return _plan_for_cpus(problem, state, devices)
        case "tpu":
            plan = Plan(len(devices), implementation=implementation)
            return _plan_for_tpus(ready, state, members, devices[0], plan, own_order)
        case _:
            room = _memory(devices[0], problem.splits)
            each = 2 * _bytes(state) + 2 * _residuals(ready, state)
            each += 4 * 3 * len(problem.splits.train)  # weights or sample, and order
            plan = Plan(len(devices), chunk=max(1, int(room // each)))
            return plan, f"as many as {room:,.0f} bytes hold, {each:,} a member"


def plan_of_equal_waves(problem: Problem) -> Plan | None:
    """Choose how several populations of one architecture share a compiled program, however many
    members each of them has.

    Args:
        problem: what the members minimize.

    Returns:
        On a CPU one member at a time on each device: several at once are hardly faster there, and
        need a program for each number of them. None elsewhere, and for convolutions, of which the
        rule trains one member at a time in any case.
    """
    if jax.default_backend() != "cpu":
        return None
    plan = plan_for_members(problem, 1)[0]
    return replace(plan, chunk=1) if plan.micro_batch is None else None


def _plan_for_cpus(problem: Problem, state: TrainState, devices: Sequence[Any]) -> tuple[Plan, str]:
    """As many members as have enough operations in a step, and still fit the cache of a core."""
    if len(devices) == 1 and (available := cores()) > 1:
        warn_of_machine(
            f"using 1 of {available} CPU cores; to use all of them, call "
            "jaxnet.use_cpu_devices() before any other JAX call"
        )
    kernels = [leaf for leaf in jax.tree.leaves(state.params) if leaf.ndim > 1]
    if any(leaf.ndim > 2 for leaf in kernels):
        plan = Plan(len(devices), _micro_batch(problem, state.model_state))
        return plan, "convolutions of different members do not share kernels on a CPU"
    # Forward, and backward to inputs and to kernels.
    operations = 6 * problem.batch_size * sum(leaf.size for leaf in kernels)
    chunk = int(np.clip(STEP // max(1, operations), 1, MOST))
    plan = Plan(len(devices), chunk=chunk)
    return plan, f"one step of a member takes {operations / 1e6:.2g} million operations"


def _plan_for_tpus(
    problem: Problem, state: TrainState, members: int, device: Any, plan: Plan, own_order: bool
) -> tuple[Plan, str]:
    """As many members as the memory of a chip holds for the kernel, or else as XLA keeps on it."""
    train, kept = problem.splits.train, _bytes((state.params, state.opt_state))
    inputs = math.prod(train.x.shape[1:]) * train.x.dtype.itemsize * own_order
    each = 2 * kept + (problem.batch_size + len(train)) * (inputs + 12)
    most = -(-members // plan.devices)
    chunk = int(np.clip(_memory(device, problem.splits) // each, 1, most))
    plan = choose(
        replace(plan, chunk=chunk), problem, members=chunk, own_order=own_order, device=device
    )
    if plan.implementation == "resident":
        return plan, "their steps are one program on the chip"
    # XLA keeps the examples there too, before the state, where they fit.
    room = max(VMEM - _bytes(train), VMEM // 4)
    plan = replace(plan, chunk=max(1, room // kept))
    return plan, f"parameters and optimizer state, {kept:,} bytes per member, stay on the chip"


def _memory(device: Any, splits: Splits) -> float:
    """Bytes of a device that are left for members."""
    try:
        found = (device.memory_stats() or {}).get("bytes_limit", LEAST)
    except (
        NotImplementedError,
        jax.errors.JaxRuntimeError,
    ):  # a device that programs are compiled for elsewhere
        found = LEAST
    return SHARE * found - _bytes(splits)


def _micro_batch(problem: Problem, model_state: PyTree) -> int | None:
    """A cache-full that divides the batch, where that changes no result: what is drawn for a batch
    is drawn for its parts otherwise.
    """
    batch, recipe = problem.batch_size, problem.recipe
    drawn = problem.model.for_outputs is None
    drawn |= recipe.augmentation is not None and recipe.augmentation.mixup is not None
    if drawn or jax.tree.leaves(model_state):
        return None
    part = max(m for m in range(1, CACHE_FULL + 1) if batch % m == 0)
    return part if part >= CACHE_FULL // 4 and part < batch else None


def _residuals(problem: Problem, state: TrainState) -> int:
    """Bytes that the forward pass of a batch leaves for the backward pass."""
    recipe = problem.recipe
    one = input_shape(problem.splits)
    x = jax.ShapeDtypeStruct((problem.batch_size, *one.shape[1:]), one.dtype)

    def backward(params: PyTree, model_state: PyTree, x: Any, key: Any) -> Any:
        dropout = None if recipe.dropout is None else jnp.float32(0)

        def outputs(params: PyTree) -> Any:
            return forward(
                problem.model,
                params,
                model_state,
                x,
                precision=recipe.precision,
                key=key,
                dropout=dropout,
            )[0]

        return jax.vjp(outputs, params)[1]

    return _bytes(jax.eval_shape(backward, state.params, state.model_state, x, jax.random.key(0)))


def _bytes(tree: PyTree) -> int:
    # Of a key, JAX counts the type's item size.
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _even(members: int, devices: int, chunk: int) -> int:
    """The chunk that needs as many waves, and fills the last one best."""
    waves = math.ceil(members / (devices * chunk))
    return math.ceil(members / (devices * waves))


def _described(plan: Plan, members: int, why: str) -> str:
    waves = math.ceil(members / (plan.devices * plan.chunk))
    return (
        f"{members} members in {waves} wave{'s' * (waves > 1)}, {plan.chunk} at a time on each of "
        f"{plan.devices} "
        f"{jax.default_backend().upper()} device{'s' * (plan.devices > 1)}: {why}"
    )


def _check(plan: Plan) -> None:
    if plan.chunk < 1:
        raise InputError(f"the plan has chunk {plan.chunk}; give at least 1 member")
    if not 1 <= plan.devices <= (found := jax.local_device_count()):
        raise InputError(
            f"the plan wants {plan.devices} devices, and JAX has {found}; on a CPU call "
            "use_cpu_devices first"
        )
