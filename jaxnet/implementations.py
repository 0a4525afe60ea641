"""Who computes the steps of an epoch: a fixed rule, never a timing, so that the same seed gives the
same result.

The kernel (on_chip.py, "resident") does on a TPU whose vector memory is known, of a network, recipe
and batch that it can train, where the compiler takes it; XLA (training.py, "xla") does all else.
"""

import dataclasses
import functools
import logging
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from jaxnet.data import Splits
from jaxnet.errors import InputError, check_known
from jaxnet.kernels import probe
from jaxnet.models.losses import Loss
from jaxnet.models.model import Model, with_outputs
from jaxnet.recipe import Recipe
from jaxnet.runtime.plan import Plan

IMPLEMENTATIONS = ("auto", "xla", "resident")

BFLOAT16 = 8.0  # compute capability of the first GPUs that have units for it

logger = logging.getLogger("jaxnet")


def choose(
    plan: Plan,
    model: Model,
    splits: Splits,
    recipe: Recipe,
    *,
    loss: Loss | None = None,
    weighted: bool = False,
    members: int = 0,
    own_order: bool = True,
    device: Any = None,
) -> Plan:
    """The plan with its implementation chosen.

    members: how many are trained at once under vmap; 0 is one without it. Numbers of the recipe
        with an axis are one a member.
    own_order: whether each member has minibatches of its own. device: by default JAX's first.
    Where auto falls back although there is a TPU, the logger "jaxnet" says why: a warning where the
    compiler refused.
    """
    check_known("implementation", plan.implementation, IMPLEMENTATIONS)
    device = _device() if device is None else device
    if plan.implementation == "resident" and device.platform not in ("tpu", "cpu"):
        raise InputError(
            f"implementation 'resident' is a kernel for TPUs, and this is a {device.platform}; "
            "give 'auto' or 'xla'"
        )
    if (
        device.platform == "gpu"
        and recipe.precision == "bfloat16"
        and float(getattr(device, "compute_capability", BFLOAT16)) < BFLOAT16
    ):
        logger.warning(
            "a %s has no units for bfloat16 and computes it in float32; leave precision out",
            device.device_kind,
        )
    if plan.implementation != "auto":
        return plan
    if device.platform != "tpu":
        return dataclasses.replace(plan, implementation="xla")
    try:
        if device.device_kind not in probe.TOPOLOGIES:
            raise NotImplementedError(
                f"the vector memory of a {device.device_kind} is not known here"
            )
        resident = dataclasses.replace(plan, implementation="resident")
        program = exported(
            resident,
            model,
            splits,
            recipe,
            loss=loss,
            weighted=weighted,
            members=members,
            own_order=own_order,
        )
        refused = probe.refusal(program, device.device_kind)
    except NotImplementedError as reason:
        logger.info(
            "%s is trained by XLA's own program; the kernel does not have: %s", model.name, reason
        )
        return dataclasses.replace(plan, implementation="xla")
    if refused is not None:
        logger.warning(
            "%s is trained by XLA's own program; the compiler refuses the kernel: %s",
            model.name,
            refused,
        )
        return dataclasses.replace(plan, implementation="xla")
    return resident


def exported(
    plan: Plan,
    model: Model,
    splits: Splits,
    recipe: Recipe,
    *,
    loss: Loss | None,
    weighted: bool,
    members: int,
    own_order: bool,
) -> jax.export.Exported:
    """An epoch's steps by the kernel, for a TPU. Raises NotImplementedError for what it cannot
    train.
    """
    from jaxnet.training import NO_TEST, start, steps

    model, examples = with_outputs(model, splits.train.outputs), len(splits.train)
    seen = dataclasses.replace(splits, validation=NO_TEST, test=NO_TEST, target_sample=None)
    one = jax.tree.map(lambda leaf: leaf[0] if np.ndim(leaf) else leaf, recipe)
    state = jax.eval_shape(functools.partial(start, model), seen, one, jax.random.key(0))
    batch = min(recipe.batch_size, examples)
    rows = jax.ShapeDtypeStruct((-(-examples // batch), batch), jnp.int32)
    weights = jax.ShapeDtypeStruct((examples,), jnp.float32) if weighted else None

    def run(*leaves: Any) -> list[Any]:
        splits, (key, order_key), recipe, state, rows, weights = structure.unflatten(leaves)
        state = state._replace(
            key=jax.random.wrap_key_data(key), order_key=jax.random.wrap_key_data(order_key)
        )
        new, sums = steps(model, splits, recipe, state, rows, weights=weights, loss=loss, plan=plan)
        return jax.tree.leaves((new._replace(key=None, order_key=None), sums))

    words, number = jax.ShapeDtypeStruct((2,), jnp.uint32), jax.ShapeDtypeStruct((), jnp.float32)
    args = (
        seen,
        (words, words),
        jax.tree.map(lambda _: number, one),
        state._replace(key=None, order_key=None),
        rows,
        weights,
    )
    leaves, structure = jax.tree.flatten(args)
    shapes = [jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype) for leaf in leaves]
    if members:
        # What members share has no axis of them.
        shared = len(jax.tree.leaves(seen))
        numbers = [0 if np.ndim(leaf) else None for leaf in jax.tree.leaves(recipe)]
        axes = (
            [None] * shared
            + [0, 0]
            + numbers
            + [0] * len(jax.tree.leaves(args[3]))
            + [0 if own_order else None]
            + [0] * weighted
        )
        shapes = [
            s if axis is None else jax.ShapeDtypeStruct((members, *s.shape), s.dtype)
            for s, axis in zip(shapes, axes, strict=True)
        ]
        run = jax.vmap(run, axes)
    return jax.export.export(jax.jit(run), platforms=["tpu"])(*shapes)


def _device() -> Any:
    return jax.local_devices()[0]
