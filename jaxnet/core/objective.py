"""What a network is asked for: its outputs on a batch, the targets, and what the loss makes of
both.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num, PyTree

from jaxnet.core.recipe import Recipe
from jaxnet.data import Splits, Standardization
from jaxnet.data.schema import Task
from jaxnet.errors import InputError
from jaxnet.models.losses import Loss, binary_cross_entropy, cross_entropy, squared
from jaxnet.models.model import Model, at_most_32_bits
from jaxnet.typing import Number, double

LOSSES: dict[Task, Loss] = {
    "classification": cross_entropy,
    "regression": squared,
    "multi-label": binary_cross_entropy,
}
TARGETS: dict[Task, str] = {
    "classification": "probabilities of the classes",
    "regression": "standardized values",
    "multi-label": "probabilities of yes for each label",
}
# examples evaluated at once: enough to fill a device; of 1,000, members with convolutions outgrow a
# GPU, and CPUs are slower
BLOCK = 250


def forward(
    model: Model,
    params: PyTree,
    model_state: PyTree,
    x: Num[Array, "batch ..."],
    *,
    precision: str,
    key: Array | None = None,
    dropout: Number | None = None,
) -> tuple[Float[Array, "batch outputs"], PyTree]:
    """The network on standardized inputs or tokens, its products in the given precision, outputs
    and model state in float32.
    """
    params, model_state = at_most_32_bits((params, model_state))
    if precision == "bfloat16":
        params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
        x = x.astype(jnp.bfloat16) if jnp.issubdtype(x.dtype, jnp.floating) else x
    with double(False):  # as it was initialized, whatever jax_enable_x64 says
        outputs, new_state = model.apply(params, model_state, x, key=key, dropout=dropout)
    new_state = jax.tree.map(lambda new, old: new.astype(old.dtype), new_state, model_state)
    return outputs.astype(jnp.float32), new_state


def make_targets(
    splits: Splits, y: Num[Array | np.ndarray, "batch ..."]
) -> Float[Array, "batch outputs"]:
    """What outputs should be: probabilities of the classes or labels, or standardized values."""
    if splits.classes is not None:
        return jax.nn.one_hot(y, len(splits.classes), dtype=jnp.float32)
    if splits.counted:
        return jnp.asarray(y, jnp.float32)
    values = splits.standardization.targets(jnp.asarray(y))
    return values if splits.targets is not None else values[:, None]


def smooth(
    splits: Splits, recipe: Recipe, targets: Float[Array, "batch outputs"]
) -> Float[Array, "batch outputs"]:
    """Probabilities mixed with the uniform distribution (Szegedy et al. 2016, section 7); values as
    they are.
    """
    if recipe.label_smoothing is None or not splits.counted:
        return targets
    share = jnp.asarray(recipe.label_smoothing, jnp.float32)
    answers = targets.shape[-1] if splits.classes is not None else 2
    return (1 - share) * targets + share / answers


def losses_of(
    splits: Splits, loss: Loss | None, outputs: Array, targets: Array
) -> Float[Array, " batch"]:
    """The loss of each example. Raises InputError where shapes do not fit."""
    if outputs.shape != targets.shape:
        raise InputError(
            f"the model gives outputs of shape {outputs.shape}, but this data set needs "
            f"{targets.shape}; "
            "give the model one output for each class, label or value"
        )
    if loss is None:
        return LOSSES[splits.task](outputs, targets).astype(jnp.float32)
    try:
        with double(False):
            losses = loss(outputs, targets)
    except Exception as error:  # whatever a function of the user's raises
        cure = (
            ""
            if splits.classes is None
            else (
                "; for labels that are class numbers give optax.softmax_cross_entropy, or leave "
                "loss out"
            )
        )
        raise InputError(
            f"the loss raises {type(error).__name__}: {error}. It is given outputs and targets of "
            f"shape {outputs.shape}, "
            f"and targets are {TARGETS[splits.task]}; give a loss of those{cure}"
        ) from error
    if (shape := getattr(losses, "shape", None)) != outputs.shape[:1]:
        what = f"a {type(losses).__name__}" if shape is None else f"shape {shape}"
        cure = (
            "; leave out the mean"
            if shape == ()
            else "; sum over the last axis"
            if shape == outputs.shape
            else ""
        )
        raise InputError(
            f"the loss gives {what}; it must give one number per example: {outputs.shape[:1]}{cure}"
        )
    if not jnp.issubdtype(losses.dtype, jnp.floating):
        raise InputError(
            f"the loss gives numbers of type {losses.dtype}, which have no gradient; give real "
            "numbers"
        )
    return losses.astype(jnp.float32)


def correct(
    outputs: Float[Array, "batch outputs"], y: Num[Array | np.ndarray, "batch ..."]
) -> Bool[Array, " batch"] | Float[Array, " batch"]:
    """Whether the largest output is the label's; of several yes/no labels the share answered
    right.
    """
    if y.ndim == 2:
        return ((outputs > 0) == (y > 0)).mean(-1, dtype=jnp.float32)
    return jax.lax.argmax(outputs, outputs.ndim - 1, jnp.int32) == y


def predictions(
    task: Task, standardization: Standardization, outputs: Float[Array, "examples outputs"]
) -> Float[Array, "examples ..."]:
    """What outputs say: log-probabilities of the classes, or of yes for each label, or values in
    the units of y, (examples,) where each example has one.
    """
    if task == "classification":
        return jax.nn.log_softmax(outputs)
    if task == "multi-label":
        return jax.nn.log_sigmoid(outputs)
    assert standardization.target_mean is not None
    return standardization.values(outputs if standardization.target_mean.ndim else outputs[:, 0])


def in_blocks(
    model: Model,
    params: PyTree,
    model_state: PyTree,
    standardization: Standardization,
    x: Num[Array | np.ndarray, "examples ..."],
    *,
    precision: str,
) -> Float[Array, "examples outputs"]:
    """Outputs of the network in evaluation, BLOCK examples at a time."""

    def block(x: Array | np.ndarray) -> Array:
        return forward(model, params, model_state, standardization.inputs(x), precision=precision)[
            0
        ]

    examples = len(x)
    if examples <= BLOCK:
        return block(x)
    rows = jnp.minimum(
        jnp.arange(-(-examples // BLOCK) * BLOCK, dtype=jnp.int32), examples - 1
    ).reshape(-1, BLOCK)
    outputs = jax.lax.map(lambda rows: block(x[rows]), rows)
    return outputs.reshape(-1, outputs.shape[-1])[:examples]
