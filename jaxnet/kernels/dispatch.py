"""Which implementation computes the steps of an epoch. The rule never compares times, so that a
seed determines the result on a machine.

The kernel (resident_steps.py, "resident": parameters and optimizer state stay on the chip) computes
on a kind of TPU in probe.TOPOLOGIES, for a network, recipe and batch that it can train, where the
compiler accepts it within probe.PROBE_SECONDS. XLA (`run_steps` of jaxnet/core/training.py, "xla")
computes everything else.
"""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from jaxnet.core.training import NO_EXAMPLES, Problem, shuffle, start
from jaxnet.errors import InputError, check_known, warn_of_machine
from jaxnet.kernels import probe
from jaxnet.runtime.plan import Plan

IMPLEMENTATIONS = ("auto", "xla", "resident")

BFLOAT16 = 8.0  # compute capability of the first GPUs with units for bfloat16

logger = logging.getLogger("jaxnet")


def choose(
    plan: Plan,
    problem: Problem,
    *,
    members: int = 0,
    own_order: bool = True,
    device: Any = None,
    refusal: Callable[[jax.export.Exported, str], str | None] = probe.refusal,
) -> Plan:
    """Choose the implementation of a plan.

    Where auto falls back to XLA although there is a TPU, the logger "jaxnet" says why: with a
    warning where the compiler refused.

    Args:
        plan: the plan; an implementation other than auto is kept.
        problem: what is trained. Only shapes and types of its arrays are used.
        members: number of members trained at once under vmap; 0 for one network without it. Numbers
            of the recipe that have an axis are one per member.
        own_order: whether each member has its own minibatches.
        device: the device; JAX's first one by default.
        refusal: tells why the compiler for a kind of device refuses a program.

    Returns:
        The plan with its implementation, xla or resident.

    Raises:
        InputError: for an unknown implementation, and for the kernel on a device that is neither a
            TPU nor a CPU.
    """
    check_known("implementation", plan.implementation, IMPLEMENTATIONS)
    device, name = _device() if device is None else device, problem.model.name
    if plan.implementation == "resident" and device.platform not in ("tpu", "cpu"):
        raise InputError(
            f"implementation 'resident' is a kernel for TPUs, and this is a {device.platform}; "
            "give 'auto' or 'xla'"
        )
    narrow = device.platform == "gpu" and problem.recipe.precision == "bfloat16"
    if narrow and float(getattr(device, "compute_capability", BFLOAT16)) < BFLOAT16:
        warn_of_machine(
            f"a {device.device_kind} has no units for bfloat16 and computes it in float32; leave "
            "precision out"
        )
    if plan.implementation != "auto":
        return plan
    if device.platform != "tpu":
        return dataclasses.replace(plan, implementation="xla")
    try:
        if device.device_kind not in probe.TOPOLOGIES:
            raise NotImplementedError(
                f"a program for a {device.device_kind}, whose compiler cannot be asked here"
            )
        if plan.splits_batches:
            raise NotImplementedError("a plan that divides batches")
        refused = refusal(
            exported(problem, members=members, own_order=own_order), device.device_kind
        )
    except NotImplementedError as reason:
        logger.info(
            "%s is trained by XLA's own program; the kernel does not have: %s", name, reason
        )
        return dataclasses.replace(plan, implementation="xla")
    if refused is not None:
        warn_of_machine(
            f"{name} is trained by XLA's own program; the compiler refuses the kernel: {refused}"
        )
        return dataclasses.replace(plan, implementation="xla")
    return dataclasses.replace(plan, implementation="resident")


def exported(problem: Problem, *, members: int, own_order: bool) -> jax.export.Exported:
    """Export an epoch's steps by the kernel for a TPU.

    Args:
        problem: what is trained.
        members: number of members trained at once; 0 for one network.
        own_order: whether each member has its own minibatches.

    Returns:
        The exported program.

    Raises:
        NotImplementedError: for what the kernel cannot train.
    """
    from jaxnet.kernels.resident_steps import run_steps  # which imports Pallas

    splits = dataclasses.replace(
        problem.splits, validation=NO_EXAMPLES, test=NO_EXAMPLES, target_sample=None
    )
    recipe = jax.tree.map(
        lambda leaf: leaf[0] if np.ndim(leaf) else leaf, problem.recipe
    )  # the first member
    one = dataclasses.replace(problem, splits=splits, recipe=recipe, sample=None, left_out=0)
    state = jax.eval_shape(start, one, jax.random.key(0))
    batches = jax.eval_shape(shuffle, one, state)

    def run(*leaves: Any) -> list[Any]:
        splits, (key, order_key), recipe, state, batches, weights = structure.unflatten(leaves)
        state = state._replace(
            key=jax.random.wrap_key_data(key), order_key=jax.random.wrap_key_data(order_key)
        )
        this = dataclasses.replace(one, splits=splits, recipe=recipe, weights=weights)
        new, sums = run_steps(this, state, batches)
        return jax.tree.leaves((new._replace(key=None, order_key=None), sums))

    words, number = jax.ShapeDtypeStruct((2,), jnp.uint32), jax.ShapeDtypeStruct((), jnp.float32)
    numbers, weights = jax.tree.map(lambda _: number, recipe), None
    if problem.weights is not None:
        weights = jax.ShapeDtypeStruct((problem.examples,), jnp.float32)
    args = (
        splits,
        (words, words),
        numbers,
        state._replace(key=None, order_key=None),
        batches,
        weights,
    )
    leaves, structure = jax.tree.flatten(args)
    shapes = [jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype) for leaf in leaves]
    if members:
        # What members share has no axis of members.
        shared = [None] * len(jax.tree.leaves(splits))
        of_recipe = [0 if np.ndim(leaf) else None for leaf in jax.tree.leaves(problem.recipe)]
        of_batches = [
            0 if leaf is batches.rows and own_order else None for leaf in jax.tree.leaves(batches)
        ]
        axes = [
            *shared,
            0,
            0,
            *of_recipe,
            *[0] * len(jax.tree.leaves(args[3])),
            *of_batches,
            *[0] * (weights is not None),
        ]
        shapes = [
            s if axis is None else jax.ShapeDtypeStruct((members, *s.shape), s.dtype)
            for s, axis in zip(shapes, axes, strict=True)
        ]
        run = jax.vmap(run, axes)
    return jax.export.export(jax.jit(run), platforms=["tpu"])(*shapes)


def _device() -> Any:
    return jax.local_devices()[0]
