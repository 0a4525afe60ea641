"""Optimizer updates for the vector unit: they give optax's numbers in fewer operations.

Every operation is elementwise, so that a leading axis of members costs nothing. Whatever would need
a power or a schedule is one number per step, computed before the kernel starts: see
`jaxnet.core.optimizers.step_numbers`.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

SMALLEST_NORMAL = 1.2e-38  # a float32 below it counts as 0 on a TPU

Leaf = Float[Array, "..."]  # (rows, columns) of one member, or (members, rows, columns)
Numbers = Mapping[str, Array]

# Older versions of Pallas have the function elsewhere.
_reciprocal: Callable[..., Array] = (
    pltpu.reciprocal if hasattr(pltpu, "reciprocal") else pl.reciprocal
)


def clipped(gradient: Sequence[Leaf], largest: Array) -> list[Leaf]:
    """Scale a gradient to at most a global norm.

    Args:
        gradient: leaves of the gradient.
        largest: the largest norm.

    Returns:
        The leaves of the scaled gradient.

    References:
        Pascanu et al. 2013, alg. 1.
    """
    norm = jnp.sqrt(sum(jnp.sum(leaf * leaf, axis=(-2, -1), keepdims=True) for leaf in gradient))  # pyrefly: ignore[bad-argument-type]
    factor = jnp.where(norm < largest, 1.0, largest / norm)
    return [leaf * factor for leaf in gradient]


def update(
    optimizer: str,
    param: Leaf,
    moments: Sequence[Leaf],
    gradient: Leaf,
    numbers: Numbers,
    *,
    decayed: bool,
) -> tuple[Leaf, tuple[Leaf, ...]]:
    """Update a parameter and its moments by one step of the optimizer.

    Args:
        optimizer: a name in DIRECTIONS.
        param: the parameter.
        moments: its moments, as many as MOMENTS says.
        gradient: its gradient.
        numbers: the numbers of this step, by name.
        decayed: whether to apply decoupled weight decay.

    Returns:
        The new parameter and its new moments.
    """
    direction, moments = DIRECTIONS[optimizer](gradient, *moments, numbers=numbers)
    change = numbers["step"] * direction
    if decayed:
        change = change + numbers["decay"] * param
    return param - change, moments


def _sgd(gradient: Leaf, *, numbers: Numbers) -> tuple[Leaf, tuple[Leaf, ...]]:
    return gradient, ()


def _momentum(gradient: Leaf, trace: Leaf, *, numbers: Numbers) -> tuple[Leaf, tuple[Leaf, ...]]:
    """Heavy ball momentum (Polyak 1964)."""
    trace = gradient + numbers["momentum"] * trace
    return trace, (trace,)


def _nesterov(gradient: Leaf, trace: Leaf, *, numbers: Numbers) -> tuple[Leaf, tuple[Leaf, ...]]:
    """Nesterov momentum (Sutskever et al. 2013, eq. 3 and 4), in optax's form."""
    trace = gradient + numbers["momentum"] * trace
    return gradient + numbers["momentum"] * trace, (trace,)


def _adam(
    gradient: Leaf, mean: Leaf, square: Leaf, *, numbers: Numbers
) -> tuple[Leaf, tuple[Leaf, ...]]:
    """Adam (Kingma & Ba 2015, alg. 1), without what can be one number per step.

    `mean` is m / (1 - b1) and `square` is v / (1 - b2); the factors and the bias corrections are
    part of `step` and `epsilon`. So an update takes 23 operations per register, 12 of them for the
    root; optax's own formula takes 31.
    """
    mean = gradient + numbers["momentum"] * mean
    square = gradient * gradient + numbers["b2"] * square
    positive = jnp.maximum(square, SMALLEST_NORMAL)
    below = positive * jax.lax.rsqrt(positive) + numbers["epsilon"]
    return ratio(mean, below), (mean, square)


def ratio(a: Leaf, b: Leaf) -> Leaf:
    """Compute a / b for finite a and b, where b is not 0 and 1 / b is finite."""
    return jax.lax.platform_dependent(
        a, b, mosaic=lambda a, b: refined(a, b, _reciprocal(b, approx=True)), default=jnp.divide
    )


def refined(a: Leaf, b: Leaf, about: Leaf) -> Leaf:
    """Compute a / b from about 1 / b, by a step of Newton's method.

    The compiler takes the same step for 1 / b, and one operation more with the product by a.
    """
    return a * about * (2 - b * about)


DIRECTIONS: dict[str, Callable[..., tuple[Leaf, tuple[Leaf, ...]]]] = {
    "sgd": _sgd, "momentum": _momentum, "nesterov": _nesterov, "adam": _adam, "adamw": _adam,
}  # fmt: skip
MOMENTS = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2}
