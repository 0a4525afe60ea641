"""Losses: one number an example, from a network's outputs and the targets."""

from typing import Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float

from jaxnet.errors import InputError, shown


@runtime_checkable
class Loss(Protocol):
    """(outputs, targets) -> (batch,) losses.

    Of classes the targets are probabilities, (batch, classes): one-hot, smoothed or mixed. Of
    values they are standardised, (batch, 1).
    """

    def __call__(self, outputs: Array, targets: Array, /) -> Array: ...


def check_loss(loss: object) -> None:
    """Raises InputError for a loss that is no function; None is the usual one."""
    if loss is not None and (not callable(loss) or isinstance(loss, type)):
        cure = (
            "give a function (outputs, targets) -> one number an example, such as "
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
    """-sum_c targets log softmax(outputs), in nats. A product and not a gather: its gradient needs
    no scatter.
    """
    return -(targets * jax.nn.log_softmax(outputs)).sum(-1)


def squared(
    outputs: Float[Array, "batch values"], targets: Float[Array, "batch values"]
) -> Float[Array, " batch"]:
    """(outputs - targets)^2, summed over the values."""
    return ((outputs - targets) ** 2).sum(-1)
