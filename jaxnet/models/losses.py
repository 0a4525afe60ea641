"""Losses: one number per example, computed from a network's outputs and the targets."""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnet.errors import InputError, shown


@runtime_checkable
class Loss(Protocol):
    """A function (outputs, targets) -> (batch,) losses.

    For classes, targets are probabilities (batch, classes): one-hot, smoothed or mixed. For several
    yes/no labels they are probabilities of yes, (batch, labels). For values they are standardized,
    (batch, values), with one column where each example has a single value.
    """

    def __call__(self, outputs: Array, targets: Array, /) -> Array: ...


def check_loss(loss: object) -> None:
    """Check that a loss is a function that can be hashed, or None for the default loss.

    Args:
        loss: the loss.

    Raises:
        InputError: for a loss that is not a function, or cannot be hashed.
    """
    if loss is not None and (not callable(loss) or isinstance(loss, type)):
        cure = (
            "give a function (outputs, targets) -> one number per example, such as "
            "jaxnet.cross_entropy, or leave it out"
        )
        raise InputError(f"loss is {shown(loss)}; {cure}")
    if loss is not None and loss.__hash__ is None:
        raise InputError(
            f"loss is {shown(loss)}, which cannot be hashed, as what JAX compiles for must be; "
            "give a function"
        )


def cross_entropy(
    outputs: Float[Array, "batch classes"], targets: Float[Array, "batch classes"]
) -> Float[Array, " batch"]:
    """Compute -sum_c targets log softmax(outputs), in nats.

    It multiplies instead of gathering, so that its gradient needs no scatter.

    Args:
        outputs: (batch, classes) logits.
        targets: (batch, classes) probabilities.

    Returns:
        (batch,) losses.
    """
    return -(targets * jax.nn.log_softmax(outputs)).sum(-1)


def squared(
    outputs: Float[Array, "batch values"], targets: Float[Array, "batch values"]
) -> Float[Array, " batch"]:
    """Compute the mean of (outputs - targets)^2 over the values.

    Args:
        outputs: (batch, values).
        targets: (batch, values).

    Returns:
        (batch,) losses.
    """
    total, values = ((outputs - targets) ** 2).sum(-1), outputs.shape[-1]
    return total if values == 1 else total / values


def binary_cross_entropy(
    outputs: Float[Array, "batch labels"], targets: Float[Array, "batch labels"]
) -> Float[Array, " batch"]:
    """Compute the mean over labels of -t log sigmoid(o) - (1 - t) log sigmoid(-o), in nats.

    Args:
        outputs: (batch, labels) logits o, the log-odds of yes.
        targets: (batch, labels) probabilities t of yes.

    Returns:
        (batch,) losses.
    """
    yes, no = jax.nn.log_sigmoid(outputs), jax.nn.log_sigmoid(-outputs)
    return -jnp.mean(targets * yes + (1 - targets) * no, -1)
